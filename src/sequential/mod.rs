//! The container: layers one after the other.

mod block;
mod branch;
mod builder;
mod inference;
mod nested;
mod outputs;
mod parallel;
mod pass;
mod predict;
mod residual;
mod sample;
mod select;
mod stochastic_depth;
mod summary;
mod transfer;

pub use block::Block;
pub use builder::SequentialBuilder;
pub use nested::NestedLayer;
pub use outputs::LayerOutput;
pub use parallel::{Parallel, ParallelLayer};
pub use residual::{Residual, ResidualLayer};
pub use stochastic_depth::{StochasticDepth, StochasticDepthLayer};
pub use summary::{Summary, SummaryRow};

use ndarray::ArrayD;

use crate::workspace::{grown, view, view_mut};
use crate::{
    Error, IntoView, Layer, Mode, Result, Scalar, Seed, Shape, ShapeError, View, Workspace,
};

/// Layers one after the other: the model.
///
/// [`Sequential::builder`] turns specs into layers and infers every shape. `forward` and `backward` run
/// in the model's own workspace; `predict` takes `&self`, always runs in eval mode, and may be called
/// from any number of threads at once. Models nest: `.add(model)`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let mut model = Sequential::builder([1, 28, 28])
///     .add(Conv2d::new(16, 3).padding(1))
///     .add(Relu)
///     .add(MaxPool2d::new(2))
///     .add(Flatten)
///     .add(Dropout::new(0.25))
///     .add(Linear::new(10)) // its 3136 inputs are inferred
///     .seed(7)
///     .build()?;
///
/// let images = ndarray::Array4::zeros((2, 1, 28, 28)).into_dyn();
/// let logits = model.forward(images.view())?;
/// assert_eq!(logits.shape(), [2, 10]);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug)]
pub struct Sequential<F: Scalar = f32> {
    nodes: Vec<Node<F>>,
    input: Shape,
    mode: Mode,
    seed: Seed,
    /// Training passes so far: each has a random stream of its own.
    passes: u64,
    workspace: Workspace<F>,
}

/// A layer and its place.
#[derive(Debug, Clone)]
struct Node<F: Scalar> {
    name: String,
    layer: Box<dyn Layer<F>>,
    output: Shape,
    /// The name as a number, to fold this layer's random stream.
    stream: u64,
    /// Multiply-adds of a sample, about: by them a pass's cost is judged.
    work: usize,
    /// Which of the workspace's buffers holds the output: a layer that does not compute shares its input's.
    slot: usize,
    /// Whether this layer applies the ReLU above it as well.
    relu: bool,
    /// Whether this layer is a ReLU that the one below applies.
    absorbed: bool,
    /// What it was made from, to save the architecture.
    record: Recorded,
}

#[cfg(feature = "serde")]
type Recorded = crate::persist::Record;

/// Nothing is kept.
#[cfg(not(feature = "serde"))]
#[derive(Debug, Clone)]
struct Recorded;

impl<F: Scalar> Node<F> {
    /// Whether a pass calls this layer: not if it only reshapes, or if the layer below does its work.
    fn computes(&self) -> bool {
        !self.absorbed && !self.layer.only_reshapes()
    }

    /// Notes that the layer has got a bias.
    fn has_bias(&mut self) {
        #[cfg(feature = "serde")]
        self.record.set("bias", true);
    }
}

impl<F: Scalar> Clone for Sequential<F> {
    /// Clones layers, mode and seed; the clone's workspace is empty.
    fn clone(&self) -> Self {
        Self {
            nodes: self.nodes.clone(),
            input: self.input.clone(),
            mode: self.mode,
            seed: self.seed,
            passes: self.passes,
            workspace: Workspace::new(),
        }
    }
}

impl Sequential<f32> {
    /// Starts a model for samples of this shape, without the batch axis: `[features]` or
    /// `[channels, height, width]`. For `f64` use [`SequentialBuilder::new`].
    pub fn builder(input: impl Into<Shape>) -> SequentialBuilder<f32> {
        SequentialBuilder::new(input)
    }
}

impl<F: Scalar> Sequential<F> {
    /// Runs a batch through all layers in [`Sequential::mode`], remembering what `backward` needs.
    /// Returns `[batch, ..output shape]`, borrowed from the model's workspace.
    ///
    /// In train mode, running statistics follow the batch, once every layer has succeeded.
    ///
    /// # Errors
    /// [`Error::Input`] if the batch is empty or has another shape; what a layer reports. The model is
    /// then unchanged.
    pub fn forward<'a>(&mut self, input: impl IntoView<'a, F>) -> Result<View<'_, F>> {
        let batch = self.forward_only(input.into_view())?;
        self.commit()?;
        Ok(self.last_output(batch))
    }

    /// A forward that leaves the model as it is until [`Sequential::commit`]; returns the batch size.
    pub(crate) fn forward_only(&mut self, input: View<'_, F>) -> Result<usize> {
        let batch = self.check_input(&input)?;
        // Layers that draw in eval mode draw what `predict` does.
        let seed = if self.mode == Mode::Train { self.seed.fold(self.passes) } else { self.seed };
        pass::forward(
            &self.nodes,
            &self.input,
            &mut self.workspace,
            input,
            batch,
            self.mode,
            seed,
        )?;
        Ok(batch)
    }

    /// Lets running statistics follow the last forward, and counts it.
    pub(crate) fn commit(&mut self) -> Result<()> {
        if self.mode == Mode::Train {
            pass::update_buffers(&mut self.nodes, &self.workspace)?;
            self.passes += 1;
        }
        Ok(())
    }

    /// The last forward's output.
    pub(crate) fn last_output(&self, batch: usize) -> View<'_, F> {
        pass::output(&self.nodes, &self.input, &self.workspace, batch)
    }

    /// Propagates the loss's gradient by the output back through the layers and adds to the gradients
    /// of all trainable parameters. Stops at the lowest trainable layer. May follow a forward in either
    /// mode, more than once.
    ///
    /// # Errors
    /// [`Error::BackwardBeforeForward`] without a forward; [`Error::GradOutput`] if the gradient's shape
    /// is not that of the output.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut model = Sequential::builder([2]).add(Linear::new(1)).build()?;
    /// model.forward(&Array2::ones((3, 2)))?;
    /// model.backward(&Array2::ones((3, 1)))?;
    /// let weight = model.param("0.weight").unwrap();
    /// assert_eq!(weight.grad().unwrap(), Array2::from_elem((1, 2), 3.0).into_dyn());
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn backward<'a>(&mut self, grad_output: impl IntoView<'a, F>) -> Result<()> {
        let grad_output = grad_output.into_view();
        self.check_grad_output(&grad_output)?;
        pass::backward(&mut self.nodes, &self.input, &mut self.workspace, grad_output, None)
    }

    /// Like [`Sequential::backward`], down to the input, and returns the gradient by the input:
    /// `[batch, ..input shape]`. For saliency maps (Simonyan et al. 2014), adversarial examples, or a
    /// model in front of this one. Parameters' gradients are added to as well; see
    /// [`Sequential::zero_grad`].
    ///
    /// # Errors
    /// As for [`Sequential::backward`].
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut model = Sequential::builder([2]).add(Linear::new(1)).build()?;
    /// model.eval();
    /// model.forward(&Array2::ones((1, 2)))?;
    /// let saliency = model.backward_to_input(&Array2::ones((1, 1)))?.to_owned();
    /// assert_eq!(saliency.as_slice().unwrap(), model.param("0.weight").unwrap().as_slice());
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn backward_to_input<'a>(
        &mut self,
        grad_output: impl IntoView<'a, F>,
    ) -> Result<View<'_, F>> {
        let grad_output = grad_output.into_view();
        let batch = self.check_grad_output(&grad_output)?;
        let numel = self.input.numel();
        let mut grad_input = std::mem::take(&mut self.workspace.grad_input);
        let result = grown(&mut grad_input, batch, numel).and_then(|target| {
            let target = view_mut(batch, &self.input, target);
            pass::backward(
                &mut self.nodes,
                &self.input,
                &mut self.workspace,
                grad_output,
                Some(target),
            )
        });
        self.workspace.grad_input = grad_input;
        result?;
        Ok(view(batch, &self.input, &self.workspace.grad_input[..batch * numel]))
    }

    /// Applies the model in eval mode, whatever [`Sequential::mode`] says, from any number of threads at
    /// once.
    ///
    /// # Errors
    /// As for [`Sequential::forward`].
    pub fn predict<'a>(&self, input: impl IntoView<'a, F>) -> Result<ArrayD<F>> {
        Ok(self.predict_with(input, &mut Workspace::lean())?.to_owned())
    }

    /// Like [`Sequential::predict`], in the caller's workspace: no allocation once that has seen the
    /// largest batch.
    ///
    /// # Errors
    /// As for [`Sequential::forward`].
    pub fn predict_with<'a, 'w>(
        &self,
        input: impl IntoView<'a, F>,
        workspace: &'w mut Workspace<F>,
    ) -> Result<View<'w, F>> {
        let input = input.into_view();
        let batch = self.check_input(&input)?;
        predict::predict(&self.nodes, &self.input, workspace, input, batch, self.seed)
    }

    /// Like [`Sequential::predict_with`], with this seed for layers that draw in eval mode, such as
    /// [`crate::layers::FractionalMaxPool2d::sample_in_eval`]. [`Sequential::predict`] always takes the model's own; the mean
    /// of predictions with several seeds marginalizes over the noise.
    ///
    /// # Errors
    /// As for [`Sequential::forward`].
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let pool = FractionalMaxPool2d::new(1.5).sample_in_eval(true);
    /// let model = Sequential::builder([1, 6, 6]).add(pool).add(Flatten).build()?;
    /// let x = Array4::from_shape_fn((1, 1, 6, 6), |(.., row, column)| (row * 6 + column) as f32);
    /// let mut workspace = Workspace::new();
    /// let mut mean = ArrayD::zeros(ndarray::IxDyn(&[1, 16]));
    /// for sample in 0..8 {
    ///     mean.scaled_add(1.0 / 8.0, &model.predict_sampled(&x, Seed::new(sample), &mut workspace)?);
    /// }
    /// // The last region has the last row and column in every sample.
    /// assert_eq!(mean[[0, 15]], 35.0);
    /// assert!(mean[[0, 0]] > 0.0 && mean[[0, 0]] < 7.0);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn predict_sampled<'a, 'w>(
        &self,
        input: impl IntoView<'a, F>,
        seed: Seed,
        workspace: &'w mut Workspace<F>,
    ) -> Result<View<'w, F>> {
        let input = input.into_view();
        let batch = self.check_input(&input)?;
        predict::predict(&self.nodes, &self.input, workspace, input, batch, seed)
    }

    /// Switches to train mode, in which a new model starts: dropout drops, batch norm uses and follows
    /// the batch's statistics.
    pub fn train(&mut self) {
        self.mode = Mode::Train;
    }

    /// Switches to eval mode. Only `forward` asks: `predict` is always in eval mode.
    pub fn eval(&mut self) {
        self.mode = Mode::Eval;
    }

    /// The mode that `forward` runs in.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut model = Sequential::builder([2]).add(Dropout::new(0.5)).build()?;
    /// assert_eq!(model.mode(), Mode::Train);
    /// model.eval();
    /// assert_eq!(model.mode(), Mode::Eval);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The seed of this model's randomness.
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// Training passes so far. Together with the seed it says what the next pass will draw.
    pub fn passes(&self) -> u64 {
        self.passes
    }

    /// Sets the number of training passes, to go on where another run stopped.
    pub fn set_passes(&mut self, passes: u64) {
        self.passes = passes;
    }

    pub(crate) fn set_seed(&mut self, seed: Seed) {
        self.seed = seed;
    }

    /// What the layers were made from, under their names.
    #[cfg(feature = "serde")]
    pub(crate) fn records(&self) -> Vec<crate::persist::NamedRecord> {
        let named = |node: &Node<F>| crate::persist::NamedRecord {
            name: Some(node.name.clone()),
            record: node.layer.inner_record().unwrap_or_else(|| node.record.clone()),
        };
        self.nodes.iter().map(named).collect()
    }

    /// Shape of one input sample.
    pub fn input_shape(&self) -> &Shape {
        &self.input
    }

    /// Shape of one output sample.
    pub fn output_shape(&self) -> &Shape {
        self.nodes.last().map_or(&self.input, |node| &node.output)
    }

    /// Number of layers, a nested model counting as one.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no layer: the model then returns its input.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Layers, parameters and shapes as a value; displayed, a table.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let model = Sequential::builder([4]).add(Linear::new(3)).add(Relu).build()?;
    /// println!("{}", model.summary());
    /// assert_eq!(model.summary().parameters, 15);
    /// assert_eq!(model.summary().rows[1].kind, "Relu");
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn summary(&self) -> Summary {
        Summary::new(&self.input, &self.nodes)
    }

    fn check_input(&self, input: &View<'_, F>) -> Result<usize> {
        check_batch(input.shape(), &self.input).map_err(Error::Input)
    }

    fn check_grad_output(&self, grad: &View<'_, F>) -> Result<usize> {
        let (batch, _) = self.workspace.finished.ok_or(Error::BackwardBeforeForward)?;
        let shape = self.output_shape();
        if grad.shape().first() != Some(&batch) || &grad.shape()[1..] != shape.dims() {
            let mut needs = vec![batch];
            needs.extend(shape.dims());
            let hint = "one gradient for each element of the last forward's output";
            let cause = ShapeError::new(Shape::from(needs).to_string(), grad.shape()).hint(hint);
            return Err(Error::GradOutput(cause));
        }
        Ok(batch)
    }
}

/// The batch size, if `shape` is `[batch, ..sample]` and not empty.
fn check_batch(shape: &[usize], sample: &Shape) -> Result<usize, ShapeError> {
    let fail = |hint| Err(ShapeError::new(sample.with_batch(), shape).hint(hint));
    match shape.split_first() {
        Some((0, rest)) if rest == sample.dims() => fail("give at least one sample"),
        Some((&batch, rest)) if rest == sample.dims() => Ok(batch),
        _ if shape == sample.dims() => fail("insert a batch axis in front, even for one sample"),
        _ => fail("the model was built for this shape"),
    }
}
