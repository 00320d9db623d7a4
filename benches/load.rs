//! Loading 100 MB of weights, against reading the same file into memory. Every figure is the fastest of several rounds: the
//! file lies in the system's cache, so what is measured is this crate and not the disk.

use std::hint::black_box;
use std::time::Instant;

use layerwise::persist::Storage;
use layerwise::prelude::*;

const ROUNDS: usize = 15;

fn main() -> Result<()> {
    // 25 million numbers in 24 layers: 100 MB in `f32`.
    let mut builder = Sequential::builder([1020]);
    for _ in 0..24 {
        builder = builder.add(Linear::new(1020).weight_init(Constant(0.5)));
    }
    let mut model = builder.build()?;
    let path = std::env::temp_dir().join(format!("layerwise-load-{}", std::process::id()));
    println!("{:>8} {:>9} {:>12} {:>12} {:>8}", "storage", "MB", "read ms", "load ms", "share");
    for storage in [Storage::F32, Storage::F64, Storage::F16, Storage::Int8] {
        model.save_as(&path, storage)?;
        let size = std::fs::metadata(&path).map_or(0, |file| file.len()) as f64 / 1e6;
        let (mut read, mut load) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..ROUNDS {
            read = read.min(milliseconds(|| drop(black_box(std::fs::read(&path)))));
            let mut result = Ok(Default::default());
            load = load.min(milliseconds(|| result = model.load(&path)));
            result?;
        }
        let name = format!("{storage:?}");
        println!("{name:>8} {size:>9.1} {read:>12.1} {load:>12.1} {:>7.0}%", 100.0 * read / load);
    }
    let _ = std::fs::remove_file(&path);
    Ok(())
}

fn milliseconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e3
}
