//! Snapshots that somebody asks for, and databases that somebody brings.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::clock::millis;
use super::owner::OwnerHandle;
use super::snapshots::Snapshots;
use crate::admin::{BackupError, Backups, TakenSnapshot};
use crate::ids::{Epoch, Zxid};
use crate::metrics::Basic;
use crate::peer::{Input, SnapshotStart};
use crate::pipeline::LoadDatabase;
use crate::storage::compression::Compression;
use crate::storage::snapshot::read_snapshot;
use crate::storage::snapshot_files::SnapshotFile;
use crate::tree::TreeOptions;
use crate::txn::TxnDigest;

/// How long to wait for another snapshot to be finished.
const BUSY_MAX: Duration = Duration::from_secs(60);
/// Enough to tell how a snapshot is compressed.
const MAGIC_BYTES: u64 = 8;
/// How often to look.
const LOOK: Duration = Duration::from_millis(5);

/// Backups of this server.
pub(super) struct OwnBackups {
    pub(super) snapshots: Snapshots,
    pub(super) owner: OwnerHandle,
    /// Where snapshots are.
    pub(super) dir: PathBuf,
    pub(super) tree: TreeOptions,
    pub(super) is_alone: bool,
    pub(super) restoring: Mutex<()>,
}

impl Backups for OwnBackups {
    fn take(&self) -> Result<TakenSnapshot, BackupError> {
        let start = self.begin()?;
        let written = self.snapshots.write_and_log(&start);
        self.owner.send(Input::SnapshotWritten(start.walk, written.map(|(durable, _)| durable)));
        let Some((_, bytes)) = written else { return Err(failed("the snapshot cannot be written")) };
        let name = SnapshotFile::new(start.zxid, self.snapshots.compression).name;
        let file = File::open(self.dir.join(name)).map_err(failed)?;
        Ok(TakenSnapshot { file, bytes, zxid: start.zxid })
    }

    fn restore(&self, source: Box<dyn Read + Send>) -> Result<Zxid, BackupError> {
        if !self.is_alone {
            return Err(BackupError::InEnsemble);
        }
        let began = Instant::now();
        let load = self.read(source)?;
        tracing::warn!(zxid = %load.last_zxid(), "another database takes the place of this server's");
        let _one_at_a_time = self.restoring.lock();
        let look = || self.owner.inspect(|peer| (peer.restoring(), peer.restored()));
        let Some((_, before)) = look() else { return Err(failed("the server stops")) };
        self.owner.send(Input::Restore(Box::new(load)));
        loop {
            match look() {
                None => return Err(failed("the server stops")),
                Some((true, _)) => thread::sleep(LOOK),
                Some((false, restored)) if restored == before => {
                    return Err(failed("the server takes no database now"));
                }
                Some((false, _)) => break,
            }
        }
        self.snapshots.metrics.sample(Basic::restore_time, millis(began.elapsed()));
        Ok(self.snapshots.database.read().last_zxid())
    }
}

impl OwnBackups {
    /// Begins a snapshot, once no other one is under way.
    fn begin(&self) -> Result<SnapshotStart, BackupError> {
        let deadline = Instant::now() + BUSY_MAX;
        loop {
            match self.owner.inspect(|peer| (peer.begin_snapshot(), peer.writes_snapshots())) {
                None => return Err(failed("the server stops")),
                Some((Some(start), _)) => return Ok(start),
                Some((None, false)) => return Err(failed("this server writes no snapshots now")),
                Some((None, true)) if Instant::now() > deadline => {
                    return Err(failed("another snapshot takes too long"));
                }
                Some((None, true)) => thread::sleep(LOOK),
            }
        }
    }

    /// In any form that [`Backups::take`] gives it out; the reference takes plain ones alone.
    fn read(&self, mut source: Box<dyn Read + Send>) -> Result<LoadDatabase, BackupError> {
        let mut load = LoadDatabase::new(self.tree);
        let mut head = Vec::new();
        (&mut source).take(MAGIC_BYTES).read_to_end(&mut head).map_err(failed)?;
        let is_so = |compression: &Compression| head.starts_with(compression.magic());
        let compression = [Compression::Gz, Compression::Snappy].into_iter().find(is_so).unwrap_or_default();
        let source = head.as_slice().chain(source);
        let trailer = read_snapshot(source, compression, "what was sent", &mut load).map_err(failed)?;
        let zxid = trailer.last_zxid.or_else(|| trailer.end_zxid()).unwrap_or(Zxid::ZERO);
        if zxid.0 < 0 || zxid.epoch() == Epoch::MAX {
            return Err(failed(format!("its last zxid is {zxid}, and there is no epoch behind that")));
        }
        load.snapshot_loaded(zxid);
        let said = trailer.digest.filter(|said| said.version == TxnDigest::VERSION && said.zxid > Zxid::ZERO);
        // Apache's may have been written amid txns, and no log follows that would put it right.
        if let (Some(said), Some(found)) = (said, load.digest())
            && said.tree != found
        {
            tracing::warn!(said = said.tree, found, "the digest of what was sent is not that of its tree");
        }
        Ok(load)
    }
}

fn failed(error: impl ToString) -> BackupError {
    BackupError::Failed(error.to_string())
}
