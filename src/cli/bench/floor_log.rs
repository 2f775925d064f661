//! The floor's log: writes of all connections gather until the thread has nothing else to do, then leave in one
//! write and one fdatasync.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, fallocate};
use tokio::sync::{Notify, oneshot};

/// A file, and who waits for it.
pub(super) struct FloorLog {
    state: Mutex<Waiting>,
    /// Something waits.
    wanted: Notify,
}

/// The unit in which the file grows, as that of a real log: a flush within it writes no new length.
const GROWTH_BYTES: u64 = 64 << 20;

struct Waiting {
    file: File,
    written: u64,
    allocated: u64,
    bytes: Vec<u8>,
    waiters: Vec<oneshot::Sender<()>>,
}

impl FloorLog {
    /// Opens the file, empty.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        let state = Mutex::new(Waiting { file, written: 0, allocated: 0, bytes: Vec::new(), waiters: Vec::new() });
        Ok(Self { state, wanted: Notify::new() })
    }

    /// Returns when the bytes are on stable storage.
    pub(super) async fn append(&self, bytes: &[u8]) {
        let (done, waiting) = oneshot::channel();
        {
            let mut state = self.state.lock();
            state.bytes.extend_from_slice(bytes);
            state.waiters.push(done);
        }
        self.wanted.notify_one();
        // The flusher lives as long as the thread: the sender cannot vanish.
        let _ = waiting.await;
    }

    /// Flushes whenever something waits. It runs behind all tasks that are ready, so their writes share a flush.
    ///
    /// # Errors
    /// When a write or a flush fails: nobody is answered any more.
    pub(super) async fn flush_always(self: Arc<Self>) -> anyhow::Result<()> {
        loop {
            self.wanted.notified().await;
            let mut state = self.state.lock();
            let bytes = std::mem::take(&mut state.bytes);
            state.written += bytes.len() as u64;
            if state.written > state.allocated {
                let from = state.allocated;
                state.allocated = state.written + GROWTH_BYTES;
                // Where the file system cannot, the file grows with each write.
                let _ = fallocate(&state.file, FallocateFlags::empty(), from, state.allocated - from);
            }
            state.file.write_all(&bytes).context("write")?;
            state.file.sync_data().context("flush")?;
            for waiter in state.waiters.drain(..) {
                // A connection that went away meanwhile does not wait any more.
                let _ = waiter.send(());
            }
            state.bytes = bytes;
            state.bytes.clear();
        }
    }
}
