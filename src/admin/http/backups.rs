//! `snapshot` and `restore`: who may, how often, and what is done.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::auth::{AuthRules, Identity};
use crate::ids::{Now, Zxid};
use crate::proto::{Auth, Perms};

use super::super::view::View;
use super::port::Caller;

/// A snapshot that was just written.
#[derive(Debug)]
pub struct TakenSnapshot {
    /// The file, open for reading.
    pub file: File,
    /// Its length, bytes.
    pub bytes: u64,
    /// The last txn in it.
    pub zxid: Zxid,
}

/// Why there is no snapshot, or nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Only servers that are alone are restored.
    #[error("zkd restores a server that is alone; a member of an ensemble gets its database from the others")]
    InEnsemble,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// Who takes snapshots and restores them. Both take their time.
pub trait Backups: Send + Sync {
    /// Writes a snapshot of the database as it is now.
    ///
    /// # Errors
    /// See [`BackupError`].
    fn take(&self) -> Result<TakenSnapshot, BackupError>;

    /// Puts the database of a snapshot file in the place of this server's, durably. Answers with its last zxid.
    ///
    /// # Errors
    /// See [`BackupError`]; then nothing has changed.
    fn restore(&self, source: Box<dyn Read + Send>) -> Result<Zxid, BackupError>;
}

/// One request in an interval. The first interval begins at the start.
#[derive(Debug)]
pub(super) struct Limiter {
    interval_ms: u64,
    state: Mutex<(u64, bool)>,
}

impl Limiter {
    pub(super) const fn new(interval_ms: u64, now: Now) -> Self {
        Self { interval_ms, state: Mutex::new((now.steady_ms, true)) }
    }

    pub(super) fn allows(&self, now: Now) -> bool {
        let (began_ms, is_left) = &mut *self.state.lock();
        if now.steady_ms > began_ms.saturating_add(self.interval_ms) {
            (*began_ms, *is_left) = (now.steady_ms, true);
        }
        std::mem::take(is_left)
    }
}

/// What became of an Authorization header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Permission {
    Granted,
    /// Nobody vouches for it.
    NotAuthenticated,
    /// The ACL of the root does not give all to them.
    NotAuthorized,
}

/// Whether a header `scheme data` may do everything with the root (AD-27).
pub(super) fn permission(view: &View, header: &str, caller: &Caller) -> Permission {
    let database = view.database.read();
    let Some(identities) = identities(database.auth(), header, caller) else { return Permission::NotAuthenticated };
    let Some(root) = database.tree().find("/") else { return Permission::NotAuthorized };
    let may = |perms| database.auth().allows(root.acl(), root.world_perms(), perms, &identities);
    let each = [Perms::READ, Perms::WRITE, Perms::CREATE, Perms::DELETE, Perms::ADMIN];
    if each.into_iter().all(may) { Permission::Granted } else { Permission::NotAuthorized }
}

fn identities(auth_rules: &AuthRules, header: &str, caller: &Caller) -> Option<Vec<Identity>> {
    // As Java splits it, what is empty at the end does not count.
    let parts: Vec<_> = header.trim_end_matches(' ').split(' ').collect();
    let (scheme, data) = match parts.as_slice() {
        [scheme] => (*scheme, None),
        [scheme, data] => (*scheme, Some(data.as_bytes())),
        _ => return None,
    };
    let auth = Auth { scheme: Some(scheme.into()), auth: data };
    let known = caller.subject.as_deref().map(|subject| auth_rules.certified(subject)).unwrap_or_default();
    auth_rules.authenticate(&auth, caller.from.ip().to_canonical(), &known)
}

/// How many pieces of a body may wait to be read.
const PIECES_MAX: usize = 4;

/// A body that comes in on one thread, and is read on another.
pub(super) struct BodyReader {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
    /// Whether the body has come to its end, and not only the connection.
    is_whole: Arc<std::sync::atomic::AtomicBool>,
}

impl BodyReader {
    /// The reader, the end to send pieces to, and where to say that all were sent.
    pub(super) fn new() -> (Self, mpsc::Sender<Bytes>, Arc<std::sync::atomic::AtomicBool>) {
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        let is_whole = Arc::default();
        (Self { pieces, piece: Bytes::new(), is_whole: Arc::clone(&is_whole) }, sender, is_whole)
    }
}

impl Read for BodyReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                None if self.is_whole.load(std::sync::atomic::Ordering::Acquire) => return Ok(0),
                None => return Err(io::ErrorKind::ConnectionReset.into()),
            }
        }
        let count = out.len().min(self.piece.len());
        out[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_in_an_interval_is_let_through() {
        let at = |steady_ms| Now { steady_ms, wall_ms: 0 };
        let limiter = Limiter::new(300, at(1000));
        let allowed = [1000, 1001, 1300, 1301, 1500, 1601, 1602].map(|ms| limiter.allows(at(ms)));
        assert_eq!(allowed, [true, false, false, true, false, false, true]);
    }

    #[test]
    fn a_body_is_read_to_its_end_or_fails() {
        let (mut reader, sender, is_whole) = BodyReader::new();
        sender.blocking_send(Bytes::from_static(b"abc")).expect("room");
        sender.blocking_send(Bytes::from_static(b"de")).expect("room");
        is_whole.store(true, std::sync::atomic::Ordering::Release);
        drop(sender);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("whole");
        assert_eq!(text, "abcde");
        let (mut reader, sender, _) = BodyReader::new();
        drop(sender);
        assert!(reader.read(&mut [0; 4]).is_err());
    }
}
