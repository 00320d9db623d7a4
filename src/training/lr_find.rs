//! Which learning rate? Try them all, and forget it.

use super::{Trainer, Weights};
use crate::data::{Loader, Targets};
use crate::error::ensure;
use crate::{Error, Loss, Mode, Result, Scalar, Sequential};

/// The range of rates that [`Trainer::lr_find`] tries, and how.
///
/// ```
/// use layerwise::training::LrFinder;
///
/// let finder = LrFinder::new().start(1e-5).end(1.0).steps(200);
/// assert_eq!(finder.lr(0), 1e-5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LrFinder {
    start: f64,
    end: f64,
    steps: usize,
    stop_at_divergence: bool,
}

impl Default for LrFinder {
    fn default() -> Self {
        Self::new()
    }
}

impl LrFinder {
    /// fastai's defaults: from 1e-7 to 10 in 100 steps.
    pub fn new() -> Self {
        Self { start: 1e-7, end: 10.0, steps: 100, stop_at_divergence: true }
    }

    /// The first rate, above 0; default 1e-7.
    pub fn start(mut self, start: f64) -> Self {
        self.start = start;
        self
    }

    /// The rate after the last, above the first; default 10.
    pub fn end(mut self, end: f64) -> Self {
        self.end = end;
        self
    }

    /// How many batches; default 100. At least 6 are taken.
    pub fn steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Whether to end when the smoothed loss is above 4 times its smallest; default true.
    pub fn stop_at_divergence(mut self, stop: bool) -> Self {
        self.stop_at_divergence = stop;
        self
    }

    /// The rate of step `i`, from 0: `start · (end / start)^(i / steps)`.
    pub fn lr(&self, i: usize) -> f64 {
        self.start * (self.end / self.start).powf(i as f64 / self.planned() as f64)
    }

    fn planned(&self) -> usize {
        self.steps.max(6)
    }

    fn check(&self) -> Result<()> {
        let valid = self.start > 0.0 && self.start.is_finite();
        ensure(valid, "LrFinder", "start", "above 0", self.start)?;
        let valid = self.end > self.start && self.end.is_finite();
        ensure(valid, "LrFinder", "end", "above start", self.end)
    }
}

/// Losses at rising rates: what [`Trainer::lr_find`] returns.
///
/// The four suggestions are fastai's, on the smoothed losses without their first tenth and last five. Each is `None` if too
/// little is left. Start with [`LrCurve::valley`], and look at the curve.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LrCurve {
    /// The rates tried.
    pub lrs: Vec<f64>,
    /// The smoothed loss at each.
    pub losses: Vec<f64>,
    /// The loss of each batch.
    pub batch_losses: Vec<f64>,
    planned: usize,
    /// Whether it ended at a loss or gradient that was not finite.
    non_finite: bool,
}

/// Weight of the old value in the smoothed loss.
const SMOOTHING: f64 = 0.98;

impl LrCurve {
    /// A curve from elsewhere: smoothed losses at rates that were tried in a plan of `planned` steps.
    ///
    /// ```
    /// use layerwise::training::LrCurve;
    ///
    /// let lrs: Vec<f64> = (0..100).map(|i| 1e-7 * 10f64.powf(i as f64 * 0.08)).collect();
    /// let losses = lrs.iter().map(|lr| (lr.log10() + 1.0).powi(2)).collect(); // smallest at 0.1
    /// let curve = LrCurve::new(lrs, losses, 100);
    /// assert!((curve.minimum().unwrap() - 0.01).abs() < 1e-3); // a tenth of it
    /// ```
    pub fn new(lrs: Vec<f64>, losses: Vec<f64>, planned: usize) -> Self {
        Self { lrs, batch_losses: losses.clone(), losses, planned, non_finite: false }
    }

    /// What suggestions look at.
    fn window(&self) -> (&[f64], &[f64]) {
        let len = self.lrs.len().min(self.losses.len());
        // Where a loss was not finite, fastai's list goes on with NaN, and these are the last five.
        let missing = if self.non_finite { self.planned.saturating_sub(len) } else { 0 };
        let to = len.saturating_sub(5usize.saturating_sub(missing));
        let from = (self.planned / 10).min(to);
        let losses = &self.losses[from..to];
        let finite = losses.iter().position(|loss| loss.is_nan()).unwrap_or(losses.len());
        (&self.lrs[from..from + finite], &losses[..finite])
    }

    /// A rate in the middle of the longest descent: fastai's `valley`, its default. It takes the longest
    /// strictly falling subsequence of losses, and of its span the point half of the way.
    pub fn valley(&self) -> Option<f64> {
        let (lrs, losses) = self.window();
        let mut lengths = vec![1usize; losses.len()];
        // The start is `end − length`, which is not where the subsequence begins, and before the first for an all-falling
        // curve: as in fastai.
        let (mut start, mut end) = (0isize, 0);
        for i in 1..losses.len() {
            for j in 0..i {
                if losses[i] < losses[j] && lengths[i] < lengths[j] + 1 {
                    lengths[i] = lengths[j] + 1;
                }
                if lengths[end] < lengths[i] {
                    end = i;
                    start = end as isize - lengths[end] as isize;
                }
            }
        }
        let sections = (end as isize - start) as f64 / 3.0;
        let at = start + sections as isize + (sections / 2.0) as isize;
        // Python counts −1 from the end.
        let at = if at < 0 { at + lrs.len() as isize } else { at };
        usize::try_from(at).ok().and_then(|at| lrs.get(at).copied())
    }

    /// A tenth of the rate where the loss is smallest.
    pub fn minimum(&self) -> Option<f64> {
        let (lrs, losses) = self.window();
        first_smallest(losses).map(|at| lrs[at] / 10.0)
    }

    /// The rate where the loss falls most steeply against the rate's logarithm.
    pub fn steep(&self) -> Option<f64> {
        let (lrs, losses) = self.window();
        let slopes: Vec<f64> = (1..losses.len())
            .map(|k| (losses[k] - losses[k - 1]) / (lrs[k].ln() - lrs[k - 1].ln()))
            .collect();
        first_smallest(&slopes).map(|at| lrs[at])
    }

    /// The rate before the slope changes much, seen from the end: fastai's `slide` with its defaults.
    pub fn slide(&self) -> Option<f64> {
        self.slide_with(15, 0.005, 1.0)
    }

    /// Like [`LrCurve::slide`]. `lr_diff`: how many steps are between the two slopes compared; `threshold`: by how much
    /// they may differ; `adjust`: factor on the result.
    pub fn slide_with(&self, lr_diff: usize, threshold: f64, adjust: f64) -> Option<f64> {
        let (lrs, losses) = self.window();
        let slopes = central_differences(losses)?;
        let mut right = losses.len() - 1;
        let mut left = right.checked_sub(lr_diff)?;
        let mut found = lrs[left];
        while (slopes[right] - slopes[left]).abs() > threshold {
            found = lrs[left];
            if left == 0 {
                break;
            }
            (right, left) = (right - 1, left - 1);
        }
        Some(found * adjust)
    }
}

fn first_smallest(values: &[f64]) -> Option<usize> {
    (0..values.len()).reduce(|best, i| if values[i] < values[best] { i } else { best })
}

/// NumPy's `gradient`: by index, one-sided at the ends.
fn central_differences(values: &[f64]) -> Option<Vec<f64>> {
    let last = values.len().checked_sub(1).filter(|&last| last > 0)?;
    let slope = |i: usize| match i {
        0 => values[1] - values[0],
        i if i == last => values[last] - values[last - 1],
        i => (values[i + 1] - values[i - 1]) / 2.0,
    };
    Some((0..=last).map(slope).collect())
}

impl<F: Scalar, L: Loss<F>> Trainer<L, F> {
    /// Trains for some batches at rising learning rates, and puts everything back: fastai's `lr_find`. The course: it "increases
    /// lr until loss increases".
    ///
    /// Restored are parameters, running statistics, the optimizer's state, rate and schedules, random streams and the
    /// order of the data: [`Trainer::fit`] afterwards gives the same bits as without. Only gradients that were gathered and not
    /// used are lost. Schedules rest meanwhile, and the rate of a group keeps its ratio to the base rate.
    ///
    /// # Errors
    /// What [`Trainer::step`] and the loader report, and [`Error::Setting`] for a range that makes no sense; all is restored then
    /// too. A loss or gradient that is not finite is no error: the curve ends there.
    ///
    /// # Examples
    /// ```
    /// use layerwise::prelude::*;
    /// use layerwise::training::LrFinder;
    ///
    /// let mut rng = Seed::new(1).rng();
    /// let x = Array2::from_shape_simple_fn((256, 4), || rng.normal() as f32);
    /// let classes: Vec<usize> = x.outer_iter().map(|row| usize::from(row.sum() > 0.0)).collect();
    /// let data = Dataset::new(x.into_dyn(), classes)?;
    /// let mut model = Sequential::builder([4]).add(Linear::new(2)).seed(1).build()?;
    /// let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Sgd::new(), 0.1));
    /// let curve = trainer.lr_find(&mut model, &mut data.batches(32)?, &LrFinder::new())?;
    /// let lr = curve.valley().unwrap();
    /// assert!(lr > 1e-4 && lr < 10.0, "{lr}");
    /// trainer.optimizer_mut().set_lr(lr);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    ///
    /// # References
    /// Smith 2017 (LR range test); fastai's `lr_find`, whose defaults and suggestions these are.
    pub fn lr_find<B>(
        &mut self,
        model: &mut Sequential<F>,
        train: &mut B,
        finder: &LrFinder,
    ) -> Result<LrCurve>
    where
        B: Loader<F, Targets: Targets<Target = L::Target>>,
    {
        finder.check()?;
        train.restart();
        let (epoch, weights) = (train.epoch(), Weights::of(model));
        let (mode, passes) = (model.mode(), model.passes());
        let probe = self.optimizer.begin_probe();
        model.train();
        model.zero_grad();
        let result = self.sweep(model, train, finder);
        self.optimizer.end_probe(probe);
        model.zero_grad();
        model.set_passes(passes);
        if mode == Mode::Eval {
            model.eval();
        }
        train.set_epoch(epoch);
        weights.restore(model)?;
        result
    }

    fn sweep<B>(
        &mut self,
        model: &mut Sequential<F>,
        train: &mut B,
        finder: &LrFinder,
    ) -> Result<LrCurve>
    where
        B: Loader<F, Targets: Targets<Target = L::Target>>,
    {
        let mut curve = LrCurve::new(Vec::new(), Vec::new(), finder.planned());
        let (mut smooth, mut best) = (0.0, f64::INFINITY);
        // Steps taken when an epoch last ended: an epoch without any would repeat for ever.
        let mut seen = usize::MAX;
        while curve.lrs.len() < finder.planned() {
            let Some(batch) = train.next_batch()? else {
                let before = std::mem::replace(&mut seen, curve.lrs.len());
                if before == seen || curve.lrs.is_empty() {
                    return Err(Error::Data("an epoch needs at least one batch, got none".into()));
                }
                continue;
            };
            let lr = finder.lr(curve.lrs.len());
            self.optimizer.set_lr(lr);
            let step = match self.step(model, batch.x, &batch.target) {
                Err(error) if error.is_non_finite() => {
                    curve.non_finite = true;
                    break;
                }
                step => step?,
            };
            let loss = step.loss.widen();
            smooth = SMOOTHING * smooth + (1.0 - SMOOTHING) * loss;
            let corrected = smooth / (1.0 - SMOOTHING.powf(curve.lrs.len() as f64 + 1.0));
            curve.lrs.push(lr);
            curve.losses.push(corrected);
            curve.batch_losses.push(loss);
            best = corrected.min(best);
            if finder.stop_at_divergence && corrected > 4.0 * best {
                break;
            }
        }
        Ok(curve)
    }
}
