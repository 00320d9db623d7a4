//! Memory that begins on a cache line.

use std::ops::{Deref, DerefMut};

use crate::Scalar;

/// Elements of a line: 64 bytes of `f32`, two lines of `f64`.
const LINE: usize = 16;

/// What a register may be loaded from without touching two cache lines.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line<F>([F; LINE]);

/// A vector of elements that begins on a cache line and only grows. A register of 64 bytes that lies across
/// two lines takes two loads: kernels lose up to a third of their speed on memory as the allocator gives it.
#[derive(Debug, Clone)]
pub struct Aligned<F> {
    lines: Vec<Line<F>>,
    len: usize,
}

impl<F> Default for Aligned<F> {
    fn default() -> Self {
        Self { lines: Vec::new(), len: 0 }
    }
}

impl<F: Scalar> Aligned<F> {
    /// Grows to `len` elements, zeros behind those that are there. Whether there was the memory.
    pub fn try_grow(&mut self, len: usize) -> bool {
        let lines = len.div_ceil(LINE);
        if let Some(missing) = lines.checked_sub(self.lines.len()).filter(|&missing| missing > 0) {
            if self.lines.try_reserve_exact(missing).is_err() {
                return false;
            }
            self.lines.resize(lines, Line([F::zero(); LINE]));
        }
        self.len = self.len.max(len);
        true
    }
}

impl<F> Deref for Aligned<F> {
    type Target = [F];
    fn deref(&self) -> &[F] {
        // SAFETY: a line is an array of LINE elements without padding (64 is the size of one of f32 and half
        // that of one of f64, the only elements there are), and `len` is at most LINE times their number.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl<F> DerefMut for Aligned<F> {
    fn deref_mut(&mut self) -> &mut [F] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grows<F: Scalar>() {
        let mut memory = Aligned::<F>::default();
        assert!(memory.is_empty());
        for (len, total) in [(1, 1), (17, 17), (5, 17), (1000, 1000)] {
            assert!(memory.try_grow(len));
            assert_eq!((memory.len(), memory.as_ptr() as usize % 64), (total, 0));
            assert_eq!(size_of::<Line<F>>(), LINE * size_of::<F>());
            memory[len - 1] = F::one();
        }
        assert!(memory[0] == F::one() && memory[16] == F::one() && memory[998] == F::zero());
        assert!(!memory.try_grow(usize::MAX / 2));
        assert_eq!(memory.len(), 1000);
    }

    #[test]
    fn it_begins_on_a_line_and_keeps_what_was_written() {
        grows::<f32>();
        grows::<f64>();
    }
}
