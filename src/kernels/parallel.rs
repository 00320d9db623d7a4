//! The one place that names rayon.
//!
//! Work is cut into pieces whose size is a constant of the problem, never of the thread count, so that
//! any number of threads gives the same bits. Without the `rayon` feature everything runs on the calling
//! thread. Work too small to pay for a second thread stays on the calling thread.

use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, TryLockError};

/// An estimate of how long a piece of work takes on one thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost(usize);

impl Cost {
    /// Handing work to another thread of the pool takes 1 µs if that is awake and 12 to 40 µs if not; below this it does
    /// not pay.
    pub const WORTH: Cost = Cost(50_000);
    /// A thread outside the pool hands over all of its work and sleeps meanwhile, which takes 20 to 75 µs.
    const WORTH_ENTERING: Cost = Cost(100_000);

    /// `n` multiply-adds in a register kernel: about 50 a nanosecond.
    pub fn mul_adds(n: usize) -> Self {
        Self(n / 50)
    }

    /// `n` elements read or written: about 8 a nanosecond.
    pub fn elements(n: usize) -> Self {
        Self(n / 8)
    }

    /// `n` calls of a transcendental function: about 4 nanoseconds each.
    pub fn functions(n: usize) -> Self {
        Self(n.saturating_mul(4))
    }

    fn pays(self) -> bool {
        self >= Self::WORTH
            && !ALONE.get()
            && threads() > 1
            && (self >= Self::WORTH_ENTERING || in_pool())
    }
}

impl std::ops::Add for Cost {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

thread_local! {
    /// Whether this thread works without a pool.
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` on the calling thread alone. A thread outside the caller's pool would else wake rayon's
/// global one, which the program may not want.
pub fn alone<R>(work: impl FnOnce() -> R) -> R {
    let before = ALONE.replace(true);
    let result = work();
    ALONE.set(before);
    result
}

/// Whether the caller is one of a pool's threads.
fn in_pool() -> bool {
    #[cfg(feature = "rayon")]
    return rayon::current_thread_index().is_some();
    #[cfg(not(feature = "rayon"))]
    false
}

/// Threads of the pool that the caller is in.
pub fn threads() -> usize {
    #[cfg(feature = "rayon")]
    return rayon::current_num_threads();
    #[cfg(not(feature = "rayon"))]
    1
}

/// Runs `work` inside the pool, so that the parallel pieces within find their way without the caller
/// sleeping and waking for each. Stays on the calling thread if it is in a pool, or if `cost` is small.
pub fn enter<R: Send>(cost: Cost, work: impl FnOnce() -> R + Send) -> R {
    #[cfg(feature = "rayon")]
    if cost.pays() && !in_pool() {
        return rayon::join(work, || ()).0;
    }
    let _ = cost;
    work()
}

fn join(a: impl FnOnce() + Send, b: impl FnOnce() + Send) {
    #[cfg(feature = "rayon")]
    rayon::join(a, b);
    #[cfg(not(feature = "rayon"))]
    {
        a();
        b();
    }
}

/// Calls `work` for every index below `count`.
pub fn each(count: usize, cost: Cost, work: impl Fn(usize) + Sync) {
    if count > 1 && cost.pays() {
        split_range(0, count, &work);
    } else {
        (0..count).for_each(work);
    }
}

fn split_range(from: usize, to: usize, work: &(impl Fn(usize) + Sync)) {
    match to - from {
        0 => {}
        1 => work(from),
        len => {
            let middle = from + len / 2;
            join(|| split_range(from, middle, work), || split_range(middle, to, work));
        }
    }
}

/// Calls `work` for every index below `count` with one of the equal sections of `scratch`. There are
/// never more sections in use than threads; which one a call gets is not defined.
pub fn each_with<T: Send>(
    count: usize,
    cost: Cost,
    scratch: &mut [T],
    section: usize,
    work: impl Fn(usize, &mut [T]) + Sync,
) {
    debug_assert!(section == 0 || scratch.len() >= section);
    if count <= 1 || !cost.pays() {
        let section = &mut scratch[..section];
        return (0..count).for_each(|i| work(i, section));
    }
    let mut sections = scratch.chunks_exact_mut(section.max(1));
    // On the stack: a step allocates nothing.
    let slots: [Mutex<&mut [T]>; MAX_SECTIONS] =
        std::array::from_fn(|_| Mutex::new(sections.next().unwrap_or_default()));
    let available = sections_for(count).min(MAX_SECTIONS);
    split_range(0, count, &|i| {
        let mut slot = free_slot(&slots[..available], section);
        work(i, &mut slot[..section]);
    });
}

/// Most sections of scratch memory in use at once; more threads than that wait for one another.
const MAX_SECTIONS: usize = 64;

/// How many sections [`each_with`] needs for `count` calls in this pool.
pub fn sections_for(count: usize) -> usize {
    threads().min(count).clamp(1, MAX_SECTIONS)
}

fn free_slot<'s, 'm, T>(
    slots: &'s [Mutex<&'m mut [T]>],
    section: usize,
) -> MutexGuard<'s, &'m mut [T]> {
    #[cfg(feature = "rayon")]
    let first = rayon::current_thread_index().unwrap_or(0);
    #[cfg(not(feature = "rayon"))]
    let first = 0;
    loop {
        for i in 0..slots.len() {
            match slots[(first + i) % slots.len()].try_lock() {
                Ok(slot) if slot.len() >= section => return slot,
                // A panic elsewhere left plain numbers behind: they are unspecified anyway.
                Err(TryLockError::Poisoned(slot)) if slot.get_ref().len() >= section => {
                    return slot.into_inner();
                }
                _ => {}
            }
        }
        std::thread::yield_now();
    }
}

/// Equal pieces of one or several arrays, to be worked on by [`chunks`]. A tuple is cut alike.
pub trait Pieces: Send + Sized {
    /// One piece.
    type Piece;
    /// Number of pieces.
    fn count(&self) -> usize;
    /// The first `at` pieces and the rest.
    fn split(self, at: usize) -> (Self, Self);
    /// The only piece.
    fn piece(self) -> Self::Piece;
}

/// Pieces of `size` elements to be read; the last may be shorter.
#[derive(Debug, Clone, Copy)]
pub struct Read<'a, T>(pub &'a [T], pub usize);

/// Pieces of `size` elements to be written; the last may be shorter.
#[derive(Debug)]
pub struct Write<'a, T>(pub &'a mut [T], pub usize);

impl<'a, T: Sync> Pieces for Read<'a, T> {
    type Piece = &'a [T];
    fn count(&self) -> usize {
        self.0.len().div_ceil(self.1.max(1))
    }
    fn split(self, at: usize) -> (Self, Self) {
        let (first, rest) = self.0.split_at((at * self.1).min(self.0.len()));
        (Self(first, self.1), Self(rest, self.1))
    }
    fn piece(self) -> &'a [T] {
        self.0
    }
}

impl<'a, T: Send> Pieces for Write<'a, T> {
    type Piece = &'a mut [T];
    fn count(&self) -> usize {
        self.0.len().div_ceil(self.1.max(1))
    }
    fn split(self, at: usize) -> (Self, Self) {
        let middle = (at * self.1).min(self.0.len());
        let (first, rest) = self.0.split_at_mut(middle);
        (Self(first, self.1), Self(rest, self.1))
    }
    fn piece(self) -> &'a mut [T] {
        self.0
    }
}

macro_rules! tuple_pieces {
    ($($name:ident $index:tt),*) => {
        impl<$($name: Pieces),*> Pieces for ($($name,)*) {
            type Piece = ($($name::Piece,)*);
            fn count(&self) -> usize {
                self.0.count()
            }
            fn split(self, at: usize) -> (Self, Self) {
                let halves = ($(self.$index.split(at),)*);
                (($(halves.$index.0,)*), ($(halves.$index.1,)*))
            }
            fn piece(self) -> Self::Piece {
                ($(self.$index.piece(),)*)
            }
        }
    };
}
tuple_pieces!(A 0, B 1);
tuple_pieces!(A 0, B 1, C 2);
tuple_pieces!(A 0, B 1, C 2, D 3);

/// Calls `work` with the index and the content of every piece.
pub fn chunks<P: Pieces>(pieces: P, cost: Cost, work: impl Fn(usize, P::Piece) + Sync) {
    let parallel = pieces.count() > 1 && cost.pays();
    split_pieces(0, pieces, parallel, &work);
}

fn split_pieces<P: Pieces>(
    first: usize,
    pieces: P,
    parallel: bool,
    work: &(impl Fn(usize, P::Piece) + Sync),
) {
    match pieces.count() {
        0 => {}
        1 => work(first, pieces.piece()),
        count if parallel => {
            let middle = count / 2;
            let (left, right) = pieces.split(middle);
            join(
                || split_pieces(first, left, true, work),
                || split_pieces(first + middle, right, true, work),
            );
        }
        count => {
            let mut rest = pieces;
            for i in 0..count {
                let (piece, tail) = rest.split(1);
                work(first + i, piece.piece());
                rest = tail;
            }
        }
    }
}

/// Copies a slice.
pub fn copy<T: Copy + Send + Sync>(from: &[T], to: &mut [T]) {
    /// Elements of a task.
    const PIECE: usize = 32 * 1024;
    chunks((Read(from, PIECE), Write(to, PIECE)), Cost::elements(from.len()), |_, (from, to)| {
        to.copy_from_slice(from);
    });
}

/// A mutable slice that several tasks write to at places they know to be disjoint, where the places
/// are not contiguous: columns of a matrix, one channel of every image.
#[derive(Debug, Clone, Copy)]
pub struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    owner: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for an exclusive borrow of the slice; `at` makes every task promise disjointness.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// Takes over the borrow of `slice`.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), owner: std::marker::PhantomData }
    }

    /// A pointer to element `from`, of which `len` elements are inside the slice. Unlike [`Shared::at`] it
    /// borrows nothing: a task may use it for a range in which others own elements too.
    ///
    /// # Panics
    /// If the range is outside the slice.
    #[inline]
    pub fn pointer(&self, from: usize, len: usize) -> *mut T {
        assert!(from <= self.len && len <= self.len - from, "a task stays inside its slice");
        // SAFETY: in range by the assert above.
        unsafe { self.start.add(from) }
    }

    /// The elements `from .. from + len`.
    ///
    /// # Safety
    /// No other task touches these elements while the result lives.
    ///
    /// # Panics
    /// If the range is outside the slice.
    #[inline]
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn at(&self, from: usize, len: usize) -> &mut [T] {
        // SAFETY: in range by the check within, exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(from, len), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_is_called_once() {
        for count in [0, 1, 2, 7, 100] {
            let calls: Vec<Mutex<usize>> = (0..count).map(|_| Mutex::new(0)).collect();
            each(count, Cost(usize::MAX), |i| *calls[i].lock().unwrap() += 1);
            assert!(calls.iter().all(|n| *n.lock().unwrap() == 1));
        }
    }

    #[test]
    fn every_call_has_a_section_of_its_own() {
        let mut scratch = vec![0usize; 3 * sections_for(50)];
        let total = Mutex::new(0);
        each_with(50, Cost(usize::MAX), &mut scratch, 3, |i, section| {
            section.fill(i);
            std::thread::yield_now();
            assert_eq!(section, [i; 3]);
            *total.lock().unwrap() += i;
        });
        assert_eq!(*total.lock().unwrap(), 49 * 25);
    }

    #[test]
    fn chunks_are_cut_alike_and_the_last_is_shorter() {
        for cost in [Cost(0), Cost(usize::MAX)] {
            let (mut a, b) = (vec![0; 10], (0..20).collect::<Vec<usize>>());
            chunks((Write(&mut a, 3), Read(&b, 6)), cost, |i, (a, b)| {
                assert_eq!(b[0], 6 * i);
                assert_eq!(b.len(), 2 * a.len());
                a.fill(i);
            });
            assert_eq!(a, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]);
        }
    }

    #[test]
    fn shared_refuses_what_is_outside() {
        let mut data = [0; 4];
        let shared = Shared::new(&mut data);
        // SAFETY: one task only.
        assert!(std::panic::catch_unwind(|| unsafe { shared.at(3, 2).len() }).is_err());
        // SAFETY: one task only.
        assert!(std::panic::catch_unwind(|| unsafe { shared.at(usize::MAX, 2).len() }).is_err());
    }
}
