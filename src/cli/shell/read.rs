//! Commands that read: ls, get, stat, getAcl, getAllChildrenNumber, getEphemerals, config (TO-13 to TO-23).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::Shell;
use super::failure::Failure;
use super::options::Words;
use super::print::{self, out};
use crate::config::Members;
use crate::proto::ErrorCode;

/// ls.
pub(super) fn ls(shell: &mut Shell, words: &Words) -> Result<(), Failure> {
    let (path, watch) = (words.word(1), words.has("w"));
    let client = shell.client()?;
    if words.has("R") {
        return client.visit_tree(path, watch, |path| {
            out(path);
            Ok(())
        });
    }
    let (children, stat) = client.get_children(path, watch)?;
    out(format!("[{}]", children.join(", ")));
    if words.has("s") {
        out(print::stat(&stat));
    }
    Ok(())
}

/// get. Null data and the word null look the same, in every form.
pub(super) fn get(shell: &mut Shell, words: &Words) -> Result<(), Failure> {
    let (data, stat) = shell.client()?.get_data(words.word(1), words.has("w"))?;
    let data = data.unwrap_or_else(|| b"null".to_vec());
    out(match (words.has("x"), words.has("b")) {
        (true, _) => print::hex_dump(&data),
        (false, true) => BASE64_STANDARD.encode(&data),
        (false, false) => String::from_utf8_lossy(&data).into_owned(),
    });
    if words.has("s") {
        out(print::stat(&stat));
    }
    Ok(())
}

/// stat.
pub(super) fn stat(shell: &mut Shell, words: &Words) -> Result<(), Failure> {
    let path = words.word(1);
    match shell.client()?.exists(path, words.has("w"))? {
        Some(stat) => {
            out(print::stat(&stat));
            Ok(())
        }
        None => Err(Failure::Keeper(ErrorCode::NO_NODE, Some(path.to_owned()))),
    }
}

/// getAcl.
pub(super) fn get_acl(shell: &mut Shell, words: &Words) -> Result<(), Failure> {
    shell.client()?.get_acl(words.word(1), |entries, stat| {
        entries.iter().for_each(|entry| out(print::acl(entry)));
        if words.has("s") {
            out(print::stat(stat));
        }
    })
}

/// getAllChildrenNumber.
pub(super) fn count(shell: &mut Shell, words: &Words) -> Result<(), Failure> {
    out(shell.client()?.count_descendants(words.word(1))?.to_string());
    Ok(())
}

/// getEphemerals.
pub(super) fn ephemerals(shell: &mut Shell, words: &Words) -> Result<(), Failure> {
    let prefix = words.words.get(1).map_or("/", String::as_str);
    let paths = shell.client()?.get_ephemerals(prefix)?;
    out(format!("[{}]", paths.join(", ")));
    Ok(())
}

/// config.
pub(super) fn config(shell: &mut Shell, words: &Words) -> Result<(), Failure> {
    let (data, stat) = shell.client()?.get_config(words.has("w"))?;
    let text = data.map_or_else(|| "null".to_owned(), |data| String::from_utf8_lossy(&data).into_owned());
    out(if words.has("c") { connect_string(&text) } else { text });
    if words.has("s") {
        out(print::stat(&stat));
    }
    Ok(())
}

/// The version, and where clients connect to each server; nothing for a server that does not say.
fn connect_string(text: &str) -> String {
    let version = text.lines().find_map(|line| line.strip_prefix("version=")).unwrap_or_default().trim();
    let servers = Members::parse("config", text).map(|members| members.servers).unwrap_or_default();
    let places: Vec<_> = servers
        .values()
        .map(|server| {
            server.client.as_ref().map_or_else(String::new, |client| format!("{}:{}", client.host, client.port))
        })
        .collect();
    format!("{version} {}", places.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_string_out_of_a_configuration() {
        let text = "server.2=b:1:2:participant;0.0.0.0:2182\nserver.1=a:1:2:observer;a:2181\nversion=1a0";
        assert_eq!(connect_string(text), "1a0 a:2181,0.0.0.0:2182");
        assert_eq!(connect_string(""), " ");
    }
}
