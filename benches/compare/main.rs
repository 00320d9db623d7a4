//! This crate's side of `benches/compare/run`: measures one (network, work, threads).
//!
//! Started with these three as arguments. Then, for every line `seconds calls` on standard input, calls
//! the work for at least so long and so often, and prints one JSON line with each call's milliseconds.
//! Started otherwise, as cargo does, it does nothing.

#[path = "../networks/mod.rs"]
mod networks;

use std::error::Error;
use std::io::stdin;
use std::time::Instant;

use networks::{Inference, NETWORKS, Network, Training};

/// A work ready to be called.
type Work = Box<dyn FnMut() -> layerwise::Result<f32>>;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [network, work, threads] = args.as_slice() else { return Ok(()) };
    // The global pool, entered from the main thread: what a program that does nothing special gets.
    rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build_global()?;
    let network = NETWORKS
        .iter()
        .find(|known| known.name == network)
        .ok_or_else(|| format!("unknown network {network}"))?;
    let mut work = prepare(network, work)?;
    for line in stdin().lines() {
        let line = line?;
        let (seconds, calls) = line.split_once(' ').ok_or("needs: seconds calls")?;
        let times = measure(&mut work, seconds.parse()?, calls.parse()?)?;
        println!("{{\"ms\": {times:?}}}");
    }
    Ok(())
}

fn prepare(network: &Network, work: &str) -> Result<Work, Box<dyn Error>> {
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
