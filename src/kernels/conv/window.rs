//! Reads a panel of the implicit im2col matrix from a block's buffer; see [`super`].

use super::Plan;
use crate::Scalar;
use crate::kernels::micro::{MAX_NR, Micro};

/// The pixels of one panel, as places in the buffer.
pub(super) struct Window {
    /// `(source, at)`: where in the buffer, which column of the panel. With stride 1 the beginnings of runs
    /// that lie side by side, else one for each pixel.
    parts: [(usize, usize); MAX_NR],
    count: usize,
    runs: bool,
}

impl Window {
    /// Pixels `first .. first + cols` of a block with `rows` rows.
    pub(super) fn new(plan: &Plan, rows: usize, first: usize, cols: usize) -> Self {
        let (ow, stride) = (plan.geometry.output[1], plan.geometry.stride[1]);
        // Row `r` of image `i` of the block is number `i · rows + r` in the table: blocks of several
        // images have all their rows.
        debug_assert!(rows == plan.rows || first + cols <= rows * ow);
        let (mut parts, mut count, mut j) = ([(0, 0); MAX_NR], 0, 0);
        while j < cols {
            let (row, col) = ((first + j) / ow, (first + j) % ow);
            parts[count] = (plan.row_offsets[row] + col * stride, j);
            count += 1;
            j += if stride == 1 { ow - col } else { 1 };
        }
        Self { parts, count, runs: stride == 1 }
    }

    /// Writes the panel `[k][nr]` for the given offsets of `k`; columns beyond the window's are unspecified.
    pub(super) fn unfold<T: Scalar>(
        &self,
        micro: &Micro<T>,
        offsets: &[usize],
        image: &[T],
        panel: &mut [T],
    ) {
        let parts = &self.parts[..self.count];
        if self.runs {
            let reach = offsets.iter().max().unwrap_or(&0)
                + parts.iter().map(|part| part.0).max().unwrap_or(0);
            assert!(reach + micro.nr <= image.len() && panel.len() > offsets.len() * micro.nr);
            // SAFETY: checked just above; the panel has a row to spare.
            return unsafe { micro.unfold(offsets, image.as_ptr(), parts, panel.as_mut_ptr()) };
        }
        for (row, &offset) in panel.chunks_exact_mut(micro.nr).zip(offsets) {
            for &(source, at) in parts {
                row[at] = image[source + offset];
            }
        }
    }
}
