//! A border of zeros around each plane.

use super::parallel::{self, Cost, Read, Write};
use crate::Scalar;

/// Elements of a task.
const TASK: usize = 16 * 1024;

/// Sizes of a plane and its border.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Border {
    /// Height and width without the border.
    pub plane: [usize; 2],
    /// Rows above, rows below, columns on the left, columns on the right.
    pub sides: [usize; 4],
}

impl Border {
    /// Height and width with the border.
    pub fn padded(&self) -> [usize; 2] {
        let ([h, w], [top, bottom, left, right]) = (self.plane, self.sides);
        [h + top + bottom, w + left + right]
    }

    fn cut(&self) -> (usize, usize, usize) {
        let ([h, w], [oh, ow]) = (self.plane, self.padded());
        (h * w, oh * ow, (TASK / (oh * ow)).max(1))
    }
}

/// `y` is `x` with zeros around every plane.
pub fn pad<F: Scalar>(border: &Border, x: &[F], y: &mut [F]) {
    let (plane, padded, planes) = border.cut();
    let ([_, w], [top, _, left, _], [_, ow]) = (border.plane, border.sides, border.padded());
    let cost = Cost::elements(y.len());
    parallel::chunks((Read(x, planes * plane), Write(y, planes * padded)), cost, |_, (x, y)| {
        for (x, y) in x.chunks_exact(plane).zip(y.chunks_exact_mut(padded)) {
            let (above, rest) = y.split_at_mut(top * ow);
            let (inside, below) = rest.split_at_mut(plane / w * ow);
            above.fill(F::zero());
            below.fill(F::zero());
            for (x, y) in x.chunks_exact(w).zip(inside.chunks_exact_mut(ow)) {
                y[..left].fill(F::zero());
                y[left..][..w].copy_from_slice(x);
                y[left + w..].fill(F::zero());
            }
        }
    });
}

/// Gradient of [`pad`]: what lies inside the border.
pub fn crop<F: Scalar>(border: &Border, dy: &[F], dx: &mut [F]) {
    let (plane, padded, planes) = border.cut();
    let ([_, w], [top, _, left, _], [_, ow]) = (border.plane, border.sides, border.padded());
    let cost = Cost::elements(dx.len());
    parallel::chunks(
        (Read(dy, planes * padded), Write(dx, planes * plane)),
        cost,
        |_, (dy, dx)| {
            for (dy, dx) in dy.chunks_exact(padded).zip(dx.chunks_exact_mut(plane)) {
                for (dy, dx) in dy[top * ow..].chunks_exact(ow).zip(dx.chunks_exact_mut(w)) {
                    dx.copy_from_slice(&dy[left..][..w]);
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cropping_undoes_padding() {
        for sides in [[0, 0, 0, 0], [1, 2, 3, 4], [0, 3, 0, 1]] {
            let border = Border { plane: [3, 5], sides };
            let [oh, ow] = border.padded();
            let x: Vec<f32> = (1..=2 * 15).map(|i| i as f32).collect();
            let (mut y, mut back) = (vec![f32::NAN; 2 * oh * ow], vec![f32::NAN; x.len()]);
            pad(&border, &x, &mut y);
            assert_eq!(y.iter().sum::<f32>(), x.iter().sum::<f32>());
            assert_eq!(y[(oh + sides[0]) * ow + sides[2]], x[15]);
            crop(&border, &y, &mut back);
            assert_eq!(back, x);
        }
    }
}
