//! The thread that writes the txn log: it takes all txns that wait, writes them in one go, flushes once, and says
//! so. Under load batches grow by themselves, since txns gather while the flush before is under way.
//!
//! A full disk is waited out: nothing was promised, nothing is lost. A failed write or flush is final: what the file
//! holds is not known then, and flushing again would only hide it (storage.md 10).

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::direct::BLOCK_BYTES;
use super::log_out::RealLogDir;
use super::log_segment::{Batch, LogDir, Segments, WriteError};
use crate::ids::Zxid;
use crate::storage::Durable;

/// The settings of the log writer.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// `zookeeper.preAllocSize` in bytes: the unit in which files grow. 0: they do not grow ahead.
    pub prealloc_bytes: u64,
    /// `forceSync`. Without it a txn counts as durable once it is written, and a power cut may lose it.
    pub force_sync: bool,
    /// `fsync.warningthresholdms`: a slower batch is logged and counted.
    pub fsync_warning_ms: u64,
    /// `zookeeper.txnLogSizeLimitInKb` in bytes, with padding; `None`: no limit.
    pub size_limit_bytes: Option<u64>,
    /// When a batch is complete.
    pub flush: FlushRules,
}

/// When a batch is written and flushed: when nothing more waits, unless these say otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlushRules {
    /// `zookeeper.flushDelay`: batches gather for so long after the last flush. 0: they do not.
    pub delay: Duration,
    /// `zookeeper.maxWriteQueuePollTime`: they are complete earlier when nothing comes for so long.
    pub poll: Duration,
    /// `zookeeper.maxBatchSize`: they are complete with so many txns; what comes at once stays together.
    pub txns_max: Option<usize>,
}

impl Default for LogOptions {
    /// As Apache's.
    fn default() -> Self {
        Self {
            prealloc_bytes: 65_536 << 10,
            force_sync: true,
            fsync_warning_ms: 1000,
            size_limit_bytes: None,
            flush: FlushRules { delay: Duration::ZERO, poll: Duration::ZERO, txns_max: Some(1000) },
        }
    }
}

/// What the log writer has to say, from its own thread.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogReport {
    /// A batch is on stable storage.
    Durable {
        /// The proof, up to the batch's last txn.
        durable: Durable,
        /// Txns in the batch.
        txns: usize,
        /// Bytes of their records.
        bytes: usize,
        /// How long writing and flushing took.
        took: Duration,
        /// Whether that was above `fsync_warning_ms`.
        slow: bool,
    },
    /// The file is above `size_limit_bytes`, it has so many: said once per file.
    SizeLimit(u64),
    /// There is no space; the batch waits for some. Said once until [`LogReport::SpaceAgain`].
    Full(String),
    /// The batch that had to wait is written.
    SpaceAgain,
    /// The writer has stopped for good; nothing behind the last [`LogReport::Durable`] is promised.
    Failed(String),
}

/// The log writer takes nothing any more: it has failed, and said why, or was stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the log writer has stopped")]
pub struct Stopped;

enum LogCommand {
    Append(Vec<(Zxid, Bytes)>),
    Roll,
    Stop,
}

/// The handle to the log writer's thread.
#[derive(Debug)]
pub struct LogWriter {
    commands: Sender<LogCommand>,
    waiting_bytes: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    /// Closed when the thread ends.
    running: Receiver<Infallible>,
    farewell: Duration,
}

/// How long things are waited for.
#[derive(Clone, Copy)]
struct Patience {
    /// Before a full disk is tried again.
    full_retry: Duration,
    /// For a disk that does not answer, at the end.
    farewell: Duration,
}

impl LogWriter {
    /// Starts the thread. The first txn begins a new file: none is ever appended to after a restart.
    ///
    /// # Errors
    /// When there is no such directory, or no thread can be started.
    pub fn start(
        dir: PathBuf,
        options: LogOptions,
        report: Box<dyn Fn(LogReport) + Send>,
    ) -> std::io::Result<LogWriter> {
        // A flush after each batch, and space ahead of it, are what blocks that go past the page cache are good for.
        let direct = options.force_sync && options.prealloc_bytes >= BLOCK_BYTES as u64;
        Self::start_in(Box::new(RealLogDir::open(dir, direct)?), options, PATIENCE, report)
    }

    fn start_in(
        dir: Box<dyn LogDir>,
        options: LogOptions,
        Patience { full_retry, farewell }: Patience,
        report: Box<dyn Fn(LogReport) + Send>,
    ) -> std::io::Result<LogWriter> {
        let (commands, queue) = channel();
        let (runs, running) = channel();
        let (waiting_bytes, stopping) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let worker = Worker {
            queue,
            waiting_bytes: Arc::clone(&waiting_bytes),
            taken_bytes: 0,
            segments: Segments::new(dir, options.prealloc_bytes, options.force_sync),
            batch: Batch::new(),
            options,
            full_retry,
            stopping: Arc::clone(&stopping),
            size_limit_said: false,
            flushed: Instant::now(),
            report,
        };
        let thread = thread::Builder::new().name("txn-log".to_owned()).spawn(move || {
            let _runs = runs;
            worker.run();
        })?;
        Ok(LogWriter { commands, waiting_bytes, stopping, thread, running, farewell })
    }

    /// Appends txns: each with its encoded [`Entry`](crate::txn::Entry), in order of their zxids. Never waits for the disk,
    /// however slow that is: look at [`LogWriter::waiting_bytes`].
    ///
    /// # Errors
    /// When the writer has stopped.
    pub fn append(&self, txns: Vec<(Zxid, Bytes)>) -> Result<(), Stopped> {
        self.waiting_bytes.fetch_add(txns.iter().map(|(_, body)| body.len()).sum(), Ordering::Relaxed);
        self.commands.send(LogCommand::Append(txns)).map_err(|_| Stopped)
    }

    /// Ends the file behind all txns appended so far; the next one begins another.
    ///
    /// # Errors
    /// When the writer has stopped.
    pub fn roll(&self) -> Result<(), Stopped> {
        self.commands.send(LogCommand::Roll).map_err(|_| Stopped)
    }

    /// Bytes of txns that were appended and are not durable yet.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes.load(Ordering::Relaxed)
    }

    /// Writes everything that waits, closes the file, and ends the thread. A full disk is not waited out, nor is one that
    /// does not answer: nobody was promised what waits for it.
    pub fn stop(self) {
        self.stopping.store(true, Ordering::Release);
        self.thread.thread().unpark();
        // Both fail only if the thread is gone already, and it has said why.
        let _ = self.commands.send(LogCommand::Stop);
        match self.running.recv_timeout(self.farewell) {
            Err(RecvTimeoutError::Disconnected) => drop(self.thread.join()),
            Err(RecvTimeoutError::Timeout) => {
                tracing::error!("the disk of the log does not answer; it is left as it is")
            }
        }
    }
}

struct Worker {
    queue: Receiver<LogCommand>,
    waiting_bytes: Arc<AtomicUsize>,
    /// Those of them that are in the batch.
    taken_bytes: usize,
    segments: Segments,
    batch: Batch,
    options: LogOptions,
    full_retry: Duration,
    stopping: Arc<AtomicBool>,
    size_limit_said: bool,
    /// When the last batch was.
    flushed: Instant,
    report: Box<dyn Fn(LogReport) + Send>,
}

/// The thread ends: it has been told to, or it has failed.
struct Ended;

impl Worker {
    fn run(mut self) {
        while let Ok(command) = self.queue.recv() {
            let next = self.gather(command);
            let outcome = self.write().and_then(|()| match next {
                Some(LogCommand::Roll) => self.roll(),
                Some(LogCommand::Stop) => self.roll().and(Err(Ended)),
                Some(LogCommand::Append(_)) | None => Ok(()),
            });
            if let Err(Ended) = outcome {
                return;
            }
        }
    }

    /// Takes `first` and all txns that wait, up to the bounds of a batch; returns the command that ended it.
    fn gather(&mut self, first: LogCommand) -> Option<LogCommand> {
        let mut command = first;
        loop {
            match command {
                LogCommand::Append(txns) => {
                    for (zxid, body) in &txns {
                        self.taken_bytes += body.len();
                        self.batch.push(*zxid, body);
                    }
                }
                LogCommand::Roll | LogCommand::Stop => return Some(command),
            }
            let flush = self.options.flush;
            let left = flush.delay.saturating_sub(self.flushed.elapsed());
            let is_due = !flush.delay.is_zero() && left.is_zero();
            let is_full = flush.txns_max.is_some_and(|max| self.batch.txns() >= max);
            if is_due || is_full || self.batch.bytes() >= BATCH_BYTES_MAX {
                return None;
            }
            let wait = left.min(flush.poll);
            command = if wait.is_zero() { self.queue.try_recv().ok()? } else { self.queue.recv_timeout(wait).ok()? };
        }
    }

    fn write(&mut self) -> Result<(), Ended> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        if let Err(error) = self.segments.append(&self.batch) {
            self.wait_for_space(error)?;
        }
        let (took, size) = (started.elapsed(), self.segments.size());
        let slow = took > Duration::from_millis(self.options.fsync_warning_ms);
        if slow {
            tracing::warn!(
                "writing and flushing the txn log took {} ms, for {} txns in a file of {size} bytes; clients wait for \
                 that long: is the disk shared?",
                took.as_millis(),
                self.batch.txns()
            );
        }
        let durable = Durable::after_flush(self.batch.last());
        let (txns, bytes) = (self.batch.txns(), self.batch.bytes());
        self.batch.clear();
        self.waiting_bytes.fetch_sub(std::mem::take(&mut self.taken_bytes), Ordering::Relaxed);
        self.flushed = Instant::now();
        (self.report)(LogReport::Durable { durable, txns, bytes, took, slow });
        if self.options.size_limit_bytes.is_some_and(|limit| size > limit) && !self.size_limit_said {
            self.size_limit_said = true;
            (self.report)(LogReport::SizeLimit(size));
        }
        Ok(())
    }

    /// Tries again until there is space, or until the writer is to stop.
    fn wait_for_space(&mut self, mut error: WriteError) -> Result<(), Ended> {
        let mut said = false;
        loop {
            let full = match error {
                WriteError::Full(full) => full,
                WriteError::Failed(text) => return self.fail(text),
            };
            if self.stopping.load(Ordering::Acquire) {
                return self.fail(format!("stopped on a full disk, {} txns were not written", self.batch.txns()));
            }
            if !said {
                said = true;
                (self.report)(LogReport::Full(full.to_string()));
            }
            thread::park_timeout(self.full_retry);
            match self.segments.append(&self.batch) {
                Ok(()) => {
                    (self.report)(LogReport::SpaceAgain);
                    return Ok(());
                }
                Err(again) => error = again,
            }
        }
    }

    fn roll(&mut self) -> Result<(), Ended> {
        self.size_limit_said = false;
        match self.segments.roll() {
            Ok(()) => Ok(()),
            Err(WriteError::Full(error)) => self.fail(error.to_string()),
            Err(WriteError::Failed(text)) => self.fail(text),
        }
    }

    fn fail(&self, text: String) -> Result<(), Ended> {
        (self.report)(LogReport::Failed(text));
        Err(Ended)
    }
}

/// A batch takes no further command beyond this; what one command brings stays together.
const BATCH_BYTES_MAX: usize = 4 << 20;
const PATIENCE: Patience = Patience { full_retry: Duration::from_millis(500), farewell: Duration::from_secs(5) };

#[cfg(test)]
#[path = "log_writer_tests.rs"]
mod tests;
