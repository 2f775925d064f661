//! What is read and written below each child of the root (NO-22; ops-surface.md 2).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::RwLock;

use super::Summary;

/// So many are told apart: each costs up to 36 KiB, and it is clients who choose the names.
const NAMESPACES_MAX: usize = 1000;
/// What counts of each read beside its path and what it tells, bytes: a Stat.
const READ_BYTES: usize = 68;

/// One child of the root.
#[derive(Debug)]
pub struct Namespace {
    name: Box<str>,
    read: Summary,
    written: Summary,
    quota_exceeded: AtomicU64,
}

impl Namespace {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn has(&self, path: &str) -> bool {
        let below = path.as_bytes().get(1..).and_then(|path| path.strip_prefix(self.name.as_bytes()));
        below.is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'/'))
    }

    /// Bytes of reads.
    #[must_use]
    pub const fn read(&self) -> &Summary {
        &self.read
    }

    /// Bytes of writes.
    #[must_use]
    pub const fn written(&self) -> &Summary {
        &self.written
    }

    /// Writes that a hard quota has refused.
    #[must_use]
    pub fn quota_exceeded(&self) -> u64 {
        self.quota_exceeded.load(Relaxed)
    }
}

/// The namespace that somebody was in last; it mostly stays the same.
pub type LastNamespace = Option<Arc<Namespace>>;

/// All namespaces that something has happened in.
#[derive(Debug, Default)]
pub struct Namespaces(RwLock<BTreeMap<Box<str>, Arc<Namespace>>>);

impl Namespaces {
    /// Counts a read of so many bytes of data or names.
    pub fn count_read(&self, path: &str, bytes: usize, last: &mut LastNamespace) {
        if let Some(namespace) = self.of(path, last) {
            namespace.read.add((path.len() + bytes + READ_BYTES) as u64);
        }
    }

    /// Counts a write of so many bytes of data.
    pub fn count_write(&self, path: &str, bytes: usize, last: &mut LastNamespace) {
        if let Some(namespace) = self.of(path, last) {
            namespace.written.add((path.len() + bytes) as u64);
        }
    }

    /// Counts a write that a hard quota has refused.
    pub fn count_quota_exceeded(&self, path: &str) {
        if let Some(namespace) = self.of(path, &mut None) {
            namespace.quota_exceeded.fetch_add(1, Relaxed);
        }
    }

    /// All of them, by their names.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Namespace>> {
        self.0.read().values().cloned().collect()
    }

    /// All begin anew.
    pub(super) fn reset(&self) {
        for namespace in self.all() {
            namespace.read.reset();
            namespace.written.reset();
            namespace.quota_exceeded.store(0, Relaxed);
        }
    }

    /// `None` for the root, and for one too many.
    fn of<'l>(&self, path: &str, last: &'l mut LastNamespace) -> Option<&'l Namespace> {
        if last.as_ref().is_none_or(|known| !known.has(path)) {
            let name = path.split('/').nth(1).filter(|name| !name.is_empty())?;
            *last = self.find(name);
        }
        last.as_deref()
    }

    fn find(&self, name: &str) -> LastNamespace {
        if let Some(known) = self.0.read().get(name) {
            return Some(Arc::clone(known));
        }
        let mut all = self.0.write();
        if all.len() >= NAMESPACES_MAX && !all.contains_key(name) {
            return None;
        }
        let namespace = all.entry(name.into()).or_insert_with(|| {
            let (read, written) = (Summary::default(), Summary::default());
            Arc::new(Namespace { name: name.into(), read, written, quota_exceeded: AtomicU64::new(0) })
        });
        Some(Arc::clone(namespace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_by_the_first_name_of_a_path() {
        let (namespaces, mut last) = (Namespaces::default(), None);
        namespaces.count_read("/a/b", 10, &mut last);
        namespaces.count_read("/a", 0, &mut last);
        namespaces.count_write("/b", 7, &mut last);
        namespaces.count_read("/bc", 1, &mut last);
        namespaces.count_quota_exceeded("/b/c");
        for nobody in ["/", ""] {
            namespaces.count_read(nobody, 1, &mut last);
        }
        let all = namespaces.all();
        let told = |summary: &Summary| (summary.count(), summary.sum());
        let told = |namespace: &Namespace| {
            (namespace.name().to_owned(), told(namespace.read()), told(namespace.written()), namespace.quota_exceeded())
        };
        let all: Vec<_> = all.iter().map(|namespace| told(namespace)).collect();
        let expected = [("a", (2, 152), (0, 0), 0), ("b", (0, 0), (1, 9), 1), ("bc", (1, 72), (0, 0), 0)];
        assert_eq!(all, expected.map(|(name, read, written, exceeded)| (name.to_owned(), read, written, exceeded)));
        namespaces.reset();
        assert_eq!(namespaces.all().iter().map(|one| one.read().count() + one.quota_exceeded()).sum::<u64>(), 0);
    }

    #[test]
    fn there_are_not_more_than_so_many() {
        let (namespaces, mut last) = (Namespaces::default(), None);
        (0..=NAMESPACES_MAX).for_each(|n| namespaces.count_write(&format!("/{n}"), 1, &mut last));
        assert_eq!((namespaces.all().len(), last.is_none()), (NAMESPACES_MAX, true));
        namespaces.count_write("/7/x", 1, &mut last);
        assert_eq!(last.map(|last| last.written().count()), Some(2));
    }
}
