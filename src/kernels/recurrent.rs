//! Recurrent layers: one product for all inputs at once, then step by step a product with the state and the gates.
//!
//! Letters: `n` samples of `t` steps with `d` inputs, `h` hidden units and `g` rows of weights: as many times `h` as the
//! cell has gates, in PyTorch's order. Inside, everything lies step by step, `[t][n][..]`, so that a step is contiguous.

use super::gemm::{self, Begin, Mat, Product, Right};
use super::parallel::{self, Cost, Read, Write};
use super::recurrent_cells as cells;
use super::reduce;
use crate::Scalar;

/// What happens in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// `h = tanh(a)`
    Tanh,
    /// `h = max(0, a)`
    Relu,
    /// Gates i, f, g, o.
    Lstm,
    /// Gates r, z, n.
    Gru,
}

impl Cell {
    /// Rows of weights for a hidden unit.
    pub fn gates(self) -> usize {
        match self {
            Self::Tanh | Self::Relu => 1,
            Self::Lstm => 4,
            Self::Gru => 3,
        }
    }
}

/// Sizes of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// What happens in a step.
    pub cell: Cell,
    /// Steps of a sequence.
    pub steps: usize,
    /// Features of a step.
    pub inputs: usize,
    /// Hidden units.
    pub hidden: usize,
    /// Steps that a gradient goes back at most: states pass from one such part to the next, gradients do not.
    pub truncate: usize,
}

/// What a layer learned.
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a, F> {
    /// `[g][d]`
    pub input: &'a [F],
    /// `[g][h]`
    pub hidden: &'a [F],
    /// Two of `[g]`: beside the input and beside the state.
    pub bias: Option<(&'a [F], &'a [F])>,
}

/// What a backward needs, cut from one slice.
struct Tape<'a, F> {
    /// `[t][n][d]`
    x: &'a mut [F],
    /// `[t][n][g]`, after their functions.
    gates: &'a mut [F],
    /// `[t + 1][n][h]`; the first is 0.
    states: &'a mut [F],
    /// `[t + 1][n][h]`. LSTM: the cell's states, of which the first is 0. GRU: the hidden share of gate n of each step.
    extra: &'a mut [F],
}

impl Sizes {
    fn rows(&self) -> usize {
        self.cell.gates() * self.hidden
    }

    fn has_extra(&self) -> bool {
        matches!(self.cell, Cell::Lstm | Cell::Gru)
    }

    /// Elements of the tape for one sample.
    pub fn tape(&self) -> usize {
        let states = (self.steps + 1) * self.hidden;
        self.steps * (self.inputs + self.rows()) + states * if self.has_extra() { 2 } else { 1 }
    }

    fn cut<'a, F>(&self, n: usize, tape: &'a mut [F]) -> Tape<'a, F> {
        let (x, rest) = tape.split_at_mut(self.steps * n * self.inputs);
        let (gates, rest) = rest.split_at_mut(self.steps * n * self.rows());
        let (states, rest) = rest.split_at_mut((self.steps + 1) * n * self.hidden);
        let extra = if self.has_extra() { &mut rest[..states.len()] } else { rest };
        Tape { x, gates, states, extra }
    }

    /// Elements of scratch memory that [`forward`] needs.
    pub fn forward_scratch<F: Scalar>(&self, n: usize) -> usize {
        let (t, g) = (self.steps, self.rows());
        let product = gemm::scratch_len::<F>(t * n, g, self.inputs).max(gemm::scratch_len::<F>(
            n,
            g,
            self.hidden,
        ));
        // The weight of the state, packed once for all steps; and one of two: the hidden share of a GRU's gates, or the sum of
        // the biases.
        product + self.packed::<F>(n, false) + n * g
    }

    /// Elements that [`backward_states`] leaves for [`backward_weights`]: gradients of the gates, a GRU's twice, because
    /// those beside the state differ.
    pub fn gate_gradients(&self, n: usize) -> usize {
        self.steps * n * self.rows() * if self.cell == Cell::Gru { 2 } else { 1 }
    }

    /// Elements of scratch memory that [`backward_states`] needs.
    pub fn states_scratch<F: Scalar>(&self, n: usize) -> usize {
        let (t, g, h, d) = (self.steps, self.rows(), self.hidden, self.inputs);
        let product = gemm::scratch_len::<F>(n, h, g).max(gemm::scratch_len::<F>(t * n, d, g));
        product + self.packed::<F>(n, true) + 2 * n * h + t * n * d
    }

    /// Elements of the packed weight of the state, forward or `back`; 0 where packing would cost more than it saves.
    fn packed<F: Scalar>(&self, n: usize, back: bool) -> usize {
        let (g, h) = (self.rows(), self.hidden);
        match back {
            true => gemm::right_len::<F>(h, g),
            false if gemm::packs([n, g, h]) => gemm::right_len::<F>(g, h),
            false => 0,
        }
    }

    /// Elements of scratch memory that [`backward_weights`] needs.
    pub fn weights_scratch<F: Scalar>(&self, n: usize) -> usize {
        let (t, g) = (self.steps, self.rows());
        gemm::scratch_len::<F>(g, self.inputs, t * n).max(gemm::scratch_len::<F>(
            g,
            self.hidden,
            t * n,
        ))
    }

    /// Rows of a step that are one task.
    fn task(&self) -> usize {
        /// Hidden units of a task.
        const UNITS: usize = 1024;
        (UNITS / self.hidden).max(1)
    }

    fn cost(&self, n: usize) -> Cost {
        // Vector code: several functions in the time of one.
        Cost::functions(n * self.rows() / 4)
    }
}

/// Runs all steps: fills the tape from `x`, `[n][t][d]`.
pub fn forward<F: Scalar>(
    sizes: &Sizes,
    n: usize,
    weights: Weights<'_, F>,
    x: &[F],
    tape: &mut [F],
    scratch: &mut [F],
) {
    let (t, d, h, g) = (sizes.steps, sizes.inputs, sizes.hidden, sizes.rows());
    let tape = sizes.cut(n, tape);
    swap_axes(n, t, d, x, tape.x);
    let (packed, scratch) = scratch.split_at_mut(sizes.packed::<F>(n, false));
    let right = packed_right(g, h, Mat::transposed(weights.hidden, h), packed);
    let (hidden, scratch) = scratch.split_at_mut(n * g);
    {
        let bias = weights.bias.map(|(input, beside_state)| {
            let sum = &mut hidden[..g];
            sum.copy_from_slice(input);
            if sizes.cell != Cell::Gru {
                reduce::add_to(beside_state, sum);
            }
            &*sum
        });
        let begin = bias.map_or(Begin::Zero, Begin::ColBias);
        let (x, w) = (Mat::new(tape.x, d), Mat::transposed(weights.input, d));
        gemm::gemm(t * n, g, d, x, w, tape.gates, begin, scratch);
    }
    tape.states[..n * h].fill(F::zero());
    if sizes.cell == Cell::Lstm {
        tape.extra[..n * h].fill(F::zero());
    }
    for (step, gates) in tape.gates.chunks_exact_mut(n * g).enumerate() {
        let (before, after) = tape.states.split_at_mut((step + 1) * n * h);
        let state = &before[step * n * h..];
        let product = |out: &mut [F], begin, scratch: &mut [F]| {
            let a = Mat::new(state, h);
            Product { sizes: [n, g, h], a, b: right, begin, relu: false }.write(out, scratch);
        };
        if sizes.cell == Cell::Gru {
            let begin = weights.bias.map_or(Begin::Zero, |(_, bias)| Begin::ColBias(bias));
            product(hidden, begin, scratch);
        } else if step > 0 {
            // The first state is 0.
            product(gates, Begin::Add, scratch);
        }
        advance(sizes, n, step, gates, hidden, state, &mut after[..n * h], tape.extra);
    }
}

/// The right factor of every step: packed, if there is room for that.
fn packed_right<'a, F: Scalar>(
    n: usize,
    k: usize,
    plain: Mat<'a, F>,
    room: &'a mut [F],
) -> Right<'a, F> {
    if room.is_empty() {
        return Right::Plain(plain);
    }
    gemm::pack_right(n, k, plain, room);
    Right::Packed(room)
}

/// The functions of one step: from sums to gates, and the next state.
#[allow(clippy::too_many_arguments)]
fn advance<F: Scalar>(
    sizes: &Sizes,
    n: usize,
    step: usize,
    gates: &mut [F],
    hidden: &[F],
    state: &[F],
    next: &mut [F],
    extra: &mut [F],
) {
    let (h, g, rows) = (sizes.hidden, sizes.rows(), sizes.task());
    let (cost, all) = (sizes.cost(n), n * h);
    let sides = (Write(gates, rows * g), Write(next, rows * h));
    match sizes.cell {
        Cell::Tanh => parallel::chunks(sides, cost, |_, (gates, next)| cells::tanh(gates, next)),
        Cell::Relu => parallel::chunks(sides, cost, |_, (gates, next)| cells::relu(gates, next)),
        Cell::Lstm => {
            let (before, after) = extra.split_at_mut((step + 1) * all);
            let cell = (Read(&before[step * all..], rows * h), Write(&mut after[..all], rows * h));
            parallel::chunks((sides, cell), cost, |_, ((gates, next), (cell, next_cell))| {
                cells::lstm(h, gates, cell, next_cell, next);
            });
        }
        Cell::Gru => {
            let share = Write(&mut extra[step * all..][..all], rows * h);
            let read = (Read(hidden, rows * g), Read(state, rows * h));
            parallel::chunks(
                (sides, read, share),
                cost,
                |_, ((gates, next), (hidden, state), share)| {
                    cells::gru(h, gates, hidden, state, share, next);
                },
            );
        }
    }
}

/// The last state, `[n][h]`.
pub fn last_state<F: Scalar>(sizes: &Sizes, n: usize, tape: &mut [F], y: &mut [F]) {
    let tape = sizes.cut(n, tape);
    y.copy_from_slice(&tape.states[sizes.steps * n * sizes.hidden..]);
}

/// All states, `[n][t][h]`.
pub fn all_states<F: Scalar>(sizes: &Sizes, n: usize, tape: &mut [F], y: &mut [F]) {
    let tape = sizes.cut(n, tape);
    swap_axes(sizes.steps, n, sizes.hidden, &tape.states[n * sizes.hidden..], y);
}

/// `to[j][i][..] = from[i][j][..]`, where the last axis has `len` elements.
fn swap_axes<F: Scalar>(a: usize, b: usize, len: usize, from: &[F], to: &mut [F]) {
    parallel::chunks(Write(to, a * len), Cost::elements(2 * from.len()), |j, to| {
        for (i, to) in to.chunks_exact_mut(len).enumerate() {
            to.copy_from_slice(&from[(i * b + j) * len..][..len]);
        }
    });
}

/// Goes back through the steps: fills `gradients` with those of the gates, and `dx`. `dy` is `[n][t][h]`, or `[n][h]` for
/// the last state alone.
#[allow(clippy::too_many_arguments)]
pub fn backward_states<F: Scalar>(
    sizes: &Sizes,
    n: usize,
    weights: Weights<'_, F>,
    tape: &mut [F],
    dy: &[F],
    gradients: &mut [F],
    dx: Option<&mut [F]>,
    scratch: &mut [F],
) {
    let (t, d, h, g) = (sizes.steps, sizes.inputs, sizes.hidden, sizes.rows());
    let tape = sizes.cut(n, tape);
    let (packed, rest) = scratch.split_at_mut(sizes.packed::<F>(n, true));
    let right = packed_right(h, g, Mat::new(weights.hidden, h), packed);
    let (dstate, rest) = rest.split_at_mut(n * h);
    let (dcell, rest) = rest.split_at_mut(n * h);
    let (dx_by_step, scratch) = rest.split_at_mut(t * n * d);
    let (of_input, of_state) = gradients.split_at_mut(t * n * g);
    dstate.fill(F::zero());
    dcell.fill(F::zero());
    let every_step = dy.len() > n * h;
    for step in (0..t).rev() {
        if every_step || step + 1 == t {
            let (from, stride) = if every_step { (step * h, t * h) } else { (0, h) };
            for (i, dstate) in dstate.chunks_exact_mut(h).enumerate() {
                reduce::add_to(&dy[from + i * stride..][..h], dstate);
            }
        }
        let of_input = &mut of_input[step * n * g..][..n * g];
        // Empty unless there are two.
        let second = if sizes.cell == Cell::Gru { n * g } else { 0 };
        let of_state = &mut of_state[step * second..][..second];
        retreat(sizes, n, step, &tape, dstate, dcell, of_input, of_state);
        // Here a part begins: nothing goes further back.
        if step.is_multiple_of(sizes.truncate) {
            dstate.fill(F::zero());
            dcell.fill(F::zero());
            continue;
        }
        let (of_gates, begin) = match sizes.cell {
            // What goes past the gates is there already.
            Cell::Gru => (&*of_state, Begin::Add),
            _ => (&*of_input, Begin::Zero),
        };
        let a = Mat::new(of_gates, g);
        Product { sizes: [n, h, g], a, b: right, begin, relu: false }.write(dstate, scratch);
    }
    if let Some(dx) = dx {
        let (of_input, w) = (Mat::new(of_input, g), Mat::new(weights.input, d));
        gemm::gemm(t * n, d, g, of_input, w, dx_by_step, Begin::Zero, scratch);
        swap_axes(t, n, d, dx_by_step, dx);
    }
}

/// The functions of one step, backward. `dstate` is the gradient by the step's state, and becomes what goes past the gates
/// to the state before.
#[allow(clippy::too_many_arguments)]
fn retreat<F: Scalar>(
    sizes: &Sizes,
    n: usize,
    step: usize,
    tape: &Tape<'_, F>,
    dstate: &mut [F],
    dcell: &mut [F],
    of_input: &mut [F],
    of_state: &mut [F],
) {
    let (h, g, rows) = (sizes.hidden, sizes.rows(), sizes.task());
    let (cost, all) = (sizes.cost(n), n * h);
    let gates = Read(&tape.gates[step * n * g..][..n * g], rows * g);
    let sides = (Write(of_input, rows * g), Write(dstate, rows * h));
    match sizes.cell {
        Cell::Tanh => parallel::chunks((gates, sides), cost, |_, (gates, (of_gates, dstate))| {
            cells::tanh_backward(gates, dstate, of_gates);
        }),
        Cell::Relu => parallel::chunks((gates, sides), cost, |_, (gates, (of_gates, dstate))| {
            cells::relu_backward(gates, dstate, of_gates);
        }),
        Cell::Lstm => {
            let cell = Read(&tape.extra[step * all..][..all], rows * h);
            let next = Read(&tape.extra[(step + 1) * all..][..all], rows * h);
            let work = (gates, sides, (cell, next), Write(dcell, rows * h));
            parallel::chunks(work, cost, |_, (gates, (of_gates, dstate), (cell, next), dcell)| {
                cells::lstm_backward(h, gates, cell, next, dstate, dcell, of_gates);
            });
        }
        Cell::Gru => {
            let state = Read(&tape.states[step * all..][..all], rows * h);
            let share = Read(&tape.extra[step * all..][..all], rows * h);
            let work = (gates, sides, (state, share), Write(of_state, rows * g));
            parallel::chunks(
                work,
                cost,
                |_, (gates, (of_input, dstate), (state, share), of_state)| {
                    cells::gru_backward(h, gates, state, share, dstate, of_input, of_state);
                },
            );
        }
    }
}

/// Where the gradients by the parameters are added.
#[derive(Debug)]
pub struct Gradients<'a, F> {
    /// By the weight of the input.
    pub input: Option<&'a mut [F]>,
    /// By the weight of the state.
    pub hidden: Option<&'a mut [F]>,
    /// By the bias beside the input.
    pub input_bias: Option<&'a mut [F]>,
    /// By the bias beside the state.
    pub hidden_bias: Option<&'a mut [F]>,
}

/// Adds the gradients by the parameters: two products over all steps at once.
pub fn backward_weights<F: Scalar>(
    sizes: &Sizes,
    n: usize,
    tape: &mut [F],
    gradients: &[F],
    into: Gradients<'_, F>,
    scratch: &mut [F],
) {
    let (t, d, h, g) = (sizes.steps, sizes.inputs, sizes.hidden, sizes.rows());
    let tape = sizes.cut(n, tape);
    let (of_input, second) = gradients.split_at(t * n * g);
    let of_state = if sizes.cell == Cell::Gru { second } else { of_input };
    if let Some(dw) = into.input {
        let (of_input, x) = (Mat::transposed(of_input, g), Mat::new(tape.x, d));
        gemm::gemm(g, d, t * n, of_input, x, dw, Begin::Add, scratch);
    }
    // The state before the first step is 0.
    if let Some(dw) = into.hidden.filter(|_| t > 1) {
        let of_state = Mat::transposed(&of_state[n * g..], g);
        let states = Mat::new(&tape.states[n * h..], h);
        gemm::gemm(g, h, (t - 1) * n, of_state, states, dw, Begin::Add, scratch);
    }
    if let Some(db) = into.input_bias {
        reduce::add_column_sums(of_input, db);
    }
    if let Some(db) = into.hidden_bias {
        reduce::add_column_sums(of_state, db);
    }
}
