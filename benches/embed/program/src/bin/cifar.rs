//! Trains the network cifar (benches/compare/README.md) and prints the most memory that it had.

use layerwise::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut layers = Sequential::builder([3, 32, 32]);
    for channels in [32, 64, 128] {
        for _ in 0..2 {
            let conv = Conv2d::new(channels, 3).padding(1).bias(false);
            layers = layers.add(conv).add(BatchNorm::new()).add(Relu);
        }
        layers = layers.add(MaxPool2d::new(2));
    }
    let mut model = layers
        .add(Flatten)
        .add(Linear::new(256))
        .add(Relu)
        .add(Dropout::new(0.5))
        .add(Linear::new(10))
        .build()?;
    let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Adam::new(), 1e-3));
    let mut rng = Seed::new(0).rng();
    let x = Array4::from_shape_simple_fn((64, 3, 32, 32), || rng.normal() as f32);
    let labels: Vec<usize> = (0..64).map(|_| rng.below(10)).collect();
    for _ in 0..10 {
        trainer.step(&mut model, &x, &labels)?;
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    println!("{{\"peak_kib\": {}}}", peak.trim().trim_end_matches(" kB"));
    Ok(())
}
