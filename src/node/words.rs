//! tmp
use crate::net::{FourLetterWords, WordAnswer};
/// tmp
#[derive(Debug)]
pub struct PlainWords;
impl FourLetterWords for PlainWords {
    fn answer(&self, word: [u8; 4], _rest: &[u8]) -> WordAnswer {
        match &word {
            b"ruok" => WordAnswer::Text(b"imok".to_vec()),
            b"isro" => WordAnswer::Text(b"rw".to_vec()),
            b"srvr" => WordAnswer::Text(b"Zookeeper version: 3.9.3\nMode: standalone\n".to_vec()),
            _ => WordAnswer::NotAWord,
        }
    }
}
