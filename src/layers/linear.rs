//! Fully connected layer.

use std::sync::Arc;

use super::door;
use crate::initializers::{HeNormal, Zeros};
use crate::kernels::gemm::{self, Begin, Mat, Product, Right};
use crate::kernels::reduce;
use crate::{
    Backward, Error, Forward, Init, Initializer, Layer, LayerSpec, Param, Result, Scalar, Shape,
    ShapeError, layer_params,
};

/// Multiplies by a learned matrix and adds a learned bias: `y = x Wᵀ + b`.
///
/// # Shape
/// input `[n, in]` → output `[n, out]`; `weight` `[out, in]` as in PyTorch, `bias` `[out]`. `in` is
/// inferred.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let model = Sequential::builder([4]).add(Linear::new(10)).build()?;
/// let y = model.predict(&Array2::zeros((2, 4)))?;
/// assert_eq!(y.shape(), [2, 10]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Shape`] unless the input is `[features]`, and with [`Error::Config`] for
/// 0 features.
///
/// Default weights are [`HeNormal`], biases 0; PyTorch draws both from `U(±1/√in)`, which is
/// [`crate::initializers::TorchDefault`].
#[doc(alias = "Dense")]
#[doc(alias = "FullyConnected")]
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Linear {
    out_features: usize,
    bias: bool,
    #[cfg_attr(feature = "serde", serde(skip, default = "crate::initializers::weights"))]
    weight_init: Arc<dyn Initializer>,
    #[cfg_attr(feature = "serde", serde(skip, default = "crate::initializers::biases"))]
    bias_init: Arc<dyn Initializer>,
}

impl Linear {
    /// A layer with `out_features` outputs, at least 1.
    pub fn new(out_features: usize) -> Self {
        let (weight_init, bias_init) = (Arc::new(HeNormal::default()), Arc::new(Zeros));
        Self { out_features, bias: true, weight_init, bias_init }
    }

    /// Whether to add a bias; default true.
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// What fills the weight; default [`HeNormal`].
    pub fn weight_init(mut self, initializer: impl Initializer + 'static) -> Self {
        self.weight_init = Arc::new(initializer);
        self
    }

    /// What fills the bias; default [`Zeros`].
    pub fn bias_init(mut self, initializer: impl Initializer + 'static) -> Self {
        self.bias_init = Arc::new(initializer);
        self
    }
}

impl<F: Scalar> LayerSpec<F> for Linear {
    fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        if self.out_features == 0 {
            return Err(Error::config("Linear", "out_features", "at least 1", 0));
        }
        let in_features = input.features().map_err(|cause| Error::shape("Linear", cause))?;
        let shape = [self.out_features, in_features];
        let bias = self.bias.then_some(&*self.bias_init);
        let (weight, bias) = init.weight_and_bias(&shape, &*self.weight_init, bias)?;
        Ok(Box::new(LinearLayer { weight, bias }))
    }
}

/// What [`Linear`] becomes.
#[derive(Debug, Clone)]
pub struct LinearLayer<F: Scalar = f32> {
    weight: Param<F>,
    bias: Option<Param<F>>,
}

impl<F: Scalar> LinearLayer<F> {
    fn sizes(&self) -> (usize, usize) {
        (self.weight.shape()[0], self.weight.shape()[1])
    }
}

impl<F: Scalar> Layer<F> for LinearLayer<F> {
    fn kind(&self) -> &'static str {
        "Linear"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let (out_features, in_features) = self.sizes();
        input.features()?;
        input.require(&[in_features], "[features]").map(|_| [out_features].into())
    }

    fn applies_relu(&self) -> bool {
        true
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        let (out_features, in_features) = self.sizes();
        let x = door::slice(&pass.input);
        let n = x.len() / in_features;
        let weight = Mat::transposed(self.weight.as_slice(), in_features);
        let sizes = [n, out_features, in_features];
        let b = match pass.kept.filter(|_| gemm::packs(sizes)) {
            None => Right::Plain(weight),
            Some(kept) => {
                let len = gemm::right_len::<F>(out_features, in_features);
                Right::Packed(kept.get(&self.weight, gemm::right_form::<F>(), len, |packed| {
                    gemm::pack_right(out_features, in_features, weight, packed);
                }))
            }
        };
        let product = Product {
            sizes,
            a: Mat::new(&x, in_features),
            b,
            begin: self.bias.as_ref().map_or(Begin::Zero, |bias| Begin::ColBias(bias.as_slice())),
            relu: pass.relu,
        };
        let [scratch] = pass.scratch.take([product.scratch_len()]);
        door::fill(&mut pass.output, |y| product.write(y, scratch));
        Ok(())
    }

    fn backward(&mut self, pass: Backward<'_, F>) -> Result<()> {
        let (out_features, in_features) = self.sizes();
        let (x, dy) = (door::slice(&pass.input), door::slice(&pass.grad_output));
        let n = x.len() / in_features;
        let scratch = gemm::scratch_len::<F>(out_features, in_features, n)
            .max(gemm::scratch_len::<F>(n, in_features, out_features));
        let masked = if pass.relu { dy.len() } else { 0 };
        let [scratch, masked] = pass.scratch.take([scratch, masked]);
        let db = self.bias.as_mut().and_then(Param::grad_slice);
        let dy = if pass.relu {
            let y = door::slice(&pass.output);
            reduce::mask_and_add_columns(out_features, &y, &dy, masked, db);
            &*masked
        } else {
            if let Some(db) = db {
                reduce::add_column_sums(&dy, db);
            }
            &*dy
        };
        if let Some((dw, fresh)) = self.weight.grad_place() {
            let begin = if fresh { Begin::Zero } else { Begin::Add };
            let (dy, x) = (Mat::transposed(dy, out_features), Mat::new(&x, in_features));
            gemm::gemm(out_features, in_features, n, dy, x, dw, begin, scratch);
        }
        if let Some(mut grad_input) = pass.grad_input {
            let (dy, w) =
                (Mat::new(dy, out_features), Mat::new(self.weight.as_slice(), in_features));
            door::fill(&mut grad_input, |dx| {
                gemm::gemm(n, in_features, out_features, dy, w, dx, Begin::Zero, scratch);
            });
        }
        Ok(())
    }

    fn absorb_affine(&mut self, scale: &[F], shift: &[F]) -> bool {
        door::absorb(&mut self.weight, &mut self.bias, scale, shift)
    }

    layer_params!(F; weight, bias);
}
