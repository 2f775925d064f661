//! `cons`, `crst`: who is connected.

use std::fmt::Write;

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
        let mean = counts.sum_latency_ms.checked_div(counts.count).unwrap_or(0);
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

/// Address and port as Java prints them: an IPv6 address without brackets, in full.
pub(super) fn address(info: &LaneInfo) -> String {
    match info.address.ip() {
        std::net::IpAddr::V4(ip) => format!("{ip}:{}", info.address.port()),
        std::net::IpAddr::V6(ip) => {
            let groups = ip.segments().map(|group| format!("{group:x}")).join(":");
            format!("{groups}:{}", info.address.port())
        }
    }
}
