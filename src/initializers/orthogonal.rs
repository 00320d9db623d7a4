//! Weights that keep lengths.

use super::Gain;
use crate::kernels::{elementwise, reduce};
use crate::{Fans, Initializer, Rng};

/// Draws a random rotation: the rows of the weight, or its columns if they are fewer, are at right angles to one
/// another and all of length `gain`. Evenly distributed over all such matrices.
///
/// Signals and gradients keep their length through any number of linear layers. A weight `[out, in, ..kernel]` counts
/// as a matrix of `out` rows. Takes time with the square of the smaller side times the larger.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// let layer = Linear::new(3).weight_init(Orthogonal::default());
/// let model: Sequential<f64> = SequentialBuilder::new([5]).add(layer).build()?;
/// let weight = model.value("0.weight").unwrap().into_shape_with_order((3, 5)).unwrap();
/// let products = weight.dot(&weight.t());
/// assert!((products - Array2::<f64>::eye(3)).iter().all(|x| x.abs() < 1e-14));
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # References
/// Saxe, McClelland & Ganguli 2014. PyTorch's `orthogonal_` takes the same from a QR decomposition.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Orthogonal {
    gain: Gain,
}

impl Orthogonal {
    /// Length of the rows or columns; default [`Gain::Linear`], which is 1.
    pub fn gain(mut self, gain: Gain) -> Self {
        self.gain = gain;
        self
    }
}

impl Initializer for Orthogonal {
    fn fill(&self, out: &mut [f64], fans: &Fans<'_>, rng: &mut Rng) {
        let rows = fans.shape.first().copied().unwrap_or(1).max(1);
        let columns = out.len() / rows;
        if rows <= columns {
            fill_orthonormal(out, columns, rng);
        } else {
            let mut turned = vec![0.0; out.len()];
            fill_orthonormal(&mut turned, rows, rng);
            for (row, out) in out.chunks_exact_mut(columns).enumerate() {
                for (column, out) in out.iter_mut().enumerate() {
                    *out = turned[column * rows + row];
                }
            }
        }
        elementwise::scale(self.gain.value(), out);
    }
}

/// Fills rows of `len` elements, at most `len` of them, with an orthonormal system.
///
/// Gram and Schmidt's method on normal vectors gives every system with the same probability, and without the choice of
/// signs that a QR decomposition by reflections needs.
fn fill_orthonormal(rows: &mut [f64], len: usize, rng: &mut Rng) {
    for i in 0..rows.len() / len.max(1) {
        let (before, rest) = rows.split_at_mut(i * len);
        let row = &mut rest[..len];
        let mut length = 0.0;
        // Too short means: by chance nearly a combination of those before.
        while length < 1e-8 {
            row.fill_with(|| rng.normal());
            // Twice is enough (Kahan & Parlett): once leaves rounding errors of the larger components.
            for _ in 0..2 {
                for other in before.chunks_exact(len) {
                    let (along, _) = reduce::dot_and_sum(other, row, 0.0, |_, row| row);
                    elementwise::axpy(-along, other, row);
                }
            }
            length = reduce::sum_squares(row).sqrt();
        }
        elementwise::scale(1.0 / length, row);
    }
}
