//! Inference by matching moments: what reaches the activation is drawn from a normal distribution.

use super::layer::{DropConnectLayer, Rows};
use crate::kernels::drop_connect::{self, Masks, Sizes};
use crate::kernels::gemm::{self, Begin, Mat};
use crate::kernels::{elementwise, noise, reduce};
use crate::layers::{activation, door};
use crate::{Activation, Param, Scalar, Scratch, Seed, ViewMut};

impl<A: Activation + Clone + 'static, F: Scalar> DropConnectLayer<A, F> {
    /// Variance of one connection, for a weight and an input of 1.
    fn spread(&self, masks: Masks) -> F {
        let (factor, keep) = (self.factor(masks), masks.keep());
        F::lit(factor * factor * keep * (1.0 - keep))
    }

    /// `v = spread · ((W∘W)(x∘x) + b∘b)`
    pub(super) fn variance(
        &self,
        masks: Masks,
        sizes: Sizes,
        x: &[F],
        v: &mut [F],
        scratch: &mut Scratch<F>,
    ) {
        let Sizes { n, m, k } = sizes;
        let lens = [m * k, n * k, m, gemm::scratch_len::<F>(n, m, k)];
        let [w2, x2, b2, scratch] = scratch.take(lens);
        drop_connect::squares(self.weight.as_slice(), w2);
        drop_connect::squares(x, x2);
        let begin = match &self.bias {
            Some(bias) => {
                drop_connect::squares(bias.as_slice(), b2);
                Begin::ColBias(&*b2)
            }
            None => Begin::Zero,
        };
        gemm::gemm(n, m, k, Mat::new(x2, k), Mat::transposed(w2, k), v, begin, scratch);
        elementwise::scale(self.spread(masks), v);
    }

    /// `y = 1/Z Σ_z a(mean + √variance · z)`
    pub(super) fn average(
        &self,
        seed: Seed,
        mean: &[F],
        variance: &[F],
        y: &mut [F],
        scratch: &mut Scratch<F>,
    ) {
        let [drawn, after] = scratch.take([y.len(), y.len()]);
        y.fill(F::zero());
        for sample in 0..self.samples as u64 {
            noise::apply(seed.fold(sample), mean, drawn, |_, z| z);
            drop_connect::spread(mean, variance, drawn);
            activation::apply(&self.activation, drawn, after);
            reduce::add_to(after, y);
        }
        elementwise::scale(self.share(), y);
    }

    fn share(&self) -> F {
        F::lit(1.0 / self.samples as f64)
    }

    /// Gradients of [`Self::average`] by mean and variance.
    pub(super) fn average_backward(
        &self,
        seed: Seed,
        (mean, variance): (&[F], &[F]),
        dy: &[F],
        (dmean, dvariance): (&mut [F], &mut [F]),
        scratch: &mut Scratch<F>,
    ) {
        let [normal, drawn, after, gradient] = scratch.take([dy.len(); 4]);
        dmean.fill(F::zero());
        dvariance.fill(F::zero());
        for sample in 0..self.samples as u64 {
            noise::apply(seed.fold(sample), mean, normal, |_, z| z);
            drawn.copy_from_slice(normal);
            drop_connect::spread(mean, variance, drawn);
            activation::apply(&self.activation, drawn, after);
            activation::apply_backward(&self.activation, drawn, after, dy, gradient);
            reduce::add_to(gradient, dmean);
            for ((sum, &g), &z) in dvariance.iter_mut().zip(&*gradient).zip(&*normal) {
                *sum += g * z;
            }
        }
        elementwise::scale(self.share(), dmean);
        // d√v = dv / (2 √v); where nothing varies, the derivative by what would vary it is left out.
        let half = F::lit(0.5) * self.share();
        for (sum, &v) in dvariance.iter_mut().zip(variance) {
            *sum = if v > F::zero() { half * *sum / v.sqrt() } else { F::zero() };
        }
    }

    /// Backward of [`Self::variance`], added to what the mean's left.
    pub(super) fn variance_backward(
        &mut self,
        masks: Masks,
        rows: Rows<'_, F>,
        grad_input: Option<&mut ViewMut<'_, F>>,
        scratch: &mut Scratch<F>,
    ) {
        let Rows { sizes: Sizes { n, m, k }, x, du: dv } = rows;
        let spread = self.spread(masks);
        if let Some(bias) = &mut self.bias {
            let [sums, values] = scratch.take([m, m]);
            sums.fill(F::zero());
            reduce::add_column_sums(dv, sums);
            add_square_gradient(bias, spread, sums, values);
        }
        let [squares, product, values, scratch] = scratch.take([
            (m * k).max(n * k),
            (m * k).max(n * k),
            m * k,
            gemm::scratch_len::<F>(m, k, n).max(gemm::scratch_len::<F>(n, k, m)),
        ]);
        if self.weight.trainable() {
            let (x2, dw2) = (&mut squares[..n * k], &mut product[..m * k]);
            drop_connect::squares(x, x2);
            let (dv, x2) = (Mat::transposed(dv, m), Mat::new(x2, k));
            gemm::gemm(m, k, n, dv, x2, dw2, Begin::Zero, scratch);
            add_square_gradient(&mut self.weight, spread, dw2, values);
        }
        if let Some(grad_input) = grad_input {
            let (w2, dx2) = (&mut squares[..m * k], &mut product[..n * k]);
            drop_connect::squares(self.weight.as_slice(), w2);
            gemm::gemm(n, k, m, Mat::new(dv, m), Mat::new(w2, k), dx2, Begin::Zero, scratch);
            door::change(grad_input, |dx| {
                drop_connect::add_square_gradient(spread, x, dx2, dx);
            });
        }
    }
}

/// Adds to a parameter's gradient what comes through its square. `values` is for a copy of its value.
fn add_square_gradient<F: Scalar>(
    param: &mut Param<F>,
    factor: F,
    squares_gradient: &[F],
    values: &mut [F],
) {
    values.copy_from_slice(param.as_slice());
    if let Some(grad) = param.grad_slice() {
        drop_connect::add_square_gradient(factor, values, squares_gradient, grad);
    }
}
