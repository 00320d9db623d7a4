//! Dividing data: training, validation and test parts, folds.

use super::{Dataset, Targets};
use crate::{Error, Result, Scalar, Seed};

impl<F: Scalar, T: Targets> Dataset<F, T> {
    /// Divides the samples at random into parts of these fractions: training, validation and test, say.
    ///
    /// Every sample is in exactly one part; sizes are rounded so that they add up. Shuffling comes from the
    /// seed.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let data = Dataset::new(Array2::<f32>::zeros((10, 4)).into_dyn(), (0..10).collect::<Vec<usize>>())?;
    /// let [train, valid, test] = data.split([0.6, 0.2, 0.2], Seed::new(1))?;
    /// assert_eq!((train.len(), valid.len(), test.len()), (6, 2, 2));
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] unless the fractions are above 0 and add up to 1; [`Error::Data`] if a part would be
    /// empty.
    pub fn split<const N: usize>(&self, fractions: [f64; N], seed: Seed) -> Result<[Self; N]> {
        check_fractions(&fractions)?;
        let order = shuffled(self.len(), seed)?;
        let mut parts: [Vec<usize>; N] = std::array::from_fn(|_| Vec::new());
        deal(&order, &fractions, &mut parts);
        self.parts(parts)
    }

    fn parts<const N: usize>(&self, parts: [Vec<usize>; N]) -> Result<[Self; N]> {
        if let Some(part) = parts.iter().position(Vec::is_empty) {
            return Err(Error::Data(format!(
                "{} samples are too few for {N} parts: part {part} is empty",
                self.len()
            )));
        }
        let mut whole = Vec::with_capacity(N);
        for part in &parts {
            whole.push(self.select(part)?);
        }
        Ok(whole.try_into().unwrap_or_else(|_| unreachable!("as many parts as fractions")))
    }
}

impl<F: Scalar> Dataset<F> {
    /// Like [`Dataset::split`], and every part has each class in the same proportion, as nearly as whole
    /// samples allow.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let classes: Vec<usize> = (0..100).map(|i| usize::from(i < 10)).collect(); // 10 of class 1
    /// let data = Dataset::new(Array2::<f32>::zeros((100, 4)).into_dyn(), classes)?;
    /// let [train, test] = data.split_stratified([0.8, 0.2], Seed::new(1))?;
    /// assert_eq!(train.targets().iter().sum::<usize>(), 8);
    /// assert_eq!(test.targets().iter().sum::<usize>(), 2);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Dataset::split`].
    pub fn split_stratified<const N: usize>(
        &self,
        fractions: [f64; N],
        seed: Seed,
    ) -> Result<[Self; N]> {
        check_fractions(&fractions)?;
        let mut rng = seed.rng();
        let mut parts: [Vec<usize>; N] = std::array::from_fn(|_| Vec::new());
        for mut class in members(self.targets()) {
            rng.shuffle(&mut class);
            deal(&class, &fractions, &mut parts);
        }
        parts.iter_mut().for_each(|part| rng.shuffle(part));
        self.parts(parts)
    }
}

/// Training and validation indices of one fold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// To train on.
    pub train: Vec<usize>,
    /// To validate on: every sample is here in exactly one fold.
    pub valid: Vec<usize>,
}

/// Divides `count` samples at random into `k` folds for cross-validation: each fold validates on another
/// `k`-th and trains on the rest.
///
/// ```
/// use layerwise::data::k_folds;
/// use layerwise::prelude::*;
///
/// let data = Dataset::new(Array2::<f32>::zeros((10, 4)).into_dyn(), vec![0usize; 10])?;
/// for fold in k_folds(data.len(), 5, Seed::new(1))? {
///     let (train, valid) = (data.select(&fold.train)?, data.select(&fold.valid)?);
///     assert_eq!((train.len(), valid.len()), (8, 2));
/// }
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`Error::Setting`] unless `2 ≤ k ≤ count`; [`Error::Memory`] if there is no memory for so many indices.
pub fn k_folds(count: usize, k: usize, seed: Seed) -> Result<Vec<Fold>> {
    check_folds(count, k)?;
    Ok(folds(&shuffled(count, seed)?, k))
}

/// Like [`k_folds`], and every fold has each class in the same proportion, as nearly as whole samples allow.
///
/// ```
/// use layerwise::Seed;
/// use layerwise::data::stratified_k_folds;
///
/// let classes = [0, 0, 0, 0, 1, 1];
/// for fold in stratified_k_folds(&classes, 2, Seed::new(1))? {
///     assert_eq!(fold.valid.iter().filter(|&&i| classes[i] == 1).count(), 1);
/// }
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`Error::Setting`] unless `2 ≤ k ≤ samples`.
pub fn stratified_k_folds(classes: &[usize], k: usize, seed: Seed) -> Result<Vec<Fold>> {
    check_folds(classes.len(), k)?;
    let mut rng = seed.rng();
    let mut order = Vec::with_capacity(classes.len());
    for mut class in members(classes) {
        rng.shuffle(&mut class);
        order.append(&mut class);
    }
    Ok(folds(&order, k))
}

/// All indices below `count` in random order.
fn shuffled(count: usize, seed: Seed) -> Result<Vec<usize>> {
    let mut order = Vec::new();
    order.try_reserve_exact(count).map_err(|_| Error::Memory { batch: count, numel: 1 })?;
    order.extend(0..count);
    seed.rng().shuffle(&mut order);
    Ok(order)
}

/// Every `k`-th sample of `order` validates: neighbours of one class go to different folds.
fn folds(order: &[usize], k: usize) -> Vec<Fold> {
    let fold = |fold: usize| {
        let (mut train, mut valid) = (Vec::new(), Vec::new());
        for (place, &sample) in order.iter().enumerate() {
            if place % k == fold { valid.push(sample) } else { train.push(sample) }
        }
        Fold { train, valid }
    };
    (0..k).map(fold).collect()
}

/// The samples of each class, in order; classes that do not occur have none.
pub(super) fn members(classes: &[usize]) -> Vec<Vec<usize>> {
    // By a map: a stray class index of 2⁶⁰ must not ask for so many lists.
    let mut members = std::collections::BTreeMap::<usize, Vec<usize>>::new();
    for (sample, &class) in classes.iter().enumerate() {
        members.entry(class).or_default().push(sample);
    }
    members.into_values().collect()
}

/// Deals `samples` out to the parts: part `i` ends at the rounded sum of the fractions up to it.
fn deal(samples: &[usize], fractions: &[f64], parts: &mut [Vec<usize>]) {
    let (mut from, mut sum) = (0, 0.0);
    for (i, (part, fraction)) in parts.iter_mut().zip(fractions).enumerate() {
        sum += fraction;
        // `as` saturates; the last part takes what is left.
        let end = (sum * samples.len() as f64).round() as usize;
        let last = i + 1 == fractions.len();
        let to = if last { samples.len() } else { end.clamp(from, samples.len()) };
        part.extend_from_slice(&samples[from..to]);
        from = to;
    }
}

fn check_fractions(fractions: &[f64]) -> Result<()> {
    let sum: f64 = fractions.iter().sum();
    if fractions.iter().all(|&fraction| fraction > 0.0) && (sum - 1.0).abs() < 1e-6 {
        return Ok(());
    }
    Err(Error::Setting {
        kind: "Dataset",
        field: "fractions",
        must_be: "above 0 and 1 in total",
        got: format!("{fractions:?}"),
    })
}

fn check_folds(count: usize, k: usize) -> Result<()> {
    if (2..=count).contains(&k) {
        return Ok(());
    }
    Err(Error::Setting {
        kind: "k_folds",
        field: "k",
        must_be: "from 2 to the number of samples",
        got: format!("{k} for {count} samples"),
    })
}
