//! This crate's side of `benches/compare/run`, `layers` and `augment`: measures one (network, work, threads).
//!
//! Started with these three as arguments. Then, for every line `seconds calls` on standard input, calls
//! the work for at least so long and so often, and prints one JSON line with each call's milliseconds.
//! Started with `layers` and a number of threads, every line is `layer work seconds calls`; with `layers` alone it
//! prints the layers, their works and the shapes of a sample. Started otherwise, as cargo does, it does nothing.

mod layers;
#[path = "../networks/mod.rs"]
mod networks;

use std::io::stdin;
use std::time::Instant;

use layers::Work;
use layerwise::augment::{ColorJitter, HorizontalFlip, Pipeline, RandomCrop};
use layerwise::prelude::*;
use networks::{Inference, NETWORKS, Training};

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["layers"] => list(),
        ["layers", threads] => {
            // Inside a pool: a layer in a model runs where the pass has entered it.
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build()?;
            pool.install(single_layers)?;
        }
        [network, work, threads] => {
            use_threads(threads)?;
            let mut call = match (network, work) {
                ("augment", "batch") => augment(),
                _ => prepare(network, work)?,
            };
            answer(|line| measure(&mut call, line))?;
        }
        _ => {}
    }
    Ok(())
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a line on standard input should have.
const ASKED: &str = "needs: seconds calls, for layers: layer work seconds calls";

/// The global pool, entered from the main thread: what a program that does nothing special gets.
fn use_threads(threads: &str) -> Result<(), Failure> {
    Ok(rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build_global()?)
}

fn answer(mut times: impl FnMut(&str) -> Result<Vec<f64>, Failure>) -> Result<(), Failure> {
    for line in stdin().lines() {
        println!("{{\"ms\": {:?}}}", times(&line?)?);
    }
    Ok(())
}

fn list() {
    for single in layers::SINGLES {
        let works: Vec<_> = layers::WORKS.into_iter().filter(|work| single.has(work)).collect();
        println!("{} {} {:?}", single.name, works.join(","), single.sample);
    }
}

/// Measures the layer and work that each line names, and keeps the last one for the next line.
fn single_layers() -> Result<(), Failure> {
    let mut current = None;
    answer(|line| {
        let (layer, rest) = line.split_once(' ').ok_or(ASKED)?;
        let (work, rest) = rest.split_once(' ').ok_or(ASKED)?;
        let name = format!("{layer} {work}");
        if current.as_ref().is_none_or(|(made, _)| *made != name) {
            current = Some((name, single(layer, work)?));
        }
        let (_, call) = current.as_mut().ok_or(ASKED)?;
        measure(call, rest)
    })
}

/// What `benches/compare/layers` compares.
fn single(layer: &str, work: &str) -> Result<Work, Failure> {
    let known = layers::SINGLES.iter().find(|known| known.name == layer && known.has(work));
    Ok(known.ok_or_else(|| format!("unknown: {layer} {work}"))?.work(work)?)
}

fn prepare(network: &str, work: &str) -> Result<Work, Failure> {
    let known = NETWORKS.iter().find(|known| known.name == network);
    let network = known.ok_or_else(|| format!("unknown network {network}"))?;
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

/// Milliseconds of each call, for at least so long and so often as `"seconds calls"` says.
fn measure(work: &mut Work, asked: &str) -> Result<Vec<f64>, Failure> {
    let (seconds, calls) = asked.split_once(' ').ok_or(ASKED)?;
    let (seconds, calls) = (seconds.parse::<f64>()?, calls.parse::<usize>()?);
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < calls || start.elapsed().as_secs_f64() < seconds {
        let call = Instant::now();
        work()?;
        times.push(call.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}
