//! Depthwise convolutions with a kernel of 3 × 3 and stride 1 or 2: nearly all there are. Nothing is copied: registers are
//! read from the plane itself, with zeros for columns outside it, and rows outside it are a row of zeros.
//!
//! Letters: `S` is the stride; *taps* are the three registers that the kernel's columns multiply, for as many neighbouring
//! outputs as a register has elements.

use super::Geometry;
use super::depthwise_three_back as back;
use crate::Scalar;
use crate::kernels::parallel::{self, Cost, Shared};
use crate::kernels::vector::{Vector, vectorized};

/// Elements of a kernel.
pub(super) const TAPS: usize = 9;
/// Planes of a task.
const PLANES: usize = 16;
/// Rows that are computed for all columns before the next: so many stay in the first cache while one column of registers
/// follows the other.
const STRIP: usize = 16;

/// Sizes of a plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Three {
    pub(super) input: [usize; 2],
    pub(super) output: [usize; 2],
    pub(super) padding: [usize; 2],
    pub(super) stride: usize,
    channels: usize,
}

impl Three {
    /// If the convolution is of this kind.
    pub(super) fn new(geometry: &Geometry) -> Option<Self> {
        let Geometry { channels, filters, groups, input, output, kernel, .. } = *geometry;
        let Geometry { stride, padding, dilation, .. } = *geometry;
        // Beyond these paddings there are outputs and inputs that no formula below knows.
        let most = if stride == [2, 2] { 1 } else { 2 };
        let fits = groups == channels
            && filters == channels
            && kernel == [3, 3]
            && dilation == [1, 1]
            && (stride == [1, 1] || stride == [2, 2])
            && padding.into_iter().all(|padding| padding <= most);
        fits.then_some(Self { input, output, padding, stride: stride[0], channels })
    }

    /// Elements of scratch memory: the row of zeros.
    pub(super) fn scratch(&self) -> usize {
        self.input[1].max(self.output[1])
    }

    fn cost(&self, planes: usize) -> Cost {
        let [inputs, outputs] = [self.input, self.output].map(|[h, w]| planes * h * w);
        Cost::elements(inputs + outputs) + Cost::mul_adds(2 * TAPS * outputs)
    }

    /// The convolution with the turned kernel that gives the gradient by the input; stride 1.
    fn turned(&self) -> Self {
        let padding = self.padding.map(|padding| 2 - padding);
        Self { input: self.output, output: self.input, padding, ..*self }
    }
}

/// `y = weight ⋆ x + bias`
pub(super) fn forward<T: Scalar>(
    three: &Three,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
    scratch: &mut [T],
) {
    convolve(three, x, weight, false, bias, y, scratch);
}

/// Gradient by the input.
pub(super) fn backward_input<T: Scalar>(
    three: &Three,
    weight: &[T],
    dy: &[T],
    dx: &mut [T],
    scratch: &mut [T],
) {
    if three.stride == 1 {
        return convolve(&three.turned(), dy, weight, true, None, dx, scratch);
    }
    let zeros = zeros(three, scratch);
    let work = |channel: usize, dy: &[T], dx: &mut [T]| {
        let weight = &weight[channel * TAPS..][..TAPS];
        let (weight, dy, dx) = (weight.as_ptr(), dy.as_ptr(), dx.as_mut_ptr());
        // SAFETY: planes of the two sizes, and a row of zeros as long as either's.
        unsafe { back::spread(three, weight, dy, zeros.as_ptr(), dx) };
    };
    each_plane(three, (dy, three.output), (dx, three.input), work);
}

/// Adds the gradients by weight and bias.
pub(super) fn backward_weight<T: Scalar>(
    three: &Three,
    x: &[T],
    dy: &[T],
    dw: Option<&mut [T]>,
    db: Option<&mut [T]>,
    scratch: &mut [T],
) {
    let ([h, w], [oh, ow]) = (three.input, three.output);
    let planes = x.len() / (h * w);
    assert_eq!(dy.len(), planes * oh * ow, "a plane of outputs for each of inputs");
    let zeros = zeros(three, scratch);
    let dw = dw.map(Shared::new);
    let db = db.map(Shared::new);
    parallel::each(three.channels, three.cost(planes), |channel| {
        let mut totals = [0.0; TAPS + 1];
        let (sizes, zeros) = ([planes, three.channels, channel], zeros.as_ptr());
        // SAFETY: all planes of a channel lie in `x` and `dy`, whose sizes are checked above, and zeros are a row.
        unsafe { back::correlate(three, sizes, x.as_ptr(), dy.as_ptr(), zeros, &mut totals) };
        if let Some(dw) = &dw {
            // SAFETY: tasks own different channels.
            let dw = unsafe { dw.at(channel * TAPS, TAPS) };
            for (dw, total) in dw.iter_mut().zip(totals) {
                *dw += T::lit(total);
            }
        }
        if let Some(db) = &db {
            // SAFETY: as above.
            unsafe { db.at(channel, 1)[0] += T::lit(totals[TAPS]) }
        }
    });
}

/// A row of zeros as long as any of a plane's.
fn zeros<'s, T: Scalar>(three: &Three, scratch: &'s mut [T]) -> &'s [T] {
    let zeros = &mut scratch[..three.scratch()];
    zeros.fill(T::zero());
    zeros
}

/// `to = weight ⋆ from + bias`, with the kernel as it is or turned around.
fn convolve<T: Scalar>(
    three: &Three,
    from: &[T],
    weight: &[T],
    turned: bool,
    bias: Option<&[T]>,
    to: &mut [T],
    scratch: &mut [T],
) {
    let zeros = zeros(three, scratch);
    let work = |channel: usize, from: &[T], to: &mut [T]| {
        let mut kernel = [T::zero(); TAPS];
        kernel.copy_from_slice(&weight[channel * TAPS..][..TAPS]);
        if turned {
            kernel.reverse();
        }
        let bias = bias.map_or(T::zero(), |bias| bias[channel]);
        // SAFETY: planes of the two sizes, and a row of zeros as long as either's.
        unsafe { plane(three, &kernel, bias, from.as_ptr(), zeros.as_ptr(), to.as_mut_ptr()) };
    };
    each_plane(three, (from, three.input), (to, three.output), work);
}

/// Calls `work(channel, plane to read, plane to write)` for all planes.
fn each_plane<T: Scalar>(
    three: &Three,
    (from, from_size): (&[T], [usize; 2]),
    (to, to_size): (&mut [T], [usize; 2]),
    work: impl Fn(usize, &[T], &mut [T]) + Sync,
) {
    let [from_len, to_len] = [from_size, to_size].map(|[h, w]| h * w);
    let planes = to.len() / to_len;
    let pieces = (parallel::Write(to, PLANES * to_len), parallel::Read(from, PLANES * from_len));
    parallel::chunks(pieces, three.cost(planes), |i, (to, from)| {
        let planes = to.chunks_exact_mut(to_len).zip(from.chunks_exact(from_len));
        for (j, (to, from)) in planes.enumerate() {
            work((i * PLANES + j) % three.channels, from, to);
        }
    });
}

/// Elements `at ..` of a row of `width`, zeros where there are none; unless `EDGE`, all are there.
///
/// # Safety
/// `row` has `width` elements.
#[inline(always)]
pub(super) unsafe fn piece<V: Vector, const EDGE: bool>(
    row: *const V::Element,
    at: isize,
    width: usize,
) -> V {
    let from = row.wrapping_offset(at);
    if !EDGE {
        // SAFETY: the caller's promise.
        return unsafe { V::load(from) };
    }
    let lanes = V::LANES as isize;
    let first = (-at).clamp(0, lanes) as usize;
    let end = (width as isize - at).clamp(0, lanes) as usize;
    // SAFETY: what is read lies in the row.
    unsafe { V::load_within(from, first, end) }
}

/// The taps of a row for outputs whose first reads from column `at` on.
///
/// # Safety
/// As [`piece`].
#[inline(always)]
pub(super) unsafe fn taps<V: Vector, const S: usize, const EDGE: bool>(
    row: *const V::Element,
    at: isize,
    width: usize,
) -> [V; 3] {
    let next = at + V::LANES as isize;
    // SAFETY: the caller's promise.
    unsafe {
        if S == 1 {
            return [
                piece::<V, EDGE>(row, at, width),
                piece::<V, EDGE>(row, at + 1, width),
                piece::<V, EDGE>(row, at + 2, width),
            ];
        }
        let (low, high) = (piece::<V, EDGE>(row, at, width), piece::<V, EDGE>(row, next, width));
        let [first, second] = low.unzip(high);
        let (low, high) =
            (piece::<V, EDGE>(row, at + 2, width), piece::<V, EDGE>(row, next + 2, width));
        [first, second, low.unzip(high)[0]]
    }
}

/// Row `i` of a plane, or zeros.
///
/// # Safety
/// The plane has `h` rows of `w`.
#[inline(always)]
pub(super) unsafe fn row_or<E>(
    plane: *const E,
    zeros: *const E,
    i: isize,
    [h, w]: [usize; 2],
) -> *const E {
    // SAFETY: inside the plane.
    if (i as usize) < h { unsafe { plane.add(i as usize * w) } } else { zeros }
}

/// Whether the taps of a register of outputs reach beyond a row of `width`.
#[inline(always)]
pub(super) fn is_edge<V: Vector>(stride: usize, at: isize, width: usize) -> bool {
    at < 0 || at + (stride * V::LANES + 2) as isize > width as isize
}

/// What all registers of a plane have in common.
struct Work<'a, V: Vector> {
    three: &'a Three,
    kernel: [V; TAPS],
    bias: V,
    from: *const V::Element,
    zeros: *const V::Element,
    to: *mut V::Element,
}

impl<V: Vector> Work<'_, V> {
    /// Output rows `rows` and a register from column `j` on, of which `count` elements are written.
    ///
    /// # Safety
    /// All of that lies in the planes.
    #[inline(always)]
    unsafe fn column<const S: usize, const EDGE: bool>(
        &self,
        rows: std::ops::Range<usize>,
        j: usize,
        count: usize,
    ) {
        let mut i = rows.start;
        // SAFETY: the caller's promise.
        unsafe {
            while i + 4 <= rows.end {
                self.tile::<S, 4, EDGE>(i, j, count);
                i += 4;
            }
            while i + 2 <= rows.end {
                self.tile::<S, 2, EDGE>(i, j, count);
                i += 2;
            }
            if i < rows.end {
                self.tile::<S, 1, EDGE>(i, j, count);
            }
        }
    }

    /// `R` output rows: each row that is read serves all of them.
    ///
    /// # Safety
    /// As [`Work::column`].
    #[inline(always)]
    unsafe fn tile<const S: usize, const R: usize, const EDGE: bool>(
        &self,
        i: usize,
        j: usize,
        count: usize,
    ) {
        let Three { input, output, padding, .. } = *self.three;
        let mut sums = [self.bias; R];
        let at = (j * S) as isize - padding[1] as isize;
        // SAFETY: the caller's promise.
        unsafe {
            for r in 0..(R - 1) * S + 3 {
                let from = (i * S + r) as isize - padding[0] as isize;
                let from = row_or(self.from, self.zeros, from, input);
                let taps = taps::<V, S, EDGE>(from, at, input[1]);
                for (a, sum) in sums.iter_mut().enumerate() {
                    if r >= a * S && r < a * S + 3 {
                        let kernel = (r - a * S) * 3;
                        *sum = taps[0].mul_add(self.kernel[kernel], *sum);
                        *sum = taps[1].mul_add(self.kernel[kernel + 1], *sum);
                        *sum = taps[2].mul_add(self.kernel[kernel + 2], *sum);
                    }
                }
            }
            for (a, sum) in sums.into_iter().enumerate() {
                let to = self.to.add((i + a) * output[1] + j);
                if count < V::LANES { sum.store_first(to, count) } else { sum.store(to) }
            }
        }
    }

    /// The whole plane.
    ///
    /// # Safety
    /// As [`Work::column`].
    #[inline(always)]
    unsafe fn run<const S: usize>(&self) {
        let Three { input, output: [h, w], padding, .. } = *self.three;
        let mut first = 0;
        while first < h {
            let rows = first..(first + STRIP).min(h);
            let mut j = 0;
            while j < w {
                // The last register overlaps the one before: the same numbers once more.
                j = j.min(w.saturating_sub(V::LANES));
                let (at, count) = ((j * S) as isize - padding[1] as isize, w.min(V::LANES));
                // SAFETY: the caller's promise.
                unsafe {
                    if is_edge::<V>(S, at, input[1]) {
                        self.column::<S, true>(rows.clone(), j, count);
                    } else {
                        self.column::<S, false>(rows.clone(), j, count);
                    }
                }
                j += V::LANES;
            }
            first += STRIP;
        }
    }
}

vectorized! {
    /// One plane.
    ///
    /// # Safety
    /// `from` and `to` are planes of `three`'s input and output, `zeros` as many as a row of either has.
    unsafe fn plane<F, V>(
        three: &Three, kernel: &[F; 9], bias: F, from: *const F, zeros: *const F, to: *mut F,
    ) {
        let mut taps = [V::splat(bias); TAPS];
        for (tap, &weight) in taps.iter_mut().zip(kernel) {
            *tap = V::splat(weight);
        }
        let work = Work { three, kernel: taps, bias: V::splat(bias), from, zeros, to };
        if three.stride == 1 { work.run::<1>() } else { work.run::<2>() }
    }
}
