//! `zkd status`: what `zkServer.sh status` prints (TO-03).

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::serve::load;

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// The server's configuration file, for its port.
    #[arg(long, short, value_name = "FILE", conflicts_with = "server")]
    config: Option<PathBuf>,
    /// The server itself.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:2181")]
    server: String,
}

const PATIENCE: Duration = Duration::from_secs(5);

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is what the command is for")]
pub(super) fn run(args: &StatusArgs) -> ExitCode {
    let (host, port) = match address(args) {
        Ok(address) => address,
        Err(error) => {
            eprintln!("zkd: {error:#}");
            return ExitCode::from(super::INVOCATION_ERROR);
        }
    };
    println!("Client port found: {port}. Client address: {host}. Client SSL: false.");
    match ask(&host, port) {
        Ok(Some(mode)) => {
            println!("{mode}");
            ExitCode::SUCCESS
        }
        Ok(None) | Err(_) => {
            println!("Error contacting service. It is probably not running.");
            ExitCode::FAILURE
        }
    }
}

fn address(args: &StatusArgs) -> anyhow::Result<(String, u16)> {
    if let Some(file) = &args.config {
        let config = load(Some(file), &[])?;
        let host = config.client_host.clone().unwrap_or_else(|| "localhost".to_owned());
        return Ok((host, config.client_port.context("the file names no client port")?));
    }
    let (host, port) = args.server.rsplit_once(':').context("expected HOST:PORT")?;
    Ok((host.trim_matches(['[', ']']).to_owned(), port.parse().context("expected HOST:PORT")?))
}

/// The line with the mode, if the server says one.
fn ask(host: &str, port: u16) -> io::Result<Option<String>> {
    let mut refused = io::Error::from(io::ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.write_all(b"srvr")?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer)?;
                return Ok(answer.lines().find(|line| line.starts_with("Mode")).map(str::to_owned));
            }
            Err(error) => refused = error,
        }
    }
    Err(refused)
}
