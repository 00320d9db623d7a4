//! Products of some rows with a transposed factor, `C[m][n] = begin + A · Bᵀ`, computed as the transpose of `B · Aᵀ`.
//!
//! So the large factor, a layer's weight, is read where it lies: its rows are the register kernel's left factor. Only `A`, a
//! batch, is packed. The price is that the result is turned, some tiles at a time, on its way to memory.

use std::ops::Range;

use super::cut::Cut;
use super::dots::rectify;
use super::{Begin, Mat, Product, right_len};
use crate::Scalar;
use crate::kernels::micro::{MAX_MR, MAX_NR, Micro, Start};
use crate::kernels::parallel::{self, Shared};
use crate::kernels::transpose;

/// Up to so many rows this is faster than packing the factor and turning nothing.
const ROWS: usize = 128;
/// From so many terms of a sum on, turning a tile is little beside computing it.
const DEPTH: usize = 256;
/// Tiles that are turned together.
const TILES: usize = 4;

/// Whether a product is computed this way. Bit for bit, the result is the same either way.
pub(super) fn pays<T>(product: &Product<'_, T>, b: Mat<'_, T>) -> bool {
    let [m, n, k] = product.sizes;
    let dots_of_rows = product.a.cols == 1 && b.rows == 1;
    dots_of_rows && m <= ROWS.min(n) && k >= DEPTH && !matches!(product.begin, Begin::Add)
}

/// Elements of scratch memory.
pub(super) fn scratch_len<T: Scalar>([m, _, k]: [usize; 3]) -> usize {
    right_len::<T>(m, k)
}

/// Writes `C`.
pub(super) fn write<T: Scalar>(
    product: &Product<'_, T>,
    b: Mat<'_, T>,
    c: &mut [T],
    scratch: &mut [T],
) {
    let ([m, n, k], micro) = (product.sizes, T::micro());
    let cut = Cut::new(micro, [n, m, k]);
    let batch = &mut scratch[..scratch_len::<T>(product.sizes)];
    let a = Mat { data: product.a.data, rows: product.a.cols, cols: product.a.rows };
    cut.pack(micro, None, Some(a), &mut [], batch);
    let turned = Turned { product, micro, cut: &cut, b, batch };
    let out = Shared::new(c);
    parallel::each(cut.row_tasks * cut.col_tasks, cut.cost(), |task| {
        let mut tiles = [T::zero(); TILES * MAX_MR * MAX_NR];
        let (panels, samples) = cut.panels(task);
        for sample in samples.map(|panel| panel * micro.nr) {
            for first in panels.clone().step_by(TILES) {
                let panels = first..panels.end.min(first + TILES);
                let (unit, len) = turned.compute(panels, sample, &mut tiles);
                let (tiles, samples) = (&tiles[..len], micro.nr.min(m - sample));
                // SAFETY: tasks own disjoint tiles.
                unsafe {
                    let at = sample * n + unit;
                    transpose::unpack(micro, (tiles, micro.nr), samples, &out, at, n);
                }
            }
        }
    });
}

/// What all tasks read.
struct Turned<'a, T: 'static> {
    product: &'a Product<'a, T>,
    micro: &'static Micro<T>,
    cut: &'a Cut,
    /// The weight: a unit's row is contiguous.
    b: Mat<'a, T>,
    /// The packed batch.
    batch: &'a [T],
}

impl<T: Scalar> Turned<'_, T> {
    /// The results of some panels of units for the samples from `sample` on, `[unit][sample]`; the first unit, and how many
    /// elements.
    fn compute(&self, panels: Range<usize>, sample: usize, tiles: &mut [T]) -> (usize, usize) {
        let nr = self.micro.nr;
        let (first, _) = self.cut.rows.part(panels.start);
        let mut len = 0;
        for panel in panels {
            let (unit, units) = self.cut.rows.part(panel);
            let tile = &mut tiles[len..][..units * nr];
            self.tile(unit, units, sample, tile);
            if self.product.relu {
                rectify(tile);
            }
            len += tile.len();
        }
        (first, len)
    }

    fn tile(&self, unit: usize, units: usize, sample: usize, tile: &mut [T]) {
        let (nr, stride) = (self.micro.nr, self.b.cols);
        let mut start = Start::Zero;
        if let Begin::ColBias(bias) = self.product.begin {
            for (row, &bias) in tile.chunks_exact_mut(nr).zip(&bias[unit..][..units]) {
                row.fill(bias);
            }
            start = Start::Add;
        }
        let mut rows = [0; MAX_MR];
        (0..units).for_each(|i| rows[i] = i * stride);
        for block in 0..self.cut.depth.parts {
            let (k0, kc) = self.cut.depth.part(block);
            let a = &self.b.data[unit * stride + k0..][..(units - 1) * stride + kc];
            let panel = &self.batch[self.cut.width * k0 + kc * sample..][..kc * nr];
            // SAFETY: row i's elements of this block are inside `a`, which ends with the last row's last; `panel` holds
            // kc · nr elements, the tile units · nr.
            unsafe {
                let (a, panel, tile) = (a.as_ptr(), panel.as_ptr(), tile.as_mut_ptr());
                self.micro.gather(units, &[0], kc, 1, a, rows.as_ptr(), panel, tile, nr, start);
            }
            start = Start::Add;
        }
    }
}
