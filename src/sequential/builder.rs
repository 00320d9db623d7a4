//! From specs to layers.

use super::{Node, Recorded, Sequential};
use crate::seed::hash_name;
use crate::{
    Entry, Error, Init, Layer, LayerSpec, Mode, Result, Scalar, Seed, Shape, ShapeError, Visitor,
    Workspace,
};

/// Collects specs and builds a [`Sequential`]; made by [`Sequential::builder`].
///
/// ```
/// use layerwise::prelude::*;
/// use layerwise::SequentialBuilder;
///
/// let model: Sequential<f64> = SequentialBuilder::new([4]).add(Linear::new(2)).build()?;
/// assert_eq!(model.len(), 1);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug)]
pub struct SequentialBuilder<F: Scalar = f32> {
    input: Shape,
    items: Vec<Item<F>>,
    seed: u64,
}

/// What was added: under its own name, or under its position.
#[derive(Debug)]
pub(super) struct Item<F: Scalar> {
    name: Option<String>,
    part: Part<F>,
}

#[derive(Debug)]
enum Part<F: Scalar> {
    Spec(Box<dyn LayerSpec<F>>),
    /// With what it was made from, if that is known.
    Layer(Box<dyn Layer<F>>, Option<Recorded>),
}

impl<F: Scalar> Item<F> {
    pub(super) fn spec(name: Option<&str>, spec: impl LayerSpec<F> + 'static) -> Self {
        Self { name: name.map(Into::into), part: Part::Spec(Box::new(spec)) }
    }

    /// A layer of another model.
    pub(super) fn built(node: &Node<F>) -> Self {
        let part = Part::Layer(node.layer.clone(), Some(node.record.clone()));
        Self { name: Some(node.name.clone()), part }
    }

    pub(super) fn layer(layer: impl Layer<F> + 'static) -> Self {
        Self { name: None, part: Part::Layer(Box::new(layer), None) }
    }

    /// What is kept of it to save the model's architecture.
    #[cfg(feature = "serde")]
    pub(super) fn recorded(&self) -> Recorded {
        match &self.part {
            Part::Spec(spec) => spec.record(),
            Part::Layer(_, Some(record)) => record.clone(),
            Part::Layer(layer, None) => {
                Recorded::missing(format!("a {} that was added built", layer.kind()))
            }
        }
    }

    #[cfg(not(feature = "serde"))]
    pub(super) fn recorded(&self) -> Recorded {
        match &self.part {
            Part::Layer(_, Some(record)) => record.clone(),
            _ => Recorded,
        }
    }

    #[cfg(feature = "serde")]
    pub(super) fn named_record(&self) -> crate::persist::NamedRecord {
        crate::persist::NamedRecord { name: self.name.clone(), record: self.recorded() }
    }
}

impl<F: Scalar> SequentialBuilder<F> {
    /// A builder for samples of this shape, for either element type.
    pub fn new(input: impl Into<Shape>) -> Self {
        Self { input: input.into(), items: Vec::new(), seed: 0 }
    }

    /// Adds a layer, named after its position: `0`, `1`, … A [`Sequential`] is a spec, too: a copy of it is
    /// nested.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let trunk = Sequential::builder([4]).add(Linear::new(8)).add(Relu).build()?;
    /// let model = Sequential::builder([4]).add(trunk).add(Linear::new(2)).build()?;
    /// assert!(model.param("0.0.weight").is_some());
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    #[allow(clippy::should_implement_trait)]
    pub fn add(mut self, spec: impl LayerSpec<F> + 'static) -> Self {
        self.items.push(Item::spec(None, spec));
        self
    }

    /// Adds a layer under a name of its own, which stays when layers are inserted before it. Not empty,
    /// no dots, not the name of another layer.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let model = Sequential::builder([4]).add_named("head", Linear::new(2)).build()?;
    /// assert!(model.param("head.weight").is_some());
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn add_named(mut self, name: &str, spec: impl LayerSpec<F> + 'static) -> Self {
        self.items.push(Item::spec(Some(name), spec));
        self
    }

    /// Adds a layer that is already built, such as your own; see [`Layer`] for an example.
    pub fn add_layer(mut self, layer: impl Layer<F> + 'static) -> Self {
        self.items.push(Item::layer(layer));
        self
    }

    /// Seed of the initial parameters and of all randomness in training; default 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Makes the layers, inferring every shape.
    ///
    /// # Errors
    /// What the first layer that does not fit reports, with its position and name; [`Error::Input`] for
    /// an input shape without elements or too large; [`Error::Name`].
    pub fn build(self) -> Result<Sequential<F>> {
        let seed = Seed::new(self.seed);
        build(self.input, self.items.iter(), seed, &Init::new(seed))
    }

    /// Like [`SequentialBuilder::build`], with parameters that `init` makes.
    #[cfg(feature = "serde")]
    pub(crate) fn build_with(self, seed: Seed, init: &Init) -> Result<Sequential<F>> {
        build(self.input, self.items.iter(), seed, init)
    }
}

/// Builds the nodes one after the other, each for the output shape of the one before.
pub(super) fn build<'a, F: Scalar>(
    input: Shape,
    items: impl Iterator<Item = &'a Item<F>>,
    seed: Seed,
    init: &Init,
) -> Result<Sequential<F>> {
    check_size(&input).map_err(Error::Input)?;
    let mut nodes: Vec<Node<F>> = Vec::new();
    let mut shape = input.clone();
    for (position, item) in items.enumerate() {
        let name = item.name.clone().unwrap_or_else(|| position.to_string());
        check_name(position, &name, &nodes)?;
        let layer = match &item.part {
            Part::Spec(spec) => spec
                .build(&shape, &mut init.child(&name))
                .map_err(|error| error.inside(position, &name))?,
            Part::Layer(layer, _) => layer.clone(),
        };
        shape = place(&mut nodes, &shape, name, layer, item.recorded())?;
    }
    Ok(Sequential { nodes, input, mode: Mode::Train, seed, passes: 0, workspace: Workspace::new() })
}

/// Every parameter is used once at each place of the output behind the first axis: right for linear layers and
/// convolutions, and good enough for the others.
fn work<F: Scalar>(layer: &dyn Layer<F>, output: &Shape) -> usize {
    let (mut parameters, places) = (0usize, output.dims().iter().skip(1).product::<usize>());
    layer.visit(&mut Visitor::new(&mut |_, entry| {
        if let Entry::Param(param) = entry {
            parameters += param.numel();
        }
    }));
    parameters.saturating_mul(places)
}

/// Puts a layer behind the others, for their output `shape`; returns its own.
pub(super) fn place<F: Scalar>(
    nodes: &mut Vec<Node<F>>,
    shape: &Shape,
    name: String,
    layer: Box<dyn Layer<F>>,
    record: Recorded,
) -> Result<Shape> {
    let output = layer
        .output_shape(shape)
        .and_then(|output| check_size(&output).map(|()| output))
        .map_err(|cause| Error::shape(layer.kind(), cause).inside(nodes.len(), &name))?;
    let absorbed = layer.is_relu()
        && nodes.last_mut().is_some_and(|below| {
            below.relu = !below.absorbed && below.layer.applies_relu();
            below.relu
        });
    let slot = nodes.last().map_or(0, |below| below.slot);
    let stream = hash_name(&name);
    let after = output.clone();
    let work = work(&*layer, &output);
    let mut node = Node { name, layer, output, stream, work, slot, relu: false, absorbed, record };
    node.slot += usize::from(node.computes());
    nodes.push(node);
    Ok(after)
}

fn check_name<F: Scalar>(position: usize, name: &str, before: &[Node<F>]) -> Result<()> {
    let must_be = if name.is_empty() || name.contains('.') {
        "not empty and without dots"
    } else if before.iter().any(|node| node.name == name) {
        "unlike every other layer's"
    } else {
        return Ok(());
    };
    Err(Error::Name { position, must_be, name: name.into() })
}

/// Every axis at least 1, and the elements of a sample countable in bytes with room for a batch.
fn check_size(shape: &Shape) -> Result<(), ShapeError> {
    if shape.dims().contains(&0) {
        return Err(ShapeError::new("axes of at least 1", shape));
    }
    if shape.numel() > usize::MAX >> 24 {
        return Err(ShapeError::new("a sample that fits memory", shape));
    }
    Ok(())
}
