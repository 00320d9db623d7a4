#!/usr/bin/env python3
"""Correctly rounded values of the functions in src/kernels/functions, and the coefficients fitted for erf.rs and
exponential.rs.

    pip install mpmath
    python generate.py > exact.txt     # the table: function, input, value, both as the bits of an f64
    python generate.py --fit           # the coefficients, the highest power first: some minutes
"""
import struct
import sys

from mpmath import (
    chebyfit, cos, erf, erfc, exp, expm1, log, log1p, lu_solve, matrix, mp, mpf, mpmathify, nstr, pi, sqrt, tanh,
)

mp.dps = 60


def mills(x):
    """The normal distribution's tail over e^(-x^2/2)."""
    z = x / sqrt(mpf(2))
    if z < 25:
        return exp(z * z) * erfc(z) / 2
    total, term = mpf(0), mpf(1)  # the asymptotic series
    for n in range(60):
        total, last, term = total + term, term, -term * (2 * n + 1) / (2 * z * z)
        if abs(term) > abs(last):
            break
    return total / (z * sqrt(pi)) / 2


def least(columns, targets, weights):
    """The coefficients whose sum of columns is nearest to the targets."""
    a = matrix([[s * v for v in row] for s, row in zip(weights, columns)])
    b = matrix([s * t for s, t in zip(weights, targets)])
    scales = [sqrt(sum(a[i, j] ** 2 for i in range(a.rows))) for j in range(a.cols)]
    for j, scale in enumerate(scales):
        for i in range(a.rows):
            a[i, j] /= scale
    x = lu_solve(a.T * a, a.T * b)
    return [v / scale for v, scale in zip(x, scales)]


def minimax(errors_of, points, rounds):
    """Lawson's iteration: weights grow where the error of the weighted fit is large. The best error and its fit."""
    weights, best = [mpf(1) / points] * points, None
    for _ in range(rounds):
        fit, errors = errors_of(weights)
        largest = max(errors)
        if best is None or largest < best[0]:
            best = (largest, fit)
        weights = [w * (e + largest / 1000) for w, e in zip(weights, errors)]
        total = sum(weights)
        weights = [w / total for w in weights]
    return best


def nodes(low, high, count):
    return [low + (high - low) * (1 - cos(pi * (i + mpf(1) / 2) / count)) / 2 for i in range(count)]


def fit_mills(over, under, last, rounded, rounds):
    """Polynomials of the two degrees whose quotient is Mills' ratio up to `last`, the second with leading coefficient 1.
    The coefficients are rounded to the type one after the other, and those left fitted again."""
    points = nodes(mpf(0), last / (last + 2), 12 * (over + under))
    points = [2 * u / (1 - u) for u in points]
    values = [mills(x) for x in points]
    fixed = {("under", under): mpf(1)}
    order = [key for k in range(under) for key in (("over", over - k), ("under", under - 1 - k)) if key[1] >= 0]
    below = [x**under + 1 for x in points]
    best = None
    for free in [order[k:] for k in range(len(order))]:
        term = lambda key, x, f: x ** key[1] if key[0] == "over" else -f * x ** key[1]

        def errors_of(weights):
            nonlocal below
            targets = [-sum(c * term(key, x, f) for key, c in fixed.items()) for x, f in zip(points, values)]
            columns = [[term(key, x, f) for key in free] for x, f in zip(points, values)]
            scale = [sqrt(w) / (f * q) for w, f, q in zip(weights, values, below)]
            c = fixed | dict(zip(free, least(columns, targets, scale)))
            above = [sum(c["over", k] * x**k for k in range(over + 1)) for x in points]
            below = [sum(c["under", k] * x**k for k in range(under + 1)) for x in points]
            return c, [abs(p / q / f - 1) for p, q, f in zip(above, below, values)]

        best = minimax(errors_of, len(points), rounds)[1]
        fixed[free[0]] = rounded(best[free[0]])
    return [[fixed[name, k] for k in range(degree, -1, -1)] for name, degree in (("over", over), ("under", under))]


def fit_exp(degree):
    """(e^r - 1 - r) / r^2 where |r| is at most half of ln 2, relative to (e^r - 1) / r^2."""
    points = nodes(mpf("-0.34658"), mpf("0.34658"), 200)
    values = [(exp(r) - 1 - r) / r**2 for r in points]
    sizes = [abs(r**2 / expm1(r)) for r in points]

    def errors_of(weights):
        columns = [[r**k for k in range(degree + 1)] for r in points]
        c = least(columns, values, [sqrt(w) * s for w, s in zip(weights, sizes)])
        return c, [abs(sum(a * r**k for k, a in enumerate(c)) - f) * s for r, f, s in zip(points, values, sizes)]

    return minimax(errors_of, len(points), 80)[1][::-1]


def fit():
    """Mills' ratio, erf(x)/x over x^2 up to 1, and for f32 the exponential."""
    over_square = lambda s: erf(sqrt(s)) / sqrt(s) if s > mpf("1e-30") else 2 / sqrt(pi)
    single = lambda v: mpf(struct.unpack("f", struct.pack("f", float(v)))[0])
    double = lambda v: mpf(float(v))
    for name, degrees, last, rounded, near, digits in (
        ("f32", (4, 5), mpf("13.3"), single, 7, 10),
        ("f64", (10, 11), mpf("37.7"), double, 12, 18),
    ):
        lines = zip(("mills over", "mills under"), fit_mills(*degrees, last, rounded, 25 if near == 7 else 8))
        for label, c in (*lines, ("erf", chebyfit(over_square, [0, 1], near))):
            print(name, label, *(nstr(v, digits) for v in c))
    print("f32 exp", *(nstr(v, 9) for v in fit_exp(4)))


FUNCTIONS = {  # function, smallest and largest input
    "exp": (exp, -708, 709),
    "expm1": (expm1, -745, 709),
    "ln": (log, 0, 1e300),
    "log1p": (log1p, -1, 1e300),
    "tanh": (tanh, -25, 25),
    "sigmoid": (lambda x: 1 / (1 + exp(-x)), -708, 40),
    "erf": (erf, -7, 7),
    "normal": (lambda x: erfc(-x / sqrt(2)) / 2, -37.5, 9),
}


def inputs(low, high):
    """Of every size between the bounds, of both signs; and evenly spread over the middle."""
    sizes = [10 ** (k / 11) for k in range(-220, 3300, 1)]
    candidates = [s * x for x in sizes for s in (1, -1)] + [k / 31 + 1e-9 for k in range(-1240, 1240, 7)]
    kept = sorted(x for x in candidates if low < x < high)
    return kept[:: max(1, len(kept) // 400)]


def bits(x):
    return struct.pack(">d", float(x)).hex()


def table():
    for name, (function, low, high) in FUNCTIONS.items():
        for x in inputs(low, high):
            print(name, bits(x), bits(function(mpmathify(x))))


fit() if "--fit" in sys.argv else table()
