//! Where a run of training is, to go on after an interruption.

mod folder;
mod parts;
mod read;
mod write;

pub use folder::CheckpointFolder;
pub use parts::{PartReader, PartWriter, Resumable};
pub use read::SavedCheckpoint;
pub use write::Checkpoint;

use crate::data::Loader;
use crate::{Result, Scalar};

/// The key of a checkpoint's format in the file, and the only one there is so far.
const FORMAT: (&str, &str) = ("layerwise.checkpoint", "1");

/// Where a run is in its data: the epoch, and how many of its batches are done.
///
/// ```
/// use layerwise::persist::Position;
/// use layerwise::prelude::*;
///
/// let data = Dataset::new(Array2::<f32>::zeros((10, 4)).into_dyn(), (0..10).collect::<Vec<usize>>())?;
/// let mut batches = data.batches(4)?.shuffled(Seed::new(1));
/// Position { epoch: 7, batch: 2 }.go_to(&mut batches)?;
/// assert_eq!(batches.next_batch()?.unwrap().target.len(), 2); // the third and last
/// assert_eq!(batches.epoch(), 7);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// The epoch, from 0.
    pub epoch: u64,
    /// Batches of it that are done.
    pub batch: u64,
}

impl Position {
    /// Makes the loader's next batch the one that comes next. It must be made as the one before: the same data, batch size
    /// and seed.
    ///
    /// # Errors
    /// What the loader reports.
    pub fn go_to<F: Scalar>(self, loader: &mut impl Loader<F>) -> Result<()> {
        loader.set_epoch(self.epoch);
        for _ in 0..self.batch {
            if loader.next_batch()?.is_none() {
                break;
            }
        }
        Ok(())
    }
}
