//! The second half of a run: nothing goes wrong any more, and so all has to become well: one leader, everybody behind
//! it, clients served, and in the end the same everywhere, with all that was ever acknowledged.

use std::collections::BTreeMap;

use zkd::ids::SessionId;
use zkd::peer::Mode;

use super::plan::sid;
use super::schedule::{Event, Us, ms};
use super::world::{Phase, World};

/// How often one looks.
const CHECK_EVERY: Us = ms(50);

impl World {
    /// Looks how far all is well, and goes on to the next phase.
    pub(crate) fn check(&mut self) {
        match self.phase {
            Phase::Faults => self.calm_down(),
            Phase::Calm => {
                if self.is_healed() {
                    self.quieten();
                }
            }
            Phase::Quiet => {
                if self.is_same_everywhere() {
                    self.verify();
                    self.enter(Phase::Over);
                }
            }
            Phase::Over => {}
        }
        // Dials and half-open connections have their own patience, whatever a tick is.
        let patience = ms(20_000 + 200 * self.plan.tick_ms);
        assert!(
            self.now - self.phase_since < patience || self.phase == Phase::Over,
            "[liveness] {} ms of {:?}, and not well: {}",
            patience / 1000,
            self.phase,
            self.how_all_are()
        );
        self.schedule.at(self.now + CHECK_EVERY, Event::Check);
    }

    fn calm_down(&mut self) {
        self.enter(Phase::Calm);
        self.heal();
        self.network.speed_up();
        for node in 0..self.servers.len() {
            let server = &mut self.servers[node];
            server.disk.set_full(false);
            server.disk.set_fuse(None);
            (server.stalled, server.fails_flush, server.dies_behind) = (false, false, None);
            if server.process.is_none() {
                let at = self.now + self.random.u64(0..ms(100));
                self.schedule.at(at, Event::Start { node });
            } else {
                self.resume(node);
            }
        }
        self.clients.iter_mut().for_each(|client| client.served = 0);
    }

    /// One leader leads, all others follow it, and all clients are served.
    fn is_healed(&self) -> bool {
        let Some((epoch, leader)) = self.oracle.leaders.newest() else { return false };
        let settled = (0..self.servers.len()).all(|node| {
            let standing = &self.oracle.standing[node];
            let mode = if node == leader {
                Mode::Leader
            } else if self.oracle.members.in_force.is_observer(sid(node)) {
                Mode::Observer
            } else {
                Mode::Follower
            };
            self.servers[node].process.is_some() && standing.mode == mode && standing.epoch == epoch
        });
        settled && self.clients.iter().all(|client| client.served > 0 || !self.oracle.takes_more() && client.is_open())
    }

    fn quieten(&mut self) {
        self.enter(Phase::Quiet);
        for client in 0..self.clients.len() {
            self.retire(client);
        }
    }

    /// All servers have come equally far, and no session is left.
    fn is_same_everywhere(&self) -> bool {
        let mut zxids = self.servers.iter().map(|server| {
            let process = server.process.as_ref()?;
            let database = process.database.read();
            // A leader says so when its epoch begins, the others with the first txn of it.
            (database.sessions().is_empty()).then(|| self.oracle.lineage.canonical(database.last_zxid()))
        });
        let first = zxids.next().flatten();
        let same = first.is_some() && zxids.all(|zxid| zxid == first);
        same && first == Some(self.oracle.agreement.committed)
    }

    /// Every tree is the model's.
    fn verify(&self) {
        let expected: BTreeMap<&str, (&[u8], i32, SessionId)> = self
            .oracle
            .model
            .paths()
            .map(|(path, znode)| (path.as_str(), (&znode.data[..], znode.version, znode.owner)))
            .collect();
        for server in &self.servers {
            let process = server.process.as_ref().expect("a server that runs");
            let database = process.database.read();
            let found: BTreeMap<String, (Vec<u8>, i32, SessionId)> = database
                .tree()
                .walk_paths()
                .filter(|(path, _)| !path.is_empty() && path != "/" && !path.starts_with("/zookeeper"))
                .map(|(path, znode)| {
                    let stat = znode.stat();
                    let data = znode.data().unwrap_or_default().to_vec();
                    (path, (data, stat.version, SessionId(stat.ephemeral_owner)))
                })
                .collect();
            let found: BTreeMap<&str, (&[u8], i32, SessionId)> = found
                .iter()
                .map(|(path, (data, version, owner))| (path.as_str(), (&data[..], *version, *owner)))
                .collect();
            assert_eq!(found, expected, "[same state] the tree of server {}", server.node + 1);
            assert!(
                expected.values().all(|(_, _, owner)| *owner == SessionId::NONE),
                "[ephemerals] all sessions have ended, and ephemerals are left"
            );
        }
    }

    fn how_all_are(&self) -> String {
        let mut all = Vec::new();
        for server in &self.servers {
            let standing = &self.oracle.standing[server.node];
            let zxid = server.process.as_ref().map(|process| process.database.read().last_zxid());
            let sessions = server.process.as_ref().map(|process| process.database.read().sessions().len());
            let (mode, epoch) = (standing.mode.name(), standing.epoch);
            let members = standing.membership.as_ref().map(|known| (known.committed.zxid(), known.pending()));
            all.push(format!("{} {mode} {epoch} {zxid:?} {sessions:?} members {members:?}", self.name(server.node)));
        }
        for client in &self.clients {
            all.push(format!("{} served {} open {}", self.name(client.node), client.served, client.is_open()));
        }
        all.push(format!("in force: {}", self.oracle.members.in_force.text().replace('\n', " ")));
        all.join(", ")
    }
}
