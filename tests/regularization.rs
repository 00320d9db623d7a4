//! Slow: what regularizing techniques give on real data. `cargo test --release --test regularization -- --ignored`

#[path = "../examples/regularization/recipes.rs"]
mod recipes;

use std::collections::BTreeMap;
use std::path::Path;

use recipes::{RECIPES, load, mean_and_error, train_and_test};

/// Beside these the example trains fractional pooling and stochastic depth, about whose gain nothing is claimed yet.
const HELD_TO_IT: [&str; 4] = ["plain", "dropout", "DropConnect", "batch norm"];

#[test]
#[ignore = "slow: trains 20 networks"]
fn dropout_drop_connect_and_batch_norm_at_least_match_the_plain_network_on_2000_mnist_images() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/mnist"));
    let (train, test) = load(folder, 2000).expect("MNIST lies in the repository");
    let mut results: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut worse = Vec::new();
    for recipe in RECIPES.iter().filter(|recipe| HELD_TO_IT.contains(&recipe.name)) {
        let run = |seed| {
            train_and_test(recipe, (&train, &test), 20, seed, |_| {}).expect("training goes on")
        };
        let runs: Vec<f64> = (1..=5).map(run).collect();
        if let Some(plain) = results.get(recipe.against) {
            let gains: Vec<f64> = runs.iter().zip(plain).map(|(run, plain)| run - plain).collect();
            let (gain, error) = mean_and_error(&gains);
            println!("{}: {gain:+.2} ± {error:.2}", recipe.name);
            if gain < 0.0 {
                worse.push((recipe.name, gain, runs.clone()));
            }
        }
        results.insert(recipe.name, runs);
    }
    assert!(worse.is_empty(), "worse than plain: {worse:?}");
    // The network learns at all.
    assert!(results["plain"].iter().all(|&accuracy| accuracy > 90.0), "{results:?}");
}
