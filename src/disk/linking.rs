//! The thread that puts a tree together while its snapshot is being read.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::tree::{Linker, LooseZnode, SnapshotNodeError, TreeLoader};

/// Batches of znodes that may wait for the thread.
const BATCHES_MAX: usize = 4;

type Linked = Result<TreeLoader, SnapshotNodeError>;

/// The reader's end of it.
#[derive(Debug)]
struct Beside {
    /// `None` once there are no more.
    batches: Option<SyncSender<Vec<LooseZnode>>>,
    /// `None` once it was heard of.
    thread: Option<JoinHandle<Linked>>,
}

/// Takes a loader to a thread of its own; if none is to be had, it stays here.
#[must_use]
pub fn link_beside(loader: TreeLoader) -> Box<dyn Linker> {
    let (batches, coming) = sync_channel(BATCHES_MAX);
    let (give, take) = sync_channel(1);
    let work = move || match take.recv() {
        Ok(loader) => link_all(loader, &coming),
        Err(_) => unreachable!("a thread that was started is given a loader"),
    };
    match thread::Builder::new().name("linking".to_owned()).spawn(work) {
        Ok(thread) => match give.send(loader) {
            Ok(()) => Box::new(Beside { batches: Some(batches), thread: Some(thread) }),
            Err(unsent) => Box::new(unsent.0),
        },
        Err(error) => {
            tracing::warn!(%error, "no thread to load a snapshot with; it takes longer");
            Box::new(loader)
        }
    }
}

fn link_all(mut loader: TreeLoader, batches: &Receiver<Vec<LooseZnode>>) -> Linked {
    for batch in batches {
        loader.link(batch)?;
    }
    Ok(loader)
}

impl Beside {
    /// Says that there are no more, and waits for what it makes of those that there were.
    fn end(&mut self) -> Linked {
        self.batches = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(linked)) => linked,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => unreachable!("nobody links behind an error"),
        }
    }
}

impl Linker for Beside {
    fn link(&mut self, znodes: Vec<LooseZnode>) -> Result<(), SnapshotNodeError> {
        if self.batches.as_ref().is_some_and(|batches| batches.send(znodes).is_ok()) {
            return Ok(());
        }
        // It takes no more once one did not fit.
        self.end().map(drop)
    }

    fn finish(mut self: Box<Self>) -> Linked {
        self.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Zxid;
    use crate::pipeline::{LoadDatabase, StartLinker};
    use crate::storage::snapshot_body::{BodyFault, BodyReader, put_count, put_node, put_terminator};
    use crate::tree::{Loosener, StoredStat, TreeOptions};

    const OPTIONS: TreeOptions = TreeOptions { hash_seed: 1, ttl_marks: crate::tree::TtlMarks::None, digest: true };

    fn paths(count: usize) -> impl Iterator<Item = String> {
        ["".to_owned(), "/a".to_owned()].into_iter().chain((0..count).map(|number| format!("/a/{number}")))
    }

    /// In batches, by a thread.
    fn linked(paths: impl Iterator<Item = String>) -> Linked {
        let mut linker = link_beside(TreeLoader::new(OPTIONS));
        let mut loosener = Loosener::new(OPTIONS);
        let paths: Vec<_> = paths.collect();
        for batch in paths.chunks(100) {
            let loosen = |path: &String| loosener.loosen(path, Some(b"data"), -1, &StoredStat::of_new(7, 8));
            linker.link(batch.iter().map(loosen).collect::<Result<_, _>>()?)?;
        }
        linker.finish()
    }

    #[test]
    fn a_tree_is_the_same_wherever_it_was_put_together() {
        let mut here = TreeLoader::new(OPTIONS);
        for path in paths(10_000) {
            here.node(&path, Some(b"data"), -1, &StoredStat::of_new(7, 8)).expect("a znode that fits");
        }
        let (here, _) = here.finish();
        let (there, _) = linked(paths(10_000)).expect("znodes that fit").finish();
        assert_eq!((here.digest(), here.len()), (there.digest(), there.len()));
        assert_eq!(here.approximate_bytes(), there.approximate_bytes());
        let last = there.find("/a/9999").map(|znode| (znode.data().map(<[u8]>::to_vec), znode.stored_stat()));
        assert_eq!(last, Some((Some(b"data".to_vec()), StoredStat::of_new(7, 8))));
    }

    #[test]
    fn what_does_not_fit_is_told_at_the_latest_in_the_end() {
        for (place, wrong, expected) in [
            (10, "/b/orphan", SnapshotNodeError::Orphan("/b/orphan".to_owned())),
            (10_000, "/a/7", SnapshotNodeError::Twice("/a/7".to_owned())),
            (50, "noslash", SnapshotNodeError::Orphan("noslash".to_owned())),
        ] {
            let mut paths: Vec<_> = paths(10_000).collect();
            paths.insert(place, wrong.to_owned());
            assert_eq!(linked(paths.into_iter()).err(), Some(expected), "{wrong}");
        }
    }

    /// The digest of a snapshot with these znodes.
    fn read(paths: &[&str], start: Option<StartLinker>) -> Result<Option<u64>, BodyFault> {
        let mut body = Vec::new();
        put_count(&mut body, 0);
        put_count(&mut body, 0);
        paths.iter().for_each(|path| put_node(&mut body, path, Some(b"data"), -1, &StoredStat::of_new(7, 8)));
        put_terminator(&mut body);
        let mut load = LoadDatabase::new(OPTIONS);
        if let Some(start) = start {
            load.link_elsewhere(start);
        }
        BodyReader::new().read(&body, &mut load).map_err(|(_, fault)| fault)?;
        load.snapshot_loaded(Zxid(7));
        Ok(load.digest())
    }

    #[test]
    fn a_snapshot_is_refused_also_for_its_last_znode() {
        let (good, bad) = (["", "/a", "/a/b"], ["", "/a", "/b/c"]);
        assert!(read(&good, None).is_ok_and(|digest| digest.is_some()));
        assert_eq!(read(&good, Some(link_beside)), read(&good, None));
        assert!(matches!(read(&bad, Some(link_beside)), Err(BodyFault::Refused(_))));
        assert_eq!(read(&bad, Some(link_beside)), read(&bad, None));
    }
}
