//! The crate against numbers computed by PyTorch, in `f64` and in `f32`.
//!
//! The numbers lie in `tests/data/reference` and `tests/data/layers`, with the scripts that made them. `LAYERWISE_REFERENCE_DIR` points the
//! same tests, as strict, at another folder of the same format: other shapes, settings and values. So nothing
//! here knows a case by its name.

mod activations;
mod averaging;
mod cases;
mod check;
mod coverage;
mod held;
mod initializers;
mod interchange;
mod layers;
mod lbfgs;
mod losses;
mod maxout;
mod metrics;
mod networks;
mod optimizers;
mod preprocessing;
mod regularizers;
mod schedules;
mod specs;
mod standard;

use cases::Set;
use check::{Check, Done, Verdict, run};

/// Which function checks the cases of one kind.
struct Row {
    group: &'static str,
    kind: &'static str,
    f64: fn(&mut Check<'_, f64>) -> Done,
    f32: fn(&mut Check<'_, f32>) -> Done,
}

/// Writes the tests together with the table that coverage is computed from, so that no row is without a
/// test: `claim: "group" { "kind" .. => module::function; .. }`.
macro_rules! reference_tests {
    ($($claim:ident: $group:literal { $($($kind:literal)+ => $module:ident::$check:ident;)+ })+) => {
        const TABLE: &[Row] = &[$($($(Row {
            group: $group,
            kind: $kind,
            f64: $module::$check::<f64>,
            f32: $module::$check::<f32>,
        },)+)+)+];

        $(#[test]
        fn $claim() {
            verify($group);
        })+
    };
}

reference_tests! {
    layers_match_pytorch_forward_and_backward: "layer" {
        "linear" "conv2d" "maxpool2d" "avgpool2d" "global_avgpool2d" "flatten" => layers::check;
        "conv1d" "conv_transpose2d" => layers::check;
        "rnn" "lstm" "gru" => layers::check;
        "embedding" => layers::check_embedding;
        "batchnorm1d" "batchnorm2d" => layers::check;
        "layernorm" "groupnorm" "instancenorm2d" "local_response_norm" => layers::check;
        "adaptive_avgpool2d" "adaptive_maxpool2d" "global_maxpool2d" => layers::check;
        "upsample_nearest" "upsample_bilinear" "zero_pad" "permute" "reshape" => layers::check;
        "dropout_given_mask" => layers::check_dropout;
    }
    activations_match_pytorch_forward_and_backward: "activation" {
        "relu" "leaky_relu" "sigmoid" "tanh" "elu" "selu" => activations::check;
        "gelu_erf" "gelu_tanh" "silu" "mish" "softplus" "hardswish" => activations::check;
        "softmax" "log_softmax" "maxout_channels" => activations::check;
        "prelu" => layers::check;
        "maxout" => maxout::check;
    }
    activations_are_exact_and_finite_at_extreme_inputs: "activation_extreme" {
        "relu" "leaky_relu" "sigmoid" "tanh" "elu" "selu" => activations::check_extreme;
        "gelu_erf" "gelu_tanh" "silu" "mish" "softplus" "hardswish" => activations::check_extreme;
        "softmax" "log_softmax" "prelu" "maxout_channels" => activations::check_extreme;
    }
    losses_and_their_gradients_match_pytorch: "loss" {
        "cross_entropy" => losses::check_cross_entropy;
        "multiclass_hinge" => losses::check_hinge;
        "cross_entropy_soft" => losses::check_soft;
        "nll" => losses::check_nll;
        "bce" => losses::check_bce;
        "bce_with_logits" => losses::check_bce_with_logits;
        "kl_div" => losses::check_kl;
        "mse" => losses::check_mse;
        "l1" => losses::check_mae;
        "huber" => losses::check_huber;
        "smooth_l1" => losses::check_smooth_l1;
    }
    losses_match_pytorch_and_stay_finite_at_extreme_logits: "loss_extreme" {
        "cross_entropy" => losses::check_cross_entropy;
        "bce_with_logits" => losses::check_bce_with_logits;
    }
    regularizers_match_their_formulas: "regularizer" {
        "l1_penalty" => regularizers::check_l1;
        "l2_penalty" => regularizers::check_l2;
        "elastic_net" => regularizers::check_elastic_net;
        "max_norm" => regularizers::check_max_norm;
    }
    initializers_use_pytorch_s_fans_and_scales: "initializer" {
        "init_scale" => initializers::check;
    }
    optimizers_follow_pytorch_step_by_step: "optimizer" {
        "optimizer_sgd" "optimizer_adagrad" "optimizer_adadelta" "optimizer_rmsprop" => optimizers::check;
        "optimizer_adam" "optimizer_adamw" "optimizer_nadam" "optimizer_radam" => optimizers::check;
        "optimizer_adamax" => optimizers::check;
        "lbfgs_rosenbrock" => lbfgs::check_rosenbrock;
        "lbfgs_least_squares" => lbfgs::check_least_squares;
        "clip_by_norm" => optimizers::check_clip_by_norm;
        "clip_by_value" => optimizers::check_clip_by_value;
    }
    schedules_follow_pytorch_step_by_step: "schedule" {
        "schedule_step" "schedule_multi_step" "schedule_exponential" => schedules::check;
        "schedule_inverse_time" "schedule_polynomial" "schedule_cosine" => schedules::check;
        "schedule_warm_restarts" "schedule_snapshot" "schedule_cyclic" => schedules::check;
        "schedule_linear_warmup" "schedule_warmup_cosine" => schedules::check;
        "schedule_one_cycle" => schedules::check_one_cycle;
        "schedule_plateau" => schedules::check_plateau;
    }
    metrics_match_scikit_learn: "metric" {
        "metrics_multiclass" => metrics::check_multiclass;
        "metrics_binary" => metrics::check_binary;
        "metrics_regression" => metrics::check_regression;
    }
    preprocessing_matches_numpy_and_scikit_learn: "preprocessing" {
        "mean_image" "channel_standardize" "feature_standardize" "min_max" => preprocessing::check_scaling;
        "pca_whitening" => preprocessing::check_whitening;
        "one_hot" => preprocessing::check_one_hot;
    }
    averages_match_pytorch_update_by_update: "averaging" {
        "average_polyak" => averaging::check_polyak;
        "average_ema" => averaging::check_ema;
    }
    whole_networks_train_as_in_pytorch: "network" {
        "network" => networks::check;
    }
    weights_saved_by_pytorch_give_pytorch_s_outputs: "interchange" {
        "interchange" => interchange::check;
    }
}

/// Checks every case of a group that the table has a row for, and fails with the list of all differences.
fn verify(group: &str) {
    let set = Set::get();
    let mut problems = Vec::new();
    for row in TABLE.iter().filter(|row| row.group == group) {
        let (mut present, mut settled) = (0, 0);
        for case in set.of(row.group, row.kind) {
            present += 1;
            let mut verdicts = vec![run(case, row.f64)];
            if case.has_f32_run() {
                verdicts.push(run(case, row.f32));
            }
            for verdict in verdicts {
                match verdict {
                    Verdict::Checked => settled += 1,
                    Verdict::Failed(mut found) => {
                        settled += 1;
                        problems.append(&mut found);
                    }
                    Verdict::Lacks(parts) => {
                        settled += 1;
                        problems.extend(coverage::unlisted(case, &parts));
                    }
                }
            }
        }
        if present > 0 && settled == 0 {
            problems.push(format!("{}: {present} cases and none was checked", row.kind));
        }
    }
    let dir = set.dir.display();
    assert!(
        problems.is_empty(),
        "{} differences from {dir}:\n{}",
        problems.len(),
        problems.join("\n")
    );
}
