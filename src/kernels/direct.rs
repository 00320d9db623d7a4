//! Register kernels of convolutions. They read the image in place: from a buffer with its border of zeros, where
//! the element of a window that belongs to `k` lies `offsets[k]` behind the window's first, and neighbouring
//! windows lie side by side.
//!
//! - [`Direct::pixels`]: a tile of filters × two vectors of pixels, each weight broadcast.
//! - [`Direct::filters`]: a tile of pixels × one or two vectors of filters, each pixel broadcast.
//! - [`Direct::correlate`]: the weight gradient of a tile of filters × [`TAPS`] window elements, vectors of pixels.
//!
//! Each output is one chain of fused multiply-adds in the order of `k`, then the bias is added: so both kernels
//! for outputs give the same bits, whatever the tile.

use std::fmt::Debug;

use crate::Scalar;

/// Window elements of a tile of [`Direct::correlate`].
pub(super) const TAPS: usize = 4;
/// Vectors that [`Direct::chains`] keeps in registers: enough to wait for none.
pub(super) const CHAINS: usize = 12;

/// What [`Direct::pixels`] computes: `y[v][i · plane ..] = bias[i] + Σ_k weight[k][i] · x[v][offsets[k] ..]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct PixelTile<T> {
    /// Length of the sum.
    pub k: usize,
    /// Where each window element lies, `k` of them.
    pub offsets: *const usize,
    /// `[k][rows]`
    pub weight: *const T,
    /// One for each row.
    pub bias: *const T,
    /// The window of the first pixel of each vector.
    pub x: [*const T; 2],
    /// Where each vector of the first filter goes.
    pub y: [*mut T; 2],
    /// Elements from one filter to the next.
    pub plane: usize,
    /// Elements of a vector that are written.
    pub len: usize,
    /// Whether `max(0, y)` is written.
    pub relu: bool,
}

/// What [`Direct::filters`] computes: `y[i][f] = bias[f] + Σ_k weight[k][f] · x[i + offsets[k]]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct FilterTile<T> {
    /// Length of the sum.
    pub k: usize,
    /// Where each window element lies, `k` of them.
    pub offsets: *const usize,
    /// `[k][width]`
    pub weight: *const T,
    /// `[width]`
    pub bias: *const T,
    /// The first pixel's window.
    pub x: *const T,
    /// `[pixels][width]`
    pub y: *mut T,
    /// Whether `max(0, y)` is written.
    pub relu: bool,
}

/// What [`Direct::correlate`] adds: `sums[f][t][l] += Σ_r Σ_v dy[f][r][v][l] · x[rows[r] + taps[t] + v · lanes + l]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Correlation<'a, T> {
    /// Where each row of pixels begins.
    pub rows: &'a [usize],
    /// Vectors of a row.
    pub vectors: usize,
    /// The first window element of the first row.
    pub x: *const T,
    /// Where each window element lies.
    pub taps: [usize; TAPS],
    /// `[filter][row][vectors · lanes]`
    pub dy: *const T,
    /// Elements from one filter to the next.
    pub filter: usize,
    /// `[filter][tap][lanes]`
    pub sums: *mut T,
    /// Elements from one filter's sums to the next.
    pub stride: usize,
}

/// How far ahead of its use a weight is asked for, in elements: one deep, small image reads a large weight from
/// memory, where the processor's own look-ahead stops at each page.
const AHEAD: usize = 1024;

/// Asks for a cache line that will be read; an address outside of any array does no harm.
#[inline(always)]
fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing, and every x86-64 has it.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

type Pixels<T> = unsafe fn(&PixelTile<T>);
type Filters<T> = unsafe fn(&FilterTile<T>);
type Correlate<T> = unsafe fn(&Correlation<'_, T>);
type Chains<T> = unsafe fn(usize, T, T) -> T;

/// The kernels of one instruction set for one element type.
#[derive(Debug)]
pub(super) struct Direct<T: 'static> {
    /// Elements of a vector.
    pub lanes: usize,
    /// By rows.
    pixels: &'static [Pixels<T>],
    /// By vectors of filters, by pixels.
    filters: [&'static [Filters<T>]; 2],
    /// By filters.
    correlate: &'static [Correlate<T>],
    /// See [`super::peak`].
    pub chains: Chains<T>,
}

impl<T: Scalar> Direct<T> {
    /// Most filters of a tile of [`Direct::correlate`].
    pub(super) fn correlated_filters(&self) -> usize {
        self.correlate.len()
    }

    /// One tile of `rows` filters, at most [`super::micro::Micro::mr`], and two vectors of pixels.
    ///
    /// # Safety
    /// Pointers reach as far as [`PixelTile`] says: `weight` `k · rows` elements, `x` a vector from each
    /// offset, `y` `len` elements at each of `rows` planes; `len` is in `1..=lanes`.
    #[inline]
    pub(super) unsafe fn pixels(&self, rows: usize, tile: &PixelTile<T>) {
        debug_assert!((1..=self.lanes).contains(&tile.len));
        // SAFETY: the caller's promise is the kernel's; the table has an entry for each row count.
        unsafe { self.pixels[rows - 1](tile) }
    }

    /// One tile of `count` pixels side by side, at most [`super::micro::Micro::mr`], and `vectors` (1 or 2) of filters.
    ///
    /// # Safety
    /// Pointers reach as far as [`FilterTile`] says, with `width = vectors · lanes`.
    #[inline]
    pub(super) unsafe fn filters(&self, vectors: usize, count: usize, tile: &FilterTile<T>) {
        // SAFETY: the caller's promise is the kernel's; the tables have an entry for each count.
        unsafe { self.filters[vectors - 1][count - 1](tile) }
    }

    /// Adds the tile of `filters`, at most [`Direct::correlated_filters`].
    ///
    /// # Safety
    /// Pointers reach as far as [`Correlation`] says.
    #[inline]
    pub(super) unsafe fn correlate(&self, filters: usize, tile: &Correlation<'_, T>) {
        // SAFETY: the caller's promise is the kernel's; the table has an entry for each count.
        unsafe { self.correlate[filters - 1](tile) }
    }
}

/// The kernels of one instruction set for one element type.
macro_rules! kernels {
    (
        $module:ident, $table:ident, $t:ty, $(#[$feature:meta])? $vector:ty, lanes $lanes:literal,
        rows [$($r:literal)*], correlated [$($f:literal)*],
        $use:path, $zero:expr, $load:path, $store:path, $store_some:path, $splat:path, $fma:path, $add:path, $max:path
    ) => {
        mod $module {
            use super::{AHEAD, CHAINS, Correlation, Direct, FilterTile, PixelTile, TAPS, prefetch};
            #[allow(unused_imports, clippy::wildcard_imports)]
            use $use::*;

            const LANES: usize = $lanes;

            $(#[$feature])?
            unsafe fn pixels<const R: usize>(tile: &PixelTile<$t>) {
                let mut acc = [[$zero; 2]; R];
                let ([low, high], mut weight) = (tile.x, tile.weight);
                for p in 0..tile.k {
                    // SAFETY: p < k; a vector is readable at each offset, `weight` holds k·R.
                    unsafe {
                        let offset = *tile.offsets.add(p);
                        let (low, high) = ($load(low.add(offset)), $load(high.add(offset)));
                        for i in 0..R {
                            let w = $splat(*weight.add(i));
                            acc[i][0] = $fma(w, low, acc[i][0]);
                            acc[i][1] = $fma(w, high, acc[i][1]);
                        }
                        weight = weight.add(R);
                    }
                }
                for v in 0..2 {
                    for i in 0..R {
                        // SAFETY: i < R; `len` elements of `y` are writable.
                        unsafe {
                            let mut y = $add(acc[i][v], $splat(*tile.bias.add(i)));
                            if tile.relu {
                                y = $max($zero, y);
                            }
                            let at = tile.y[v].add(i * tile.plane);
                            if tile.len == LANES {
                                $store(at, y);
                            } else {
                                $store_some(at, y, tile.len);
                            }
                        }
                    }
                }
            }

            $(#[$feature])?
            unsafe fn filters<const V: usize, const P: usize>(tile: &FilterTile<$t>) {
                let mut acc = [[$zero; V]; P];
                let mut weight = tile.weight;
                for p in 0..tile.k {
                    // SAFETY: p < k; P pixels are readable at each offset, `weight` holds k·V·LANES.
                    unsafe {
                        let x = tile.x.add(*tile.offsets.add(p));
                        let mut w = [$zero; V];
                        for v in 0..V {
                            w[v] = $load(weight.add(v * LANES));
                            if V > 1 {
                                prefetch(weight.wrapping_add(AHEAD + v * LANES));
                            }
                        }
                        for i in 0..P {
                            let x = $splat(*x.add(i));
                            for v in 0..V {
                                acc[i][v] = $fma(x, w[v], acc[i][v]);
                            }
                        }
                        weight = weight.add(V * LANES);
                    }
                }
                for i in 0..P {
                    for v in 0..V {
                        // SAFETY: `bias` holds V·LANES and `y` P·V·LANES.
                        unsafe {
                            let mut y = $add(acc[i][v], $load(tile.bias.add(v * LANES)));
                            if tile.relu {
                                y = $max($zero, y);
                            }
                            $store(tile.y.add((i * V + v) * LANES), y);
                        }
                    }
                }
            }

            $(#[$feature])?
            unsafe fn correlate<const F: usize>(tile: &Correlation<'_, $t>) {
                let mut acc = [[$zero; TAPS]; F];
                // SAFETY: sums, gradients and pixels reach as far as the caller promises.
                unsafe {
                    for f in 0..F {
                        for t in 0..TAPS {
                            acc[f][t] = $load(tile.sums.add(f * tile.stride + t * LANES));
                        }
                    }
                    let mut dy = tile.dy;
                    for &row in tile.rows {
                        let mut x = tile.x.add(row);
                        for _ in 0..tile.vectors {
                            let mut d = [$zero; F];
                            for f in 0..F {
                                d[f] = $load(dy.add(f * tile.filter));
                            }
                            for t in 0..TAPS {
                                let x = $load(x.add(tile.taps[t]));
                                for f in 0..F {
                                    acc[f][t] = $fma(d[f], x, acc[f][t]);
                                }
                            }
                            (x, dy) = (x.add(LANES), dy.add(LANES));
                        }
                    }
                    for f in 0..F {
                        for t in 0..TAPS {
                            $store(tile.sums.add(f * tile.stride + t * LANES), acc[f][t]);
                        }
                    }
                }
            }

            $(#[$feature])?
            unsafe fn chains(rounds: usize, factor: $t, term: $t) -> $t {
                let mut acc = [$splat(factor); CHAINS];
                let (factor, term) = ($splat(factor), $splat(term));
                for _ in 0..rounds {
                    for chain in &mut acc {
                        *chain = $fma(*chain, factor, term);
                    }
                }
                let mut out = [0.0; LANES];
                for chain in acc {
                    // SAFETY: `out` is a vector long.
                    unsafe { $store(out.as_mut_ptr(), $add($load(out.as_ptr()), chain)) }
                }
                out.iter().sum()
            }

            pub(super) static TABLE: Direct<$t> = Direct {
                lanes: LANES,
                pixels: &[$(pixels::<$r>),*],
                filters: [&[$(filters::<1, $r>),*], &[$(filters::<2, $r>),*]],
                correlate: &[$(correlate::<$f>),*],
                chains,
            };
        }
        pub(super) static $table: &Direct<$t> = &$module::TABLE;
    };
}

/// Writes the first `len` elements of a vector, where it has no instruction for that.
mod plain {
    use super::super::micro::plain::Lanes;
    use crate::Scalar;

    #[inline(always)]
    pub(super) unsafe fn store_some<T: Scalar>(at: *mut T, value: Lanes<T>, len: usize) {
        for (i, &value) in value.iter().enumerate().take(len) {
            // SAFETY: the caller promises `len` elements.
            unsafe { *at.add(i) = value }
        }
    }
}

/// Writes the first `len` elements of a vector.
#[cfg(target_arch = "x86_64")]
mod some {
    use std::arch::x86_64::*;

    /// Eight that are written, then eight that are not.
    static WRITTEN: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

    /// Of 32-bit elements, the first `len` are written.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn mask(len: usize) -> __m256i {
        debug_assert!(len <= 8);
        // SAFETY: eight elements from 8 - len on are inside the sixteen, for len from 0 to 8.
        unsafe { _mm256_loadu_si256(WRITTEN.as_ptr().add(8 - len.min(8)).cast()) }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) unsafe fn avx2_f32(at: *mut f32, value: __m256, len: usize) {
        // SAFETY: the caller promises `len` elements.
        unsafe { _mm256_maskstore_ps(at, mask(len), value) }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) unsafe fn avx2_f64(at: *mut f64, value: __m256d, len: usize) {
        // SAFETY: as above; an element of the mask is two of 32 bits.
        unsafe { _mm256_maskstore_pd(at, mask(2 * len), value) }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(super) unsafe fn avx512_f32(at: *mut f32, value: __m512, len: usize) {
        // SAFETY: the caller promises `len` elements, less than a vector's 16.
        unsafe { _mm512_mask_storeu_ps(at, (1 << len) - 1, value) }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(super) unsafe fn avx512_f64(at: *mut f64, value: __m512d, len: usize) {
        // SAFETY: the caller promises `len` elements, less than a vector's 8.
        unsafe { _mm512_mask_storeu_pd(at, (1 << len) - 1, value) }
    }
}

kernels!(
    plain_f32, PLAIN_F32, f32, [f32; 4], lanes 4, rows [1 2 3 4], correlated [1 2],
    super::super::micro::plain, [0.0; 4], load, store, super::plain::store_some, splat, fma, add, max
);
kernels!(
    plain_f64, PLAIN_F64, f64, [f64; 4], lanes 4, rows [1 2 3 4], correlated [1 2],
    super::super::micro::plain, [0.0; 4], load, store, super::plain::store_some, splat, fma, add, max
);
#[cfg(target_arch = "x86_64")]
kernels!(
    avx2_f32, AVX2_F32, f32, #[target_feature(enable = "avx2,fma")] __m256, lanes 8,
    rows [1 2 3 4 5 6], correlated [1 2 3], std::arch::x86_64, _mm256_setzero_ps(), _mm256_loadu_ps,
    _mm256_storeu_ps, super::some::avx2_f32, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_add_ps, _mm256_max_ps
);
#[cfg(target_arch = "x86_64")]
kernels!(
    avx2_f64, AVX2_F64, f64, #[target_feature(enable = "avx2,fma")] __m256d, lanes 4,
    rows [1 2 3 4 5 6], correlated [1 2 3], std::arch::x86_64, _mm256_setzero_pd(), _mm256_loadu_pd,
    _mm256_storeu_pd, super::some::avx2_f64, _mm256_set1_pd, _mm256_fmadd_pd, _mm256_add_pd, _mm256_max_pd
);
#[cfg(target_arch = "x86_64")]
kernels!(
    avx512_f32, AVX512_F32, f32, #[target_feature(enable = "avx512f")] __m512, lanes 16,
    rows [1 2 3 4 5 6 7 8 9 10 11 12 13 14], correlated [1 2 3 4 5 6], std::arch::x86_64,
    _mm512_setzero_ps(), _mm512_loadu_ps, _mm512_storeu_ps, super::some::avx512_f32, _mm512_set1_ps,
    _mm512_fmadd_ps, _mm512_add_ps, _mm512_max_ps
);
#[cfg(target_arch = "x86_64")]
kernels!(
    avx512_f64, AVX512_F64, f64, #[target_feature(enable = "avx512f")] __m512d, lanes 8,
    rows [1 2 3 4 5 6 7 8 9 10 11 12 13 14], correlated [1 2 3 4 5 6], std::arch::x86_64,
    _mm512_setzero_pd(), _mm512_loadu_pd, _mm512_storeu_pd, super::some::avx512_f64, _mm512_set1_pd,
    _mm512_fmadd_pd, _mm512_add_pd, _mm512_max_pd
);
