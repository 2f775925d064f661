//! Log records: what decodes, encodes back to a record that decodes to the same; and applying it does no harm.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zkd::tree::{Tree, TreeOptions};
use zkd::txn::Entry;

fuzz_target!(|data: &[u8]| {
    if let Ok(entry) = Entry::decode(data) {
        let mut out = Vec::new();
        entry.encode(&mut out);
        let again = Entry::decode(&out).expect("what was encoded decodes");
        assert_eq!(entry, again);
        let mut tree = Tree::new(TreeOptions::default());
        tree.apply(&entry.header, &entry.txn, &mut (), &mut Vec::new());
        tree.apply(&entry.header, &entry.txn, &mut (), &mut Vec::new());
    }
});
