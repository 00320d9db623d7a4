//! Slow: what regularizing techniques give on real data. `cargo test --release --test regularization -- --ignored`

#[path = "../examples/regularization/recipes.rs"]
mod recipes;

use std::collections::BTreeMap;
use std::path::Path;

use recipes::{RECIPES, load, mean_and_error, train_all};

#[test]
#[ignore = "slow: trains 40 networks"]
fn every_technique_at_least_matches_its_plain_network_on_2000_mnist_images() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/mnist"));
    let (train, test) = load(folder, 2000).expect("MNIST lies in the repository");
    let mut results: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut worse = Vec::new();
    for recipe in &RECIPES {
        let runs = train_all(recipe, (&train, &test), 20, 5, |_| {}).expect("training goes on");
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
    // Five techniques, and the networks learn at all.
    assert_eq!(RECIPES.iter().filter(|recipe| recipe.name != recipe.against).count(), 5);
    for plain in RECIPES.iter().filter(|recipe| recipe.name == recipe.against) {
        let runs = &results[plain.name];
        assert!(runs.iter().all(|&accuracy| accuracy > 90.0), "{}: {runs:?}", plain.name);
    }
}
