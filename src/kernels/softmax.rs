//! Rows of logits: stable softmax and its logarithm.

use super::simd::multiversion;
use crate::Scalar;

multiversion! {
    /// The largest element of a row; `−∞` for an empty one.
    pub fn max<F: Scalar>(row: &[F]) -> F {
        row.iter().fold(F::neg_infinity(), |max, &x| if x > max { x } else { max })
    }
}

/// The two parts of `log Σ exp(x)`: the largest element, and `log Σ exp(x − largest)`. Kept apart, because
/// their sum loses the digits of the second when the first is large. NaN if an element is.
pub fn log_sum_exp<F: Scalar>(row: &[F]) -> (F, F) {
    let max = max(row);
    if !max.is_finite() {
        // All −∞ (nothing has any weight), or +∞ or NaN among them: the plain formula says which.
        return (F::zero(), row.iter().map(|x| x.exp()).sum::<F>().ln());
    }
    (max, row.iter().map(|&x| (x - max).exp()).sum::<F>().ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_sum_exp_survives_extremes() {
        assert_eq!(log_sum_exp(&[1e4f64, 1e4]), (1e4, 2f64.ln()));
        assert_eq!(log_sum_exp(&[-1e4f64, -1e4]), (-1e4, 2f64.ln()));
        assert!(log_sum_exp(&[0.0, f64::NAN]).1.is_nan());
        assert_eq!(log_sum_exp(&[0.0, f64::INFINITY]).1, f64::INFINITY);
        assert_eq!(log_sum_exp(&[f64::NEG_INFINITY, 0.0]), (0.0, 0.0));
    }
}
