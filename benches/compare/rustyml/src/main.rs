//! rustyml's side of `benches/compare/run`: as `../main.rs`, which see for what goes in and out.
//!
//! Its images are `[height, width, channels]`. It has one training step for a batch, and a prediction that allocates.

use std::error::Error;
use std::io::stdin;
use std::time::Instant;

use ndarray::ArrayD;
use rustyml::neural_network::Shape;
use rustyml::neural_network::layers::{
    Activation, BatchNormalization, Conv2D, Dense, Dropout, Flatten, GlobalAveragePooling2D,
    MaxPooling2D, PaddingType, ReLU,
};
use rustyml::neural_network::losses::SparseCategoricalCrossEntropy;
use rustyml::neural_network::optimizers::Adam;
use rustyml::neural_network::sequential::{Sequential, SequentialBuilder};

type Outcome<T> = Result<T, Box<dyn Error>>;
type Work = Box<dyn FnMut() -> Outcome<()>>;

/// Batches of labels drawn at the start, as on the other sides.
const LABEL_BATCHES: usize = 64;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [network, work, threads] = args.as_slice() else { return Ok(()) };
    rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build_global()?;
    let mut work = prepare(network, work)?;
    for line in stdin().lines() {
        let line = line?;
        let (seconds, calls) = line.split_once(' ').ok_or("needs: seconds calls")?;
        let (seconds, calls): (f64, usize) = (seconds.parse()?, calls.parse()?);
        let (mut times, start) = (Vec::new(), Instant::now());
        while times.len() < calls || start.elapsed().as_secs_f64() < seconds {
            let call = Instant::now();
            work()?;
            times.push(call.elapsed().as_secs_f64() * 1e3);
        }
        println!("{{\"ms\": {times:?}}}");
    }
    Ok(())
}

fn prepare(network: &str, work: &str) -> Outcome<Work> {
    let (batch, sample, classes): (usize, &[usize], u64) = match network {
        "tiny" => (32, &[8], 4),
        "mlp" => (128, &[784], 10),
        "lenet" => (128, &[28, 28, 1], 10),
        "cifar" => (64, &[32, 32, 3], 10),
        "vgg" => (32, &[32, 32, 3], 10),
        _ => return Err(format!("unknown network {network}").into()),
    };
    let batch = if work == "predict_one" { 1 } else { batch };
    let shape: Vec<usize> = std::iter::once(batch).chain(sample.iter().copied()).collect();
    let mut numbers = Numbers(1);
    let x = ArrayD::from_shape_simple_fn(shape.as_slice(), || numbers.normal());
    let mut model = layers(network)?.build(&Shape::known(&shape))?;
    if work != "train" {
        return Ok(Box::new(move || Ok(drop(std::hint::black_box(model.predict(&x)?)))));
    }
    model
        .compile(Adam::new(1e-3, 0.9, 0.999, 1e-8, 0.0)?, SparseCategoricalCrossEntropy::new(true));
    let labels: Vec<ArrayD<f32>> = (0..LABEL_BATCHES)
        .map(|_| ArrayD::from_shape_simple_fn(vec![batch, 1], || (numbers.bits() % classes) as f32))
        .collect();
    let mut step = 0;
    Ok(Box::new(move || {
        step += 1;
        train(&mut model, &x, &labels[step % LABEL_BATCHES])
    }))
}

fn train(model: &mut Sequential, x: &ArrayD<f32>, labels: &ArrayD<f32>) -> Outcome<()> {
    std::hint::black_box(model.train_batch(x, labels)?);
    Ok(())
}

fn layers(network: &str) -> Outcome<SequentialBuilder> {
    let model = SequentialBuilder::new();
    let relu = Activation::ReLU;
    let linear = Activation::Linear;
    Ok(match network {
        "tiny" => model
            .add(Dense::new(32, Activation::Tanh)?)
            .add(Dense::new(32, Activation::Tanh)?)
            .add(Dense::new(4, linear)?),
        "mlp" => model
            .add(Dense::new(512, relu.clone())?)
            .add(Dense::new(256, relu)?)
            .add(Dense::new(10, linear)?),
        "lenet" => model
            .add(Conv2D::new(6, (5, 5), (1, 1), relu.clone())?.with_padding(PaddingType::Same))
            .add(MaxPooling2D::new((2, 2)))
            .add(Conv2D::new(16, (5, 5), (1, 1), relu.clone())?)
            .add(MaxPooling2D::new((2, 2)))
            .add(Flatten::new())
            .add(Dense::new(120, relu.clone())?)
            .add(Dense::new(84, relu)?)
            .add(Dense::new(10, linear)?),
        "cifar" => pairs(model, &[32, 64, 128])?
            .add(MaxPooling2D::new((2, 2)))
            .add(Flatten::new())
            .add(Dense::new(256, relu)?)
            .add(Dropout::new(0.5)?)
            .add(Dense::new(10, linear)?),
        _ => pairs(model, &[64, 128, 256, 512])?
            .add(GlobalAveragePooling2D::new())
            .add(Dense::new(10, linear)?),
    })
}

/// Two times convolution, batch norm and ReLU for each of `channels`, with pooling between them.
fn pairs(mut model: SequentialBuilder, channels: &[usize]) -> Outcome<SequentialBuilder> {
    for (i, &channels) in channels.iter().enumerate() {
        if i > 0 {
            model = model.add(MaxPooling2D::new((2, 2)));
        }
        for _ in 0..2 {
            let conv = Conv2D::new(channels, (3, 3), (1, 1), Activation::Linear)?;
            model = model
                .add(conv.with_padding(PaddingType::Same).with_use_bias(false))
                .add(BatchNormalization::new(0.9, 1e-5)?)
                .add(ReLU::new());
        }
    }
    Ok(model)
}

/// SplitMix64, and normal numbers as sums of twelve uniform ones: good enough to measure with.
struct Numbers(u64);

impl Numbers {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn normal(&mut self) -> f32 {
        (0..12).map(|_| (self.bits() >> 40) as f32 / (1 << 24) as f32).sum::<f32>() - 6.0
    }
}
