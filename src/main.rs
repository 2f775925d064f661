//! The `zkd` binary: run the server, or one of its tools.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use zkd::auth::AuthRules;
use zkd::net::ConnectionLimits;
use zkd::node::{PlainWords, Server, Settings};
use zkd::peer::{ReaperRules, SnapshotRules};
use zkd::session::Negotiation;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn settings(text: &str) -> Settings {
    let get = |key: &str| {
        text.lines()
            .filter_map(|l| l.split_once('='))
            .filter(|(k, _)| k.trim() == key)
            .map(|(_, v)| v.trim().to_owned())
            .next_back()
    };
    let tick: u64 = get("tickTime").and_then(|v| v.parse().ok()).unwrap_or(3000);
    let dir: PathBuf = get("dataDir").unwrap_or_else(|| "zkd-data".into()).into();
    Settings {
        client_address: ([0, 0, 0, 0], get("clientPort").and_then(|v| v.parse().ok()).unwrap_or(2181)).into(),
        backlog: -1,
        data_log_dir: get("dataLogDir").map(Into::into).unwrap_or_else(|| dir.clone()),
        data_dir: dir,
        autocreate: true,
        tick_ms: tick,
        negotiation: Negotiation { min_ms: 2 * tick as i32, max_ms: 20 * tick as i32 },
        limits: ConnectionLimits {
            frame_bytes_max: 0xfffff,
            per_address_max: get("maxClientCnxns").and_then(|v| v.parse().ok()).unwrap_or(60),
            total_max: 0,
            outstanding_max: 1000,
            large_request_threshold: None,
            large_request_bytes_max: 0,
            sessionless_ms: 10000,
            keep_alive: false,
        },
        auth: AuthRules {
            super_digest: get("DigestAuthenticationProvider.superDigest").map(Into::into),
            ..AuthRules::default()
        },
        extended_types: get("extendedTypesEnabled").as_deref() == Some("true"),
        enforce_quota: get("enforceQuota").as_deref() == Some("true"),
        reconfig_enabled: get("reconfigEnabled").as_deref() == Some("true"),
        digest: true,
        snapshots: SnapshotRules {
            txns: get("snapCount").and_then(|v| v.parse().ok()).unwrap_or(100_000),
            bytes: 4 << 30,
        },
        compression: Default::default(),
        snapshot_last_zxid: true,
        log: Default::default(),
        recovery: Default::default(),
        reaper: ReaperRules { interval_ms: 60_000, per_minute_max: 10_000, never_used_ms: 0 },
        purge_interval: None::<Duration>,
        purge_keep: 3,
    }
}

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let text = std::env::args().nth(2).map(|f| std::fs::read_to_string(f).unwrap_or_default()).unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = Server::start(settings(&text), |_| Arc::new(PlainWords)).and_then(|server| match runtime {
        Ok(runtime) => runtime.block_on(server.run()),
        Err(e) => Err(e.into()),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!("{e}");
            ExitCode::from(e.exit_code())
        }
    }
}
