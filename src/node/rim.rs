//! Carrying out what the machine wants done, on the owner's thread: the one place where outputs meet the world.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::clock::millis;
use super::member_files::MemberFiles;
use super::owner::OwnerHandle;
use super::role_times::RoleTimes;
use super::snapshots::Snapshots;
use crate::admin::SharedStanding;
use crate::config::ClientAddress;
use crate::disk::{LogOptions, LogReport, LogWriter, RealDisk, link_beside};
use crate::ids::{Epoch, LinkId, Sid, Zxid};
use crate::metrics::{Basic, Counter, Metrics};
use crate::net::{ClientContext, ClientPort, ElectionPort, QuorumPort};
use crate::peer::{Input, Loading, Output, Restored};
use crate::pipeline::ServerStatistics;
use crate::storage::Dir;
use crate::storage::Disk;
use crate::storage::epochs::{EpochError, EpochFile, write_epoch};
use crate::storage::log_range::read_range;
use crate::storage::recovery::{RecoveryOptions, recover};
use crate::storage::snapshot_files::list_snapshots;
use crate::storage::truncate::{carry_out, plan_replacement, plan_truncation};
use crate::tree::TreeOptions;

/// With about so many bytes of txns waiting for the disk, other servers are not read any more, so that memory has an end. A
/// follower whose disk does not keep up falls behind its leader, until that gives it up; a leader hears of no more
/// acknowledgements, so that its clients come to wait, and gives up its role when its followers seem silent for too long.
const LOG_BEHIND_BYTES: usize = 128 << 20;
/// Txns from the log are sent to a learner up to this many bytes however small the snapshot is: reading them costs less
/// than writing it.
const LOG_SYNC_BYTES_MIN: u64 = 4 << 20;
/// And never more: all of it is in memory at once, and a learner with too much on its way is given up.
const LOG_SYNC_BYTES_MAX: u64 = 128 << 20;

/// How long a full disk is left alone before an epoch is written again.
const FULL_RETRY: Duration = Duration::from_millis(500);
/// How long learners may take to hear the last words.
const FAREWELL: Duration = Duration::from_millis(200);

/// What `conf` says of a server that has no client port.
pub(super) const NO_PORT: i32 = -1;

/// Everything that outputs need.
pub(super) struct Rim {
    pub(super) log: LogFiles,
    pub(super) snapshots: Snapshots,
    pub(super) owner: OwnerHandle,
    pub(super) failures: mpsc::Sender<String>,
    pub(super) standing: SharedStanding,
    pub(super) times: RoleTimes,
    pub(super) clients: Arc<ClientContext>,
    /// The other servers; `None` for a server alone.
    pub(super) others: Option<Others>,
}

/// The way to the other servers.
pub(super) struct Others {
    pub(super) election: ElectionPort,
    pub(super) quorum: QuorumPort,
    pub(super) client: ClientPlace,
    /// `None`: without `reconfigEnabled` nothing is written.
    pub(super) files: Option<MemberFiles>,
}

/// The client port, which is where the members say that this server has it.
pub(super) struct ClientPlace {
    pub(super) me: Sid,
    pub(super) port: ClientPort,
    /// Its number, for those who ask.
    pub(super) number: Arc<AtomicI32>,
    /// Where it is; `None` is nowhere.
    pub(super) now: Option<String>,
}

impl Rim {
    /// Carries one output out.
    pub(super) fn carry_out(&mut self, output: Output) {
        match output {
            Output::Append(txns) => self.log.append(txns),
            Output::RollLog => self.log.roll(),
            Output::Snapshot(start) => self.snapshots.write_beside(start, &self.owner),
            Output::Forget(zxid) => {
                let forgotten = self.log.forget(zxid);
                self.expect(forgotten);
            }
            Output::WriteEpoch(file, epoch) => {
                let written = write_epoch(&*self.log.disk, file, epoch);
                match written {
                    Err(error) if error.is_full() => self.write_epoch_later(file, epoch, &error),
                    written => {
                        if self.expect(written).is_some() {
                            self.owner.send(Input::EpochWritten(file, epoch));
                        }
                    }
                }
            }
            Output::Truncate(zxid) => {
                let truncated = self.log.truncate(zxid);
                if let Some(restored) = self.expect(truncated) {
                    self.owner.send(Input::Truncated(restored.map(Box::new)));
                }
            }
            Output::ReadLog(link, from, until) => self.log.read_beside(link, from, until, &self.owner),
            Output::SessionExpired(_) => self.snapshots.metrics.count(Counter::stale_sessions_expired, 1),
            Output::Looking => self.times.looks(Instant::now()),
            Output::Elected => self.times.elected(Instant::now()),
            Output::Standing(standing) => {
                self.clients.serving.store(standing.serves, Relaxed);
                self.times.stands(Instant::now(), standing.mode);
                let since_ms = standing.since_ms;
                let before = std::mem::replace(&mut *self.standing.write(), standing);
                // To the reference, each role is another server.
                if since_ms > before.since_ms {
                    self.clients.statistics.reset();
                }
            }
            Output::Fail(reason) => self.fail(reason),
            Output::Notify(..)
            | Output::Members(_)
            | Output::Listen(_)
            | Output::ToLearner(..)
            | Output::DatabaseToLearner(..)
            | Output::CloseLearner(_)
            | Output::Dial(..)
            | Output::ToLeader(..)
            | Output::CloseLeader(_) => {
                if let Some(others) = &mut self.others {
                    others.carry_out(output);
                }
            }
        }
    }

    /// Until there is space for an epoch, the machine has no role.
    fn write_epoch_later(&self, file: EpochFile, epoch: Epoch, error: &EpochError) {
        tracing::error!(%error, "an epoch is written once there is space on the disk again");
        self.owner.send(Input::DiskFull(true));
        let (disk, owner, failures) = (Arc::clone(&self.log.disk), self.owner.clone(), self.failures.clone());
        let work = move || {
            loop {
                thread::sleep(FULL_RETRY);
                match write_epoch(&*disk, file, epoch) {
                    Ok(()) => {
                        owner.send(Input::DiskFull(false));
                        return owner.send(Input::EpochWritten(file, epoch));
                    }
                    Err(error) if error.is_full() => {}
                    Err(error) => return drop(failures.try_send(error.to_string())),
                }
            }
        };
        self.expect(thread::Builder::new().name("epoch".to_owned()).spawn(work));
    }

    /// What cannot be done on disk ends the server.
    fn expect<T, E: std::fmt::Display>(&self, done: Result<T, E>) -> Option<T> {
        match done {
            Ok(done) => Some(done),
            Err(error) => {
                self.fail(error.to_string());
                None
            }
        }
    }

    fn fail(&self, reason: String) {
        let _said_before = self.failures.try_send(reason);
    }

    /// Lets learners hear the last words, and the log finish.
    pub(super) async fn stop(mut self) {
        if let Some(others) = &mut self.others {
            others.quorum.finish(FAREWELL).await;
        }
        self.log.close();
    }
}

impl ClientPlace {
    /// As in the reference, connections outlive a port that moves.
    fn follow(&mut self, address: &ClientAddress) {
        let place = address.listen();
        if self.now.as_ref() != Some(&place) {
            tracing::info!(place, "the client port moves");
            self.port.move_to(place.clone());
            self.number.store(address.port.into(), Relaxed);
            self.now = Some(place);
        }
    }
}

impl Others {
    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Notify(sid, notification) => self.election.notify(sid, &notification),
            Output::Members(membership) => {
                if let Some(files) = &mut self.files {
                    files.carry_out(&membership);
                }
                let own = membership.committed.server(self.client.me).cloned();
                self.election.set_members(*membership);
                self.quorum.follow_address();
                // Members without a client port keep the one they have.
                if let Some(client) = own.and_then(|own| own.client) {
                    self.client.follow(&client);
                }
            }
            Output::Listen(door) => self.quorum.listen(door),
            Output::ToLearner(link, bytes) => self.quorum.to_learner(link, bytes),
            Output::DatabaseToLearner(link, start) => self.quorum.database_to_learner(link, start),
            Output::CloseLearner(link) => self.quorum.close_learner(link),
            Output::Dial(link, sid, door) => self.quorum.dial(link, sid, door),
            Output::ToLeader(link, bytes) => self.quorum.to_leader(link, bytes),
            Output::CloseLeader(link) => self.quorum.close_leader(link),
            _ => {}
        }
    }
}

/// The txn log: the writer's thread while it runs, and what is done to the files between two of them.
pub(super) struct LogFiles {
    pub(super) disk: Arc<RealDisk>,
    pub(super) options: LogOptions,
    pub(super) recovery: RecoveryOptions,
    pub(super) tree: TreeOptions,
    /// How many txns a server keeps in memory for learners.
    pub(super) history_txns: usize,
    /// `snapshotSizeFactor`.
    pub(super) sync_factor: f64,
    pub(super) report: Arc<dyn Fn(LogReport) + Send + Sync>,
    pub(super) writer: Option<LogWriter>,
}

impl LogFiles {
    /// Starts the writer's thread.
    ///
    /// # Errors
    /// When there is no thread to be had, or no descriptor.
    pub(super) fn open(&mut self) -> io::Result<()> {
        let report = Arc::clone(&self.report);
        let report = Box::new(move |said| report(said));
        self.writer = Some(LogWriter::start(self.disk.log_dir().to_owned(), self.options, report)?);
        Ok(())
    }

    fn close(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.stop();
        }
    }

    /// Gives the log txns. One that has stopped has said why to somebody else.
    fn append(&self, txns: Vec<(Zxid, Bytes)>) {
        let _said_why = self.writer.as_ref().map(|writer| writer.append(txns));
    }

    fn roll(&self) {
        let _said_why = self.writer.as_ref().map(LogWriter::roll);
    }

    /// Whether the disk is so slow that other servers had better send no more for now.
    pub(super) fn is_behind(&self) -> bool {
        self.writer.as_ref().is_some_and(|writer| writer.waiting_bytes() > LOG_BEHIND_BYTES)
    }

    /// Removes what is above `zxid`, where the leader's database stands now.
    fn forget(&mut self, zxid: Zxid) -> io::Result<()> {
        self.close();
        let plan = plan_replacement(&*self.disk, zxid, self.recovery.body_bytes_max)?;
        tracing::info!(%zxid, ?plan, "forgetting what the leader does not have");
        carry_out(&*self.disk, &plan)?;
        self.open()
    }

    /// Forgets the txns behind `zxid` and loads what is left; `None`: what is on disk does not lead there.
    fn truncate(&mut self, zxid: Zxid) -> anyhow::Result<Option<Restored>> {
        self.close();
        let restored = match plan_truncation(&*self.disk, zxid, self.recovery.body_bytes_max)? {
            Some(plan) => {
                tracing::info!(%zxid, ?plan, "cutting the log where the leader says");
                carry_out(&*self.disk, &plan)?;
                let mut loading = Loading::new(self.tree, self.history_txns);
                loading.link_elsewhere(link_beside);
                let recovered = recover(&*self.disk, &self.recovery, &mut loading)?;
                Some(loading.into_restored(recovered.durable))
            }
            None => None,
        };
        self.open()?;
        Ok(restored)
    }

    /// Reads a stretch of the log on a thread of its own.
    fn read_beside(&self, link: LinkId, from: Zxid, until: Zxid, owner: &OwnerHandle) {
        let (disk, factor, body_bytes_max) = (Arc::clone(&self.disk), self.sync_factor, self.recovery.body_bytes_max);
        let owner_then = owner.clone();
        let work = move || {
            let txns = sync_bytes_max(&*disk, factor)
                .map_err(|error| error.to_string())
                .and_then(|max| read_range(&*disk, from, until, max, body_bytes_max).map_err(|error| error.to_string()))
                .unwrap_or_else(|error| {
                    tracing::warn!(error, "cannot read the log for a learner; it gets the whole database");
                    None
                });
            owner_then.send(Input::LogRead(link, txns));
        };
        if let Err(error) = thread::Builder::new().name("log-reader".to_owned()).spawn(work) {
            tracing::error!(%error, "no thread to read the log");
            owner.send(Input::LogRead(link, None));
        }
    }
}

/// How much of the log a learner is sent at the most, bytes: a part of the newest snapshot.
fn sync_bytes_max(disk: &dyn Disk, factor: f64) -> io::Result<u64> {
    let Some(newest) = list_snapshots(disk)?.into_iter().next() else { return Ok(LOG_SYNC_BYTES_MIN) };
    let size = disk.size(Dir::Snapshots, &newest.name)?;
    Ok(((size as f64 * factor) as u64).clamp(LOG_SYNC_BYTES_MIN, LOG_SYNC_BYTES_MAX))
}

/// What the log's thread says goes to the owner, or ends the server.
pub(super) fn report(
    owner: OwnerHandle,
    failures: mpsc::Sender<String>,
    metrics: Arc<Metrics>,
    statistics: Arc<ServerStatistics>,
    slow_ms: u64,
) -> Arc<dyn Fn(LogReport) + Send + Sync> {
    Arc::new(move |report| match report {
        LogReport::Durable { durable, txns, took, .. } => {
            metrics.sample(Basic::fsynctime, millis(took));
            statistics.slow_flushes.fetch_add(u64::from(millis(took) > slow_ms), Relaxed);
            metrics.sample(Basic::sync_processor_batch_size, txns as u64);
            owner.send(Input::Durable(durable));
        }
        LogReport::SizeLimit(_) => owner.send(Input::RollWanted),
        LogReport::Full(reason) => {
            tracing::error!(reason, "the disk is full: writes are refused until there is space again");
            owner.send(Input::DiskFull(true));
        }
        LogReport::SpaceAgain => {
            tracing::warn!("there is space on the disk again: writes go on");
            owner.send(Input::DiskFull(false));
        }
        LogReport::Failed(reason) => {
            let _said_before =
                failures.try_send(format!("the transaction log failed, so that nothing can be made durable: {reason}"));
        }
    })
}
