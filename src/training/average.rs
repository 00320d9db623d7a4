//! Averages of the parameters over the steps of a run.

use super::{Callback, Run, Weights};
use crate::error::ensure;
use crate::persist::{PartReader, PartWriter, Resumable};
use crate::{Error, Result, Scalar, Sequential};

/// A running average of a model's parameters, to be used in their place at test time: Polyak's mean, an exponential
/// moving average, stochastic weight averaging.
///
/// The `i`-th update moves the average by `a ← a + w (p − a)`:
///
/// | made by | `w` | default rhythm |
/// |---|---|---|
/// | [`Average::polyak`] | `1 / i` | every step |
/// | [`Average::ema`] | `1 − decay`, the first time 1 | every step |
/// | [`Average::ema`] with [`Average::bias_correction`] | `(1 − decay) / (1 − decayⁱ)` | every step |
/// | [`Average::swa`] | `1 / i` | the end of every epoch from a given one on |
///
/// By hand: [`Average::update`] after each step, [`Average::swap`] to put the average into the model and, called again, the
/// trained parameters back. As a callback of [`super::Trainer::fit_with`] it does both: validation sees the average, training goes
/// on from the trained parameters, and the run ends with the average in the model. The trained parameters then wait in here:
/// `swap` brings them back, and a further run goes on from them.
///
/// Running statistics are not averaged unless [`Average::buffers`] says so: those of the trained parameters are used. They do
/// not quite belong to the average; [`super::reestimate_statistics`] computes them anew.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// use layerwise::training::Average;
///
/// let mut model = Sequential::builder([1]).add(Linear::new(1).bias(false)).build()?;
/// let mut average = Average::polyak();
/// for weight in [1.0, 2.0, 6.0] {
///     model.set_value("0.weight", &ndarray::arr2(&[[weight]]))?;
///     average.update(&model)?;
/// }
/// average.swap(&mut model)?;
/// assert_eq!(model.value("0.weight").unwrap().sum(), 3.0);
/// average.swap(&mut model)?;
/// assert_eq!(model.value("0.weight").unwrap().sum(), 6.0);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// An update fails with [`Error::Setting`] for a decay outside `0 ≤ decay < 1` or while the average is in the model, and with
/// [`Error::UnknownName`] or [`Error::Value`] for another model than the first.
///
/// # References
/// Polyak & Juditsky 1992; Izmailov et al. 2018 (SWA), whose cyclic rate is [`crate::schedules::Cyclic`]. PyTorch's
/// `AveragedModel`.
#[doc(alias = "AveragedModel")]
#[doc(alias = "ExponentialMovingAverage")]
#[derive(Debug, Clone)]
pub struct Average<F: Scalar = f32> {
    rule: Rule,
    bias_correction: bool,
    buffers: bool,
    rhythm: Rhythm,
    from_epoch: u64,
    validate: bool,
    keep: bool,
    /// The average; while `swapped`, the trained parameters.
    weights: Option<Weights<F>>,
    count: u64,
    swapped: bool,
    ticks: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Rule {
    Mean,
    Exponential { decay: f64 },
}

/// When a callback updates the average.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rhythm {
    Steps(u64),
    Epochs(u64),
}

impl<F: Scalar> Average<F> {
    fn new(rule: Rule, rhythm: Rhythm) -> Self {
        Self {
            rule,
            bias_correction: false,
            buffers: false,
            rhythm,
            from_epoch: 1,
            validate: true,
            keep: true,
            weights: None,
            count: 0,
            swapped: false,
            ticks: 0,
        }
    }

    /// The mean of all parameters since the first update.
    pub fn polyak() -> Self {
        Self::new(Rule::Mean, Rhythm::Steps(1))
    }

    /// The exponential moving average. `decay`: weight of the *old* average, `0 ≤ decay < 1`; 0.999 is usual.
    pub fn ema(decay: f64) -> Self {
        Self::new(Rule::Exponential { decay }, Rhythm::Steps(1))
    }

    /// Stochastic weight averaging: the mean of the parameters at the end of every epoch, from epoch `from_epoch` on,
    /// counted from 1. The rate should then be constant and rather high, or cycle and be lowest when an epoch ends.
    pub fn swa(from_epoch: u64) -> Self {
        Self::new(Rule::Mean, Rhythm::Epochs(1)).from_epoch(from_epoch)
    }

    /// For an exponential average: as if it had begun at zero, divided by `1 − decayⁱ`, so that the first parameters count no
    /// more than others; default false, as in PyTorch.
    pub fn bias_correction(mut self, bias_correction: bool) -> Self {
        self.bias_correction = bias_correction;
        self
    }

    /// Whether running statistics are averaged too; default false, as in PyTorch.
    pub fn buffers(mut self, buffers: bool) -> Self {
        self.buffers = buffers;
        self
    }

    /// As a callback: update after every `steps`-th step, at least 1.
    pub fn every_steps(mut self, steps: u64) -> Self {
        self.rhythm = Rhythm::Steps(steps);
        self
    }

    /// As a callback: update at the end of every `epochs`-th epoch, at least 1: a cycle's length.
    pub fn every_epochs(mut self, epochs: u64) -> Self {
        self.rhythm = Rhythm::Epochs(epochs);
        self
    }

    /// As a callback: the first epoch to count, from 1; default 1.
    pub fn from_epoch(mut self, epoch: u64) -> Self {
        self.from_epoch = epoch;
        self
    }

    /// As a callback: whether validation sees the average; default true. Other callbacks see the trained parameters at
    /// the end of an epoch all the same.
    pub fn validate(mut self, validate: bool) -> Self {
        self.validate = validate;
        self
    }

    /// As a callback: whether a run that did not fail ends with the average in the model; default true.
    pub fn keep(mut self, keep: bool) -> Self {
        self.keep = keep;
        self
    }

    /// Takes in the model's parameters.
    ///
    /// # Errors
    /// See [`Average`]; the average is then as it was.
    pub fn update(&mut self, model: &Sequential<F>) -> Result<()> {
        self.check()?;
        let valid = !self.swapped;
        ensure(
            valid,
            "Average",
            "model",
            "the trained one when it is updated; call swap first",
            "the average",
        )?;
        let weight = F::lit(self.weight(self.count + 1));
        match &mut self.weights {
            None => self.weights = Some(Weights::of(model)),
            Some(weights) => {
                weights.check(model)?;
                let buffers = self.buffers;
                weights.each(model, |saved, values| {
                    if saved.learned || buffers {
                        for (average, &value) in saved.values.iter_mut().zip(values) {
                            *average += weight * (value - *average);
                        }
                    }
                });
            }
        }
        self.count += 1;
        Ok(())
    }

    /// Exchanges the average with the model's parameters: the first time the average goes into the model, the second
    /// time it comes out again.
    ///
    /// # Errors
    /// [`Error::Setting`] before the first update; as [`Average::update`] for another model.
    pub fn swap(&mut self, model: &mut Sequential<F>) -> Result<()> {
        let Some(weights) = &mut self.weights else {
            return Err(Error::setting("Average", "updates", "at least 1 before swap", 0));
        };
        if !self.swapped && !self.buffers {
            weights.check(model)?;
            // The model's own, which are then put back when the average comes out, whatever happens to them.
            weights.each(model, |saved, values| {
                if !saved.learned {
                    saved.values.copy_from_slice(values);
                }
            });
        }
        weights.swap(model)?;
        self.swapped = !self.swapped;
        Ok(())
    }

    /// Whether the average is in the model.
    pub fn is_swapped(&self) -> bool {
        self.swapped
    }

    /// Updates so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The average, or the trained parameters while the average is in the model.
    pub fn weights(&self) -> Option<&Weights<F>> {
        self.weights.as_ref()
    }

    /// Goes on from what [`Average::count`] and [`Average::weights`] gave while the average was not in the model.
    ///
    /// ```
    /// use layerwise::prelude::*;
    /// use layerwise::training::{Average, Weights};
    ///
    /// let mut model = Sequential::builder([1]).add(Linear::new(1).bias(false).weight_init(Zeros)).build()?;
    /// let mut average = Average::polyak();
    /// average.restore(1, Weights::of(&model)); // the first of two was 0
    /// model.set_value("0.weight", &ndarray::arr2(&[[3.0]]))?;
    /// average.update(&model)?;
    /// assert_eq!(average.weights().unwrap().iter().next().unwrap().2, [1.5]);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn restore(&mut self, count: u64, weights: Weights<F>) {
        (self.count, self.weights, self.swapped) = (count, Some(weights), false);
    }

    /// Forgets everything; the model is left as it is.
    pub fn reset(&mut self) {
        (self.count, self.weights, self.swapped) = (0, None, false);
    }

    /// How much update number `i` counts.
    fn weight(&self, i: u64) -> f64 {
        match self.rule {
            Rule::Mean => 1.0 / i as f64,
            Rule::Exponential { decay } if self.bias_correction => {
                (1.0 - decay) / (1.0 - decay.powf(i as f64))
            }
            Rule::Exponential { decay } => 1.0 - decay,
        }
    }

    fn check(&self) -> Result<()> {
        if let Rule::Exponential { decay } = self.rule {
            ensure(
                (0.0..1.0).contains(&decay),
                "Average",
                "decay",
                "at least 0 and below 1",
                decay,
            )?;
        }
        let (Rhythm::Steps(every) | Rhythm::Epochs(every)) = self.rhythm;
        ensure(every > 0, "Average", "every", "at least 1", every)
    }

    /// Updates, if it is time.
    fn tick(&mut self, run: &Run<'_, F>, every: u64) -> Result<()> {
        if run.now.epoch < self.from_epoch {
            return Ok(());
        }
        self.ticks += 1;
        if self.ticks.is_multiple_of(every) { self.update(run.model) } else { Ok(()) }
    }

    fn swap_out(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        if self.swapped { self.swap(run.model) } else { Ok(()) }
    }
}

/// The average so far.
impl<F: Scalar> Resumable<F> for Average<F> {
    fn save_state<'a>(&'a self, out: &mut PartWriter<'a, F>) {
        out.value("count", self.count);
        out.value("ticks", self.ticks);
        out.value("swapped", self.swapped);
        if let Some(weights) = &self.weights {
            weights.save_state(out);
        }
    }

    fn load_state(&mut self, saved: &mut PartReader<'_, F>) -> Result<()> {
        let weights = match saved.option::<usize>("arrays")? {
            Some(_) => Some(Weights::load_state(saved)?),
            None => None,
        };
        let (count, ticks) = (saved.value("count")?, saved.value("ticks")?);
        let swapped = saved.value("swapped")?;
        (self.weights, self.count, self.ticks, self.swapped) = (weights, count, ticks, swapped);
        Ok(())
    }
}

impl<F: Scalar> Callback<F> for Average<F> {
    fn fit_begin(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        self.check()?;
        self.swap_out(run)
    }

    fn batch_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        if let Rhythm::Steps(every) = self.rhythm { self.tick(run, every) } else { Ok(()) }
    }

    fn validation_begin(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        // At the end of an epoch comes validation first: an average of epochs lacks this one.
        if self.validate && self.count > 0 { self.swap(run.model) } else { Ok(()) }
    }

    fn validation_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        self.swap_out(run)
    }

    fn epoch_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        if let Rhythm::Epochs(every) = self.rhythm { self.tick(run, every) } else { Ok(()) }
    }

    fn fit_end(&mut self, run: &mut Run<'_, F>) -> Result<()> {
        self.swap_out(run)?;
        if self.keep && self.count > 0 && !run.has_failed() { self.swap(run.model) } else { Ok(()) }
    }

    fn resumable(&mut self) -> Option<(&'static str, &mut dyn Resumable<F>)> {
        Some(("Average", self))
    }
}
