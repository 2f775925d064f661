//! Paths of znodes: the one place that says which are valid and how they split (semantics.md 1.6).

use std::ops::RangeInclusive;

/// Why a path may not be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No path at all.
    #[error("the path is empty")]
    Empty,
    /// Paths are absolute.
    #[error("the path does not start with '/'")]
    Relative,
    /// Only the root ends with a slash.
    #[error("the path ends with '/'")]
    TrailingSlash,
    /// Two slashes in a row.
    #[error("the path has an empty component")]
    EmptyComponent,
    /// `.` or `..`.
    #[error("the path has a relative component")]
    DotComponent,
    /// A control character, one beyond the basic plane, a private-use one, or U+FFF0 and up.
    #[error("the path has the forbidden character {0:?}")]
    Character(char),
}

/// Says whether `path` may name a znode that is created or changed (CL-30).
///
/// # Errors
/// The first rule that the path breaks.
pub fn validate(path: &str) -> Result<(), PathError> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err(if path.is_empty() { PathError::Empty } else { PathError::Relative });
    };
    if rest.is_empty() {
        return Ok(());
    }
    if rest.ends_with('/') {
        return Err(PathError::TrailingSlash);
    }
    for component in rest.as_bytes().split(|b| *b == b'/') {
        match component {
            b"" => return Err(PathError::EmptyComponent),
            b"." | b".." => return Err(PathError::DotComponent),
            name if name.iter().all(|b| PLAIN.contains(b)) => {}
            name => {
                let name = std::str::from_utf8(name).unwrap_or_default();
                if let Some(c) = name.chars().find(|&c| forbidden(c)) {
                    return Err(PathError::Character(c));
                }
            }
        }
    }
    Ok(())
}

/// What no rule is against, nor against what it may be a part of.
const PLAIN: RangeInclusive<u8> = b' '..=b'~';

/// The parent's path and the last component; `None` when there is no slash. The root's children have parent `/`.
#[must_use]
pub fn split(path: &str) -> Option<(&str, &str)> {
    let slash = path.rfind('/')?;
    let parent = if slash == 0 { "/" } else { &path[..slash] };
    Some((parent, &path[slash + 1..]))
}

/// The paths above `path`, nearest first, the root last.
pub fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let mut at = path;
    std::iter::from_fn(move || {
        if at == "/" {
            return None;
        }
        at = split(at)?.0;
        Some(at)
    })
}

/// Whether `path` is `root` or lies below it.
#[must_use]
pub fn covers(root: &str, path: &str) -> bool {
    root == "/" || path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn forbidden(c: char) -> bool {
    matches!(c, '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}')
        || c > '\u{ffff}'
}

/// The znodes that every database has and nobody may delete.
pub const RESERVED: [&str; 4] = ["/", "/zookeeper", QUOTA_ROOT, CONFIG];
/// Quotas live below this.
pub const QUOTA_ROOT: &str = "/zookeeper/quota";
/// The ensemble's configuration.
pub const CONFIG: &str = "/zookeeper/config";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_a_valid_path() {
        for good in ["/", "/a", "/a/b", "/...", "/.a", "/a b", "/\u{e9}", "/a/\u{20ac}"] {
            assert_eq!(validate(good), Ok(()), "{good}");
        }
        assert_eq!(validate(""), Err(PathError::Empty));
        assert_eq!(validate("a"), Err(PathError::Relative));
        assert_eq!(validate("/a/"), Err(PathError::TrailingSlash));
        assert_eq!(validate("//a"), Err(PathError::EmptyComponent));
        assert_eq!(validate("/a/./b"), Err(PathError::DotComponent));
        assert_eq!(validate("/a/.."), Err(PathError::DotComponent));
        for c in ['\0', '\u{1f}', '\u{7f}', '\u{9f}', '\u{e000}', '\u{fffd}', '\u{1f600}'] {
            assert_eq!(validate(&format!("/a{c}")), Err(PathError::Character(c)));
        }
    }

    #[test]
    fn splitting_and_climbing() {
        assert_eq!(split("/a"), Some(("/", "a")));
        assert_eq!(split("/a/b"), Some(("/a", "b")));
        assert_eq!(split("/"), Some(("/", "")));
        assert_eq!(split("a"), None);
        assert_eq!(ancestors("/a/b/c").collect::<Vec<_>>(), ["/a/b", "/a", "/"]);
        assert!(covers("/v/p", "/v/p/x") && covers("/v/p", "/v/p") && !covers("/v/p", "/v/pp") && covers("/", "/a"));
    }
}
