//! The same reports over HTTP: the admin server's commands (ops-surface.md 3), and metrics for Prometheus.

mod backups;
mod commands;
mod port;
mod server;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};

pub use backups::{BackupError, Backups, TakenSnapshot};
pub use server::{AdminRules, AdminServer};

use self::port::{Answers, Caller, Content, Port, not_allowed, not_found, reply};
use super::monitor::scrape;
use super::view::View;
use crate::net::Gate;

/// Why a port for HTTP is not open.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for HTTP on {place}: {source}")]
pub struct HttpError {
    /// The address asked for, `host:port`.
    pub place: String,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// How long whoever asks for metrics may be silent, as in the reference.
const METRICS_IDLE: Duration = Duration::from_secs(30);

/// Where Prometheus finds metrics.
#[derive(Debug)]
pub struct MetricsServer {
    port: Port,
}

impl MetricsServer {
    /// Opens the port at `place`, `host:port`.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn open(place: String) -> Result<Self, HttpError> {
        match Port::open(&place, Gate::Plain, METRICS_IDLE) {
            Ok(port) => Ok(Self { port }),
            Err(source) => Err(HttpError { place, source }),
        }
    }

    /// Answers from `view` from now on.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn serve(self, view: View) -> io::Result<()> {
        let address = self.port.address()?;
        self.port.serve("metrics-http", Arc::new(Metrics { view }))?;
        tracing::info!(%address, "metrics for Prometheus at /metrics");
        Ok(())
    }
}

struct Metrics {
    view: View,
}

impl Answers for Metrics {
    async fn answer(&self, request: Request<Incoming>, _: Caller) -> Response<Content> {
        const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";
        if request.method() == Method::TRACE {
            return reply(StatusCode::FORBIDDEN, None, "");
        }
        if request.uri().path() != "/metrics" {
            return not_found();
        }
        if ![Method::GET, Method::HEAD, Method::POST].contains(request.method()) {
            return not_allowed("GET, HEAD, POST");
        }
        let query = request.uri().query().unwrap_or_default();
        let wanted = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == "name[]");
        let wanted: Vec<_> = wanted.map(|(_, name)| name.into_owned()).collect();
        reply(StatusCode::OK, Some(KIND), scrape(&self.view, &wanted))
    }
}
