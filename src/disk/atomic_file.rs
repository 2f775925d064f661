//! Writing a whole file: after a crash there is the old one or the new one, never half of either.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::path::Path;

use crate::storage::disk::temporary_name;

/// See [`Disk::replace`](crate::storage::Disk::replace).
pub(super) fn replace(
    dir: &Path,
    name: &str,
    fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
) -> io::Result<u64> {
    replace_with(dir, name, None, fill)
}

/// Replaces a file that is not one of the database's, `path`, which is to have the permissions of another.
///
/// # Errors
/// What the file system says.
pub fn replace_file(path: &Path, like: &Path, bytes: &[u8]) -> io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(OsStr::to_str)) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a name for a file"));
    };
    let permissions = fs::metadata(like)?.permissions();
    replace_with(dir, name, Some(permissions), &mut |out| out.write_all(bytes)).map(drop)
}

fn replace_with(
    dir: &Path,
    name: &str,
    permissions: Option<Permissions>,
    fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
) -> io::Result<u64> {
    let temporary = dir.join(temporary_name(name));
    match write_and_flush(&temporary, permissions, fill) {
        Ok(size) => {
            fs::rename(&temporary, dir.join(name))?;
            sync_dir(dir)?;
            Ok(size)
        }
        Err(error) => {
            // The error says what happened; a leftover is removed at the next start at the latest.
            let _ = fs::remove_file(&temporary);
            Err(error)
        }
    }
}

/// Flushes which names a directory holds.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn write_and_flush(
    path: &Path,
    permissions: Option<Permissions>,
    fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
) -> io::Result<u64> {
    let mut out = Counted { file: File::create(path)?, bytes: 0 };
    if let Some(permissions) = permissions {
        out.file.set_permissions(permissions)?;
    }
    fill(&mut out)?;
    out.file.sync_all()?;
    let size = out.file.metadata()?.len();
    if size != out.bytes {
        return Err(io::Error::other(format!("{} has {size} bytes, {} were written", path.display(), out.bytes)));
    }
    Ok(size)
}

struct Counted {
    file: File,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
