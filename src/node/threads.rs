//! The threads that connections and the owner run on.

use std::future::pending;
use std::io;
use std::thread;

use tokio::runtime::{Builder, Handle};

/// Turns of tasks before a busy thread looks at its sockets, and before it looks at what other threads have woken. A turn may be
/// that of many connections (`net::carrier`), so these are fewer than tokio's.
const EVENT_INTERVAL: u32 = 4;
const GLOBAL_QUEUE_INTERVAL: u32 = 4;

/// The threads; they live as long as the process.
pub(super) struct Threads {
    /// The owner's, with the connections to other servers.
    pub(super) owner: Handle,
    /// Those that carry clients.
    pub(super) clients: Vec<Handle>,
    /// The one that accepts them.
    pub(super) accepting: Handle,
}

impl Threads {
    /// `clients` (`nio.numSelectorThreads`) carry clients, or as many as there are cores for. One alone is the owner's own, and
    /// accepts them too: then nothing of theirs needs a switch between threads but a write, to the log's and back.
    ///
    /// # Errors
    /// When the system has no thread.
    pub(super) fn start(clients: Option<usize>) -> io::Result<Self> {
        let owner = start("owner".to_owned())?;
        let (clients, accepting) = match clients.unwrap_or_else(client_threads) {
            0 | 1 => (vec![owner.clone()], owner.clone()),
            count => {
                let clients = (0..count).map(|number| start(format!("clients-{number}"))).collect::<io::Result<_>>()?;
                (clients, start("accept".to_owned())?)
            }
        };
        Ok(Self { owner, clients, accepting })
    }
}

/// Half of the cores: who decides, who writes the log and the kernel's side of each packet need the others. With one
/// thread for each core, a loaded server's threads take turns, and clients wait for those that are not theirs.
fn client_threads() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

/// A thread that does what is spawned on it.
fn start(name: String) -> io::Result<Handle> {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().event_interval(EVENT_INTERVAL).global_queue_interval(GLOBAL_QUEUE_INTERVAL);
    let runtime = builder.build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new().name(name).spawn(move || runtime.block_on(pending::<()>()))?;
    Ok(handle)
}
