//! `zkd migrate check`: reads an Apache server's configuration and data as a zkd would that starts, and changes nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;

use super::super::serve::{key_value, load, read};
use super::report::{Data, Keys, Report};
use crate::auth::AuthRules;
use crate::config::{Config, NoteLevel, ServerRole, Verdict};
use crate::disk::{Directories, LookingDisk};
use crate::ids::SessionId;
use crate::net::{Tls, TlsError};
use crate::node::Settings;
use crate::peer::Loading;
use crate::storage::epochs::{EpochFile, open_epochs, read_epoch};
use crate::storage::log_files::list_logs;
use crate::storage::recovery::{Origin, recover};
use crate::storage::snapshot_files::list_snapshots;
use crate::tree::TreeOptions;

/// The arguments of `zkd migrate check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The Apache server's zoo.cfg.
    #[arg(long, short, value_name = "FILE")]
    pub config: PathBuf,
    /// A setting that the Apache server gets from elsewhere, as -Dzookeeper.KEY=VALUE; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub overrides: Vec<(String, String)>,
    /// For scripts.
    #[arg(long)]
    pub json: bool,
}

/// Looks at everything.
///
/// # Errors
/// When the configuration's file cannot be read, or is not in its own syntax.
pub fn check(args: &CheckArgs) -> anyhow::Result<Report> {
    let file = args.config.display().to_string();
    let survey = Config::survey(&file, &read(&args.config)?).context("read the configuration")?;
    let mut report = Report { config: file, ..Report::default() };
    sort_keys(&survey, &mut report);
    let configured = load(Some(&args.config), &args.overrides)
        .and_then(|config| Ok((Settings::from_config(&config)?, config)))
        .map_err(|error| report.problems.push(format!("{error:#}")));
    if let Ok((settings, config)) = configured {
        report.server = Some(server(&config));
        report.same_everywhere = same_everywhere(&config);
        let said = |text: &String| report.keys.ignored.contains(text);
        let notes = config.notes.iter().filter(|note| note.level == NoteLevel::Warning).map(|note| note.text.clone());
        let notes: Vec<_> = notes.filter(|text| !said(text)).collect();
        report.notes.extend(notes);
        if let Err(problem) = look_at_data(&settings, &config, &mut report) {
            report.problems.push(format!("{problem:#}"));
        }
        if let Err(problem) = look_at_certificates(&config) {
            report.problems.push(problem.to_string());
        }
        report.next = next(&config, &report);
    }
    report.ready = report.problems.is_empty();
    Ok(report)
}

/// Java reads these from its command line alone; zkd reads them from the file as well.
const BARE: [&str; 6] = [
    "java.security.auth.login.config",
    "jute.maxbuffer",
    "readonlymode.enabled",
    "znode.container.checkIntervalMs",
    "znode.container.maxPerMinute",
    "znode.container.maxNeverUsedIntervalMs",
];

fn sort_keys(survey: &[(String, Verdict)], report: &mut Report) {
    let Keys { understood, ignored, refused } = &mut report.keys;
    for (key, verdict) in survey {
        match verdict {
            Verdict::Obeyed => understood.push(key.clone()),
            Verdict::Noted(why) => ignored.push(why.clone()),
            Verdict::Refused(why) => refused.push(why.clone()),
        }
        if BARE.contains(&key.as_str()) {
            report.notes.push(format!("{key}: Apache does not read this from the file, only as -D{key}; zkd does"));
        }
        if key.starts_with("zookeeper.") {
            let text = "to Apache this means nothing in the file, where keys have no prefix; zkd obeys it";
            report.notes.push(format!("{key}: {text}"));
        }
    }
    let jvm = "what the JVM gets as -Dzookeeper.KEY=VALUE (SERVER_JVMFLAGS, JAVA_OPTS) belongs into the file; give it \
               here with --set KEY=VALUE";
    report.notes.push(jvm.to_owned());
}

fn server(config: &Config) -> String {
    let (voters, observers) =
        (config.members.count(ServerRole::Participant), config.members.count(ServerRole::Observer));
    match config.my_id {
        Some(me) if config.is_distributed() => {
            format!("number {} of an ensemble of {voters} participants and {observers} observers", me.0)
        }
        Some(_) | None => "standalone".to_owned(),
    }
}

fn same_everywhere(config: &Config) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("digest.enabled", config.digest.to_string()),
        ("extendedTypesEnabled", config.extended_types.to_string()),
        ("emulate353TTLNodes", config.emulate_353.to_string()),
        ("closeSessionTxn.enabled", config.close_session_txn.to_string()),
        ("jute.maxbuffer", config.frame_bytes_max.to_string()),
        ("reconfigEnabled", config.reconfig.to_string()),
        ("localSessionsEnabled", config.quorum.local_sessions.to_string()),
        ("tickTime", config.tick_ms.to_string()),
    ])
}

fn look_at_certificates(config: &Config) -> Result<(), TlsError> {
    let tls = &config.tls;
    if tls.serves_clients() {
        Tls::for_clients(&tls.client)?;
    }
    if tls.serves_servers() {
        Tls::for_servers(&tls.quorum_side)?;
    }
    if config.admin.has_tls() {
        Tls::for_admin(&tls.quorum_side, config.admin.needs_certificates)?;
    }
    Ok(())
}

fn look_at_data(settings: &Settings, config: &Config, report: &mut Report) -> anyhow::Result<()> {
    let disk = LookingDisk::open(&Directories {
        data_dir: settings.data_dir.clone(),
        data_log_dir: settings.data_log_dir.clone(),
        autocreate: false,
    })?;
    let mut data = Data {
        data_dir: settings.data_dir.display().to_string(),
        data_log_dir: settings.data_log_dir.display().to_string(),
        snapshots: list_snapshots(&disk)?.len(),
        logs: list_logs(&disk)?.len(),
        accepted_epoch: read_epoch(&disk, EpochFile::Accepted)?,
        current_epoch: read_epoch(&disk, EpochFile::Current)?,
        ..Data::default()
    };
    let tree = TreeOptions { ttl_marks: settings.ttl_marks, digest: settings.digest, ..TreeOptions::default() };
    let mut loading = Loading::new(tree, 0);
    let recovered = recover(&disk, &settings.recovery, &mut loading)?;
    report.notes.extend(recovered.notes.iter().map(|note| format!("at its start, zkd: {note}")));
    (data.digests_compared, data.digests_wrong) = loading.digests();
    let (database, _) = loading.finish(Arc::new(AuthRules::default()));
    data.loaded_snapshot = match &recovered.origin {
        Origin::Snapshot(file, _) => Some(file.name.clone()),
        Origin::New | Origin::Lost | Origin::TrustedLogs => None,
    };
    data.replayed_txns = recovered.replayed;
    data.last_zxid = recovered.last_zxid.to_string();
    data.znodes = database.tree().len() + 1;
    data.ephemerals = database.tree().num_ephemerals();
    data.sessions = database.sessions().len();
    data.digest = settings.digest.then(|| format!("{:#x}", database.tree().digest()));
    if data.digests_wrong > 0 {
        let text = "the tree is not what the stored digests say: compare with the other servers, and let this one copy \
                    everything from them";
        report.problems.push(text.to_owned());
    }
    let looks_like_ttl = |owner: u64| owner >> 56 == 0xff;
    if !config.extended_types && database.tree().ephemeral_sessions().any(|session| looks_like_ttl(session.0 as u64)) {
        let text = "there are TTL znodes: the Apache server runs with extendedTypesEnabled=true, and zkd must";
        report.problems.push(text.to_owned());
    }
    // As 3.5.3 has marked TTL znodes, they look as if a session of server 128 owned them.
    let looks_like_old_ttl = |session: &SessionId| session.0 as u64 >> 56 == 0x80;
    let is_gone = |session: &SessionId| !database.sessions().contains_key(session);
    if database.tree().ephemeral_sessions().any(|session| looks_like_old_ttl(&session) && is_gone(&session)) {
        let text = "there are ephemerals without a session, which zkd would remove: TTL znodes of 3.5.3, if the Apache server \
                    runs with emulate353TTLNodes=true, which zkd must then, too";
        report.problems.push(text.to_owned());
    }
    if settings.ensemble.is_some() {
        open_epochs(&disk, recovered.last_zxid)?;
    }
    data.changes_at_start = disk.changes();
    report.data = Some(data);
    Ok(())
}

/// Commands as for Debian's package; see docs/migration.md.
fn next(config: &Config, report: &Report) -> Vec<String> {
    if !report.problems.is_empty() {
        return vec!["mend the problems above, and check again".to_owned()];
    }
    let (file, data) = (&report.config, config.data_dir.display());
    let sets = "the same --set options, or their lines in the file";
    let mut steps = vec![
        "systemctl stop zookeeper".to_owned(),
        format!("tar -C {data} -czf zookeeper-before.tar.gz version-2    # a way back, whatever happens"),
        format!("zkd --config {file}    # as the user who owns {data}, with {sets}"),
        format!("zkd status --config {file}"),
        "to go back: stop zkd, systemctl start zookeeper; it reads what zkd has written".to_owned(),
    ];
    if let Some(logs) = config.data_log_dir.as_ref().filter(|logs| **logs != config.data_dir) {
        let archive =
            format!("tar -C {} -czf zookeeper-logs-before.tar.gz version-2    # and its other half", logs.display());
        steps.insert(2, archive);
    }
    if config.is_distributed() {
        let text = "one server at a time, the leader last; go on when `zkd status` says follower or observer";
        steps.insert(0, text.to_owned());
    }
    steps
}
