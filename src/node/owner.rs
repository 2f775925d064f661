//! The owner: one task that gives the machine its inputs, one after the other, and carries out what it wants.
//!
//! It shares its thread with the connections to other servers, and where one thread is enough for clients, with theirs:
//! what all of them had to say comes to it in one turn, and nobody has to be woken for its answers.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::Waker;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::yield_now;

use super::rim::Rim;
use super::ticker::Ticker;
use crate::admin::Inspect;
use crate::ids::ConnectionId;
use crate::net::{Clock, Hold, Inbox, Owner};
use crate::peer::{ExpirySets, Input, Machine, Peer, Report};
use crate::pipeline::{Greeting, Lane, WriteRequest};

/// Inputs taken at once.
const INPUTS_MAX: usize = 1024;
/// How often others go first before inputs are handled, as long as they have something to say.
const GATHERINGS_MAX: usize = 4;
/// As long as they have had, about, then it is the owner's turn.
const GATHERING_MS_MAX: u64 = 2;
/// The longest sleep, when nothing is due, ms.
const IDLE_MS: u64 = 1000;

/// How often connections without a session are looked for, ms: the reference rounds up to ten seconds.
const SWEEP_MS: u64 = 1000;

/// A look at the machine from outside, taken between two inputs.
type Look = Box<dyn FnOnce(&mut Peer) + Send>;

enum Message {
    Input(Input),
    /// An input, and what is let go once it is handled and the log is not far behind.
    Held(Input, Hold),
    Inspect(Look),
    /// Finish what is in flight, then end.
    Stop,
}

/// The way to the owner.
#[derive(Clone, Debug)]
pub struct OwnerHandle {
    sender: UnboundedSender<Message>,
}

impl OwnerHandle {
    /// A handle, and the end that the owner reads.
    #[must_use]
    pub fn new() -> (Self, OwnerInbox) {
        let (sender, receiver) = unbounded_channel();
        (Self { sender }, OwnerInbox { receiver })
    }

    /// Gives the machine an input. Nothing happens once the owner has ended.
    pub fn send(&self, input: Input) {
        let _ended = self.sender.send(Message::Input(input));
    }

    /// Looks at the machine; `None` once the owner has ended. Waits for the owner, so never on a thread that it may be on.
    pub fn inspect<T: Send + 'static>(&self, look: impl FnOnce(&mut Peer) -> T + Send + 'static) -> Option<T> {
        let (sender, receiver) = channel();
        let look = Box::new(move |peer: &mut Peer| {
            let _gone = sender.send(look(peer));
        });
        self.sender.send(Message::Inspect(look)).ok()?;
        receiver.recv().ok()
    }

    /// What tells the machine that it is time.
    pub(super) fn tick(&self) -> impl Fn() + Send + 'static {
        let owner = self.clone();
        move || owner.send(Input::Tick)
    }

    /// Lets the owner finish what is in flight and end.
    pub fn stop(&self) {
        let _ended = self.sender.send(Message::Stop);
    }
}

impl Owner for OwnerHandle {
    fn connect(&self, lane: Arc<Lane>, greeting: Greeting) {
        self.send(Input::Connect(lane, greeting));
    }

    fn write(&self, requests: Vec<WriteRequest>) {
        self.send(Input::Writes(requests));
    }

    fn disconnected(&self, connection: ConnectionId) {
        self.send(Input::Disconnected(connection));
    }
}

impl Inbox for OwnerHandle {
    fn give(&self, input: Input) {
        self.send(input);
    }

    fn give_holding(&self, input: Input, hold: Hold) {
        let _ended = self.sender.send(Message::Held(input, hold));
    }
}

impl Inspect for OwnerHandle {
    fn report(&self) -> Report {
        self.inspect(|peer| peer.report()).unwrap_or_default()
    }

    fn expiry_sets(&self) -> ExpirySets {
        self.inspect(|peer| peer.expiry_sets()).unwrap_or_default()
    }

    fn reset(&self) {
        self.inspect(Peer::reset_report);
    }
}

/// Where inputs wait for the owner.
#[derive(Debug)]
pub struct OwnerInbox {
    receiver: UnboundedReceiver<Message>,
}

impl OwnerInbox {
    /// What has come, as soon as something has; `None` once nothing can any more.
    async fn next(&mut self, clock: &dyn Clock) -> Option<Inputs> {
        let mut inputs = Inputs::default();
        inputs.add(self.receiver.recv().await?);
        let began_ms = clock.now().steady_ms;
        // Others of this thread have something to say as well, or to send: they go first, and what they say goes along. The
        // log gets larger batches by it.
        for _ in 0..GATHERINGS_MAX {
            yield_now().await;
            if !inputs.gather(&mut self.receiver) || clock.now().steady_ms > began_ms + GATHERING_MS_MAX {
                break;
            }
        }
        Some(inputs)
    }
}

/// The owner's loop: choose inputs, let the machine handle them, carry out its outputs.
pub(super) struct OwnerLoop {
    /// The machine.
    pub(super) peer: Peer,
    /// The time.
    pub(super) clock: Arc<dyn Clock>,
    /// Carries out what the machine wants done.
    pub(super) rim: Rim,
    /// Says when it is time.
    pub(super) ticker: Ticker,
}

impl OwnerLoop {
    /// Runs until it is told to stop and nothing is in flight any more.
    pub(super) async fn run(mut self, mut inbox: OwnerInbox) {
        let (mut wake, mut holds) = (Vec::new(), Vec::new());
        let (mut stopping, mut sweep_ms) = (false, 0);
        loop {
            self.carry_out();
            wake.drain(..).for_each(Waker::wake);
            self.rim.clients.throttles.release();
            if !self.rim.log.is_behind() {
                holds.clear();
            }
            if stopping && self.peer.is_idle(self.clock.now()) {
                break;
            }
            self.ticker.tick_at(self.due_ms());
            let Some(inputs) = inbox.next(&*self.clock).await else { break };
            stopping |= inputs.stop;
            let now = self.clock.now();
            for input in inputs.list {
                self.peer.handle(now, input, &mut wake);
            }
            if self.peer.next_deadline().is_some_and(|at| at <= now.steady_ms) {
                self.peer.handle(now, Input::Tick, &mut wake);
            }
            holds.extend(inputs.holds);
            if now.steady_ms >= sweep_ms {
                sweep_ms = now.steady_ms + SWEEP_MS;
                let clients = &self.rim.clients;
                clients.connections.expire_sessionless(&clients.limits, now.steady_ms);
            }
            for inspect in inputs.inspections {
                inspect(&mut self.peer);
            }
        }
        self.rim.stop().await;
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.peer.poll_output() {
            self.rim.carry_out(output);
        }
    }

    fn due_ms(&self) -> u64 {
        let idle = self.clock.now().steady_ms + IDLE_MS;
        self.peer.next_deadline().map_or(idle, |at| at.min(idle))
    }
}

#[derive(Default)]
struct Inputs {
    list: Vec<Input>,
    inspections: Vec<Look>,
    holds: Vec<Hold>,
    stop: bool,
}

impl Inputs {
    /// Takes what waits; whether anything did.
    fn gather(&mut self, receiver: &mut UnboundedReceiver<Message>) -> bool {
        for count in 0..INPUTS_MAX {
            match receiver.try_recv() {
                Ok(message) => self.add(message),
                Err(_) => return count > 0,
            }
        }
        true
    }

    /// Writes that came one behind the other become one input.
    fn add(&mut self, message: Message) {
        match message {
            Message::Input(Input::Writes(more)) => match self.list.last_mut() {
                Some(Input::Writes(writes)) => writes.extend(more),
                _ => self.list.push(Input::Writes(more)),
            },
            // Whether it is time is looked at behind all that has come.
            Message::Input(Input::Tick) => {}
            Message::Input(input) => self.list.push(input),
            Message::Held(input, hold) => {
                self.list.push(input);
                self.holds.push(hold);
            }
            Message::Inspect(inspect) => self.inspections.push(inspect),
            Message::Stop => {
                self.stop = true;
                self.list.push(Input::Stop);
            }
        }
    }
}
