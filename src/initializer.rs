//! The trait that fills new parameters, and the helper that hands them to layers.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{ArrayD, IxDyn};

use crate::seed::hash_name;
use crate::{Buffer, Error, Param, Result, Rng, Role, Scalar, Seed};

/// Fills a new parameter.
///
/// It works in `f64`, so an `f32` model starts as the rounded `f64` model.
///
/// ```
/// use layerwise::prelude::*;
///
/// /// Every output is the mean of its inputs.
/// #[derive(Debug, Clone)]
/// struct Mean;
///
/// impl Initializer for Mean {
///     fn fill(&self, out: &mut [f64], fans: &Fans<'_>, _rng: &mut Rng) {
///         out.fill(1.0 / fans.fan_in as f64);
///     }
/// }
///
/// let model = Sequential::builder([2]).add(Linear::new(2).weight_init(Mean)).build()?;
/// let y = model.predict(&ndarray::arr2(&[[3.0, 4.0]]))?;
/// assert_eq!(y.as_slice().unwrap(), [3.5, 3.5]);
/// # Ok::<(), layerwise::Error>(())
/// ```
pub trait Initializer: Debug + Send + Sync {
    /// Writes every element of `out`, which is row-major in `fans.shape`.
    fn fill(&self, out: &mut [f64], fans: &Fans<'_>, rng: &mut Rng);
}

/// Size of a parameter as an initializer sees it.
#[derive(Debug, Clone, Copy)]
pub struct Fans<'a> {
    /// Length of each axis.
    pub shape: &'a [usize],
    /// Inputs that one output element is summed from: for a convolution `in / groups · kh · kw`.
    pub fan_in: usize,
    /// Outputs that one input element flows into: for a convolution `out · kh · kw`.
    pub fan_out: usize,
}

impl<'a> Fans<'a> {
    /// Fans of a weight `[out, in, ..kernel]`, as PyTorch counts them.
    ///
    /// ```
    /// use layerwise::Fans;
    ///
    /// let fans = Fans::of(&[8, 3, 5, 5]);
    /// assert_eq!((fans.fan_in, fans.fan_out), (75, 200));
    /// ```
    pub fn of(shape: &'a [usize]) -> Self {
        let kernel: usize = shape.iter().skip(2).product();
        let fan = |axis: usize| shape.get(axis).map_or(1, |&len| len * kernel);
        Self { shape, fan_in: fan(1), fan_out: fan(0) }
    }
}

/// Makes parameters for a [`crate::LayerSpec`] while a model is built.
///
/// Every parameter has its own random stream, folded from the model's seed, the layer's name and the
/// parameter's name: adding a layer behind shifts nothing.
#[derive(Debug, Clone)]
pub struct Init {
    seed: Seed,
    /// Blocks of stochastic depth made so far, in all of the model: their survival depends on how many there are.
    blocks: Arc<AtomicUsize>,
    /// Makes zeros, in known shapes.
    #[cfg(feature = "serde")]
    blank: Option<Blank>,
}

/// Which parameters may be made, and the path of the layer that makes them.
#[cfg(feature = "serde")]
#[derive(Debug, Clone)]
struct Blank {
    shapes: Arc<std::collections::HashMap<String, crate::Shape>>,
    path: String,
}

impl Init {
    /// An `init` that starts from `seed`, to build a spec outside a model.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let layer: Box<dyn Layer> = Linear::new(2).build(&[4].into(), &mut Init::new(Seed::new(1)))?;
    /// assert_eq!(layer.kind(), "Linear");
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn new(seed: Seed) -> Self {
        Self {
            seed,
            blocks: Arc::default(),
            #[cfg(feature = "serde")]
            blank: None,
        }
    }

    /// An `init` for a model whose parameters are to be loaded: it makes zeros, and only in these shapes.
    #[cfg(feature = "serde")]
    pub(crate) fn blank(
        seed: Seed,
        shapes: Arc<std::collections::HashMap<String, crate::Shape>>,
    ) -> Self {
        Self { blank: Some(Blank { shapes, path: String::new() }), ..Self::new(seed) }
    }

    /// The `init` of the layer called `name` inside this one.
    pub fn child(&self, name: &str) -> Self {
        Self {
            seed: self.seed.fold_str(name),
            blocks: Arc::clone(&self.blocks),
            #[cfg(feature = "serde")]
            blank: self.blank.clone().map(|blank| {
                let path = format!("{}{name}.", blank.path);
                Blank { path, ..blank }
            }),
        }
    }

    /// The number of the next block of stochastic depth, from 1, and how many there will be in the end.
    pub(crate) fn next_block(&self) -> (usize, Arc<AtomicUsize>) {
        (self.blocks.fetch_add(1, Ordering::Relaxed) + 1, Arc::clone(&self.blocks))
    }

    /// The seed of this layer.
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// A new parameter called `name`, filled by `initializer`.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if there is no memory for it, [`Error::Layer`] if `initializer` gives numbers that are not
    /// finite.
    pub fn param<F: Scalar>(
        &self,
        name: &str,
        role: Role,
        fans: Fans<'_>,
        initializer: &dyn Initializer,
    ) -> Result<Param<F>> {
        let too_large = || Error::TooLarge { name: name.into(), shape: fans.shape.into() };
        let len = fans
            .shape
            .iter()
            .try_fold(1usize, |len, &axis| len.checked_mul(axis))
            .ok_or_else(too_large)?;
        #[cfg(feature = "serde")]
        if let Some(blank) = &self.blank {
            return blank.param(name, role, fans.shape);
        }
        let mut values = Vec::new();
        values.try_reserve_exact(len).map_err(|_| too_large())?;
        values.resize(len, 0.0);
        let mut rng = self.seed.fold(hash_name(name)).rng();
        initializer.fill(&mut values, &fans, &mut rng);
        let values: Vec<F> = values.into_iter().map(F::lit).collect();
        if let Some(wrong) = values.iter().find(|value| !value.is_finite()) {
            let message = format!("{name} must be finite, got {wrong} from {initializer:?}");
            return Err(Error::layer("Init", message));
        }
        let value = ArrayD::from_shape_vec(IxDyn(fans.shape), values).map_err(|_| too_large())?;
        Ok(Param::new(value, role))
    }

    /// A new buffer called `name` with one value everywhere.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if there is no memory for it.
    pub(crate) fn buffer<F: Scalar>(
        &self,
        name: &str,
        shape: &[usize],
        value: F,
    ) -> Result<Buffer<F>> {
        #[cfg(feature = "serde")]
        if let Some(blank) = &self.blank {
            blank.check(name, shape)?;
        }
        let too_large = || Error::TooLarge { name: name.into(), shape: shape.into() };
        let len = shape.iter().try_fold(1usize, |len, &axis| len.checked_mul(axis));
        let len = len.ok_or_else(too_large)?;
        Vec::<F>::new().try_reserve_exact(len).map_err(|_| too_large())?;
        Ok(Buffer::filled(shape, value))
    }

    /// A weight of this shape, `[out, in, ..kernel]`, and a bias `[out]` if asked for: what linear layers
    /// and convolutions learn.
    pub(crate) fn weight_and_bias<F: Scalar>(
        &self,
        shape: &[usize],
        weight: &dyn Initializer,
        bias: Option<&dyn Initializer>,
    ) -> Result<(Param<F>, Option<Param<F>>)> {
        let fans = Fans::of(shape);
        let bias_fans = Fans { shape: shape.get(..1).unwrap_or_default(), ..fans };
        let weight = self.param("weight", Role::Weight, fans, weight)?;
        let bias = bias.map(|bias| self.param("bias", Role::Bias, bias_fans, bias)).transpose()?;
        Ok((weight, bias))
    }
}

#[cfg(feature = "serde")]
impl Blank {
    fn param<F: Scalar>(&self, name: &str, role: Role, shape: &[usize]) -> Result<Param<F>> {
        self.check(name, shape)?;
        Ok(Param::new(ArrayD::zeros(IxDyn(shape)), role))
    }

    /// Whether the file has it in this shape: nothing is allocated for what it only claims.
    fn check(&self, name: &str, shape: &[usize]) -> Result<()> {
        let full = format!("{}{name}", self.path);
        match self.shapes.get(&full) {
            Some(known) if known.dims() == shape => Ok(()),
            known => {
                let got = known.map_or("nothing".into(), |shape| shape.to_string());
                let message =
                    format!("needs {full} of {} in the file, got {got}", crate::Shape::from(shape));
                Err(Error::layer("Init", message))
            }
        }
    }
}
