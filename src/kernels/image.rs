//! Images `[channels, height, width]`: moving, resampling, colours. One image at a time, so that it stays in
//! the first cache while one change follows another.
//!
//! `size` is `[channels, height, width]` throughout.

use super::simd::multiversion;
use crate::Scalar;

/// What lies beyond the border.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Beyond<F> {
    /// One value everywhere.
    Fill(F),
    /// The image mirrored at the centre of its border pixels: `c b | a b c | b a`.
    Reflect,
}

/// Left becomes right.
pub fn flip_horizontal<F: Scalar>(pixels: &mut [F], [_, _, width]: [usize; 3]) {
    pixels.chunks_exact_mut(width).for_each(<[F]>::reverse);
}

/// Top becomes bottom.
pub fn flip_vertical<F: Scalar>(pixels: &mut [F], [_, height, width]: [usize; 3]) {
    for plane in pixels.chunks_exact_mut(height * width) {
        let (upper, lower) = plane.split_at_mut(height / 2 * width);
        let below = lower.chunks_exact_mut(width).rev();
        upper.chunks_exact_mut(width).zip(below).for_each(|(a, b)| a.swap_with_slice(b));
    }
}

/// `to[y][x] = from[y + down][x + right]`: the picture moves up and left.
pub fn translate<F: Scalar>(
    from: &[F],
    to: &mut [F],
    [_, height, width]: [usize; 3],
    [down, right]: [isize; 2],
    beyond: Beyond<F>,
) {
    let planes = from.chunks_exact(height * width).zip(to.chunks_exact_mut(height * width));
    for (from, to) in planes {
        for (y, to) in to.chunks_exact_mut(width).enumerate() {
            match (source(y, down, height), beyond) {
                (Some(y), _) => translate_row(&from[y * width..][..width], to, right, beyond),
                (None, Beyond::Fill(fill)) => to.fill(fill),
                (None, Beyond::Reflect) => {
                    let y = reflect(y as isize + down, height);
                    translate_row(&from[y * width..][..width], to, right, beyond);
                }
            }
        }
    }
}

fn translate_row<F: Scalar>(from: &[F], to: &mut [F], right: isize, beyond: Beyond<F>) {
    let width = to.len();
    // The part that lies inside is one copy.
    let begin = right.min(0).unsigned_abs().min(width);
    let end = width - right.max(0).unsigned_abs().min(width);
    if begin < end {
        let first = right.max(0).unsigned_abs();
        to[begin..end].copy_from_slice(&from[first..first + end - begin]);
    }
    for x in (0..begin).chain(end.max(begin)..width) {
        to[x] = match beyond {
            Beyond::Fill(fill) => fill,
            Beyond::Reflect => from[reflect(x as isize + right, width)],
        };
    }
}

/// `at + by`, if that is inside.
fn source(at: usize, by: isize, len: usize) -> Option<usize> {
    at.checked_add_signed(by).filter(|&at| at < len)
}

/// Mirrored at the centres of the first and the last pixel, as often as it takes.
fn reflect(at: isize, len: usize) -> usize {
    let period = (2 * len as isize - 2).max(1);
    let at = at.rem_euclid(period) as usize;
    if at < len { at } else { period as usize - at }
}

/// Where each pixel of an image comes from: `(x, y)` for pixel `(column, row)`, by an affine map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AffineMap {
    /// `x = xx·column + xy·row + x0`
    pub x: [f64; 3],
    /// `y = yx·column + yy·row + y0`
    pub y: [f64; 3],
}

multiversion! {
    /// Bilinear resampling: pixel `(column, row)` comes from the place that `map` says. What lies beyond the
    /// image counts as `fill`.
    pub fn warp_affine<F: Scalar>(from: &[F], to: &mut [F], size: [usize; 3], map: AffineMap, fill: F) {
        let ([xx, xy, x0], [yx, yy, y0]) = (map.x.map(F::lit), map.y.map(F::lit));
        let place = |column: usize, row: usize| {
            let (column, row) = (F::lit(column as f64), F::lit(row as f64));
            (xx * column + xy * row + x0, yx * column + yy * row + y0)
        };
        resample(from, to, size, fill, place);
    }

    /// Like [`warp_affine`], by a field of displacements: `(column + dx, row + dy)`.
    pub fn warp_field<F: Scalar>(from: &[F], to: &mut [F], size: [usize; 3], dx: &[F], dy: &[F], fill: F) {
        let place = |column: usize, row: usize| {
            let at = row * size[2] + column;
            (F::lit(column as f64) + dx[at], F::lit(row as f64) + dy[at])
        };
        resample(from, to, size, fill, place);
    }

    /// The part `[top, left, height, width]` of an image, stretched over all of it. Bilinear; at the image's border
    /// its border pixels go on.
    pub fn resize_part<F: Scalar>(from: &[F], to: &mut [F], size: [usize; 3], part: [f64; 4]) {
        let [_, height, width] = size;
        let [top, left, part_height, part_width] = part.map(F::lit);
        let half = F::lit(0.5);
        let (down, right) = (F::lit(height as f64), F::lit(width as f64));
        let place = |column: usize, row: usize| {
            let x = left + (F::lit(column as f64) + half) * part_width / right - half;
            let y = top + (F::lit(row as f64) + half) * part_height / down - half;
            (x.max(F::zero()).min(right - F::one()), y.max(F::zero()).min(down - F::one()))
        };
        resample(from, to, size, F::zero(), place);
    }
}

/// The four pixels around a place share out its value.
#[inline(always)]
fn resample<F: Scalar>(
    from: &[F],
    to: &mut [F],
    [_, height, width]: [usize; 3],
    fill: F,
    place: impl Fn(usize, usize) -> (F, F),
) {
    let plane = height * width;
    let (last_column, last_row) = (F::lit(width as f64 - 1.0), F::lit(height as f64 - 1.0));
    for row in 0..height {
        for column in 0..width {
            let (x, y) = place(column, row);
            let (left, top) = (x.floor(), y.floor());
            let (dx, dy) = (x - left, y - top);
            let weights = [
                [(F::one() - dx) * (F::one() - dy), dx * (F::one() - dy)],
                [(F::one() - dx) * dy, dx * dy],
            ];
            let to = to[row * width + column..].iter_mut().step_by(plane);
            let inside =
                left >= F::zero() && left < last_column && top >= F::zero() && top < last_row;
            if inside && let (Some(left), Some(top)) = (left.to_usize(), top.to_usize()) {
                // All four lie in the image: nothing to ask of each.
                let at = top * width + left;
                for (from, to) in from.chunks_exact(plane).zip(to) {
                    let ([a, b], [c, d]) = (weights[0], weights[1]);
                    *to = a * from[at]
                        + b * from[at + 1]
                        + c * from[at + width]
                        + d * from[at + width + 1];
                }
                continue;
            }
            let (columns, rows) = (neighbours(left, width), neighbours(top, height));
            for (from, to) in from.chunks_exact(plane).zip(to) {
                let mut value = F::zero();
                for (weights, row) in weights.iter().zip(rows) {
                    for (&weight, column) in weights.iter().zip(columns) {
                        value += weight
                            * match (row, column) {
                                (Some(row), Some(column)) => from[row * width + column],
                                _ => fill,
                            };
                    }
                }
                *to = value;
            }
        }
    }
}

/// The pixels at `at` and after it, where they are inside.
#[inline(always)]
fn neighbours<F: Scalar>(at: F, len: usize) -> [Option<usize>; 2] {
    // Saturates: what is far outside stays outside, and NaN is 0 and gives NaN by its weights.
    let at = at.to_isize().unwrap_or(isize::MIN / 2);
    [at, at + 1].map(|at| usize::try_from(at).ok().filter(|&at| at < len))
}

/// Smooths a field `[height, width]` by `weights` of odd length, first along rows, then along columns; what lies
/// beyond the border counts as 0. `spare` is as long as the field.
pub fn blur<F: Scalar>(field: &mut [F], spare: &mut [F], width: usize, weights: &[F]) {
    blur_rows(field, spare, width, weights);
    blur_columns(spare, field, width, weights);
}

multiversion! {
    fn blur_rows<F: Scalar>(from: &[F], to: &mut [F], width: usize, weights: &[F]) {
        let radius = weights.len() / 2;
        to.fill(F::zero());
        for (from, to) in from.chunks_exact(width).zip(to.chunks_exact_mut(width)) {
            for (tap, &weight) in weights.iter().enumerate() {
                // Pixel x gets pixel x + tap − radius.
                let (skip_to, skip_from) = (radius.saturating_sub(tap), tap.saturating_sub(radius));
                if let (Some(to), Some(from)) = (to.get_mut(skip_to..), from.get(skip_from..)) {
                    for (to, &from) in to.iter_mut().zip(from) {
                        *to += weight * from;
                    }
                }
            }
        }
    }

    fn blur_columns<F: Scalar>(from: &[F], to: &mut [F], width: usize, weights: &[F]) {
        let (height, radius) = (from.len() / width, weights.len() / 2);
        for (row, to) in to.chunks_exact_mut(width).enumerate() {
            to.fill(F::zero());
            for (tap, &weight) in weights.iter().enumerate() {
                let Some(row) = (row + tap).checked_sub(radius).filter(|&row| row < height) else { continue };
                for (to, &from) in to.iter_mut().zip(&from[row * width..][..width]) {
                    *to += weight * from;
                }
            }
        }
    }

    /// `x = factor · x`, kept within 0 and 1.
    pub fn brighten<F: Scalar>(pixels: &mut [F], factor: F) {
        for x in pixels {
            *x = unit(factor * *x);
        }
    }

    /// Away from `middle` by `factor`, kept within 0 and 1.
    pub fn stretch<F: Scalar>(pixels: &mut [F], middle: F, factor: F) {
        let rest = (F::one() - factor) * middle;
        for x in pixels {
            *x = unit(factor * *x + rest);
        }
    }

    /// Each pixel away from its own grey by `factor`, kept within 0 and 1.
    pub fn saturate<F: Scalar>(red: &mut [F], green: &mut [F], blue: &mut [F], factor: F) {
        for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
            let rest = (F::one() - factor) * grey(*r, *g, *b);
            (*r, *g, *b) = (unit(factor * *r + rest), unit(factor * *g + rest), unit(factor * *b + rest));
        }
    }

    /// Turns every pixel's hue by `turns` of the colour circle.
    pub fn turn_hue<F: Scalar>(red: &mut [F], green: &mut [F], blue: &mut [F], turns: F) {
        let sixths = F::lit(6.0) * turns;
        for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
            let (value, least) = (r.max(*g).max(*b), r.min(*g).min(*b));
            let chroma = value - least;
            let divisor = if chroma > F::zero() { chroma } else { F::one() };
            // In sixths of the circle, from red.
            let hue = if value == *r {
                (*g - *b) / divisor
            } else if value == *g {
                (*b - *r) / divisor + F::lit(2.0)
            } else {
                (*r - *g) / divisor + F::lit(4.0)
            };
            let hue = hue + sixths;
            let channel = |offset: f64| {
                let k = hue + F::lit(offset);
                let k = k - F::lit(6.0) * (k / F::lit(6.0)).floor();
                let share = k.min(F::lit(4.0) - k).min(F::one()).max(F::zero());
                value - chroma * share
            };
            (*r, *g, *b) = (channel(5.0), channel(3.0), channel(1.0));
        }
    }

    /// `x = keep · x + (1 − keep) · other`
    pub fn mix<F: Scalar>(x: &mut [F], other: &[F], keep: F) {
        for (x, &other) in x.iter_mut().zip(other) {
            *x = keep * *x + (F::one() - keep) * other;
        }
    }
}

#[inline(always)]
fn unit<F: Scalar>(x: F) -> F {
    // Comparisons, not `max` and `min`: NaN stays NaN.
    let x = if x < F::zero() { F::zero() } else { x };
    if x > F::one() { F::one() } else { x }
}

/// Rec. 601, as in PIL and torchvision.
#[inline(always)]
fn grey<F: Scalar>(r: F, g: F, b: F) -> F {
    F::lit(0.299) * r + F::lit(0.587) * g + F::lit(0.114) * b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn translating_equals_looking_up_each_pixel() {
        let size = [2, 3, 4];
        let from: Vec<f32> = (1..=24).map(|x| x as f32).collect();
        for down in -7isize..=7 {
            for right in -9isize..=9 {
                for beyond in [Beyond::Fill(-1.0), Beyond::Reflect] {
                    let mut to = vec![f32::NAN; 24];
                    translate(&from, &mut to, size, [down, right], beyond);
                    for (at, &got) in to.iter().enumerate() {
                        let (c, y, x) = (at / 12, at / 4 % 3, at % 4);
                        let want = match (source(y, down, 3), source(x, right, 4), beyond) {
                            (Some(y), Some(x), _) => from[c * 12 + y * 4 + x],
                            (_, _, Beyond::Fill(fill)) => fill,
                            _ => {
                                let y = reflect(y as isize + down, 3);
                                from[c * 12 + y * 4 + reflect(x as isize + right, 4)]
                            }
                        };
                        assert_eq!(got, want, "{down} {right} {beyond:?} {at}");
                    }
                }
            }
        }
    }

    #[test]
    fn reflection_repeats_no_border_pixel() {
        let places: Vec<usize> = (-4..8).map(|at| reflect(at, 3)).collect();
        assert_eq!(places, [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1]);
        assert_eq!([reflect(-3, 1), reflect(5, 1)], [0, 0]);
    }

    #[test]
    fn far_places_are_fill() {
        let map = AffineMap { x: [1.0, 0.0, 1e30], y: [0.0, 1.0, -1e30] };
        let mut to = [0.0f32; 4];
        warp_affine(&[1.0; 4], &mut to, [1, 2, 2], map, 7.0);
        assert_eq!(to, [7.0; 4]);
    }

    #[test]
    fn a_blur_of_one_point_is_its_weights() {
        let (mut field, mut spare) = ([0.0f64; 25], [0.0; 25]);
        field[12] = 1.0;
        blur(&mut field, &mut spare, 5, &[0.25, 0.5, 0.25]);
        assert_eq!(field[6..9], [0.0625, 0.125, 0.0625]);
        assert_eq!(field[11..14], [0.125, 0.25, 0.125]);
        assert_eq!(field.iter().sum::<f64>(), 1.0);
        // A kernel wider than the field.
        blur(&mut field[..2], &mut spare[..2], 2, &[0.1; 9]);
    }

    #[test]
    fn hue_turned_by_a_third_moves_red_to_green_to_blue() {
        let (mut r, mut g, mut b) = ([1.0f64, 0.2, 0.5], [0.25, 0.6, 0.5], [0.5, 0.1, 0.5]);
        turn_hue(&mut r, &mut g, &mut b, 1.0 / 3.0);
        let close = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(
            close(g, [1.0, 0.2, 0.5]) && close(b, [0.25, 0.6, 0.5]) && close(r, [0.5, 0.1, 0.5])
        );
    }
}
