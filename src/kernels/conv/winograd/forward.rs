//! The product at each point, block by block.

use super::lines::Input;
use super::tiles::{self, Layout, Side};
use super::weight::{Turn, spread_weight};
use super::{Block, Cut, POINTS, Tiles, plane};
use crate::Scalar;
use crate::kernels::conv::Finish;
use crate::kernels::gemm::{KC, even_part};
use crate::kernels::micro::{MAX_MR, Start};
use crate::kernels::parallel::{self, Cost, Shared};

/// Most bytes of a block's transformed image and one panel of its products, so that they stay in the
/// second cache beside the weight.
const BLOCK_BYTES: usize = 768 * 1024;
/// Fewest tiles of a block: what is read of the weight has to pay.
const FEWEST_TILES: usize = 14;
/// Blocks that a batch is cut into at least, if they stay that large: threads want work.
const FEWEST_BLOCKS: usize = 8;

impl Tiles {
    pub(super) fn input_side(&self) -> Side {
        let geometry = &self.geometry;
        Side { channels: geometry.channels, size: geometry.input, padding: geometry.padding }
    }

    pub(super) fn output_side(&self) -> Side {
        let geometry = &self.geometry;
        Side { channels: geometry.filters, size: geometry.output, padding: [0, 0] }
    }

    /// Tiles whose points of image and one panel fill so many bytes.
    pub(super) fn tiles_in<T: Scalar>(&self, bytes: usize) -> usize {
        bytes / (POINTS * (self.channels::<T>() + T::micro().nr) * size_of::<T>())
    }

    fn forward_cut<T: Scalar>(&self, n: usize) -> Cut {
        let most = self.tiles_in::<T>(BLOCK_BYTES).min(self.tiles(n) / FEWEST_BLOCKS);
        self.cut(most.max(FEWEST_TILES))
    }

    /// Working memory of the transforms of a block.
    pub(super) fn lines<T: Scalar>(&self) -> usize {
        let cols = self.grid[1];
        self.input_side().scratch::<T>(cols).max(self.output_side().scratch::<T>(cols))
    }

    fn forward_section<T: Scalar>(&self, cut: Cut) -> usize {
        let tiles = self.block_tiles(cut);
        POINTS * (plane(self.channels::<T>() * tiles) + plane(T::micro().nr * tiles))
            + self.lines::<T>()
    }

    /// Elements of the transformed weight.
    pub(super) fn weight_len<T: Scalar>(&self) -> usize {
        self.panels::<T>() * self.weight_panel::<T>()
    }

    /// Whether the image's points are kept and the weight's are not: what is read and written of both,
    /// counted in points.
    fn is_deep<T: Scalar>(&self, n: usize) -> bool {
        let (tiles, panels) = (self.tiles(n), self.panels::<T>());
        let blocks = self.blocks(self.forward_cut::<T>(n), n);
        (panels + 2).saturating_mul(tiles) < (blocks + 2).saturating_mul(self.geometry.filters)
    }

    /// Elements of scratch memory that [`forward`] needs.
    pub(in crate::kernels::conv) fn forward_scratch<T: Scalar>(&self, n: usize) -> usize {
        if self.is_deep::<T>(n) {
            return self.deep_scratch::<T>(n);
        }
        let cut = self.forward_cut::<T>(n);
        let weight = parallel::sections_for(self.panels::<T>()) * self.kernels_len::<T>();
        let image = parallel::sections_for(self.blocks(cut, n)) * self.forward_section::<T>(cut);
        self.weight_len::<T>() + weight.max(image)
    }
}

/// `y = weight ⋆ x`, finished.
#[allow(clippy::too_many_arguments)]
pub(in crate::kernels::conv) fn forward<T: Scalar>(
    tiles: &Tiles,
    x: &[T],
    (weight, turn): (&[T], Turn),
    finish: Finish<'_, T>,
    y: &mut [T],
    scratch: &mut [T],
) {
    let n = x.len() / tiles.geometry.image();
    if tiles.is_deep::<T>(n) {
        return super::deep::forward(tiles, x, (weight, turn), finish, y, scratch);
    }
    let (points, scratch) = scratch.split_at_mut(tiles.weight_len::<T>());
    transform_weight(tiles, weight, turn, points, scratch);
    let cut = tiles.forward_cut::<T>(n);
    let section = tiles.forward_section::<T>(cut);
    let out = Shared::new(y);
    parallel::each_with(tiles.blocks(cut, n), tiles.cost(n), scratch, section, |i, section| {
        multiply_block(tiles, tiles.block(cut, n, i), x, points, finish, &out, section);
    });
}

/// The weight at its points, `[panel][point][channel][nr]`.
fn transform_weight<T: Scalar>(
    tiles: &Tiles,
    weight: &[T],
    turn: Turn,
    points: &mut [T],
    scratch: &mut [T],
) {
    let (panel, kernels) = (tiles.weight_panel::<T>(), tiles.kernels_len::<T>());
    let cost = Cost::elements(2 * points.len());
    let out = Shared::new(points);
    parallel::each_with(tiles.panels::<T>(), cost, scratch, kernels, |i, kernels| {
        // SAFETY: every task writes a panel of its own.
        let points = unsafe { out.at(i * panel, panel) };
        let channels = 0..tiles.geometry.channels;
        let plane = tiles.weight_plane::<T>();
        spread_weight(tiles, weight, turn, i, channels, (points, plane), kernels);
    });
}

fn multiply_block<T: Scalar>(
    tiles: &Tiles,
    block: Block,
    x: &[T],
    weight: &[T],
    finish: Finish<'_, T>,
    out: &Shared<'_, T>,
    scratch: &mut [T],
) {
    let micro = T::micro();
    let (nr, lanes, count) = (micro.nr, micro.lanes(), tiles.tiles_of(block));
    let (channels, filters) = (tiles.geometry.channels, tiles.geometry.filters);
    let image = Layout { plane: plane(tiles.channels::<T>() * count), tiles: count, width: lanes };
    let product = Layout { plane: plane(nr * count), tiles: count, width: nr };
    let (v, rest) = scratch.split_at_mut(POINTS * image.plane);
    let (m, lines) = rest.split_at_mut(POINTS * product.plane);
    let side = tiles.input_side();
    let shared = Shared::new(v);
    tiles::spread::<T, Input>(tiles, block, side, 0..channels, x, (&shared, image), 0, lines);
    for (panel, weight) in weight.chunks_exact(tiles.weight_panel::<T>()).enumerate() {
        let weight = (weight, tiles.weight_plane::<T>());
        let groups = tiles.channels::<T>() / lanes;
        multiply_panel((v, image), 0..groups, weight, (m, product), false);
        let range = panel * nr..filters.min((panel + 1) * nr);
        tiles::collect(tiles, block, range, (m, product), finish, out, lines);
    }
}

/// `m[point][tile][nr] = v[point][tile] · weight[point]` for one panel of filters over some registers of
/// channels of `v`, to which `weight` has the rows; added to what is there with `add`.
pub(super) fn multiply_panel<T: Scalar>(
    (v, image): (&[T], Layout),
    channels: std::ops::Range<usize>,
    (weight, width): (&[T], usize),
    (m, product): (&mut [T], Layout),
    add: bool,
) {
    /// Most registers of channels at a time: a panel of so many stays in the first cache.
    const GROUPS: usize = KC / 4;
    let micro = T::micro();
    let (nr, lanes, step) = (micro.nr, micro.lanes(), image.tiles * micro.lanes());
    let rows = channels.len() * lanes * nr;
    assert!(channels.end * step <= image.plane && image.tiles * nr <= product.plane);
    assert!(rows <= width && (POINTS - 1) * width + rows <= weight.len());
    let offsets: [usize; GROUPS] = std::array::from_fn(|group| group * step);
    let planes = v.chunks_exact(image.plane).zip(weight.chunks(width));
    for ((v, weight), m) in planes.zip(m.chunks_exact_mut(product.plane)) {
        for group in (0..channels.len()).step_by(KC / lanes) {
            let offsets = &offsets[..(KC / lanes).min(channels.len() - group)];
            let start = if add || group > 0 { Start::Add } else { Start::Zero };
            for i in 0..image.tiles.div_ceil(micro.mr) {
                let (tile, end) = even_part(image.tiles, micro.mr, i);
                let rows: [usize; MAX_MR] = std::array::from_fn(|row| (tile + row) * lanes);
                // SAFETY: by the asserts above `v` holds a step of registers for each of `channels`, and
                // rows below `end` are inside a step; `weight` holds a row of `nr` for each of their
                // channels; `m` holds `tiles` rows of `nr`.
                unsafe {
                    micro.gather(
                        end - tile,
                        offsets,
                        lanes,
                        1,
                        v.as_ptr().add((channels.start + group) * step),
                        rows.as_ptr(),
                        weight.as_ptr().add(group * lanes * nr),
                        m.as_mut_ptr().add(tile * nr),
                        nr,
                        start,
                    );
                }
            }
        }
    }
}
