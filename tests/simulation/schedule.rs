//! What happens when: events in the order of their times, and of their making where times are equal.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use zkd::ids::{LinkId, Sid, Zxid};
use zkd::peer::Door;

use super::network::{ConnId, Piece};

/// Simulated time since the beginning, in microseconds.
pub(crate) type Us = u64;

/// Milliseconds as simulated time.
pub(crate) const fn ms(ms: u64) -> Us {
    ms * 1000
}

/// Why somebody dials.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// To hold elections.
    Election,
    /// To follow: with the learner's number of the connection.
    Follow(LinkId, Sid, Door),
    /// As a client.
    Client,
}

/// One thing that is going to happen. `node` is a machine, `boot` its process: what was meant for an earlier one is
/// nothing to the next.
#[derive(Debug)]
pub(crate) enum Event {
    /// A piece has come through the network.
    Deliver { conn: ConnId, from_end: usize, piece: Piece },
    /// What a partition held back comes through.
    Release { conn: ConnId, from_end: usize },
    /// One end gives up on a connection.
    Broken { conn: ConnId, end: usize },
    /// A dial has come to the other machine.
    Dialled { from: usize, boot: u32, to: usize, purpose: Purpose },
    /// A dial has come to nothing.
    DialFailed { from: usize, boot: u32, to: usize, purpose: Purpose },
    /// The owner of a server looks into its inbox.
    Step { node: usize, boot: u32 },
    /// A flush of the log returns.
    LogFlushed { node: usize, boot: u32 },
    /// The log tries again on a full disk.
    LogRetry { node: usize, boot: u32 },
    /// The next piece of a snapshot file.
    SnapshotStep { node: usize, boot: u32, walk: u64 },
    /// The next piece of a database for a learner.
    DatabaseStep { node: usize, boot: u32, link: LinkId },
    /// The log has been read for a learner.
    LogRead { node: usize, boot: u32, link: LinkId, from: Zxid, until: Zxid },
    /// The election port has something to send.
    Notify { node: usize, boot: u32, to: usize },
    /// A client does something.
    Client { client: usize },
    /// A server is started.
    Start { node: usize },
    /// A server goes on after a pause.
    Resume { node: usize },
    /// A fault ends.
    Mend(Mending),
    /// The next fault.
    Fault,
    /// Time to look whether all is well again.
    Check,
}

/// What ends by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mending {
    /// All partitions.
    Partition,
    /// Slow links.
    Slow,
    /// A stalled disk.
    Stall(usize),
    /// A full disk.
    Full(usize),
}

struct Entry {
    at: Us,
    number: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// All that is going to happen.
#[derive(Default)]
pub(crate) struct Schedule {
    heap: BinaryHeap<Entry>,
    number: u64,
}

impl Schedule {
    /// Plans an event.
    pub(crate) fn at(&mut self, at: Us, event: Event) {
        self.number += 1;
        self.heap.push(Entry { at, number: self.number, event });
    }

    /// The next event and its time.
    pub(crate) fn pop(&mut self) -> Option<(Us, Event)> {
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }
}
