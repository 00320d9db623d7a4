//! A slope below zero, learned: one for all elements, or one for each channel.
//!
//! Samples are `[c, p]`: `c` slopes, each for `p` elements side by side. One slope for all is `c = 1` with any `p`.

use super::elementwise::PIECE;
use super::parallel::{self, Cost, Read, Write};
use super::reduce::{self, LANES, fold_lanes};
use super::simd::multiversion;
use crate::Scalar;

/// Elements of a task: whole samples.
fn piece(channels: usize, plane: usize) -> usize {
    let sample = channels * plane;
    sample * (PIECE / sample.max(1)).max(1)
}

multiversion! {
    fn forward_piece<F: Scalar>(plane: usize, slopes: &[F], x: &[F], y: &mut [F]) {
        let bend = |x: F, slope: F| if x > F::zero() { x } else { slope * x };
        if plane == 1 {
            for (x, y) in x.chunks(slopes.len()).zip(y.chunks_mut(slopes.len())) {
                for ((y, &x), &slope) in y.iter_mut().zip(x).zip(slopes) {
                    *y = bend(x, slope);
                }
            }
            return;
        }
        for ((x, y), &slope) in x.chunks(plane).zip(y.chunks_mut(plane)).zip(slopes.iter().cycle()) {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = bend(x, slope);
            }
        }
    }

    fn backward_piece<F: Scalar>(plane: usize, slopes: &[F], x: &[F], dy: &[F], dx: &mut [F]) {
        let bend = |x: F, dy: F, slope: F| if x > F::zero() { dy } else { slope * dy };
        if plane == 1 {
            let samples = x.chunks(slopes.len()).zip(dy.chunks(slopes.len()));
            for ((x, dy), dx) in samples.zip(dx.chunks_mut(slopes.len())) {
                for (((dx, &x), &dy), &slope) in dx.iter_mut().zip(x).zip(dy).zip(slopes) {
                    *dx = bend(x, dy, slope);
                }
            }
            return;
        }
        let planes = x.chunks(plane).zip(dy.chunks(plane)).zip(dx.chunks_mut(plane));
        for (((x, dy), dx), &slope) in planes.zip(slopes.iter().cycle()) {
            for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
                *dx = bend(x, dy, slope);
            }
        }
    }

    /// Adds `Σ x · dy` over the elements that are not above 0 to each channel's sum.
    fn slope_piece<F: Scalar>(plane: usize, x: &[F], dy: &[F], sums: &mut [F]) {
        let share = |x: F, dy: F| if x > F::zero() { F::zero() } else { x * dy };
        if plane == 1 {
            for (x, dy) in x.chunks(sums.len()).zip(dy.chunks(sums.len())) {
                for ((sum, &x), &dy) in sums.iter_mut().zip(x).zip(dy) {
                    *sum += share(x, dy);
                }
            }
            return;
        }
        let channels = sums.len();
        for (at, (x, dy)) in x.chunks(plane).zip(dy.chunks(plane)).enumerate() {
            let mut lanes = [F::zero(); LANES];
            let ((x, x_tail), (dy, dy_tail)) = (x.as_chunks::<LANES>(), dy.as_chunks::<LANES>());
            for (x, dy) in x.iter().zip(dy) {
                for l in 0..LANES {
                    lanes[l] += share(x[l], dy[l]);
                }
            }
            let tail = x_tail.iter().zip(dy_tail).fold(F::zero(), |sum, (&x, &dy)| sum + share(x, dy));
            sums[at % channels] += fold_lanes(lanes) + tail;
        }
    }
}

/// `y = x` above 0, else `slope · x`.
pub fn forward<F: Scalar>(plane: usize, slopes: &[F], x: &[F], y: &mut [F]) {
    let piece = piece(slopes.len(), plane);
    parallel::chunks(
        (Read(x, piece), Write(y, piece)),
        Cost::elements(2 * x.len()),
        |_, (x, y)| {
            forward_piece(plane, slopes, x, y);
        },
    );
}

/// Gradient of [`forward`] by `x`.
pub fn backward<F: Scalar>(plane: usize, slopes: &[F], x: &[F], dy: &[F], dx: &mut [F]) {
    let piece = piece(slopes.len(), plane);
    let pieces = (Read(x, piece), Read(dy, piece), Write(dx, piece));
    parallel::chunks(pieces, Cost::elements(3 * x.len()), |_, (x, dy, dx)| {
        backward_piece(plane, slopes, x, dy, dx);
    });
}

/// Elements of scratch memory that [`backward_slopes`] needs for `len` elements.
pub fn scratch_len(channels: usize, plane: usize, len: usize) -> usize {
    len.div_ceil(piece(channels, plane).max(1)) * channels
}

/// Adds the gradient of [`forward`] by the slopes.
pub fn backward_slopes<F: Scalar>(
    plane: usize,
    x: &[F],
    dy: &[F],
    dslopes: &mut [F],
    scratch: &mut [F],
) {
    let channels = dslopes.len();
    let piece = piece(channels, plane);
    scratch.fill(F::zero());
    let pieces = (Read(x, piece), Read(dy, piece), Write(&mut *scratch, channels));
    parallel::chunks(pieces, Cost::elements(2 * x.len()), |_, (x, dy, sums)| {
        slope_piece(plane, x, dy, sums);
    });
    reduce::add_rows(scratch, dslopes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;
    use crate::kernels::simd;

    #[test]
    fn odd_sizes_equal_the_definition_at_every_level() {
        simd::at_every_level(|| {
            for (n, c, p) in [(3, 5, 1), (2, 3, 35), (1, 1, 7), (70, 33, 9), (5, 700, 1)] {
                let mut rng = Seed::new(1).rng();
                let mut random = || (0..n * c * p).map(|_| rng.normal()).collect::<Vec<f64>>();
                let (x, dy) = (random(), random());
                let slopes: Vec<f64> = (0..c).map(|c| 0.1 * c as f64 - 0.2).collect();
                let (mut y, mut dx) = (vec![f64::NAN; x.len()], vec![f64::NAN; x.len()]);
                let mut dslopes = vec![1.0; c];
                let mut scratch = vec![f64::NAN; scratch_len(c, p, x.len())];
                forward(p, &slopes, &x, &mut y);
                backward(p, &slopes, &x, &dy, &mut dx);
                backward_slopes(p, &x, &dy, &mut dslopes, &mut scratch);
                let mut expected = vec![1.0; c];
                for i in 0..x.len() {
                    let channel = i / p % c;
                    let slope = if x[i] > 0.0 { 1.0 } else { slopes[channel] };
                    assert_eq!((y[i], dx[i]), (slope * x[i], slope * dy[i]));
                    expected[channel] += if x[i] > 0.0 { 0.0 } else { x[i] * dy[i] };
                }
                // As many terms as a channel has, in another order.
                let tolerance = f64::EPSILON * (n * p) as f64 * 10.0;
                let close = |(a, b): (&f64, &f64)| (a - b).abs() <= tolerance;
                assert!(dslopes.iter().zip(&expected).all(close), "{n} {c} {p}");
            }
        });
    }
}
