//! Whether speed gets lost in the caller's own rayon pool, or when several models predict at once.
//!
//! `cargo bench --bench pools`: about half a minute. Each pair of figures is measured in turns; the medians' ratio less 1
//! is the loss, which is to stay below 5 %. `RAYON_NUM_THREADS` sets the size of both pools.

#[path = "networks/mod.rs"]
mod networks;

use std::time::{Duration, Instant};

use layerwise::prelude::*;
use networks::{Inference, NETWORKS, Network, Training};

/// Time for each pair.
const TIME: Duration = Duration::from_secs(2);
const MODELS: usize = 4;

fn main() -> Result<()> {
    let threads = rayon::current_num_threads();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.expect("the system has threads left");
    println!("{threads} threads; milliseconds\n");
    println!("{:<34}{:>10}{:>10}{:>9}", "in the caller's own pool", "global", "own", "loss");
    for network in &NETWORKS[1..] {
        let (mut global, mut own) = (Training::new(network)?, Training::new(network)?);
        compare(
            &format!("{}, training step", network.name),
            || global.step().map(drop),
            || pool.install(|| own.step().map(drop)),
        )?;
        let (mut global, mut own) = (inference(network)?, inference(network)?);
        compare(
            &format!("{}, batch of {}", network.name, network.batch),
            || global.predict().map(drop),
            || pool.install(|| own.predict().map(drop)),
        )?;
    }
    println!(
        "\n{:<34}{:>10}{:>10}{:>9}",
        "4 models, each its own thread", "in turn", "at once", "loss"
    );
    for network in &NETWORKS[1..] {
        let mut in_turn: Vec<Inference> =
            (0..MODELS).map(|_| inference(network)).collect::<Result<_>>()?;
        let mut at_once: Vec<Inference> =
            (0..MODELS).map(|_| inference(network)).collect::<Result<_>>()?;
        // Enough calls that starting the threads counts for nothing.
        let once = time(|| in_turn[0].predict().map(drop))?;
        let calls = (0.05 / once).ceil().clamp(1.0, 1e5) as usize;
        compare(
            &format!("{}, {calls} batches each", network.name),
            || in_turn.iter_mut().try_for_each(|model| repeat(model, calls)),
            || {
                std::thread::scope(|scope| {
                    let threads: Vec<_> = at_once
                        .iter_mut()
                        .map(|model| scope.spawn(move || repeat(model, calls)))
                        .collect();
                    threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
                })
            },
        )?;
    }
    Ok(())
}

fn inference(network: &Network) -> Result<Inference> {
    Inference::new(network, network.batch)
}

fn repeat(model: &mut Inference, calls: usize) -> Result<()> {
    (0..calls).try_for_each(|_| model.predict().map(drop))
}

/// Seconds of a call.
fn time(mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    call()?;
    Ok(start.elapsed().as_secs_f64())
}

/// Prints the medians of both, called in turns, and what the second loses.
fn compare(
    name: &str,
    mut first: impl FnMut() -> Result<()>,
    mut second: impl FnMut() -> Result<()>,
) -> Result<()> {
    let (mut times, start) = ([Vec::new(), Vec::new()], Instant::now());
    for round in 0.. {
        let pair = [time(&mut first)?, time(&mut second)?];
        // The first rounds allocate.
        if round >= 2 {
            times.iter_mut().zip(pair).for_each(|(times, time)| times.push(time));
        }
        if round >= 6 && start.elapsed() > TIME {
            break;
        }
    }
    let [first, second] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    let loss = 100.0 * (second / first - 1.0);
    println!("{name:<34}{:>10.3}{:>10.3}{loss:>7.1} %", 1e3 * first, 1e3 * second);
    Ok(())
}
