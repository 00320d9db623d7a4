//! Between images and transformed tiles, a register of channels at a time.
//!
//! Vertical and horizontal transforms go through a few rows that stay in the first cache: pixels are turned
//! to `[pixel][lanes]` in squares of registers, and from then on every load is a vector.

use super::lines::{self, Spread};
use super::{Block, POINTS, TILE, Tiles};
use crate::Scalar;
use crate::kernels::conv::finish::{Finish, Lanes};
use crate::kernels::parallel::Shared;
use crate::kernels::transpose;
use crate::kernels::vector::vectorized;

/// Where transformed tiles lie: `[point][panel][tile][width]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Elements from point to point.
    pub(super) plane: usize,
    /// Tiles of a panel.
    pub(super) tiles: usize,
    /// Channels of a panel: a register or two.
    pub(super) width: usize,
}

impl Layout {
    /// Place of a register of channels of the first tile at the first point.
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
    /// Elements of a strip's pixels, with a row of zeros.
    fn strip_len<T: Scalar>(&self) -> usize {
        let width = self.size[1];
        (strip_rows::<T>(width) * TILE + 3) * width * T::micro().lanes()
    }

    /// Elements of working memory of [`spread`] and [`collect`] for rows of `cols` tiles.
    pub(super) fn scratch<T: Scalar>(&self, cols: usize) -> usize {
        // Pixels, and six rows of points with their border.
        self.strip_len::<T>() + 6 * line(cols) * T::micro().lanes()
    }
}

/// Columns of a row of points with its border.
fn line(cols: usize) -> usize {
    cols * TILE + 2
}

/// Rows of tiles whose pixels stay in the first cache while they are transformed: a *strip*.
fn strip_rows<T: Scalar>(width: usize) -> usize {
    /// Bytes of their pixels.
    const BYTES: usize = 16 * 1024;
    (BYTES / (TILE * width * T::micro().lanes() * size_of::<T>())).max(1)
}

/// Transforms the images of a block: `v ← ` all points of all its tiles and of `channels`, which begin at
/// a register: `v` has the block's from element `from` on.
#[allow(clippy::too_many_arguments)]
pub(super) fn spread<T: Scalar, L: Spread>(
    tiles: &Tiles,
    block: Block,
    side: Side,
    channels: std::ops::Range<usize>,
    x: &[T],
    (v, layout): (&Shared<'_, T>, Layout),
    from: usize,
    scratch: &mut [T],
) {
    let ([height, width], cols, lanes) = (side.size, tiles.grid[1], T::micro().lanes());
    let step = strip_rows::<T>(width);
    let (pixels, points) = scratch.split_at_mut(side.strip_len::<T>());
    let points = &mut points[..6 * line(cols) * lanes];
    // The first row stands for those outside; the columns outside are never written again.
    pixels[..width * lanes].fill(T::zero());
    points.fill(T::zero());
    for image in 0..block.images {
        let planes = &x[(block.image + image) * side.channels * height * width..]
            [..side.channels * height * width];
        for channel in channels.clone().step_by(lanes) {
            let count = lanes.min(channels.end - channel);
            let mut strip = Strip { top: 0, end: 0, width, padding: side.padding, cols };
            for first in (0..block.rows).step_by(step) {
                let rows = block.row + first..block.row + block.rows.min(first + step);
                let planes = (&planes[channel * height * width..], height, count);
                strip.advance(rows.clone(), L::TAPS, planes, pixels);
                for row in rows {
                    let tile = (image * block.rows + row - block.row) * cols;
                    let at = from + layout.at(channel - channels.start) + tile * layout.width;
                    let reach = (POINTS - 1) * layout.plane + (cols - 1) * layout.width + lanes;
                    let sources = strip.sources(row, lanes);
                    // SAFETY: `pixels` holds `width` registers from each of the sources and `points` six
                    // lines, `v` is as long as `pointer` checks; no other task writes these tiles.
                    unsafe {
                        let (pixels, points) = (pixels.as_ptr(), points.as_mut_ptr());
                        let v = v.pointer(at, reach);
                        spread_row::<T, L>(pixels, sources, strip, points, v, layout);
                    }
                }
            }
        }
    }
}

/// The rows of an image, of a register of channels, that lie in working memory as `[row][column][lanes]`
/// after a row of zeros.
#[derive(Debug, Clone, Copy)]
struct Strip {
    /// First row.
    top: usize,
    /// End of the rows.
    end: usize,
    /// Columns.
    width: usize,
    /// Rows and columns of zeros before the image.
    padding: [usize; 2],
    /// Tiles of a row.
    cols: usize,
}

impl Strip {
    /// Goes on to some rows of tiles: keeps the pixels that are there, reads the rest of `count` channels.
    fn advance<T: Scalar>(
        &mut self,
        rows: std::ops::Range<usize>,
        taps: usize,
        (planes, height, count): (&[T], usize, usize),
        pixels: &mut [T],
    ) {
        let lanes = T::micro().lanes();
        let (width, row) = (self.width, self.width * lanes);
        let top = (rows.start * TILE).saturating_sub(self.padding[0]).min(height);
        let end = ((rows.end - 1) * TILE + taps).saturating_sub(self.padding[0]).min(height);
        let kept = self.end.saturating_sub(top);
        if kept > 0 {
            let from = (1 + top - self.top) * row;
            pixels.copy_within(from..from + kept * row, row);
        }
        if top + kept < end {
            let strip = &mut pixels[(1 + kept) * row..][..(end - top - kept) * row];
            let source = &planes[(top + kept) * width..];
            transpose::pack(T::micro(), source, height * width, count, lanes, strip);
        }
        (self.top, self.end) = (top, end);
    }

    /// Where the six rows of pixels of a row of tiles begin.
    fn sources(&self, row: usize, lanes: usize) -> [usize; 6] {
        std::array::from_fn(|tap| match (row * TILE + tap).checked_sub(self.padding[0]) {
            Some(at) if (self.top..self.end).contains(&at) => {
                (1 + at - self.top) * self.width * lanes
            }
            _ => 0,
        })
    }
}

vectorized! {
    /// All points of a row of tiles: columns first, into `points`, then along each row of points.
    unsafe fn spread_row<F, V, L: Spread>(
        pixels: *const F, sources: [usize; 6], strip: Strip, points: *mut F, v: *mut F, layout: Layout,
    ) {
        let Strip { width, padding: [_, padding], cols, .. } = strip;
        let line = line(cols) * V::LANES;
        let rows = sources.map(|source| pixels.add(source));
        for column in 0..width.min(line / V::LANES - padding) {
            let mut pixels = [V::splat(F::zero()); 6];
            for (pixel, row) in pixels.iter_mut().zip(rows).take(L::TAPS) {
                *pixel = V::load(row.add(column * V::LANES));
            }
            let values = L::line::<F, V>(pixels);
            for (row, value) in values.into_iter().enumerate() {
                value.store(points.add(row * line + (padding + column) * V::LANES));
            }
        }
        for row in 0..6 {
            let (points, v) = (points.add(row * line), v.add(row * 6 * layout.plane));
            for tile in 0..cols {
                let points = points.add(tile * TILE * V::LANES);
                let values = L::line::<F, V>(lines::load(points, V::LANES, L::TAPS));
                let v = v.add(tile * layout.width);
                for (point, value) in values.into_iter().enumerate() {
                    value.store(v.add(point * layout.plane));
                }
            }
        }
    }
}

/// Transforms a block of products back and writes its pixels of `filters`, finished.
#[allow(clippy::too_many_arguments)]
pub(super) fn collect<T: Scalar>(
    tiles: &Tiles,
    block: Block,
    filters: std::ops::Range<usize>,
    (m, layout): (&[T], Layout),
    finish: Finish<'_, T>,
    out: &Shared<'_, T>,
    scratch: &mut [T],
) {
    let side = tiles.output_side();
    let ([height, width], cols, lanes) = (side.size, tiles.grid[1], T::micro().lanes());
    let step = strip_rows::<T>(width);
    let (pixels, points) = scratch.split_at_mut(side.strip_len::<T>());
    assert!(points.len() >= 6 * line(cols) * lanes);
    for image in 0..block.images {
        for filter in filters.clone().step_by(lanes) {
            let count = lanes.min(filters.end - filter);
            let finish = finish.lanes(filter..filter + count);
            for first in (0..block.rows).step_by(step) {
                let rows = first..block.rows.min(first + step);
                for (row, to) in rows.clone().zip(pixels.chunks_exact_mut(TILE * width * lanes)) {
                    let tile = (image * block.rows + row) * cols;
                    let at = layout.at(filter - filters.start) + tile * layout.width;
                    let reach = (POINTS - 1) * layout.plane + (cols - 1) * layout.width + lanes;
                    let m = m[at..][..reach].as_ptr();
                    let (points, to) = (points.as_mut_ptr(), to.as_mut_ptr());
                    // SAFETY: `m`, `points` and `to` were cut to size above.
                    unsafe { collect_row(m, layout, cols, points, &finish, width, to) }
                }
                let planes = (block.image + image) * side.channels + filter;
                let top = (block.row + first) * TILE;
                let pixels = &pixels[..(rows.len() * TILE).min(height - top) * width * lanes];
                let at = (planes * height + top) * width;
                // SAFETY: tasks have different blocks or filters.
                unsafe {
                    transpose::unpack(T::micro(), (pixels, lanes), count, out, at, height * width);
                }
            }
        }
    }
}

vectorized! {
    /// Four rows of `width` pixels from the products of a row of tiles.
    unsafe fn collect_row<F, V>(
        m: *const F, layout: Layout, cols: usize, points: *mut F, finish: &Lanes<F>, width: usize, pixels: *mut F,
    ) {
        let line = line(cols) * V::LANES;
        for row in 0..6 {
            let (m, points) = (m.add(row * 6 * layout.plane), points.add(row * line));
            for tile in 0..cols {
                let m = m.add(tile * layout.width);
                let values = lines::output::<F, V>(lines::load(m, layout.plane, 6));
                for (column, value) in values.into_iter().enumerate() {
                    value.store(points.add((tile * TILE + column) * V::LANES));
                }
            }
        }
        for column in 0..width {
            let at = column * V::LANES;
            let values = lines::output::<F, V>(lines::load(points.add(at), line, 6));
            for (row, value) in values.into_iter().enumerate() {
                finish.apply::<V>(value).store(pixels.add(row * width * V::LANES + at));
            }
        }
    }
}
