//! Schedules beyond the reference numbers: exact restarts, ends, composition.

use layerwise::prelude::*;
use layerwise::schedules::Constant;

#[test]
fn sgdr_restarts_at_epochs_10_30_70_and_150_exactly() {
    for batches in [1, 7, 938] {
        let schedule = WarmRestarts::new(10 * batches).mult(2);
        let restarts: Vec<u64> =
            (0..=160 * batches).filter(|&step| schedule.factor(step) == 1.0).collect();
        assert_eq!(restarts, [0, 10, 30, 70, 150].map(|epoch| epoch * batches));
        let ends: Vec<u64> =
            (0..=160 * batches).filter(|&step| schedule.ends_cycle(step)).collect();
        assert_eq!(ends, [10, 30, 70, 150].map(|epoch| epoch * batches - 1));
        // Within a cycle it falls with every batch.
        let falls = |step: &u64| schedule.factor(*step) > schedule.factor(step + 1);
        assert!((30 * batches..70 * batches - 1).all(|step| falls(&step)));
    }
    assert_eq!(
        [0, 1, 2, 3, 4].map(|n| WarmRestarts::new(10).mult(2).total(n)),
        [0, 10, 30, 70, 150]
    );
}

#[test]
fn restarts_with_equal_cycles_do_not_drift() {
    let schedule = WarmRestarts::new(3);
    assert_eq!(schedule.factor(3_000_000_000), 1.0);
    assert!(schedule.factor(3_000_000_001) < 1.0);
    assert_eq!(schedule.total(1000), 3000);
    // Cycles that outgrow every number of steps simply do not end.
    let growing = WarmRestarts::new(1 << 40).mult(1 << 40);
    assert_eq!((growing.factor(1 << 40), growing.total(9)), (1.0, u64::MAX));
    assert!(growing.factor(u64::MAX) < 1e-6);
}

#[test]
fn composition_runs_each_part_from_its_own_beginning() {
    let schedule = LinearWarmup::new(5)
        .start(0.5)
        .then(Constant.until(10))
        .then(StepDecay { every: 3, gamma: 0.5 }.until(6))
        .then(Cosine::new(4).scaled(0.25));
    let factors: Vec<f64> = (0..26).map(|step| schedule.factor(step)).collect();
    let mut want = vec![0.5, 0.6, 0.7, 0.8, 0.9];
    want.extend([1.0; 13]);
    want.extend([0.5; 3]);
    want.extend([0, 1, 2, 3, 4].map(|step| 0.25 * Cosine::new(4).factor(step)));
    for (step, (got, want)) in factors.iter().zip(want).enumerate() {
        assert!((got - want).abs() < 1e-15, "step {step}: {got} instead of {want}");
    }
    assert_eq!(schedule.steps(), Some(25));
    schedule.check().expect("every part but the last ends");
}

#[test]
fn a_schedule_that_ends_keeps_its_last_value() {
    let all: [Box<dyn Schedule>; 6] = [
        Box::new(LinearWarmup::new(10).start(0.1)),
        Box::new(Cosine::new(10).min(0.1)),
        Box::new(Polynomial { steps: 10, power: 2.0 }),
        Box::new(OneCycle::new(11)),
        Box::new(OneCycle::new(11).three_phase(true)),
        Box::new(OneCycle::new(11).momentum(0.85, 0.95)),
    ];
    for schedule in all {
        schedule.check().expect("good settings");
        assert_eq!(schedule.factor(10), schedule.factor(1_000_000), "{schedule:?}");
        assert!((0..20).all(|step| schedule.factor(step).is_finite()), "{schedule:?}");
    }
}

#[test]
fn one_cycle_is_a_schedule_however_short() {
    for (steps, pct) in [(2, 0.01), (2, 0.5), (3, 0.25), (4, 0.99)] {
        for three_phase in [false, true] {
            let cycle = OneCycle::new(steps).pct_start(pct).three_phase(three_phase);
            if three_phase && pct > 0.5 {
                assert!(cycle.check().is_err());
                continue;
            }
            let factors: Vec<f64> = (0..steps).map(|step| cycle.factor(step)).collect();
            assert!(factors.iter().all(|f| (1e-5 - 1e-15..=1.0).contains(f)), "{factors:?}");
            assert!((factors[steps as usize - 1] - 1e-5).abs() < 1e-15, "{cycle:?} {factors:?}");
        }
    }
}

#[test]
fn a_plateau_ignores_nan_and_keeps_the_smallest_rate() {
    let mut plateau = ReduceOnPlateau::new().patience(0).factor(0.5).min_lr(0.3);
    let mut lr = 1.0;
    let rates: Vec<f64> = [f64::NAN, 2.0, f64::NAN, 2.0, 1.0]
        .map(|metric| {
            lr = plateau.report(metric, lr).expect("good settings");
            lr
        })
        .to_vec();
    assert_eq!(rates, [0.5, 0.5, 0.3, 0.3, 0.3]);
    assert_eq!(plateau.best(), Some(1.0));
}
