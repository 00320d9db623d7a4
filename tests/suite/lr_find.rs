//! Learning rates tried out: the suggestions are fastai's, and nothing is left of the trial.

use layerwise::prelude::*;
use layerwise::training::{LrCurve, LrFinder};

use crate::support::{labels, normal, small_convnet, state, text};

/// fastai's rates.
fn rates() -> Vec<f64> {
    (0..100).map(|i| 1e-7 * 1e8f64.powf(f64::from(i) / 100.0)).collect()
}

/// A curve, and the four suggestions in order.
type Case<'c> = (&'c dyn Fn(f64) -> f64, [f64; 4]);

#[test]
fn suggestions_are_those_of_fastai() {
    // Wanted: fastai's functions `valley`, `minimum`, `steep`, `slide` on the same curves, in NumPy.
    let bowl = |x: f64| {
        let rise = if x > 85.0 { 0.02 * (x - 85.0).powi(2) } else { 0.0 };
        2.3 - 1.8 / (1.0 + (-(x - 60.0) / 5.0).exp()) + rise + 0.01 * (x * 1.7).sin()
    };
    let falling = |x: f64| 3.0 - 0.01 * x - 0.0001 * x * x;
    let rising = |x: f64| 1.0 + 0.01 * x;
    let wiggle = |x: f64| 2.0 + (x / 7.0).cos() * 0.3 - 0.005 * x;
    let cases: [Case<'_>; 4] = [
        (
            &bowl,
            [0.00363078054770101, 0.05248074602497723, 0.006309573444801929, 0.0020892961308540407],
        ),
        (
            &falling,
            [0.001202264434617413, 0.3311311214825908, 2.754228703338169, 0.2089296130854041],
        ),
        (
            &rising,
            [
                6.309573444801933e-07,
                6.309573444801932e-08,
                9.120108393559096e-07,
                0.2089296130854041,
            ],
        ),
        (
            &wiggle,
            [
                0.0020892961308540407,
                0.0022908676527677745,
                0.0020892961308540407,
                6.309573444801933e-07,
            ],
        ),
    ];
    for (i, (curve, wanted)) in cases.iter().enumerate() {
        let losses = (0..100).map(|x| curve(f64::from(x))).collect();
        let curve = LrCurve::new(rates(), losses, 100);
        let got = [curve.valley(), curve.minimum(), curve.steep(), curve.slide()];
        for (got, want) in got.iter().zip(wanted) {
            assert!((got.expect("a long curve") / want - 1.0).abs() < 1e-9, "{i}: {got:?} {want}");
        }
    }
}

#[test]
fn a_curve_that_is_too_short_or_not_a_number_suggests_nothing() {
    let all = |curve: &LrCurve| [curve.valley(), curve.minimum(), curve.steep(), curve.slide()];
    assert_eq!(all(&LrCurve::new(vec![], vec![], 100)), [None; 4]);
    assert_eq!(all(&LrCurve::new(rates(), vec![f64::NAN; 100], 100)), [None; 4]);
    let short = LrCurve::new(rates()[..16].to_vec(), vec![1.0; 16], 100);
    assert!(short.valley().is_some() && short.minimum().is_some());
    assert_eq!((short.steep(), short.slide()), (None, None));
}

fn data() -> Dataset {
    Dataset::new(normal(&[100, 2, 8, 8], 1), labels(100, 4, 2)).expect("as many labels")
}

#[test]
fn fit_after_it_gives_the_bits_of_fit_without_it() {
    let train = data();
    let run = |find: bool| {
        let optimizer = ModelOptimizer::new(Adam::new(), 1e-2)
            .schedule(OneCycle::new(40))
            .momentum_schedule(OneCycle::new(40).momentum(0.85, 0.95))
            .clip(Clip::Norm(1.0));
        let mut trainer = Trainer::new(CrossEntropy::new(), optimizer).epochs(2);
        let mut batches = train.batches(16).expect("not 0").shuffled(Seed::new(3));
        let mut model = small_convnet(1);
        let mut histories = Vec::new();
        for _ in 0..2 {
            if find {
                let finder = LrFinder::new().steps(30);
                let before = state(&model);
                let curve = trainer.lr_find(&mut model, &mut batches, &finder).expect("good data");
                assert!(curve.lrs.len() > 20);
                assert_eq!(state(&model), before);
            }
            histories.push(trainer.fit(&mut model, &mut batches, None).expect("good data"));
        }
        (histories, state(&model))
    };
    assert!(run(true) == run(false));
}

#[test]
fn rates_rise_from_start_to_just_below_the_end() {
    let train = data();
    let optimizer = ModelOptimizer::new(Sgd::new(), 0.5).schedule(Cosine::new(10));
    let mut trainer = Trainer::new(CrossEntropy::new(), optimizer);
    let mut model = small_convnet(1);
    model.eval();
    let finder = LrFinder::new().start(1e-4).end(1.0).steps(8).stop_at_divergence(false);
    let mut batches = train.batches(50).expect("not 0");
    let curve = trainer.lr_find(&mut model, &mut batches, &finder).expect("good data");
    let wanted = [-4.0, -3.5, -3.0, -2.5, -2.0, -1.5, -1.0, -0.5];
    for (lr, want) in curve.lrs.iter().zip(wanted) {
        assert!((lr.log10() - want).abs() < 1e-12);
    }
    assert_eq!(curve.lrs.len(), 8);
    // Divided by 1 − 0.98, which is not 0.02 to the last digit.
    assert!((curve.losses[0] - curve.batch_losses[0]).abs() < 1e-12);
    let smooth =
        (0.98 * 0.02 * curve.batch_losses[0] + 0.02 * curve.batch_losses[1]) / (1.0 - 0.98 * 0.98);
    assert!((curve.losses[1] - smooth).abs() < 1e-12);
    assert_eq!((model.mode(), batches.epoch(), trainer.optimizer().steps()), (Mode::Eval, 0, 0));
}

#[test]
fn divergence_ends_the_curve_and_an_error_restores_everything() {
    let train = data();
    let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Sgd::new(), 0.5));
    let mut model = small_convnet(1);
    let before = state(&model);
    let mut batches = train.batches(50).expect("not 0");
    let finder = LrFinder::new().start(1e-2).end(1e30);
    let curve = trainer.lr_find(&mut model, &mut batches, &finder).expect("no error");
    assert!((3..99).contains(&curve.lrs.len()), "{}", curve.lrs.len());
    assert_eq!(state(&model), before);
    // A class that the model has no output for.
    let wrong = Dataset::new(normal(&[20, 2, 8, 8], 1), vec![9; 20]).expect("20 each");
    let result = trainer.lr_find(&mut model, &mut wrong.batches(10).expect("not 0"), &finder);
    assert!(text(result).contains("class 9 at row 0 is out of range"));
    assert_eq!(state(&model), before);
    assert_eq!((trainer.optimizer().lr(), trainer.optimizer().steps()), (0.5, 0));
    for (finder, wanted) in [
        (LrFinder::new().start(0.0), "LrFinder: start must be above 0, got 0"),
        (LrFinder::new().start(2.0).end(1.0), "LrFinder: end must be above start, got 1"),
    ] {
        assert_eq!(text(trainer.lr_find(&mut model, &mut batches, &finder)), wanted);
    }
}
