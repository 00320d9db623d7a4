//! The fast product against the triple loop.

use super::*;
use crate::Seed;
use crate::kernels::simd;

fn random<T: Scalar>(len: usize, seed: u64) -> Vec<T> {
    let mut rng = Seed::new(seed).rng();
    (0..len).map(|_| T::lit(rng.normal())).collect()
}

fn naive<T: Scalar>(m: usize, n: usize, k: usize, a: Mat<'_, T>, b: Mat<'_, T>) -> Vec<f64> {
    let mut c = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            for p in 0..k {
                let (x, y) = (a.data[i * a.rows + p * a.cols], b.data[p * b.rows + j * b.cols]);
                c[i * n + j] += x.widen() * y.widen();
            }
        }
    }
    c
}

fn compare<T: Scalar>() {
    // Rounding of k additions whose partial sums stay below about 4·√k.
    let tolerance = |k: usize| 4.0 * T::epsilon().widen() * (k as f64 + 1.0);
    for (m, n, k) in [
        (0, 3, 2),
        (1, 1, 0),
        (1, 1, 1),
        (1, 37, 50),
        (2, 300, 70),
        (5, 17, 33),
        (7, 15, 1),
        (13, 31, 257),
        (97, 129, 300),
        (4, 100, 256),
        (64, 70, 515),
        (128, 33, 513),
        (200, 16, 8),
    ] {
        let (da, db) = (random::<T>(m * k, 1), random::<T>(k * n, 2));
        let bias = random::<T>(n, 3);
        for (a, b) in [
            (Mat::new(&da, k), Mat::new(&db, n)),
            (Mat::transposed(&da, m), Mat::new(&db, n)),
            (Mat::new(&da, k), Mat::transposed(&db, k)),
            (Mat::transposed(&da, m), Mat::transposed(&db, k)),
        ] {
            let want = naive(m, n, k, a, b);
            for begin in [Begin::Zero, Begin::Add, Begin::ColBias(&bias)] {
                let first = random::<T>(m * n, 4);
                let mut product =
                    Product { sizes: [m, n, k], a, b: Right::Plain(b), begin, relu: false };
                let write = |product: Product<'_, T>| {
                    let mut c = first.clone();
                    product.write(&mut c, &mut vec![T::nan(); product.scratch_len()]);
                    c
                };
                let c = write(product);
                for (i, got) in c.iter().enumerate() {
                    let start = match begin {
                        Begin::Zero => 0.0,
                        Begin::Add => first[i].widen(),
                        Begin::ColBias(bias) => bias[i % n].widen(),
                    };
                    let error = (got.widen() - start - want[i]).abs();
                    assert!(error < tolerance(k), "{m}×{n}×{k} at {i}: {error}");
                }
                product.relu = true;
                let rectified: Vec<T> = c.iter().map(|&x| x.max(T::zero())).collect();
                assert!(write(product) == rectified, "{m}×{n}×{k}: ReLU in the last step");
                let mut packed = vec![T::nan(); right_len::<T>(n, k)];
                pack_right(n, k, b, &mut packed);
                (product.b, product.relu) = (Right::Packed(&packed), false);
                assert!(
                    !packs([m, n, k]) || write(product) == c,
                    "{m}×{n}×{k}: packed beforehand, other bits"
                );
            }
        }
    }
}

#[test]
fn gemm_equals_the_triple_loop_at_every_level() {
    simd::at_every_level(|| {
        compare::<f32>();
        compare::<f64>();
    });
}

#[test]
fn even_parts_cover_everything() {
    for len in 1..40usize {
        let parts = len.div_ceil(6);
        let mut at = 0;
        for i in 0..parts {
            let (from, to) = even_part(len, 6, i);
            assert_eq!(from, at);
            assert!(to - from <= 6 && to > from);
            at = to;
        }
        assert_eq!(at, len);
    }
}

/// The narrower side was halved for ever once it was a single panel.
#[test]
fn long_products_of_few_panels_are_cut_to_an_end() {
    let micro = f32::micro();
    for rows in 1..6 {
        for cols in 1..6 {
            let cut = cut::Cut::new(micro, [rows * micro.mr, cols * micro.nr, 100_000]);
            assert!(cut.row_tasks * cut.col_tasks >= (rows * cols).min(16), "{rows} by {cols}");
        }
    }
}
