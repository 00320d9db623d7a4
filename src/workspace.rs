//! All memory one pass needs.

use std::fmt;
use std::ops::DerefMut;

use ndarray::{ArrayBase, ArrayView, ArrayViewMut, Data, Dimension, IxDyn};

use crate::kernels::aligned::Aligned;
use crate::kernels::norm::Line;
use crate::{Cache, Error, Kept, Mode, Result, Scalar, Scratch, Seed, Shape, View, ViewMut};

/// All memory one pass needs: outputs and caches of every layer, gradients, scratch.
///
/// One per thread; it grows to the largest batch seen, then never again. A model owns one for training
/// (empty until the first `forward`, not cloned with the model);
/// [`crate::Sequential::predict_with`] takes the caller's, and there layers keep their weights in the order
/// that kernels read them in, until the model's values change. It may serve several models in turn, at the
/// price of arranging weights again at each change.
///
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([4]).add(Linear::new(2)).build()?;
/// let mut workspace = Workspace::new();
/// let x = Array2::zeros((3, 4)).into_dyn();
/// for _ in 0..10 {
///     let y = model.predict_with(x.view(), &mut workspace)?; // allocates in the first round only
///     assert_eq!(y.shape(), [3, 2]);
/// }
/// # Ok::<(), layerwise::Error>(())
/// ```
pub struct Workspace<F: Scalar = f32> {
    /// What layers compute: slot 0 is the input.
    pub(crate) slots: Vec<Aligned<F>>,
    /// Two gradients: by a layer's output and by its input.
    pub(crate) grads: [Aligned<F>; 2],
    /// Gradient by the model's input, where asked for.
    pub(crate) grad_input: Aligned<F>,
    pub(crate) caches: Vec<Cache>,
    /// The mode that each layer ran in.
    pub(crate) modes: Vec<Mode>,
    pub(crate) scratch: Scratch<F>,
    /// What each layer keeps between predictions, if the workspace does.
    pub(crate) kept: Vec<Kept<F>>,
    /// See [`Workspace::lean`].
    pub(crate) keeps: bool,
    /// What a layer normalizes by on behalf of the next: working memory.
    pub(crate) lines: Vec<Line<F>>,
    /// Batch and seed of a finished forward that a backward may follow.
    pub(crate) finished: Option<(usize, Seed)>,
}

impl<F: Scalar> Workspace<F> {
    /// An empty workspace.
    pub fn new() -> Self {
        Self { keeps: true, ..Self::lean() }
    }

    /// An empty workspace in which no layer keeps its weights a second time between predictions: less
    /// memory, and every prediction arranges them anew. [`crate::Sequential::predict`] uses one.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let model = Sequential::builder([4]).add(Linear::new(2)).build()?;
    /// let (mut keeping, mut lean) = (Workspace::new(), Workspace::lean());
    /// let x = Array2::ones((8, 4));
    /// assert_eq!(model.predict_with(&x, &mut keeping)?, model.predict_with(&x, &mut lean)?);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn lean() -> Self {
        Self {
            slots: Vec::new(),
            grads: Default::default(),
            grad_input: Aligned::default(),
            caches: Vec::new(),
            modes: Vec::new(),
            scratch: Scratch::default(),
            kept: Vec::new(),
            keeps: false,
            lines: Vec::new(),
            finished: None,
        }
    }
}

/// Its size, not its contents.
impl<F: Scalar> fmt::Debug for Workspace<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let buffers = self.slots.iter().chain(&self.grads).chain([&self.grad_input]);
        let kept = self.kept.iter().map(Kept::elements).sum::<usize>();
        write!(
            f,
            "Workspace({} elements)",
            buffers.map(|buffer| buffer.len()).sum::<usize>() + kept
        )
    }
}

impl<F: Scalar> Default for Workspace<F> {
    fn default() -> Self {
        Self::new()
    }
}

/// What a model takes as a batch: a view, or a reference to an array, of any number of axes.
///
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([4]).add(Linear::new(2)).build()?;
/// let x = Array2::zeros((3, 4));
/// assert_eq!(model.predict(&x)?, model.predict(x.view())?);
/// # Ok::<(), layerwise::Error>(())
/// ```
pub trait IntoView<'a, F> {
    /// The same elements under a dynamic number of axes; nothing is copied.
    fn into_view(self) -> ndarray::ArrayViewD<'a, F>;
}

impl<'a, F, D: Dimension> IntoView<'a, F> for ArrayView<'a, F, D> {
    fn into_view(self) -> ndarray::ArrayViewD<'a, F> {
        self.into_dyn()
    }
}

impl<'a, F, S: Data<Elem = F>, D: Dimension> IntoView<'a, F> for &'a ArrayBase<S, D> {
    fn into_view(self) -> ndarray::ArrayViewD<'a, F> {
        self.view().into_dyn()
    }
}

/// A buffer that only grows.
pub(crate) trait Grow<F>: DerefMut<Target = [F]> {
    /// Grows to at least `len` elements, new ones zero. Whether there was the memory.
    fn try_grow(&mut self, len: usize) -> bool;
}

impl<F: Scalar> Grow<F> for Aligned<F> {
    fn try_grow(&mut self, len: usize) -> bool {
        self.try_grow(len)
    }
}

impl<F: Scalar> Grow<F> for Vec<F> {
    fn try_grow(&mut self, len: usize) -> bool {
        let missing = len.saturating_sub(self.len());
        let fits = self.try_reserve_exact(missing).is_ok();
        if fits && missing > 0 {
            self.resize(len, F::zero());
        }
        fits
    }
}

/// The first `batch · numel` elements of a buffer that only grows.
///
/// # Errors
/// [`Error::Memory`] if there is not so much memory.
pub(crate) fn grown<F: Scalar>(
    buffer: &mut impl Grow<F>,
    batch: usize,
    numel: usize,
) -> Result<&mut [F]> {
    let len = batch.checked_mul(numel).filter(|&len| buffer.try_grow(len));
    let len = len.ok_or(Error::Memory { batch, numel })?;
    Ok(&mut buffer[..len])
}

fn dim(batch: usize, shape: &Shape) -> IxDyn {
    // Up to four axes lie inline: no allocation.
    let mut axes = IxDyn::zeros(shape.rank() + 1);
    axes[0] = batch;
    for (axis, &len) in shape.dims().iter().enumerate() {
        axes[axis + 1] = len;
    }
    axes
}

/// A batch of samples of one shape over a slice of exactly that many elements.
pub(crate) fn view<'a, F: Scalar>(batch: usize, shape: &Shape, data: &'a [F]) -> View<'a, F> {
    // The usual ranks as such: dynamic ones are computed in loops, which small networks notice.
    match *shape.dims() {
        [len] => ArrayView::from_shape((batch, len), data).map(ArrayView::into_dyn),
        [c, h, w] => ArrayView::from_shape((batch, c, h, w), data).map(ArrayView::into_dyn),
        _ => ArrayView::from_shape(dim(batch, shape), data),
    }
    .expect("the slice was cut for this shape")
}

/// Like [`view`], to be written.
pub(crate) fn view_mut<'a, F: Scalar>(
    batch: usize,
    shape: &Shape,
    data: &'a mut [F],
) -> ViewMut<'a, F> {
    match *shape.dims() {
        [len] => ArrayViewMut::from_shape((batch, len), data).map(ArrayViewMut::into_dyn),
        [c, h, w] => ArrayViewMut::from_shape((batch, c, h, w), data).map(ArrayViewMut::into_dyn),
        _ => ArrayViewMut::from_shape(dim(batch, shape), data),
    }
    .expect("the slice was cut for this shape")
}
