//! What the vectors of a convolution's register tiles hold, and how its weight is packed for that.

use super::Geometry;
use crate::Scalar;
use crate::kernels::gemm::even_part;
use crate::kernels::micro::Micro;
use crate::kernels::parallel::{self, Cost, Shared};

/// What the vectors of the register tiles hold. All give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vectors {
    /// Pixels; a tile has several filters and writes the output where it belongs.
    Pixels,
    /// Filters; a tile has pixels that lie side by side. The output is turned afterwards.
    Filters,
    /// Filters; a tile has pixels from anywhere, for narrow images.
    Gathered,
}

/// Filters of a register tile: `first .. first + count`, packed as rows of `width`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panel {
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) width: usize,
}

impl Vectors {
    /// What is fastest for these sizes, by counting cycles: two multiply-adds or two loads each.
    pub(super) fn choose<T: Scalar>(geometry: &Geometry) -> Self {
        /// Cycles to turn one output.
        const TURN: f64 = 0.3;
        let (micro, lanes) = (T::micro(), T::micro().direct.lanes);
        let (ow, filters) = (geometry.output[1], geometry.group_filters());
        let (multiply, turn) = (geometry.inner() as f64, TURN * (ow * filters) as f64);
        let panels = |vectors: Self| {
            (0..vectors.panels(micro, filters)).map(move |i| vectors.panel(micro, filters, i))
        };
        // Vectors of pixels mostly cross a cache line, which takes two loads.
        let pixels =
            panels(Self::Pixels).map(|panel| cycles(2 * panel.count, panel.count + 5)).sum::<f64>()
                * ow.div_ceil(lanes) as f64
                / 2.0;
        // With one vector there is a load for each multiply-add, and they are never all in time.
        let tiles = |vectors: usize| -> f64 {
            let late = if vectors == 1 { 1.25 } else { 1.0 };
            (0..ow.div_ceil(micro.mr))
                .map(|i| even_part(ow, micro.mr, i))
                .map(|(first, end)| late * cycles(vectors * (end - first), vectors + end - first))
                .sum()
        };
        let by_filters = panels(Self::Filters).map(|panel| tiles(panel.width / lanes)).sum::<f64>();
        // The kernel keeps a pointer for each pixel, in memory.
        let gathered = panels(Self::Gathered).count() as f64
            * 1.15
            * cycles(2 * micro.mr, 2 * micro.mr)
            * ow as f64
            / micro.mr as f64;
        let times = [
            (pixels * multiply, Self::Pixels),
            (by_filters * multiply + turn, Self::Filters),
            (gathered * multiply + turn, Self::Gathered),
        ];
        times.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).map_or(Self::Pixels, |best| best.1)
    }

    /// Number of panels of so many filters.
    pub(super) fn panels<T: Scalar>(self, micro: &Micro<T>, filters: usize) -> usize {
        filters.div_ceil(if self == Self::Pixels { micro.mr } else { micro.nr })
    }

    /// Panel number `i`.
    pub(super) fn panel<T: Scalar>(self, micro: &Micro<T>, filters: usize, i: usize) -> Panel {
        if self == Self::Pixels {
            let (first, end) = even_part(filters, micro.mr, i);
            return Panel { first, count: end - first, width: end - first };
        }
        let first = i * micro.nr;
        let count = micro.nr.min(filters - first);
        let lanes = micro.direct.lanes;
        let width = if self == Self::Filters && count <= lanes { lanes } else { micro.nr };
        Panel { first, count, width }
    }

    /// Elements of the packed weight `[filters][k]` of a group.
    pub(super) fn packed_len<T: Scalar>(self, filters: usize, inner: usize) -> usize {
        let micro = T::micro();
        let last = self.panel(micro, filters, self.panels(micro, filters) - 1);
        (last.first + last.width) * inner
    }

    /// Packs a group's weight, a panel `[k][width]` after the other. `write(panel, rows)` fills one.
    pub(super) fn pack<T: Scalar>(
        self,
        (filters, inner): (usize, usize),
        packed: &mut [T],
        write: impl Fn(Panel, &mut [T]) + Sync,
    ) {
        let micro = T::micro();
        let cost = Cost::elements(2 * packed.len());
        let out = Shared::new(packed);
        parallel::each(self.panels(micro, filters), cost, |i| {
            let panel = self.panel(micro, filters, i);
            // SAFETY: all panels but the last are as wide as they have filters, so none overlaps another.
            let rows = unsafe { out.at(panel.first * inner, panel.width * inner) };
            write(panel, rows);
        });
    }
}

/// Cycles of so many multiply-adds and loads, two of each at a time; a sum waits for its last addition.
fn cycles(multiply_adds: usize, loads: usize) -> f64 {
    /// From one multiply-add to the next of the same sum.
    const LATENCY: usize = 4;
    multiply_adds.max(loads).max(2 * LATENCY) as f64 / 2.0
}
