//! This crate's side of `benches/compare/run`, `layers` and `augment`: measures one (network, work, threads).
//!
//! Started with these three as arguments. Then, for every line `seconds calls` on standard input, calls
//! the work for at least so long and so often, and prints one JSON line with each call's milliseconds.
//! Started otherwise, as cargo does, it does nothing.

mod layers;
#[path = "../networks/mod.rs"]
mod networks;

use std::io::stdin;
use std::time::Instant;

use layerwise::augment::{ColorJitter, HorizontalFlip, Pipeline, RandomCrop};
use layerwise::prelude::*;
use networks::{Inference, NETWORKS, Network, Training};

/// A work ready to be called.
type Work = Box<dyn FnMut() -> layerwise::Result<f32>>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [network, work, threads] = args.as_slice() else { return Ok(()) };
    // The global pool, entered from the main thread: what a program that does nothing special gets.
    rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build_global()?;
    let mut work = match (network.as_str(), work.as_str()) {
        ("augment", "batch") => augment(),
        (layer, work) if find(layer).is_some() => single(layer, work)?,
        (network, work) => {
            let known = NETWORKS.iter().find(|known| known.name == network);
            prepare(known.ok_or_else(|| format!("unknown network {network}"))?, work)?
        }
    };
    for line in stdin().lines() {
        let line = line?;
        let (seconds, calls) = line.split_once(' ').ok_or("needs: seconds calls")?;
        let times = measure(&mut work, seconds.parse()?, calls.parse()?)?;
        println!("{{\"ms\": {times:?}}}");
    }
    Ok(())
}

fn find(layer: &str) -> Option<&'static layers::Single> {
    layers::LAYERS.iter().find(|known| known.name == layer)
}

/// What `benches/compare/layers` compares.
fn single(layer: &str, work: &str) -> Result<Work, Box<dyn std::error::Error>> {
    let layer = find(layer).ok_or_else(|| format!("unknown layer {layer}"))?;
    Ok(match work {
        "train" => {
            let mut training = layers::Training::new(layer)?;
            Box::new(move || training.step())
        }
        "predict" => {
            let mut inference = layers::Inference::new(layer)?;
            Box::new(move || inference.predict())
        }
        _ => return Err(format!("unknown work {work}").into()),
    })
}

fn prepare(network: &Network, work: &str) -> Result<Work, Box<dyn std::error::Error>> {
    Ok(match work {
        "train" => {
            let mut training = Training::new(network)?;
            Box::new(move || training.step())
        }
        "predict" | "predict_one" => {
            let batch = if work == "predict" { network.batch } else { 1 };
            let mut inference = Inference::new(network, batch)?;
            Box::new(move || inference.predict())
        }
        _ => return Err(format!("unknown work {work}").into()),
    })
}

/// What `benches/compare/augment` compares: 128 images of 3 × 32 × 32, flipped, cropped and recoloured.
fn augment() -> Work {
    let pipeline = Pipeline::new(Seed::new(1))
        .add(HorizontalFlip::new())
        .add(RandomCrop::new(4))
        .add(ColorJitter::new().brightness(0.2).contrast(0.2).saturation(0.2).hue(0.1));
    let mut rng = Seed::new(1).rng();
    let mut x = Array4::from_shape_simple_fn((128, 3, 32, 32), || rng.uniform() as f32).into_dyn();
    let (samples, mut epoch) = ((0..128).collect::<Vec<usize>>(), 0);
    Box::new(move || {
        epoch += 1;
        pipeline.apply(&mut x.view_mut(), &samples, epoch)?;
        Ok(x[[0, 0, 0, 0]])
    })
}

/// Milliseconds of each call.
fn measure(work: &mut Work, seconds: f64, calls: usize) -> layerwise::Result<Vec<f64>> {
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < calls || start.elapsed().as_secs_f64() < seconds {
        let call = Instant::now();
        work()?;
        times.push(call.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}
