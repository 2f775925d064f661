//! The world of a story: servers, scripted peers and clients, and what happens when. Time is virtual, a message takes
//! one millisecond, and so does a flush; nothing is left to chance.

use std::collections::{BTreeMap, BTreeSet};

use zkd::ids::{LinkId, Now, Zxid};
use zkd::peer::{Door, Input, SnapshotStart};

use super::actor::Actor;
use super::client::Client;
use super::journal;
use super::server::{Server, Settings};
use super::wire::{Link, Mail};

/// A server's number, as in its `myid`.
pub(crate) type Node = u8;

/// Something that is going to happen. What was meant for an earlier process is nothing to the next.
pub(crate) enum Event {
    Input(Node, u32, Input),
    Tick(Node, u32),
    Flushed(Node, u32),
    SnapshotDue(Node, u32, SnapshotStart),
    ReadLog(Node, u32, LinkId, Zxid, Zxid),
    Mail(Node, Node, Mail),
    DialElection(Node, u32, Node),
    DialLeader(Node, u32, LinkId, Node, Door),
    ClientFrame(char, u32, Vec<u8>),
    ClientPing(char, u32),
    ActorPing(Node),
}

/// How long a dial into a partition lasts, ms.
pub(crate) const DIAL_TIMEOUT_MS: u64 = 800;
/// What passes behind every step, ms.
const STEP_MS: u64 = 20;
/// What passes behind the last step of a paragraph, ms.
const PARAGRAPH_MS: u64 = 1000;

pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) now_ms: u64,
    events: BTreeMap<(u64, u64), Event>,
    number: u64,
    pub(crate) servers: BTreeMap<Node, Server>,
    pub(crate) actors: BTreeMap<Node, Actor>,
    pub(crate) clients: BTreeMap<char, Client>,
    pub(crate) links: Vec<Link>,
    /// Who is connected for elections, the smaller number first.
    pub(crate) acquainted: BTreeSet<(Node, Node)>,
    /// The last notification from one to another.
    pub(crate) notified: BTreeMap<(Node, Node), Vec<u8>>,
    /// Directions in which nothing goes through, and what waits there.
    pub(crate) held: BTreeMap<(Node, Node), Vec<Mail>>,
    /// Directions of which the story wants to see everything.
    pub(crate) watched: BTreeSet<Node>,
    pub(crate) times: bool,
    /// Whether pings are told as well.
    pub(crate) pings: bool,
    began_ms: u64,
    seen: Vec<String>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            settings: Settings::default(),
            now_ms: 0,
            events: BTreeMap::new(),
            number: 0,
            servers: BTreeMap::new(),
            actors: BTreeMap::new(),
            clients: BTreeMap::new(),
            links: Vec::new(),
            acquainted: BTreeSet::new(),
            notified: BTreeMap::new(),
            held: BTreeMap::new(),
            watched: BTreeSet::new(),
            times: false,
            pings: false,
            began_ms: 0,
            seen: Vec::new(),
        }
    }

    /// Takes the steps of one paragraph. Returns what was to be seen.
    pub(crate) fn play(&mut self, steps: &[String]) -> Vec<String> {
        self.began_ms = self.now_ms;
        for step in steps {
            if let Err(reason) = self.step(step) {
                self.tell(format!("NOT A STEP: {step}: {reason}"));
            }
            self.pass(STEP_MS);
        }
        if !steps.is_empty() {
            self.pass(PARAGRAPH_MS);
        }
        std::mem::take(&mut self.seen)
    }

    /// Something that is to be seen.
    pub(crate) fn tell(&mut self, line: impl Into<String>) {
        let line = line.into();
        let time = if self.times { format!("{:>5} ms  ", self.now_ms - self.began_ms) } else { String::new() };
        self.seen.push(time + &line);
    }

    /// What a server has written into its log.
    pub(crate) fn tell_warnings(&mut self, node: Node) {
        for warning in journal::take() {
            self.tell(format!("{node} warns: {warning}"));
        }
    }

    /// Plans something.
    pub(crate) fn after(&mut self, ms: u64, event: Event) {
        self.number += 1;
        self.events.insert((self.now_ms + ms, self.number), event);
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, ms: u64) {
        let until = self.now_ms + ms;
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= until) {
            let ((at, _), event) = entry.remove_entry();
            self.now_ms = at;
            self.happen(event);
        }
        self.now_ms = until;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Input(node, boot, input) if self.runs(node, boot) => self.handle(node, input),
            Event::Tick(node, boot) if self.runs(node, boot) => self.tick(node),
            Event::Flushed(node, boot) if self.runs(node, boot) => self.flushed(node),
            Event::SnapshotDue(node, boot, start) if self.runs(node, boot) => self.snapshot_due(node, start),
            Event::ReadLog(node, boot, link, from, until) if self.runs(node, boot) => {
                self.read_log(node, link, from, until);
            }
            Event::DialElection(node, boot, to) if self.runs(node, boot) => self.dial_election(node, to),
            Event::DialLeader(node, boot, link, to, door) if self.runs(node, boot) => {
                self.dial_leader(node, link, to, door);
            }
            Event::Mail(from, to, mail) => self.deliver(from, to, mail),
            Event::ClientFrame(name, connection, bytes) => self.client_frame(name, connection, &bytes),
            Event::ClientPing(name, connection) => self.client_ping(name, connection),
            Event::ActorPing(node) => self.actor_ping(node),
            Event::Input(..)
            | Event::Tick(..)
            | Event::Flushed(..)
            | Event::SnapshotDue(..)
            | Event::ReadLog(..)
            | Event::DialElection(..)
            | Event::DialLeader(..) => {}
        }
    }

    /// Whether this very process still runs.
    fn runs(&self, node: Node, boot: u32) -> bool {
        self.servers.get(&node).is_some_and(|server| server.boot == boot && server.process.is_some())
    }

    pub(crate) fn clock(&self) -> Now {
        Now { steady_ms: self.now_ms + 1000, wall_ms: 1_700_000_000_000 + self.now_ms.cast_signed() }
    }

    /// Whether there is somebody who takes connections.
    pub(crate) fn is_up(&self, node: Node) -> bool {
        self.actors.contains_key(&node) || self.servers.get(&node).is_some_and(|server| server.process.is_some())
    }

    pub(crate) fn is_cut(&self, a: Node, b: Node) -> bool {
        self.held.contains_key(&(a, b)) && self.held.contains_key(&(b, a))
    }
}
