//! Recurrent layers: one product for all inputs at once, then step by step a product with the state and the gates.
//!
//! Letters: `n` samples of `t` steps with `d` inputs, `h` hidden units and `g` rows of weights: as many times `h` as the
//! cell has gates, in PyTorch's order. Inside, everything lies step by step, `[t][n][..]`, so that a step is contiguous.

use super::gemm::{self, Begin, Mat, Right};
use super::parallel::{self, Cost, Write};
use super::recurrent_steps::{Back, Steps};
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
pub(super) struct Tape<'a, F> {
    /// `[t][n][d]`
    x: &'a mut [F],
    /// `[t][n][g]`, after their functions.
    pub(super) gates: &'a mut [F],
    /// `[t + 1][n][h]`; the first is 0.
    pub(super) states: &'a mut [F],
    /// `[t + 1][n][h]`. LSTM: the cell's states, of which the first is 0. GRU: the hidden share of gate n of each step.
    pub(super) extra: &'a mut [F],
}

impl Sizes {
    pub(super) fn rows(&self) -> usize {
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

    pub(super) fn cut<'a, F>(&self, n: usize, tape: &'a mut [F]) -> Tape<'a, F> {
        let (x, rest) = tape.split_at_mut(self.steps * n * self.inputs);
        let (gates, rest) = rest.split_at_mut(self.steps * n * self.rows());
        let (states, rest) = rest.split_at_mut((self.steps + 1) * n * self.hidden);
        let extra = if self.has_extra() { &mut rest[..states.len()] } else { rest };
        Tape { x, gates, states, extra }
    }

    /// Elements of scratch memory that [`forward`] needs.
    pub fn forward_scratch<F: Scalar>(&self, n: usize) -> usize {
        let g = self.rows();
        // Beside the product of all inputs the sum of the biases; then what the steps need.
        let inputs = g + gemm::scratch_len::<F>(self.steps * n, g, self.inputs);
        let packed = self.packed::<F>(n, false);
        let part = self.part(n, packed > 0);
        // The weight of the state, packed once for all steps.
        packed + inputs.max(self.parts(n, part) * self.steps_section::<F>(part, packed > 0))
    }

    /// Samples of a task that goes through all steps by itself: nobody waits for another between two steps. All of them on
    /// one thread, and if there would be fewer tasks than threads; then each step is divided. The bits are the same: the
    /// weight is `packed`, and a product's element depends on nothing but the inner dimension.
    pub(super) fn part(&self, n: usize, packed: bool) -> usize {
        /// Enough to pay for reading the weight in each step.
        const SAMPLES: usize = 16;
        let threads = parallel::threads();
        let divides = packed && threads > 1 && n.div_ceil(SAMPLES) >= threads;
        if divides { SAMPLES.min(n) } else { n }
    }

    /// How many parts of `part` samples are worked on at once.
    fn parts(&self, n: usize, part: usize) -> usize {
        parallel::sections_for(n.div_ceil(part.max(1)))
    }

    /// Elements of scratch memory for the steps of a part: a GRU's gates from the state, and the product's.
    pub(super) fn steps_section<F: Scalar>(&self, part: usize, packed: bool) -> usize {
        let (g, h) = (self.rows(), self.hidden);
        let gates = if self.cell == Cell::Gru { part * g } else { 0 };
        let product =
            if packed { gemm::left_len(part, h) } else { gemm::scratch_len::<F>(part, g, h) };
        gates + product
    }

    /// The same, backward: the gradients by a state and by an LSTM's cell, and the product's.
    pub(super) fn back_section(&self, part: usize) -> usize {
        2 * part * self.hidden + gemm::left_len(part, self.rows())
    }

    /// Elements that [`backward_states`] leaves for [`backward_weights`]: gradients of the gates, a GRU's twice, because
    /// those beside the state differ.
    pub fn gate_gradients(&self, n: usize) -> usize {
        self.steps * n * self.rows() * if self.cell == Cell::Gru { 2 } else { 1 }
    }

    /// Elements of scratch memory that [`backward_states`] needs.
    pub fn states_scratch<F: Scalar>(&self, n: usize) -> usize {
        let (t, g, d) = (self.steps, self.rows(), self.inputs);
        let part = self.part(n, true);
        let inputs = t * n * d + gemm::scratch_len::<F>(t * n, d, g);
        self.packed::<F>(n, true) + inputs.max(self.parts(n, part) * self.back_section(part))
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

    /// All steps of `n` samples.
    pub(super) fn cost(&self, n: usize) -> Cost {
        let (t, g) = (self.steps, self.rows());
        // Vector code: several functions in the time of one.
        Cost::functions(t * n * g / 4) + Cost::mul_adds((t * n * g).saturating_mul(self.hidden))
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
    {
        let (sum, scratch) = scratch.split_at_mut(g);
        let bias = weights.bias.map(|(input, beside_state)| {
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
    let part = sizes.part(n, matches!(right, Right::Packed(_)));
    Steps::new(sizes, n, right, weights.bias.map(|(_, bias)| bias), tape).run(part, scratch);
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
    let (packed, scratch) = scratch.split_at_mut(sizes.packed::<F>(n, true));
    let right = packed_right(h, g, Mat::new(weights.hidden, h), packed);
    Back::new(sizes, n, right, &tape, dy, gradients).run(sizes.part(n, true), scratch);
    if let Some(dx) = dx {
        let (dx_by_step, scratch) = scratch.split_at_mut(t * n * d);
        let (of_input, w) = (Mat::new(&gradients[..t * n * g], g), Mat::new(weights.input, d));
        gemm::gemm(t * n, d, g, of_input, w, dx_by_step, Begin::Zero, scratch);
        swap_axes(t, n, d, dx_by_step, dx);
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
