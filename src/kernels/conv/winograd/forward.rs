//! The product at each point, block by block.

use super::lines::Input;
use super::tiles::{self, Layout, Side};
pub(in crate::kernels::conv) use super::weight::Turn;
use super::weight::spread_weight;
use super::{Block, Cut, LANES, POINTS, Tiles, plane};
use crate::Scalar;
use crate::kernels::gemm::{KC, even_part};
use crate::kernels::micro::{MAX_MR, Start};
use crate::kernels::parallel::{self, Cost, Shared};

/// Most bytes of a block's transformed image, so that it stays in the second cache.
const BLOCK_BYTES: usize = 256 * 1024;
/// Fewest tiles of a block: what is read of the weight has to pay.
const FEWEST_TILES: usize = 12;

impl Tiles {
    fn forward_cut<T: Scalar>(&self) -> Cut {
        let tile = POINTS * self.channels() * size_of::<T>();
        self.cut((BLOCK_BYTES / tile).max(FEWEST_TILES))
    }

    pub(super) fn input_side(&self) -> Side {
        let geometry = &self.geometry;
        Side { channels: geometry.channels, size: geometry.input, padding: geometry.padding }
    }

    pub(super) fn output_side(&self) -> Side {
        let geometry = &self.geometry;
        Side { channels: geometry.filters, size: geometry.output, padding: [0, 0] }
    }

    pub(super) fn panels<T: Scalar>(&self) -> usize {
        self.geometry.filters.div_ceil(T::micro().nr)
    }

    fn forward_section<T: Scalar>(&self, cut: Cut) -> usize {
        let (tiles, cols) = (self.block_tiles(cut), self.grid[1]);
        let image = POINTS * plane(self.channels() * tiles);
        let product = POINTS * plane(T::micro().nr * tiles);
        let lines = |side: Side| side.scratch(cut.rows, cols);
        image + product + lines(self.input_side()).max(lines(self.output_side()))
    }

    /// Elements of the transformed weight.
    pub(in crate::kernels::conv) fn weight_len<T: Scalar>(&self) -> usize {
        self.panels::<T>() * self.weight_panel::<T>()
    }

    /// Elements of scratch memory that [`transform_weight`] needs.
    pub(in crate::kernels::conv) fn weight_scratch<T: Scalar>(&self) -> usize {
        parallel::sections_for(self.panels::<T>()) * self.kernels_len::<T>()
    }

    /// Elements of scratch memory that [`product`] needs.
    pub(in crate::kernels::conv) fn product_scratch<T: Scalar>(&self, n: usize) -> usize {
        let cut = self.forward_cut::<T>();
        parallel::sections_for(self.blocks(cut, n)) * self.forward_section::<T>(cut)
    }
}

/// The weight at its points, `[panel][point][channel][nr]`.
pub(in crate::kernels::conv) fn transform_weight<T: Scalar>(
    tiles: &Tiles,
    weight: &[T],
    turn: Turn,
    points: &mut [T],
    scratch: &mut [T],
) {
    let panel = tiles.weight_panel::<T>();
    let cost = Cost::elements(2 * points.len());
    let out = Shared::new(points);
    parallel::each_with(
        tiles.panels::<T>(),
        cost,
        scratch,
        tiles.kernels_len::<T>(),
        |i, kernels| {
            // SAFETY: every task writes a panel of its own.
            let points = unsafe { out.at(i * panel, panel) };
            spread_weight(tiles, weight, turn, i, points, kernels);
        },
    );
}

/// `y = weight ⋆ x + bias` with a transformed weight.
pub(in crate::kernels::conv) fn product<T: Scalar>(
    tiles: &Tiles,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
    scratch: &mut [T],
) {
    let n = x.len() / tiles.geometry.image();
    let cut = tiles.forward_cut::<T>();
    let section = tiles.forward_section::<T>(cut);
    let out = Shared::new(y);
    let cost = tiles.cost(n);
    parallel::each_with(tiles.blocks(cut, n), cost, scratch, section, |i, section| {
        multiply_block(tiles, tiles.block(cut, n, i), x, weight, bias, &out, section);
    });
}

fn multiply_block<T: Scalar>(
    tiles: &Tiles,
    block: Block,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    out: &Shared<'_, T>,
    scratch: &mut [T],
) {
    let nr = T::micro().nr;
    let (channels, filters) = (tiles.geometry.channels, tiles.geometry.filters);
    let count = block.images * block.rows * tiles.grid[1];
    let image = Layout { plane: plane(tiles.channels() * count), tiles: count, width: LANES };
    let product = Layout { plane: plane(nr * count), tiles: count, width: nr };
    let (v, rest) = scratch.split_at_mut(POINTS * image.plane);
    let (m, lines) = rest.split_at_mut(POINTS * product.plane);
    tiles::spread::<T, Input>(tiles, block, tiles.input_side(), 0..channels, x, (v, image), lines);
    for (panel, weight) in weight.chunks_exact(tiles.weight_panel::<T>()).enumerate() {
        multiply_panel(tiles, v, image, weight, m, product);
        let range = panel * nr..filters.min((panel + 1) * nr);
        tiles::collect(tiles, block, range, (m, product), bias, out, lines);
    }
}

/// `m[point][tile][nr] = v[point][tile] · weight[point]` for one panel of filters.
fn multiply_panel<T: Scalar>(
    tiles: &Tiles,
    v: &[T],
    image: Layout,
    weight: &[T],
    m: &mut [T],
    product: Layout,
) {
    /// Lanes of channels at a time: a panel of so many stays in the first cache.
    const GROUPS: usize = KC / LANES;
    let micro = T::micro();
    let (nr, groups, step) = (micro.nr, tiles.channels() / LANES, image.tiles * LANES);
    assert!(groups * step <= image.plane && image.tiles * nr <= product.plane);
    let channels: [usize; GROUPS] = std::array::from_fn(|group| group * step);
    let planes = v.chunks_exact(image.plane).zip(weight.chunks_exact(tiles.weight_plane::<T>()));
    for ((v, weight), m) in planes.zip(m.chunks_exact_mut(product.plane)) {
        for group in (0..groups).step_by(GROUPS) {
            let channels = &channels[..GROUPS.min(groups - group)];
            let start = if group == 0 { Start::Zero } else { Start::Add };
            for i in 0..image.tiles.div_ceil(micro.mr) {
                let (tile, end) = even_part(image.tiles, micro.mr, i);
                let rows: [usize; MAX_MR] = std::array::from_fn(|row| (tile + row) * LANES);
                // SAFETY: by the assert above `v` holds `groups · step` elements, and rows below `end` are
                // inside a step; `weight` holds a row of `nr` for each of the `groups · LANES` channels; `m`
                // holds `tiles` rows of `nr`.
                unsafe {
                    micro.gather(
                        end - tile,
                        channels,
                        LANES,
                        1,
                        v.as_ptr().add(group * step),
                        rows.as_ptr(),
                        weight.as_ptr().add(group * LANES * nr),
                        m.as_mut_ptr().add(tile * nr),
                        nr,
                        start,
                    );
                }
            }
        }
    }
}
