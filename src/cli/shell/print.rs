//! What the shell prints: lines on both outputs, Stats, dates, dumps (TO-13 to TO-18).

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::proto::{Acl, Perms, Stat};

/// A line on standard output, which may be gone.
pub(super) fn out(line: impl AsRef<str>) {
    let _gone = io::stdout().lock().write_all(format!("{}\n", line.as_ref()).as_bytes());
}

/// A line on standard error, which may be gone.
pub(in crate::cli) fn err(line: impl AsRef<str>) {
    let _gone = io::stderr().lock().write_all(format!("{}\n", line.as_ref()).as_bytes());
}

/// Text on standard output without an end of line.
pub(in crate::cli) fn part(text: &str) {
    let mut out = io::stdout().lock();
    let _gone = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints events on a thread of its own: whoever does not read them holds up neither pings nor commands.
pub(super) struct Printer {
    events: Sender<String>,
    printing: JoinHandle<()>,
}

impl Printer {
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start() -> io::Result<Self> {
        let (events, printed) = channel();
        let printing =
            std::thread::Builder::new().name("events".to_owned()).spawn(move || printed.iter().for_each(out))?;
        Ok(Self { events, printing })
    }

    pub(super) fn print(&self, event: String) {
        let _gone = self.events.send(event);
    }

    /// Waits until all of them are printed.
    pub(super) fn finish(self) {
        drop(self.events);
        let _gone = self.printing.join();
    }
}

/// An event; the zxid is -1 where no txn is behind it.
pub(super) fn event(state: &str, kind: &str, path: Option<&str>, zxid: i64) -> String {
    let path = path.unwrap_or("null");
    format!("\nWATCHER::\n\nWatchedEvent state:{state} type:{kind} path:{path} zxid: {zxid}")
}

/// The eleven lines of a Stat.
pub(super) fn stat(stat: &Stat) -> String {
    let zone = TimeZone::try_system().unwrap_or(TimeZone::UTC);
    format!(
        "cZxid = {:#x}\nctime = {}\nmZxid = {:#x}\nmtime = {}\npZxid = {:#x}\ncversion = {}\ndataVersion = {}\n\
         aclVersion = {}\nephemeralOwner = {:#x}\ndataLength = {}\nnumChildren = {}",
        stat.czxid,
        date(stat.ctime, &zone),
        stat.mzxid,
        date(stat.mtime, &zone),
        stat.pzxid,
        stat.cversion,
        stat.version,
        stat.aversion,
        stat.ephemeral_owner,
        stat.data_length,
        stat.num_children,
    )
}

/// As Java writes a date; a time that no calendar has stays a number.
fn date(ms: i64, zone: &TimeZone) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(time) => time.to_zoned(zone.clone()).strftime("%a %b %d %H:%M:%S %Z %Y").to_string(),
        Err(_) => ms.to_string(),
    }
}

/// An entry of an ACL: the id in the form of its record, then what it allows.
pub(super) fn acl(acl: &Acl<'_>) -> String {
    let perms: String =
        [(Perms::CREATE, 'c'), (Perms::DELETE, 'd'), (Perms::READ, 'r'), (Perms::WRITE, 'w'), (Perms::ADMIN, 'a')]
            .iter()
            .filter(|(perm, _)| acl.perms.meets(*perm))
            .map(|(_, letter)| letter)
            .collect();
    let part = |text: &Option<std::borrow::Cow<'_, str>>| {
        text.as_ref().map_or(String::new(), |text| format!("'{}", escaped(text)))
    };
    format!("{},{}\n: {perms}", part(&acl.scheme), part(&acl.id))
}

/// As records are written as text.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if ['\0', '\n', '\r', ',', '}', '%'].contains(&letter) {
            let _infallible = write!(escaped, "%{:02X}", u32::from(letter));
        } else {
            escaped.push(letter);
        }
    }
    escaped
}

/// Sixteen bytes a row, in hexadecimal and as characters, in a frame; nothing for no bytes.
pub(super) fn hex_dump(data: &[u8]) -> String {
    if data.is_empty() {
        return String::new();
    }
    let mut dump = String::from("         +-------------------------------------------------+\n         |");
    for column in 0..16 {
        let _infallible = write!(dump, "  {column:x}");
    }
    dump.push_str(" |\n+--------+-------------------------------------------------+----------------+");
    for (row, bytes) in data.chunks(16).enumerate() {
        let hex: String = bytes.iter().map(|byte| format!(" {byte:02x}")).collect();
        let text: String =
            bytes.iter().map(|byte| if (b' '..0x7f).contains(byte) { char::from(*byte) } else { '.' }).collect();
        let _infallible = write!(dump, "\n|{:08x}|{hex:<48} |{text:<16}|", row * 16);
    }
    dump.push_str("\n+--------+-------------------------------------------------+----------------+");
    dump
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_javas() {
        assert_eq!(date(1_763_797_247_123, &TimeZone::UTC), "Sat Nov 22 07:40:47 UTC 2025");
        assert_eq!(date(0, &TimeZone::UTC), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(date(i64::MAX, &TimeZone::UTC), i64::MAX.to_string());
    }

    #[test]
    fn a_dump_has_a_frame() {
        let dump = hex_dump(b"hello\n0123456789!");
        let rows: Vec<_> = dump.lines().collect();
        assert_eq!(rows[1], "         |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |");
        assert_eq!(rows[3], "|00000000| 68 65 6c 6c 6f 0a 30 31 32 33 34 35 36 37 38 39 |hello.0123456789|");
        assert_eq!(rows[4], "|00000010| 21                                              |!               |");
        assert_eq!(rows.len(), 6);
        assert_eq!(hex_dump(b""), "");
    }

    #[test]
    fn an_entry_of_an_acl() {
        let entry = Acl { perms: Perms::ALL, scheme: Some("world".into()), id: Some("anyone".into()) };
        assert_eq!(acl(&entry), "'world,'anyone\n: cdrwa");
        let entry = Acl { perms: Perms::READ, scheme: Some("x509".into()), id: Some("CN=a,O=b%}\nx:y".into()) };
        assert_eq!(acl(&entry), "'x509,'CN=a%2CO=b%25%7D%0Ax:y\n: r");
    }
}
