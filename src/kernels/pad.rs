//! A border of zeros around each plane.

use super::parallel::{self, Cost, Read, Write};
use super::vector::vectorized;
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
    let cost = Cost::elements(y.len());
    parallel::chunks((Read(x, planes * plane), Write(y, planes * padded)), cost, |_, (x, y)| {
        pad_planes(border, x, y);
    });
}

fn pad_planes<F: Scalar>(border: &Border, x: &[F], y: &mut [F]) {
    let (plane, padded, _) = border.cut();
    let ([_, w], [top, _, left, _], [_, ow]) = (border.plane, border.sides, border.padded());
    for (x, y) in x.chunks_exact(plane).zip(y.chunks_exact_mut(padded)) {
        // All of it, while it is in the first cache: borders alone are many short pieces.
        y.fill(F::zero());
        copy_rows(plane / w, w, (x, w), (&mut y[top * ow + left..], ow));
    }
}

fn crop_planes<F: Scalar>(border: &Border, dy: &[F], dx: &mut [F]) {
    let (plane, padded, _) = border.cut();
    let ([_, w], [top, _, left, _], [_, ow]) = (border.plane, border.sides, border.padded());
    for (dy, dx) in dy.chunks_exact(padded).zip(dx.chunks_exact_mut(plane)) {
        copy_rows(plane / w, w, (&dy[top * ow + left..], ow), (dx, w));
    }
}

/// Copies rows of `w` elements, of which one begins a pitch behind the other.
fn copy_rows<F: Scalar>(
    rows: usize,
    w: usize,
    (from, pitch): (&[F], usize),
    (to, to_pitch): (&mut [F], usize),
) {
    let last = rows.saturating_sub(1);
    assert!(from.len() >= last * pitch + w && to.len() >= last * to_pitch + w, "rows are there");
    // SAFETY: they are.
    unsafe { copy::<F>(rows, w, (from.as_ptr(), pitch), (to.as_mut_ptr(), to_pitch)) }
}

vectorized! {
    /// By whole registers, the last one over again in part: a call of `memcpy` costs more than a short row.
    ///
    /// # Safety
    /// Both have `rows` rows of `w` elements.
    unsafe fn copy<F, V>(rows: usize, w: usize, from: (*const F, usize), to: (*mut F, usize)) {
        for row in 0..rows {
            let (from, to) = (from.0.add(row * from.1), to.0.add(row * to.1));
            if w < V::LANES {
                to.copy_from_nonoverlapping(from, w);
                continue;
            }
            let mut at = 0;
            while at + V::LANES < w {
                V::load(from.add(at)).store(to.add(at));
                at += V::LANES;
            }
            V::load(from.add(w - V::LANES)).store(to.add(w - V::LANES));
        }
    }
}

/// Gradient of [`pad`]: what lies inside the border.
pub fn crop<F: Scalar>(border: &Border, dy: &[F], dx: &mut [F]) {
    let (plane, padded, planes) = border.cut();
    let cost = Cost::elements(dx.len());
    let cut = (Read(dy, planes * padded), Write(dx, planes * plane));
    parallel::chunks(cut, cost, |_, (dy, dx)| crop_planes(border, dy, dx));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cropping_undoes_padding() {
        let sides = [[0, 0, 0, 0], [1, 2, 3, 4], [0, 3, 0, 1]];
        for (sides, w) in sides.into_iter().flat_map(|sides| [5, 16, 27, 200].map(|w| (sides, w))) {
            let border = Border { plane: [3, w], sides };
            let [oh, ow] = border.padded();
            let x: Vec<f32> = (1..=2 * 3 * w).map(|i| i as f32 % 64.0).collect();
            let (mut y, mut back) = (vec![f32::NAN; 2 * oh * ow], vec![f32::NAN; x.len()]);
            pad(&border, &x, &mut y);
            assert_eq!(y.iter().sum::<f32>(), x.iter().sum::<f32>());
            assert_eq!(y[(oh + sides[0]) * ow + sides[2]], x[3 * w]);
            crop(&border, &y, &mut back);
            assert_eq!(back, x);
        }
    }
}
