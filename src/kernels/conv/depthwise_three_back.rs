//! The gradients of [`depthwise_three`](super::depthwise_three) that are no convolution of that kind.

use super::depthwise_three::{TAPS, Three, is_edge, piece, row_or, taps};
use crate::Scalar;
use crate::kernels::reduce;
use crate::kernels::vector::{Vector, vectorized};

/// Elements of planes whose products are summed in one register, before they are added to the total in `f64`.
const SUMMED: usize = 1024;
/// Most elements of two registers.
const PAIR: usize = 32;

/// Three sums of a row of gradients with the three taps of a row of the input.
#[inline(always)]
unsafe fn add_row<V: Vector>(sums: &mut [V; TAPS + 1], kh: usize, taps: [V; 3], dy: V) {
    // SAFETY: the caller has the vector's instructions.
    unsafe {
        sums[kh * 3] = taps[0].mul_add(dy, sums[kh * 3]);
        sums[kh * 3 + 1] = taps[1].mul_add(dy, sums[kh * 3 + 1]);
        sums[kh * 3 + 2] = taps[2].mul_add(dy, sums[kh * 3 + 2]);
    }
}

/// Adds all products of a column of registers, from output column `j` on.
///
/// # Safety
/// The planes have the sizes of `three`, `zeros` is a row.
#[inline(always)]
unsafe fn add_column<V: Vector, const S: usize, const EDGE: bool>(
    three: &Three,
    j: usize,
    x: *const V::Element,
    dy: *const V::Element,
    zeros: *const V::Element,
    sums: &mut [V; TAPS + 1],
) {
    let Three { input, output: [h, w], padding, .. } = *three;
    let at = (j * S) as isize - padding[1] as isize;
    let whole = j + V::LANES <= w;
    // SAFETY: the caller's promise.
    unsafe {
        for i in 0..h {
            let dy = dy.add(i * w + j);
            let dy = if whole { V::load(dy) } else { V::load_first(dy, w - j) };
            for kh in 0..3 {
                let row = (i * S + kh) as isize - padding[0] as isize;
                let row = row_or(x, zeros, row, input);
                add_row(sums, kh, taps::<V, S, EDGE>(row, at, input[1]), dy);
            }
            sums[TAPS] = sums[TAPS].add(dy);
        }
    }
}

/// Adds all products of a plane.
///
/// # Safety
/// As [`add_column`].
#[inline(always)]
unsafe fn add_plane<V: Vector, const S: usize>(
    three: &Three,
    x: *const V::Element,
    dy: *const V::Element,
    zeros: *const V::Element,
    sums: &mut [V; TAPS + 1],
) {
    let mut j = 0;
    while j < three.output[1] {
        let at = (j * S) as isize - three.padding[1] as isize;
        // SAFETY: the caller's promise.
        unsafe {
            if is_edge::<V>(S, at, three.input[1]) {
                add_column::<V, S, true>(three, j, x, dy, zeros, sums);
            } else {
                add_column::<V, S, false>(three, j, x, dy, zeros, sums);
            }
        }
        j += V::LANES;
    }
}

/// `total += Σ sum`
#[inline(always)]
unsafe fn add_total<V: Vector>(sum: V, total: &mut f64)
where
    V::Element: Scalar,
{
    let mut lanes = [V::Element::default(); 16];
    // SAFETY: no register has more elements.
    unsafe { sum.store(lanes.as_mut_ptr()) };
    *total += reduce::fold_lanes(lanes).widen();
}

/// What all squares of a plane have in common.
struct Spread<'a, V: Vector> {
    three: &'a Three,
    weight: [V; TAPS],
    dy: *const V::Element,
    zeros: *const V::Element,
    dx: *mut V::Element,
}

impl<V: Vector> Spread<'_, V>
where
    V::Element: Copy + Default,
{
    /// Rows `2i` and `2i + 1` of the gradient, and twice a register of columns from `2j` on.
    ///
    /// With padding `p`, an input at `q − p` gets the outputs at `q / 2` by the kernel's end 0 and those at `q / 2 − 1` by
    /// its end 2, if `q` is even; else that at `(q − 1) / 2` by its middle.
    ///
    /// # Safety
    /// The planes have the sizes of `three`, `zeros` is a row; the row and the column are inside.
    #[inline(always)]
    unsafe fn tile<const EDGE: bool>(&self, i: usize, j: usize) {
        let Three { output, padding: [top, left], .. } = *self.three;
        let w = &self.weight;
        // SAFETY: the caller's promise.
        unsafe {
            let row = (i + top) as isize;
            let rows = [
                row_or(self.dy, self.zeros, row, output),
                row_or(self.dy, self.zeros, row - 1, output),
            ];
            let at = (j + left) as isize;
            let [a, b] = [
                piece::<V, EDGE>(rows[0], at, output[1]),
                piece::<V, EDGE>(rows[0], at - 1, output[1]),
            ];
            let [c, d] = [
                piece::<V, EDGE>(rows[1], at, output[1]),
                piece::<V, EDGE>(rows[1], at - 1, output[1]),
            ];
            // By the middle row of the kernel.
            let [near, far] = if top == 1 { [c, d] } else { [a, b] };
            let middle = if left == 1 { far } else { near }.mul(w[4]);
            let ends = far.mul_add(w[5], near.mul(w[3]));
            self.write::<EDGE>(2 * i + 1 - top, j, middle, ends);
            // By the others.
            let [near, far] = if left == 1 { [b, d] } else { [a, c] };
            let middle = far.mul_add(w[7], near.mul(w[1]));
            let ends = b.mul_add(w[2], a.mul(w[0]));
            let ends = d.mul_add(w[8], c.mul_add(w[6], ends));
            self.write::<EDGE>(2 * i + top, j, middle, ends);
        }
    }

    /// A row's elements by the middle of the kernel and by its ends in turn.
    ///
    /// # Safety
    /// As [`Spread::tile`]; a row outside the plane is not written.
    #[inline(always)]
    unsafe fn write<const EDGE: bool>(&self, row: usize, j: usize, middle: V, ends: V) {
        let Three { input: [h, w], padding: [_, left], .. } = *self.three;
        if row >= h {
            return;
        }
        // SAFETY: the caller's promise; of the last columns only those inside are written.
        unsafe {
            let to = self.dx.add(row * w + 2 * j);
            let [low, high] = if left == 1 { middle.zip(ends) } else { ends.zip(middle) };
            if !EDGE || 2 * (j + V::LANES) <= w {
                low.store(to);
                return high.store(to.add(V::LANES));
            }
            let mut pair = [V::Element::default(); PAIR];
            low.store(pair.as_mut_ptr());
            high.store(pair.as_mut_ptr().add(V::LANES));
            to.copy_from_nonoverlapping(pair.as_ptr(), w - 2 * j);
        }
    }
}

vectorized! {
    /// Adds to `totals` the nine sums of products of a channel, and the sum of its gradients.
    ///
    /// # Safety
    /// `sizes` are the number of planes, of channels, and the channel; all planes are there, of the sizes of `three`, and
    /// zeros for a row of either.
    pub(super) unsafe fn correlate<F, V>(
        three: &Three, sizes: [usize; 3], x: *const F, dy: *const F, zeros: *const F, totals: &mut [f64; 10],
    ) {
        let ([planes, channels, channel], Three { input, output, .. }) = (sizes, *three);
        let [input, output] = [input[0] * input[1], output[0] * output[1]];
        let together = (SUMMED / output).max(1);
        let (mut plane, mut sums, mut count) = (channel, [V::splat(F::zero()); TAPS + 1], 0);
        while plane < planes {
            let (x, dy) = (x.add(plane * input), dy.add(plane * output));
            if three.stride == 1 {
                add_plane::<V, 1>(three, x, dy, zeros, &mut sums);
            } else {
                add_plane::<V, 2>(three, x, dy, zeros, &mut sums);
            }
            plane += channels;
            count += 1;
            if count == together || plane >= planes {
                for (sum, total) in sums.iter_mut().zip(&mut *totals) {
                    add_total(*sum, total);
                    *sum = V::splat(F::zero());
                }
                count = 0;
            }
        }
    }

    /// The gradient of a plane by its input, for stride 2.
    ///
    /// # Safety
    /// `dy` and `dx` are planes of `three`'s output and input, `zeros` as many as a row of either has.
    pub(super) unsafe fn spread<F, V>(
        three: &Three, weight: *const F, dy: *const F, zeros: *const F, dx: *mut F,
    ) {
        let mut taps = [V::splat(F::zero()); TAPS];
        for (i, tap) in taps.iter_mut().enumerate() {
            *tap = V::splat(*weight.add(i));
        }
        let spread = Spread { three, weight: taps, dy, zeros, dx };
        let Three { input: [h, w], output: [_, width], padding: [_, left], .. } = *three;
        for i in 0..h.div_ceil(2) {
            let mut j = 0;
            while 2 * j < w {
                // Reads from one element before on, and writes twice as many.
                let inside = j + left > 0 && j + left + V::LANES <= width && 2 * (j + V::LANES) <= w;
                if inside { spread.tile::<false>(i, j) } else { spread.tile::<true>(i, j) }
                j += V::LANES;
            }
        }
    }
}
