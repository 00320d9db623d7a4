//! Gradient of a convolution by its input.

use super::fill::Source;
use super::forward::product;
use super::scatter::{Target, scatter};
use super::vectors::Vectors;
use super::winograd::{self, Turn};
use super::{Finish, Plan, depthwise};
use crate::Scalar;
use crate::kernels::gemm::even_part;
use crate::kernels::micro::{Micro, Start};
use crate::kernels::parallel::{self, Shared};

impl Plan {
    /// Elements of scratch memory that [`backward_input`] needs; `relu`: whether `dy` has a `positive`.
    pub fn backward_input_scratch<T: Scalar>(&self, n: usize, relu: bool) -> usize {
        if let Some(depthwise) = &self.depthwise {
            return depthwise.scratch(&self.geometry, n) + self.masked_len(n, relu);
        }
        match &self.transposed {
            Some(plan) => match plan.winograd(n) {
                Some(tiles) => tiles.forward_scratch::<T>(n) + self.masked_len(n, relu),
                None => plan.packed_len::<T>() + plan.packed_scratch::<T>(n),
            },
            None => self.fold_scratch::<T>(n),
        }
    }

    /// Elements of a copy of the gradient without what does not count, where a pass needs one.
    pub(super) fn masked_len(&self, n: usize, relu: bool) -> usize {
        if relu { n * self.geometry.filters * self.geometry.out_plane() } else { 0 }
    }
}

/// `dx` from `dy`, written: for stride 1 a convolution with the turned kernel, else a fold.
pub fn backward_input<T: Scalar>(
    plan: &Plan,
    weight: &[T],
    dy: Source<'_, T>,
    dx: &mut [T],
    scratch: &mut [T],
) {
    let n = dx.len() / plan.geometry.image();
    let masked = plan.masked_len(n, dy.positive.is_some());
    if let Some(kernel) = &plan.depthwise {
        let (masked, rest) = scratch.split_at_mut(masked);
        let dy = dy.masked(masked);
        return depthwise::backward_input(kernel, &plan.geometry, weight, dy, dx, rest);
    }
    let Some(transposed) = &plan.transposed else {
        return fold(plan, weight, dy, dx, scratch);
    };
    let geometry = &transposed.geometry;
    if let Some(tiles) = transposed.winograd(n) {
        let (masked, rest) = scratch.split_at_mut(masked);
        let dy = dy.masked(masked);
        return winograd::forward(tiles, dy, (weight, Turn::Around), Finish::NOTHING, dx, rest);
    }
    let (channels, inner) = (geometry.group_filters(), geometry.inner());
    let window = geometry.kernel[0] * geometry.kernel[1];
    let vectors = Vectors::choose::<T>(geometry);
    let (packed, sections) = scratch.split_at_mut(transposed.packed_len::<T>());
    let groups = packed.chunks_exact_mut(transposed.group_packed_len::<T>());
    for (packed, weight) in groups.zip(weight.chunks_exact(channels * inner)) {
        vectors.pack((channels, inner), packed, |panel, rows| {
            for (k, row) in rows.chunks_exact_mut(panel.width).enumerate() {
                let (filter, at) = (k / window, k % window);
                let turned = &weight[filter * channels * window..][window - 1 - at..];
                for (i, value) in row[..panel.count].iter_mut().enumerate() {
                    *value = turned[(panel.first + i) * window];
                }
                row[panel.count..].fill(T::zero());
            }
        });
    }
    product(transposed, dy, packed, Finish::NOTHING, dx, sections);
}

impl Plan {
    fn padded_image(&self) -> [usize; 2] {
        // Every row and column that a window or the input touches.
        [0, 1].map(|axis| {
            let geometry = &self.geometry;
            let reach = geometry.dilation[axis] * (geometry.kernel[axis] - 1);
            let windows = (geometry.output[axis] - 1) * geometry.stride[axis] + reach + 1;
            windows.max(geometry.padding[axis] + geometry.input[axis])
        })
    }

    /// Elements of all padded planes and one more, see [`Target::len`]; what follows begins on a cache line.
    fn padded_len(&self) -> usize {
        let [h, w] = self.padded_image();
        (self.geometry.channels * h * w + 1).next_multiple_of(16)
    }

    fn fold_section<T: Scalar>(&self) -> usize {
        let nr = T::micro().nr;
        self.padded_len() + (self.geometry.group_filters() + self.geometry.inner()) * nr
    }

    /// Elements of scratch memory that [`fold`] needs.
    fn fold_scratch<T: Scalar>(&self, n: usize) -> usize {
        parallel::sections_for(n) * self.fold_section::<T>()
            + self.geometry.filters * self.geometry.inner()
    }
}

/// Input gradient for any stride, image by image: `weightᵀ · dy` gives each window's share, which is
/// added where the window lies ("col2im").
fn fold<T: Scalar>(plan: &Plan, weight: &[T], dy: Source<'_, T>, dx: &mut [T], scratch: &mut [T]) {
    let geometry = &plan.geometry;
    let (inner, filters) = (geometry.inner(), geometry.group_filters());
    let n = dx.len() / geometry.image();
    let micro = T::micro();
    let (packed, sections) = scratch.split_at_mut(geometry.filters * inner);
    for (packed, weight) in
        packed.chunks_exact_mut(filters * inner).zip(weight.chunks_exact(filters * inner))
    {
        pack_columns(micro, filters, inner, weight, packed);
    }
    let packed = &*packed;
    let out = Shared::new(dx);
    let image_out = geometry.filters * geometry.out_plane();
    parallel::each_with(n, geometry.cost(n), sections, plan.fold_section::<T>(), |i, section| {
        let [h, w] = plan.padded_image();
        let (padded, rest) = section.split_at_mut(plan.padded_len());
        padded.fill(T::zero());
        for group in 0..geometry.groups {
            let len = filters * geometry.out_plane();
            let dy = dy.part(i * image_out + group * len, len);
            let size = geometry.channels / geometry.groups * h * w;
            let padded = &mut padded[group * size..][..size + 1];
            fold_group(
                plan,
                micro,
                &packed[group * filters * inner..][..filters * inner],
                dy,
                padded,
                rest,
            );
        }
        // SAFETY: every task writes an image of its own.
        let dx = unsafe { out.at(i * geometry.image(), geometry.image()) };
        let [top, left] = geometry.padding;
        let [height, width] = geometry.input;
        for (dx, padded) in dx.chunks_exact_mut(height * width).zip(padded.chunks_exact(h * w)) {
            for (row, padded) in dx.chunks_exact_mut(width).zip(padded[top * w..].chunks_exact(w)) {
                row.copy_from_slice(&padded[left..][..width]);
            }
        }
    });
}

/// Packs the transpose of a weight `[filters][k]`: panels of at most `MR` of `k`, `[filter][rows]`.
fn pack_columns<T: Scalar>(
    micro: &Micro<T>,
    filters: usize,
    inner: usize,
    weight: &[T],
    packed: &mut [T],
) {
    for i in 0..inner.div_ceil(micro.mr) {
        let (k, end) = even_part(inner, micro.mr, i);
        let panel = &mut packed[filters * k..][..filters * (end - k)];
        for (row, weight) in panel.chunks_exact_mut(end - k).zip(weight.chunks_exact(inner)) {
            row.copy_from_slice(&weight[k..end]);
        }
    }
}

fn fold_group<T: Scalar>(
    plan: &Plan,
    micro: &Micro<T>,
    packed: &[T],
    dy: Source<'_, T>,
    padded: &mut [T],
    scratch: &mut [T],
) {
    let geometry = &plan.geometry;
    let (inner, filters, plane) =
        (geometry.inner(), geometry.group_filters(), geometry.out_plane());
    let target = Target::new(geometry, plan.padded_image(), micro.nr);
    let (panel, shares) = scratch.split_at_mut(filters * micro.nr);
    for first in (0..plane).step_by(micro.nr) {
        let cols = micro.nr.min(plane - first);
        for (filter, row) in panel.chunks_exact_mut(micro.nr).enumerate() {
            dy.part(filter * plane + first, cols).copy(&mut row[..cols]);
            row[cols..].fill(T::zero());
        }
        for i in 0..inner.div_ceil(micro.mr) {
            let (k, end) = even_part(inner, micro.mr, i);
            let (a, c) = (
                &packed[filters * k..][..filters * (end - k)],
                &mut shares[k * micro.nr..end * micro.nr],
            );
            // SAFETY: panels and result were cut to size just above.
            unsafe {
                let c = c.as_mut_ptr();
                micro.tile(
                    end - k,
                    filters,
                    a.as_ptr(),
                    panel.as_ptr(),
                    c,
                    micro.nr,
                    micro.nr,
                    Start::Zero,
                );
            }
        }
        scatter(geometry, &target, (first, cols), shares, padded);
    }
}
