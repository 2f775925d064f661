//! What servers write into their logs when something is odd: it is part of the story.

use std::cell::RefCell;
use std::fmt::{Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

thread_local! {
    static WARNINGS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Runs something with this journal at hand.
pub(crate) fn listen<T>(run: impl FnOnce() -> T) -> T {
    tracing::subscriber::with_default(Journal, run)
}

/// What has been written since the last time.
pub(crate) fn take() -> Vec<String> {
    WARNINGS.with_borrow_mut(std::mem::take)
}

struct Journal;

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _always_fits = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "reason" => write!(self.fields, ": {}", format!("{value:?}").trim_matches('"')),
            _ => Ok(()),
        };
    }
}

impl Subscriber for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        WARNINGS.with_borrow_mut(|warnings| warnings.push(line.message + &line.fields));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
