//! Kernels of 3×3 to their points, and a gradient by the points back to 3×3, a panel of filters at a time.

use super::lines::{self, LANES, Lanes};
use super::{POINTS, Tiles, plane};
use crate::Scalar;
use crate::kernels::simd::multiversion;
use crate::kernels::transpose;

/// Elements of a 3×3 kernel.
pub(super) const TAPS: usize = 9;

/// Which way a weight is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernels::conv) enum Turn {
    /// As it is: `[filters][channels][3][3]`.
    Forward,
    /// For the gradient by the input, which has channels and filters exchanged and kernels turned
    /// around: the stored weight is `[channels][filters][3][3]`.
    Around,
}

impl Tiles {
    /// Elements from point to point of one panel of transformed filters.
    pub(super) fn weight_plane<T: Scalar>(&self) -> usize {
        plane(self.channels() * T::micro().nr)
    }

    /// Elements of one panel of transformed filters, `[point][channel][nr]`.
    pub(super) fn weight_panel<T: Scalar>(&self) -> usize {
        POINTS * self.weight_plane::<T>()
    }

    /// Elements of one panel of filters as they are, `[channel][3][3][nr]`.
    pub(super) fn kernels_len<T: Scalar>(&self) -> usize {
        self.geometry.channels * TAPS * T::micro().nr
    }
}

/// Transforms panel number `panel` of the filters; `kernels` is working memory.
pub(super) fn spread_weight<T: Scalar>(
    tiles: &Tiles,
    weight: &[T],
    turn: Turn,
    panel: usize,
    points: &mut [T],
    kernels: &mut [T],
) {
    let micro = T::micro();
    let (nr, channels, filters) = (micro.nr, tiles.geometry.channels, tiles.geometry.filters);
    let first = panel * nr;
    let count = nr.min(filters - first);
    match turn {
        Turn::Forward => {
            let inner = channels * TAPS;
            transpose::pack(micro, &weight[first * inner..], inner, count, nr, kernels);
        }
        Turn::Around => {
            let rows = weight.chunks_exact(filters * TAPS);
            for (kernel, row) in kernels.chunks_exact_mut(TAPS * nr).zip(rows) {
                transpose::pack(micro, &row[first * TAPS..], TAPS, count, nr, kernel);
            }
        }
    }
    spread_kernels(kernels, nr, turn == Turn::Around, points);
}

multiversion! {
    /// `points[point][channel][nr] = G g Gᵀ` for each channel's kernel, zeros for channels beyond.
    fn spread_kernels<F: Scalar>(kernels: &[F], nr: usize, around: bool, points: &mut [F]) {
        let plane = points.len() / POINTS;
        for (channel, kernel) in kernels.chunks_exact(TAPS * nr).enumerate() {
            for lane in (0..nr).step_by(LANES) {
                let element = |at: usize| {
                    Lanes::load(&kernel[if around { TAPS - 1 - at } else { at } * nr + lane..])
                };
                let columns: [[Lanes<F>; 6]; 3] = std::array::from_fn(|col| {
                    lines::weight([element(col), element(3 + col), element(6 + col)])
                });
                let points = &mut points[channel * nr + lane..][..(POINTS - 1) * plane + LANES];
                for row in 0..6 {
                    let values = lines::weight([columns[0][row], columns[1][row], columns[2][row]]);
                    for (col, value) in values.into_iter().enumerate() {
                        value.store(&mut points[(row * 6 + col) * plane..]);
                    }
                }
            }
        }
        let used = kernels.len() / TAPS;
        for points in points.chunks_exact_mut(plane) {
            points[used..].fill(F::zero());
        }
    }

    /// `kernels[channel][3][3][nr] = Gᵀ dU G`, the adjoint.
    pub(super) fn collect_kernels<F: Scalar>(points: &[F], nr: usize, kernels: &mut [F]) {
        let plane = points.len() / POINTS;
        for (channel, kernel) in kernels.chunks_exact_mut(TAPS * nr).enumerate() {
            for lane in (0..nr).step_by(LANES) {
                let points = &points[channel * nr + lane..];
                let rows: [[Lanes<F>; 3]; 6] = std::array::from_fn(|row| {
                    lines::weight_gradient(std::array::from_fn(|col| {
                        Lanes::load(&points[(row * 6 + col) * plane..])
                    }))
                });
                for col in 0..3 {
                    let values = lines::weight_gradient(std::array::from_fn(|row| rows[row][col]));
                    for (row, value) in values.into_iter().enumerate() {
                        value.store(&mut kernel[(row * 3 + col) * nr + lane..]);
                    }
                }
            }
        }
    }
}
