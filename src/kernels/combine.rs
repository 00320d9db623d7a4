//! Where branches meet: sums with a factor for each row, and rows side by side.
//!
//! `factors` are one for each of as many equal parts of an array: one for all of it, or one for each sample. A part
//! whose factor is 0 is not read: what was never computed may be anything.

use super::elementwise::PIECE;
use super::parallel::{self, Cost, Read, Write};
use super::simd::multiversion;
use crate::Scalar;

multiversion! {
    fn add_piece<F: Scalar>(factor: F, x: &[F], y: &mut [F]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = factor * *y + x;
        }
    }

    fn scale_piece<F: Scalar>(factor: F, x: &[F], y: &mut [F]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = factor * x;
        }
    }
}

/// Parts of `x` and `y`, each with its factor.
fn parts<'a, F>(
    factors: &'a [F],
    x: &'a [F],
    y: &'a mut [F],
) -> impl Iterator<Item = (&'a F, (&'a [F], &'a mut [F]))> {
    let part = (y.len() / factors.len().max(1)).max(1);
    factors.iter().zip(x.chunks(part).zip(y.chunks_mut(part)))
}

/// `y = factor · y + x`
pub fn add<F: Scalar>(factors: &[F], x: &[F], y: &mut [F]) {
    for (&factor, (x, y)) in parts(factors, x, y) {
        let cost = Cost::elements(2 * x.len());
        parallel::chunks((Read(x, PIECE), Write(y, PIECE)), cost, |_, (x, y)| {
            if factor == F::zero() { y.copy_from_slice(x) } else { add_piece(factor, x, y) }
        });
    }
}

/// `y = factor · x`
pub fn scale<F: Scalar>(factors: &[F], x: &[F], y: &mut [F]) {
    for (&factor, (x, y)) in parts(factors, x, y) {
        parallel::chunks(
            (Read(x, PIECE), Write(y, PIECE)),
            Cost::elements(x.len()),
            |_, (x, y)| {
                if factor == F::zero() { y.fill(F::zero()) } else { scale_piece(factor, x, y) }
            },
        );
    }
}

/// Writes rows of `width` into rows of `total`, from column `first` on.
pub fn put_columns<F: Scalar>(x: &[F], width: usize, y: &mut [F], total: usize, first: usize) {
    parallel::chunks((Read(x, width), Write(y, total)), Cost::elements(x.len()), |_, (x, y)| {
        y[first..first + width].copy_from_slice(x);
    });
}

/// Reads rows of `width` out of rows of `total`, from column `first` on.
pub fn take_columns<F: Scalar>(x: &[F], total: usize, first: usize, y: &mut [F], width: usize) {
    let cost = Cost::elements(y.len());
    parallel::chunks((Read(x, total), Write(y, width)), cost, |_, (x, y)| {
        y.copy_from_slice(&x[first..first + width]);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_with_factor_0_is_not_read() {
        let x = [1.0, 2.0, 3.0, 4.0f32];
        let mut y = [10.0, 20.0, f32::NAN, f32::INFINITY];
        add(&[2.0, 0.0], &x, &mut y);
        assert_eq!(y, [21.0, 42.0, 3.0, 4.0]);
        let mut dx = [f32::NAN; 4];
        scale(&[0.0, 3.0], &[f32::NAN, 1.0, 1.0, 2.0], &mut dx);
        assert_eq!(dx, [0.0, 0.0, 3.0, 6.0]);
    }

    #[test]
    fn columns_go_where_they_came_from() {
        let x: Vec<f64> = (0..6).map(f64::from).collect();
        let mut y = vec![-1.0; 15];
        put_columns(&x, 2, &mut y, 5, 3);
        assert_eq!(y[3..6], [0.0, 1.0, -1.0]);
        let mut back = vec![0.0; 6];
        take_columns(&y, 5, 3, &mut back, 2);
        assert_eq!(back, x);
    }
}
