//! The largest of several pieces, side by side.
//!
//! `x` is `[outer, pieces, inner]`, `y` is `[outer, inner]`. The first of equal ones wins, NaN wins over all.

use super::elementwise::PIECE;
use super::parallel::{self, Cost, Read, Write};
use super::simd::multiversion;
use crate::Scalar;

/// Outputs of a task: whole groups of `inner`.
fn outputs(pieces: usize, inner: usize) -> usize {
    inner * (PIECE / (pieces * inner).max(1)).max(1)
}

/// Whether `new` takes the place of `best`.
#[inline(always)]
#[allow(clippy::neg_cmp_op_on_partial_ord, clippy::eq_op)]
fn better<F: Scalar>(new: F, best: F) -> bool {
    !(new <= best) & (best == best)
}

/// Pieces one beside the other, as those of a dense layer; `winners` as below. A number of pieces that the compiler knows
/// makes vectors of the loops.
#[inline(always)]
fn neighbours<F: Scalar, const PIECES: usize>(x: &[F], y: &mut [F], winners: &mut [u32]) {
    let groups = x.as_chunks::<PIECES>().0;
    for (x, y) in groups.iter().zip(y.iter_mut()) {
        let mut best = x[0];
        for &x in &x[1..] {
            best = if better(x, best) { x } else { best };
        }
        *y = best;
    }
    for (x, winner) in groups.iter().zip(winners) {
        let (mut best, mut first, mut piece) = (x[0], 0, 0);
        for &x in &x[1..] {
            piece += 1;
            let better = better(x, best);
            best = if better { x } else { best };
            first = if better { piece } else { first };
        }
        *winner = first;
    }
}

/// The way back of [`neighbours`].
#[inline(always)]
fn neighbours_backward<F: Scalar, const PIECES: usize>(winners: &[u32], dy: &[F], dx: &mut [F]) {
    for ((dx, &dy), &winner) in dx.as_chunks_mut::<PIECES>().0.iter_mut().zip(dy).zip(winners) {
        for (piece, dx) in (0u32..).zip(dx) {
            *dx = if winner == piece { dy } else { F::zero() };
        }
    }
}

multiversion! {
    /// `winners` is as long as `y`, or empty.
    fn forward_piece<F: Scalar>(pieces: usize, inner: usize, x: &[F], y: &mut [F], winners: &mut [u32]) {
        match (inner, pieces) {
            (1, 2) => return neighbours::<F, 2>(x, y, winners),
            (1, 3) => return neighbours::<F, 3>(x, y, winners),
            (1, 4) => return neighbours::<F, 4>(x, y, winners),
            (1, 5) => return neighbours::<F, 5>(x, y, winners),
            _ => {}
        }
        for (outer, (x, y)) in x.chunks_exact(pieces * inner).zip(y.chunks_exact_mut(inner)).enumerate() {
            y.copy_from_slice(&x[..inner]);
            let mut nobody = [0; 0];
            let winners = winners.get_mut(outer * inner..(outer + 1) * inner).unwrap_or(&mut nobody);
            winners.fill(0);
            for (piece, x) in (0u32..).zip(x.chunks_exact(inner)).skip(1) {
                if winners.is_empty() {
                    for (y, &x) in y.iter_mut().zip(x) {
                        *y = if better(x, *y) { x } else { *y };
                    }
                }
                for ((y, &x), winner) in y.iter_mut().zip(x).zip(winners.iter_mut()) {
                    let better = better(x, *y);
                    *y = if better { x } else { *y };
                    *winner = if better { piece } else { *winner };
                }
            }
        }
    }

    fn backward_piece<F: Scalar>(pieces: usize, inner: usize, winners: &[u32], dy: &[F], dx: &mut [F]) {
        match (inner, pieces) {
            (1, 2) => return neighbours_backward::<F, 2>(winners, dy, dx),
            (1, 3) => return neighbours_backward::<F, 3>(winners, dy, dx),
            (1, 4) => return neighbours_backward::<F, 4>(winners, dy, dx),
            (1, 5) => return neighbours_backward::<F, 5>(winners, dy, dx),
            _ => {}
        }
        let groups = dy.chunks_exact(inner).zip(winners.chunks_exact(inner));
        for ((dy, winners), dx) in groups.zip(dx.chunks_exact_mut(pieces * inner)) {
            for (piece, dx) in (0u32..).zip(dx.chunks_exact_mut(inner)) {
                for ((dx, &dy), &winner) in dx.iter_mut().zip(dy).zip(winners) {
                    *dx = if winner == piece { dy } else { F::zero() };
                }
            }
        }
    }
}

/// The largest piece and, if `winners` is given, which it was.
pub fn forward<F: Scalar>(
    pieces: usize,
    inner: usize,
    x: &[F],
    y: &mut [F],
    winners: Option<&mut [u32]>,
) {
    let size = outputs(pieces, inner);
    let cost = Cost::elements(x.len() + y.len());
    match winners {
        Some(winners) => {
            let winners = &mut winners[..y.len()];
            let cut = (Read(x, pieces * size), Write(y, size), Write(winners, size));
            parallel::chunks(cut, cost, |_, (x, y, winners)| {
                forward_piece(pieces, inner, x, y, winners);
            });
        }
        None => parallel::chunks((Read(x, pieces * size), Write(y, size)), cost, |_, (x, y)| {
            forward_piece(pieces, inner, x, y, &mut []);
        }),
    }
}

/// Gradient of [`forward`]: each output's goes to its winner.
pub fn backward<F: Scalar>(pieces: usize, inner: usize, winners: &[u32], dy: &[F], dx: &mut [F]) {
    let size = outputs(pieces, inner);
    let cut = (Read(&winners[..dy.len()], size), Read(dy, size), Write(dx, pieces * size));
    parallel::chunks(cut, Cost::elements(pieces * dy.len()), |_, (winners, dy, dx)| {
        backward_piece(pieces, inner, winners, dy, dx);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;
    use crate::kernels::simd;

    #[test]
    fn the_first_of_the_largest_wins_at_every_level() {
        simd::at_every_level(|| {
            for (outer, pieces, inner) in [
                (1, 1, 1),
                (5, 3, 1),
                (37, 2, 1),
                (50, 4, 1),
                (70, 5, 1),
                (9, 6, 1),
                (2, 2, 37),
                (3, 5, 8),
                (40, 2, 900),
            ] {
                let mut rng = Seed::new(0).rng();
                // Few values: many ties. And NaN in places.
                let values = [0.0f32, 1.0, -1.0, f32::NAN];
                let x: Vec<f32> =
                    (0..outer * pieces * inner).map(|_| values[rng.below(4)]).collect();
                let len = outer * inner;
                let (mut y, mut winners) = (vec![7.0; len], vec![9; len + 3]);
                forward(pieces, inner, &x, &mut y, Some(&mut winners));
                let mut without = vec![7.0; len];
                forward(pieces, inner, &x, &mut without, None);
                let dy: Vec<f32> = (0..len).map(|i| i as f32 + 1.0).collect();
                let mut dx = vec![f32::NAN; x.len()];
                backward(pieces, inner, &winners, &dy, &mut dx);
                for i in 0..len {
                    let at = |piece: usize| (i / inner * pieces + piece) * inner + i % inner;
                    let mut best = 0;
                    for piece in 1..pieces {
                        let (new, old) = (x[at(piece)], x[at(best)]);
                        if new > old || (new.is_nan() && !old.is_nan()) {
                            best = piece;
                        }
                    }
                    assert_eq!(winners[i] as usize, best);
                    assert_eq!(y[i].to_bits(), x[at(best)].to_bits());
                    assert_eq!(without[i].to_bits(), y[i].to_bits());
                    for piece in 0..pieces {
                        assert_eq!(dx[at(piece)], if piece == best { dy[i] } else { 0.0 });
                    }
                }
            }
        });
    }
}
