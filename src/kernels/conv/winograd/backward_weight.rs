//! Gradient by the weight: products over the tiles at each point, then the adjoint transforms.

use super::lines::{Gradient, Input};
use super::tiles::{self, Layout};
use super::weight::{TAPS, collect_kernels};
use super::{Cut, LANES, POINTS, Tiles, plane};
use crate::Scalar;
use crate::kernels::gemm::even_part;
use crate::kernels::micro::{MAX_MR, Start};
use crate::kernels::parallel::{self, Cost, Shared};
use crate::kernels::{reduce, transpose};

/// Most bytes of a block's transformed image.
const BLOCK_BYTES: usize = 256 * 1024;
/// Fewest tiles of a block: they are the inner dimension of the products.
const FEWEST_TILES: usize = 32;
/// Panels of filters of a task.
const PANELS: usize = 4;
/// Tasks that the weight gradient aims at.
const TASKS: usize = 8;
/// Most elements of the accumulators of all parts.
const ACCUMULATORS: usize = 4 << 20;

/// How the work is cut: parts of the batch, each with accumulators of its own, times chunks of filters.
/// The numbers depend on sizes alone, so that the sums have one order.
#[derive(Debug, Clone, Copy)]
struct Parts {
    parts: usize,
    chunks: usize,
    blocks: Cut,
}

impl Tiles {
    fn parts<T: Scalar>(&self, n: usize) -> Parts {
        let tile = POINTS * self.channels() * size_of::<T>();
        let blocks = self.cut((BLOCK_BYTES / tile).max(FEWEST_TILES));
        let chunks = self.panels::<T>().div_ceil(PANELS);
        let most = (ACCUMULATORS / self.weight_len::<T>()).min(TASKS / chunks);
        Parts { parts: most.clamp(1, self.blocks(blocks, n).max(1)), chunks, blocks }
    }

    fn gradient_section<T: Scalar>(&self, cut: Cut) -> usize {
        let (tiles, nr) = (self.block_tiles(cut), T::micro().nr);
        let lines = self
            .input_side()
            .scratch(cut.rows, self.grid[1])
            .max(self.output_side().scratch(cut.rows, self.grid[1]));
        POINTS * (plane(self.channels() * tiles) + plane(nr * tiles)) + lines
    }

    /// Elements of scratch memory that [`backward_weight`] needs.
    pub(in crate::kernels::conv) fn backward_weight_scratch<T: Scalar>(&self, n: usize) -> usize {
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
            sums.fill(T::zero());
            for i in blocks * part / cut.parts..blocks * (part + 1) / cut.parts {
                add_block(tiles, cut.blocks, (n, i), x, dy, chunk.clone(), sums, section);
            }
        });
    }
    let (total, others) = sums.split_at_mut(panels * panel_len);
    reduce::add_rows(others, total);
    collect_weight(tiles, total, dw, sections);
}

/// Adds a block's share to the accumulators of some panels of filters.
#[allow(clippy::too_many_arguments)]
fn add_block<T: Scalar>(
    tiles: &Tiles,
    cut: Cut,
    (n, i): (usize, usize),
    x: &[T],
    dy: &[T],
    panels: std::ops::Range<usize>,
    sums: &mut [T],
    scratch: &mut [T],
) {
    let nr = T::micro().nr;
    let block = tiles.block(cut, n, i);
    let count = block.images * block.rows * tiles.grid[1];
    let image = Layout { plane: plane(tiles.channels() * count), tiles: count, width: LANES };
    let gradient = Layout { plane: plane(nr * count), tiles: count, width: nr };
    let (v, rest) = scratch.split_at_mut(POINTS * image.plane);
    let (z, lines) = rest.split_at_mut(POINTS * gradient.plane);
    let (channels, filters) = (tiles.geometry.channels, tiles.geometry.filters);
    tiles::spread::<T, Input>(tiles, block, tiles.input_side(), 0..channels, x, (v, image), lines);
    for (panel, sums) in panels.zip(sums.chunks_exact_mut(tiles.weight_panel::<T>())) {
        let range = panel * nr..filters.min((panel + 1) * nr);
        if range.len() < nr {
            z.fill(T::zero());
        }
        let side = tiles.output_side();
        tiles::spread::<T, Gradient>(tiles, block, side, range, dy, (z, gradient), lines);
        add_panel(tiles, v, image, z, gradient, sums);
    }
}

/// `sums[point][channel][nr] += v[point][·][channel] · z[point][·]` over the tiles.
fn add_panel<T: Scalar>(
    tiles: &Tiles,
    v: &[T],
    image: Layout,
    z: &[T],
    gradient: Layout,
    sums: &mut [T],
) {
    let micro = T::micro();
    let channels = tiles.channels();
    assert!(channels * image.tiles <= image.plane && image.tiles * micro.nr <= gradient.plane);
    let planes = v.chunks_exact(image.plane).zip(z.chunks_exact(gradient.plane));
    for ((v, z), sums) in planes.zip(sums.chunks_exact_mut(tiles.weight_plane::<T>())) {
        for i in 0..channels.div_ceil(micro.mr) {
            let (channel, end) = even_part(channels, micro.mr, i);
            let rows: [usize; MAX_MR] = std::array::from_fn(|row| image.at(channel + row));
            // SAFETY: by the assert above `v` holds every channel of every tile, rows from `end` on being
            // unused, and `z` a row of `nr` for every tile; `sums` holds a row of `nr` for each channel.
            unsafe {
                micro.gather(
                    end - channel,
                    &[0],
                    image.tiles,
                    LANES,
                    v.as_ptr(),
                    rows.as_ptr(),
                    z.as_ptr(),
                    sums.as_mut_ptr().add(channel * micro.nr),
                    micro.nr,
                    Start::Add,
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
            collect_kernels(&sums[i * panel..][..panel], nr, kernels);
            let count = nr.min(tiles.geometry.filters - i * nr);
            // SAFETY: every task adds to filters of its own.
            let dw = unsafe { out.at(i * nr * inner, count * inner) };
            transpose::add(kernels, nr, count, dw);
        },
    );
}
