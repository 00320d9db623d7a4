//! Recurrent layers: one step of a sequence after the other, with a state that goes along.

use std::sync::Arc;

use super::door;
use crate::initializers::Uniform;
use crate::kernels::aligned::Aligned;
use crate::kernels::recurrent::{self, Cell, Gradients, Sizes, Weights};
use crate::workspace::grown;
use crate::{
    Backward, Error, Fans, Forward, Init, Initializer, Layer, LayerSpec, Param, Result, Role,
    Scalar, Shape, ShapeError, Visitor, VisitorMut,
};

/// A recurrent layer with one nonlinearity (Elman 1990):
/// `h_t = tanh(W_ih x_t + b_ih + W_hh h_{t−1} + b_hh)`, from `h_0 = 0`.
///
/// # Shape
/// input `[n, steps, features]` → output `[n, hidden]`, the last state, or with [`Rnn::sequences`]
/// `[n, steps, hidden]`, all of them. `weight_ih_l0` `[hidden, features]`, `weight_hh_l0` `[hidden, hidden]`, `bias_ih_l0` and
/// `bias_hh_l0` `[hidden]`: PyTorch's names for one layer, batch first.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// // Adds up: one input, one unit, weights of 1.
/// let sum = Rnn::new(1).relu().bias(false).weight_init(Constant(1.0)).recurrent_init(Constant(1.0));
/// let model = Sequential::builder([3, 1]).add(sum).build()?;
/// let y = model.predict(&ndarray::arr3(&[[[1.0], [2.0], [4.0]]]))?;
/// assert_eq!(y.as_slice().unwrap(), [7.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] for 0 hidden units or a truncation to 0 steps, and with [`Error::Shape`] unless the
/// input is `[steps, features]`.
///
/// Weights and biases start from `U(±1/√hidden)`, as in PyTorch. Keras starts from Xavier and orthogonal weights
/// ([`Rnn::weight_init`], [`Rnn::recurrent_init`]).
#[doc(alias = "SimpleRNN")]
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Rnn {
    settings: Settings,
    relu: bool,
}

/// Long short-term memory: a recurrent layer whose cell keeps what its gates let it keep.
///
/// `i, f, o = σ(W_ih x_t + b_ih + W_hh h_{t−1} + b_hh)`, `g = tanh(…)` of the same form; `c_t = f ⊙ c_{t−1} + i ⊙ g`,
/// `h_t = o ⊙ tanh c_t`, from `h_0 = c_0 = 0`.
///
/// # Shape
/// input `[n, steps, features]` → output `[n, hidden]`, the last state, or with [`Lstm::sequences`]
/// `[n, steps, hidden]`, all of them. `weight_ih_l0` `[4 · hidden, features]`, `weight_hh_l0` `[4 · hidden, hidden]`, `bias_ih_l0`
/// and `bias_hh_l0` `[4 · hidden]`, gates in the order i, f, g, o: PyTorch's for one layer, batch first.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([20]) // ids of 20 words
///     .add(Embedding::new(1000, 32))
///     .add(Lstm::new(64))
///     .add(Linear::new(2))
///     .build()?;
/// assert_eq!(model.param("1.weight_hh_l0").unwrap().shape(), [256, 64]);
/// assert_eq!(model.predict(&Array2::zeros((3, 20)))?.shape(), [3, 2]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails as for [`Rnn`].
///
/// Weights and biases start from `U(±1/√hidden)`, as in PyTorch.
///
/// # References
/// Hochreiter & Schmidhuber 1997, with the forget gate of Gers, Schmidhuber & Cummins 2000; no peepholes.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Lstm {
    settings: Settings,
}

/// Gated recurrent unit: a recurrent layer whose gates decide how much of the state is renewed.
///
/// `r, z = σ(W_ih x_t + b_ih + W_hh h_{t−1} + b_hh)`, `n = tanh(W_in x_t + b_in + r ⊙ (W_hn h_{t−1} + b_hn))`,
/// `h_t = (1 − z) ⊙ n + z ⊙ h_{t−1}`, from `h_0 = 0`.
///
/// # Shape
/// input `[n, steps, features]` → output `[n, hidden]`, the last state, or with [`Gru::sequences`]
/// `[n, steps, hidden]`, all of them. `weight_ih_l0` `[3 · hidden, features]`, `weight_hh_l0` `[3 · hidden, hidden]`, `bias_ih_l0`
/// and `bias_hh_l0` `[3 · hidden]`, gates in the order r, z, n: PyTorch's for one layer, batch first.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([10, 4]).add(Gru::new(8).sequences(true)).add(Gru::new(3)).build()?;
/// assert_eq!(model.output_shape().dims(), [3]);
/// assert_eq!(model.summary().parameters, 24 * (4 + 8 + 2) + 9 * (8 + 3 + 2));
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails as for [`Rnn`].
///
/// Weights and biases start from `U(±1/√hidden)`, as in PyTorch.
///
/// # References
/// Cho et al. 2014. As in PyTorch and Keras's default, `r` gates the product with the state, not the state itself, and `z`
/// keeps the old state.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Gru {
    settings: Settings,
}

/// What the three have in common.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Settings {
    hidden: usize,
    sequences: bool,
    truncate: Option<usize>,
    bias: bool,
    #[cfg_attr(feature = "serde", serde(skip))]
    weight_init: Option<Arc<dyn Initializer>>,
    #[cfg_attr(feature = "serde", serde(skip))]
    recurrent_init: Option<Arc<dyn Initializer>>,
    #[cfg_attr(feature = "serde", serde(skip))]
    bias_init: Option<Arc<dyn Initializer>>,
}

impl Settings {
    fn new(hidden: usize) -> Self {
        Self {
            hidden,
            sequences: false,
            truncate: None,
            bias: true,
            weight_init: None,
            recurrent_init: None,
            bias_init: None,
        }
    }
}

/// The settings that the three share.
macro_rules! settings {
    ($($spec:ident)*) => {$(
        impl $spec {
            /// Whether the output is every step's state, for a layer that takes a sequence; default false, the last one alone.
            #[doc(alias = "return_sequences")]
            pub fn sequences(mut self, sequences: bool) -> Self {
                self.settings.sequences = sequences;
                self
            }

            /// Truncated back-propagation: the sequence is cut into parts of so many steps, at least 1; the state goes from
            /// one part to the next, its gradient does not. PyTorch's `detach()` every so many steps. Default: the gradient
            /// goes back to the first step.
            pub fn truncate(mut self, steps: usize) -> Self {
                self.settings.truncate = Some(steps);
                self
            }

            /// Whether to add the two biases; default true.
            pub fn bias(mut self, bias: bool) -> Self {
                self.settings.bias = bias;
                self
            }

            /// What fills the weight of the input; default `U(±1/√hidden)`. Its shape has the gates one below the other.
            pub fn weight_init(mut self, initializer: impl Initializer + 'static) -> Self {
                self.settings.weight_init = Some(Arc::new(initializer));
                self
            }

            /// What fills the weight of the state; default `U(±1/√hidden)`.
            pub fn recurrent_init(mut self, initializer: impl Initializer + 'static) -> Self {
                self.settings.recurrent_init = Some(Arc::new(initializer));
                self
            }

            /// What fills both biases; default `U(±1/√hidden)`.
            pub fn bias_init(mut self, initializer: impl Initializer + 'static) -> Self {
                self.settings.bias_init = Some(Arc::new(initializer));
                self
            }
        }
    )*};
}
settings!(Rnn Lstm Gru);

impl Rnn {
    /// With `hidden` units, at least 1, and tanh.
    pub fn new(hidden: usize) -> Self {
        Self { settings: Settings::new(hidden), relu: false }
    }

    /// `max(0, ·)` in place of tanh.
    pub fn relu(mut self) -> Self {
        self.relu = true;
        self
    }
}

impl Lstm {
    /// With `hidden` units, at least 1.
    pub fn new(hidden: usize) -> Self {
        Self { settings: Settings::new(hidden) }
    }
}

impl Gru {
    /// With `hidden` units, at least 1.
    pub fn new(hidden: usize) -> Self {
        Self { settings: Settings::new(hidden) }
    }
}

impl<F: Scalar> LayerSpec<F> for Rnn {
    fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        let cell = if self.relu { Cell::Relu } else { Cell::Tanh };
        self.settings.build("Rnn", cell, input, init)
    }
}

impl<F: Scalar> LayerSpec<F> for Lstm {
    fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        self.settings.build("Lstm", Cell::Lstm, input, init)
    }
}

impl<F: Scalar> LayerSpec<F> for Gru {
    fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        self.settings.build("Gru", Cell::Gru, input, init)
    }
}

impl Settings {
    fn build<F: Scalar>(
        &self,
        kind: &'static str,
        cell: Cell,
        input: &Shape,
        init: &Init,
    ) -> Result<Box<dyn Layer<F>>> {
        let hidden = self.hidden;
        if hidden == 0 {
            return Err(Error::config(kind, "hidden", "at least 1", hidden));
        }
        if self.truncate == Some(0) {
            return Err(Error::config(kind, "truncate", "at least 1 step", 0));
        }
        let &[steps, inputs] = input.dims() else {
            let cause = ShapeError::new("[steps, features]", input);
            let hint = "for ids put Embedding before it, for images Reshape or Permute";
            return Err(Error::shape(kind, cause.hint(hint)));
        };
        let too_large = |name: &str, shape: &[usize]| Error::TooLarge {
            name: name.into(),
            shape: shape.into(),
        };
        let rows = hidden
            .checked_mul(cell.gates())
            .ok_or_else(|| too_large("weight_hh_l0", &[hidden, hidden]))?;
        let bound = 1.0 / (hidden as f64).sqrt();
        let default: Arc<dyn Initializer> = Arc::new(Uniform::new(-bound, bound));
        let param = |name, role, shape: &[usize], chosen: &Option<Arc<dyn Initializer>>| {
            let initializer = chosen.as_ref().unwrap_or(&default);
            init.param(name, role, Fans::of(shape), &**initializer)
        };
        let bias = |name| {
            let make = || param(name, Role::Bias, &[rows], &self.bias_init);
            self.bias.then(make).transpose()
        };
        let sizes = Sizes { cell, steps, inputs, hidden, truncate: self.truncate.unwrap_or(steps) };
        Ok(Box::new(RecurrentLayer {
            kind,
            sizes,
            sequences: self.sequences,
            weight_ih: param("weight_ih_l0", Role::Weight, &[rows, inputs], &self.weight_init)?,
            weight_hh: param("weight_hh_l0", Role::Weight, &[rows, hidden], &self.recurrent_init)?,
            bias_ih: bias("bias_ih_l0")?,
            bias_hh: bias("bias_hh_l0")?,
        }))
    }
}

/// What [`Rnn`], [`Lstm`] and [`Gru`] become.
#[derive(Debug, Clone)]
pub struct RecurrentLayer<F: Scalar = f32> {
    kind: &'static str,
    sizes: Sizes,
    sequences: bool,
    weight_ih: Param<F>,
    weight_hh: Param<F>,
    bias_ih: Option<Param<F>>,
    bias_hh: Option<Param<F>>,
}

/// Inputs, gates and states of every step.
#[derive(Debug, Default)]
struct Tape<F>(Aligned<F>);

impl<F: Scalar> RecurrentLayer<F> {
    fn weights(&self) -> Weights<'_, F> {
        let bias = self.bias_ih.as_ref().zip(self.bias_hh.as_ref());
        Weights {
            input: self.weight_ih.as_slice(),
            hidden: self.weight_hh.as_slice(),
            bias: bias.map(|(input, hidden)| (input.as_slice(), hidden.as_slice())),
        }
    }
}

impl<F: Scalar> Layer<F> for RecurrentLayer<F> {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let Sizes { steps, inputs, hidden, .. } = self.sizes;
        input
            .require(&[steps, inputs], "[steps, features]")
            .map(|_| if self.sequences { [steps, hidden].into() } else { [hidden].into() })
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let (x, n) = (door::slice(&pass.input), pass.input.shape()[0]);
        let Tape(tape) = pass.cache.get_or_default::<Tape<F>>();
        let tape = grown(tape, n, self.sizes.tape())?;
        let [scratch] = pass.scratch.take([self.sizes.forward_scratch::<F>(n)]);
        recurrent::forward(&self.sizes, n, self.weights(), &x, tape, scratch);
        door::fill(&mut pass.output, |y| {
            if self.sequences {
                recurrent::all_states(&self.sizes, n, tape, y);
            } else {
                recurrent::last_state(&self.sizes, n, tape, y);
            }
        });
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let (dy, n, sizes) = (door::slice(&pass.grad_output), pass.input.shape()[0], self.sizes);
        let Tape(tape) = pass.cache.get_mut::<Tape<F>>()?;
        let tape = &mut tape[..n * sizes.tape()];
        let scratch = sizes.states_scratch::<F>(n).max(sizes.weights_scratch::<F>(n));
        let [gradients, scratch] = pass.scratch.take([sizes.gate_gradients(n), scratch]);
        let mut run = |dx: Option<&mut [F]>| {
            recurrent::backward_states(
                &sizes,
                n,
                self.weights(),
                tape,
                &dy,
                gradients,
                dx,
                scratch,
            );
        };
        match pass.grad_input {
            Some(mut grad_input) => door::fill(&mut grad_input, |dx| run(Some(dx))),
            None => run(None),
        }
        let into = Gradients {
            input: self.weight_ih.grad_slice(),
            hidden: self.weight_hh.grad_slice(),
            input_bias: self.bias_ih.as_mut().and_then(Param::grad_slice),
            hidden_bias: self.bias_hh.as_mut().and_then(Param::grad_slice),
        };
        recurrent::backward_weights(&sizes, n, tape, gradients, into, scratch);
        Ok(())
    }

    fn visit(&self, visitor: &mut Visitor<'_, F>) {
        visitor.field("weight_ih_l0", &self.weight_ih);
        visitor.field("weight_hh_l0", &self.weight_hh);
        visitor.field("bias_ih_l0", &self.bias_ih);
        visitor.field("bias_hh_l0", &self.bias_hh);
    }

    fn visit_mut(&mut self, visitor: &mut VisitorMut<'_, F>) {
        visitor.field("weight_ih_l0", &mut self.weight_ih);
        visitor.field("weight_hh_l0", &mut self.weight_hh);
        visitor.field("bias_ih_l0", &mut self.bias_ih);
        visitor.field("bias_hh_l0", &mut self.bias_hh);
    }
}
