//! The smallest program that trains a network: its build time and its size are measured.

use layerwise::prelude::*;

fn main() -> layerwise::Result<()> {
    let mut model = Sequential::builder([784])
        .add(Linear::new(512))
        .add(Relu)
        .add(Linear::new(256))
        .add(Relu)
        .add(Linear::new(10))
        .build()?;
    let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Adam::new(), 1e-3));
    let mut rng = Seed::new(0).rng();
    let x = Array2::from_shape_simple_fn((128, 784), || rng.normal() as f32);
    let labels: Vec<usize> = (0..128).map(|_| rng.below(10)).collect();
    let mut loss = 0.0;
    for _ in 0..50 {
        loss = trainer.step(&mut model, &x, &labels)?.loss;
    }
    println!("{{\"loss\": {loss}}}");
    Ok(())
}
