//! Reads a panel of the implicit im2col matrix from a block's buffer; see [`super::conv`].

use super::conv::Plan;
use super::micro::{MAX_NR, Micro};
use crate::Scalar;

/// The pixels of one panel, as places in the buffer.
pub(super) enum Window {
    /// Stride 1: runs of pixels that lie side by side, `(source, at)`.
    Runs([(usize, usize); MAX_NR], usize),
    /// Any stride: one place for each pixel.
    Pixels([usize; MAX_NR], usize),
}

impl Window {
    /// Pixels `first .. first + cols` of a block with `rows` rows.
    pub(super) fn new(plan: &Plan, rows: usize, first: usize, cols: usize) -> Self {
        let (ow, stride) = (plan.geometry.output[1], plan.geometry.stride[1]);
        // Row `r` of image `i` of the block is number `i · rows + r` in the table: blocks of several
        // images have all their rows.
        debug_assert!(rows == plan.rows || first + cols <= rows * ow);
        let place = |pixel: usize| plan.row_offsets[pixel / ow] + pixel % ow * stride;
        if stride > 1 {
            let mut places = [0; MAX_NR];
            for (j, at) in places[..cols].iter_mut().enumerate() {
                *at = place(first + j);
            }
            return Self::Pixels(places, cols);
        }
        let (mut runs, mut count, mut j) = ([(0, 0); MAX_NR], 0, 0);
        while j < cols {
            runs[count] = (place(first + j), j);
            count += 1;
            j += ow - (first + j) % ow;
        }
        Self::Runs(runs, count)
    }

    /// Writes the panel `[k][nr]` for the given offsets of `k`.
    pub(super) fn unfold<T: Scalar>(
        &self,
        micro: &Micro<T>,
        offsets: &[usize],
        image: &[T],
        panel: &mut [T],
    ) {
        match self {
            Self::Runs(runs, count) => {
                let runs = &runs[..*count];
                let reach = offsets.iter().max().unwrap_or(&0)
                    + runs.iter().map(|run| run.0).max().unwrap_or(0);
                assert!(reach + micro.nr <= image.len() && panel.len() > offsets.len() * micro.nr);
                // SAFETY: checked just above; the panel has a row to spare.
                unsafe { micro.unfold(offsets, image.as_ptr(), runs, panel.as_mut_ptr()) }
            }
            Self::Pixels(places, cols) => {
                for (row, &offset) in panel.chunks_exact_mut(micro.nr).zip(offsets) {
                    for (value, &place) in row.iter_mut().zip(&places[..*cols]) {
                        *value = image[place + offset];
                    }
                    row[*cols..].fill(T::zero());
                }
            }
        }
    }
}
