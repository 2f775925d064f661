//! The second rim: carries out what a server wants, as `node::rim` does, on simulated disks and networks.

use std::io;

use zkd::ids::{LinkId, Zxid};
use zkd::peer::{Input, Loading, Mode, Output, Restored, SnapshotStart};
use zkd::storage::Durable;
use zkd::storage::compression::Compression;
use zkd::storage::epochs::write_epoch;
use zkd::storage::log_range::read_range;
use zkd::storage::recovery::{RecoveryOptions, recover};
use zkd::storage::snapshot::Trailer;
use zkd::storage::snapshot_files::{SnapshotFile, write_snapshot};
use zkd::storage::truncate::{carry_out, plan_replacement, plan_truncation};
use zkd::tree::Walked;

use super::disk::SimDisk;
use super::log::Started;
use super::schedule::{Event, Us, ms};
use super::server::Death;
use super::world::World;

/// Something on its way to a learner.
pub(crate) enum Piece {
    Bytes(Vec<u8>),
    Database(SnapshotStart),
}

/// A snapshot file that is being written.
pub(crate) struct SnapshotJob {
    start: SnapshotStart,
    body: Vec<u8>,
}

/// How much of a tree is written in one step, bytes.
const STEP_BYTES: usize = 1500;
/// How long a full disk is left alone, as in `disk::log_writer`.
const FULL_RETRY: Us = ms(500);
/// Txns from the log are sent to a learner up to this many bytes.
const LOG_SYNC_BYTES_MAX: u64 = 20_000;

/// Writes a snapshot file, as `node::snapshots` does.
pub(crate) fn write_snapshot_file(disk: &SimDisk, start: &SnapshotStart, body: &[u8]) -> io::Result<u64> {
    let file = SnapshotFile::new(start.zxid, Compression::Plain);
    let trailer = Trailer { digest: start.digest, last_zxid: Some(start.zxid) };
    write_snapshot(disk, &file, &mut |out| {
        out.write_body(&start.head)?;
        out.write_body(body)?;
        Ok(trailer)
    })
}

impl World {
    /// Carries one output out.
    pub(crate) fn carry_out(&mut self, node: usize, output: Output) {
        if self.is_traced() {
            self.trace_output(node, &output);
        }
        match output {
            Output::Append(txns) => {
                self.oracle.appended(node, &txns);
                self.process(node).log.append(txns);
                self.start_writing(node);
            }
            Output::RollLog => {
                self.process(node).log.roll();
                self.start_writing(node);
            }
            Output::Snapshot(start) => self.begin_snapshot(node, start),
            Output::Forget(zxid) => self.forget(node, zxid),
            Output::WriteEpoch(file, epoch) => {
                let disk = self.disk(node);
                match write_epoch(&*disk, file, epoch) {
                    Ok(()) => {
                        self.oracle.epoch_written(node, file, epoch);
                        self.give(node, Input::EpochWritten(file, epoch));
                    }
                    Err(error) => self.disk_failed(node, &error.to_string()),
                }
            }
            Output::Truncate(zxid) => self.truncate(node, zxid),
            Output::ReadLog(link, from, until) => {
                let (at, boot) = (self.now + self.random.u64(100..ms(20)), self.boot_of(node));
                self.schedule.at(at, Event::LogRead { node, boot, link, from, until });
            }
            Output::SessionExpired(_) | Output::Looking | Output::Elected => {}
            Output::Standing(standing) => {
                self.process(node).serves = standing.serves;
                self.oracle.stands(node, &standing);
                if standing.mode == Mode::Looking {
                    self.process(node).installing = None;
                }
            }
            Output::Fail(reason) => {
                self.trace(|world| format!("{} cannot go on: {reason}", world.name(node)));
                self.die(node, Death::Kill);
            }
            Output::Members(members) => {
                self.oracle.in_force(node, &members.committed);
                let server = &mut self.servers[node];
                server.members_before = std::mem::replace(&mut server.members, *members);
            }
            Output::Notify(to, notification) => self.notify(node, to, &notification),
            Output::Listen(door) => self.listen(node, door),
            Output::ToLearner(link, bytes) => {
                self.oracle.told_learner(node, &bytes);
                self.for_learner(node, link, Piece::Bytes(bytes));
            }
            Output::DatabaseToLearner(link, start) => self.for_learner(node, link, Piece::Database(start)),
            Output::CloseLearner(link) => self.close_learner(node, link),
            Output::Dial(link, to, door) => self.dial_leader(node, link, to, door),
            Output::ToLeader(link, bytes) => self.for_leader(node, link, bytes),
            Output::CloseLeader(link) => self.close_leader(node, link),
        }
    }

    /// What cannot be done on disk ends the server.
    fn disk_failed(&mut self, node: usize, error: &str) {
        self.trace(|world| format!("{} fails on its disk: {error}", world.name(node)));
        let death = if self.servers[node].disk.is_dead() && self.random.bool() { Death::PowerCut } else { Death::Kill };
        self.die(node, death);
    }

    /// Begins to write what waits for the log, unless it is writing.
    pub(crate) fn start_writing(&mut self, node: usize) {
        let disk = self.disk(node);
        let boot = self.boot_of(node);
        match self.process(node).log.start(&disk) {
            Ok(Started::Nothing) => {}
            Ok(Started::Flushing) => {
                let mean = self.plan.flush;
                let mut takes = mean / 2 + self.random.u64(0..=mean) + 20;
                if self.servers[node].stalled {
                    takes += ms(self.plan.tick_ms) * self.random.u64(1..15);
                }
                self.schedule.at(self.now + takes, Event::LogFlushed { node, boot });
            }
            Ok(Started::Full) => {
                if !std::mem::replace(&mut self.process(node).log_full, true) {
                    self.give(node, Input::DiskFull(true));
                    self.schedule.at(self.now + FULL_RETRY, Event::LogRetry { node, boot });
                }
            }
            Err(error) => self.disk_failed(node, &error.to_string()),
        }
    }

    pub(crate) fn log_retry(&mut self, node: usize) {
        if !self.process(node).log_full {
            return;
        }
        if self.servers[node].disk.is_full() {
            let (at, boot) = (self.now + FULL_RETRY, self.boot_of(node));
            self.schedule.at(at, Event::LogRetry { node, boot });
            return;
        }
        self.process(node).log_full = false;
        self.give(node, Input::DiskFull(false));
        self.start_writing(node);
    }

    pub(crate) fn log_flushed(&mut self, node: usize) {
        let disk = self.disk(node);
        if std::mem::take(&mut self.servers[node].fails_flush)
            && let Some(name) = self.process(node).log.current()
        {
            self.trace(|world| format!("a flush fails on {}", world.name(node)));
            disk.spoil(zkd::storage::Dir::Logs, &name, &mut self.random);
            self.die(node, Death::Kill);
            return;
        }
        match self.process(node).log.flushed(&disk) {
            Ok(durable) => {
                self.durable(node, durable);
                self.start_writing(node);
            }
            Err(error) => self.disk_failed(node, &error.to_string()),
        }
    }

    fn durable(&mut self, node: usize, durable: Option<Zxid>) {
        if let Some(zxid) = durable {
            self.oracle.durable(node, zxid);
            self.give(node, Input::Durable(Durable::after_flush(zxid)));
        }
    }

    /// The log's writer is stopped, as before any work on its files.
    fn close_log(&mut self, node: usize) -> io::Result<()> {
        let disk = self.disk(node);
        let durable = self.process(node).log.close(&disk)?;
        self.durable(node, durable);
        Ok(())
    }

    fn forget(&mut self, node: usize, zxid: Zxid) {
        let disk = self.disk(node);
        let body_bytes_max = RecoveryOptions::default().body_bytes_max;
        let forgotten = self.close_log(node).and_then(|()| {
            let plan = plan_replacement(&*disk, zxid, body_bytes_max)?;
            carry_out(&*disk, &plan)
        });
        match forgotten {
            Ok(()) => self.oracle.forgotten(node, zxid),
            Err(error) => self.disk_failed(node, &error.to_string()),
        }
    }

    fn truncate(&mut self, node: usize, zxid: Zxid) {
        match self.cut_log(node, zxid) {
            Ok(restored) => {
                if restored.is_some() {
                    self.oracle.truncated(node, zxid);
                }
                self.give(node, Input::Truncated(restored.map(Box::new)));
            }
            Err(error) => self.disk_failed(node, &error),
        }
    }

    fn cut_log(&mut self, node: usize, zxid: Zxid) -> Result<Option<Restored>, String> {
        self.close_log(node).map_err(|error| error.to_string())?;
        let (disk, options) = (self.disk(node), RecoveryOptions::default());
        let plan = plan_truncation(&*disk, zxid, options.body_bytes_max).map_err(|error| error.to_string())?;
        let Some(plan) = plan else { return Ok(None) };
        self.oracle.truncating(node, zxid);
        carry_out(&*disk, &plan).map_err(|error| error.to_string())?;
        let mut loading = Loading::new(self.process(node).tree, self.plan.history_txns);
        let recovered = recover(&*disk, &options, &mut loading).map_err(|error| error.to_string())?;
        Ok(Some(loading.into_restored(recovered.durable)))
    }

    pub(crate) fn log_read(&mut self, node: usize, link: LinkId, from: Zxid, until: Zxid) {
        let body_bytes_max = RecoveryOptions::default().body_bytes_max;
        let txns = read_range(&*self.disk(node), from, until, LOG_SYNC_BYTES_MAX, body_bytes_max).unwrap_or(None);
        self.give(node, Input::LogRead(link, txns));
    }

    fn begin_snapshot(&mut self, node: usize, start: SnapshotStart) {
        let walk = start.walk;
        if self.process(node).installing == Some(start.zxid) {
            self.oracle.installed(node, start.zxid);
        } else if !self.plan.observer_writes {
            self.oracle.written_down(node, start.zxid);
        }
        self.process(node).snapshots.push(SnapshotJob { start, body: Vec::new() });
        self.plan_snapshot_step(node, walk);
    }

    fn plan_snapshot_step(&mut self, node: usize, walk: u64) {
        let mut takes = self.random.u64(50..=self.plan.flush.max(100));
        if self.servers[node].stalled {
            takes += ms(self.plan.tick_ms) * self.random.u64(1..5);
        }
        let boot = self.boot_of(node);
        self.schedule.at(self.now + takes, Event::SnapshotStep { node, boot, walk });
    }

    pub(crate) fn snapshot_step(&mut self, node: usize, walk: u64) {
        let process = self.process(node);
        let Some(at) = process.snapshots.iter().position(|job| job.start.walk == walk) else { return };
        let job = &mut process.snapshots[at];
        let walked = process.database.read().continue_snapshot(walk, STEP_BYTES, &mut job.body);
        match walked {
            Walked::More => {
                self.plan_snapshot_step(node, walk);
                return;
            }
            Walked::Lost => {
                process.snapshots.remove(at);
                self.give(node, Input::SnapshotWritten(walk, None));
                return;
            }
            Walked::Done => {}
        }
        let SnapshotJob { start, body } = process.snapshots.remove(at);
        let zxid = start.zxid;
        let disk = self.disk(node);
        let written = write_snapshot_file(&disk, &start, &body);
        if disk.is_dead() {
            self.disk_failed(node, "amid a snapshot");
            return;
        }
        if written.is_ok() {
            self.oracle.snapshot_written(node, start.zxid);
        }
        let durable = written.is_ok().then(|| Durable::after_flush(zxid));
        self.give(node, Input::SnapshotWritten(walk, durable));
    }
}
