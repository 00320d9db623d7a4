//! Proves a layer's backward right: analytic gradients against central differences, and the rest of a
//! layer's contract.
//!
//! The best error of a central difference is about `ε^(2/3)`: 4e-11 in `f64`, 2e-5 in `f32`. So layers are
//! written over a generic element and checked in `f64`, where a forgotten `eps` or factor cannot hide; a layer
//! for `f32` alone can be checked too, more loosely.
//!
//! Besides gradients by the input and by every parameter, a check sees that
//! - every output and every input gradient is written (they, and the scratch memory, begin as NaN),
//! - gradients are added to, not overwritten, and are the same when nobody asks for the input's,
//! - arrays in another memory layout give the same,
//! - the same seed gives the same, and a smaller batch after a larger one is not disturbed by it,
//! - a frozen parameter gets no gradient.
//!
//! ```
//! use layerwise::gradcheck::GradCheck;
//! use layerwise::prelude::*;
//!
//! let layer: Box<dyn Layer<f64>> = Linear::new(3).build(&[4].into(), &mut Init::new(Seed::new(0)))?;
//! let report = GradCheck::new([4]).run(&*layer)?;
//! assert!(report.worst_error < 1e-8);
//! # Ok::<(), layerwise::Error>(())
//! ```

mod contract;
mod probe;

use std::fmt;

use crate::{Error, Init, Layer, LayerSpec, Mode, Result, Scalar, Seed, Shape};
use probe::Probe;

/// Checks `layer` for inputs of this shape with the default settings, in train and in eval mode.
///
/// # Errors
/// [`Error::GradCheck`] naming what differs and where; what the layer itself reports.
///
/// ```
/// use layerwise::prelude::*;
///
/// let layer: Box<dyn Layer<f64>> = Conv2d::new(2, 3).build(&[1, 4, 5].into(), &mut Init::new(Seed::new(0)))?;
/// layerwise::gradcheck::check(&*layer, [1, 4, 5])?;
/// # Ok::<(), layerwise::Error>(())
/// ```
pub fn check<F: Scalar>(layer: &dyn Layer<F>, input: impl Into<Shape>) -> Result<Report> {
    GradCheck::new(input).run(layer)
}

/// Builds the layer of a spec and checks it: the shortest way for an activation or a spec of your own.
///
/// # Errors
/// As [`check`]; what the spec reports.
///
/// ```
/// use layerwise::prelude::*;
///
/// layerwise::gradcheck::check_spec::<f64>(&Tanh, [5])?;
/// # Ok::<(), layerwise::Error>(())
/// ```
pub fn check_spec<F: Scalar>(spec: &dyn LayerSpec<F>, input: impl Into<Shape>) -> Result<Report> {
    let input = input.into();
    let layer = spec.build(&input, &mut Init::new(Seed::new(0)))?;
    check(&*layer, input)
}

/// A gradient check and its settings.
#[derive(Debug, Clone)]
pub struct GradCheck {
    input: Shape,
    batch: usize,
    modes: Vec<Mode>,
    step: Option<f64>,
    tolerance: Option<f64>,
    elements: usize,
    scale: f64,
    seed: u64,
}

/// What a successful check found.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Report {
    /// The largest relative error of a derivative.
    pub worst_error: f64,
    /// Derivatives compared.
    pub compared: usize,
    /// Derivatives passed over, because the function has a kink within the step (two steps disagree).
    pub kinks: usize,
}

/// What a check found wrong.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Mismatch {
    /// An analytic derivative differs from the numeric one.
    Gradient {
        /// `input` or the parameter's name.
        what: String,
        /// Index of the element, in row-major order.
        index: usize,
        /// The mode of the pass.
        mode: Mode,
        /// What `backward` says.
        analytic: f64,
        /// The central difference.
        numeric: f64,
        /// Their difference relative to the larger.
        error: f64,
        /// What would have been accepted.
        tolerance: f64,
    },
    /// Something else that a layer has to do.
    Contract {
        /// What it is about: `output`, `input gradient`, or a parameter's name.
        what: String,
        /// The mode of the pass.
        mode: Mode,
        /// What is wrong with it.
        problem: String,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gradient { what, index, mode, analytic, numeric, error, tolerance } => write!(
                f,
                "{what}, element {index}, in {mode:?} mode: backward gives {analytic:e}, finite differences \
                 {numeric:e}; relative error {error:.1e} exceeds {tolerance:.1e}"
            ),
            Self::Contract { what, mode, problem } => {
                write!(f, "{what}, in {mode:?} mode: {problem}")
            }
        }
    }
}

impl Mismatch {
    fn into_error(self) -> Error {
        Error::GradCheck(Box::new(self))
    }
}

impl GradCheck {
    /// For inputs of this shape, without the batch axis.
    pub fn new(input: impl Into<Shape>) -> Self {
        Self {
            input: input.into(),
            batch: 3,
            modes: vec![Mode::Train, Mode::Eval],
            step: None,
            tolerance: None,
            elements: 300,
            scale: 1.0,
            seed: 0,
        }
    }

    /// Samples in the batch, at least 1; default 3.
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = batch.max(1);
        self
    }

    /// Only in this mode; default both.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.modes = vec![mode];
        self
    }

    /// Distance `h` of the central difference; default 1e-5 in `f64`, 1e-2 in `f32`.
    pub fn step(mut self, step: f64) -> Self {
        self.step = Some(step);
        self
    }

    /// Largest relative error accepted. The default follows from the step: truncation `h²` and rounding
    /// `ε/h`, times 1e3 for what a layer sums up; 1e-7 in `f64`, 5e-2 in `f32`. What rounding alone can do to
    /// the difference, `8 ε Σ|y·dy| / h`, is not held against a derivative.
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = Some(tolerance);
        self
    }

    /// Derivatives compared in each array, evenly spread; default 300.
    pub fn elements(mut self, elements: usize) -> Self {
        self.elements = elements.max(1);
        self
    }

    /// Inputs are drawn from `±scale`; default 1.
    pub fn scale(mut self, scale: f64) -> Self {
        self.scale = scale;
        self
    }

    /// Seed of inputs and of the layer's own randomness; default 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Checks `layer`, which is not changed.
    ///
    /// # Errors
    /// [`Error::GradCheck`] naming what differs and where; what the layer itself reports.
    ///
    /// ```
    /// use layerwise::gradcheck::GradCheck;
    /// use layerwise::prelude::*;
    ///
    /// /// Forgets the factor in its backward.
    /// #[derive(Debug, Clone)]
    /// struct Double;
    /// impl Activation for Double {
    ///     fn forward<F: Scalar>(&self, x: &[F], y: &mut [F]) {
    ///         for (y, &x) in y.iter_mut().zip(x) { *y = x + x }
    ///     }
    ///     fn backward<F: Scalar>(&self, _x: &[F], _y: &[F], dy: &[F], dx: &mut [F]) {
    ///         dx.copy_from_slice(dy);
    ///     }
    /// }
    ///
    /// let layer: Box<dyn Layer<f64>> = Double.build(&[2].into(), &mut Init::new(Seed::new(0)))?;
    /// let error = GradCheck::new([2]).run(&*layer).unwrap_err();
    /// assert!(error.to_string().starts_with("gradient check of input, element 0"), "{error}");
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn run<F: Scalar>(&self, layer: &dyn Layer<F>) -> Result<Report> {
        let output =
            layer.output_shape(&self.input).map_err(|cause| Error::shape(layer.kind(), cause))?;
        let mut report = Report::default();
        for &mode in &self.modes {
            let mut probe = Probe::new(self, layer, &output, mode);
            let gradients = probe.gradients()?;
            contract::check(&mut probe, &gradients)?;
            self.compare(&mut probe, &gradients, &mut report)?;
        }
        Ok(report)
    }

    fn compare<F: Scalar>(
        &self,
        probe: &mut Probe<F>,
        gradients: &probe::Gradients,
        report: &mut Report,
    ) -> Result<()> {
        let double = F::epsilon().widen() < 1e-10;
        let step = self.step.unwrap_or(if double { 1e-5 } else { 1e-2 });
        let tolerance = self.tolerance.unwrap_or(if double { 1e-7 } else { 5e-2 });
        for (array, (what, analytic)) in gradients.iter().enumerate() {
            let stride = analytic.len().div_ceil(self.elements).max(1);
            // Rounding of the loss's terms, divided by the step: no derivative is known better.
            let noise = 8.0 * F::epsilon().widen() * probe.magnitude()? / step;
            let floor = 1e-2 * analytic.iter().fold(0.0, |max: f64, x| max.max(x.abs())) + 1e-12;
            let relative = |a: f64, b: f64, noise: f64| {
                ((a - b).abs() - noise).max(0.0) / a.abs().max(b.abs()).max(floor)
            };
            let mut kinks = 0;
            let indices: Vec<usize> = (0..analytic.len()).step_by(stride).collect();
            for &index in &indices {
                let numeric = probe.difference(array, index, step)?;
                let analytic = analytic[index];
                let error = relative(analytic, numeric, noise);
                if error <= tolerance {
                    report.worst_error = report.worst_error.max(error);
                    report.compared += 1;
                    continue;
                }
                let closer = probe.difference(array, index, step / 4.0)?;
                let spread = relative(closer, numeric, 5.0 * noise);
                if spread > tolerance {
                    kinks += 1;
                    continue;
                }
                let (what, mode) = (what.clone(), probe.mode());
                let mismatch =
                    Mismatch::Gradient { what, index, mode, analytic, numeric, error, tolerance };
                return Err(mismatch.into_error());
            }
            report.kinks += kinks;
            if kinks > 0 && kinks * 4 > indices.len() {
                let problem = format!(
                    "finite differences of {kinks} of {} elements depend on the step; is the forward smooth?",
                    indices.len()
                );
                return Err(Mismatch::Contract { what: what.clone(), mode: probe.mode(), problem }
                    .into_error());
            }
        }
        Ok(())
    }
}
