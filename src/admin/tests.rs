use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;

use super::*;
use crate::auth::AuthRules;
use crate::ids::{ConnectionId, Now, SessionId, Zxid};
use crate::net::{Clock, Connections, FourLetterWords, WordAnswer};
use crate::pipeline::{Database, ServerStatistics};
use crate::tree::{Tree, TreeOptions};

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Now {
        Now { steady_ms: 100_000, wall_ms: 1_795_333_117_000 }
    }
}

fn words(allowed: &str) -> Words {
    let tree = Tree::new(TreeOptions::default());
    let sessions = BTreeMap::from([(SessionId(0x1a), 4000)]);
    let database = Database::new(tree, sessions, Zxid(0x1f), Arc::new(AuthRules::default()));
    let facts = Facts {
        client_port: 2181,
        backlog: -1,
        snapshot_dir: "/nowhere/version-2".into(),
        log_dir: "/nowhere/version-2".into(),
        tick_ms: 2000,
        connections_per_address_max: 60,
        session_timeouts_ms: (4000, 40_000),
        started_ms: 0,
        words: allowed.split(',').map(str::to_owned).collect(),
    };
    Words::new(View {
        facts,
        standing: SharedStanding::default(),
        database: Arc::new(RwLock::new(database)),
        connections: Arc::new(Connections::default()),
        statistics: Arc::new(ServerStatistics::default()),
        metrics: Arc::default(),
        clock: Arc::new(Stopped),
        expiry_sets: Arc::new(|| BTreeMap::from([(106_000, vec![SessionId(0x1a)])])),
    })
}

fn ask(words: &Words, word: &str) -> String {
    let word = *word.as_bytes().first_chunk().unwrap();
    match words.answer(word, b"") {
        WordAnswer::Text(text) => String::from_utf8(text).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// What a real server answered, with `<…>` where it varies.
fn recorded() -> HashMap<String, Vec<String>> {
    serde_json::from_str(include_str!("../../tests/golden/ops/4lw-standalone.json")).unwrap()
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
fn dump_shows_sessions_by_when_they_are_due() {
    let expected = "SessionTracker dump:\nSession Sets (1)/(1):\n1 expire at Sun Nov 22 07:38:43 UTC 2026:\n\t0x1a\n\
                    ephemeral nodes dump:\nSessions with Ephemerals (0):\nConnections dump:\n\
                    Connections Sets (0)/(0):\n";
    let text = ask(&words("*"), "dump");
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
    assert_eq!(words.answer(*b"\0\0\0\x2d", b""), WordAnswer::NotAWord);
}

#[test]
fn stmk_waits_for_its_mask() {
    let words = words("*");
    assert_eq!(words.answer(*b"stmk", b"\0\0"), WordAnswer::Incomplete);
    assert_eq!(words.answer(*b"stmk", &420i64.to_be_bytes()), WordAnswer::Text(b"420".to_vec()));
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
