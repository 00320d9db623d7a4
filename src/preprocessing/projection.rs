//! A linear map, as learned from data.

use super::Transform;
use crate::kernels::gemm::{Begin, Mat, gemm, scratch_len};
use crate::layers::door;
use crate::{
    Backward, Buffer, Forward, Init, Layer, LayerSpec, Result, Scalar, Scratch, Shape, ShapeError,
    layer_params,
};

/// `y = (x − mean) Wᵀ`: a fitted [`super::Pca`] or [`super::Zca`].
///
/// As a layer it has the buffers `mean`, `weight` `[components, features]`, `inverse` `[components, features]` and
/// `eigenvalues`, which are saved with the model, and no parameter.
///
/// # Shape
/// input `[n, ..shape]` → `[n, components]` after PCA, the same shape after ZCA.
///
/// # Examples
/// ```
/// use layerwise::preprocessing::{Pca, Preprocessor, Transform};
///
/// let x = ndarray::arr2(&[[1.0f64, 1.0], [2.0, 2.0], [3.0, 3.0]]); // along a line
/// let pca = Pca::new().components(1).fit(&x)?;
/// assert!((pca.eigenvalues()[0] - 4.0 / 3.0).abs() < 1e-12);
/// let y = pca.apply(&x)?;
/// assert_eq!(y.shape(), [3, 1]);
/// assert!((y[[2, 0]] - 2f64.sqrt()).abs() < 1e-12);
/// assert!((pca.inverse(&y)?[[0, 1]] - 1.0).abs() < 1e-12);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// As a layer, building fails with [`crate::Error::Shape`] if its input has another shape.
#[derive(Debug, Clone)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "super::saved::Projection<F>", into = "super::saved::Projection<F>")
)]
pub struct Projection<F: Scalar = f32> {
    input: Shape,
    output: Shape,
    mean: Buffer<F>,
    weight: Buffer<F>,
    inverse: Buffer<F>,
    eigenvalues: Buffer<F>,
}

impl<F: Scalar> Projection<F> {
    /// `weight` and `inverse` are `[components, features]`, row-major.
    pub(super) fn new(
        input: &Shape,
        output: Shape,
        mean: &[f64],
        weight: &[f64],
        inverse: &[f64],
        eigenvalues: &[f64],
    ) -> Self {
        let (features, components) = (input.numel(), output.numel());
        let buffer = |shape: &[usize], values: &[f64]| {
            let mut buffer = Buffer::filled(shape, F::zero());
            buffer.as_slice_mut().iter_mut().zip(values).for_each(|(to, &from)| *to = F::lit(from));
            buffer
        };
        Self {
            mean: buffer(&[features], mean),
            weight: buffer(&[components, features], weight),
            inverse: buffer(&[components, features], inverse),
            eigenvalues: buffer(&[features], eigenvalues),
            input: input.clone(),
            output,
        }
    }

    /// The mean that is subtracted.
    pub fn mean(&self) -> &[F] {
        self.mean.as_slice()
    }

    /// `W`, `[components, features]`: what each component takes of each feature.
    pub fn weight(&self) -> crate::View<'_, F> {
        self.weight.value()
    }

    /// Variances of the training data along all principal axes, largest first.
    pub fn eigenvalues(&self) -> &[F] {
        self.eigenvalues.as_slice()
    }

    /// The inverse's rows, `[components, features]`.
    #[cfg(feature = "serde")]
    pub(super) fn inverse_weight(&self) -> &[F] {
        self.inverse.as_slice()
    }

    /// Features and components.
    fn sizes(&self) -> (usize, usize) {
        (self.input.numel(), self.output.numel())
    }

    /// `dx = dy W`: the derivative.
    fn gradient(&self, dy: &[F], dx: &mut [F], scratch: &mut Scratch<F>) {
        let (features, components) = self.sizes();
        let rows = dy.len() / components;
        let [pack] = scratch.take([scratch_len::<F>(rows, features, components)]);
        let (dy, weight) = (Mat::new(dy, components), Mat::new(self.weight.as_slice(), features));
        gemm(rows, features, components, dy, weight, dx, Begin::Zero, pack);
    }
}

impl<F: Scalar> Transform<F> for Projection<F> {
    fn input_shape(&self) -> &Shape {
        &self.input
    }

    fn output_shape(&self) -> &Shape {
        &self.output
    }

    fn apply_into(&self, x: &[F], y: &mut [F], scratch: &mut Scratch<F>) {
        let (features, components) = self.sizes();
        let rows = x.len() / features;
        let [centered, pack] =
            scratch.take([x.len(), scratch_len::<F>(rows, components, features)]);
        // Subtracted first: `x Wᵀ − mean Wᵀ` loses digits where the mean is large.
        for (to, x) in centered.chunks_exact_mut(features).zip(x.chunks_exact(features)) {
            for ((to, &x), &mean) in to.iter_mut().zip(x).zip(self.mean()) {
                *to = x - mean;
            }
        }
        let (x, weight) =
            (Mat::new(centered, features), Mat::transposed(self.weight.as_slice(), features));
        gemm(rows, components, features, x, weight, y, Begin::Zero, pack);
    }

    fn inverse_into(&self, y: &[F], x: &mut [F], scratch: &mut Scratch<F>) {
        let (features, components) = self.sizes();
        let rows = y.len() / components;
        let [pack] = scratch.take([scratch_len::<F>(rows, features, components)]);
        let (y, inverse) = (Mat::new(y, components), Mat::new(self.inverse.as_slice(), features));
        gemm(rows, features, components, y, inverse, x, Begin::ColBias(self.mean()), pack);
    }
}

impl<F: Scalar> LayerSpec<F> for Projection<F> {
    fn build(&self, _input: &Shape, _init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        Ok(Box::new(self.clone()))
    }

    #[cfg(feature = "serde")]
    fn record(&self) -> crate::persist::Record {
        let (input, output) = (self.input.clone(), self.output.clone());
        crate::persist::Record::of("Projection", &SavedProjection { input, output })
    }
}

/// A [`Projection`] whose numbers are among a file's weights.
#[cfg(feature = "serde")]
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct SavedProjection {
    input: Shape,
    output: Shape,
}

#[cfg(feature = "serde")]
impl<F: Scalar> LayerSpec<F> for SavedProjection {
    fn build(&self, _input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        let (input, output) = (self.input.clone(), self.output.clone());
        if input.numel() == 0 || output.numel() == 0 {
            let text = format!("a projection needs elements, got {input} to {output}");
            return Err(crate::Error::Preprocessing(text));
        }
        let (features, components) = (input.numel(), output.numel());
        let buffer = |name, shape: &[usize]| init.buffer(name, shape, F::zero());
        Ok(Box::new(Projection {
            mean: buffer("mean", &[features])?,
            weight: buffer("weight", &[components, features])?,
            inverse: buffer("inverse", &[components, features])?,
            eigenvalues: buffer("eigenvalues", &[features])?,
            input,
            output,
        }))
    }

    fn record(&self) -> crate::persist::Record {
        crate::persist::Record::of("Projection", self)
    }
}

impl<F: Scalar> Layer<F> for Projection<F> {
    fn kind(&self) -> &'static str {
        "Projection"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        input.require(self.input.dims(), "the shape it was fitted to")?;
        Ok(self.output.clone())
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let x = door::slice(&pass.input);
        door::fill(&mut pass.output, |y| self.apply_into(&x, y, pass.scratch));
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let Some(mut grad_input) = pass.grad_input else { return Ok(()) };
        let dy = door::slice(&pass.grad_output);
        door::fill(&mut grad_input, |dx| self.gradient(&dy, dx, pass.scratch));
        Ok(())
    }

    layer_params!(F; mean, weight, inverse, eigenvalues);
}
