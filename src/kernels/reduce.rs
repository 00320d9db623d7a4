//! Sums, in a fixed order.

use super::micro::MAX_LANES;
use super::parallel::{self, Cost, Read, Shared, Write};
use super::simd::multiversion;
use super::vector::vectorized;
use crate::Scalar;

/// Partial sums kept side by side: two AVX-512 registers of `f32`.
pub(crate) const LANES: usize = 32;

/// The sum of partial sums, pairwise.
#[inline(always)]
pub(crate) fn fold_lanes<F: Scalar, const N: usize>(mut sums: [F; N]) -> F {
    let mut half = N / 2;
    while half > 0 {
        for i in 0..half {
            sums[i] += sums[i + half];
        }
        half /= 2;
    }
    sums[0]
}

multiversion! {
    /// `Σ f(x)`, with `f` one of the sums below.
    fn sum_with<F: Scalar, G: Fn(F) -> F>(x: &[F], f: G) -> F {
        let mut sums = [F::zero(); LANES];
        let chunks = x.chunks_exact(LANES);
        let tail = chunks.remainder().iter().fold(F::zero(), |sum, &x| sum + f(x));
        for chunk in chunks {
            for l in 0..LANES {
                sums[l] += f(chunk[l]);
            }
        }
        fold_lanes(sums) + tail
    }
}

/// The sum of each of the rows of `len`.
pub fn sums<F: Scalar>(len: usize, x: &[F], sums: &mut [F]) {
    for (x, sum) in x.chunks_exact(len).zip(sums) {
        [*sum, _] = deviations(x, F::zero());
    }
}

/// `Σ (x − center)` and `Σ (x − center)²`.
pub fn deviations<F: Scalar>(x: &[F], center: F) -> [F; 2] {
    let mut sums = [F::zero(); 2];
    // SAFETY: it reads the slice and writes the sums.
    unsafe { add_deviations(x, center, &mut sums) };
    sums
}

vectorized! {
    /// # Safety
    /// None is needed.
    unsafe fn add_deviations<F, V>(x: &[F], center: F, out: &mut [F; 2]) {
        let (mut sums, mut squares) = ([V::splat(F::zero()); 4], [V::splat(F::zero()); 4]);
        let (mut at, end, middle) = (x.as_ptr(), x.as_ptr().add(x.len()), V::splat(center));
        for _ in 0..x.len() / (4 * V::LANES) {
            for i in 0..4 {
                let x = V::load(at.add(i * V::LANES)).sub(middle);
                sums[i] = sums[i].add(x);
                squares[i] = x.mul_add(x, squares[i]);
            }
            at = at.add(4 * V::LANES);
        }
        for (out, [a, b, c, d]) in out.iter_mut().zip([sums, squares]) {
            let mut lanes = [F::zero(); MAX_LANES];
            a.add(b).add(c.add(d)).store(lanes.as_mut_ptr());
            *out = fold_lanes(lanes);
        }
        while at < end {
            let x = *at - center;
            out[0] += x;
            out[1] += x * x;
            at = at.add(1);
        }
    }
}

/// `Σ x`
pub fn sum<F: Scalar>(x: &[F]) -> F {
    sum_with(x, |x| x)
}

/// `Σ (x − mean)²`
pub fn sum_squared_deviation<F: Scalar>(x: &[F], mean: F) -> F {
    sum_with(x, move |x| (x - mean) * (x - mean))
}

/// `Σ |x|`
pub fn sum_abs<F: Scalar>(x: &[F]) -> F {
    sum_with(x, |x: F| x.abs())
}

/// `Σ x²` in `f64`: exact enough for a norm, and finite for every finite `f32`. Not finite if an element
/// is not, or if an `f64` overflows.
pub fn sum_squares<F: Scalar>(x: &[F]) -> f64 {
    /// Most sections, whose sums lie on the stack.
    const SECTIONS: usize = 64;
    let section = x.len().div_ceil(SECTIONS).next_multiple_of(PIECE).max(PIECE);
    let mut sums = [0.0; SECTIONS];
    let cut = (Read(x, section), Write(&mut sums, 1));
    parallel::chunks(cut, Cost::elements(x.len()), |_, (x, sum)| sum[0] = squares_of_section(x));
    sums.iter().sum()
}

/// Columns of a task.
const COLUMNS: usize = 256;

/// Elements summed in `F` before they go into the total.
const PIECE: usize = 4096;

fn squares_of_section<F: Scalar>(x: &[F]) -> f64 {
    x.chunks(PIECE)
        .map(|piece| {
            let fast = sum_with(piece, |x| x * x);
            if fast.is_finite() {
                fast.widen()
            } else {
                piece.iter().map(|x| x.widen() * x.widen()).sum()
            }
        })
        .sum()
}

multiversion! {
    /// `Σ g·(x − center)` and `Σ g` in one pass, with `g = gradient(x, dy)`.
    pub fn dot_and_sum<F: Scalar, G: Fn(F, F) -> F>(
        x: &[F], dy: &[F], center: F, gradient: G,
    ) -> (F, F) {
        let (mut dots, mut sums) = ([F::zero(); LANES], [F::zero(); LANES]);
        let (chunks_x, chunks_dy) = (x.chunks_exact(LANES), dy.chunks_exact(LANES));
        let mut tail = (F::zero(), F::zero());
        for (&x, &dy) in chunks_x.remainder().iter().zip(chunks_dy.remainder()) {
            let gradient = gradient(x, dy);
            tail.0 += gradient * (x - center);
            tail.1 += gradient;
        }
        for (x, dy) in chunks_x.zip(chunks_dy) {
            for l in 0..LANES {
                let gradient = gradient(x[l], dy[l]);
                dots[l] += gradient * (x[l] - center);
                sums[l] += gradient;
            }
        }
        (fold_lanes(dots) + tail.0, fold_lanes(sums) + tail.1)
    }

    /// `out = dy` where `y > 0`, else 0.
    fn mask<F: Scalar>(y: &[F], dy: &[F], out: &mut [F]) {
        for ((out, &y), &dy) in out.iter_mut().zip(y).zip(dy) {
            *out = if y > F::zero() { dy } else { F::zero() };
        }
    }

    /// The same, and adds it to `total`.
    fn mask_and_add<F: Scalar>(y: &[F], dy: &[F], out: &mut [F], total: &mut [F]) {
        for (((out, total), &y), &dy) in out.iter_mut().zip(total).zip(y).zip(dy) {
            *out = if y > F::zero() { dy } else { F::zero() };
            *total += *out;
        }
    }

    /// `out[j] += x[j]`
    pub fn add_to<F: Scalar>(x: &[F], out: &mut [F]) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out += x;
        }
    }
}

/// Adds every row of `rows` to `total`, in order.
pub fn add_rows<F: Scalar>(rows: &[F], total: &mut [F]) {
    /// Elements of a task.
    const PIECE: usize = 4096;
    let len = total.len();
    parallel::chunks(parallel::Write(total, PIECE), Cost::elements(rows.len()), |i, total| {
        for row in rows.chunks_exact(len) {
            add_to(&row[i * PIECE..][..total.len()], total);
        }
    });
}

/// `out[j] += Σ Σ x[i][j][·]` over the images and pixels of `[i][out.len()][plane]`.
pub fn add_plane_sums<F: Scalar>(x: &[F], plane: usize, out: &mut [F]) {
    let image = out.len() * plane;
    parallel::chunks(parallel::Write(out, 1), Cost::elements(x.len()), |channel, out| {
        for image in x.chunks_exact(image) {
            out[0] += sum(&image[channel * plane..][..plane]);
        }
    });
}

/// `out[j] += Σ_i x[i][j]` over the rows of a row-major matrix: the gradient of a bias.
pub fn add_column_sums<F: Scalar>(x: &[F], out: &mut [F]) {
    let width = out.len();
    parallel::chunks(Write(out, COLUMNS), Cost::elements(x.len()), |i, out| {
        for row in x.chunks_exact(width) {
            add_to(&row[i * COLUMNS..][..out.len()], out);
        }
    });
}

/// `out = dy` where `y > 0`, else 0: the gradient by what a ReLU was applied to, in rows of `width`. Adds the sums of
/// `out`'s columns to `total`, if there is one: the gradient of a bias.
pub fn mask_and_add_columns<F: Scalar>(
    width: usize,
    y: &[F],
    dy: &[F],
    out: &mut [F],
    total: Option<&mut [F]>,
) {
    let (len, out, total) = (out.len(), Shared::new(out), total.map(Shared::new));
    parallel::each(width.div_ceil(COLUMNS), Cost::elements(3 * len), |piece| {
        let first = piece * COLUMNS;
        let count = COLUMNS.min(width - first);
        for at in (first..len).step_by(width) {
            let (y, dy) = (&y[at..][..count], &dy[at..][..count]);
            // SAFETY: pieces have columns of their own.
            unsafe {
                let out = out.at(at, count);
                match &total {
                    Some(total) => mask_and_add(y, dy, out, total.at(first, count)),
                    None => mask(y, dy, out),
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_rows_equal_the_plain_ones_at_every_level() {
        crate::kernels::simd::at_every_level(|| {
            for len in [1, 7, 31, 64, 300] {
                // Whole numbers: exact in any order.
                let x: Vec<f32> = (0..3 * len).map(|i| (i * 7 % 23) as f32).collect();
                let mut got = [f32::NAN; 3];
                sums(len, &x, &mut got);
                for (row, got) in x.chunks(len).zip(got) {
                    assert_eq!(row.iter().sum::<f32>(), got, "{len}");
                }
            }
        });
    }

    #[test]
    fn sums_equal_the_plain_ones() {
        for len in [0, 1, 31, 32, 33, 100, 5000, 700_000] {
            let x: Vec<f64> = (0..len).map(|i| f64::from(i * 7 % 13) - 6.0).collect();
            let y: Vec<f64> = (0..len).map(|i| f64::from(i * 5 % 11) - 5.0).collect();
            // Small whole numbers: every order of summing is exact.
            assert_eq!(sum(&x), x.iter().sum::<f64>());
            assert_eq!(sum_abs(&x), x.iter().map(|x| x.abs()).sum::<f64>());
            assert_eq!(sum_squares(&x), x.iter().map(|x| x * x).sum::<f64>());
            assert_eq!(
                sum_squared_deviation(&x, 1.0),
                x.iter().map(|x| (x - 1.0) * (x - 1.0)).sum::<f64>()
            );
            let dot = x.iter().zip(&y).map(|(x, y)| x * (y - 2.0)).sum::<f64>();
            assert_eq!(dot_and_sum(&y, &x, 2.0, |_, dy| dy), (dot, x.iter().sum::<f64>()));
        }
    }

    #[test]
    fn a_large_f32_gradient_has_a_finite_norm() {
        assert_eq!(sum_squares(&[3e30f32, 4e30]).sqrt() as f32, 5e30);
        assert!(!sum_squares(&[1.0, f32::NAN]).is_finite());
        assert!(!sum_squares(&[1.0, f32::INFINITY]).is_finite());
    }

    #[test]
    fn a_mask_and_its_column_sums_equal_the_plain_ones() {
        for (rows, width) in [(1, 1), (3, 5), (7, 300), (200, 700)] {
            let number = |i: usize, by: usize| (i * by % 13) as f64 - 6.0;
            let y: Vec<f64> = (0..rows * width).map(|i| number(i, 7)).collect();
            let dy: Vec<f64> = (0..rows * width).map(|i| number(i, 5)).collect();
            let want: Vec<f64> =
                y.iter().zip(&dy).map(|(&y, &dy)| if y > 0.0 { dy } else { 0.0 }).collect();
            let (mut out, mut total) = (vec![f64::NAN; y.len()], vec![1.0; width]);
            mask_and_add_columns(width, &y, &dy, &mut out, Some(&mut total));
            assert_eq!(out, want);
            let mut sums = vec![1.0; width];
            add_column_sums(&want, &mut sums);
            assert_eq!(total, sums);
            out.fill(f64::NAN);
            mask_and_add_columns(width, &y, &dy, &mut out, None);
            assert_eq!(out, want);
        }
    }

    #[test]
    fn column_sums_add_to_what_is_there() {
        let mut out = [1.0f32; 300];
        add_column_sums(&vec![2.0; 900], &mut out);
        assert!(out.iter().all(|&x| x == 7.0));
    }
}
