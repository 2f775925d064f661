//! `dump`: sessions and when they are due, ephemerals, connections.

use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::connections::address;
use super::json::{Fields, Json};
use super::view::View;
use crate::ids::{Now, SessionId};
use crate::peer::{ExpirySets, Mode};

pub(super) fn dump(view: &View) -> String {
    let now = view.clock.now();
    let mut out = "SessionTracker dump:\n".to_owned();
    let ExpirySets { tracked, local } = view.inspect.expiry_sets();
    let kind = if local.is_some() { "Global " } else { "" };
    if let Some(sets) = &local {
        put_sets("Local ", sets, now, &mut out);
    }
    match tracked {
        Some(sets) => put_sets(kind, &sets, now, &mut out),
        None => put_global_sessions(view, &mut out),
    }
    put_ephemerals(view, &mut out);
    put_connections(view, now, &mut out);
    out
}

/// The same as JSON, without connections. Servers that do not track sessions have none to tell of.
pub(super) fn fields(view: &View) -> Fields {
    let ids = |ids: Vec<SessionId>| ids.into_iter().map(|id| Json::Int(id.0)).collect::<Json>();
    let tracked = view.inspect.expiry_sets().tracked.unwrap_or_default();
    let due: Fields = tracked.into_iter().map(|(due, sessions)| (due.to_string(), ids(sessions))).collect();
    let database = view.database.read();
    let mut owners: Vec<_> = database.tree().ephemeral_sessions().collect();
    owners.sort_unstable();
    let paths = |owner| database.tree().ephemerals_of(owner).into_iter().map(Json::from).collect::<Json>();
    let ephemerals: Fields = owners.into_iter().map(|owner| (owner.0.to_string(), paths(owner))).collect();
    vec![
        ("expiry_time_to_session_ids".to_owned(), Json::Object(due)),
        ("session_id_to_ephemeral_paths".to_owned(), Json::Object(ephemerals)),
    ]
}

fn put_sets(kind: &str, sets: &BTreeMap<u64, Vec<SessionId>>, now: Now, out: &mut String) {
    let sessions: usize = sets.values().map(Vec::len).sum();
    let _ = writeln!(out, "{kind}Session Sets ({})/({sessions}):", sets.len());
    for (due, ids) in sets {
        let _ = writeln!(out, "{} expire at {}:", ids.len(), date(now, *due));
        ids.iter().for_each(|id| {
            let _ = writeln!(out, "\t{id}");
        });
    }
}

/// On a server that does not track them.
fn put_global_sessions(view: &View, out: &mut String) {
    let database = view.database.read();
    // A read-only server tracks none of them.
    if view.mode() == Mode::ReadOnly {
        out.push_str("Global Sessions(0):\n");
        return;
    }
    let _ = writeln!(out, "Global Sessions({}):", database.sessions().len());
    for (id, timeout_ms) in database.sessions() {
        let _ = writeln!(out, "{id}\t{timeout_ms}ms");
    }
}

fn put_ephemerals(view: &View, out: &mut String) {
    let database = view.database.read();
    let mut owners: Vec<_> = database.tree().ephemeral_sessions().collect();
    owners.sort_unstable();
    let _ = writeln!(out, "ephemeral nodes dump:\nSessions with Ephemerals ({}):", owners.len());
    for owner in owners {
        let _ = writeln!(out, "{owner}:");
        for path in database.tree().ephemerals_of(owner) {
            let _ = writeln!(out, "\t{path}");
        }
    }
}

/// Connections by when they would be given up: after the session timeout, or `nio.sessionlessCnxnTimeout` without a session.
/// Times are rounded up by the latter, as in the reference.
fn put_connections(view: &View, now: Now, out: &mut String) {
    let sessionless_ms = view.facts.sessionless_ms.max(1);
    let mut sets: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for lane in view.connections.all() {
        let info = lane.info();
        let patience = match info.session {
            Some(_) => u64::try_from(info.timeout_ms).unwrap_or(0),
            None => sessionless_ms,
        };
        // Whoever has asked nothing yet was heard of when it came.
        let age_ms = u64::try_from(now.wall_ms - info.established_ms).unwrap_or(0);
        let heard = info.statistics.last_response_ms.max(now.steady_ms.saturating_sub(age_ms));
        let due = (heard.saturating_add(patience) / sessionless_ms).saturating_add(1).saturating_mul(sessionless_ms);
        let session = info.session.unwrap_or(SessionId::NONE);
        sets.entry(due).or_default().push(format!("\tip: /{} sessionId: {session}\n", address(&info)));
    }
    let connections: usize = sets.values().map(Vec::len).sum();
    let _ = writeln!(out, "Connections dump:\nConnections Sets ({})/({connections}):", sets.len());
    for (due, lines) in sets {
        let _ = writeln!(out, "{} expire at {}:", lines.len(), date(now, due));
        lines.iter().for_each(|line| out.push_str(line));
    }
}

/// A time of the steady clock as Java's `Date` prints it.
fn date(now: Now, steady_ms: u64) -> String {
    let ahead = steady_ms as i64 - now.steady_ms as i64;
    let time = Timestamp::from_millisecond(now.wall_ms + ahead).unwrap_or(Timestamp::UNIX_EPOCH);
    time.to_zoned(TimeZone::UTC).strftime("%a %b %d %H:%M:%S UTC %Y").to_string()
}
