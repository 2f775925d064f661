//! What learners are sent, row by row as Apache's leaders of 3.8.0 and 3.9.3 were seen to answer (zab.md 4).

use proptest::prelude::*;

use super::*;

/// Zxids of one epoch.
fn txns(epoch: i32, counters: impl IntoIterator<Item = u32>) -> Vec<Zxid> {
    counters.into_iter().map(|counter| Zxid::new(epoch, counter)).collect()
}

fn history(window: &[Zxid]) -> History {
    let mut history = History::new(1000);
    window.iter().for_each(|zxid| history.push(*zxid, Bytes::from_static(b"txn")));
    history
}

fn said(zxid: Zxid) -> String {
    format!("({},{:x})", zxid.epoch(), zxid.counter())
}

/// A leader: its window, the txns on disk that are not too many to be sent, and its last zxid.
struct Leader {
    history: History,
    log: Vec<Zxid>,
    last: Zxid,
}

/// What the learner has, and what Apache answers. Then, where a leader that is a zkd answers otherwise: to a zkd, and to
/// an Apache.
type Row = (Zxid, &'static str, Option<(&'static str, &'static str)>);

impl Leader {
    fn new(window: &[Zxid], last: Zxid) -> Self {
        Self { history: history(window), log: window.to_vec(), last }
    }

    /// What a learner gets, in the words of the table: the packet, and how many txns follow it.
    fn answer(&self, zxid: Zxid, is_zkd: bool) -> String {
        let behind = |zxid| self.history.behind(zxid).count();
        let (packet, count) = match plan(&self.history, self.last, Behind { zxid, is_zkd }, false) {
            Plan::Diff { from, to } => (format!("DIFF {}", said(to)), behind(from)),
            Plan::Trunc { to } => (format!("TRUNC {}", said(to)), behind(to)),
            Plan::Snap => ("SNAP".to_owned(), 0),
            // The log on disk leads there if it holds a txn at or before that place.
            Plan::Log { from, until } if self.log.first().is_some_and(|first| *first <= from) => {
                let on_disk = self.log.iter().filter(|zxid| **zxid > from && **zxid < until).count();
                let to = self.history.bounds().map_or(from, |(_, max)| max);
                (format!("DIFF {}", said(to)), on_disk + behind(from))
            }
            Plan::Log { .. } => ("SNAP".to_owned(), 0),
        };
        if count == 0 { packet } else { format!("{packet} + {count}") }
    }

    fn answers(&self, rows: &[Row]) {
        for (zxid, apache, other) in rows {
            let (zkd, not_zkd) = other.unwrap_or((apache, apache));
            assert_eq!(self.answer(*zxid, true), zkd, "a zkd that has {}", said(*zxid));
            assert_eq!(self.answer(*zxid, false), not_zkd, "an Apache that has {}", said(*zxid));
        }
    }
}

const fn z(epoch: i32, counter: u32) -> Zxid {
    Zxid::new(epoch, counter)
}

#[test]
fn a_leader_of_a_first_epoch_without_a_txn() {
    Leader::new(&[], z(1, 0)).answers(&[
        (z(0, 0), "SNAP", None),
        (z(1, 0), "DIFF (1,0)", None),
        // Nobody is told to forget a whole epoch: an Apache could not cut there if it knows (1,0) from a snapshot.
        (z(1, 5), "TRUNC (1,0)", Some(("SNAP", "SNAP"))),
        (Zxid(-1), "SNAP", None),
    ]);
}

#[test]
fn a_leader_in_its_first_epoch() {
    Leader::new(&txns(1, 1..=10), z(1, 10)).answers(&[
        (z(1, 10), "DIFF (1,a)", None),
        // An Apache cuts wrongly when it knows the place from a snapshot only (zab.md 12.1).
        (z(1, 11), "TRUNC (1,a)", Some(("TRUNC (1,a)", "SNAP"))),
        (z(1, 7), "DIFF (1,a) + 3", None),
        (z(1, 0), "SNAP", None),
        (z(0, 0), "SNAP", None),
        (z(1, 1), "DIFF (1,a) + 9", None),
        (Zxid(-1), "SNAP", None),
    ]);
}

#[test]
fn a_leader_of_a_second_epoch_without_a_txn() {
    Leader::new(&txns(1, 1..=11), z(2, 0)).answers(&[
        (z(1, 11), "DIFF (1,b)", None),
        (z(1, 12), "TRUNC (1,b)", Some(("TRUNC (1,b)", "SNAP"))),
        // Txns are not forgotten across epochs.
        (z(2, 3), "TRUNC (1,b)", Some(("SNAP", "SNAP"))),
        (z(2, 0), "DIFF (2,0)", None),
        (z(3, 0), "SNAP", None),
    ]);
}

#[test]
fn a_leader_in_its_second_epoch() {
    let window = [txns(1, 1..=11), txns(2, 1..=5)].concat();
    Leader::new(&window, z(2, 5)).answers(&[
        (z(1, 11), "DIFF (2,5) + 5", None),
        // Apache gives up when the next txn it has is of another epoch. What is forgotten is of one epoch all the same.
        (z(1, 12), "SNAP", Some(("TRUNC (1,b) + 5", "SNAP"))),
        (z(2, 0), "DIFF (2,5) + 5", None),
        (z(0, 0), "SNAP", None),
    ]);
}

#[test]
fn a_leader_whose_window_begins_late() {
    let mut leader = Leader::new(&txns(2, 0x69..=0x25d), z(2, 0x25d));
    leader.answers(&[
        // What stands on disk before that is too much.
        (z(1, 11), "SNAP", None),
        (z(2, 0), "SNAP", None),
        (z(3, 1), "TRUNC (2,25d)", Some(("SNAP", "SNAP"))),
    ]);
    leader.log = txns(2, 0x68..=0x25d);
    leader.answers(&[(z(2, 0x68), "DIFF (2,25d) + 501", None)]);
}

#[test]
fn whoever_wants_snapshots_only_sends_them() {
    let history = history(&txns(1, 1..=3));
    let learner = Behind { zxid: z(1, 3), is_zkd: true };
    assert_eq!(plan(&history, z(1, 3), learner, true), Plan::Snap);
}

#[test]
fn the_window_keeps_the_newest_and_what_somebody_reads() {
    let mut history = History::new(3);
    txns(1, 1..=5).into_iter().for_each(|zxid| history.push(zxid, Bytes::new()));
    assert_eq!(history.bounds(), Some((z(1, 3), z(1, 5))));
    history.hold();
    history.push(z(1, 6), Bytes::new());
    assert_eq!(history.bounds(), Some((z(1, 3), z(1, 6))));
    history.release();
    assert_eq!(history.bounds(), Some((z(1, 4), z(1, 6))));
    assert_eq!(history.behind(z(1, 4)).map(|(zxid, _)| *zxid).collect::<Vec<_>>(), txns(1, 5..=6));
    history.clear();
    assert_eq!(history.bounds(), None);
}

proptest! {
    /// A leader's txns, and a learner that has some of them and perhaps more, which nobody committed.
    #[test]
    fn whatever_is_sent_leads_to_the_leaders_txns(
        epochs in prop::collection::vec((1..3, 1..6_u32), 1..4),
        gone in 0..8_usize,
        common in 0..16_usize,
        more in 0..3_u32,
        more_epochs in 0..2,
        is_zkd in any::<bool>(),
    ) {
        let (mut epoch, mut all) = (0, Vec::new());
        for (epochs, count) in epochs {
            epoch += epochs;
            all.extend(txns(epoch, 1..=count));
        }
        let leader = Leader { history: history(&all[gone.min(all.len())..]), last: all[all.len() - 1], log: vec![] };
        let mut has = all[..common.min(all.len())].to_vec();
        // Txns that nobody committed stand behind the last one of an epoch, in that epoch or in one of which nothing is
        // left: no zxid is ever used twice, and who joins an epoch has all that was before it.
        let last = has.last().copied().unwrap_or(Zxid::ZERO);
        let next = all.get(has.len()).map_or(i32::MAX, |zxid| zxid.epoch());
        let (epoch, begin) = if more_epochs == 0 { (last.epoch(), last.counter()) } else { (last.epoch() + 1, 0) };
        if next > epoch && epoch > 0 {
            has.extend(txns(epoch, begin + 1..=begin + more));
        }

        let zxid = has.last().copied().unwrap_or(Zxid::ZERO);
        let behind = |zxid| leader.history.behind(zxid).map(|(zxid, _)| *zxid);
        match plan(&leader.history, leader.last, Behind { zxid, is_zkd }, false) {
            Plan::Diff { from, to } => {
                prop_assert_eq!((from, to), (zxid, leader.last));
                has.extend(behind(from));
                prop_assert_eq!(has, all);
            }
            Plan::Trunc { to } => {
                prop_assert!(is_zkd && has.contains(&to) && to.epoch() == zxid.epoch());
                has.retain(|zxid| *zxid <= to);
                has.extend(behind(to));
                prop_assert_eq!(has, all);
            }
            Plan::Log { from, until } => {
                // Without a window the log has to give everything, the last one as well.
                let oldest = leader.history.bounds().map(|(min, _)| min).or_else(|| leader.last.next());
                prop_assert_eq!((from, Some(until)), (zxid, oldest));
                prop_assert!(from < until);
            }
            Plan::Snap => {}
        }
    }
}
