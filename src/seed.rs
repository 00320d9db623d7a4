//! The source of all randomness.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng as _, SeedableRng};
use rand_distr::{Beta, Distribution, StandardNormal};

/// Source of all randomness: a plain number from which independent streams are folded.
///
/// Nothing random is ever stored: a layer's numbers in one pass are
/// `seed.fold(pass).fold_str(layer name)`, whatever the order or the number of threads.
///
/// ```
/// use layerwise::Seed;
///
/// let seed = Seed::new(7);
/// assert_eq!(seed.fold(1).rng().uniform(), Seed::new(7).fold(1).rng().uniform());
/// assert_ne!(seed.fold(1), seed.fold(2));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seed(u64);

/// Increment of SplitMix64: 2⁶⁴ divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Output function of SplitMix64 (Steele, Lea & Flood 2014), a bijection of 64 bits.
#[inline(always)]
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Seed {
    /// A seed from any number.
    pub fn new(seed: u64) -> Self {
        Self(mix(seed.wrapping_add(GOLDEN)))
    }

    /// The number itself, to be saved.
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// The seed whose number was saved.
    pub(crate) fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The seed of stream `n`.
    #[must_use]
    pub fn fold(self, n: u64) -> Self {
        Self(mix(self.0.rotate_left(29) ^ mix(n.wrapping_add(GOLDEN))))
    }

    /// The seed of the stream called `name`, so that it does not depend on a position.
    ///
    /// ```
    /// let seed = layerwise::Seed::new(0);
    /// assert_ne!(seed.fold_str("head"), seed.fold_str("body"));
    /// ```
    #[must_use]
    pub fn fold_str(self, name: &str) -> Self {
        self.fold(hash_name(name))
    }

    /// 64 random bits number `index`: element `index` of this seed's SplitMix64 sequence, computed
    /// directly. Masks use it, so that any thread can make any part of them.
    ///
    /// ```
    /// let seed = layerwise::Seed::new(0);
    /// assert_eq!(seed.bits(3), seed.bits(3));
    /// assert_ne!(seed.bits(3), seed.bits(4));
    /// ```
    #[inline(always)]
    pub fn bits(self, index: u64) -> u64 {
        mix(self.0.wrapping_add(GOLDEN.wrapping_mul(index.wrapping_add(1))))
    }

    /// A generator that starts here.
    pub fn rng(self) -> Rng {
        Rng(Xoshiro256PlusPlus::seed_from_u64(self.0))
    }
}

/// FNV-1a: short, stable, and good enough in front of [`mix`].
pub(crate) fn hash_name(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A sequence of random numbers: xoshiro256++ (Blackman & Vigna 2021), the same on every machine.
///
/// ```
/// let mut rng = layerwise::Seed::new(7).rng();
/// let x = rng.uniform();
/// assert!((0.0..1.0).contains(&x));
/// assert!(rng.below(6) < 6);
/// ```
#[derive(Debug, Clone)]
pub struct Rng(Xoshiro256PlusPlus);

impl Rng {
    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform on `[0, 1)`, in steps of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        // 53 bits are exact in f64.
        (self.0.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Normal with mean 0 and standard deviation 1.
    pub fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.0)
    }

    /// Uniform on `[low, high)`, or `low` if they are equal.
    ///
    /// ```
    /// let angle = layerwise::Seed::new(1).rng().between(-15.0, 15.0);
    /// assert!((-15.0..15.0).contains(&angle));
    /// ```
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// True with probability `p`.
    ///
    /// ```
    /// let mut rng = layerwise::Seed::new(1).rng();
    /// assert!(rng.chance(1.0) && !rng.chance(0.0));
    /// ```
    pub fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// Beta(`alpha`, `alpha`) on `[0, 1]`; 1/2 unless `alpha` is finite and above 0.
    pub(crate) fn beta(&mut self, alpha: f64) -> f64 {
        Beta::new(alpha, alpha).map_or(0.5, |beta| beta.sample(&mut self.0))
    }

    /// Uniform on `0..n` (Lemire 2019, without bias); 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        let n = n as u64;
        let mut product = u128::from(self.0.next_u64()) * u128::from(n);
        if (product as u64) < n {
            let threshold = n.wrapping_neg() % n.max(1);
            while (product as u64) < threshold {
                product = u128::from(self.0.next_u64()) * u128::from(n);
            }
        }
        (product >> 64) as usize
    }

    /// Puts `items` into a random order (Fisher & Yates).
    ///
    /// ```
    /// let mut order: Vec<usize> = (0..5).collect();
    /// layerwise::Seed::new(1).rng().shuffle(&mut order);
    /// order.sort();
    /// assert_eq!(order, [0, 1, 2, 3, 4]);
    /// ```
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_the_same_in_every_version() {
        let mut rng = Seed::new(1).rng();
        assert_eq!([rng.next_u64(), rng.next_u64()], [8089978747140965633, 5687923198772495674]);
    }

    #[test]
    fn below_covers_its_range_evenly() {
        let mut rng = Seed::new(3).rng();
        let mut counts = [0usize; 6];
        for _ in 0..60_000 {
            counts[rng.below(6)] += 1;
        }
        // Standard deviation of a count is 91.
        assert!(counts.iter().all(|&n| n.abs_diff(10_000) < 500), "{counts:?}");
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.below(1), 0);
    }

    #[test]
    fn bits_of_neighbouring_streams_do_not_agree() {
        let mut ones = 0;
        for stream in 0..64 {
            let (a, b) = (Seed::new(0).fold(stream), Seed::new(0).fold(stream + 1));
            ones += (0..64).map(|i| (a.bits(i) ^ b.bits(i)).count_ones()).sum::<u32>();
        }
        // 262144 bits, half of them different; the standard deviation is 256.
        assert!(ones.abs_diff(131_072) < 1_500, "{ones}");
    }
}
