//! Register kernels: the innermost loops of matrix products and convolutions.
//!
//! A kernel computes one tile `C[rows][NR] += A[rows][k] · B[k][NR]`, `rows ≤ MR`, with the tile held in
//! registers over the whole of `k`. Each element is one chain of fused multiply-adds in the order of
//! `k`, whatever the tile: so results do not depend on how work is cut into tiles. One macro writes the
//! kernels of every instruction set.

use super::direct::Direct;
use super::finish::{finish, finish_narrow};
use super::simd::{self, Level};
use super::transpose::Transpose;
use crate::Scalar;

/// Largest `MR` of all levels.
pub const MAX_MR: usize = 14;
/// Largest `NR` of all levels.
pub const MAX_NR: usize = 32;
/// Most elements of a register.
pub const MAX_LANES: usize = MAX_NR / 2;

/// What a tile starts from.
#[derive(Debug, Clone, Copy)]
pub enum Start<T> {
    /// `C = A·B`
    Zero,
    /// `C = C + A·B`
    Add,
    /// `C[i][j] = bias[j] + (A·B)[i][j]`; the pointer is to the tile's first column.
    ColBias(*const T),
}

/// `packed(k, a, b, c, c_stride, cols, start, relu)`: `a` is `[k][rows]`, `b` is `[k][NR]`.
type Packed<T> = unsafe fn(usize, *const T, *const T, *mut T, usize, usize, Start<T>, bool);

/// `gathered(rows, row_offsets, cols, col_stride, a, a_offsets, b, c, c_stride, start)`.
type Gathered<T> = unsafe fn(
    usize,
    *const usize,
    usize,
    usize,
    *const T,
    *const usize,
    *const T,
    *mut T,
    usize,
    Start<T>,
);

/// The register kernels of one instruction set for one element type.
#[derive(Debug)]
pub struct Micro<T: 'static> {
    /// The instruction set.
    pub level: Level,
    /// Most rows of a tile.
    pub mr: usize,
    /// Columns of a tile.
    pub nr: usize,
    packed: &'static [Packed<T>],
    gathered: &'static [Gathered<T>],
    /// Those of convolutions.
    pub(super) direct: &'static Direct<T>,
    /// What turns squares of so many elements a side, the largest first.
    pub(super) squares: &'static [(usize, Transpose<T>)],
}

impl<T: Scalar> Micro<T> {
    /// Elements of a register.
    #[inline]
    pub fn lanes(&self) -> usize {
        self.nr / 2
    }

    /// One tile from packed panels, `rows` in `1..=mr`, `cols` in `1..=nr`.
    ///
    /// # Safety
    /// `a` holds `k · rows` elements, `b` holds `k · nr`; `c` may be read and written at
    /// `i · c_stride + j` for `i < rows`, `j < cols`; a bias in `start` holds `cols` elements.
    #[inline]
    #[allow(clippy::too_many_arguments)]
    pub unsafe fn tile(
        &self,
        rows: usize,
        k: usize,
        a: *const T,
        b: *const T,
        c: *mut T,
        c_stride: usize,
        cols: usize,
        start: Start<T>,
    ) {
        // SAFETY: the caller's promise.
        unsafe { self.tile_then(rows, k, a, b, c, c_stride, cols, start, false) }
    }

    /// Like [`Micro::tile`], and with `relu` writes `max(0, ·)` of the tile; NaN stays NaN.
    ///
    /// # Safety
    /// As [`Micro::tile`].
    #[inline]
    #[allow(clippy::too_many_arguments)]
    pub unsafe fn tile_then(
        &self,
        rows: usize,
        k: usize,
        a: *const T,
        b: *const T,
        c: *mut T,
        c_stride: usize,
        cols: usize,
        start: Start<T>,
        relu: bool,
    ) {
        debug_assert!((1..=self.mr).contains(&rows) && (1..=self.nr).contains(&cols));
        // SAFETY: the caller's promise is the kernel's; the table has an entry for each row count.
        unsafe { self.packed[rows - 1](k, a, b, c, c_stride, cols, start, relu) }
    }

    /// `C[i][..nr] = start + Σ_r Σ_q a[a_offsets[i] + row_offsets[r] + q·col_stride] · b[r·cols + q][..nr]`
    /// for `i < count`, `r < rows`, `q < cols`: the inner dimension runs over a factor in place, as over the
    /// pixels of an image for a weight gradient.
    ///
    /// # Safety
    /// Every index named above is inside `a`, `b` (`rows · cols · nr`) and `c`
    /// (`i · c_stride + j`, `j < nr`); `count` is in `1..=mr`.
    #[inline]
    #[allow(clippy::too_many_arguments)]
    pub unsafe fn gather(
        &self,
        count: usize,
        row_offsets: &[usize],
        cols: usize,
        col_stride: usize,
        a: *const T,
        a_offsets: *const usize,
        b: *const T,
        c: *mut T,
        c_stride: usize,
        start: Start<T>,
    ) {
        debug_assert!((1..=self.mr).contains(&count));
        let rows = row_offsets.len();
        // SAFETY: the caller's promise is the kernel's; the table has an entry for each row count.
        unsafe {
            self.gathered[count - 1](
                rows,
                row_offsets.as_ptr(),
                cols,
                col_stride,
                a,
                a_offsets,
                b,
                c,
                c_stride,
                start,
            )
        }
    }
}

/// The kernels of one instruction set for one element type. `$vector` operations are intrinsics, or
/// plain functions where the target has none.
macro_rules! kernels {
    (
        $module:ident, $table:ident, $level:expr, $t:ty, $(#[$feature:meta])?
        $vector:ty, lanes $lanes:literal, squares [$($square:literal $transpose:path),*],
        direct $direct:path, mr $mr:literal, rows [$($r:literal)*],
        $use:path, $zero:expr, $load:path, $store:path, $splat:path, $fma:path, $add:path, $max:path
    ) => {
        mod $module {
            use super::{Micro, Start, finish, finish_narrow};
            #[allow(unused_imports, clippy::wildcard_imports)]
            use $use::*;

            const LANES: usize = $lanes;
            const NR: usize = 2 * LANES;

            $(#[$feature])?
            #[allow(clippy::too_many_arguments)]
            unsafe fn packed<const R: usize>(
                k: usize,
                a: *const $t,
                b: *const $t,
                c: *mut $t,
                c_stride: usize,
                cols: usize,
                start: Start<$t>,
                relu: bool,
            ) {
                let mut acc = [[$zero; 2]; R];
                for p in 0..k {
                    // SAFETY: p < k, `a` holds k·R elements and `b` k·NR.
                    unsafe {
                        let (a, b) = (a.add(p * R), b.add(p * NR));
                        let (low, high) = ($load(b), $load(b.add(LANES)));
                        for i in 0..R {
                            let x = $splat(*a.add(i));
                            acc[i][0] = $fma(x, low, acc[i][0]);
                            acc[i][1] = $fma(x, high, acc[i][1]);
                        }
                    }
                }
                finish!(acc, c, c_stride, cols, start, relu, $zero, $load, $store, $add, $max);
            }

            $(#[$feature])?
            #[allow(clippy::too_many_arguments)]
            unsafe fn gathered<const R: usize>(
                rows: usize,
                row_offsets: *const usize,
                cols: usize,
                col_stride: usize,
                a: *const $t,
                a_offsets: *const usize,
                b: *const $t,
                c: *mut $t,
                c_stride: usize,
                start: Start<$t>,
            ) {
                let mut acc = [[$zero; 2]; R];
                let mut b = b;
                // SAFETY: every offset is inside `a` by the caller's promise; `b` advances NR elements
                // rows·cols times.
                unsafe {
                    let mut pointers = [a; R];
                    for i in 0..R {
                        pointers[i] = a.add(*a_offsets.add(i));
                    }
                    for r in 0..rows {
                        let mut at = *row_offsets.add(r);
                        for _ in 0..cols {
                            let (low, high) = ($load(b), $load(b.add(LANES)));
                            for i in 0..R {
                                let x = $splat(*pointers[i].add(at));
                                acc[i][0] = $fma(x, low, acc[i][0]);
                                acc[i][1] = $fma(x, high, acc[i][1]);
                            }
                            at += col_stride;
                            b = b.add(NR);
                        }
                    }
                }
                finish!(acc, c, c_stride, NR, start, false, $zero, $load, $store, $add, $max);
            }

            pub(super) static TABLE: Micro<$t> = Micro {
                level: $level,
                mr: $mr,
                nr: NR,
                packed: &[$(packed::<$r>),*],
                gathered: &[$(gathered::<$r>),*],
                direct: $direct,
                squares: &[$(($square, $transpose)),*],
            };
        }
        static $table: &Micro<$t> = &$module::TABLE;
    };
}

/// Two vectors of four elements, for targets without intrinsics here: the compiler maps them to SSE2
/// or NEON.
pub(super) mod plain {
    use crate::Scalar;

    pub(in crate::kernels) type Lanes<T> = [T; 4];

    #[inline(always)]
    pub(in crate::kernels) unsafe fn load<T: Scalar>(at: *const T) -> Lanes<T> {
        // SAFETY: the caller promises four elements; an array of T needs no more alignment than T.
        unsafe { *at.cast::<Lanes<T>>() }
    }
    #[inline(always)]
    pub(in crate::kernels) unsafe fn store<T: Scalar>(at: *mut T, value: Lanes<T>) {
        // SAFETY: as `load`.
        unsafe { *at.cast::<Lanes<T>>() = value }
    }
    #[inline(always)]
    pub(in crate::kernels) fn splat<T: Scalar>(x: T) -> Lanes<T> {
        [x; 4]
    }
    #[inline(always)]
    pub(in crate::kernels) fn add<T: Scalar>(a: Lanes<T>, b: Lanes<T>) -> Lanes<T> {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    pub(in crate::kernels) fn max<T: Scalar>(a: Lanes<T>, b: Lanes<T>) -> Lanes<T> {
        std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    pub(in crate::kernels) fn fma<T: Scalar>(a: Lanes<T>, b: Lanes<T>, c: Lanes<T>) -> Lanes<T> {
        // A true fused operation only where it is one instruction: elsewhere it is a library call.
        if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
            std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
        } else {
            std::array::from_fn(|i| a[i] * b[i] + c[i])
        }
    }
}

kernels!(
    plain_f32, PLAIN_F32, crate::kernels::simd::Level::Portable, f32,
    [f32; 4], lanes 4, squares [4 crate::kernels::transpose::plain],
    direct crate::kernels::direct::PLAIN_F32, mr 4, rows [1 2 3 4],
    super::plain, [0.0; 4], load, store, splat, fma, add, max
);
kernels!(
    plain_f64, PLAIN_F64, crate::kernels::simd::Level::Portable, f64,
    [f64; 4], lanes 4, squares [4 crate::kernels::transpose::plain],
    direct crate::kernels::direct::PLAIN_F64, mr 4, rows [1 2 3 4],
    super::plain, [0.0; 4], load, store, splat, fma, add, max
);
#[cfg(target_arch = "x86_64")]
kernels!(
    avx2_f32, AVX2_F32, crate::kernels::simd::Level::Avx2, f32, #[target_feature(enable = "avx2,fma")]
    __m256, lanes 8, squares [8 crate::kernels::transpose::avx2_f32],
    direct crate::kernels::direct::AVX2_F32, mr 6, rows [1 2 3 4 5 6],
    std::arch::x86_64, _mm256_setzero_ps(), _mm256_loadu_ps, _mm256_storeu_ps, _mm256_set1_ps,
    _mm256_fmadd_ps, _mm256_add_ps, _mm256_max_ps
);
#[cfg(target_arch = "x86_64")]
kernels!(
    avx2_f64, AVX2_F64, crate::kernels::simd::Level::Avx2, f64, #[target_feature(enable = "avx2,fma")]
    __m256d, lanes 4, squares [4 crate::kernels::transpose::avx2_f64],
    direct crate::kernels::direct::AVX2_F64, mr 6, rows [1 2 3 4 5 6],
    std::arch::x86_64, _mm256_setzero_pd(), _mm256_loadu_pd, _mm256_storeu_pd, _mm256_set1_pd,
    _mm256_fmadd_pd, _mm256_add_pd, _mm256_max_pd
);
#[cfg(target_arch = "x86_64")]
kernels!(
    avx512_f32, AVX512_F32, crate::kernels::simd::Level::Avx512, f32, #[target_feature(enable = "avx512f")]
    __m512, lanes 16,
    squares [16 crate::kernels::transpose::avx512_f32, 8 crate::kernels::transpose::avx2_f32],
    direct crate::kernels::direct::AVX512_F32, mr 14, rows [1 2 3 4 5 6 7 8 9 10 11 12 13 14],
    std::arch::x86_64, _mm512_setzero_ps(), _mm512_loadu_ps, _mm512_storeu_ps, _mm512_set1_ps,
    _mm512_fmadd_ps, _mm512_add_ps, _mm512_max_ps
);
#[cfg(target_arch = "x86_64")]
kernels!(
    avx512_f64, AVX512_F64, crate::kernels::simd::Level::Avx512, f64, #[target_feature(enable = "avx512f")]
    __m512d, lanes 8,
    squares [8 crate::kernels::transpose::avx512_f64, 4 crate::kernels::transpose::avx2_f64],
    direct crate::kernels::direct::AVX512_F64, mr 14, rows [1 2 3 4 5 6 7 8 9 10 11 12 13 14],
    std::arch::x86_64, _mm512_setzero_pd(), _mm512_loadu_pd, _mm512_storeu_pd, _mm512_set1_pd,
    _mm512_fmadd_pd, _mm512_add_pd, _mm512_max_pd
);

/// The table of a level.
#[cfg(target_arch = "x86_64")]
fn of_level<T>(level: Level, tables: [&'static Micro<T>; 3]) -> &'static Micro<T> {
    let [plain, avx2, avx512] = tables;
    match level {
        Level::Portable => plain,
        Level::Avx2 => avx2,
        Level::Avx512 => avx512,
    }
}

/// The `f32` kernels of a level, which this machine must have.
pub(crate) fn at_level_f32(level: Level) -> &'static Micro<f32> {
    #[cfg(target_arch = "x86_64")]
    return of_level(level, [PLAIN_F32, AVX2_F32, AVX512_F32]);
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = level;
        PLAIN_F32
    }
}

/// The `f64` kernels of a level, which this machine must have.
pub(crate) fn at_level_f64(level: Level) -> &'static Micro<f64> {
    #[cfg(target_arch = "x86_64")]
    return of_level(level, [PLAIN_F64, AVX2_F64, AVX512_F64]);
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = level;
        PLAIN_F64
    }
}

/// The `f32` kernels of the level in force.
pub(crate) fn best_f32() -> &'static Micro<f32> {
    at_level_f32(simd::level())
}

/// The `f64` kernels of the level in force.
pub(crate) fn best_f64() -> &'static Micro<f64> {
    at_level_f64(simd::level())
}
