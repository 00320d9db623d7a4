//! Preprocessing: fitted figures, transformed data, and the way back.

use layerwise::data::Dataset;
use layerwise::ndarray::{ArrayD, ArrayView1, Axis};
use layerwise::preprocessing::{
    ChannelStandardize, Covariance, FeatureStandardize, MeanImage, MinMax, OneHot, Pca,
    Preprocessor, Projection, Scaling, Statistics, Transform, Zca,
};
use layerwise::{Scalar, Shape};

use super::check::{Check, Done};

/// Fitted at once and batch by batch, which must give the same.
fn fit<F: Scalar, P: Preprocessor>(
    check: &mut Check<'_, F>,
    preprocessor: &P,
    figures: impl Fn(&P::Fitted<F>) -> Vec<f64>,
) -> Result<P::Fitted<F>, Box<dyn std::error::Error>> {
    let x = check.tensor("x")?;
    let fitted = preprocessor.fit(&x)?;
    let samples = x.len_of(Axis(0));
    let data = Dataset::new(x, vec![0; samples])?;
    let streamed = preprocessor.fit_batches(&mut data.batches(4)?)?;
    check.same_values("streamed figures", &figures(&fitted), figures(&streamed));
    Ok(fitted)
}

pub(super) fn check_scaling<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    fn figures<F: Scalar>(scaling: &Scaling<F>) -> Vec<f64> {
        scaling.shift().iter().chain(scaling.scale()).map(|x| x.widen()).collect()
    }
    let kind = check.case.kind.clone();
    let scaling = match kind.as_str() {
        "mean_image" => fit(check, &MeanImage, figures)?,
        "channel_standardize" => fit(check, &ChannelStandardize, figures)?,
        "feature_standardize" => fit(check, &FeatureStandardize, figures)?,
        "min_max" => {
            let range = check.config().numbers("feature_range")?;
            let [low, high] = range[..] else { return Err("a range has two ends".into()) };
            let scaling = fit(check, &MinMax::new(low, high), figures)?;
            let end = |value: f64| -> Vec<f64> {
                let ends = scaling.shift().iter().zip(scaling.scale());
                ends.map(|(shift, scale)| shift.widen() + value * scale.widen()).collect()
            };
            check.same_elements("min", end(low))?;
            check.same_elements("max", end(high))?;
            scaling
        }
        other => return Err(format!("no preprocessor for {other}").into()),
    };
    if check.has("mean") {
        check.same_elements("mean", scaling.shift().iter().map(|x| x.widen()))?;
    }
    if check.has("std") {
        check.same_elements("std", scaling.scale().iter().map(|x| x.widen()))?;
    }
    let x = check.tensor("x")?;
    let y = scaling.apply(&x)?;
    check.same("y", &y)?;
    check.same("x", &scaling.inverse(&y)?)
}

pub(super) fn check_whitening<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let (eps, k) = (check.config().number("eps")?, check.config().whole("k")?);
    let x = check.tensor("x")?;
    let mut covariance = Covariance::new(&Shape::from(&x.shape()[1..]))?;
    covariance.update(x.as_slice().ok_or("x is not contiguous")?);
    check.same_elements("covariance", covariance.matrix())?;

    fn weights<F: Scalar>(projection: &Projection<F>) -> Vec<f64> {
        projection.weight().iter().map(|x| x.widen()).collect()
    }
    let rotation = fit(check, &Pca::new(), weights)?;
    check.same_elements("mean", rotation.mean().iter().map(|x| x.widen()))?;
    check.same_elements("eigenvalues", rotation.eigenvalues().iter().map(|x| x.widen()))?;
    same_columns(check, "components", &rotation.weight().t().to_owned())?;
    for (name, pca) in [
        ("rotated", Pca::new()),
        ("reduced", Pca::new().components(k)),
        ("whitened", Pca::new().whiten(true).eps(eps)),
    ] {
        let fitted = pca.fit(&x)?;
        let y = fitted.apply(&x)?;
        same_columns(check, name, &y)?;
        if name != "reduced" {
            check.same("x", &fitted.inverse(&y)?)?;
        }
    }
    let zca = fit(check, &Zca::new().eps(eps), weights)?;
    let y = zca.apply(&x)?;
    check.same("zca", &y)?;
    check.same("x", &zca.inverse(&y)?)
}

/// Columns are known up to their signs.
fn same_columns<F: Scalar>(check: &mut Check<'_, F>, name: &str, got: &ArrayD<F>) -> Done {
    let want = check.exact(name)?;
    let mut got = got.clone();
    let dot = |a: ArrayView1<'_, F>, b: ArrayView1<'_, f64>| -> f64 {
        a.iter().zip(b).map(|(a, b)| a.widen() * b).sum()
    };
    for (mut column, want) in got.axis_iter_mut(Axis(1)).zip(want.axis_iter(Axis(1))) {
        let column_1d = column.view().into_dimensionality()?;
        if dot(column_1d, want.into_dimensionality()?) < 0.0 {
            column.mapv_inplace(|x| -x);
        }
    }
    check.same(name, &got)
}

pub(super) fn check_one_hot<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let one_hot = OneHot::new(check.config().whole("classes")?);
    let ids = check.classes("ids")?;
    let rows = one_hot.apply::<F>(&ids)?;
    check.same("y", &rows)?;
    check.same_elements("ids", one_hot.inverse(&rows)?.into_iter().map(|class| class as f64))
}
