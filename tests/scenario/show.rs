//! What servers hold, in one line for all that hold the same.

use zkd::ids::{SessionId, Zxid};
use zkd::pipeline::Database;
use zkd::storage::Disk;
use zkd::storage::epochs::{EpochFile, read_epoch};
use zkd::storage::log_files::{LogWalk, list_logs};
use zkd::storage::recovery::RecoveryOptions;
use zkd::storage::snapshot_files::list_snapshots;

use super::world::{Node, World};

/// Txns in few words: runs of them as first and last.
fn runs(zxids: &[Zxid]) -> String {
    let mut runs: Vec<(Zxid, Zxid)> = Vec::new();
    for zxid in zxids {
        match runs.last_mut() {
            Some((_, last)) if last.next() == Some(*zxid) => *last = *zxid,
            _ => runs.push((*zxid, *zxid)),
        }
    }
    let run = |(first, last): &(Zxid, Zxid)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    runs.iter().map(run).collect::<Vec<_>>().join(",")
}

/// The znodes of a history as such, all others by name.
fn znodes(database: &Database) -> String {
    let (mut history, mut others) = (Vec::new(), Vec::new());
    for (path, znode) in database.tree().walk_paths() {
        if path.is_empty() || path == "/" || path.starts_with("/zookeeper") {
            continue;
        }
        let place = path[1..]
            .split_once('.')
            .and_then(|(epoch, counter)| Some(Zxid::new(epoch.parse().ok()?, counter.parse().ok()?)));
        match place {
            Some(zxid) => history.push(zxid),
            None => {
                let data = String::from_utf8_lossy(znode.data().unwrap_or_default()).into_owned();
                let owned = znode.stat().ephemeral_owner != SessionId::NONE.0;
                let kind = if owned { " (ephemeral)" } else { "" };
                others.push(if data.is_empty() { format!("{path}{kind}") } else { format!("{path}={data}{kind}") });
            }
        }
    }
    history.sort_unstable();
    others.sort();
    if !history.is_empty() {
        others.insert(0, runs(&history));
    }
    if others.is_empty() { "empty".to_owned() } else { others.join(" ") }
}

impl World {
    /// What some servers hold.
    pub(crate) fn show(&mut self, nodes: &[Node]) {
        let mut all: Vec<(Vec<Node>, String)> = Vec::new();
        for node in nodes {
            let holds = self.holds(*node);
            match all.iter_mut().find(|(_, other)| *other == holds) {
                Some((same, _)) => same.push(*node),
                None => all.push((vec![*node], holds)),
            }
        }
        for (nodes, holds) in all {
            let nodes: Vec<_> = nodes.iter().map(Node::to_string).collect();
            self.tell(format!("{}: {holds}", nodes.join(" ")));
        }
    }

    fn holds(&self, node: Node) -> String {
        let server = &self.servers[&node];
        let disk = &*server.disk;
        let epoch =
            |file| read_epoch(disk, file).ok().flatten().map_or_else(|| "-".to_owned(), |epoch| epoch.to_string());
        let snapshots = list_snapshots(disk).expect("a disk that works");
        let snapshots: Vec<_> = snapshots.iter().map(|file| file.zxid.to_string()).collect();
        let tree = match &server.process {
            Some(process) => format!("tree {}", znodes(&process.database.read())),
            None => "down".to_owned(),
        };
        format!(
            "epochs {}/{}, snapshot {}, log {}, {tree}",
            epoch(EpochFile::Accepted),
            epoch(EpochFile::Current),
            if snapshots.is_empty() { "none".to_owned() } else { snapshots.join(" ") },
            log(disk)
        )
    }
}

fn log(disk: &dyn Disk) -> String {
    let mut zxids = Vec::new();
    for file in list_logs(disk).expect("a disk that works") {
        let (files, before) = ([file.clone()], Zxid(file.zxid.0 - 1));
        let mut walk = LogWalk::new(disk, &files, before, RecoveryOptions::default().body_bytes_max);
        while let Ok(Some(zxid)) = walk.advance() {
            zxids.push(zxid);
        }
    }
    if zxids.is_empty() { "empty".to_owned() } else { runs(&zxids) }
}
