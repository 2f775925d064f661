//! Carries out what a server wants, as `node::rim` does. A story may hold a flush or a snapshot file, and may let the
//! machine die right before or behind any work on its disk.

use std::sync::Arc;

use zkd::ids::{LinkId, Sid, Zxid};
use zkd::peer::{Door, Input, Loading, Mode, Output, Restored, SnapshotStart, Standing};
use zkd::storage::Durable;
use zkd::storage::epochs::{EpochFile, write_epoch};
use zkd::storage::log_range::read_range;
use zkd::storage::recovery::{RecoveryOptions, recover};
use zkd::storage::truncate::{carry_out, plan_replacement, plan_truncation};
use zkd::tree::Walked;
use zkd::zab::{Ensemble, Membership, Packet, SNAPSHOT_SIGNATURE};

use super::history::{TREE, write_snapshot_file};
use super::log::Started;
use super::server::Role;
use super::world::{Event, Node, World};

/// Txns from the log are sent to a learner up to this many bytes.
const LOG_SYNC_BYTES_MAX: u64 = 20_000;

impl World {
    pub(crate) fn carry_out(&mut self, node: Node, output: Output) {
        match output {
            Output::Append(txns) => {
                self.process(node).log.append(txns);
                self.start_writing(node);
            }
            Output::RollLog => {
                self.process(node).log.roll();
                self.start_writing(node);
            }
            Output::Snapshot(start) => {
                if self.servers[&node].held.contains("snapshot") {
                    self.process(node).snapshot_waits = Some(start);
                } else {
                    let boot = self.servers[&node].boot;
                    self.after(1, Event::SnapshotDue(node, boot, start));
                }
            }
            Output::Forget(zxid) => self.forget(node, zxid),
            Output::WriteEpoch(file, epoch) => {
                let disk = self.disk(node);
                if self.on_disk(node, file.name(), &format!("{}={epoch}", file.name()), || {
                    write_epoch(&*disk, file, epoch).expect("a disk that works");
                }) {
                    self.give(node, Input::EpochWritten(file, epoch));
                }
            }
            Output::Truncate(zxid) => self.truncate(node, zxid),
            Output::ReadLog(link, from, until) => {
                self.tell(format!("{node} reads its log behind {from}"));
                let boot = self.servers[&node].boot;
                self.after(1, Event::ReadLog(node, boot, link, from, until));
            }
            Output::Looking | Output::Elected => {}
            Output::SessionExpired(session) => {
                let name = self.client_of(session);
                self.tell(format!("{node} expires the session of {name}"));
            }
            Output::Standing(standing) => self.stand(node, &standing),
            Output::Fail(reason) => {
                self.tell(format!("{node} EXITS: {reason}"));
                self.end(node);
            }
            Output::Members(members) => self.write_members(node, *members),
            Output::Notify(to, notification) => {
                let mut bytes = Vec::new();
                notification.encode(&mut bytes);
                self.notify(node, to.0, bytes);
            }
            Output::Listen(door) => {
                if door == Some(Door::Leader) {
                    self.become_role(node, Role::Leading, "");
                }
                self.process(node).listens = door;
                for id in self.learner_links(node) {
                    self.hang_up(id, node);
                }
            }
            Output::ToLearner(link, bytes) => {
                if let Some(id) = self.link_of_leader(node, link) {
                    self.send(id, node, bytes);
                }
            }
            Output::DatabaseToLearner(link, start) => self.send_database(node, link, start),
            Output::CloseLearner(link) => {
                if let Some(id) = self.link_of_leader(node, link) {
                    self.hang_up(id, node);
                }
            }
            Output::Dial(link, to, door) => {
                let observes = self.members(node).committed.is_observer(Sid(node));
                let role = if observes { Role::Observing } else { Role::Following };
                self.become_role(node, role, &format!(" leader={}", to.0));
                let boot = self.servers[&node].boot;
                self.after(1, Event::DialLeader(node, boot, link, to.0, door));
            }
            Output::ToLeader(link, bytes) => {
                if let Some(id) = self.link_of_learner(node, link) {
                    self.send(id, node, bytes);
                }
            }
            Output::CloseLeader(link) => {
                if let Some(id) = self.link_of_learner(node, link) {
                    self.hang_up(id, node);
                }
            }
        }
    }

    fn write_members(&mut self, node: Node, members: Membership) {
        let ids = |ensemble: &Ensemble| {
            let role = |sid| if ensemble.is_observer(sid) { "o" } else { "" };
            let ids: Vec<_> = ensemble.servers().map(|(sid, _)| format!("{}{}", sid.0, role(sid))).collect();
            format!("{} of {}", ids.join(" "), ensemble.zxid())
        };
        let next = members.proposed.as_ref().map(|next| format!(", proposed {}", ids(next)));
        let what = format!("members {}{}", ids(&members.committed), next.unwrap_or_default());
        let server = self.servers.get_mut(&node).expect("a server of this story");
        if server.crash.as_ref().is_none_or(|(before, work)| !before || work != "members") {
            server.members = Some(members);
        }
        if self.on_disk(node, "members", "the members are written", || {}) {
            self.tell(format!("{node} {what}"));
        }
    }

    fn become_role(&mut self, node: Node, role: Role, more: &str) {
        let old = std::mem::replace(&mut self.process(node).role, role);
        if old != role {
            self.tell(format!("{node} {} -> {}{more}", old.name(), role.name()));
        }
    }

    fn stand(&mut self, node: Node, standing: &Arc<Standing>) {
        let process = self.process(node);
        process.serves = standing.serves;
        let is_news = std::mem::replace(&mut process.stands, (standing.mode, standing.epoch)) != process.stands;
        match standing.mode {
            Mode::Looking => self.become_role(node, Role::Looking, ""),
            Mode::ReadOnly => self.tell(format!("{node} SERVING read-only")),
            Mode::Standalone => self.tell(format!("{node} SERVING alone")),
            Mode::Leader | Mode::Follower | Mode::Observer if is_news => {
                let clients = if standing.serves { "" } else { ", no clients" };
                self.tell(format!("{node} SERVING epoch={}{clients}", standing.epoch));
            }
            Mode::Leader | Mode::Follower | Mode::Observer => {}
        }
    }

    /// Works on the disk; the machine may die before or behind it. Whether it still lives.
    fn on_disk(&mut self, node: Node, kind: &str, what: &str, work: impl FnOnce()) -> bool {
        let server = self.servers.get_mut(&node).expect("a server of this story");
        let crash = server.crash.take_if(|(_, of)| of == kind).map(|(before, _)| before);
        if crash == Some(true) {
            self.tell(format!("{node} crashes before {what}"));
            self.crash(node);
            return false;
        }
        work();
        if self.watched.contains(&node) {
            self.tell(format!("{node} disk: {what}"));
        }
        if crash == Some(false) {
            self.tell(format!("{node} crashes behind {what}"));
            self.crash(node);
            return false;
        }
        true
    }

    fn start_writing(&mut self, node: Node) {
        let disk = self.disk(node);
        if let Started::Flushing = self.process(node).log.start(&disk).expect("a disk that works") {
            if self.servers[&node].held.contains("flush") {
                self.process(node).flush_waits = true;
            } else {
                let boot = self.servers[&node].boot;
                self.after(1, Event::Flushed(node, boot));
            }
        }
    }

    pub(crate) fn flushed(&mut self, node: Node) {
        let disk = self.disk(node);
        let mut durable = None;
        let mut log = std::mem::replace(&mut self.process(node).log, super::log::SimLog::new(false));
        let lives = self.on_disk(node, "flush", "the log is flushed", || {
            durable = log.flushed(&disk).expect("a disk that works");
        });
        if !lives {
            return;
        }
        self.process(node).log = log;
        self.durable(node, durable);
        self.start_writing(node);
    }

    fn durable(&mut self, node: Node, durable: Option<Zxid>) {
        if let Some(zxid) = durable {
            self.give(node, Input::Durable(Durable::after_flush(zxid)));
        }
    }

    /// The log's writer is stopped, as before any work on its files.
    fn close_log(&mut self, node: Node) {
        let disk = self.disk(node);
        let durable = self.process(node).log.close(&disk).expect("a disk that works");
        self.process(node).flush_waits = false;
        self.durable(node, durable);
    }

    fn forget(&mut self, node: Node, zxid: Zxid) {
        self.close_log(node);
        let disk = self.disk(node);
        self.on_disk(node, "forget", &format!("what is above {zxid} is forgotten"), || {
            let plan = plan_replacement(&*disk, zxid, RecoveryOptions::default().body_bytes_max).expect("a plan");
            carry_out(&*disk, &plan).expect("a disk that works");
        });
    }

    fn truncate(&mut self, node: Node, zxid: Zxid) {
        self.close_log(node);
        let (disk, options) = (self.disk(node), RecoveryOptions::default());
        let history_txns = self.settings.history_txns;
        let mut restored: Option<Restored> = None;
        let lives = self.on_disk(node, "truncate", &format!("the log is cut behind {zxid}"), || {
            let plan = plan_truncation(&*disk, zxid, options.body_bytes_max).expect("a plan or none");
            restored = plan.map(|plan| {
                carry_out(&*disk, &plan).expect("a disk that works");
                let mut loading = Loading::new(TREE, history_txns);
                let recovered = recover(&*disk, &options, &mut loading).expect("a database that is left");
                loading.into_restored(recovered.durable)
            });
        });
        if lives {
            self.give(node, Input::Truncated(restored.map(Box::new)));
        }
    }

    pub(crate) fn read_log(&mut self, node: Node, link: LinkId, from: Zxid, until: Zxid) {
        let body_bytes_max = RecoveryOptions::default().body_bytes_max;
        let txns = read_range(&*self.disk(node), from, until, LOG_SYNC_BYTES_MAX, body_bytes_max).unwrap_or(None);
        self.give(node, Input::LogRead(link, txns));
    }

    fn send_database(&mut self, node: Node, link: LinkId, start: SnapshotStart) {
        let Some(id) = self.link_of_leader(node, link) else {
            self.give(node, Input::WalkEnded(start.walk, false));
            return;
        };
        let mut bytes = Packet::Snap(start.zxid).to_bytes().to_vec();
        bytes.extend_from_slice(&start.head);
        let walked = self.walk_on(node, start.walk, &mut bytes);
        bytes.extend_from_slice(SNAPSHOT_SIGNATURE);
        self.send(id, node, bytes);
        self.give(node, Input::WalkEnded(start.walk, walked));
    }

    fn walk_on(&mut self, node: Node, walk: u64, out: &mut Vec<u8>) -> bool {
        let database = self.process(node).database.read();
        loop {
            match database.continue_snapshot(walk, 1 << 16, out) {
                Walked::More => {}
                Walked::Done => return true,
                Walked::Lost => return false,
            }
        }
    }

    pub(crate) fn snapshot_due(&mut self, node: Node, start: SnapshotStart) {
        let (walk, zxid) = (start.walk, start.zxid);
        let mut body = Vec::new();
        if !self.walk_on(node, walk, &mut body) {
            self.give(node, Input::SnapshotWritten(walk, None));
            return;
        }
        let disk = self.disk(node);
        let lives = self.on_disk(node, "snapshot", &format!("snapshot {zxid}"), || {
            write_snapshot_file(&disk, &start, &body).expect("a disk that works");
        });
        if lives {
            self.give(node, Input::SnapshotWritten(walk, Some(Durable::after_flush(zxid))));
        }
    }

    /// Lets work on the disk come to its end again.
    pub(crate) fn release_disk(&mut self, node: Node, kind: &str) {
        let server = self.servers.get_mut(&node).expect("a server of this story");
        server.held.remove(kind);
        let boot = server.boot;
        let Some(process) = &mut server.process else { return };
        if kind == "flush" && std::mem::take(&mut process.flush_waits) {
            self.after(1, Event::Flushed(node, boot));
        } else if let Some(start) = process.snapshot_waits.take_if(|_| kind == "snapshot") {
            self.after(1, Event::SnapshotDue(node, boot, start));
        }
    }

    /// The epoch files as they are.
    pub(crate) fn write_epochs(&mut self, node: Node, accepted: i32, current: i32) {
        let disk = self.disk(node);
        for (file, epoch) in [(EpochFile::Accepted, accepted), (EpochFile::Current, current)] {
            write_epoch(&*disk, file, epoch).expect("a disk that works");
        }
    }
}
