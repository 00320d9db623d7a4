//! Which instructions this machine has, found out once.

use std::sync::atomic::{AtomicU8, Ordering};

/// Instruction sets that kernels are compiled for, from the plainest to the widest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// What the target always has: SSE2 on x86-64, NEON on AArch64.
    Portable = 1,
    /// AVX2 and FMA.
    Avx2 = 2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512 = 3,
}

/// 0 until the first call of [`level`].
static LEVEL: AtomicU8 = AtomicU8::new(0);

/// The level in force: the widest this machine has, unless a test forced a lower one.
#[inline]
pub fn level() -> Level {
    match LEVEL.load(Ordering::Relaxed) {
        1 => Level::Portable,
        2 => Level::Avx2,
        3 => Level::Avx512,
        _ => {
            let best = detect();
            LEVEL.store(best as u8, Ordering::Relaxed);
            best
        }
    }
}

/// Uses at most `level` from now on, in the whole process; returns what is in force. For tests.
pub fn force(level: Level) -> Level {
    let level = level.min(detect());
    LEVEL.store(level as u8, Ordering::Relaxed);
    level
}

/// Runs `test` at every level of this machine, one test at a time: the level is the process's.
#[cfg(test)]
pub(crate) fn at_every_level(test: impl Fn()) {
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    for level in available() {
        force(level);
        test();
    }
}

/// Every level that this machine can run.
pub fn available() -> impl Iterator<Item = Level> {
    let best = detect();
    [Level::Portable, Level::Avx2, Level::Avx512].into_iter().filter(move |&level| level <= best)
}

fn detect() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
        {
            return Level::Avx512;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Level::Avx2;
        }
    }
    Level::Portable
}

/// Asks for the cache lines of `len` elements, to be written soon. A hint: no address is wrong.
#[inline(always)]
pub fn prefetch<T>(from: *const T, len: usize) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..len).step_by(64 / size_of::<T>().clamp(1, 64)) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(at).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, len);
}

/// Compiles the body of a function once for each [`Level`] and picks at run time.
///
/// In the body, the constant `FUSED` says whether the level multiplies and adds in one instruction. A body that does not use
/// it contains no fused multiply-add and gives the same bits at every level.
macro_rules! multiversion {
    ($(
        $(#[$meta:meta])*
        $vis:vis fn $name:ident<F: Scalar $(, $generic:ident : $bound:path)*>(
            $($arg:ident : $ty:ty),* $(,)?
        ) $(-> $ret:ty)? $body:block
    )*) => {$(
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name<F: Scalar $(, $generic: $bound)*>($($arg: $ty),*) $(-> $ret)? {
            #[allow(clippy::too_many_arguments)]
            #[inline(always)]
            fn body<F: Scalar $(, $generic: $bound)*, const FUSED: bool>($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[allow(clippy::too_many_arguments)]
                #[target_feature(enable = "avx2,fma")]
                fn avx2<F: Scalar $(, $generic: $bound)*>($($arg: $ty),*) $(-> $ret)? {
                    body::<F $(, $generic)*, true>($($arg),*)
                }
                #[allow(clippy::too_many_arguments)]
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512<F: Scalar $(, $generic: $bound)*>($($arg: $ty),*) $(-> $ret)? {
                    body::<F $(, $generic)*, true>($($arg),*)
                }
                match $crate::kernels::simd::level() {
                    // SAFETY: `level` returns this only where the processor has these features.
                    $crate::kernels::simd::Level::Avx512 => return unsafe { avx512::<F $(, $generic)*>($($arg),*) },
                    // SAFETY: as above.
                    $crate::kernels::simd::Level::Avx2 => return unsafe { avx2::<F $(, $generic)*>($($arg),*) },
                    $crate::kernels::simd::Level::Portable => {}
                }
            }
            body::<F $(, $generic)*, { cfg!(target_arch = "aarch64") }>($($arg),*)
        }
    )*};
}
pub(crate) use multiversion;
