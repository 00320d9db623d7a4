//! Running trials.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Point, Results, Space, Status, Trial, TrialRecord};
use crate::error::ensure;
use crate::kernels::parallel::{self, Cost};
use crate::{Error, Result, Seed};

/// A search through a [`Space`], whose trials are calls of a function that trains and measures.
///
/// The function gets a [`Trial`] and returns the figure to be minimized, a validation loss, or maximized
/// ([`Search::maximize`]), an accuracy. An error ends that trial alone. Judge by validation data, one fold is enough, and keep the test
/// data for the end.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// use layerwise::search::{Search, Space};
/// use layerwise::training::{EpochEnd, Run};
///
/// let x = Array2::<f32>::from_shape_fn((64, 2), |(i, j)| ((i * (j + 3)) % 7) as f32 / 7.0);
/// let classes: Vec<usize> = x.outer_iter().map(|row| usize::from(row[0] > row[1])).collect();
/// let data = Dataset::new(x.into_dyn(), classes)?;
/// let space = Space::new().log_uniform("lr", 1e-4, 10.0).integer("units", 2, 16);
///
/// let results = Search::new(space, Seed::new(1)).workers(2).random(6, 5, |trial| {
///     let mut model = Sequential::builder([2])
///         .add(Linear::new(trial.point().size("units")?))
///         .add(Relu)
///         .add(Linear::new(2))
///         .seed(1)
///         .build()?;
///     let optimizer = ModelOptimizer::new(Sgd::new(), trial.point().number("lr")?);
///     let mut trainer = Trainer::new(CrossEntropy::new(), optimizer).epochs(trial.budget());
///     let mut train = data.batches(16)?.shuffled(trial.seed());
///     let mut report = EpochEnd(|run: &mut Run<'_>| trial.report(run.now.loss));
///     trainer.fit_with(&mut model, &mut train, None, &mut [&mut report])?;
///     Ok(trainer.evaluate(&model, &mut data.batches(64)?)?.loss)
/// })?;
/// assert_eq!(results.trials.len(), 6);
/// assert!(results.best().unwrap().value().unwrap() < 0.7);
/// println!("{results}");
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// A search fails for a space that makes no sense, and for 0 workers, trials or a budget of 0 ([`Error::Setting`]).
#[derive(Debug)]
pub struct Search {
    pub(super) space: Space,
    pub(super) seed: Seed,
    workers: usize,
    pub(super) maximize: bool,
    #[cfg(feature = "json")]
    path: Option<std::path::PathBuf>,
}

/// A trial to be run.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) id: u64,
    pub(super) stage: u64,
    pub(super) budget: u64,
    pub(super) point: Point,
}

/// Most points of a grid.
const MOST: usize = 1_000_000;

impl Search {
    /// Smaller figures are better; one trial after the other.
    pub fn new(space: Space, seed: Seed) -> Self {
        Self {
            space,
            seed,
            workers: 1,
            maximize: false,
            #[cfg(feature = "json")]
            path: None,
        }
    }

    /// How many trials run at once, at least 1, on the threads of the rayon pool that the caller is in; default 1. Each trial's own
    /// kernels use the same threads.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Whether larger figures are better; default false.
    pub fn maximize(mut self, maximize: bool) -> Self {
        self.maximize = maximize;
        self
    }

    /// Writes each trial to this file as soon as it has ended, one line of JSON each. If the file is there, trials that it has
    /// are not run again: an interrupted search goes on. A line that cannot be read, as after a crash, is
    /// named in [`Results::unreadable`], and its trial run again.
    ///
    /// The file belongs to one search: the same space, seed and method. Lines are only ever added.
    #[cfg(feature = "json")]
    pub fn results(mut self, path: impl Into<std::path::PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Tries `trials` random points, at least 1, each with this budget.
    ///
    /// # Errors
    /// See [`Search`].
    pub fn random(
        &self,
        trials: usize,
        budget: u64,
        objective: impl Fn(&mut Trial<'_>) -> Result<f64> + Sync,
    ) -> Result<Results> {
        ensure(trials > 0, "Search", "trials", "at least 1", trials)?;
        let points = (0..trials as u64).map(|id| self.space.draw(self.draw_seed(id)));
        let points = points.collect::<Result<Vec<_>>>()?;
        self.all(format!("random, {trials} trials, budget {budget}"), points, budget, &objective)
    }

    /// Tries every combination of `per_range` evenly spaced values, at least 1, of each range, bounds included, and
    /// every option of each choice.
    ///
    /// # Errors
    /// See [`Search`]; also for more than a million points.
    ///
    /// ```
    /// use layerwise::Seed;
    /// use layerwise::search::{Search, Space};
    ///
    /// let space = Space::new().uniform("x", 0.0, 1.0).choice("sign", &["plus", "minus"]);
    /// let results = Search::new(space, Seed::new(0)).grid(3, 1, |trial| {
    ///     let x = trial.point().number("x")?;
    ///     Ok(if trial.point().choice("sign")? == "plus" { x } else { -x })
    /// })?;
    /// assert_eq!((results.trials.len(), results.best().unwrap().value()), (6, Some(-1.0)));
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn grid(
        &self,
        per_range: usize,
        budget: u64,
        objective: impl Fn(&mut Trial<'_>) -> Result<f64> + Sync,
    ) -> Result<Results> {
        let points = self.space.grid(per_range, MOST)?;
        self.all(
            format!("grid, {per_range} per range, budget {budget}"),
            points,
            budget,
            &objective,
        )
    }

    fn all(
        &self,
        plan: String,
        points: Vec<Point>,
        budget: u64,
        objective: &(dyn Fn(&mut Trial<'_>) -> Result<f64> + Sync),
    ) -> Result<Results> {
        let mut session = Session::open(self, &plan)?;
        let jobs = points.into_iter().zip(0..);
        let jobs = jobs.map(|(point, id)| Job { id, stage: 0, budget, point });
        session.run(jobs.collect(), objective)?;
        Ok(session.finish())
    }

    /// The seed that trial `id` of a plain random search is drawn from.
    pub(super) fn draw_seed(&self, id: u64) -> Seed {
        self.seed.fold_str("draw").fold(id)
    }
}

/// A search under way.
pub(super) struct Session<'s> {
    search: &'s Search,
    pub(super) results: Results,
    #[cfg(feature = "json")]
    log: Option<Mutex<super::log::Log>>,
}

impl<'s> Session<'s> {
    /// `plan`: the method with its settings, by which a results file is known.
    pub(super) fn open(search: &'s Search, plan: &str) -> Result<Self> {
        search.space.check()?;
        ensure(search.workers > 0, "Search", "workers", "at least 1", search.workers)?;
        #[cfg(not(feature = "json"))]
        let _ = plan;
        let results = Results {
            trials: Vec::new(),
            warnings: Vec::new(),
            unreadable: Vec::new(),
            resumed: 0,
            maximize: search.maximize,
        };
        #[cfg(feature = "json")]
        let log = search.path.as_deref().map(|path| {
            let aim = if search.maximize { "maximize" } else { "minimize" };
            let seed = search.seed.bits(0);
            super::log::Log::open(path, &format!("{plan}; {aim}; seed {seed}; {}", search.space))
        });
        let session = Self {
            search,
            results,
            #[cfg(feature = "json")]
            log: log.transpose()?.map(Mutex::new),
        };
        Ok(session)
    }

    /// Runs jobs, or finds them in the file. Returns their records in order, and adds them to the results.
    pub(super) fn run(
        &mut self,
        jobs: Vec<Job>,
        objective: &(dyn Fn(&mut Trial<'_>) -> Result<f64> + Sync),
    ) -> Result<Vec<TrialRecord>> {
        let budgets = jobs.iter().all(|job| job.budget > 0);
        ensure(budgets, "Search", "budget", "at least 1", 0)?;
        let records: Vec<Mutex<Option<TrialRecord>>> =
            jobs.iter().map(|job| Mutex::new(self.known(job))).collect();
        let missing: Vec<usize> =
            (0..jobs.len()).filter(|&i| lock(&records[i]).is_none()).collect();
        self.results.resumed += jobs.len() - missing.len();
        let (next, problem) = (AtomicUsize::new(0), Mutex::new(None));
        let session = &*self;
        let work = |_worker: usize| {
            while let Some(&i) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                let record = session.evaluate(&jobs[i], objective);
                if let Err(error) = session.write(&record) {
                    *lock(&problem) = Some(error);
                }
                *lock(&records[i]) = Some(record);
                if lock(&problem).is_some() {
                    break;
                }
            }
        };
        parallel::each(self.search.workers.min(missing.len()), Cost::WORTH, work);
        if let Some(problem) = lock(&problem).take() {
            return Err(problem);
        }
        let records: Vec<_> = records.iter().filter_map(|record| lock(record).take()).collect();
        self.results.trials.extend(records.iter().cloned());
        Ok(records)
    }

    fn evaluate(
        &self,
        job: &Job,
        objective: &(dyn Fn(&mut Trial<'_>) -> Result<f64> + Sync),
    ) -> TrialRecord {
        let seed = self.search.seed.fold_str("trial").fold(job.id);
        let Job { id, stage, budget, ref point } = *job;
        let mut trial = Trial { id, point, budget, seed, reports: Vec::new() };
        let status = match objective(&mut trial) {
            Ok(value) if value.is_finite() => Status::Done(value),
            Ok(value) => Status::Aborted(format!("the result is {value}")),
            Err(Error::Aborted(why)) => Status::Aborted(why),
            Err(error) if error.is_non_finite() => Status::Aborted(error.to_string()),
            Err(error) => Status::Failed(error.to_string()),
        };
        TrialRecord { id, stage, budget, point: point.clone(), status, reports: trial.reports }
    }

    #[cfg(feature = "json")]
    fn known(&self, job: &Job) -> Option<TrialRecord> {
        self.log.as_ref().and_then(|log| lock(log).find(job))
    }

    #[cfg(not(feature = "json"))]
    fn known(&self, _job: &Job) -> Option<TrialRecord> {
        None
    }

    #[cfg(feature = "json")]
    fn write(&self, record: &TrialRecord) -> Result<()> {
        self.log.as_ref().map_or(Ok(()), |log| lock(log).write(record))
    }

    #[cfg(not(feature = "json"))]
    fn write(&self, _record: &TrialRecord) -> Result<()> {
        Ok(())
    }

    pub(super) fn finish(self) -> Results {
        #[cfg(feature = "json")]
        let unreadable =
            self.log.map_or(Vec::new(), |log| std::mem::take(&mut lock(&log).unreadable));
        #[cfg(not(feature = "json"))]
        let unreadable = Vec::new();
        Results { unreadable, ..self.results }
    }

    /// The records that came to a figure, the best first; of equals the first.
    pub(super) fn ranked(&self, mut records: Vec<TrialRecord>) -> Vec<TrialRecord> {
        records.retain(|record| record.value().is_some());
        let sign = if self.search.maximize { -1.0 } else { 1.0 };
        let key = |record: &TrialRecord| record.value().map_or(f64::INFINITY, |value| sign * value);
        records.sort_by(|a, b| key(a).total_cmp(&key(b)));
        records
    }
}

/// A panic elsewhere left a record that is whole or none.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
