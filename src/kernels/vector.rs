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
    /// Elements `first .. end` from memory, none beyond `LANES`, and zeros: no others are read, so `from` itself may lie
    /// outside.
    unsafe fn load_within(from: *const Self::Element, first: usize, end: usize) -> Self;
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
    /// The larger of each; that of `other` where one is NaN.
    unsafe fn larger(self, other: Self) -> Self;
    /// Of the elements of `self` and then `other`, those at even places and those at odd ones.
    unsafe fn unzip(self, other: Self) -> [Self; 2];
    /// Elements of `self` and `other` in turn: what [`Vector::unzip`] takes apart.
    unsafe fn zip(self, other: Self) -> [Self; 2];
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
    unsafe fn load_within(from: *const F, first: usize, end: usize) -> Self {
        let mut lanes = [F::zero(); 4];
        for (i, lane) in lanes.iter_mut().enumerate().take(end).skip(first) {
            // SAFETY: the caller promises these elements.
            *lane = unsafe { *from.wrapping_add(i) };
        }
        Self(lanes)
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
    #[inline(always)]
    unsafe fn larger(self, other: Self) -> Self {
        let larger = |i: usize| if self.0[i] > other.0[i] { self.0[i] } else { other.0[i] };
        Self(std::array::from_fn(larger))
    }
    #[inline(always)]
    unsafe fn unzip(self, other: Self) -> [Self; 2] {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        [Self([a, c, e, g]), Self([b, d, f, h])]
    }
    #[inline(always)]
    unsafe fn zip(self, other: Self) -> [Self; 2] {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        [Self([a, e, b, f]), Self([c, g, d, h])]
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Vector;
    use std::arch::x86_64::*;

    /// Ones in lanes `first .. end` of 8 of 32 bits.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn within_8(first: usize, end: usize) -> __m256i {
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let before = _mm256_cmpgt_epi32(_mm256_set1_epi32(first as i32), lanes);
        _mm256_andnot_si256(before, _mm256_cmpgt_epi32(_mm256_set1_epi32(end as i32), lanes))
    }

    /// The same in 4 lanes of 64 bits.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn within_4(first: usize, end: usize) -> __m256i {
        let lanes = _mm256_setr_epi64x(0, 1, 2, 3);
        let before = _mm256_cmpgt_epi64(_mm256_set1_epi64x(first as i64), lanes);
        _mm256_andnot_si256(before, _mm256_cmpgt_epi64(_mm256_set1_epi64x(end as i64), lanes))
    }

    /// As bits of a mask register.
    #[inline(always)]
    fn within_bits(first: usize, end: usize) -> u16 {
        (((1u32 << end) - 1) & !((1u32 << first) - 1)) as u16
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn unzip_8(a: __m256, b: __m256) -> [__m256; 2] {
        // Halves of registers in turn, to be sorted.
        let sort = |x: __m256| {
            _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(x)))
        };
        [
            sort(_mm256_shuffle_ps::<0b10_00_10_00>(a, b)),
            sort(_mm256_shuffle_ps::<0b11_01_11_01>(a, b)),
        ]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn zip_8(a: __m256, b: __m256) -> [__m256; 2] {
        let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        [_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high)]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn unzip_4(a: __m256d, b: __m256d) -> [__m256d; 2] {
        [
            _mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_unpacklo_pd(a, b)),
            _mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_unpackhi_pd(a, b)),
        ]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn zip_4(a: __m256d, b: __m256d) -> [__m256d; 2] {
        let (low, high) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
        [_mm256_permute2f128_pd::<0x20>(low, high), _mm256_permute2f128_pd::<0x31>(low, high)]
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn unzip_16(a: __m512, b: __m512) -> [__m512; 2] {
        let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
        let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
        [_mm512_permutex2var_ps(a, even, b), _mm512_permutex2var_ps(a, odd, b)]
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn zip_16(a: __m512, b: __m512) -> [__m512; 2] {
        let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        [_mm512_permutex2var_ps(a, low, b), _mm512_permutex2var_ps(a, high, b)]
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn unzip_8_wide(a: __m512d, b: __m512d) -> [__m512d; 2] {
        let even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
        let odd = _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15);
        [_mm512_permutex2var_pd(a, even, b), _mm512_permutex2var_pd(a, odd, b)]
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn zip_8_wide(a: __m512d, b: __m512d) -> [__m512d; 2] {
        let low = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
        let high = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
        [_mm512_permutex2var_pd(a, low, b), _mm512_permutex2var_pd(a, high, b)]
    }

    macro_rules! vector {
        ($($vector:ty: $lanes:literal $element:ty, $load:path, $store:path, $splat:path, $add:path, $sub:path,
            $mul:path, $mul_add:path, $max:path, $unzip:path, $zip:path, $within:path, |$from:ident, $mask:ident| $load_first:expr,
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
                        let $mask = $within(0, count);
                        $load_first
                    }
                }
                #[inline(always)]
                unsafe fn load_within($from: *const $element, first: usize, end: usize) -> Self {
                    // SAFETY: the mask has ones for these elements alone.
                    unsafe {
                        let $mask = $within(first, end);
                        $load_first
                    }
                }
                #[inline(always)]
                unsafe fn store_first(self, $to: *mut $element, count: usize) {
                    // SAFETY: as above.
                    unsafe {
                        let ($kept, $x) = ($within(0, count), self);
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
                #[inline(always)]
                unsafe fn larger(self, other: Self) -> Self {
                    // SAFETY: as above.
                    unsafe { $max(self, other) }
                }
                #[inline(always)]
                unsafe fn unzip(self, other: Self) -> [Self; 2] {
                    // SAFETY: as above.
                    unsafe { $unzip(self, other) }
                }
                #[inline(always)]
                unsafe fn zip(self, other: Self) -> [Self; 2] {
                    // SAFETY: as above.
                    unsafe { $zip(self, other) }
                }
            }
        )*};
    }
    vector! {
        __m256: 8 f32, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_set1_ps, _mm256_add_ps, _mm256_sub_ps,
            _mm256_mul_ps, _mm256_fmadd_ps, _mm256_max_ps, unzip_8, zip_8, within_8, |from, mask| _mm256_maskload_ps(from, mask),
            |to, mask, x| _mm256_maskstore_ps(to, mask, x);
        __m256d: 4 f64, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_set1_pd, _mm256_add_pd, _mm256_sub_pd,
            _mm256_mul_pd, _mm256_fmadd_pd, _mm256_max_pd, unzip_4, zip_4, within_4, |from, mask| _mm256_maskload_pd(from, mask),
            |to, mask, x| _mm256_maskstore_pd(to, mask, x);
        __m512: 16 f32, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_set1_ps, _mm512_add_ps, _mm512_sub_ps,
            _mm512_mul_ps, _mm512_fmadd_ps, _mm512_max_ps, unzip_16, zip_16, within_bits, |from, mask| _mm512_maskz_loadu_ps(mask, from),
            |to, mask, x| _mm512_mask_storeu_ps(to, mask, x);
        __m512d: 8 f64, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_set1_pd, _mm512_add_pd, _mm512_sub_pd,
            _mm512_mul_pd, _mm512_fmadd_pd, _mm512_max_pd, unzip_8_wide, zip_8_wide, within_bits, |from, mask| _mm512_maskz_loadu_pd(mask as u8, from),
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

#[cfg(test)]
mod tests {
    use crate::Scalar;
    use crate::kernels::simd;

    vectorized! {
        /// Numbers 1, 2, … taken apart, put together, and read in part.
        unsafe fn rearranged<F, V>(out: &mut Vec<Vec<f64>>) {
            let numbers: [F; 32] = std::array::from_fn(|i| F::lit((i + 1) as f64));
            let mut keep = |x: V| {
                let mut lanes = vec![F::zero(); V::LANES];
                x.store(lanes.as_mut_ptr());
                out.push(lanes.iter().map(|x| x.widen()).collect());
            };
            let (a, b) = (V::load(numbers.as_ptr()), V::load(numbers.as_ptr().add(V::LANES)));
            a.unzip(b).into_iter().for_each(&mut keep);
            a.zip(b).into_iter().for_each(&mut keep);
            // The first element lies before the slice, the last one behind it.
            keep(V::load_within(numbers.as_ptr().wrapping_sub(1), 1, V::LANES));
            keep(V::load_within(numbers.as_ptr().wrapping_add(31), 0, 1));
            keep(V::load_within(numbers.as_ptr(), V::LANES, V::LANES));
        }
    }

    fn rearranges<F: Scalar>() {
        let mut got = Vec::new();
        // SAFETY: it reads and writes its own arrays.
        unsafe { rearranged::<F>(&mut got) };
        let lanes = got[0].len();
        let number = |i: usize| (i + 1) as f64;
        let mut want: Vec<Vec<f64>> = vec![Vec::new(); 7];
        for i in 0..lanes {
            want[0].push(number(2 * i));
            want[1].push(number(2 * i + 1));
            for (half, want) in want[2..4].iter_mut().enumerate() {
                want.push(number((half * lanes + i) / 2 + i % 2 * lanes));
            }
            want[4].push(i as f64);
            want[5].push(if i == 0 { 32.0 } else { 0.0 });
            want[6].push(0.0);
        }
        assert_eq!(got, want);
    }

    #[test]
    fn registers_are_rearranged_and_read_in_part_at_every_level() {
        simd::at_every_level(|| {
            rearranges::<f32>();
            rearranges::<f64>();
        });
    }
}
