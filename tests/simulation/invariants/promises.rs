//! A server that has promised to follow no leader before some epoch keeps that over crashes, and so it does with the
//! epoch that it has joined; it joins only with the history of that epoch's leader on disk (zab.md 3 and 5,
//! storage.md 1.1; ZOOKEEPER-4643, -335).

use zkd::ids::{Epoch, Zxid};
use zkd::storage::epochs::{EpochFile, Epochs};
use zkd::zab::{Packet, Reader};

use super::lineage::Lineage;

/// What each server has promised.
pub(crate) struct Promises {
    accepted: Vec<Epoch>,
    joined: Vec<Epoch>,
    /// The epoch that its leader last told it.
    invited: Vec<Epoch>,
}

impl Promises {
    pub(super) fn new(servers: usize) -> Self {
        let zero = vec![0; servers];
        Self { accepted: zero.clone(), joined: zero.clone(), invited: zero }
    }

    /// A server starts with these epochs.
    pub(super) fn started(&mut self, node: usize, epochs: Epochs) {
        assert!(
            epochs.accepted >= self.accepted[node] && epochs.current >= self.joined[node],
            "[promises] server {} starts with {epochs:?}, and has promised {} and joined {}",
            node + 1,
            self.accepted[node],
            self.joined[node]
        );
        (self.accepted[node], self.joined[node]) = (epochs.accepted, epochs.current);
    }

    /// LEADERINFO has come to a server.
    pub(super) fn invited(&mut self, node: usize, epoch: Epoch) {
        self.invited[node] = epoch;
    }

    /// A server puts an epoch on disk.
    pub(super) fn written(&mut self, node: usize, file: EpochFile, epoch: Epoch) {
        let known = match file {
            EpochFile::Accepted => &mut self.accepted[node],
            EpochFile::Current => &mut self.joined[node],
        };
        assert!(epoch >= *known, "[promises] server {} goes back from epoch {known} to {epoch} ({file:?})", node + 1);
        *known = epoch;
    }

    /// A server tells its leader something: ACKEPOCH and the ACK of NEWLEADER are promises.
    pub(super) fn told(&mut self, node: usize, bytes: &[u8], lineage: &Lineage, durable: Zxid) {
        let bytes = bytes::Bytes::copy_from_slice(bytes);
        let mut rest = bytes;
        while let Ok(Some((length, packet))) = Packet::decode(&rest, Reader::Leader, 2 << 20) {
            rest = rest.slice(length..);
            self.promise(node, &packet, lineage, durable);
        }
    }

    fn promise(&mut self, node: usize, packet: &Packet, lineage: &Lineage, durable: Zxid) {
        match packet {
            Packet::AckEpoch { epoch, .. } => {
                assert!(
                    self.accepted[node] >= self.invited[node],
                    "[promises] server {} accepts epoch {}, and its disk says {}",
                    node + 1,
                    self.invited[node],
                    self.accepted[node]
                );
                assert!(
                    *epoch <= self.joined[node],
                    "[promises] server {} says to have joined {epoch}, and its disk says {}",
                    node + 1,
                    self.joined[node]
                );
            }
            Packet::Ack(zxid) if zxid.counter() == 0 => {
                assert!(
                    self.joined[node] == zxid.epoch(),
                    "[promises] server {} acknowledges epoch {}, and its disk says {}",
                    node + 1,
                    zxid.epoch(),
                    self.joined[node]
                );
                let base = lineage.base(zxid.epoch());
                assert!(
                    base.is_none_or(|base| lineage.holds(durable, base)),
                    "[promises] server {} acknowledges epoch {}, which begins behind {base:?}, and has flushed {durable}",
                    node + 1,
                    zxid.epoch()
                );
            }
            Packet::Ack(zxid) => {
                assert!(
                    lineage.holds(durable, *zxid),
                    "[promises] server {} acknowledges {zxid}, and has flushed {durable}",
                    node + 1
                );
            }
            _ => {}
        }
    }
}
