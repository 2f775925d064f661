use super::*;

fn cfg(text: &str) -> Result<Config, ConfigError> {
    Config::parse("zoo.cfg", &format!("dataDir=/d\n{text}"), &[])
}

fn message(text: &str) -> String {
    cfg(text).expect_err("refused").to_string()
}

fn notes(text: &str) -> Vec<String> {
    cfg(text).expect("accepted").notes.into_iter().map(|note| note.text).collect()
}

#[test]
fn a_file_with_a_data_directory_alone_has_the_references_defaults() {
    let config = cfg("").unwrap();
    assert_eq!((config.tick_ms, config.connections_per_address_max, config.frame_bytes_max), (3000, 60, 1_048_575));
    assert_eq!((config.session_timeouts_ms(), config.snapshot_txns), ((6000, 60_000), 100_000));
    assert_eq!((config.client_port, config.words), (None, vec!["srvr".to_owned()]));
}

#[test]
fn a_bad_value_names_file_line_key_value_and_what_was_expected() {
    assert_eq!(message("tickTime=x"), "zoo.cfg:2: tickTime=x: expected a whole number from 1 to 2147483647");
    assert_eq!(message("reconfigEnabled=yes"), "zoo.cfg:2: reconfigEnabled=yes: expected true or false");
    assert_eq!(
        message("# a\nsnapshot.compression.method=zip"),
        "zoo.cfg:3: snapshot.compression.method=zip: expected gz, snappy, or nothing"
    );
    assert!(message("server.1=a:b").starts_with("zoo.cfg:2: server.1=a:b: expected host:quorumPort"));
    let secure = message("secureClientPort=2281");
    assert!(secure.contains("TLS"), "{secure}");
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    assert_eq!(Config::parse("z", "tickTime=1", &[]).unwrap_err().to_string(), "z: dataDir is not set");
    assert!(message("clientPortAddress=127.0.0.1").contains("clientPort is not"));
    assert!(message("minSessionTimeout=9\nmaxSessionTimeout=8").contains("greater"));
    assert!(message("server.1=a:1:2\nserver.2=b:1:2").contains("initLimit"));
}

#[test]
fn an_unknown_key_is_a_warning_that_names_it() {
    assert_eq!(notes("ticktme=5"), ["zoo.cfg:2: unknown key ticktme; did you mean tickTime?"]);
    assert_eq!(notes("frobnicate=5"), ["zoo.cfg:2: unknown key frobnicate"]);
    assert_eq!(
        notes("commitProcessor.numWorkerThreads=5"),
        ["zoo.cfg:2: commitProcessor.numWorkerThreads has no effect here"]
    );
}

#[test]
fn all_spellings_mean_the_same() {
    for key in ["snapCount", "zookeeper.snapCount"] {
        assert_eq!(cfg(&format!("{key}=7")).unwrap().snapshot_txns, 7);
    }
    assert!(!cfg("forceSync=no").unwrap().force_sync && !cfg("forceSync=false").unwrap().force_sync);
    assert_eq!(cfg("tickTime=1\ntickTime=5").unwrap().tick_ms, 5);
}

#[test]
fn toml_says_the_same() {
    let toml = "dataDir = \"/d\"\ntickTime = 2000\n[autopurge]\npurgeInterval = 2\n[4lw.commands]\nwhitelist = [\"ruok\", \"mntr\"]\n";
    let config = Config::parse("zkd.toml", toml, &[]).unwrap();
    let same = cfg("tickTime=2000\nautopurge.purgeInterval=2\n4lw.commands.whitelist=ruok, mntr").unwrap();
    assert_eq!(Config { text: String::new(), ..config }, Config { text: String::new(), ..same });
    let bad = Config::parse("zkd.toml", "dataDir = \"/d\"\ntickTime = \"x\"", &[]).unwrap_err();
    assert!(bad.to_string().starts_with("zkd.toml:2: tickTime=x"), "{bad}");
    let syntax = Config::parse("zkd.toml", "a = ", &[]).unwrap_err();
    assert!(syntax.to_string().starts_with("zkd.toml:1: "), "{syntax}");
}

#[test]
fn the_command_line_has_the_last_word() {
    let overrides = [("tickTime".to_owned(), "7".to_owned())];
    assert_eq!(Config::parse("z", "dataDir=/d\ntickTime=5", &overrides).unwrap().tick_ms, 7);
    let bad = [("tickTime".to_owned(), "x".to_owned())];
    let error = Config::parse_embedded(&bad).unwrap_err().to_string();
    assert_eq!(error, "command line: tickTime=x: expected a whole number from 1 to 2147483647");
}

#[test]
fn secrets_are_not_repeated() {
    let error = Config::parse("z", "dataDir=/d\nssl.keyStore.password=\\u00x", &[]);
    assert!(error.is_err());
    assert!(!format!("{:?}", cfg("ssl.keyStore.password=hush").unwrap().notes).contains("hush"));
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*", toml in proptest::bool::ANY) {
        let file = if toml { "f.toml" } else { "f.cfg" };
        let _ = Config::parse(file, &text, &[]);
    }

    #[test]
    fn no_value_panics(key in 0..keys::COUNT, value in "[-a-z0-9.:;|,\\[\\]]{0,24}") {
        let _ = Config::parse("f", &format!("dataDir=/d\n{}={value}", keys::name(key)), &[]);
    }
}
