//! The functions of one step of a recurrent layer, for some samples: sums become gates in place.
//!
//! Letters: rows of `h` hidden units, and of so many times `h` gates. Vector code throughout: no branches, no calls, and one
//! short loop after the other over parts of a row, which stay in the first cache: with many slices in one loop the compiler
//! cannot tell that they are different memory.

use super::simd::multiversion;
use crate::Scalar;

/// Parts of a row of gates, each of `h`.
#[inline(always)]
fn parts<const N: usize, F>(h: usize, row: &[F]) -> [&[F]; N] {
    std::array::from_fn(|i| &row[i * h..][..h])
}

#[inline(always)]
fn each<F: Scalar>(x: &mut [F], f: impl Fn(F) -> F) {
    for x in x {
        *x = f(*x);
    }
}

/// Like [`parts`], to be written.
#[inline(always)]
fn parts_mut<const N: usize, F>(h: usize, row: &mut [F]) -> [&mut [F]; N] {
    let mut rest = row;
    std::array::from_fn(|_| {
        let (part, tail) = std::mem::take(&mut rest).split_at_mut(h);
        rest = tail;
        part
    })
}

multiversion! {
    /// `next = tanh(a)`; the gate keeps it, too.
    pub(super) fn tanh<F: Scalar>(gates: &mut [F], next: &mut [F]) {
        for (gate, next) in gates.iter_mut().zip(next) {
            *gate = gate.straight_tanh::<FUSED>();
            *next = *gate;
        }
    }

    pub(super) fn tanh_backward<F: Scalar>(gates: &[F], dstate: &[F], of_gates: &mut [F]) {
        for ((da, &y), &dy) in of_gates.iter_mut().zip(gates).zip(dstate) {
            *da = dy * (F::one() - y * y);
        }
    }

    /// `next = max(0, a)`; NaN stays NaN.
    pub(super) fn relu<F: Scalar>(gates: &mut [F], next: &mut [F]) {
        for (gate, next) in gates.iter_mut().zip(next) {
            *gate = if *gate < F::zero() { F::zero() } else { *gate };
            *next = *gate;
        }
    }

    pub(super) fn relu_backward<F: Scalar>(gates: &[F], dstate: &[F], of_gates: &mut [F]) {
        for ((da, &y), &dy) in of_gates.iter_mut().zip(gates).zip(dstate) {
            *da = if y > F::zero() { dy } else { F::zero() };
        }
    }

    /// `i, f, o = σ`, `g = tanh`; `c' = f ⊙ c + i ⊙ g`, `h' = o ⊙ tanh c'`.
    pub(super) fn lstm<F: Scalar>(
        h: usize, gates: &mut [F], cell: &[F], next_cell: &mut [F], next: &mut [F],
    ) {
        let states = next_cell.chunks_exact_mut(h).zip(next.chunks_exact_mut(h));
        for ((gates, cell), (next_cell, next)) in
            gates.chunks_exact_mut(4 * h).zip(cell.chunks_exact(h)).zip(states)
        {
            let [i, f, g, o] = parts_mut::<4, F>(h, gates);
            let (next_cell, next, cell) = (&mut next_cell[..h], &mut next[..h], &cell[..h]);
            each(i, |x| x.straight_sigmoid::<FUSED>());
            each(f, |x| x.straight_sigmoid::<FUSED>());
            each(g, |x| x.straight_tanh::<FUSED>());
            each(o, |x| x.straight_sigmoid::<FUSED>());
            for (((next_cell, &cell), &f), (&i, &g)) in
                next_cell.iter_mut().zip(cell).zip(&*f).zip(i.iter().zip(&*g))
            {
                *next_cell = f * cell + i * g;
            }
            for ((next, &next_cell), &o) in next.iter_mut().zip(&*next_cell).zip(&*o) {
                *next = o * next_cell.straight_tanh::<FUSED>();
            }
        }
    }

    /// Gradients of the sums; `dcell` becomes the gradient by the cell's state before.
    pub(super) fn lstm_backward<F: Scalar>(
        h: usize, gates: &[F], cell: &[F], next_cell: &[F], dstate: &[F], dcell: &mut [F], of_gates: &mut [F],
    ) {
        let one = F::one();
        let cells = cell.chunks_exact(h).zip(next_cell.chunks_exact(h));
        let grads = dstate.chunks_exact(h).zip(dcell.chunks_exact_mut(h));
        let rows = gates.chunks_exact(4 * h).zip(of_gates.chunks_exact_mut(4 * h));
        for (((gates, of_gates), (cell, next_cell)), (dstate, dcell)) in rows.zip(cells).zip(grads) {
            let [i, f, g, o] = parts::<4, F>(h, gates);
            let [di, df, dg, d_o] = parts_mut::<4, F>(h, of_gates);
            let (cell, next_cell, dstate, dcell) =
                (&cell[..h], &next_cell[..h], &dstate[..h], &mut dcell[..h]);
            // First tanh of the cell's state, in the place of a gradient.
            for (squashed, &next_cell) in d_o.iter_mut().zip(next_cell) {
                *squashed = next_cell.straight_tanh::<FUSED>();
            }
            for (((dc, &dy), &o), &squashed) in
                dcell.iter_mut().zip(dstate).zip(o).zip(&*d_o)
            {
                *dc += dy * o * (one - squashed * squashed);
            }
            for ((d_o, &dy), &o) in d_o.iter_mut().zip(dstate).zip(o) {
                *d_o = dy * *d_o * o * (one - o);
            }
            for (((di, &dc), &g), &i) in di.iter_mut().zip(&*dcell).zip(g).zip(i) {
                *di = dc * g * i * (one - i);
            }
            for (((dg, &dc), &g), &i) in dg.iter_mut().zip(&*dcell).zip(g).zip(i) {
                *dg = dc * i * (one - g * g);
            }
            for (((df, dc), &cell), &f) in df.iter_mut().zip(dcell).zip(cell).zip(f) {
                *df = *dc * cell * f * (one - f);
                *dc *= f;
            }
        }
    }

    /// `r, z = σ(a + b)`, `n = tanh(a + r ⊙ b)`, `h' = (1 − z) ⊙ n + z ⊙ h`, where `a` comes from the input and `b` from
    /// the state. `share` keeps the `b` of `n`.
    pub(super) fn gru<F: Scalar>(
        h: usize, gates: &mut [F], hidden: &[F], state: &[F], share: &mut [F], next: &mut [F],
    ) {
        let one = F::one();
        let rows = gates.chunks_exact_mut(3 * h).zip(hidden.chunks_exact(3 * h));
        let out = share.chunks_exact_mut(h).zip(next.chunks_exact_mut(h));
        for (((gates, hidden), (share, next)), state) in rows.zip(out).zip(state.chunks_exact(h)) {
            // r and z lie side by side.
            let (both, n) = gates.split_at_mut(2 * h);
            let (both_hidden, hidden) = hidden.split_at(2 * h);
            for (gate, &hidden) in both.iter_mut().zip(both_hidden) {
                *gate = (*gate + hidden).straight_sigmoid::<FUSED>();
            }
            let [r, z] = parts::<2, F>(h, both);
            share.copy_from_slice(hidden);
            for ((n, &r), &hidden) in n.iter_mut().zip(r).zip(hidden) {
                *n = (*n + r * hidden).straight_tanh::<FUSED>();
            }
            for (((next, &n), &z), &state) in next.iter_mut().zip(&*n).zip(z).zip(state) {
                *next = (one - z) * n + z * state;
            }
        }
    }

    /// Gradients of the sums, by the input's share and by the state's, which differ for `n`; `dstate` becomes what goes
    /// past the gates: `z ⊙ dstate`.
    pub(super) fn gru_backward<F: Scalar>(
        h: usize, gates: &[F], state: &[F], share: &[F], dstate: &mut [F], of_input: &mut [F], of_state: &mut [F],
    ) {
        let one = F::one();
        let rows = gates.chunks_exact(3 * h).zip(state.chunks_exact(h).zip(share.chunks_exact(h)));
        let grads = of_input.chunks_exact_mut(3 * h).zip(of_state.chunks_exact_mut(3 * h));
        for (((gates, (state, share)), (of_input, of_state)), dstate) in
            rows.zip(grads).zip(dstate.chunks_exact_mut(h))
        {
            let [r, z, n] = parts::<3, F>(h, gates);
            let [ir, iz, i_n] = parts_mut::<3, F>(h, of_input);
            let [sr, sz, sn] = parts_mut::<3, F>(h, of_state);
            let (state, share, dstate) = (&state[..h], &share[..h], &mut dstate[..h]);
            for (((dn, &dy), &z), &n) in i_n.iter_mut().zip(&*dstate).zip(z).zip(n) {
                *dn = dy * (one - z) * (one - n * n);
            }
            for (((sn, &dn), &r), ir) in sn.iter_mut().zip(&*i_n).zip(r).zip(&mut *ir) {
                *sn = dn * r;
                *ir = dn * r * (one - r);
            }
            for ((ir, sr), &share) in ir.iter_mut().zip(sr).zip(share) {
                *ir *= share;
                *sr = *ir;
            }
            for ((((iz, dy), &z), &n), &state) in iz.iter_mut().zip(dstate).zip(z).zip(n).zip(state) {
                *iz = *dy * (state - n) * z * (one - z);
                *dy *= z;
            }
            sz.copy_from_slice(iz);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;
    use crate::kernels::simd;

    fn random(len: usize, seed: u64) -> Vec<f64> {
        let mut rng = Seed::new(seed).rng();
        (0..len).map(|_| rng.normal()).collect()
    }

    fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    fn same(got: &[f64], want: impl Iterator<Item = f64>) {
        for (i, (got, want)) in got.iter().zip(want).enumerate() {
            assert!((got - want).abs() < 1e-13, "{i}: {got}, not {want}");
        }
    }

    /// Rows of 1, of a register and of more, against the formulas with the library's functions.
    #[test]
    fn steps_equal_the_formulas_at_every_level() {
        simd::at_every_level(|| {
            for (n, h) in [(1, 1), (3, 16), (2, 37)] {
                let (sums, hidden) = (random(n * 4 * h, 1), random(n * 4 * h, 2));
                let (state, all) = (random(n * h, 3), n * h);
                // Element j of part `part` of so many.
                let at = |parts: usize, part: usize, j: usize| j / h * parts * h + part * h + j % h;

                let (mut gates, mut cell, mut next) =
                    (sums.clone(), vec![0.0; all], vec![0.0; all]);
                lstm(h, &mut gates, &state, &mut cell, &mut next);
                let gate = |part, j| sigmoid(sums[at(4, part, j)]);
                let want_cell = |j| gate(1, j) * state[j] + gate(0, j) * sums[at(4, 2, j)].tanh();
                same(&cell, (0..all).map(want_cell));
                same(&next, (0..all).map(|j| gate(3, j) * want_cell(j).tanh()));

                let (mut gates, mut share) = (sums[..3 * all].to_vec(), vec![0.0; all]);
                gru(h, &mut gates, &hidden[..3 * all], &state, &mut share, &mut next);
                let both = |part, j| sigmoid(sums[at(3, part, j)] + hidden[at(3, part, j)]);
                let new = |j| (sums[at(3, 2, j)] + both(0, j) * hidden[at(3, 2, j)]).tanh();
                same(&share, (0..all).map(|j| hidden[at(3, 2, j)]));
                same(&next, (0..all).map(|j| (1.0 - both(1, j)) * new(j) + both(1, j) * state[j]));
            }
        });
    }

    /// The derivative of a weighted sum of what a step gives, by each of its sums, as a difference quotient.
    #[test]
    fn steps_backward_are_the_derivatives_at_every_level() {
        const STEP: f64 = 1e-6;
        let (n, h) = (2, 19);
        let (sums, hidden, state) = (random(n * 4 * h, 1), random(n * 3 * h, 2), random(n * h, 3));
        let (dnext, dcell) = (random(n * h, 4), random(n * h, 5));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let lstm_of = |sums: &[f64]| {
            let (mut gates, mut cell, mut next) =
                (sums.to_vec(), vec![0.0; n * h], vec![0.0; n * h]);
            lstm(h, &mut gates, &state, &mut cell, &mut next);
            (dot(&next, &dnext) + dot(&cell, &dcell), gates, cell)
        };
        let gru_of = |sums: &[f64], hidden: &[f64]| {
            let (mut gates, mut share, mut next) =
                (sums[..3 * n * h].to_vec(), vec![0.0; n * h], vec![0.0; n * h]);
            gru(h, &mut gates, hidden, &state, &mut share, &mut next);
            (dot(&next, &dnext), gates, share)
        };
        let difference = |values: &[f64], i: usize, loss: &dyn Fn(&[f64]) -> f64| {
            let (mut up, mut down) = (values.to_vec(), values.to_vec());
            (up[i], down[i]) = (up[i] + STEP, down[i] - STEP);
            (loss(&up) - loss(&down)) / (2.0 * STEP)
        };
        // h² of the difference quotient, and rounding divided by h.
        let close = |got: f64, want: f64| assert!((got - want).abs() < 1e-8, "{got}, not {want}");
        simd::at_every_level(|| {
            let (_, gates, cell) = lstm_of(&sums);
            let (mut of_gates, mut before) = (vec![0.0; gates.len()], dcell.clone());
            lstm_backward(h, &gates, &state, &cell, &dnext, &mut before, &mut of_gates);
            for (i, &of_gate) in of_gates.iter().enumerate() {
                close(of_gate, difference(&sums, i, &|sums| lstm_of(sums).0));
            }
            let (_, gates, share) = gru_of(&sums, &hidden);
            let (mut of_input, mut of_state) = (vec![0.0; gates.len()], vec![0.0; gates.len()]);
            let mut past = dnext.clone();
            gru_backward(h, &gates, &state, &share, &mut past, &mut of_input, &mut of_state);
            for i in 0..gates.len() {
                close(of_input[i], difference(&sums, i, &|sums| gru_of(sums, &hidden).0));
                close(of_state[i], difference(&hidden, i, &|hidden| gru_of(&sums, hidden).0));
            }
            for j in 0..n * h {
                close(past[j], dnext[j] * gates[j / h * 3 * h + h + j % h]);
            }
        });
    }
}
