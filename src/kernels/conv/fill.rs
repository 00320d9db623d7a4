//! Copies a block of an image into its buffer, with zeros around it.

use super::Plan;
use super::plan::Block;
use crate::Scalar;
use crate::kernels::micro::MAX_NR;
use crate::kernels::parallel::{self, Cost, Read, Write};
use crate::kernels::simd::multiversion;

/// An image, or the gradient of one.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a, T> {
    /// Its elements.
    pub data: &'a [T],
    /// Where given, elements count as zero unless the one here is positive: for the gradient by the output
    /// of a ReLU, that output.
    pub positive: Option<&'a [T]>,
}

impl<'a, T> Source<'a, T> {
    /// All elements count.
    pub fn all(data: &'a [T]) -> Self {
        Self { data, positive: None }
    }

    /// The elements `from .. from + len`.
    pub(super) fn part(self, from: usize, len: usize) -> Self {
        let part = |data: &'a [T]| &data[from..][..len];
        Self { data: part(self.data), positive: self.positive.map(part) }
    }

    /// Copies all elements, zeros for what does not count.
    pub(super) fn copy(self, to: &mut [T])
    where
        T: Scalar,
    {
        match self.positive {
            None => to.copy_from_slice(self.data),
            Some(y) => copy_positive(Rows::ONE, to.len(), self.data, y, to),
        }
    }

    /// The elements, in `memory` unless all count.
    pub(super) fn masked(self, memory: &'a mut [T]) -> &'a [T]
    where
        T: Scalar,
    {
        let Some(y) = self.positive else { return self.data };
        let memory = &mut memory[..self.data.len()];
        let pieces = (Read(self.data, PIECE), Read(y, PIECE), Write(&mut *memory, PIECE));
        parallel::chunks(pieces, Cost::elements(3 * self.data.len()), |_, (from, y, to)| {
            copy_positive(Rows::ONE, to.len(), from, y, to);
        });
        memory
    }
}

/// Columns of the padded input that lie side by side in the buffer: with a stride, every so many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns {
    /// First column of the input.
    pub(super) from: usize,
    /// Where it goes in a row of the buffer.
    pub(super) to: usize,
    /// How many.
    pub(super) count: usize,
}

impl Plan {
    /// Copies a block's input into `buffer`, with zeros around it and behind it.
    pub(super) fn fill<T: Scalar>(&self, block: Block, x: Source<'_, T>, buffer: &mut [T]) {
        let geometry = &self.geometry;
        let ([h, w], channels) = (geometry.input, geometry.channels);
        let [buffer_h, buffer_w] = self.buffer;
        let used = block.images * self.buffer_image();
        // Without padding and stride every element is copied.
        let covered = geometry.padding == [0, 0] && geometry.stride == [1, 1];
        buffer[if covered { used } else { 0 }..][..if covered { 0 } else { used } + MAX_NR]
            .fill(T::zero());
        // A kernel of one row looks at the first of `stride` rows only.
        let step = if geometry.kernel[0] == 1 { geometry.stride[0] } else { 1 };
        let (top, padding) = (block.row * geometry.stride[0], geometry.padding[0]);
        let first = padding.saturating_sub(top).next_multiple_of(step);
        let end = (h + padding).saturating_sub(top).min(buffer_h);
        if first >= end {
            return;
        }
        let rows = Rows {
            count: (end - first).div_ceil(step),
            from_pitch: step * w,
            to_pitch: step * buffer_w,
            stride: geometry.stride[1],
        };
        let from_row = (top + first - padding) * w;
        for plane in 0..block.images * channels {
            let x = x.part((block.image * channels + plane) * h * w, h * w);
            let buffer = &mut buffer[plane * buffer_h * buffer_w..][..buffer_h * buffer_w];
            for columns in &self.columns {
                let from = from_row + columns.from;
                let to = &mut buffer[first * buffer_w + columns.to..];
                match x.positive {
                    None => copy(rows, columns.count, &x.data[from..], to),
                    Some(y) => {
                        copy_positive(rows, columns.count, &x.data[from..], &y[from..], to);
                    }
                }
            }
        }
    }
}

/// Rows to be copied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    pub(super) count: usize,
    pub(super) from_pitch: usize,
    pub(super) to_pitch: usize,
    /// Distance of the elements that are taken of a row.
    pub(super) stride: usize,
}

impl Rows {
    const ONE: Self = Self { count: 1, from_pitch: 0, to_pitch: 0, stride: 1 };
}

/// Elements that are copied at once.
const GROUP: usize = 8;

multiversion! {
    /// Copies the first `len` elements of each row.
    pub(super) fn copy<F: Scalar>(rows: Rows, len: usize, from: &[F], to: &mut [F]) {
        for r in 0..rows.count {
            let (from, to) = (&from[r * rows.from_pitch..], &mut to[r * rows.to_pitch..][..len]);
            if rows.stride > 1 {
                for (to, &from) in to.iter_mut().zip(from.iter().step_by(rows.stride)) {
                    *to = from;
                }
            } else if len < GROUP {
                to.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
            } else {
                // The last group begins earlier and repeats what is done. Calling `memcpy` would take longer.
                let from = &from[..len];
                for at in (0..len).step_by(GROUP).map(|at| at.min(len - GROUP)) {
                    let group: &[F; GROUP] = from[at..][..GROUP].try_into().expect("a group");
                    to[at..][..GROUP].copy_from_slice(group);
                }
            }
        }
    }

    /// The same where `y` is positive, zero elsewhere. Stride 1.
    pub(super) fn copy_positive<F: Scalar>(rows: Rows, len: usize, from: &[F], y: &[F], to: &mut [F]) {
        for r in 0..rows.count {
            let (from, y) = (&from[r * rows.from_pitch..], &y[r * rows.from_pitch..]);
            let to = &mut to[r * rows.to_pitch..][..len];
            keep_positive(&from[..len], &y[..len], to);
        }
    }
}

#[inline(always)]
fn keep_positive<F: Scalar>(from: &[F], y: &[F], to: &mut [F]) {
    for ((to, &from), &y) in to.iter_mut().zip(from).zip(y) {
        *to = if y > F::zero() { from } else { F::zero() };
    }
}

/// Elements of a task.
const PIECE: usize = 16 * 1024;

/// `y = max(0, y)` of an array of any size.
pub(super) fn rectify_all<T: Scalar>(y: &mut [T]) {
    let cost = Cost::elements(2 * y.len());
    parallel::chunks(Write(y, PIECE), cost, |_, y| rectify(y));
}

multiversion! {
    /// `y = max(0, y)`
    pub(super) fn rectify<F: Scalar>(y: &mut [F]) {
        // Not `>`: NaN stays NaN.
        y.iter_mut().for_each(|y| *y = if *y < F::zero() { F::zero() } else { *y });
    }
}
