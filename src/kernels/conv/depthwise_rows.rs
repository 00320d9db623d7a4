//! The inner loops of depthwise convolutions: rows that are sums of weighted pieces of other rows, and dot products of
//! rows, in whole registers.

use crate::Scalar;
use crate::kernels::vector::{Vector, vectorized};

/// A row to be computed: `to[at + j] = start + Σ weight[tap] · from[place + j]` for `j < len`, summed over the sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) at: usize,
    pub(super) len: usize,
    /// Which of all sources are its own.
    pub(super) sources: std::ops::Range<usize>,
}

/// A weight and where the piece begins that it multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) tap: usize,
    pub(super) place: usize,
}

/// `C` registers of a row; of the last one the first `last` elements, all if 0.
///
/// # Safety
/// As [`rows`]; the row has so many elements from `j` on.
#[inline(always)]
unsafe fn tile<V: Vector, const C: usize>(
    sources: &[Source],
    weight: *const V::Element,
    from: *const V::Element,
    start: V::Element,
    to: *mut V::Element,
    last: usize,
) where
    V::Element: Copy,
{
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [V::splat(start); C];
        for source in sources {
            let (weight, from) = (V::splat(*weight.add(source.tap)), from.add(source.place));
            for (c, sum) in sums.iter_mut().enumerate() {
                let from = from.add(c * V::LANES);
                let x = if last > 0 { V::load_first(from, last) } else { V::load(from) };
                *sum = x.mul_add(weight, *sum);
            }
        }
        for (c, sum) in sums.into_iter().enumerate() {
            let to = to.add(c * V::LANES);
            if last > 0 { sum.store_first(to, last) } else { sum.store(to) }
        }
    }
}

/// Most weights whose sums are kept in registers together: a kernel of 3 × 3.
const TAPS: usize = 9;

/// `totals[t] += Σ dy[i][j] · x[i · step + j + offsets[t]]` for `N` weights.
///
/// # Safety
/// As [`dots`].
#[inline(always)]
unsafe fn dots_of<V: Vector, const N: usize>(
    [rows, width, step]: [usize; 3],
    offsets: &[usize],
    x: *const V::Element,
    dy: *const V::Element,
    totals: &mut [f64],
) where
    V::Element: Scalar,
{
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [V::splat(V::Element::default()); N];
        for i in 0..rows {
            let (x, dy, mut j) = (x.add(i * step), dy.add(i * width), 0);
            while j + V::LANES <= width {
                let dy = V::load(dy.add(j));
                for (sum, &offset) in sums.iter_mut().zip(offsets) {
                    *sum = V::load(x.add(j + offset)).mul_add(dy, *sum);
                }
                j += V::LANES;
            }
            if j < width {
                let dy = V::load_first(dy.add(j), width - j);
                for (sum, &offset) in sums.iter_mut().zip(offsets) {
                    *sum = V::load_first(x.add(j + offset), width - j).mul_add(dy, *sum);
                }
            }
        }
        for (sum, total) in sums.into_iter().zip(totals) {
            *total += fold(sum);
        }
    }
}

/// The sum of a register's elements.
#[inline(always)]
fn fold<V: Vector>(sum: V) -> f64
where
    V::Element: Scalar,
{
    let mut lanes = [V::Element::default(); 16];
    // SAFETY: no register has more elements.
    unsafe { sum.store(lanes.as_mut_ptr()) };
    crate::kernels::reduce::fold_lanes(lanes).widen()
}

vectorized! {
    /// Computes rows; `start` is where every sum begins.
    ///
    /// # Safety
    /// Every row lies inside `to`, every source's piece inside `from`, every tap inside `weight`.
    pub(super) unsafe fn rows<F, V>(
        rows: &[Row], sources: &[Source], weight: *const F, from: *const F, start: F, to: *mut F,
    ) {
        for row in rows {
            let sources = &sources[row.sources.clone()];
            let mut j = 0;
            macro_rules! tiles {
                ($count:literal) => {
                    while j + $count * V::LANES <= row.len {
                        tile::<V, $count>(sources, weight, from.add(j), start, to.add(row.at + j), 0);
                        j += $count * V::LANES;
                    }
                };
            }
            tiles!(4);
            tiles!(2);
            tiles!(1);
            if j < row.len {
                tile::<V, 1>(sources, weight, from.add(j), start, to.add(row.at + j), row.len - j);
            }
        }
    }

    /// `totals[t] += Σ dy[i][j] · x[i · step + j + offsets[t]]` over `rows` of `width`.
    ///
    /// # Safety
    /// `dy` has `rows · width` elements, and `x` every element that is named.
    pub(super) unsafe fn dots<F, V>(
        sizes: [usize; 3], offsets: &[usize], x: *const F, dy: *const F, totals: &mut [f64],
    ) {
        let (mut offsets, mut totals) = (offsets, totals);
        macro_rules! taps {
            ($count:expr) => {
                while offsets.len() >= $count {
                    let (some, rest) = totals.split_at_mut($count);
                    dots_of::<V, { $count }>(sizes, &offsets[..$count], x, dy, some);
                    (offsets, totals) = (&offsets[$count..], rest);
                }
            };
        }
        taps!(TAPS);
        taps!(4);
        taps!(1);
        let _ = totals;
    }
}
