//! Writing a whole file: after a crash there is the old one or the new one, never half of either.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::path::Path;

use super::direct::NewFile;
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
    let file = File::create(path)?;
    if let Some(permissions) = permissions {
        file.set_permissions(permissions)?;
    }
    let mut out = NewFile::new(file);
    fill(&mut out)?;
    let written = out.finish()?;
    let size = fs::metadata(path)?.len();
    if size != written {
        return Err(io::Error::other(format!("{} has {size} bytes, {written} were written", path.display())));
    }
    Ok(size)
}
