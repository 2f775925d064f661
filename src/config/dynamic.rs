//! What a server writes down about the members (storage.md 9, EN-25, EN-26): the dynamic file that names them, and its own
//! configuration, which from then on says where that file is instead of who they are.

use super::{ConfigError, Members, is_toml, properties, tomlfile};

/// What a dynamic file holds: the lines of `text`, which is what servers send each other, in their order as texts, with no
/// line end behind the last one. Where the name of the file has the version, it must not stand inside.
#[must_use]
pub fn dynamic_file(text: &str, with_version: bool) -> String {
    let mut lines: Vec<_> = text.lines().filter(|line| with_version || !line.starts_with("version=")).collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// The configuration `text`, which stands in `file`, with the members in `dynamic_file` from now on. `own_client` says
/// whether the client port of this server stands there as well.
///
/// # Errors
/// When somebody has made a TOML file unreadable since it was read.
pub fn point_at(file: &str, text: &str, dynamic_file: &str, own_client: bool) -> Result<String, ConfigError> {
    let moves = |key: &str| moves(key, own_client);
    if is_toml(file) {
        return tomlfile::replace(file, text, moves, (DYNAMIC_FILE, dynamic_file));
    }
    let mut text = properties::without(text, moves);
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&format!("{DYNAMIC_FILE}={}\n", dynamic_file.replace('\\', "\\\\")));
    Ok(text)
}

/// The key that names the dynamic file.
pub(super) const DYNAMIC_FILE: &str = "dynamicConfigFile";

/// Whether the dynamic file says what this key would say.
fn moves(key: &str, own_client: bool) -> bool {
    let name = key.strip_prefix("zookeeper.").unwrap_or(key);
    Members::is_about(name)
        || [DYNAMIC_FILE, "peerType"].contains(&name)
        || (own_client && ["clientPort", "clientPortAddress"].contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_dynamic_file_has_sorted_lines_and_no_line_end() {
        let text = "server.2=b:1:2:participant\nserver.10=c:1:2:observer;0.0.0.0:2181\ngroup.1=2\nversion=1f";
        let lines = "group.1=2\nserver.10=c:1:2:observer;0.0.0.0:2181\nserver.2=b:1:2:participant";
        assert_eq!(dynamic_file(text, false), lines);
        assert_eq!(dynamic_file(text, true), format!("{lines}\nversion=1f"));
    }

    const STATIC: &str = "# three servers\ntickTime=5\nclientPort=2181\nclientPortAddress=127.0.0.1\n\
                          clientPortListenBacklog=7\nserver.1=a:1:2\nserver.principal=x\ngroup.1=1\nweight.1=1\n\
                          peerType=observer\ndynamicConfigFile=old\nzookeeper.server.2=b:1:2\ndataDir=/d";

    #[test]
    fn a_configuration_names_the_file_instead_of_the_members() {
        let after = |own_client| point_at("zoo.cfg", STATIC, "/c/zoo.cfg.dynamic.5", own_client).unwrap();
        assert_eq!(
            after(true),
            "# three servers\ntickTime=5\nclientPortListenBacklog=7\nserver.principal=x\ndataDir=/d\n\
             dynamicConfigFile=/c/zoo.cfg.dynamic.5\n"
        );
        assert!(after(false).contains("clientPort=2181\nclientPortAddress=127.0.0.1\n"));
        assert_eq!(point_at("zoo.cfg", "", "d", true).unwrap(), "dynamicConfigFile=d\n");
        let again = point_at("zoo.cfg", &after(true), "/c/zoo.cfg.dynamic.6", true).unwrap();
        assert_eq!(again, after(true).replace("dynamic.5", "dynamic.6"));
    }

    #[test]
    fn a_strange_path_is_read_as_it_was_written() {
        let text = point_at("zoo.cfg", "dataDir=/d\n", "/a\\b/z", false).unwrap();
        assert_eq!(Config::parse("zoo.cfg", &text, &[]).unwrap().dynamic_file, Some("/a\\b/z".into()));
    }

    #[test]
    fn toml_stays_toml() {
        let text = "# x\ntickTime = 5\nclientPort = 2181\ndataDir = \"/d\"\npeerType = \"participant\"\n\
                    [server]\n1 = \"a:1:2\"\nprincipal = \"x\"\n[autopurge]\npurgeInterval = 2\n[group]\n1 = \"1\"\n";
        let after = point_at("zkd.toml", text, "/c/zkd.toml.dynamic.5", true).unwrap();
        let read = Config::parse("zkd.toml", &after, &[]).unwrap();
        assert_eq!((read.tick_ms, read.client_port, read.purge_hours), (5, None, 2));
        assert_eq!((read.members.is_empty(), read.dynamic_file), (true, Some("/c/zkd.toml.dynamic.5".into())));
        assert!(after.contains("principal") && !after.contains("peerType") && !after.contains("group"), "{after}");
        assert!(point_at("zkd.toml", "a = ", "d", true).unwrap_err().to_string().starts_with("zkd.toml:1: "));
    }
}
