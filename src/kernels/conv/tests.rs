//! The fast kernels against the seven loops of the definition.

use super::{Finish, Geometry, Plan, Source, backward_input, backward_weight, forward};
use crate::kernels::norm::{self, Line};
use crate::kernels::simd;
use crate::{Scalar, Seed};

/// Sizes with every kind of border: strides, padding, dilation, groups, several images in a block, several
/// blocks in an image, more filters than a task takes.
fn geometries() -> Vec<(usize, Geometry)> {
    let geometry = |channels,
                    filters,
                    groups,
                    input: [usize; 2],
                    kernel: [usize; 2],
                    stride,
                    padding,
                    dilation| {
        let (stride, padding, dilation): ([usize; 2], [usize; 2], [usize; 2]) =
            (stride, padding, dilation);
        let out = |axis: usize| {
            (input[axis] + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1)
                / stride[axis]
                + 1
        };
        Geometry {
            channels,
            filters,
            groups,
            input,
            output: [out(0), out(1)],
            kernel,
            stride,
            padding,
            dilation,
        }
    };
    vec![
        (1, geometry(1, 1, 1, [1, 1], [1, 1], [1, 1], [0, 0], [1, 1])),
        (5, geometry(3, 7, 1, [6, 5], [3, 3], [1, 1], [1, 1], [1, 1])),
        (2, geometry(2, 17, 1, [30, 27], [3, 5], [1, 1], [0, 2], [1, 1])),
        (9, geometry(33, 70, 1, [4, 4], [3, 3], [1, 1], [1, 1], [1, 1])),
        (1, geometry(4, 130, 1, [7, 9], [3, 3], [1, 1], [1, 1], [1, 1])),
        (3, geometry(6, 8, 2, [9, 8], [3, 2], [2, 3], [1, 0], [1, 2])),
        (2, geometry(5, 5, 5, [7, 7], [3, 3], [1, 1], [2, 2], [2, 2])),
        (2, geometry(3, 4, 1, [5, 5], [2, 2], [1, 1], [2, 2], [1, 1])),
        // Depthwise: rows of every length, strides, borders wider than the kernel, several filters to a channel.
        (2, geometry(6, 6, 6, [9, 37], [3, 3], [1, 1], [1, 1], [1, 1])),
        (1, geometry(2, 4, 2, [8, 21], [3, 5], [2, 2], [1, 2], [1, 1])),
        // Depthwise, straight from the plane: whole registers, less than one, several, odd sizes, every padding.
        (2, geometry(3, 3, 3, [16, 16], [3, 3], [1, 1], [1, 1], [1, 1])),
        (9, geometry(2, 2, 2, [23, 21], [3, 3], [1, 1], [0, 2], [1, 1])),
        (2, geometry(2, 2, 2, [1, 3], [3, 3], [1, 1], [2, 0], [1, 1])),
        (1, geometry(17, 17, 17, [4, 70], [3, 3], [1, 1], [1, 1], [1, 1])),
        (2, geometry(3, 3, 3, [16, 16], [3, 3], [2, 2], [1, 1], [1, 1])),
        (9, geometry(2, 2, 2, [15, 70], [3, 3], [2, 2], [1, 0], [1, 1])),
        (1, geometry(2, 2, 2, [38, 67], [3, 3], [2, 2], [0, 1], [1, 1])),
        (2, geometry(2, 2, 2, [2, 3], [3, 3], [2, 2], [1, 0], [1, 1])),
        (3, geometry(3, 12, 3, [5, 10], [2, 3], [1, 3], [2, 5], [3, 2])),
        (1, geometry(2, 2, 2, [4, 4], [1, 1], [3, 4], [0, 0], [1, 1])),
        (1, geometry(4, 20, 4, [5, 5], [3, 3], [1, 1], [1, 1], [1, 1])),
        // Strides with and without all columns used; a kernel of one pixel, whose plane has no shape.
        (2, geometry(3, 20, 1, [19, 21], [3, 3], [2, 2], [1, 1], [1, 1])),
        (2, geometry(4, 9, 1, [11, 12], [1, 1], [2, 3], [0, 1], [1, 1])),
        (3, geometry(2, 5, 1, [9, 40], [2, 4], [1, 3], [0, 5], [1, 2])),
        (3, geometry(5, 40, 1, [6, 6], [1, 1], [1, 1], [0, 0], [1, 1])),
        // One output of an image; vectors of pixels that are whole, and that are not.
        (4, geometry(6, 37, 1, [4, 4], [4, 4], [1, 1], [0, 0], [1, 1])),
        (2, geometry(1, 6, 1, [28, 28], [5, 5], [1, 1], [2, 2], [1, 1])),
        (1, geometry(2, 33, 1, [9, 64], [3, 3], [1, 1], [1, 1], [1, 1])),
        // Winograd's: whole tiles, odd sizes with every padding, several images and strips in a block, more
        // channels than a panel of the first cache.
        (1, geometry(32, 32, 1, [16, 16], [3, 3], [1, 1], [1, 1], [1, 1])),
        (2, geometry(17, 35, 1, [9, 11], [3, 3], [1, 1], [0, 2], [1, 1])),
        (1, geometry(24, 18, 1, [30, 27], [3, 3], [1, 1], [2, 1], [1, 1])),
        (16, geometry(260, 18, 1, [4, 4], [3, 3], [1, 1], [1, 1], [1, 1])),
        (5, geometry(16, 130, 1, [8, 7], [3, 3], [1, 1], [1, 1], [1, 1])),
    ]
}

/// Calls `each(weight index, input index, output index)` for every product of the definition.
fn products(g: &Geometry, n: usize, mut each: impl FnMut(usize, usize, usize)) {
    let (channels, filters) = (g.channels / g.groups, g.filters / g.groups);
    let place = |axis: usize, o: usize, k: usize| {
        (o * g.stride[axis] + k * g.dilation[axis])
            .checked_sub(g.padding[axis])
            .filter(|&p| p < g.input[axis])
    };
    for (i, f, oh, ow) in ndarray::indices((n, g.filters, g.output[0], g.output[1])) {
        for (c, kh, kw) in ndarray::indices((channels, g.kernel[0], g.kernel[1])) {
            if let (Some(h), Some(w)) = (place(0, oh, kh), place(1, ow, kw)) {
                let channel = f / filters * channels + c;
                each(
                    ((f * channels + c) * g.kernel[0] + kh) * g.kernel[1] + kw,
                    ((i * g.channels + channel) * g.input[0] + h) * g.input[1] + w,
                    ((i * g.filters + f) * g.output[0] + oh) * g.output[1] + ow,
                );
            }
        }
    }
}

fn random<T: Scalar>(len: usize, seed: u64) -> Vec<T> {
    let mut rng = Seed::new(seed).rng();
    (0..len).map(|_| T::lit(rng.normal())).collect()
}

/// `winograd`: whether his algorithm made `got`.
fn close<T: Scalar>(
    what: &str,
    (plan, winograd): (&Plan, bool),
    got: &[T],
    want: &[f64],
    terms: usize,
) {
    let g = &plan.geometry;
    // Rounding of as many additions, as for the matrix product. Winograd's transforms cancel: what is lost
    // there is a share of the largest result, below 1e-5 for f32.
    let largest = want.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
    let tolerance = if winograd {
        80.0 * T::epsilon().widen() * largest
    } else {
        4.0 * T::epsilon().widen() * (terms as f64 + 1.0)
    };
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        let error = (got.widen() - want).abs();
        assert!(error <= tolerance, "{what} of {g:?} at {at}: {error:e} above {tolerance:e}");
    }
}

/// What the definition says, in `f64`; gradients by weight and bias begin at 1.
struct Definition<T> {
    x: Vec<T>,
    w: Vec<T>,
    bias: Vec<T>,
    dy: Vec<T>,
    y: Vec<f64>,
    dx: Vec<f64>,
    dw: Vec<f64>,
    db: Vec<f64>,
}

impl<T: Scalar> Definition<T> {
    fn new(g: &Geometry, n: usize, relu: bool) -> Self {
        let pixels = n * g.out_plane();
        let (x, w) = (random::<T>(n * g.image(), 1), random::<T>(g.filters * g.inner(), 2));
        let (bias, dy) = (random::<T>(g.filters, 3), random::<T>(g.filters * pixels, 4));
        let of_filter = |at: usize| at / g.out_plane() % g.filters;
        let mut y: Vec<f64> = (0..dy.len()).map(|at| bias[of_filter(at)].widen()).collect();
        products(g, n, |at_w, at_x, at_y| y[at_y] += w[at_w].widen() * x[at_x].widen());
        let mut counted: Vec<f64> = dy.iter().map(|dy| dy.widen()).collect();
        if relu {
            for (y, dy) in y.iter_mut().zip(&mut counted) {
                (*y, *dy) = if *y > 0.0 { (*y, *dy) } else { (0.0, 0.0) };
            }
        }
        let (mut dx, mut dw, mut db) =
            (vec![0.0; x.len()], vec![1.0; w.len()], vec![1.0; g.filters]);
        products(g, n, |at_w, at_x, at_y| {
            dx[at_x] += w[at_w].widen() * counted[at_y];
            dw[at_w] += x[at_x].widen() * counted[at_y];
        });
        (0..dy.len()).for_each(|at| db[of_filter(at)] += counted[at]);
        Self { x, w, bias, dy, y, dx, dw, db }
    }

    fn compare(&self, plan: &Plan, n: usize, relu: bool) {
        let (g, pixels) = (&plan.geometry, n * plan.geometry.out_plane());
        let nan = |len| vec![T::nan(); len];
        let mut got = nan(self.y.len());
        let scratch = &mut nan(plan.forward_scratch::<T>(n));
        let finish = Finish { bias: Some(&self.bias), relu, lines: None };
        forward(plan, &self.x, &self.w, finish, &mut got, scratch);
        close("output", (plan, plan.winograd(n).is_some()), &got, &self.y, g.inner());
        self.compare_normalized(plan, relu, scratch);
        // The sign of the definition's: rounding could turn another.
        let y: Vec<T> = self.y.iter().map(|&y| T::lit(y)).collect();
        let dy = Source { data: &self.dy, positive: relu.then_some(&y[..]) };
        let mut got = nan(self.dx.len());
        let scratch = &mut nan(plan.backward_input_scratch::<T>(n, relu));
        backward_input(plan, &self.w, dy, &mut got, scratch);
        let terms = g.filters * g.kernel[0] * g.kernel[1];
        let winograd = plan.transposed.as_ref().is_some_and(|plan| plan.winograd(n).is_some());
        close("input gradient", (plan, winograd), &got, &self.dx, terms);
        let (mut dw, mut db) = (vec![T::one(); self.w.len()], vec![T::one(); g.filters]);
        let scratch = &mut nan(plan.backward_weight_scratch::<T>(n, relu));
        backward_weight(plan, &self.x, dy, Some(&mut dw), Some(&mut db), scratch);
        let winograd = plan.winograd_gradient(n).is_some();
        close("weight gradient", (plan, winograd), &dw, &self.dw, pixels);
        close("bias gradient", (plan, false), &db, &self.db, pixels);
    }
}

impl<T: Scalar> Definition<T> {
    /// Normalizing on the way out gives the bits of a pass of its own.
    fn compare_normalized(&self, plan: &Plan, relu: bool, scratch: &mut [T]) {
        if !plan.normalizes() {
            return;
        }
        let mut rng = Seed::new(7).rng();
        let mut number = || T::lit(rng.normal());
        let lines: Vec<_> = (0..plan.geometry.filters)
            .map(|_| Line { center: number(), factor: number(), shift: number() })
            .collect();
        let bias = Some(&self.bias[..]);
        let (mut fused, mut apart) = (vec![T::nan(); self.y.len()], vec![T::nan(); self.y.len()]);
        let finish = Finish { bias, relu: false, lines: None };
        forward(plan, &self.x, &self.w, finish, &mut apart, scratch);
        for image in apart.chunks_exact_mut(lines.len() * plan.geometry.out_plane()) {
            norm::apply_in_place(&lines, relu, plan.geometry.out_plane(), image);
        }
        scratch.fill(T::nan());
        let finish = Finish { bias, relu, lines: Some(&lines) };
        forward(plan, &self.x, &self.w, finish, &mut fused, scratch);
        assert!(fused == apart, "normalized output of {:?}", plan.geometry);
    }
}

fn compare<T: Scalar>() {
    for (n, g) in geometries() {
        let (plan, exact) = (Plan::new(g.clone().flattened()), Plan::exact(g.clone()));
        for relu in [false, true] {
            let definition = Definition::<T>::new(&g, n, relu);
            simd::at_every_level(|| {
                definition.compare(&plan, n, relu);
                definition.compare(&exact, n, relu);
            });
        }
    }
}

#[test]
fn convolutions_equal_the_definition_at_every_level() {
    compare::<f32>();
    compare::<f64>();
}
