//! What a story can say. `N` is a server, `A` a client.
//!
//! ```text
//! servers 1:0x100000005 2:0            members and the txns in their logs; epochs as those txns say
//! server 2 snapshot 0x100000004 log 0x100000005-0x100000007 epochs 2/1      the same in full: accepted/current
//! server 2 log 0x100000007 snapshot 0x100000005                 a snapshot amid the log
//! observer 4 · apache 3                a member without a vote · a scripted peer in a server's place
//! outside 4 [observer] · lose members of N     no member when the story begins · what its files say of members is lost
//! group 1 2 3 · weight 3 0             a group of these · what a vote weighs
//! set window 3 | snapshots 8 | leaderServes no | epochWait 1000 | localSessions | masters | readonlymode | autocreate no | alone | pings | reconfig | standalone no
//! times · watch N                      lines get their time · everything that N says, hears and writes is told
//! start N.. · stop N · kill N · crash N          SIGTERM · SIGKILL · power cut: what was not flushed is lost
//! crash N before|behind W              the power fails at W: flush, snapshot, acceptedEpoch, currentEpoch, truncate, forget, members
//! spoil snapshot.100000005 of N         the disk returns something else than was written
//! hold W of N · release W of N         W does not come to its end: flush, snapshot
//! hold N -> M · release N -> M         what N says to M waits
//! partition 1 2 | 3 · heal             nothing goes through between the sides
//! disconnect N M                       their quorum connection breaks
//! wait 3 s · show N..                  time passes · what servers hold
//! A connects to N [3000ms] [read-only] · A leaves · A falls silent
//! A reconfig +4 +5o +6@ -1 | =1 =2 =3o [version=0x…]      joins, as an observer, at another address, leaves | all of them
//! A create|set|get|delete|check /path [data] [ephemeral] [watch] · A multi create /a , set /b 1 · A sync · A close
//! N -> M PACKET …                      a scripted peer speaks on the quorum port; FOLLOWERINFO connects
//! N -> M vote LOOKING leader=3 zxid=0x… epoch=1 round=1 [version=] [config=] [bytes=]
//! N falls quiet                        a scripted peer stops answering pings
//! ```

use zkd::ids::{Sid, Zxid};
use zkd::storage::Dir;

use super::history::{self, zxid, zxids};
use super::server::Server;
use super::world::{Node, World};

fn node(word: &str) -> Result<Node, String> {
    word.parse().map_err(|_| format!("{word:?} is no server"))
}

fn nodes(words: &[&str]) -> Result<Vec<Node>, String> {
    words.iter().map(|word| node(word)).collect()
}

impl World {
    /// Takes one step.
    pub(crate) fn step(&mut self, text: &str) -> Result<(), String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            ["servers", ref servers @ ..] => servers.iter().try_for_each(|server| self.member(server)),
            ["server", id, ref rest @ ..] => self.member_in_full(node(id)?, rest),
            ["outside", id, ref role @ ..] => {
                let role = if role.is_empty() { "participant" } else { "observer" };
                self.settings.outside.insert(node(id)?, role);
                self.servers.insert(node(id)?, Server::default());
                Ok(())
            }
            ["lose", "members", "of", id] => {
                self.servers.get_mut(&node(id)?).ok_or("there is no such server")?.members = None;
                Ok(())
            }
            ["observer", id] => self.role(node(id)?, "observer"),
            ["apache", id] => {
                self.settings.members.entry(node(id)?).or_insert("participant");
                self.servers.remove(&node(id)?);
                self.act(node(id)?);
                Ok(())
            }
            ["group", ref members @ ..] => {
                let number = self.settings.groups.len() as u64 + 1;
                let sids = nodes(members)?.into_iter().map(Sid).collect();
                self.settings.groups.push((number, sids));
                Ok(())
            }
            ["weight", id, weight] => {
                let weight = weight.parse().map_err(|_| "a weight is a number")?;
                self.settings.weights.push((Sid(node(id)?), weight));
                Ok(())
            }
            ["set", ref setting @ ..] => self.set(setting),
            ["times"] => {
                self.times = true;
                Ok(())
            }
            ["watch", id] => {
                self.watched.insert(node(id)?);
                Ok(())
            }
            ["start", ref servers @ ..] => {
                for server in nodes(servers)? {
                    if self.is_up(server) {
                        return Err(format!("{server} runs already"));
                    }
                    if let Err(reason) = self.start(server) {
                        self.tell(format!("{server} does not start: {reason}"));
                    }
                }
                Ok(())
            }
            ["stop", id] => {
                self.process(node(id)?).stopping = true;
                self.give(node(id)?, zkd::peer::Input::Stop);
                Ok(())
            }
            ["kill", ref servers @ ..] => {
                nodes(servers)?.into_iter().for_each(|server| self.end(server));
                Ok(())
            }
            ["crash", id, when @ ("before" | "behind"), work] => {
                let server = self.servers.get_mut(&node(id)?).ok_or("there is no such server")?;
                server.crash = Some((when == "before", work.to_owned()));
                Ok(())
            }
            ["crash", ref servers @ ..] => {
                nodes(servers)?.into_iter().for_each(|server| self.crash(server));
                Ok(())
            }
            ["hold", from, "->", to] => {
                self.held.entry((node(from)?, node(to)?)).or_default();
                Ok(())
            }
            ["release", from, "->", to] => {
                self.release(node(from)?, node(to)?);
                Ok(())
            }
            ["hold", work @ ("flush" | "snapshot"), "of", id] => {
                let server = self.servers.get_mut(&node(id)?).ok_or("there is no such server")?;
                server.held.insert(work.to_owned());
                Ok(())
            }
            ["release", work @ ("flush" | "snapshot"), "of", id] => {
                self.release_disk(node(id)?, work);
                Ok(())
            }
            ["spoil", file, "of", id] => {
                let dir = if file.starts_with("log") { Dir::Logs } else { Dir::Snapshots };
                self.disk(node(id)?).write_at(dir, file, 100, b"rubbish", false).map_err(|error| error.to_string())
            }
            ["partition", ref sides @ ..] => self.partition(sides),
            ["heal"] => {
                let held: Vec<_> = self.held.keys().copied().collect();
                held.into_iter().for_each(|(from, to)| self.release(from, to));
                Ok(())
            }
            ["disconnect", a, b] => {
                let id = self.link_between(node(a)?, node(b)?).ok_or("they are not connected")?;
                self.cut(id);
                Ok(())
            }
            ["wait", seconds, "s"] => {
                let seconds: u64 = seconds.parse().map_err(|_| "how long?")?;
                self.pass(seconds * 1000);
                Ok(())
            }
            ["show", ref servers @ ..] => {
                self.show(&nodes(servers)?);
                Ok(())
            }
            [from, "->", to, ref what @ ..] if !what.is_empty() => self.actor_says(node(from)?, node(to)?, what),
            [id, "falls", "quiet"] => {
                self.actor_quiet(node(id)?);
                Ok(())
            }
            [name, ref rest @ ..] if name.len() == 1 && !rest.is_empty() => {
                self.client_step(name.chars().next().unwrap_or('?'), rest)
            }
            _ => Err("nobody knows what that is".to_owned()),
        }
    }

    fn client_step(&mut self, name: char, words: &[&str]) -> Result<(), String> {
        match words {
            ["connects", "to", id, rest @ ..] => self.client_connects(name, node(id)?, rest),
            ["leaves"] => {
                self.client_leaves(name);
                Ok(())
            }
            ["falls", "silent"] => self.client_falls_silent(name),
            _ => self.client_asks(name, words),
        }
    }

    fn role(&mut self, node: Node, role: &'static str) -> Result<(), String> {
        self.settings.members.insert(node, role);
        Ok(())
    }

    /// `2:0x100000005`.
    fn member(&mut self, server: &str) -> Result<(), String> {
        let (id, txns) = server.split_once(':').ok_or("a server and its txns, with a colon between")?;
        let node = node(id)?;
        self.settings.members.entry(node).or_insert("participant");
        let machine = Server::default();
        let logged = zxids(txns);
        if let Some(last) = logged.last() {
            history::write(&machine.disk, Zxid::ZERO, &[], &logged);
            self.servers.insert(node, machine);
            self.write_epochs(node, last.epoch(), last.epoch());
        } else {
            self.servers.insert(node, machine);
        }
        Ok(())
    }

    /// `server 2 snapshot 0x100000004 log 0x100000005-0x100000007 epochs 2/1`.
    fn member_in_full(&mut self, node: Node, words: &[&str]) -> Result<(), String> {
        let mut machine = Server::default();
        let (mut snapshot, mut before, mut logged, mut epochs) = (Zxid::ZERO, Vec::new(), Vec::new(), None);
        let mut later = Vec::new();
        for pair in words.chunks(2) {
            match pair {
                // A second one, amid the log.
                ["snapshot", of] if !logged.is_empty() => later.push(zxids(of)),
                ["snapshot", of] => {
                    before = if of.contains(',') || zxid(of).counter() < 1000 { zxids(of) } else { Vec::new() };
                    snapshot = before.last().copied().unwrap_or_else(|| zxid(of));
                }
                ["log", txns] => logged = zxids(txns),
                ["epochs", both] => {
                    let (accepted, current) = both.split_once('/').ok_or("accepted/current")?;
                    let number = |text: &str| text.parse::<i32>().map_err(|error| error.to_string());
                    epochs = Some((number(accepted)?, number(current)?));
                }
                other => return Err(format!("{other:?}")),
            }
        }
        self.settings.members.entry(node).or_insert("participant");
        history::write(&machine.disk, snapshot, &before, &logged);
        for holds in later {
            history::write(&machine.disk, *holds.last().ok_or("a snapshot of nothing")?, &holds, &[]);
        }
        machine.boot = self.servers.get(&node).map_or(0, |old| old.boot);
        self.servers.insert(node, machine);
        let last = logged.last().copied().unwrap_or(snapshot).epoch();
        let (accepted, current) = epochs.unwrap_or((last, last));
        self.write_epochs(node, accepted, current);
        Ok(())
    }

    fn set(&mut self, words: &[&str]) -> Result<(), String> {
        let settings = &mut self.settings;
        let number = || words.get(1).and_then(|word| word.parse::<u64>().ok()).ok_or("a number is missing");
        match words {
            ["window", _] => settings.history_txns = usize::try_from(number()?).map_err(|error| error.to_string())?,
            ["snapshots", _] => settings.snapshot_txns = number()?,
            ["syncs", _] => settings.syncs_max = usize::try_from(number()?).map_err(|error| error.to_string())?,
            ["epochWait", _] => settings.epoch_wait_ms = Some(number()?),
            ["leaderServes", "no"] => settings.leader_serves = false,
            ["localSessions"] => settings.local_sessions = true,
            ["masters"] => settings.observer_masters = true,
            ["readonlymode"] => settings.read_only_mode = true,
            ["autocreate", "no"] => settings.autocreate = false,
            ["alone"] => settings.alone = true,
            ["reconfig"] => settings.reconfig_enabled = true,
            ["standalone", "no"] => settings.standalone_enabled = false,
            ["pings"] => self.pings = true,
            other => return Err(format!("nothing is called {other:?}")),
        }
        Ok(())
    }

    fn partition(&mut self, words: &[&str]) -> Result<(), String> {
        let sides: Vec<Vec<Node>> = words.split(|word| *word == "|").map(nodes).collect::<Result<_, _>>()?;
        for (at, side) in sides.iter().enumerate() {
            for other in sides.iter().enumerate().filter(|(other, _)| *other != at).flat_map(|(_, nodes)| nodes) {
                for node in side {
                    self.held.entry((*node, *other)).or_default();
                }
            }
        }
        Ok(())
    }
}
