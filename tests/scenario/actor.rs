//! Scripted peers: in the place of a server, they say only what the story tells them to say, and tell what they hear.
//! Pings they answer and send by themselves.

use std::collections::BTreeMap;

use bytes::Bytes;
use zkd::ids::Zxid;
use zkd::zab::{Arrival, Notification, Packet};

use super::server::TICK_MS;
use super::wire::Mail;
use super::words;
use super::world::{Event, Node, World};

/// One of them.
#[derive(Default)]
pub(crate) struct Actor {
    /// What each server has said for elections.
    heard: BTreeMap<Node, String>,
    /// The connections to those who were told to serve.
    serve: Vec<usize>,
    /// The connections to those who told it to serve.
    served: Vec<usize>,
    quiet: bool,
}

impl World {
    /// A scripted peer begins to be there.
    pub(crate) fn act(&mut self, node: Node) {
        self.actors.insert(node, Actor::default());
        self.after(TICK_MS / 2, Event::ActorPing(node));
    }

    pub(crate) fn actor_quiet(&mut self, node: Node) {
        if let Some(actor) = self.actors.get_mut(&node) {
            actor.quiet = true;
        }
    }

    /// It says something: on the election port, or on the quorum port.
    pub(crate) fn actor_says(&mut self, node: Node, to: Node, words: &[&str]) -> Result<(), String> {
        if words[0] == "vote" {
            let bytes = words::notification_bytes(node, &words[1..])?;
            self.notify(node, to, bytes);
            return Ok(());
        }
        let bytes = words::packet_bytes(node, words)?;
        let begins = matches!(words[0], "FOLLOWERINFO" | "OBSERVERINFO");
        let known = self.link_between(node, to).filter(|_| !begins);
        let id = match known {
            Some(id) => id,
            None if begins => self.connect(node, zkd::ids::LinkId(0), to),
            None => return Err(format!("{node} and {to} are not connected")),
        };
        if words[0] == "UPTODATE" {
            self.actors.get_mut(&node).expect("a scripted peer").serve.push(id);
        }
        self.post(node, to, Mail::Bytes(id, bytes));
        Ok(())
    }

    pub(crate) fn actor_hears(&mut self, from: Node, to: Node, bytes: &[u8]) {
        let notification = Notification::decode(&Bytes::copy_from_slice(&bytes[4..])).expect("a notification of a zkd");
        let said = words::notification(&notification);
        let actor = self.actors.get_mut(&to).expect("a scripted peer");
        if actor.heard.insert(from, said.clone()).as_ref() != Some(&said) {
            self.tell(format!("{from} -> {to} vote {said}"));
        }
    }

    /// A scripted learner answers pings.
    pub(crate) fn actor_answers_leader(&mut self, id: usize, node: Node, arrivals: &[Arrival]) {
        for arrival in arrivals {
            let actor = self.actors.get_mut(&node).expect("a scripted peer");
            match arrival {
                Arrival::Packet(Packet::UpToDate) => actor.served.push(id),
                Arrival::Packet(Packet::Ping(zxid)) if actor.served.contains(&id) && !actor.quiet => {
                    let pong = Packet::Pong { zxid: *zxid, sessions: Vec::new() }.to_bytes().to_vec();
                    self.send(id, node, pong);
                }
                Arrival::Packet(_) | Arrival::Database(_) => {}
            }
        }
    }

    /// A scripted leader pings whom it has told to serve.
    pub(crate) fn actor_ping(&mut self, node: Node) {
        let actor = &self.actors[&node];
        let serve = if actor.quiet { Vec::new() } else { actor.serve.clone() };
        for id in serve {
            self.send(id, node, Packet::Ping(Zxid::ZERO).to_bytes().to_vec());
        }
        self.after(TICK_MS / 2, Event::ActorPing(node));
    }
}
