//! Exponential, logarithm and error function against correctly rounded values.

use layerwise::kernels::functions::{ErrorFunction, Exponential, Functions, Logarithm};

/// Where `x` stands among all numbers of its type, so that neighbours differ by one.
trait Place: Copy {
    fn place(self) -> i64;
}

impl Place for f32 {
    fn place(self) -> i64 {
        let size = i64::from(self.to_bits() & i32::MAX as u32);
        if self.is_sign_negative() { -size } else { size }
    }
}

impl Place for f64 {
    fn place(self) -> i64 {
        let size = (self.to_bits() & i64::MAX as u64) as i64;
        if self.is_sign_negative() { -size } else { size }
    }
}

/// By how many numbers `got` misses `want`.
fn distance<T: Place>(got: T, want: T) -> u64 {
    got.place().abs_diff(want.place())
}

/// A function in `f64` and in `f32`, with the errors that its docs state and the inputs in `f32` that it is for.
struct Function {
    name: &'static str,
    /// Without and with fused multiply-adds.
    f64: [fn(f64) -> f64; 2],
    f32: [fn(f32) -> f32; 2],
    /// Correct to more digits than `f32` has.
    exact: fn(f64) -> f64,
    errors: (u64, u64),
    range: (f32, f32),
}

fn functions() -> Vec<Function> {
    fn normal(x: f64) -> f64 {
        x.straight_normal::<false>().0
    }
    macro_rules! function {
        ($name:literal, $straight:ident $([$part:tt])?, $exact:expr, $double:literal, $single:literal, $low:literal .. $high:literal) => {
            Function {
                name: $name,
                f64: [|x| x.$straight::<false>()$(.$part)?, |x| x.$straight::<true>()$(.$part)?],
                f32: [|x| x.$straight::<false>()$(.$part)?, |x| x.$straight::<true>()$(.$part)?],
                exact: $exact,
                errors: ($double, $single),
                range: ($low, $high),
            }
        };
    }
    vec![
        function!("exp", straight_exp, f64::exp, 1, 1, -87.0..88.7),
        function!("expm1", straight_expm1, f64::exp_m1, 2, 2, -100.0..88.7),
        function!("ln", straight_ln, f64::ln, 1, 1, 0.0..3e38),
        function!("log1p", straight_log1p, f64::ln_1p, 1, 1, -1.0..3e38),
        function!("tanh", straight_tanh, f64::tanh, 2, 2, -20.0..20.0),
        function!("sigmoid", straight_sigmoid, |x| 1.0 / (1.0 + (-x).exp()), 2, 2, -87.0..20.0),
        // The standard library has neither; the table proves the wide ones first.
        function!("erf", straight_erf, |x| x.straight_erf::<false>(), 1, 2, -5.0..5.0),
        function!("normal", straight_normal[0], normal, 5, 6, -12.9..6.0),
    ]
}

#[test]
fn functions_in_f64_are_as_accurate_as_documented() {
    let table = include_str!("../data/functions/exact.txt");
    let number = |hex| f64::from_bits(u64::from_str_radix(hex, 16).expect("a hexadecimal number"));
    let mut problems = Vec::new();
    for function in functions() {
        let (mut worst, mut count) = ((0, 0.0), 0);
        for line in table.lines() {
            let [name, x, want] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            if name == function.name {
                let (x, want) = (number(x), number(want));
                for value in function.f64.map(|function| function(x)) {
                    let error = distance(value, want);
                    worst = if error >= worst.0 { (error, x) } else { worst };
                }
                count += 1;
            }
        }
        assert!(count > 400, "{}: {count} values", function.name);
        println!("{} f64: {} at {:e}", function.name, worst.0, worst.1);
        if worst.0 > function.errors.0 {
            problems.push(format!("{}: off by {} at {:e}", function.name, worst.0, worst.1));
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn functions_in_f32_are_as_accurate_as_documented() {
    let mut problems = Vec::new();
    for function in functions() {
        let (mut worst, mut count) = ((0, 0.0), 0);
        for bits in (0..=u32::MAX).step_by(97) {
            let x = f32::from_bits(bits);
            // Written so that NaN is left out.
            if !(x > function.range.0 && x < function.range.1) {
                continue;
            }
            // Rounded to the nearest `f32`, of course.
            let want = (function.exact)(f64::from(x)) as f32;
            for value in function.f32.map(|function| function(x)) {
                let error = distance(value, want);
                worst = if error >= worst.0 { (error, x) } else { worst };
            }
            count += 1;
        }
        assert!(count > 1_000_000, "{}: {count} values", function.name);
        println!("{} f32: {} at {:e}", function.name, worst.0, worst.1);
        if worst.0 > function.errors.1 {
            problems.push(format!("{}: off by {} at {:e}", function.name, worst.0, worst.1));
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn the_logarithm_from_one_to_two_is_as_accurate_as_the_general_one() {
    for bits in (0..=1f32.to_bits()).step_by(97) {
        let x = f32::from_bits(bits);
        let want = f64::from(x).ln_1p();
        for got in [x.straight_log1p_unit::<false>(), x.straight_log1p_unit::<true>()] {
            assert!(distance(got, want as f32) <= 1, "{x:e}");
        }
        let x = f64::from(x) * 0.999_999_999;
        for got in [x.straight_log1p_unit::<false>(), x.straight_log1p_unit::<true>()] {
            assert!(distance(got, x.ln_1p()) <= 2, "{x:e}");
        }
    }
    assert!(f32::NAN.straight_log1p_unit::<true>().is_nan());
}
