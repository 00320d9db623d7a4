//! The course's experiment: what ten layers make of a signal, for different initial weights.
//!
//! 1,000 samples of 500 normal numbers pass through ten fully connected layers of 500 units. Two tables: standard
//! deviation and mean of the activations behind each layer. The guide has a chapter about them.

use layerwise::LayerSpec;
use layerwise::prelude::*;

const LAYERS: usize = 10;
const UNITS: usize = 500;
const SAMPLES: usize = 1000;

/// One network: how its weights begin, and what follows each layer.
struct Column {
    title: &'static str,
    layer: Linear,
    activation: fn() -> Box<dyn LayerSpec>,
}

fn columns() -> Vec<Column> {
    fn tanh() -> Box<dyn LayerSpec> {
        Box::new(Tanh)
    }
    fn relu() -> Box<dyn LayerSpec> {
        Box::new(Relu)
    }
    let linear = || Linear::new(UNITS);
    vec![
        Column { title: "zero, tanh", layer: linear().weight_init(Zeros), activation: tanh },
        Column {
            title: "0.01, tanh",
            layer: linear().weight_init(Normal::default()),
            activation: tanh,
        },
        Column {
            title: "1.0, tanh",
            layer: linear().weight_init(Normal::new(0.0, 1.0)),
            activation: tanh,
        },
        Column {
            title: "Xavier, tanh",
            layer: linear().weight_init(XavierNormal::default()),
            activation: tanh,
        },
        Column {
            title: "Xavier, ReLU",
            layer: linear().weight_init(XavierNormal::default()),
            activation: relu,
        },
        Column {
            title: "He, ReLU",
            layer: linear().weight_init(HeNormal::default()),
            activation: relu,
        },
    ]
}

/// Mean and standard deviation of each layer's activations.
fn statistics(column: &Column) -> Result<Vec<(f32, f32)>> {
    let mut rng = Seed::new(0).rng();
    let mut x = Array2::from_shape_simple_fn((SAMPLES, UNITS), || rng.normal() as f32).into_dyn();
    let mut all = Vec::new();
    for seed in 0..LAYERS {
        let layer = Sequential::builder([UNITS])
            .add(column.layer.clone())
            .add((column.activation)())
            .seed(seed as u64)
            .build()?;
        x = layer.predict(&x)?;
        all.push((x.mean().unwrap_or(f32::NAN), x.std(0.0)));
    }
    Ok(all)
}

fn main() -> Result<()> {
    let columns = columns();
    let table: Vec<_> = columns.iter().map(statistics).collect::<Result<_>>()?;
    let print = |what: &str, pick: fn(&(f32, f32)) -> f32| {
        print!("\n{what:<6}");
        columns.iter().for_each(|column| print!("  {:>12}", column.title));
        println!();
        for layer in 0..LAYERS {
            print!("{:<6}", layer + 1);
            table.iter().for_each(|column| print!("  {:>12.6}", pick(&column[layer])));
            println!();
        }
    };
    print("std", |&(_, std)| std);
    print("mean", |&(mean, _)| mean);
    Ok(())
}
