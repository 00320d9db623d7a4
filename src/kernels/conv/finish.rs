//! What is done to a convolution's result on its way out.

use crate::Scalar;
use crate::kernels::micro::MAX_LANES;
use crate::kernels::norm::{self, Line};
use crate::kernels::vector::Vector;

/// What is done to a convolution's result on its way out, in this order.
#[derive(Debug, Clone, Copy)]
pub struct Finish<'a, T> {
    /// Added to each filter's pixels.
    pub bias: Option<&'a [T]>,
    /// Normalizes each filter's pixels.
    pub lines: Option<&'a [Line<T>]>,
    /// Whether `max(0, ·)` follows.
    pub relu: bool,
}

impl<'a, T: Scalar> Finish<'a, T> {
    /// The result as it is.
    pub const NOTHING: Self = Self { bias: None, lines: None, relu: false };

    /// What the register kernels do at once; the lines are left for [`Finish::normalize`].
    pub(super) fn within_kernels(self) -> Self {
        Self { relu: self.relu && self.lines.is_none(), ..self }
    }

    /// What is left of the filters from `first` on, whose runs of `len` pixels lie one after the other.
    pub(super) fn normalize(self, first: usize, len: usize, y: &mut [T]) {
        if let Some(lines) = self.lines {
            norm::apply_in_place(&lines[first..], self.relu, len, y);
        }
    }

    /// The same for a register of filters.
    pub(super) fn lanes(self, filters: std::ops::Range<usize>) -> Lanes<T> {
        let zeros = [T::zero(); MAX_LANES];
        let mut lanes =
            Lanes { bias: zeros, line: self.lines.map(|_| [zeros; 3]), relu: self.relu };
        if let Some(bias) = self.bias {
            lanes.bias[..filters.len()].copy_from_slice(&bias[filters.clone()]);
        }
        if let (Some(lines), Some([centers, factors, shifts])) = (self.lines, &mut lanes.line) {
            for (i, line) in lines[filters].iter().enumerate() {
                (centers[i], factors[i], shifts[i]) = (line.center, line.factor, line.shift);
            }
        }
        lanes
    }
}

/// [`Finish`] for filters side by side in a register.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    bias: [T; MAX_LANES],
    /// Centers, factors and shifts.
    line: Option<[[T; MAX_LANES]; 3]>,
    relu: bool,
}

impl<T: Scalar> Lanes<T> {
    /// Rounds as [`norm`] does, so that it makes no difference which of them did it.
    ///
    /// # Safety
    /// The processor has the vector's instructions.
    #[inline(always)]
    pub(super) unsafe fn apply<V: Vector<Element = T>>(&self, value: V) -> V {
        // SAFETY: all arrays hold a register; the rest is the caller's promise.
        unsafe {
            let mut value = value.add(V::load(self.bias.as_ptr()));
            if let Some([centers, factors, shifts]) = &self.line {
                let centered = value.sub(V::load(centers.as_ptr()));
                value = centered.mul(V::load(factors.as_ptr())).add(V::load(shifts.as_ptr()));
            }
            if self.relu { value.rectify() } else { value }
        }
    }
}
