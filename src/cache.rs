//! What layers remember between forward and backward, and the memory they share.

use std::any::Any;
use std::fmt;

use crate::kernels::aligned::Aligned;
use crate::{Error, Result, Scalar};

/// What one layer remembers between its forward and its backward: a value of the layer's own type,
/// made once and reused ever after.
///
/// ```
/// use layerwise::Cache;
///
/// let mut cache = Cache::default();
/// assert!(cache.get::<Vec<u32>>().is_err());
/// cache.get_or_default::<Vec<u32>>().push(3);
/// assert_eq!(cache.get::<Vec<u32>>().unwrap(), &[3]);
/// ```
#[derive(Default)]
pub struct Cache(Option<Box<dyn Any + Send + Sync>>);

impl Cache {
    /// This layer's value, made by `Default` on first use. A value of another type is replaced.
    pub fn get_or_default<T: Any + Send + Sync + Default>(&mut self) -> &mut T {
        if !self.0.as_ref().is_some_and(|value| value.is::<T>()) {
            self.0 = Some(Box::<T>::default());
        }
        self.0
            .as_mut()
            .and_then(|value| value.downcast_mut())
            .expect("the value was made just above")
    }

    /// The value stored by the last forward.
    ///
    /// # Errors
    /// [`Error::BackwardBeforeForward`] if nothing of this type was stored.
    pub fn get<T: Any>(&self) -> Result<&T> {
        self.0.as_ref().and_then(|value| value.downcast_ref()).ok_or(Error::BackwardBeforeForward)
    }

    /// The value stored by the last forward, to be changed.
    ///
    /// # Errors
    /// [`Error::BackwardBeforeForward`] if nothing of this type was stored.
    pub fn get_mut<T: Any>(&mut self) -> Result<&mut T> {
        self.0.as_mut().and_then(|value| value.downcast_mut()).ok_or(Error::BackwardBeforeForward)
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Cache(filled)" } else { "Cache(empty)" })
    }
}

/// Working memory for one layer's pass, shared by all layers of a model. It only grows, and its
/// contents are unspecified.
///
/// ```
/// use layerwise::Scratch;
///
/// let mut scratch = Scratch::<f32>::default();
/// let [a, b] = scratch.take([3, 5]);
/// assert_eq!((a.len(), b.len()), (3, 5));
/// ```
#[derive(Default)]
pub struct Scratch<F: Scalar = f32>(Aligned<F>);

/// Sections start on cache lines of their own: 16 elements of 4 or 8 bytes.
const ALIGN: usize = 16;

impl<F: Scalar> Scratch<F> {
    /// Disjoint sections of the given lengths.
    pub fn take<const N: usize>(&mut self, lens: [usize; N]) -> [&mut [F]; N] {
        let total: usize = lens.iter().map(|len| len.next_multiple_of(ALIGN)).sum();
        assert!(self.0.try_grow(total), "there is memory for {total} elements of scratch");
        let mut rest = &mut self.0[..];
        lens.map(|len| {
            let (section, tail) =
                std::mem::take(&mut rest).split_at_mut(len.next_multiple_of(ALIGN));
            rest = tail;
            &mut section[..len]
        })
    }

    /// Fills all of it with `value`, so that a test sees who reads what nobody wrote.
    pub(crate) fn poison(&mut self, at_least: usize, value: F) {
        assert!(self.0.try_grow(at_least), "there is memory for {at_least} elements of scratch");
        self.0.fill(value);
    }
}

impl<F: Scalar> fmt::Debug for Scratch<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scratch({} elements)", self.0.len())
    }
}
