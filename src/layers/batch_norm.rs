//! Batch normalization.

use super::door;
use crate::initializers::{Constant, Zeros};
use crate::kernels::norm::{self, Gradients, Known, Line, Sizes, Statistics};
use crate::{
    Backward, Buffer, Cache, Error, Fans, Forward, Init, Layer, LayerSpec, Mode, Param, Result,
    Role, Scalar, Shape, ShapeError, layer_params,
};

/// Normalizes each channel by the batch's mean and variance, then scales and shifts it by learned numbers.
///
/// `y = weight · (x − mean) / √(var + eps) + bias`. In train mode mean and (biased) variance are those of
/// the batch over samples and pixels, and running statistics follow them:
/// `running = (1 − momentum) · running + momentum · batch`, where `running_var` takes the unbiased
/// variance, as in PyTorch. In eval mode, and while all its parameters are frozen, the layer uses the
/// running statistics and they stand still. [`crate::Sequential::set_statistics`] changes that: it can hold them still
/// where there is no parameter to freeze, or let them move beside frozen parameters.
///
/// # Shape
/// input `[n, features]` or `[n, channels, height, width]` → the same; `weight`, `bias`, `running_mean`,
/// `running_var` `[channels]`.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([3, 8, 8]).add(BatchNorm::new()).build()?;
/// assert_eq!(model.summary().parameters, 6);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] for an `eps` that is not positive or a `momentum` outside
/// `0 ≤ m ≤ 1`. A training pass fails with [`Error::BatchTooSmall`] if a channel has one value only, and with
/// [`Error::BatchNotFinite`] if a statistic is not finite: it would spoil the running ones for good.
///
/// # References
/// Ioffe & Szegedy 2015. Keras's defaults differ: `eps` 1e-3, `momentum` 0.99 as weight of the *old* value.
#[doc(alias = "BatchNorm1d")]
#[doc(alias = "BatchNorm2d")]
#[doc(alias = "BatchNormalization")]
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BatchNorm {
    eps: f64,
    momentum: f64,
    affine: bool,
}

impl BatchNorm {
    /// With `eps` 1e-5, `momentum` 0.1, learned scale and shift.
    pub fn new() -> Self {
        Self { eps: 1e-5, momentum: 0.1, affine: true }
    }

    /// Added to the variance, above 0; default 1e-5.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Weight of the *new* batch statistic, `0 ≤ momentum ≤ 1`, default 0.1 as in PyTorch (Keras's is one
    /// minus this).
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Whether to learn `weight` and `bias`; default true.
    pub fn affine(mut self, affine: bool) -> Self {
        self.affine = affine;
        self
    }
}

impl Default for BatchNorm {
    fn default() -> Self {
        Self::new()
    }
}

impl<F: Scalar> LayerSpec<F> for BatchNorm {
    fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        if !(self.eps > 0.0 && self.eps.is_finite()) {
            return Err(Error::config("BatchNorm", "eps", "above 0", self.eps));
        }
        if !(0.0..=1.0).contains(&self.momentum) {
            return Err(Error::config("BatchNorm", "momentum", "from 0 to 1", self.momentum));
        }
        let [channels, ..] = input.dims()[..] else {
            let cause = ShapeError::new("[features] or [channels, height, width]", input);
            return Err(Error::shape("BatchNorm", cause));
        };
        let shape = [channels];
        let fans = Fans { shape: &shape, fan_in: channels, fan_out: channels };
        Ok(Box::new(BatchNormLayer {
            weight: self
                .affine
                .then(|| init.param("weight", Role::Scale, fans, &Constant(1.0)))
                .transpose()?,
            bias: self.affine.then(|| init.param("bias", Role::Shift, fans, &Zeros)).transpose()?,
            running_mean: init.buffer("running_mean", &shape, F::zero())?,
            running_var: init.buffer("running_var", &shape, F::one())?,
            input: input.clone(),
            eps: F::lit(self.eps),
            momentum: F::lit(self.momentum),
        }))
    }
}

/// What [`BatchNorm`] becomes.
#[derive(Debug, Clone)]
pub struct BatchNormLayer<F: Scalar = f32> {
    weight: Option<Param<F>>,
    bias: Option<Param<F>>,
    running_mean: Buffer<F>,
    running_var: Buffer<F>,
    input: Shape,
    eps: F,
    momentum: F,
}

/// The batch's statistics, or in eval mode the running ones.
#[derive(Debug, Default)]
struct Batch<F> {
    stats: Statistics<F>,
    count: usize,
}

impl<F: Scalar> BatchNormLayer<F> {
    fn sizes(&self, len: usize) -> Sizes {
        let c = self.running_mean.as_slice().len();
        let p = self.input.numel() / c.max(1);
        Sizes { n: len / self.input.numel().max(1), c, p }
    }

    fn affine(&self) -> Option<(&[F], &[F])> {
        Some((self.weight.as_ref()?.as_slice(), self.bias.as_ref()?.as_slice()))
    }

    fn use_running(&self, stats: &mut Statistics<F>) {
        stats.mean.copy_from_slice(self.running_mean.as_slice());
        for (inv_std, running) in stats.inv_std.iter_mut().zip(self.running_inv_std()) {
            *inv_std = running;
        }
    }

    fn running_inv_std(&self) -> impl Iterator<Item = F> {
        self.running_var.as_slice().iter().map(|&var| F::one() / (var + self.eps).sqrt())
    }
}

impl<F: Scalar> Layer<F> for BatchNormLayer<F> {
    fn kind(&self) -> &'static str {
        "BatchNorm"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        input.require(self.input.dims(), "[channels, ..]")
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let x = door::slice(&pass.input);
        let sizes = self.sizes(x.len());
        let batch = pass.cache.get_or_default::<Batch<F>>();
        batch.stats.resize(sizes.c);
        batch.count = sizes.count();
        let (mode, relu, stats) = (pass.mode, pass.relu, &mut batch.stats);
        if mode == Mode::Train && sizes.count() < 2 {
            let place = Default::default();
            return Err(Error::BatchTooSmall {
                place,
                kind: "BatchNorm",
                needed: 2,
                got: sizes.count(),
            });
        }
        door::fill(&mut pass.output, |y| match mode {
            Mode::Train => norm::train_forward(sizes, self.eps, &x, self.affine(), relu, stats, y),
            Mode::Eval => {
                self.use_running(stats);
                norm::apply(sizes, &x, self.affine(), relu, &stats.mean, &stats.inv_std, y);
            }
        });
        if mode == Mode::Train && !stats.var.iter().all(|var| var.is_finite()) {
            return Err(Error::BatchNotFinite { place: Default::default(), kind: "BatchNorm" });
        }
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let (x, dy) = (door::slice(&pass.input), door::slice(&pass.grad_output));
        let sizes = self.sizes(x.len());
        let Batch { stats, .. } = pass.cache.get::<Batch<F>>()?;
        let [sums, copies] = pass.scratch.take([2 * sizes.c, 2 * sizes.c]);
        // A copy of a few numbers, so that value and gradient are not borrowed at once.
        let affine = self.affine().map(|(weight, bias)| {
            let (scale, shift) = copies.split_at_mut(sizes.c);
            scale.copy_from_slice(weight);
            shift[..sizes.c].copy_from_slice(bias);
            (&*scale, &shift[..sizes.c])
        });
        let scale_grad = self.weight.as_mut().and_then(Param::grad_slice);
        let shift_grad = self.bias.as_mut().and_then(Param::grad_slice);
        let run = |input: Option<&mut [F]>| {
            let known = Known {
                mean: &stats.mean,
                inv_std: &stats.inv_std,
                affine,
                batch_statistics: pass.mode == Mode::Train,
                relu: pass.relu,
            };
            let gradients = Gradients { scale: scale_grad, shift: shift_grad, input };
            norm::backward(sizes, known, &x, &dy, sums, gradients);
        };
        match pass.grad_input {
            Some(mut grad_input) => door::fill(&mut grad_input, |dx| run(Some(dx))),
            None => run(None),
        }
        Ok(())
    }

    fn update_buffers(&mut self, cache: &Cache) -> Result<()> {
        let Batch { stats, count } = cache.get::<Batch<F>>()?;
        let unbiased = F::lit(*count as f64 / (*count as f64 - 1.0));
        self.running_mean.follow(self.momentum, stats.mean.iter().copied());
        self.running_var.follow(self.momentum, stats.var.iter().map(|&var| var * unbiased));
        Ok(())
    }

    fn eval_lines(&self, lines: &mut Vec<Line<F>>) -> bool {
        let mean = self.running_mean.as_slice();
        lines.clear();
        lines.extend(norm::lines_of(self.affine(), mean, self.running_inv_std()));
        true
    }

    fn eval_affine(&self) -> Option<(Vec<F>, Vec<F>)> {
        let channels = self.running_mean.as_slice().len();
        let (mut scales, mut shifts) = (Vec::with_capacity(channels), Vec::with_capacity(channels));
        for (i, (&mean, &var)) in
            self.running_mean.as_slice().iter().zip(self.running_var.as_slice()).enumerate()
        {
            let (weight, bias) =
                self.affine().map_or((F::one(), F::zero()), |(weight, bias)| (weight[i], bias[i]));
            // In the wider type: this is rounded once, and then used for ever.
            let scale = weight.widen() / (var.widen() + self.eps.widen()).sqrt();
            scales.push(F::lit(scale));
            shifts.push(F::lit(bias.widen() - mean.widen() * scale));
        }
        Some((scales, shifts))
    }

    fn applies_relu(&self) -> bool {
        true
    }

    layer_params!(F; weight, bias, running_mean, running_var);
}
