//! The product of a weight and the windows of an image, block by block.

use super::plan::Block;
use super::window::Window;
use super::winograd::{self, Finish, Turn};
use super::{Plan, depthwise};
use crate::Scalar;
use crate::kernels::gemm::{KC, even_part};
use crate::kernels::micro::{MAX_MR, Micro, Start};
use crate::kernels::parallel::{self, Cost, Shared};
use crate::kernels::transpose;

/// With fewer blocks than this, the filters are divided between tasks as well: one deep, small image.
const FEW_BLOCKS: usize = 8;
/// Filters of a task then: enough to pay for reading the image once more.
const FEW_BLOCKS_FILTERS: usize = 64;

impl Plan {
    fn filter_chunks(&self, n: usize) -> usize {
        if self.blocks(n) < FEW_BLOCKS {
            self.geometry.group_filters().div_ceil(FEW_BLOCKS_FILTERS)
        } else {
            1
        }
    }

    fn section_len<T: Scalar>(&self) -> usize {
        let nr = T::micro().nr;
        self.buffer_len() + (KC + 1) * nr + MAX_MR * nr
    }

    /// Elements of scratch memory that [`forward`] needs.
    pub fn forward_scratch<T: Scalar>(&self, n: usize) -> usize {
        if let Some(depthwise) = &self.depthwise {
            return depthwise.scratch(&self.geometry, n);
        }
        if let Some(tiles) = self.winograd(n) {
            return tiles.forward_scratch::<T>(n);
        }
        self.geometry.filters * self.geometry.inner()
            + parallel::sections_for(self.blocks(n) * self.filter_chunks(n))
                * self.section_len::<T>()
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
    if let Some(depthwise) = &plan.depthwise {
        return depthwise::forward(depthwise, geometry, x, weight, bias, y, scratch);
    }
    if let Some(tiles) = plan.winograd(x.len() / geometry.image()) {
        let finish = Finish { bias, relu: false };
        return winograd::forward(tiles, x, (weight, Turn::Forward), finish, y, scratch);
    }
    let (filters, inner) = (geometry.group_filters(), geometry.inner());
    let (packed, sections) = scratch.split_at_mut(geometry.filters * inner);
    for (packed, weight) in
        packed.chunks_exact_mut(filters * inner).zip(weight.chunks_exact(filters * inner))
    {
        pack_weight(T::micro(), filters, inner, packed, |first, rows, k0, panel| {
            transpose::pack(T::micro(), &weight[first * inner + k0..], inner, rows, rows, panel);
        });
    }
    product(plan, x, packed, bias, y, sections);
}

/// Packs a weight `[filters][k]` into blocks of `KC` and panels of at most `MR` filters, `[k][rows]`.
/// `write(first, rows, k0, panel)` fills one panel.
pub(super) fn pack_weight<T: Scalar>(
    micro: &Micro<T>,
    filters: usize,
    inner: usize,
    packed: &mut [T],
    write: impl Fn(usize, usize, usize, &mut [T]) + Sync,
) {
    let cost = Cost::elements(2 * packed.len());
    let out = Shared::new(packed);
    parallel::each(filters.div_ceil(micro.mr), cost, |i| {
        let (first, end) = even_part(filters, micro.mr, i);
        for k0 in (0..inner).step_by(KC) {
            let kc = KC.min(inner - k0);
            // SAFETY: panels of different filters or blocks do not overlap.
            let panel = unsafe { out.at(filters * k0 + kc * first, kc * (end - first)) };
            write(first, end - first, k0, panel);
        }
    });
}

/// The product with a packed weight, block by block.
pub(super) fn product<T: Scalar>(
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
    let chunks = plan.filter_chunks(n);
    parallel::each_with(
        plan.blocks(n) * chunks,
        plan.geometry.cost(n),
        sections,
        section,
        |i, section| {
            let (block, chunk) = (plan.block(n, i / chunks), (i % chunks, chunks));
            let (buffer, rest) = section.split_at_mut(plan.buffer_len());
            plan.fill(block, x, buffer);
            for group in 0..plan.geometry.groups {
                multiply_block(plan, block, group, chunk, buffer, packed, bias, &out, rest);
            }
        },
    );
}

#[allow(clippy::too_many_arguments)]
fn multiply_block<T: Scalar>(
    plan: &Plan,
    block: Block,
    group: usize,
    (chunk, chunks): (usize, usize),
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
            let panels = filters.div_ceil(micro.mr);
            for i in panels * chunk / chunks..panels * (chunk + 1) / chunks {
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
