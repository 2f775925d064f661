//! What clients ask for.

use zkd::config::ServerRole;
use zkd::ids::Zxid;
use zkd::jute::JuteWrite;
use zkd::proto::{MultiHeader, OPEN_ACL, OpCode};
use zkd::zab::Ensemble;

use super::invariants::watches::Watches;
use super::plan::{Plan, pick, server, sid};

/// A request.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Create {
        path: String,
        data: String,
        flags: i32,
    },
    SetData {
        path: String,
        data: String,
        version: i32,
    },
    Delete {
        path: String,
        version: i32,
    },
    Multi(Vec<Asked>),
    Check {
        path: String,
        version: i32,
    },
    Get {
        path: String,
        watch: bool,
    },
    Exists {
        path: String,
        watch: bool,
    },
    Children {
        path: String,
        watch: bool,
    },
    Sync,
    Ping,
    SetWatches,
    Close,
    /// Who leaves and who joins, or all that are to be members; and the version that this is to follow on.
    Reconfig {
        joining: Option<String>,
        leaving: Option<String>,
        members: Option<String>,
        version: i64,
    },
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
            Self::Reconfig { .. } => OpCode::RECONFIG,
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
            Self::Reconfig { joining, leaving, members, version } => {
                [joining, leaving, members].into_iter().for_each(|text| out.ustring_or_null(text.as_deref()));
                out.long(*version);
            }
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

/// Draws a change of members.
pub(crate) fn draw_reconfig(random: &mut fastrand::Rng, plan: &Plan, in_force: &Ensemble) -> Asked {
    let version = if random.u32(0..4) == 0 { in_force.version() } else { -1 };
    let mut line = |node: usize| {
        let role = if random.u32(0..4) == 0 { ServerRole::Observer } else { ServerRole::Participant };
        // Now and then at another address: then it cannot go on leading.
        let port = if random.u32(0..4) == 0 { 5000 } else { 2000 };
        format!("server.{}={}", sid(node).0, server(node, role, port))
    };
    let lines: Vec<String> = (0..plan.servers()).map(&mut line).collect();
    if random.u32(0..3) == 0 {
        let members: Vec<_> = lines.into_iter().filter(|_| random.u32(0..4) > 0).collect();
        return Asked::Reconfig { joining: None, leaving: None, members: Some(members.join("\n")), version };
    }
    let some = |random: &mut fastrand::Rng| (0..random.usize(0..3)).map(|_| random.usize(0..plan.servers())).collect();
    let (joining, leaving): (Vec<usize>, Vec<usize>) = (some(random), some(random));
    let joining: Vec<_> = joining.into_iter().map(|node| lines[node].clone()).collect();
    let leaving: Vec<_> = leaving.into_iter().map(|node| sid(node).0.to_string()).collect();
    Asked::Reconfig { joining: Some(joining.join(",")), leaving: Some(leaving.join(",")), members: None, version }
}
