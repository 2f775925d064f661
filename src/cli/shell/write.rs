//! Commands that write: create, set, delete, deleteall, setAcl, reconfig (TO-15 to TO-23).

use std::borrow::Cow;

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};

use super::Shell;
use super::client::{Make, validate};
use super::failure::{self, Failure};
use super::options::Words;
use super::print::{self, err, out};
use crate::config::Members;
use crate::proto::{Acl, ErrorCode, Perms};
use crate::tree::TTL_MAX_MS;

/// Paths in one multi of deleteall, unless the user says otherwise.
const BATCH: usize = 1000;

/// Everything for everybody.
pub(super) fn open_acl() -> Vec<Acl<'static>> {
    vec![Acl { perms: Perms::ALL, scheme: Some("world".into()), id: Some("anyone".into()) }]
}

/// create.
pub(super) fn create(shell: &mut Shell, words: &Words) -> Result<(), Failure> {
    let make = make(words)?;
    let data = words.words.get(2).map(String::as_bytes);
    let acl = words.words.get(3).map_or_else(open_acl, |text| parse_acl(text));
    match shell.client()?.create(words.word(1), data, &acl, make) {
        Ok(path) => {
            err(format!("Created {path}"));
            Ok(())
        }
        Err(failure) => {
            match &failure {
                Failure::Keeper(ErrorCode::EPHEMERAL_ON_LOCAL_SESSION, _) => {
                    err("Unable to create ephemeral node on a local session");
                }
                Failure::Keeper(code @ ErrorCode::INVALID_ACL, path) => err(failure::message(*code, path.as_deref())),
                _ => {}
            }
            Err(failure)
        }
    }
}

fn make(words: &Words) -> Result<Make, Failure> {
    let [ephemeral, sequential, container, ttl] = ["e", "s", "c", "t"].map(|option| words.has(option));
    let refuse = |text: &str| Err(Failure::text(text));
    if container && (ephemeral || sequential) {
        return refuse("-c cannot be combined with -s or -e. Containers cannot be ephemeral or sequential.");
    }
    let Ok(ms) = words.value("t").map_or(Ok(0), str::parse) else {
        return refuse("-t argument must be a long value");
    };
    if ttl && ephemeral {
        return refuse("TTLs cannot be used with Ephemeral znodes");
    }
    if ttl && container {
        return refuse("TTLs cannot be used with Container znodes");
    }
    if ttl && !(1..=TTL_MAX_MS).contains(&ms) {
        return Err(Failure::Text(format!("ttl must be positive and cannot be larger than: {TTL_MAX_MS}")));
    }
    Ok(match (container, ttl) {
        (true, _) => Make::Container,
        (false, true) => Make::Ttl { sequential, ms },
        (false, false) => Make::Plain(i32::from(ephemeral) | i32::from(sequential) << 1),
    })
}

/// Entries of the form `scheme:id:perms` with commas between; what is none is told of and left out.
fn parse_acl(text: &str) -> Vec<Acl<'static>> {
    // Java's `split` has no empty parts at the end, but for the one of an empty text.
    let trimmed = text.trim_end_matches(',');
    let parts = if trimmed.is_empty() && !text.is_empty() { None } else { Some(trimmed.split(',')) };
    let entry = |part: &str| {
        let (head, perms) = part.rsplit_once(':')?;
        let (scheme, id) = head.split_once(':')?;
        Some(Acl {
            perms: parse_perms(perms),
            scheme: Some(Cow::Owned(scheme.to_owned())),
            id: Some(Cow::Owned(id.to_owned())),
        })
    };
    let mut entries = Vec::new();
    for part in parts.into_iter().flatten() {
        match entry(part) {
            Some(entry) => entries.push(entry),
            None => err(format!("{part} does not have the form scheme:id:perm")),
        }
    }
    entries
}

fn parse_perms(text: &str) -> Perms {
    text.chars().fold(Perms(0), |perms, letter| {
        perms
            | match letter {
                'r' => Perms::READ,
                'w' => Perms::WRITE,
                'c' => Perms::CREATE,
                'd' => Perms::DELETE,
                'a' => Perms::ADMIN,
                other => {
                    err(format!("Unknown perm type: {other}"));
                    Perms(0)
                }
            }
    })
}

/// The argument of `-v`; -1 without one.
fn version(words: &Words) -> Result<i32, Failure> {
    let text = words.value("v").unwrap_or("-1");
    text.parse().map_err(|_| Failure::Text(format!("For input string: \"{text}\"")))
}

/// As Java reads base64: padding may be missing, but not a part of it, and bits behind the last byte are not looked at.
fn base64(text: &str) -> Result<Vec<u8>, Failure> {
    let rules = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    if text.ends_with('=') && !text.len().is_multiple_of(4) {
        return Err(Failure::text("not base64: its padding is not whole"));
    }
    let decoded = GeneralPurpose::new(&alphabet::STANDARD, rules).decode(text);
    decoded.map_err(|error| Failure::Text(format!("not base64: {error}")))
}

/// set.
pub(super) fn set(shell: &mut Shell, words: &Words) -> Result<(), Failure> {
    let text = words.word(2);
    let data = if words.has("b") { base64(text)? } else { text.as_bytes().to_vec() };
    let stat = shell.client()?.set_data(words.word(1), &data, version(words)?)?;
    if words.has("s") {
        out(print::stat(&stat));
    }
    Ok(())
}

/// delete.
pub(super) fn delete(shell: &mut Shell, words: &Words) -> Result<(), Failure> {
    if words.words.len() > 2 {
        err("'delete path [version]' has been deprecated. Please use 'delete [-v version] path' instead.");
    }
    shell.client()?.delete(words.word(1), version(words)?)
}

/// deleteall.
pub(super) fn delete_all(shell: &mut Shell, words: &Words) -> Result<(), Failure> {
    let batch = match words.value("b").map(str::parse::<i32>) {
        None => Some(BATCH),
        Some(Ok(batch)) => usize::try_from(batch).ok().filter(|batch| *batch > 0),
        Some(Err(_)) => return Err(Failure::text("-b argument must be an int value")),
    };
    let (path, client) = (words.word(1), shell.client()?);
    validate(path)?;
    let mut tree = client.list_tree(path)?;
    tree.reverse();
    match batch {
        // One after the other, up to the first that fails.
        None => tree.iter().try_for_each(|path| client.delete(path, -1))?,
        Some(batch) if client.delete_all(&tree, batch) => {}
        Some(_) => err("Failed to delete some node(s) in the subtree!"),
    }
    Ok(())
}

/// setAcl.
pub(super) fn set_acl(shell: &mut Shell, words: &Words) -> Result<(), Failure> {
    let acl = parse_acl(words.word(2));
    let (path, version, client) = (words.word(1), version(words)?, shell.client()?);
    if words.has("R") {
        return client.visit_tree(path, false, |path| {
            match client.set_acl(path, &acl, version) {
                // In one line, as it comes.
                Err(Failure::Keeper(code, path)) => print::part(&failure::message(code, path.as_deref())),
                other => drop(other?),
            }
            Ok(())
        });
    }
    let stat = client.set_acl(path, &acl, version)?;
    if words.has("s") {
        out(print::stat(&stat));
    }
    Ok(())
}

/// reconfig.
pub(super) fn reconfig(shell: &mut Shell, words: &Words) -> Result<(), Failure> {
    let [file, whole, add, remove] = ["file", "members", "add", "remove"].map(|option| words.value(option));
    let version = match words.value("v") {
        None => -1,
        Some(text) => i64::from_str_radix(text, 16)
            .map_err(|_| Failure::text("-v must be followed by a long (configuration version)"))?,
    };
    if (file.is_some() || whole.is_some()) && (add.is_some() || remove.is_some()) {
        return Err(Failure::text(
            "Can't use -file or -members together with -add or -remove (mixing incremental and non-incremental modes \
             is not allowed)",
        ));
    }
    if file.is_some() && whole.is_some() {
        return Err(Failure::text("Can't use -file and -members together (conflicting non-incremental modes)"));
    }
    let [add, remove, whole] = [add, remove, whole].map(|list| list.map(str::to_lowercase));
    let members = match file {
        None => whole,
        Some(file) => Some(members_of(file)?),
    };
    let client = shell.client()?;
    let (config, stat) = client.reconfigure(add.as_deref(), remove.as_deref(), members.as_deref(), version)?;
    out(format!("Committed new configuration:\n{}", String::from_utf8_lossy(&config.unwrap_or_default())));
    if words.has("s") {
        out(print::stat(&stat));
    }
    Ok(())
}

/// The servers that a file names, as a server takes them.
fn members_of(file: &str) -> Result<String, Failure> {
    let complain = |error: &dyn std::fmt::Display| Failure::Text(format!("Error processing {file}: {error}"));
    let text = std::fs::read(file).map_err(|error| complain(&error))?;
    let members = Members::parse(file, &String::from_utf8_lossy(&text)).map_err(|error| complain(&error))?;
    let lines: Vec<_> = members.servers.values().map(|server| format!("server.{}={server}", server.id)).collect();
    let groups = members.groups.iter().map(|(group, sids)| {
        let sids: Vec<_> = sids.iter().map(|sid| sid.0.to_string()).collect();
        format!("group.{group}={}", sids.join(":"))
    });
    let weights = members.weights.iter().map(|(sid, weight)| format!("weight.{}={weight}", sid.0));
    Ok(lines.into_iter().chain(groups).chain(weights).collect::<Vec<_>>().join("\n"))
}

/// Whether reconfig says what to do.
pub(super) fn reconfig_is_complete(words: &Words) -> bool {
    ["file", "members", "add", "remove"].iter().any(|option| words.has(option))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acls_as_the_reference_reads_them() {
        let acl = parse_acl("world:anyone:r,digest:u:p:cdrwa,junk,ip:1.2.3.4:x,");
        let read: Vec<_> = acl.iter().map(print::acl).collect();
        assert_eq!(read, ["'world,'anyone\n: r", "'digest,'u:p\n: cdrwa", "'ip,'1.2.3.4\n: "]);
        assert!(parse_acl(",").is_empty() && parse_acl("").is_empty());
    }

    #[test]
    fn base64_is_read_as_java_reads_it() {
        for text in ["aGVsbG8=", "aGVsbG8", "aGVsbG9="] {
            assert_eq!(base64(text).expect(text), b"hello");
        }
        for text in ["aGVsbG8==", "YQ=", "a", "aGVs bG8="] {
            assert!(base64(text).is_err(), "{text}");
        }
    }
}
