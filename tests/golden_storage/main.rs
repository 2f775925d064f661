//! Data directories that real Apache servers wrote (`tests/vectors/storage`): each loads to the tree that its clients
//! saw, or is refused as the real servers refused it, and every record and snapshot encodes back to the same bytes.

mod damage;
mod model;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use model::Model;
use serde_json::Value;
use zkd::ids::{SessionId, Zxid};
use zkd::proto::AclBytes;
use zkd::storage::compression::Compression;
use zkd::storage::log_files::list_logs;
use zkd::storage::recovery::{Note, Origin, Recovered, RecoveryError, RecoveryOptions, recover};
use zkd::storage::snapshot::{SnapshotWriter, Trailer, read_snapshot};
use zkd::storage::snapshot_body::{SnapshotSink, put_acl, put_count, put_node, put_session, put_terminator};
use zkd::storage::snapshot_files::list_snapshots;
use zkd::storage::truncate::{carry_out, plan_truncation};
use zkd::storage::txn_log::{BODY_BYTES_MAX_DEFAULT, LogFault, LogReader, Step, put_header, put_record};
use zkd::storage::{Dir, Disk, MemoryDisk};
use zkd::tree::StoredStat;
use zkd::txn::Entry;

/// One directory of the vectors.
struct Sample {
    name: String,
    disk: MemoryDisk,
    expected: Value,
}

impl Sample {
    fn load(path: &Path) -> Self {
        let disk = MemoryDisk::new();
        for file in fs::read_dir(path.join("data/version-2")).expect("a data directory").flatten() {
            let name = file.file_name().into_string().expect("a plain name");
            let dir = if name.starts_with("log.") { Dir::Logs } else { Dir::Snapshots };
            disk.put(dir, &name, fs::read(file.path()).expect("a readable file"));
        }
        let expected = fs::read(path.join("expected.json")).expect("what to expect");
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        Self { name, disk, expected: serde_json::from_slice(&expected).expect("JSON") }
    }

    fn named(name: &str) -> Self {
        Self::load(&vectors().join(name))
    }

    fn all() -> Vec<Self> {
        let mut paths: Vec<PathBuf> = fs::read_dir(vectors())
            .expect("the vectors")
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect();
        paths.sort();
        assert_eq!(paths.len(), 36);
        paths.iter().map(|path| Self::load(path)).collect()
    }

    fn refuses(&self) -> bool {
        self.expected["expect"].as_str().is_some_and(|text| text.starts_with("refuses"))
    }

    fn recover(&self) -> (Model, Result<Recovered, RecoveryError>) {
        let mut model = Model::default();
        let recovered = recover(&self.disk, &RecoveryOptions::default(), &mut model);
        (model, recovered)
    }

    fn check_tree(&self, model: &Model, tree: &str) {
        let Some(expected) = self.expected[tree].as_object().filter(|tree| tree.contains_key("/")) else {
            assert_eq!(model.nodes.len(), 4, "{}: only the built-in znodes", self.name);
            return;
        };
        let view = model.client_view();
        let expected_paths: Vec<_> = expected.keys().collect();
        assert_eq!(view.keys().collect::<Vec<_>>(), expected_paths, "{}", self.name);
        for (path, node) in &view {
            // Servers rewrite these from their own knowledge when they load.
            let local = path == "/zookeeper/config" || path.ends_with("/zookeeper_stats");
            let fields: &[&str] = if local { &["acl", "children"] } else { &["acl", "children", "data", "stat"] };
            for field in fields {
                assert_eq!(node[field], expected[path][field], "{} {path} {field}", self.name);
            }
        }
    }

    fn check_sessions(&self, model: &Model) {
        for (id, timeout_ms) in self.expected["openSessions"].as_object().into_iter().flatten() {
            let id = u64::from_str_radix(id.trim_start_matches("0x"), 16).expect("hex") as i64;
            let found = model.sessions.get(&id).copied().map(i64::from);
            assert_eq!(found, timeout_ms.as_i64(), "{} session {id:#x}", self.name);
        }
    }
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/storage")
}

#[test]
fn every_sample_loads_to_what_its_clients_saw_or_is_refused() {
    let mut digests_checked = 0;
    for sample in Sample::all() {
        let (model, recovered) = sample.recover();
        match recovered {
            Ok(_) => {
                assert!(!sample.refuses(), "{} must be refused", sample.name);
                sample.check_tree(&model, "tree");
                sample.check_sessions(&model);
                assert_eq!(model.digests_wrong, [], "{}", sample.name);
                digests_checked += model.digests_checked;
            }
            Err(error) => assert!(sample.refuses(), "{}: {error}", sample.name),
        }
    }
    assert_eq!(digests_checked, 2360);
}

#[test]
fn refusals_name_the_place_and_say_what_to_do() {
    let (_, refused) = Sample::named("393-badcrc-middle").recover();
    let error = refused.expect_err("a bad checksum in the middle");
    assert!(matches!(&error, RecoveryError::Log(log) if matches!(log.fault, LogFault::Checksum { .. })));
    let text = error.to_string();
    assert!(text.contains("at log.100000001:") && text.contains("restore the file from a backup"), "{text}");

    let (_, refused) = Sample::named("380-logs-without-snapshot").recover();
    let text = refused.expect_err("no snapshot").to_string();
    assert!(text.contains("log.100000001") && text.contains("zookeeper.snapshot.trust.empty"), "{text}");
}

#[test]
fn logs_without_a_snapshot_load_when_the_setting_trusts_them() {
    let whole = Sample::named("393-alltxns");
    let sample = Sample::named("393-logs-without-snapshot");
    let options = RecoveryOptions { trust_empty_snapshot: true, ..RecoveryOptions::default() };
    let mut model = Model::default();
    let recovered = recover(&sample.disk, &options, &mut model).expect("trusted");
    assert_eq!((recovered.origin, recovered.replayed), (Origin::TrustedLogs, 55));
    // The built-in znodes are then those of the tree, not of the servers that wrote the log.
    let paths = whole.expected["tree"].as_object().expect("a tree").len();
    assert_eq!((model.nodes.len(), model.digests_checked, model.digests_wrong), (paths, 52, vec![]));
}

#[test]
fn a_bad_newest_snapshot_is_passed_over_with_a_note() {
    for (name, taken) in
        [("393-corrupt-snapshot", "snapshot.100000022"), ("380-truncated-snapshot", "snapshot.100000015")]
    {
        let (_, recovered) = Sample::named(name).recover();
        let recovered = recovered.expect("the older snapshot is good");
        assert!(matches!(&recovered.origin, Origin::Snapshot(file, _) if file.name == taken), "{name}");
        assert!(matches!(recovered.notes[..], [Note::SnapshotBad(_) | Note::SnapshotNotWhole(_)]), "{name}");
    }
}

#[test]
fn the_marks_of_a_crash_are_cleared_away() {
    let sample = Sample::named("393-empty-last-log");
    let (_, recovered) = sample.recover();
    assert!(matches!(&recovered.expect("loads").notes[..], [Note::BlankLogRemoved(name)] if name == "log.200000001"));
    assert!(sample.disk.get(Dir::Logs, "log.200000001").is_none());

    for name in ["393-torn-cut", "380-torn-zeros"] {
        let sample = Sample::named(name);
        let (_, recovered) = sample.recover();
        let recovered = recovered.expect("loads");
        assert_eq!(recovered.last_zxid, Zxid::new(1, 0x2b), "{name}");
        assert!(matches!(&recovered.notes[..], [Note::TailCut(_)]), "{name}: {:?}", recovered.notes);
        let (_, again) = sample.recover();
        let again = again.expect("loads again");
        assert!(again.notes.is_empty() && again.last_zxid == recovered.last_zxid, "{name}");
    }
}

#[test]
fn every_txn_record_encodes_back_to_its_bytes() {
    let mut records = 0;
    for sample in Sample::all().iter().filter(|sample| !sample.refuses()) {
        for log in list_logs(&sample.disk).expect("memory") {
            let bytes = sample.disk.get(Dir::Logs, &log.name).expect("listed");
            if bytes.is_empty() {
                continue;
            }
            let mut out = Vec::new();
            put_header(&mut out);
            let mut reader = LogReader::open(&bytes[..], &log.name, BODY_BYTES_MAX_DEFAULT).expect("a log");
            while reader.advance().expect("a good record") == Step::Record {
                let mut body = Vec::new();
                Entry::decode(reader.body()).expect("a txn").encode(&mut body);
                put_record(&mut out, &body);
                records += 1;
            }
            assert_eq!(out, bytes[..out.len()], "{} {}", sample.name, log.name);
        }
    }
    assert!(records > 3000, "{records}");
}

/// Keeps a snapshot in the order in which it came, to write it again.
#[derive(Default)]
struct Copy {
    sessions: (usize, Vec<u8>),
    acls: (usize, Vec<u8>),
    nodes: Vec<u8>,
}

impl SnapshotSink for Copy {
    fn session(&mut self, id: SessionId, timeout_ms: i32) {
        self.sessions.0 += 1;
        put_session(&mut self.sessions.1, id, timeout_ms);
    }

    fn acl(&mut self, key: i64, acl: AclBytes<'_>) {
        self.acls.0 += 1;
        put_acl(&mut self.acls.1, key, acl);
    }

    fn node(&mut self, path: &str, data: Option<&[u8]>, acl_key: i64, stat: &StoredStat) -> Result<(), String> {
        put_node(&mut self.nodes, path, data, acl_key, stat);
        Ok(())
    }
}

impl Copy {
    fn write(&self, compression: Compression, trailer: &Trailer) -> Vec<u8> {
        let mut writer = SnapshotWriter::begin(Vec::new(), compression).expect("memory");
        let mut body = Vec::new();
        for (count, records) in [&self.sessions, &self.acls] {
            put_count(&mut body, *count);
            body.extend_from_slice(records);
        }
        body.extend_from_slice(&self.nodes);
        put_terminator(&mut body);
        writer.write_body(&body).expect("memory");
        writer.finish(trailer).expect("memory")
    }
}

fn decompress(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    compression.reader(bytes).read_to_end(&mut plain).expect("whole");
    plain
}

#[test]
fn every_good_snapshot_encodes_back_to_its_bytes() {
    let mut good = [0; 3];
    for sample in Sample::all() {
        for file in list_snapshots(&sample.disk).expect("memory") {
            let bytes = sample.disk.get(Dir::Snapshots, &file.name).expect("listed");
            let mut copy = Copy::default();
            let Ok(trailer) = read_snapshot(&bytes[..], file.compression, &file.name, &mut copy) else {
                assert!(sample.name.ends_with("corrupt-snapshot") || sample.name.ends_with("truncated-snapshot"));
                continue;
            };
            let written = copy.write(file.compression, &trailer);
            let at = format!("{} {}", sample.name, file.name);
            assert_eq!(decompress(file.compression, &written), decompress(file.compression, &bytes), "{at}");
            assert_eq!(trailer.last_zxid.is_some(), sample.name.starts_with("393"), "{at}");
            // Snappy's blocks are cut and compressed alike; deflate is another implementation's own affair.
            good[file.compression as usize] += 1;
        }
    }
    assert!(good.iter().all(|count| *count >= 6), "{good:?}");
}

#[test]
fn truncation_gives_what_the_real_server_got() {
    for version in ["380", "393"] {
        let before = Sample::named(&format!("{version}-before-trunc"));
        let after = Sample::named(&format!("{version}-after-trunc"));
        let (model, recovered) = before.recover();
        assert_eq!(recovered.expect("loads").last_zxid, Zxid::new(1, 7));
        before.check_tree(&model, "tree");
        let target = Zxid::new(1, 5);
        let plan = plan_truncation(&before.disk, target, BODY_BYTES_MAX_DEFAULT).expect("memory").expect("a way");
        carry_out(&before.disk, &plan).expect("memory");
        let log = "log.100000001";
        assert_eq!(before.disk.get(Dir::Logs, log), after.disk.get(Dir::Logs, log), "the cut is where Apache's is");
        let (model, recovered) = before.recover();
        assert_eq!(recovered.expect("loads").last_zxid, target);
        after.check_tree(&model, "tree");
    }
}

#[test]
fn truncation_to_a_zxid_known_from_a_snapshot_only_leaves_no_phantom() {
    for version in ["380", "393"] {
        let sample = Sample::named(&format!("{version}-before-trunc-snapshot-only"));
        let target = Zxid::new(1, 7);
        let plan = plan_truncation(&sample.disk, target, BODY_BYTES_MAX_DEFAULT).expect("memory").expect("a way");
        assert_eq!((&plan.logs[..], &plan.cut), (&["log.100000008".to_owned()][..], &None));
        carry_out(&sample.disk, &plan).expect("memory");
        let (model, recovered) = sample.recover();
        assert_eq!(recovered.expect("loads").last_zxid, target);
        sample.check_tree(&model, "treeAfterTrunc");
    }
}

#[test]
fn truncation_below_every_snapshot_asks_for_snap() {
    let sample = Sample::named("393-fuzzy-snapshot");
    let below = plan_truncation(&sample.disk, Zxid::new(1, 0x244), BODY_BYTES_MAX_DEFAULT).expect("memory");
    assert_eq!(below, None);
    // The snapshot is named 0x245 and holds effects of txns up to 0x249.
    let inside = plan_truncation(&sample.disk, Zxid::new(1, 0x247), BODY_BYTES_MAX_DEFAULT).expect("memory");
    assert_eq!(inside, None);
    let behind = plan_truncation(&sample.disk, Zxid::new(1, 0x249), BODY_BYTES_MAX_DEFAULT).expect("memory");
    let behind = behind.expect("a way");
    assert_eq!(behind.logs, ["log.10000074a", "log.1000004b5", "log.10000024b"]);
    assert!(matches!(&behind.cut, Some((log, _)) if log == "log.100000001"));
    assert!(behind.snapshots.is_empty());
}

#[test]
fn a_crash_inside_a_truncation_leaves_one_that_can_be_repeated() {
    let names =
        |disk: &MemoryDisk| (disk.names(Dir::Logs).expect("memory"), disk.names(Dir::Snapshots).expect("memory"));
    let target = Zxid::new(1, 0x10);
    let whole = Sample::named("393-snap-plain");
    let plan = plan_truncation(&whole.disk, target, BODY_BYTES_MAX_DEFAULT).expect("memory").expect("a way");
    assert_eq!(plan.snapshots, ["snapshot.100000036", "snapshot.100000022"]);
    assert_eq!(plan.logs, ["log.100000024"]);
    carry_out(&whole.disk, &plan).expect("memory");
    for steps in 0..plan.snapshots.len() + plan.logs.len() {
        let sample = Sample::named("393-snap-plain");
        let mut first = plan.clone();
        first.snapshots.truncate(steps);
        first.logs.truncate(steps.saturating_sub(plan.snapshots.len()));
        first.cut = None;
        carry_out(&sample.disk, &first).expect("memory");
        let again = plan_truncation(&sample.disk, target, BODY_BYTES_MAX_DEFAULT).expect("memory").expect("a way");
        carry_out(&sample.disk, &again).expect("memory");
        assert_eq!(names(&sample.disk), names(&whole.disk), "after {steps} steps");
        let (_, recovered) = sample.recover();
        assert_eq!(recovered.expect("loads").last_zxid, target, "after {steps} steps");
    }
}
