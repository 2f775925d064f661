//! Reaching whom to learn from: the leader; or, for an observer where there are observer masters, one of those.

use super::super::core::{Core, Leave};
use super::super::{Door, Output};
use crate::ids::{LinkId, Now, Sid};

/// How often the leader is dialled, or all masters, before a leader is looked for again. It may have been elected a moment
/// later than this server has heard of it.
const ROUNDS_MAX: u32 = 12;

/// The way to whom this server learns from.
#[derive(Debug)]
pub(super) struct Dialling {
    door: Door,
    /// Who is to be tried, in this order.
    candidates: Vec<Sid>,
    /// Which one is.
    at: usize,
    rounds: u32,
    redial_at_ms: Option<u64>,
    /// Until when somebody must be reached.
    until_ms: u64,
}

impl Dialling {
    pub(super) fn begin(core: &mut Core, now: Now, leader: Sid) -> Self {
        let rules = core.ensemble();
        let wants_master = rules.observer_masters && core.observes();
        // Who follows may be a master. Where nobody else votes there is none, and the leader takes observers as ever.
        let masters: Vec<_> = core.members().voters().filter(|sid| wants_master && *sid != leader).collect();
        let mut dialling = Self {
            door: if masters.is_empty() { Door::Leader } else { Door::Master },
            candidates: if masters.is_empty() { vec![leader] } else { masters },
            at: 0,
            rounds: 0,
            redial_at_ms: None,
            until_ms: until_ms(core, now),
        };
        core.random.shuffle(&mut dialling.candidates);
        dialling
    }

    /// Who is dialled, or was reached.
    pub(super) fn whom(&self) -> Sid {
        self.candidates.get(self.at).copied().unwrap_or(Sid(0))
    }

    pub(super) fn dial(&mut self, core: &mut Core) -> LinkId {
        let link = core.new_link();
        self.redial_at_ms = None;
        core.send(Output::Dial(link, self.whom(), self.door));
        link
    }

    /// Begins again with the one who was reached.
    pub(super) fn again(&mut self, core: &mut Core, now: Now) -> LinkId {
        (self.rounds, self.until_ms) = (0, until_ms(core, now));
        self.dial(core)
    }

    /// This one cannot be reached. If there is another one, it is to be dialled now.
    pub(super) fn failed(&mut self, core: &mut Core, now: Now) -> Result<Option<LinkId>, Leave> {
        self.at += 1;
        if self.at < self.candidates.len() {
            return Ok(Some(self.dial(core)));
        }
        (self.at, self.rounds) = (0, self.rounds + 1);
        core.random.shuffle(&mut self.candidates);
        let rules = core.ensemble();
        let (whom, least_ms) = match self.door {
            Door::Leader => ("the leader", 0),
            Door::Master => ("an observer master", rules.observer_reconnect_ms),
        };
        if self.rounds >= ROUNDS_MAX {
            return Err(Leave::because(format!("{whom} cannot be reached")));
        }
        let wait_ms = (5 << self.rounds.min(8)).min(rules.connect_retry_ms).max(least_ms);
        self.redial_at_ms = Some(now.steady_ms + wait_ms);
        Ok(None)
    }

    /// While nobody was reached.
    pub(super) fn tick(&mut self, core: &mut Core, now: Now) -> Result<Option<LinkId>, Leave> {
        if now.steady_ms >= self.until_ms {
            return Err(Leave::because("the leader was not reached in time"));
        }
        let is_due = self.redial_at_ms.is_some_and(|at| now.steady_ms >= at);
        Ok(is_due.then(|| self.dial(core)))
    }

    /// When [`Dialling::tick`] is due.
    pub(super) fn next_deadline(&self) -> u64 {
        self.redial_at_ms.map_or(self.until_ms, |at| at.min(self.until_ms))
    }
}

/// Until when somebody has to be reached (`connectToLearnerMasterLimit`).
fn until_ms(core: &Core, now: Now) -> u64 {
    let rules = core.ensemble();
    let limit = if rules.connect_limit > 0 { rules.connect_limit } else { rules.init_limit };
    now.steady_ms + core.ticks_ms(limit)
}
