//! Sizes of a convolution and how it is cut into blocks.

use super::depthwise::Depthwise;
use super::fill::Columns;
use super::winograd::Tiles;
use crate::kernels::micro::MAX_NR;
use crate::kernels::parallel::Cost;

/// Output pixels that a block aims at, and more with few channels: as many as make so many inputs.
const BLOCK_PIXELS: usize = 256;
const BLOCK_INPUTS: usize = 4096;
const MOST_PIXELS: usize = 1024;
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

    /// A kernel of one pixel knows no rows: the same convolution with rows as long as fit a block.
    pub fn flattened(mut self) -> Self {
        let plane = self.out_plane();
        if self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0] {
            let width =
                (1..=BLOCK_PIXELS.min(plane)).rev().find(|width| plane.is_multiple_of(*width));
            let width = width.unwrap_or(1).max(self.output[1]);
            self.output = [plane / width, width];
            self.input = self.output;
        }
        self
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
    /// What a row of the buffer holds.
    pub(super) columns: Vec<Columns>,
    /// Where the window element of each `k` lies, from the window's first, within a group.
    pub(super) offsets: Vec<usize>,
    /// The largest of them.
    pub(super) reach: usize,
    /// Where each output row of a block begins.
    pub(super) row_offsets: Vec<usize>,
    /// For the input gradient.
    pub(super) transposed: Option<Box<Plan>>,
    winograd: Option<Tiles>,
    pub(super) depthwise: Option<Depthwise>,
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

    /// The same plan without Winograd's algorithm: every product as the definition has it.
    pub fn exact(geometry: Geometry) -> Self {
        let mut plan = Self::new(geometry);
        plan.winograd = None;
        if let Some(transposed) = &mut plan.transposed {
            transposed.winograd = None;
        }
        plan
    }

    /// The tiles of Winograd's algorithm, if it is to be used for the product with `n` images.
    pub(super) fn winograd(&self, n: usize) -> Option<&Tiles> {
        self.winograd.as_ref().filter(|tiles| tiles.pays_for_product(n))
    }

    /// The same for the gradient by the weight.
    pub(super) fn winograd_gradient(&self, n: usize) -> Option<&Tiles> {
        self.winograd.as_ref().filter(|tiles| tiles.pays_for_gradient(n))
    }

    fn without_transposed(geometry: Geometry) -> Self {
        let [oh, ow] = geometry.output;
        let stride = geometry.stride;
        let reach = [0, 1].map(|axis| geometry.dilation[axis] * (geometry.kernel[axis] - 1));
        let pixels = (BLOCK_INPUTS / geometry.channels).clamp(BLOCK_PIXELS, MOST_PIXELS);
        let strips = oh.div_ceil((pixels / ow).max(1));
        let rows = oh.div_ceil(strips);
        // Columns at a distance of the stride lie side by side, so that neighbouring windows do: a run for
        // each remainder that a window element's column can leave.
        let width = ((ow - 1) * stride[1] + reach[1] + 1).div_ceil(stride[1]);
        let column = |kw: usize| kw * geometry.dilation[1];
        let mut runs: Vec<usize> =
            (0..geometry.kernel[1]).map(|kw| column(kw) % stride[1]).collect();
        runs.sort_unstable();
        runs.dedup();
        let buffer = [(rows - 1) * stride[0] + reach[0] + 1, runs.len() * width];
        let image = geometry.channels * buffer[0] * buffer[1];
        let images =
            if strips > 1 { 1 } else { (pixels / (oh * ow)).min(BLOCK_ELEMENTS / image).max(1) };
        let mut offsets = Vec::with_capacity(geometry.inner());
        for channel in 0..geometry.channels / geometry.groups {
            for kh in 0..geometry.kernel[0] {
                for kw in 0..geometry.kernel[1] {
                    let row = channel * buffer[0] + kh * geometry.dilation[0];
                    let run = runs.iter().take_while(|&&run| run < column(kw) % stride[1]).count();
                    offsets.push(row * buffer[1] + run * width + column(kw) / stride[1]);
                }
            }
        }
        let row_offsets = (0..images)
            .flat_map(|i| (0..rows).map(move |row| i * image + row * stride[0] * buffer[1]))
            .collect();
        Self {
            images,
            rows,
            buffer,
            columns: columns(&geometry, &runs, width),
            reach: offsets.iter().copied().max().unwrap_or(0),
            offsets,
            row_offsets,
            transposed: None,
            winograd: Tiles::new(&geometry),
            depthwise: Depthwise::new(&geometry),
            geometry,
        }
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
}

/// Which columns of the input make the runs of a row of the buffer, each of `width`.
fn columns(geometry: &Geometry, runs: &[usize], width: usize) -> Vec<Columns> {
    let (w, stride, padding) = (geometry.input[1], geometry.stride[1], geometry.padding[1]);
    let columns = runs.iter().enumerate().map(|(i, &run)| {
        // Those before are in the padding.
        let first = padding.saturating_sub(run).div_ceil(stride);
        let from = first * stride + run - padding;
        let count = w.saturating_sub(from).div_ceil(stride).min(width.saturating_sub(first));
        Columns { from: from.min(w), to: (i * width + first).min(runs.len() * width), count }
    });
    columns.filter(|columns| columns.count > 0).collect()
}
