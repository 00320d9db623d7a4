//! One register as a type, for kernels that are written once and compiled for every instruction set.

use crate::Scalar;

/// A register of elements.
///
/// # Safety of the methods
/// The processor has the vector's instructions; pointers may be read or written for `LANES` elements and
/// need no alignment beyond the element's.
pub trait Vector: Copy {
    /// Its elements.
    type Element;
    /// How many.
    const LANES: usize;
    /// `LANES` elements from memory.
    unsafe fn load(from: *const Self::Element) -> Self;
    /// `LANES` elements to memory.
    unsafe fn store(self, to: *mut Self::Element);
    /// The first `count` elements from memory, below `LANES`, and zeros: no others are read.
    unsafe fn load_first(from: *const Self::Element, count: usize) -> Self;
    /// The first `count` elements to memory, below `LANES`: no others are written.
    unsafe fn store_first(self, to: *mut Self::Element, count: usize);
    /// The same element everywhere.
    unsafe fn splat(x: Self::Element) -> Self;
    /// `self + other`
    unsafe fn add(self, other: Self) -> Self;
    /// `self − other`
    unsafe fn sub(self, other: Self) -> Self;
    /// `self · other`
    unsafe fn mul(self, other: Self) -> Self;
    /// `self · factor + term`, rounded once where that is one instruction.
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self;
    /// `max(0, self)`; NaN stays NaN.
    unsafe fn rectify(self) -> Self;
}

/// Four elements as the compiler sees fit: SSE2 or NEON registers.
#[derive(Debug, Clone, Copy)]
pub struct Plain<F>([F; 4]);

impl<F: Scalar> Vector for Plain<F> {
    type Element = F;
    const LANES: usize = 4;
    #[inline(always)]
    unsafe fn load(from: *const F) -> Self {
        // SAFETY: the caller promises four elements; an array of F needs no more alignment than F.
        Self(unsafe { *from.cast::<[F; 4]>() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut F) {
        // SAFETY: as `load`.
        unsafe { *to.cast::<[F; 4]>() = self.0 }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const F, count: usize) -> Self {
        // SAFETY: the caller promises so many elements.
        Self(std::array::from_fn(|i| if i < count { unsafe { *from.add(i) } } else { F::zero() }))
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut F, count: usize) {
        for (i, x) in self.0.into_iter().enumerate().take(count) {
            // SAFETY: the caller promises so many elements.
            unsafe { *to.add(i) = x }
        }
    }
    #[inline(always)]
    unsafe fn splat(x: F) -> Self {
        Self([x; 4])
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] - other.0[i]))
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] * other.0[i]))
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self {
        // A true fused operation only where it is one instruction: elsewhere it is a library call.
        if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
            Self(std::array::from_fn(|i| self.0[i].mul_add(factor.0[i], term.0[i])))
        } else {
            Self(std::array::from_fn(|i| self.0[i] * factor.0[i] + term.0[i]))
        }
    }
    #[inline(always)]
    unsafe fn rectify(self) -> Self {
        Self(self.0.map(|x| if x < F::zero() { F::zero() } else { x }))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Vector;
    use std::arch::x86_64::*;

    /// Ones in the first `count` of 8 lanes of 32 bits.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn first_8(count: usize) -> __m256i {
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lanes)
    }

    /// The same in 4 lanes of 64 bits.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn first_4(count: usize) -> __m256i {
        let lanes = _mm256_setr_epi64x(0, 1, 2, 3);
        _mm256_cmpgt_epi64(_mm256_set1_epi64x(count as i64), lanes)
    }

    /// As bits of a mask register.
    #[inline(always)]
    fn first_bits(count: usize) -> u16 {
        ((1u32 << count) - 1) as u16
    }

    macro_rules! vector {
        ($($vector:ty: $lanes:literal $element:ty, $load:path, $store:path, $splat:path, $add:path, $sub:path,
            $mul:path, $mul_add:path, $max:path, $first:expr, |$from:ident, $mask:ident| $load_first:expr,
            |$to:ident, $kept:ident, $x:ident| $store_first:expr;)*) => {$(
            impl Vector for $vector {
                type Element = $element;
                const LANES: usize = $lanes;
                #[inline(always)]
                unsafe fn load(from: *const $element) -> Self {
                    // SAFETY: the caller's promise, here and below.
                    unsafe { $load(from) }
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut $element) {
                    // SAFETY: as above.
                    unsafe { $store(to, self) }
                }
                #[inline(always)]
                unsafe fn load_first($from: *const $element, count: usize) -> Self {
                    // SAFETY: the mask has so many ones; no other element is touched.
                    unsafe {
                        let $mask = $first(count);
                        $load_first
                    }
                }
                #[inline(always)]
                unsafe fn store_first(self, $to: *mut $element, count: usize) {
                    // SAFETY: as above.
                    unsafe {
                        let ($kept, $x) = ($first(count), self);
                        $store_first
                    }
                }
                #[inline(always)]
                unsafe fn splat(x: $element) -> Self {
                    // SAFETY: as above.
                    unsafe { $splat(x) }
                }
                #[inline(always)]
                unsafe fn add(self, other: Self) -> Self {
                    // SAFETY: as above.
                    unsafe { $add(self, other) }
                }
                #[inline(always)]
                unsafe fn sub(self, other: Self) -> Self {
                    // SAFETY: as above.
                    unsafe { $sub(self, other) }
                }
                #[inline(always)]
                unsafe fn mul(self, other: Self) -> Self {
                    // SAFETY: as above.
                    unsafe { $mul(self, other) }
                }
                #[inline(always)]
                unsafe fn mul_add(self, factor: Self, term: Self) -> Self {
                    // SAFETY: as above.
                    unsafe { $mul_add(self, factor, term) }
                }
                #[inline(always)]
                unsafe fn rectify(self) -> Self {
                    // The instruction returns its second operand if one is NaN.
                    // SAFETY: as above.
                    unsafe { $max($splat(0.0), self) }
                }
            }
        )*};
    }
    vector! {
        __m256: 8 f32, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_set1_ps, _mm256_add_ps, _mm256_sub_ps,
            _mm256_mul_ps, _mm256_fmadd_ps, _mm256_max_ps, first_8, |from, mask| _mm256_maskload_ps(from, mask),
            |to, mask, x| _mm256_maskstore_ps(to, mask, x);
        __m256d: 4 f64, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_set1_pd, _mm256_add_pd, _mm256_sub_pd,
            _mm256_mul_pd, _mm256_fmadd_pd, _mm256_max_pd, first_4, |from, mask| _mm256_maskload_pd(from, mask),
            |to, mask, x| _mm256_maskstore_pd(to, mask, x);
        __m512: 16 f32, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_set1_ps, _mm512_add_ps, _mm512_sub_ps,
            _mm512_mul_ps, _mm512_fmadd_ps, _mm512_max_ps, first_bits, |from, mask| _mm512_maskz_loadu_ps(mask, from),
            |to, mask, x| _mm512_mask_storeu_ps(to, mask, x);
        __m512d: 8 f64, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_set1_pd, _mm512_add_pd, _mm512_sub_pd,
            _mm512_mul_pd, _mm512_fmadd_pd, _mm512_max_pd, first_bits, |from, mask| _mm512_maskz_loadu_pd(mask as u8, from),
            |to, mask, x| _mm512_mask_storeu_pd(to, mask as u8, x);
    }
}

/// The registers of an element type.
pub trait Vectors: Copy {
    /// For AVX2.
    type Avx2: Vector<Element = Self>;
    /// For AVX-512.
    type Avx512: Vector<Element = Self>;
}

#[cfg(target_arch = "x86_64")]
impl Vectors for f32 {
    type Avx2 = std::arch::x86_64::__m256;
    type Avx512 = std::arch::x86_64::__m512;
}

#[cfg(target_arch = "x86_64")]
impl Vectors for f64 {
    type Avx2 = std::arch::x86_64::__m256d;
    type Avx512 = std::arch::x86_64::__m512d;
}

#[cfg(not(target_arch = "x86_64"))]
impl Vectors for f32 {
    type Avx2 = Plain<f32>;
    type Avx512 = Plain<f32>;
}

#[cfg(not(target_arch = "x86_64"))]
impl Vectors for f64 {
    type Avx2 = Plain<f64>;
    type Avx512 = Plain<f64>;
}

/// Compiles the body of a function, generic over the register `V`, for each level and picks at run time.
/// The body may round differently from level to level: it multiplies and adds in one.
macro_rules! vectorized {
    ($(
        $(#[$meta:meta])*
        $vis:vis unsafe fn $name:ident<F, V $(, $generic:ident : $bound:path)*>(
            $($arg:ident : $ty:ty),* $(,)?
        ) $body:block
    )*) => {$(
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis unsafe fn $name<F: $crate::Scalar $(, $generic: $bound)*>($($arg: $ty),*) {
            #[allow(clippy::too_many_arguments)]
            #[inline(always)]
            unsafe fn body<F: $crate::Scalar, V: $crate::kernels::vector::Vector<Element = F> $(, $generic: $bound)*>(
                $($arg: $ty),*
            ) {
                // SAFETY: the caller's promise.
                unsafe { $body }
            }

            #[cfg(target_arch = "x86_64")]
            {
                #[allow(clippy::too_many_arguments)]
                #[target_feature(enable = "avx2,fma")]
                unsafe fn avx2<F: $crate::Scalar $(, $generic: $bound)*>($($arg: $ty),*) {
                    // SAFETY: the caller's promise.
                    unsafe { body::<F, F::Avx2 $(, $generic)*>($($arg),*) }
                }
                #[allow(clippy::too_many_arguments)]
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                unsafe fn avx512<F: $crate::Scalar $(, $generic: $bound)*>($($arg: $ty),*) {
                    // SAFETY: the caller's promise.
                    unsafe { body::<F, F::Avx512 $(, $generic)*>($($arg),*) }
                }
                match $crate::kernels::simd::level() {
                    // SAFETY: `level` returns this only where the processor has these features.
                    $crate::kernels::simd::Level::Avx512 => return unsafe { avx512::<F $(, $generic)*>($($arg),*) },
                    // SAFETY: as above.
                    $crate::kernels::simd::Level::Avx2 => return unsafe { avx2::<F $(, $generic)*>($($arg),*) },
                    $crate::kernels::simd::Level::Portable => {}
                }
            }
            // SAFETY: every processor has these.
            unsafe { body::<F, $crate::kernels::vector::Plain<F> $(, $generic)*>($($arg),*) }
        }
    )*};
}
pub(crate) use vectorized;
