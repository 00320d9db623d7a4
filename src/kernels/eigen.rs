//! Eigenvalues and eigenvectors of symmetric positive semidefinite matrices.

use super::reduce::{LANES, fold_lanes};
use super::simd::multiversion;
use crate::Scalar;

/// Sweeps over all pairs; 6 to 10 are usual, and each squares what is left.
const SWEEPS: usize = 40;

/// Turns the rows of `a` (`n` × `n`, symmetric, no negative eigenvalue) into eigenvalue times eigenvector, and
/// writes the eigenvectors to the rows of `vectors`; returns the eigenvalues, largest first, rows in their order.
///
/// One-sided Jacobi (Hestenes 1958): pairs of rows of `V·A`, `V` orthogonal, are rotated until all are
/// perpendicular; then `V·A·A·Vᵀ` is diagonal and `V` has the eigenvectors. It works on whole rows, unlike the
/// classical method, and `V` is orthogonal to the last digits whatever `A` is. About `7·n³` multiply-adds a
/// sweep.
pub fn eigen(a: &mut [f64], vectors: &mut [f64], n: usize) -> Vec<f64> {
    assert_eq!((a.len(), vectors.len()), (n * n, n * n), "both are square");
    for (i, row) in vectors.chunks_exact_mut(n.max(1)).enumerate() {
        row.fill(0.0);
        row[i] = 1.0;
    }
    let largest = a.chunks_exact(n.max(1)).map(|row| dot(row, row)).fold(0.0, f64::max);
    // Rows this short are rounding errors of a matrix without full rank: their directions mean nothing.
    let noise = largest * (n as f64 * f64::EPSILON).powi(2);
    for _ in 0..SWEEPS {
        if !sweep(a, vectors, n, noise) {
            break;
        }
    }
    let value = |i: usize| dot(&a[i * n..][..n], &vectors[i * n..][..n]);
    let mut order: Vec<(f64, usize)> = (0..n).map(|i| (value(i), i)).collect();
    order.sort_by(|x, y| y.0.total_cmp(&x.0));
    let sorted: Vec<f64> =
        order.iter().flat_map(|&(_, i)| &vectors[i * n..][..n]).copied().collect();
    vectors.copy_from_slice(&sorted);
    order.into_iter().map(|(value, _)| value).collect()
}

/// Rotates every pair of rows once; whether any was not perpendicular.
fn sweep(a: &mut [f64], vectors: &mut [f64], n: usize, noise: f64) -> bool {
    let mut turned = false;
    for p in 0..n {
        for q in p + 1..n {
            let (row_p, row_q) = pair(a, p, q, n);
            let (pp, qq, pq) = (dot(row_p, row_p), dot(row_q, row_q), dot(row_p, row_q));
            // NaN compares false: it ends the search rather than spoil it.
            let apart = pq.abs() > 4.0 * f64::EPSILON * (pp * qq).sqrt();
            if !apart || pp <= noise || qq <= noise {
                continue;
            }
            turned = true;
            let zeta = (qq - pp) / (2.0 * pq);
            let tangent = zeta.signum() / (zeta.abs() + (1.0 + zeta * zeta).sqrt());
            let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
            rotate(cosine, cosine * tangent, row_p, row_q);
            let (row_p, row_q) = pair(vectors, p, q, n);
            rotate(cosine, cosine * tangent, row_p, row_q);
        }
    }
    turned
}

/// Rows `p < q`.
fn pair(matrix: &mut [f64], p: usize, q: usize, n: usize) -> (&mut [f64], &mut [f64]) {
    let (before, after) = matrix.split_at_mut(q * n);
    (&mut before[p * n..][..n], &mut after[..n])
}

multiversion! {
    /// `Σ a·b`
    fn dot<F: Scalar>(a: &[F], b: &[F]) -> F {
        let mut sums = [F::zero(); LANES];
        let (chunks_a, chunks_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        let tail = chunks_a.remainder().iter().zip(chunks_b.remainder());
        let tail = tail.fold(F::zero(), |sum, (&a, &b)| sum + a * b);
        for (a, b) in chunks_a.zip(chunks_b) {
            for l in 0..LANES {
                sums[l] += a[l] * b[l];
            }
        }
        fold_lanes(sums) + tail
    }

    /// `p, q = c·p − s·q, s·p + c·q`
    fn rotate<F: Scalar>(c: F, s: F, p: &mut [F], q: &mut [F]) {
        for (p, q) in p.iter_mut().zip(q) {
            (*p, *q) = (c * *p - s * *q, s * *p + c * *q);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;

    /// `B·Bᵀ` of random `B` with `rank` columns.
    fn matrix(n: usize, rank: usize) -> Vec<f64> {
        let mut rng = Seed::new(n as u64).rng();
        let b: Vec<f64> = (0..n * rank).map(|_| rng.normal()).collect();
        let element =
            |i: usize, j: usize| (0..rank).map(|k| b[i * rank + k] * b[j * rank + k]).sum();
        (0..n * n).map(|at| element(at / n, at % n)).collect()
    }

    #[test]
    fn the_parts_make_the_matrix_again() {
        for (n, rank) in [(0, 0), (1, 1), (2, 2), (5, 5), (40, 40), (40, 7), (3, 0)] {
            let a = matrix(n, rank);
            let (mut rest, mut vectors) = (a.clone(), vec![f64::NAN; n * n]);
            let values = eigen(&mut rest, &mut vectors, n);
            assert!(values.is_sorted_by(|a, b| a >= b));
            let scale = values.first().copied().unwrap_or(0.0).max(1e-300);
            for i in 0..n {
                for j in 0..n {
                    let made: f64 =
                        (0..n).map(|k| values[k] * vectors[k * n + i] * vectors[k * n + j]).sum();
                    assert!((made - a[i * n + j]).abs() <= 1e-13 * n as f64 * scale, "{n} {rank}");
                    let product = dot(&vectors[i * n..][..n], &vectors[j * n..][..n]);
                    assert!((product - f64::from(i == j)).abs() < 1e-13, "{n} {rank}");
                }
            }
            assert!(values.iter().skip(rank).all(|value| value.abs() <= 1e-13 * n as f64 * scale));
        }
    }

    #[test]
    fn a_diagonal_matrix_is_sorted() {
        let (mut a, mut vectors) = ([2.0, 0.0, 0.0, 3.0], [0.0; 4]);
        assert_eq!(eigen(&mut a, &mut vectors, 2), [3.0, 2.0]);
        assert_eq!(vectors, [0.0, 1.0, 1.0, 0.0]);
    }
}
