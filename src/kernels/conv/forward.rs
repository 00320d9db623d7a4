//! The product of a weight and the windows of an image, block by block.

use super::fill::{self, Source};
use super::plan::Block;
use super::vectors::{Panel, Vectors};
use super::winograd::{self, Turn};
use super::{Finish, Plan, depthwise};
use crate::Scalar;
use crate::kernels::direct::{FilterTile, PixelTile};
use crate::kernels::gemm::even_part;
use crate::kernels::micro::{MAX_MR, MAX_NR, Start};
use crate::kernels::parallel::{self, Shared};
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
        self.buffer_len() + self.block_pixels() * T::micro().nr
    }

    /// Elements of scratch memory that [`forward`] needs.
    pub fn forward_scratch<T: Scalar>(&self, n: usize) -> usize {
        if let Some(depthwise) = &self.depthwise {
            return depthwise.scratch(&self.geometry, n);
        }
        match self.winograd(n) {
            Some(tiles) => tiles.forward_scratch::<T>(n),
            None => self.packed_len::<T>() + self.packed_scratch::<T>(n),
        }
    }

    /// Whether [`forward`] packs the weight for `n` images, so that [`forward_packed`] can save it that.
    pub fn packs(&self, n: usize) -> bool {
        self.depthwise.is_none() && self.winograd(n).is_none()
    }

    /// Whether [`forward`] follows the lines of its [`Finish`].
    pub fn normalizes(&self) -> bool {
        self.depthwise.is_none()
    }

    /// Elements of the packed weight.
    pub fn packed_len<T: Scalar>(&self) -> usize {
        self.group_packed_len::<T>() * self.geometry.groups
    }

    /// Names the order of elements in it, which differs between instruction sets.
    pub fn packed_form<T: Scalar>(&self) -> usize {
        T::micro().nr
    }

    /// Elements of a group's packed weight.
    pub(super) fn group_packed_len<T: Scalar>(&self) -> usize {
        let geometry = &self.geometry;
        Vectors::choose::<T>(geometry).packed_len::<T>(geometry.group_filters(), geometry.inner())
    }

    /// Elements of scratch memory that [`forward_packed`] needs.
    pub fn packed_scratch<T: Scalar>(&self, n: usize) -> usize {
        parallel::sections_for(self.blocks(n) * self.filter_chunks(n)) * self.section_len::<T>()
    }
}

/// `y = weight ⋆ x`, finished; `n · filters · oh · ow · k` multiply-adds.
pub fn forward<T: Scalar>(
    plan: &Plan,
    x: &[T],
    weight: &[T],
    finish: Finish<'_, T>,
    y: &mut [T],
    scratch: &mut [T],
) {
    if let Some(depthwise) = &plan.depthwise {
        depthwise::forward(depthwise, &plan.geometry, x, weight, finish.bias, y, scratch);
        if finish.relu {
            fill::rectify_all(y);
        }
        return;
    }
    if let Some(tiles) = plan.winograd(x.len() / plan.geometry.image()) {
        return winograd::forward(tiles, x, (weight, Turn::Forward), finish, y, scratch);
    }
    let (packed, sections) = scratch.split_at_mut(plan.packed_len::<T>());
    pack(plan, weight, packed);
    product(plan, Source::all(x), packed, finish, y, sections);
}

/// Writes the weight as the register kernels read it.
pub fn pack<T: Scalar>(plan: &Plan, weight: &[T], packed: &mut [T]) {
    let (filters, inner) = (plan.geometry.group_filters(), plan.geometry.inner());
    let groups = packed.chunks_exact_mut(plan.group_packed_len::<T>());
    for (packed, weight) in groups.zip(weight.chunks_exact(filters * inner)) {
        Vectors::choose::<T>(&plan.geometry).pack((filters, inner), packed, |panel, rows| {
            let source = &weight[panel.first * inner..];
            transpose::pack(T::micro(), source, inner, panel.count, panel.width, rows);
        });
    }
}

/// [`forward`] with a weight from [`pack`], where [`Plan::packs`].
pub fn forward_packed<T: Scalar>(
    plan: &Plan,
    x: &[T],
    packed: &[T],
    finish: Finish<'_, T>,
    y: &mut [T],
    scratch: &mut [T],
) {
    product(plan, Source::all(x), packed, finish, y, scratch);
}

/// The product with a packed weight, block by block.
pub(super) fn product<T: Scalar>(
    plan: &Plan,
    x: Source<'_, T>,
    packed: &[T],
    finish: Finish<'_, T>,
    y: &mut [T],
    sections: &mut [T],
) {
    let geometry = &plan.geometry;
    let n = x.data.len() / geometry.image();
    let section = plan.section_len::<T>();
    let chunks = plan.filter_chunks(n);
    let vectors = Vectors::choose::<T>(geometry);
    let panels = vectors.panels(T::micro(), geometry.group_filters());
    let group_len = plan.group_packed_len::<T>();
    let within = finish.within_kernels();
    let out = Shared::new(y);
    parallel::each_with(
        plan.blocks(n) * chunks,
        geometry.cost(n),
        sections,
        section,
        |i, section| {
            let (block, chunk) = (plan.block(n, i / chunks), i % chunks);
            let (buffer, turned) = section.split_at_mut(plan.buffer_len());
            plan.fill(block, x, buffer);
            for (group, packed) in packed.chunks_exact(group_len).enumerate() {
                let image = &buffer[group * (plan.buffer_image() / geometry.groups)..];
                for i in panels * chunk / chunks..panels * (chunk + 1) / chunks {
                    let panel = vectors.panel(T::micro(), geometry.group_filters(), i);
                    let job = Job { plan, block, group, image, panel, finish: within, out: &out };
                    let len = panel.width * geometry.inner();
                    job.run(vectors, &packed[panel.first * geometry.inner()..][..len], turned);
                    job.normalize(finish);
                }
            }
        },
    );
}

/// A block and a panel of filters.
struct Job<'a, T> {
    plan: &'a Plan,
    block: Block,
    group: usize,
    /// The group's channels in the block's buffer.
    image: &'a [T],
    panel: Panel,
    finish: Finish<'a, T>,
    out: &'a Shared<'a, T>,
}

impl<T: Scalar> Job<'_, T> {
    fn run(&self, vectors: Vectors, weight: &[T], turned: &mut [T]) {
        let mut biases = [T::zero(); MAX_NR];
        if let Some(bias) = self.finish.bias {
            let (first, count) = (self.first_filter(), self.panel.count);
            biases[..count].copy_from_slice(&bias[first..][..count]);
        }
        match vectors {
            Vectors::Pixels => self.pixels(weight, &biases),
            Vectors::Filters => self.filters(weight, &biases, turned),
            Vectors::Gathered => self.gathered(weight, &biases, turned),
        }
    }

    fn first_filter(&self) -> usize {
        self.group * self.plan.geometry.group_filters() + self.panel.first
    }

    /// Where the block's first pixel of image `i` and the panel's first filter is in the output.
    fn target(&self, i: usize) -> usize {
        let geometry = &self.plan.geometry;
        ((self.block.image + i) * geometry.filters + self.first_filter()) * geometry.out_plane()
            + self.block.row * geometry.output[1]
    }

    /// What the register kernels left of `finish`, while the panel's pixels are in the cache.
    fn normalize(&self, finish: Finish<'_, T>) {
        if finish.lines.is_none() {
            return;
        }
        let geometry = &self.plan.geometry;
        let (plane, pixels) = (geometry.out_plane(), self.block.rows * geometry.output[1]);
        for i in 0..self.block.images {
            for filter in 0..self.panel.count {
                // SAFETY: this task owns these pixels and filters.
                let y = unsafe { self.out.at(self.target(i) + filter * plane, pixels) };
                finish.normalize(self.first_filter() + filter, pixels, y);
            }
        }
    }

    /// Output rows: which image of the block, where its windows begin, which row of the image's.
    fn rows(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        // Blocks of several images have all their rows, so this is the table's order.
        let (plan, rows) = (self.plan, self.block.rows);
        (0..self.block.images).flat_map(move |i| {
            (0..rows).map(move |row| (i, plan.row_offsets[i * plan.rows + row], row))
        })
    }

    /// Checks once that windows from every row, `width` pixels wide, are inside the buffer.
    fn check(&self, width: usize) {
        let last = self.rows().map(|row| row.1).max().unwrap_or(0);
        assert!(last + self.plan.reach + width <= self.image.len(), "the buffer has a border");
    }

    fn pixels(&self, weight: &[T], bias: &[T; MAX_NR]) {
        let (panel, direct) = (self.panel, T::micro().direct);
        let geometry = &self.plan.geometry;
        let (ow, plane, lanes) = (geometry.output[1], geometry.out_plane(), direct.lanes);
        self.check(ow.max(lanes));
        let len = ow.min(lanes);
        let run = |[a, b]: [(usize, usize); 2]| {
            let x = |(x, _): (usize, usize)| self.image[x..].as_ptr();
            let y = |(_, y): (usize, usize)| self.out.pointer(y, (panel.count - 1) * plane + len);
            let tile = PixelTile {
                k: geometry.inner(),
                offsets: self.plan.offsets.as_ptr(),
                weight: weight.as_ptr(),
                bias: bias.as_ptr(),
                x: [x(a), x(b)],
                y: [y(a), y(b)],
                plane,
                len,
                relu: self.finish.relu,
            };
            // SAFETY: `weight` is a panel of `count` columns; `check` covers a vector from each offset of each
            // row; `pointer` has checked the output, of which this task owns these pixels and filters.
            unsafe { direct.pixels(panel.count, &tile) }
        };
        let mut waiting = None;
        for (i, row, y) in self.rows() {
            let target = self.target(i) + y * ow;
            for col in (0..ow).step_by(lanes) {
                // The last vector begins earlier and repeats some pixels.
                let col = col.min(ow.saturating_sub(lanes));
                let place = (row + col, target + col);
                match waiting.take() {
                    None => waiting = Some(place),
                    Some(first) => run([first, place]),
                }
            }
        }
        if let Some(last) = waiting {
            run([last, last]);
        }
    }

    fn filters(&self, weight: &[T], bias: &[T; MAX_NR], turned: &mut [T]) {
        let panel = self.panel;
        let micro = T::micro();
        let geometry = &self.plan.geometry;
        let ow = geometry.output[1];
        self.check(ow);
        let pixels = self.block.rows * ow;
        let turned = &mut turned[..pixels * panel.width];
        for (i, row, y) in self.rows() {
            for tile in 0..ow.div_ceil(micro.mr) {
                let (first, end) = even_part(ow, micro.mr, tile);
                let at = (y * ow + first) * panel.width;
                let tile = FilterTile {
                    k: geometry.inner(),
                    offsets: self.plan.offsets.as_ptr(),
                    weight: weight.as_ptr(),
                    bias: bias.as_ptr(),
                    x: self.image[row + first..].as_ptr(),
                    y: turned[at..][..(end - first) * panel.width].as_mut_ptr(),
                    relu: self.finish.relu,
                };
                // SAFETY: `weight` is a panel of `width` columns; `check` covers the row's windows; `y` has
                // just been cut to size.
                unsafe {
                    micro.direct.filters(panel.width / micro.direct.lanes, end - first, &tile)
                }
            }
            if y + 1 == self.block.rows {
                self.turn(i, turned);
            }
        }
    }

    fn gathered(&self, weight: &[T], bias: &[T; MAX_NR], turned: &mut [T]) {
        let panel = self.panel;
        let micro = T::micro();
        let ow = self.plan.geometry.output[1];
        self.check(ow);
        let pixels = self.block.rows * ow;
        let all = self.block.images * pixels;
        let turned = &mut turned[..all * panel.width];
        for tile in 0..all.div_ceil(micro.mr) {
            let (first, end) = even_part(all, micro.mr, tile);
            let mut places = [0; MAX_MR];
            for (place, pixel) in places.iter_mut().zip(first..end) {
                // Blocks of several images have all their rows, so this is the table's order.
                *place = self.plan.row_offsets[pixel / ow] + pixel % ow;
            }
            let (image, offsets) = (self.image.as_ptr(), &self.plan.offsets);
            let y = turned[first * panel.width..end * panel.width].as_mut_ptr();
            // SAFETY: `weight` is a panel of `nr` columns, as many as `bias` has; `check` covers every window; `y`
            // has just been cut to size.
            unsafe {
                let (places, start) = (places.as_ptr(), Start::ColBias(bias.as_ptr()));
                let (a, b) = (image, weight.as_ptr());
                micro.gather(end - first, offsets, 1, 1, a, places, b, y, micro.nr, start);
            }
        }
        if self.finish.relu {
            fill::rectify(turned);
        }
        for (i, turned) in turned.chunks_exact(pixels * panel.width).enumerate() {
            self.turn(i, turned);
        }
    }

    /// Writes image `i` of the block from `turned[pixel][width]`.
    fn turn(&self, i: usize, turned: &[T]) {
        let panel = self.panel;
        let (at, plane) = (self.target(i), self.plan.geometry.out_plane());
        // SAFETY: this task owns these pixels and filters.
        unsafe {
            transpose::unpack(T::micro(), (turned, panel.width), panel.count, self.out, at, plane);
        }
    }
}
