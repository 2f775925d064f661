//! `zkd migrate check` on data directories that real Apache servers wrote: it says what a start would find, and changes
//! nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zkd::cli::migrate::{CheckArgs, Report, check};

/// What a directory holds: names, sizes, times and bytes of all files.
fn state(dir: &Path) -> BTreeMap<PathBuf, (i64, i64, Vec<u8>)> {
    let mut state = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("a directory").flatten() {
            let (path, data) = (entry.path(), entry.metadata().expect("there"));
            let bytes = if data.is_dir() { Vec::new() } else { fs::read(&path).expect("readable") };
            state.insert(path.clone(), (data.mtime(), data.mtime_nsec(), bytes));
            if data.is_dir() {
                dirs.push(path);
            }
        }
    }
    state
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a new directory");
    for entry in fs::read_dir(from).expect("a directory").flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to)
        } else {
            fs::copy(entry.path(), to).map(drop).expect("copied")
        }
    }
}

fn check_with(root: &Path, lines: &str, overrides: &[(&str, &str)]) -> Report {
    let config = root.join("zoo.cfg");
    let text = format!("dataDir={}\nclientPort=2181\n{lines}", root.join("data").display());
    fs::write(&config, text).expect("written");
    let overrides = overrides.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    check(&CheckArgs { config, overrides, json: false }).expect("a report")
}

fn sample(name: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    copy(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/storage").join(name).join("data"),
        &root.path().join("data"),
    );
    root
}

const ENSEMBLE: &str = "initLimit=10\nsyncLimit=5\nserver.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\n";

#[test]
fn every_sample_is_judged_as_a_start_would_and_stays_as_it_is() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/storage");
    let (mut ready, mut refused, mut compared) = (0, 0, 0);
    for entry in fs::read_dir(&vectors).expect("the vectors").flatten().filter(|entry| entry.path().is_dir()) {
        let name = entry.file_name().into_string().expect("a plain name");
        let root = sample(&name);
        let expected = fs::read_to_string(entry.path().join("expected.json")).expect("what to expect");
        let expected: serde_json::Value = serde_json::from_str(&expected).expect("JSON");
        let refuses = expected["expect"].as_str().is_some_and(|text| text.starts_with("refuses"));
        let lines = if root.path().join("data/myid").exists() { ENSEMBLE } else { "" };
        let before = state(&root.path().join("data"));
        let report = check_with(root.path(), lines, &[("extendedTypesEnabled", "true")]);
        assert_eq!(state(&root.path().join("data")), before, "{name} was changed");
        assert_eq!(report.ready, !refuses, "{name}: {:?}", report.problems);
        if let Some(data) = &report.data {
            let znodes = expected["tree"].as_object().filter(|tree| tree.contains_key("/")).map(serde_json::Map::len);
            assert!(znodes.is_none_or(|znodes| data.znodes == znodes + 1), "{name}: {data:?}");
            assert_eq!(data.digests_wrong, 0, "{name}");
            compared += data.digests_compared;
        }
        if report.ready { ready += 1 } else { refused += 1 }
    }
    assert_eq!(ready + refused, 36);
    assert!(refused >= 4 && compared > 1000, "{refused} {compared}");
}

#[test]
fn what_a_crash_has_left_is_told_and_left() {
    let root = sample("393-torn-cut");
    let before = state(&root.path().join("data"));
    let report = check_with(root.path(), ENSEMBLE, &[]);
    assert_eq!(state(&root.path().join("data")), before);
    let data = report.data.expect("it loads");
    assert!(data.changes_at_start > 0 && report.notes.iter().any(|note| note.contains("never acknowledged")));
}

#[test]
fn keys_are_sorted_and_a_refused_one_is_a_problem() {
    let root = sample("393-standalone");
    let ready = check_with(root.path(), "tickTime=2000\nnio.numWorkerThreads=4\njute.maxbuffer=2000000\n", &[]);
    assert!(ready.ready, "{:?}", ready.problems);
    assert_eq!(ready.keys.understood, ["dataDir", "clientPort", "tickTime", "jute.maxbuffer"]);
    assert!(ready.keys.ignored[0].contains("nio.numWorkerThreads has no effect here"));
    assert!(ready.notes.iter().any(|note| note.starts_with("jute.maxbuffer: Apache does not read")));
    assert_eq!(ready.same_everywhere["jute.maxbuffer"], "2000000");
    assert_eq!(ready.server.as_deref(), Some("standalone"));
    let refused = check_with(root.path(), "ssl.crl=true\n", &[]);
    assert!(!refused.ready && refused.keys.refused.len() == 1 && refused.problems[0].contains("revoked"));
    let without_store = "secureClientPort=2281\nssl.clientAuth=none\nssl.keyStore.location=/nowhere.jks\n";
    let unusable = check_with(root.path(), without_store, &[]);
    assert!(unusable.problems.iter().any(|problem| problem.contains("/nowhere.jks: cannot be read")));
    let json = serde_json::to_value(&ready).expect("JSON");
    assert_eq!(json["data"]["snapshots"], ready.data.expect("it loads").snapshots);
}

#[test]
fn ttl_znodes_need_extended_types() {
    let root = sample("393-alltxns");
    assert!(check_with(root.path(), ENSEMBLE, &[("extendedTypesEnabled", "true")]).ready);
    let report = check_with(root.path(), ENSEMBLE, &[]);
    assert!(report.problems[0].contains("extendedTypesEnabled"), "{:?}", report.problems);
}

#[test]
fn a_missing_directory_is_a_problem_and_stays_missing() {
    let root = tempfile::tempdir().expect("a directory");
    let report = check_with(root.path(), "", &[]);
    assert!(!report.ready && report.problems[0].contains("there is no directory"), "{:?}", report.problems);
    assert!(!root.path().join("data").exists());
}
