//! Learned vectors for numbered things.

use std::sync::Arc;

use super::door;
use crate::initializers::Normal;
use crate::kernels::embedding;
use crate::{
    Backward, Error, Fans, Forward, Init, Initializer, Layer, LayerSpec, Param, Result, Rng, Role,
    Scalar, Shape, ShapeError, layer_params,
};

/// Looks up a learned vector for each id: of a word, a user, a category.
///
/// Ids come as whole numbers in the float input, from 0 to `vocabulary − 1`. `y[..] = weight[id]`; the gradient by a row is the
/// sum over all places where its id stands, the gradient by the input is 0.
///
/// # Shape
/// input `[n, ..]` of ids → output `[n, .., dim]`: `[n, steps]` → `[n, steps, dim]`. `weight` `[vocabulary, dim]`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let mut model = Sequential::builder([3]).add(Embedding::new(2, 2)).build()?;
/// model.set_value("0.weight", ndarray::arr2(&[[1.0, 2.0], [3.0, 4.0]]).view().into_dyn())?;
/// let y = model.predict(&ndarray::arr2(&[[1.0, 0.0, 1.0]]))?;
/// assert_eq!(y.as_slice().unwrap(), [3.0, 4.0, 1.0, 2.0, 3.0, 4.0]);
///
/// let error = model.predict(&ndarray::arr2(&[[1.0, 0.0, 2.0]])).unwrap_err();
/// assert!(error.to_string().contains("id 2 at position 2 of sample 0"));
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] for a zero, a [`Embedding::padding`] outside the vocabulary, or more ids than `f32`
/// counts without gaps (2²⁴). A pass fails with [`Error::Layer`] for an id that is no whole number or outside the vocabulary.
///
/// Starts from a standard normal distribution, as in PyTorch; Keras takes `U(±0.05)`.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Embedding {
    vocabulary: usize,
    dim: usize,
    padding: Option<usize>,
    #[cfg_attr(feature = "serde", serde(skip, default = "standard_normal"))]
    weight_init: Arc<dyn Initializer>,
}

/// What fills the vectors unless told otherwise.
fn standard_normal() -> Arc<dyn Initializer> {
    Arc::new(Normal::new(0.0, 1.0))
}

impl Embedding {
    /// Vectors of `dim` elements for the ids `0 .. vocabulary`, both at least 1.
    pub fn new(vocabulary: usize, dim: usize) -> Self {
        Self { vocabulary, dim, padding: None, weight_init: standard_normal() }
    }

    /// An id that stands for nothing: its vector starts as 0 and gets no gradient. Default none.
    pub fn padding(mut self, id: usize) -> Self {
        self.padding = Some(id);
        self
    }

    /// What fills the vectors; default `N(0, 1)`.
    pub fn weight_init(mut self, initializer: impl Initializer + 'static) -> Self {
        self.weight_init = Arc::new(initializer);
        self
    }

    fn check<F: Scalar>(&self) -> Result<()> {
        for (field, value) in [("vocabulary", self.vocabulary), ("dim", self.dim)] {
            if value == 0 {
                return Err(Error::config("Embedding", field, "at least 1", 0));
            }
        }
        // 2 / ε: up to there every whole number is one of F's.
        if (self.vocabulary - 1) as f64 > 2.0 / F::epsilon().widen() {
            let must_be =
                "at most 2^24 + 1 in f32, which skips whole numbers beyond; use f64 or fewer ids";
            return Err(Error::config("Embedding", "vocabulary", must_be, self.vocabulary));
        }
        if let Some(id) = self.padding.filter(|&id| id >= self.vocabulary) {
            return Err(Error::config("Embedding", "padding", "below the vocabulary", id));
        }
        Ok(())
    }
}

/// Fills all rows but one, which becomes 0.
#[derive(Debug)]
struct AllBut<'a> {
    row: Option<usize>,
    rows: &'a dyn Initializer,
}

impl Initializer for AllBut<'_> {
    fn fill(&self, out: &mut [f64], fans: &Fans<'_>, rng: &mut Rng) {
        self.rows.fill(out, fans, rng);
        if let (Some(row), Some(&dim)) = (self.row, fans.shape.last())
            && let Some(row) = out.chunks_exact_mut(dim).nth(row)
        {
            row.fill(0.0);
        }
    }
}

impl<F: Scalar> LayerSpec<F> for Embedding {
    fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        self.check::<F>()?;
        let shape = [self.vocabulary, self.dim];
        let fans = Fans { shape: &shape, fan_in: self.vocabulary, fan_out: self.dim };
        let start = AllBut { row: self.padding, rows: &*self.weight_init };
        let weight = init.param("weight", Role::Weight, fans, &start)?;
        Ok(Box::new(EmbeddingLayer { weight, padding: self.padding, input: input.clone() }))
    }
}

/// What [`Embedding`] becomes.
#[derive(Debug, Clone)]
pub struct EmbeddingLayer<F: Scalar = f32> {
    weight: Param<F>,
    padding: Option<usize>,
    input: Shape,
}

/// The ids of the batch.
#[derive(Debug, Default)]
struct Ids(Vec<usize>);

impl<F: Scalar> EmbeddingLayer<F> {
    fn sizes(&self) -> (usize, usize) {
        (self.weight.shape()[0], self.weight.shape()[1])
    }

    /// The id that a value stands for, if there is such a one.
    fn id(vocabulary: usize, value: F) -> Option<usize> {
        let value = value.widen();
        // Of what is out of range the nearest, which is not equal then. (`fract` would be a call of the C library.)
        let whole = value as i64;
        let id = usize::try_from(whole).ok()?;
        (whole as f64 == value && id < vocabulary).then_some(id)
    }

    #[cold]
    fn no_id(&self, at: usize, value: F) -> Error {
        let sample = self.input.numel();
        let message = format!(
            "needs ids that are whole numbers from 0 to {}, got id {value} at position {} of sample {}; \
             enlarge the vocabulary, or give unknown things an id of their own",
            self.sizes().0 - 1,
            at % sample,
            at / sample
        );
        Error::layer("Embedding", message)
    }
}

impl<F: Scalar> Layer<F> for EmbeddingLayer<F> {
    fn kind(&self) -> &'static str {
        "Embedding"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let shape = input.require(self.input.dims(), "the shape it was built for")?;
        Ok([shape.dims(), &[self.sizes().1]].concat().into())
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let Ids(ids) = pass.cache.get_or_default();
        let (values, (vocabulary, dim)) = (door::slice(&pass.input), self.sizes());
        ids.resize(values.len(), 0);
        for (at, (id, &value)) in ids.iter_mut().zip(values.iter()).enumerate() {
            *id = Self::id(vocabulary, value).ok_or_else(|| self.no_id(at, value))?;
        }
        door::fill(&mut pass.output, |y| embedding::forward(dim, self.weight.as_slice(), ids, y));
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let Ids(ids) = pass.cache.get()?;
        let (dy, (_, dim)) = (door::slice(&pass.grad_output), self.sizes());
        if let Some(grad) = self.weight.grad_slice() {
            embedding::backward(dim, ids, self.padding, &dy, grad);
        }
        if let Some(mut grad_input) = pass.grad_input {
            grad_input.fill(F::zero());
        }
        Ok(())
    }

    layer_params!(F; weight);
}
