//! `cons`, `crst`, `connections`: who is connected.

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::json::{Fields, Json, field};
use super::view::View;
use crate::pipeline::LaneInfo;

pub(super) fn cons(view: &View) -> String {
    let mut out = String::new();
    for lane in view.connections.all() {
        put_line(&lane.info(), &mut out);
    }
    out.push('\n');
    out
}

pub(super) fn crst(view: &View) -> String {
    view.connections.all().iter().for_each(|lane| lane.reset_statistics());
    "Connection stats reset.\n".to_owned()
}

/// What `stat` shows of a connection, without the bracket that closes it.
pub(super) fn short_line(info: &LaneInfo) -> String {
    let interest = u8::from(info.session.is_some());
    let (queued, counts) = (info.queued, &info.statistics);
    let (address, received, sent) = (address(info), counts.received, counts.sent);
    format!(" /{address}[{interest}](queued={queued},recved={received},sent={sent}")
}

fn put_line(info: &LaneInfo, out: &mut String) {
    out.push_str(&short_line(info));
    if let Some(session) = info.session {
        let counts = &info.statistics;
        let op = counts.last_op.map_or("NA", crate::proto::OpCode::abbreviation);
        let _ = write!(out, ",sid={session},lop={op},est={},to={}", info.established_ms, info.timeout_ms);
        if counts.last_cxid >= 0 {
            let _ = write!(out, ",lcxid={:#x}", counts.last_cxid);
        }
        let mean = mean_ms(info);
        let _ = write!(
            out,
            ",lzxid={:#x},lresp={},llat={},minlat={},avglat={mean},maxlat={}",
            counts.last_zxid,
            counts.last_response_ms,
            counts.last_latency_ms,
            counts.min_latency_ms,
            counts.max_latency_ms
        );
    }
    out.push_str(")\n");
}

/// The same as JSON: `connections` and `stats`, the latter without `details`.
pub(super) fn fields(view: &View, details: bool) -> Fields {
    let all: Vec<_> = view.connections.all().iter().map(|lane| lane.info()).collect();
    let those = |secure| -> Json {
        all.iter().filter(|info| info.secure == secure).map(|info| object(view, info, details)).collect()
    };
    vec![field("connections", those(false)), field("secure_connections", those(true))]
}

fn object(view: &View, info: &LaneInfo, details: bool) -> Json {
    const READS: i64 = 1;
    let counts = &info.statistics;
    let mut fields = vec![
        field("remote_socket_address", socket_address(info.address)),
        field("interest_ops", READS),
        field("outstanding_requests", info.queued),
        field("packets_received", counts.received),
        field("packets_sent", counts.sent),
    ];
    if details {
        let timeout_ms =
            if info.session.is_some() { i64::from(info.timeout_ms) } else { view.facts.sessionless_ms as i64 };
        fields.extend([
            field("session_id", info.session.map_or(0, |session| session.0)),
            field("last_operation", counts.last_op.map_or(Json::Null, |op| op.abbreviation().into())),
            field("established", info.established_ms),
            field("session_timeout", timeout_ms),
            field("last_cxid", counts.last_cxid),
            field("last_zxid", counts.last_zxid),
            field("last_response_time", counts.last_response_ms),
            field("last_latency", u64::from(counts.last_latency_ms)),
            field("min_latency", u64::from(counts.min_latency_ms)),
            field("avg_latency", mean_ms(info)),
            field("max_latency", u64::from(counts.max_latency_ms)),
        ]);
    }
    Json::Object(fields)
}

fn mean_ms(info: &LaneInfo) -> u64 {
    info.statistics.sum_latency_ms.checked_div(info.statistics.count).unwrap_or(0)
}

/// As JSON has it: an IPv6 address in brackets, in full.
pub(super) fn socket_address(address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) => format!("{ip}:{}", address.port()),
        IpAddr::V6(ip) => format!("[{}]:{}", in_full(ip), address.port()),
    }
}

/// Address and port as Java prints them: an IPv6 address without brackets, in full.
pub(super) fn address(info: &LaneInfo) -> String {
    match info.address.ip() {
        IpAddr::V4(ip) => format!("{ip}:{}", info.address.port()),
        IpAddr::V6(ip) => format!("{}:{}", in_full(ip), info.address.port()),
    }
}

fn in_full(ip: Ipv6Addr) -> String {
    ip.segments().map(|group| format!("{group:x}")).join(":")
}
