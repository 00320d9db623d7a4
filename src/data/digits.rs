//! Real data that is always there.

use miniz_oxide::inflate::decompress_to_vec_with_limit;

use super::Dataset;

const IMAGES: usize = 1797;
const SIDE: usize = 8;

/// 1,797 handwritten digits, grey images of 8 × 8, values 0 to 1 in steps of 1/16: data for first steps, tests
/// and examples.
///
/// They are scikit-learn's `load_digits`, in its order, whose values are 16 times as large.
///
/// # Shape
/// samples `[1797, 1, 8, 8]`, targets the digits 0 to 9.
///
/// # Examples
/// ```
/// use layerwise::data::digits;
/// use layerwise::prelude::*;
///
/// let [train, test] = digits().split_stratified([0.8, 0.2], Seed::new(1))?;
/// let mut model = Sequential::builder([1, 8, 8])
///     .add(Flatten)
///     .add(Linear::new(32))
///     .add(Relu)
///     .add(Linear::new(10))
///     .build()?;
/// let mut trainer = Trainer::new(CrossEntropy::new(), ModelOptimizer::new(Adam::new(), 0.01));
/// let mut batches = train.batches(32)?.shuffled(Seed::new(1));
/// for _ in 0..10 {
///     trainer.epoch(&mut model, &mut batches)?;
/// }
/// let accuracy = accuracy(&model, &test)?;
/// assert!(accuracy > 0.93, "{accuracy}");
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # References
/// Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, under
/// [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/); these are the 1,797 of its test set. Changed in
/// form only: bytes, compressed.
pub fn digits() -> Dataset {
    let compressed = include_bytes!("digits.deflate");
    let bytes = decompress_to_vec_with_limit(compressed, IMAGES * (SIDE * SIDE + 1))
        .expect("the embedded file is whole");
    let (pixels, classes) = bytes.split_at(IMAGES * SIDE * SIDE);
    let samples = pixels.iter().map(|&pixel| f32::from(pixel) / 16.0).collect();
    let samples = ndarray::ArrayD::from_shape_vec(vec![IMAGES, 1, SIDE, SIDE], samples)
        .expect("the embedded file has so many pixels");
    let classes = classes.iter().map(|&class| usize::from(class)).collect();
    Dataset::new(samples, classes).expect("the embedded file has a class for each image")
}
