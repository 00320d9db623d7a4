//! Adam over 4,194,304 `f32` parameters, against the machine's copy bandwidth and PyTorch's fused Adam.
//!
//! Two comparisons: the rule alone over its arrays with PyTorch's fused step; and the driver's whole step, which also
//! takes the norm, finds out whether it is finite, and leaves the gradient to begin anew, with the three calls that do so there.
//!
//! Ours is called by a thread of the pool, as PyTorch's calling thread is one of those that do the work. A call from outside hands
//! over to sleeping threads first, which costs 0.1 to 0.7 ms here.
//!
//! `cargo bench --bench adam`, with `THREADS=1` for one thread. PyTorch's side runs if `PYTHON` (default `python3`) has it. All
//! sides take turns, so that whatever the machine does meanwhile meets all of them; figures are medians.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use layerwise::kernels::update;
use layerwise::prelude::*;
use layerwise::{EntryMut, VisitorMut};
use rayon::prelude::*;

/// The weight of one linear layer, 16 MiB.
const SIDE: usize = 2048;
const TURNS: usize = 15;
const CALLS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test --benches` only wants to see that it starts.
    if !std::env::args().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let threads: usize = match std::env::var("THREADS") {
        Ok(threads) => threads.parse()?,
        Err(_) => std::thread::available_parallelism()?.get(),
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let mut copy = Copy::new();
    let (mut rule, mut driver) = (Rule::new(), Driver::new()?);
    let mut pytorch = PyTorch::start(threads);
    let mut times: [Vec<f64>; 5] = Default::default();
    for turn in 0..=TURNS {
        let mut other =
            |work: &str| pytorch.as_mut().map(|pytorch| pytorch.measure(work)).transpose();
        let results = [
            pool.install(|| measure(&mut copy))?,
            pool.install(|| measure(&mut rule))?,
            other("step")?.unwrap_or_default(),
            pool.install(|| measure(&mut driver))?,
            other("whole")?.unwrap_or_default(),
        ];
        // The first turn warms up.
        if turn > 0 {
            times.iter_mut().zip(results).for_each(|(all, new)| all.extend(new));
        }
    }
    report(threads, times);
    Ok(())
}

fn report(threads: usize, times: [Vec<f64>; 5]) {
    let elements = (SIDE * SIDE) as f64;
    let [copy_ms, rule_ms, their_rule_ms, driver_ms, their_whole_ms] = times.map(median);
    let copy = 32.0 * elements / copy_ms;
    let row = |name: &str, ms: f64, bytes: f64| {
        let rate = bytes * elements / ms;
        let (gb, share) = (rate * 1e-6, 100.0 * rate / copy);
        println!("{name:<26}{ms:>9.3} ms{gb:>9.2} GB/s{share:>7.0} % of the copy");
    };
    println!("{threads} threads, {elements} elements of f32");
    row("copy of four arrays", copy_ms, 32.0);
    // Four arrays read, three written; the driver besides reads the gradient for its norm. The next backward overwrites it,
    // where PyTorch's `zero_grad` clears it.
    row("layerwise, rule", rule_ms, 28.0);
    row("layerwise, whole step", driver_ms, 32.0);
    if their_rule_ms.is_finite() {
        row("PyTorch, fused step", their_rule_ms, 28.0);
        row("PyTorch, whole step", their_whole_ms, 36.0);
        let ratios = (their_rule_ms / rule_ms, their_whole_ms / driver_ms);
        println!("PyTorch's time over ours: rule {:.2}, whole step {:.2}", ratios.0, ratios.1);
    } else {
        println!("no PyTorch: name an interpreter that has it with PYTHON=...");
    }
}

/// NaN if there is none.
fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Something of ours to be measured.
trait Work {
    /// Before each call; does not count.
    fn prepare(&mut self) {}
    fn call(&mut self) -> layerwise::Result<()>;
}

/// Milliseconds of each of some calls.
fn measure(work: &mut impl Work) -> layerwise::Result<Vec<f64>> {
    let call = |_| {
        work.prepare();
        let start = Instant::now();
        work.call()?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    };
    (0..CALLS).map(call).collect()
}

fn random() -> Vec<f32> {
    let mut rng = Seed::new(0).rng();
    (0..SIDE * SIDE).map(|_| rng.normal() as f32).collect()
}

/// On all threads, as PyTorch's `copy_`.
fn copy(from: &[f32], to: &mut [f32]) {
    let piece = from.len() / 16;
    let pieces = to.par_chunks_mut(piece).zip(from.par_chunks(piece));
    pieces.for_each(|(to, from)| to.copy_from_slice(from));
}

/// Copies as much memory as the four arrays have, cut for all threads.
struct Copy {
    from: Vec<f32>,
    to: Vec<f32>,
}

impl Copy {
    fn new() -> Self {
        Self { from: vec![1.0; 4 * SIDE * SIDE], to: vec![2.0; 4 * SIDE * SIDE] }
    }
}

impl Work for Copy {
    fn call(&mut self) -> layerwise::Result<()> {
        copy(&self.from, &mut self.to);
        Ok(())
    }
}

/// The rule over its arrays, piece by piece, as the driver has it.
struct Rule {
    value: Vec<f32>,
    grad: Vec<f32>,
    state: Vec<Vec<f32>>,
    new_grad: Vec<f32>,
}

impl Rule {
    fn new() -> Self {
        let state = vec![vec![0.0; SIDE * SIDE]; 2];
        Self { value: random(), grad: random(), state, new_grad: random() }
    }
}

impl Work for Rule {
    fn prepare(&mut self) {
        copy(&self.new_grad, &mut self.grad);
    }

    fn call(&mut self) -> layerwise::Result<()> {
        let Self { value, grad, state, .. } = self;
        let (rule, info) = (Adam::new(), StepInfo::new(1_000_000, 1e-3));
        update::pieces(value, grad, state, |value, grad, state| {
            rule.update(&info, value, grad, state)
        });
        Ok(())
    }
}

/// A model of one weight with its driver, and a gradient that each step gets anew.
struct Driver {
    model: Sequential,
    optimizer: ModelOptimizer,
    new_grad: Vec<f32>,
}

impl Driver {
    fn new() -> layerwise::Result<Self> {
        let optimizer = ModelOptimizer::new(Adam::new(), 1e-3);
        let model = Sequential::builder([SIDE]).add(Linear::new(SIDE).bias(false)).build()?;
        Ok(Self { model, optimizer, new_grad: random() })
    }
}

impl Work for Driver {
    fn prepare(&mut self) {
        let new_grad = &self.new_grad;
        self.model.visit_mut(&mut VisitorMut::new(&mut |_, entry| {
            if let EntryMut::Param(param) = entry
                && let Some(mut grad) = param.grad_mut()
                && let Some(grad) = grad.as_slice_mut()
            {
                copy(new_grad, grad);
            }
        }));
    }

    fn call(&mut self) -> layerwise::Result<()> {
        self.optimizer.step(&mut self.model).map(|_| ())
    }
}

/// A process that measures PyTorch's side whenever it is asked.
struct PyTorch {
    process: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl PyTorch {
    /// `None` if there is no PyTorch.
    fn start(threads: usize) -> Option<Self> {
        let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/adam/pytorch.py");
        let mut process = Command::new(python)
            .args([script, &SIDE.to_string(), &CALLS.to_string(), &threads.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut answers = BufReader::new(process.stdout.take()?);
        let mut ready = String::new();
        answers.read_line(&mut ready).ok().filter(|_| ready.trim() == "ready")?;
        Some(Self { process, answers })
    }

    fn measure(&mut self, work: &str) -> Result<Vec<f64>, Box<dyn Error>> {
        writeln!(self.process.stdin.as_mut().ok_or("its input is closed")?, "{work}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        line.split_whitespace().map(|ms| Ok(ms.parse()?)).collect()
    }
}

impl Drop for PyTorch {
    fn drop(&mut self) {
        // Its input ends, and so does it.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
