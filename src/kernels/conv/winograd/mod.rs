//! Winograd's F(4×4, 3×3): a convolution with 36 multiplications for 16 outputs instead of 144
//! (Lavin & Gray 2016).
//!
//! Output tiles of 4×4 pixels, and the 6×6 pixels under each, become 36 *points*, at each of which the
//! convolution is a matrix product over the channels:
//!
//! ```text
//! V[point][tile][channel]  = Bᵀ d B         the image         (tiles.rs)
//! U[point][channel][filter] = G g Gᵀ        the weight        (weight.rs)
//! M[point][tile][filter]   = V · U          forward.rs
//! y                        = Aᵀ M A         the output        (tiles.rs)
//! ```
//!
//! The gradient by the input is the same with the turned kernel; that by the weight is the adjoint,
//! `dU = Σ_tiles Vᵀ · (A dy Aᵀ)` and `dw = Gᵀ dU G` (backward_weight.rs).
//!
//! A block of tiles is transformed, multiplied and transformed back by one task while it is in the second
//! cache. Where the transformed weight is larger than the transformed image it is never stored: deep layers
//! (deep.rs) keep the image's points and transform the weight piece by piece. Points lie a little more than
//! their size apart: at distances of a power of two all 36 would fall into the same cache sets.

mod backward_weight;
mod deep;
mod forward;
mod lines;
mod tiles;
mod weight;

pub(super) use backward_weight::backward_weight;
pub(super) use forward::forward;
pub(super) use weight::Turn;

use super::Geometry;
use crate::Scalar;
use crate::kernels::parallel::Cost;

/// Points of a tile.
const POINTS: usize = 36;
/// Output pixels of a tile, each way.
const TILE: usize = 4;
/// Elements between the end of one point's plane and the beginning of the next.
const GAP: usize = 16;
/// Fewest channels and filters: below, the transforms cost more than they save.
const FEWEST: usize = 16;
/// The same for products with the weight, where both image and output are transformed for it.
const FEWEST_OF_PRODUCT: usize = 32;
/// Fewest tiles of a batch: the transformed weight is four times as large as the weight.
const FEWEST_TILES: usize = 16;
/// Tiles from which products pay with fewer channels or filters too, but not of both.
const MANY_TILES: usize = 1024;

/// How a 3×3 convolution is cut into tiles and blocks of tiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tiles {
    geometry: Geometry,
    /// Tiles of an image, each way.
    grid: [usize; 2],
}

/// Some rows of tiles of one image, or some whole images.
#[derive(Debug, Clone, Copy)]
struct Block {
    image: usize,
    images: usize,
    /// First row of tiles.
    row: usize,
    /// Rows of tiles of each image.
    rows: usize,
}

/// Block sizes: whole images, or rows of tiles of one.
#[derive(Debug, Clone, Copy)]
struct Cut {
    images: usize,
    rows: usize,
}

impl Tiles {
    /// `None` if the convolution is not of the kind, or too small to gain.
    pub(super) fn new(geometry: &Geometry) -> Option<Self> {
        let Geometry {
            channels, filters, groups, kernel, stride, dilation, output, padding, ..
        } = *geometry;
        let fits = groups == 1
            && kernel == [3, 3]
            && (stride, dilation) == ([1, 1], [1, 1])
            && padding[0].max(padding[1]) <= 2;
        if !fits || channels.min(filters) < FEWEST {
            return None;
        }
        let grid = output.map(|size| size.div_ceil(TILE));
        // Tiles that stick out are lost work: 5 pixels need 8.
        let waste = (grid[0] * grid[1] * TILE * TILE) as f64 / geometry.out_plane() as f64;
        (waste < 2.0).then(|| Self { geometry: geometry.clone(), grid })
    }

    /// Whether the gradient by the weight of `n` images is faster this way; `benches/scaling.rs` measures it.
    pub(super) fn pays_for_gradient(&self, n: usize) -> bool {
        // Twice as many: the sum over few tiles is short beside transforming the gradient back.
        self.tiles(n) >= 2 * FEWEST_TILES
    }

    /// Whether the product of the weight and `n` images is.
    pub(super) fn pays_for_product(&self, n: usize) -> bool {
        let Geometry { channels, filters, .. } = self.geometry;
        let wide = |most: usize| most >= FEWEST_OF_PRODUCT;
        self.tiles(n) >= FEWEST_TILES
            && (wide(channels.min(filters))
                || wide(channels.max(filters)) && self.tiles(n) >= MANY_TILES)
    }

    /// Tiles of `n` images.
    fn tiles(&self, n: usize) -> usize {
        n.saturating_mul(self.grid[0] * self.grid[1])
    }

    /// Blocks of at most `most` tiles, but at least one row of them.
    fn cut(&self, most: usize) -> Cut {
        let [rows, cols] = self.grid;
        if rows * cols > most {
            let strips = rows.div_ceil((most / cols).max(1));
            return Cut { images: 1, rows: rows.div_ceil(strips) };
        }
        Cut { images: most / (rows * cols), rows }
    }

    fn strips(&self, cut: Cut) -> usize {
        self.grid[0].div_ceil(cut.rows)
    }

    fn blocks(&self, cut: Cut, n: usize) -> usize {
        n.div_ceil(cut.images) * self.strips(cut)
    }

    fn block(&self, cut: Cut, n: usize, i: usize) -> Block {
        let (image, row) = (i / self.strips(cut) * cut.images, i % self.strips(cut) * cut.rows);
        Block {
            image,
            images: cut.images.min(n - image),
            row,
            rows: cut.rows.min(self.grid[0] - row),
        }
    }

    /// Most tiles of a block.
    fn block_tiles(&self, cut: Cut) -> usize {
        cut.images * cut.rows * self.grid[1]
    }

    /// Every block of `n` images.
    fn all_blocks(&self, cut: Cut, n: usize) -> impl Iterator<Item = Block> + '_ {
        (0..self.blocks(cut, n)).map(move |i| self.block(cut, n, i))
    }

    /// Channels rounded up to whole registers.
    fn channels<T: Scalar>(&self) -> usize {
        self.geometry.channels.next_multiple_of(T::micro().lanes())
    }

    /// Panels of `nr` filters.
    fn panels<T: Scalar>(&self) -> usize {
        self.geometry.filters.div_ceil(T::micro().nr)
    }

    /// Tiles of a block of this many.
    fn tiles_of(&self, block: Block) -> usize {
        block.images * block.rows * self.grid[1]
    }

    /// A quarter of the definition's multiplications, and about as long again for the transforms.
    fn cost(&self, n: usize) -> Cost {
        Cost::mul_adds(
            [self.tiles(n), POINTS, self.geometry.channels, self.geometry.filters]
                .into_iter()
                .fold(2, usize::saturating_mul),
        )
    }
}

/// Elements from one point's plane of `len` elements to the next.
fn plane(len: usize) -> usize {
    len.next_multiple_of(GAP) + GAP
}
