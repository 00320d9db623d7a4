//! Two-dimensional convolution as a matrix product whose right factor is never stored: while a panel of
//! it is packed for the register kernel, it is read from the image ("implicit im2col").
//!
//! Letters: `n` images of `channels × h × w` give `filters × oh × ow`; `k` runs over
//! `channels / groups × kh × kw`, in the order of the weight. A *block* is some rows of one image, or
//! some whole small images; it is copied once into a buffer with its zero border, so the inner loops
//! know no borders. Cross-correlation, as everywhere in deep learning.

use super::gemm::{KC, even_part};
use super::micro::{MAX_MR, MAX_NR, Micro, Start};
use super::parallel::{self, Cost, Shared};
use super::unfold::Window;
use crate::Scalar;

/// Output pixels that a block aims at.
const BLOCK_PIXELS: usize = 256;
/// Most elements of a block's buffer, so that it stays in L2.
const BLOCK_ELEMENTS: usize = 64 * 1024;

/// Sizes of a convolution; pairs are `[height, width]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geometry {
    /// Channels of the input.
    pub channels: usize,
    /// Channels of the output.
    pub filters: usize,
    /// Parts into which both are divided.
    pub groups: usize,
    /// Input plane.
    pub input: [usize; 2],
    /// Output plane.
    pub output: [usize; 2],
    /// Window.
    pub kernel: [usize; 2],
    /// Distance of windows.
    pub stride: [usize; 2],
    /// Rows and columns of zeros added on each side.
    pub padding: [usize; 2],
    /// Distance of a window's elements.
    pub dilation: [usize; 2],
}

impl Geometry {
    /// Elements of an input image.
    pub fn image(&self) -> usize {
        self.channels * self.input[0] * self.input[1]
    }

    /// Elements of an output plane.
    pub fn out_plane(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Inner dimension of the product.
    pub fn inner(&self) -> usize {
        self.channels / self.groups * self.kernel[0] * self.kernel[1]
    }

    /// Filters of a group.
    pub(super) fn group_filters(&self) -> usize {
        self.filters / self.groups
    }

    pub(super) fn cost(&self, n: usize) -> Cost {
        Cost::mul_adds(
            [n, self.filters, self.out_plane(), self.inner()]
                .into_iter()
                .fold(1, usize::saturating_mul),
        )
    }

    /// The convolution that computes the input gradient: filters and channels change places, the kernel
    /// is turned around. Only for stride 1 and a padding that does not exceed the kernel's reach.
    fn transposed(&self) -> Option<Self> {
        let reach = [0, 1].map(|axis| self.dilation[axis] * (self.kernel[axis] - 1));
        if self.stride != [1, 1] || (0..2).any(|axis| self.padding[axis] > reach[axis]) {
            return None;
        }
        Some(Self {
            channels: self.filters,
            filters: self.channels,
            input: self.output,
            output: self.input,
            padding: [0, 1].map(|axis| reach[axis] - self.padding[axis]),
            ..self.clone()
        })
    }
}

/// How a convolution is cut into blocks, and where things lie in a block's buffer. Made once per layer.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Sizes.
    pub geometry: Geometry,
    /// Images of a block.
    pub(super) images: usize,
    /// Output rows of a block; all of them if `images > 1`.
    pub(super) rows: usize,
    /// Rows and columns of the buffer.
    pub(super) buffer: [usize; 2],
    /// Where the window element of each `k` lies, from the window's first, within a group.
    pub(super) offsets: Vec<usize>,
    /// Where each output row of a block begins.
    pub(super) row_offsets: Vec<usize>,
    /// For the input gradient.
    pub(super) transposed: Option<Box<Plan>>,
}

/// One block: which images, which output rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub(super) image: usize,
    pub(super) images: usize,
    pub(super) row: usize,
    pub(super) rows: usize,
}

impl Plan {
    /// A plan for these sizes, which the caller has checked: no zero, output as the formula says.
    pub fn new(geometry: Geometry) -> Self {
        let transposed =
            geometry.transposed().map(|geometry| Box::new(Self::without_transposed(geometry)));
        Self { transposed, ..Self::without_transposed(geometry) }
    }

    fn without_transposed(geometry: Geometry) -> Self {
        let [oh, ow] = geometry.output;
        let [sh, sw] = geometry.stride;
        let reach = [0, 1].map(|axis| geometry.dilation[axis] * (geometry.kernel[axis] - 1));
        let strips = oh.div_ceil((BLOCK_PIXELS / ow).max(1));
        let rows = oh.div_ceil(strips);
        let buffer = [(rows - 1) * sh + reach[0] + 1, (ow - 1) * sw + reach[1] + 1];
        let image = geometry.channels * buffer[0] * buffer[1];
        let images = if strips > 1 {
            1
        } else {
            (BLOCK_PIXELS / (oh * ow)).min(BLOCK_ELEMENTS / image).max(1)
        };
        let mut offsets = Vec::with_capacity(geometry.inner());
        for channel in 0..geometry.channels / geometry.groups {
            for kh in 0..geometry.kernel[0] {
                for kw in 0..geometry.kernel[1] {
                    let row = channel * buffer[0] + kh * geometry.dilation[0];
                    offsets.push(row * buffer[1] + kw * geometry.dilation[1]);
                }
            }
        }
        let row_offsets = (0..images)
            .flat_map(|i| (0..rows).map(move |row| i * image + row * sh * buffer[1]))
            .collect();
        Self { geometry, images, rows, buffer, offsets, row_offsets, transposed: None }
    }

    fn strips(&self) -> usize {
        self.geometry.output[0].div_ceil(self.rows)
    }

    /// Number of blocks of `n` images.
    pub(super) fn blocks(&self, n: usize) -> usize {
        n.div_ceil(self.images) * self.strips()
    }

    /// Block number `i` of `n` images.
    pub(super) fn block(&self, n: usize, i: usize) -> Block {
        let (group, strip) = (i / self.strips(), i % self.strips());
        let (image, row) = (group * self.images, strip * self.rows);
        Block {
            image,
            images: self.images.min(n - image),
            row,
            rows: self.rows.min(self.geometry.output[0] - row),
        }
    }

    /// Elements of an image in the buffer.
    pub(super) fn buffer_image(&self) -> usize {
        self.geometry.channels * self.buffer[0] * self.buffer[1]
    }

    /// Elements of the buffer, with room for a vector that reaches too far.
    pub(super) fn buffer_len(&self) -> usize {
        self.images * self.buffer_image() + MAX_NR
    }

    /// Most output pixels of a block.
    pub(super) fn block_pixels(&self) -> usize {
        self.images * self.rows * self.geometry.output[1]
    }

    /// Copies a block's input into `buffer`, with zeros around it.
    pub(super) fn fill<T: Scalar>(&self, block: Block, x: &[T], buffer: &mut [T]) {
        let Geometry { channels, input: [h, w], stride, padding, .. } = self.geometry;
        let [buffer_h, buffer_w] = self.buffer;
        let top = block.row * stride[0];
        // Columns that come from the input.
        let columns = padding[1].min(buffer_w)..(padding[1] + w).min(buffer_w);
        let images = &x[block.image * channels * h * w..][..block.images * channels * h * w];
        let planes = images.chunks_exact(h * w).zip(buffer.chunks_exact_mut(buffer_h * buffer_w));
        for (plane, buffer) in planes {
            for (r, row) in buffer.chunks_exact_mut(buffer_w).enumerate() {
                match (top + r).checked_sub(padding[0]).filter(|&source| source < h) {
                    None => row.fill(T::zero()),
                    Some(source) => {
                        row[..columns.start].fill(T::zero());
                        row[columns.clone()].copy_from_slice(&plane[source * w..][..columns.len()]);
                        row[columns.end..].fill(T::zero());
                    }
                }
            }
        }
    }

    fn section_len<T: Scalar>(&self) -> usize {
        let nr = T::micro().nr;
        self.buffer_len() + (KC + 1) * nr + MAX_MR * nr
    }

    /// Elements of scratch memory that [`forward`] needs.
    pub fn forward_scratch<T: Scalar>(&self, n: usize) -> usize {
        self.geometry.filters * self.geometry.inner()
            + parallel::sections_for(self.blocks(n)) * self.section_len::<T>()
    }
}

/// `y = weight ⋆ x + bias`; `n · filters · oh · ow · k` multiply-adds.
pub fn forward<T: Scalar>(
    plan: &Plan,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
    scratch: &mut [T],
) {
    let geometry = &plan.geometry;
    let (filters, inner) = (geometry.group_filters(), geometry.inner());
    let (packed, sections) = scratch.split_at_mut(geometry.filters * inner);
    for (packed, weight) in
        packed.chunks_exact_mut(filters * inner).zip(weight.chunks_exact(filters * inner))
    {
        pack_weight(T::micro(), filters, inner, packed, |filter, k| weight[filter * inner + k]);
    }
    product(plan, x, packed, bias, y, sections);
}

/// Packs a weight `[filters][k]` into blocks of `KC` and panels of at most `MR` filters, `[k][rows]`.
fn pack_weight<T: Scalar>(
    micro: &Micro<T>,
    filters: usize,
    inner: usize,
    packed: &mut [T],
    weight: impl Fn(usize, usize) -> T,
) {
    for k0 in (0..inner).step_by(KC) {
        let kc = KC.min(inner - k0);
        for i in 0..filters.div_ceil(micro.mr) {
            let (first, end) = even_part(filters, micro.mr, i);
            let panel = &mut packed[filters * k0 + kc * first..][..kc * (end - first)];
            for (p, row) in panel.chunks_exact_mut(end - first).enumerate() {
                for (i, value) in row.iter_mut().enumerate() {
                    *value = weight(first + i, k0 + p);
                }
            }
        }
    }
}

/// The product with a packed weight, block by block.
fn product<T: Scalar>(
    plan: &Plan,
    x: &[T],
    packed: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
    sections: &mut [T],
) {
    let n = x.len() / plan.geometry.image();
    let out = Shared::new(y);
    let section = plan.section_len::<T>();
    parallel::each_with(plan.blocks(n), plan.geometry.cost(n), sections, section, |i, section| {
        let block = plan.block(n, i);
        let (buffer, rest) = section.split_at_mut(plan.buffer_len());
        plan.fill(block, x, buffer);
        for group in 0..plan.geometry.groups {
            multiply_block(plan, block, group, buffer, packed, bias, &out, rest);
        }
    });
}

#[allow(clippy::too_many_arguments)]
fn multiply_block<T: Scalar>(
    plan: &Plan,
    block: Block,
    group: usize,
    buffer: &[T],
    packed: &[T],
    bias: Option<&[T]>,
    out: &Shared<'_, T>,
    scratch: &mut [T],
) {
    let micro = T::micro();
    let geometry = &plan.geometry;
    let (filters, inner, plane) =
        (geometry.group_filters(), geometry.inner(), geometry.out_plane());
    let pixels = block.rows * geometry.output[1];
    let image = &buffer[group * (plan.buffer_image() / geometry.groups)..];
    let packed = &packed[group * filters * inner..][..filters * inner];
    let (panel, tile) = scratch.split_at_mut((KC + 1) * micro.nr);
    for first in (0..block.images * pixels).step_by(micro.nr) {
        let cols = micro.nr.min(block.images * pixels - first);
        let window = Window::new(plan, block.rows, first, cols);
        let whole = first / pixels == (first + cols - 1) / pixels;
        for k0 in (0..inner).step_by(KC) {
            let kc = KC.min(inner - k0);
            window.unfold(micro, &plan.offsets[k0..k0 + kc], image, panel);
            for i in 0..filters.div_ceil(micro.mr) {
                let (filter, end) = even_part(filters, micro.mr, i);
                let a = &packed[filters * k0 + kc * filter..][..kc * (end - filter)];
                let target = Target {
                    block,
                    filter: group * filters + filter,
                    rows: end - filter,
                    first,
                    cols,
                };
                let start = start(bias, target.filter, k0);
                if whole {
                    let at = target.element(plan, 0, 0);
                    // SAFETY: the tile's last element is in the range that `at` checks; blocks, groups
                    // and panels own different pixels or filters. Panels were cut to size above.
                    unsafe {
                        let c = out.at(at, (target.rows - 1) * plane + cols).as_mut_ptr();
                        micro.tile(
                            target.rows,
                            kc,
                            a.as_ptr(),
                            panel.as_ptr(),
                            c,
                            plane,
                            cols,
                            start,
                        );
                    }
                } else {
                    // SAFETY: `tile` holds MAX_MR rows of `nr`.
                    unsafe {
                        let c = tile.as_mut_ptr();
                        micro.tile(
                            target.rows,
                            kc,
                            a.as_ptr(),
                            panel.as_ptr(),
                            c,
                            micro.nr,
                            cols,
                            Start::Zero,
                        );
                    }
                    target.scatter(plan, tile, micro.nr, bias, k0 == 0, out);
                }
            }
        }
    }
}

fn start<T>(bias: Option<&[T]>, filter: usize, k0: usize) -> Start<T> {
    match bias {
        _ if k0 > 0 => Start::Add,
        Some(bias) => Start::RowBias(bias[filter..].as_ptr()),
        None => Start::Zero,
    }
}

/// Where a tile belongs in the output.
struct Target {
    block: Block,
    filter: usize,
    rows: usize,
    first: usize,
    cols: usize,
}

impl Target {
    /// Index of row `i`, column `j` of the tile in the output.
    fn element(&self, plan: &Plan, i: usize, j: usize) -> usize {
        let ow = plan.geometry.output[1];
        let pixels = self.block.rows * ow;
        let (image, pixel) = ((self.first + j) / pixels, (self.first + j) % pixels);
        ((self.block.image + image) * plan.geometry.filters + self.filter + i)
            * plan.geometry.out_plane()
            + self.block.row * ow
            + pixel
    }

    /// Adds a tile that spans images.
    fn scatter<T: Scalar>(
        &self,
        plan: &Plan,
        tile: &[T],
        nr: usize,
        bias: Option<&[T]>,
        begin: bool,
        out: &Shared<'_, T>,
    ) {
        for (i, row) in tile.chunks_exact(nr).enumerate().take(self.rows) {
            for (j, &value) in row.iter().enumerate().take(self.cols) {
                // SAFETY: as in `multiply_block`: this task owns the pixel.
                let at = unsafe { out.at(self.element(plan, i, j), 1) };
                let start = if begin {
                    bias.map_or(T::zero(), |bias| bias[self.filter + i])
                } else {
                    at[0]
                };
                at[0] = start + value;
            }
        }
    }
}

impl Plan {
    /// Elements of scratch memory that [`backward_input`] needs.
    pub fn backward_input_scratch<T: Scalar>(&self, n: usize) -> usize {
        match &self.transposed {
            Some(plan) => plan.forward_scratch::<T>(n),
            None => self.fold_scratch::<T>(n),
        }
    }
}

/// `dx` from `dy`, written: for stride 1 a convolution with the turned kernel, else the fold beside the weight gradient.
pub fn backward_input<T: Scalar>(
    plan: &Plan,
    weight: &[T],
    dy: &[T],
    dx: &mut [T],
    scratch: &mut [T],
) {
    let Some(transposed) = &plan.transposed else {
        return super::conv_backward::fold(plan, weight, dy, dx, scratch);
    };
    let geometry = &transposed.geometry;
    let (channels, inner) = (geometry.group_filters(), geometry.inner());
    let window = geometry.kernel[0] * geometry.kernel[1];
    let (packed, sections) = scratch.split_at_mut(geometry.filters * inner);
    let group = channels * inner;
    for (packed, weight) in packed.chunks_exact_mut(group).zip(weight.chunks_exact(group)) {
        pack_weight(T::micro(), channels, inner, packed, |channel, k| {
            let (filter, at) = (k / window, k % window);
            weight[(filter * channels + channel) * window + window - 1 - at]
        });
    }
    product(transposed, dy, packed, None, dx, sections);
}

pub use super::conv_backward::backward_weight;
