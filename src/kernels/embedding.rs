//! Rows of a table by number, and their gradients.

use super::parallel::{self, Cost, Read, Shared, Write};
use super::reduce::add_to;
use crate::Scalar;

/// Columns of a task of the gradient: whole cache lines.
const COLUMNS: usize = 64;
/// Rows of a task of the forward pass.
const ROWS: usize = 64;

/// `y[i] = table[ids[i]]`, rows of `dim` elements.
pub fn forward<F: Scalar>(dim: usize, table: &[F], ids: &[usize], y: &mut [F]) {
    let cost = Cost::elements(2 * y.len());
    parallel::chunks((Read(ids, ROWS), Write(y, ROWS * dim)), cost, |_, (ids, y)| {
        for (&id, y) in ids.iter().zip(y.chunks_exact_mut(dim)) {
            y.copy_from_slice(&table[id * dim..][..dim]);
        }
    });
}

/// `grad[ids[i]] += dy[i]`, in order, but for the row `skip`.
pub fn backward<F: Scalar>(
    dim: usize,
    ids: &[usize],
    skip: Option<usize>,
    dy: &[F],
    grad: &mut [F],
) {
    let shared = Shared::new(grad);
    parallel::each(dim.div_ceil(COLUMNS), Cost::elements(4 * dy.len()), |task| {
        let first = task * COLUMNS;
        let len = COLUMNS.min(dim - first);
        for (&id, dy) in ids.iter().zip(dy.chunks_exact(dim)) {
            if skip != Some(id) {
                // SAFETY: tasks own different columns.
                let grad = unsafe { shared.at(id * dim + first, len) };
                add_to(&dy[first..][..len], grad);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_copied_and_their_gradients_added() {
        for dim in [1, 3, 64, 150] {
            let table: Vec<f64> = (0..5 * dim).map(|i| i as f64).collect();
            let ids: Vec<usize> = (0..200).map(|i| i * 7 % 5).collect();
            let mut y = vec![f64::NAN; ids.len() * dim];
            forward(dim, &table, &ids, &mut y);
            for (row, id) in y.chunks(dim).zip(&ids) {
                assert_eq!(row, &table[id * dim..][..dim]);
            }
            let mut grad = vec![1.0; table.len()];
            backward(dim, &ids, Some(3), &y, &mut grad);
            for (id, (grad, row)) in grad.chunks(dim).zip(table.chunks(dim)).enumerate() {
                let times = if id == 3 { 0.0 } else { 40.0 };
                assert!(grad.iter().zip(row).all(|(grad, value)| *grad == 1.0 + times * value));
            }
        }
    }
}
