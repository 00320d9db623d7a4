//! What a core can do at best: the yardstick that benches hold kernels against.

use std::hint::black_box;

use super::direct::CHAINS;
use crate::Scalar;

/// Does `rounds` multiply-adds in each of several independent vectors that stay in registers, with the
/// instructions that the kernels use. Returns the number of multiply-adds of elements.
pub fn multiply_adds<T: Scalar>(rounds: usize) -> usize {
    let direct = T::micro().direct;
    // Known to nobody: the compiler cannot compute the result beforehand. It tends to 2.
    let (factor, term) = black_box((T::lit(0.5), T::one()));
    // SAFETY: the level's instructions are there, or it would not be in force; nothing else is asked.
    black_box(unsafe { (direct.chains)(rounds, factor, term) });
    rounds * CHAINS * direct.lanes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::simd;

    #[test]
    fn chains_of_multiply_adds_reach_their_limit_at_every_level() {
        simd::at_every_level(|| {
            let direct = f64::micro().direct;
            // SAFETY: as in `multiply_adds`.
            let sum = unsafe { (direct.chains)(100, 0.5, 1.0) };
            assert_eq!(sum, 2.0 * (CHAINS * direct.lanes) as f64);
            assert_eq!(multiply_adds::<f64>(3), 3 * CHAINS * direct.lanes);
        });
    }
}
