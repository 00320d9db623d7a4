//! Training on from a pretrained model.

use super::{Callback, History, Trainer};
use crate::data::{Loader, Targets};
use crate::error::ensure;
use crate::schedules::OneCycle;
use crate::{Loss, Result, Scalar, Sequential};

/// How much data there is for the new task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Amount {
    /// Some hundreds of samples for a class, or fewer.
    Little,
    /// Thousands for a class.
    Lots,
}

/// How like the new data are to those that the model was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Similarity {
    /// Very similar: photographs of other things.
    Similar,
    /// Very different: X-ray images, spectrograms.
    Different,
}

/// What to train of a pretrained model: what [`advise`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// Only the last layer, on the features that are there: a linear classifier.
    Head,
    /// A few layers: the upper half, the convolutions below frozen.
    UpperLayers,
    /// All or most layers, lower ones at lower rates.
    AllLayers,
    /// The upper half, filled anew: its features do not help. Then experiment with how deep to go.
    ReinitializedUpperLayers,
}

/// The course's guide to pretrained models, from the amount of data and their similarity to what to train.
///
/// | | very similar data | very different data |
/// |---|---|---|
/// | very little data | [`Advice::Head`]: "use a linear classifier on top layer" | [`Advice::ReinitializedUpperLayers`]: "you need to be more creative … re-initialize more layers and experiment" |
/// | lots of data | [`Advice::UpperLayers`]: "fine-tune a few layers" | [`Advice::AllLayers`]: "fine-tune a larger number of layers", "with differential learning rates" |
///
/// In each case train the new head first, with the rest frozen, and then the rest: [`Trainer::fine_tune`].
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// use layerwise::training::{Advice, Amount, Similarity, advise};
///
/// let mut model = Sequential::builder([4])
///     .add_named("stem", Linear::new(8))
///     .add_named("body", Linear::new(8))
///     .add_named("head", Linear::new(2))
///     .build()?;
/// let groups = ["stem.*", "body.*", "head.*"]; // from the lowest layers up
/// let advice = advise(Amount::Little, Similarity::Similar);
/// assert_eq!(advice, Advice::Head);
/// assert_eq!(advice.freeze(&mut model, &groups)?, 4); // all but the head
/// assert_eq!(advise(Amount::Lots, Similarity::Different), Advice::AllLayers);
/// # Ok::<(), layerwise::Error>(())
/// ```
pub fn advise(amount: Amount, similarity: Similarity) -> Advice {
    match (amount, similarity) {
        (Amount::Little, Similarity::Similar) => Advice::Head,
        (Amount::Lots, Similarity::Similar) => Advice::UpperLayers,
        (Amount::Lots, Similarity::Different) => Advice::AllLayers,
        (Amount::Little, Similarity::Different) => Advice::ReinitializedUpperLayers,
    }
}

impl Advice {
    /// The first of `groups` groups of layers, counted from the lowest, that shall learn.
    pub fn first_trained(self, groups: usize) -> usize {
        match self {
            Self::Head => groups.saturating_sub(1),
            Self::UpperLayers | Self::ReinitializedUpperLayers => groups / 2,
            Self::AllLayers => 0,
        }
    }

    /// Freezes the groups below that one and unfreezes it and those above. Groups are patterns of names, from the lowest layers
    /// up. Returns how many parameters are frozen now. Filling layers anew is left to
    /// [`Sequential::reinitialize`].
    ///
    /// # Errors
    /// [`crate::Error::UnknownName`] for a pattern that matches nothing; nothing is changed then.
    pub fn freeze<F: Scalar>(self, model: &mut Sequential<F>, groups: &[&str]) -> Result<usize> {
        model.check_patterns(groups)?;
        let (below, above) = groups.split_at(self.first_trained(groups.len()).min(groups.len()));
        model.unfreeze(|p| above.iter().any(|pattern| p.matches(pattern)));
        let frozen = |p: &crate::ParamInfo| below.iter().any(|pattern| p.matches(pattern));
        model.freeze(frozen);
        Ok(model.params().filter(|p| !p.trainable).count())
    }
}

/// fastai's recipe for a pretrained model with a new head; see [`Trainer::fine_tune`].
///
/// ```
/// use layerwise::training::FineTune;
///
/// let recipe = FineTune::new(5, &["features.*", "head.*"]).base_lr(1e-3);
/// assert_eq!(recipe.groups(), ["features.*", "head.*"]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct FineTune {
    epochs: u64,
    frozen_epochs: u64,
    base_lr: f64,
    lr_mult: f64,
    pct_start: f64,
    div: f64,
    groups: Vec<String>,
}

impl FineTune {
    /// `epochs`: how many to train all groups for, at least 1. `groups`: patterns of parameters' names, from the lowest layers
    /// up; the last is the head.
    pub fn new(epochs: u64, groups: &[&str]) -> Self {
        Self {
            epochs,
            frozen_epochs: 1,
            base_lr: 2e-3,
            lr_mult: 100.0,
            pct_start: 0.3,
            div: 5.0,
            groups: groups.iter().map(|group| group.to_string()).collect(),
        }
    }

    /// How many epochs to train the head alone first, at least 1; default 1.
    pub fn frozen_epochs(mut self, epochs: u64) -> Self {
        self.frozen_epochs = epochs;
        self
    }

    /// The head's largest rate at first, above 0; default 2e-3. Half of it later.
    pub fn base_lr(mut self, lr: f64) -> Self {
        self.base_lr = lr;
        self
    }

    /// By how much the lowest group's rate is below the head's, at least 1; default 100.
    pub fn lr_mult(mut self, lr_mult: f64) -> Self {
        self.lr_mult = lr_mult;
        self
    }

    /// Share of the second part in which the rate rises; default 0.3.
    pub fn pct_start(mut self, pct_start: f64) -> Self {
        self.pct_start = pct_start;
        self
    }

    /// The largest rate by the first one in the second part, at least 1; default 5.
    pub fn div_factor(mut self, div: f64) -> Self {
        self.div = div;
        self
    }

    /// The patterns.
    pub fn groups(&self) -> Vec<&str> {
        self.groups.iter().map(String::as_str).collect()
    }

    fn check(&self) -> Result<()> {
        ensure(self.epochs > 0, "FineTune", "epochs", "at least 1", self.epochs)?;
        let (frozen, groups) = (self.frozen_epochs, self.groups.len());
        ensure(frozen > 0, "FineTune", "frozen_epochs", "at least 1", frozen)?;
        ensure(groups > 1, "FineTune", "groups", "at least two, the last being the head", groups)?;
        let valid = self.base_lr > 0.0 && self.base_lr.is_finite();
        ensure(valid, "FineTune", "base_lr", "above 0", self.base_lr)?;
        let valid = self.lr_mult >= 1.0 && self.lr_mult.is_finite();
        ensure(valid, "FineTune", "lr_mult", "at least 1", self.lr_mult)
    }
}

/// The two parts of [`Trainer::fine_tune`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FineTuned {
    /// The head alone.
    pub frozen: History,
    /// Everything.
    pub whole: History,
}

impl<F: Scalar, L: Loss<F>> Trainer<L, F> {
    /// Trains a pretrained model with a new head by fastai's recipe: first the head alone for an epoch, in one cycle that rises
    /// nearly to its end; then everything, at half the rate for the head and a hundredth of that for the lowest
    /// group, geometrically between.
    ///
    /// The head is the last group; where other parameters are frozen, batch norm stands still. The optimizer's rates of groups
    /// and its rate afterwards are those of the second part; its schedules and the trainer's epochs are as before.
    /// The momentum follows the cycle between 0.95 and 0.85 if the rule has one.
    ///
    /// # Errors
    /// [`crate::Error::UnknownName`] for a pattern that matches nothing, [`crate::Error::Setting`] for a setting out of range, before
    /// anything is changed; as [`Trainer::fit_with`].
    ///
    /// # Examples
    /// ```
    /// use layerwise::prelude::*;
    /// use layerwise::training::FineTune;
    ///
    /// let data = Dataset::new(Array2::<f32>::ones((12, 4)).into_dyn(), vec![0, 1, 2].repeat(4))?;
    /// let mut model = Sequential::builder([4])
    ///     .add_named("body", Linear::new(8))
    ///     .add(Relu)
    ///     .add_named("head", Linear::new(10))
    ///     .build()?;
    /// // … trained on ten classes, or loaded from a file. Now three others:
    /// model.replace_from("head", Block::new().add_named("head", Linear::new(3)))?;
    /// let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Adam::new(), 1e-3));
    /// let recipe = FineTune::new(2, &["body.*", "head.*"]);
    /// let mut train = data.batches(4)?;
    /// let done = trainer.fine_tune(&mut model, &mut train, None, &recipe, &mut [])?;
    /// assert_eq!((done.frozen.steps.len(), done.whole.steps.len()), (3, 6));
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    ///
    /// # References
    /// fastai's `fine_tune` and its defaults. There batch norm learns in frozen groups (`train_bn`); here it does not.
    pub fn fine_tune<B>(
        &mut self,
        model: &mut Sequential<F>,
        train: &mut B,
        mut valid: Option<&mut dyn Loader<F, Targets = B::Targets>>,
        recipe: &FineTune,
        callbacks: &mut [&mut dyn Callback<F>],
    ) -> Result<FineTuned>
    where
        B: Loader<F, Targets: Targets<Target = L::Target>>,
    {
        recipe.check()?;
        let patterns = recipe.groups();
        let (groups, head) = (model.layer_groups(&patterns)?, patterns[patterns.len() - 1]);
        let (lr, low) = (recipe.base_lr, recipe.base_lr / 2.0 / recipe.lr_mult);
        let before = (self.optimizer.take_schedules(), self.epochs);
        let mut parts = || {
            model.train_only(head)?;
            self.optimizer.set_differential_last(lr, &groups)?;
            let batches = train.count() as u64;
            self.one_cycle(recipe.frozen_epochs, batches, |cycle| cycle.pct_start(0.99));
            let again = valid.as_mut().map(|valid| &mut **valid as _);
            let frozen = self.fit_with(model, train, again, callbacks)?;
            model.unfreeze(|p| patterns.iter().any(|pattern| p.matches(pattern)));
            self.optimizer.set_differential(low, lr / 2.0, &groups)?;
            self.one_cycle(recipe.epochs, batches, |cycle| {
                cycle.pct_start(recipe.pct_start).div_factor(recipe.div)
            });
            let again = valid.as_mut().map(|valid| &mut **valid as _);
            let whole = self.fit_with(model, train, again, callbacks)?;
            Ok(FineTuned { frozen, whole })
        };
        let result = parts();
        self.optimizer.put_schedules(before.0);
        self.epochs = before.1;
        result
    }

    /// The next fit: one cycle over all its updates.
    fn one_cycle(&mut self, epochs: u64, batches: u64, shape: impl Fn(OneCycle) -> OneCycle) {
        let updates = self.optimizer.updates(epochs.saturating_mul(batches));
        let cycle = shape(OneCycle::new(updates.max(2)));
        self.optimizer.set_schedule(cycle);
        let momentum = self.optimizer.has_momentum().then(|| cycle.momentum(0.85, 0.95));
        self.optimizer.set_momentum_schedule(momentum);
        self.epochs = Some(epochs);
    }
}
