//! Losses: gradients against finite differences, options against PyTorch's values, extremes.

use layerwise::ndarray::{ArrayRef, IxDyn, arr1, arr2};
use layerwise::prelude::*;

use crate::support::{bits, labels, normal, text};

/// A loss with its target fixed: the value, and the gradient if there is room for it.
type Fixed = Box<dyn Fn(&ArrayD<f64>, Option<&mut ArrayD<f64>>) -> Result<f64>>;

fn fixed<T: ?Sized, O>(loss: impl Loss<f64, Target = T> + 'static, target: O) -> Fixed
where
    O: std::borrow::Borrow<T> + 'static,
{
    Box::new(move |x, grad| match grad {
        Some(grad) => loss.value_and_grad(x.view(), target.borrow(), grad.view_mut()),
        None => loss.value(x.view(), target.borrow()),
    })
}

fn by_class(loss: impl Loss<f64, Target = [usize]> + 'static) -> Fixed {
    fixed::<[usize], Vec<usize>>(loss, labels(6, 5, 3))
}

fn by_element(
    loss: impl Loss<f64, Target = ArrayRef<f64, IxDyn>> + 'static,
    target: ArrayD<f64>,
) -> Fixed {
    Box::new(move |x, grad| match grad {
        Some(grad) => loss.value_and_grad(x.view(), &target, grad.view_mut()),
        None => loss.value(x.view(), &target),
    })
}

/// Every loss in every form, on predictions `[6, 5]` of its kind.
fn losses() -> Vec<(&'static str, Fixed, ArrayD<f64>)> {
    let scores = || normal::<f64>(&[6, 5], 1) * 2.0;
    let values = || normal::<f64>(&[6, 5], 2);
    let probabilities = |seed| normal::<f64>(&[6, 5], seed).mapv(|x| 1.0 / (1.0 + (-x).exp()));
    let weights = [1.0, 2.0, 0.5, 0.0, 3.0];
    let sum = Reduction::Sum;
    vec![
        ("cross-entropy", by_class(CrossEntropy::new()), scores()),
        (
            "cross-entropy with everything",
            by_class(
                CrossEntropy::new()
                    .class_weights(weights)
                    .label_smoothing(0.2)
                    .ignore_index(labels(6, 5, 3)[2]),
            ),
            scores(),
        ),
        ("hinge", by_class(MulticlassHinge::new().reduction(sum)), scores()),
        ("weighted hinge", by_class(MulticlassHinge::new().class_weights(weights)), scores()),
        ("squared hinge", by_class(MulticlassHinge::new().squared(true).margin(0.5)), scores()),
        ("nll", by_class(Nll::new().class_weights(weights)), scores()),
        ("focal", by_class(Focal::default()), scores()),
        ("focal 0.5", by_class(Focal::new(0.5).class_weights(weights).reduction(sum)), scores()),
        ("soft", by_element(SoftCrossEntropy::new(), probabilities(4)), scores()),
        (
            "soft with everything",
            by_element(
                SoftCrossEntropy::new().class_weights(weights).label_smoothing(0.1).reduction(sum),
                probabilities(4),
            ),
            scores(),
        ),
        ("binary", by_element(BinaryCrossEntropy::new(), probabilities(5)), scores()),
        (
            "weighted binary",
            by_element(BinaryCrossEntropy::new().pos_weight(weights), probabilities(5)),
            scores(),
        ),
        (
            "binary from probabilities",
            by_element(BinaryCrossEntropy::from_probabilities(), probabilities(5)),
            probabilities(6),
        ),
        (
            "weighted binary from probabilities",
            by_element(
                BinaryCrossEntropy::from_probabilities().pos_weight(weights).reduction(sum),
                probabilities(5),
            ),
            probabilities(6),
        ),
        ("kl", by_element(KlDivergence::new(), probabilities(7)), scores()),
        ("mse", by_element(Mse::new(), values()), scores()),
        ("mae", by_element(Mae::new().reduction(sum), values()), scores()),
        ("huber", by_element(Huber::new(0.7), values()), scores()),
        ("smooth l1", by_element(SmoothL1::new(0.7), values()), scores()),
    ]
}

#[test]
fn every_gradient_equals_the_finite_difference() {
    let h = 1e-5;
    for (name, loss, x) in losses() {
        let mut grad = ArrayD::from_elem(x.raw_dim(), f64::NAN);
        loss(&x, Some(&mut grad)).expect("a good batch");
        for i in 0..x.len() {
            let moved = |by: f64| {
                let mut x = x.clone();
                x.as_slice_mut().expect("row-major")[i] += by;
                loss(&x, None).expect("a good batch")
            };
            let difference = (moved(h) - moved(-h)) / (2.0 * h);
            let got = grad.as_slice().expect("row-major")[i];
            // h² of truncation and ε / h of rounding, for values up to about 100.
            let tolerance = 1e-8 * (1.0 + got.abs());
            assert!((got - difference).abs() < tolerance, "{name} at {i}: {got} and {difference}");
        }
    }
}

#[test]
fn the_value_is_the_same_with_and_without_gradient_and_in_any_layout() {
    for (name, loss, x) in losses() {
        let mut grad = ArrayD::from_elem(x.raw_dim(), f64::NAN);
        let value = loss(&x, Some(&mut grad)).expect("a good batch");
        assert_eq!(value, loss(&x, None).expect("a good batch"), "{name}");
        // The same elements, column after column.
        let columns = |array: &ArrayD<f64>| array.t().as_standard_layout().into_owned();
        let (x, mut turned) = (columns(&x), columns(&grad) * f64::NAN);
        turned.swap_axes(0, 1);
        assert_eq!(
            loss(&x.reversed_axes(), Some(&mut turned)).expect("a good batch"),
            value,
            "{name}"
        );
        assert_eq!(bits(turned.view()), bits(grad.view()), "{name}");
    }
}

fn scores() -> ArrayD<f64> {
    arr2(&[[0.5, -1.0, 2.0], [1.5, 0.25, -0.5], [-2.0, 0.0, 1.0], [3.0, -1.0, 0.5]]).into_dyn()
}

/// Value, the first row's gradient and the sum of all gradients' sizes.
fn same(loss: Fixed, value: f64, first: [f64; 3], sizes: f64) {
    let mut grad = ArrayD::from_elem(IxDyn(&[4, 3]), f64::NAN);
    let got = loss(&scores(), Some(&mut grad)).expect("a good batch");
    let close = |got: f64, want: f64| {
        assert!((got - want).abs() < 1e-14 * (1.0 + want.abs()), "{got} {want}")
    };
    close(got, value);
    for (got, want) in grad.iter().zip(first) {
        close(*got, want);
    }
    close(grad.mapv(f64::abs).sum(), sizes);
}

/// The values are PyTorch 2.15's, in `f64`; focal's are its formula there, by autograd.
#[test]
fn options_do_what_they_do_in_pytorch() {
    let (weights, target) = ([1.0, 2.0, 0.5], || vec![0, 255, 2, 1]);
    let classes = |loss: CrossEntropy| fixed::<[usize], _>(loss.ignore_index(255), target());
    same(
        classes(CrossEntropy::new().label_smoothing(0.2).class_weights(weights)),
        2.770228289835795,
        [-0.19586664613008442, -0.026547716462939894, 0.2224143625930243],
        1.443253295933907,
    );
    same(
        classes(CrossEntropy::new()),
        2.0619992809465755,
        [-0.27490320261998774, 0.013037524423562482, 0.26186567819642526],
        1.4017870510349666,
    );
    let nll = Nll::new().class_weights(weights).ignore_index(255).reduction(Reduction::Sum);
    same(fixed::<[usize], _>(nll, target()), 1.0, [-1.0, 0.0, 0.0], 3.5);
    let soft = arr2(&[[0.7, 0.2, 0.1], [0.0, 1.0, 0.0], [0.25, 0.25, 0.5], [1.0, 0.0, 0.0]]);
    same(
        by_element(
            SoftCrossEntropy::new().class_weights(weights).label_smoothing(0.1),
            soft.into_dyn(),
        ),
        1.911562309389452,
        [-0.1153643079296811, -0.09540550494581458, 0.2107698128754957],
        1.4290892845786325,
    );
    let yes = arr2(&[[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.5, 0.25, 0.0]]);
    same(
        by_element(BinaryCrossEntropy::new().pos_weight([3.0, 0.5, 1.0]), yes.into_dyn()),
        1.3645687756646971,
        [-0.09438516719953634, 0.02241178511416626, -0.009933576835176474],
        0.6903631499314137,
    );
    same(
        fixed::<[usize], _>(Focal::new(2.0).class_weights(weights), vec![0, 1, 2, 1]),
        2.029678231132861,
        [-0.17747850364672263, 0.00841707300569379, 0.16906143064102883],
        1.8244557750057178,
    );
    same(
        fixed::<[usize], _>(Focal::new(0.5), vec![0, 1, 2, 1]),
        1.8159284057528442,
        [-0.2218863119659261, 0.010523152091134028, 0.21136315987479207],
        1.4904798955246281,
    );
}

#[test]
fn focal_without_focus_is_cross_entropy() {
    let (x, target) = (normal::<f64>(&[6, 5], 1), labels(6, 5, 2));
    let (mut a, mut b) = (x.clone(), x.clone());
    let focal =
        Focal::new(0.0).value_and_grad(x.view(), &target, a.view_mut()).expect("a good batch");
    let plain =
        CrossEntropy::new().value_and_grad(x.view(), &target, b.view_mut()).expect("a good batch");
    assert!((focal - plain).abs() < 1e-15);
    assert!((a - b).iter().all(|difference| difference.abs() < 1e-15));
}

#[test]
fn a_batch_of_which_nothing_counts_has_loss_and_gradient_zero() {
    let x = normal::<f32>(&[2, 3], 0);
    let mut grad = x.mapv(|_| f32::NAN);
    let ignored = CrossEntropy::new().ignore_index(9).label_smoothing(0.1);
    assert_eq!(
        ignored.value_and_grad(x.view(), &[9, 9], grad.view_mut()).expect("a good batch"),
        0.0
    );
    assert!(grad.iter().all(|&grad| grad == 0.0));
    let weightless = Nll::new().class_weights([0.0, 1.0, 1.0]);
    assert_eq!(weightless.value(x.view(), &[0, 0]).expect("a good batch"), 0.0);
}

#[test]
fn losses_are_finite_at_extreme_scores_and_let_nan_show() {
    let x = arr2(&[[1e3f32, -1e3, 0.0], [-1e3, 1e3, 1e-30], [1e30, -1e30, 0.0], [0.0, -0.0, 1e4]])
        .into_dyn();
    let yes =
        arr2(&[[0.0f32, 1.0, 0.5], [1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0]]).into_dyn();
    let check = |result: Result<f32>, grad: &ArrayD<f32>| {
        let loss = result.expect("a good batch");
        assert!(loss.is_finite() && grad.iter().all(|grad| grad.is_finite()), "{loss} {grad}");
    };
    let mut grad = x.clone();
    let class = &[1usize, 0, 1, 2];
    check(CrossEntropy::new().value_and_grad(x.view(), class, grad.view_mut()), &grad);
    for gamma in [0.0, 0.5, 1.0, 2.0] {
        check(Focal::new(gamma).value_and_grad(x.view(), class, grad.view_mut()), &grad);
    }
    check(SoftCrossEntropy::new().value_and_grad(x.view(), &yes, grad.view_mut()), &grad);
    check(BinaryCrossEntropy::new().value_and_grad(x.view(), &yes, grad.view_mut()), &grad);
    check(Huber::default().value_and_grad(x.view(), &yes, grad.view_mut()), &grad);
    let certain = arr2(&[[0.0f32, 1.0]]).into_dyn();
    let mut grad = certain.clone();
    let wrong = arr2(&[[1.0f32, 0.0]]).into_dyn();
    let loss = BinaryCrossEntropy::from_probabilities();
    check(loss.value_and_grad(certain.view(), &wrong, grad.view_mut()), &grad);
    assert_eq!(loss.value(certain.view(), &wrong).expect("a good batch"), 100.0);

    let nan = arr2(&[[f32::NAN, 0.0]]).into_dyn();
    let target = arr2(&[[1.0f32, 0.0]]).into_dyn();
    let value = |loss: &dyn Loss<f32, Target = ArrayRef<f32, IxDyn>>| {
        loss.value(nan.view(), &target).expect("a good batch")
    };
    for loss in [
        value(&Mse::new()),
        value(&Mae::new()),
        value(&Huber::default()),
        value(&SmoothL1::default()),
    ] {
        assert!(loss.is_nan());
    }
    assert!(value(&BinaryCrossEntropy::new()).is_nan() && value(&SoftCrossEntropy::new()).is_nan());
    assert!(value(&KlDivergence::new()).is_nan());
    let by_class = |loss: &dyn Loss<f32, Target = [usize]>| {
        loss.value(nan.view(), &[0]).expect("a good batch")
    };
    assert!(by_class(&CrossEntropy::new()).is_nan() && by_class(&Focal::default()).is_nan());
    assert!(by_class(&Nll::new()).is_nan() && by_class(&MulticlassHinge::new()).is_nan());
}

/// One element in a task, and enough for several tasks.
#[test]
fn large_batches_have_the_same_loss_on_any_number_of_threads() {
    let (x, t) = (normal::<f32>(&[64, 3000], 1), normal::<f32>(&[64, 3000], 2));
    let loss = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let mut grad = x.clone();
        let value = pool.install(|| Huber::default().value_and_grad(x.view(), &t, grad.view_mut()));
        (value.expect("a good batch").to_bits(), bits(grad.view()))
    };
    assert_eq!(loss(1), loss(3));
    // In `f64`, one by one.
    let want: f64 = (x.iter().zip(&t))
        .map(|(x, t)| f64::from(x - t))
        .map(|d| if d.abs() < 1.0 { 0.5 * d * d } else { d.abs() - 0.5 })
        .sum();
    let got = f64::from(f32::from_bits(loss(1).0)) * x.len() as f64;
    assert!((got / want - 1.0).abs() < 1e-6, "{got} {want}");
    let flat = arr1(&[2.0f32]).into_dyn();
    assert_eq!(
        Mae::new().value(flat.view(), &arr1(&[0.5]).into_dyn()).expect("one axis will do"),
        1.5
    );
}

#[test]
fn losses_name_the_setting_that_is_out_of_range() {
    let x = normal::<f32>(&[3, 4], 0);
    let by_class = |loss: &dyn Loss<f32, Target = [usize]>| text(loss.value(x.view(), &[0, 1, 2]));
    let by_value = |loss: &dyn Loss<f32, Target = ndarray::ArrayRef<f32, ndarray::IxDyn>>| {
        text(loss.value(x.view(), &x))
    };
    for (got, want) in [
        (
            by_class(&CrossEntropy::new().label_smoothing(1.5)),
            "CrossEntropy: label_smoothing must be from 0 to 1, got 1.5",
        ),
        (
            by_class(&Nll::new().class_weights([1.0, 1.0, -1.0, 1.0])),
            "Nll: class_weights must be at least 0, got -1",
        ),
        (by_class(&Focal::new(-1.0)), "Focal: gamma must be finite and at least 0, got -1"),
        (
            by_class(&MulticlassHinge::new().margin(f64::NAN)),
            "MulticlassHinge: margin must be finite, got NaN",
        ),
        (
            by_value(&SoftCrossEntropy::new().label_smoothing(-0.1)),
            "SoftCrossEntropy: label_smoothing must be from 0 to 1, got -0.1",
        ),
        (
            by_value(&BinaryCrossEntropy::new().pos_weight([1.0])),
            "BinaryCrossEntropy: pos_weight must be one for each class of the prediction, got 1 weights for 4 classes",
        ),
        (by_value(&Huber::new(0.0)), "Huber: delta must be finite and above 0, got 0"),
        (
            by_value(&SmoothL1::new(f64::INFINITY)),
            "SmoothL1: beta must be finite and above 0, got inf",
        ),
    ] {
        assert_eq!(got, want);
    }
    let probabilities = ndarray::arr1(&[0.5f32, 1.0, 1.5]).into_dyn();
    assert_eq!(
        text(BinaryCrossEntropy::from_probabilities().value(probabilities.view(), &probabilities)),
        "prediction: element 2 must be a probability from 0 to 1, got 1.5; \
         give scores to `BinaryCrossEntropy::new`, or add Sigmoid behind the model"
    );
    let empty = normal::<f32>(&[0, 3], 0);
    assert_eq!(
        text(Mae::new().value(empty.view(), &empty)),
        "prediction: needs at least one element, got [0, 3]"
    );
}
