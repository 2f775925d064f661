//! Signals that end a server: SIGTERM, SIGINT and, unless nobody is to hear of it, SIGHUP. SIGQUIT does not.
//!
//! They have handlers before anything else is done: what has none never reaches the first process of a container.

use std::io;
use std::process;
use std::thread;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// For as long as this is there, a signal ends the process at once: it has nothing to finish yet.
pub(super) struct Early {
    _until: oneshot::Sender<()>,
}

impl Early {
    /// # Errors
    /// When the system refuses a handler or a thread.
    pub(super) fn listen(hang_up: HangUp) -> io::Result<Self> {
        let runtime = runtime()?;
        let mut signals = runtime.block_on(async { Signals::listen(hang_up) })?;
        let (until, over) = oneshot::channel::<()>();
        let wait = async move {
            tokio::select! {
                biased;
                _ = over => {}
                () = signals.asked_to_stop() => process::exit(0),
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(wait))?;
        Ok(Self { _until: until })
    }
}

/// What the end of the terminal means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HangUp {
    /// The end of the server as well.
    Stops,
    /// Nothing: it is a daemon, or was begun with nohup.
    Ignored,
}

impl HangUp {
    /// Apache's script starts its daemon with nohup, and a JVM leaves alone what is ignored from the beginning.
    pub(super) fn of(own_session: bool) -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        if own_session || is_ignored(&status, SignalKind::hangup()) { Self::Ignored } else { Self::Stops }
    }
}

/// By `/proc/self/status`, before there is a handler.
fn is_ignored(status: &str, kind: SignalKind) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask >> (kind.as_raw_value() - 1) & 1 == 1
}

/// Handlers, which stay when this is gone.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    quit: Signal,
    on_hang_up: HangUp,
}

impl Signals {
    /// # Errors
    /// When the system refuses a handler.
    pub(super) fn listen(on_hang_up: HangUp) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            on_hang_up,
        })
    }

    /// Waits until one asks for the end.
    pub(super) async fn asked_to_stop(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return tracing::info!("asked to stop"),
                _ = self.interrupt.recv() => return tracing::info!("interrupted"),
                _ = self.hang_up.recv() => match self.on_hang_up {
                    HangUp::Stops => return tracing::info!("hung up"),
                    HangUp::Ignored => {}
                },
                _ = self.quit.recv() => tracing::info!("SIGQUIT: there are no threads of Java to dump; going on"),
            }
        }
    }
}

/// On the thread that calls.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_stands_in_a_mask() {
        let status =
            |mask: &str| format!("Name:\tzkd\nSigBlk:\t0000000000000001\nSigIgn:\t{mask}\nSigCgt:\tffffffffffffffff\n");
        assert!(is_ignored(&status("0000000000000001"), SignalKind::hangup()));
        assert!(is_ignored(&status("0000000000001005"), SignalKind::quit()));
        for text in [status("0000000000001006"), status("x"), String::new()] {
            assert!(!is_ignored(&text, SignalKind::hangup()), "{text}");
        }
    }
}
