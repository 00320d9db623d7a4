//! Kernels of 3×3 to their points, and a gradient by the points back to 3×3, a panel of filters at a time.

use super::lines;
use super::{POINTS, Tiles, plane};
use crate::Scalar;
use crate::kernels::transpose;
use crate::kernels::vector::vectorized;

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
        plane(self.channels::<T>() * T::micro().nr)
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

/// Transforms panel number `panel` of the filters for some of the channels: `points` is
/// `[point][channel][nr]`, `width` elements from point to point, zeros for channels beyond the last;
/// `kernels` is working memory for `[channel][3][3][nr]`.
#[allow(clippy::too_many_arguments)]
pub(super) fn spread_weight<T: Scalar>(
    tiles: &Tiles,
    weight: &[T],
    turn: Turn,
    panel: usize,
    channels: std::ops::Range<usize>,
    (points, width): (&mut [T], usize),
    kernels: &mut [T],
) {
    let micro = T::micro();
    let (nr, filters) = (micro.nr, tiles.geometry.filters);
    let first = panel * nr;
    let count = nr.min(filters - first);
    let kernels = &mut kernels[..channels.len() * TAPS * nr];
    match turn {
        Turn::Forward => {
            let inner = tiles.geometry.channels * TAPS;
            let from = first * inner + channels.start * TAPS;
            transpose::pack(micro, &weight[from..], inner, count, nr, kernels);
        }
        Turn::Around => {
            let rows = weight.chunks_exact(filters * TAPS).skip(channels.start);
            for (kernel, row) in kernels.chunks_exact_mut(TAPS * nr).zip(rows) {
                transpose::pack(micro, &row[first * TAPS..], TAPS, count, nr, kernel);
            }
        }
    }
    assert!((POINTS - 1) * width + channels.len() * nr <= points.len());
    // SAFETY: `kernels` holds 9 rows of `nr` for each channel, `points` is long enough by the assert.
    unsafe {
        let kernels = kernels.as_ptr();
        spread_kernels(kernels, channels.len(), turn == Turn::Around, points.as_mut_ptr(), width);
    }
    let used = channels.len() * nr;
    for points in points.chunks_mut(width).take(POINTS) {
        let end = width.min(points.len());
        points[used..end].fill(T::zero());
    }
}

/// `kernels[channel][3][3][nr] = Gᵀ dU G`, the adjoint, from points `width` elements apart.
pub(super) fn collect_kernels<T: Scalar>(points: &[T], width: usize, kernels: &mut [T]) {
    let channels = kernels.len() / (TAPS * T::micro().nr);
    assert!((POINTS - 1) * width + channels * T::micro().nr <= points.len());
    // SAFETY: `points` is long enough by the assert, `kernels` holds 9 rows of `nr` for each channel.
    unsafe { collect_weight_rows(points.as_ptr(), width, channels, kernels.as_mut_ptr()) }
}

vectorized! {
    /// `points[point][channel][nr] = G g Gᵀ` for each channel's kernel.
    unsafe fn spread_kernels<F, V>(
        kernels: *const F, channels: usize, around: bool, points: *mut F, width: usize,
    ) {
        let nr = 2 * V::LANES;
        for at in (0..channels * nr).step_by(V::LANES) {
            let kernel = kernels.add(at / nr * TAPS * nr + at % nr);
            let mut elements = [V::splat(F::zero()); TAPS];
            for (tap, element) in elements.iter_mut().enumerate() {
                *element = V::load(kernel.add(if around { TAPS - 1 - tap } else { tap } * nr));
            }
            let mut rows = [[V::splat(F::zero()); 3]; 6];
            for col in 0..3 {
                let taps = [elements[col], elements[3 + col], elements[6 + col]];
                for (row, value) in rows.iter_mut().zip(lines::weight::<F, V>(taps)) {
                    row[col] = value;
                }
            }
            for (row, taps) in rows.into_iter().enumerate() {
                let values = lines::weight::<F, V>(taps);
                for (col, value) in values.into_iter().enumerate() {
                    value.store(points.add((row * 6 + col) * width + at));
                }
            }
        }
    }

    /// The loop of [`collect_kernels`].
    unsafe fn collect_weight_rows<F, V>(
        points: *const F, width: usize, channels: usize, kernels: *mut F,
    ) {
        let nr = 2 * V::LANES;
        for at in (0..channels * nr).step_by(V::LANES) {
            let kernel = kernels.add(at / nr * TAPS * nr + at % nr);
            let mut columns = [[V::splat(F::zero()); 6]; 3];
            for row in 0..6 {
                let points = lines::load(points.add(row * 6 * width + at), width, 6);
                for (column, value) in columns.iter_mut().zip(lines::weight_gradient::<F, V>(points)) {
                    column[row] = value;
                }
            }
            for (col, column) in columns.into_iter().enumerate() {
                for (row, value) in lines::weight_gradient::<F, V>(column).into_iter().enumerate() {
                    value.store(kernel.add((row * 3 + col) * nr));
                }
            }
        }
    }
}
