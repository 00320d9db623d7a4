//! Files that are there as a whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// What a temporary file's name ends with.
pub(super) const TEMPORARY: &str = ".layerwise-tmp";

/// Writes a file beside `path`, sees it on the disk, and gives it the name `path`. If anything fails, or the process ends
/// meanwhile, what was at `path` is as it was.
pub(super) fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    let fail = |source| Error::File { action: "write", path: path.into(), source };
    let (file, temporary) = create_beside(path).map_err(fail)?;
    let result = fill(file, write).and_then(|()| std::fs::rename(&temporary, path));
    if let Err(source) = result {
        // The first problem is the one to report.
        let _ = std::fs::remove_file(&temporary);
        return Err(fail(source));
    }
    sync_folder(path).map_err(fail)
}

fn fill(
    file: File,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, file);
    write(&mut out)?;
    out.into_inner().map_err(|error| error.into_error())?.sync_all()
}

/// A new file in the same folder: a rename across disks is not atomic.
fn create_beside(path: &Path) -> std::io::Result<(File, PathBuf)> {
    let Some(name) = path.file_name() else {
        return Err(std::io::Error::new(ErrorKind::InvalidInput, "the path names no file"));
    };
    let process = std::process::id();
    let mut attempt = 0u32;
    loop {
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{process}-{attempt}{TEMPORARY}"));
        let temporary = path.with_file_name(hidden);
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            // Another thread's, or left by a process of the same number.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && attempt < 1000 => {
                attempt += 1
            }
            Err(error) => return Err(error),
            Ok(file) => return Ok((file, temporary)),
        }
    }
}

/// The new name is on the disk only when its folder is.
#[cfg(unix)]
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

/// Other systems offer no such call.
#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> std::io::Result<()> {
    Ok(())
}
