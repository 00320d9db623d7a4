//! Convolutions in which every channel has filters of its own: too little work for a matrix product, so each plane is
//! copied once with its zero border, and windows are summed directly.
//!
//! A buffer row holds its columns sorted by their remainder modulo the stride: what neighbouring outputs read through
//! one element of the kernel then lies side by side, for any stride. Tasks are planes, or channels for the weight.

use super::Geometry;
use super::depthwise_rows::{self, Row, Source};
use super::depthwise_three::{self, Three};
use crate::Scalar;
use crate::kernels::parallel::{self, Cost, Shared};
use crate::kernels::reduce;

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
    /// Rows of the output, from the buffer.
    outputs: Sums,
    /// Rows of the buffer as gradients, from those of the outputs with a border.
    gradients: Sums,
    /// Zeros on each side of such a row.
    border: usize,
    /// For each remainder: the first column of the input, and its places in a row of the buffer.
    columns: Vec<(usize, std::ops::Range<usize>)>,
    /// Faster, for the usual kernel.
    three: Option<Three>,
}

/// Rows and what they are sums of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Sums {
    rows: Vec<Row>,
    sources: Vec<Source>,
}

impl Sums {
    fn push(&mut self, at: usize, len: usize, sources: impl Iterator<Item = Source>) {
        let first = self.sources.len();
        self.sources.extend(sources);
        self.rows.push(Row { at, len, sources: first..self.sources.len() });
    }
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
        let border = reach[1] / stride[1];
        let pitch = output[1] + border;
        let offset = |kh: usize, kw: usize| {
            let column = kw * dilation[1];
            (kh * dilation[0] * stride[1] + column % stride[1]) * pitch + column / stride[1]
        };
        let offsets: Vec<usize> =
            (0..kernel[0]).flat_map(|kh| (0..kernel[1]).map(move |kw| offset(kh, kw))).collect();
        let mut outputs = Sums::default();
        for i in 0..output[0] {
            let first = i * stride[0] * stride[1] * pitch;
            let source = |(tap, offset): (usize, &usize)| Source { tap, place: first + offset };
            outputs.push(i * output[1], output[1], offsets.iter().enumerate().map(source));
        }
        let columns = (0..stride[1]).map(|remainder| columns(geometry, pitch, remainder)).collect();
        let gradients = Sums::default();
        let three = Three::new(geometry);
        let mut depthwise =
            Self { rows, pitch, offsets, outputs, gradients, border, columns, three };
        depthwise.gradients = depthwise.gradients(geometry);
        Some(depthwise)
    }

    /// Row `r` of the buffer gets, through row `kh` of the kernel, the gradients of output row `(r − kh · dilation) / stride`;
    /// its columns with one remainder, through column `kw`, those of outputs `kw · dilation / stride` further left.
    fn gradients(&self, geometry: &Geometry) -> Sums {
        let Geometry { output, kernel, stride, dilation, padding, input, .. } = geometry;
        let (filters, taps) = (geometry.group_filters(), self.offsets.len());
        let width = self.gradient_width(geometry);
        let mut sums = Sums::default();
        for r in padding[0]..self.rows.min(padding[0] + input[0]) {
            // Row of the kernel and of the output.
            let rows = (0..kernel[0]).filter_map(|kh| {
                let from = r.checked_sub(kh * dilation[0])?;
                let row = from / stride[0];
                (from.is_multiple_of(stride[0]) && row < output[0]).then_some((kh, row))
            });
            for remainder in 0..stride[1] {
                let (_, inside) = &self.columns[remainder];
                let columns = (0..kernel[1]).map(|kw| (kw, kw * dilation[1]));
                let columns = columns.filter(|(_, reach)| reach % stride[1] == remainder);
                let sources = rows.clone().flat_map(|(kh, row)| {
                    columns.clone().flat_map(move |(kw, reach)| {
                        let place = row * width + self.border + inside.start - reach / stride[1];
                        (0..filters).map(move |filter| Source {
                            tap: filter * taps + kh * kernel[1] + kw,
                            place: filter * output[0] * width + place,
                        })
                    })
                });
                let at = (r * stride[1] + remainder) * self.pitch + inside.start;
                sums.push(at, inside.len(), sources);
            }
        }
        sums
    }

    /// Elements of an output's row of gradients, with its border.
    fn gradient_width(&self, geometry: &Geometry) -> usize {
        geometry.output[1] + 2 * self.border
    }

    fn gradients_len(&self, geometry: &Geometry) -> usize {
        geometry.group_filters() * geometry.output[0] * self.gradient_width(geometry)
    }

    /// Elements of scratch memory of one task.
    fn section(&self, geometry: &Geometry) -> usize {
        self.buffer_len(geometry) + self.gradients_len(geometry)
    }

    fn buffer_len(&self, geometry: &Geometry) -> usize {
        self.rows * geometry.stride[1] * self.pitch
    }

    /// Elements of scratch memory that any of the passes needs.
    pub(super) fn scratch(&self, geometry: &Geometry, n: usize) -> usize {
        match &self.three {
            Some(three) => three.scratch(),
            None => parallel::sections_for(n * geometry.channels) * self.section(geometry),
        }
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
            for ((first, inside), row) in self.columns.iter().zip(row.chunks_exact_mut(self.pitch))
            {
                row[..inside.start].fill(T::zero());
                row[inside.end..].fill(T::zero());
                let (first, row) = (*first, &mut row[inside.clone()]);
                match stride {
                    _ if row.is_empty() => {}
                    1 => row.copy_from_slice(&source[first..][..row.len()]),
                    2 => {
                        let (pairs, last) = source[first..].as_chunks::<2>();
                        row.iter_mut().zip(pairs).for_each(|(to, pair)| *to = pair[0]);
                        if let (Some(to), Some(&last)) = (row.get_mut(pairs.len()), last.first()) {
                            *to = last;
                        }
                    }
                    _ => row
                        .iter_mut()
                        .zip(source[first..].iter().step_by(stride))
                        .for_each(|(to, &from)| *to = from),
                }
            }
        });
    }

    /// Copies rows of gradients, with zeros on both sides.
    fn surround<T: Scalar>(&self, geometry: &Geometry, dy: &[T], gradients: &mut [T]) {
        let (width, border) = (geometry.output[1], self.border);
        let rows = gradients.chunks_exact_mut(self.gradient_width(geometry));
        for (row, dy) in rows.zip(dy.chunks_exact(width)) {
            row[..border].fill(T::zero());
            row[border..][..width].copy_from_slice(dy);
            row[border + width..].fill(T::zero());
        }
    }

    /// The way back.
    fn unfill<T: Scalar>(&self, geometry: &Geometry, buffer: &mut [T], plane: &mut [T]) {
        let (stride, w) = (geometry.stride[1], geometry.input[1]);
        // What no window touches.
        plane.fill(T::zero());
        self.rows(geometry, buffer, |row, target| {
            let Some(target) = target else { return };
            let target = &mut plane[target * w..][..w];
            if stride == 2 {
                return interleave(row, self.pitch, geometry.padding[1], target);
            }
            for ((first, inside), row) in self.columns.iter().zip(row.chunks_exact(self.pitch)) {
                let row = &row[inside.clone()];
                match stride {
                    _ if row.is_empty() => {}
                    1 => target[*first..][..row.len()].copy_from_slice(row),
                    _ => target[*first..]
                        .iter_mut()
                        .step_by(stride)
                        .zip(row)
                        .for_each(|(to, &from)| *to = from),
                }
            }
        });
    }
}

/// For one remainder: the first column of the input, and the places of a buffer row that hold columns: place `i` holds column
/// `i · stride + remainder − padding`.
fn columns(geometry: &Geometry, pitch: usize, remainder: usize) -> (usize, std::ops::Range<usize>) {
    let (stride, padding, w) = (geometry.stride[1], geometry.padding[1], geometry.input[1]);
    let from = padding.saturating_sub(remainder).div_ceil(stride);
    let to = (padding + w).saturating_sub(remainder).div_ceil(stride).min(pitch);
    let first = (from * stride + remainder).saturating_sub(padding);
    (first, from.min(to)..to)
}

/// A row of an image from a buffer row with stride 2: columns of one remainder and of the other in turn.
fn interleave<T: Scalar>(row: &[T], pitch: usize, padding: usize, target: &mut [T]) {
    let half = |remainder: usize| {
        let first = padding.saturating_sub(remainder).div_ceil(2).min(pitch);
        &row[remainder * pitch..][..pitch][first..]
    };
    let (even, odd) = (half(padding % 2), half(1 - padding % 2));
    let (pairs, last) = target.as_chunks_mut::<2>();
    let whole = pairs.len().min(even.len()).min(odd.len());
    for (pair, (&even, &odd)) in pairs.iter_mut().zip(even.iter().zip(odd)) {
        *pair = [even, odd];
    }
    // One more column that a window reaches.
    if let (Some(to), Some(&even)) =
        (pairs[whole..].first_mut().map(|pair| &mut pair[0]).or(last.first_mut()), even.get(whole))
    {
        *to = even;
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
    if let Some(three) = &depthwise.three {
        return depthwise_three::forward(three, x, weight, bias, y, scratch);
    }
    let [h, w] = geometry.input;
    let (planes, taps) = (x.len() / (h * w), depthwise.offsets.len());
    let (filters, out) = (geometry.group_filters(), geometry.out_plane());
    let section = depthwise.buffer_len(geometry);
    let cost = depthwise.cost(geometry, planes / geometry.channels);
    let shared = Shared::new(y);
    let Sums { rows, sources } = &depthwise.outputs;
    parallel::each_with(planes, cost, scratch, section, |plane, buffer| {
        depthwise.fill(geometry, &x[plane * h * w..][..h * w], buffer);
        // SAFETY: tasks own different planes.
        let y = unsafe { shared.at(plane * filters * out, filters * out) };
        for (j, y) in y.chunks_exact_mut(out).enumerate() {
            let filter = plane % geometry.channels * filters + j;
            let weight = &weight[filter * taps..][..taps];
            let bias = bias.map_or(T::zero(), |bias| bias[filter]);
            let (weight, buffer) = (weight.as_ptr(), buffer.as_ptr());
            // SAFETY: `outputs` are the windows of this geometry: its rows lie in a plane of outputs, its sources in the
            // buffer, and its taps are those of a filter.
            unsafe { depthwise_rows::rows(rows, sources, weight, buffer, bias, y.as_mut_ptr()) };
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
    if let Some(three) = &depthwise.three {
        return depthwise_three::backward_input(three, weight, dy, dx, scratch);
    }
    let [h, w] = geometry.input;
    let (planes, taps) = (dx.len() / (h * w), depthwise.offsets.len());
    let (filters, out) = (geometry.group_filters(), geometry.out_plane());
    let section = depthwise.section(geometry);
    let cost = depthwise.cost(geometry, planes / geometry.channels);
    let shared = Shared::new(dx);
    let Sums { rows, sources } = &depthwise.gradients;
    parallel::each_with(planes, cost, scratch, section, |plane, section| {
        let (buffer, gradients) = section.split_at_mut(depthwise.buffer_len(geometry));
        let dy = &dy[plane * filters * out..][..filters * out];
        depthwise.surround(geometry, dy, gradients);
        let first = plane % geometry.channels * filters * taps;
        let (weight, from) = (weight[first..][..filters * taps].as_ptr(), gradients.as_ptr());
        // SAFETY: `gradients` are the windows of this geometry: its rows lie in the buffer, its sources in rows of gradients
        // with their borders, and its taps are those of a channel's filters.
        unsafe {
            depthwise_rows::rows(rows, sources, weight, from, T::zero(), buffer.as_mut_ptr())
        };
        // SAFETY: tasks own different planes.
        let dx = unsafe { shared.at(plane * h * w, h * w) };
        depthwise.unfill(geometry, buffer, dx);
    });
}

/// Adds the gradients by weight and bias.
pub(super) fn backward_weight<T: Scalar>(
    depthwise: &Depthwise,
    geometry: &Geometry,
    x: &[T],
    dy: &[T],
    dw: Option<&mut [T]>,
    db: Option<&mut [T]>,
    scratch: &mut [T],
) {
    if let Some(three) = &depthwise.three {
        return depthwise_three::backward_weight(three, x, dy, dw, db, scratch);
    }
    if let Some(dw) = dw {
        add_products(depthwise, geometry, x, dy, dw, scratch);
    }
    if let Some(db) = db {
        reduce::add_plane_sums(dy, geometry.out_plane(), db);
    }
}

/// The gradient by the weight for any kernel.
fn add_products<T: Scalar>(
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
    let ([out_h, out_w], step) = (geometry.output, depthwise.row_step(geometry));
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
                let (sizes, totals) = ([out_h, out_w, step], &mut totals[..taps]);
                let (buffer, dy) = (buffer.as_ptr(), dy.as_ptr());
                // SAFETY: `dy` is a plane of outputs; windows begin `step` apart and end in the buffer.
                unsafe { depthwise_rows::dots(sizes, &depthwise.offsets, buffer, dy, totals) };
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
