//! Gradient by the weight: products over the tiles at each point, then the adjoint transforms.

use super::lines::{Gradient, Input};
use super::tiles::{self, Layout};
use super::weight::{TAPS, collect_kernels};
use super::{Cut, POINTS, Tiles, plane};
use crate::Scalar;
use crate::kernels::gemm::even_part;
use crate::kernels::micro::{MAX_MR, Start};
use crate::kernels::parallel::{self, Cost, Shared};
use crate::kernels::{reduce, transpose};

/// Most bytes of a block's transformed image and one panel of its gradient.
const BLOCK_BYTES: usize = 512 * 1024;
/// Fewest tiles of a block: they are the inner dimension of the products.
const FEWEST_TILES: usize = 32;
/// Panels of filters of a task.
const PANELS: usize = 4;
/// Most bytes of accumulators that stay in the second cache.
const CACHED: usize = 1 << 20;
/// Tasks that the weight gradient aims at, and the fewest it is content with.
const TASKS: std::ops::RangeInclusive<usize> = 4..=8;
/// Most bytes of the accumulators of all parts, beyond the fewest tasks: they are written, read and added up.
const ACCUMULATORS: usize = 2 << 20;

/// How the work is cut: parts of the batch, each with accumulators of its own, times chunks of filters.
/// The numbers depend on sizes alone, so that the sums have one order.
#[derive(Debug, Clone, Copy)]
struct Parts {
    parts: usize,
    chunks: usize,
    blocks: Cut,
}

impl Tiles {
    fn gradient_cut<T: Scalar>(&self) -> Cut {
        self.cut(self.tiles_in::<T>(BLOCK_BYTES).max(FEWEST_TILES))
    }

    /// Whether image and gradient are kept as points instead of the weight's accumulators: what is read and
    /// written of them, counted in points.
    fn is_deep_gradient<T: Scalar>(&self, n: usize) -> bool {
        let (channels, filters, tiles) =
            (self.channels::<T>(), self.geometry.filters, self.tiles(n));
        let image = (self.panels::<T>() + 2).saturating_mul(channels);
        let gradient = (channels / super::deep::CHANNELS + 2).saturating_mul(filters);
        let blocks = self.blocks(self.gradient_cut::<T>(), n);
        // Accumulators in the second cache cost a third of what memory costs.
        let weight = if self.weight_len::<T>() * size_of::<T>() <= CACHED { 1 } else { 3 };
        let kept = (image + gradient).saturating_mul(tiles).saturating_mul(3);
        kept < (2 * blocks).saturating_mul(channels * filters).saturating_mul(weight)
    }

    fn parts<T: Scalar>(&self, n: usize) -> Parts {
        let blocks = self.gradient_cut::<T>();
        let chunks = self.panels::<T>().div_ceil(PANELS);
        let most = ACCUMULATORS / (self.weight_len::<T>() * size_of::<T>());
        let most = most.clamp(*TASKS.start(), *TASKS.end()) / chunks;
        Parts { parts: most.clamp(1, self.blocks(blocks, n).max(1)), chunks, blocks }
    }

    fn gradient_section<T: Scalar>(&self, cut: Cut) -> usize {
        let (tiles, nr) = (self.block_tiles(cut), T::micro().nr);
        POINTS * (plane(self.channels::<T>() * tiles) + plane(nr * tiles)) + self.lines::<T>()
    }

    /// Elements of scratch memory that [`backward_weight`] needs.
    pub(in crate::kernels::conv) fn backward_weight_scratch<T: Scalar>(&self, n: usize) -> usize {
        if self.is_deep_gradient::<T>(n) {
            return self.deep_gradient_scratch::<T>(n);
        }
        let cut = self.parts::<T>(n);
        let tasks = cut.parts * cut.chunks;
        cut.parts * self.weight_len::<T>()
            + (parallel::sections_for(tasks) * self.gradient_section::<T>(cut.blocks))
                .max(parallel::sections_for(self.panels::<T>()) * self.kernels_len::<T>())
    }
}

/// `dw[filter][channel] += Gᵀ (Σ_tiles (A dy Aᵀ) ⊙ (Bᵀ x B)) G`
pub(in crate::kernels::conv) fn backward_weight<T: Scalar>(
    tiles: &Tiles,
    x: &[T],
    dy: &[T],
    dw: &mut [T],
    scratch: &mut [T],
) {
    let n = x.len() / tiles.geometry.image();
    if tiles.is_deep_gradient::<T>(n) {
        return super::deep::backward_weight(tiles, x, dy, dw, scratch);
    }
    let cut = tiles.parts::<T>(n);
    let (panels, panel_len) = (tiles.panels::<T>(), tiles.weight_panel::<T>());
    let (sums, sections) = scratch.split_at_mut(cut.parts * panels * panel_len);
    let section = tiles.gradient_section::<T>(cut.blocks);
    let blocks = tiles.blocks(cut.blocks, n);
    {
        let sums = Shared::new(sums);
        let tasks = cut.parts * cut.chunks;
        parallel::each_with(tasks, tiles.cost(n), sections, section, |task, section| {
            let (part, chunk) = (task % cut.parts, task / cut.parts);
            let chunk = chunk * PANELS..panels.min((chunk + 1) * PANELS);
            let len = chunk.len() * panel_len;
            // SAFETY: tasks have different parts or panels.
            let sums = unsafe { sums.at((part * panels + chunk.start) * panel_len, len) };
            let first = blocks * part / cut.parts;
            for i in first..blocks * (part + 1) / cut.parts {
                let add = i > first;
                add_block(tiles, cut.blocks, (n, i), x, dy, chunk.clone(), (sums, add), section);
            }
        });
    }
    let (total, others) = sums.split_at_mut(panels * panel_len);
    reduce::add_rows(others, total);
    collect_weight(tiles, total, dw, sections);
}

/// A block's share of the accumulators of some panels of filters, added to what is there with `add`.
#[allow(clippy::too_many_arguments)]
fn add_block<T: Scalar>(
    tiles: &Tiles,
    cut: Cut,
    (n, i): (usize, usize),
    x: &[T],
    dy: &[T],
    panels: std::ops::Range<usize>,
    (sums, add): (&mut [T], bool),
    scratch: &mut [T],
) {
    let (nr, lanes) = (T::micro().nr, T::micro().lanes());
    let block = tiles.block(cut, n, i);
    let count = tiles.tiles_of(block);
    let image = Layout { plane: plane(tiles.channels::<T>() * count), tiles: count, width: lanes };
    let gradient = Layout { plane: plane(nr * count), tiles: count, width: nr };
    let (v, rest) = scratch.split_at_mut(POINTS * image.plane);
    let (z, lines) = rest.split_at_mut(POINTS * gradient.plane);
    let (channels, filters) = (tiles.geometry.channels, tiles.geometry.filters);
    let side = tiles.input_side();
    tiles::spread::<T, Input>(
        tiles,
        block,
        side,
        0..channels,
        x,
        (&Shared::new(v), image),
        0,
        lines,
    );
    for (panel, sums) in panels.zip(sums.chunks_exact_mut(tiles.weight_panel::<T>())) {
        let range = panel * nr..filters.min((panel + 1) * nr);
        if range.len() < nr {
            z.fill(T::zero());
        }
        let side = tiles.output_side();
        let shared = Shared::new(z);
        tiles::spread::<T, Gradient>(tiles, block, side, range, dy, (&shared, gradient), 0, lines);
        add_panel(
            (v, image),
            0..channels,
            (z, gradient),
            0,
            (sums, tiles.weight_plane::<T>()),
            add,
        );
    }
}

/// `sums[point][channel][nr] += v[point][·][channel] · z[point][·]` over the tiles, for some channels, which
/// begin at a register, and panel number `panel` of `z`; `width` elements of `sums` from point to point. Added to
/// what is there with `add`.
pub(super) fn add_panel<T: Scalar>(
    (v, image): (&[T], Layout),
    channels: std::ops::Range<usize>,
    (z, gradient): (&[T], Layout),
    panel: usize,
    (sums, width): (&mut [T], usize),
    add: bool,
) {
    let start = if add { Start::Add } else { Start::Zero };
    let (nr, mr, lanes) = (T::micro().nr, T::micro().mr, T::micro().lanes());
    let count = channels.len().next_multiple_of(lanes);
    let (v_at, z_at) = (image.at(channels.start), gradient.at(panel * nr));
    assert!(v_at + count * image.tiles <= image.plane);
    assert!(z_at + nr * image.tiles <= gradient.plane && gradient.tiles == image.tiles);
    assert!(count * nr <= width && (POINTS - 1) * width + count * nr <= sums.len());
    let planes = v.chunks_exact(image.plane).zip(z.chunks_exact(gradient.plane)).take(POINTS);
    for ((v, z), sums) in planes.zip(sums.chunks_mut(width)) {
        for i in 0..count.div_ceil(mr) {
            let (channel, end) = even_part(count, mr, i);
            let rows: [usize; MAX_MR] = std::array::from_fn(|row| image.at(channel + row));
            // SAFETY: by the asserts above `v` holds every one of the channels of every tile, rows from
            // `end` on being unused, and `z` a row of `nr` for every tile; `sums` holds a row of `nr` for
            // each channel.
            unsafe {
                T::micro().gather(
                    end - channel,
                    &[0],
                    image.tiles,
                    lanes,
                    v.as_ptr().add(v_at),
                    rows.as_ptr(),
                    z.as_ptr().add(z_at),
                    sums.as_mut_ptr().add(channel * nr),
                    nr,
                    start,
                );
            }
        }
    }
}

/// Adds the transformed sums to the gradient.
fn collect_weight<T: Scalar>(tiles: &Tiles, sums: &[T], dw: &mut [T], scratch: &mut [T]) {
    let nr = T::micro().nr;
    let inner = tiles.geometry.channels * TAPS;
    let panel = tiles.weight_panel::<T>();
    let out = Shared::new(dw);
    let cost = Cost::elements(2 * sums.len());
    parallel::each_with(
        tiles.panels::<T>(),
        cost,
        scratch,
        tiles.kernels_len::<T>(),
        |i, kernels| {
            collect_kernels(&sums[i * panel..][..panel], tiles.weight_plane::<T>(), kernels);
            let count = nr.min(tiles.geometry.filters - i * nr);
            // SAFETY: every task adds to filters of its own.
            unsafe { transpose::add(T::micro(), (kernels, nr), count, &out, i * nr * inner, inner) }
        },
    );
}
