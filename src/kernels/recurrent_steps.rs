//! The steps of a recurrent layer, one after the other, for parts of a batch: samples know nothing of one another, so each
//! part goes through all steps without waiting for others. Letters as in [`recurrent`](super::recurrent).

use super::gemm::{Begin, Mat, Product, Right};
use super::parallel::{self, Cost, Read, Shared, Write};
use super::recurrent::{Cell, Sizes, Tape};
use super::recurrent_cells as cells;
use super::reduce;
use crate::Scalar;

/// Samples of a part.
#[derive(Debug, Clone, Copy)]
struct Part {
    first: usize,
    count: usize,
    /// Samples of the batch.
    n: usize,
}

impl Part {
    /// This part's rows, each of `len`, of step `step` of an array `[..][n][len]`.
    ///
    /// # Safety
    /// No other task has these samples, and this one has these rows once.
    #[allow(clippy::mut_from_ref)]
    unsafe fn of<'s, F>(self, array: &'s Shared<'_, F>, step: usize, len: usize) -> &'s mut [F] {
        // SAFETY: the caller's promise; the range is checked within.
        unsafe { array.at((step * self.n + self.first) * len, self.count * len) }
    }
}

/// Calls `work` for parts of at most `part` samples, each with a section of `scratch`. A part that is not the whole batch
/// stays on its thread.
fn each_part<F: Scalar>(
    n: usize,
    part: usize,
    cost: Cost,
    scratch: &mut [F],
    section: usize,
    work: impl Fn(Part, &mut [F]) + Sync,
) {
    if part >= n {
        return work(Part { first: 0, count: n, n }, &mut scratch[..section]);
    }
    parallel::each_with(n.div_ceil(part), cost, scratch, section, |i, section| {
        let first = i * part;
        let part = Part { first, count: part.min(n - first), n };
        parallel::alone(|| work(part, section));
    });
}

/// Rows of a step that are one task, where steps are divided.
fn task(sizes: &Sizes) -> usize {
    /// Hidden units of a task.
    const UNITS: usize = 1024;
    (UNITS / sizes.hidden).max(1)
}

/// The functions of one step of `n` samples.
fn cost(sizes: &Sizes, n: usize) -> Cost {
    // Vector code: several functions in the time of one.
    Cost::functions(n * sizes.rows() / 4)
}

/// All steps forward.
pub(super) struct Steps<'a, F> {
    sizes: &'a Sizes,
    n: usize,
    /// The weight of the state.
    right: Right<'a, F>,
    /// Beside the state.
    bias: Option<&'a [F]>,
    gates: Shared<'a, F>,
    states: Shared<'a, F>,
    extra: Shared<'a, F>,
}

impl<'a, F: Scalar> Steps<'a, F> {
    /// The tape has the share of the inputs in its gates, and the first states.
    pub(super) fn new(
        sizes: &'a Sizes,
        n: usize,
        right: Right<'a, F>,
        bias: Option<&'a [F]>,
        tape: Tape<'a, F>,
    ) -> Self {
        let [gates, states, extra] = [tape.gates, tape.states, tape.extra].map(Shared::new);
        Self { sizes, n, right, bias, gates, states, extra }
    }

    /// Fills the tape, `part` samples by `part` samples.
    pub(super) fn run(&self, part: usize, scratch: &mut [F]) {
        let packed = matches!(self.right, Right::Packed(_));
        let section = self.sizes.steps_section::<F>(part, packed);
        each_part(self.n, part, self.sizes.cost(self.n), scratch, section, |part, scratch| {
            let hidden =
                if self.sizes.cell == Cell::Gru { part.count * self.sizes.rows() } else { 0 };
            let (hidden, scratch) = scratch.split_at_mut(hidden);
            for step in 0..self.sizes.steps {
                self.step(part, step, hidden, scratch);
            }
        });
    }

    /// The sums and the functions of one step.
    fn step(&self, part: Part, step: usize, hidden: &mut [F], scratch: &mut [F]) {
        let (h, g, cell) = (self.sizes.hidden, self.sizes.rows(), self.sizes.cell);
        // SAFETY: tasks own different samples; all of these are different rows.
        let (gates, state, next) = unsafe {
            let state = part.of(&self.states, step, h);
            (part.of(&self.gates, step, g), &*state, part.of(&self.states, step + 1, h))
        };
        let product = |out: &mut [F], begin, scratch: &mut [F]| {
            let (sizes, a) = ([part.count, g, h], Mat::new(state, h));
            Product { sizes, a, b: self.right, begin, relu: false }.write(out, scratch);
        };
        if cell == Cell::Gru {
            product(hidden, self.bias.map_or(Begin::Zero, Begin::ColBias), scratch);
        } else if step > 0 {
            // The first state is 0.
            product(gates, Begin::Add, scratch);
        }
        let (rows, cost) = (task(self.sizes), cost(self.sizes, part.count));
        let sides = (Write(gates, rows * g), Write(next, rows * h));
        match cell {
            Cell::Tanh => {
                parallel::chunks(sides, cost, |_, (gates, next)| cells::tanh(gates, next))
            }
            Cell::Relu => {
                parallel::chunks(sides, cost, |_, (gates, next)| cells::relu(gates, next))
            }
            Cell::Lstm => {
                // SAFETY: as above.
                let (cell, next_cell) =
                    unsafe { (part.of(&self.extra, step, h), part.of(&self.extra, step + 1, h)) };
                let cell = (Read(&*cell, rows * h), Write(next_cell, rows * h));
                parallel::chunks((sides, cell), cost, |_, ((gates, next), (cell, next_cell))| {
                    cells::lstm(h, gates, cell, next_cell, next);
                });
            }
            Cell::Gru => {
                // SAFETY: as above.
                let share = Write(unsafe { part.of(&self.extra, step, h) }, rows * h);
                let read = (Read(&*hidden, rows * g), Read(state, rows * h));
                let work = (sides, read, share);
                parallel::chunks(work, cost, |_, ((gates, next), (hidden, state), share)| {
                    cells::gru(h, gates, hidden, state, share, next);
                });
            }
        }
    }
}

/// All steps backward.
pub(super) struct Back<'a, F> {
    sizes: &'a Sizes,
    n: usize,
    /// The weight of the state.
    right: Right<'a, F>,
    tape: &'a Tape<'a, F>,
    /// By all states, or the last.
    dy: &'a [F],
    of_input: Shared<'a, F>,
    /// Of a GRU.
    of_state: Shared<'a, F>,
}

impl<'a, F: Scalar> Back<'a, F> {
    /// `gradients` are those of the gates, to be written.
    pub(super) fn new(
        sizes: &'a Sizes,
        n: usize,
        right: Right<'a, F>,
        tape: &'a Tape<'a, F>,
        dy: &'a [F],
        gradients: &'a mut [F],
    ) -> Self {
        let (of_input, of_state) = gradients.split_at_mut(sizes.steps * n * sizes.rows());
        let (of_input, of_state) = (Shared::new(of_input), Shared::new(of_state));
        Self { sizes, n, right, tape, dy, of_input, of_state }
    }

    /// Goes back through all steps, `part` samples by `part` samples.
    pub(super) fn run(&self, part: usize, scratch: &mut [F]) {
        let (sizes, h) = (self.sizes, self.sizes.hidden);
        let section = sizes.back_section(part);
        each_part(self.n, part, sizes.cost(self.n), scratch, section, |part, scratch| {
            let (dstate, rest) = scratch.split_at_mut(part.count * h);
            let (dcell, scratch) = rest.split_at_mut(part.count * h);
            dstate.fill(F::zero());
            dcell.fill(F::zero());
            for step in (0..sizes.steps).rev() {
                self.add_output(part, step, dstate);
                self.step(part, step, dstate, dcell, scratch);
            }
        });
    }

    /// Adds the gradient by what the layer gives out in this step.
    fn add_output(&self, part: Part, step: usize, dstate: &mut [F]) {
        let (h, t) = (self.sizes.hidden, self.sizes.steps);
        let every_step = self.dy.len() > self.n * h;
        if every_step || step + 1 == t {
            let (from, stride) = if every_step { (step * h, t * h) } else { (0, h) };
            for (i, dstate) in dstate.chunks_exact_mut(h).enumerate() {
                reduce::add_to(&self.dy[from + (part.first + i) * stride..][..h], dstate);
            }
        }
    }

    /// One step: gradients of the sums, then by the state before.
    fn step(&self, part: Part, step: usize, dstate: &mut [F], dcell: &mut [F], scratch: &mut [F]) {
        let (h, g) = (self.sizes.hidden, self.sizes.rows());
        let is_gru = self.sizes.cell == Cell::Gru;
        // SAFETY: tasks own different samples.
        let (of_input, of_state) = unsafe {
            let of_state: &mut [F] =
                if is_gru { part.of(&self.of_state, step, g) } else { &mut [] };
            (part.of(&self.of_input, step, g), of_state)
        };
        self.gates(part, step, (dstate, dcell), (of_input, of_state));
        // Here a part of the sequence begins: nothing goes further back.
        if step.is_multiple_of(self.sizes.truncate) {
            dstate.fill(F::zero());
            dcell.fill(F::zero());
            return;
        }
        // What goes past a GRU's gates is there already.
        let (of_gates, begin) =
            if is_gru { (of_state, Begin::Add) } else { (of_input, Begin::Zero) };
        let (sizes, a) = ([part.count, h, g], Mat::new(of_gates, g));
        Product { sizes, a, b: self.right, begin, relu: false }.write(dstate, scratch);
    }

    /// The functions of one step, backward. `dstate` is the gradient by the step's state, and becomes what goes past the
    /// gates to the state before.
    fn gates(
        &self,
        part: Part,
        step: usize,
        (dstate, dcell): (&mut [F], &mut [F]),
        (of_input, of_state): (&mut [F], &mut [F]),
    ) {
        let (h, g, rows) = (self.sizes.hidden, self.sizes.rows(), task(self.sizes));
        let cost = cost(self.sizes, part.count);
        let read = |array: &'a [F], step: usize, len: usize| {
            Read(&array[(step * part.n + part.first) * len..][..part.count * len], rows * len)
        };
        let (gates, extra) = (read(self.tape.gates, step, g), &*self.tape.extra);
        let sides = (Write(of_input, rows * g), Write(dstate, rows * h));
        match self.sizes.cell {
            Cell::Tanh => {
                parallel::chunks((gates, sides), cost, |_, (gates, (of_gates, dstate))| {
                    cells::tanh_backward(gates, dstate, of_gates);
                });
            }
            Cell::Relu => {
                parallel::chunks((gates, sides), cost, |_, (gates, (of_gates, dstate))| {
                    cells::relu_backward(gates, dstate, of_gates);
                });
            }
            Cell::Lstm => {
                let cells = (read(extra, step, h), read(extra, step + 1, h));
                let work = (gates, sides, cells, Write(dcell, rows * h));
                parallel::chunks(
                    work,
                    cost,
                    |_, (gates, (of_gates, dstate), (cell, next), dcell)| {
                        cells::lstm_backward(h, gates, cell, next, dstate, dcell, of_gates);
                    },
                );
            }
            Cell::Gru => {
                let past = (read(self.tape.states, step, h), read(extra, step, h));
                let work = (gates, sides, past, Write(of_state, rows * g));
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
}

#[cfg(test)]
mod tests {
    use super::super::gemm;
    use super::*;
    use crate::Seed;
    use crate::kernels::simd;

    fn random(len: usize, seed: u64) -> Vec<f32> {
        let mut rng = Seed::new(seed).rng();
        (0..len).map(|_| rng.normal() as f32).collect()
    }

    /// Tape and gradients of all steps, from sums and states that are the same in each call.
    fn all_steps(sizes: &Sizes, n: usize, part: usize) -> [Vec<f32>; 2] {
        let (h, g) = (sizes.hidden, sizes.rows());
        let (weight, bias) = (random(g * h, 1), random(g, 2));
        let mut packed = vec![0.0; gemm::right_len::<f32>(g, h)];
        gemm::pack_right(g, h, Mat::transposed(&weight, h), &mut packed);
        let mut memory = random(n * sizes.tape(), 3);
        let scratch = &mut vec![f32::NAN; 4 * n * g * h];
        let (right, tape) = (Right::Packed(&packed[..]), sizes.cut(n, &mut memory));
        Steps::new(sizes, n, right, Some(&bias), tape).run(part, scratch);
        let mut packed = vec![0.0; gemm::right_len::<f32>(h, g)];
        gemm::pack_right(h, g, Mat::new(&weight, h), &mut packed);
        let (dy, mut gradients) =
            (random(n * sizes.steps * h, 4), vec![f32::NAN; sizes.gate_gradients(n)]);
        let (right, tape) = (Right::Packed(&packed[..]), sizes.cut(n, &mut memory));
        Back::new(sizes, n, right, &tape, &dy, &mut gradients).run(part, scratch);
        [memory, gradients]
    }

    #[test]
    fn parts_of_any_size_give_the_same_bits_at_every_level() {
        simd::at_every_level(|| {
            for cell in [Cell::Tanh, Cell::Relu, Cell::Lstm, Cell::Gru] {
                let sizes = Sizes { cell, steps: 5, inputs: 2, hidden: 19, truncate: 3 };
                let whole = all_steps(&sizes, 37, 37);
                assert!(whole.iter().flatten().all(|x| x.is_finite()));
                for part in [1, 5, 16, 36] {
                    assert!(all_steps(&sizes, 37, part) == whole, "{cell:?} by {part}");
                }
            }
        });
    }
}
