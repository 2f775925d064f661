//! Writing snapshots while the server goes on, and removing old ones.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use rustix::process::setpriority_process;

use crate::disk::RealDisk;
use crate::ids::Zxid;
use crate::metrics::{Basic, Counter, Metrics};
use crate::peer::{Input, SnapshotStart};
use crate::pipeline::SharedDatabase;
use crate::storage::compression::Compression;
use crate::storage::log_files::list_logs;
use crate::storage::retention::{Purge, purge};
use crate::storage::snapshot::Trailer;
use crate::storage::snapshot_files::{SnapshotFile, list_snapshots, looks_whole, write_snapshot};
use crate::storage::{Dir, Disk, Durable};
use crate::tree::Walked;

use super::clock::millis;
use super::owner::OwnerHandle;

/// How much of the tree is encoded under one shared lock, bytes: the longest that an apply waits for a snapshot.
const STEP_BYTES: usize = 16 * 1024;
/// Of the thread that writes one: about a tenth of what others get of a processor that all want.
const NICENESS: i32 = 10;

/// Who writes snapshots.
#[derive(Clone, Debug)]
pub(super) struct Snapshots {
    pub(super) disk: Arc<RealDisk>,
    pub(super) database: SharedDatabase,
    pub(super) compression: Compression,
    /// `zookeeper.serializeLastProcessedZxid.enabled`.
    pub(super) last_zxid: bool,
    pub(super) metrics: Arc<Metrics>,
}

impl Snapshots {
    /// Writes the snapshot that the machine has begun, on a thread of its own, and tells the machine when it is done.
    pub(super) fn write_beside(&self, start: SnapshotStart, owner: &OwnerHandle) {
        let (this, owner_then, walk) = (self.clone(), owner.clone(), start.walk);
        let work = move || {
            // Whoever answers clients goes first where there is too little for all.
            if let Err(error) = setpriority_process(None, NICENESS) {
                tracing::debug!(%error, "a snapshot is as important as all else");
            }
            let written = this.write_and_log(&start);
            if written.is_none() {
                this.metrics.count(Counter::snapshot_error_count, 1);
            }
            owner_then.send(Input::SnapshotWritten(walk, written.map(|(durable, _)| durable)));
        };
        if let Err(error) = thread::Builder::new().name("snapshot".to_owned()).spawn(work) {
            tracing::error!(%error, "no thread for a snapshot");
            owner.send(Input::SnapshotWritten(walk, None));
        }
    }

    /// Writes the snapshot of a database that nobody uses yet.
    ///
    /// # Errors
    /// Those of the disk.
    pub(super) fn write_now(&self, zxid: Zxid) -> io::Result<()> {
        let mut head = Vec::new();
        let (walk, digest) = {
            let mut database = self.database.write();
            let walk = database.begin_snapshot(&mut head);
            (walk, database.snapshot_digest())
        };
        let Some(walk) = walk else { return Err(io::Error::other("another snapshot is being written")) };
        let written = self.write(&SnapshotStart { walk, zxid, digest, head });
        self.database.write().end_snapshot(walk);
        written.map(drop)
    }

    /// The proof that the file is there, whole and durable, and its length in bytes; `None` if it is not.
    pub(super) fn write_and_log(&self, start: &SnapshotStart) -> Option<(Durable, u64)> {
        let began = Instant::now();
        match self.write(start) {
            Ok(bytes) => {
                let ms = millis(began.elapsed());
                self.metrics.sample(Basic::snapshottime, ms);
                tracing::info!(zxid = %start.zxid, bytes, ms, "snapshot written");
                Some((Durable::after_flush(start.zxid), bytes))
            }
            // The log still has everything; the next snapshot is tried after as many txns again.
            Err(error) => {
                tracing::error!(zxid = %start.zxid, %error, "snapshot not written");
                None
            }
        }
    }

    fn write(&self, start: &SnapshotStart) -> io::Result<u64> {
        let file = SnapshotFile::new(start.zxid, self.compression);
        let trailer = Trailer { digest: start.digest, last_zxid: self.last_zxid.then_some(start.zxid) };
        write_snapshot(&*self.disk, &file, &mut |out| {
            out.write_body(&start.head)?;
            let mut step = Vec::with_capacity(STEP_BYTES * 2);
            loop {
                step.clear();
                let walked = self.database.read().continue_snapshot(start.walk, STEP_BYTES, &mut step);
                out.write_body(&step)?;
                match walked {
                    Walked::More => {}
                    Walked::Done => return Ok(trailer),
                    Walked::Lost => return Err(io::Error::other("another database took the place of this one")),
                }
            }
        })
    }
}

/// What the newest `keep` snapshots do not need (ST-17). One that cannot be read counts for none.
///
/// # Errors
/// Those of the disk.
pub fn old_files(disk: &dyn Disk, keep: usize) -> io::Result<Purge> {
    let mut snapshots = Vec::new();
    for file in list_snapshots(disk)? {
        let whole = looks_whole(disk, &file).unwrap_or_else(|error| {
            tracing::warn!(%error, "a snapshot that cannot be read counts for none that is to be kept");
            false
        });
        snapshots.push((file, whole));
    }
    Ok(purge(&snapshots, &list_logs(disk)?, keep, None))
}

/// Removes it, as far as that can be done.
///
/// # Errors
/// Those of the disk.
pub(super) fn purge_old(disk: &dyn Disk, keep: usize) -> io::Result<()> {
    let old = old_files(disk, keep)?;
    for (dir, names) in [(Dir::Snapshots, &old.snapshots), (Dir::Logs, &old.logs)] {
        for name in names {
            match disk.remove(dir, name) {
                Ok(()) => tracing::info!(name, "removed by autopurge"),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(name, %error, "autopurge cannot remove this"),
            }
        }
    }
    Ok(())
}
