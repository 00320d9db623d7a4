//! Runs one layer by hand, with poisoned memory.

use ndarray::{ArrayD, IxDyn, ShapeBuilder};

use super::GradCheck;
use crate::{
    Backward, Cache, EntryMut, Forward, Layer, Mode, Result, Scalar, Scratch, Seed, Shape,
    VisitorMut,
};

/// Name and values of every gradient: the input's first, then the parameters' in order.
pub(super) type Gradients = Vec<(String, Vec<f64>)>;

/// A copy of the layer with an input and a gradient of the output.
pub(super) struct Probe<F: Scalar> {
    pub(super) layer: Box<dyn Layer<F>>,
    pub(super) x: ArrayD<F>,
    pub(super) dy: ArrayD<F>,
    mode: Mode,
    seed: Seed,
}

/// How arrays lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    RowMajor,
    /// Column-major: every axis has another stride.
    Reversed,
}

fn nan<F: Scalar>(shape: &[usize], layout: Layout) -> ArrayD<F> {
    ArrayD::from_elem(IxDyn(shape).set_f(layout == Layout::Reversed), F::nan())
}

fn arranged<F: Scalar>(array: &ArrayD<F>, layout: Layout) -> ArrayD<F> {
    let mut copy = nan(array.shape(), layout);
    copy.assign(array);
    copy
}

/// Values in `±scale` that all differ by at least `scale / count` and are that far from 0: no ties, no kinks at 0.
fn spread<F: Scalar>(shape: &[usize], scale: f64, seed: Seed) -> ArrayD<F> {
    let count: usize = shape.iter().product();
    let mut order: Vec<usize> = (0..count).collect();
    let mut rng = seed.rng();
    rng.shuffle(&mut order);
    let values = order.into_iter().map(|i| {
        let jitter = 0.4 * rng.uniform();
        F::lit(scale * ((2.0 * i as f64 + 1.0 + jitter) / count as f64 - 1.0))
    });
    ArrayD::from_shape_vec(IxDyn(shape), values.collect())
        .expect("as many values as the shape has elements")
}

fn widen<F: Scalar>(array: &ArrayD<F>) -> Vec<f64> {
    array.iter().map(|x| x.widen()).collect()
}

impl<F: Scalar> Probe<F> {
    pub(super) fn new(
        settings: &GradCheck,
        layer: &dyn Layer<F>,
        output: &Shape,
        mode: Mode,
    ) -> Self {
        let seed = Seed::new(settings.seed);
        let batched = |shape: &Shape| [&[settings.batch], shape.dims()].concat();
        let x = spread(&batched(&settings.input), settings.scale, seed.fold(1));
        let mut rng = seed.fold(2).rng();
        let dy =
            ArrayD::from_shape_simple_fn(IxDyn(&batched(output)), || F::lit(rng.uniform() + 0.5));
        let mut layer = layer.box_clone();
        layer.visit_mut(&mut VisitorMut::new(&mut |_, entry| {
            if let EntryMut::Param(param) = entry {
                param.set_trainable(true);
                param.zero_grad();
            }
        }));
        Self { layer, x, dy, mode, seed: seed.fold(3) }
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// One forward of `x` into a poisoned array.
    pub(super) fn forward(
        &self,
        x: &ArrayD<F>,
        cache: &mut Cache,
        layout: Layout,
    ) -> Result<ArrayD<F>> {
        let mut scratch = Scratch::default();
        scratch.poison(1 << 12, F::nan());
        let shape = [&x.shape()[..1], &self.dy.shape()[1..]].concat();
        let (x, mut output) = (arranged(x, layout), nan(&shape, layout));
        self.layer.forward(Forward {
            input: x.view(),
            output: output.view_mut(),
            cache,
            scratch: &mut scratch,
            mode: self.mode,
            seed: self.seed,
            kept: None,
            remember: true,
            lines: None,
            relu: false,
        })?;
        Ok(output)
    }

    /// One forward and backward; gradients are added to what the layer holds.
    pub(super) fn backward(&mut self, with_input: bool, layout: Layout) -> Result<ArrayD<F>> {
        let mut cache = Cache::default();
        let output = self.forward(&self.x, &mut cache, layout)?;
        let mut scratch = Scratch::default();
        scratch.poison(1 << 12, F::nan());
        let (x, dy) = (arranged(&self.x, layout), arranged(&self.dy, layout));
        let mut grad_input = nan(x.shape(), layout);
        self.layer.backward(Backward {
            input: x.view(),
            output: output.view(),
            grad_output: dy.view(),
            grad_input: with_input.then(|| grad_input.view_mut()),
            cache: &mut cache,
            scratch: &mut scratch,
            mode: self.mode,
            seed: self.seed,
            relu: false,
        })?;
        Ok(grad_input)
    }

    /// Gradients of one forward and backward.
    pub(super) fn gradients(&mut self) -> Result<Gradients> {
        self.zero_grad();
        let grad_input = self.backward(true, Layout::RowMajor)?;
        let mut all = vec![("input".to_string(), widen(&grad_input))];
        all.extend(self.param_gradients());
        Ok(all)
    }

    /// Gradients that the parameters hold; empty where none was written.
    pub(super) fn param_gradients(&mut self) -> Gradients {
        let mut all = Vec::new();
        self.layer.visit_mut(&mut VisitorMut::new(&mut |name, entry| {
            if let EntryMut::Param(param) = entry {
                let grad = param.grad().map(|grad| grad.iter().map(|x| x.widen()).collect());
                all.push((name.to_string(), grad.unwrap_or_default()));
            }
        }));
        all
    }

    pub(super) fn zero_grad(&mut self) {
        self.each_param(|_, param| param.zero_grad());
    }

    pub(super) fn each_param(&mut self, mut change: impl FnMut(usize, &mut crate::Param<F>)) {
        let mut index = 0;
        self.layer.visit_mut(&mut VisitorMut::new(&mut |_, entry| {
            if let EntryMut::Param(param) = entry {
                change(index, param);
                index += 1;
            }
        }));
    }

    /// `Σ y · dy`, summed in `f64`.
    fn loss(&self) -> Result<f64> {
        let y = self.forward(&self.x, &mut Cache::default(), Layout::RowMajor)?;
        Ok(y.iter().zip(&self.dy).map(|(y, dy)| y.widen() * dy.widen()).sum())
    }

    /// `Σ |y · dy|`: how large the loss's terms are.
    pub(super) fn magnitude(&self) -> Result<f64> {
        let y = self.forward(&self.x, &mut Cache::default(), Layout::RowMajor)?;
        Ok(y.iter().zip(&self.dy).map(|(y, dy)| (y.widen() * dy.widen()).abs()).sum())
    }

    /// Central difference of the loss by one element: of the input (array 0) or of a parameter.
    pub(super) fn difference(&mut self, array: usize, index: usize, step: f64) -> Result<f64> {
        let original = self.element(array, index, None);
        let (up, down) = (original + F::lit(step), original - F::lit(step));
        self.element(array, index, Some(up));
        let high = self.loss();
        self.element(array, index, Some(down));
        let low = self.loss();
        self.element(array, index, Some(original));
        // The real distance, after rounding.
        Ok((high? - low?) / (up.widen() - down.widen()))
    }

    /// Reads and, if given, replaces one element.
    fn element(&mut self, array: usize, index: usize, new: Option<F>) -> F {
        let mut old = F::nan();
        let mut replace = |element: Option<&mut F>| {
            if let Some(element) = element {
                old = *element;
                *element = new.unwrap_or(old);
            }
        };
        if array == 0 {
            replace(self.x.iter_mut().nth(index));
            return old;
        }
        self.each_param(|i, param| {
            if i + 1 == array {
                let mut value = param.value().to_owned();
                replace(value.iter_mut().nth(index));
                param.set_value(value.view()).expect("the value keeps its shape");
            }
        });
        old
    }
}
