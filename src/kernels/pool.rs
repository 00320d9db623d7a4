//! Pooling over windows of each plane.
//!
//! Letters: a plane is `h × w`, its output `oh × ow`. Window `(i, j)` covers rows
//! `i·stride − padding + kh·dilation`. A task is a few planes.

use super::parallel::{self, Cost, Read, Write};
use super::simd::multiversion;
use crate::Scalar;

/// Sizes of a pooling operation; pairs are `[height, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Input plane.
    pub input: [usize; 2],
    /// Output plane.
    pub output: [usize; 2],
    /// Window.
    pub kernel: [usize; 2],
    /// Distance of windows.
    pub stride: [usize; 2],
    /// Rows and columns added on each side.
    pub padding: [usize; 2],
    /// Distance of a window's elements.
    pub dilation: [usize; 2],
}

impl Geometry {
    /// Elements of an input plane.
    pub fn plane(&self) -> usize {
        self.input[0] * self.input[1]
    }

    /// Elements of an output plane.
    pub fn out_plane(&self) -> usize {
        self.output[0] * self.output[1]
    }

    fn cost(&self, planes: usize) -> Cost {
        Cost::elements(planes * (self.plane() + self.out_plane() * self.kernel[0] * self.kernel[1]))
    }

    /// Positions along `axis` that window `i` covers inside the input.
    #[inline]
    fn window(&self, axis: usize, i: usize) -> impl Iterator<Item = usize> + Clone {
        let (padding, dilation) = (self.padding[axis], self.dilation[axis]);
        let start = i * self.stride[axis];
        // First element that is not in the padding before, first that is in the padding after.
        let first = padding.saturating_sub(start).div_ceil(dilation);
        let reach = (self.input[axis] + padding).saturating_sub(start).div_ceil(dilation);
        (first..reach.min(self.kernel[axis])).map(move |k| start + k * dilation - padding)
    }

    /// How many positions along `axis` window `i` covers, padding included, but not what `ceil_mode`
    /// adds beyond it.
    #[inline]
    fn padded_len(&self, axis: usize, i: usize) -> usize {
        let start = i * self.stride[axis];
        (start + self.kernel[axis])
            .min(self.input[axis] + 2 * self.padding[axis])
            .saturating_sub(start)
    }

    fn halves_without_padding(&self) -> bool {
        self.kernel == [2, 2]
            && self.stride == [2, 2]
            && self.padding == [0, 0]
            && self.dilation == [1, 1]
            && (0..2).all(|axis| 2 * self.output[axis] <= self.input[axis])
    }
}

/// Output elements of a task.
const PIECE: usize = 8 * 1024;

fn planes_per_task(geometry: &Geometry) -> usize {
    (PIECE / geometry.plane().max(1)).max(1)
}

/// The largest element of each window and, if `winners` is given, its position in the plane; the first
/// one wins, NaN wins over all.
pub fn max_forward<F: Scalar>(
    geometry: &Geometry,
    x: &[F],
    y: &mut [F],
    winners: Option<&mut [u32]>,
) {
    let (plane, out) = (geometry.plane(), geometry.out_plane());
    let planes = planes_per_task(geometry);
    let cost = geometry.cost(x.len() / plane.max(1));
    match winners {
        Some(winners) => {
            let pieces = (
                Read(x, planes * plane),
                Write(y, planes * out),
                Write(&mut winners[..y_len(x, plane, out)], planes * out),
            );
            parallel::chunks(pieces, cost, |_, (x, y, winners)| {
                for ((x, y), winners) in x
                    .chunks_exact(plane)
                    .zip(y.chunks_exact_mut(out))
                    .zip(winners.chunks_exact_mut(out))
                {
                    max_plane(geometry, x, y, Some(winners));
                }
            });
        }
        None => parallel::chunks(
            (Read(x, planes * plane), Write(y, planes * out)),
            cost,
            |_, (x, y)| {
                for (x, y) in x.chunks_exact(plane).zip(y.chunks_exact_mut(out)) {
                    max_plane(geometry, x, y, None);
                }
            },
        ),
    }
}

fn y_len<F>(x: &[F], plane: usize, out: usize) -> usize {
    x.len() / plane.max(1) * out
}

fn max_plane<F: Scalar>(geometry: &Geometry, x: &[F], y: &mut [F], winners: Option<&mut [u32]>) {
    if geometry.halves_without_padding() {
        return max_halves(geometry.input[1], geometry.output[1], x, y, winners);
    }
    let (w, ow) = (geometry.input[1], geometry.output[1]);
    let mut winners = winners;
    for (i, row) in y.chunks_exact_mut(ow).enumerate() {
        for (j, y) in row.iter_mut().enumerate() {
            let (mut best, mut winner) = (F::neg_infinity(), None);
            for r in geometry.window(0, i) {
                for c in geometry.window(1, j) {
                    let value = x[r * w + c];
                    if winner.is_none() || value > best || (value.is_nan() && !best.is_nan()) {
                        (best, winner) = (value, Some(r * w + c));
                    }
                }
            }
            *y = best;
            if let Some(winners) = winners.as_deref_mut() {
                // Planes of 2³² elements are refused when the layer is built.
                winners[i * ow + j] = winner.unwrap_or(0) as u32;
            }
        }
    }
}

multiversion! {
    /// 2×2 windows that do not overlap.
    fn max_halves<F: Scalar>(w: usize, ow: usize, x: &[F], y: &mut [F], winners: Option<&mut [u32]>) {
        let mut winners = winners;
        for (i, (rows, y)) in x.chunks_exact(2 * w).zip(y.chunks_exact_mut(ow)).enumerate() {
            let rows = (&rows[..2 * ow], &rows[w..][..2 * ow]);
            let mut nobody = [0; 0];
            let winners = match winners.as_deref_mut() {
                Some(winners) => &mut winners[i * ow..][..ow],
                None => &mut nobody,
            };
            // Windows side by side, for the compiler to put into registers. A last group that is not full
            // begins earlier and repeats what is done. Loops, not `for_each`: a closure that is not inlined
            // would be compiled without the level's instructions.
            let corner = Corner { row: i * 2 * w, w, j: 0 };
            let lanes = [16, 8, 4].into_iter().find(|&lanes| ow >= lanes).unwrap_or(1);
            for j in (0..ow).step_by(lanes) {
                let corner = Corner { j: j.min(ow - lanes), ..corner };
                match lanes {
                    16 => halves::<F, 16, 32>(corner, rows, y, winners),
                    8 => halves::<F, 8, 16>(corner, rows, y, winners),
                    4 => halves::<F, 4, 8>(corner, rows, y, winners),
                    _ => halves::<F, 1, 2>(corner, rows, y, winners),
                }
            }
        }
    }
}

/// Where a group of windows begins.
#[derive(Debug, Clone, Copy)]
struct Corner {
    /// Position of the upper row's first element.
    row: usize,
    /// Elements of a row.
    w: usize,
    /// The first window.
    j: usize,
}

/// `N` windows. An earlier equal stays, NaN wins and stays; without branches, for the compiler to put into registers.
#[inline(always)]
fn halves<F: Scalar, const N: usize, const TWICE: usize>(
    Corner { row, w, j }: Corner,
    (top, bottom): (&[F], &[F]),
    y: &mut [F],
    winners: &mut [u32],
) {
    let (top, bottom) = (&top[2 * j..][..TWICE], &bottom[2 * j..][..TWICE]);
    // In the order of the plane, the upper row first: so a comparison alone says which of two equals is earlier.
    let (mut best, mut place) = ([F::zero(); N], [0; N]);
    let (first, w) = ((row + 2 * j) as u32, w as u32);
    for l in 0..N {
        let (a, right) = later_wins(top[2 * l], top[2 * l + 1]);
        let (b, lower_right) = later_wins(bottom[2 * l], bottom[2 * l + 1]);
        let (value, lower) = later_wins(a, b);
        best[l] = value;
        let column = u32::from(if lower { lower_right } else { right });
        place[l] = first + 2 * l as u32 + column + if lower { w } else { 0 };
    }
    y[j..][..N].copy_from_slice(&best);
    if !winners.is_empty() {
        winners[j..][..N].copy_from_slice(&place);
    }
}

/// The larger of two, and whether it is the second: not if they are equal, nor if the first is NaN.
#[inline(always)]
#[allow(clippy::neg_cmp_op_on_partial_ord, clippy::eq_op)]
fn later_wins<F: Scalar>(a: F, b: F) -> (F, bool) {
    let better = !(b <= a) & (a == a);
    (if better { b } else { a }, better)
}

/// Gradient of [`max_forward`]: each output's gradient goes to its winner, added where windows overlap.
pub fn max_backward<F: Scalar>(geometry: &Geometry, winners: &[u32], dy: &[F], dx: &mut [F]) {
    let (plane, out) = (geometry.plane(), geometry.out_plane());
    let planes = planes_per_task(geometry);
    let cost = geometry.cost(dx.len() / plane.max(1));
    let pieces = (
        Write(dx, planes * plane),
        Read(dy, planes * out),
        Read(&winners[..dy.len()], planes * out),
    );
    let halves = geometry.halves_without_padding();
    parallel::chunks(pieces, cost, |_, (dx, dy, winners)| {
        let planes =
            dx.chunks_exact_mut(plane).zip(dy.chunks_exact(out)).zip(winners.chunks_exact(out));
        for ((dx, dy), winners) in planes {
            if halves {
                halves_backward(geometry.input[1], geometry.output[1], winners, dy, dx);
                continue;
            }
            dx.fill(F::zero());
            for (&dy, &winner) in dy.iter().zip(winners) {
                dx[winner as usize] += dy;
            }
        }
    });
}

multiversion! {
    /// 2×2 windows that do not overlap: every element is written once.
    fn halves_backward<F: Scalar>(w: usize, ow: usize, winners: &[u32], dy: &[F], dx: &mut [F]) {
        // Windows side by side, for the compiler to put into registers.
        let lanes = if ow >= 8 { 8 } else if ow >= 4 { 4 } else { 1 };
        for (r, dx) in dx.chunks_exact_mut(w).enumerate() {
            // A last row or column that no window covers.
            let i = r / 2;
            let (Some(winners), Some(dy)) = (winners.get(i * ow..(i + 1) * ow), dy.get(i * ow..(i + 1) * ow)) else {
                dx.fill(F::zero());
                continue;
            };
            dx[2 * ow..].fill(F::zero());
            for j in (0..ow).step_by(lanes) {
                let j = j.min(ow - lanes);
                match lanes {
                    8 => share::<F, 8, 16>(j, r * w, winners, dy, dx),
                    4 => share::<F, 4, 8>(j, r * w, winners, dy, dx),
                    _ => share::<F, 1, 2>(j, r * w, winners, dy, dx),
                }
            }
        }
    }
}

/// The part of one row of the input in `N` windows from the `j`th on; `row` is the position of its first element.
#[inline(always)]
fn share<F: Scalar, const N: usize, const TWICE: usize>(
    j: usize,
    row: usize,
    winners: &[u32],
    dy: &[F],
    dx: &mut [F],
) {
    let (winners, dy) = (&winners[j..][..N], &dy[j..][..N]);
    let first = (row + 2 * j) as u32;
    // Each twice before the comparison: so the compiler sees whole registers.
    let winners: [u32; TWICE] = std::array::from_fn(|m| winners[m / 2]);
    let dy: [F; TWICE] = std::array::from_fn(|m| dy[m / 2]);
    for (m, dx) in dx[2 * j..][..TWICE].iter_mut().enumerate() {
        *dx = if winners[m] == first + m as u32 { dy[m] } else { F::zero() };
    }
}

/// The mean of each window. `count_padding` divides by the window clipped to the padded input, else by
/// the elements that are there.
pub fn avg_forward<F: Scalar>(geometry: &Geometry, count_padding: bool, x: &[F], y: &mut [F]) {
    let (plane, out) = (geometry.plane(), geometry.out_plane());
    let planes = planes_per_task(geometry);
    let cost = geometry.cost(x.len() / plane.max(1));
    let (w, ow) = (geometry.input[1], geometry.output[1]);
    parallel::chunks((Read(x, planes * plane), Write(y, planes * out)), cost, |_, (x, y)| {
        for (x, y) in x.chunks_exact(plane).zip(y.chunks_exact_mut(out)) {
            for (at, y) in y.iter_mut().enumerate() {
                let (i, j) = (at / ow, at % ow);
                let sum = geometry
                    .window(0, i)
                    .flat_map(|r| geometry.window(1, j).map(move |c| (r, c)))
                    .fold(F::zero(), |sum, (r, c)| sum + x[r * w + c]);
                *y = sum / divisor(geometry, count_padding, i, j);
            }
        }
    });
}

/// Gradient of [`avg_forward`].
pub fn avg_backward<F: Scalar>(geometry: &Geometry, count_padding: bool, dy: &[F], dx: &mut [F]) {
    let (plane, out) = (geometry.plane(), geometry.out_plane());
    let planes = planes_per_task(geometry);
    let cost = geometry.cost(dx.len() / plane.max(1));
    let (w, ow) = (geometry.input[1], geometry.output[1]);
    parallel::chunks((Write(dx, planes * plane), Read(dy, planes * out)), cost, |_, (dx, dy)| {
        dx.fill(F::zero());
        for (dx, dy) in dx.chunks_exact_mut(plane).zip(dy.chunks_exact(out)) {
            for (at, &dy) in dy.iter().enumerate() {
                let (i, j) = (at / ow, at % ow);
                let share = dy / divisor(geometry, count_padding, i, j);
                for r in geometry.window(0, i) {
                    for c in geometry.window(1, j) {
                        dx[r * w + c] += share;
                    }
                }
            }
        }
    });
}

fn divisor<F: Scalar>(geometry: &Geometry, count_padding: bool, i: usize, j: usize) -> F {
    let count = if count_padding {
        geometry.padded_len(0, i) * geometry.padded_len(1, j)
    } else {
        geometry.window(0, i).count() * geometry.window(1, j).count()
    };
    F::lit(count as f64)
}

/// The mean of each plane.
pub fn global_avg_forward<F: Scalar>(plane: usize, x: &[F], y: &mut [F]) {
    /// Planes of a task.
    const PLANES: usize = 32;
    let cost = Cost::elements(x.len());
    parallel::chunks((Read(x, PLANES * plane), Write(y, PLANES)), cost, |_, (x, y)| {
        super::reduce::sums(plane, x, y);
        let factor = F::one() / F::lit(plane as f64);
        y.iter_mut().for_each(|y| *y *= factor);
    });
}

/// Gradient of [`global_avg_forward`].
pub fn global_avg_backward<F: Scalar>(plane: usize, dy: &[F], dx: &mut [F]) {
    for (dx, &dy) in dx.chunks_exact_mut(plane).zip(dy) {
        dx.fill(dy / F::lit(plane as f64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;

    #[test]
    fn the_fast_path_equals_the_general_one() {
        for (h, w) in [(2, 2), (6, 8), (7, 9), (28, 28), (9, 35), (64, 71)] {
            let geometry = Geometry {
                input: [h, w],
                output: [h / 2, w / 2],
                kernel: [2, 2],
                stride: [2, 2],
                padding: [0, 0],
                dilation: [1, 1],
            };
            let mut rng = Seed::new(0).rng();
            // Few values: many ties. And NaN in places.
            let x: Vec<f32> =
                (0..h * w).map(|_| [0.0, -0.0, 1.0, 2.0, f32::NAN][rng.below(5)]).collect();
            let (mut y, mut winners) = (vec![0.0; h / 2 * (w / 2)], vec![0; h / 2 * (w / 2)]);
            max_forward(&geometry, &x, &mut y, Some(&mut winners));
            let mut without = vec![0.0; y.len()];
            max_forward(&geometry, &x, &mut without, None);
            for at in 0..y.len() {
                let (i, j) = (at / (w / 2), at % (w / 2));
                let window = geometry
                    .window(0, i)
                    .flat_map(|r| geometry.window(1, j).map(move |c| r * w + c));
                let mut best: Option<usize> = None;
                for place in window {
                    let better = best
                        .is_none_or(|b| x[place] > x[b] || (x[place].is_nan() && !x[b].is_nan()));
                    best = if better { Some(place) } else { best };
                }
                assert_eq!(winners[at] as usize, best.unwrap());
                assert_eq!(y[at].to_bits(), x[best.unwrap()].to_bits());
                assert_eq!(y[at].to_bits(), without[at].to_bits());
            }
            let dy: Vec<f32> = (0..y.len()).map(|_| rng.normal() as f32).collect();
            let (mut dx, mut expected) = (vec![f32::NAN; h * w], vec![0.0; h * w]);
            max_backward(&geometry, &winners, &dy, &mut dx);
            dy.iter().zip(&winners).for_each(|(&dy, &winner)| expected[winner as usize] += dy);
            assert_eq!(dx, expected);
        }
    }

    #[test]
    fn windows_stop_at_the_borders() {
        let geometry = Geometry {
            input: [5, 5],
            output: [3, 3],
            kernel: [3, 3],
            stride: [2, 2],
            padding: [1, 1],
            dilation: [1, 1],
        };
        let rows = |i| geometry.window(0, i).collect::<Vec<_>>();
        assert_eq!([rows(0), rows(1), rows(2)], [vec![0, 1], vec![1, 2, 3], vec![3, 4]]);
        assert_eq!(geometry.padded_len(0, 2), 3);
    }
}
