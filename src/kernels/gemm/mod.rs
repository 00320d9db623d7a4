//! Matrix products, blocked for the caches: Goto & van de Geijn 2008.
//!
//! Letters: `C[m][n] = begin + A[m][k] · B[k][n]`. Both factors are packed into panels first, `A` into
//! `[k][rows]` with `rows ≤ MR`, `B` into `[k][NR]`; then tasks of some panels of each run over blocks of the inner
//! dimension. (A weight that few samples meet is not worth packing: see `turned`.) The inner dimension is never split between tasks, so any number of threads gives the same
//! bits. So does any number of rows above three: an element's sum depends on `k` alone; with fewer rows it is
//! summed in another order.

mod cut;
mod dots;
mod turned;

pub use cut::even_part;

use super::micro::{Micro, Start};
use super::parallel::{self, Shared};
use super::simd;
use crate::Scalar;
use cut::Cut;
use dots::{FEW_ROWS, SMALL, few_rows};

/// Block of the inner dimension in convolutions: a panel of `B` stays in L1 (256 · 64 bytes), one of `A` too.
pub const KC: usize = 256;
/// From this depth on the tile of `C` is fetched while the kernel computes.
const PREFETCH: usize = 64;

/// A matrix somewhere in a slice: element `(i, j)` is `data[i · rows + j · cols]`.
#[derive(Debug, Clone, Copy)]
pub struct Mat<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
}

impl<'a, T: Copy> Mat<'a, T> {
    /// Row-major, `width` elements a row.
    pub fn new(data: &'a [T], width: usize) -> Self {
        Self { data, rows: width, cols: 1 }
    }

    /// The transpose of a row-major matrix of `width` elements a row.
    pub fn transposed(data: &'a [T], width: usize) -> Self {
        Self { data, rows: 1, cols: width }
    }
}

/// What the result starts from.
#[derive(Debug, Clone, Copy)]
pub enum Begin<'a, T> {
    /// `C = A·B`
    Zero,
    /// `C = C + A·B`
    Add,
    /// `C[i][j] = bias[j] + …`
    ColBias(&'a [T]),
}

/// The right factor `B[k][n]` of a product.
#[derive(Debug, Clone, Copy)]
pub enum Right<'a, T> {
    /// To be packed.
    Plain(Mat<'a, T>),
    /// What [`pack_right`] made, at the same instruction level. The same bits come out.
    Packed(&'a [T]),
}

/// `C[m][n] = begin + A[m][k] · B[k][n]`; `m·n·k` multiply-adds.
#[derive(Debug, Clone, Copy)]
pub struct Product<'a, T> {
    /// `m`, `n` and `k`.
    pub sizes: [usize; 3],
    /// The left factor.
    pub a: Mat<'a, T>,
    /// The right factor.
    pub b: Right<'a, T>,
    /// What `C` starts from.
    pub begin: Begin<'a, T>,
    /// Whether to write `max(0, ·)` of the result.
    pub relu: bool,
}

/// Elements of a packed right factor.
pub fn right_len<T: Scalar>(n: usize, k: usize) -> usize {
    k * n.next_multiple_of(T::micro().nr)
}

/// Elements of scratch memory that a product of these sizes needs if none of its factors is packed.
pub fn scratch_len<T: Scalar>(m: usize, n: usize, k: usize) -> usize {
    left_len(m, k) + right_len::<T>(n, k)
}

/// Elements of a packed left factor, with those that let the right one begin on a cache line: all scratch memory that a
/// product with a packed right factor needs.
pub fn left_len(m: usize, k: usize) -> usize {
    (k * m).next_multiple_of(16)
}

/// `C[m][n]` (row-major, contiguous) from `A[m][k] · B[k][n]`, in [`scratch_len`] elements of scratch memory.
#[allow(clippy::too_many_arguments)]
pub fn gemm<T: Scalar>(
    m: usize,
    n: usize,
    k: usize,
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    c: &mut [T],
    begin: Begin<'_, T>,
    scratch: &mut [T],
) {
    Product { sizes: [m, n, k], a, b: Right::Plain(b), begin, relu: false }.write(c, scratch);
}

/// Names the order of elements in a packed right factor, which differs between instruction sets.
pub fn right_form<T: Scalar>() -> usize {
    T::micro().nr
}

/// Whether a product with a transposed right factor packs it.
pub fn packs([m, n, k]: [usize; 3]) -> bool {
    m > FEW_ROWS || n.saturating_mul(k) <= SMALL
}

/// Packs a right factor `B[k][n]` into [`right_len`] elements.
pub fn pack_right<T: Scalar>(n: usize, k: usize, b: Mat<'_, T>, out: &mut [T]) {
    assert_eq!(out.len(), right_len::<T>(n, k), "a packed factor has the length of its form");
    Cut::new(T::micro(), [0, n, k]).pack(T::micro(), None, Some(b), &mut [], out);
}

impl<T: Scalar> Product<'_, T> {
    /// Elements of scratch memory that [`Product::write`] needs.
    pub fn scratch_len(&self) -> usize {
        let [m, n, k] = self.sizes;
        match self.b {
            Right::Plain(b) if self.is_dots(b) => 0,
            Right::Plain(b) if turned::pays(self, b) => turned::scratch_len::<T>(self.sizes),
            Right::Plain(_) => scratch_len::<T>(m, n, k),
            Right::Packed(_) => left_len(m, k),
        }
    }

    /// Whether it is a set of dot products: packing would cost more.
    fn is_dots(&self, b: Mat<'_, T>) -> bool {
        !packs(self.sizes) && self.a.cols == 1 && b.rows == 1
    }

    /// Writes `C`: row-major and contiguous.
    pub fn write(&self, c: &mut [T], scratch: &mut [T]) {
        let [m, n, k] = self.sizes;
        assert_eq!(c.len(), m * n, "C is contiguous");
        if m == 0 || n == 0 {
            return;
        }
        match self.b {
            Right::Plain(b) if self.is_dots(b) => {
                few_rows(n, k, self.a, b, c, self.begin, self.relu);
            }
            Right::Plain(b) if turned::pays(self, b) => {
                turned::write(self, b, c, scratch);
            }
            Right::Plain(b) => {
                let (left, rest) = scratch.split_at_mut(left_len(m, k));
                let (cut, right) =
                    (Cut::new(T::micro(), self.sizes), &mut rest[..right_len::<T>(n, k)]);
                cut.pack(T::micro(), Some(self.a), Some(b), left, right);
                self.multiply(T::micro(), &cut, left, right, c);
            }
            Right::Packed(right) => {
                assert_eq!(right.len(), right_len::<T>(n, k), "B was packed for these sizes");
                let cut = Cut::new(T::micro(), self.sizes);
                let left = match self.row() {
                    Some(row) => row,
                    None => {
                        let left = &mut scratch[..left_len(m, k)];
                        cut.pack(T::micro(), Some(self.a), None, left, &mut []);
                        left
                    }
                };
                self.multiply(T::micro(), &cut, left, right, c);
            }
        }
    }

    /// A left factor of one row is packed as it is.
    fn row(&self) -> Option<&[T]> {
        let [m, _, k] = self.sizes;
        (m == 1 && self.a.cols == 1).then(|| self.a.data.get(..k)).flatten()
    }

    /// All tiles of `C`, from packed factors.
    fn multiply(&self, micro: &Micro<T>, cut: &Cut, left: &[T], right: &[T], c: &mut [T]) {
        let out = Shared::new(c);
        parallel::each(cut.row_tasks * cut.col_tasks, cut.cost(), |task| {
            self.task(micro, cut, task, left, right, &out);
        });
    }

    fn task(
        &self,
        micro: &Micro<T>,
        cut: &Cut,
        task: usize,
        left: &[T],
        right: &[T],
        out: &Shared<'_, T>,
    ) {
        let [m, n, _] = cut.sizes;
        let (rows, cols) = cut.panels(task);
        for block in 0..cut.depth.parts.max(1) {
            let (k0, kc) = cut.depth.part(block);
            let last = block + 1 >= cut.depth.parts;
            for col in cols.clone().map(|panel| panel * micro.nr) {
                let b = &right[cut.width * k0 + kc * col..][..kc * micro.nr];
                let width = micro.nr.min(n - col);
                let start = match self.begin {
                    Begin::Zero if block == 0 => Start::Zero,
                    Begin::ColBias(bias) if block == 0 => {
                        Start::ColBias(bias[col..][..width].as_ptr())
                    }
                    _ => Start::Add,
                };
                for (row, rows) in rows.clone().map(|panel| cut.rows.part(panel)) {
                    let a = &left[m * k0 + kc * row..][..kc * rows];
                    let c = out.pointer(row * n + col, (rows - 1) * n + width);
                    if kc >= PREFETCH {
                        (0..rows).for_each(|i| simd::prefetch(c.wrapping_add(i * n), width));
                    }
                    // SAFETY: the panels were cut to size above; the tile's first and last element are in the range
                    // that `pointer` checks, and tasks own disjoint tiles.
                    unsafe {
                        let (a, b) = (a.as_ptr(), b.as_ptr());
                        micro.tile_then(rows, kc, a, b, c, n, width, start, self.relu && last);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
