//! A fully connected layer whose weights are dropped at random.

mod gaussian;
mod layer;

use std::sync::Arc;

use super::dropout::check_drop;
use crate::initializers::{HeNormal, Zeros};
use crate::{Activation, Error, Init, Initializer, Layer, LayerSpec, Result, Scalar, Shape};

pub use layer::DropConnectLayer;

/// A [`super::Linear`] that sets each weight and bias to zero with probability `p` during training:
/// `y = a((M ∘ W) x + m ∘ b)`.
///
/// Dropout drops outputs, this drops connections. By default every sample of a batch has masks `M` and `m` of its own,
/// which are drawn from the pass's seed again in the backward and never stored: they would be as large as the weight for
/// each sample.
///
/// | | training | eval mode, mean | eval mode, gaussian |
/// |---|---|---|---|
/// | mask per sample | `M ∘ W` | `(1 − p) W` | variance `p (1 − p) (W∘W)(x∘x)` |
/// | [`DropConnect::shared_mask`] | `M ∘ W / (1 − p)` | `W` | variance `p / (1 − p) (W∘W)(x∘x)` |
///
/// *Mean*, the default, is `a` of the mean over masks. *Gaussian* ([`DropConnect::samples`]) matches moments: what reaches the
/// activation is nearly normal with the mean and the variance above, so it is drawn `Z` times, and `a` averaged. That
/// differs only where `a` bends, and is why the activation belongs to this layer.
///
/// # Shape
/// input `[n, in]` → output `[n, out]`; `weight` `[out, in]`, `bias` `[out]`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let layer = DropConnect::new(3).drop(0.25).weight_init(Ones).activation(Relu);
/// let mut model = Sequential::builder([100]).add(layer).build()?;
/// let ones = Array2::ones((2, 100));
/// let kept = model.forward(&ones)?; // how many of 100 connections are there
/// assert!(kept.iter().all(|&kept| (55.0..95.0).contains(&kept)));
/// assert_ne!(kept.index_axis(Axis(0), 0), kept.index_axis(Axis(0), 1));
/// assert!(model.predict(&ones)?.iter().all(|&mean| mean == 75.0));
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Shape`] unless the input is `[features]`, and with [`Error::Config`] for 0 outputs, unless
/// `0 ≤ p < 1`, and for settings that the activation refuses.
///
/// # References
/// Wan et al. 2013, where `p` is the probability to *keep*: that is [`DropConnect::keep`]. The shared, inverted mask is
/// fastai's weight dropout (Merity et al. 2018). Probabilities are rounded to multiples of 2⁻¹⁶.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DropConnect<A = NoActivation> {
    out_features: usize,
    p: f64,
    shared_mask: bool,
    samples: usize,
    activation: A,
    bias: bool,
    #[cfg_attr(feature = "serde", serde(skip, default = "crate::initializers::weights"))]
    weight_init: Arc<dyn Initializer>,
    #[cfg_attr(feature = "serde", serde(skip, default = "crate::initializers::biases"))]
    bias_init: Arc<dyn Initializer>,
}

impl DropConnect {
    /// A layer with `out_features` outputs, at least 1, that drops half of its connections.
    pub fn new(out_features: usize) -> Self {
        Self {
            out_features,
            p: 0.5,
            shared_mask: false,
            samples: 0,
            activation: NoActivation,
            bias: true,
            weight_init: Arc::new(HeNormal::default()),
            bias_init: Arc::new(Zeros),
        }
    }
}

impl<A> DropConnect<A> {
    /// `p`: probability to *drop* a connection, `0 ≤ p < 1`; default 0.5.
    pub fn drop(mut self, p: f64) -> Self {
        self.p = p;
        self
    }

    /// `p`: probability to *keep* a connection, `0 < p ≤ 1`, as in the paper.
    pub fn keep(self, p: f64) -> Self {
        self.drop(1.0 - p)
    }

    /// Whether one mask serves the whole batch, as fast as a [`super::Linear`], and is divided by `1 − p`; default false.
    pub fn shared_mask(mut self, shared_mask: bool) -> Self {
        self.shared_mask = shared_mask;
        self
    }

    /// Numbers drawn for each output in eval mode, of which the mean is taken after the activation; default 0: none, the mean
    /// over masks. The paper has 1000; the time grows with it.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// // 4 connections of weight 1 and a bias of −4, half of them dropped: mean 0.
    /// let layer = DropConnect::new(1).weight_init(Ones).bias_init(Constant(-4.0)).activation(Relu);
    /// let model = |samples| Sequential::builder([4]).add(layer.clone().samples(samples)).build();
    /// let x = Array2::ones((1, 4));
    /// assert_eq!(model(0)?.predict(&x)?[[0, 0]], 0.0);
    /// // Variance ¼ · (4 + 16) = 5, and E max(0, z) = √(5 / 2π).
    /// assert!((model(10_000)?.predict(&x)?[[0, 0]] - 0.892f32).abs() < 0.06);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn samples(mut self, samples: usize) -> Self {
        self.samples = samples;
        self
    }

    /// The activation `a`; default none.
    pub fn activation<B>(self, activation: B) -> DropConnect<B> {
        DropConnect {
            out_features: self.out_features,
            p: self.p,
            shared_mask: self.shared_mask,
            samples: self.samples,
            activation,
            bias: self.bias,
            weight_init: self.weight_init,
            bias_init: self.bias_init,
        }
    }

    /// Whether to add a bias; default true.
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// What fills the weight; default [`HeNormal`].
    pub fn weight_init(mut self, initializer: impl Initializer + 'static) -> Self {
        self.weight_init = Arc::new(initializer);
        self
    }

    /// What fills the bias; default [`Zeros`].
    pub fn bias_init(mut self, initializer: impl Initializer + 'static) -> Self {
        self.bias_init = Arc::new(initializer);
        self
    }
}

impl<F: Scalar, A: Activation + Clone + 'static> LayerSpec<F> for DropConnect<A> {
    fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        const KIND: &str = "DropConnect";
        if self.out_features == 0 {
            return Err(Error::config(KIND, "out_features", "at least 1", 0));
        }
        check_drop(KIND, "p", self.p)?;
        self.activation.check().map_err(|error| error.of_kind(KIND))?;
        let in_features = input.features().map_err(|cause| Error::shape(KIND, cause))?;
        let bias = self.bias.then_some(&*self.bias_init);
        let shape = [self.out_features, in_features];
        let (weight, bias) = init.weight_and_bias(&shape, &*self.weight_init, bias)?;
        Ok(Box::new(DropConnectLayer {
            weight,
            bias,
            activation: self.activation.clone(),
            keep: 1.0 - self.p,
            shared: self.shared_mask,
            samples: self.samples,
        }))
    }

    #[cfg(feature = "serde")]
    fn record(&self) -> crate::persist::Record {
        let mut record =
            crate::persist::Record::of("DropConnect", &self.clone().activation(NoActivation));
        // As data of its own, for any activation has a record and not every one is serde's.
        let activation = LayerSpec::<F>::record(&self.activation);
        if activation.kind() != "NoActivation" {
            record.set_record("activation", &activation);
        }
        record
    }
}

/// `y = x`: for a [`DropConnect`] without an activation.
///
/// ```
/// use layerwise::prelude::*;
/// use layerwise::layers::NoActivation;
///
/// let model = Sequential::builder([2]).add(NoActivation).build()?;
/// let x = ndarray::arr2(&[[1.0, -2.0]]);
/// assert_eq!(model.predict(&x)?, x.into_dyn());
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NoActivation;

impl Activation for NoActivation {
    fn forward<F: Scalar>(&self, x: &[F], y: &mut [F]) {
        y.copy_from_slice(x);
    }

    fn backward<F: Scalar>(&self, _x: &[F], _y: &[F], dy: &[F], dx: &mut [F]) {
        dx.copy_from_slice(dy);
    }
}
