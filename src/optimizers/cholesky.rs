//! Solving with a symmetric, positive definite matrix.

use super::line_search::dot;

/// Replaces the lower half of the row-major `n × n` matrix by `L` with `A = L Lᵀ`; false if `A` is not positive definite.
pub(super) fn factor(a: &mut [f64], n: usize) -> bool {
    for i in 0..n {
        let (above, row) = a.split_at_mut(i * n);
        for (j, above) in above.chunks_exact(n).enumerate() {
            row[j] = (row[j] - dot(&row[..j], &above[..j])) / above[j];
        }
        let square = row[i] - dot(&row[..i], &row[..i]);
        // Also false for NaN.
        if !(square > 0.0 && square.is_finite()) {
            return false;
        }
        row[i] = square.sqrt();
    }
    true
}

/// Replaces `b` by the solution of `L Lᵀ x = b`.
pub(super) fn solve(l: &[f64], b: &mut [f64]) {
    let n = b.len();
    for i in 0..n {
        let row = &l[i * n..][..n];
        b[i] = (b[i] - dot(&row[..i], &b[..i])) / row[i];
    }
    for i in (0..n).rev() {
        let row = &l[i * n..][..n];
        b[i] /= row[i];
        let x = b[i];
        b[..i].iter_mut().zip(row).for_each(|(b, l)| *b -= x * l);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_solved_and_an_indefinite_one_refused() {
        let mut a = [4.0, 0.0, 0.0, 2.0, 5.0, 0.0, -2.0, 1.0, 6.0];
        // The lower half of [[4, 2, −2], [2, 5, 1], [−2, 1, 6]].
        assert!(factor(&mut a, 3));
        let mut x = [2.0, 15.0, 18.0];
        solve(&a, &mut x);
        for (x, want) in x.iter().zip([1.0, 2.0, 3.0]) {
            assert!((x - want).abs() < 1e-14, "{x}");
        }
        assert!(!factor(&mut [1.0, 2.0, 2.0, 1.0], 2));
        assert!(!factor(&mut [f64::NAN], 1));
    }
}
