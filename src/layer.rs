//! The trait every layer implements, and what a pass hands to it.

use std::any::Any;
use std::fmt::Debug;

use crate::kernels::norm::Line;
use crate::{
    Cache, Init, Kept, Result, Scalar, Scratch, Seed, Shape, ShapeError, View, ViewMut, Visitor,
    VisitorMut,
};

/// Whether a pass learns or applies.
///
/// Dropout drops and batch norm uses the batch's statistics only in `Train`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// The pass is part of training.
    #[default]
    Train,
    /// The pass applies what was learned.
    Eval,
}

/// One step of a network: maps a batch to a batch and knows its own derivative.
///
/// A layer is immutable while it computes. What it must remember for its backward goes into
/// [`Forward::cache`]; its input and output need no remembering, because the model keeps them and hands
/// them to `backward`. `docs/extending.md` shows a complete layer of 30 lines, and
/// [`crate::gradcheck`] proves it right.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// /// `y = 2 x`.
/// #[derive(Debug, Clone)]
/// struct Double;
///
/// impl Layer for Double {
///     fn kind(&self) -> &'static str { "Double" }
///     fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> { Ok(input.clone()) }
///     fn forward(&self, mut pass: Forward<'_>) -> Result<()> {
///         pass.output.assign(&(&pass.input * 2.0));
///         Ok(())
///     }
///     fn backward(&mut self, pass: Backward<'_>) -> Result<()> {
///         if let Some(mut grad_input) = pass.grad_input {
///             grad_input.assign(&(&pass.grad_output * 2.0));
///         }
///         Ok(())
///     }
/// }
///
/// let model = Sequential::builder([2]).add_layer(Double).build()?;
/// let y = model.predict(&ndarray::arr2(&[[1.0, 3.0]]))?;
/// assert_eq!(y.as_slice().unwrap(), [2.0, 6.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
pub trait Layer<F: Scalar = f32>: Debug + Send + Sync + BoxClone<F> {
    /// Name of the kind, for summaries and errors: `"Conv2d"`.
    fn kind(&self) -> &'static str;

    /// Shape of one output sample for one input sample. Called when the model is built.
    ///
    /// # Errors
    /// [`ShapeError`] if the layer cannot take such an input.
    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError>;

    /// Writes every element of `pass.output` from `pass.input`.
    ///
    /// # Errors
    /// None for most layers: shapes were proven when the model was built.
    fn forward(&self, pass: Forward<'_, F>) -> Result<()>;

    /// Adds to the parameters' gradients ([`crate::Param::grad_mut`]) and writes every element of
    /// `pass.grad_input`, if asked for.
    ///
    /// # Errors
    /// [`crate::Error::BackwardBeforeForward`] if `pass.cache` does not hold what the forward left.
    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()>;

    /// Moves what a training pass learned without gradients (running statistics) from `cache` into the
    /// layer. Called after the whole model's forward succeeded.
    ///
    /// # Errors
    /// None for most layers.
    fn update_buffers(&mut self, cache: &Cache) -> Result<()> {
        let _ = cache;
        Ok(())
    }

    /// Shows every parameter and buffer, always in the same order. Written by [`crate::layer_params!`].
    fn visit(&self, visitor: &mut Visitor<'_, F>) {
        let _ = visitor;
    }

    /// Like [`Layer::visit`], and the visitor may change what it sees.
    fn visit_mut(&mut self, visitor: &mut VisitorMut<'_, F>) {
        let _ = visitor;
    }

    /// Whether this layer can apply `max(0, ·)` to its output in its own last pass, and its derivative in its
    /// first pass backward. A model then lets it do the work of a [`Relu`](crate::activations::Relu) that follows.
    fn applies_relu(&self) -> bool {
        false
    }

    /// Whether this layer can normalize each channel of its output by [`Forward::lines`] in its own last pass. In a
    /// prediction a model then lets it do the work of a [`BatchNorm`](crate::layers::BatchNorm) that follows.
    #[doc(hidden)]
    fn applies_lines(&self) -> bool {
        false
    }

    /// In eval mode: writes the line that each channel follows, if that is all this layer does.
    #[doc(hidden)]
    fn eval_lines(&self, lines: &mut Vec<Line<F>>) -> bool {
        let _ = lines;
        false
    }

    /// Whether this layer is `max(0, ·)`, element by element, which the layer below may apply.
    #[doc(hidden)]
    fn is_relu(&self) -> bool {
        false
    }

    /// Whether the output is the input's elements in the same order under another shape. The model then
    /// passes the memory on and calls neither `forward` nor `backward`.
    fn only_reshapes(&self) -> bool {
        false
    }

    /// Whether this layer passes its input on in eval mode: [`crate::Sequential::into_inference`] leaves it out.
    fn only_trains(&self) -> bool {
        false
    }

    /// In eval mode: a factor and a shift for each channel, if that is all this layer does.
    /// [`crate::Sequential::into_inference`] makes it part of the layer below.
    fn eval_affine(&self) -> Option<(Vec<F>, Vec<F>)> {
        None
    }

    /// Multiplies and shifts each channel of this layer's output from now on, by changing its parameters. False, and nothing
    /// changed, if that cannot be done.
    fn absorb_affine(&mut self, scale: &[F], shift: &[F]) -> bool {
        let _ = (scale, shift);
        false
    }

    /// Prepares the layers inside this one for [`crate::Sequential::into_inference`].
    ///
    /// # Errors
    /// None for most layers.
    fn prepare_inference(&mut self) -> Result<()> {
        Ok(())
    }

    /// What this layer is made of now, if that may differ from its spec.
    #[cfg(feature = "serde")]
    #[doc(hidden)]
    fn inner_record(&self) -> Option<crate::persist::Record> {
        None
    }

    /// Whether this layer holds layers of its own and decides about each of them what freezing means.
    /// Any other layer runs in [`Mode::Eval`] once all its parameters are frozen.
    fn is_container(&self) -> bool {
        false
    }
}

/// What a layer gets in its forward pass.
///
/// A model hands over arrays in row-major order, batch axis first; a layer called by hand may get any
/// layout.
#[derive(Debug)]
#[non_exhaustive]
pub struct Forward<'a, F: Scalar = f32> {
    /// `[batch, ..input shape]`
    pub input: View<'a, F>,
    /// `[batch, ..output shape]`; its contents are unspecified on entry.
    pub output: ViewMut<'a, F>,
    /// Survives until the backward; the layer's own.
    pub cache: &'a mut Cache,
    /// Does not survive; shared by all layers.
    pub scratch: &'a mut Scratch<F>,
    /// Train or eval, for this layer.
    pub mode: Mode,
    /// This layer's randomness in this pass; the backward gets the same.
    pub seed: Seed,
    /// Where to keep what is computed from the parameters alone: `None` in training, where they change with
    /// each step, and in a pass that will not be repeated.
    pub kept: Option<&'a mut Kept<F>>,
    /// Whether a backward may follow. If not, nothing needs to be left in `cache`.
    pub remember: bool,
    /// Whether to write `max(0, ·)` of the output: only if [`Layer::applies_relu`].
    pub relu: bool,
    /// What each channel of the output is normalized by before that: only if [`Layer::applies_lines`].
    pub(crate) lines: Option<&'a [Line<F>]>,
}

impl<'a, F: Scalar> Forward<'a, F> {
    /// A training pass to call a layer with by hand, in a test or a bench of your own layer.
    ///
    /// ```
    /// use layerwise::Scratch;
    /// use layerwise::prelude::*;
    ///
    /// let mut layer: Box<dyn Layer> = Dropout::new(0.5).build(&[4].into(), &mut Init::new(Seed::new(1)))?;
    /// let (x, mut y, mut dx) = (Array2::ones((1, 4)).into_dyn(), ArrayD::zeros(vec![1, 4]), ArrayD::zeros(vec![1, 4]));
    /// let (mut cache, mut scratch, seed) = (Cache::default(), Scratch::default(), Seed::new(2));
    /// layer.forward(Forward::new(x.view(), y.view_mut(), &mut cache, &mut scratch, seed))?;
    /// assert!(y.iter().all(|&y| y == 0.0 || y == 2.0));
    /// let pass = Backward::new(x.view(), y.view(), x.view(), Some(dx.view_mut()), &mut cache, &mut scratch, seed);
    /// layer.backward(pass)?;
    /// assert_eq!(dx, y); // the same mask
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn new(
        input: View<'a, F>,
        output: ViewMut<'a, F>,
        cache: &'a mut Cache,
        scratch: &'a mut Scratch<F>,
        seed: Seed,
    ) -> Self {
        let (mode, kept, remember, relu, lines) = (Mode::Train, None, true, false, None);
        Self { input, output, cache, scratch, mode, seed, kept, remember, relu, lines }
    }
}

/// What a layer gets in its backward pass.
#[derive(Debug)]
#[non_exhaustive]
pub struct Backward<'a, F: Scalar = f32> {
    /// The forward's input.
    pub input: View<'a, F>,
    /// The forward's output.
    pub output: View<'a, F>,
    /// Gradient of the loss by the output.
    pub grad_output: View<'a, F>,
    /// Where to write the gradient of the loss by the input; `None` if nobody below needs it.
    pub grad_input: Option<ViewMut<'a, F>>,
    /// What the forward left.
    pub cache: &'a mut Cache,
    /// Does not survive; shared by all layers.
    pub scratch: &'a mut Scratch<F>,
    /// The forward's mode.
    pub mode: Mode,
    /// The forward's seed.
    pub seed: Seed,
    /// The forward's `relu`: `output` and `grad_output` are those of `max(0, ·)`.
    pub relu: bool,
}

impl<'a, F: Scalar> Backward<'a, F> {
    /// The way back of a pass by hand, with the cache and the seed that the forward had; see [`Forward::new`].
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        input: View<'a, F>,
        output: View<'a, F>,
        grad_output: View<'a, F>,
        grad_input: Option<ViewMut<'a, F>>,
        cache: &'a mut Cache,
        scratch: &'a mut Scratch<F>,
        seed: Seed,
    ) -> Self {
        let (mode, relu) = (Mode::Train, false);
        Self { input, output, grad_output, grad_input, cache, scratch, mode, seed, relu }
    }
}

/// A recipe: makes the layer once its input shape is known. Plain data.
///
/// The short name is the spec, which users write (`Linear`); the long one is what it becomes
/// (`LinearLayer`), rarely named. Every [`crate::Activation`] is a spec.
///
/// ```
/// use layerwise::prelude::*;
///
/// /// Two linear layers through a bottleneck.
/// #[derive(Debug)]
/// struct Bottleneck(usize);
///
/// impl LayerSpec for Bottleneck {
///     fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer>> {
///         let features = input.features().map_err(|cause| Error::shape("Bottleneck", cause))?;
///         Block::new().add(Linear::new(self.0)).add(Linear::new(features)).build(input, init)
///     }
/// }
///
/// let model = Sequential::builder([8]).add(Bottleneck(2)).build()?;
/// assert_eq!(model.output_shape().dims(), [8]);
/// # Ok::<(), layerwise::Error>(())
/// ```
pub trait LayerSpec<F: Scalar = f32>: Debug + Send + Sync + AsAny {
    /// Makes the layer for inputs of this shape; `init` fills its parameters.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for a setting out of range, [`crate::Error::Shape`] for an input that the
    /// layer cannot take. The model adds the layer's name and position.
    fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>>;

    /// This spec as data, for [`crate::Sequential::save_model`]; see [`crate::persist::Registry`] for a spec of your own.
    #[cfg(feature = "serde")]
    fn record(&self) -> crate::persist::Record {
        let missing = || crate::persist::Record::missing(format!("{self:?}"));
        crate::persist::record(self.as_any()).unwrap_or_else(missing)
    }
}

/// A value as one whose type can be asked for. Everything is one that borrows nothing.
pub trait AsAny: Any {
    #[doc(hidden)]
    fn as_any(&self) -> &dyn Any;
}

impl<T: Any> AsAny for T {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Specs chosen at run time, such as from a configuration.
///
/// ```
/// use layerwise::prelude::*;
///
/// let activation: Box<dyn LayerSpec> = if true { Box::new(Relu) } else { Box::new(Tanh) };
/// let model = Sequential::builder([4]).add(activation).build()?;
/// assert_eq!(model.summary().rows[0].kind, "Relu");
/// # Ok::<(), layerwise::Error>(())
/// ```
impl<F: Scalar> LayerSpec<F> for Box<dyn LayerSpec<F>> {
    fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        (**self).build(input, init)
    }

    #[cfg(feature = "serde")]
    fn record(&self) -> crate::persist::Record {
        (**self).record()
    }
}

/// Clones a layer behind a `dyn`. Every `Clone` layer has it.
pub trait BoxClone<F: Scalar> {
    #[doc(hidden)]
    fn box_clone(&self) -> Box<dyn Layer<F>>;
}

impl<F: Scalar, L: Layer<F> + Clone + 'static> BoxClone<F> for L {
    fn box_clone(&self) -> Box<dyn Layer<F>> {
        Box::new(self.clone())
    }
}

impl<F: Scalar> Clone for Box<dyn Layer<F>> {
    fn clone(&self) -> Self {
        // The layer's own, not the box's, which would call itself.
        (**self).box_clone()
    }
}
