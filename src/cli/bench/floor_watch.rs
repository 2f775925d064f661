//! The floor's watches: who waits for which path. An event is put in its connection's box, whose task sends it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::ids::Zxid;
use crate::proto::{EventType, put_event};

/// What other connections have to say to the client of this one.
#[derive(Default)]
pub(super) struct Events {
    bytes: Mutex<Vec<u8>>,
    there: Notify,
}

impl Events {
    /// Waits until there are some, and takes them.
    pub(super) async fn take(&self) -> Vec<u8> {
        loop {
            let bytes = std::mem::take(&mut *self.bytes.lock());
            if !bytes.is_empty() {
                return bytes;
            }
            self.there.notified().await;
        }
    }
}

/// Who watches a path, once each.
#[derive(Default)]
pub(super) struct FloorWatches(Mutex<HashMap<String, Vec<Arc<Events>>>>);

impl FloorWatches {
    /// Adds a watch, which the next write of the path ends.
    pub(super) fn add(&self, path: &str, events: &Arc<Events>) {
        self.0.lock().entry(path.to_owned()).or_default().push(events.clone());
    }

    /// Tells everyone who watches the path.
    pub(super) fn written(&self, path: &str) {
        let mut watches = self.0.lock();
        if watches.is_empty() {
            return;
        }
        let Some(watchers) = watches.remove(path) else { return };
        let mut event = Vec::new();
        put_event(&mut event, Zxid(1), EventType::DataChanged, path);
        for watcher in watchers {
            watcher.bytes.lock().extend_from_slice(&event);
            watcher.there.notify_one();
        }
    }
}
