//! Servers that have come to the same zxid have the same tree and the same sessions (state machine replication; the
//! digests of ZOOKEEPER-3114), and no ephemeral is there without its session (SE-08; ZOOKEEPER-2355).

use std::collections::HashMap;

use zkd::ids::Zxid;
use zkd::pipeline::Database;

/// The state behind each zxid, as the first server that came there had it.
#[derive(Default)]
pub(crate) struct States {
    known: HashMap<Zxid, (u64, usize, u64)>,
    seen: Vec<Zxid>,
}

impl States {
    pub(super) fn new(servers: usize) -> Self {
        Self { known: HashMap::new(), seen: vec![Zxid(-1); servers] }
    }

    /// A server starts, and may be anywhere.
    pub(super) fn forget(&mut self, node: usize) {
        self.seen[node] = Zxid(-1);
    }

    /// A server is at `zxid`.
    pub(super) fn at(&mut self, node: usize, zxid: Zxid, database: &Database) {
        let mismatches = database.digests().mismatches;
        assert_eq!(mismatches, 0, "[same state] server {} has found {mismatches} digests to differ", node + 1);
        if std::mem::replace(&mut self.seen[node], database.last_zxid()) == database.last_zxid() {
            return;
        }
        let sessions = database.sessions();
        for owner in database.tree().ephemeral_sessions() {
            assert!(
                sessions.contains_key(&owner),
                "[ephemerals] server {} has an ephemeral of {owner} at {zxid}, which is no session",
                node + 1
            );
        }
        let sum = sessions.iter().fold(0_u64, |sum, (id, timeout_ms)| {
            let one = id.0.cast_unsigned() ^ u64::from(timeout_ms.cast_unsigned()) << 40;
            sum.wrapping_add(one.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        });
        let state = (database.tree().digest(), sessions.len(), sum);
        let known = *self.known.entry(zxid).or_insert(state);
        assert_eq!(known, state, "[same state] server {} is not at {zxid} as others were (digest, sessions)", node + 1);
    }
}
