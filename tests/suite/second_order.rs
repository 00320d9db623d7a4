//! L-BFGS and Newton: minima, costs, refusals.

use flate2::read::GzDecoder;
use layerwise::prelude::*;
use layerwise::{Minimum, Stop};
use std::io::Read;

use crate::support::{labels, normal, small_convnet, state, text};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/digits");

/// All digits, pixels from 0 to 1, and the weight decay and the loss of scikit-learn's softmax regression.
fn digits<F: Scalar>() -> (Dataset<F>, f64, f64) {
    let file = std::fs::File::open(format!("{FOLDER}/digits.csv.gz")).expect("it is there");
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).expect("a good file");
    let numbers: Vec<usize> =
        text.split([',', '\n']).filter_map(|number| number.trim().parse().ok()).collect();
    let rows = numbers.chunks_exact(65);
    let pixels: Vec<F> =
        rows.clone().flat_map(|row| &row[..64]).map(|&p| F::lit(p as f64 / 16.0)).collect();
    let classes: Vec<usize> = rows.map(|row| row[64]).collect();
    let images = ArrayD::from_shape_vec(ndarray::IxDyn(&[classes.len(), 64]), pixels);
    let json = std::fs::read(format!("{FOLDER}/softmax_regression.json")).expect("it is there");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("good JSON");
    assert_eq!(json["samples"], classes.len());
    let number = |key: &str| json[key].as_f64().expect("a number");
    let data = Dataset::new(images.expect("64 for each"), classes).expect("a class for each");
    (data, number("weight_decay"), number("loss"))
}

/// The minimum found for a softmax regression from zero, and scikit-learn's loss.
fn softmax_regression<F: Scalar>(method: &impl Minimizer) -> (Minimum, f64) {
    let (data, decay, loss) = digits::<F>();
    let mut model = SequentialBuilder::<F>::new([64])
        .add(Linear::new(10).weight_init(Zeros))
        .build()
        .expect("it fits");
    model.set_regularizer(L2(decay), |p| p.role == Role::Weight);
    let mut objective = ModelObjective::new(&mut model, CrossEntropy::new(), &data);
    (objective.minimize(method).expect("a convex function"), loss)
}

#[test]
fn lbfgs_trains_a_softmax_regression_to_scikit_learn_s_loss() {
    let lbfgs = Lbfgs::new().max_iterations(500).tolerance_change(1e-14);
    let (minimum, loss) = softmax_regression::<f64>(&lbfgs);
    assert!((minimum.value - loss).abs() < 1e-6, "{minimum:?} instead of {loss}");
    // In f32 the value itself has 7 digits.
    let (minimum, loss) = softmax_regression::<f32>(&lbfgs);
    assert!((minimum.value - loss).abs() < 1e-6, "{minimum:?} instead of {loss}");
}

#[test]
fn newton_trains_a_softmax_regression_to_scikit_learn_s_loss() {
    let (minimum, loss) = softmax_regression::<f64>(&Newton::new());
    assert!((minimum.value - loss).abs() < 1e-6, "{minimum:?} instead of {loss}");
    assert!(minimum.iterations <= 10, "{minimum:?}");
    // In f32 differences of the gradient need a longer step.
    let (minimum, loss) = softmax_regression::<f32>(&Newton::new());
    assert!((minimum.value - loss).abs() < 1e-6, "{minimum:?} instead of {loss}");
    assert!(minimum.iterations <= 20, "{minimum:?}");
}

/// `½ xᵀ A x − bᵀ x` with `A` diagonal but for one pair.
fn quadratic(x: &[f64], grad: &mut [f64]) -> Result<f64> {
    let curvature = [1.0, 1e4, 0.01, 3.0];
    for (i, grad) in grad.iter_mut().enumerate() {
        *grad = curvature[i] * x[i] - 1.0;
    }
    grad[0] += 0.5 * x[3];
    grad[3] += 0.5 * x[0];
    Ok(0.5 * x.iter().zip(grad.iter()).map(|(x, g)| x * (g - 1.0)).sum::<f64>())
}

#[test]
fn newton_solves_a_quadratic_in_one_step() {
    let mut x = [30.0, -2.0, 5.0, 1.0];
    let minimum = Newton::new().minimize(&mut quadratic, &mut x).expect("a quadratic");
    assert_eq!((minimum.iterations, minimum.stop), (1, Stop::Gradient));
    assert_eq!(minimum.evaluations, 2);
    // The 2 × 2 system of the pair by hand: determinant 3 − ¼.
    let want = [2.5 / 2.75, 1e-4, 100.0, 0.5 / 2.75];
    for (x, want) in x.iter().zip(want) {
        assert!((x - want).abs() < 1e-7 * want.abs().max(1.0), "{x} instead of {want}");
    }
}

#[test]
fn newton_uses_hessian_vector_products_if_there_are_any() {
    struct Bowl {
        gradients: usize,
    }
    impl Objective for Bowl {
        fn value_and_grad(&mut self, x: &[f64], grad: &mut [f64]) -> Result<f64> {
            self.gradients += 1;
            grad.copy_from_slice(&[2.0 * x[0], 8.0 * x[1]]);
            Ok(x[0] * x[0] + 4.0 * x[1] * x[1])
        }
        fn hessian_vector(&mut self, _x: &[f64], v: &[f64], out: &mut [f64]) -> Result<()> {
            out.copy_from_slice(&[2.0 * v[0], 8.0 * v[1]]);
            Ok(())
        }
    }
    let (mut bowl, mut x) = (Bowl { gradients: 0 }, [3.0, -5.0]);
    Newton::new().minimize(&mut bowl, &mut x).expect("a bowl");
    assert_eq!(bowl.gradients, 2);
    assert!(x.iter().all(|x| x.abs() < 1e-14), "{x:?}");
}

#[test]
fn newton_leaves_a_saddle_downhill_and_damping_shortens_its_steps() {
    // x² − y² + y⁴, from beside the saddle at 0.
    let mut saddle = |x: &[f64], grad: &mut [f64]| {
        grad.copy_from_slice(&[2.0 * x[0], -2.0 * x[1] + 4.0 * x[1].powi(3)]);
        Ok(x[0] * x[0] - x[1] * x[1] + x[1].powi(4))
    };
    let mut x = [0.5, 0.01];
    let minimum = Newton::new().minimize(&mut saddle, &mut x).expect("it has a minimum");
    assert!((minimum.value + 0.25).abs() < 1e-9, "{minimum:?}");
    let step = |damping: f64| {
        let mut x = [30.0, -2.0, 5.0, 1.0];
        let newton = Newton::new().damping(damping).max_iterations(1);
        newton.minimize(&mut quadratic, &mut x).expect("a quadratic");
        (x[2] - 5.0).abs()
    };
    assert!(step(0.01) < 0.51 * step(0.0) && step(1.0) < 0.02 * step(0.0));
}

#[test]
fn a_line_search_turns_back_where_the_function_is_not_defined() {
    // x − ln x, undefined below 0; the first step from 50 leads to −50 and further.
    let mut log = |x: &[f64], grad: &mut [f64]| {
        grad[0] = 1.0 - 1.0 / x[0];
        Ok(x[0] - x[0].ln())
    };
    let mut x = [50.0];
    let lbfgs = Lbfgs::new().lr(100.0).max_iterations(100);
    let minimum = lbfgs.minimize(&mut log, &mut x).expect("it has a minimum");
    assert!((x[0] - 1.0).abs() < 1e-6, "{minimum:?} at {x:?}");
    let mut x = [-1.0];
    assert_eq!(
        text(Lbfgs::new().minimize(&mut log, &mut x)),
        "objective or its gradient at the start is not finite at step 1; lower the learning rate, clip gradients, or check the data"
    );
}

#[test]
fn limits_are_kept_and_named() {
    let mut x = [30.0, -2.0, 5.0, 1.0];
    let stop = |lbfgs: Lbfgs| lbfgs.minimize(&mut quadratic, &mut x.clone()).expect("a quadratic");
    let minimum = stop(Lbfgs::new().max_iterations(2).max_evaluations(100));
    assert_eq!((minimum.stop, minimum.iterations), (Stop::Iterations, 2));
    let minimum = stop(Lbfgs::new().max_evaluations(2));
    assert_eq!(minimum.stop, Stop::Evaluations);
    assert_eq!(stop(Lbfgs::new().tolerance_grad(1e9)).evaluations, 1);
    assert_eq!(stop(Lbfgs::new().tolerance_change(1e9)).stop, Stop::Change);
    let minimum =
        Newton::new().max_iterations(1).tolerance_grad(0.0).minimize(&mut quadratic, &mut x);
    assert_ne!(minimum.expect("a quadratic").stop, Stop::Gradient);
}

#[test]
fn settings_out_of_range_are_refused() {
    let mut x = [1.0; 4];
    let mut lbfgs = |lbfgs: Lbfgs| text(lbfgs.minimize(&mut quadratic, &mut x));
    assert_eq!(lbfgs(Lbfgs::new().lr(0.0)), "Lbfgs: lr must be above 0, got 0");
    assert_eq!(lbfgs(Lbfgs::new().history(0)), "Lbfgs: history must be at least 1, got 0");
    assert_eq!(
        lbfgs(Lbfgs::new().max_iterations(0)),
        "Lbfgs: max_iterations must be at least 1, got 0"
    );
    assert_eq!(
        lbfgs(Lbfgs::new().tolerance_grad(-1.0)),
        "Lbfgs: tolerance_grad must be at least 0, got -1"
    );
    assert_eq!(
        lbfgs(Lbfgs::new().tolerance_change(f64::NAN)),
        "Lbfgs: tolerance_change must be at least 0, got NaN"
    );
    let mut newton = |newton: Newton| text(newton.minimize(&mut quadratic, &mut x));
    assert_eq!(newton(Newton::new().damping(-1.0)), "Newton: damping must be at least 0, got -1");
    assert_eq!(
        newton(Newton::new().max_iterations(0)),
        "Newton: max_iterations must be at least 1, got 0"
    );
    assert_eq!(
        newton(Newton::new().tolerance_grad(-1.0)),
        "Newton: tolerance_grad must be at least 0, got -1"
    );
    assert_eq!(
        newton(Newton::new().tolerance_change(-1.0)),
        "Newton: tolerance_change must be at least 0, got -1"
    );
    assert_eq!(
        newton(Newton::new().max_variables(3)),
        "Newton: needs at most 3 variables, got 4: the Hessian takes O(n²) memory and solving with it O(n³) time; \
         use Lbfgs, or raise max_variables"
    );
}

#[test]
fn a_model_is_minimised_in_eval_mode_with_frozen_parts_left_alone() {
    let mut model = small_convnet::<f64>(1);
    model.freeze(|p| p.name.starts_with("0.") || p.name.starts_with("4."));
    let before = state(&model);
    let images = normal::<f64>(&[20, 2, 8, 8], 0);
    let data = Dataset::new(images.clone(), labels(20, 4, 1)).expect("20 each");
    let mut objective = ModelObjective::new(&mut model, CrossEntropy::new(), &data);
    let mut x = objective.point();
    let mut grad = vec![0.0; x.len()];
    let value = objective.value_and_grad(&x, &mut grad).expect("good data");
    // With dropout drawn anew the second value would differ.
    assert_eq!(objective.value_and_grad(&x, &mut grad).expect("good data"), value);
    for i in [0, 5, x.len() / 2, x.len() - 1] {
        let h = 1e-6;
        let mut at = |delta: f64| {
            let before = x[i];
            x[i] = before + delta;
            let value = objective.value_and_grad(&x, &mut vec![0.0; x.len()]).expect("good data");
            x[i] = before;
            value
        };
        let numeric = (at(h) - at(-h)) / (2.0 * h);
        assert!((numeric - grad[i]).abs() < 1e-8, "{i}: {numeric} {}", grad[i]);
    }
    let minimum = objective.minimize(&Lbfgs::new()).expect("good data");
    assert!(minimum.value < value);
    assert_eq!(model.mode(), Mode::Train);
    for ((name, was), (_, is)) in before.iter().zip(state(&model)) {
        let kept = name.starts_with("0.") || name.starts_with("4.") || name.contains("running");
        assert_eq!(*was == is, kept, "{name}");
    }
    let loss = CrossEntropy::new()
        .value(model.predict(&images).expect("it fits").view(), data.targets())
        .expect("good targets");
    assert!((loss - minimum.value).abs() < 1e-12, "the model is left at the minimum");
}

#[test]
fn batches_of_any_size_give_the_same_objective() {
    let data =
        Dataset::new(normal::<f64>(&[11, 3], 0), normal::<f64>(&[11, 2], 1)).expect("11 each");
    let mut model =
        SequentialBuilder::<f64>::new([3]).add(Linear::new(2)).build().expect("it fits");
    model.set_regularizer(L2(0.1), |_| true);
    let mut at = |batch_size: usize| {
        let mut objective =
            ModelObjective::new(&mut model, Mse::new(), &data).batch_size(batch_size);
        let x = objective.point();
        let mut grad = vec![0.0; x.len()];
        objective.value_and_grad(&x, &mut grad).map(|value| (value, grad))
    };
    let (value, grad) = at(11).expect("good data");
    for batch_size in [1, 4, 100] {
        let (other, other_grad) = at(batch_size).expect("good data");
        assert!((value - other).abs() < 1e-14);
        assert!(grad.iter().zip(other_grad).all(|(a, b)| (a - b).abs() < 1e-14));
    }
    assert_eq!(text(at(0)), "ModelObjective: batch_size must be at least 1, got 0");
    let mut objective = ModelObjective::new(&mut model, Mse::new(), &data);
    assert_eq!(
        text(objective.set_point(&[0.0; 3])),
        "ModelObjective: point must be one number for each element of the trainable parameters, got 3 for 8"
    );
}

#[test]
fn an_error_puts_the_parameters_back() {
    let data = Dataset::new(normal::<f32>(&[4, 3], 0), vec![0, 1, 2, 1]).expect("4 each");
    let mut model = Sequential::builder([3]).add(Linear::new(3)).build().expect("it fits");
    let before = state(&model);
    /// Gives up after some evaluations.
    #[derive(Debug)]
    struct Fails;
    impl Minimizer for Fails {
        fn minimize(&self, objective: &mut dyn Objective, x: &mut [f64]) -> Result<Minimum> {
            x.fill(7.0);
            objective.value_and_grad(x, &mut vec![0.0; x.len()])?;
            Err(Error::setting("Fails", "everything", "different", "this"))
        }
    }
    let mut objective = ModelObjective::new(&mut model, CrossEntropy::new(), &data);
    assert_eq!(text(objective.minimize(&Fails)), "Fails: everything must be different, got this");
    assert_eq!(state(&model), before);
}
