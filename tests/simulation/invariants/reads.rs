//! A session's answers never go back in time, whatever servers it speaks to, and what is read is what the one order says
//! for that zxid (ZooKeeper, USENIX ATC 2010, section 2.3: "FIFO client order"; client-protocol.md on `zxid`).

use zkd::ids::{SessionId, Zxid};
use zkd::jute::{buffer, text, vector};
use zkd::proto::{ErrorCode, ReplyHeader, Stat};

use super::super::client::Pending;
use super::super::model::{Model, without_built_in};
use super::super::requests::Asked;

/// What one session has seen.
#[derive(Default)]
pub(crate) struct Reads {
    seen: Zxid,
}

impl Reads {
    /// The newest zxid that it knows of.
    pub(crate) fn seen(&self) -> Zxid {
        self.seen
    }

    /// An answer with this zxid.
    pub(crate) fn answered(&mut self, session: SessionId, zxid: Zxid) {
        if zxid.0 > 0 {
            assert!(zxid >= self.seen, "[session order] {session} is at {zxid}, and had seen {}", self.seen);
            self.seen = zxid;
        }
    }
}

/// A read was answered: `zxid` is the txn that its header stands for.
pub(super) fn answered(model: &Model, pending: &Pending, header: &ReplyHeader, zxid: Zxid, body: &[u8]) {
    let error = header.error;
    match &pending.asked {
        Asked::Get { path, .. } => {
            let znode = model.znode(path, zxid);
            assert_eq!(error == ErrorCode::OK, znode.is_some(), "[reads] getData of {path} at {zxid}: {error:?}");
            if let Some(znode) = znode {
                let (rest, data) = buffer(body).expect("data");
                let (_, stat) = Stat::decode(rest).expect("a stat");
                assert_eq!(data, Some(&znode.data[..]), "[reads] the data of {path} at {zxid}");
                check_stat(path, znode, &stat, zxid);
            }
        }
        Asked::Exists { path, .. } => {
            let znode = model.znode(path, zxid);
            assert_eq!(error == ErrorCode::OK, znode.is_some(), "[reads] exists of {path} at {zxid}: {error:?}");
            if let Some(znode) = znode {
                check_stat(path, znode, &Stat::decode(body).expect("a stat").1, zxid);
            }
        }
        Asked::Children { path, .. } => {
            let there = path == "/" || model.znode(path, zxid).is_some();
            assert_eq!(error == ErrorCode::OK, there, "[reads] getChildren of {path} at {zxid}: {error:?}");
            if there {
                let (_, names) = vector(text)(body).expect("names");
                let names = without_built_in(names.into_iter().flatten().map(std::borrow::Cow::into_owned));
                assert_eq!(names, model.children(path, zxid), "[reads] the children of {path} at {zxid}");
            }
        }
        _ => {}
    }
}

fn check_stat(path: &str, znode: &super::super::model::Znode, stat: &Stat, zxid: Zxid) {
    let told = (stat.version, stat.czxid, stat.mzxid, stat.ephemeral_owner);
    let expected = (znode.version, znode.czxid.0, znode.mzxid.0, znode.owner.0);
    assert_eq!(told, expected, "[reads] the stat of {path} at {zxid} (version, czxid, mzxid, owner)");
}
