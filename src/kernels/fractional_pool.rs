//! Max pooling over regions of one or two rows and columns, drawn at random (Graham 2014).
//!
//! A sequence `a₀ = 0 < a₁ < … < a_out = in` cuts an axis of `in` positions into `out` regions `aᵢ .. aᵢ₊₁`, so that all
//! positions are covered; overlapping regions have one more, `aᵢ ..= aᵢ₊₁`, where there is one.

use super::parallel::{self, Cost, Read, Write};
use crate::{Rng, Scalar};

/// Sizes of planes, `[height, width]`, and whether neighbouring regions share a row or column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Input plane.
    pub input: [usize; 2],
    /// Output plane.
    pub output: [usize; 2],
    /// Whether regions overlap.
    pub overlapping: bool,
}

impl Geometry {
    fn plane(&self) -> usize {
        self.input[0] * self.input[1]
    }

    fn out_plane(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// About eight elements of traffic for each output.
    fn cost(&self, planes: usize) -> Cost {
        Cost::elements(planes * (self.plane() + 8 * self.out_plane()))
    }
}

/// The regions of one pass: a sequence for rows and one for columns.
#[derive(Debug, Clone, Default)]
pub struct Regions {
    /// Of each axis, `output + 1` positions.
    pub sequences: [Vec<u32>; 2],
}

/// Writes the sequence whose steps are as many ones and twos as needed, in a random order. `input` is from `output` to
/// `2 · output`.
pub fn random(rng: &mut Rng, input: usize, output: usize, sequence: &mut Vec<u32>) {
    let twos = input - output;
    sequence.clear();
    sequence.push(0);
    sequence.extend((0..output).map(|step| if step < twos { 2 } else { 1 }));
    rng.shuffle(&mut sequence[1..]);
    let mut at = 0;
    for step in sequence.iter_mut() {
        at += *step;
        *step = at;
    }
}

/// The limit of the `u` for which a pseudo-random sequence has steps of 1 and 2 only: so that the first is at most 2.
pub fn limit(input: usize, output: usize) -> f64 {
    (3.0 * output as f64 / input as f64 - 1.0).min(1.0)
}

/// Writes the sequence `aᵢ = ⌈α (i + u)⌉ − 1` with `α = input / output`, for `u` from 0 to [`limit`].
pub fn pseudo_random(u: f64, input: usize, output: usize, sequence: &mut Vec<u32>) {
    let ratio = input as f64 / output as f64;
    sequence.clear();
    sequence.push(0);
    let mut at = 0;
    for i in 1..=output {
        let wanted = (ratio * (i as f64 + u)).ceil() as usize - 1;
        // Where rounding or a ratio of 1 or 2 leaves no choice: steps of 1 or 2, here and in the rest.
        let rest = output - i;
        let (low, high) =
            ((at + 1).max(input.saturating_sub(2 * rest)), (at + 2).min(input - rest));
        at = wanted.clamp(low, high);
        // Planes of 2³² elements are refused when the layer is built.
        sequence.push(at as u32);
    }
}

/// Output elements of a task.
const PIECE: usize = 4 * 1024;

fn planes_per_task(geometry: &Geometry) -> usize {
    (PIECE / geometry.plane().max(1)).max(1)
}

/// The largest element of each region and, if `winners` is given, its position in the plane; the first one wins, NaN wins
/// over all.
pub fn forward<F: Scalar>(
    geometry: &Geometry,
    regions: &Regions,
    x: &[F],
    y: &mut [F],
    winners: Option<&mut [u32]>,
) {
    let (plane, out) = (geometry.plane(), geometry.out_plane());
    let planes = planes_per_task(geometry);
    let cost = geometry.cost(x.len() / plane.max(1));
    let each = |x: &[F], y: &mut [F], winners: Option<&mut [u32]>| {
        if geometry.overlapping {
            plane_forward::<F, 3>(geometry, regions, x, y, winners);
        } else {
            plane_forward::<F, 2>(geometry, regions, x, y, winners);
        }
    };
    let (read, write) = (Read(x, planes * plane), planes * out);
    match winners {
        Some(winners) => {
            let winners = &mut winners[..y.len()];
            let pieces = (read, Write(y, write), Write(winners, write));
            parallel::chunks(pieces, cost, |_, (x, y, winners)| {
                let places = y.chunks_exact_mut(out).zip(winners.chunks_exact_mut(out));
                for (x, (y, winners)) in x.chunks_exact(plane).zip(places) {
                    each(x, y, Some(winners));
                }
            });
        }
        None => parallel::chunks((read, Write(y, write)), cost, |_, (x, y)| {
            for (x, y) in x.chunks_exact(plane).zip(y.chunks_exact_mut(out)) {
                each(x, y, None);
            }
        }),
    }
}

/// Regions of at most `K` rows and columns. Smaller ones look at their last row or column again, which changes nothing and
/// needs no branch.
fn plane_forward<F: Scalar, const K: usize>(
    geometry: &Geometry,
    regions: &Regions,
    x: &[F],
    y: &mut [F],
    mut winners: Option<&mut [u32]>,
) {
    let ([h, w], [_, ow]) = (geometry.input, geometry.output);
    let [rows, columns] = &regions.sequences;
    let shared = usize::from(geometry.overlapping);
    // Positions that region `i` looks at.
    let places = |sequence: &[u32], i: usize, len: usize| -> [usize; K] {
        let (first, end) = (sequence[i] as usize, sequence[i + 1] as usize + shared);
        let last = end.min(len) - 1;
        std::array::from_fn(|k| (first + k).min(last))
    };
    for (i, y) in y.chunks_exact_mut(ow).enumerate() {
        let row_places = places(rows, i, h);
        let lines: [&[F]; K] = row_places.map(|row| &x[row * w..][..w]);
        for (j, y) in y.iter_mut().enumerate() {
            let column_places = places(columns, j, w);
            let (mut best, mut winner) = (lines[0][column_places[0]], (0, 0));
            for (r, line) in lines.iter().enumerate() {
                for (c, &column) in column_places.iter().enumerate() {
                    let value = line[column];
                    let better = better(value, best);
                    best = if better { value } else { best };
                    winner = if better { (r, c) } else { winner };
                }
            }
            *y = best;
            if let Some(winners) = winners.as_deref_mut() {
                let place = row_places[winner.0] * w + column_places[winner.1];
                winners[i * ow + j] = place as u32;
            }
        }
    }
}

/// Whether `new` takes the place of `best`.
#[inline(always)]
#[allow(clippy::neg_cmp_op_on_partial_ord, clippy::eq_op)]
fn better<F: Scalar>(new: F, best: F) -> bool {
    !(new <= best) & (best == best)
}

/// Gradient of [`forward`]: each output's gradient goes to its winner, added where regions overlap.
pub fn backward<F: Scalar>(geometry: &Geometry, winners: &[u32], dy: &[F], dx: &mut [F]) {
    let (plane, out) = (geometry.plane(), geometry.out_plane());
    let planes = planes_per_task(geometry);
    let cost = geometry.cost(dx.len() / plane.max(1));
    let winners = Read(&winners[..dy.len()], planes * out);
    let pieces = (Write(dx, planes * plane), Read(dy, planes * out), winners);
    parallel::chunks(pieces, cost, |_, (dx, dy, winners)| {
        dx.fill(F::zero());
        let planes =
            dx.chunks_exact_mut(plane).zip(dy.chunks_exact(out)).zip(winners.chunks_exact(out));
        for ((dx, dy), winners) in planes {
            for (&dy, &winner) in dy.iter().zip(winners) {
                dx[winner as usize] += dy;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;

    fn check_sequence(sequence: &[u32], input: usize, output: usize) {
        assert_eq!((sequence.len(), sequence[0]), (output + 1, 0));
        assert_eq!(sequence[output] as usize, input);
        assert!(
            sequence.windows(2).all(|pair| (1..=2).contains(&(pair[1] - pair[0]))),
            "{sequence:?}"
        );
    }

    #[test]
    fn every_sequence_covers_the_axis_in_steps_of_1_and_2() {
        let mut rng = Seed::new(0).rng();
        let mut sequence = Vec::new();
        for input in 1..60usize {
            for output in input.div_ceil(2)..=input {
                random(&mut rng, input, output, &mut sequence);
                check_sequence(&sequence, input, output);
                for place in [0.0, 1e-9, 0.3, 0.5, 0.999, 1.0 - 1e-16] {
                    let u = place * limit(input, output);
                    pseudo_random(u, input, output, &mut sequence);
                    check_sequence(&sequence, input, output);
                    // What eval mode takes.
                    assert!(limit(input, output) >= 0.5);
                    pseudo_random(0.5, input, output, &mut sequence);
                    check_sequence(&sequence, input, output);
                }
            }
        }
    }

    #[test]
    fn a_pseudo_random_sequence_is_the_formula_s() {
        let mut sequence = Vec::new();
        // α = 1.4, u = 0.5: ⌈2.1⌉ − 1, ⌈3.5⌉ − 1, ⌈4.9⌉ − 1, ⌈6.3⌉ − 1, and the end.
        pseudo_random(0.5, 7, 5, &mut sequence);
        assert_eq!(sequence, [0, 2, 3, 4, 6, 7]);
        // α = 5/3, u = 0.1: ⌈1.83⌉ − 1, ⌈3.5⌉ − 1.
        pseudo_random(0.1, 5, 3, &mut sequence);
        assert_eq!(sequence, [0, 1, 3, 5]);
        assert!((limit(5, 3) - 0.8).abs() < 1e-12 && limit(7, 5) == 1.0);
    }

    #[test]
    fn both_passes_equal_the_definition() {
        let mut rng = Seed::new(1).rng();
        for (input, output) in
            [([5, 7], [3, 5]), ([2, 2], [1, 1]), ([9, 4], [9, 2]), ([40, 70], [28, 50])]
        {
            for overlapping in [false, true] {
                let geometry = Geometry { input, output, overlapping };
                let mut regions = Regions::default();
                for axis in 0..2 {
                    random(&mut rng, input[axis], output[axis], &mut regions.sequences[axis]);
                }
                let (plane, out) = (geometry.plane(), geometry.out_plane());
                // Few values: many ties. And NaN in places.
                let values = [0.0f32, 1.0, 2.0, f32::NAN];
                let x: Vec<f32> = (0..3 * plane).map(|_| values[rng.below(4)]).collect();
                let (mut y, mut winners) = (vec![-1.0; 3 * out], vec![0; 3 * out + 1]);
                forward(&geometry, &regions, &x, &mut y, Some(&mut winners));
                let mut without = vec![-1.0; 3 * out];
                forward(&geometry, &regions, &x, &mut without, None);
                let mut dx = vec![f32::NAN; 3 * plane];
                let dy: Vec<f32> = (0..3 * out).map(|i| i as f32 + 1.0).collect();
                backward(&geometry, &winners, &dy, &mut dx);
                let mut expected = vec![0.0; 3 * plane];
                for at in 0..3 * out {
                    let (n, i, j) = (at / out, at % out / output[1], at % output[1]);
                    let range = |axis: usize, i: usize| {
                        let sequence = &regions.sequences[axis];
                        let end = sequence[i + 1] as usize + usize::from(overlapping);
                        sequence[i] as usize..end.min(input[axis])
                    };
                    let mut best: Option<usize> = None;
                    for place in
                        range(0, i).flat_map(|r| range(1, j).map(move |c| r * input[1] + c))
                    {
                        let value = |place: usize| x[n * plane + place];
                        let better = best.is_none_or(|best| {
                            value(place) > value(best)
                                || (value(place).is_nan() && !value(best).is_nan())
                        });
                        best = if better { Some(place) } else { best };
                    }
                    let best = best.unwrap();
                    assert_eq!(winners[at] as usize, best);
                    assert_eq!(y[at].to_bits(), x[n * plane + best].to_bits());
                    assert_eq!(without[at].to_bits(), y[at].to_bits());
                    expected[n * plane + best] += dy[at];
                }
                assert_eq!(dx, expected);
            }
        }
    }
}
