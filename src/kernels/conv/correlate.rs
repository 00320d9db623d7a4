//! The weight gradient with vectors of pixels: for few filters, where vectors of filters would be mostly empty.

use super::Plan;
use super::backward_weight::{FILTERS, Job};
use super::fill::{self, Rows};
use super::plan::Geometry;
use crate::Scalar;
use crate::kernels::direct::{Correlation, TAPS};
use crate::kernels::gemm::even_part;
use crate::kernels::parallel::{self, Cost, Write};
use crate::kernels::reduce;

/// What the accumulators of a weight gradient are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sums {
    /// `[k][width]`: vectors of filters, a pixel at a time.
    OfFilters {
        /// Filters of a group, rounded up to whole tiles.
        width: usize,
    },
    /// `[filter][k][lanes]`, `k` rounded up to whole tiles: vectors of pixels, to be added up at the end.
    OfPixels {
        /// Elements of a vector.
        lanes: usize,
    },
}

impl Sums {
    /// What is faster for these sizes, by counting cycles for a row of output pixels.
    pub(super) fn choose<T: Scalar>(geometry: &Geometry) -> Self {
        /// Cycles to turn a gradient, and to copy it.
        const TURN: f64 = 0.5;
        const COPY: f64 = 0.2;
        let (micro, lanes) = (T::micro(), T::micro().direct.lanes);
        let (filters, inner, ow) = (geometry.group_filters(), geometry.inner(), geometry.output[1]);
        let width = filters.next_multiple_of(micro.nr);
        let pixels = (ow * filters) as f64;
        let by_filters = (ow * inner * width) as f64 / micro.nr as f64 * 1.15 + TURN * pixels;
        let vectors = ow.div_ceil(lanes) * filters * inner.next_multiple_of(TAPS);
        let by_pixels = vectors as f64 / 2.0 * 1.25 + COPY * pixels;
        if by_pixels < by_filters { Self::OfPixels { lanes } } else { Self::OfFilters { width } }
    }

    /// Elements of a group's accumulators.
    pub(super) fn len(self, geometry: &Geometry) -> usize {
        let (filters, inner) = (geometry.group_filters(), geometry.inner());
        match self {
            Self::OfFilters { width } => inner * width,
            Self::OfPixels { lanes } => filters * inner.next_multiple_of(TAPS) * lanes,
        }
    }
}

impl Plan {
    /// Elements from one filter's gradient to the next in a task's copy. A little more than it takes: at
    /// distances of a power of two all filters would fall into the same cache sets.
    fn gradient_pitch(&self, lanes: usize) -> usize {
        self.images * self.rows * self.geometry.output[1].next_multiple_of(lanes) + lanes
    }

    /// Elements of a task's copy of the gradient.
    pub(super) fn correlate_section(&self, lanes: usize) -> usize {
        self.geometry.group_filters().min(FILTERS) * self.gradient_pitch(lanes)
    }
}

impl<T: Scalar> Job<'_, T> {
    /// Vectors of pixels.
    pub(super) fn correlate(&self, memory: &mut [T]) {
        let direct = T::micro().direct;
        let (inner, ow) = (self.plan.geometry.inner(), self.plan.geometry.output[1]);
        let lanes = direct.lanes;
        let rows = self.rows(ow.next_multiple_of(lanes));
        let (first, last) = self.filters;
        let (dy, pitch) = self.gradients(memory);
        let taps = inner.next_multiple_of(TAPS);
        let most = direct.correlated_filters();
        for i in 0..(last - first).div_ceil(most) {
            let (from, to) = even_part(last - first, most, i);
            let dy = &dy[from * pitch..];
            assert!((to - from - 1) * pitch + rows.len() * ow.next_multiple_of(lanes) <= dy.len());
            for k in (0..inner).step_by(TAPS) {
                let at = self.at + ((first + from) * taps + k) * lanes;
                let len = ((to - from - 1) * taps + TAPS) * lanes;
                let tile = Correlation {
                    rows,
                    vectors: ow.div_ceil(lanes),
                    x: self.image.as_ptr(),
                    // Beyond the last window element it is repeated, and the sum never read.
                    taps: std::array::from_fn(|t| self.plan.offsets[(k + t).min(inner - 1)]),
                    dy: dy.as_ptr(),
                    filter: pitch,
                    sums: self.sums.pointer(at, len),
                    stride: taps * lanes,
                };
                // SAFETY: `rows` bounds whole vectors in the image; the assert bounds the gradient, `rows` rows of
                // whole vectors for each filter; `pointer` has checked the sums, of which this task owns
                // these filters.
                unsafe { direct.correlate(to - from, &tile) }
            }
        }
    }

    /// The block's gradient of the task's filters, rows of whole vectors one after the other, and the distance
    /// from one filter to the next: in place if it lies like that, else a copy. Adds up the sums for the biases.
    fn gradients<'m>(&'m self, memory: &'m mut [T]) -> (&'m [T], usize) {
        let geometry = &self.plan.geometry;
        let (ow, lanes) = (geometry.output[1], T::micro().direct.lanes);
        let in_place = self.dy.positive.is_none() && self.block.images == 1;
        if !in_place || !ow.is_multiple_of(lanes) {
            let pitch = self.plan.gradient_pitch(lanes);
            self.copy_gradient(pitch, memory);
            return (memory, pitch);
        }
        let dy = &self.dy.data[self.gradient(0, self.filters.0)..];
        let planes = dy.chunks(geometry.out_plane());
        for (filter, plane) in (self.filters.0..self.filters.1).zip(planes) {
            self.add_bias(filter, &plane[..self.block.rows * ow]);
        }
        (dy, geometry.out_plane())
    }

    fn add_bias(&self, filter: usize, dy: &[T]) {
        // SAFETY: tasks of a part have different filters.
        let bias = unsafe { self.sums.at(self.biases + filter, 1) };
        bias[0] += reduce::sum(dy);
    }

    /// Copies the task's filters of the block's gradient, each row filled up with zeros to whole vectors.
    fn copy_gradient(&self, pitch: usize, copy: &mut [T]) {
        let (ow, lanes) = (self.plan.geometry.output[1], T::micro().direct.lanes);
        let wide = ow.next_multiple_of(lanes);
        let rows = Rows { count: self.block.rows, from_pitch: ow, to_pitch: wide, stride: 1 };
        let len = self.block.rows * ow;
        for (filter, copy) in (self.filters.0..self.filters.1).zip(copy.chunks_exact_mut(pitch)) {
            if wide > ow {
                copy.fill(T::zero());
            }
            for (i, copy) in copy.chunks_mut(rows.count * wide).take(self.block.images).enumerate()
            {
                let dy = self.dy.part(self.gradient(i, filter), len);
                match dy.positive {
                    None => fill::copy(rows, ow, dy.data, copy),
                    Some(y) => fill::copy_positive(rows, ow, dy.data, y, copy),
                }
            }
            self.add_bias(filter, &copy[..self.block.images * rows.count * wide]);
        }
    }
}

/// `dw[f][k] += Σ_l sums[f][k][l]`
pub(super) fn add_sums<T: Scalar>(plan: &Plan, lanes: usize, sums: &[T], dw: &mut [T]) {
    let inner = plan.geometry.inner();
    let taps = inner.next_multiple_of(TAPS);
    parallel::chunks(Write(dw, inner), Cost::elements(2 * sums.len()), |filter, dw| {
        let sums = &sums[filter * taps * lanes..];
        for (dw, sums) in dw.iter_mut().zip(sums.chunks_exact(lanes)) {
            *dw += sums.iter().fold(T::zero(), |sum, &value| sum + value);
        }
    });
}
