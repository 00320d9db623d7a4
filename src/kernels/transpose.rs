//! Turning small squares in registers: what packing a transposed factor comes down to.

use super::micro::Micro;
use super::parallel::Shared;
use crate::Scalar;

/// `transpose(source, stride, rows, out, out_stride)`: `out[p][i] = source[i][p]` for a square of
/// [`Micro::square`] elements a side. Rows from `rows` on are copies of the last.
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
    let (side, depth) = (micro.square, panel.len() / width);
    assert!(
        count <= width
            && (count == 0 || depth == 0 || (count - 1) * stride + depth <= source.len())
    );
    // A square may write beyond its row, into what is written after it: squares to the right come first,
    // and enough rows follow.
    let reach = count.next_multiple_of(side);
    let beyond = reach.saturating_sub(width).div_ceil(width);
    let whole = if count == 0 { 0 } else { depth.saturating_sub(beyond) / side * side };
    for p in (0..whole).step_by(side) {
        for i in (0..count).step_by(side).rev() {
            let rows = side.min(count - i);
            // SAFETY: rows i .. i + rows and columns p .. p + side are in `source` by the assert above. The
            // last element written is number (p + side - 1) · width + i + side - 1, where p + side - 1 +
            // beyond < depth and i + side ≤ reach ≤ (1 + beyond) · width.
            unsafe {
                let from = source.as_ptr().add(i * stride + p);
                (micro.transpose)(from, stride, rows, panel.as_mut_ptr().add(p * width + i), width);
            }
        }
    }
    for (p, row) in panel.chunks_exact_mut(width).enumerate() {
        if p >= whole {
            for (i, value) in row[..count].iter_mut().enumerate() {
                *value = source[i * stride + p];
            }
        }
        row[count..].fill(T::zero());
    }
}

/// The way back: `out[at + i · stride + p] = source[p · width + i]` for `i < count`, all `p`.
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
    let (side, depth) = (micro.square, source.len() / width);
    if count == 0 || depth == 0 {
        return;
    }
    assert!(count <= width);
    let out = out.pointer(at, (count - 1) * stride + depth);
    let (whole, squares) = (depth / side * side, count / side * side);
    for p in (0..whole).step_by(side) {
        for i in (0..squares).step_by(side) {
            // SAFETY: rows p .. p + side ≤ depth of `source`, columns i .. i + side ≤ count ≤ width; the
            // last element written is i + side - 1 < count planes and p + side - 1 < depth elements on,
            // inside what `pointer` checked; the caller keeps other tasks away.
            unsafe {
                let from = source.as_ptr().add(p * width + i);
                (micro.transpose)(from, width, side, out.add(i * stride + p), stride);
            }
        }
    }
    for (p, row) in source.chunks_exact(width).enumerate() {
        let done = if p < whole { squares } else { 0 };
        for (i, &value) in row[..count].iter().enumerate().skip(done) {
            // SAFETY: i < count and p < depth, as above.
            unsafe { *out.add(i * stride + p) = value }
        }
    }
}

/// `out[i][p] += source[p · width + i]` for `i < count`, rows of `out` being `out.len() / count` long.
pub(crate) fn add<T: Scalar>(source: &[T], width: usize, count: usize, out: &mut [T]) {
    let len = out.len() / count;
    for p in 0..len {
        for (row, &value) in out.chunks_exact_mut(len).zip(&source[p * width..]) {
            row[p] += value;
        }
    }
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
