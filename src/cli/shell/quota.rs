//! setquota, listquota, delquota (TO-24): znodes below `/zookeeper/quota` that the client itself keeps.

use std::collections::BTreeMap;
use std::fmt;

use super::Shell;
use super::client::{Client, validate};
use super::failure::Failure;
use super::options::Words;
use super::print::{err, out};
use crate::path::QUOTA_ROOT;
use crate::proto::ErrorCode;
use crate::tree::{LIMITS, STATS};

use super::client::Make;
use super::write::open_acl;

const COUNT: &str = "count";
const BYTES: &str = "bytes";
/// A quota's four limits and the options that set them.
const LIMIT_OPTIONS: [(&str, &str); 4] = [("n", COUNT), ("b", BYTES), ("N", "countHardLimit"), ("B", "byteHardLimit")];

/// What stands in a limits or a stats znode.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Track(BTreeMap<String, i64>);

impl Track {
    fn parse(data: Option<&[u8]>) -> Result<Self, Failure> {
        let text = String::from_utf8_lossy(data.unwrap_or_default());
        let mut track = Self::default();
        for pair in text.split([',', ';']).filter(|pair| !pair.is_empty()) {
            let mut parts = pair.split('=');
            let (key, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let value = if value.is_empty() { Ok(-1) } else { value.parse() };
            track.0.insert(key.to_owned(), value.map_err(|_| Failure::Text(format!("For input string: \"{pair}\"")))?);
        }
        Ok(track)
    }

    /// -1 where nothing is set.
    fn get(&self, key: &str) -> i64 {
        self.0.get(key).copied().unwrap_or(-1)
    }
}

/// The two that all versions know, then a sign that old ones stop at, then the rest.
impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{COUNT}={},{BYTES}={}", self.get(COUNT), self.get(BYTES))?;
        let mut rest = self.0.iter().filter(|(key, _)| ![COUNT, BYTES].contains(&key.as_str())).peekable();
        if rest.peek().is_some() {
            f.write_str("=")?;
        }
        rest.try_for_each(|(key, value)| write!(f, ";{key}={value}"))
    }
}

fn limits_of(path: &str) -> String {
    format!("{QUOTA_ROOT}{path}/{LIMITS}")
}

fn stats_of(path: &str) -> String {
    format!("{QUOTA_ROOT}{path}/{STATS}")
}

/// setquota.
pub(super) fn set(shell: &mut Shell, words: &Words) -> Result<(), Failure> {
    let path = words.word(1);
    if path.starts_with(QUOTA_ROOT) {
        err(format!("cannot set a quota under the path: {QUOTA_ROOT}"));
        return Ok(());
    }
    let mut wanted = Track(LIMIT_OPTIONS.iter().map(|(_, key)| ((*key).to_owned(), -1)).collect());
    for (option, key) in LIMIT_OPTIONS {
        let Some(text) = words.value(option) else { continue };
        let counts = option.eq_ignore_ascii_case("n");
        let number: Option<i64> = if counts { text.parse::<i32>().ok().map(i64::from) } else { text.parse().ok() };
        match number {
            None => err("NumberFormatException happens when parsing the option value"),
            Some(number) if counts && number <= 0 => err("the num quota must be greater than zero"),
            Some(number) if number < 0 => err("the bytes quota must be greater than or equal to zero"),
            Some(number) => {
                wanted.0.insert(key.to_owned(), number);
                continue;
            }
        }
        return Ok(());
    }
    let client = shell.client()?;
    if client.exists(path, false)?.is_none() {
        return Err(Failure::Text(format!("{path} does not exist.")));
    }
    refuse_below(client, path)?;
    refuse_above(client, path)?;
    write(client, path, &wanted)
}

/// A quota on something below is in the way.
fn refuse_below(client: &Client, path: &str) -> Result<(), Failure> {
    let own = format!("{QUOTA_ROOT}{path}");
    let visited = client.visit_tree(&own, false, |at| {
        let children = match client.get_children(at, false) {
            Err(failure) if failure.is(ErrorCode::NO_NODE) => return Ok(()),
            other => other?.0,
        };
        if at != own && children.iter().any(|child| child == LIMITS) {
            let quota = at.strip_prefix(QUOTA_ROOT).unwrap_or(at);
            return Err(Failure::Text(format!("{path} has a child {quota} which has a quota")));
        }
        Ok(())
    });
    match visited {
        Err(failure) if failure.is(ErrorCode::NO_NODE) => Ok(()),
        other => other,
    }
}

/// So is a quota on something above.
fn refuse_above(client: &Client, path: &str) -> Result<(), Failure> {
    let mut parents: Vec<_> = crate::path::ancestors(path).filter(|parent| *parent != "/").collect();
    parents.reverse();
    for parent in parents {
        let children = match client.get_children(&format!("{QUOTA_ROOT}{parent}"), false) {
            Err(failure) if failure.is(ErrorCode::NO_NODE) => return Ok(()),
            other => other?.0,
        };
        if children.iter().any(|child| child == LIMITS) {
            return Err(Failure::Text(format!("{path} has a parent {parent} which has a quota")));
        }
    }
    Ok(())
}

fn write(client: &Client, path: &str, wanted: &Track) -> Result<(), Failure> {
    let create = |path: &str, data: Option<&[u8]>| client.create(path, data, &open_acl(), Make::Plain(0));
    let full = format!("{QUOTA_ROOT}{path}");
    let mut above: Vec<_> = crate::path::ancestors(&full).filter(|parent| *parent != "/").collect();
    above.reverse();
    above.push(&full);
    for path in above {
        if client.exists(path, false)?.is_none() {
            match create(path, None) {
                Err(failure) if !failure.is(ErrorCode::NODE_EXISTS) => return Err(failure),
                _ => {}
            }
        }
    }
    let (limits, stats) = (limits_of(path), stats_of(path));
    if client.exists(&limits, false)?.is_none() {
        create(&limits, Some(wanted.to_string().as_bytes()))?;
        let nothing = Track([(COUNT.to_owned(), 0), (BYTES.to_owned(), 0)].into());
        create(&stats, Some(nothing.to_string().as_bytes()))?;
        let limits = Track::parse(client.get_data(&limits, false)?.0.as_deref())?;
        warn(&limits, &Track::parse(client.get_data(&stats, false)?.0.as_deref())?);
        return Ok(());
    }
    let mut now = Track::parse(client.get_data(&limits, false)?.0.as_deref())?;
    now.0.extend(wanted.0.iter().filter(|(_, value)| **value > -1).map(|(key, value)| (key.clone(), *value)));
    warn(&now, &Track::parse(client.get_data(&stats, false)?.0.as_deref())?);
    client.set_data(&limits, now.to_string().as_bytes(), -1).map(drop)
}

/// A quota that is exceeded from its beginning is set all the same.
fn warn(limits: &Track, stats: &Track) {
    for (word, soft, hard) in [(COUNT, COUNT, "countHardLimit"), (BYTES, BYTES, "byteHardLimit")] {
        let used = stats.get(word);
        if [soft, hard].iter().any(|limit| limits.get(limit) > -1 && limits.get(limit) < used) {
            out(format!("[Warning]: the {word} quota you create is less than the existing {word}:{used}"));
        }
    }
}

/// listquota.
pub(super) fn list(shell: &mut Shell, words: &Words) -> Result<(), Failure> {
    let path = words.word(1);
    err(format!("absolute path is {}", limits_of(path)));
    let client = shell.client()?;
    let both = || {
        let read = |path: &str| Track::parse(client.get_data(path, false)?.0.as_deref());
        Ok((read(&limits_of(path))?, read(&stats_of(path))?))
    };
    match both() {
        Ok((limits, stats)) => {
            out(format!("Output quota for {path} {limits}"));
            out(format!("Output stat for {path} {stats}"));
            Ok(())
        }
        Err(failure) => no_quota(path, failure),
    }
}

fn no_quota(path: &str, failure: Failure) -> Result<(), Failure> {
    if !failure.is(ErrorCode::NO_NODE) {
        return Err(failure);
    }
    err(format!("quota for {path} does not exist."));
    Ok(())
}

/// delquota.
pub(super) fn delete(shell: &mut Shell, words: &Words) -> Result<(), Failure> {
    let path = words.word(1);
    let client = shell.client()?;
    remove(client, path, words).or_else(|failure| no_quota(path, failure))
}

fn remove(client: &Client, path: &str, words: &Words) -> Result<(), Failure> {
    let limits = limits_of(path);
    validate(&limits)?;
    if client.exists(&limits, false)?.is_none() {
        out(format!("Quota does not exist for {path}"));
        return Ok(());
    }
    let mut now = Track::parse(client.get_data(&limits, false)?.0.as_deref())?;
    let chosen: Vec<_> = LIMIT_OPTIONS.iter().filter(|(option, _)| words.has(option)).collect();
    if !chosen.is_empty() {
        now.0.extend(chosen.iter().map(|(_, key)| ((*key).to_owned(), -1)));
        return client.set_data(&limits, now.to_string().as_bytes(), -1).map(drop);
    }
    let full = format!("{QUOTA_ROOT}{path}");
    for child in client.get_children(&full, false)?.0 {
        client.delete(&format!("{full}/{child}"), -1)?;
    }
    // Then what stands there for this quota alone.
    let mut at = full.as_str();
    while at != QUOTA_ROOT && client.get_children(at, false)?.0.is_empty() {
        client.delete(at, -1)?;
        at = crate::path::split(at).map_or(QUOTA_ROOT, |(parent, _)| parent);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_written_as_all_versions_have_them() {
        let text = "count=5,bytes=-1=;byteHardLimit=-1;countHardLimit=3";
        let track = Track::parse(Some(text.as_bytes())).expect("understood");
        assert_eq!(track.to_string(), text);
        assert_eq!((track.get("countHardLimit"), track.get("other")), (3, -1));
        assert_eq!(Track::parse(Some(b"count=2,bytes=")).expect("understood").to_string(), "count=2,bytes=-1");
        assert!(Track::parse(Some(b"count=x")).is_err());
        assert_eq!(Track::parse(None).expect("understood").to_string(), "count=-1,bytes=-1");
    }
}
