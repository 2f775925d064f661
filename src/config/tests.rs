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
    assert_eq!(cfg("tickTime=1\ntickTime=5").unwrap().tick_ms, 5);
}

#[test]
fn what_is_given_up_is_given_up_by_one_word_alone() {
    let given_up = |text: &str| cfg(text).map(|c| (!c.force_sync, c.skip_acl, !c.quorum.leader_serves)).unwrap();
    assert_eq!(given_up("forceSync=no\nskipACL=yes\nleaderServes=no"), (true, true, true));
    for other in ["yes", "false", "No"] {
        assert_eq!(given_up(&format!("forceSync={other}\nleaderServes={other}")), (false, false, false));
    }
    for other in ["no", "true", "Yes"] {
        assert_eq!(given_up(&format!("skipACL={other}")), (false, false, false));
    }
    assert_eq!(notes("forceSync=yes\nskipACL=no"), Vec::<String>::new());
    let said = "zoo.cfg:2: skipACL=true: only yes counts, so this is the same as leaving it out";
    assert_eq!(notes("skipACL=true"), [said]);
    assert_eq!(message("digest.enabled=yes"), "zoo.cfg:2: digest.enabled=yes: expected true or false");
}

#[test]
fn numbers_may_be_hexadecimal() {
    let frame = |text: &str| cfg(&format!("jute.maxbuffer={text}")).map(|config| config.frame_bytes_max).ok();
    assert_eq!(["0x9fffff", "0XFF", "#10", "+7"].map(frame), [Some(0x009f_ffff), Some(255), Some(16), Some(7)]);
    assert_eq!(["0x", "0x+1", "x1", "0x1ffffffff", "0xffffffff"].map(frame), [None; 5]);
}

const TWO: &str = "initLimit=5\nsyncLimit=2\nserver.1=a:1:2\nserver.2=b:1:2\n";

#[test]
fn servers_are_an_ensemble_or_a_server_alone() {
    let is_distributed = |text: &str| cfg(text).map(|config| config.is_distributed()).map_err(|e| e.to_string());
    let limits = "initLimit=5\nsyncLimit=2\n";
    assert_eq!(is_distributed(""), Ok(false));
    assert_eq!(is_distributed("server.1=a:1:2"), Ok(false));
    assert_eq!(is_distributed(TWO), Ok(true));
    assert_eq!(is_distributed(&format!("{limits}standaloneEnabled=false\nserver.1=a:1:2")), Ok(true));
    assert!(is_distributed("standaloneEnabled=false").unwrap_err().contains("no server line"));
    assert!(is_distributed("server.1=a:1:2:observer").unwrap_err().contains("observers need an ensemble"));
    assert!(is_distributed("server.1=a:1:2\nserver.2=b:1:2:observer").unwrap_err().contains("observers need"));
    assert!(is_distributed("initLimit=5\nserver.1=a:1:2\nserver.2=b:1:2").unwrap_err().contains("syncLimit"));
}

#[test]
fn an_ensemble_that_survives_little_is_told_so() {
    assert_eq!(notes("server.1=a:1:2"), ["zoo.cfg: one server line: this server runs standalone"]);
    assert!(notes(TWO)[0].contains("it takes three"));
    assert_eq!(notes(&format!("{TWO}server.3=c:1:2")), Vec::<String>::new());
    assert!(notes(&format!("{TWO}server.3=c:1:2\nserver.4=d:1:2"))[0].contains("no more of them than 3 could"));
}

#[test]
fn a_bad_server_line_names_file_and_line() {
    assert!(message("server.256=a:1:2").starts_with("zoo.cfg:2: server.256=a:1:2: expected ids of servers from 0 to"));
    assert!(message("server.1=a:1:1").contains("two different ports"));
    assert!(message("server.1=a:1:2:observer|b:1:2:participant").starts_with("zoo.cfg:2: server.1"));
    assert!(message("group.1=1:x").starts_with("zoo.cfg:2: group.1=1:x"));
    assert!(message("weight.1=much").starts_with("zoo.cfg:2: weight.1=much"));
    assert_eq!(notes("server.realm=X"), ["zoo.cfg:2: server.realm has no effect: zkd does not have Kerberos"]);
}

#[test]
fn members_may_stand_in_a_dynamic_file() {
    let mut config = cfg("initLimit=5\nsyncLimit=2\ndynamicConfigFile=/c/zoo.cfg.dynamic.1f").unwrap();
    let file = config.dynamic_file.clone().unwrap().display().to_string();
    assert!(!config.is_distributed());
    config.merge_dynamic(&file, "server.1=a:1:2:participant;2181\nserver.2=b:1:2").unwrap();
    assert_eq!((config.is_distributed(), config.members.version), (true, 0x1f));
    let error = |text| config.clone().merge_dynamic("dyn", text).unwrap_err().to_string();
    assert_eq!(error("\ntickTime=5"), "dyn:2: tickTime=5: expected only server.N, group.G, weight.N and version here");
    assert!(error("server.1=a:1:2\nversion=5").starts_with("dyn:2: version=5: expected it in the name"));
    assert!(error("server.1=a:1:2:observer").starts_with("dyn: observers need"));
    let bare = cfg("dynamicConfigFile=d").unwrap().merge_dynamic("d", "server.1=a:1:2\nserver.2=b:1:2");
    assert_eq!(bare.unwrap_err().to_string(), "d: an ensemble needs initLimit");
}

#[test]
fn what_was_proposed_is_remembered_while_it_is_news() {
    let mut config = cfg("initLimit=5\nsyncLimit=2\ndynamicConfigFile=d.1f").unwrap();
    config.merge_dynamic("d.1f", "server.1=a:1:2\nserver.2=b:1:2").unwrap();
    let mut proposed = |version: &str| {
        let text = format!("server.1=a:1:2\nserver.3=b:1:2\n{version}");
        config.merge_proposed("zoo.cfg.dynamic.next", &text).unwrap();
        config.proposed.as_ref().map(|members| members.version)
    };
    assert_eq!((proposed("version=20"), proposed("version=1f"), proposed("")), (Some(0x20), None, None));
    let error = config.merge_proposed("zoo.cfg.dynamic.next", "server.1=a:1:2\nversion=x").unwrap_err().to_string();
    assert_eq!(error, "zoo.cfg.dynamic.next:2: version=x: expected a hexadecimal number");
}

#[test]
fn several_addresses_have_to_be_switched_on() {
    let two = TWO.replace("server.1=a:1:2", "server.1=a:1:2|b:3:4");
    assert_eq!(message(&two), "zoo.cfg: server.1 has several addresses: they need multiAddress.enabled=true");
    for key in ["multiAddress.enabled", "zookeeper.multiAddress.enabled"] {
        assert_eq!(cfg(&format!("{two}{key}=true")).unwrap().members.servers[&Sid(1)].addresses.len(), 2);
    }
}

#[test]
fn members_do_not_stand_in_both_files() {
    for line in ["server.1=a:1:2", "group.1=1", "weight.1=1", "zookeeper.server.1=a:1:2"] {
        let error = message(&format!("dynamicConfigFile=d\n{line}"));
        assert!(error.starts_with("zoo.cfg:3: ") && error.contains("dynamicConfigFile names"), "{error}");
    }
    let set = |key: &str, value: &str| [(key.to_owned(), value.to_owned())];
    let error = Config::parse("z", "dataDir=/d\ndynamicConfigFile=d", &set("server.1", "a:1:2")).unwrap_err();
    assert!(error.to_string().starts_with("command line: server.1"), "{error}");
    let error = Config::parse("z", &format!("dataDir=/d\n{TWO}"), &set("dynamicConfigFile", "d")).unwrap_err();
    assert!(error.to_string().contains("in the dynamicConfigFile alone"), "{error}");
}

#[test]
fn how_an_ensemble_works_is_configured_as_in_the_reference() {
    let quorum = |text: &str| cfg(text).unwrap().quorum;
    let usual = quorum("");
    assert_eq!(usual, QuorumConfig::default());
    assert_eq!((usual.notification_min_ms, usual.notification_max_ms, usual.committed_log_max), (200, 60_000, 500));
    let set = quorum(
        "initLimit=10\nsyncLimit=5\nconnectToLearnerMasterLimit=3\nleaderConnectDelayDuringRetryMs=50\n\
         electionAlg=3\npeerType=Observer\nquorumListenOnAllIPs=TRUE\nelectionPortBindRetry=0\ncnxTimeout=7\n\
         quorumCnxnTimeoutMs=8\nfastleader.minNotificationInterval=9\nfastleader.maxNotificationInterval=10\n\
         leaderServes=no\nleader.maxTimeToWaitForEpoch=0\nleader.maxConcurrentSnapSyncs=11\n\
         leader.maxConcurrentDiffSyncs=12\ntcpKeepAlive=true\n\
         commitLogCount=1000\nsnapshotSizeFactor=0.5\nforceSnapshotSync=true\nsyncEnabled=false\n\
         observer.reconnectDelayMs=13\nobserver.election.DelayMs=14\nobserverMasterPort=15\n\
         localSessionsEnabled=true\nlocalSessionsUpgradingEnabled=true\nreadonlymode.enabled=true\n\
         multiAddress.enabled=true\noraclePath=/o\n",
    );
    let expected = QuorumConfig {
        init_limit: Some(10),
        sync_limit: Some(5),
        connect_limit: Some(3),
        connect_retry_ms: 50,
        peer_role: Some(ServerRole::Observer),
        listen_on_all: true,
        election_bind_tries: None,
        election_connect_ms: 7,
        election_greeting_ms: Some(8),
        notification_min_ms: 9,
        notification_max_ms: 10,
        epoch_wait_ms: Some(0),
        leader_serves: false,
        snap_syncs_max: 11,
        diff_syncs_max: 12,
        committed_log_max: 1000,
        log_sync_factor: Some(0.5),
        force_snapshot_sync: true,
        observer_writes: false,
        observer_reconnect_ms: 13,
        observer_election_ms: 14,
        observer_master_port: Some(15),
        keep_alive: true,
        local_sessions: true,
        local_sessions_upgrade: true,
        multi_address: true,
        oracle: true,
        read_only_mode: true,
    };
    assert_eq!(set, expected);
}

#[test]
fn odd_values_mean_what_they_mean_to_the_reference() {
    let quorum = |text: &str| cfg(text).unwrap().quorum;
    for usual in [
        "connectToLearnerMasterLimit=0",
        "quorumCnxnTimeoutMs=-1",
        "electionPortBindRetry=-5",
        "leader.maxTimeToWaitForEpoch=-1",
        "commitLogCount=10",
        "snapshotSizeFactor=7",
        "observerMasterPort=-1",
        "observerMasterPort=0",
    ] {
        assert_eq!(quorum(usual), QuorumConfig::default(), "{usual}");
    }
    assert_eq!(quorum("snapshotSizeFactor=-1").log_sync_factor, None);
    let unlimited = cfg("maxClientCnxns=-1\nmaxCnxns=-1\nsnapCount=-5\nsnapshot.compression.method=GZ").unwrap();
    assert_eq!((unlimited.connections_per_address_max, unlimited.connections_max), (0, 0));
    assert_eq!((unlimited.snapshot_txns, unlimited.snapshot_compression), (2, SnapshotCompression::Gz));
    assert_eq!(quorum("maxConcurrentSnapSyncs=4\nmaxConcurrentDiffSyncs=5").snap_syncs_max, 4);
    assert_eq!(quorum("maxTimeToWaitForEpoch=6").epoch_wait_ms, Some(6));
    assert!(!quorum("observer.syncEnabled=false").observer_writes);
    assert!(message("electionAlg=0").contains("leave the line out"));
    assert!(message("peerType=voter").contains("participant or observer"));
    assert!(message("snapshotSizeFactor=NaN").contains("from 0 to 1"));
    assert!(message("quorumListenOnAllIPs=yes").contains("true or false"));
    assert!(message("leader.maxConcurrentSnapSyncs=0").contains("from 1"));
    assert!(message("dynamicConfigFile=").contains("a file"));
}

#[test]
fn what_nothing_obeys_says_so() {
    assert!(notes("oraclePath=/o")[0].contains("oraclePath has no effect: only ensembles of two"));
    assert_eq!(notes("oraclePath="), Vec::<String>::new());
    assert!(message(&format!("{TWO}oraclePath=/o")).starts_with("zoo.cfg: zkd asks no oracle"));
    assert_eq!(notes("localSessionsEnabled=true\nobserverMasterPort=2191"), Vec::<String>::new());
    assert_eq!(notes("learner.asyncSending=true"), ["zoo.cfg:2: learner.asyncSending has no effect here"]);
    for known in
        ["leader.nodelay", "clientCnxnSocket", "testingonly.initialZxid", "multiAddress.reachabilityCheckEnabled"]
    {
        assert_eq!(notes(&format!("{known}=1")), [format!("zoo.cfg:2: {known} has no effect here")]);
    }
    for typo in ["admin.serverport", "nio.sessionLessCnxnTimeout", "skipAcl"] {
        assert!(notes(&format!("{typo}=1"))[0].contains("did you mean"), "{typo}");
    }
}

#[test]
fn what_holds_clients_back_is_configured_as_in_the_reference() {
    assert_eq!(cfg("").unwrap().throttle, ThrottleConfig::default());
    let set = cfg("connection_throttle_tokens=1\nconnection_throttle_fill_time=2\nconnection_throttle_fill_count=3\n\
                   connection_throttle_freeze_time=4\nconnection_throttle_drop_increase=0.5\n\
                   connection_throttle_drop_decrease=0.25\nconnection_throttle_decrease_ratio=1\n\
                   connection_throttle_weight_enabled=true\nconnection_throttle_global_session_weight=5\n\
                   connection_throttle_local_session_weight=6\nconnection_throttle_renew_session_weight=7\n\
                   request_throttle_max_requests=8\nrequest_throttle_stall_time=9\nrequest_throttle_drop_stale=false\n\
                   request_stale_connection_check=false\nrequest_stale_latency_check=true\nthrottled_op_wait_time=10\n")
    .unwrap();
    let expected = ThrottleConfig {
        tokens: 1,
        fill_ms: 2,
        fill_count: 3,
        freeze_ms: Some(4),
        drop_increase: 0.5,
        drop_decrease: 0.25,
        decrease_ratio: 1.0,
        weighted: true,
        global_weight: 5,
        local_weight: 6,
        renew_weight: 7,
        requests_max: 8,
        stall_ms: 9,
        drop_stale: false,
        stale_connection: false,
        stale_latency: true,
        op_wait_max_ms: Some(10),
    };
    assert_eq!((set.throttle, set.notes), (expected, Vec::new()));
    assert!(message("connection_throttle_fill_time=0").contains("from 1"));
    assert!(message("connection_throttle_drop_increase=2").contains("from 0 to 1"));
    assert_eq!(
        notes("connectionMaxTokens=5"),
        ["zoo.cfg:2: connectionMaxTokens is not read by anybody; the key is connection_throttle_tokens"]
    );
}

#[test]
fn when_the_log_is_flushed_is_configured_as_in_the_reference() {
    let flush = |text: &str| cfg(text).map(|c| (c.flush_delay_ms, c.flush_poll_ms, c.flush_txns_max)).unwrap();
    assert_eq!(flush(""), (0, None, Some(1000)));
    assert_eq!(flush("flushDelay=6\nmaxWriteQueuePollTime=2\nmaxBatchSize=50"), (6, Some(2), Some(50)));
    assert_eq!(flush("maxBatchSize=0"), (0, None, None));
}

#[test]
fn classes_that_authenticate_are_known_by_what_they_do() {
    let provider = |class: &str| format!("authProvider.1={class}");
    let own = provider("org.apache.zookeeper.server.auth.DigestAuthenticationProvider");
    assert_eq!(notes(&own), Vec::<String>::new());
    let x509 = provider("org.apache.zookeeper.server.auth.X509AuthenticationProvider");
    assert!(cfg(&x509).unwrap().tls.knows_x509() && notes(&x509).is_empty());
    let sasl = provider("org.apache.zookeeper.server.auth.SASLAuthenticationProvider");
    assert!(cfg(&sasl).unwrap().sasl.provider && notes(&sasl).is_empty());
    let ensemble = provider("org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider");
    let named = cfg(&format!("{ensemble}\nensembleAuthName=a, b")).unwrap();
    assert_eq!((named.ensemble_auth, named.ensemble_names), (true, Some(vec!["a".to_owned(), "b".to_owned()])));
    assert_eq!(cfg("").unwrap().ensemble_names, None);
    assert!(message(&provider("com.example.Mine")).contains("does not run classes of Java"));
}

#[test]
fn toml_says_the_same() {
    let toml = "dataDir = \"/d\"\ntickTime = 2000\n[autopurge]\npurgeInterval = 2\n[4lw.commands]\nwhitelist = [\"ruok\", \"mntr\"]\n";
    let config = Config::parse("zkd.toml", toml, &[]).unwrap();
    let same = cfg("tickTime=2000\nautopurge.purgeInterval=2\n4lw.commands.whitelist=ruok, mntr").unwrap();
    let read = |config: Config| Config {
        text: String::new(),
        shown_text: String::new(),
        properties: Default::default(),
        ..config
    };
    assert_eq!(read(config), read(same));
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

#[test]
fn the_sample_files_are_accepted_without_a_word() {
    let three =
        [include_str!("../../conf/zoo1.cfg"), include_str!("../../conf/zoo2.cfg"), include_str!("../../conf/zoo3.cfg")];
    for (id, text) in (1..).zip(three) {
        let mut config = Config::parse("zoo.cfg", text, &[]).unwrap();
        config.identify("zoo.cfg", Some(id)).unwrap();
        assert_eq!((config.notes.as_slice(), config.client_port), ([].as_slice(), Some(2180 + u16::from(id))));
        assert_eq!((config.is_distributed(), config.members.servers.len()), (true, 3));
        assert!(
            text.contains(&format!("echo {id} > data/zoo{id}/myid")) && config.data_dir.ends_with(format!("zoo{id}"))
        );
    }
    let alone = Config::parse("zoo.cfg", include_str!("../../conf/zoo_sample.cfg"), &[]).unwrap();
    assert_eq!((alone.notes.as_slice(), alone.is_distributed()), ([].as_slice(), false));
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
