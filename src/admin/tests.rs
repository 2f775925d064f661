use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;

use super::*;
use crate::auth::AuthRules;
use crate::ids::{ConnectionId, Now, SessionId, Sid, Zxid};
use crate::metrics::{Advanced, Metrics};
use crate::net::{Clock, Connections, FourLetterWords, Throttles, WordAnswer};
use crate::peer::{ExpirySets, Mode, Report, Standing};
use crate::pipeline::{Database, ServerStatistics};
use crate::tree::{Tree, TreeOptions};
use crate::zab::{Ensemble, Membership};

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Now {
        Now { steady_ms: 100_000, wall_ms: 1_795_333_117_000 }
    }
}

struct Asked(Option<ExpirySets>);

impl Inspect for Asked {
    fn report(&self) -> Report {
        Report::default()
    }

    fn expiry_sets(&self) -> ExpirySets {
        self.0.clone().expect("only `dump` asks for all sessions: there may be very many")
    }

    fn reset(&self) {}
}

fn words(allowed: &str) -> Words {
    words_of(allowed, Standing::default(), None, None)
}

/// With a session that is tracked.
fn words_with_session() -> Words {
    let tracked = Some(BTreeMap::from([(106_000, vec![SessionId(0x1a)])]));
    words_of("*", Standing::default(), None, Some(ExpirySets { tracked, local: None }))
}

/// A member of the ensemble that was recorded.
fn member(mode: Mode) -> Words {
    member_with(mode, None)
}

fn member_with(mode: Mode, sets: Option<ExpirySets>) -> Words {
    Words::new(member_view(mode, sets))
}

/// What that member is seen to be.
pub(super) fn member_view(mode: Mode, sets: Option<ExpirySets>) -> View {
    let text = "server.1=127.0.0.1:1:5:participant\nserver.2=127.0.0.1:2:6:participant\n\
                server.3=127.0.0.1:3:7:participant\nserver.4=127.0.0.1:4:8:observer\nversion=0";
    let membership = Some(Membership::settled(Ensemble::parse(text).unwrap()));
    let me = Sid(if mode == Mode::Observer { 4 } else { 1 });
    let facts = EnsembleFacts { me, init_limit: 10, sync_limit: 5, observer_masters: false };
    let serves = mode != Mode::Looking;
    let standing = Standing { mode, serves, leader: Some(Sid(3)), membership, ..Standing::default() };
    view_of("*", standing, Some(facts), sets)
}

fn words_of(allowed: &str, standing: Standing, ensemble: Option<EnsembleFacts>, sets: Option<ExpirySets>) -> Words {
    Words::new(view_of(allowed, standing, ensemble, sets))
}

/// A server that nobody has asked anything yet.
pub(super) fn view_of(
    allowed: &str,
    standing: Standing,
    ensemble: Option<EnsembleFacts>,
    sets: Option<ExpirySets>,
) -> View {
    let tree = Tree::new(TreeOptions::default());
    let sessions = BTreeMap::from([(SessionId(0x1a), 4000)]);
    let database = Database::new(tree, sessions, Zxid(0x1f), Arc::new(AuthRules::default()));
    let facts = Facts {
        client_address: None,
        backlog: -1,
        secure_client_port: -1,
        snapshot_dir: "/nowhere/version-2".into(),
        log_dir: "/nowhere/version-2".into(),
        tick_ms: 2000,
        connections_per_address_max: 60,
        session_timeouts_ms: (4000, 40_000),
        started_ms: 0,
        words: allowed.split(',').map(str::to_owned).collect(),
        prometheus: None,
        sessionless_ms: 10_000,
        configuration: String::new(),
        properties: Vec::new(),
        ensemble,
    };
    let metrics = Arc::<Metrics>::default();
    View {
        facts,
        client_port: Arc::new(2181.into()),
        standing: Arc::new(RwLock::new(Arc::new(standing))),
        database: Arc::new(RwLock::new(database)),
        connections: Arc::new(Connections::default()),
        statistics: Arc::new(ServerStatistics::new(Arc::clone(&metrics))),
        throttles: Arc::new(Throttles::new(Default::default(), Default::default(), Arc::default(), Arc::default())),
        trace_mask: Arc::new(TRACE_MASK.into()),
        metrics,
        clock: Arc::new(Stopped),
        inspect: Arc::new(Asked(sets)),
    }
}

fn ask(words: &Words, word: &str) -> String {
    let word = *word.as_bytes().first_chunk().unwrap();
    match words.answer(word, b"") {
        WordAnswer::Text(text) => text,
        WordAnswer::Work(work) => work(),
        WordAnswer::NotAWord | WordAnswer::Incomplete => panic!("no answer"),
    }
}

/// What a real server answered, with `<…>` where it varies.
fn recorded() -> HashMap<String, Vec<String>> {
    serde_json::from_str(include_str!("../../tests/golden/ops/4lw-standalone.json")).unwrap()
}

/// What members of a real ensemble answered.
fn recorded_members() -> [(Mode, HashMap<String, Vec<String>>); 3] {
    let read = |text: &str| serde_json::from_str(text).unwrap();
    [
        (Mode::Leader, read(include_str!("../../tests/golden/ops/4lw-leader.json"))),
        (Mode::Follower, read(include_str!("../../tests/golden/ops/4lw-follower.json"))),
        (Mode::Observer, read(include_str!("../../tests/golden/ops/4lw-observer.json"))),
    ]
}

/// Whether `line` is `pattern` with something in place of each `<…>`.
fn fits(pattern: &str, line: &str) -> bool {
    match pattern.split_once('<') {
        None => pattern == line,
        Some((before, rest)) => {
            let Some(line) = line.strip_prefix(before) else { return false };
            let after = rest.split_once('>').map_or("", |(_, after)| after);
            (0..=line.len()).filter(|at| line.is_char_boundary(*at)).any(|at| fits(after, &line[at..]))
        }
    }
}

#[test]
fn words_of_a_fixed_shape_have_the_lines_of_a_real_server() {
    let words = words("*");
    let recorded = recorded();
    for word in ["conf", "crst", "dirs", "envi", "gtmk", "isro", "ruok", "srst", "srvr"] {
        let text = ask(&words, word);
        let (lines, expected): (Vec<_>, _) = (text.split('\n').collect(), &recorded[word]);
        assert_eq!(lines.len(), expected.len(), "{word}: {text}");
        for (line, pattern) in lines.iter().zip(expected) {
            // The recording is of a server with its own limits and directories.
            let same_key = line.split('=').next() == pattern.split('=').next();
            assert!(fits(pattern, line) || (word == "conf" && same_key), "{word}: {line:?} is not like {pattern:?}");
        }
    }
}

#[test]
fn latencies_begin_anew_with_srst() {
    let view = view_of("*", Standing::default(), None, None);
    let reply = |ms| view.statistics.replied(9, Some(Advanced::readlatency), ms);
    let latency = || {
        let latency = view.statistics.latency();
        (latency.min_ms, latency.mean_ms, latency.max_ms)
    };
    [6, 7, 8].into_iter().for_each(reply);
    assert_eq!(latency(), (6, 7.0, 8));
    monitor::srst(&view);
    assert_eq!(latency(), (0, 0.0, 0));
    reply(2);
    assert_eq!(latency(), (2, 2.0, 2));
}

#[test]
fn mntr_has_every_name_of_a_real_server_in_its_form() {
    let text = ask(&words("*"), "mntr");
    let ours: HashMap<_, _> = text.lines().filter_map(|line| line.split_once('\t')).collect();
    let recorded = recorded();
    let theirs = recorded["mntr"].iter().filter_map(|line| line.split_once('\t'));
    let mut names = 0;
    // Sets of names by znode appear with their first sample.
    for (name, form) in theirs.filter(|(name, _)| !name.ends_with("_per_namespace")) {
        let value = ours.get(name).unwrap_or_else(|| panic!("{name} is missing"));
        match form {
            "<int>" => assert!(value.parse::<i64>().is_ok(), "{name} is {value}"),
            "<float>" => assert!(value.contains('.') && value.parse::<f64>().is_ok(), "{name} is {value}"),
            _ => assert!(fits(form, value), "{name} is {value}"),
        }
        names += 1;
    }
    assert_eq!((names, ours.len()), (494, 494));
}

#[test]
fn members_of_an_ensemble_say_what_real_ones_do() {
    for (mode, recorded) in recorded_members() {
        let words = member(mode);
        for word in ["conf", "isro", "srvr"] {
            let text = ask(&words, word);
            let (lines, expected): (Vec<_>, _) = (text.split('\n').collect(), &recorded[word]);
            assert_eq!(lines.len(), expected.len(), "{word} of a {mode:?}: {text}");
            for (line, pattern) in lines.iter().zip(expected) {
                let same_key = line.contains('=') && line.split('=').next() == pattern.split('=').next();
                let same_kind = line.split(':').next() == pattern.split(':').next();
                assert!(fits(pattern, line) || same_key || same_kind, "{word} of a {mode:?}: {line:?}, {pattern:?}");
            }
        }
        let text = ask(&words, "mntr");
        let ours: HashMap<_, _> = text.lines().filter_map(|line| line.split_once('\t')).collect();
        let sets = ["_per_namespace", "_learner_handler_qp_size", "_learner_handler_qp_time_ms"];
        for (name, form) in recorded["mntr"].iter().filter_map(|line| line.split_once('\t')) {
            if sets.iter().any(|set| name.ends_with(set)) {
                continue;
            }
            let value = ours.get(name).unwrap_or_else(|| panic!("a {mode:?} lacks {name}"));
            assert!(form.starts_with('<') || form == *value, "{name} of a {mode:?} is {value}");
        }
    }
}

#[test]
fn a_server_that_looks_for_a_leader_says_that_it_does_not_serve() {
    let words = member(Mode::Looking);
    for (word, answer) in [
        ("ruok", "imok"),
        ("isro", "null"),
        ("srvr", "This ZooKeeper instance is not currently serving requests\n"),
        ("mntr", "This ZooKeeper instance is not currently serving requests\n"),
        ("hash", "This ZooKeeper instance is not currently serving requests"),
    ] {
        assert_eq!(ask(&words, word), answer);
    }
    assert!(ask(&words, "envi").starts_with("Environment:"));
}

#[test]
fn a_follower_dumps_all_sessions() {
    assert!(
        ask(&member_with(Mode::Follower, Some(ExpirySets::default())), "dump")
            .starts_with("SessionTracker dump:\nGlobal Sessions(1):\n0x1a\t4000ms\n")
    );
}

#[test]
fn dump_shows_sessions_by_when_they_are_due() {
    let expected = "SessionTracker dump:\nSession Sets (1)/(1):\n1 expire at Sun Nov 22 07:38:43 UTC 2026:\n\t0x1a\n\
                    ephemeral nodes dump:\nSessions with Ephemerals (0):\nConnections dump:\n\
                    Connections Sets (0)/(0):\n";
    let text = ask(&words_with_session(), "dump");
    let day = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "#");
    assert_eq!(day(&text).lines().count(), day(expected).lines().count(), "{text}");
    assert!(text.contains("UTC 2026:\n\t0x1a\n"), "{text}");
}

#[test]
fn what_is_not_on_the_list_is_refused() {
    let words = words("ruok");
    assert_eq!(ask(&words, "ruok"), "imok");
    assert_eq!(ask(&words, "stat"), "stat is not executed because it is not in the whitelist.\n");
    assert!(ask(&words, "srvr").starts_with("Zookeeper version: 3.9.3-"));
    assert!(matches!(words.answer(*b"\0\0\0\x2d", b""), WordAnswer::NotAWord));
}

#[test]
fn stmk_waits_for_its_mask() {
    let words = words("*");
    assert!(matches!(words.answer(*b"stmk", b"\0\0"), WordAnswer::Incomplete));
    let masked = words.answer(*b"stmk", &420i64.to_be_bytes());
    assert!(matches!(masked, WordAnswer::Text(mask) if mask == "420"));
}

#[test]
fn a_connection_is_shown_as_the_reference_shows_it() {
    let lane = crate::pipeline::Lane::new(
        ConnectionId(1),
        ([127, 0, 0, 1], 5555).into(),
        77,
        Arc::new(ServerStatistics::default()),
    );
    assert_eq!(connections::short_line(&lane.info()), " /127.0.0.1:5555[0](queued=0,recved=0,sent=0");
}
