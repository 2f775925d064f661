//! Answers to four-letter words that have to be found: one after the other, on a thread where they may wait for the owner.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use super::WordWork;
use crate::pipeline::Lane;

/// The way to that thread, which lives as long as somebody has it.
#[derive(Clone, Debug)]
pub(super) struct WordDesk {
    works: Sender<(Arc<Lane>, WordWork)>,
}

impl WordDesk {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has none.
    pub(super) fn open() -> io::Result<Self> {
        let (works, waiting) = channel::<(Arc<Lane>, WordWork)>();
        let answer_all = move || waiting.iter().for_each(|(lane, work)| say_and_close(&lane, &work()));
        thread::Builder::new().name("words".to_owned()).spawn(answer_all)?;
        Ok(Self { works })
    }

    /// Finds an answer, says it and closes the connection, which takes nothing more.
    pub(super) fn answer(&self, lane: &Arc<Lane>, work: WordWork) {
        lane.lock().wait_for_words();
        // The thread does not end before this value.
        let _ended = self.works.send((Arc::clone(lane), work));
    }
}

/// Says the answer to a four-letter word.
pub(super) fn say_and_close(lane: &Lane, text: &str) {
    let waker = {
        let mut state = lane.lock();
        lane.statistics().received(1);
        lane.statistics().sent();
        state.say_and_close(text.as_bytes())
    };
    if let Some(waker) = waker {
        waker.wake();
    }
}
