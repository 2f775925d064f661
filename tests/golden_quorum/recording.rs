//! Recordings of what real servers said to each other (`tests/vectors/quorum`), as one stream of bytes per direction.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::BytesMut;
use serde_json::Value;

/// One recording: its name and its connections in order.
pub(crate) struct Recording {
    pub(crate) name: String,
    pub(crate) connections: Vec<Connection>,
}

/// Which port was dialled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Port {
    /// Votes.
    Election,
    /// The dialler is a learner; the other one leads, or is the master of an observer.
    Quorum,
}

/// One connection, both ways.
pub(crate) struct Connection {
    pub(crate) id: String,
    pub(crate) port: Port,
    /// What the dialler sent.
    pub(crate) out: Stream,
    /// What came back.
    pub(crate) back: Stream,
}

/// All that was sent in one direction.
#[derive(Default)]
pub(crate) struct Stream {
    pub(crate) bytes: Vec<u8>,
    /// Where each captured piece ends.
    ends: Vec<usize>,
}

/// How a stream is cut into pieces.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    /// Not at all.
    Whole,
    /// As it was captured.
    AsCaptured,
    /// Into pieces of this many bytes.
    Every(usize),
    /// At random, from this seed.
    Random(u64),
}

/// Every way to cut that a reader has to bear.
pub(crate) const CUTS: [Cut; 7] =
    [Cut::Whole, Cut::AsCaptured, Cut::Every(1), Cut::Every(3), Cut::Every(19), Cut::Random(1), Cut::Random(2)];

impl Recording {
    /// All of them.
    pub(crate) fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/quorum");
        let mut paths: Vec<_> = fs::read_dir(folder).expect("the vectors").flatten().map(|file| file.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        paths.sort();
        assert_eq!(paths.len(), 29);
        paths.iter().map(|path| Self::load(path)).collect()
    }

    fn load(path: &Path) -> Self {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(path).expect("a readable file");
        let mut connections: Vec<Connection> = Vec::new();
        let mut places = BTreeMap::new();
        for line in text.lines() {
            let event: Value = serde_json::from_str(line).expect("JSON");
            let Some(id) = event["c"].as_str() else { continue };
            match event["k"].as_str() {
                Some("open") => {
                    places.insert(id.to_owned(), connections.len());
                    let port = if event["proto"] == "election" { Port::Election } else { Port::Quorum };
                    let (out, back) = (Stream::default(), Stream::default());
                    connections.push(Connection { id: id.to_owned(), port, out, back });
                }
                Some("data") => {
                    let connection = &mut connections[places[id]];
                    let stream = if event["d"] == ">" { &mut connection.out } else { &mut connection.back };
                    stream.bytes.extend(from_hex(event["x"].as_str().expect("bytes")));
                    stream.ends.push(stream.bytes.len());
                }
                _ => {}
            }
        }
        Self { name, connections }
    }
}

impl Stream {
    /// Gives the bytes from `start` on to `take`, piece by piece: each is appended to what `take` has left of those
    /// before. Returns what is left in the end.
    pub(crate) fn feed(&self, start: usize, cut: Cut, mut take: impl FnMut(&mut BytesMut)) -> BytesMut {
        let mut random = fastrand::Rng::with_seed(if let Cut::Random(seed) = cut { seed } else { 0 });
        let mut buffer = BytesMut::new();
        let mut at = start;
        while at < self.bytes.len() {
            let end = match cut {
                Cut::Whole => self.bytes.len(),
                Cut::AsCaptured => self.ends.iter().copied().find(|end| *end > at).expect("ends at the end"),
                Cut::Every(count) => at + count,
                Cut::Random(_) => at + random.usize(1..=70),
            };
            let end = end.min(self.bytes.len());
            buffer.extend_from_slice(&self.bytes[at..end]);
            take(&mut buffer);
            at = end;
        }
        buffer
    }
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().map(|digit| digit.to_digit(16).expect("hex")).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("two digits")).collect()
}
