//! A connection's bytes as packets; and, on the learner's side, as the database that a leader sends between them.

use bytes::BytesMut;

use super::packet::{Packet, PacketError, Reader, SNAPSHOT_SIGNATURE};
use crate::ids::Zxid;
use crate::pipeline::LoadDatabase;
use crate::storage::snapshot::RECORD_BYTES_MAX;
use crate::storage::snapshot_body::{BodyFault, BodyReader, Progress};
use crate::tree::TreeOptions;

/// Why a connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// Not a packet.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// Not a database.
    #[error("the database that the leader sends is bad: {0}")]
    Database(BodyFault),
    /// A record above [`RECORD_BYTES_MAX`].
    #[error("the database that the leader sends has a record above {RECORD_BYTES_MAX} bytes")]
    RecordTooLong,
    /// Something else than the signature behind it.
    #[error("the database that the leader sends does not end as one")]
    Signature,
}

/// What a leader reads from a learner.
#[derive(Debug)]
pub struct LeaderStream {
    field_bytes_max: usize,
}

impl LeaderStream {
    /// `field_bytes_max` is `jute.maxbuffer` and its extra size.
    #[must_use]
    pub const fn new(field_bytes_max: usize) -> Self {
        Self { field_bytes_max }
    }

    /// Takes all whole packets off `buffer`.
    ///
    /// # Errors
    /// See [`StreamError`]: close the connection.
    pub fn take(&mut self, buffer: &mut BytesMut, packets: &mut Vec<Packet>) -> Result<(), StreamError> {
        take_packets(buffer, Reader::Leader, self.field_bytes_max, |packet| {
            packets.push(packet);
            true
        })
    }
}

/// What comes from a leader.
#[derive(Debug)]
pub enum Arrival {
    /// A packet.
    Packet(Packet),
    /// The whole database, behind [`Packet::Snap`].
    Database(Box<LoadDatabase>),
}

/// What a learner reads from its leader.
#[derive(Debug)]
pub struct LearnerStream {
    field_bytes_max: usize,
    options: TreeOptions,
    /// Set between SNAP and the signature.
    database: Option<Box<Arriving>>,
}

#[derive(Debug)]
struct Arriving {
    zxid: Zxid,
    body: BodyReader,
    load: LoadDatabase,
    is_whole: bool,
}

impl LearnerStream {
    /// `field_bytes_max` is `jute.maxbuffer` and its extra size; `options` make the tree.
    #[must_use]
    pub const fn new(field_bytes_max: usize, options: TreeOptions) -> Self {
        Self { field_bytes_max, options, database: None }
    }

    /// Takes everything whole off `buffer`.
    ///
    /// # Errors
    /// See [`StreamError`]: close the connection.
    pub fn take(&mut self, buffer: &mut BytesMut, arrivals: &mut Vec<Arrival>) -> Result<(), StreamError> {
        loop {
            if let Some(arriving) = &mut self.database {
                if !arriving.take(buffer)? {
                    return Ok(());
                }
                if let Some(arriving) = self.database.take() {
                    let Arriving { zxid, mut load, .. } = *arriving;
                    load.snapshot_loaded(zxid);
                    // The leader went on while it wrote.
                    load.is_fuzzy = true;
                    arrivals.push(Arrival::Database(Box::new(load)));
                }
            }
            let mut snap = None;
            take_packets(buffer, Reader::Learner, self.field_bytes_max, |packet| {
                if let Packet::Snap(zxid) = packet {
                    snap = Some(zxid);
                }
                arrivals.push(Arrival::Packet(packet));
                snap.is_none()
            })?;
            let Some(zxid) = snap else { return Ok(()) };
            let load = LoadDatabase::new(self.options);
            self.database = Some(Box::new(Arriving { zxid, body: BodyReader::new(), load, is_whole: false }));
        }
    }
}

impl Arriving {
    /// True once the signature was taken.
    fn take(&mut self, buffer: &mut BytesMut) -> Result<bool, StreamError> {
        if !self.is_whole {
            let (used, progress) =
                self.body.read(buffer, &mut self.load).map_err(|(_, fault)| StreamError::Database(fault))?;
            let _done = buffer.split_to(used);
            if progress == Progress::More {
                return if buffer.len() > RECORD_BYTES_MAX { Err(StreamError::RecordTooLong) } else { Ok(false) };
            }
            self.is_whole = true;
        }
        if buffer.len() < SNAPSHOT_SIGNATURE.len() {
            return Ok(false);
        }
        if &buffer.split_to(SNAPSHOT_SIGNATURE.len())[..] == SNAPSHOT_SIGNATURE {
            Ok(true)
        } else {
            Err(StreamError::Signature)
        }
    }
}

/// Takes whole packets off `buffer` until `take` says no.
fn take_packets(
    buffer: &mut BytesMut,
    reader: Reader,
    field_bytes_max: usize,
    mut take: impl FnMut(Packet) -> bool,
) -> Result<(), StreamError> {
    let mut bytes = buffer.split().freeze();
    let came = bytes.len();
    let mut more = true;
    while more {
        match Packet::decode(&bytes, reader, field_bytes_max)? {
            Some((length, packet)) => {
                bytes = bytes.slice(length..);
                more = take(packet);
            }
            None => break,
        }
    }
    if came > 0 && bytes.len() == came {
        // A packet that comes in many pieces is not copied with each: nobody else has a part of it, once this has not.
        *buffer = BytesMut::new();
    }
    match bytes.try_into_mut() {
        Ok(rest) => *buffer = rest,
        Err(rest) => buffer.extend_from_slice(&rest),
    }
    Ok(())
}
