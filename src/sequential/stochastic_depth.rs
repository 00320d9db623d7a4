//! Residual blocks that are left out at random.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::branch::Skip;
use super::{Block, Residual};
use crate::{
    Backward, Cache, Error, Forward, Init, Layer, LayerSpec, Mode, Result, Scalar, Seed, Shape,
    ShapeError, Visitor, VisitorMut,
};

/// A [`Residual`] whose body is left out of whole training passes at random: `y = b · body(x) + shortcut(x)` with `b` 1
/// with probability `p`, else 0. In eval mode `y = p · body(x) + shortcut(x)`: the whole network.
///
/// Training is that of a shorter network, drawn anew for each batch, and costs less: a body that is left out does nothing,
/// forward or backward, and its batch norm does not move. Its parameters get a gradient of zero.
///
/// Unless [`StochasticDepth::survival`] is called, the model's builder sets `p` by linear decay over the blocks it is
/// left to: `p_l = 1 − l/L · (1 − p_L)` for block `l` of `L`, in the order they are built, nested or not. A built model
/// that becomes part of another keeps its probabilities.
///
/// # Shape
/// As for [`Residual`].
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// // A body that adds 1: the output counts the blocks that are there.
/// let block = || StochasticDepth::new(Block::new().add(Linear::new(1).weight_init(Zeros).bias_init(Ones)));
/// let mut builder = Sequential::builder([1]);
/// for _ in 0..4 {
///     builder = builder.add(block());
/// }
/// let mut model = builder.build()?;
/// let blocks = model.forward(&Array2::zeros((1, 1)))?[[0, 0]];
/// assert!([0.0, 1.0, 2.0, 3.0, 4.0].contains(&blocks));
/// // In eval mode the sum of the probabilities: 7/8 + 6/8 + 5/8 + 4/8.
/// assert_eq!(model.predict(&Array2::zeros((1, 1)))?[[0, 0]], 2.75);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] unless the probabilities are above 0 and at most 1, and as for [`Residual`].
///
/// # References
/// Huang et al. 2016, whose last block survives with probability 0.5. torchvision's `StochasticDepth` and Keras's have the
/// probability to *drop*, and scale as [`StochasticDepth::inverted`]. The paper's ReLU after the sum is a layer of its own.
#[doc(alias = "DropPath")]
#[derive(Debug)]
pub struct StochasticDepth<F: Scalar = f32> {
    residual: Residual<F>,
    survival: Option<f64>,
    last: f64,
    per_row: bool,
    inverted: bool,
}

impl<F: Scalar> StochasticDepth<F> {
    /// `body` beside the identity.
    pub fn new(body: Block<F>) -> Self {
        let residual = Residual::new(body);
        Self { residual, survival: None, last: 0.5, per_row: false, inverted: false }
    }

    /// What stands in the shortcut's place, where the body changes the shape. It is never left out.
    pub fn projection(mut self, projection: Block<F>) -> Self {
        self.residual = self.residual.projection(projection);
        self
    }

    /// `p`, the probability that the body is there, above 0 and at most 1; default set by the model's builder.
    pub fn survival(mut self, p: f64) -> Self {
        self.survival = Some(p);
        self
    }

    /// `p_L`, the probability of the model's last block in the linear decay, above 0 and at most 1; default 0.5. Say the
    /// same to every block.
    pub fn last_survival(mut self, p: f64) -> Self {
        self.last = p;
        self
    }

    /// Whether each sample draws for itself, which decides less at once but saves no work unless all are left out; default
    /// false: one draw for the batch, as in the paper. A batch norm in the body sees all samples.
    pub fn per_row(mut self, per_row: bool) -> Self {
        self.per_row = per_row;
        self
    }

    /// From what [`LayerSpec::record`] wrote.
    #[cfg(feature = "serde")]
    pub(crate) fn restored(
        residual: Residual<F>,
        (survival, last, per_row, inverted): (Option<f64>, f64, bool, bool),
    ) -> Self {
        Self { residual, survival, last, per_row, inverted }
    }

    /// Whether to divide by `p` in training instead of multiplying by it in eval mode; default false, as in the paper.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let body = Block::new().add(Linear::new(1).weight_init(Zeros).bias_init(Ones));
    /// let block = StochasticDepth::new(body).survival(0.25).inverted(true);
    /// let mut model = Sequential::builder([1]).add(block).build()?;
    /// assert!([0.0, 4.0].contains(&model.forward(&Array2::zeros((1, 1)))?[[0, 0]]));
    /// assert_eq!(model.predict(&Array2::zeros((1, 1)))?[[0, 0]], 1.0);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn inverted(mut self, inverted: bool) -> Self {
        self.inverted = inverted;
        self
    }
}

impl<F: Scalar> LayerSpec<F> for StochasticDepth<F> {
    #[cfg(feature = "serde")]
    fn record(&self) -> crate::persist::Record {
        let Residual { body, projection } = &self.residual;
        let inner = [
            ("body", Some(body.record())),
            ("projection", projection.as_ref().map(LayerSpec::record)),
        ];
        let settings = (self.survival, self.last, self.per_row, self.inverted);
        crate::persist::Record::with_inner("StochasticDepth", &settings, inner)
    }

    fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        for (field, p) in [("survival", self.survival), ("last_survival", Some(self.last))] {
            if let Some(p) = p.filter(|&p| !(p > 0.0 && p <= 1.0)) {
                let must_be = "a probability above 0 and at most 1";
                return Err(Error::config("StochasticDepth", field, must_be, p));
            }
        }
        let survival = match self.survival {
            Some(p) => Survival::Fixed(p),
            None => {
                let (block, blocks) = init.next_block();
                Survival::Linear { last: self.last, block, blocks }
            }
        };
        let Residual { body, projection } = &self.residual;
        let skip = Skip::new("StochasticDepth", body, projection.as_ref(), input, init)?;
        let (per_row, inverted) = (self.per_row, self.inverted);
        Ok(Box::new(StochasticDepthLayer { skip, survival, per_row, inverted }))
    }
}

/// The probability that a body is there.
#[derive(Debug, Clone)]
enum Survival {
    Fixed(f64),
    /// By linear decay: block number `block`, from 1, of as many as the builder counted in the end.
    Linear {
        last: f64,
        block: usize,
        blocks: Arc<AtomicUsize>,
    },
}

impl Survival {
    fn probability(&self) -> f64 {
        match self {
            Self::Fixed(p) => *p,
            Self::Linear { last, block, blocks } => {
                // Written while the model was built, and never after.
                let blocks = blocks.load(Ordering::Relaxed);
                1.0 - *block as f64 / blocks as f64 * (1.0 - last)
            }
        }
    }
}

/// What [`StochasticDepth`] becomes.
#[derive(Debug, Clone)]
pub struct StochasticDepthLayer<F: Scalar = f32> {
    skip: Skip<F>,
    survival: Survival,
    per_row: bool,
    inverted: bool,
}

impl<F: Scalar> StochasticDepthLayer<F> {
    /// The factor on the body: for the batch, or for each of its samples.
    fn factors(&self, mode: Mode, seed: Seed, batch: usize, factors: &mut Vec<F>) {
        let p = self.survival.probability();
        if mode == Mode::Eval {
            return factors.push(F::lit(if self.inverted { 1.0 } else { p }));
        }
        let there = F::lit(if self.inverted { 1.0 / p } else { 1.0 });
        let draws = if self.per_row { batch } else { 1 };
        factors.extend((0..draws as u64).map(|draw| {
            // 53 random bits, from 0 to 1.
            let number = (seed.bits(draw) >> 11) as f64 * (1.0 / (1u64 << 53) as f64);
            if number < p { there } else { F::zero() }
        }));
    }
}

impl<F: Scalar> Layer<F> for StochasticDepthLayer<F> {
    fn kind(&self) -> &'static str {
        "StochasticDepth"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        self.skip.output_shape(input)
    }

    fn forward(&self, pass: Forward<'_, F>) -> Result<()> {
        let (mode, seed, batch) = (pass.mode, pass.seed, pass.input.shape()[0]);
        self.skip.forward(pass, |factors| self.factors(mode, seed, batch, factors))
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        self.skip.backward(pass)
    }

    fn update_buffers(&mut self, cache: &Cache) -> Result<()> {
        self.skip.update_buffers(cache)
    }

    fn visit(&self, visitor: &mut Visitor<'_, F>) {
        self.skip.visit(visitor);
    }

    fn visit_mut(&mut self, visitor: &mut VisitorMut<'_, F>) {
        self.skip.visit_mut(visitor);
    }

    fn is_container(&self) -> bool {
        true
    }

    fn prepare_inference(&mut self) -> Result<()> {
        self.skip.prepare_inference()
    }

    #[cfg(feature = "serde")]
    fn inner_record(&self) -> Option<crate::persist::Record> {
        let (survival, last) = match &self.survival {
            Survival::Fixed(p) => (Some(*p), 0.5),
            Survival::Linear { last, .. } => (None, *last),
        };
        let settings = (survival, last, self.per_row, self.inverted);
        let inner = self.skip.records();
        Some(crate::persist::Record::with_inner("StochasticDepth", &settings, inner))
    }
}
