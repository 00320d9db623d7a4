//! Searches: the same results for any number of workers, and what the course says of them.

use layerwise::prelude::*;
use layerwise::search::{CoarseToFine, Halving, Results, Search, Space, Status, Trial, Value};

use crate::support::{labels, normal, text};

fn plane() -> Space {
    Space::new().uniform("important", 0.0, 1.0).uniform("unimportant", 0.0, 1.0)
}

/// Bergstra & Bengio's figure: a peak over one parameter, hardly a slope over the other.
fn figure(important: f64, unimportant: f64, at: f64) -> f64 {
    (-((important - at) / 0.1).powi(2)).exp() + 0.05 * unimportant
}

#[test]
fn random_search_beats_a_grid_where_one_parameter_does_not_matter() {
    let (mut random, mut grid, mut wins) = (0.0, 0.0, 0);
    for run in 0..200 {
        // Where the peak is nobody knows.
        let at = Seed::new(1000 + run).rng().uniform();
        let search = Search::new(plane(), Seed::new(run)).maximize(true);
        let objective = |trial: &mut Trial<'_>| {
            let point = trial.point();
            Ok(figure(point.number("important")?, point.number("unimportant")?, at))
        };
        let best =
            |results: Results| results.best().and_then(|best| best.value()).expect("a value");
        let (by_random, by_grid) = (
            best(search.random(9, 1, objective).expect("a good space")),
            best(search.grid(3, 1, objective).expect("a good space")),
        );
        random += by_random / 200.0;
        grid += by_grid / 200.0;
        wins += usize::from(by_random > by_grid);
    }
    // Nine values of the important parameter against three.
    assert!(random > grid + 0.15, "{random} {grid}");
    assert!(wins > 130, "{wins}");
}

fn space() -> Space {
    Space::new()
        .log_uniform("lr", 1e-4, 1e4)
        .log_integer("units", 2, 32)
        .choice("rule", &["sgd", "adam"])
        .when("rule", "sgd", |space| space.uniform("momentum", 0.0, 0.95))
}

/// Trains a small network.
fn train(data: &Dataset, trial: &mut Trial<'_>) -> Result<f64> {
    let point = trial.point();
    let lr = point.number("lr")?;
    let optimizer = match point.choice("rule")? {
        "sgd" => ModelOptimizer::new(Sgd::new().momentum(point.number("momentum")?), lr),
        _ => ModelOptimizer::new(Adam::new(), lr),
    };
    let mut model = Sequential::builder([4])
        .add(Linear::new(point.size("units")?))
        .add(Relu)
        .add(Linear::new(3))
        .seed(1)
        .build()?;
    let mut trainer = Trainer::new(CrossEntropy::new(), optimizer).epochs(trial.budget());
    let mut batches = data.batches(16)?.shuffled(trial.seed());
    let mut report = layerwise::training::EpochEnd(|run: &mut layerwise::training::Run<'_>| {
        trial.report(run.now.loss)
    });
    trainer.fit_with(&mut model, &mut batches, None, &mut [&mut report])?;
    Ok(trainer.evaluate(&model, &mut data.batches(64)?)?.loss)
}

fn data() -> Dataset {
    Dataset::new(normal(&[64, 4], 1), labels(64, 3, 2)).expect("64 each")
}

/// One of each method.
fn searches(workers: usize) -> Vec<Results> {
    let data = data();
    let search = Search::new(space(), Seed::new(3)).workers(workers);
    let objective = |trial: &mut Trial<'_>| train(&data, trial);
    vec![
        search.random(12, 2, objective).expect("a good space"),
        search.grid(2, 1, objective).expect("a good space"),
        search.coarse_to_fine(&CoarseToFine::new(8, &[1, 3]), objective).expect("a good space"),
        search.halving(&Halving::new(9, 1, 4).eta(2), objective).expect("a good space"),
    ]
}

#[test]
fn any_number_of_workers_gives_the_same_results() {
    let once = searches(1);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("a pool");
    for workers in [2, 3, 50] {
        assert!(pool.install(|| searches(workers)) == once, "{workers} workers");
    }
    assert_eq!(once.iter().map(|r| r.trials.len()).collect::<Vec<_>>(), [12, 12, 16, 9 + 4 + 2]);
    // Rates up to 10,000: some diverge, and that is no error.
    let statuses = || once.iter().flat_map(|results| &results.trials).map(|trial| &trial.status);
    assert!(statuses().any(|status| matches!(status, Status::Aborted(_))));
    assert!(!statuses().any(|status| matches!(status, Status::Failed(_))));
}

#[test]
fn a_grid_has_every_combination_and_no_parameter_that_does_not_apply() {
    let results = Search::new(space(), Seed::new(1)).grid(3, 1, |_| Ok(1.0)).expect("a good space");
    assert_eq!(results.trials.len(), 3 * 3 * (3 + 1));
    for trial in &results.trials {
        let sgd = trial.point.choice("rule").expect("a choice") == "sgd";
        assert_eq!(trial.point.has("momentum"), sgd);
    }
    let units = |i: usize| results.trials[i].point.get("units").expect("it exists").clone();
    assert_eq!([units(0), units(4), units(8)], [2, 8, 32].map(Value::Integer));
    let lrs: Vec<f64> = (0..36)
        .step_by(12)
        .map(|i| results.trials[i].point.number("lr").expect("it exists"))
        .collect();
    for (lr, want) in lrs.iter().zip([1e-4, 1.0, 1e4]) {
        assert!((lr / want - 1.0).abs() < 1e-9, "{lrs:?}");
    }
}

#[test]
fn draws_fill_their_ranges_evenly() {
    let space = Space::new()
        .log_uniform("log", 1e-6, 10.0)
        .integer("whole", 1, 6)
        .log_integer("octave", 1, 16);
    let mut decades = [0; 7];
    let (mut faces, mut octave) = ([0; 6], [0; 2]);
    for seed in 0..7000 {
        let point = space.draw(Seed::new(seed)).expect("a good space");
        decades[(point.number("log").expect("a number").log10() + 6.0) as usize] += 1;
        faces[point.size("whole").expect("a size") - 1] += 1;
        octave[usize::from(point.integer("octave").expect("whole") > 3)] += 1;
    }
    // Standard deviations 29, 31 and about 40.
    assert!(decades.iter().all(|&n: &i32| (n - 1000).abs() < 150), "{decades:?}");
    assert!(faces.iter().all(|&n: &i32| (n - 1167).abs() < 150), "{faces:?}");
    // ln(3.5 / 0.5) of ln(16.5 / 0.5).
    assert!((octave[0] - 3896i32).abs() < 200, "{octave:?}");
}

#[test]
fn coarse_to_fine_narrows_down_and_warns_at_a_border() {
    let space = || Space::new().log_uniform("lr", 1e-6, 10.0).choice("rule", &["a", "b", "c"]);
    let run = |best: f64| {
        Search::new(space(), Seed::new(4)).coarse_to_fine(
            &CoarseToFine::new(12, &[1, 2, 4]),
            |trial| {
                let off = trial.point().number("lr")?.log10() - best;
                Ok(off * off + if trial.point().choice("rule")? == "b" { 0.0 } else { 100.0 })
            },
        )
    };
    let results = run(-2.0).expect("a good space");
    assert_eq!(results.trials.len(), 36);
    let spread = |stage: u64| {
        let lrs = results.trials.iter().filter(|trial| trial.stage == stage);
        let lrs: Vec<f64> = lrs.map(|t| t.point.number("lr").expect("it exists").log10()).collect();
        lrs.iter().copied().fold(f64::MIN, f64::max) - lrs.iter().copied().fold(f64::MAX, f64::min)
    };
    assert!(spread(0) > 4.0 && spread(2) < spread(1) && spread(1) < spread(0));
    let last = results.trials.iter().filter(|trial| trial.stage == 2);
    assert!(last.clone().all(|trial| trial.point.choice("rule").is_ok_and(|rule| rule == "b")));
    let best = results.best().expect("some");
    assert!((best.point.number("lr").expect("it exists").log10() + 2.0).abs() < 0.2);
    assert_eq!((best.budget, results.warnings.len()), (4, 0));
    let results = run(1.5).expect("a good space");
    let lr = results.best().expect("some").point.number("lr").expect("it exists");
    assert_eq!(
        results.warnings,
        [format!(
            "the best lr, {lr}, lies at the upper border of its range (log-uniform number from 0.000001 to 10); \
             widen the range"
        )]
    );
}

#[test]
fn trials_end_when_it_makes_no_sense_to_go_on() {
    let search = Search::new(Space::new().integer("kind", 0, 5), Seed::new(1));
    let results = search
        .grid(6, 1, |trial| match trial.point().integer("kind")? {
            0 => Ok(0.5),
            1 => Ok(f64::NAN),
            2 => trial.report(f64::NAN).map(|()| 0.0),
            3 => {
                trial.report(1.0)?;
                trial.report(2.9)?;
                trial.report(3.1).map(|()| 0.0)
            }
            4 => Err(Error::NonFinite { what: "loss".into(), step: 3 }),
            _ => Err(Error::Data("nothing there".into())),
        })
        .expect("a good space");
    let statuses: Vec<_> = results.trials.iter().map(|trial| trial.status.clone()).collect();
    let nan =
        "loss is not finite at step 3; lower the learning rate, clip gradients, or check the data";
    assert_eq!(
        statuses,
        [
            Status::Done(0.5),
            Status::Aborted("the result is NaN".into()),
            Status::Aborted("the loss is NaN".into()),
            Status::Aborted("the loss rose from 1 to 3.1".into()),
            Status::Aborted(nan.into()),
            Status::Failed("data set: nothing there".into()),
        ]
    );
    assert_eq!(results.trials[3].reports, [1.0, 2.9, 3.1]);
    let table = results.to_string();
    let lines: Vec<&str> = table.lines().map(str::trim).collect();
    assert_eq!(lines[0], "trial  budget    result  kind");
    assert_eq!(lines[1], "0       1  0.500000     0");
    assert!(lines[2].contains("aborted") && lines.len() == 7, "{table}");
    let none = search.random(3, 1, |_| Ok(f64::NAN)).expect("a good space");
    assert!(none.best().is_none());
}

#[test]
fn a_space_or_a_plan_that_makes_no_sense_is_an_error() {
    let run = |space: Space| text(Search::new(space, Seed::new(1)).random(1, 1, |_| Ok(0.0)));
    let new = Space::new;
    for (space, wanted) in [
        (
            new().uniform("x", 1.0, 0.0),
            "Space: bounds must be the lower one first, got number from 1 to 0 for x",
        ),
        (
            new().log_uniform("x", 0.0, 1.0),
            "Space: bounds must be above 0 for a log-uniform range, got log-uniform number from 0 to 1 for x",
        ),
        (new().uniform("x", f64::NAN, 0.0), "Space: bounds must be finite, got NaN to 0 for x"),
        (
            new().integer("n", 3, 2),
            "Space: bounds must be the lower one first, got integer from 3 to 2 for n",
        ),
        (
            new().integer("n", 0, i64::MAX),
            "Space: bounds must be at most 2^52, got 0 to 9223372036854775807 for n",
        ),
        (new().choice("c", &[]), "Space: options must be at least one, each once, got [] for c"),
        (
            new().uniform("x", 0.0, 1.0).integer("x", 0, 1),
            "Space: name must be one that comes once, got x twice",
        ),
        (
            new().choice("c", &["a"]).when("c", "b", |space| space.uniform("x", 0.0, 1.0)),
            "Space: condition must be an option of a choice that comes before, got c = b for x",
        ),
    ] {
        assert_eq!(run(space), wanted);
    }
    let search = || Search::new(plane(), Seed::new(1));
    let zero = |_: &mut Trial<'_>| Ok(0.0);
    assert_eq!(text(search().random(0, 1, zero)), "Search: trials must be at least 1, got 0");
    assert_eq!(text(search().random(1, 0, zero)), "Search: budget must be at least 1, got 0");
    assert_eq!(
        text(search().workers(0).random(1, 1, zero)),
        "Search: workers must be at least 1, got 0"
    );
    assert_eq!(text(search().grid(0, 1, zero)), "Space: per_range must be at least 1, got 0");
    assert_eq!(
        text(search().grid(2000, 1, zero)),
        "Space: grid must be at most a million points, got more"
    );
    assert_eq!(
        text(search().halving(&Halving::new(3, 5, 4), zero)),
        "Halving: max_budget must be at least min_budget, got 4"
    );
    assert_eq!(
        text(search().halving(&Halving::new(3, 1, 4).eta(1), zero)),
        "Halving: eta must be at least 2, got 1"
    );
    assert_eq!(
        text(search().coarse_to_fine(&CoarseToFine::new(1, &[1]), zero)),
        "CoarseToFine: trials must be at least 2, got 1"
    );
    assert_eq!(
        text(search().coarse_to_fine(&CoarseToFine::new(5, &[]), zero)),
        "CoarseToFine: budgets must be at least one, got 0"
    );
    assert_eq!(
        text(search().coarse_to_fine(&CoarseToFine::new(5, &[1]).keep(6), zero)),
        "CoarseToFine: keep must be from 1 to the number of trials, got 6"
    );
    let point = plane().draw(Seed::new(1)).expect("a good space");
    assert_eq!(
        text(point.number("improtant")),
        "Point: name must be a parameter that this point has, got improtant; it has important, unimportant"
    );
    assert!(text(point.choice("important")).starts_with("Point: value must be a choice, got 0."));
}

#[cfg(feature = "json")]
mod file {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn path(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("layerwise-search-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        folder.join(name)
    }

    fn search(path: &PathBuf) -> Search {
        Search::new(space(), Seed::new(3)).workers(2).results(path)
    }

    #[test]
    fn an_interrupted_search_goes_on_without_losing_or_repeating_a_trial() {
        let (data, path) = (data(), path("resume.jsonl"));
        let calls = AtomicUsize::new(0);
        let objective = |trial: &mut Trial<'_>| {
            calls.fetch_add(1, Ordering::SeqCst);
            train(&data, trial)
        };
        let plan = CoarseToFine::new(8, &[1, 2]);
        let whole = search(&path).coarse_to_fine(&plan, objective).expect("a good space");
        assert_eq!((calls.swap(0, Ordering::SeqCst), whole.resumed), (16, 0));
        let text = fs::read_to_string(&path).expect("it was written");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 17);
        // Interrupted after any number of trials, in the middle of a line.
        for kept in [0, 1, 5, 8, 13, 16] {
            let mut cut = lines[..=kept].join("\n");
            if kept < 16 {
                cut += "\n";
                cut += &lines[kept + 1][..lines[kept + 1].len() / 2];
            }
            fs::write(&path, cut).expect("a file");
            let results = search(&path).coarse_to_fine(&plan, objective).expect("the same search");
            assert_eq!((results.resumed, calls.swap(0, Ordering::SeqCst)), (kept, 16 - kept));
            assert_eq!(results.unreadable.len(), usize::from(kept < 16));
            assert_eq!(results.trials, whole.trials);
            // And once more: everything is there.
            let again = search(&path).coarse_to_fine(&plan, objective).expect("the same search");
            assert_eq!((again.resumed, calls.swap(0, Ordering::SeqCst)), (16, 0));
            assert_eq!(again.trials, whole.trials);
        }
    }

    #[test]
    fn unreadable_lines_are_named_and_the_rest_kept() {
        let path = path("unreadable.jsonl");
        let objective = |trial: &mut Trial<'_>| trial.point().number("lr");
        let whole = search(&path).random(4, 1, objective).expect("a good space");
        let text = fs::read_to_string(&path).expect("it was written");
        let mut lines: Vec<&str> = text.lines().collect();
        lines[2] = "{\"trial\": 1, \"stage\": 0}";
        lines[3] = "\u{1}nonsense";
        fs::write(&path, lines.join("\n")).expect("a file");
        let results = search(&path).random(4, 1, objective).expect("the same search");
        assert_eq!(results.trials, whole.trials);
        assert_eq!(results.resumed, 2);
        assert_eq!(results.unreadable.len(), 2);
        assert_eq!(results.unreadable[0], "line 3: it has no result");
        assert!(results.unreadable[1].starts_with("line 4: "), "{:?}", results.unreadable);
    }

    #[test]
    fn a_file_of_another_search_is_an_error() {
        let path = path("other.jsonl");
        search(&path).random(2, 1, |_| Ok(1.0)).expect("a good space");
        let before = fs::read(&path).expect("it was written");
        let error = text(search(&path).random(3, 1, |_| Ok(1.0)));
        assert!(
            error.contains("other.jsonl: line 1 belongs to another search: \"random, 2 trials"),
            "{error}"
        );
        assert!(error.ends_with("; give another path, or remove the file"));
        assert_eq!(fs::read(&path).expect("it is there"), before);
        let nowhere = path.join("no folder");
        assert!(text(search(&nowhere).random(1, 1, |_| Ok(1.0))).starts_with("cannot open "));
    }
}
