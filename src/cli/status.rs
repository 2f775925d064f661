//! `zkd status`: what `zkServer.sh status` prints (TO-03).

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::serve::{key_value, load};
use crate::config::{ClientAuth, Config, StoreConfig};
use crate::net::{Stream, Tls};

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// The server's configuration file, for its port. If that takes only TLS, this is asked with the server's own stores.
    #[arg(long, short, value_name = "FILE", conflicts_with = "server")]
    config: Option<PathBuf>,
    /// Overrides a setting of that file, as for the server; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value, requires = "config")]
    overrides: Vec<(String, String)>,
    /// The server itself.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:2181")]
    server: String,
}

/// For connecting, for the handshake, and for each part of the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where clients connect.
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Option<Tls>,
}

#[expect(clippy::print_stdout, reason = "this is what the command is for")]
pub(super) fn run(args: &StatusArgs) -> ExitCode {
    let place = match place(args) {
        Ok(place) => place,
        Err(error) => {
            super::complain(&error);
            return ExitCode::from(super::INVOCATION_ERROR);
        }
    };
    let (host, port, tls) = (&place.host, place.port, place.tls.is_some());
    println!("Client port found: {port}. Client address: {host}. Client SSL: {tls}.");
    match ask(&place) {
        Ok(Some(mode)) => {
            println!("{mode}");
            ExitCode::SUCCESS
        }
        Ok(None) => not_running(),
        Err(error) => {
            super::complain(&error);
            not_running()
        }
    }
}

#[expect(clippy::print_stdout, reason = "this is what the command is for")]
pub(super) fn not_running() -> ExitCode {
    println!("Error contacting service. It is probably not running.");
    ExitCode::FAILURE
}

fn place(args: &StatusArgs) -> anyhow::Result<Place> {
    if let Some(file) = &args.config {
        return place_of(&load(Some(file), &args.overrides)?);
    }
    let (host, port) = args.server.rsplit_once(':').context("expected HOST:PORT")?;
    let port = port.parse().context("expected HOST:PORT")?;
    Ok(Place { host: host.trim_matches(['[', ']']).to_owned(), port, tls: None })
}

/// The port without TLS, if there is one, as zkServer.sh does it.
fn place_of(config: &Config) -> anyhow::Result<Place> {
    if let Some(port) = config.client_port {
        return Ok(Place { host: here(&config.client_host), port, tls: None });
    }
    secure_place_of(config)
}

/// How the secure port is asked of the server that `file` and the settings `own` configure. Of the stores that `client` names
/// nothing counts that the server has for its own; the others are the server's, but no key where it wants none.
pub(super) fn tls_of(file: &Path, mut own: Settings, client: Settings) -> anyhow::Result<Tls> {
    let is_tls = |(key, _): &(String, String)| key.strip_prefix("zookeeper.").unwrap_or(key).starts_with("ssl.");
    let client: Settings = client.into_iter().filter(is_tls).collect();
    let shown = Config::parse_embedded(&client)?.tls.client;
    let (shows_key, trusts) = (shown.key_store.location.is_some(), shown.trust_store.location.is_some());
    own.extend(client);
    let mut side = match load(Some(file), &own) {
        Ok(config) => config.tls.client,
        // What the server has may be known to nobody else.
        Err(_) if trusts => shown.clone(),
        Err(error) => return Err(error),
    };
    if shows_key {
        side.key_store = shown.key_store;
    } else if trusts && side.client_auth == ClientAuth::None {
        side.key_store = StoreConfig::default();
    }
    if trusts {
        side.trust_store = shown.trust_store;
    }
    Ok(Tls::for_own_clients_port(&side)?)
}

/// Pairs of key and value.
type Settings = Vec<(String, String)>;

fn secure_place_of(config: &Config) -> anyhow::Result<Place> {
    let port = config.tls.client_port.context("the file names no client port")?;
    // All addresses of this host, if it says so.
    let host = config.tls.client_host.clone().filter(|host| host != "0.0.0.0");
    Ok(Place { host: here(&host), port, tls: Some(Tls::for_own_clients_port(&config.tls.client)?) })
}

fn here(host: &Option<String>) -> String {
    host.clone().unwrap_or_else(|| "localhost".to_owned())
}

/// The line with the mode, if the server says one.
pub(super) fn ask(place: &Place) -> anyhow::Result<Option<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async {
        let socket = timeout(PATIENCE, TcpStream::connect((&*place.host, place.port))).await.context("connect")??;
        let mut stream = match &place.tls {
            None => Stream::Plain(socket),
            Some(tls) => timeout(PATIENCE, tls.dial(socket)).await.context("handshake")?.context("handshake")?,
        };
        stream.write_all(b"srvr").await?;
        stream.flush().await?;
        let mut answer = Vec::new();
        while timeout(PATIENCE, stream.read_buf(&mut answer)).await.context("read the answer")?? > 0 {}
        anyhow::Ok(answer)
    })?;
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.lines().find(|line| line.starts_with("Mode")).map(str::to_owned))
}
