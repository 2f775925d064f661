//! What is written down about the members, beside the configuration and in it (storage.md 9, EN-25, EN-26): so that the
//! server comes back among those it was one of last, and with what was proposed to it.
//!
//! A configuration that cannot be written is no reason to stop: the other servers tell a server that comes back with an
//! older one who the members are. It is an error in the log, which names the file, as in the reference.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::config::{dynamic_file, point_at};
use crate::disk::replace_file;
use crate::ids::Sid;
use crate::zab::{Ensemble, Membership};

/// The files of a server with `reconfigEnabled`.
#[derive(Debug)]
pub(super) struct MemberFiles {
    /// The configuration, an absolute path.
    config: PathBuf,
    me: Sid,
    /// What they say.
    membership: Membership,
}

impl MemberFiles {
    /// Those beside `config`, which say `membership`. Of a configuration that names the members itself the original is kept.
    pub(super) fn new(config: PathBuf, me: Sid, membership: Membership, names_members: bool) -> Self {
        let files = Self { config, me, membership };
        if names_members {
            complain(files.keep_original());
        }
        files
    }

    /// Writes down what has changed.
    pub(super) fn carry_out(&mut self, membership: &Membership) {
        let before = std::mem::replace(&mut self.membership, membership.clone());
        let version = |proposed: &Option<Ensemble>| proposed.as_ref().map(Ensemble::version);
        if let Some(proposed) = &membership.proposed
            && version(&before.proposed) != Some(proposed.version())
        {
            complain(self.write(&self.beside("dynamic.next"), dynamic_file(&proposed.text(), true).as_bytes()));
        }
        if before.committed.version() != membership.committed.version() {
            complain(self.establish(&membership.committed));
        }
        if membership.proposed.is_none() {
            complain(self.forget_proposed());
        }
    }

    /// The members in a file of their own, and the configuration that points there.
    fn establish(&self, members: &Ensemble) -> anyhow::Result<()> {
        let dynamic = self.beside(&format!("dynamic.{:x}", members.version()));
        self.write(&dynamic, dynamic_file(&members.text(), false).as_bytes())?;
        // As it is read at the start: a comment may be in any encoding.
        let text = self.read()?;
        let text = String::from_utf8_lossy(&text);
        let dynamic = fs::canonicalize(&dynamic).with_context(|| format!("find {}", dynamic.display()))?;
        let dynamic = dynamic.to_str().with_context(|| format!("{} is no UTF-8", dynamic.display()))?;
        let own_client = members.server(self.me).is_some_and(|own| own.client.is_some());
        let text = point_at(&self.config.display().to_string(), &text, dynamic, own_client)?;
        self.write(&self.config, text.as_bytes())
    }

    fn keep_original(&self) -> anyhow::Result<()> {
        self.write(&self.beside("bak"), &self.read()?)
    }

    fn read(&self) -> anyhow::Result<Vec<u8>> {
        fs::read(&self.config).with_context(|| format!("read {}", self.config.display()))
    }

    fn forget_proposed(&self) -> anyhow::Result<()> {
        let next = self.beside("dynamic.next");
        if !next.exists() {
            return Ok(());
        }
        fs::remove_file(&next).with_context(|| format!("remove {}", next.display()))
    }

    fn write(&self, file: &Path, text: &[u8]) -> anyhow::Result<()> {
        let written = replace_file(file, &self.config, text);
        written.with_context(|| format!("write {}", file.display()))
    }

    fn beside(&self, what: &str) -> PathBuf {
        beside(&self.config, what)
    }
}

/// A file beside the configuration, whose name begins with its own.
fn beside(config: &Path, what: &str) -> PathBuf {
    let mut name = config.as_os_str().to_owned();
    name.push(format!(".{what}"));
    name.into()
}

fn complain(done: anyhow::Result<()>) {
    if let Err(error) = done {
        tracing::error!("the members cannot be written down: {error:#}; make its directory writable for this server");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const STATIC: &str = "# mine\ndataDir=/d\nclientPort=2181\nserver.1=a:1:2\nserver.2=b:1:2";
    const TWO: &str = "server.1=a:1:2:participant\nserver.2=b:1:2:participant";
    const THREE: &str = "server.10=c:1:2:observer\nserver.1=a:1:2:participant;0.0.0.0:2181\nserver.2=b:1:2:participant";

    fn ensemble(version: i64, text: &str) -> Ensemble {
        Ensemble::parse(&format!("{text}\nversion={version:x}")).expect("an ensemble")
    }

    struct Files {
        dir: tempfile::TempDir,
        files: MemberFiles,
    }

    impl Files {
        fn new(name: &str, text: &str) -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let config = dir.path().join(name);
            fs::write(&config, text).expect("writes");
            fs::set_permissions(&config, fs::Permissions::from_mode(0o640)).expect("changes");
            let files = MemberFiles::new(config, Sid(1), Membership::settled(ensemble(0, TWO)), true);
            Self { dir, files }
        }

        fn members(&mut self, committed: Ensemble, proposed: Option<Ensemble>) {
            self.files.carry_out(&Membership { committed, proposed, rumoured: None });
        }

        /// All files, their paths as `DIR`.
        fn all(&self) -> BTreeMap<String, String> {
            let dir = fs::canonicalize(self.dir.path()).expect("there");
            let entries = fs::read_dir(&dir).expect("lists").map(|entry| entry.expect("reads"));
            let text = |path| fs::read_to_string(path).expect("reads").replace(dir.to_str().expect("UTF-8"), "DIR");
            entries.map(|entry| (entry.file_name().into_string().expect("UTF-8"), text(entry.path()))).collect()
        }
    }

    fn named(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn members_are_written_down_as_they_are_proposed_and_established() {
        let mut files = Files::new("zoo.cfg", STATIC);
        assert_eq!(files.all(), named(&[("zoo.cfg", STATIC), ("zoo.cfg.bak", STATIC)]));

        files.members(ensemble(0, TWO), Some(ensemble(0x1_0000_0000, TWO)));
        let next = format!("{TWO}\nversion=100000000");
        let expected = [("zoo.cfg", STATIC), ("zoo.cfg.bak", STATIC), ("zoo.cfg.dynamic.next", &next)];
        assert_eq!(files.all(), named(&expected));

        files.members(ensemble(0x1_0000_0000, TWO), None);
        let pointing = "# mine\ndataDir=/d\nclientPort=2181\ndynamicConfigFile=DIR/zoo.cfg.dynamic.100000000\n";
        let expected = [("zoo.cfg", pointing), ("zoo.cfg.bak", STATIC), ("zoo.cfg.dynamic.100000000", TWO)];
        assert_eq!(files.all(), named(&expected));

        files.members(ensemble(0x1_0000_0007, THREE), None);
        let all = files.all();
        assert_eq!(all["zoo.cfg"], "# mine\ndataDir=/d\ndynamicConfigFile=DIR/zoo.cfg.dynamic.100000007\n");
        assert_eq!((all["zoo.cfg.dynamic.100000007"].as_str(), all.len()), (THREE, 4), "older files stay");
    }

    #[test]
    fn what_is_proposed_next_takes_the_place_of_what_came_to_nothing() {
        let mut files = Files::new("zoo.cfg", STATIC);
        files.members(ensemble(0, TWO), Some(ensemble(5, TWO)));
        files.members(ensemble(0, TWO), Some(ensemble(6, THREE)));
        assert_eq!(files.all()["zoo.cfg.dynamic.next"], format!("{THREE}\nversion=6"));
        files.members(ensemble(0, TWO), None);
        assert!(!files.all().contains_key("zoo.cfg.dynamic.next"));
    }

    #[test]
    fn files_are_as_secret_as_the_configuration() {
        let mut files = Files::new("zoo.cfg", STATIC);
        files.members(ensemble(5, TWO), None);
        for name in files.all().keys() {
            let mode = fs::metadata(files.dir.path().join(name)).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o640, "{name}");
        }
    }

    #[test]
    fn toml_points_at_a_file_of_the_same_form() {
        let mut files = Files::new("zkd.toml", "dataDir = \"/d\"\n[server]\n1 = \"a:1:2\"\n2 = \"b:1:2\"\n");
        files.members(ensemble(5, TWO), None);
        let all = files.all();
        assert_eq!(all["zkd.toml"], "dataDir = \"/d\"\ndynamicConfigFile = \"DIR/zkd.toml.dynamic.5\"\n");
        assert_eq!(all["zkd.toml.dynamic.5"], TWO);
    }

    #[test]
    fn a_comment_in_another_encoding_stops_nothing() {
        let mut files = Files::new("zoo.cfg", STATIC);
        let text = [b"# f\xfcr alle\n".as_slice(), STATIC.as_bytes()].concat();
        fs::write(files.dir.path().join("zoo.cfg"), text).expect("writes");
        files.members(ensemble(5, TWO), None);
        let text = &files.all()["zoo.cfg"];
        assert_eq!(text.lines().last(), Some("dynamicConfigFile=DIR/zoo.cfg.dynamic.5"), "{text}");
    }

    #[test]
    fn a_configuration_that_cannot_be_written_stops_nothing() {
        let mut files = Files::new("zoo.cfg", STATIC);
        fs::remove_file(files.dir.path().join("zoo.cfg")).expect("removes");
        files.members(ensemble(5, TWO), Some(ensemble(6, THREE)));
        files.members(ensemble(6, THREE), None);
        assert_eq!(files.all().into_keys().collect::<Vec<_>>(), ["zoo.cfg.bak"]);
    }
}
