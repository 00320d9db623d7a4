//! The last step of a fold: shares of a panel of outputs are added where their windows lie.

use super::Geometry;
use crate::Scalar;
use crate::kernels::micro::MAX_NR;
use crate::kernels::vector::{Vector, vectorized};

/// Where shares go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) channels: usize,
    /// Rows and columns of a channel.
    pub(super) plane: [usize; 2],
    pub(super) kernel: [usize; 2],
    pub(super) dilation: [usize; 2],
    pub(super) stride: usize,
    /// Elements of a row of shares: a panel.
    pub(super) pitch: usize,
}

impl Target {
    pub(super) fn new(geometry: &Geometry, plane: [usize; 2], pitch: usize) -> Self {
        let Geometry { channels, groups, kernel, dilation, stride, .. } = *geometry;
        Self { channels: channels / groups, plane, kernel, dilation, stride: stride[1], pitch }
    }

    /// Elements of the target: one more than the planes have, which gets zeros only.
    pub(super) fn len(&self) -> usize {
        self.channels * self.plane[0] * self.plane[1] + 1
    }

    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }
}

/// Outputs of one row in a panel.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    /// The first one's number in the panel, and how many.
    first: usize,
    len: usize,
    /// Where its window begins.
    place: usize,
}

/// The runs of a panel: outputs `first .. first + count` of a plane.
fn runs(geometry: &Geometry, width: usize, first: usize, count: usize) -> ([Run; MAX_NR], usize) {
    let (mut runs, mut used, mut at) = ([Run::default(); MAX_NR], 0, 0);
    while at < count {
        let (row, col) = ((first + at) / geometry.output[1], (first + at) % geometry.output[1]);
        let len = (geometry.output[1] - col).min(count - at);
        let place = row * geometry.stride[0] * width + col * geometry.stride[1];
        runs[used] = Run { first: at, len, place };
        used += 1;
        at += len;
    }
    (runs, used)
}

/// Adds `shares[k][j]` of outputs `first .. first + count`, `[taps of all channels][pitch]`, to where element `k` of the
/// window of output `first + j` lies.
pub(super) fn scatter<T: Scalar>(
    geometry: &Geometry,
    target: &Target,
    (first, count): (usize, usize),
    shares: &[T],
    to: &mut [T],
) {
    let (runs, used) = runs(geometry, target.plane[1], first, count);
    assert!(count <= target.pitch && to.len() >= target.len(), "a panel, and all planes");
    assert!(shares.len() >= target.channels * target.taps() * target.pitch, "a row for each tap");
    match (target.stride, target.dilation[1]) {
        // SAFETY: shares and targets are there by the asserts above; windows end in the plane, by its size.
        (1, _) | (2, 1) => unsafe {
            add_rows(target, &runs[..used], shares.as_ptr(), to.as_mut_ptr())
        },
        _ => add_each(target, &runs[..used], shares, to),
    }
}

/// For any stride, and the safe twin of [`add_rows`].
fn add_each<T: Scalar>(target: &Target, runs: &[Run], shares: &[T], to: &mut [T]) {
    let Target { plane: [h, w], kernel, dilation, stride, pitch, .. } = *target;
    for (k, shares) in shares.chunks_exact(pitch).enumerate().take(target.channels * target.taps())
    {
        let (channel, at) = (k / target.taps(), k % target.taps());
        let (kh, kw) = (at / kernel[1], at % kernel[1]);
        let offset = (channel * h + kh * dilation[0]) * w + kw * dilation[1];
        for run in runs {
            let to = to[offset + run.place..].iter_mut().step_by(stride);
            for (to, &share) in to.zip(&shares[run.first..][..run.len]) {
                *to += share;
            }
        }
    }
}

/// `to[j] += from[j]` for `j < count`, at most a register.
///
/// # Safety
/// There are so many elements of `to`.
#[inline(always)]
unsafe fn add<V: Vector>(from: V, to: *mut V::Element, count: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if count >= V::LANES {
            V::load(to).add(from).store(to);
        } else if count > 0 {
            V::load_first(to, count).add(from).store_first(to, count);
        }
    }
}

/// As many elements of `from` as a register or `count` has.
///
/// # Safety
/// There are so many.
#[inline(always)]
unsafe fn load<V: Vector>(from: *const V::Element, count: usize) -> V {
    // SAFETY: the caller's promise.
    unsafe { if count >= V::LANES { V::load(from) } else { V::load_first(from, count) } }
}

/// A run's shares by one element of a row of the kernel, or by two side by side, `pitch` apart.
///
/// # Safety
/// As `add_rows`.
#[inline(always)]
unsafe fn add_run<V: Vector>(
    (from, to): (*const V::Element, *mut V::Element),
    len: usize,
    stride: usize,
    pitch: Option<usize>,
) where
    V::Element: Scalar,
{
    let mut j = 0;
    while j < len {
        let rest = len - j;
        // SAFETY: the caller's promise.
        unsafe {
            let (from, to) = (from.add(j), to.add(stride * j));
            let first = load::<V>(from, rest);
            if stride == 1 {
                add(first, to, rest);
            } else {
                let second = match pitch {
                    Some(pitch) => load::<V>(from.add(pitch), rest),
                    None => V::splat(V::Element::default()),
                };
                let [low, high] = first.zip(second);
                add(low, to, 2 * rest);
                add(high, to.add(V::LANES), (2 * rest).saturating_sub(V::LANES));
            }
        }
        j += V::LANES;
    }
}

vectorized! {
    /// For stride 1, and for stride 2 without dilation: there the shares of two neighbouring elements of a kernel's row,
    /// in turn, are added to neighbours; the last of an odd row is paired with zeros.
    ///
    /// # Safety
    /// `shares` and `to` are as long as `target` says; every window of the runs lies in the planes.
    unsafe fn add_rows<F, V>(target: &Target, runs: &[Run], shares: *const F, to: *mut F) {
        let Target { channels, plane: [h, w], kernel, dilation, stride, pitch, .. } = *target;
        let mut kw = 0;
        // All lines by the same elements, then by the next: what these add to overlaps, and a processor waits for stores
        // that a load covers in part.
        while kw < kernel[1] {
            let second = (stride == 2 && kw + 1 < kernel[1]).then_some(pitch);
            for channel in 0..channels {
                for kh in 0..kernel[0] {
                    let from = shares.add(((channel * kernel[0] + kh) * kernel[1] + kw) * pitch);
                    let to = to.add((channel * h + kh * dilation[0]) * w + kw * dilation[1]);
                    for run in runs {
                        let places = (from.add(run.first), to.add(run.place));
                        add_run::<V>(places, run.len, stride, second);
                    }
                }
            }
            kw += stride;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;
    use crate::kernels::simd;

    fn compare<T: Scalar>(width: usize, kernel: [usize; 2], stride: usize, dilation: usize) {
        let reach = dilation * (kernel[1] - 1);
        let plane = [2 * stride + kernel[0], (width - 1) * stride + reach + 1];
        let geometry = Geometry {
            channels: 2,
            filters: 1,
            groups: 1,
            input: plane,
            output: [3, width],
            kernel,
            stride: [stride; 2],
            padding: [0; 2],
            dilation: [1, dilation],
        };
        let target = Target::new(&geometry, plane, MAX_NR);
        let mut rng = Seed::new(1).rng();
        let shares: Vec<T> =
            (0..2 * target.taps() * MAX_NR).map(|_| T::lit(rng.normal())).collect();
        for first in (0..3 * width).step_by(MAX_NR) {
            let count = MAX_NR.min(3 * width - first);
            let (mut got, mut want) = (vec![T::one(); target.len()], vec![T::one(); target.len()]);
            scatter(&geometry, &target, (first, count), &shares, &mut got);
            let (runs, used) = runs(&geometry, plane[1], first, count);
            add_each(&target, &runs[..used], &shares, &mut want);
            for (got, want) in got.iter().zip(&want) {
                // Of a few sums of normal numbers, in another order.
                assert!((got.widen() - want.widen()).abs() < 40.0 * T::epsilon().widen());
            }
        }
    }

    #[test]
    fn shares_are_added_where_windows_lie_at_every_level() {
        simd::at_every_level(|| {
            for width in [1, 3, 8, 16, 17, 70] {
                for (kernel, stride, dilation) in [
                    ([4, 4], 2, 1),
                    ([3, 3], 2, 1),
                    ([1, 5], 1, 2),
                    ([2, 1], 2, 1),
                    ([3, 2], 3, 1),
                    ([2, 3], 2, 2),
                ] {
                    compare::<f32>(width, kernel, stride, dilation);
                    compare::<f64>(width, kernel, stride, dilation);
                }
            }
        });
    }
}
