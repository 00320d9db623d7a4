//! How products are cut and factors packed.

use std::ops::Range;

use super::Mat;
use crate::Scalar;
use crate::kernels::micro::Micro;
use crate::kernels::parallel::{self, Cost, Shared};
use crate::kernels::simd::multiversion;
use crate::kernels::transpose;

/// Most of the inner dimension in one block: with AVX-512 a panel of `B` takes 32 of L1's 48 KiB.
const DEPTH: usize = 256;
/// Most panels of rows of a task: with AVX-512, 224 KiB of `A`. Half of L2 is enough for `A`, `B` and `C`: larger
/// tasks read less, but were slower on a machine whose caches are shared.
const ROW_PANELS: usize = 16;
/// Most panels of columns of a task: with AVX-512, 128 KiB of `B`.
const COL_PANELS: usize = 4;
/// A product that is worth several threads is cut into at least so many tasks, if it has as many panels.
const TASKS: usize = 16;
/// Of a factor that is contiguous across panels, so much of the inner dimension is packed into all panels of a task before
/// the next: rows far apart lie on pages of their own.
const STRIP: usize = 32;
/// Panels of a factor that one task packs.
const PACKED: usize = 4;

/// `len` cut into the fewest parts of at most so many, as even as can be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Even {
    pub(super) parts: usize,
    size: usize,
    /// So many parts have one more.
    longer: usize,
}

impl Even {
    pub(super) fn new(len: usize, most: usize) -> Self {
        let parts = len.div_ceil(most);
        let size = len.checked_div(parts).unwrap_or(0);
        Self { parts, size, longer: len - parts * size }
    }

    /// First element and length of part `i`.
    #[inline]
    pub(super) fn part(self, i: usize) -> (usize, usize) {
        (i * self.size + i.min(self.longer), self.size + usize::from(i < self.longer))
    }
}

/// Cuts `len` into the fewest parts of at most `most`, as even as can be: part `i` is `from..to`.
#[inline]
pub fn even_part(len: usize, most: usize, i: usize) -> (usize, usize) {
    let (from, len) = Even::new(len, most).part(i);
    (from, from + len)
}

/// How a product is cut: into panels for the register kernel, and panels into tasks. Sizes alone decide.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) sizes: [usize; 3],
    pub(super) rows: Even,
    pub(super) depth: Even,
    /// Columns with those that fill the last panel.
    pub(super) width: usize,
    col_panels: usize,
    /// Panels of a task.
    task: [usize; 2],
    pub(super) row_tasks: usize,
    pub(super) col_tasks: usize,
}

impl Cut {
    pub(super) fn new<T: Scalar>(micro: &Micro<T>, sizes: [usize; 3]) -> Self {
        let [m, n, k] = sizes;
        let rows = Even::new(m, micro.mr);
        let width = n.next_multiple_of(micro.nr);
        let col_panels = width / micro.nr;
        let panels = [rows.parts, col_panels];
        let mut task = [panels[0].clamp(1, ROW_PANELS), panels[1].clamp(1, COL_PANELS)];
        let tasks = |task: [usize; 2]| [panels[0].div_ceil(task[0]), panels[1].div_ceil(task[1])];
        let cost = Cost::mul_adds(m.saturating_mul(n).saturating_mul(k));
        while cost >= Cost::WORTH && tasks(task)[0] * tasks(task)[1] < TASKS && task != [1, 1] {
            // The longer side, unless it is a single panel already.
            let longer =
                usize::from(task[0] == 1 || task[1] > 1 && task[0] * micro.mr < task[1] * micro.nr);
            task[longer] = task[longer].div_ceil(2);
        }
        let [row_tasks, col_tasks] = tasks(task);
        Self {
            sizes,
            rows,
            depth: Even::new(k, DEPTH),
            width,
            col_panels,
            task,
            row_tasks,
            col_tasks,
        }
    }

    pub(super) fn cost(&self) -> Cost {
        let [m, n, k] = self.sizes;
        Cost::mul_adds(m.saturating_mul(n).saturating_mul(k))
    }

    /// Which panels of rows and of columns a task multiplies.
    pub(super) fn panels(&self, task: usize) -> (Range<usize>, Range<usize>) {
        let (row, col) =
            (task % self.row_tasks * self.task[0], task / self.row_tasks * self.task[1]);
        (
            row..(row + self.task[0]).min(self.rows.parts),
            col..(col + self.task[1]).min(self.col_panels),
        )
    }

    /// Packs the factors that are given. Panel (block, i) of `A` starts at element
    /// `m · (first k of the block) + kc · (first row)`; of `B` likewise.
    pub(super) fn pack<T: Scalar>(
        &self,
        micro: &Micro<T>,
        a: Option<Mat<'_, T>>,
        b: Option<Mat<'_, T>>,
        left: &mut [T],
        right: &mut [T],
    ) {
        let [m, n, k] = self.sizes;
        let lines = a.map_or(0, |_| m) + b.map_or(0, |_| n);
        let row_tasks = a.map_or(0, |_| self.rows.parts.div_ceil(PACKED));
        let col_tasks = b.map_or(0, |_| self.col_panels.div_ceil(PACKED));
        let (left, right) = (Shared::new(left), Shared::new(right));
        // About 2.5 elements a nanosecond.
        let cost = Cost::elements(k.saturating_mul(lines).saturating_mul(3));
        parallel::each(row_tasks + col_tasks, cost, |task| match (a, b) {
            (Some(a), _) if task < row_tasks => self.pack_rows(task, a, &left),
            (_, Some(b)) => self.pack_cols(micro.nr, task - row_tasks, b, &right),
            _ => {}
        });
    }

    fn pack_rows<T: Scalar>(&self, task: usize, a: Mat<'_, T>, out: &Shared<'_, T>) {
        let [m, _, _] = self.sizes;
        for block in 0..self.depth.parts {
            let (k0, kc) = self.depth.part(block);
            for panel in task * PACKED..self.rows.parts.min((task + 1) * PACKED) {
                let (row, rows) = self.rows.part(panel);
                // SAFETY: panels of different blocks, tasks and rows do not overlap.
                let panel = unsafe { out.at(m * k0 + kc * row, kc * rows) };
                pack(a, row, rows, k0, rows, panel);
            }
        }
    }

    fn pack_cols<T: Scalar>(&self, nr: usize, task: usize, b: Mat<'_, T>, out: &Shared<'_, T>) {
        let [_, n, _] = self.sizes;
        let b = Mat { data: b.data, rows: b.cols, cols: b.rows };
        for block in 0..self.depth.parts {
            let (k0, kc) = self.depth.part(block);
            let step = if b.rows == 1 { STRIP } else { kc.max(1) };
            for p in (0..kc).step_by(step) {
                let depth = step.min(kc - p);
                for panel in task * PACKED..self.col_panels.min((task + 1) * PACKED) {
                    let col = panel * nr;
                    // SAFETY: panels of different blocks and columns do not overlap.
                    let panel = unsafe { out.at(self.width * k0 + kc * col + p * nr, depth * nr) };
                    pack(b, col, nr.min(n - col), k0 + p, nr, panel);
                }
            }
        }
    }
}

/// Packs rows `first .. first + count` of `a`, columns from `k0`, into `panel[k][width]`; what is beyond
/// `count` becomes zero.
fn pack<T: Scalar>(
    a: Mat<'_, T>,
    first: usize,
    count: usize,
    k0: usize,
    width: usize,
    panel: &mut [T],
) {
    let base = &a.data[first * a.rows + k0 * a.cols..];
    if a.rows == 1 {
        pack_contiguous(base, a.cols, count, width, panel);
    } else if a.cols == 1 {
        transpose::pack(T::micro(), base, a.rows, count, width, panel);
    } else {
        for (p, row) in panel.chunks_exact_mut(width).enumerate() {
            row.fill(T::zero());
            for (i, value) in row[..count].iter_mut().enumerate() {
                *value = base[i * a.rows + p * a.cols];
            }
        }
    }
}

multiversion! {
    /// `panel[p][i] = source[p · stride + i]`, zeros from `count` on.
    fn pack_contiguous<F: Scalar>(source: &[F], stride: usize, count: usize, width: usize, panel: &mut [F]) {
        /// Elements moved at once: their number is known to the compiler.
        const RUN: usize = 16;
        let depth = panel.len() / width;
        let mut done = 0;
        if count == 2 * RUN && width == count {
            for p in 0..depth {
                panel[p * width..][..2 * RUN].copy_from_slice(&source[p * stride..][..2 * RUN]);
            }
            done = depth;
        } else if count == width && width <= RUN && panel.len() >= RUN && source.len() >= RUN {
            // A run may write beyond its row, into the next, which comes later.
            done = ((panel.len() - RUN) / width + 1).min((source.len() - RUN) / stride + 1);
            for p in 0..done {
                panel[p * width..][..RUN].copy_from_slice(&source[p * stride..][..RUN]);
            }
        }
        for p in done..depth {
            let row = &mut panel[p * width..][..width];
            row[..count].copy_from_slice(&source[p * stride..][..count]);
            row[count..].fill(F::zero());
        }
    }
}
