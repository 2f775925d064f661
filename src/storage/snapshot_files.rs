//! Snapshot files in their directory: names, which to try, and writing one.

use std::io::{self, Write};

use super::compression::Compression;
use super::disk::{Dir, Disk};
use super::snapshot::{FILE_END, SnapshotWriter, Trailer};
use crate::ids::Zxid;

/// The name of a snapshot file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotFile {
    /// The last txn applied when writing it began: all txns above have to be replayed on top.
    pub zxid: Zxid,
    /// By the name's ending.
    pub compression: Compression,
    /// As it stands in the directory.
    pub name: String,
}

impl SnapshotFile {
    /// The name for a snapshot taken at `zxid`.
    #[must_use]
    pub fn new(zxid: Zxid, compression: Compression) -> Self {
        Self { zxid, compression, name: format!("snapshot.{:x}{}", zxid.0, compression.suffix()) }
    }

    /// Reads a name; `None` when it is not one of a finished snapshot.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_prefix("snapshot.")?;
        let (digits, compression) = match rest.split_once('.') {
            None => (rest, Compression::Plain),
            Some((digits, "gz")) => (digits, Compression::Gz),
            Some((digits, "snappy")) => (digits, Compression::Snappy),
            Some(_) => return None,
        };
        Some(Self { zxid: parse_zxid(digits)?, compression, name: name.to_owned() })
    }
}

/// The zxid in a file's name: hex digits without a sign, as Java's `Long.parseLong` takes them.
pub(super) fn parse_zxid(digits: &str) -> Option<Zxid> {
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    i64::from_str_radix(digits, 16).ok().map(Zxid)
}

/// All snapshot files, newest first, good or not.
///
/// # Errors
/// Those of the disk.
pub fn list_snapshots(disk: &dyn Disk) -> io::Result<Vec<SnapshotFile>> {
    let names = disk.names(Dir::Snapshots)?;
    let mut files: Vec<_> = names.iter().filter_map(|name| SnapshotFile::parse(name)).collect();
    files.sort_by_key(|file| (std::cmp::Reverse(file.zxid), file.compression));
    Ok(files)
}

/// The cheap test before a file is read whole: a plain one must end as a whole one does, the others begin as theirs do.
///
/// A compressed file that was cut short passes, so this is no proof (storage.md 8).
///
/// # Errors
/// Those of the disk, with the file's name.
pub fn looks_whole(disk: &dyn Disk, file: &SnapshotFile) -> io::Result<bool> {
    has_its_ends(disk, file).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.name)))
}

fn has_its_ends(disk: &dyn Disk, file: &SnapshotFile) -> io::Result<bool> {
    let size = disk.size(Dir::Snapshots, &file.name)?;
    let (offset, expected) = match file.compression {
        Compression::Plain if size < PLAIN_BYTES_MIN => return Ok(false),
        Compression::Plain => (size - FILE_END.len() as u64, &FILE_END[..]),
        other => (0, other.magic()),
    };
    if size < expected.len() as u64 {
        return Ok(false);
    }
    let mut found = vec![0; expected.len()];
    disk.open(Dir::Snapshots, &file.name, offset)?.read_exact(&mut found)?;
    Ok(found == expected)
}

/// Writes a snapshot so that it is there whole and durable, or not at all. Returns its size in bytes.
///
/// `body` is called once, writes the body (storage.md 3.2) in any pieces, and returns the trailer.
///
/// # Errors
/// Those of the disk and of `body`.
pub fn write_snapshot(
    disk: &dyn Disk,
    file: &SnapshotFile,
    body: &mut dyn FnMut(&mut SnapshotWriter<&mut dyn Write>) -> io::Result<Trailer>,
) -> io::Result<u64> {
    disk.replace(Dir::Snapshots, &file.name, &mut |out| {
        let mut writer = SnapshotWriter::begin(out, file.compression)?;
        let trailer = body(&mut writer)?;
        writer.finish(&trailer).map(drop)
    })
}

/// Shorter plain files are not looked into, in bytes (storage.md 3.3).
const PLAIN_BYTES_MIN: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryDisk;

    #[test]
    fn names_are_hex_and_say_the_compression() {
        for compression in [Compression::Plain, Compression::Gz, Compression::Snappy] {
            let file = SnapshotFile::new(Zxid(0x1_0000_000e), compression);
            assert_eq!(SnapshotFile::parse(&file.name), Some(file));
        }
        for name in
            ["snapshot.", "snapshot.x", "snapshot.5.tmp", "snapshot.-1", "snapshot.5.gz.tmp", "log.5", "tmp.snapshot.5"]
        {
            assert_eq!(SnapshotFile::parse(name), None, "{name}");
        }
        assert_eq!(SnapshotFile::parse("snapshot.ffffffffffffffff"), None);
    }

    #[test]
    fn the_newest_come_first() {
        let disk = MemoryDisk::new();
        for name in ["snapshot.5", "snapshot.10", "snapshot.a.gz", "snapshot.zz", "log.77"] {
            disk.put(Dir::Snapshots, name, "");
        }
        let names: Vec<_> = list_snapshots(&disk).expect("memory").into_iter().map(|file| file.name).collect();
        assert_eq!(names, ["snapshot.10", "snapshot.a.gz", "snapshot.5"]);
    }

    #[test]
    fn the_cheap_test_looks_at_the_end_or_at_the_beginning() {
        let disk = MemoryDisk::new();
        let cases: [(&str, &[u8], bool); 6] = [
            ("snapshot.1", b"ZKSN.....\0\0\0\x01/", true),
            ("snapshot.2", b"ZKSN.....\0\0\0\x01", false),
            ("snapshot.3", b"\0\0\0\x01/", false),
            ("snapshot.4.gz", b"\x1f\x8b", true),
            ("snapshot.5.gz", b"\x1f", false),
            ("snapshot.6.snappy", b"\x82SNAPPY\0", true),
        ];
        for (name, bytes, whole) in cases {
            disk.put(Dir::Snapshots, name, bytes);
            let file = SnapshotFile::parse(name).expect("a name");
            assert_eq!(looks_whole(&disk, &file).ok(), Some(whole), "{name}");
        }
    }
}
