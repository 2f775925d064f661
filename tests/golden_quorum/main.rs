//! What real servers said to each other (`tests/vectors/quorum`), on the election port and on the quorum port: every byte
//! decodes, in whatever pieces it comes, and encodes back to itself.

mod database;
mod recording;

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use database::Body;
use recording::{CUTS, Connection, Cut, Port, Recording, Stream};
use zkd::pipeline::LoadDatabase;
use zkd::proto::{OpCode, Request};
use zkd::tree::TreeOptions;
use zkd::txn::{Entry, Txn};
use zkd::zab::{
    AUTH_MAGIC, Arrival, AuthPacket, Ensemble, Hello, LeaderStream, LearnerStream, NOTIFICATION_BYTES_MAX,
    Notification, Packet, PeerState, SNAPSHOT_SIGNATURE,
};

/// `jute.maxbuffer` and its extra size, by default.
const FIELD_BYTES_MAX: usize = 2_097_150;

fn connections(port: Port) -> Vec<(String, Connection)> {
    let named = |recording: Recording| {
        let Recording { name, connections } = recording;
        connections.into_iter().map(move |connection| (format!("{name} {}", connection.id), connection))
    };
    Recording::all().into_iter().flat_map(named).filter(|(_, connection)| connection.port == port).collect()
}

/// How often each kind was met.
#[derive(Default)]
struct Tally(BTreeMap<&'static str, usize>);

impl Tally {
    fn count(&mut self, kind: &'static str) {
        *self.0.entry(kind).or_default() += 1;
    }

    /// A test that meets nothing tests nothing.
    fn expect(&self, expected: &[(&'static str, usize)]) {
        assert_eq!(self.0, expected.iter().copied().collect());
    }
}

/// How many bytes from `start` on are the exchange of names and passwords that comes before all else where servers
/// must prove who they are (election.md 7).
fn sasl(stream: &Stream, start: usize, tally: &mut Tally) -> usize {
    let mut rest = &stream.bytes[start..];
    while let Some(head) = rest.first_chunk().filter(|_| rest.starts_with(&AUTH_MAGIC)) {
        let length = AuthPacket::length(head).expect("a packet");
        let (behind, packet) = AuthPacket::decode(rest).expect("the whole of it");
        assert_eq!(rest.len() - behind.len(), length);
        let mut again = Vec::new();
        packet.encode(&mut again);
        assert_eq!(again, rest[..length]);
        tally.count("sasl");
        rest = behind;
    }
    stream.bytes.len() - start - rest.len()
}

fn check_config(text: &[u8], at: &str) {
    let text = std::str::from_utf8(text).expect("UTF-8");
    let ensemble = Ensemble::parse(text).unwrap_or_else(|error| panic!("{at}: {error}"));
    assert_eq!(ensemble.text(), text, "{at}");
}

// The election port.

/// Takes whole messages off the buffer, as the port does.
fn take_notifications(buffer: &mut BytesMut, take: &mut impl FnMut(Notification)) {
    while let Some(length) = buffer.first_chunk().map(|length| u32::from_be_bytes(*length) as usize) {
        assert!((1..=NOTIFICATION_BYTES_MAX).contains(&length));
        if buffer.len() < 4 + length {
            return;
        }
        let message: Bytes = buffer.split_to(4 + length).split_off(4).freeze();
        take(Notification::decode(&message).expect("a notification"));
    }
}

/// Reads a hello as it comes, byte by byte.
fn hello(stream: &Stream, at: &str) -> usize {
    let bytes = &stream.bytes;
    let early = (0..bytes.len()).find(|end| Hello::decode(&bytes[..*end]).expect("a good beginning").is_some());
    let (length, hello) = Hello::decode(bytes).expect("a hello").expect("a whole one");
    assert_eq!(early.unwrap_or(length), length, "{at}: taken before it was whole");
    let mut again = Vec::new();
    hello.encode(&mut again);
    assert_eq!(again, bytes[..length], "{at}");
    length
}

#[test]
fn every_hello_and_notification_encodes_back_to_its_bytes() {
    let mut tally = Tally::default();
    for (at, connection) in connections(Port::Election) {
        let mut begin = 0;
        if !connection.out.bytes.is_empty() {
            begin = hello(&connection.out, &at);
            tally.count(if connection.out.bytes.starts_with(&(-65536_i64).to_be_bytes()) { "hello" } else { "hellos" });
        }
        for (stream, begin) in [(&connection.out, begin), (&connection.back, 0)] {
            let start = begin + sasl(stream, begin, &mut tally);
            check_notifications(stream, start, &at, &mut tally);
        }
    }
    tally.expect(&[
        ("hello", 182),
        ("hellos", 4),
        ("sasl", 8),
        ("looking", 294),
        ("following", 84),
        ("leading", 57),
        ("length alone", 2),
    ]);
}

fn check_notifications(stream: &Stream, start: usize, at: &str, tally: &mut Tally) {
    let mut heard = Vec::new();
    let left = stream.feed(start, Cut::Whole, |buffer| {
        take_notifications(buffer, &mut |notification| heard.push(notification));
    });
    let mut again = Vec::new();
    for notification in &heard {
        notification.encode(&mut again);
        check_config(notification.config.as_ref().expect("a configuration"), at);
        tally.count(match notification.state {
            PeerState::Looking => "looking",
            PeerState::Following => "following",
            PeerState::Leading => "leading",
            PeerState::Observing => "observing",
        });
    }
    if !left.is_empty() {
        // Apache writes a message's length by itself, and these two were closed before the message.
        assert_eq!(left.len(), 4, "{at}");
        tally.count("length alone");
    }
    again.extend_from_slice(&left);
    assert_eq!(again, stream.bytes[start..], "{at}");
    for cut in CUTS {
        let mut again = Vec::new();
        stream.feed(start, cut, |buffer| take_notifications(buffer, &mut |notification| again.push(notification)));
        assert_eq!(again, heard, "{at} {cut:?}");
    }
}

// The quorum port.

#[test]
fn every_packet_of_a_learner_encodes_back_to_its_bytes() {
    let mut tally = Tally::default();
    for (at, Connection { out: stream, .. }) in connections(Port::Quorum) {
        let start = sasl(&stream, 0, &mut tally);
        for cut in CUTS {
            let (mut reader, mut packets) = (LeaderStream::new(FIELD_BYTES_MAX), Vec::new());
            let left = stream.feed(start, cut, |buffer| reader.take(buffer, &mut packets).expect("packets"));
            let mut again = Vec::new();
            for packet in &packets {
                packet.encode(&mut again);
                if let Cut::Whole = cut {
                    check_learner_packet(packet, &at, &mut tally);
                }
            }
            assert!(left.is_empty() && again == stream.bytes[start..], "{at} {cut:?}");
        }
    }
    tally.expect(&[
        ("sasl", 2),
        ("FOLLOWERINFO", 59),
        ("OBSERVERINFO", 7),
        ("ACKEPOCH", 66),
        ("ACK", 1322),
        ("PING", 778),
        ("REVALIDATE", 8),
        ("REQUEST", 71),
    ]);
}

fn check_learner_packet(packet: &Packet, at: &str, tally: &mut Tally) {
    tally.count(match packet {
        Packet::LearnerInfo(info) => {
            assert!(!info.is_zkd, "{at}: these are Apache's");
            if info.observer { "OBSERVERINFO" } else { "FOLLOWERINFO" }
        }
        Packet::AckEpoch { .. } => "ACKEPOCH",
        Packet::Ack(_) => "ACK",
        Packet::Pong { .. } => "PING",
        Packet::Revalidate { .. } => "REVALIDATE",
        Packet::Request(request) => {
            if request.op == OpCode::CREATE_SESSION {
                assert_eq!(request.body.len(), 4, "{at}: a timeout");
                assert_eq!(request.identities, None, "{at}");
            } else {
                let (rest, _) = Request::decode(request.op, &request.body).expect("a request");
                assert!(rest.is_empty(), "{at}: {request:?}");
            }
            "REQUEST"
        }
        other => panic!("{at}: a learner does not send {other:?}"),
    });
}

/// Takes everything that a leader sent.
fn arrivals(stream: &Stream, start: usize, cut: Cut, at: &str) -> Vec<Arrival> {
    let mut reader = LearnerStream::new(FIELD_BYTES_MAX, TreeOptions::default());
    let mut arrivals = Vec::new();
    let left = stream.feed(start, cut, |buffer| reader.take(buffer, &mut arrivals).expect("packets"));
    assert!(left.is_empty(), "{at} {cut:?}");
    arrivals
}

#[test]
fn every_packet_of_a_leader_encodes_back_to_its_bytes() {
    let mut tally = Tally::default();
    for (at, Connection { back: stream, .. }) in connections(Port::Quorum) {
        let start = sasl(&stream, 0, &mut tally);
        for cut in CUTS {
            let mut again = stream.bytes[..start].to_vec();
            for arrival in arrivals(&stream, start, cut, &at) {
                match arrival {
                    Arrival::Packet(packet) => {
                        packet.encode(&mut again);
                        if let Cut::Whole = cut {
                            check_leader_packet(&packet, &at, &mut tally);
                        }
                    }
                    Arrival::Database(load) => {
                        // The tree does not keep the order in which it came: what is written back is a copy, and the
                        // tree must mean the same.
                        let (body, _) = Body::read(&stream.bytes[again.len()..]);
                        again.extend_from_slice(&body.write());
                        again.extend_from_slice(SNAPSHOT_SIGNATURE);
                        assert_eq!(load.digest(), Some(body.digest()), "{at} {cut:?}");
                        assert_eq!(Body::of(*load).meaning(), body.meaning(), "{at} {cut:?}");
                        if let Cut::Whole = cut {
                            tally.count("(database)");
                            assert!(body.nodes() >= 4, "{at}");
                        }
                    }
                }
            }
            assert!(again == stream.bytes, "{at} {cut:?}");
        }
    }
    tally.expect(&[
        ("sasl", 2),
        ("LEADERINFO", 66),
        ("DIFF", 35),
        ("TRUNC", 5),
        ("SNAP", 26),
        ("(database)", 26),
        ("PROPOSAL", 1297),
        ("COMMIT", 1279),
        ("COMMITANDACTIVATE", 18),
        ("INFORM", 30),
        ("INFORMANDACTIVATE", 6),
        ("NEWLEADER", 66),
        ("UPTODATE", 66),
        ("PING", 783),
        ("REVALIDATE", 8),
        ("SYNC", 6),
        ("(configuration)", 24),
    ]);
}

fn check_leader_packet(packet: &Packet, at: &str, tally: &mut Tally) {
    tally.count(match packet {
        Packet::LeaderInfo { .. } => "LEADERINFO",
        Packet::Diff(_) => "DIFF",
        Packet::Trunc(_) => "TRUNC",
        Packet::Snap(_) => "SNAP",
        Packet::Commit(_) => "COMMIT",
        Packet::CommitAndActivate { .. } => "COMMITANDACTIVATE",
        Packet::UpToDate => "UPTODATE",
        Packet::Ping(_) => "PING",
        Packet::Revalidated { .. } => "REVALIDATE",
        Packet::Sync => "SYNC",
        Packet::NewLeader { config, .. } => {
            check_config(config.as_ref().expect("a configuration"), at);
            "NEWLEADER"
        }
        Packet::Proposal { .. } => "PROPOSAL",
        Packet::Inform { .. } => "INFORM",
        Packet::InformAndActivate { .. } => "INFORMANDACTIVATE",
        other => panic!("{at}: a leader does not send {other:?}"),
    });
    if let Packet::Proposal { zxid, txn } | Packet::Inform { zxid, txn } | Packet::InformAndActivate { zxid, txn, .. } =
        packet
    {
        let entry = Entry::decode(txn).expect("a txn");
        let mut again = Vec::new();
        entry.encode(&mut again);
        assert!(entry.header.zxid == *zxid && again == txn[..], "{at}: {entry:?}");
        if let (OpCode::RECONFIG, Txn::SetData(config)) = (entry.header.op, &entry.txn) {
            check_config(config.data.expect("a configuration"), at);
            tally.count("(configuration)");
        }
    }
}

/// Applies what followed each database. Says how many of the digests fit, and how many did not yet: the leader went on
/// while it wrote, and until that is made up for they may differ, but not once one has fitted.
fn follow_databases(again: bool) -> (usize, usize) {
    let (mut fit, mut not_yet) = (0, 0);
    for (at, Connection { back: stream, .. }) in connections(Port::Quorum) {
        let start = sasl(&stream, 0, &mut Tally::default());
        let mut database: Option<LoadDatabase> = None;
        for arrival in arrivals(&stream, start, Cut::Whole, &at) {
            match (arrival, &mut database) {
                (Arrival::Database(load), _) => database = Some(*load),
                (Arrival::Packet(Packet::Proposal { zxid, txn } | Packet::Inform { zxid, txn }), Some(database)) => {
                    if zxid <= database.last_zxid() && !again {
                        continue;
                    }
                    let entry = Entry::decode(&txn).expect("a txn");
                    database.apply(&entry);
                    let Some(said) = entry.digest else { continue };
                    if database.digest() == Some(said.tree) {
                        database.is_fuzzy = false;
                        fit += 1;
                    } else {
                        assert!(database.is_fuzzy, "{at} {zxid}");
                        not_yet += 1;
                    }
                }
                _ => {}
            }
        }
    }
    (fit, not_yet)
}

#[test]
fn what_follows_a_database_applies_to_it_digest_by_digest() {
    assert_eq!(follow_databases(false), (1160, 0));
}

#[test]
fn what_a_database_holds_already_does_no_harm_when_it_is_applied_again() {
    assert_eq!(follow_databases(true), (1190, 2));
}
