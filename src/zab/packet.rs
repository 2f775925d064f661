//! What servers say to each other on the quorum port (zab.md 1): one record after the other, without frames.

use bytes::{BufMut, Bytes};

use crate::auth::Identity;
use crate::ids::{Epoch, SessionId, Sid, Zxid};
use crate::jute::{JuteError, JuteWrite, Parsed, boolean, buffer, fail, int, long, text, vector};
use crate::proto::OpCode;

/// The protocol that servers since 3.4 speak.
pub const PROTOCOL_VERSION: i32 = 0x1_0000;

/// Behind a snapshot on the wire: the stream was whole (zab.md 4.1). A jute string.
pub const SNAPSHOT_SIGNATURE: &[u8; 14] = b"\0\0\0\x0aBenWasHere";

const REQUEST: i32 = 1;
const PROPOSAL: i32 = 2;
const ACK: i32 = 3;
const COMMIT: i32 = 4;
const PING: i32 = 5;
const REVALIDATE: i32 = 6;
const SYNC: i32 = 7;
const INFORM: i32 = 8;
const COMMIT_AND_ACTIVATE: i32 = 9;
const NEW_LEADER: i32 = 10;
const FOLLOWER_INFO: i32 = 11;
const UP_TO_DATE: i32 = 12;
const DIFF: i32 = 13;
const TRUNC: i32 = 14;
const SNAP: i32 = 15;
const OBSERVER_INFO: i32 = 16;
const LEADER_INFO: i32 = 17;
const ACK_EPOCH: i32 = 18;
const INFORM_AND_ACTIVATE: i32 = 19;
/// zkd's own. Sent to zkds only; others would ignore it.
const HAND_OVER: i32 = 0x7a6b_6401;

/// One packet. Where both sides may send a kind, the fields tell which side did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Packet {
    /// Learner to leader: a client's request that only the leader can order.
    Request(LearnerRequest),
    /// Leader to follower: log this txn.
    Proposal {
        /// The txn's zxid.
        zxid: Zxid,
        /// Its log record.
        txn: Bytes,
    },
    /// Learner to leader: durable here up to this txn; or NEWLEADER and UPTODATE were carried out.
    Ack(Zxid),
    /// Leader to follower: apply this txn.
    Commit(Zxid),
    /// Leader to learner: are you there?
    Ping(Zxid),
    /// Learner to leader: yes, and these sessions were heard of since the last time.
    Pong {
        /// As it came.
        zxid: Zxid,
        /// Each with its timeout, ms.
        sessions: Vec<(SessionId, i32)>,
    },
    /// Learner to leader: may this session go on here?
    Revalidate {
        /// The session.
        session: SessionId,
        /// Its timeout, ms.
        timeout_ms: i32,
    },
    /// Leader to learner: whether it may.
    Revalidated {
        /// The session.
        session: SessionId,
        /// Whether it may.
        valid: bool,
    },
    /// Leader to learner: everything before your oldest sync request has been committed.
    Sync,
    /// Leader to observer: apply this txn.
    Inform {
        /// The txn's zxid.
        zxid: Zxid,
        /// Its log record.
        txn: Bytes,
    },
    /// Leader to follower: apply this reconfiguration.
    CommitAndActivate {
        /// The txn's zxid.
        zxid: Zxid,
        /// Who leads from now on.
        designated: i64,
    },
    /// Leader to learner: this is the history of the epoch; acknowledge once it is yours.
    NewLeader {
        /// The epoch, with counter 0.
        zxid: Zxid,
        /// The text of the leader's configuration.
        config: Option<Bytes>,
    },
    /// Learner to leader: the first packet.
    LearnerInfo(LearnerInfo),
    /// Leader to learner: serve.
    UpToDate,
    /// Leader to learner: what you lack follows, up to this zxid.
    Diff(Zxid),
    /// Leader to learner: forget what is behind this zxid.
    Trunc(Zxid),
    /// Leader to learner: the whole database follows, as of this zxid.
    Snap(Zxid),
    /// Leader to learner: the new epoch.
    LeaderInfo {
        /// The epoch, with counter 0.
        zxid: Zxid,
        /// [`PROTOCOL_VERSION`].
        protocol: i32,
    },
    /// Learner to leader: the epoch is accepted.
    AckEpoch {
        /// The last txn in the learner's log.
        zxid: Zxid,
        /// The epoch it last joined; -1: it had accepted the new one before, and does not vote for it again.
        epoch: Epoch,
    },
    /// Leader to observer: apply this reconfiguration.
    InformAndActivate {
        /// The txn's zxid.
        zxid: Zxid,
        /// Who leads from now on.
        designated: i64,
        /// Its log record.
        txn: Bytes,
    },
    /// Leader to zkd learner: this leader leaves, and nothing is in flight; follow that server, or lead if it is you. It
    /// saves an election, and promises nothing: the new leader has to win its epoch as ever.
    HandOver(Sid),
    /// A kind that nobody knows; ignored.
    Unknown(i32),
}

/// What a learner forwards.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LearnerRequest {
    /// Whose request.
    pub session: SessionId,
    /// Its number; 0 for sessions that begin or expire.
    pub cxid: i32,
    /// The operation.
    pub op: OpCode,
    /// The client's record as it came.
    pub body: Bytes,
    /// Who the client is; null for a session that begins.
    pub identities: Option<Vec<Identity>>,
}

/// What a learner says first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LearnerInfo {
    /// Whether it only observes.
    pub observer: bool,
    /// Its accepted epoch.
    pub epoch: Epoch,
    /// Its number; `None` from learners that do not say it.
    pub sid: Option<i64>,
    /// [`PROTOCOL_VERSION`].
    pub protocol: i32,
    /// The version of its configuration.
    pub config_version: i64,
    /// Whether the learner is a zkd. Apache reads 20 bytes and ignores what stands behind them, where zkd says so: a
    /// leader then knows that TRUNC is safe with this learner (zab.md 12.1).
    pub is_zkd: bool,
}

const ZKD_MARK: &[u8; 4] = b"zkd1";

/// What broke the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PacketError {
    /// A field is longer than allowed.
    #[error("a field of {length} bytes, at most {max} are allowed")]
    TooLong {
        /// What the field says.
        length: i32,
        /// What is allowed.
        max: usize,
    },
    /// A record inside is bad.
    #[error("packet type {kind}: {error}")]
    Record {
        /// The packet's type.
        kind: i32,
        /// The rule that was broken.
        error: JuteError,
    },
}

/// What stands around every packet's data.
struct Outer<'a> {
    kind: i32,
    zxid: Zxid,
    data: Option<&'a [u8]>,
    identities: Option<Vec<Identity>>,
    length: usize,
}

/// Which end of a connection reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reader {
    /// The leader's end.
    Leader,
    /// The learner's end.
    Learner,
}

impl Packet {
    /// Takes one packet off the front of `input`; `None` while it is not all there. Also how many bytes it takes. The
    /// packet shares memory with `input`.
    ///
    /// # Errors
    /// When the bytes are no packet: the connection is of no use any more.
    pub fn decode(input: &Bytes, reader: Reader, field_bytes_max: usize) -> Result<Option<(usize, Self)>, PacketError> {
        let Some(outer) = outer(input, field_bytes_max)? else { return Ok(None) };
        let length = outer.length;
        let kind = outer.kind;
        match inner(input, outer, reader) {
            Ok(packet) => Ok(Some((length, packet))),
            Err(error) => Err(PacketError::Record { kind, error: error.into() }),
        }
    }

    /// Appends the packet's bytes.
    pub fn encode(&self, out: &mut impl BufMut) {
        match self {
            Self::Request(request) => put_request(request, out),
            Self::Proposal { zxid, txn } => put(out, PROPOSAL, *zxid, Some(txn)),
            Self::Ack(zxid) => put(out, ACK, *zxid, None),
            Self::Commit(zxid) => put(out, COMMIT, *zxid, None),
            Self::Ping(zxid) => put(out, PING, *zxid, None),
            Self::Pong { zxid, sessions } => {
                let mut data = Vec::with_capacity(sessions.len() * 12);
                for (session, timeout_ms) in sessions {
                    data.long(session.0);
                    data.int(*timeout_ms);
                }
                put(out, PING, *zxid, Some(&data));
            }
            Self::Revalidate { session, timeout_ms } => {
                let mut data = Vec::with_capacity(12);
                data.long(session.0);
                data.int(*timeout_ms);
                put(out, REVALIDATE, Zxid(-1), Some(&data));
            }
            Self::Revalidated { session, valid } => {
                let mut data = Vec::with_capacity(9);
                data.long(session.0);
                data.boolean(*valid);
                put(out, REVALIDATE, Zxid(-1), Some(&data));
            }
            Self::Sync => put(out, SYNC, Zxid::ZERO, None),
            Self::Inform { zxid, txn } => put(out, INFORM, *zxid, Some(txn)),
            Self::CommitAndActivate { zxid, designated } => {
                put(out, COMMIT_AND_ACTIVATE, *zxid, Some(&designated.to_be_bytes()));
            }
            Self::NewLeader { zxid, config } => put(out, NEW_LEADER, *zxid, config.as_deref()),
            Self::LearnerInfo(info) => put_info(info, out),
            Self::UpToDate => put(out, UP_TO_DATE, Zxid(-1), None),
            Self::Diff(zxid) => put(out, DIFF, *zxid, None),
            Self::Trunc(zxid) => put(out, TRUNC, *zxid, None),
            Self::Snap(zxid) => put(out, SNAP, *zxid, None),
            Self::LeaderInfo { zxid, protocol } => put(out, LEADER_INFO, *zxid, Some(&protocol.to_be_bytes())),
            Self::AckEpoch { zxid, epoch } => put(out, ACK_EPOCH, *zxid, Some(&epoch.to_be_bytes())),
            Self::InformAndActivate { zxid, designated, txn } => {
                let mut data = Vec::with_capacity(8 + txn.len());
                data.long(*designated);
                data.extend_from_slice(txn);
                put(out, INFORM_AND_ACTIVATE, *zxid, Some(&data));
            }
            Self::HandOver(sid) => put(out, HAND_OVER, Zxid(-1), Some(&i64::from(sid.0).to_be_bytes())),
            Self::Unknown(kind) => put(out, *kind, Zxid::ZERO, None),
        }
    }

    /// The packet's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::new();
        self.encode(&mut out);
        out.into()
    }
}

/// Reads what stands around the data; `None` while it is not all there.
fn outer(input: &[u8], field_bytes_max: usize) -> Result<Option<Outer<'_>>, PacketError> {
    const HEAD: usize = 12;
    if input.len() < HEAD + 4 {
        return Ok(None);
    }
    let data_length = length_at(input, HEAD);
    check_length(data_length, field_bytes_max)?;
    let behind = HEAD + 4 + usize::try_from(data_length).unwrap_or(0);
    if input.len() < behind + 4 {
        return Ok(None);
    }
    let count = length_at(input, behind);
    let mut end = behind + 4;
    for _ in 0..count.max(0).saturating_mul(2) {
        if input.len() < end + 4 {
            return Ok(None);
        }
        let length = length_at(input, end);
        check_length(length, field_bytes_max)?;
        end += 4 + usize::try_from(length).unwrap_or(0);
        if end > behind.saturating_add(field_bytes_max.saturating_mul(2)) {
            return Err(PacketError::TooLong { length, max: field_bytes_max });
        }
        if input.len() < end {
            return Ok(None);
        }
    }
    let record = |error: nom::Err<JuteError>| PacketError::Record { kind: length_at(input, 0), error: error.into() };
    let (rest, kind) = int(input).map_err(record)?;
    let (rest, zxid) = long(rest).map_err(record)?;
    let (rest, data) = buffer(rest).map_err(record)?;
    let (_, identities) = vector(identity)(rest).map_err(record)?;
    Ok(Some(Outer { kind, zxid: Zxid(zxid), data, identities, length: end }))
}

/// The four bytes at `at`, which are there.
fn length_at(input: &[u8], at: usize) -> i32 {
    input[at..].first_chunk().map_or(-1, |bytes| i32::from_be_bytes(*bytes))
}

fn check_length(length: i32, max: usize) -> Result<(), PacketError> {
    match usize::try_from(length) {
        Ok(count) if count <= max => Ok(()),
        Err(_) if length == -1 => Ok(()),
        Ok(_) | Err(_) => Err(PacketError::TooLong { length, max }),
    }
}

fn identity(input: &[u8]) -> Parsed<'_, Identity> {
    let (input, scheme) = text(input)?;
    let (input, id) = text(input)?;
    Ok((input, Identity::new(&scheme, &id)))
}

fn inner(input: &Bytes, outer: Outer<'_>, reader: Reader) -> Result<Packet, nom::Err<JuteError>> {
    let Outer { kind, zxid, identities, .. } = outer;
    let data = outer.data.unwrap_or_default();
    let share = |part: &[u8]| if part.is_empty() { Bytes::new() } else { input.slice_ref(part) };
    Ok(match (kind, reader) {
        (REQUEST, _) => {
            let (body, session) = long(data)?;
            let (body, cxid) = int(body)?;
            let (body, op) = int(body)?;
            let (session, op) = (SessionId(session), OpCode(op));
            Packet::Request(LearnerRequest { session, cxid, op, body: share(body), identities })
        }
        (PROPOSAL, _) => Packet::Proposal { zxid, txn: share(data) },
        (ACK, _) => Packet::Ack(zxid),
        (COMMIT, _) => Packet::Commit(zxid),
        (PING, Reader::Learner) => Packet::Ping(zxid),
        (PING, Reader::Leader) => Packet::Pong { zxid, sessions: sessions(data)? },
        (REVALIDATE, Reader::Leader) => {
            let (rest, session) = long(data)?;
            let (_, timeout_ms) = int(rest)?;
            Packet::Revalidate { session: SessionId(session), timeout_ms }
        }
        (REVALIDATE, Reader::Learner) => {
            let (rest, session) = long(data)?;
            let (_, valid) = boolean(rest)?;
            Packet::Revalidated { session: SessionId(session), valid }
        }
        (SYNC, _) => Packet::Sync,
        (INFORM, _) => Packet::Inform { zxid, txn: share(data) },
        (COMMIT_AND_ACTIVATE, _) => Packet::CommitAndActivate { zxid, designated: long(data)?.1 },
        (NEW_LEADER, _) => Packet::NewLeader { zxid, config: outer.data.map(share) },
        (FOLLOWER_INFO | OBSERVER_INFO, _) => Packet::LearnerInfo(info(kind, zxid, data)?),
        (UP_TO_DATE, _) => Packet::UpToDate,
        (DIFF, _) => Packet::Diff(zxid),
        (TRUNC, _) => Packet::Trunc(zxid),
        (SNAP, _) => Packet::Snap(zxid),
        (LEADER_INFO, _) => Packet::LeaderInfo { zxid, protocol: int(data)?.1 },
        (ACK_EPOCH, _) => Packet::AckEpoch { zxid, epoch: int(data)?.1 },
        (INFORM_AND_ACTIVATE, _) => {
            let (txn, designated) = long(data)?;
            Packet::InformAndActivate { zxid, designated, txn: share(txn) }
        }
        (HAND_OVER, _) => match u8::try_from(long(data)?.1) {
            Ok(sid) => Packet::HandOver(Sid(sid)),
            Err(_) => Packet::Unknown(HAND_OVER),
        },
        (unknown, _) => Packet::Unknown(unknown),
    })
}

fn sessions(mut data: &[u8]) -> Result<Vec<(SessionId, i32)>, nom::Err<JuteError>> {
    let mut sessions = Vec::with_capacity(data.len() / 12);
    while !data.is_empty() {
        let (rest, session) = long(data)?;
        let (rest, timeout_ms) = int(rest)?;
        sessions.push((SessionId(session), timeout_ms));
        data = rest;
    }
    Ok(sessions)
}

/// Learners of all ages: 0, 8, 12 or 20 bytes.
fn info(kind: i32, zxid: Zxid, data: &[u8]) -> Result<LearnerInfo, nom::Err<JuteError>> {
    let (rest, sid) = if data.len() >= 8 { long(data).map(|(rest, sid)| (rest, Some(sid)))? } else { (data, None) };
    let (rest, protocol) = if rest.len() >= 4 { int(rest)? } else { (rest, 0) };
    let (rest, config_version) = if rest.len() >= 8 { long(rest)? } else { (rest, 0) };
    if protocol < PROTOCOL_VERSION {
        // The handshake from before 3.4, which no server in use needs.
        return fail(JuteError::Value(protocol)).map(|(_, never)| never);
    }
    let (observer, is_zkd) = (kind == OBSERVER_INFO, rest == ZKD_MARK);
    Ok(LearnerInfo { observer, epoch: zxid.epoch(), sid, protocol, config_version, is_zkd })
}

fn put_info(info: &LearnerInfo, out: &mut impl BufMut) {
    let kind = if info.observer { OBSERVER_INFO } else { FOLLOWER_INFO };
    let mut data = Vec::with_capacity(24);
    if let Some(sid) = info.sid {
        data.long(sid);
        data.int(info.protocol);
        data.long(info.config_version);
        if info.is_zkd {
            data.extend_from_slice(ZKD_MARK);
        }
    }
    put(out, kind, Zxid::new(info.epoch, 0), Some(&data));
}

fn put_request(request: &LearnerRequest, out: &mut impl BufMut) {
    out.int(REQUEST);
    out.long(-1);
    out.length(16 + request.body.len());
    out.long(request.session.0);
    out.int(request.cxid);
    out.int(request.op.0);
    out.put_slice(&request.body);
    match &request.identities {
        None => out.int(-1),
        Some(identities) => {
            out.length(identities.len());
            for identity in identities {
                out.ustring(&identity.scheme);
                out.ustring(&identity.id);
            }
        }
    }
}

fn put(out: &mut impl BufMut, kind: i32, zxid: Zxid, data: Option<&[u8]>) {
    out.int(kind);
    out.long(zxid.0);
    out.buffer(data);
    out.int(-1);
}

impl LearnerInfo {
    /// What a zkd says of itself.
    #[must_use]
    pub fn of_zkd(sid: Sid, observer: bool, epoch: Epoch, config_version: i64) -> Self {
        Self { observer, epoch, sid: Some(sid.0.into()), protocol: PROTOCOL_VERSION, config_version, is_zkd: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1 << 20;

    #[test]
    fn a_packet_in_pieces_is_taken_once_it_is_whole() {
        let request = Packet::Request(LearnerRequest {
            session: SessionId(7),
            cxid: 3,
            op: OpCode::CREATE,
            body: Bytes::from_static(b"body"),
            identities: Some(vec![Identity::new("ip", "127.0.0.1"), Identity::new("digest", "u:p")]),
        });
        let bytes = request.to_bytes();
        for length in 0..bytes.len() {
            assert_eq!(Packet::decode(&bytes.slice(..length), Reader::Leader, MAX), Ok(None), "{length}");
        }
        assert_eq!(Packet::decode(&bytes, Reader::Leader, MAX), Ok(Some((bytes.len(), request))));
    }

    #[test]
    fn each_side_reads_pings_and_revalidations_its_own_way() {
        let pong = Packet::Pong { zxid: Zxid(5), sessions: vec![(SessionId(1), 4000), (SessionId(2), 8000)] };
        assert_eq!(Packet::decode(&pong.to_bytes(), Reader::Leader, MAX), Ok(Some((44, pong))));
        let ping = Packet::Ping(Zxid(5));
        assert_eq!(Packet::decode(&ping.to_bytes(), Reader::Learner, MAX), Ok(Some((20, ping))));
        let asked = Packet::Revalidate { session: SessionId(9), timeout_ms: 4000 };
        assert_eq!(Packet::decode(&asked.to_bytes(), Reader::Leader, MAX), Ok(Some((32, asked))));
        let told = Packet::Revalidated { session: SessionId(9), valid: true };
        assert_eq!(Packet::decode(&told.to_bytes(), Reader::Learner, MAX), Ok(Some((29, told))));
    }

    #[test]
    fn a_length_that_lies_ends_the_connection_and_reserves_nothing() {
        let mut bytes = Packet::Ack(Zxid(1)).to_bytes().to_vec();
        bytes[12..16].copy_from_slice(&i32::MAX.to_be_bytes());
        let lying = Packet::decode(&bytes.into(), Reader::Leader, MAX);
        assert_eq!(lying, Err(PacketError::TooLong { length: i32::MAX, max: MAX }));
        let mut bytes = Packet::Ack(Zxid(1)).to_bytes().to_vec();
        bytes[16..20].copy_from_slice(&i32::MAX.to_be_bytes());
        assert_eq!(Packet::decode(&bytes.into(), Reader::Leader, MAX), Ok(None));
    }

    #[test]
    fn apache_reads_the_first_twenty_bytes_of_what_a_zkd_says() {
        let info = LearnerInfo::of_zkd(Sid(2), false, 5, 0);
        let bytes = Packet::LearnerInfo(info).to_bytes();
        assert_eq!(Packet::decode(&bytes, Reader::Leader, MAX), Ok(Some((44, Packet::LearnerInfo(info)))));
    }
}
