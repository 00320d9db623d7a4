//! From records back to specs.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::record::{List, NamedRecord, Record};
use crate::activations::*;
use crate::layers::*;
use crate::persist::problem::shorten;
use crate::preprocessing::{SavedProjection, SavedScaling};
use crate::{Activation, Block, LayerSpec, Parallel, Residual, Result, Scalar, StochasticDepth};

/// The crate's own layers: one line each. A new one is added here, and its spec derives serde's two traits.
macro_rules! catalogue {
    ($($spec:ident),* $(,)?) => {
        /// What the crate's own spec says of itself.
        pub(crate) fn record(spec: &dyn Any) -> Option<Record> {
            $(if let Some(spec) = spec.downcast_ref::<$spec>() {
                return Some(Record::of(stringify!($spec), spec));
            })*
            None
        }

        fn own<F: Scalar>(kind: &str, settings: &Value) -> Option<Made<F>> {
            Some(match kind {
                $(stringify!($spec) => make::<$spec, F>(settings),)*
                _ => return None,
            })
        }
    };
}

catalogue! {
    Linear, Conv2d, MaxPool2d, AvgPool2d, GlobalAvgPool, BatchNorm, Dropout, Flatten, Softmax,
    LogSoftmax, NoActivation, Relu, Relu6, LeakyRelu, Elu, Selu, Gelu, GeluTanh, Silu, Mish, Softplus, Sigmoid,
    Tanh, Softsign, HardSigmoid, HardSwish, AlphaDropout, GaussianNoise, GaussianDropout, PRelu,
    Maxout, MaxoutConv2d, MaxoutChannels, AdaptiveAvgPool2d, AdaptiveMaxPool2d, GlobalMaxPool,
    Conv1d, ConvTranspose2d, Permute, Reshape, LocalResponseNorm, LayerNorm, GroupNorm,
    InstanceNorm, Upsample, ZeroPad, FractionalMaxPool2d, Embedding, Rnn, Lstm, Gru,
}

/// The crate's own activations, for layers that have one inside.
macro_rules! activations {
    ($($activation:ident),* $(,)?) => {
        fn own_around<F: Scalar>(kind: &str, layer: &DropConnect, settings: &Value) -> Option<Made<F>> {
            Some(match kind {
                $(stringify!($activation) => around::<$activation, F>(layer, settings),)*
                _ => return None,
            })
        }
    };
}

activations! {
    NoActivation, Relu, Relu6, LeakyRelu, Elu, Selu, Gelu, GeluTanh, Silu, Mish, Softplus, Sigmoid, Tanh,
    Softsign, HardSigmoid, HardSwish,
}

/// A spec, or what is wrong with its record and where.
type Spec<F> = std::result::Result<Box<dyn LayerSpec<F>>, String>;

/// From settings to a spec.
type Make<F> = fn(&Value) -> Made<F>;

/// From settings to an activation inside the layer.
type Around<F> = fn(&DropConnect, &Value) -> Made<F>;

type Made<F> = std::result::Result<Box<dyn LayerSpec<F>>, serde_json::Error>;

fn make<S: LayerSpec<F> + DeserializeOwned + 'static, F: Scalar>(settings: &Value) -> Made<F> {
    Ok(Box::new(S::deserialize(settings)?))
}

/// The layer with this activation inside.
fn around<A, F: Scalar>(layer: &DropConnect, settings: &Value) -> Made<F>
where
    A: Activation + Clone + DeserializeOwned + 'static,
{
    Ok(Box::new(layer.clone().activation(A::deserialize(settings)?)))
}

/// The kinds of layers that [`crate::Sequential::open_with`] knows beside the crate's own.
///
/// A spec that builds a nested model ([`crate::Block`]) is saved as the layers inside, and needs no registry.
///
/// # Examples
/// ```
/// use layerwise::persist::{Record, Registry};
/// use layerwise::prelude::*;
/// use serde::{Deserialize, Serialize};
///
/// /// A linear layer with so many times the features that it gets.
/// #[derive(Debug, Serialize, Deserialize)]
/// struct Widen { factor: usize }
///
/// impl<F: Scalar> LayerSpec<F> for Widen {
///     fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
///         let features = input.features().map_err(|cause| Error::shape("Widen", cause))?;
///         Linear::new(self.factor * features).build(input, init)
///     }
///     fn record(&self) -> Record { Record::of("Widen", self) }
/// }
///
/// let model = Sequential::builder([8]).add(Widen { factor: 2 }).build()?;
/// let bytes = model.model_to_bytes()?;
///
/// let registry = Registry::<f32>::new().add::<Widen>("Widen");
/// let opened = Sequential::from_bytes_with(&bytes, &registry)?;
/// assert_eq!(opened.value("0.weight"), model.value("0.weight"));
///
/// let error = Sequential::<f32>::from_bytes(&bytes).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "bytes: layer 0: needs a kind of layer that is known, got Widen; add it to a Registry and open the file with that"
/// );
/// # Ok::<(), layerwise::Error>(())
/// ```
pub struct Registry<F: Scalar = f32> {
    kinds: HashMap<String, Make<F>>,
    around: HashMap<String, Around<F>>,
    lambdas: HashMap<String, Lambda<F>>,
}

impl<F: Scalar> Registry<F> {
    /// The crate's own kinds.
    pub fn new() -> Self {
        Self { kinds: HashMap::new(), around: HashMap::new(), lambdas: HashMap::new() }
    }

    /// And this one, in place of any other of the name.
    #[allow(clippy::should_implement_trait)]
    pub fn add<S: LayerSpec<F> + DeserializeOwned + 'static>(mut self, kind: &str) -> Self {
        self.kinds.insert(kind.into(), make::<S, F>);
        self
    }

    /// And this activation, as a layer and inside of [`DropConnect`]; in place of any other of the name.
    ///
    /// ```
    /// use layerwise::persist::{Record, Registry};
    /// use layerwise::prelude::*;
    /// use serde::{Deserialize, Serialize};
    ///
    /// /// `y = factor · x`
    /// #[derive(Debug, Clone, Serialize, Deserialize)]
    /// struct Times { factor: f64 }
    ///
    /// impl Activation for Times {
    ///     fn record(&self) -> Option<Record> { Some(Record::of("Times", self)) }
    ///     fn forward<F: Scalar>(&self, x: &[F], y: &mut [F]) {
    ///         y.iter_mut().zip(x).for_each(|(y, &x)| *y = x * F::lit(self.factor));
    ///     }
    ///     fn backward<F: Scalar>(&self, _x: &[F], _y: &[F], dy: &[F], dx: &mut [F]) {
    ///         dx.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx = dy * F::lit(self.factor));
    ///     }
    /// }
    ///
    /// let layer = DropConnect::new(2).activation(Times { factor: 0.5 });
    /// let bytes = Sequential::builder([3]).add(layer).build()?.model_to_bytes()?;
    /// let registry = Registry::<f32>::new().add_activation::<Times>("Times");
    /// assert_eq!(Sequential::from_bytes_with(&bytes, &registry)?.summary().rows[0].kind, "DropConnect");
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn add_activation<A>(mut self, kind: &str) -> Self
    where
        A: Activation + Clone + DeserializeOwned + 'static,
    {
        self.around.insert(kind.into(), around::<A, F>);
        self.add::<A>(kind)
    }

    /// And this function, under the name that [`Lambda::kind`] gave it; in place of any other of the name. A file has only the
    /// name: that the function is the same is the program's word.
    ///
    /// ```
    /// use layerwise::persist::Registry;
    /// use layerwise::prelude::*;
    ///
    /// let square = || Lambda::elementwise(|x: f32| x * x, |x| 2.0 * x).kind("Square");
    /// let bytes = Sequential::builder([2]).add(square()).build()?.model_to_bytes()?;
    ///
    /// let opened = Sequential::from_bytes_with(&bytes, &Registry::new().add_lambda(square()))?;
    /// assert_eq!(opened.predict(&ndarray::arr2(&[[3.0, -4.0]]))?.as_slice().unwrap(), [9.0, 16.0]);
    ///
    /// let error = Sequential::<f32>::from_bytes(&bytes).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "bytes: layer 0: needs the function Square, a Lambda; add it to a Registry with add_lambda and open the file with that"
    /// );
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn add_lambda(mut self, lambda: Lambda<F>) -> Self {
        self.lambdas.insert(lambda.name().into(), lambda);
        self
    }

    /// The spec of a record at `place`.
    pub(crate) fn spec(&self, place: &str, record: &Record) -> Spec<F> {
        let Record { kind, settings } = record;
        let at = |message: String| format!("layer {place}: {message}");
        let broken = |error: &serde_json::Error| at(format!("{kind}: {error}"));
        let made = self.kinds.get(kind).map(|make| make(settings));
        if let Some(made) = made.or_else(|| own::<F>(kind, settings)) {
            return made.map_err(|error| broken(&error));
        }
        match &**kind {
            "Scaling" => make::<SavedScaling, F>(settings).map_err(|error| broken(&error)),
            "Projection" => make::<SavedProjection, F>(settings).map_err(|error| broken(&error)),
            "DropConnect" => self.drop_connect(place, settings),
            "Lambda" => self.lambda(place, settings),
            "Block" => Ok(Box::new(self.block(place, settings)?)),
            "Residual" => Ok(Box::new(self.residual(place, record)?)),
            "StochasticDepth" => {
                let residual = self.residual(place, record)?;
                let settings = Deserialize::deserialize(&settings["of"]);
                let settings = settings.map_err(|error| broken(&error))?;
                Ok(Box::new(StochasticDepth::restored(residual, settings)))
            }
            "Parallel" => self.parallel(place, record),
            _ => Err(at(format!(
                "needs a kind of layer that is known, got {}; add it to a Registry and open the file with that",
                shorten(kind)
            ))),
        }
    }

    /// Its activation is a record, or `null` for none.
    fn drop_connect(&self, place: &str, settings: &Value) -> Spec<F> {
        let at = |what: &dyn fmt::Display| format!("layer {place}: DropConnect: {what}");
        let mut plain = settings.clone();
        let activation = plain.get_mut("activation").map(Value::take).unwrap_or_default();
        let layer = DropConnect::deserialize(&plain).map_err(|error| at(&error))?;
        if activation.is_null() {
            return Ok(Box::new(layer));
        }
        let Record { kind, settings } =
            Record::deserialize(&activation).map_err(|error| at(&error))?;
        let made = self.around.get(&kind).map(|around| around(&layer, &settings));
        match made.or_else(|| own_around(&kind, &layer, &settings)) {
            Some(made) => made.map_err(|error| at(&error)),
            None => Err(at(&format!(
                "needs an activation that is known, got {}; add it to a Registry with add_activation and open the file with that",
                shorten(&kind)
            ))),
        }
    }

    fn lambda(&self, place: &str, settings: &Value) -> Spec<F> {
        let name = settings.get("name").and_then(Value::as_str).unwrap_or_default();
        match self.lambdas.get(name) {
            Some(lambda) => Ok(Box::new(lambda.clone())),
            None => Err(format!(
                "layer {place}: needs the function {}, a Lambda; add it to a Registry with add_lambda and open the file with that",
                shorten(name)
            )),
        }
    }

    fn parallel(&self, place: &str, record: &Record) -> Spec<F> {
        let sum = record.settings["of"].as_bool().unwrap_or_default();
        let mut parallel = if sum { Parallel::sum() } else { Parallel::concat() };
        let mut count = 0;
        while let Some(branch) = record.inner(&count.to_string()) {
            let block = self.block(&format!("{place}.{count}"), &branch.settings)?;
            parallel = parallel.branch(block);
            count += 1;
        }
        Ok(Box::new(parallel))
    }

    fn residual(&self, place: &str, record: &Record) -> Result<Residual<F>, String> {
        let body = record.inner("body").ok_or_else(|| format!("layer {place}: has no body"))?;
        let residual = Residual::new(self.block(&format!("{place}.body"), &body.settings)?);
        Ok(match record.inner("projection") {
            Some(block) => {
                residual.projection(self.block(&format!("{place}.projection"), &block.settings)?)
            }
            None => residual,
        })
    }

    /// The block whose layers are in these settings.
    fn block(&self, place: &str, settings: &Value) -> Result<Block<F>, String> {
        let list = List::deserialize(settings).map_err(|e| format!("layer {place}: {e}"))?;
        let mut block = Block::new();
        for (i, NamedRecord { name, record }) in list.layers.iter().enumerate() {
            let below = name.clone().unwrap_or_else(|| i.to_string());
            let spec = self.spec(&format!("{place}.{below}"), record)?;
            block = match name {
                Some(name) => block.add_named(name, spec),
                None => block.add(spec),
            };
        }
        Ok(block)
    }
}

impl<F: Scalar> Default for Registry<F> {
    fn default() -> Self {
        Self::new()
    }
}

impl<F: Scalar> fmt::Debug for Registry<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.kinds.keys()).entries(self.lambdas.keys()).finish()
    }
}
