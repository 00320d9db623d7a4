//! Parts of a trained model: what learns, and what is replaced.

use super::builder::{Item, build};
use super::{Block, Sequential};
use crate::error::ensure;
use crate::{
    Entry, EntryMut, Error, Fans, Init, Initializer, ParamInfo, Result, Role, Scalar, Seed,
    Visitor, VisitorMut, Workspace,
};

/// For transfer learning; see [`crate::training::advise`] and the guide's chapter on training.
impl<F: Scalar> Sequential<F> {
    /// Lets only the parameters learn whose names match a pattern, and freezes all others: the head of a pretrained
    /// model. Returns how many arrays learn.
    ///
    /// # Errors
    /// [`Error::UnknownName`] if no name matches; nothing is changed then.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut model = Sequential::builder([4]).add(Linear::new(3)).add_named("head", Linear::new(2)).build()?;
    /// assert_eq!(model.train_only("head.*")?, 2);
    /// assert_eq!(model.summary().trainable, 3 * 2 + 2);
    /// assert!(model.train_only("haed.*").is_err());
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    #[doc(alias = "freeze_to")]
    pub fn train_only(&mut self, pattern: &str) -> Result<usize> {
        let learn = self.params().filter(|info| info.matches(pattern)).count();
        if learn == 0 {
            return Err(self.unknown(pattern));
        }
        self.freeze(|info| !info.matches(pattern));
        self.unfreeze(|info| info.matches(pattern));
        Ok(learn)
    }

    /// An error for the first pattern that no parameter's name matches.
    pub(crate) fn check_patterns(&self, patterns: &[&str]) -> Result<()> {
        let unused =
            patterns.iter().find(|pattern| !self.params().any(|info| info.matches(pattern)));
        unused.map_or(Ok(()), |pattern| Err(self.unknown(pattern)))
    }

    /// Replaces the layer of this name and all above it by new ones, whose shapes are inferred: a new head for other
    /// classes. What is below keeps its weights, its names, what is frozen, and its optimizer's state. New layers without a name
    /// are named after their position.
    ///
    /// # Errors
    /// [`Error::Setting`] if no layer has this name; what a new layer that does not fit reports, with its place. The model is
    /// then as it was.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut model = Sequential::builder([4])
    ///     .add(Linear::new(8))
    ///     .add(Relu)
    ///     .add_named("head", Linear::new(10))
    ///     .build()?;
    /// let trunk = model.value("0.weight");
    /// model.replace_from("head", Block::new().add(Dropout::new(0.5)).add_named("head", Linear::new(3)))?;
    /// assert_eq!(model.output_shape().dims(), [3]);
    /// assert_eq!(model.value("0.weight"), trunk);
    /// let names: Vec<String> = model.summary().rows.into_iter().map(|row| row.name).collect();
    /// assert_eq!(names, ["0", "1", "2", "head"]);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn replace_from(&mut self, name: &str, layers: Block<F>) -> Result<()> {
        let Some(at) = self.nodes.iter().position(|node| node.name == name) else {
            let known: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
            let got = format!("{name:?}; its layers are {}", known.join(", "));
            return Err(Error::setting(
                "replace_from",
                "name",
                "that of one of the model's layers",
                got,
            ));
        };
        let kept = self.nodes[..at].iter().map(|node| Item::built(node));
        let items: Vec<_> = kept.chain(layers.into_items()).collect();
        // Not the model's own: a head of the same name would start as the old one did.
        let init = Init::new(self.seed.fold_str("replace_from").fold(self.passes));
        self.nodes = build(self.input.clone(), items.iter(), self.seed, &init)?.nodes;
        self.workspace = Workspace::new();
        Ok(())
    }

    /// Fills the selected parameters anew: weights by the initializer, scales with 1, slopes with 0.25, biases and shifts
    /// with 0. Returns how many there were. Running statistics stay; an optimizer keeps what it knows of them.
    ///
    /// The course's advice for little data that are very different: "re-initialize more layers and experiment".
    ///
    /// # Errors
    /// [`Error::Setting`] if no parameter is selected, or if the initializer gives numbers that the model's element cannot
    /// hold. The model is then as it was.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut model = Sequential::builder([4]).add(Linear::new(3)).add_named("head", Linear::new(2)).build()?;
    /// let before = model.value("head.weight");
    /// let seed = Seed::new(5);
    /// assert_eq!(model.reinitialize(&HeNormal::default(), seed, |p| p.matches("head.*"))?, 2);
    /// assert_ne!(model.value("head.weight"), before);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn reinitialize(
        &mut self,
        initializer: &dyn Initializer,
        seed: Seed,
        select: impl Fn(&ParamInfo) -> bool,
    ) -> Result<usize> {
        // All values first: an initializer that fails, or panics, halfway changes nothing.
        let fresh = self.fresh(initializer, seed, select)?;
        let mut values = fresh.iter();
        self.visit_mut(&mut VisitorMut::new(&mut |_, entry| {
            let EntryMut::Param(param) = entry else { return };
            if let Some(Some(values)) = values.next() {
                param.fill_from(values);
                param.zero_grad();
            }
        }));
        Ok(fresh.iter().flatten().count())
    }

    /// New values for each parameter in the model's order, `None` for those not selected.
    fn fresh(
        &self,
        initializer: &dyn Initializer,
        seed: Seed,
        select: impl Fn(&ParamInfo) -> bool,
    ) -> Result<Vec<Option<Vec<f64>>>> {
        let (mut fresh, mut result) = (Vec::new(), Ok(()));
        self.visit(&mut Visitor::new(&mut |name, entry| {
            let Entry::Param(param) = entry else { return };
            let info = ParamInfo::new(name, param);
            let selected = result.is_ok() && select(&info);
            let values = selected.then(|| start(initializer, seed, &info));
            if let Some(wrong) = values.iter().flatten().find(|&&x| !F::lit(x).is_finite()) {
                let must_be = "one that gives finite numbers";
                let got = format!("{wrong} for {} from {initializer:?}", info.name);
                result = Err(Error::setting("reinitialize", "initializer", must_be, got));
            }
            fresh.push(values);
        }));
        result?;
        let must_be = "one that selects a parameter";
        ensure(fresh.iter().any(Option::is_some), "reinitialize", "select", must_be, "none")?;
        Ok(fresh)
    }
}

/// What a parameter starts from.
fn start(initializer: &dyn Initializer, seed: Seed, info: &ParamInfo) -> Vec<f64> {
    let mut values = vec![0.0; info.shape.numel()];
    match info.role {
        Role::Weight => {
            let mut rng = seed.fold_str(&info.name).rng();
            initializer.fill(&mut values, &Fans::of(info.shape.dims()), &mut rng);
        }
        Role::Scale => values.fill(1.0),
        // As PRelu's own default: at 0 it would be a ReLU.
        Role::Slope => values.fill(0.25),
        Role::Bias | Role::Shift => {}
    }
    values
}
