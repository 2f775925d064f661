//! What must hold whatever happens: one file for each invariant, with its source. The oracle sees what no server can.

pub(crate) mod agreement;
pub(crate) mod durability;
pub(crate) mod leaders;
pub(crate) mod lineage;
pub(crate) mod members;
pub(crate) mod promises;
pub(crate) mod reads;
pub(crate) mod states;
pub(crate) mod watches;
pub(crate) mod writes;

use std::collections::BTreeSet;

use zkd::ids::{Epoch, SessionId, Zxid};
use zkd::peer::{Mode, Standing};
use zkd::pipeline::Database;
use zkd::proto::{ErrorCode, OpCode, OpKind, ReplyHeader};
use zkd::storage::epochs::{EpochFile, Epochs};
use zkd::txn::Entry;
use zkd::zab::{Ensemble, Logged, Packet, Reader};

use self::agreement::Agreement;
use self::durability::Durability;
use self::leaders::Leaders;
use self::lineage::Lineage;
use self::members::Members;
use self::promises::Promises;
use self::states::States;
use self::writes::Writes;
use super::client::Pending;
use super::model::Model;
use super::plan::Plan;

/// All that is known, and all that must hold.
pub(crate) struct Oracle {
    pub(crate) lineage: Lineage,
    pub(crate) leaders: Leaders,
    pub(crate) agreement: Agreement,
    pub(crate) durability: Durability,
    pub(crate) members: Members,
    promises: Promises,
    states: States,
    writes: Writes,
    pub(crate) model: Model,
    /// What each server stands for since it last said.
    pub(crate) standing: Vec<Standing>,
    /// Leaderships of processes that still run.
    reigns: BTreeSet<(usize, Epoch)>,
    txns: usize,
    /// Observers keep no log, and so promise nothing.
    observers_forget: bool,
    /// Who follows as an observer.
    observes: Vec<bool>,
    /// Writes that were answered.
    pub(crate) writes_answered: u64,
    pub(crate) reads_answered: u64,
}

/// Above this many txns a run only waits for its end.
const TXNS_MAX: usize = 300;

impl Oracle {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            lineage: Lineage::default(),
            leaders: Leaders::default(),
            agreement: Agreement::default(),
            durability: Durability::new(plan.servers()),
            members: Members::new(plan.ensemble.clone()),
            promises: Promises::new(plan.servers()),
            states: States::new(plan.servers()),
            writes: Writes::default(),
            model: Model::default(),
            standing: vec![Standing::default(); plan.servers()],
            reigns: BTreeSet::new(),
            txns: 0,
            observers_forget: !plan.observer_writes,
            observes: vec![false; plan.servers()],
            writes_answered: 0,
            reads_answered: 0,
        }
    }

    /// Whether clients may go on asking.
    pub(crate) fn takes_more(&self) -> bool {
        self.txns < TXNS_MAX
    }

    /// The highest zxid that a client was told of as its own write's.
    pub(crate) fn told(&self) -> Zxid {
        self.writes.told
    }

    pub(crate) fn started(&mut self, node: usize, last: Zxid, epochs: Epochs) {
        let last = self.lineage.canonical(last);
        self.durability.recovered(&self.lineage, node, last);
        self.promises.started(node, epochs);
        self.states.forget(node);
        self.standing[node] = Standing::default();
        self.reigns.retain(|(leader, _)| *leader != node);
    }

    pub(crate) fn appended(&mut self, node: usize, txns: &[Logged]) {
        for (zxid, body) in txns {
            let last = self.durability.logged[node];
            let leads = self.leaders.leads(node, zxid.epoch());
            self.lineage.appended(&name(node), leads, last, *zxid, body);
            self.durability.logged[node] = *zxid;
        }
    }

    /// A leader tells a learner something. What it proposes may come into that one's log before its own.
    pub(crate) fn told_learner(&mut self, node: usize, bytes: &[u8]) {
        let mut rest = bytes::Bytes::copy_from_slice(bytes);
        while let Ok(Some((length, packet))) = Packet::decode(&rest, Reader::Learner, 2 << 20) {
            rest = rest.slice(length..);
            if let Packet::Proposal { zxid, txn } = packet {
                self.lineage.proposed(&name(node), self.leaders.leads(node, zxid.epoch()), zxid, &txn);
            }
        }
    }

    pub(crate) fn durable(&mut self, node: usize, zxid: Zxid) {
        self.durability.flushed(node, zxid);
    }

    pub(crate) fn epoch_written(&mut self, node: usize, file: EpochFile, epoch: Epoch) {
        self.promises.written(node, file, epoch);
    }

    pub(crate) fn invited(&mut self, node: usize, epoch: Epoch) {
        self.promises.invited(node, epoch);
    }

    pub(crate) fn told_leader(&mut self, node: usize, bytes: &[u8]) {
        let first = Packet::decode(&bytes::Bytes::copy_from_slice(bytes), Reader::Leader, 2 << 20);
        if let Ok(Some((_, Packet::LearnerInfo(info)))) = first {
            self.observes[node] = info.observer;
        }
        if self.observers_forget && self.observes[node] {
            return;
        }
        self.promises.told(node, bytes, &self.lineage, self.durability.durable[node]);
    }

    pub(crate) fn truncating(&mut self, node: usize, zxid: Zxid) {
        self.durability.cutting(node, self.lineage.canonical(zxid));
    }

    pub(crate) fn truncated(&mut self, node: usize, zxid: Zxid) {
        self.durability.cut(&self.lineage, node, self.lineage.canonical(zxid));
        self.states.forget(node);
    }

    pub(crate) fn installed(&mut self, node: usize, zxid: Zxid) {
        self.durability.installed(node, self.lineage.canonical(zxid));
        self.states.forget(node);
    }

    /// A server that kept no log begins to write down what it has.
    pub(crate) fn written_down(&mut self, node: usize, zxid: Zxid) {
        let zxid = self.lineage.canonical(zxid);
        if !self.lineage.holds(self.durability.logged[node], zxid) {
            self.durability.installed(node, zxid);
        }
    }

    pub(crate) fn snapshot_written(&mut self, node: usize, zxid: Zxid) {
        self.durability.snapshot(&self.lineage, node, self.lineage.canonical(zxid));
    }

    /// What was above `zxid` is gone from disk.
    pub(crate) fn forgotten(&mut self, node: usize, zxid: Zxid) {
        let zxid = self.lineage.canonical(zxid);
        self.durability.durable[node] = zxid;
    }

    /// A server says what it is.
    pub(crate) fn stands(&mut self, node: usize, standing: &Standing) {
        if standing.mode == Mode::Leader {
            let last = self.durability.logged[node];
            let told_before = !self.reigns.insert((node, standing.epoch));
            if self.leaders.established(node, standing.epoch, told_before) {
                self.leaders.has_all(&self.lineage, standing.epoch, last, self.agreement.committed);
                self.lineage.begin(standing.epoch, last);
                let members = self.members.of(&self.lineage, self.agreement.committed, last);
                self.durability.committed(&self.lineage, &name(node), last, &members);
            }
        }
        self.standing[node] = standing.clone();
    }

    /// A server takes it that everything up to here is committed.
    fn commits(&mut self, node: usize, committed: Zxid) {
        let committed = self.lineage.canonical(committed);
        let new = self.agreement.commits(&self.lineage, &name(node), committed);
        self.txns += new.len();
        for zxid in new {
            let members = self.members.committed(&self.lineage, zxid);
            self.durability.committed(&self.lineage, &name(node), zxid, &members);
            let body = self.lineage.body(zxid);
            let entry = Entry::decode(&body).expect("a txn that was logged");
            self.model.apply(&entry);
        }
    }

    /// A server writes down which members are in force: their txn is committed, though it may die before anybody hears of it.
    pub(crate) fn in_force(&mut self, node: usize, members: &Ensemble) {
        if members.zxid().counter() > 0 {
            self.commits(node, members.zxid());
        }
    }

    /// A look at a server between two of its steps.
    pub(crate) fn observe(&mut self, node: usize, committed: Zxid, database: &Database) {
        if committed > Zxid::ZERO {
            self.commits(node, committed);
        }
        let applied = self.lineage.canonical(database.last_zxid());
        self.states.at(node, applied, database);
        if self.standing[node].serves {
            assert!(
                self.lineage.holds(self.agreement.committed, applied),
                "[reads] {} shows clients {applied}, which is not committed",
                name(node)
            );
        }
    }

    /// A client was given this session.
    pub(crate) fn welcomed(&self, session: SessionId) {
        let _may_be_over_already = session;
    }

    /// A client was given an answer.
    pub(crate) fn answered(&mut self, session: SessionId, pending: &Pending, header: &ReplyHeader, body: &[u8]) {
        if header.zxid.0 <= 0 {
            return;
        }
        let zxid = self.lineage.canonical(header.zxid);
        assert!(
            self.lineage.holds(self.agreement.committed, zxid),
            "[linearizable writes] {session} is told of {zxid}, which is not committed"
        );
        let op = pending.asked.op();
        if op.kind() != OpKind::Write {
            self.reads_answered += 1;
            reads::answered(&self.model, pending, header, zxid, body);
            return;
        }
        if refused(header.error) {
            return;
        }
        self.writes_answered += 1;
        let body_of = self.lineage.body(zxid);
        let entry = Entry::decode(&body_of).expect("a txn that was logged");
        assert!(
            op == OpCode::CLOSE_SESSION || entry.header.op != OpCode::CLOSE_SESSION,
            "[linearizable writes] {zxid}"
        );
        self.writes.answered(session, pending, header, body, &entry);
    }
}

/// Refused without a place in the order.
fn refused(error: ErrorCode) -> bool {
    error == ErrorCode::SYSTEM_ERROR || error == ErrorCode::MARSHALLING
}

fn name(node: usize) -> String {
    format!("S{}", node + 1)
}
