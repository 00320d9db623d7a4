//! Matrix products, blocked for the caches: Goto & van de Geijn 2008.
//!
//! Letters: `C[m][n] = start + A[m][k] · B[k][n]`. Both factors are packed into panels first, `A` into
//! `[k][rows]` with `rows ≤ MR`, `B` into `[k][NR]`; then tasks of `ROWS × COLS` tiles run over blocks of
//! `KC` of the inner dimension. The inner dimension is never split between tasks, so any number of
//! threads gives the same bits. So does any number of rows above `FEW_ROWS`: an element's sum depends on
//! `k` alone; with fewer rows it is summed in another order.

use super::micro::{Micro, Start};
use super::parallel::{self, Cost, Shared};
use super::simd::multiversion;
use super::transpose;
use crate::Scalar;

/// Block of the inner dimension: a panel of `B` stays in L1 (256 · 64 bytes), one of `A` too.
pub const KC: usize = 256;
/// Rows of a task: with `KC`, at most 96 KiB of `A` in L2.
const ROWS: usize = 96;
/// Columns of a task.
const COLS: usize = 128;
/// Up to this many rows, a product with a transposed factor is a set of dot products.
const FEW_ROWS: usize = 3;

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

/// Elements of scratch memory that [`gemm`] needs.
pub fn scratch_len<T: Scalar>(m: usize, n: usize, k: usize) -> usize {
    left_len(m, k) + right_len::<T>(n, k)
}

/// Elements of scratch memory that [`gemm_packed`] needs.
pub fn left_len(m: usize, k: usize) -> usize {
    k * m
}

/// Elements of a packed right factor.
pub fn right_len<T: Scalar>(n: usize, k: usize) -> usize {
    k * n.next_multiple_of(T::micro().nr)
}

/// Names the order of elements in a packed right factor, which differs between instruction sets.
pub fn right_form<T: Scalar>() -> usize {
    T::micro().nr
}

/// Whether [`gemm`] packs a transposed right factor for this many rows.
pub fn packs(m: usize) -> bool {
    m > FEW_ROWS
}

/// Cuts `len` into the fewest parts of at most `most`, as even as can be: part `i` is `from..to`.
#[inline]
pub fn even_part(len: usize, most: usize, i: usize) -> (usize, usize) {
    let parts = len.div_ceil(most);
    let (size, longer) = (len / parts, len % parts);
    let from = i * size + i.min(longer);
    (from, from + size + usize::from(i < longer))
}

/// `C[m][n]` (row-major, contiguous) from `A[m][k] · B[k][n]`; `m·n·k` multiply-adds.
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
    assert_eq!(c.len(), m * n, "C is contiguous");
    if m == 0 || n == 0 {
        return;
    }
    if !packs(m) && a.cols == 1 && b.rows == 1 {
        return few_rows(n, k, a, b, c, begin);
    }
    let micro = T::micro();
    let cost = Cost::mul_adds(m.saturating_mul(n).saturating_mul(k));
    let (packed_a, rest) = scratch.split_at_mut(left_len(m, k));
    let packed_b = &mut rest[..right_len::<T>(n, k)];
    let (row_tasks, col_tasks) = (m.div_ceil(ROWS), n.div_ceil(COLS));
    {
        // Panel (block, i) of A starts at element m·(first k of the block) + kc·(first row).
        let (a_out, b_out) = (Shared::new(packed_a), Shared::new(packed_b));
        parallel::each(row_tasks + col_tasks, cost, |task| {
            if task < row_tasks {
                pack_rows(micro, task, m, k, a, &a_out);
            } else {
                pack_cols(micro, task - row_tasks, n, k, b, &b_out);
            }
        });
    }
    multiply_all((m, n, k), packed_a, packed_b, c, begin);
}

/// Packs a right factor `B[k][n]` for [`gemm_packed`] into [`right_len`] elements.
pub fn pack_right<T: Scalar>(n: usize, k: usize, b: Mat<'_, T>, out: &mut [T]) {
    assert_eq!(out.len(), right_len::<T>(n, k), "a packed factor has the length of its form");
    let out = Shared::new(out);
    parallel::each(n.div_ceil(COLS), Cost::elements(n.saturating_mul(k)), |task| {
        pack_cols(T::micro(), task, n, k, b, &out);
    });
}

/// Like [`gemm`], with a right factor that [`pack_right`] has packed at the same instruction level: the same bits.
#[allow(clippy::too_many_arguments)]
pub fn gemm_packed<T: Scalar>(
    m: usize,
    n: usize,
    k: usize,
    a: Mat<'_, T>,
    b: &[T],
    c: &mut [T],
    begin: Begin<'_, T>,
    scratch: &mut [T],
) {
    assert_eq!(c.len(), m * n, "C is contiguous");
    assert_eq!(b.len(), right_len::<T>(n, k), "a packed factor has the length of its form");
    if m == 0 || n == 0 {
        return;
    }
    let packed_a = &mut scratch[..left_len(m, k)];
    let a_out = Shared::new(packed_a);
    parallel::each(m.div_ceil(ROWS), Cost::elements(m.saturating_mul(k)), |task| {
        pack_rows(T::micro(), task, m, k, a, &a_out);
    });
    multiply_all((m, n, k), packed_a, b, c, begin);
}

/// All tiles of `C`, from packed factors.
fn multiply_all<T: Scalar>(
    (m, n, k): (usize, usize, usize),
    packed_a: &[T],
    packed_b: &[T],
    c: &mut [T],
    begin: Begin<'_, T>,
) {
    let cost = Cost::mul_adds(m.saturating_mul(n).saturating_mul(k));
    let (row_tasks, col_tasks) = (m.div_ceil(ROWS), n.div_ceil(COLS));
    let out = Shared::new(c);
    parallel::each(row_tasks * col_tasks, cost, |task| {
        let (rows, cols) = (task % row_tasks, task / row_tasks);
        multiply(T::micro(), (rows, cols), (m, n, k), packed_a, packed_b, &out, begin);
    });
}

/// First row and number of rows of each panel of a task's rows.
fn row_panels(mr: usize, task: usize, m: usize) -> impl Iterator<Item = (usize, usize)> {
    let from = task * ROWS;
    let len = ROWS.min(m - from);
    (0..len.div_ceil(mr)).map(move |i| {
        let (first, end) = even_part(len, mr, i);
        (from + first, end - first)
    })
}

fn pack_rows<T: Scalar>(
    micro: &Micro<T>,
    task: usize,
    m: usize,
    k: usize,
    a: Mat<'_, T>,
    out: &Shared<'_, T>,
) {
    for k0 in (0..k).step_by(KC) {
        let kc = KC.min(k - k0);
        for (row, rows) in row_panels(micro.mr, task, m) {
            // SAFETY: panels of different blocks, tasks and rows do not overlap.
            let panel = unsafe { out.at(m * k0 + kc * row, kc * rows) };
            pack(a, row, rows, k0, rows, panel);
        }
    }
}

fn pack_cols<T: Scalar>(
    micro: &Micro<T>,
    task: usize,
    n: usize,
    k: usize,
    b: Mat<'_, T>,
    out: &Shared<'_, T>,
) {
    let (nr, width) = (micro.nr, n.next_multiple_of(micro.nr));
    let b = Mat { data: b.data, rows: b.cols, cols: b.rows };
    for k0 in (0..k).step_by(KC) {
        let kc = KC.min(k - k0);
        for col in (task * COLS..n.min((task + 1) * COLS)).step_by(nr) {
            // SAFETY: panels of different blocks and columns do not overlap.
            let panel = unsafe { out.at(width * k0 + kc * col, kc * nr) };
            pack(b, col, nr.min(n - col), k0, nr, panel);
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
    if count < width {
        panel.fill(T::zero());
    }
    let base = &a.data[first * a.rows + k0 * a.cols..];
    if a.rows == 1 {
        pack_contiguous(base, a.cols, count, width, panel);
    } else if a.cols == 1 {
        transpose::pack(T::micro(), base, a.rows, count, width, panel);
    } else {
        for (p, row) in panel.chunks_exact_mut(width).enumerate() {
            for (i, value) in row[..count].iter_mut().enumerate() {
                *value = base[i * a.rows + p * a.cols];
            }
        }
    }
}

multiversion! {
    /// `panel[p][i] = source[p · stride + i]`
    fn pack_contiguous<F: Scalar>(source: &[F], stride: usize, count: usize, width: usize, panel: &mut [F]) {
        for (p, row) in panel.chunks_exact_mut(width).enumerate() {
            let source = &source[p * stride..][..count];
            // Whole registers at a time where the count is known to the compiler.
            match (<&[F; 16]>::try_from(source), count) {
                (Ok(source), 16) => row[..16].copy_from_slice(source),
                _ => row[..count].iter_mut().zip(source).for_each(|(to, &from)| *to = from),
            }
        }
    }
}

fn multiply<T: Scalar>(
    micro: &Micro<T>,
    (row_task, col_task): (usize, usize),
    (m, n, k): (usize, usize, usize),
    a: &[T],
    b: &[T],
    out: &Shared<'_, T>,
    begin: Begin<'_, T>,
) {
    let (nr, width) = (micro.nr, n.next_multiple_of(micro.nr));
    // An inner dimension of 0 still has to write the start.
    for k0 in (0..k.max(1)).step_by(KC) {
        let kc = KC.min(k - k0);
        for col in (col_task * COLS..n.min((col_task + 1) * COLS)).step_by(nr) {
            let b_panel = &b[width * k0 + kc * col..][..kc * nr];
            let cols = nr.min(n - col);
            for (row, rows) in row_panels(micro.mr, row_task, m) {
                let a_panel = &a[m * k0 + kc * row..][..kc * rows];
                let start = match begin {
                    Begin::Zero if k0 == 0 => Start::Zero,
                    Begin::ColBias(bias) if k0 == 0 => Start::ColBias(bias[col..][..cols].as_ptr()),
                    _ => Start::Add,
                };
                // SAFETY: the panels were cut to size above; the tile's first and last element are in
                // the range that `at` checks, and tasks own disjoint tiles.
                unsafe {
                    let c = out.at(row * n + col, (rows - 1) * n + cols);
                    micro.tile(
                        rows,
                        kc,
                        a_panel.as_ptr(),
                        b_panel.as_ptr(),
                        c.as_mut_ptr(),
                        n,
                        cols,
                        start,
                    );
                }
            }
        }
    }
}

/// Few rows times a transposed factor: `C[i][j] = start + a[i] · b[j]`, both contiguous along `k`.
/// Packing would cost more than the product: every element of `b` is used `m` times only.
fn few_rows<T: Scalar>(
    n: usize,
    k: usize,
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    c: &mut [T],
    begin: Begin<'_, T>,
) {
    /// Columns of a task.
    const PIECE: usize = 32;
    for (i, row) in c.chunks_exact_mut(n).enumerate() {
        let x = &a.data[i * a.rows..][..k];
        parallel::chunks(
            parallel::Write(row, PIECE),
            Cost::elements(n.saturating_mul(k)),
            |piece, out| {
                let first = piece * PIECE;
                match begin {
                    Begin::Zero => out.fill(T::zero()),
                    Begin::Add => {}
                    Begin::ColBias(bias) => out.copy_from_slice(&bias[first..][..out.len()]),
                }
                add_dots(x, &b.data[first * b.cols..], b.cols, out);
            },
        );
    }
}

multiversion! {
    /// `out[j] += x · w[j · stride ..]`, four columns at a time, so that four streams come from memory.
    fn add_dots<F: Scalar>(x: &[F], w: &[F], stride: usize, out: &mut [F]) {
        const COLUMNS: usize = 4;
        let whole = out.len() / COLUMNS * COLUMNS;
        for j in (0..whole).step_by(COLUMNS) {
            dots::<F, COLUMNS>(x, &w[j * stride..], stride, &mut out[j..][..COLUMNS]);
        }
        for j in whole..out.len() {
            dots::<F, 1>(x, &w[j * stride..], stride, &mut out[j..][..1]);
        }
    }
}

/// `out[c] += x · w[c · stride ..]` for `C` columns, each in 16 partial sums, combined in order.
#[inline(always)]
fn dots<F: Scalar, const C: usize>(x: &[F], w: &[F], stride: usize, out: &mut [F]) {
    const LANES: usize = 16;
    let columns: [&[F]; C] = std::array::from_fn(|c| &w[c * stride..][..x.len()]);
    let mut sums = [[F::zero(); LANES]; C];
    let whole = x.len() / LANES * LANES;
    for p in (0..whole).step_by(LANES) {
        let x = &x[p..][..LANES];
        for (sums, column) in sums.iter_mut().zip(&columns) {
            let w = &column[p..][..LANES];
            for l in 0..LANES {
                sums[l] += x[l] * w[l];
            }
        }
    }
    for ((out, sums), column) in out.iter_mut().zip(sums).zip(&columns) {
        let tail =
            x[whole..].iter().zip(&column[whole..]).fold(F::zero(), |sum, (&x, &w)| sum + x * w);
        *out += super::reduce::fold_lanes(sums) + tail;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;
    use crate::kernels::simd;

    fn random<T: Scalar>(len: usize, seed: u64) -> Vec<T> {
        let mut rng = Seed::new(seed).rng();
        (0..len).map(|_| T::lit(rng.normal())).collect()
    }

    fn naive<T: Scalar>(m: usize, n: usize, k: usize, a: Mat<'_, T>, b: Mat<'_, T>) -> Vec<f64> {
        let mut c = vec![0.0; m * n];
        for i in 0..m {
            for j in 0..n {
                for p in 0..k {
                    let (x, y) = (a.data[i * a.rows + p * a.cols], b.data[p * b.rows + j * b.cols]);
                    c[i * n + j] += x.widen() * y.widen();
                }
            }
        }
        c
    }

    fn compare<T: Scalar>() {
        // Rounding of k additions whose partial sums stay below about 4·√k.
        let tolerance = |k: usize| 4.0 * T::epsilon().widen() * (k as f64 + 1.0);
        for (m, n, k) in [
            (0, 3, 2),
            (1, 1, 0),
            (1, 1, 1),
            (1, 37, 50),
            (2, 300, 70),
            (5, 17, 33),
            (7, 15, 1),
            (13, 31, 257),
            (97, 129, 300),
            (128, 33, 513),
            (200, 16, 8),
        ] {
            let (da, db) = (random::<T>(m * k, 1), random::<T>(k * n, 2));
            let bias = random::<T>(n, 3);
            for (a, b) in [
                (Mat::new(&da, k), Mat::new(&db, n)),
                (Mat::transposed(&da, m), Mat::new(&db, n)),
                (Mat::new(&da, k), Mat::transposed(&db, k)),
                (Mat::transposed(&da, m), Mat::transposed(&db, k)),
            ] {
                let want = naive(m, n, k, a, b);
                for begin in [Begin::Zero, Begin::Add, Begin::ColBias(&bias)] {
                    let first = random::<T>(m * n, 4);
                    let mut c = first.clone();
                    let mut scratch = vec![T::nan(); scratch_len::<T>(m, n, k)];
                    gemm(m, n, k, a, b, &mut c, begin, &mut scratch);
                    if packs(m) {
                        let mut again = first.clone();
                        let mut packed = vec![T::nan(); right_len::<T>(n, k)];
                        pack_right(n, k, b, &mut packed);
                        gemm_packed(m, n, k, a, &packed, &mut again, begin, &mut scratch);
                        assert!(c == again, "{m}×{n}×{k}: packed beforehand, other bits");
                    }
                    for (i, got) in c.iter().enumerate() {
                        let start = match begin {
                            Begin::Zero => 0.0,
                            Begin::Add => first[i].widen(),
                            Begin::ColBias(bias) => bias[i % n].widen(),
                        };
                        let error = (got.widen() - start - want[i]).abs();
                        assert!(error < tolerance(k), "{m}×{n}×{k} at {i}: {error}");
                    }
                }
            }
        }
    }

    #[test]
    fn gemm_equals_the_triple_loop_at_every_level() {
        simd::at_every_level(|| {
            compare::<f32>();
            compare::<f64>();
        });
    }

    #[test]
    fn even_parts_cover_everything() {
        for len in 1..40usize {
            let parts = len.div_ceil(6);
            let mut at = 0;
            for i in 0..parts {
                let (from, to) = even_part(len, 6, i);
                assert_eq!(from, at);
                assert!(to - from <= 6 && to > from);
                at = to;
            }
            assert_eq!(at, len);
        }
    }
}
