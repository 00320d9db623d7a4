//! A file seen as memory.

use std::fs::File;
use std::path::Path;

use crate::kernels::map::map;
use crate::{Error, Result};

/// A file that is read by touching memory: the system loads what is used and drops it when memory is short.
///
/// The file must stay as it is while it is mapped: no program may shorten it (touching what is gone ends the
/// process on Unix) or write to it (samples would change). Data files lie still; read a file that others
/// write to with [`std::fs::read`] instead.
///
/// ```
/// use layerwise::data::Map;
///
/// let path = std::env::temp_dir().join(format!("layerwise-map-{}", std::process::id()));
/// std::fs::write(&path, b"abc").unwrap();
/// assert_eq!(Map::open(&path)?.as_ref(), b"abc");
/// std::fs::remove_file(&path).unwrap();
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug)]
pub struct Map(memmap2::Mmap);

impl Map {
    /// Maps a file for reading.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be opened or mapped.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let fail = |source| Error::File { action: "map", path: path.into(), source };
        let file = File::open(path).map_err(fail)?;
        map(&file).map(Self).map_err(fail)
    }
}

impl AsRef<[u8]> for Map {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
