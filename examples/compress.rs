//! What fewer bits cost: trains a small convolutional network on MNIST for one epoch, stores its weights in each type, and
//! counts how many of the 10,000 test images change their class. `cargo run --release --example compress`

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Instant;

use flate2::read::GzDecoder;
use layerwise::data::{Idx, read_idx};
use layerwise::persist::Storage;
use layerwise::prelude::*;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let (train, test) = (load("train")?, load("t10k")?);
    let mut model = Sequential::builder([1, 28, 28])
        .add(Conv2d::new(16, 3).padding(1).bias(false))
        .add(BatchNorm::new())
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(Conv2d::new(32, 3).padding(1).bias(false))
        .add(BatchNorm::new())
        .add(Relu)
        .add(MaxPool2d::new(2))
        .add(Flatten)
        .add(Dropout::new(0.1))
        .add(Linear::new(128))
        .add(Relu)
        .add(Linear::new(10))
        .seed(1)
        .build()?;
    let mut batches = train.batches(64)?.shuffled(Seed::new(1));
    let schedule = LinearWarmup::new(100).then(Cosine::new(batches.count() as u64 - 100));
    let optimizer = ModelOptimizer::new(Adam::new(), 4e-3).schedule(schedule);
    let mut trainer = Trainer::new(CrossEntropy::new(), optimizer);
    trainer.epoch(&mut model, &mut batches)?;

    let reference = classes(&model, &test)?;
    println!("{:<28} {:>9} {:>10} {:>8} {:>8}", "", "kB", "accuracy", "changed", "seconds");
    for storage in [Storage::F32, Storage::F16, Storage::Bf16, Storage::Int8] {
        let bytes = model.to_bytes_as(storage)?;
        let mut stored = model.clone();
        stored.load_bytes(&bytes)?;
        row(&format!("{storage:?}"), bytes.len(), &stored, &test, &reference)?;
    }
    let inference = model.into_inference()?;
    for storage in [Storage::F32, Storage::F16, Storage::Int8] {
        let bytes = inference.to_bytes_as(storage)?;
        let mut stored = inference.clone();
        stored.load_bytes(&bytes)?;
        row(&format!("inference form, {storage:?}"), bytes.len(), &stored, &test, &reference)?;
    }
    Ok(())
}

fn row(
    name: &str,
    bytes: usize,
    model: &Sequential,
    test: &Dataset,
    reference: &[usize],
) -> Result<(), Failure> {
    let start = Instant::now();
    let found = classes(model, test)?;
    let seconds = start.elapsed().as_secs_f64();
    let changed = found.iter().zip(reference).filter(|(a, b)| a != b).count();
    let accuracy = 100.0 * accuracy(model, test)?;
    let size = bytes as f64 / 1e3;
    println!("{name:<28} {size:>9.1} {accuracy:>8.2} % {changed:>8} {seconds:>8.2}");
    Ok(())
}

/// The class that the model gives each image.
fn classes(model: &Sequential, test: &Dataset) -> Result<Vec<usize>, Failure> {
    let (mut classes, mut workspace) = (Vec::new(), Workspace::new());
    let mut batches = test.batches(500)?;
    while let Some(batch) = batches.next_batch()? {
        let scores = model.predict_with(batch.x, &mut workspace)?;
        for row in scores.outer_iter() {
            let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            classes.push(best.map_or(0, |(class, _)| class));
        }
    }
    Ok(classes)
}

fn load(half: &str) -> Result<Dataset, Failure> {
    let read = |name: String| -> Result<Idx, Failure> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/mnist");
        Ok(read_idx(GzDecoder::new(BufReader::new(File::open(folder.join(name))?)))?)
    };
    let images = read(format!("{half}-images-idx3-ubyte.gz"))?.to_images(1.0 / 255.0)?;
    let labels = read(format!("{half}-labels-idx1-ubyte.gz"))?.to_labels()?;
    Ok(Dataset::new(images, labels)?)
}
