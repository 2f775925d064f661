//! Writes are linearizable: each takes its place in the one order between its request and its answer, and the answer is
//! what that place gives (ZooKeeper, USENIX ATC 2010, section 2.3: "linearizable writes").

use zkd::ids::{SessionId, Zxid};
use zkd::jute::{buffer, int, ustring};
use zkd::proto::{ErrorCode, MultiHeader, OpCode, ReplyHeader, Stat};
use zkd::txn::{Entry, Txn};

use super::super::client::Pending;

/// What clients were told of writes.
#[derive(Default)]
pub(crate) struct Writes {
    /// The highest zxid that any client was told of as its own write's.
    pub(crate) told: Zxid,
}

impl Writes {
    /// A client is told that its write has become `entry`, at `header.zxid`.
    pub(super) fn answered(
        &mut self,
        session: SessionId,
        pending: &Pending,
        header: &ReplyHeader,
        body: &[u8],
        entry: &Entry<'_>,
    ) {
        let (zxid, txn) = (header.zxid, &entry.header);
        assert!(
            (txn.session, txn.cxid) == (session, pending.xid),
            "[linearizable writes] request {} of {session} is answered with {zxid}, which is request {} of {}",
            pending.xid,
            txn.cxid,
            txn.session
        );
        assert!(
            zxid > pending.floor,
            "[linearizable writes] request {} of {session} becomes {zxid}, and was made when {} had been told",
            pending.xid,
            pending.floor
        );
        self.told = self.told.max(zxid);
        let error = if let Txn::Error(error) = entry.txn { error } else { ErrorCode::OK };
        assert_eq!(header.error, error, "[linearizable writes] the answer to {zxid}");
        result(pending.asked.op(), &entry.txn, header.error, zxid, body);
    }
}

fn result(op: OpCode, txn: &Txn<'_>, error: ErrorCode, zxid: Zxid, body: &[u8]) {
    match txn {
        Txn::Create(create) if op == OpCode::CREATE => {
            let told = ustring(body).ok().and_then(|(_, path)| path);
            assert_eq!(told.as_deref(), Some(create.path.as_ref()), "[linearizable writes] the path of {zxid}");
        }
        Txn::SetData(set) if op == OpCode::RECONFIG => {
            let (stat, text) = buffer(body).expect("a configuration");
            assert_eq!(text, set.data, "[linearizable writes] the configuration of {zxid}");
            let version = Stat::decode(stat).ok().map(|(_, stat)| (stat.version, stat.mzxid));
            assert_eq!(version, Some((-1, zxid.0)), "[linearizable writes] the Stat of {zxid}");
        }
        Txn::SetData(set) => {
            let version = Stat::decode(body).ok().map(|(_, stat)| stat.version);
            assert_eq!(version, Some(set.version), "[linearizable writes] the version of {zxid}");
        }
        Txn::Multi(parts) if error == ErrorCode::OK => {
            let mut rest = body;
            // The parts before the one that failed are answered with 0, whatever the txn has of them.
            let fails = parts.iter().any(|(_, part)| matches!(part, Txn::Error(_)));
            for (_, part) in parts {
                let Ok((behind, header)) = MultiHeader::decode(rest) else {
                    panic!("[linearizable writes] the results of {zxid} are cut short")
                };
                rest = behind;
                match part {
                    Txn::Error(code) => {
                        assert_eq!(header.error, code.0, "[linearizable writes] a part of {zxid}");
                        rest = int(rest).map_or(&[][..], |(rest, _)| rest);
                    }
                    _ if fails => {
                        assert_eq!(header.error, 0, "[linearizable writes] a part of {zxid}");
                        rest = int(rest).map_or(&[][..], |(rest, _)| rest);
                    }
                    Txn::Create(_) => rest = ustring(rest).map_or(&[][..], |(rest, _)| rest),
                    Txn::SetData(_) => rest = Stat::decode(rest).map_or(&[][..], |(rest, _)| rest),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}
