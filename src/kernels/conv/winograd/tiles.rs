//! Between images and transformed tiles, eight channels at a time.
//!
//! Vertical and horizontal transforms go through a few rows that stay in the first cache: pixels are turned
//! to `[pixel][8 channels]` in squares of registers, and from then on every load is a vector.

use super::lines::{self, LANES, Lanes, Spread};
use super::{Block, TILE, Tiles};
use crate::Scalar;
use crate::kernels::parallel::Shared;
use crate::kernels::simd::multiversion;
use crate::kernels::transpose;

/// Where transformed tiles lie: `[point][panel][tile][width]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Elements from point to point.
    pub(super) plane: usize,
    /// Tiles of the block.
    pub(super) tiles: usize,
    /// Channels of a panel, a multiple of eight.
    pub(super) width: usize,
}

impl Layout {
    /// Place of eight channels of the block's first tile at the first point.
    pub(super) fn at(&self, channel: usize) -> usize {
        channel / self.width * self.tiles * self.width + channel % self.width
    }
}

/// An image's side of a convolution: its planes, and how far the tiles begin outside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Side {
    pub(super) channels: usize,
    pub(super) size: [usize; 2],
    pub(super) padding: [usize; 2],
}

impl Side {
    /// Elements of working memory of [`spread`] and [`collect`] for strips of `rows` rows of `cols` tiles.
    pub(super) fn scratch(&self, rows: usize, cols: usize) -> usize {
        // Pixels with a row of zeros, and six rows of points with their border.
        ((rows * TILE + 3) * self.size[1] + 6 * (cols * TILE + 2)) * LANES
    }
}

/// Transforms the images of a block: `v ← ` all points of all its tiles and channels.
pub(super) fn spread<T: Scalar, L: Spread>(
    tiles: &Tiles,
    block: Block,
    side: Side,
    channels: std::ops::Range<usize>,
    x: &[T],
    (v, layout): (&mut [T], Layout),
    scratch: &mut [T],
) {
    let ([height, width], cols) = (side.size, tiles.grid[1]);
    let first = (block.row * TILE).saturating_sub(side.padding[0]).min(height);
    let end =
        ((block.row + block.rows - 1) * TILE + L::TAPS).saturating_sub(side.padding[0]).min(height);
    let (pixels, points) = scratch.split_at_mut((block.rows * TILE + 3) * width * LANES);
    // The first row stands for those outside; the columns outside are never written again.
    pixels[..width * LANES].fill(T::zero());
    points.fill(T::zero());
    let line = (cols * TILE + 2) * LANES;
    for image in 0..block.images {
        let planes = &x[(block.image + image) * side.channels * height * width..]
            [..side.channels * height * width];
        for channel in channels.clone().step_by(LANES) {
            let count = LANES.min(channels.end - channel);
            let strip = &mut pixels[width * LANES..][..(end - first) * width * LANES];
            let source = &planes[channel * height * width + first * width..];
            transpose::pack(T::micro(), source, height * width, count, LANES, strip);
            for row in 0..block.rows {
                let rows: [usize; 6] = std::array::from_fn(|tap| {
                    let at = (block.row + row) * TILE + tap;
                    match at.checked_sub(side.padding[0]) {
                        Some(r) if r < end => (1 + r - first) * width * LANES,
                        _ => 0,
                    }
                });
                vertical::<T, L>(pixels, &rows, width, side.padding[1], points, line);
                let tile = (image * block.rows + row) * cols;
                let at = layout.at(channel - channels.start) + tile * layout.width;
                horizontal::<T, L>(points, line, cols, &mut v[at..], layout.plane, layout.width);
            }
        }
    }
}

multiversion! {
    /// `points[6][column]` from the rows of `pixels` that begin at `rows`.
    fn vertical<F: Scalar, L: Spread>(
        pixels: &[F], rows: &[usize; 6], width: usize, padding: usize, points: &mut [F], line: usize,
    ) {
        let width = width.min(line / LANES - padding) * LANES;
        let rows = rows.map(|row| &pixels[row..][..width]);
        let mut points = points.chunks_exact_mut(line);
        let mut points: [&mut [F]; 6] = std::array::from_fn(|_| {
            &mut points.next().unwrap_or_default()[padding * LANES..][..width]
        });
        for at in (0..width).step_by(LANES) {
            let values = L::line(|tap| Lanes::load(&rows[tap][at..]));
            for (points, value) in points.iter_mut().zip(values) {
                value.store(&mut points[at..]);
            }
        }
    }

    /// All points of a row of `cols` tiles.
    fn horizontal<F: Scalar, L: Spread>(
        points: &[F], line: usize, cols: usize, v: &mut [F], plane: usize, width: usize,
    ) {
        for (row, points) in points.chunks_exact(line).enumerate().take(6) {
            let v = &mut v[row * 6 * plane..][..5 * plane + (cols - 1) * width + LANES];
            for tile in 0..cols {
                let points = &points[tile * TILE * LANES..][..L::TAPS * LANES];
                let values = L::line(|tap| Lanes::load(&points[tap * LANES..]));
                for (point, value) in values.into_iter().enumerate() {
                    value.store(&mut v[point * plane + tile * width..]);
                }
            }
        }
    }
}

/// Transforms a block of products back and writes its pixels of `filters`, plus bias.
pub(super) fn collect<T: Scalar>(
    tiles: &Tiles,
    block: Block,
    filters: std::ops::Range<usize>,
    (m, layout): (&[T], Layout),
    bias: Option<&[T]>,
    out: &Shared<'_, T>,
    scratch: &mut [T],
) {
    let side = tiles.output_side();
    let ([height, width], cols) = (side.size, tiles.grid[1]);
    let (pixels, points) = scratch.split_at_mut((block.rows * TILE + 3) * width * LANES);
    let line = (cols * TILE + 2) * LANES;
    let rows = (block.rows * TILE).min(height - block.row * TILE);
    for image in 0..block.images {
        for filter in filters.clone().step_by(LANES) {
            let count = LANES.min(filters.end - filter);
            let mut lanes = [T::zero(); LANES];
            if let Some(bias) = bias {
                lanes[..count].copy_from_slice(&bias[filter..][..count]);
            }
            for row in 0..block.rows {
                let tile = (image * block.rows + row) * cols;
                let at = layout.at(filter - filters.start) + tile * layout.width;
                rows_back(&m[at..], layout.plane, layout.width, cols, points, line);
                let to = &mut pixels[row * TILE * width * LANES..][..TILE * width * LANES];
                columns_back(points, line, &lanes, width, to);
            }
            let planes = (block.image + image) * side.channels + filter;
            let at = planes * height * width + block.row * TILE * width;
            let pixels = (&pixels[..rows * width * LANES], LANES);
            // SAFETY: tasks have different blocks or filters.
            unsafe { transpose::unpack(T::micro(), pixels, count, out, at, height * width) }
        }
    }
}

multiversion! {
    /// `points[6][column]` from the products of a row of tiles.
    fn rows_back<F: Scalar>(
        m: &[F], plane: usize, width: usize, cols: usize, points: &mut [F], line: usize,
    ) {
        for (row, points) in points.chunks_exact_mut(line).enumerate().take(6) {
            let m = &m[row * 6 * plane..][..5 * plane + (cols - 1) * width + LANES];
            for (tile, points) in points.chunks_exact_mut(TILE * LANES).enumerate().take(cols) {
                let m = std::array::from_fn(|point| Lanes::load(&m[point * plane + tile * width..]));
                for (value, to) in lines::output(m).into_iter().zip(points.chunks_exact_mut(LANES)) {
                    value.store(to);
                }
            }
        }
    }

    /// Four rows of `width` pixels from the points.
    fn columns_back<F: Scalar>(
        points: &[F], line: usize, bias: &[F; LANES], width: usize, pixels: &mut [F],
    ) {
        let bias = Lanes::load(bias);
        let width = width * LANES;
        let mut rows = points.chunks_exact(line);
        let rows: [&[F]; 6] = std::array::from_fn(|_| &rows.next().unwrap_or_default()[..width]);
        let mut out = pixels.chunks_exact_mut(width);
        let mut out: [&mut [F]; 4] = std::array::from_fn(|_| out.next().unwrap_or_default());
        for at in (0..width).step_by(LANES) {
            let values = lines::output(std::array::from_fn(|row| Lanes::load(&rows[row][at..])));
            for (out, value) in out.iter_mut().zip(values) {
                (value + bias).store(&mut out[at..]);
            }
        }
    }
}
