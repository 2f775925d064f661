//! Quotas: limits that clients write below `/zookeeper/quota`, and the usage kept beside them (semantics.md 8).

use std::collections::HashMap;

use crate::path::{self, QUOTA_ROOT};

/// The znode that holds a quota's limits.
pub const LIMITS: &str = "zookeeper_limits";
/// The znode that holds a quota's usage.
pub const STATS: &str = "zookeeper_stats";

/// Whether this would be a limit on the root. There is none; an Apache server dies applying it (client-protocol.md 5.4).
#[must_use]
pub fn limits_root(path: &str) -> bool {
    path.strip_prefix(QUOTA_ROOT).and_then(|rest| rest.strip_prefix('/')) == Some(LIMITS)
}

/// What a `zookeeper_limits` znode says; -1 is no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Znodes, warned about.
    pub count: i64,
    /// Bytes of data, warned about.
    pub bytes: i64,
    /// Znodes, refused beyond.
    pub count_hard: i64,
    /// Bytes of data, refused beyond.
    pub bytes_hard: i64,
}

impl Limits {
    /// No limit at all.
    pub const NONE: Limits = Limits { count: -1, bytes: -1, count_hard: -1, bytes_hard: -1 };

    /// Reads the text. What cannot be read is no limit: a client wrote it, and it must not stop the server
    /// (client-protocol.md 5.4).
    #[must_use]
    pub fn parse(data: Option<&[u8]>) -> Self {
        let mut limits = Self::NONE;
        let Ok(text) = std::str::from_utf8(data.unwrap_or_default()) else { return limits };
        for part in text.split([',', ';']) {
            let Some((key, value)) = part.split_once('=') else { continue };
            let value = value.trim_end_matches('=').parse().unwrap_or(-1);
            match key {
                "count" => limits.count = value,
                "bytes" => limits.bytes = value,
                "countHardLimit" => limits.count_hard = value,
                "byteHardLimit" => limits.bytes_hard = value,
                _ => {}
            }
        }
        limits
    }
}

/// What lies below a quota's path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Znodes, the quota's own among them.
    pub count: i64,
    /// Bytes of data.
    pub bytes: i64,
}

impl Usage {
    /// The text of a `zookeeper_stats` znode.
    #[must_use]
    pub fn to_text(self) -> String {
        format!("count={},bytes={}", self.count, self.bytes)
    }
}

/// The quota'd paths and their usage.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    usage: HashMap<Box<str>, Usage>,
}

impl Quotas {
    /// The path that a znode below `/zookeeper/quota` speaks of, if `path` is one named `name`.
    pub(crate) fn subject<'a>(path: &'a str, name: &str) -> Option<&'a str> {
        let subject = path.strip_prefix(QUOTA_ROOT)?.strip_suffix(name)?.strip_suffix('/')?;
        (!subject.is_empty()).then_some(subject)
    }

    /// The path of the znode with a quota's limits or usage.
    pub(crate) fn znode(subject: &str, name: &str) -> String {
        format!("{QUOTA_ROOT}{subject}/{name}")
    }

    pub(crate) fn register(&mut self, subject: &str, usage: Usage) {
        self.usage.insert(subject.into(), usage);
    }

    pub(crate) fn unregister(&mut self, subject: &str) {
        self.usage.remove(subject);
    }

    pub(crate) fn usage(&self, subject: &str) -> Option<Usage> {
        self.usage.get(subject).copied()
    }

    /// The deepest path with a quota that is `path` or above it.
    pub(crate) fn subject_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        if self.usage.is_empty() {
            return None;
        }
        std::iter::once(path).chain(path::ancestors(path)).find(|at| self.usage.contains_key(*at))
    }

    /// Adds to a usage and returns what it is now.
    pub(crate) fn add(&mut self, subject: &str, count: i64, bytes: i64) -> Option<Usage> {
        let usage = self.usage.get_mut(subject)?;
        usage.count += count;
        usage.bytes += bytes;
        Some(*usage)
    }

    pub(crate) fn subjects(&self) -> impl Iterator<Item = &str> {
        self.usage.keys().map(|subject| &**subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_that_the_command_line_writes_are_read() {
        let limits = Limits::parse(Some(b"count=5,bytes=-1=;byteHardLimit=7;countHardLimit=3"));
        assert_eq!(limits, Limits { count: 5, bytes: -1, count_hard: 3, bytes_hard: 7 });
        for nonsense in [None, Some(&b""[..]), Some(b"x"), Some(b"count=,bytes=x"), Some(b"\xff")] {
            assert_eq!(Limits::parse(nonsense), Limits::NONE);
        }
    }

    #[test]
    fn the_root_has_no_quota() {
        assert_eq!(Quotas::subject("/zookeeper/quota/zookeeper_limits", LIMITS), None);
        assert_eq!(Quotas::subject("/zookeeper/quota/a/b/zookeeper_limits", LIMITS), Some("/a/b"));
        assert_eq!(Quotas::subject("/a/zookeeper_limits", LIMITS), None);
    }
}
