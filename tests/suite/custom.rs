//! Parts of a user's own, as far as the guide does not show them.

use layerwise::gradcheck::GradCheck;
use layerwise::prelude::*;

/// Adds one learned number; a layer for `f32` only.
#[derive(Debug, Clone)]
struct Offset {
    bias: Param,
    wrong: Wrong,
}

/// Ways to get a layer wrong that a gradient check must see.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wrong {
    Nothing,
    Factor,
    Overwrites,
    ForgetsOutput,
    ReadsScratch,
    ForgetsGradient,
    OnlyWithInput,
}

impl Layer for Offset {
    fn kind(&self) -> &'static str {
        "Offset"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        Ok(input.clone())
    }

    fn forward(&self, mut pass: Forward<'_>) -> Result<()> {
        let bias = self.bias.as_slice()[0];
        pass.output.assign(&(&pass.input + bias));
        if self.wrong == Wrong::ForgetsOutput {
            pass.output.iter_mut().last().into_iter().for_each(|y| *y = f32::NAN);
        }
        if self.wrong == Wrong::ReadsScratch {
            let [scratch] = pass.scratch.take([1]);
            pass.output += scratch[0];
        }
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_>) -> Result<()> {
        let wrong = self.wrong;
        let sum = pass.grad_output.sum() * if wrong == Wrong::Factor { 2.0 } else { 1.0 };
        let skip = wrong == Wrong::ForgetsGradient
            || (wrong == Wrong::OnlyWithInput && pass.grad_input.is_none());
        if !skip && let Some(mut grad) = self.bias.grad_mut() {
            if wrong == Wrong::Overwrites { grad.fill(sum) } else { grad += sum }
        }
        if let Some(mut grad_input) = pass.grad_input {
            grad_input.assign(&pass.grad_output);
        }
        Ok(())
    }

    layer_params!(bias);
}

fn offset(wrong: Wrong) -> Offset {
    Offset { bias: Param::new(ndarray::arr1(&[0.5]).into_dyn(), Role::Bias), wrong }
}

#[test]
fn a_gradient_check_sees_every_way_to_be_wrong() {
    let check = |wrong| GradCheck::new([4]).run(&offset(wrong)).map_err(|error| error.to_string());
    assert!(check(Wrong::Nothing).expect("it is right").compared > 0);
    for (wrong, part) in [
        (Wrong::Factor, "bias, element 0, in Train mode: backward gives"),
        (
            Wrong::Overwrites,
            "bias, in Train mode: two backward passes do not give twice the gradient",
        ),
        (Wrong::ForgetsOutput, "output, in Train mode: element 11 is NaN"),
        (Wrong::ReadsScratch, "output, in Train mode: element 0 is NaN"),
        (Wrong::ForgetsGradient, "bias, in Train mode: no gradient was written"),
        (
            Wrong::OnlyWithInput,
            "bias, in Train mode: the gradient differs when nobody asks for the input's",
        ),
    ] {
        let error = check(wrong).expect_err("it is wrong");
        assert!(
            error.starts_with("gradient check of ") && error.contains(part),
            "{wrong:?}: {error}"
        );
    }
}

#[test]
fn a_layer_of_ones_own_trains_among_the_crates() {
    let mut model = Sequential::builder([3])
        .add_layer(offset(Wrong::Nothing))
        .add(Linear::new(2))
        .build()
        .expect("it fits");
    let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Adam::new(), 0.01));
    let x = crate::support::normal::<f32>(&[6, 3], 0);
    for _ in 0..3 {
        assert_eq!(
            trainer.step(&mut model, &x, &[0, 1, 0, 1, 0, 1]).expect("a good batch").parameters,
            3
        );
    }
    assert_ne!(model.value("0.bias").expect("it exists")[0], 0.5);
}

#[test]
fn the_crates_own_activations_and_specs_check_in_one_line() {
    layerwise::gradcheck::check_spec::<f64>(&Sigmoid, [5]).expect("it is right");
    layerwise::gradcheck::check_spec::<f32>(&Linear::new(3), [4]).expect("it is right");
}
