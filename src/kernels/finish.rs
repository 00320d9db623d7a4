//! The last step of the register kernels: from accumulators to memory.

use super::micro::Start;
use crate::Scalar;

/// Writes a finished tile of `width` elements a row element by element, where a whole vector would reach too far.
///
/// # Safety
/// As [`super::micro::Micro::tile_then`].
#[inline(never)]
pub(super) unsafe fn finish_narrow<T: Scalar>(
    (tile, width): (&[T], usize),
    c: *mut T,
    c_stride: usize,
    cols: usize,
    start: Start<T>,
    relu: bool,
) {
    for (i, row) in tile.chunks_exact(width).enumerate() {
        for (j, &value) in row.iter().enumerate().take(cols) {
            // SAFETY: i < rows and j < cols, within what the caller promised for `c` and the bias.
            unsafe {
                let at = c.add(i * c_stride + j);
                let value = value
                    + match start {
                        Start::Zero => T::zero(),
                        Start::Add => *at,
                        Start::ColBias(bias) => *bias.add(j),
                    };
                *at = if relu && value < T::zero() { T::zero() } else { value };
            }
        }
    }
}

/// The last step of a kernel: adds what the tile starts from to the accumulators and writes them. A macro, and one short
/// loop over the rows for each thing to do: as an argument of a function, or in a loop too long to unroll, the
/// accumulators would lie in memory, and every multiplication of the kernel would store.
macro_rules! finish {
    (
        $acc:ident, $c:ident, $c_stride:ident, $cols:expr, $start:ident, $relu:expr,
        $zero:expr, $load:path, $store:path, $add:path, $max:path
    ) => {
        // SAFETY: rows of `NR` columns are two whole vectors inside `c`, and a bias has `NR` elements. Narrower rows go through memory of their own. All by the caller's promise.
        unsafe {
            if $cols < NR {
                let mut tile = [[0.0; NR]; R];
                for i in 0..R {
                    $store(tile[i].as_mut_ptr(), $acc[i][0]);
                    $store(tile[i].as_mut_ptr().add(LANES), $acc[i][1]);
                }
                let tile = (tile.as_flattened(), NR);
                return finish_narrow(tile, $c, $c_stride, $cols, $start, $relu);
            }
            match $start {
                Start::Zero => {}
                Start::Add => {
                    for i in 0..R {
                        let row = $c.add(i * $c_stride);
                        $acc[i][0] = $add($load(row), $acc[i][0]);
                        $acc[i][1] = $add($load(row.add(LANES)), $acc[i][1]);
                    }
                }
                Start::ColBias(bias) => {
                    let (low, high) = ($load(bias), $load(bias.add(LANES)));
                    for i in 0..R {
                        $acc[i][0] = $add(low, $acc[i][0]);
                        $acc[i][1] = $add(high, $acc[i][1]);
                    }
                }
            }
            if $relu {
                // The second of two operands stays if it is NaN.
                let zero = $zero;
                for i in 0..R {
                    $acc[i][0] = $max(zero, $acc[i][0]);
                    $acc[i][1] = $max(zero, $acc[i][1]);
                }
            }
            for i in 0..R {
                let row = $c.add(i * $c_stride);
                $store(row, $acc[i][0]);
                $store(row.add(LANES), $acc[i][1]);
            }
        }
    };
}
pub(super) use finish;
