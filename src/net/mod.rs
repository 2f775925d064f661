//! Sockets: the client port, the election port, the quorum port. Nothing is decided here; frames and packets go down.
//!
//! A few threads with one tokio runtime each carry the clients' connections, so that a request is read, answered and
//! written on one thread. A connection is one future; while its client is idle it holds no buffer. The connections
//! between servers share a thread with the owner.

mod carrier;
mod connection;
mod connections;
mod election;
mod listener;
mod peers;
mod quorum;
mod sasl;
mod sockets;
mod throttle;
mod tls;
mod words;

pub use connections::{ConnectionLimits, Connections};
pub use election::{ElectionNet, ElectionPort};
pub use listener::{ClientPlaces, ClientPort, ListenError, find_free, listen};
pub use peers::Addresses;
pub use quorum::{QuorumNet, QuorumPort};
pub use sasl::{Passwords, ServerSasl};
pub(crate) use sockets::listen_on;
pub use throttle::{ConnectionThrottleRules, RequestThrottleRules, Throttles};
pub use tls::{Gate, Security, Stream, Tls, TlsError};

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::ids::{ConnectionId, Now};
use crate::peer::Input;
use crate::pipeline::{Greeting, Lane, ServerStatistics, SharedDatabase, WriteRequest};

/// Whom connections hand things to that they cannot answer themselves. Never waits: what is in flight is bounded by
/// [`ConnectionLimits`], not by a queue in between.
pub trait Owner: Send + Sync {
    /// A connection asks for a session.
    fn connect(&self, lane: Arc<Lane>, greeting: Greeting);
    /// Clients write.
    fn write(&self, requests: Vec<WriteRequest>);
    /// A connection is gone.
    fn disconnected(&self, connection: ConnectionId);
}

/// Whom the connections between servers hand everything to. Never waits.
pub trait Inbox: Send + Sync {
    /// Takes one input.
    fn give(&self, input: Input);
    /// Takes one input, and lets go of `hold` once it is handled and the log not far behind: so that whoever reads a socket
    /// does not run ahead.
    fn give_holding(&self, input: Input, hold: Hold);
}

/// Something that is dropped when the time has come.
pub type Hold = Box<dyn Send>;

/// What four bytes at the beginning of a connection are.
pub enum WordAnswer {
    /// The length of a frame.
    NotAWord,
    /// A word that needs more bytes behind it.
    Incomplete,
    /// A word, known or allowed or not, with a short answer.
    Text(String),
    /// A word whose answer has to be found: it may take locks and time, and ask the owner.
    Work(WordWork),
}

/// Finds the answer to a word, on a thread where it may wait.
pub type WordWork = Box<dyn FnOnce() -> String + Send>;

/// Who answers four-letter words (client-protocol.md 8).
pub trait FourLetterWords: Send + Sync {
    /// The answer to `word`; `rest` is what came behind it so far. It does not wait.
    fn answer(&self, word: [u8; 4], rest: &[u8]) -> WordAnswer;
}

/// What time it is.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Now;
}

/// What every connection needs.
pub struct ClientContext {
    /// What reads are answered from.
    pub database: SharedDatabase,
    /// Who takes the rest.
    pub owner: Arc<dyn Owner>,
    /// Who answers four-letter words.
    pub words: Arc<dyn FourLetterWords>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// All connections.
    pub connections: Arc<Connections>,
    /// The server's counts.
    pub statistics: Arc<ServerStatistics>,
    /// The bounds.
    pub limits: ConnectionLimits,
    /// What holds clients back.
    pub throttles: Arc<Throttles>,
    /// Cleared while no session can be served: connect requests are closed without an answer.
    pub serving: AtomicBool,
}
