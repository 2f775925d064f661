//! Random damage to good files: the outcome is the documented one, and never a panic.

use proptest::prelude::*;
use zkd::ids::Zxid;
use zkd::storage::recovery::{Note, Origin, RecoveryError};
use zkd::storage::{Dir, Disk};

use super::Sample;

const LOG: &str = "log.100000001";
/// Behind the last record of the log in `393-alltxns`, in bytes, and its last txn.
const LAST: Zxid = Zxid::new(1, 0x37);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_log_cut_anywhere_loads_up_to_the_cut(cut in 16_usize..16_400) {
        let sample = Sample::named("393-alltxns");
        sample.disk.edit(Dir::Logs, LOG, |bytes| bytes.truncate(cut)).expect("a log");
        let (model, recovered) = sample.recover();
        let recovered = recovered.expect("a torn tail is no fault");
        prop_assert_eq!(recovered.replayed, u64::from(recovered.last_zxid.counter()));
        prop_assert!(recovered.last_zxid <= LAST);
        prop_assert!(model.digests_wrong.is_empty());
        let (_, again) = sample.recover();
        let again = again.expect("what was mended is good");
        prop_assert_eq!((again.last_zxid, again.notes.len()), (recovered.last_zxid, 0));
    }

    #[test]
    fn a_log_zeroed_from_anywhere_loads_up_to_there(from in 16_usize..16_400) {
        let sample = Sample::named("393-alltxns");
        sample.disk.edit(Dir::Logs, LOG, |bytes| bytes[from..].fill(0)).expect("a log");
        let (model, recovered) = sample.recover();
        let recovered = recovered.expect("a torn tail is no fault");
        prop_assert_eq!(recovered.replayed, u64::from(recovered.last_zxid.counter()));
        prop_assert!(model.digests_wrong.is_empty());
    }

    #[test]
    fn a_bit_flipped_in_a_log_is_refused_or_costs_what_was_not_acknowledged(at in 0_usize..16_400, bit in 0..8) {
        let sample = Sample::named("393-alltxns");
        let end = sample.disk.get(Dir::Logs, LOG).expect("a log").iter().rposition(|b| *b != 0).expect("records") + 1;
        sample.disk.edit(Dir::Logs, LOG, |bytes| bytes[at] ^= 1_u8 << bit).expect("a log");
        let (model, recovered) = sample.recover();
        match recovered {
            Ok(recovered) => {
                prop_assert!(model.digests_wrong.is_empty());
                // Version and dbid are not looked at, and behind the end nothing is read. Of the records only the
                // last may be bad: those before it were acknowledged.
                let whole = recovered.last_zxid == LAST;
                prop_assert!(!whole || (4..16).contains(&at) || at >= end, "byte {} of {}", at, end);
                prop_assert!(whole || recovered.last_zxid == Zxid::new(1, 0x36));
                prop_assert!((4..16).contains(&at) || !recovered.notes.is_empty());
            }
            Err(RecoveryError::Log(error)) => {
                prop_assert_eq!(error.file, LOG);
                prop_assert!(error.offset <= at as u64);
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }

    #[test]
    fn a_damaged_snapshot_is_never_loaded(which in 0..3_usize, at in any::<prop::sample::Index>(), bit in 0..9) {
        let sample = Sample::named(["393-snap-plain", "393-snap-gz", "393-snap-snappy"][which]);
        let Origin::Snapshot(newest, _) = sample.recover().1.expect("loads").origin else { panic!("from a snapshot") };
        let sample = Sample::named(["393-snap-plain", "393-snap-gz", "393-snap-snappy"][which]);
        sample.disk.edit(Dir::Snapshots, &newest.name, |bytes| {
            let at = at.index(bytes.len());
            match bit {
                8 => bytes.truncate(at),
                bit => bytes[at] ^= 1_u8 << bit,
            }
        }).expect("a snapshot");
        let (model, recovered) = sample.recover();
        let recovered = recovered.expect("an older one is good");
        // Some bits mean nothing: of the header's version, or of gzip's time and system.
        prop_assert!(matches!(&recovered.origin, Origin::Snapshot(..)));
        prop_assert_eq!(recovered.last_zxid, LAST);
        prop_assert!(model.digests_wrong.is_empty());
        sample.check_tree(&model, "tree");
    }
}

#[test]
fn a_missing_log_in_the_middle_is_a_gap() {
    let sample = Sample::named("393-fuzzy-snapshot");
    sample.disk.remove(Dir::Logs, "log.1000004b5").expect("memory");
    let (_, refused) = sample.recover();
    let text = refused.expect_err("a gap").to_string();
    assert!(text.contains("between 0x1000004b4 and 0x10000074a are missing at log.10000074a:16"), "{text}");
}

#[test]
fn a_bad_last_txn_of_the_last_file_is_cut_and_of_an_earlier_one_refused() {
    let sample = Sample::named("393-alltxns");
    let flip_in_last = |bytes: &mut Vec<u8>| {
        let end = bytes.iter().rposition(|b| *b != 0).expect("records");
        bytes[end - 20] ^= 1;
    };
    sample.disk.edit(Dir::Logs, LOG, flip_in_last).expect("a log");
    let (_, recovered) = sample.recover();
    let recovered = recovered.expect("never acknowledged");
    assert_eq!(recovered.last_zxid, Zxid::new(1, 0x36));
    assert!(matches!(&recovered.notes[..], [Note::TailCut(_)]));

    let sample = Sample::named("393-fuzzy-snapshot");
    sample.disk.edit(Dir::Logs, "log.1000004b5", flip_in_last).expect("a log");
    assert!(sample.recover().1.is_err());
}

#[test]
fn a_torn_end_before_the_next_txn_is_what_a_restart_leaves() {
    let sample = Sample::named("393-fuzzy-snapshot");
    sample
        .disk
        .edit(Dir::Logs, "log.1000004b5", |bytes| {
            let end = bytes.iter().rposition(|b| *b != 0).expect("records") + 1;
            bytes.truncate(end);
            bytes.extend([0, 0, 0, 0, 1, 2, 3]);
        })
        .expect("a log");
    let (model, recovered) = sample.recover();
    assert_eq!(recovered.expect("nothing is missing").last_zxid, Zxid::new(1, 0x750));
    sample.check_tree(&model, "tree");
}
