//! Convolutions in which every channel has filters of its own: too little work for a matrix product, so each plane is
//! copied once with its zero border, and windows are summed directly.
//!
//! A buffer row holds its columns sorted by their remainder modulo the stride: what neighbouring outputs read through
//! one element of the kernel then lies side by side, for any stride. Tasks are planes, or channels for the weight.

use super::Geometry;
use crate::Scalar;
use crate::kernels::parallel::{self, Cost, Shared};
use crate::kernels::reduce::fold_lanes;
use crate::kernels::simd::multiversion;

/// Most filters of a channel that are not better off as a matrix product.
const MOST_FILTERS: usize = 4;
/// Most elements of a kernel whose gradient sums lie on the stack.
const MOST_TAPS: usize = 64;

/// Where things lie in the buffer of one plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Depthwise {
    /// Rows of the buffer, and elements of a row for one remainder.
    rows: usize,
    pitch: usize,
    /// Where the window element of each `k` lies, from the window's first.
    offsets: Vec<usize>,
}

impl Depthwise {
    /// If the convolution is of this kind.
    pub(super) fn new(geometry: &Geometry) -> Option<Self> {
        let Geometry { channels, filters, groups, output, kernel, stride, dilation, .. } = geometry;
        if *groups == 1
            || groups != channels
            || filters / groups > MOST_FILTERS
            || kernel[0] * kernel[1] > MOST_TAPS
        {
            return None;
        }
        let reach = [0, 1].map(|axis| dilation[axis] * (kernel[axis] - 1));
        let rows = (output[0] - 1) * stride[0] + reach[0] + 1;
        let pitch = output[1] + reach[1] / stride[1];
        let offset = |kh: usize, kw: usize| {
            let column = kw * dilation[1];
            (kh * dilation[0] * stride[1] + column % stride[1]) * pitch + column / stride[1]
        };
        let offsets =
            (0..kernel[0]).flat_map(|kh| (0..kernel[1]).map(move |kw| offset(kh, kw))).collect();
        Some(Self { rows, pitch, offsets })
    }

    fn buffer_len(&self, geometry: &Geometry) -> usize {
        self.rows * geometry.stride[1] * self.pitch
    }

    /// Elements of scratch memory that any of the passes needs.
    pub(super) fn scratch(&self, geometry: &Geometry, n: usize) -> usize {
        parallel::sections_for(n * geometry.channels) * self.buffer_len(geometry)
    }

    fn cost(&self, geometry: &Geometry, n: usize) -> Cost {
        let outputs = n * geometry.filters * geometry.out_plane();
        Cost::elements(2 * (n * geometry.image() + outputs))
            + Cost::mul_adds(2 * outputs * self.offsets.len())
    }

    /// Distance of two output rows in the buffer.
    fn row_step(&self, geometry: &Geometry) -> usize {
        geometry.stride[0] * geometry.stride[1] * self.pitch
    }

    /// Column of the input at each place of a buffer row, for one remainder: `first + i · stride`, and the places inside.
    fn columns(&self, geometry: &Geometry, remainder: usize) -> (usize, std::ops::Range<usize>) {
        let (stride, padding, w) = (geometry.stride[1], geometry.padding[1], geometry.input[1]);
        let from = padding.saturating_sub(remainder).div_ceil(stride);
        let to = (padding + w).saturating_sub(remainder).div_ceil(stride).min(self.pitch);
        let first = (from * stride + remainder).saturating_sub(padding);
        (first, from.min(to)..to)
    }

    /// Calls `each(buffer row, input row)`, the second where there is one.
    fn rows<'b, T>(
        &self,
        geometry: &Geometry,
        buffer: &'b mut [T],
        mut each: impl FnMut(&'b mut [T], Option<usize>),
    ) {
        let len = geometry.stride[1] * self.pitch;
        for (r, row) in buffer.chunks_exact_mut(len).enumerate().take(self.rows) {
            each(row, r.checked_sub(geometry.padding[0]).filter(|&r| r < geometry.input[0]));
        }
    }

    /// Copies a plane into the buffer, with zeros around it.
    fn fill<T: Scalar>(&self, geometry: &Geometry, plane: &[T], buffer: &mut [T]) {
        let (stride, w) = (geometry.stride[1], geometry.input[1]);
        self.rows(geometry, buffer, |row, source| {
            let Some(source) = source else { return row.fill(T::zero()) };
            let source = &plane[source * w..][..w];
            for (remainder, row) in row.chunks_exact_mut(self.pitch).enumerate() {
                let (first, inside) = self.columns(geometry, remainder);
                row[..inside.start].fill(T::zero());
                row[inside.end..].fill(T::zero());
                let row = &mut row[inside];
                match stride {
                    _ if row.is_empty() => {}
                    1 => row.copy_from_slice(&source[first..][..row.len()]),
                    _ => row
                        .iter_mut()
                        .zip(source[first..].iter().step_by(stride))
                        .for_each(|(to, &from)| *to = from),
                }
            }
        });
    }

    /// The way back.
    fn unfill<T: Scalar>(&self, geometry: &Geometry, buffer: &mut [T], plane: &mut [T]) {
        let (stride, w) = (geometry.stride[1], geometry.input[1]);
        // What no window touches.
        plane.fill(T::zero());
        self.rows(geometry, buffer, |row, target| {
            let Some(target) = target else { return };
            let target = &mut plane[target * w..][..w];
            for (remainder, row) in row.chunks_exact(self.pitch).enumerate() {
                let (first, inside) = self.columns(geometry, remainder);
                let row = &row[inside];
                match stride {
                    _ if row.is_empty() => {}
                    1 => target[first..][..row.len()].copy_from_slice(row),
                    _ => target[first..]
                        .iter_mut()
                        .step_by(stride)
                        .zip(row)
                        .for_each(|(to, &from)| *to = from),
                }
            }
        });
    }
}

/// `y = weight ⋆ x + bias`
pub(super) fn forward<T: Scalar>(
    depthwise: &Depthwise,
    geometry: &Geometry,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
    scratch: &mut [T],
) {
    let [h, w] = geometry.input;
    let (planes, taps) = (x.len() / (h * w), depthwise.offsets.len());
    let (filters, out) = (geometry.group_filters(), geometry.out_plane());
    let step = depthwise.row_step(geometry);
    let section = depthwise.buffer_len(geometry);
    let cost = depthwise.cost(geometry, planes / geometry.channels);
    let shared = Shared::new(y);
    parallel::each_with(planes, cost, scratch, section, |plane, buffer| {
        depthwise.fill(geometry, &x[plane * h * w..][..h * w], buffer);
        // SAFETY: tasks own different planes.
        let y = unsafe { shared.at(plane * filters * out, filters * out) };
        for (j, y) in y.chunks_exact_mut(out).enumerate() {
            let filter = plane % geometry.channels * filters + j;
            let weight = &weight[filter * taps..][..taps];
            let bias = bias.map_or(T::zero(), |bias| bias[filter]);
            correlate(geometry.output[1], step, &depthwise.offsets, buffer, weight, bias, y);
        }
    });
}

/// Gradient by the input: each output's gradient goes to all elements of its window.
pub(super) fn backward_input<T: Scalar>(
    depthwise: &Depthwise,
    geometry: &Geometry,
    weight: &[T],
    dy: &[T],
    dx: &mut [T],
    scratch: &mut [T],
) {
    let [h, w] = geometry.input;
    let (planes, taps) = (dx.len() / (h * w), depthwise.offsets.len());
    let (filters, out) = (geometry.group_filters(), geometry.out_plane());
    let step = depthwise.row_step(geometry);
    let section = depthwise.buffer_len(geometry);
    let cost = depthwise.cost(geometry, planes / geometry.channels);
    let shared = Shared::new(dx);
    parallel::each_with(planes, cost, scratch, section, |plane, buffer| {
        buffer.fill(T::zero());
        let dy = &dy[plane * filters * out..][..filters * out];
        for (j, dy) in dy.chunks_exact(out).enumerate() {
            let filter = plane % geometry.channels * filters + j;
            let weight = &weight[filter * taps..][..taps];
            spread(geometry.output[1], step, &depthwise.offsets, dy, weight, buffer);
        }
        // SAFETY: tasks own different planes.
        let dx = unsafe { shared.at(plane * h * w, h * w) };
        depthwise.unfill(geometry, buffer, dx);
    });
}

/// Adds the gradient by the weight.
pub(super) fn backward_weight<T: Scalar>(
    depthwise: &Depthwise,
    geometry: &Geometry,
    x: &[T],
    dy: &[T],
    dw: &mut [T],
    scratch: &mut [T],
) {
    let [h, w] = geometry.input;
    let (n, taps) = (x.len() / geometry.image(), depthwise.offsets.len());
    let (filters, out) = (geometry.group_filters(), geometry.out_plane());
    let step = depthwise.row_step(geometry);
    let section = depthwise.buffer_len(geometry);
    let shared = Shared::new(dw);
    let cost = depthwise.cost(geometry, n);
    parallel::each_with(geometry.channels, cost, scratch, section, |channel, buffer| {
        let mut totals = [[0.0f64; MOST_TAPS]; MOST_FILTERS];
        for i in 0..n {
            let plane = i * geometry.channels + channel;
            depthwise.fill(geometry, &x[plane * h * w..][..h * w], buffer);
            let dy = &dy[plane * filters * out..][..filters * out];
            for (dy, totals) in dy.chunks_exact(out).zip(&mut totals) {
                dots(geometry.output[1], step, &depthwise.offsets, buffer, dy, totals);
            }
        }
        // SAFETY: tasks own different channels.
        let dw = unsafe { shared.at(channel * filters * taps, filters * taps) };
        for (dw, totals) in dw.chunks_exact_mut(taps).zip(&totals) {
            for (dw, &total) in dw.iter_mut().zip(totals) {
                *dw += T::lit(total);
            }
        }
    });
}

multiversion! {
    /// Each row of `y` from the windows of a buffer.
    fn correlate<F: Scalar>(
        width: usize, step: usize, offsets: &[usize], buffer: &[F], weight: &[F], bias: F, y: &mut [F],
    ) {
        for (i, y) in y.chunks_exact_mut(width).enumerate() {
            let buffer = &buffer[i * step..];
            match width {
                32.. => correlate_row::<F, 32>(offsets, buffer, weight, bias, y),
                16.. => correlate_row::<F, 16>(offsets, buffer, weight, bias, y),
                8.. => correlate_row::<F, 8>(offsets, buffer, weight, bias, y),
                4.. => correlate_row::<F, 4>(offsets, buffer, weight, bias, y),
                _ => correlate_row::<F, 1>(offsets, buffer, weight, bias, y),
            }
        }
    }

    /// The way back: adds `weight · dy` to every element of the windows.
    fn spread<F: Scalar>(
        width: usize, step: usize, offsets: &[usize], dy: &[F], weight: &[F], buffer: &mut [F],
    ) {
        for (i, dy) in dy.chunks_exact(width).enumerate() {
            for (&offset, &weight) in offsets.iter().zip(weight) {
                for (to, &dy) in buffer[i * step + offset..][..width].iter_mut().zip(dy) {
                    *to += weight * dy;
                }
            }
        }
    }

    /// `totals[k] += Σ dy · window element k`
    fn dots<F: Scalar>(
        width: usize, step: usize, offsets: &[usize], buffer: &[F], dy: &[F], totals: &mut [f64],
    ) {
        /// Partial sums.
        const LANES: usize = 16;
        for (&offset, total) in offsets.iter().zip(totals) {
            let (mut sums, mut rest) = ([F::zero(); LANES], [F::zero(); 4]);
            let mut tail = F::zero();
            for (i, dy) in dy.chunks_exact(width).enumerate() {
                let x = &buffer[i * step + offset..][..width];
                let ((x, last_x), (dy, last_dy)) = (x.as_chunks::<LANES>(), dy.as_chunks::<LANES>());
                for (x, dy) in x.iter().zip(dy) {
                    for l in 0..LANES {
                        sums[l] += x[l] * dy[l];
                    }
                }
                let ((x, last_x), (dy, last_dy)) = (last_x.as_chunks::<4>(), last_dy.as_chunks::<4>());
                for (x, dy) in x.iter().zip(dy) {
                    for l in 0..4 {
                        rest[l] += x[l] * dy[l];
                    }
                }
                for (&x, &dy) in last_x.iter().zip(last_dy) {
                    tail += x * dy;
                }
            }
            *total += (fold_lanes(sums) + fold_lanes(rest) + tail).widen();
        }
    }
}

/// One row, `N` outputs at a time in registers. A last group that is not full begins earlier and repeats what is done.
#[inline(always)]
fn correlate_row<F: Scalar, const N: usize>(
    offsets: &[usize],
    buffer: &[F],
    weight: &[F],
    bias: F,
    y: &mut [F],
) {
    let mut j = 0;
    while j < y.len() {
        let at = j.min(y.len() - N);
        let mut sums = [bias; N];
        for (&offset, &weight) in offsets.iter().zip(weight) {
            let x = &buffer[at + offset..][..N];
            for l in 0..N {
                sums[l] += weight * x[l];
            }
        }
        y[at..][..N].copy_from_slice(&sums);
        j += N;
    }
}
