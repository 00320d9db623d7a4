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
use crate::{Block, LayerSpec, Parallel, Residual, Result, Scalar, StochasticDepth};

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
    LogSoftmax, Relu, Relu6, LeakyRelu, Elu, Selu, Gelu, GeluTanh, Silu, Mish, Softplus, Sigmoid,
    Tanh, Softsign, HardSigmoid, HardSwish, AlphaDropout, GaussianNoise, GaussianDropout, PRelu,
    Maxout, MaxoutConv2d, MaxoutChannels, AdaptiveAvgPool2d, AdaptiveMaxPool2d, GlobalMaxPool,
    Conv1d, ConvTranspose2d, Permute, Reshape, LocalResponseNorm, LayerNorm, GroupNorm,
    InstanceNorm, Upsample, ZeroPad, FractionalMaxPool2d, DropConnect,
}

type Made<F> = std::result::Result<Box<dyn LayerSpec<F>>, serde_json::Error>;

fn make<S: LayerSpec<F> + DeserializeOwned + 'static, F: Scalar>(settings: &Value) -> Made<F> {
    Ok(Box::new(S::deserialize(settings)?))
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
    kinds: HashMap<String, fn(&Value) -> Made<F>>,
}

impl<F: Scalar> Registry<F> {
    /// The crate's own kinds.
    pub fn new() -> Self {
        Self { kinds: HashMap::new() }
    }

    /// And this one, in place of any other of the name.
    #[allow(clippy::should_implement_trait)]
    pub fn add<S: LayerSpec<F> + DeserializeOwned + 'static>(mut self, kind: &str) -> Self {
        self.kinds.insert(kind.into(), make::<S, F>);
        self
    }

    /// The spec of a record at `place`.
    pub(crate) fn spec(
        &self,
        place: &str,
        record: &Record,
    ) -> Result<Box<dyn LayerSpec<F>>, String> {
        let Record { kind, settings } = record;
        let at = |message: String| format!("layer {place}: {message}");
        let made = self.kinds.get(kind).map(|make| make(settings));
        if let Some(made) = made.or_else(|| own::<F>(kind, settings)) {
            return made.map_err(|error| at(format!("{kind}: {error}")));
        }
        match &**kind {
            "Block" => Ok(Box::new(self.block(place, settings)?)),
            "Residual" => Ok(Box::new(self.residual(place, record)?)),
            "StochasticDepth" => {
                let residual = self.residual(place, record)?;
                let settings = Deserialize::deserialize(&settings["of"]);
                let settings = settings.map_err(|error| at(format!("{kind}: {error}")))?;
                Ok(Box::new(StochasticDepth::restored(residual, settings)))
            }
            "Parallel" => {
                let sum = settings["of"].as_bool().unwrap_or_default();
                let mut parallel = if sum { Parallel::sum() } else { Parallel::concat() };
                let mut count = 0;
                while let Some(branch) = record.inner(&count.to_string()) {
                    parallel =
                        parallel.branch(self.block(&format!("{place}.{count}"), &branch.settings)?);
                    count += 1;
                }
                Ok(Box::new(parallel))
            }
            _ => Err(at(format!(
                "needs a kind of layer that is known, got {}; add it to a Registry and open the file with that",
                crate::persist::problem::shorten(kind)
            ))),
        }
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
        f.debug_set().entries(self.kinds.keys()).finish()
    }
}
