//! What a client can ask for, with paths as the user writes them: checked, below the chroot, and named so in errors.

use std::sync::Arc;

use super::connection::{Answer, Connection, Effect};
use super::failure::Failure;
use super::watches::Kind;
use crate::jute::{JuteWrite, buffer, int, text, vector};
use crate::path::CONFIG;
use crate::proto::{Acl, AclBytes, AddWatchMode, ClientInfo, ErrorCode, MultiHeader, OpCode, Stat, WatcherType};

/// Requests on a session.
pub(super) struct Client {
    connection: Arc<Connection>,
}

/// What kind of znode a create makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Make {
    /// By the number of its mode: persistent, ephemeral, sequential or both.
    Plain(i32),
    Container,
    /// With a time to live, ms.
    Ttl {
        sequential: bool,
        ms: i64,
    },
}

impl Make {
    const fn flags(self) -> i32 {
        match self {
            Self::Plain(flags) => flags,
            Self::Container => 4,
            Self::Ttl { sequential: false, .. } => 5,
            Self::Ttl { sequential: true, .. } => 6,
        }
    }

    const fn is_sequential(self) -> bool {
        matches!(self.flags(), 2 | 3 | 6)
    }

    const fn op(self) -> OpCode {
        match self {
            Self::Plain(_) => OpCode::CREATE,
            Self::Container => OpCode::CREATE_CONTAINER,
            Self::Ttl { .. } => OpCode::CREATE_TTL,
        }
    }
}

/// Multis in flight while a tree is deleted.
const MULTIS_MAX: usize = 10;

impl Client {
    pub(super) const fn new(connection: Arc<Connection>) -> Self {
        Self { connection }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// A request about one path; the body of its answer.
    fn ask(&self, op: OpCode, effect: Effect, path: &str, body: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<u8>, Failure> {
        validate(path)?;
        let answer = self.connection.call(op, effect, |out| {
            out.ustring(&self.connection.full(path));
            body(out);
        });
        taken(answer, Some(path))
    }

    /// A read that may leave a watch.
    fn read(&self, op: OpCode, path: &str, watch: Option<Kind>) -> Result<Vec<u8>, Failure> {
        self.ask(op, leaving(path, watch), path, |out| out.boolean(watch.is_some()))
    }

    pub(super) fn create(
        &self,
        path: &str,
        data: Option<&[u8]>,
        acl: &[Acl<'_>],
        make: Make,
    ) -> Result<String, Failure> {
        // The suffix is a part of the name.
        validate(&if make.is_sequential() { format!("{path}1") } else { path.to_owned() })?;
        check_acl(acl)?;
        let answer = self.connection.call(make.op(), Effect::None, |out| {
            out.ustring(&self.connection.full(path));
            out.buffer(data);
            out.extend_from_slice(&AclBytes::encode_list(acl));
            out.int(make.flags());
            if let Make::Ttl { ms, .. } = make {
                out.long(ms);
            }
        });
        let body = taken(answer, Some(path))?;
        let (_, created) = text(&body)?;
        Ok(self.connection.own(&created).to_owned())
    }

    /// The root, also one that stands for a chroot, goes to the server as it is: it refuses that.
    pub(super) fn delete(&self, path: &str, version: i32) -> Result<(), Failure> {
        validate(path)?;
        let answer = self.connection.call(OpCode::DELETE, Effect::None, |out| {
            out.ustring(&if path == "/" { path.to_owned() } else { self.connection.full(path) });
            out.int(version);
        });
        taken(answer, Some(path)).map(drop)
    }

    pub(super) fn exists(&self, path: &str, watch: bool) -> Result<Option<Stat>, Failure> {
        match self.read(OpCode::EXISTS, path, watch.then_some(Kind::Exists)) {
            Ok(body) => Ok(Some(Stat::decode(&body)?.1)),
            Err(failure) if failure.is(ErrorCode::NO_NODE) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    pub(super) fn get_data(&self, path: &str, watch: bool) -> Result<(Option<Vec<u8>>, Stat), Failure> {
        data_and_stat(&self.read(OpCode::GET_DATA, path, watch.then_some(Kind::Data))?)
    }

    /// The ensemble's configuration, which is not below the chroot.
    pub(super) fn get_config(&self, watch: bool) -> Result<(Option<Vec<u8>>, Stat), Failure> {
        let answer = self.connection.call(OpCode::GET_DATA, leaving(CONFIG, watch.then_some(Kind::Data)), |out| {
            out.ustring(CONFIG);
            out.boolean(watch);
        });
        data_and_stat(&taken(answer, Some(CONFIG))?)
    }

    pub(super) fn set_data(&self, path: &str, data: &[u8], version: i32) -> Result<Stat, Failure> {
        let body = self.ask(OpCode::SET_DATA, Effect::None, path, |out| {
            out.buffer(Some(data));
            out.int(version);
        })?;
        Ok(Stat::decode(&body)?.1)
    }

    /// The children's names in order, and the Stat.
    pub(super) fn get_children(&self, path: &str, watch: bool) -> Result<(Vec<String>, Stat), Failure> {
        let body = self.read(OpCode::GET_CHILDREN2, path, watch.then_some(Kind::Children))?;
        let (rest, names) = vector(text)(&body)?;
        let mut names: Vec<_> = names.unwrap_or_default().into_iter().map(std::borrow::Cow::into_owned).collect();
        names.sort_unstable();
        Ok((names, Stat::decode(rest)?.1))
    }

    /// Hands the ACL to `take` as its entries, and the Stat.
    pub(super) fn get_acl<T>(&self, path: &str, take: impl FnOnce(&[Acl<'_>], &Stat) -> T) -> Result<T, Failure> {
        let body = self.ask(OpCode::GET_ACL, Effect::None, path, |_| ())?;
        let (rest, acl) = AclBytes::decode(&body)?;
        Ok(take(&acl.entries(), &Stat::decode(rest)?.1))
    }

    pub(super) fn set_acl(&self, path: &str, acl: &[Acl<'_>], version: i32) -> Result<Stat, Failure> {
        validate(path)?;
        check_acl(acl)?;
        let body = self.ask(OpCode::SET_ACL, Effect::None, path, |out| {
            out.extend_from_slice(&AclBytes::encode_list(acl));
            out.int(version);
        })?;
        Ok(Stat::decode(&body)?.1)
    }

    /// The error that a sync ends with.
    pub(super) fn sync(&self, path: &str) -> Result<ErrorCode, Failure> {
        validate(path)?;
        let full = self.connection.full(path);
        Ok(self.connection.call(OpCode::SYNC, Effect::None, |out| out.ustring(&full)).error)
    }

    pub(super) fn count_descendants(&self, path: &str) -> Result<i32, Failure> {
        let body = self.ask(OpCode::GET_ALL_CHILDREN_NUMBER, Effect::None, path, |_| ())?;
        Ok(int(&body)?.1)
    }

    /// This session's ephemerals whose paths begin so; the server knows nothing of a chroot here.
    pub(super) fn get_ephemerals(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        validate(prefix)?;
        let answer = self.connection.call(OpCode::GET_EPHEMERALS, Effect::None, |out| out.ustring(prefix));
        let body = taken(answer, None)?;
        let (_, paths) = vector(text)(&body)?;
        Ok(paths.unwrap_or_default().into_iter().map(std::borrow::Cow::into_owned).collect())
    }

    pub(super) fn add_watch(&self, path: &str, mode: AddWatchMode) -> Result<(), Failure> {
        let (kind, number) = match mode {
            AddWatchMode::Persistent => (Kind::Persistent, 0),
            AddWatchMode::PersistentRecursive => (Kind::Recursive, 1),
        };
        self.ask(OpCode::ADD_WATCH, leaving(path, Some(kind)), path, |out| out.int(number)).map(drop)
    }

    pub(super) fn remove_watches(&self, path: &str, which: WatcherType, local: bool) -> Result<(), Failure> {
        let number = match which {
            WatcherType::Children => 1,
            WatcherType::Data => 2,
            WatcherType::Any => 3,
            WatcherType::Persistent => 4,
            WatcherType::PersistentRecursive => 5,
        };
        let effect = Effect::Unwatch { path: path.to_owned(), which, local };
        self.ask(OpCode::REMOVE_WATCHES, effect, path, |out| out.int(number)).map(drop)
    }

    /// Scheme and user of each of this client's identities.
    pub(super) fn who_am_i(&self) -> Result<Vec<(String, String)>, Failure> {
        let body = taken(self.connection.call(OpCode::WHO_AM_I, Effect::None, |_| ()), None)?;
        let (_, infos) = vector(ClientInfo::decode)(&body)?;
        Ok(infos
            .unwrap_or_default()
            .into_iter()
            .map(|info| (info.scheme.into_owned(), info.user.into_owned()))
            .collect())
    }

    /// The configuration that a reconfiguration ends with.
    pub(super) fn reconfigure(
        &self,
        joining: Option<&str>,
        leaving: Option<&str>,
        members: Option<&str>,
        version: i64,
    ) -> Result<(Option<Vec<u8>>, Stat), Failure> {
        let answer = self.connection.call(OpCode::RECONFIG, Effect::None, |out| {
            out.ustring_or_null(joining);
            out.ustring_or_null(leaving);
            out.ustring_or_null(members);
            out.long(version);
        });
        data_and_stat(&taken(answer, Some(""))?)
    }

    /// A path and all below it, each before what is below it.
    pub(super) fn list_tree(&self, path: &str) -> Result<Vec<String>, Failure> {
        let mut tree = vec![path.to_owned()];
        let mut at = 0;
        while let Some(parent) = tree.get(at).cloned() {
            let (children, _) = self.get_children(&parent, false)?;
            tree.extend(children.iter().map(|child| below(&parent, child)));
            at += 1;
        }
        Ok(tree)
    }

    /// Hands a path and all below it to `visit`: the children of one first, then what is below the first of them. One
    /// that goes away meanwhile is passed over.
    pub(super) fn visit_tree(
        &self,
        path: &str,
        watch: bool,
        mut visit: impl FnMut(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.get_data(path, watch)?;
        visit(path)?;
        let mut left = vec![path.to_owned()];
        while let Some(parent) = left.pop() {
            let children = match self.get_children(&parent, watch) {
                Ok((children, _)) => children,
                Err(failure) if failure.is(ErrorCode::NO_NODE) => continue,
                Err(failure) => return Err(failure),
            };
            let paths: Vec<_> = children.iter().map(|child| below(&parent, child)).collect();
            paths.iter().try_for_each(|path| visit(path))?;
            left.extend(paths.into_iter().rev());
        }
        Ok(())
    }

    /// Deletes paths in their order, so many in each multi, several of those at once; whether all went.
    pub(super) fn delete_all(&self, paths: &[String], batch: usize) -> bool {
        let mut under_way = std::collections::VecDeque::new();
        let mut good = true;
        for paths in paths.chunks(batch.max(1)) {
            if under_way.len() >= MULTIS_MAX
                && let Some(xid) = under_way.pop_front()
            {
                good &= all_done(&self.connection.wait(xid));
            }
            if !good {
                break;
            }
            under_way.push_back(self.connection.send(OpCode::MULTI, Effect::None, |out| {
                for path in paths {
                    MultiHeader { op: OpCode::DELETE, done: false, error: -1 }.encode(out);
                    out.ustring(&self.connection.full(path));
                    out.int(-1);
                }
                MultiHeader::END.encode(out);
            }));
        }
        under_way.into_iter().fold(good, |good, xid| all_done(&self.connection.wait(xid)) && good)
    }
}

/// Whether a multi of deletes has done what it should: in its answer stands no error.
fn all_done(answer: &Answer) -> bool {
    let mut rest = answer.body.as_slice();
    if answer.error != ErrorCode::OK {
        return false;
    }
    while let Ok((input, header)) = MultiHeader::decode(rest) {
        if header.done {
            return true;
        }
        if header.op != OpCode::DELETE {
            return false;
        }
        rest = input;
    }
    false
}

fn leaving(path: &str, watch: Option<Kind>) -> Effect {
    watch.map_or(Effect::None, |kind| Effect::Watch(kind, path.to_owned()))
}

fn taken(answer: Answer, path: Option<&str>) -> Result<Vec<u8>, Failure> {
    match answer.error {
        ErrorCode::OK => Ok(answer.body),
        error => Err(Failure::Keeper(error, path.map(str::to_owned))),
    }
}

fn data_and_stat(body: &[u8]) -> Result<(Option<Vec<u8>>, Stat), Failure> {
    let (rest, data) = buffer(body)?;
    Ok((data.map(<[u8]>::to_vec), Stat::decode(rest)?.1))
}

/// The path of a child.
fn below(parent: &str, child: &str) -> String {
    format!("{}/{child}", if parent == "/" { "" } else { parent })
}

/// No server takes an empty list; the client does not ask.
fn check_acl(acl: &[Acl<'_>]) -> Result<(), Failure> {
    if acl.is_empty() { Err(Failure::Keeper(ErrorCode::INVALID_ACL, None)) } else { Ok(()) }
}

/// Refuses what cannot be a path, before a server does, and tells where it goes wrong (CL-30).
pub(super) fn validate(path: &str) -> Result<(), Failure> {
    let units: Vec<u16> = path.encode_utf16().collect();
    let text = match units.as_slice() {
        [] => "Path length must be > 0",
        [first, ..] if *first != u16::from(b'/') => "Path must start with / character",
        [_] => return Ok(()),
        [.., last] if *last == u16::from(b'/') => "Path must not end with / character",
        units => {
            let Some((reason, at)) = flaw(units) else { return Ok(()) };
            return Err(Failure::Text(format!("Invalid path string \"{path}\" caused by {reason} @{at}")));
        }
    };
    Err(Failure::text(text))
}

/// The first rule that an absolute path breaks, and where, counted as Java counts.
fn flaw(units: &[u16]) -> Option<(&'static str, usize)> {
    const SLASH: u16 = b'/' as u16;
    const DOT: u16 = b'.' as u16;
    let ends = |at: usize| units.get(at + 1).is_none_or(|next| *next == SLASH);
    (1..units.len()).find_map(|at| {
        let before = units[at - 1];
        let reason = match units[at] {
            0 => "null character not allowed",
            SLASH if before == SLASH => "empty node name specified",
            DOT if before == DOT => {
                (at >= 2 && units[at - 2] == SLASH && ends(at)).then_some("relative paths not allowed")?
            }
            DOT => (before == SLASH && ends(at)).then_some("relative paths not allowed")?,
            1..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..=0xffff => "invalid character",
            _ => return None,
        };
        Some((reason, at))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_refused_in_the_references_words() {
        let refused = |path: &str| validate(path).expect_err(path).to_string();
        for good in ["/", "/a", "/a/..b", "/...", "/zookeeper/config", "/\u{e9}"] {
            assert!(validate(good).is_ok(), "{good}");
        }
        assert_eq!(refused(""), "Path length must be > 0");
        assert_eq!(refused("a"), "Path must start with / character");
        assert_eq!(refused("/a/"), "Path must not end with / character");
        assert_eq!(refused("/a/../b"), "Invalid path string \"/a/../b\" caused by relative paths not allowed @4");
        assert_eq!(refused("/."), "Invalid path string \"/.\" caused by relative paths not allowed @1");
        assert_eq!(refused("/a//b"), "Invalid path string \"/a//b\" caused by empty node name specified @3");
        assert_eq!(
            refused("/\u{e9}\u{1f600}"),
            "Invalid path string \"/\u{e9}\u{1f600}\" caused by invalid character @2"
        );
    }

    #[test]
    fn a_multi_that_failed_is_known_by_its_answer() {
        let answer = |body: &[MultiHeader]| {
            let mut bytes = Vec::new();
            for header in body {
                header.encode(&mut bytes);
                if header.op == OpCode::ERROR && !header.done {
                    bytes.int(header.error);
                }
            }
            Answer { error: ErrorCode::OK, body: bytes }
        };
        let deleted = MultiHeader { op: OpCode::DELETE, done: false, error: 0 };
        let refused = MultiHeader { op: OpCode::ERROR, done: false, error: -111 };
        assert!(all_done(&answer(&[deleted, deleted, MultiHeader::END])));
        assert!(!all_done(&answer(&[refused, refused, MultiHeader::END])) && !all_done(&answer(&[deleted])));
    }
}
