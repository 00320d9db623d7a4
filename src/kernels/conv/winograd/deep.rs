//! Deep layers: many channels, few tiles. The weight's points would be larger than the image's, so those
//! of the image are kept, and the weight is transformed piece by piece beside the products it is for; its
//! gradient is transformed back the same way, without ever being stored as points.

use super::backward_weight::add_panel;
use super::forward::multiply_panel;
use super::lines::{Gradient, Input, Spread};
use super::tiles::{self, Layout, Side};
use super::weight::{TAPS, Turn, collect_kernels, spread_weight};
use super::{Block, Cut, POINTS, Tiles, plane};
use crate::Scalar;
use crate::kernels::conv::Finish;
use crate::kernels::parallel::{self, Cost, Shared};
use crate::kernels::transpose;

/// Most tiles of a block: its panel of products stays in the second cache.
const TILES: usize = 128;
/// Channels whose weights are transformed at a time, a multiple of every register.
pub(super) const CHANNELS: usize = 64;

/// Where the points of a batch lie, block after block, `[block][point][panel][tile][width]`.
#[derive(Debug, Clone, Copy)]
struct Points {
    cut: Cut,
    /// Tiles of a whole block.
    tiles: usize,
    /// Channels, rounded up to panels.
    channels: usize,
    /// Channels of a panel.
    width: usize,
}

impl Points {
    fn new(tiles: &Tiles, channels: usize, width: usize) -> Self {
        let cut = tiles.cut(TILES);
        let channels = channels.next_multiple_of(width);
        Self { cut, tiles: tiles.block_tiles(cut), channels, width }
    }

    /// Points of the image.
    fn image<T: Scalar>(tiles: &Tiles) -> Self {
        Self::new(tiles, tiles.geometry.channels, T::micro().lanes())
    }

    /// Points of the output's gradient.
    fn gradient<T: Scalar>(tiles: &Tiles) -> Self {
        Self::new(tiles, tiles.geometry.filters, T::micro().nr)
    }

    /// Elements of a whole block.
    fn block_len(&self) -> usize {
        POINTS * plane(self.channels * self.tiles)
    }

    fn layout(&self, tiles: usize) -> Layout {
        Layout { plane: plane(self.channels * tiles), tiles, width: self.width }
    }

    /// Transforms all blocks of `x`, of which every channel of `side`.
    fn fill<T: Scalar, L: Spread>(
        &self,
        tiles: &Tiles,
        side: Side,
        x: &[T],
        points: &mut [T],
        scratch: &mut [T],
    ) {
        let n = x.len() / (side.channels * side.size[0] * side.size[1]);
        let (blocks, chunks) = (tiles.blocks(self.cut, n), side.channels.div_ceil(CHANNELS));
        let cost = Cost::elements(4 * points.len());
        let shared = Shared::new(points);
        let section = tiles.lines::<T>();
        parallel::each_with(blocks * chunks, cost, scratch, section, |task, lines| {
            let (i, chunk) = (task / chunks, task % chunks);
            let block = tiles.block(self.cut, n, i);
            let layout = self.layout(tiles.tiles_of(block));
            let channels = chunk * CHANNELS..side.channels.min((chunk + 1) * CHANNELS);
            let at = i * self.block_len() + layout.at(channels.start);
            tiles::spread::<T, L>(tiles, block, side, channels, x, (&shared, layout), at, lines);
        });
    }
}

impl Tiles {
    fn deep_section<T: Scalar>(&self) -> usize {
        let points = Points::image::<T>(self);
        let nr = T::micro().nr;
        POINTS * (plane(CHANNELS * nr) + plane(points.tiles * nr))
            + CHANNELS * TAPS * nr
            + self.lines::<T>()
    }

    /// Elements of scratch memory that [`forward`] needs.
    pub(super) fn deep_scratch<T: Scalar>(&self, n: usize) -> usize {
        let points = Points::image::<T>(self);
        let blocks = self.blocks(points.cut, n);
        blocks * points.block_len()
            + parallel::sections_for(blocks * self.panels::<T>().max(self.chunks()))
                * self.deep_section::<T>()
    }

    fn chunks(&self) -> usize {
        self.geometry.channels.div_ceil(CHANNELS)
    }
}

/// `y = weight ⋆ x`, finished.
pub(super) fn forward<T: Scalar>(
    tiles: &Tiles,
    x: &[T],
    (weight, turn): (&[T], Turn),
    finish: Finish<'_, T>,
    y: &mut [T],
    scratch: &mut [T],
) {
    let n = x.len() / tiles.geometry.image();
    let points = Points::image::<T>(tiles);
    let (blocks, panels) = (tiles.blocks(points.cut, n), tiles.panels::<T>());
    let (v, sections) = scratch.split_at_mut(blocks * points.block_len());
    points.fill::<T, Input>(tiles, tiles.input_side(), x, v, sections);
    let (v, out) = (&*v, Shared::new(y));
    let section = tiles.deep_section::<T>();
    parallel::each_with(blocks * panels, tiles.cost(n), sections, section, |task, section| {
        let block = tiles.block(points.cut, n, task / panels);
        let layout = points.layout(tiles.tiles_of(block));
        let v = (&v[task / panels * points.block_len()..][..POINTS * layout.plane], layout);
        multiply(tiles, block, v, (weight, turn), task % panels, finish, &out, section);
    });
}

/// One panel of filters for one block.
#[allow(clippy::too_many_arguments)]
fn multiply<T: Scalar>(
    tiles: &Tiles,
    block: Block,
    (v, image): (&[T], Layout),
    (weight, turn): (&[T], Turn),
    panel: usize,
    finish: Finish<'_, T>,
    out: &Shared<'_, T>,
    scratch: &mut [T],
) {
    let (nr, lanes) = (T::micro().nr, T::micro().lanes());
    let (channels, filters) = (tiles.geometry.channels, tiles.geometry.filters);
    let width = plane(CHANNELS * nr);
    let product = Layout { plane: plane(nr * image.tiles), tiles: image.tiles, width: nr };
    let (u, rest) = scratch.split_at_mut(POINTS * width);
    let (m, rest) = rest.split_at_mut(POINTS * product.plane);
    let (kernels, lines) = rest.split_at_mut(CHANNELS * TAPS * nr);
    for from in (0..channels).step_by(CHANNELS) {
        let chunk = from..channels.min(from + CHANNELS);
        let groups = from / lanes..chunk.end.div_ceil(lanes);
        spread_weight(tiles, weight, turn, panel, chunk, (u, width), kernels);
        multiply_panel((v, image), groups, (u, width), (m, product), from > 0);
    }
    let range = panel * nr..filters.min((panel + 1) * nr);
    tiles::collect(tiles, block, range, (m, product), finish, out, lines);
}

impl Tiles {
    fn deep_gradient_section<T: Scalar>(&self) -> usize {
        let nr = T::micro().nr;
        (POINTS * plane(CHANNELS * nr) + CHANNELS * TAPS * nr).max(self.lines::<T>())
    }

    /// Elements of scratch memory that [`backward_weight`] needs.
    pub(super) fn deep_gradient_scratch<T: Scalar>(&self, n: usize) -> usize {
        let (image, gradient) = (Points::image::<T>(self), Points::gradient::<T>(self));
        let blocks = self.blocks(image.cut, n);
        let chunks = self.chunks().max(self.geometry.filters.div_ceil(CHANNELS));
        let tasks = (blocks * chunks).max(self.panels::<T>() * self.chunks());
        blocks * (image.block_len() + gradient.block_len())
            + parallel::sections_for(tasks) * self.deep_gradient_section::<T>()
    }
}

/// `dw[filter][channel] += Gᵀ (Σ_tiles (A dy Aᵀ) ⊙ (Bᵀ x B)) G`
pub(super) fn backward_weight<T: Scalar>(
    tiles: &Tiles,
    x: &[T],
    dy: &[T],
    dw: &mut [T],
    scratch: &mut [T],
) {
    let n = x.len() / tiles.geometry.image();
    let (image, gradient) = (Points::image::<T>(tiles), Points::gradient::<T>(tiles));
    let blocks = tiles.blocks(image.cut, n);
    let (v, rest) = scratch.split_at_mut(blocks * image.block_len());
    let (z, sections) = rest.split_at_mut(blocks * gradient.block_len());
    let filters = tiles.geometry.filters;
    if filters < gradient.channels {
        z.fill(T::zero());
    }
    image.fill::<T, Input>(tiles, tiles.input_side(), x, v, sections);
    gradient.fill::<T, Gradient>(tiles, tiles.output_side(), dy, z, sections);
    let (v, z, out) = (&*v, &*z, Shared::new(dw));
    let section = tiles.deep_gradient_section::<T>();
    let (cost, chunks) = (tiles.cost(n), tiles.chunks());
    parallel::each_with(tiles.panels::<T>() * chunks, cost, sections, section, |task, section| {
        let (panel, chunk) = (task / chunks, task % chunks);
        let channels = chunk * CHANNELS..tiles.geometry.channels.min((chunk + 1) * CHANNELS);
        let nr = T::micro().nr;
        let width = plane(CHANNELS * nr);
        let (sums, kernels) = section.split_at_mut(POINTS * width);
        for (i, block) in tiles.all_blocks(image.cut, n).enumerate() {
            let count = tiles.tiles_of(block);
            let v = (&v[i * image.block_len()..], image.layout(count));
            let z = (&z[i * gradient.block_len()..], gradient.layout(count));
            add_panel(v, channels.clone(), z, panel, (sums, width), i > 0);
        }
        let kernels = &mut kernels[..channels.len() * TAPS * nr];
        collect_kernels(sums, width, kernels);
        let inner = tiles.geometry.channels * TAPS;
        let count = nr.min(filters - panel * nr);
        let at = panel * nr * inner + channels.start * TAPS;
        // SAFETY: every task adds to filters and channels of its own.
        unsafe { transpose::add(T::micro(), (kernels, nr), count, &out, at, inner) }
    });
}
