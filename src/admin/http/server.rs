//! The admin server: paths, methods, who may, and what comes back.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::time::timeout;

use super::HttpError;
use super::backups::{BackupError, Backups, BodyReader, Limiter, Permission, TakenSnapshot, permission};
use super::commands::{Act, COMMANDS, Command};
use super::port::{Answers, Caller, Content, Port, not_allowed, not_found, reply};
use crate::metrics::Counter;
use crate::net::{Gate, Stream, Tls};
use crate::peer::Mode;

use super::super::json::{Fields, Json, field, print};
use super::super::view::View;
use super::super::words::NOT_SERVING;

/// What the admin server is set to.
#[derive(Clone, Debug)]
pub struct AdminRules {
    /// Where it is, `host:port`.
    pub place: String,
    /// `admin.commandURL`, without a slash at its end.
    pub command_url: String,
    /// `admin.idleTimeout`.
    pub idle: Duration,
    /// `admin.portUnification`: it takes TLS as well.
    pub takes_tls: bool,
    /// `admin.forceHttps`: it takes nothing else.
    pub only_tls: bool,
    /// `admin.needClientAuth`.
    pub needs_certificates: bool,
    /// `admin.snapshot.enabled`.
    pub snapshot: bool,
    /// `admin.restore.enabled`.
    pub restore: bool,
    /// `admin.rateLimiterIntervalInMS`.
    pub interval_ms: u64,
    /// `serializeLastProcessedZxid.enabled`: without it there is neither snapshot nor restore (AD-28).
    pub snapshot_last_zxid: bool,
}

/// The admin server, its port open.
#[derive(Debug)]
pub struct AdminServer {
    port: Port,
    rules: AdminRules,
    counts_plain: bool,
    clients: Option<Arc<Tls>>,
}

impl AdminServer {
    /// Opens the port for what `gate` takes. Who is known by a certificate, as clients are, is for `clients` to say.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn open(rules: AdminRules, gate: Gate, clients: Option<Arc<Tls>>) -> Result<Self, HttpError> {
        let counts_plain = matches!(gate, Gate::Either(_));
        match Port::open(&rules.place, gate, rules.idle) {
            Ok(port) => Ok(Self { port, rules, counts_plain, clients }),
            Err(source) => Err(HttpError { place: rules.place, source }),
        }
    }

    /// Answers from now on.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn serve(self, view: View, backups: Arc<dyn Backups>) -> io::Result<()> {
        let Self { port, rules, counts_plain, clients } = self;
        let (address, now) = (port.address()?, view.clock.now());
        tracing::info!(%address, url = rules.command_url, "the admin server answers");
        // The reference takes the number for microseconds here, and for milliseconds there.
        let snapshots = Limiter::new(rules.interval_ms / 1000, now);
        let restores = Limiter::new(rules.interval_ms, now);
        port.serve("admin-http", Arc::new(Admin { rules, counts_plain, clients, view, backups, snapshots, restores }))
    }
}

struct Admin {
    rules: AdminRules,
    /// Whether somebody who comes without TLS is worth counting.
    counts_plain: bool,
    clients: Option<Arc<Tls>>,
    view: View,
    backups: Arc<dyn Backups>,
    snapshots: Limiter,
    restores: Limiter,
}

/// The methods that commands know.
const METHODS: &str = "GET, HEAD, POST, TRACE, OPTIONS";

impl Answers for Admin {
    fn meet(&self, stream: &Stream) -> Option<String> {
        if self.counts_plain && !stream.is_secure() {
            self.view.metrics.count(Counter::insecure_admin_count, 1);
        }
        self.clients.as_ref()?.vouches_for(stream)
    }

    async fn answer(&self, request: Request<Incoming>, caller: Caller) -> Response<Content> {
        if request.method() == Method::TRACE {
            return reply(StatusCode::FORBIDDEN, None, "");
        }
        let name = match request.uri().path().strip_prefix(&self.rules.command_url) {
            Some("" | "/") => None,
            Some(rest) if rest.starts_with('/') => Some(decode(&rest[1..])),
            Some(_) | None => return not_found(),
        };
        match *request.method() {
            Method::GET | Method::HEAD | Method::POST => match name {
                Some(name) => self.command(&name, request, &caller).await,
                None => reply(StatusCode::OK, None, self.index()),
            },
            Method::OPTIONS => {
                let mut response = reply(StatusCode::OK, None, "");
                response.headers_mut().insert(ALLOW, HeaderValue::from_static(METHODS));
                response
            }
            _ => not_allowed(METHODS),
        }
    }
}

impl Admin {
    fn index(&self) -> String {
        let url = &self.rules.command_url;
        let link = |name: &str| format!("<a href=\"{url}/{name}\">{name}</a>\n<br/>\n");
        COMMANDS.iter().map(|command| link(command.primary())).collect()
    }

    /// As in the reference, who may is asked before how.
    async fn command(&self, name: &str, request: Request<Incoming>, caller: &Caller) -> Response<Content> {
        let Some(command) = Command::find(name) else {
            return error(StatusCode::OK, name, &format!("Unknown command: {name}"));
        };
        if !command.always && self.view.mode() == Mode::Looking {
            return error(StatusCode::OK, name, NOT_SERVING);
        }
        let is_post = request.method() == Method::POST;
        match command.act {
            Act::Report(_) | Act::SetTraceMask if is_post => not_allowed("GET, HEAD"),
            Act::Report(report) => document(StatusCode::OK, command, report(&self.view)),
            Act::SetTraceMask => document(StatusCode::OK, command, self.set_trace_mask(&request)),
            Act::Snapshot | Act::Restore => match self.refusal(name, &request, caller) {
                Some(refusal) => refusal,
                None if is_post => match command.act {
                    Act::Restore => self.restore(command, request).await,
                    Act::Snapshot | Act::Report(_) | Act::SetTraceMask => not_allowed("GET, HEAD"),
                },
                None => match command.act {
                    Act::Snapshot => self.snapshot(command, &request).await,
                    Act::Restore | Act::Report(_) | Act::SetTraceMask => not_allowed("POST"),
                },
            },
        }
    }

    fn set_trace_mask(&self, request: &Request<Incoming>) -> Fields {
        let refuse =
            |more: String| vec![field("error", format!("setTraceMask requires long traceMask argument{more}"))];
        let Some(text) = parameter(request, "traceMask") else { return refuse(String::new()) };
        let Ok(mask) = text.parse::<i64>() else { return refuse(format!(", got {text}")) };
        self.view.trace_mask.store(mask, Relaxed);
        vec![field("tracemask", mask)]
    }

    /// What those are told who may not.
    fn refusal(&self, name: &str, request: &Request<Incoming>, caller: &Caller) -> Option<Response<Content>> {
        let Some(header) = request.headers().get(AUTHORIZATION) else {
            return Some(error(StatusCode::UNAUTHORIZED, name, "Auth info is missing for the command"));
        };
        match permission(&self.view, &String::from_utf8_lossy(header.as_bytes()), caller) {
            Permission::Granted => None,
            Permission::NotAuthenticated => Some(error(StatusCode::UNAUTHORIZED, name, "Not authenticated")),
            Permission::NotAuthorized => Some(error(StatusCode::FORBIDDEN, name, "Not authorized")),
        }
    }

    /// Why a backup has to wait or is not made at all.
    fn hindrance(&self, enabled: bool, limiter: &Limiter, limited: Counter) -> Option<StatusCode> {
        if !enabled {
            return Some(StatusCode::SERVICE_UNAVAILABLE);
        }
        if !self.rules.snapshot_last_zxid {
            return Some(StatusCode::INTERNAL_SERVER_ERROR);
        }
        if !limiter.allows(self.view.clock.now()) {
            self.view.metrics.count(limited, 1);
            return Some(StatusCode::TOO_MANY_REQUESTS);
        }
        None
    }

    async fn snapshot(&self, command: &Command, request: &Request<Incoming>) -> Response<Content> {
        let limited = Counter::snapshot_rate_limited_count;
        if let Some(status) = self.hindrance(self.rules.snapshot, &self.snapshots, limited) {
            return document(status, command, Fields::new());
        }
        let is_streamed = parameter(request, "streaming").is_none_or(|text| text.eq_ignore_ascii_case("true"));
        let backups = Arc::clone(&self.backups);
        let taken = tokio::task::spawn_blocking(move || backups.take()).await;
        let TakenSnapshot { file, bytes, zxid } = match taken.map_err(io::Error::other) {
            Ok(Ok(taken)) => taken,
            Ok(Err(failure)) => return self.failed(command, Counter::snapshot_error_count, &failure),
            Err(failure) => {
                return self.failed(command, Counter::snapshot_error_count, &BackupError::Failed(failure.to_string()));
            }
        };
        let mut response = if is_streamed {
            let mut response = Response::new(Content::File(file, bytes));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            response
        } else {
            document(StatusCode::OK, command, Fields::new())
        };
        let headers = [("last_zxid", zxid.to_string()), ("snapshot_size", bytes.to_string())];
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        response
    }

    async fn restore(&self, command: &Command, request: Request<Incoming>) -> Response<Content> {
        let limited = Counter::restore_rate_limited_count;
        if let Some(status) = self.hindrance(self.rules.restore, &self.restores, limited) {
            return document(status, command, Fields::new());
        }
        let (reader, pieces, is_whole) = BodyReader::new();
        let backups = Arc::clone(&self.backups);
        let restored = tokio::task::spawn_blocking(move || backups.restore(Box::new(reader)));
        let mut body = request.into_body();
        let ended = loop {
            match timeout(self.rules.idle, body.frame()).await {
                Ok(None) => break true,
                Ok(Some(Ok(frame))) => {
                    // Trailers are of no interest; and whoever restores may have seen enough.
                    if let Ok(piece) = frame.into_data()
                        && pieces.send(piece).await.is_err()
                    {
                        break false;
                    }
                }
                Ok(Some(Err(_))) | Err(_) => break false,
            }
        };
        is_whole.store(ended, Release);
        drop(pieces);
        match restored.await {
            Ok(Ok(zxid)) => document(StatusCode::OK, command, vec![field("last_zxid", zxid.0)]),
            Ok(Err(failure)) => self.failed(command, Counter::restore_error_count, &failure),
            Err(failure) => {
                self.failed(command, Counter::restore_error_count, &BackupError::Failed(failure.to_string()))
            }
        }
    }

    /// Whoever asked learns little, as in the reference; the log says why.
    fn failed(&self, command: &Command, counter: Counter, failure: &BackupError) -> Response<Content> {
        self.view.metrics.count(counter, 1);
        tracing::warn!(command = command.primary(), %failure, "a command of the admin server has failed");
        match failure {
            BackupError::InEnsemble => error(StatusCode::NOT_IMPLEMENTED, command.primary(), &failure.to_string()),
            BackupError::Failed(_) => document(StatusCode::INTERNAL_SERVER_ERROR, command, Fields::new()),
        }
    }
}

/// What a command says, then its name, then that there was no error; unless it says that there was one.
fn document(status: StatusCode, command: &Command, mut fields: Fields) -> Response<Content> {
    let says_error = fields.iter().any(|(name, _)| name == "error");
    fields.push(field("command", command.primary()));
    if !says_error {
        fields.push(field("error", Json::Null));
    }
    json(status, fields)
}

/// What is said before a command is run bears the name that was asked for.
fn error(status: StatusCode, name: &str, text: &str) -> Response<Content> {
    json(status, vec![field("command", name), field("error", text)])
}

fn json(status: StatusCode, fields: Fields) -> Response<Content> {
    reply(status, Some("application/json"), print(&fields.into()))
}

/// The name behind the slash, without what follows a semicolon in any part of it.
fn decode(path: &str) -> String {
    let parts = path.split('/').map(|part| part.split(';').next().unwrap_or_default());
    let parts: Vec<_> = parts.map(|part| percent_decode_str(part).decode_utf8_lossy()).collect();
    parts.join("/")
}

fn parameter(request: &Request<Incoming>, name: &str) -> Option<String> {
    let query = request.uri().query()?;
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
