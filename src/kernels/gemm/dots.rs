//! Products of a few rows.

use super::{Begin, Mat};
use crate::Scalar;
use crate::kernels::parallel::{self, Cost};
use crate::kernels::reduce;
use crate::kernels::simd::{self, multiversion};

/// Up to this many rows, a product with a transposed factor is a set of dot products.
pub(super) const FEW_ROWS: usize = 3;
/// Unless that has at most so many elements: it is packed at once, and its dot products would be short.
pub(super) const SMALL: usize = 4096;

/// Few rows times a transposed factor: `C[i][j] = start + a[i] · b[j]`, both contiguous along `k`.
/// Packing would cost more than the product: every element of `b` is used `m` times only.
pub(super) fn few_rows<T: Scalar>(
    n: usize,
    k: usize,
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    c: &mut [T],
    begin: Begin<'_, T>,
    relu: bool,
) {
    /// Columns of a task.
    const PIECE: usize = 32;
    for (i, row) in c.chunks_exact_mut(n).enumerate() {
        let x = &a.data[i * a.rows..][..k];
        parallel::chunks(
            parallel::Write(row, PIECE),
            // About 11 elements a nanosecond, from L2 and L3.
            Cost::elements(n.saturating_mul(k) / 4 * 3),
            |piece, out| {
                let first = piece * PIECE;
                match begin {
                    Begin::Zero => out.fill(T::zero()),
                    Begin::Add => {}
                    Begin::ColBias(bias) => out.copy_from_slice(&bias[first..][..out.len()]),
                }
                add_dots(x, &b.data[first * b.cols..], b.cols, out);
                if relu {
                    rectify(out);
                }
            },
        );
    }
}

multiversion! {
    /// `x = max(0, x)`; NaN stays NaN.
    pub(super) fn rectify<F: Scalar>(x: &mut [F]) {
        for x in x {
            *x = if *x < F::zero() { F::zero() } else { *x };
        }
    }

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
        // The columns after these: short runs of memory end before the processor has noticed them.
        columns.iter().for_each(|column| {
            simd::prefetch(column.as_ptr().wrapping_add(C * stride + p), LANES);
        });
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
        *out += reduce::fold_lanes(sums) + tail;
    }
}
