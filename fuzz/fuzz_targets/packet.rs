//! The quorum port, from both sides: whatever comes and in whatever pieces, reading ends with the same answer; and what
//! decodes, encodes to bytes that decode to the same.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use zkd::tree::TreeOptions;
use zkd::zab::{Arrival, LeaderStream, LearnerStream, Packet, Reader};

const FIELD_BYTES_MAX: usize = 1 << 20;

/// What was read: packets, and the digests of databases.
#[derive(PartialEq, Debug)]
enum Read {
    Packet(Packet),
    Database(Option<u64>),
}

fn check(packet: &Packet, reader: Reader) {
    if let Packet::LearnerInfo(info) = packet
        && info.sid.is_none()
    {
        // Such a learner says nothing else that counts, and zkd never sends this.
        return;
    }
    let bytes = packet.to_bytes();
    let again = Packet::decode(&bytes, reader, FIELD_BYTES_MAX + 64);
    assert_eq!(again, Ok(Some((bytes.len(), packet.clone()))));
}

/// Gives the bytes piece by piece; says what was read before an error, and whether there was one.
fn pieces<'a>(
    data: impl Iterator<Item = &'a [u8]>,
    mut take: impl FnMut(&mut BytesMut, &mut Vec<Read>) -> bool,
) -> (Vec<Read>, bool) {
    let (mut buffer, mut read) = (BytesMut::new(), Vec::new());
    for piece in data {
        buffer.extend_from_slice(piece);
        if !take(&mut buffer, &mut read) {
            return (read, false);
        }
    }
    (read, true)
}

fn from_learner<'a>(data: impl Iterator<Item = &'a [u8]>) -> (Vec<Read>, bool) {
    let mut stream = LeaderStream::new(FIELD_BYTES_MAX);
    pieces(data, |buffer, read| {
        let mut packets = Vec::new();
        let is_good = stream.take(buffer, &mut packets).is_ok();
        read.extend(packets.into_iter().map(Read::Packet));
        is_good
    })
}

fn from_leader<'a>(data: impl Iterator<Item = &'a [u8]>) -> (Vec<Read>, bool) {
    let mut stream = LearnerStream::new(FIELD_BYTES_MAX, TreeOptions::default());
    pieces(data, |buffer, read| {
        let mut arrivals = Vec::new();
        let is_good = stream.take(buffer, &mut arrivals).is_ok();
        read.extend(arrivals.into_iter().map(|arrival| match arrival {
            Arrival::Packet(packet) => Read::Packet(packet),
            Arrival::Database(load) => Read::Database(load.digest()),
        }));
        is_good
    })
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, data) = input;
    let size = usize::from(size).max(1);
    for (reader, whole, cut) in [
        (Reader::Leader, from_learner([data].into_iter()), from_learner(data.chunks(size))),
        (Reader::Learner, from_leader([data].into_iter()), from_leader(data.chunks(size))),
    ] {
        assert_eq!(whole, cut);
        for read in &whole.0 {
            if let Read::Packet(packet) = read {
                check(packet, reader);
            }
        }
    }
});
