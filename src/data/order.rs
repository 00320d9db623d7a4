//! In which order samples come, epoch by epoch.

use crate::{Error, Result, Seed};

/// The order of samples, cut into batches. The order of epoch `n` depends on the seed and `n` alone.
#[derive(Debug, Clone)]
pub(super) struct Order {
    count: usize,
    batch_size: usize,
    pub(super) drop_last: bool,
    sampling: Sampling,
    /// Epochs finished or given up.
    epoch: u64,
    /// Of the whole epoch; of one batch where samples come in order.
    order: Vec<usize>,
    /// Samples handed out in this epoch.
    at: usize,
}

#[derive(Debug, Clone)]
enum Sampling {
    InOrder,
    Shuffled(Seed),
    /// The samples of each class, in order, and room to shuffle them.
    Balanced {
        seed: Seed,
        classes: Vec<Vec<usize>>,
        room: Vec<usize>,
    },
}

impl Order {
    pub(super) fn new(count: usize, batch_size: usize) -> Result<Self> {
        if batch_size == 0 {
            let (kind, field) = ("Batches", "batch_size");
            return Err(Error::Setting { kind, field, must_be: "at least 1", got: "0".into() });
        }
        if count == 0 {
            return Err(Error::Data("needs at least one sample, got none".into()));
        }
        Ok(Self {
            count,
            batch_size: batch_size.min(count),
            drop_last: false,
            sampling: Sampling::InOrder,
            epoch: 0,
            order: Vec::new(),
            at: 0,
        })
    }

    pub(super) fn shuffle(&mut self, seed: Seed) {
        self.sampling = Sampling::Shuffled(seed);
        self.set_epoch(self.epoch);
    }

    /// Each class as often as any other; `of` is the class of each sample.
    pub(super) fn balance(&mut self, of: &[usize], seed: Seed) -> Result<()> {
        if of.len() != self.count {
            let (count, got) = (self.count, of.len());
            return Err(Error::Data(format!(
                "{count} samples but {got} classes to balance by; each sample needs one"
            )));
        }
        let classes = super::split::members(of);
        let room = Vec::with_capacity(classes.iter().map(Vec::len).max().unwrap_or(0));
        self.sampling = Sampling::Balanced { seed, classes, room };
        self.set_epoch(self.epoch);
        Ok(())
    }

    /// Samples of a batch, but for a last one that may be smaller.
    pub(super) fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Batches of a whole epoch.
    pub(super) fn batches(&self) -> usize {
        if self.drop_last {
            self.count / self.batch_size
        } else {
            self.count.div_ceil(self.batch_size)
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether a batch of this epoch was handed out.
    pub(super) fn has_begun(&self) -> bool {
        self.at > 0
    }

    pub(super) fn set_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.at = 0;
        self.draw();
    }

    /// The samples of the next batch, or `None` at the end of the epoch, after which the next one begins.
    pub(super) fn next(&mut self) -> Option<&[usize]> {
        let left = self.count - self.at;
        if left == 0 || (self.drop_last && left < self.batch_size) {
            self.set_epoch(self.epoch + 1);
            return None;
        }
        let from = self.at;
        self.at += left.min(self.batch_size);
        if matches!(self.sampling, Sampling::InOrder) {
            self.order.clear();
            self.order.extend(from..self.at);
            return Some(&self.order);
        }
        Some(&self.order[from..self.at])
    }

    fn draw(&mut self) {
        let epoch = self.epoch;
        match &mut self.sampling {
            Sampling::InOrder => {}
            Sampling::Shuffled(seed) => {
                // From the natural order, so that an epoch's order does not depend on the epochs before.
                self.order.clear();
                self.order.extend(0..self.count);
                seed.fold(epoch).rng().shuffle(&mut self.order);
            }
            Sampling::Balanced { seed, classes, room } => {
                let mut rng = seed.fold(epoch).rng();
                self.order.clear();
                let count = classes.len();
                for (class, members) in classes.iter().enumerate() {
                    // Which classes get one more, if the samples cannot be divided evenly, changes in turn.
                    let turn = (class as u64 + epoch) % count as u64;
                    let share =
                        self.count / count + usize::from(turn < (self.count % count) as u64);
                    room.clone_from(members);
                    rng.shuffle(room);
                    self.order.extend(room.iter().cycle().take(share));
                }
                rng.shuffle(&mut self.order);
            }
        }
    }
}
