#!/usr/bin/env python3
"""Correctly rounded values of the functions in src/kernels/functions, and the coefficients fitted for erf.rs.

    pip install mpmath
    python generate.py > exact.txt     # the table: function, input, value, both as the bits of an f64
    python generate.py --fit           # the coefficients, the highest power first
"""
import struct
import sys

from mpmath import mp, mpf, chebyfit, erf, erfc, exp, expm1, log, log1p, mpmathify, nstr, pi, sqrt, tanh

mp.dps = 60


def erfcx(z):
    if z < 30:
        return exp(z * z) * erfc(z)
    total, term = mpf(0), mpf(1)  # the asymptotic series
    for n in range(60):
        total, last, term = total + term, term, -term * (2 * n + 1) / (2 * z * z)
        if abs(term) > abs(last):
            break
    return total / (z * sqrt(pi))


def fit():
    """(1 + 2z) erfcx(z) over u = z/(z + middle), and erf(x)/x over x^2 up to 1."""
    over_square = lambda s: erf(sqrt(s)) / sqrt(s) if s > mpf("1e-30") else 2 / sqrt(pi)
    for name, middle, last, terms, near, digits in (("f32", "2", "10.7", 12, 7, 10), ("f64", "2.5", "27.5", 24, 12, 18)):
        middle, last = mpf(middle), mpf(last)
        over_u = lambda u: (lambda z: (1 + 2 * z) * erfcx(z))(middle * u / (1 - u))
        tail = chebyfit(over_u, [0, last / (last + middle)], terms)
        for label, c in (("erfcx", tail), ("erf", chebyfit(over_square, [0, 1], near))):
            print(name, label, *(nstr(v, digits) for v in c))


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
