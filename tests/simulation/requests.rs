//! What clients ask for.

use zkd::ids::Zxid;
use zkd::jute::JuteWrite;
use zkd::proto::{MultiHeader, OPEN_ACL, OpCode};

use super::invariants::watches::Watches;
use super::plan::pick;

/// A request.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Create { path: String, data: String, flags: i32 },
    SetData { path: String, data: String, version: i32 },
    Delete { path: String, version: i32 },
    Multi(Vec<Asked>),
    Check { path: String, version: i32 },
    Get { path: String, watch: bool },
    Exists { path: String, watch: bool },
    Children { path: String, watch: bool },
    Sync,
    Ping,
    SetWatches,
    Close,
}

pub(crate) const EPHEMERAL: i32 = 1;
pub(crate) const SEQUENTIAL: i32 = 2;

impl Asked {
    pub(crate) fn op(&self) -> OpCode {
        match self {
            Self::Create { .. } => OpCode::CREATE,
            Self::SetData { .. } => OpCode::SET_DATA,
            Self::Delete { .. } => OpCode::DELETE,
            Self::Multi(_) => OpCode::MULTI,
            Self::Check { .. } => OpCode::CHECK,
            Self::Get { .. } => OpCode::GET_DATA,
            Self::Exists { .. } => OpCode::EXISTS,
            Self::Children { .. } => OpCode::GET_CHILDREN,
            Self::Sync => OpCode::SYNC,
            Self::Ping => OpCode::PING,
            Self::SetWatches => OpCode::SET_WATCHES,
            Self::Close => OpCode::CLOSE_SESSION,
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Create { path, data, flags } => {
                out.ustring(path);
                out.buffer(Some(data.as_bytes()));
                out.extend_from_slice(OPEN_ACL.as_bytes());
                out.int(*flags);
            }
            Self::SetData { path, data, version } => {
                out.ustring(path);
                out.buffer(Some(data.as_bytes()));
                out.int(*version);
            }
            Self::Delete { path, version } | Self::Check { path, version } => {
                out.ustring(path);
                out.int(*version);
            }
            Self::Multi(parts) => {
                for part in parts {
                    MultiHeader { op: part.op(), done: false, error: -1 }.encode(out);
                    part.encode(out);
                }
                MultiHeader::END.encode(out);
            }
            Self::Get { path, watch } | Self::Exists { path, watch } | Self::Children { path, watch } => {
                out.ustring(path);
                out.boolean(*watch);
            }
            Self::Sync => out.ustring("/"),
            Self::Ping | Self::Close | Self::SetWatches => {}
        }
    }
}

/// The record of setWatches.
pub(crate) fn set_watches(since: Zxid, watches: &Watches, out: &mut Vec<u8>) {
    out.long(since.0);
    for paths in watches.lists() {
        out.length(paths.len());
        for path in paths {
            out.ustring(path);
        }
    }
}

const NAMES: [&str; 6] = ["/a", "/b", "/c", "/d", "/a/x", "/b/y"];
const PARENTS: [&str; 4] = ["/", "/a", "/b", "/c"];

fn path(random: &mut fastrand::Rng) -> String {
    (*pick(random, &NAMES)).to_owned()
}

/// Draws a request; `client` and `xid` make its data unlike any other's.
pub(crate) fn draw(random: &mut fastrand::Rng, client: usize, xid: i32) -> Asked {
    let watch = random.bool();
    match random.u32(0..100) {
        0..30 => change(random, client, xid),
        30..36 => ephemeral(random, client, xid),
        36..42 => {
            let parent = *pick(random, &PARENTS);
            let path = format!("{}/s-", parent.trim_end_matches('/'));
            Asked::Create { path, data: data(client, xid), flags: SEQUENTIAL | random.i32(0..=1) }
        }
        42..52 => {
            let mut parts: Vec<_> = (0..random.usize(1..4)).map(|_| change(random, client, xid)).collect();
            if random.bool() {
                parts.insert(0, Asked::Check { path: path(random), version: random.i32(-1..4) });
            }
            Asked::Multi(parts)
        }
        52..68 => Asked::Get { path: path(random), watch },
        68..80 => Asked::Exists { path: path(random), watch },
        80..92 => Asked::Children { path: (*pick(random, &PARENTS)).to_owned(), watch },
        92..97 => Asked::Sync,
        97..99 => Asked::Ping,
        _ => Asked::Close,
    }
}

fn data(client: usize, xid: i32) -> String {
    format!("c{client}.{xid}")
}

fn change(random: &mut fastrand::Rng, client: usize, xid: i32) -> Asked {
    let (path, data) = (path(random), data(client, xid));
    let version = if random.u32(0..3) == 0 { random.i32(0..4) } else { -1 };
    match random.u32(0..10) {
        0..4 => Asked::Create { path, data, flags: 0 },
        4..8 => Asked::SetData { path, data, version },
        _ => Asked::Delete { path, version },
    }
}

fn ephemeral(random: &mut fastrand::Rng, client: usize, xid: i32) -> Asked {
    let path = if random.bool() { format!("/e{client}") } else { path(random) };
    Asked::Create { path, data: data(client, xid), flags: EPHEMERAL }
}
