//! Turning small squares in registers: what packing a transposed factor comes down to.

use super::micro::{MAX_LANES, MAX_NR, Micro};
use super::parallel::Shared;
use crate::Scalar;

/// `transpose(source, stride, rows, out, out_stride)`: `out[p][i] = source[i][p]` for a square of as many
/// elements a side as [`Micro::squares`] says. Rows from `rows` on are copies of the last.
pub(super) type Transpose<T> = unsafe fn(*const T, usize, usize, *mut T, usize);

/// `panel[p][i] = source[p + i · stride]` for `i < count`, rows of `width ≥ count`; zeros beyond `count`.
pub(crate) fn pack<T: Scalar>(
    micro: &Micro<T>,
    source: &[T],
    stride: usize,
    count: usize,
    width: usize,
    panel: &mut [T],
) {
    let depth = panel.len() / width;
    assert!(
        count <= width
            && (count == 0 || depth == 0 || (count - 1) * stride + depth <= source.len())
    );
    let mut done = 0;
    // A square may write beyond its row, into what is written after it: squares to the right come first,
    // and enough rows follow.
    let fits = |&&(side, _): &&(usize, Transpose<T>)| {
        let beyond = count.next_multiple_of(side).saturating_sub(width).div_ceil(width);
        count > 0 && side + beyond <= depth
    };
    if let Some(&(side, transpose)) = micro.squares.iter().find(fits) {
        done = depth - count.next_multiple_of(side).saturating_sub(width).div_ceil(width);
        for p in starts(done, side) {
            for i in (0..count).step_by(side).rev() {
                // SAFETY: rows i .. i + min(side, count - i) and columns p .. p + side ≤ done ≤ depth are in
                // `source` by the assert above. The last element written is number
                // (p + side - 1) · width + i + side - 1, where i + side ≤ the next multiple of `side`,
                // which is at most `depth - done` rows beyond the end of row p + side - 1 < done.
                unsafe {
                    let from = source.as_ptr().add(i * stride + p);
                    let to = panel.as_mut_ptr().add(p * width + i);
                    transpose(from, stride, side.min(count - i), to, width);
                }
            }
        }
    }
    for (p, row) in panel.chunks_exact_mut(width).enumerate() {
        if p >= done {
            for (i, value) in row[..count].iter_mut().enumerate() {
                *value = source[i * stride + p];
            }
        }
        row[count..].fill(T::zero());
    }
}

/// Where squares of `side` begin that cover `len` elements: the last may overlap the one before.
fn starts(len: usize, side: usize) -> impl Iterator<Item = usize> {
    (0..len.div_ceil(side)).map(move |i| (i * side).min(len - side))
}

/// The way back: `out[at + i · stride + p] = source[p · width + i]` for `i < count`, all `p`; the last row of
/// `source` may end after `count` elements.
///
/// # Safety
/// No other task touches these elements of `out` meanwhile.
pub(crate) unsafe fn unpack<T: Scalar>(
    micro: &Micro<T>,
    (source, width): (&[T], usize),
    count: usize,
    out: &Shared<'_, T>,
    at: usize,
    stride: usize,
) {
    let depth = depth_of(source, width, count);
    if count == 0 || depth == 0 {
        return;
    }
    assert!(count <= width);
    let out = out.pointer(at, (count - 1) * stride + depth);
    let fits = |&&(side, _): &&(usize, Transpose<T>)| side <= depth.min(count);
    let (mut whole, mut squares) = (0, 0);
    if let Some(&(side, transpose)) = micro.squares.iter().find(fits) {
        (whole, squares) = (depth, count / side * side);
        for p in starts(depth, side) {
            for i in (0..squares).step_by(side) {
                // SAFETY: rows p .. p + side ≤ depth of `source`, columns i .. i + side ≤ count, which
                // every row has; the
                // last element written is i + side - 1 < count planes and p + side - 1 < depth elements
                // on, inside what `pointer` checked; the caller keeps other tasks away.
                unsafe {
                    let from = source.as_ptr().add(p * width + i);
                    transpose(from, width, side, out.add(i * stride + p), stride);
                }
            }
        }
    }
    for p in 0..depth {
        let done = if p < whole { squares } else { 0 };
        for (i, &value) in source[p * width..][..count].iter().enumerate().skip(done) {
            // SAFETY: i < count and p < depth, as above.
            unsafe { *out.add(i * stride + p) = value }
        }
    }
}

/// `out[at + i · stride + p] += source[p · width + i]` for `i < count ≤` [`MAX_NR`], all `p`; the last row of
/// `source` may end after `count` elements.
///
/// # Safety
/// No other task touches these elements of `out` meanwhile.
pub(crate) unsafe fn add<T: Scalar>(
    micro: &Micro<T>,
    (source, width): (&[T], usize),
    count: usize,
    out: &Shared<'_, T>,
    at: usize,
    stride: usize,
) {
    let mut square = [T::zero(); MAX_NR * MAX_LANES];
    let depth = depth_of(source, width, count);
    for p in (0..depth).step_by(MAX_LANES) {
        let columns = MAX_LANES.min(depth - p);
        let square = &mut square[..count * columns];
        let end = (p + columns - 1) * width + count;
        // SAFETY: the square is this task's.
        unsafe {
            unpack(micro, (&source[p * width..end], width), count, &Shared::new(square), 0, columns)
        }
        for (i, square) in square.chunks_exact(columns).enumerate() {
            // SAFETY: the caller keeps other tasks away.
            let out = unsafe { out.at(at + i * stride + p, columns) };
            out.iter_mut().zip(square).for_each(|(out, &value)| *out += value);
        }
    }
}

/// Rows of `width` elements in `source`, of which the last may have only `count`.
fn depth_of<T>(source: &[T], width: usize, count: usize) -> usize {
    (source.len() + width).saturating_sub(count) / width
}

/// Squares of 4 by 4, for any target.
///
/// # Safety
/// `source` is readable at `i · stride + p` for `i < rows`, `p < 4`; `out` is writable at
/// `p · out_stride + i` for `i`, `p < 4`.
pub(super) unsafe fn plain<T: Scalar>(
    source: *const T,
    stride: usize,
    rows: usize,
    out: *mut T,
    out_stride: usize,
) {
    for p in 0..4 {
        for i in 0..4 {
            // SAFETY: the caller's promise.
            unsafe { *out.add(p * out_stride + i) = *source.add(i.min(rows - 1) * stride + p) }
        }
    }
}

/// Squares of 8 by 8.
///
/// # Safety
/// As [`plain`], with 8 for 4.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn avx2_f32(
    source: *const f32,
    stride: usize,
    rows: usize,
    out: *mut f32,
    out_stride: usize,
) {
    use std::arch::x86_64::*;
    // SAFETY: the caller's promise.
    let load = |i: usize| unsafe { _mm256_loadu_ps(source.add(i.min(rows - 1) * stride)) };
    let r: [__m256; 8] = [load(0), load(1), load(2), load(3), load(4), load(5), load(6), load(7)];
    // Pairs of rows, then fours, then halves.
    let low = |a, b| _mm256_unpacklo_ps(a, b);
    let high = |a, b| _mm256_unpackhi_ps(a, b);
    let (a0, a1, a2, a3) = (low(r[0], r[1]), high(r[0], r[1]), low(r[2], r[3]), high(r[2], r[3]));
    let (a4, a5, a6, a7) = (low(r[4], r[5]), high(r[4], r[5]), low(r[6], r[7]), high(r[6], r[7]));
    let left = |a, b| _mm256_shuffle_ps::<0x44>(a, b);
    let right = |a, b| _mm256_shuffle_ps::<0xee>(a, b);
    let (b0, b1, b2, b3) = (left(a0, a2), right(a0, a2), left(a1, a3), right(a1, a3));
    let (b4, b5, b6, b7) = (left(a4, a6), right(a4, a6), left(a5, a7), right(a5, a7));
    let first = |a, b| _mm256_permute2f128_ps::<0x20>(a, b);
    let second = |a, b| _mm256_permute2f128_ps::<0x31>(a, b);
    let columns = [
        first(b0, b4),
        first(b1, b5),
        first(b2, b6),
        first(b3, b7),
        second(b0, b4),
        second(b1, b5),
        second(b2, b6),
        second(b3, b7),
    ];
    for (p, column) in columns.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_ps(out.add(p * out_stride), column) }
    }
}

/// Squares of 4 by 4.
///
/// # Safety
/// As [`plain`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn avx2_f64(
    source: *const f64,
    stride: usize,
    rows: usize,
    out: *mut f64,
    out_stride: usize,
) {
    use std::arch::x86_64::*;
    // SAFETY: the caller's promise.
    let load = |i: usize| unsafe { _mm256_loadu_pd(source.add(i.min(rows - 1) * stride)) };
    let r: [__m256d; 4] = [load(0), load(1), load(2), load(3)];
    let (a0, a1) = (_mm256_unpacklo_pd(r[0], r[1]), _mm256_unpackhi_pd(r[0], r[1]));
    let (a2, a3) = (_mm256_unpacklo_pd(r[2], r[3]), _mm256_unpackhi_pd(r[2], r[3]));
    let columns = [
        _mm256_permute2f128_pd::<0x20>(a0, a2),
        _mm256_permute2f128_pd::<0x20>(a1, a3),
        _mm256_permute2f128_pd::<0x31>(a0, a2),
        _mm256_permute2f128_pd::<0x31>(a1, a3),
    ];
    for (p, column) in columns.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_pd(out.add(p * out_stride), column) }
    }
}

/// Squares of 16 by 16.
///
/// # Safety
/// As [`plain`], with 16 for 4.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn avx512_f32(
    source: *const f32,
    stride: usize,
    rows: usize,
    out: *mut f32,
    out_stride: usize,
) {
    use std::arch::x86_64::*;
    if rows < 16 {
        let mut whole = [0.0; 16 * 16];
        for (i, row) in whole.chunks_exact_mut(16).enumerate() {
            // SAFETY: the caller's promise; `row` holds a register.
            unsafe {
                let values = _mm512_loadu_ps(source.add(i.min(rows - 1) * stride));
                _mm512_storeu_ps(row.as_mut_ptr(), values);
            }
        }
        // SAFETY: `whole` has 16 rows; the rest is the caller's promise.
        return unsafe { avx512_f32(whole.as_ptr(), 16, 16, out, out_stride) };
    }
    for p in (0..16).step_by(4) {
        // Row i of four columns, in all quarters. SAFETY: the caller's promise.
        let quarters =
            |i: usize| unsafe { _mm512_broadcast_f32x4(_mm_loadu_ps(source.add(i * stride + p))) };
        // Rows i, i + 4, i + 8 and i + 12 of four columns: put together as they are read, which costs no shuffle.
        let every_fourth = |i: usize| {
            let r = _mm512_mask_blend_ps(0x00f0, quarters(i), quarters(i + 4));
            let r = _mm512_mask_blend_ps(0x0f00, r, quarters(i + 8));
            _mm512_mask_blend_ps(0xf000, r, quarters(i + 12))
        };
        let r = [every_fourth(0), every_fourth(1), every_fourth(2), every_fourth(3)];
        let (a0, a1) = (_mm512_unpacklo_ps(r[0], r[1]), _mm512_unpackhi_ps(r[0], r[1]));
        let (a2, a3) = (_mm512_unpacklo_ps(r[2], r[3]), _mm512_unpackhi_ps(r[2], r[3]));
        let columns = [
            _mm512_shuffle_ps::<0x44>(a0, a2),
            _mm512_shuffle_ps::<0xee>(a0, a2),
            _mm512_shuffle_ps::<0x44>(a1, a3),
            _mm512_shuffle_ps::<0xee>(a1, a3),
        ];
        for (column, values) in columns.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { _mm512_storeu_ps(out.add((p + column) * out_stride), values) }
        }
    }
}

/// Squares of 8 by 8.
///
/// # Safety
/// As [`plain`], with 8 for 4.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn avx512_f64(
    source: *const f64,
    stride: usize,
    rows: usize,
    out: *mut f64,
    out_stride: usize,
) {
    use std::arch::x86_64::*;
    // SAFETY: the caller's promise.
    let pair =
        |i: usize, p: usize| unsafe { _mm_loadu_pd(source.add(i.min(rows - 1) * stride + p)) };
    for p in (0..8).step_by(2) {
        // Rows i, i + 2, i + 4 and i + 6 of two columns.
        let every_second = |i: usize| {
            let low = _mm256_insertf128_pd::<1>(_mm256_castpd128_pd256(pair(i, p)), pair(i + 2, p));
            let high =
                _mm256_insertf128_pd::<1>(_mm256_castpd128_pd256(pair(i + 4, p)), pair(i + 6, p));
            _mm512_insertf64x4::<1>(_mm512_castpd256_pd512(low), high)
        };
        let (even, odd) = (every_second(0), every_second(1));
        // SAFETY: the caller's promise.
        unsafe {
            _mm512_storeu_pd(out.add(p * out_stride), _mm512_unpacklo_pd(even, odd));
            _mm512_storeu_pd(out.add((p + 1) * out_stride), _mm512_unpackhi_pd(even, odd));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::micro;
    use crate::kernels::simd;

    fn compare<T: Scalar>(micro: &Micro<T>) {
        for (count, width, depth, stride) in [
            (0, 4, 3, 5),
            (1, 1, 1, 1),
            (6, 6, 40, 43),
            (5, 6, 9, 9),
            (14, 14, 33, 100),
            (13, 16, 17, 17),
            (16, 16, 256, 300),
            (16, 16, 8, 8),
            (32, 32, 25, 30),
            (3, 16, 16, 16),
        ] {
            let source: Vec<T> =
                (0..(count * stride).max(depth)).map(|i| T::lit(i as f64)).collect();
            let mut panel = vec![T::nan(); depth * width];
            pack(micro, &source, stride, count, width, &mut panel);
            for (at, &got) in panel.iter().enumerate() {
                let (p, i) = (at / width, at % width);
                let want = if i < count { source[i * stride + p] } else { T::zero() };
                assert!(got == want, "{count} of {width}, depth {depth}, at {p}, {i}");
            }
        }
    }

    #[test]
    fn squares_equal_the_plain_loop_at_every_level() {
        for level in simd::available() {
            compare(micro::at_level_f32(level));
            compare(micro::at_level_f64(level));
        }
    }
}
