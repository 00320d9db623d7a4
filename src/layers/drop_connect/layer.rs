//! Training with masks, and inference by the mean.

use crate::kernels::drop_connect::{self, Masks, Sizes};
use crate::kernels::gemm::{self, Begin, Mat};
use crate::kernels::{elementwise, reduce};
use crate::layers::{activation, door};
use crate::workspace::grown;
use crate::{
    Activation, Backward, Forward, Layer, Mode, Param, Result, Scalar, Scratch, Shape, ShapeError,
    ViewMut, layer_params,
};

/// What [`super::DropConnect`] becomes.
#[derive(Debug, Clone)]
pub struct DropConnectLayer<A, F: Scalar = f32> {
    pub(super) weight: Param<F>,
    pub(super) bias: Option<Param<F>>,
    pub(super) activation: A,
    pub(super) keep: f64,
    pub(super) shared: bool,
    pub(super) samples: usize,
}

/// What the layer remembers: what reached the activation, or its mean and variance. The others are working memory.
#[derive(Debug, Default)]
pub(super) struct Memory<F> {
    pub(super) before: Vec<F>,
    pub(super) variance: Vec<F>,
    pub(super) gradient: Vec<F>,
    pub(super) variance_gradient: Vec<F>,
}

/// The batch and the gradient of what reached the activation.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, F> {
    pub(super) sizes: Sizes,
    pub(super) x: &'a [F],
    pub(super) du: &'a [F],
}

impl<A: Activation + Clone + 'static, F: Scalar> DropConnectLayer<A, F> {
    fn sizes(&self, elements: usize) -> Sizes {
        let [m, k] = [self.weight.shape()[0], self.weight.shape()[1]];
        Sizes { n: elements / k, m, k }
    }

    /// What a mask's row is divided by in training: its mean, or nothing.
    pub(super) fn factor(&self, masks: Masks) -> f64 {
        if self.shared { 1.0 / masks.keep() } else { 1.0 }
    }

    /// `u = W x + b`, times `factor`.
    fn product(&self, factor: f64, x: &[F], u: &mut [F], scratch: &mut Scratch<F>) {
        let Sizes { n, m, k } = self.sizes(x.len());
        let [scratch] = scratch.take([gemm::scratch_len::<F>(n, m, k)]);
        let begin = self.bias.as_ref().map_or(Begin::Zero, |bias| Begin::ColBias(bias.as_slice()));
        let w = Mat::transposed(self.weight.as_slice(), k);
        gemm::gemm(n, m, k, Mat::new(x, k), w, u, begin, scratch);
        if factor != 1.0 {
            elementwise::scale(F::lit(factor), u);
        }
    }

    /// The weight under the batch's mask, times the factor.
    fn masked_weight(&self, masks: Masks, k: usize, weight: &mut [F]) {
        let factor = F::lit(self.factor(masks));
        drop_connect::masked(k, masks, factor, self.weight.as_slice(), weight);
    }

    fn shared_forward(&self, masks: Masks, x: &[F], u: &mut [F], scratch: &mut Scratch<F>) {
        let Sizes { n, m, k } = self.sizes(x.len());
        let lens = [m * k, m, gemm::scratch_len::<F>(n, m, k)];
        let [weight, bias, scratch] = scratch.take(lens);
        self.masked_weight(masks, k, weight);
        let begin = match &self.bias {
            Some(whole) => {
                let factor = F::lit(self.factor(masks));
                drop_connect::masked_bias(k, masks, factor, whole.as_slice(), bias);
                Begin::ColBias(&*bias)
            }
            None => Begin::Zero,
        };
        gemm::gemm(n, m, k, Mat::new(x, k), Mat::transposed(weight, k), u, begin, scratch);
    }

    fn shared_backward(
        &mut self,
        masks: Masks,
        rows: Rows<'_, F>,
        grad_input: Option<ViewMut<'_, F>>,
        scratch: &mut Scratch<F>,
    ) {
        let Rows { sizes: Sizes { n, m, k }, x, du } = rows;
        let factor = F::lit(self.factor(masks));
        if let Some(db) = self.bias.as_mut().and_then(Param::grad_slice) {
            let [sums, masked] = scratch.take([m, m]);
            sums.fill(F::zero());
            reduce::add_column_sums(du, sums);
            drop_connect::masked_bias(k, masks, factor, sums, masked);
            reduce::add_rows(masked, db);
        }
        if let Some(dw) = self.weight.grad_slice() {
            let [whole, scratch] = scratch.take([m * k, gemm::scratch_len::<F>(m, k, n)]);
            let (du, x) = (Mat::transposed(du, m), Mat::new(x, k));
            gemm::gemm(m, k, n, du, x, whole, Begin::Zero, scratch);
            drop_connect::add_masked(k, masks, factor, whole, dw);
        }
        if let Some(mut grad_input) = grad_input {
            let [weight, scratch] = scratch.take([m * k, gemm::scratch_len::<F>(n, k, m)]);
            self.masked_weight(masks, k, weight);
            door::fill(&mut grad_input, |dx| {
                let (du, w) = (Mat::new(du, m), Mat::new(weight, k));
                gemm::gemm(n, k, m, du, w, dx, Begin::Zero, scratch);
            });
        }
    }

    /// Backward with a mask for each sample.
    fn own_backward(
        &mut self,
        masks: Masks,
        rows: Rows<'_, F>,
        grad_input: Option<ViewMut<'_, F>>,
    ) {
        let Rows { sizes, x, du } = rows;
        let factor = F::lit(self.factor(masks));
        let (dw, db) = (self.weight.grad_slice(), self.bias.as_mut().and_then(Param::grad_slice));
        if dw.is_some() || db.is_some() {
            drop_connect::backward_weight(sizes, masks, factor, x, du, dw, db);
        }
        if let Some(mut grad_input) = grad_input {
            door::fill(&mut grad_input, |dx| {
                drop_connect::backward_input(sizes, masks, factor, self.weight.as_slice(), du, dx);
            });
        }
    }

    /// Backward of [`Self::product`], whose factor is in the gradient already.
    pub(super) fn product_backward(
        &mut self,
        rows: Rows<'_, F>,
        grad_input: Option<&mut ViewMut<'_, F>>,
        scratch: &mut Scratch<F>,
    ) {
        let Rows { sizes: Sizes { n, m, k }, x, du } = rows;
        if let Some(db) = self.bias.as_mut().and_then(Param::grad_slice) {
            reduce::add_column_sums(du, db);
        }
        if let Some(dw) = self.weight.grad_slice() {
            let [scratch] = scratch.take([gemm::scratch_len::<F>(m, k, n)]);
            let (du, x) = (Mat::transposed(du, m), Mat::new(x, k));
            gemm::gemm(m, k, n, du, x, dw, Begin::Add, scratch);
        }
        if let Some(grad_input) = grad_input {
            let [scratch] = scratch.take([gemm::scratch_len::<F>(n, k, m)]);
            let w = Mat::new(self.weight.as_slice(), k);
            door::fill(grad_input, |dx| {
                gemm::gemm(n, k, m, Mat::new(du, m), w, dx, Begin::Zero, scratch);
            });
        }
    }
}

impl<A: Activation + Clone + 'static, F: Scalar> Layer<F> for DropConnectLayer<A, F> {
    fn kind(&self) -> &'static str {
        "DropConnect"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let shape = self.weight.shape();
        input.features()?;
        input.require(&shape[1..], "[features]").map(|_| shape[..1].into())
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let x = door::slice(&pass.input);
        let sizes @ Sizes { n, m, .. } = self.sizes(x.len());
        let masks = Masks::new(pass.seed, self.keep);
        let factor = self.factor(masks);
        let Memory { before, variance, .. } = pass.cache.get_or_default::<Memory<F>>();
        let u = grown(before, n, m)?;
        match pass.mode {
            Mode::Train if self.shared => self.shared_forward(masks, &x, u, pass.scratch),
            Mode::Train => {
                let bias = self.bias.as_ref().map(Param::as_slice);
                let (factor, w) = (F::lit(factor), self.weight.as_slice());
                drop_connect::forward(sizes, masks, factor, &x, w, bias, u);
            }
            Mode::Eval => self.product(factor * masks.keep(), &x, u, pass.scratch),
        }
        if pass.mode == Mode::Eval && self.samples > 0 {
            let variance = grown(variance, n, m)?;
            self.variance(masks, sizes, &x, variance, pass.scratch);
            let (seed, scratch) = (pass.seed, pass.scratch);
            door::fill(&mut pass.output, |y| self.average(seed, u, variance, y, scratch));
        } else {
            door::fill(&mut pass.output, |y| activation::apply(&self.activation, u, y));
        }
        Ok(())
    }

    fn backward(&mut self, mut pass: Backward<'_, F>) -> Result<()> {
        let (x, dy) = (door::slice(&pass.input), door::slice(&pass.grad_output));
        let sizes @ Sizes { n, m, .. } = self.sizes(x.len());
        let masks = Masks::new(pass.seed, self.keep);
        let Memory { before, variance, gradient, variance_gradient } =
            pass.cache.get_mut::<Memory<F>>()?;
        let (u, du) = (grown(before, n, m)?, grown(gradient, n, m)?);
        if pass.mode == Mode::Eval && self.samples > 0 {
            let (variance, dv) = (grown(variance, n, m)?, grown(variance_gradient, n, m)?);
            self.average_backward(pass.seed, (u, variance), &dy, (du, dv), pass.scratch);
            self.scale_gradient(masks, du);
            let rows = Rows { sizes, x: &x, du };
            self.product_backward(rows, pass.grad_input.as_mut(), pass.scratch);
            let rows = Rows { sizes, x: &x, du: dv };
            self.variance_backward(masks, rows, pass.grad_input.as_mut(), pass.scratch);
            return Ok(());
        }
        let y = door::slice(&pass.output);
        activation::apply_backward(&self.activation, u, &y, &dy, du);
        if pass.mode == Mode::Eval {
            self.scale_gradient(masks, du);
        }
        let rows = Rows { sizes, x: &x, du };
        match pass.mode {
            Mode::Train if self.shared => {
                self.shared_backward(masks, rows, pass.grad_input, pass.scratch);
            }
            Mode::Train => self.own_backward(masks, rows, pass.grad_input),
            Mode::Eval => self.product_backward(rows, pass.grad_input.as_mut(), pass.scratch),
        }
        Ok(())
    }

    layer_params!(F; weight, bias);
}

impl<A: Activation + Clone + 'static, F: Scalar> DropConnectLayer<A, F> {
    /// The factor of the mean over masks.
    fn scale_gradient(&self, masks: Masks, du: &mut [F]) {
        let factor = self.factor(masks) * masks.keep();
        if factor != 1.0 {
            elementwise::scale(F::lit(factor), du);
        }
    }
}
