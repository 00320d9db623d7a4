//! Limits on gradients.

/// How gradients are limited before the rule sees them.
///
/// ```
/// use layerwise::prelude::*;
///
/// let optimizer = ModelOptimizer::<f32>::new(Sgd::new(), 0.1).clip(Clip::Norm(1.0));
/// # let _ = optimizer;
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Clip {
    /// Scales all gradients together so that their common L2 norm is at most this, above 0: by
    /// `min(1, max / (norm + 1e-6))`, PyTorch's formula (Pascanu, Mikolov & Bengio 2013).
    Norm(f64),
    /// Clamps each element to `±value`, above 0.
    Value(f64),
}

impl Clip {
    pub(super) fn check(&self) -> crate::Result<()> {
        let (Clip::Norm(limit) | Clip::Value(limit)) = *self;
        // Infinity is allowed: it only measures.
        crate::error::ensure(limit > 0.0, "ModelOptimizer", "clip", "above 0", limit)
    }

    /// The factor for all gradients, given their norm.
    pub(super) fn factor(&self, norm: f64) -> f64 {
        match *self {
            Self::Norm(max) => (max / (norm + 1e-6)).min(1.0),
            Self::Value(_) => 1.0,
        }
    }
}
