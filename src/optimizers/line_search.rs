//! How far to go along a direction.

use crate::{Objective, Result};

/// Sufficient decrease: `f(t) ≤ f(0) + C1 · t · f'(0)`.
const C1: f64 = 1e-4;
/// Sufficient flattening: `|f'(t)| ≤ C2 · |f'(0)|`.
const C2: f64 = 0.9;
/// Most evaluations after the first.
const MAX_EVALUATIONS: usize = 25;

/// An objective along a line from `x`.
pub(super) struct Line<'a> {
    objective: &'a mut dyn Objective,
    x: &'a [f64],
    direction: &'a [f64],
    trial: Vec<f64>,
    pub(super) evaluations: usize,
}

/// A place on a line.
#[derive(Debug, Clone)]
pub(super) struct Point {
    pub(super) t: f64,
    pub(super) value: f64,
    /// Derivative along the line.
    pub(super) slope: f64,
    pub(super) grad: Vec<f64>,
}

impl<'a> Line<'a> {
    pub(super) fn new(
        objective: &'a mut dyn Objective,
        x: &'a [f64],
        direction: &'a [f64],
    ) -> Self {
        Self { objective, x, direction, trial: vec![0.0; x.len()], evaluations: 0 }
    }

    /// The point at `t`; its value is infinite where the objective is not finite.
    fn at(&mut self, t: f64) -> Result<Point> {
        for ((trial, x), d) in self.trial.iter_mut().zip(self.x).zip(self.direction) {
            *trial = x + t * d;
        }
        let mut grad = vec![0.0; self.x.len()];
        let value = self.objective.value_and_grad(&self.trial, &mut grad)?;
        self.evaluations += 1;
        let slope = dot(&grad, self.direction);
        let value = if value.is_finite() && slope.is_finite() { value } else { f64::INFINITY };
        Ok(Point { t, value, slope, grad })
    }
}

/// A point that meets the strong Wolfe conditions on the line from `start`, if 25 evaluations find one; else the lowest found.
///
/// Nocedal & Wright 2006, algorithms 3.5 and 3.6, with cubic interpolation and PyTorch's safeguards. The search ends
/// where its bracket moves no variable by `tolerance` any more.
pub(super) fn strong_wolfe(
    line: &mut Line<'_>,
    start: Point,
    first: f64,
    tolerance: f64,
) -> Result<Point> {
    let start = Point { t: 0.0, ..start };
    let (value, slope) = (start.value, start.slope);
    let too_high = |point: &Point| point.value > value + C1 * point.t * slope;
    let flat = |point: &Point| point.slope.abs() <= -C2 * slope;
    // Forward, until a minimum lies between the last two points.
    let mut last = start.clone();
    let mut next = line.at(first)?;
    loop {
        let beyond = too_high(&next) || (line.evaluations > 2 && next.value >= last.value);
        if !beyond && flat(&next) {
            return Ok(next);
        }
        if beyond || next.slope >= 0.0 {
            break;
        }
        if line.evaluations > MAX_EVALUATIONS {
            last = start;
            break;
        }
        let bounds = (next.t + 0.01 * (next.t - last.t), 10.0 * next.t);
        let t = cubic_minimum(&last, &next, bounds);
        last = std::mem::replace(&mut next, line.at(t)?);
    }
    // Then closer and closer.
    let (mut low, mut high) = ordered(last, next);
    let span = largest(line.direction);
    let mut at_border = false;
    while line.evaluations <= MAX_EVALUATIONS && (high.t - low.t).abs() * span >= tolerance {
        let t = inside(&low, &high, &mut at_border);
        let point = line.at(t)?;
        if too_high(&point) || point.value >= low.value {
            (low, high) = ordered(low, point);
        } else if flat(&point) {
            return Ok(point);
        } else {
            if point.slope * (high.t - low.t) >= 0.0 {
                high = low;
            }
            low = point;
        }
    }
    Ok(low)
}

fn ordered(a: Point, b: Point) -> (Point, Point) {
    if a.value <= b.value { (a, b) } else { (b, a) }
}

/// Where to look between two points: the cubic's minimum, but not at a border twice in a row.
fn inside(a: &Point, b: &Point, at_border: &mut bool) -> f64 {
    let (min, max) = (a.t.min(b.t), a.t.max(b.t));
    let t = cubic_minimum(a, b, (min, max));
    let margin = 0.1 * (max - min);
    let was_at_border = std::mem::replace(at_border, (max - t).min(t - min) < margin);
    if !*at_border || (!was_at_border && t > min && t < max) {
        return t;
    }
    *at_border = false;
    if (max - t) < (t - min) { max - margin } else { min + margin }
}

/// The minimum within `bounds` of the cubic through two points with their slopes; the middle of the bounds if it has
/// none.
fn cubic_minimum(a: &Point, b: &Point, (min, max): (f64, f64)) -> f64 {
    let (a, b) = if a.t <= b.t { (a, b) } else { (b, a) };
    let d1 = a.slope + b.slope - 3.0 * (a.value - b.value) / (a.t - b.t);
    let square = d1 * d1 - a.slope * b.slope;
    let d2 = square.sqrt();
    let t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2.0 * d2));
    // NaN where the square is negative, or a value infinite.
    if square.is_finite() && t.is_finite() { t.clamp(min, max) } else { 0.5 * (min + max) }
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub(super) fn largest(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |largest, x| largest.max(x.abs()))
}
