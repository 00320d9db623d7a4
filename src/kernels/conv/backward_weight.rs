//! Gradient of a convolution by its weight and bias.

use super::correlate::{self, Sums};
use super::fill::Source;
use super::plan::Block;
use super::{Plan, depthwise, winograd};
use crate::Scalar;
use crate::kernels::gemm::even_part;
use crate::kernels::micro::Start;
use crate::kernels::parallel::{self, Cost, Shared, Write};
use crate::kernels::{reduce, transpose};

/// Filters of a task of the weight gradient.
pub(super) const FILTERS: usize = 64;
/// Tasks that the weight gradient aims at.
const TASKS: usize = 16;

/// How the weight gradient is cut: parts of the batch, each with accumulators of its own, times chunks
/// of filters. The numbers depend on sizes alone, so that the sums have one order.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// Parts of the batch.
    parts: usize,
    /// Chunks of filters in a group.
    chunks: usize,
    /// What a part's accumulators are.
    sums: Sums,
}

impl Plan {
    fn cut<T: Scalar>(&self, n: usize) -> Cut {
        let geometry = &self.geometry;
        let chunks = geometry.group_filters().div_ceil(FILTERS);
        let parts = (TASKS / (chunks * geometry.groups)).max(1).min(self.blocks(n).max(1));
        Cut { parts, chunks, sums: Sums::choose::<T>(geometry) }
    }

    /// Elements of one part's accumulators: those of each group and a sum for each filter.
    fn part_len(&self, cut: Cut) -> usize {
        self.geometry.groups * cut.sums.len(&self.geometry) + self.geometry.filters
    }

    fn weight_section<T: Scalar>(&self, sums: Sums) -> usize {
        let nr = T::micro().nr;
        self.buffer_len()
            + match sums {
                // The gradient turned, and a copy of it before, without what does not count.
                Sums::OfFilters { .. } => 2 * self.block_pixels() * nr,
                Sums::OfPixels { lanes } => self.correlate_section(lanes),
            }
    }

    /// Elements of scratch memory that [`backward_weight`] needs; `relu`: whether `dy` has a `positive`.
    pub fn backward_weight_scratch<T: Scalar>(&self, n: usize, relu: bool) -> usize {
        if let Some(depthwise) = &self.depthwise {
            return depthwise.scratch(&self.geometry, n) + self.masked_len(n, relu);
        }
        if let Some(tiles) = self.winograd_gradient(n) {
            return tiles.backward_weight_scratch::<T>(n) + self.masked_len(n, relu);
        }
        let cut = self.cut::<T>(n);
        let tasks = cut.parts * cut.chunks * self.geometry.groups;
        cut.parts * self.part_len(cut)
            + parallel::sections_for(tasks) * self.weight_section::<T>(cut.sums)
    }
}

/// Adds the gradients by weight and bias: `dw[f][k] += Σ_pixels dy[f] · x[k]`, `db[f] += Σ_pixels dy[f]`.
pub fn backward_weight<T: Scalar>(
    plan: &Plan,
    x: &[T],
    dy: Source<'_, T>,
    dw: Option<&mut [T]>,
    db: Option<&mut [T]>,
    scratch: &mut [T],
) {
    let geometry = &plan.geometry;
    let n = x.len() / geometry.image();
    let tiles = plan.winograd_gradient(n);
    if plan.depthwise.is_some() || tiles.is_some() {
        let (masked, scratch) = scratch.split_at_mut(plan.masked_len(n, dy.positive.is_some()));
        let dy = dy.masked(masked);
        if let Some(kernel) = &plan.depthwise {
            return depthwise::backward_weight(kernel, geometry, x, dy, dw, db, scratch);
        }
        if let (Some(dw), Some(tiles)) = (dw, tiles) {
            winograd::backward_weight(tiles, x, dy, dw, scratch);
        }
        if let Some(db) = db {
            reduce::add_plane_sums(dy, geometry.out_plane(), db);
        }
        return;
    }
    let cut = plan.cut::<T>(n);
    let part_len = plan.part_len(cut);
    let (sums, sections) = scratch.split_at_mut(cut.parts * part_len);
    sums.fill(T::zero());
    add_blocks(plan, cut, Source::all(x), dy, sums, sections);
    let (total, others) = sums.split_at_mut(part_len);
    reduce::add_rows(others, total);
    let weights = part_len - geometry.filters;
    if let Some(dw) = dw {
        match cut.sums {
            Sums::OfFilters { width } => add_transposed(plan, width, &total[..weights], dw),
            Sums::OfPixels { lanes } => correlate::add_sums(plan, lanes, &total[..weights], dw),
        }
    }
    if let Some(db) = db {
        reduce::add_to(&total[weights..], db);
    }
}

/// Adds every block to its part's accumulators.
fn add_blocks<T: Scalar>(
    plan: &Plan,
    cut: Cut,
    x: Source<'_, T>,
    dy: Source<'_, T>,
    sums: &mut [T],
    sections: &mut [T],
) {
    let geometry = &plan.geometry;
    let n = x.data.len() / geometry.image();
    let (blocks, part_len) = (plan.blocks(n), plan.part_len(cut));
    let sums = Shared::new(sums);
    let tasks = cut.parts * cut.chunks * geometry.groups;
    let section = plan.weight_section::<T>(cut.sums);
    parallel::each_with(tasks, geometry.cost(n), sections, section, |task, section| {
        let (part, rest) = (task % cut.parts, task / cut.parts);
        let (group, chunk) = (rest / cut.chunks, rest % cut.chunks);
        let filters = geometry.group_filters();
        let (buffer, rest) = section.split_at_mut(plan.buffer_len());
        for i in blocks * part / cut.parts..blocks * (part + 1) / cut.parts {
            let block = plan.block(n, i);
            plan.fill(block, x, buffer);
            let job = Job {
                plan,
                block,
                image: &buffer[group * (plan.buffer_image() / geometry.groups)..],
                dy,
                group,
                filters: (chunk * FILTERS, filters.min((chunk + 1) * FILTERS)),
                at: part * part_len + group * cut.sums.len(geometry),
                biases: (part + 1) * part_len - geometry.filters + group * filters,
                sums: &sums,
            };
            match cut.sums {
                Sums::OfFilters { width } => job.gather(width, rest),
                Sums::OfPixels { .. } => job.correlate(rest),
            }
        }
    });
}

/// One block of a task: a part of the batch, a group, a chunk of its filters.
pub(super) struct Job<'a, T> {
    pub(super) plan: &'a Plan,
    pub(super) block: Block,
    /// The group's channels in the block's buffer.
    pub(super) image: &'a [T],
    pub(super) dy: Source<'a, T>,
    pub(super) group: usize,
    /// First filter of the group's, and the one after the last.
    pub(super) filters: (usize, usize),
    /// Where the group's accumulators begin, and its sums of the gradient.
    pub(super) at: usize,
    pub(super) biases: usize,
    pub(super) sums: &'a Shared<'a, T>,
}

impl<T: Scalar> Job<'_, T> {
    /// The block's output rows in the buffer; panics if windows `width` pixels wide are not inside.
    pub(super) fn rows(&self, width: usize) -> &[usize] {
        let rows = &self.plan.row_offsets[..self.block.images * self.block.rows];
        let last = rows.iter().max().unwrap_or(&0);
        assert!(last + self.plan.reach + width <= self.image.len(), "the buffer has a border");
        rows
    }

    /// Where the block's pixels of `filter` begin in image `i` of the gradient.
    pub(super) fn gradient(&self, i: usize, filter: usize) -> usize {
        let geometry = &self.plan.geometry;
        let filter = self.group * geometry.group_filters() + filter;
        ((self.block.image + i) * geometry.filters + filter) * geometry.out_plane()
            + self.block.row * geometry.output[1]
    }

    /// Vectors of filters: each pixel of the image is broadcast.
    fn gather(&self, width: usize, section: &mut [T]) {
        let micro = T::micro();
        let (inner, ow) = (self.plan.geometry.inner(), self.plan.geometry.output[1]);
        let rows = self.rows(ow);
        let (turned, masked) = section.split_at_mut(self.plan.block_pixels() * micro.nr);
        assert!(rows.len() * ow * micro.nr <= turned.len());
        for filter in (self.filters.0..self.filters.1).step_by(micro.nr) {
            let cols = micro.nr.min(self.filters.1 - filter);
            // SAFETY: tasks of a part have different filters.
            let bias = unsafe { self.sums.at(self.biases + filter, cols) };
            self.turn(filter, turned, masked, bias);
            for i in 0..inner.div_ceil(micro.mr) {
                let (k, end) = even_part(inner, micro.mr, i);
                let at = self.at + k * width + filter;
                // SAFETY: a row of the accumulators holds `width` filters, a multiple of `nr`, and tasks
                // have different filters or parts; `rows` and the assert bound image and gradient.
                unsafe {
                    let c = self.sums.at(at, (end - k - 1) * width + micro.nr).as_mut_ptr();
                    let offsets = self.plan.offsets[k..end].as_ptr();
                    let (a, b) = (self.image.as_ptr(), turned.as_ptr());
                    micro.gather(end - k, rows, ow, 1, a, offsets, b, c, width, Start::Add);
                }
            }
        }
    }

    /// Writes the block's gradient of `bias.len()` filters as `[pixel][nr]`, zeros beyond, and adds their sums to `bias`.
    fn turn(&self, filter: usize, turned: &mut [T], masked: &mut [T], bias: &mut [T]) {
        let (plane, nr) = (self.plan.geometry.out_plane(), T::micro().nr);
        let pixels = self.block.rows * self.plan.geometry.output[1];
        let images = turned.chunks_exact_mut(pixels * nr).take(self.block.images);
        for (i, turned) in images.enumerate() {
            let at = self.gradient(i, filter);
            let (mut dy, mut stride) = (&self.dy.data[at..], plane);
            if self.dy.positive.is_some() {
                for (j, masked) in masked.chunks_exact_mut(pixels).take(bias.len()).enumerate() {
                    self.dy.part(at + j * plane, pixels).copy(masked);
                }
                (dy, stride) = (&*masked, pixels);
            }
            transpose::pack(T::micro(), dy, stride, bias.len(), nr, turned);
            for (j, bias) in bias.iter_mut().enumerate() {
                *bias += reduce::sum(&dy[j * stride..][..pixels]);
            }
        }
    }
}

/// `dw[f][k] += sums[k][f]`
fn add_transposed<T: Scalar>(plan: &Plan, width: usize, sums: &[T], dw: &mut [T]) {
    /// Filters read side by side: a cache line.
    const TILE: usize = 16;
    let (inner, filters) = (plan.geometry.inner(), plan.geometry.group_filters());
    let groups = dw.chunks_exact_mut(filters * inner).zip(sums.chunks_exact(inner * width));
    for (dw, sums) in groups {
        parallel::chunks(Write(dw, TILE * inner), Cost::elements(2 * sums.len()), |tile, dw| {
            let (count, sums) = (dw.len() / inner, (&sums[tile * TILE..], width));
            // SAFETY: the piece is this task's.
            unsafe { transpose::add(T::micro(), sums, count, &Shared::new(dw), 0, inner) }
        });
    }
}
