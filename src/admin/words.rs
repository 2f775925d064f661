//! Which words there are, and who may ask them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::view::View;
use super::{connections, environment, monitor, sessions, status, watches};
use crate::net::{FourLetterWords, WordAnswer};
use crate::peer::Mode;

type Answer = fn(&View) -> String;

/// Every word but `stmk`, which takes an argument.
const WORDS: [(&[u8; 4], Answer); 17] = [
    (b"conf", status::conf),
    (b"cons", connections::cons),
    (b"crst", connections::crst),
    (b"dirs", status::dirs),
    (b"dump", sessions::dump),
    (b"envi", environment::envi),
    (b"gtmk", |view| view.trace_mask.load(Relaxed).to_string()),
    (b"hash", status::hash),
    (b"isro", isro),
    (b"mntr", monitor::mntr),
    (b"ruok", |_| "imok".to_owned()),
    (b"srst", monitor::srst),
    (b"srvr", status::srvr),
    (b"stat", status::stat),
    (b"wchc", watches::wchc),
    (b"wchp", watches::wchp),
    (b"wchs", watches::wchs),
];

/// Those that are answered also by a server that does not serve (FL-02).
const ALWAYS: [&[u8; 4]; 4] = [b"ruok", b"isro", b"envi", b"gtmk"];

/// What the others say then.
pub(super) const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";

fn isro(view: &View) -> String {
    match view.mode() {
        Mode::Looking => "null".to_owned(),
        Mode::ReadOnly => "ro".to_owned(),
        Mode::Standalone | Mode::Leader | Mode::Follower | Mode::Observer => "rw".to_owned(),
    }
}

/// What telnet sends when it is interrupted: nothing to answer.
const TELNET_CLOSE: [u8; 4] = [0xff, 0xf4, 0xff, 0xfd];

/// Answers four-letter words.
#[derive(Clone)]
pub struct Words {
    view: Arc<View>,
}

impl Words {
    /// Answers from this view.
    #[must_use]
    pub fn new(view: View) -> Self {
        Self { view: Arc::new(view) }
    }

    /// Whether a word is on the list; `srvr` always is (FL-01).
    fn is_allowed(&self, word: &str) -> bool {
        word == "srvr" || self.view.facts.words.iter().any(|allowed| allowed == "*" || allowed == word)
    }
}

impl FourLetterWords for Words {
    fn answer(&self, word: [u8; 4], rest: &[u8]) -> WordAnswer {
        if word == TELNET_CLOSE {
            return WordAnswer::Text(String::new());
        }
        let known = WORDS.iter().find(|(name, _)| **name == word);
        if known.is_none() && &word != b"stmk" {
            return WordAnswer::NotAWord;
        }
        let name = String::from_utf8_lossy(&word);
        if !self.is_allowed(&name) {
            let refusal = format!("{name} is not executed because it is not in the whitelist.\n");
            return WordAnswer::Text(refusal);
        }
        if known.is_some() && !ALWAYS.contains(&&word) && self.view.mode() == Mode::Looking {
            let end = if &word == b"hash" { "" } else { "\n" };
            return WordAnswer::Text(format!("{NOT_SERVING}{end}"));
        }
        match (known, rest.first_chunk::<8>()) {
            (Some(&(_, answer)), _) => {
                let view = Arc::clone(&self.view);
                WordAnswer::Work(Box::new(move || answer(&view)))
            }
            (None, Some(mask)) => {
                let mask = i64::from_be_bytes(*mask);
                self.view.trace_mask.store(mask, Relaxed);
                WordAnswer::Text(mask.to_string())
            }
            (None, None) => WordAnswer::Incomplete,
        }
    }
}
