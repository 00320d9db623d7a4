//! Gradients of a convolution: by the weight, and by the input where the turned kernel does not do.
//! Letters as in [`super::conv`].

use super::conv::{Block, Plan};
use super::gemm::even_part;
use super::micro::{MAX_NR, Micro, Start};
use super::parallel::{self, Cost, Shared, Write};
use super::reduce;
use crate::Scalar;

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
    add_parts(total, others);
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
    if bias.len() < nr {
        turned[..block.images * pixels * nr].fill(T::zero());
    }
    for (i, turned) in turned.chunks_exact_mut(pixels * nr).take(block.images).enumerate() {
        for (j, bias) in bias.iter_mut().enumerate() {
            let at = ((block.image + i) * geometry.filters + filter + j) * plane + block.row * ow;
            let source = &dy[at..][..pixels];
            for (row, &value) in turned.chunks_exact_mut(nr).zip(source) {
                row[j] = value;
            }
            *bias += reduce::sum(source);
        }
    }
}

/// Adds the accumulators of the other parts to those of the first, in order.
fn add_parts<T: Scalar>(total: &mut [T], others: &[T]) {
    /// Elements of a task.
    const PIECE: usize = 4096;
    let len = total.len();
    parallel::chunks(Write(total, PIECE), Cost::elements(others.len()), |i, total| {
        for part in others.chunks_exact(len) {
            reduce::add_to(&part[i * PIECE..][..total.len()], total);
        }
    });
}

/// `dw[f][k] += sums[k][f]`
fn add_transposed<T: Scalar>(plan: &Plan, cut: Cut, sums: &[T], dw: &mut [T]) {
    /// Filters read side by side: a cache line.
    const TILE: usize = 16;
    let (inner, filters) = (plan.geometry.inner(), plan.geometry.group_filters());
    let groups = dw.chunks_exact_mut(filters * inner).zip(sums.chunks_exact(inner * cut.width));
    for (dw, sums) in groups {
        parallel::chunks(Write(dw, TILE * inner), Cost::elements(2 * sums.len()), |tile, dw| {
            for (k, row) in sums.chunks_exact(cut.width).enumerate() {
                for (dw, &sum) in dw.chunks_exact_mut(inner).zip(&row[tile * TILE..]) {
                    dw[k] += sum;
                }
            }
        });
    }
}

impl Plan {
    fn padded_image(&self) -> [usize; 2] {
        // Every row and column that a window or the input touches.
        [0, 1].map(|axis| {
            let geometry = &self.geometry;
            let reach = geometry.dilation[axis] * (geometry.kernel[axis] - 1);
            let windows = (geometry.output[axis] - 1) * geometry.stride[axis] + reach + 1;
            windows.max(geometry.padding[axis] + geometry.input[axis])
        })
    }

    fn fold_section<T: Scalar>(&self) -> usize {
        let [h, w] = self.padded_image();
        let nr = T::micro().nr;
        self.geometry.channels * h * w
            + (self.geometry.group_filters() + self.geometry.inner()) * nr
    }

    /// Elements of scratch memory that [`fold`] needs.
    pub(super) fn fold_scratch<T: Scalar>(&self, n: usize) -> usize {
        parallel::sections_for(n) * self.fold_section::<T>()
            + self.geometry.filters * self.geometry.inner()
    }
}

/// Input gradient for any stride, image by image: `weightᵀ · dy` gives each window's share, which is
/// added where the window lies ("col2im").
pub(super) fn fold<T: Scalar>(
    plan: &Plan,
    weight: &[T],
    dy: &[T],
    dx: &mut [T],
    scratch: &mut [T],
) {
    let geometry = &plan.geometry;
    let (inner, filters) = (geometry.inner(), geometry.group_filters());
    let n = dx.len() / geometry.image();
    let micro = T::micro();
    let (packed, sections) = scratch.split_at_mut(geometry.filters * inner);
    for (packed, weight) in
        packed.chunks_exact_mut(filters * inner).zip(weight.chunks_exact(filters * inner))
    {
        pack_columns(micro, filters, inner, weight, packed);
    }
    let packed = &*packed;
    let out = Shared::new(dx);
    let image_out = geometry.filters * geometry.out_plane();
    parallel::each_with(n, geometry.cost(n), sections, plan.fold_section::<T>(), |i, section| {
        let [h, w] = plan.padded_image();
        let (padded, rest) = section.split_at_mut(geometry.channels * h * w);
        padded.fill(T::zero());
        for group in 0..geometry.groups {
            let dy = &dy[i * image_out..][group * filters * geometry.out_plane()..]
                [..filters * geometry.out_plane()];
            let size = geometry.channels / geometry.groups * h * w;
            let padded = &mut padded[group * size..][..size];
            fold_group(
                plan,
                micro,
                &packed[group * filters * inner..][..filters * inner],
                dy,
                padded,
                rest,
            );
        }
        // SAFETY: every task writes an image of its own.
        let dx = unsafe { out.at(i * geometry.image(), geometry.image()) };
        let [top, left] = geometry.padding;
        let [height, width] = geometry.input;
        for (dx, padded) in dx.chunks_exact_mut(height * width).zip(padded.chunks_exact(h * w)) {
            for (row, padded) in dx.chunks_exact_mut(width).zip(padded[top * w..].chunks_exact(w)) {
                row.copy_from_slice(&padded[left..][..width]);
            }
        }
    });
}

/// Packs the transpose of a weight `[filters][k]`: panels of at most `MR` of `k`, `[filter][rows]`.
fn pack_columns<T: Scalar>(
    micro: &Micro<T>,
    filters: usize,
    inner: usize,
    weight: &[T],
    packed: &mut [T],
) {
    for i in 0..inner.div_ceil(micro.mr) {
        let (k, end) = even_part(inner, micro.mr, i);
        let panel = &mut packed[filters * k..][..filters * (end - k)];
        for (row, weight) in panel.chunks_exact_mut(end - k).zip(weight.chunks_exact(inner)) {
            row.copy_from_slice(&weight[k..end]);
        }
    }
}

fn fold_group<T: Scalar>(
    plan: &Plan,
    micro: &Micro<T>,
    packed: &[T],
    dy: &[T],
    padded: &mut [T],
    scratch: &mut [T],
) {
    let geometry = &plan.geometry;
    let (inner, filters, plane) =
        (geometry.inner(), geometry.group_filters(), geometry.out_plane());
    let [h, w] = plan.padded_image();
    let (panel, shares) = scratch.split_at_mut(filters * micro.nr);
    let window = geometry.kernel[0] * geometry.kernel[1];
    for first in (0..plane).step_by(micro.nr) {
        let cols = micro.nr.min(plane - first);
        for (row, dy) in panel.chunks_exact_mut(micro.nr).zip(dy.chunks_exact(plane)) {
            row[..cols].copy_from_slice(&dy[first..][..cols]);
            row[cols..].fill(T::zero());
        }
        for i in 0..inner.div_ceil(micro.mr) {
            let (k, end) = even_part(inner, micro.mr, i);
            let (a, c) = (
                &packed[filters * k..][..filters * (end - k)],
                &mut shares[k * micro.nr..end * micro.nr],
            );
            // SAFETY: panels and result were cut to size just above.
            unsafe {
                let c = c.as_mut_ptr();
                micro.tile(
                    end - k,
                    filters,
                    a.as_ptr(),
                    panel.as_ptr(),
                    c,
                    micro.nr,
                    micro.nr,
                    Start::Zero,
                );
            }
        }
        let mut places = [0; MAX_NR];
        for (j, place) in places[..cols].iter_mut().enumerate() {
            let (row, col) = ((first + j) / geometry.output[1], (first + j) % geometry.output[1]);
            *place = row * geometry.stride[0] * w + col * geometry.stride[1];
        }
        for (k, shares) in shares.chunks_exact(micro.nr).enumerate().take(inner) {
            let (channel, at) = (k / window, k % window);
            let (kh, kw) = (at / geometry.kernel[1], at % geometry.kernel[1]);
            let offset = (channel * h + kh * geometry.dilation[0]) * w + kw * geometry.dilation[1];
            for (&share, &place) in shares.iter().zip(&places[..cols]) {
                padded[offset + place] += share;
            }
        }
    }
}
