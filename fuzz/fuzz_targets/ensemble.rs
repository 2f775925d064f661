//! Configuration texts that servers send each other: any text gives an ensemble or an error; what was read is written
//! so that it reads the same, and no two quorums of it are strangers to each other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zkd::zab::Ensemble;

fuzz_target!(|input: (u64, &str)| {
    let (side, text) = input;
    let Ok(ensemble) = Ensemble::parse(text) else { return };
    let written = ensemble.text();
    let again = Ensemble::parse(&written).expect("what was written reads");
    assert_eq!((&again, again.text()), (&ensemble, written));
    assert!(ensemble.voters().next().is_some());
    let of_side = |of_one: bool| ensemble.is_quorum(|sid| (side >> (sid.0 % 64) & 1 == 1) == of_one);
    assert!(!(of_side(true) && of_side(false)), "two quorums without a voter in common");
});
