//! Gradient of a convolution by its weight and bias.

use super::plan::Block;
use super::{Plan, depthwise, winograd};
use crate::Scalar;
use crate::kernels::gemm::even_part;
use crate::kernels::micro::Start;
use crate::kernels::parallel::{self, Cost, Shared, Write};
use crate::kernels::{reduce, transpose};

/// Filters of a task of the weight gradient.
const FILTERS: usize = 64;
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
    /// Filters of a group, rounded up to whole vectors.
    width: usize,
}

impl Plan {
    fn cut<T: Scalar>(&self, n: usize) -> Cut {
        let geometry = &self.geometry;
        let chunks = geometry.group_filters().div_ceil(FILTERS);
        let parts = (TASKS / (chunks * geometry.groups)).max(1).min(self.blocks(n).max(1));
        Cut { parts, chunks, width: geometry.group_filters().next_multiple_of(T::micro().nr) }
    }

    /// Elements of one part's accumulators: `[group][k][width]` and a sum for each filter.
    fn part_len(&self, cut: Cut) -> usize {
        self.geometry.groups * self.geometry.inner() * cut.width + self.geometry.filters
    }

    fn weight_section<T: Scalar>(&self) -> usize {
        self.buffer_len() + self.block_pixels() * T::micro().nr
    }

    /// Elements of scratch memory that [`backward_weight`] needs.
    pub fn backward_weight_scratch<T: Scalar>(&self, n: usize) -> usize {
        if let Some(depthwise) = &self.depthwise {
            return depthwise.scratch(&self.geometry, n);
        }
        if let Some(tiles) = self.winograd(n) {
            return tiles.backward_weight_scratch::<T>(n);
        }
        let cut = self.cut::<T>(n);
        let tasks = cut.parts * cut.chunks * self.geometry.groups;
        cut.parts * self.part_len(cut) + parallel::sections_for(tasks) * self.weight_section::<T>()
    }
}

/// Adds the gradients by weight and bias: `dw[f][k] += Σ_pixels dy[f] · x[k]`, `db[f] += Σ_pixels dy[f]`.
pub fn backward_weight<T: Scalar>(
    plan: &Plan,
    x: &[T],
    dy: &[T],
    dw: Option<&mut [T]>,
    db: Option<&mut [T]>,
    scratch: &mut [T],
) {
    let geometry = &plan.geometry;
    let n = x.len() / geometry.image();
    if let Some(kernel) = &plan.depthwise {
        if let Some(dw) = dw {
            depthwise::backward_weight(kernel, geometry, x, dy, dw, scratch);
        }
        if let Some(db) = db {
            reduce::add_plane_sums(dy, geometry.out_plane(), db);
        }
        return;
    }
    if let Some(tiles) = plan.winograd(n) {
        if let Some(dw) = dw {
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
    let blocks = plan.blocks(n);
    {
        let sums = Shared::new(sums);
        let tasks = cut.parts * cut.chunks * geometry.groups;
        parallel::each_with(
            tasks,
            geometry.cost(n),
            sections,
            plan.weight_section::<T>(),
            |task, section| {
                let (part, rest) = (task % cut.parts, task / cut.parts);
                let job = Job { cut, part, group: rest / cut.chunks, chunk: rest % cut.chunks };
                for i in blocks * part / cut.parts..blocks * (part + 1) / cut.parts {
                    job.add_block(plan, plan.block(n, i), x, dy, &sums, section);
                }
            },
        );
    }
    let (total, others) = sums.split_at_mut(part_len);
    reduce::add_rows(others, total);
    let weights = part_len - geometry.filters;
    if let Some(dw) = dw {
        add_transposed(plan, cut, &total[..weights], dw);
    }
    if let Some(db) = db {
        reduce::add_to(&total[weights..], db);
    }
}

/// One task: a part of the batch, a group, a chunk of its filters.
struct Job {
    cut: Cut,
    part: usize,
    group: usize,
    chunk: usize,
}

impl Job {
    fn add_block<T: Scalar>(
        &self,
        plan: &Plan,
        block: Block,
        x: &[T],
        dy: &[T],
        sums: &Shared<'_, T>,
        section: &mut [T],
    ) {
        let micro = T::micro();
        let geometry = &plan.geometry;
        let (inner, filters, width) = (geometry.inner(), geometry.group_filters(), self.cut.width);
        let part = self.part * plan.part_len(self.cut);
        let (buffer, turned) = section.split_at_mut(plan.buffer_len());
        plan.fill(block, x, buffer);
        let image = &buffer[self.group * (plan.buffer_image() / geometry.groups)..];
        let rows = &plan.row_offsets[..block.images * block.rows];
        let (ow, stride) = (geometry.output[1], geometry.stride[1]);
        let reach = plan.offsets.iter().max().unwrap_or(&0)
            + rows.iter().max().unwrap_or(&0)
            + (ow - 1) * stride;
        assert!(reach < image.len() && rows.len() * ow * micro.nr <= turned.len());
        for filter in
            (self.chunk * FILTERS..filters.min((self.chunk + 1) * FILTERS)).step_by(micro.nr)
        {
            let cols = micro.nr.min(filters - filter);
            let first = self.group * filters + filter;
            // SAFETY: tasks of a part have different filters.
            let bias = unsafe { sums.at(part + geometry.groups * inner * width + first, cols) };
            turn(plan, block, first, dy, micro.nr, turned, bias);
            for i in 0..inner.div_ceil(micro.mr) {
                let (k, end) = even_part(inner, micro.mr, i);
                let at = part + (self.group * inner + k) * width + filter;
                // SAFETY: a row of the accumulators holds `width` filters, a multiple of `nr`, and tasks
                // have different filters or parts; the assert above bounds image and gradient.
                unsafe {
                    let c = sums.at(at, (end - k - 1) * width + micro.nr).as_mut_ptr();
                    let offsets = plan.offsets[k..end].as_ptr();
                    micro.gather(
                        end - k,
                        rows,
                        ow,
                        stride,
                        image.as_ptr(),
                        offsets,
                        turned.as_ptr(),
                        c,
                        width,
                        Start::Add,
                    );
                }
            }
        }
    }
}

/// Writes the block's gradient of `bias.len()` filters as `[pixel][nr]`, zeros beyond, and adds their sums to `bias`.
fn turn<T: Scalar>(
    plan: &Plan,
    block: Block,
    filter: usize,
    dy: &[T],
    nr: usize,
    turned: &mut [T],
    bias: &mut [T],
) {
    let geometry = &plan.geometry;
    let (plane, ow) = (geometry.out_plane(), geometry.output[1]);
    let pixels = block.rows * ow;
    for (i, turned) in turned.chunks_exact_mut(pixels * nr).take(block.images).enumerate() {
        let at = ((block.image + i) * geometry.filters + filter) * plane + block.row * ow;
        transpose::pack(T::micro(), &dy[at..], plane, bias.len(), nr, turned);
        for (j, bias) in bias.iter_mut().enumerate() {
            *bias += reduce::sum(&dy[at + j * plane..][..pixels]);
        }
    }
}

/// `dw[f][k] += sums[k][f]`
fn add_transposed<T: Scalar>(plan: &Plan, cut: Cut, sums: &[T], dw: &mut [T]) {
    /// Filters read side by side: a cache line.
    const TILE: usize = 16;
    let (inner, filters) = (plan.geometry.inner(), plan.geometry.group_filters());
    let groups = dw.chunks_exact_mut(filters * inner).zip(sums.chunks_exact(inner * cut.width));
    for (dw, sums) in groups {
        parallel::chunks(Write(dw, TILE * inner), Cost::elements(2 * sums.len()), |tile, dw| {
            let (count, sums) = (dw.len() / inner, (&sums[tile * TILE..], cut.width));
            // SAFETY: the piece is this task's.
            unsafe { transpose::add(T::micro(), sums, count, &Shared::new(dw), 0, inner) }
        });
    }
}
