//! Running statistics anew, from the data.

use std::collections::HashMap;

use super::Weights;
use crate::data::Loader;
use crate::{
    Entry, EntryMut, Error, Mode, ParamName, Result, Scalar, Sequential, Statistics, Visitor,
    VisitorMut,
};

/// Computes every running statistic of a model anew: its mean over one epoch of batches, each counting the same. Returns
/// the number of batches; 0 if there is no statistic, and then nothing is read.
///
/// Averaged weights need it: batch norm's statistics belong to the weights that were trained, not to their mean
/// (Izmailov et al. 2018). PyTorch's `update_bn`. Batches run in train mode, dropout included. Parameters, the model's mode and
/// its random streams are as before, and the loader is back at the epoch's beginning. Statistics that stand still, because
/// they are [`Statistics::Fixed`] or their layer is frozen, are left alone.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// use layerwise::training::reestimate_statistics;
///
/// let x = ndarray::arr2(&[[1.0f32], [3.0], [5.0], [7.0]]).into_dyn();
/// let data = Dataset::new(x, vec![0; 4])?;
/// let mut model = Sequential::builder([1]).add(BatchNorm::new()).build()?;
/// assert_eq!(reestimate_statistics(&mut model, &mut data.batches(2)?)?, 2);
/// assert_eq!(model.value("0.running_mean").unwrap()[0], 4.0);
/// assert_eq!(model.value("0.running_var").unwrap()[0], 2.0); // of each batch, unbiased
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// What the model and the loader report; [`Error::Data`] if there is no batch. The model is then as it was.
#[doc(alias = "update_bn")]
pub fn reestimate_statistics<F: Scalar, B: Loader<F>>(
    model: &mut Sequential<F>,
    batches: &mut B,
) -> Result<u64> {
    let before = begin(model);
    if before.averaged == 0 {
        before.finish(model);
        return Ok(0);
    }
    batches.restart();
    let epoch = batches.epoch();
    let weights = Weights::of(model);
    model.train();
    let result = average(model, batches);
    batches.set_epoch(epoch);
    before.finish(model);
    if result.is_err() {
        weights.restore(model)?;
    }
    result
}

fn average<F: Scalar, B: Loader<F>>(model: &mut Sequential<F>, batches: &mut B) -> Result<u64> {
    let mut count = 0;
    while let Some(batch) = batches.next_batch()? {
        model.forward(batch.x)?;
        count += 1;
    }
    if count == 0 {
        return Err(Error::Data("statistics need at least one batch, got none".into()));
    }
    Ok(count)
}

/// How a model was before.
struct Before {
    statistics: Vec<Statistics>,
    averaged: usize,
    mode: Mode,
    passes: u64,
}

/// Lets every statistic that moves become a mean.
fn begin<F: Scalar>(model: &mut Sequential<F>) -> Before {
    let frozen = frozen_layers(model);
    let (mut statistics, mut averaged) = (Vec::new(), 0);
    model.visit_mut(&mut VisitorMut::new(&mut |name, entry| {
        let EntryMut::Buffer(buffer) = entry else { return };
        statistics.push(buffer.statistics());
        let stands = match buffer.statistics() {
            Statistics::Fixed => true,
            Statistics::Auto => frozen.get(&layer_of(name)).copied().unwrap_or(false),
            _ => false,
        };
        if !stands {
            buffer.set_statistics(Statistics::Average);
            averaged += 1;
        }
    }));
    Before { statistics, averaged, mode: model.mode(), passes: model.passes() }
}

impl Before {
    fn finish<F: Scalar>(self, model: &mut Sequential<F>) {
        let mut statistics = self.statistics.into_iter();
        model.visit_mut(&mut VisitorMut::new(&mut |_, entry| {
            if let EntryMut::Buffer(buffer) = entry
                && let Some(statistics) = statistics.next()
            {
                buffer.set_statistics(statistics);
            }
        }));
        model.set_passes(self.passes);
        match self.mode {
            Mode::Train => model.train(),
            Mode::Eval => model.eval(),
        }
    }
}

/// Layers with parameters, and whether all of these are frozen.
fn frozen_layers<F: Scalar>(model: &Sequential<F>) -> HashMap<String, bool> {
    let mut frozen = HashMap::new();
    model.visit(&mut Visitor::new(&mut |name, entry| {
        if let Entry::Param(param) = entry {
            *frozen.entry(layer_of(name)).or_insert(true) &= !param.trainable();
        }
    }));
    frozen
}

fn layer_of(name: &ParamName<'_>) -> String {
    let name = name.to_string();
    name.rsplit_once('.').map_or(String::new(), |(layer, _)| layer.into())
}
