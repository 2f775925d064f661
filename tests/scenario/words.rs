//! Packets and notifications as words, both ways.

use bytes::Bytes;
use zkd::ids::{SessionId, Zxid};
use zkd::txn::{Entry, Txn};
use zkd::zab::{
    LearnerInfo, LearnerRequest, Notification, PROTOCOL_VERSION, Packet, PeerState, SNAPSHOT_SIGNATURE, Vote,
};

use super::client::request;
use super::history::{create, database, txn, walk, zxid, zxids};
use super::world::Node;

/// What a packet says.
pub(crate) fn packet(packet: &Packet) -> String {
    match packet {
        Packet::Proposal { zxid, txn } => format!("PROPOSAL {zxid} {}", entry(txn)),
        Packet::Inform { zxid, txn } => format!("INFORM {zxid} {}", entry(txn)),
        Packet::Commit(zxid) => format!("COMMIT {zxid}"),
        Packet::Ack(zxid) => format!("ACK {zxid}"),
        Packet::NewLeader { zxid, .. } => format!("NEWLEADER {zxid}"),
        Packet::UpToDate => "UPTODATE".to_owned(),
        Packet::Diff(zxid) => format!("DIFF {zxid}"),
        Packet::Trunc(zxid) => format!("TRUNC {zxid}"),
        Packet::Snap(zxid) => format!("SNAP {zxid}"),
        Packet::LeaderInfo { zxid, .. } => format!("LEADERINFO {zxid}"),
        Packet::AckEpoch { zxid, epoch } => format!("ACKEPOCH {zxid} epoch={epoch}"),
        Packet::LearnerInfo(LearnerInfo { observer, epoch, .. }) => {
            format!("{} accepted={epoch}", if *observer { "OBSERVERINFO" } else { "FOLLOWERINFO" })
        }
        Packet::Request(LearnerRequest { op, cxid, .. }) => format!("REQUEST {op:?} cxid={cxid}"),
        Packet::Revalidate { .. } => "REVALIDATE".to_owned(),
        Packet::Revalidated { valid, .. } => format!("REVALIDATE valid={valid}"),
        Packet::Sync => "SYNC".to_owned(),
        Packet::HandOver(sid) => format!("HANDOVER to {}", sid.0),
        Packet::Ping(_) => "PING".to_owned(),
        Packet::Pong { sessions, .. } => format!("PING with {} sessions", sessions.len()),
        other => format!("{other:?}"),
    }
}

/// What a txn does.
pub(crate) fn entry(bytes: &[u8]) -> String {
    let Ok(entry) = Entry::decode(bytes) else { return "that does not decode".to_owned() };
    match entry.txn {
        Txn::Create(create) => format!("create {}", create.path),
        Txn::SetData(set) => format!("set {}", set.path),
        Txn::Delete(path) => format!("delete {path}"),
        Txn::Error(code) => format!("error {code:?}"),
        Txn::CreateSession(_) => "createSession".to_owned(),
        Txn::CloseSession(_) => "closeSession".to_owned(),
        Txn::Multi(parts) => {
            let parts: Vec<_> = parts
                .iter()
                .map(|(op, part)| match part {
                    Txn::Error(code) => format!("error {code:?}"),
                    _ => format!("{op:?}"),
                })
                .collect();
            format!("multi of {}", parts.join(", "))
        }
        _ => format!("{:?}", entry.header.op),
    }
}

pub(crate) fn notification(notification: &Notification) -> String {
    let Vote { leader, zxid, round, epoch } = notification.vote;
    let state = match notification.state {
        PeerState::Looking => "LOOKING",
        PeerState::Following => "FOLLOWING",
        PeerState::Leading => "LEADING",
        PeerState::Observing => "OBSERVING",
    };
    format!("{state} leader={leader} zxid={zxid} epoch={epoch} round={round}")
}

/// The value of `key=value` among some words.
fn value<'a>(words: &[&'a str], key: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

fn number<T: std::str::FromStr>(words: &[&str], key: &str, default: T) -> Result<T, String> {
    value(words, key).map_or(Ok(default), |text| text.parse().map_err(|_| format!("{key}={text}")))
}

/// The bytes of a packet that a scripted peer sends.
pub(crate) fn packet_bytes(from: Node, words: &[&str]) -> Result<Vec<u8>, String> {
    let place = || words.get(1).map(|text| zxid(text)).ok_or("a zxid is missing");
    let packet = match words[0] {
        "FOLLOWERINFO" | "OBSERVERINFO" => Packet::LearnerInfo(LearnerInfo {
            observer: words[0] == "OBSERVERINFO",
            epoch: number(words, "accepted", 0)?,
            sid: Some(from.into()),
            protocol: PROTOCOL_VERSION,
            config_version: 0,
            is_zkd: words.contains(&"zkd"),
        }),
        "LEADERINFO" => Packet::LeaderInfo { zxid: place()?, protocol: PROTOCOL_VERSION },
        "ACKEPOCH" => Packet::AckEpoch { zxid: place()?, epoch: number(words, "epoch", -1)? },
        "DIFF" => Packet::Diff(place()?),
        "TRUNC" => Packet::Trunc(place()?),
        "SNAP" => {
            let mut bytes = Packet::Snap(place()?).to_bytes().to_vec();
            let history = zxids(value(words, "holds").unwrap_or(words[1]));
            bytes.extend(walk(&mut database(&history)));
            bytes.extend_from_slice(SNAPSHOT_SIGNATURE);
            return Ok(bytes);
        }
        "NEWLEADER" => Packet::NewLeader { zxid: place()?, config: None },
        "UPTODATE" => Packet::UpToDate,
        "PROPOSAL" | "INFORM" => {
            let zxid = place()?;
            let bytes = match words.get(2) {
                None => txn(zxid).1,
                Some(&"create") => create(zxid, words[3], words.get(4).copied().unwrap_or_default()).1,
                Some(&"unknown") => {
                    let mut bytes = txn(zxid).1.to_vec();
                    bytes[31] = 99;
                    bytes.into()
                }
                Some(&"trailing") => [&txn(zxid).1[..], b"rubbish"].concat().into(),
                Some(other) => return Err(format!("no txn is called {other:?}")),
            };
            if words[0] == "INFORM" {
                Packet::Inform { zxid, txn: bytes }
            } else {
                Packet::Proposal { zxid, txn: bytes }
            }
        }
        "COMMIT" => Packet::Commit(place()?),
        "ACK" => Packet::Ack(place()?),
        "PING" => Packet::Ping(Zxid::ZERO),
        "SYNC" => Packet::Sync,
        "REQUEST" => {
            let cxid = number(words, "cxid", 0)?;
            let rest: Vec<&str> = words[1..].iter().copied().filter(|word| !word.contains('=')).collect();
            let session = SessionId(number(words, "session", 0)?);
            let (op, body) = match rest.first() {
                Some(&"createSession") => (zkd::proto::OpCode::CREATE_SESSION, 10_000_i32.to_be_bytes().to_vec()),
                Some(_) => request(&rest)?,
                None => return Err("what is asked?".to_owned()),
            };
            Packet::Request(LearnerRequest { session, cxid, op, body: Bytes::from(body), identities: Some(Vec::new()) })
        }
        "REVALIDATE" => Packet::Revalidate { session: SessionId(number(words, "session", 0)?), timeout_ms: 10_000 },
        "UNKNOWN" => Packet::Unknown(99),
        other => return Err(format!("no packet is called {other:?}")),
    };
    Ok(packet.to_bytes().to_vec())
}

/// The bytes of a notification that a scripted peer sends.
pub(crate) fn notification_bytes(from: Node, words: &[&str]) -> Result<Vec<u8>, String> {
    let state = match words[0] {
        "LOOKING" => PeerState::Looking,
        "FOLLOWING" => PeerState::Following,
        "LEADING" => PeerState::Leading,
        "OBSERVING" => PeerState::Observing,
        other => return Err(format!("nobody can be {other:?}")),
    };
    let place = value(words, "zxid").map_or(Zxid::ZERO, |text| if text == "-1" { Zxid(-1) } else { zxid(text) });
    let vote = Vote {
        leader: number(words, "leader", from.into())?,
        zxid: place,
        round: number(words, "round", 1)?,
        epoch: number(words, "epoch", place.epoch().into())?,
    };
    let config = Some(Bytes::from(value(words, "config").unwrap_or_default().replace(';', "\n")));
    let version = number(words, "version", 2)?;
    let mut bytes = Vec::new();
    Notification { state, vote, version, config, proposed: None }.encode(&mut bytes);
    if let Some(length) = value(words, "bytes") {
        bytes.resize(4 + length.parse::<usize>().map_err(|error| error.to_string())?, 0);
    }
    Ok(bytes)
}
