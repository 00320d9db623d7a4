//! What samples are compared with.

use std::fmt::Debug;
use std::ops::{Deref, Range};

use ndarray::{ArrayD, ArrayRef, ArrayViewD, Axis, IxDyn, Slice};

use crate::Scalar;

/// Targets of a data set: `Vec<usize>` for class indices, `ArrayD` for values.
pub trait Targets: Debug + Send + Sync {
    /// What a [`crate::Loss`] takes.
    type Target: ?Sized;
    /// The targets of one batch.
    type View<'a>: Deref<Target = Self::Target> + Debug
    where
        Self: 'a;

    /// Number of samples.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Room for the targets of `rows` samples.
    fn room(&self, rows: usize) -> Self;

    /// Copies the targets of these samples, all in range, to the places of `into` from `at` on.
    fn gather(&self, rows: &[usize], into: &mut Self, at: usize);

    /// The targets of these samples, all in range.
    fn range(&self, rows: Range<usize>) -> Self::View<'_>;

    /// The first `rows` targets.
    fn first(&self, rows: usize) -> Self::View<'_> {
        self.range(0..rows)
    }
}

impl Targets for Vec<usize> {
    type Target = [usize];
    type View<'a> = &'a [usize];

    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn room(&self, rows: usize) -> Self {
        vec![0; rows]
    }

    fn gather(&self, rows: &[usize], into: &mut Self, at: usize) {
        for (into, &row) in into.iter_mut().skip(at).zip(rows) {
            *into = self[row];
        }
    }

    fn range(&self, rows: Range<usize>) -> &[usize] {
        &self[rows]
    }
}

impl<F: Scalar> Targets for ArrayD<F> {
    type Target = ArrayRef<F, IxDyn>;
    type View<'a> = ArrayViewD<'a, F>;

    fn len(&self) -> usize {
        self.shape().first().copied().unwrap_or(0)
    }

    fn room(&self, rows: usize) -> Self {
        let mut shape = self.raw_dim();
        shape[0] = rows;
        ArrayD::zeros(shape)
    }

    fn gather(&self, rows: &[usize], into: &mut Self, at: usize) {
        for (mut into, &row) in into.outer_iter_mut().skip(at).zip(rows) {
            into.assign(&self.index_axis(Axis(0), row));
        }
    }

    fn range(&self, rows: Range<usize>) -> ArrayViewD<'_, F> {
        self.slice_axis(Axis(0), Slice::from(rows))
    }
}
