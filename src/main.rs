//! The `zkd` binary: run the server, or one of its tools.
use std::sync::Arc;
use zkd::auth::*;
use zkd::ids::*;
use zkd::net::*;
use zkd::node::*;
use zkd::peer::*;
use zkd::pipeline::*;
fn main() {
    let port: u16 = std::env::args().nth(1).and_then(|p| p.parse().ok()).unwrap_or(2181);
    let ext = std::env::args().nth(2).is_some();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let auth = Arc::new(AuthRules {
        super_digest: ext.then(|| "super:g9oN2HttPfn8MMWJZ2r45Np/LIA=".into()),
        ..AuthRules::default()
    });
    let tree = zkd::tree::Tree::new(zkd::tree::TreeOptions { hash_seed: 5, extended_types: ext, digest: true });
    let db = Database::new(tree, Default::default(), Zxid::ZERO, auth.clone());
    let db: SharedDatabase = Arc::new(parking_lot::RwLock::new(db));
    let rules = PeerRules {
        sid: Sid(1),
        tick_ms: 2000,
        negotiation: zkd::session::Negotiation { min_ms: 4000, max_ms: 40000 },
        prepare: PrepareRules {
            auth,
            extended_types: ext,
            enforce_quota: ext,
            reconfig_enabled: ext,
            digest: true,
            epoch_rolls_over: true,
        },
        snapshots: SnapshotRules { txns: 100000, bytes: 0 },
        reaper: ReaperRules { interval_ms: 60000, per_minute_max: 10000, never_used_ms: 0 },
        seed: 1,
    };
    let peer = Peer::new(rules, db.clone(), clock.now());
    let (handle, inbox) = OwnerHandle::new();
    let h2 = handle.clone();
    let carry = move |o: Output| {
        if let Output::Append(list) = o {
            if let Some((z, _)) = list.last() {
                h2.send(Input::Durable(zkd::storage::Durable::after_flush(*z)));
            }
        }
    };
    let statistics = Arc::new(ServerStatistics::default());
    let limits = ConnectionLimits {
        frame_bytes_max: 1048575,
        per_address_max: 0,
        total_max: 0,
        outstanding_max: 1000,
        large_request_threshold: None,
        large_request_bytes_max: 0,
        sessionless_ms: 10000,
        keep_alive: false,
    };
    let ctx = Arc::new(ClientContext {
        database: db,
        owner: Arc::new(handle),
        words: Arc::new(PlainWords),
        clock: clock.clone(),
        connections: Arc::default(),
        statistics,
        limits,
        serving: true.into(),
    });
    let _port = listen(&ctx, ([0, 0, 0, 0], port).into(), -1, 2).unwrap();
    OwnerLoop { peer, clock, carry_out: carry }.run(&inbox);
}
