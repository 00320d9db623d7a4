//! A file seen as memory.

use std::fs::File;

/// Maps a file for reading. Who calls this asks of the user that the file stays as it is meanwhile.
///
/// # Errors
/// What the system reports.
pub fn map(file: &File) -> std::io::Result<memmap2::Mmap> {
    // SAFETY: the map is read-only and private, and keeps itself alive. That no other process changes or
    // shortens the file is the one thing that cannot be checked; `data::Map`, the only caller, asks it of its
    // user.
    unsafe { memmap2::Mmap::map(file) }
}
