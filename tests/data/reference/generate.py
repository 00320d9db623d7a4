#!/usr/bin/env python3
"""Reference numbers for the crate, computed by independent implementations.

    python generate.py --seed 1 --out .
    python generate.py --seed 2 --variant --out /tmp/other

Writes OUT/cases.json (one entry per case: name, kind, config, tensors),
OUT/cases.safetensors (every tensor, float64, C order, key "<case>/<tensor>")
and OUT/interchange_*.safetensors (foreign weights to import).

Without --variant the shapes and hyper-parameters are fixed and only the
numbers depend on the seed; with --variant shapes and hyper-parameters are drawn
from the seed as well.  The same seed and library versions give the same files.
Gradients are checked inside the script (README.md says how, and which are not); a
failed check ends it with an error.
"""
import argparse
import json
import math
import os
import platform
import random
import warnings
import zlib

import mpmath
import numpy as np
import safetensors
import scipy
import scipy.linalg
import scipy.optimize
import scipy.special
import sklearn
import sklearn.decomposition
import sklearn.metrics as skm
import sklearn.preprocessing as skp
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.numpy import save_file as save_np
from safetensors.torch import load_file as load_torch
from safetensors.torch import save_file as save_torch

torch.set_num_threads(1)
warnings.filterwarnings("ignore", message="reduction: .mean. divides")
torch.set_default_dtype(torch.float64)
F64 = torch.float64

ap = argparse.ArgumentParser()
ap.add_argument("--seed", type=int, default=1)
ap.add_argument("--out", default="data")
ap.add_argument("--variant", action="store_true")
ARGS = ap.parse_args() if __name__ == "__main__" else ap.parse_args([])
VARIANT = ARGS.variant

# --------------------------------------------------------------------------
# store, random numbers, checks


# recommended bound on max|a-b| / max|b| for one tensor, computing in f64 and in f32; a case whose
# float32 run in PyTorch shows a worse condition gets more (see Store.add)
TOLERANCE = {"layer": (1e-10, 1e-5), "activation": (1e-10, 1e-5), "activation_extreme": (1e-10, 1e-5), "loss": (1e-10, 1e-5),
             "loss_extreme": (1e-10, 1e-5), "regularizer": (1e-10, 1e-5), "initializer": (1e-12, 1e-6),
             "optimizer": (1e-10, 1e-4), "schedule": (1e-10, 1e-5), "averaging": (1e-10, 1e-5), "metric": (1e-10, 1e-5),
             "preprocessing": (1e-8, 1e-3), "network": (1e-8, 1e-3), "interchange": (1e-10, 1e-5)}


class Store:
    def __init__(self):
        self.cases = []
        self.names = set()
        self.arrays = {}

    def add(self, name, kind, group, config, tensors, reference, note=None, f32=None, checks=None):
        assert name not in self.names and "/" not in name, name
        self.names.add(name)
        shapes = {}
        for k, v in tensors.items():
            if isinstance(v, torch.Tensor):
                v = v.detach().to(F64).numpy()
            a = np.ascontiguousarray(np.asarray(v, dtype=np.float64))
            if a.ndim == 0:
                a = a.reshape(1)
            assert np.isfinite(a).all(), f"{name}/{k} is not finite"
            assert a.size > 0, f"{name}/{k} is empty"
            shapes[k] = list(a.shape)
            self.arrays[f"{name}/{k}"] = a.copy()
        e = {"name": name, "kind": kind, "group": group, "config": config, "tensors": shapes,
             "reference": reference}
        if note:
            e["note"] = note
        if checks:
            e["checks"] = checks
        if f32:
            e["torch_f32_error"] = f32
        if not kind.startswith("lbfgs"):
            w = max(f32.values()) if f32 else 0.0
            t64, t32 = TOLERANCE[group]
            e["tolerance"] = {"f64": max(t64, float(f"{30 * w * 2.0 ** -29:.0e}")), "f32": max(t32, float(f"{30 * w:.0e}"))}
        self.cases.append(e)


S = Store()


def gen(name):
    """A generator of its own for each case, so that adding a case changes no other."""
    return np.random.default_rng([ARGS.seed, zlib.crc32(name.encode()), int(VARIANT)])


def T(a):
    return torch.tensor(np.asarray(a, dtype=np.float64))


class Pick:
    """Hyper-parameters: the base value, or in a variant one drawn from the seed."""

    def __init__(self, name):
        self.r = random.Random(f"{ARGS.seed}:{name}")

    def __call__(self, base, *others):
        return self.r.choice(others) if VARIANT else base

    def i(self, base, lo, hi):
        return self.r.randint(lo, hi) if VARIANT else base

    def f(self, base, lo, hi, digits=4):
        return round(self.r.uniform(lo, hi), digits) if VARIANT else base


def relerr(a, b):
    """max|a-b| / max|b|"""
    a = np.asarray(a.detach().double() if isinstance(a, torch.Tensor) else a, dtype=np.float64)
    b = np.asarray(b.detach().double() if isinstance(b, torch.Tensor) else b, dtype=np.float64)
    d = float(np.max(np.abs(a - b)))
    m = float(np.max(np.abs(b)))
    return 0.0 if d == 0 else d / max(m, 1e-300)


def same(a, b, tol=1e-12, what=""):
    e = relerr(a, b)
    assert e <= tol, f"{what}: {e} > {tol}"
    return e


N_CHECKED = {"gradcheck": 0}


def gradcheck(f, inputs, what):
    ins = [t.detach().clone().requires_grad_(True) for t in inputs]
    kw = dict(eps=1e-6, atol=1e-5, rtol=1e-3)
    with torch.no_grad():
        nout = f(*ins).numel()
    full = sum(t.numel() for t in ins) * nout <= 20000
    torch.manual_seed(0)
    assert torch.autograd.gradcheck(f, ins, fast_mode=not full, **kw), what
    N_CHECKED["gradcheck"] += 1
    return "gradcheck " + ("full" if full else "fast")


def fwd_bwd(name, kind, group, config, fn, leaves, reference, extra=None, note=None, dy=None,
            check=True, grads=None, f32=True, after=None, value_name="y"):
    """fn(**leaves) -> y.  Stores leaves, dy, y and d<leaf> for every leaf."""
    g = gen(name + "#dy")
    ls = {k: T(v).requires_grad_(True) for k, v in leaves.items()}
    y = fn(**ls)
    scalar = y.dim() == 0
    up = T(np.ones(())) if scalar else T(g.standard_normal(tuple(y.shape)) if dy is None else dy)
    gs = torch.autograd.grad(y, list(ls.values()), up)
    t = dict(ls)
    t.update(extra or {})
    if not scalar:
        t["dy"] = up
    t[value_name] = y
    for k, d in zip(ls, gs):
        t["d" + k] = d
    if after:
        t.update(after())
    checks = None
    if check:
        checks = gradcheck(lambda *a: fn(**dict(zip(ls, a))), list(ls.values()), name)
    f32e = None
    if f32:
        l3 = {k: v.detach().float().requires_grad_(True) for k, v in ls.items()}
        y3 = fn(**l3)
        g3 = torch.autograd.grad(y3, list(l3.values()), up.float())
        f32e = {value_name: float(f"{relerr(y3, y):.1e}")}
        for k, d3, d in zip(l3, g3, gs):
            f32e["d" + k] = float(f"{relerr(d3, d):.1e}")
    S.add(name, kind, group, config, t, reference, note, f32e, checks)
    return t




# --------------------------------------------------------------------------
# layers


def layers_linear():
    base = [("small", 4, 7, 5, True), ("no_bias", 3, 4, 6, False), ("batch1", 1, 9, 3, True),
            ("odd", 33, 17, 19, True), ("single", 5, 1, 1, True), ("wide", 8, 64, 10, True)]
    if VARIANT:
        r = Pick("linear").r
        base = [(f"v{i:02d}", r.choice([1, 2, 3, 5, 13, 31]), r.randint(1, 70), r.randint(1, 40), i % 3 != 1)
                for i in range(7)]
    for nm, n, i, o, b in base:
        name = f"linear_{nm}"
        g = gen(name)
        lv = {"x": g.standard_normal((n, i)), "weight": g.standard_normal((o, i)) / math.sqrt(i)}
        if b:
            lv["bias"] = g.standard_normal(o)
        fwd_bwd(name, "linear", "layer", {"in_features": i, "out_features": o, "bias": b},
                lambda x, weight, bias=None: F.linear(x, weight, bias), lv, "torch.nn.functional.linear")


def conv_out(n, k, s, p, d):
    return (n + 2 * p - d * (k - 1) - 1) // s + 1


def conv2d_list():
    """(name, N, C, H, W, O, (kh,kw), (sh,sw), (ph,pw), (dh,dw), groups, bias)"""
    if not VARIANT:
        q = lambda v: v if isinstance(v, tuple) else (v, v)
        rows = [
            ("1x1", 2, 5, 6, 7, 4, 1, 1, 0, 1, 1, True),
            ("1x1_stride2", 2, 6, 7, 7, 3, 1, 2, 0, 1, 1, True),
            ("3x3_same", 2, 3, 8, 8, 8, 3, 1, 1, 1, 1, True),
            ("3x3_valid", 2, 3, 7, 9, 5, 3, 1, 0, 1, 1, True),
            ("3x3_stride2", 2, 4, 9, 9, 6, 3, 2, 1, 1, 1, True),
            ("3x3_stride2_even", 3, 2, 8, 10, 4, 3, 2, 1, 1, 1, True),
            ("3x3_full_padding", 1, 2, 5, 6, 3, 3, 1, 2, 1, 1, True),
            ("5x5_same", 2, 3, 11, 10, 5, 5, 1, 2, 1, 1, True),
            ("7x7_stride2_pad3", 1, 3, 19, 21, 9, 7, 2, 3, 1, 1, False),
            ("nonsquare", 2, 3, 10, 9, 4, (3, 5), (2, 1), (1, 2), 1, 1, True),
            ("nonsquare_1x7", 2, 4, 6, 11, 5, (1, 7), 1, (0, 3), 1, 1, True),
            ("dilation2", 2, 3, 10, 11, 4, 3, 1, 2, 2, 1, True),
            ("dilation_nonsquare_stride", 2, 3, 13, 14, 4, (3, 2), (2, 3), (2, 1), (2, 3), 1, True),
            ("groups2", 2, 6, 7, 6, 4, 3, 1, 1, 1, 2, True),
            ("groups3_stride2", 2, 9, 8, 7, 6, 3, 2, 1, 1, 3, False),
            ("depthwise", 2, 8, 7, 7, 8, 3, 1, 1, 1, 8, True),
            ("depthwise_multiplier2_stride2", 2, 5, 9, 8, 10, 3, 2, 1, 1, 5, True),
            ("batch1", 1, 3, 6, 6, 4, 3, 1, 1, 1, 1, True),
            ("channels_17_19", 2, 17, 6, 7, 19, 3, 1, 1, 1, 1, True),
            ("tiny_3x3_input", 2, 3, 3, 3, 5, 3, 1, 1, 1, 1, True),
            ("tiny_2x1_input", 1, 2, 2, 1, 3, 3, 1, 1, 1, 1, True),
            ("kernel_larger_than_input", 2, 3, 2, 2, 4, 5, 1, 2, 1, 1, True),
            ("kernel_equals_input", 3, 4, 5, 5, 6, 5, 1, 0, 1, 1, True),
            ("stride_larger_than_kernel", 2, 3, 8, 9, 4, 2, 3, 0, 1, 1, True),
            ("even_kernel_2x2", 2, 3, 6, 5, 4, 2, 1, 1, 1, 1, True),
            ("medium_16_16", 2, 16, 13, 13, 16, 3, 1, 1, 1, 1, True),
            ("no_bias", 2, 3, 7, 5, 4, 3, 1, 1, 1, 1, False),
        ]
        return [(r[0], *r[1:6], *[q(v) for v in r[6:10]], r[10], r[11]) for r in rows]
    r = Pick("conv2d").r
    rows = []
    cats = ["1x1", "3x3", "3x3", "3x3s", "3x3s", "5x5", "7x7", "nonsq", "nonsq", "nonsq", "dil", "dil", "grp",
            "grp", "dw", "dw", "b1", "odd_ch", "tiny", "tiny", "any", "any", "any", "any", "any", "any"]
    for cat in cats:
        while True:
            n, c, o = r.choice([1, 2, 3, 5]), r.randint(1, 9), r.randint(1, 11)
            h, w = r.randint(4, 14), r.randint(4, 14)
            k = r.choice([(3, 3), (2, 2), (4, 4), (3, 2), (1, 3), (5, 3)])
            s, p, d, gr = (1, 1), (k[0] // 2, k[1] // 2), (1, 1), 1
            if cat == "1x1":
                k, p = (1, 1), (0, 0)
                s = r.choice([(1, 1), (3, 2)])
            if cat.startswith("3x3"):
                k, p = (3, 3), r.choice([(1, 1), (0, 0), (1, 0), (2, 2)])
                s = r.choice([(2, 2), (3, 3), (2, 3)]) if cat == "3x3s" else (1, 1)
            if cat == "5x5":
                k, p, s = (5, 5), r.choice([(2, 2), (1, 2)]), r.choice([(1, 1), (2, 2)])
            if cat == "7x7":
                k, p, s, c, h, w = (7, 7), r.choice([(3, 3), (2, 3)]), (2, 2), 2, r.randint(9, 18), r.randint(9, 18)
            if cat in ("nonsq", "dil", "any"):
                k = (r.randint(1, 5), r.randint(1, 5))
                s = (r.randint(1, 3), r.randint(1, 3))
                p = (r.randint(0, 3), r.randint(0, 3))
            if cat in ("dil", "any"):
                d = (r.randint(1, 3), r.randint(1, 3))
            if cat == "dil":
                d = (r.randint(2, 3), r.randint(1, 3))
            if cat == "grp":
                gr = r.choice([2, 3, 4])
                c, o = gr * r.randint(1, 3), gr * r.randint(1, 3)
                s = (r.randint(1, 2), r.randint(1, 2))
            if cat == "dw":
                gr = c = r.choice([3, 5, 7, 11, 12])
                o = c * r.choice([1, 1, 2, 3])
                k, p, s = r.choice([((3, 3), (1, 1), (1, 1)), ((3, 3), (1, 1), (2, 2)), ((5, 5), (2, 2), (1, 1))])
            if cat == "b1":
                n = 1
            if cat == "odd_ch":
                c, o, h, w, n, k, p = r.choice([13, 18, 23]), r.choice([15, 21, 25]), 5, 7, 2, (3, 3), (1, 1)
            if cat == "tiny":
                h, w = r.randint(1, 3), r.randint(1, 3)
            if min(conv_out(h, k[0], s[0], p[0], d[0]), conv_out(w, k[1], s[1], p[1], d[1])) >= 1:
                break
        rows.append((f"v{len(rows):02d}", n, c, h, w, o, k, s, p, d, gr, r.random() < 0.75))
    return rows


def layers_conv2d():
    for nm, n, c, h, w, o, k, s, p, d, gr, b in conv2d_list():
        name = f"conv2d_{nm}"
        g = gen(name)
        lv = {"x": g.standard_normal((n, c, h, w)),
              "weight": g.standard_normal((o, c // gr, *k)) / math.sqrt(c // gr * k[0] * k[1])}
        if b:
            lv["bias"] = g.standard_normal(o)
        fn = lambda x, weight, bias=None: F.conv2d(x, weight, bias, s, p, d, gr)
        t = fwd_bwd(name, "conv2d", "layer",
                    {"in_channels": c, "out_channels": o, "kernel": list(k), "stride": list(s), "padding": list(p),
                     "dilation": list(d), "groups": gr, "bias": b, "padding_mode": "zeros"},
                    fn, lv, "torch.nn.functional.conv2d")
        # a second opinion: im2col and a matrix product, group by group
        x, wt = t["x"].detach(), t["weight"].detach()
        ys = []
        for q in range(gr):
            cols = F.unfold(x[:, q * c // gr:(q + 1) * c // gr], k, d, p, s)
            wq = wt[q * o // gr:(q + 1) * o // gr].reshape(o // gr, -1)
            ys.append(wq @ cols)
        y2 = torch.cat(ys, 1).reshape(t["y"].shape)
        if b:
            y2 = y2 + t["bias"].detach().reshape(1, -1, 1, 1)
        same(y2, t["y"], 1e-12, name)


def layers_conv_transpose2d():
    if not VARIANT:
        rows = [("2x2_stride2", 2, 4, 5, 6, 3, (2, 2), (2, 2), (0, 0), (0, 0), (1, 1), 1, True),
                ("3x3_stride2_outpad1", 2, 3, 4, 5, 5, (3, 3), (2, 2), (1, 1), (1, 1), (1, 1), 1, True),
                ("3x3_stride1", 1, 3, 6, 6, 4, (3, 3), (1, 1), (1, 1), (0, 0), (1, 1), 1, False),
                ("4x4_stride2_pad1", 2, 6, 5, 5, 4, (4, 4), (2, 2), (1, 1), (0, 0), (1, 1), 1, True),
                ("nonsquare_dilated", 2, 3, 4, 5, 2, (3, 2), (2, 3), (1, 0), (1, 2), (2, 3), 1, True),
                ("groups2", 2, 6, 4, 4, 4, (3, 3), (2, 2), (1, 1), (0, 0), (1, 1), 2, True)]
    else:
        r = Pick("convt").r
        rows = []
        while len(rows) < 7:
            gr = r.choice([1, 1, 2, 3])
            k = (r.randint(1, 5), r.randint(1, 4))
            s = (r.randint(1, 3), r.randint(1, 3))
            d = r.choice([(1, 1), (1, 1), (2, 1), (2, 2)])
            p = (r.randint(0, 2), r.randint(0, 2))
            op = tuple(r.randint(0, max(a, b) - 1) for a, b in zip(s, d))
            h, w = r.randint(2, 7), r.randint(2, 7)
            oh = [(n - 1) * st - 2 * pp + dd * (kk - 1) + oo + 1
                  for n, st, pp, dd, kk, oo in zip((h, w), s, p, d, k, op)]
            if min(oh) < 1:
                continue
            rows.append((f"v{len(rows):02d}", r.choice([1, 2, 3]), gr * r.randint(1, 3), h, w, gr * r.randint(1, 3),
                         k, s, p, op, d, gr, r.random() < 0.7))
    for nm, n, c, h, w, o, k, s, p, op, d, gr, b in rows:
        name = f"conv_transpose2d_{nm}"
        g = gen(name)
        lv = {"x": g.standard_normal((n, c, h, w)),
              "weight": g.standard_normal((c, o // gr, *k)) / math.sqrt(c // gr * k[0] * k[1])}
        if b:
            lv["bias"] = g.standard_normal(o)
        t = fwd_bwd(name, "conv_transpose2d", "layer",
                {"in_channels": c, "out_channels": o, "kernel": list(k), "stride": list(s), "padding": list(p),
                 "output_padding": list(op), "dilation": list(d), "groups": gr, "bias": b},
                lambda x, weight, bias=None: F.conv_transpose2d(x, weight, bias, s, p, op, gr, d),
                lv, "torch.nn.functional.conv_transpose2d", note="weight is [in, out/groups, kh, kw]")
        lin_part = t["y"] - (t["bias"].reshape(1, -1, 1, 1) if b else 0)
        back = F.conv2d(t["dy"], t["weight"], None, s, p, d, gr)      # the adjoint
        same((lin_part * t["dy"]).sum(), (t["x"] * back[:, :, :h, :w]).sum(), 1e-11, name)


def distinct(g, shape):
    """normal numbers, no two closer than about 1e-4 within the tensor: no ties, no kinks under gradcheck"""
    n = int(np.prod(shape))
    v = scipy.special.ndtri((np.arange(n) + 0.3) / n)   # 0.3: the median is not exactly 0, a kink
    return g.permutation(v).reshape(shape)


def pool_naive(x, k, s, p, d, ceil, mode, include_pad=True):
    """a second opinion, window by window"""
    H, W = x.shape[2:]
    size = []
    for n, kk, st, pp, dd in zip((H, W), k, s, p, d):
        q = (n + 2 * pp - dd * (kk - 1) - 1) / st
        o = (math.ceil(q) if ceil else math.floor(q)) + 1
        if ceil and (o - 1) * st >= n + pp:
            o -= 1
        size.append(o)
    y = np.zeros((*x.shape[:2], *size))
    for i in range(size[0]):
        for j in range(size[1]):
            r = [i * s[0] - p[0] + a * d[0] for a in range(k[0])]
            c = [j * s[1] - p[1] + a * d[1] for a in range(k[1])]
            area = sum(a < H + p[0] for a in r) * sum(a < W + p[1] for a in c)
            r, c = [a for a in r if 0 <= a < H], [a for a in c if 0 <= a < W]
            v = x[:, :, r][:, :, :, c]
            y[:, :, i, j] = v.max((2, 3)) if mode == "max" else v.sum((2, 3)) / (area if include_pad else len(r) * len(c))
    return y


def layers_maxpool():
    if not VARIANT:
        rows = [("2x2", (2, 3, 8, 8), (2, 2), (2, 2), (0, 0), (1, 1), False),
                ("2x2_odd_floor", (2, 3, 7, 9), (2, 2), (2, 2), (0, 0), (1, 1), False),
                ("2x2_odd_ceil", (2, 3, 7, 9), (2, 2), (2, 2), (0, 0), (1, 1), True),
                ("3x3_stride2_pad1", (2, 4, 9, 10), (3, 3), (2, 2), (1, 1), (1, 1), False),
                ("3x3_stride2_ceil", (2, 3, 8, 8), (3, 3), (2, 2), (0, 0), (1, 1), True),
                ("3x3_stride2_pad1_ceil", (1, 3, 8, 10), (3, 3), (2, 2), (1, 1), (1, 1), True),
                ("3x3_stride1", (1, 2, 6, 5), (3, 3), (1, 1), (0, 0), (1, 1), False),
                ("nonsquare", (2, 3, 9, 8), (2, 3), (2, 1), (0, 1), (1, 1), False),
                ("stride_larger", (2, 2, 9, 10), (2, 2), (3, 4), (0, 0), (1, 1), False),
                ("dilation2", (2, 2, 9, 8), (2, 2), (2, 2), (0, 0), (2, 2), False),
                ("whole_plane", (3, 4, 5, 6), (5, 6), (5, 6), (0, 0), (1, 1), False)]
    else:
        r = Pick("maxpool").r
        rows = []
        while len(rows) < 11:
            k = (r.randint(1, 4), r.randint(1, 4))
            if k == (1, 1):
                continue
            s = (r.randint(1, 4), r.randint(1, 4))
            p = (r.randint(0, k[0] // 2), r.randint(0, k[1] // 2))
            d = r.choice([(1, 1)] * 5 + [(2, 1)])
            h, w = r.randint(4, 13), r.randint(4, 13)
            if min(conv_out(h, k[0], s[0], p[0], d[0]), conv_out(w, k[1], s[1], p[1], d[1])) < 1:
                continue
            rows.append((f"v{len(rows):02d}", (r.choice([1, 2, 3]), r.randint(1, 5), h, w), k, s, p, d,
                         len(rows) % 2 == 1))
    for nm, sh, k, s, p, d, ceil in rows:
        for neg in ([False, True] if (nm in ("3x3_stride2_pad1", "v03") or (VARIANT and nm == "v05")) else [False]):
            name = f"maxpool2d_{nm}" + ("_all_negative" if neg else "")
            x = distinct(gen(name), sh)
            if neg:
                x = -np.abs(x) - 0.5 + 1e-3 * x
            _, idx = F.max_pool2d(T(x), k, s, p, d, ceil, return_indices=True)
            same(pool_naive(x, k, s, p, d, ceil, "max"), F.max_pool2d(T(x), k, s, p, d, ceil), 0, name)
            fwd_bwd(name, "maxpool2d", "layer",
                    {"kernel": list(k), "stride": list(s), "padding": list(p), "dilation": list(d), "ceil_mode": ceil},
                    lambda x: F.max_pool2d(x, k, s, p, d, ceil), {"x": x}, "torch.nn.functional.max_pool2d",
                    extra={"indices": idx.double()},
                    note="padding counts as minus infinity; indices: h*W+w of the winner in its plane")
    name = "maxpool2d_ties"
    g = gen(name)
    x = g.integers(0, 3, (2, 2, 6, 7) if not VARIANT else (1, 3, 8, 5)).astype(float)
    kk, ss = (3, 2) if not VARIANT else (2, 1)
    fwd_bwd(name, "maxpool2d", "layer",
            {"kernel": [kk, kk], "stride": [ss, ss], "padding": [1, 1], "dilation": [1, 1], "ceil_mode": False},
            lambda x: F.max_pool2d(x, kk, ss, 1), {"x": x}, "torch.nn.functional.max_pool2d", check=False,
            extra={"indices": F.max_pool2d(T(x), kk, ss, 1, return_indices=True)[1].double()},
            note="ties: the gradient goes to the first maximum in row-major order (a convention, y alone is binding)")


def layers_avgpool():
    if not VARIANT:
        rows = [("2x2", (2, 3, 8, 6), (2, 2), (2, 2), (0, 0), False, True),
                ("3x3_stride2_pad1_include", (2, 3, 8, 9), (3, 3), (2, 2), (1, 1), False, True),
                ("3x3_stride2_pad1_exclude", (2, 3, 8, 9), (3, 3), (2, 2), (1, 1), False, False),
                ("3x3_stride2_ceil_include", (2, 2, 8, 8), (3, 3), (2, 2), (0, 0), True, True),
                ("3x3_stride2_pad1_ceil_include", (1, 2, 8, 10), (3, 3), (2, 2), (1, 1), True, True),
                ("3x3_stride2_pad1_ceil_exclude", (1, 2, 8, 10), (3, 3), (2, 2), (1, 1), True, False),
                ("nonsquare_exclude", (2, 3, 7, 9), (2, 3), (1, 2), (1, 0), False, False),
                ("overlapping", (1, 3, 6, 6), (3, 3), (1, 1), (1, 1), False, True)]
    else:
        r = Pick("avgpool").r
        rows = []
        while len(rows) < 9:
            k = (r.randint(1, 4), r.randint(1, 4))
            if k == (1, 1):
                continue
            s = (r.randint(1, 3), r.randint(1, 3))
            p = (r.randint(0, k[0] // 2), r.randint(0, k[1] // 2))
            h, w = r.randint(4, 12), r.randint(4, 12)
            rows.append((f"v{len(rows):02d}", (r.choice([1, 2, 3]), r.randint(1, 4), h, w), k, s, p,
                         len(rows) % 3 == 2, len(rows) % 2 == 0))
    for nm, sh, k, s, p, ceil, inc in rows:
        name = f"avgpool2d_{nm}"
        same(pool_naive(gen(name).standard_normal(sh), k, s, p, (1, 1), ceil, "avg", inc),
             F.avg_pool2d(T(gen(name).standard_normal(sh)), k, s, p, ceil, inc), 1e-13, name)
        fwd_bwd(name, "avgpool2d", "layer",
                {"kernel": list(k), "stride": list(s), "padding": list(p), "ceil_mode": ceil, "count_include_pad": inc},
                lambda x: F.avg_pool2d(x, k, s, p, ceil, inc), {"x": gen(name).standard_normal(sh)},
                "torch.nn.functional.avg_pool2d")
    P = Pick("gap")
    for i, sh in enumerate([(2, 5, 7, 6), (1, 3, 1, 1)] if not VARIANT else
                           [(P.i(0, 1, 5), P.i(0, 1, 9), P.i(0, 2, 9), P.i(0, 2, 9)), (3, 2, 1, 5)]):
        name = f"global_avgpool2d_{i}"
        fwd_bwd(name, "global_avgpool2d", "layer", {"output_shape": [sh[0], sh[1], 1, 1]},
                lambda x: F.adaptive_avg_pool2d(x, 1), {"x": gen(name).standard_normal(sh)},
                "torch.nn.functional.adaptive_avg_pool2d", note="y is [N,C,1,1]; [N,C] after squeezing")
    rows = [((2, 3, 7, 8), (3, 3)), ((1, 2, 9, 7), (2, 5)), ((2, 2, 3, 4), (5, 6)), ((2, 3, 6, 6), (1, 1))]
    if VARIANT:
        rows = [((P.i(0, 1, 3), P.i(0, 1, 4), P.i(0, 2, 11), P.i(0, 2, 11)), (P.i(0, 1, 6), P.i(0, 1, 6)))
                for _ in range(4)]
    for i, (sh, o) in enumerate(rows):
        name = f"adaptive_avgpool2d_{i}"
        x = gen(name).standard_normal(sh)
        cut = lambda n, m: [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
        same(np.array([[x[:, :, a:b, c:d].mean((2, 3)) for c, d in cut(sh[3], o[1])] for a, b in cut(sh[2], o[0])])
             .transpose(2, 3, 0, 1), F.adaptive_avg_pool2d(T(x), o), 1e-12, name)
        fwd_bwd(name, "adaptive_avgpool2d", "layer", {"output_size": list(o)},
                lambda x: F.adaptive_avg_pool2d(x, o), {"x": gen(name).standard_normal(sh)},
                "torch.nn.functional.adaptive_avg_pool2d")


def layers_batchnorm():
    P = Pick("bn")
    if not VARIANT:
        rows = [("1d", (8, 5), 1e-5, 0.1, True, 0), ("1d_batch2", (2, 3), 1e-5, 0.1, True, 0),
                ("1d_sequence", (4, 3, 6), 1e-5, 0.1, True, 0), ("1d_no_affine", (7, 4), 1e-5, 0.1, False, 0),
                ("2d", (4, 3, 5, 6), 1e-5, 0.1, True, 0), ("2d_batch1", (1, 4, 3, 3), 1e-5, 0.1, True, 0),
                ("2d_eps_momentum", (3, 5, 4, 4), 1e-3, 0.01, True, 0),
                ("2d_no_affine", (3, 2, 4, 5), 1e-5, 0.1, False, 0),
                ("2d_large_mean", (3, 3, 4, 4), 1e-5, 0.1, True, 1000.0)]
    else:
        rows = [(f"{'1d' if i % 2 else '2d'}_v{i:02d}",
                 (P.i(0, 3, 13), P.i(0, 1, 17)) if i % 2 else (P.i(0, 1, 5), P.i(0, 1, 9), P.i(0, 2, 7), P.i(0, 2, 7)),
                 P(0, 1e-5, 1e-3, 1e-6), P(0, 0.1, 0.01, 0.25), i != 4, 500.0 if i == 6 else 0) for i in range(8)]
    for nm, sh, eps, mom, aff, off in rows:
        kind = "batchnorm1d" if len(sh) < 4 else "batchnorm2d"
        for train in (True, False):
            name = f"batchnorm{nm}_{'train' if train else 'eval'}"
            g = gen(name)
            c = sh[1]
            lv = {"x": g.standard_normal(sh) * 1.5 + off}
            if aff:
                lv["gamma"], lv["beta"] = g.uniform(0.5, 1.5, c), g.standard_normal(c)
            rm, rv = T(g.standard_normal(c) + off), T(g.uniform(0.5, 2, c))
            fn = lambda x, gamma=None, beta=None: F.batch_norm(x, rm.clone().to(x.dtype), rv.clone().to(x.dtype), gamma,
                                                               beta, train, mom, eps)
            ex = {"running_mean": rm, "running_var": rv}
            if train:
                x = T(lv["x"])
                rm2, rv2 = rm.clone(), rv.clone()
                F.batch_norm(x, rm2, rv2, None, None, True, mom, eps)
                ax = [i for i in range(len(sh)) if i != 1]
                same((1 - mom) * rm + mom * x.mean(ax), rm2, 1e-12)
                same((1 - mom) * rv + mom * x.var(ax, unbiased=True), rv2, 1e-11)
                ex.update(running_mean_after=rm2, running_var_after=rv2)
            t = fwd_bwd(name, kind, "layer",
                    {"channels": c, "eps": eps, "momentum": mom, "affine": aff, "mode": "train" if train else "eval",
                     "running_var_estimator": "unbiased"}, fn, lv, "torch.nn.functional.batch_norm", extra=ex,
                    f32=off == 0,
                    note="large mean: needs a two-pass (or otherwise stable) variance" if off else
                    "two samples: dx nearly cancels, so its relative error is large" if nm == "1d_batch2" and train else None)
            bs = (1, -1) + (1,) * (len(sh) - 2)
            if train:
                norm_naive(t, lv["x"], (0, *range(2, len(sh))), eps, bs)
            else:
                y2 = (lv["x"] - rm.numpy().reshape(bs)) / np.sqrt(rv.numpy().reshape(bs) + eps)
                if aff:
                    y2 = y2 * lv["gamma"].reshape(bs) + lv["beta"].reshape(bs)
                same(y2, t["y"], 1e-12, name)


def norm_naive(t, x, axes, eps, shape):
    """a second opinion: (x-mean)/sqrt(biased variance+eps)*gamma+beta"""
    x = x.numpy() if isinstance(x, torch.Tensor) else x
    y = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)
    y = y.reshape(t["y"].shape)
    if "gamma" in t:
        y = y * t["gamma"].detach().numpy().reshape(shape) + t["beta"].detach().numpy().reshape(shape)
    same(y, t["y"], 1e-10)


def layers_other_norms():
    P = Pick("norms")
    rows = [((4, 7), [7], 1e-5, True), ((2, 3, 4, 5), [3, 4, 5], 1e-5, True), ((3, 4, 6), [6], 1e-6, True),
            ((3, 5), [5], 1e-5, False)]
    if VARIANT:
        rows = []
        for i in range(4):
            sh = tuple(P.i(0, 3, 6) for _ in range(2 + i % 3))
            rows.append((sh, list(sh[-P.i(0, 1, len(sh) - 1):]), P(0, 1e-5, 1e-3, 1e-6), i != 2))
    for i, (sh, ns, eps, aff) in enumerate(rows):
        name = f"layernorm_{i}"
        g = gen(name)
        lv = {"x": g.standard_normal(sh) * 2 + 1}
        if aff:
            lv.update(gamma=g.uniform(0.5, 1.5, ns), beta=g.standard_normal(ns))
        t = fwd_bwd(name, "layernorm", "layer", {"normalized_shape": ns, "eps": eps, "affine": aff},
                lambda x, gamma=None, beta=None: F.layer_norm(x, ns, gamma, beta, eps), lv,
                "torch.nn.functional.layer_norm", note="biased variance")
        norm_naive(t, lv["x"], tuple(range(len(sh) - len(ns), len(sh))), eps, ns)
    rows = [((2, 6, 4, 5), 3, 1e-5, True), ((3, 4, 3, 3), 1, 1e-5, True), ((2, 6, 3, 4), 6, 1e-5, True),
            ((2, 4, 5, 3), 2, 1e-5, False)]
    if VARIANT:
        rows = []
        for i in range(4):
            gr = P.i(0, 1, 4)
            rows.append(((P.i(0, 1, 4), gr * P.i(0, 1, 3), P.i(0, 2, 6), P.i(0, 2, 6)), gr, P(0, 1e-5, 1e-3), i != 1))
    for i, (sh, gr, eps, aff) in enumerate(rows):
        name = f"groupnorm_{i}"
        g = gen(name)
        lv = {"x": g.standard_normal(sh) * 2 + 1}
        if aff:
            lv.update(gamma=g.uniform(0.5, 1.5, sh[1]), beta=g.standard_normal(sh[1]))
        t = fwd_bwd(name, "groupnorm", "layer", {"groups": gr, "channels": sh[1], "eps": eps, "affine": aff},
                lambda x, gamma=None, beta=None: F.group_norm(x, gr, gamma, beta, eps), lv,
                "torch.nn.functional.group_norm", note="biased variance")
        norm_naive(t, lv["x"].reshape(sh[0], gr, -1), (2,), eps, (1, -1, 1, 1))
    rows = [((2, 3, 5, 4), 1e-5, True), ((3, 2, 4, 4), 1e-5, False)]
    if VARIANT:
        rows = [((P.i(0, 1, 4), P.i(0, 1, 6), P.i(0, 2, 7), P.i(0, 2, 7)), P(0, 1e-5, 1e-3), i != 1) for i in range(3)]
    for i, (sh, eps, aff) in enumerate(rows):
        name = f"instancenorm2d_{i}"
        g = gen(name)
        lv = {"x": g.standard_normal(sh) * 2 + 1}
        if aff:
            lv.update(gamma=g.uniform(0.5, 1.5, sh[1]), beta=g.standard_normal(sh[1]))
        t = fwd_bwd(name, "instancenorm2d", "layer", {"channels": sh[1], "eps": eps, "affine": aff},
                lambda x, gamma=None, beta=None: F.instance_norm(x, None, None, gamma, beta, True, 0.1, eps), lv,
                "torch.nn.functional.instance_norm", note="biased variance, no running statistics")
        norm_naive(t, lv["x"], (2, 3), eps, (1, -1, 1, 1))
    rows = [((2, 7, 4, 5), 5, 1e-4, 0.75, 1.0), ((2, 6, 3, 3), 3, 0.5, 0.75, 2.0)]
    if VARIANT:
        rows = [((P.i(0, 1, 3), P.i(0, 5, 11), P.i(0, 2, 5), P.i(0, 2, 5)), P(0, 3, 5), P.f(0, 0.01, 0.9),
                 P.f(0, 0.4, 1.0), P.f(0, 1, 2)) for _ in range(2)]
    for i, (sh, n, a, b, k) in enumerate(rows):
        name = f"local_response_norm_{i}"
        x = gen(name).standard_normal(sh)
        sq = np.stack([(x[:, max(0, c - n // 2):c - n // 2 + n] ** 2).sum(1) for c in range(sh[1])], 1)
        same(x / (k + a / n * sq) ** b, F.local_response_norm(T(x), n, a, b, k), 1e-12, name)
        fwd_bwd(name, "local_response_norm", "layer", {"size": n, "alpha": a, "beta": b, "k": k},
                lambda x: F.local_response_norm(x, n, a, b, k), {"x": gen(name).standard_normal(sh)},
                "torch.nn.functional.local_response_norm",
                note="y_c = x_c / (k + alpha/size * sum over the size channels around c of x^2)^beta")


def layers_misc():
    P = Pick("misc")
    rows = [(10, 4, (7,), None), (6, 3, (4, 5), None), (8, 5, (3, 6), 0), (5, 1, (1,), None)]
    if VARIANT:
        rows = []
        for i in range(4):
            v = P.i(0, 3, 20)
            rows.append((v, P.i(0, 1, 9), (P.i(0, 1, 6), P.i(0, 1, 8))[:1 + i % 2], v - 1 if i == 2 else None))
    for i, (v, d, sh, pad) in enumerate(rows):
        name = f"embedding_{i}"
        g = gen(name)
        ids = g.integers(0, v, sh)
        if ids.size > 2:
            ids.flat[1] = ids.flat[0]          # a repeated id: its gradients add up
        if pad is not None:
            ids.flat[-1] = pad
        it = torch.tensor(ids)
        fwd_bwd(name, "embedding", "layer", {"num_embeddings": v, "dim": d, "padding_idx": pad},
                lambda weight: F.embedding(it, weight, pad), {"weight": g.standard_normal((v, d))},
                "torch.nn.functional.embedding", extra={"ids": it.double()}, check=pad is None,
                note="ids are whole numbers stored as float64" + ("" if pad is None else
                     "; the row padding_idx gets no gradient"))
    for i, sh in enumerate([(2, 3, 4, 5), (3, 6), (1, 2, 1, 1)] if not VARIANT else [(3, 1, 5, 2), (2, 4, 3), (4, 2, 2, 3)]):
        name = f"flatten_{i}"
        fwd_bwd(name, "flatten", "layer", {"start_dim": 1}, lambda x: torch.flatten(x, 1),
                {"x": gen(name).standard_normal(sh)}, "torch.flatten")
    rows = [("nearest", (2, 3, 4, 5), (8, 10)), ("nearest", (1, 2, 3, 4), (5, 7)), ("nearest", (1, 2, 6, 7), (4, 3)),
            ("bilinear", (2, 3, 4, 5), (8, 10)), ("bilinear", (1, 2, 3, 4), (5, 7)), ("bilinear", (1, 2, 6, 7), (4, 3)),
            ("bilinear", (1, 2, 1, 3), (3, 6))]
    if VARIANT:
        rows = [(m, (P.i(0, 1, 3), P.i(0, 1, 4), P.i(0, 1, 7), P.i(0, 1, 7)), (P.i(0, 2, 12), P.i(0, 2, 12)))
                for m in ("nearest", "bilinear") for _ in range(3)]
    for i, (m, sh, o) in enumerate(rows):
        name = f"upsample_{m}_{i}"
        kw = {} if m == "nearest" else {"align_corners": False}
        x = gen(name).standard_normal(sh)
        if m == "nearest":
            y2 = x[:, :, [i2 * sh[2] // o[0] for i2 in range(o[0])]][:, :, :, [j2 * sh[3] // o[1] for j2 in range(o[1])]]
        else:
            mats = []
            for q, z in zip(sh[2:], o):
                M = np.zeros((z, q))
                for i2 in range(z):
                    src = max((i2 + 0.5) * q / z - 0.5, 0)
                    lo = min(int(src), q - 1)
                    M[i2, lo] += 1 - (src - lo)
                    M[i2, min(lo + 1, q - 1)] += src - lo
                mats.append(M)
            y2 = np.einsum("ih,nchw,jw->ncij", mats[0], x, mats[1])
        same(y2, F.interpolate(T(x), size=o, mode=m, **kw), 1e-12, name)
        fwd_bwd(name, f"upsample_{m}", "layer", {"output_size": list(o), "align_corners": False},
                lambda x: F.interpolate(x, size=o, mode=m, **kw), {"x": gen(name).standard_normal(sh)},
                "torch.nn.functional.interpolate",
                note="source index floor(i*in/out)" if m == "nearest" else
                "source (i+0.5)*in/out-0.5, clamped at 0; no antialiasing")
    for i, (sh, p) in enumerate([((4, 6), 0.5), ((2, 3, 4, 4), 0.2)] if not VARIANT else
                                [((P.i(0, 2, 6), P.i(0, 2, 9)), P.f(0, 0.1, 0.9, 2)), ((3, 2, 5, 3), P.f(0, .1, .9, 2))]):
        name = f"dropout_given_mask_{i}"
        g = gen(name)
        mask = T((g.random(sh) >= p).astype(float))
        fwd_bwd(name, "dropout_given_mask", "layer", {"p": p}, lambda x: x * mask.to(x.dtype) / (1 - p),
                {"x": g.standard_normal(sh)}, "by hand (inverted dropout)", extra={"mask": mask},
                note="p is the probability to drop; y = x*mask/(1-p) in training, y = x in evaluation")


# --------------------------------------------------------------------------
# activations

mp = mpmath.mp
mp.dps = 1000
SELU_A, SELU_S = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def m_sig(x):
    return 1 / (1 + mp.exp(-x))


def m_softplus(x):
    return (x if x > 0 else mp.mpf(0)) + mp.log(1 + mp.exp(-abs(x)))


def exact_table(c):
    """name -> (value, derivative, kinks); 1000 digits"""
    a = mp.mpf(c.get("negative_slope", c.get("alpha", 0)))
    s2 = mp.sqrt(2)
    ph = lambda x: mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)
    Ph = lambda x: mp.erfc(-x / s2) / 2
    kt = mp.sqrt(2 / mp.pi)
    cc = mp.mpf("0.044715")
    th = lambda x: mp.tanh(kt * (x + cc * x ** 3))
    sa, ss = mp.mpf(SELU_A), mp.mpf(SELU_S)
    em1 = lambda x: mp.exp(x) - 1
    return {
        "sigmoid": (m_sig, lambda x: m_sig(x) * m_sig(-x), []),
        "tanh": (mp.tanh, lambda x: 1 / mp.cosh(x) ** 2, []),
        "relu": (lambda x: max(x, mp.mpf(0)), lambda x: 1 if x > 0 else 0, [0]),
        "leaky_relu": (lambda x: x if x > 0 else a * x, lambda x: 1 if x > 0 else a, [0]),
        "elu": (lambda x: x if x > 0 else a * em1(x), lambda x: 1 if x > 0 else a * mp.exp(x), [] if a == 1 else [0]),
        "selu": (lambda x: ss * x if x > 0 else ss * sa * em1(x), lambda x: ss if x > 0 else ss * sa * mp.exp(x), [0]),
        "gelu_erf": (lambda x: x * Ph(x), lambda x: Ph(x) + x * ph(x), []),
        "gelu_tanh": (lambda x: x * (1 + th(x)) / 2,
                      lambda x: (1 + th(x)) / 2 + x / 2 * (1 - th(x) ** 2) * kt * (1 + 3 * cc * x * x), []),
        "silu": (lambda x: x * m_sig(x), lambda x: m_sig(x) + x * m_sig(x) * m_sig(-x), []),
        "softplus": (m_softplus, m_sig, []),
        "hardswish": (lambda x: x * min(max(x + 3, mp.mpf(0)), mp.mpf(6)) / 6,
                      lambda x: 0 if x < -3 else (1 if x > 3 else x / 3 + mp.mpf(1) / 2), [-3, 3]),
        "mish": (lambda x: x * mp.tanh(m_softplus(x)),
                 lambda x: mp.tanh(m_softplus(x)) + x * m_sig(x) / mp.cosh(m_softplus(x)) ** 2, []),
    }


WORST_EXTREME = {}


def activations():
    P = Pick("act")
    acts = [
        ("sigmoid", [{}], lambda x, c: torch.sigmoid(x)),
        ("tanh", [{}], lambda x, c: torch.tanh(x)),
        ("relu", [{}], lambda x, c: F.relu(x)),
        ("leaky_relu", [{"negative_slope": P.f(0.01, 0.02, 0.4)}, {"negative_slope": P.f(0.2, 0.001, 0.9)}],
         lambda x, c: F.leaky_relu(x, c["negative_slope"])),
        ("elu", [{"alpha": 1.0}, {"alpha": P.f(0.3, 0.1, 2.5)}], lambda x, c: F.elu(x, c["alpha"])),
        ("selu", [{"alpha": SELU_A, "scale": SELU_S}], lambda x, c: F.selu(x)),
        ("gelu_erf", [{}], lambda x, c: F.gelu(x)),
        ("gelu_tanh", [{}], lambda x, c: F.gelu(x, approximate="tanh")),
        ("silu", [{}], lambda x, c: F.silu(x)),
        ("softplus", [{"beta": 1.0, "threshold": 20.0}], lambda x, c: F.softplus(x)),
        ("hardswish", [{}], lambda x, c: F.hardswish(x)),
        ("mish", [{}], lambda x, c: F.mish(x)),
    ]
    ext = [0.0, -0.0]
    mags = [1e-30, 1e-8, 0.5, 3.0, 20.0, 36.0, 100.0, 710.0, 1e3, 1e4]
    if VARIANT:
        mags = [10 ** P.f(0, -200, -20), 10 ** P.f(0, -12, -5), 3.0, 6.0, P.f(0, 18, 22), P.f(0, 30, 40), P.f(0, 80, 400),
                P.f(0, 700, 760), P.f(0, 900, 5000), P.f(0, 5000, 5e4)]
    for m in mags:
        ext += [m, -m]
    for nm, cfgs, fn in acts:
        for i, c in enumerate(cfgs):
            sh = (4, 7) if not VARIANT else tuple(P.i(0, 1, 6) for _ in range(P.i(0, 2, 4)))
            name = f"{nm}_{i}"
            fwd_bwd(name, nm, "activation", c, lambda x: fn(x, c), {"x": gen(name).standard_normal(sh) * 2},
                    "torch.nn.functional")
            # extreme inputs, with dy = 1, and the true values at 1000 digits rounded to float64
            name = f"{nm}_{i}_extreme"
            x = T(ext).requires_grad_(True)
            y = fn(x, c)
            (dx,) = torch.autograd.grad(y.sum(), x)
            f, df, kinks = exact_table(c)[nm]
            ye = np.array([float(f(mp.mpf(v))) for v in ext])
            de = np.array([float(df(mp.mpf(v))) for v in ext])
            kink = np.array([1.0 if v in kinks else 0.0 for v in ext])
            sc = np.maximum(1, np.abs(ye))
            ey = float(np.max(np.abs(y.detach().numpy() - ye) / sc))
            ed = float(np.max(np.abs(dx.numpy() - de) * (1 - kink)))
            assert ey < 1e-9 and ed < 1e-8, (name, ey, ed)
            WORST_EXTREME[name] = (ey, ed)
            S.add(name, nm, "activation_extreme", c,
                  {"x": x, "dy": np.ones(len(ext)), "y": y, "dx": dx, "y_exact": ye, "dx_exact": de, "kink": kink},
                  "torch.nn.functional; y_exact, dx_exact: mpmath at 1000 digits",
                  note="compare with y_exact and dx_exact; every value must be finite; where kink is 1 the derivative is a convention (dx shows PyTorch's)" + ("; above its threshold of 20 PyTorch returns x itself, up to 2e-9 below the true value" if nm == "softplus" else ""),
                  checks=f"torch against mpmath: y {ey:.1e} (relative to max(1,|y|)), dx {ed:.1e} absolute")
    # prelu
    rows = [("shared", (4, 5), 1), ("shared_nchw", (2, 3, 3, 4), 1), ("per_channel", (2, 3, 4, 3), 3),
            ("per_channel_2d", (5, 4), 4)]
    if VARIANT:
        c1, c2 = P.i(0, 2, 7), P.i(0, 2, 9)
        rows = [("v00", (P.i(0, 1, 7), P.i(0, 1, 9)), 1), ("v01", (2, 4, 3, P.i(0, 1, 5)), 1),
                ("v02", (P.i(0, 1, 4), c1, 3, P.i(0, 1, 4)), c1), ("v03", (P.i(0, 2, 6), c2), c2)]
    for nm, sh, na in rows:
        name = f"prelu_{nm}"
        g = gen(name)
        fwd_bwd(name, "prelu", "activation", {"num_parameters": na, "channel_axis": 1},
                lambda x, alpha: F.prelu(x, alpha), {"x": distinct(g, sh) * 2, "alpha": g.uniform(0.05, 0.5, na)},
                "torch.nn.functional.prelu")
    name = "prelu_extreme"
    x, al = T(ext).reshape(1, -1).requires_grad_(True), T([0.25]).requires_grad_(True)
    y = F.prelu(x, al)
    dx, da = torch.autograd.grad(y.sum(), (x, al))
    ye = np.array([[v if v > 0 else 0.25 * v for v in ext]])
    S.add(name, "prelu", "activation_extreme", {"num_parameters": 1, "channel_axis": 1},
          {"x": x, "alpha": al, "dy": np.ones((1, len(ext))), "y": y, "dx": dx, "dalpha": da, "y_exact": ye,
           "dx_exact": np.array([[1.0 if v > 0 else 0.25 for v in ext]]),
           "kink": np.array([[1.0 if v == 0 else 0.0 for v in ext]])}, "torch.nn.functional.prelu")
    # softmax, log_softmax
    for kind, f, sp in (("softmax", lambda x: F.softmax(x, -1), scipy.special.softmax),
                        ("log_softmax", lambda x: F.log_softmax(x, -1), scipy.special.log_softmax)):
        for i, sh in enumerate([(4, 7), (1, 1), (2, 3, 5)] if not VARIANT else
                               [(P.i(0, 1, 9), P.i(0, 2, 15)), (3, 1), (P.i(0, 1, 3), P.i(0, 1, 4), P.i(0, 2, 7))]):
            name = f"{kind}_{i}"
            x = gen(name).standard_normal(sh) * 2
            t = fwd_bwd(name, kind, "activation", {"axis": -1}, f, {"x": x}, "torch.nn.functional")
            assert np.max(np.abs(sp(x, axis=-1) - t["y"].detach().numpy())) < 1e-13
        name = f"{kind}_extreme"
        x = np.array([[1e3, 0, -1e3, 1], [1e4, -1e4, 1e4, 0], [-1e4, -1e4, -1e4, -1e4], [1e-30, -1e-30, 0, -0.0],
                      [710, 709, -745, 700], [1e3, 1e3 + 1e-9, 999, -1e3]], dtype=float)
        if VARIANT:
            x = x * P.f(0, 0.5, 3) + P.f(0, -100, 100)
        t = fwd_bwd(name, kind, "activation_extreme", {"axis": -1}, f, {"x": x}, "torch.nn.functional", check=False,
                    f32=False, note="every value must be finite")
        ex = sp(x, axis=-1)
        assert np.max(np.abs(ex - t["y"].detach().numpy()) / np.maximum(1, np.abs(ex))) < 1e-12
        S.arrays[f"{name}/y_exact"] = ex
        S.cases[-1]["tensors"]["y_exact"] = list(ex.shape)
        S.cases[-1]["reference"] += "; y_exact: scipy.special"
    # maxout
    rows = [(4, 6, 5, 2), (3, 4, 3, 4), (1, 5, 2, 3)]
    if VARIANT:
        rows = [(P.i(0, 1, 7), P.i(0, 2, 12), P.i(0, 1, 9), P.i(0, 2, 6)) for _ in range(3)]
    for i, (n, d, o, k) in enumerate(rows):
        name = f"maxout_{i}"
        g = gen(name)
        fwd_bwd(name, "maxout", "activation", {"in_features": d, "out_features": o, "pieces": k},
                lambda x, weight, bias: (torch.einsum("nd,kod->nko", x, weight) + bias).max(1).values,
                {"x": g.standard_normal((n, d)), "weight": g.standard_normal((k, o, d)), "bias": g.standard_normal((k, o))},
                "by hand with torch", note="weight [pieces,out,in], bias [pieces,out]; y[n,o] = max_k(weight[k,o].x[n] + bias[k,o])")
    rows = [((4, 6), 2), ((2, 6, 3, 3), 3)] if not VARIANT else [((3, 8), 4), ((2, 10, 2, 3), 5), ((2, 6, 3, 2), 2)]
    for i, (sh, k) in enumerate(rows):
        name = f"maxout_channels_{i}"
        fwd_bwd(name, "maxout_channels", "activation", {"pieces": k, "channel_axis": 1},
                lambda x: x.reshape(x.shape[0], x.shape[1] // k, k, *x.shape[2:]).max(2).values,
                {"x": distinct(gen(name), sh)}, "by hand with torch", note="y[n,c] = max over j<k of x[n,c*k+j]")
    name = "maxout_channels_extreme"
    xe = np.array([[1e3, -1e3, -1e3, -1e4, 1e-30, -1e-30, 0.0, 1e-30], [-1e-30, -1e3, 1e4, 1e3, -0.0, 1e-8, -1e-8, -1e-30]])
    if VARIANT:
        xe = xe[:, ::-1] * P.f(0, 0.5, 3)
    fwd_bwd(name, "maxout_channels", "activation_extreme", {"pieces": 2, "channel_axis": 1},
            lambda x: x.reshape(2, 4, 2).max(2).values, {"x": xe}, "by hand with torch", check=False, f32=False,
            note="y[n,c] = max over j<k of x[n,c*k+j]")


# --------------------------------------------------------------------------
# losses


def losses():
    P = Pick("loss")
    CE = "torch.nn.functional.cross_entropy"

    def ce(name, x, tgt, red, ls, w, **kw):
        tt, wt = torch.tensor(tgt), None if w is None else T(w)
        ex = {"target": tt.double()}
        if w is not None:
            ex["class_weights"] = wt
        fwd_bwd(name, "cross_entropy", kw.pop("group", "loss"),
                {"reduction": red, "label_smoothing": ls, "class_weights": w is not None, "target": "class indices"},
                lambda x: F.cross_entropy(x, tt, None if wt is None else wt.to(x.dtype), reduction=red, label_smoothing=ls),
                {"x": x}, CE, extra=ex, value_name="value", **kw)

    wnote = "reduction mean with class weights divides by the sum of the weights of the targets"
    rows = [("mean", 0.0, False), ("sum", 0.0, False), ("none", 0.0, False), ("mean", 0.1, False), ("mean", 0.0, True),
            ("sum", 0.0, True), ("mean", 0.1, True)]
    for i, (red, ls, w) in enumerate(rows):
        n, c = P.i(6, 1, 17), P.i(5, 2, 12)
        name = f"cross_entropy_{i}"
        g = gen(name)
        ce(name, g.standard_normal((n, c)) * 2, g.integers(0, c, n), red, P.f(ls, 0.02, 0.4) if ls else 0.0,
           g.uniform(0.2, 2, c) if w else None, note=wnote if w else None)
    n2 = P.i(4, 5, 9)
    ce("cross_entropy_two_classes", gen("ce2").standard_normal((n2, 2)), gen("ce2t").integers(0, 2, n2), "mean", 0.0, None)
    big = 1e4 if not VARIANT else P.f(0, 2e3, 3e4)
    x = np.array([[big, -big, 0], [-big, big, big], [big, big, big], [0, 0, -big], [1, 2, 3]])
    for i, tgt in enumerate([[0, 1, 2, 0, 2], [1, 0, 0, 2, 0]]):
        ce(f"cross_entropy_extreme_{i}", x, np.array(tgt), "mean", 0.0, None, check=False, f32=False, group="loss_extreme",
           note="must be finite")
    name = "cross_entropy_soft_targets"
    g = gen(name)
    n, c = P.i(5, 2, 9), P.i(4, 2, 9)
    pt = T(g.dirichlet(np.ones(c), n))
    fwd_bwd(name, "cross_entropy_soft", "loss", {"reduction": "mean", "label_smoothing": 0.0, "target": "probabilities"},
            lambda x: F.cross_entropy(x, pt.to(x.dtype)), {"x": g.standard_normal((n, c))}, CE, extra={"target": pt},
            value_name="value", note="mean over the batch")

    for i, (red, w) in enumerate([("mean", False), ("sum", False), ("mean", True)]):
        name = f"nll_{i}"
        g = gen(name)
        n, c = P.i(5, 1, 13), P.i(4, 2, 11)
        lp = torch.log_softmax(T(g.standard_normal((n, c))), -1).numpy()
        tt, wt = torch.tensor(g.integers(0, c, n)), T(g.uniform(0.2, 2, c)) if w else None
        ex = {"target": tt.double()}
        if w:
            ex["class_weights"] = wt
        fwd_bwd(name, "nll", "loss", {"reduction": red, "class_weights": w},
                lambda x: F.nll_loss(x, tt, None if wt is None else wt.to(x.dtype), reduction=red), {"x": lp},
                "torch.nn.functional.nll_loss", extra=ex, value_name="value", note="x: log-probabilities")

    for i, (red, pw) in enumerate([("mean", False), ("sum", False), ("mean", True), ("none", False)]):
        name = f"bce_with_logits_{i}"
        g = gen(name)
        sh = (P.i(5, 1, 9), P.i(3, 1, 7))
        tt = T(g.integers(0, 2, sh)) if i % 2 == 0 else T(g.random(sh))
        pt = T(g.uniform(0.5, 3, sh[1])) if pw else None
        ex = {"target": tt}
        if pw:
            ex["pos_weight"] = pt
        fwd_bwd(name, "bce_with_logits", "loss", {"reduction": red, "pos_weight": pw},
                lambda x: F.binary_cross_entropy_with_logits(x, tt.to(x.dtype), reduction=red,
                                                             pos_weight=None if pt is None else pt.to(x.dtype)),
                {"x": g.standard_normal(sh) * 2}, "torch.nn.functional.binary_cross_entropy_with_logits", extra=ex,
                value_name="value", note="mean over all elements")
    xe = np.array([big, big, -big, -big, 0.0, -0.0, 40.0, -40.0, 1e-30, -800.0])
    te = T([1, 0, 1, 0, 1, 0, 0, 1, 0.5, 0.25])
    fwd_bwd("bce_with_logits_extreme", "bce_with_logits", "loss_extreme", {"reduction": "mean", "pos_weight": False},
            lambda x: F.binary_cross_entropy_with_logits(x, te), {"x": xe},
            "torch.nn.functional.binary_cross_entropy_with_logits", extra={"target": te}, value_name="value", check=False,
            f32=False, note="must be finite")
    name = "bce_0"
    g = gen(name)
    sh = (P.i(4, 1, 9), P.i(3, 1, 7))
    tb = T(g.integers(0, 2, sh))
    fwd_bwd(name, "bce", "loss", {"reduction": "mean"}, lambda x: F.binary_cross_entropy(x, tb.to(x.dtype)),
            {"x": g.uniform(0.05, 0.95, sh)}, "torch.nn.functional.binary_cross_entropy", extra={"target": tb},
            value_name="value", note="x: probabilities")

    for kind, cfgs, f in (
            ("mse", [{}], lambda x, t, r, c: F.mse_loss(x, t, reduction=r)),
            ("l1", [{}], lambda x, t, r, c: F.l1_loss(x, t, reduction=r)),
            ("smooth_l1", [{"beta": 1.0}, {"beta": P.f(0.3, 0.1, 2)}],
             lambda x, t, r, c: F.smooth_l1_loss(x, t, reduction=r, beta=c["beta"])),
            ("huber", [{"delta": 1.0}, {"delta": P.f(0.5, 0.2, 2.5)}],
             lambda x, t, r, c: F.huber_loss(x, t, reduction=r, delta=c["delta"]))):
        for i, (c, red) in enumerate([(c, r) for c in cfgs for r in ("mean", "sum")]):
            name = f"{kind}_{i}"
            g = gen(name)
            sh = (P.i(5, 1, 9), P.i(4, 1, 8))
            tt = T(g.standard_normal(sh))
            fwd_bwd(name, kind, "loss", {"reduction": red, **c}, lambda x: f(x, tt.to(x.dtype), red, c),
                    {"x": g.standard_normal(sh) * 1.5}, f"torch.nn.functional.{kind}_loss", extra={"target": tt},
                    value_name="value", note="mean over all elements (batch and features)")

    def hinge(x, tt, margin, p):
        sy = x.gather(1, tt[:, None])
        m = (x - sy + margin).clamp(min=0) ** p
        m = m.scatter(1, tt[:, None], 0.0)
        return m.sum() / x.shape[0]
    for i, (margin, p) in enumerate([(1.0, 1), (1.0, 2), (P.f(0.5, 0.3, 2), 1)]):
        name = f"multiclass_hinge_{i}"
        g = gen(name)
        n, c = P.i(6, 1, 13), P.i(5, 3, 11)
        tt = torch.tensor(g.integers(0, c, n))
        x = g.standard_normal((n, c)) * 1.5
        t = fwd_bwd(name, "multiclass_hinge", "loss", {"margin": margin, "p": p, "reduction": "mean over the batch"},
                    lambda x: hinge(x, tt, margin, p), {"x": x}, "by hand; torch.nn.functional.multi_margin_loss * classes",
                    extra={"target": tt.double()}, value_name="value",
                    note="L_i = sum over j != y_i of max(0, s_j - s_yi + margin)^p, mean over i (CS231n); "
                         "= number_of_classes * torch multi_margin_loss")
        same(F.multi_margin_loss(T(x), tt, p=p, margin=margin) * c, t["value"], 1e-13)

    for i, red in enumerate(["batchmean", "mean", "sum"]):
        name = f"kl_div_{i}"
        g = gen(name)
        n, c = P.i(5, 2, 9), P.i(4, 2, 8)
        tt = T(g.dirichlet(np.ones(c), n))
        lp = torch.log_softmax(T(g.standard_normal((n, c))), -1).numpy()
        t = fwd_bwd(name, "kl_div", "loss", {"reduction": red, "log_target": False},
                    lambda x: F.kl_div(x, tt.to(x.dtype), reduction=red), {"x": lp}, "torch.nn.functional.kl_div",
                    extra={"target": tt}, value_name="value",
                    note="x: log-probabilities q, target: probabilities p; sum p*(log p - log q); batchmean divides by N, "
                         "mean by N*C; dx with respect to the log-probabilities")
        if red == "batchmean":
            same(np.mean(scipy.special.rel_entr(tt.numpy(), np.exp(lp)).sum(1)), t["value"], 1e-12)


# --------------------------------------------------------------------------
# regularizers, initializers


def regularizers():
    P = Pick("reg")
    for i, sh in enumerate([(4, 5), (3, 2, 3, 3)] if not VARIANT else [(P.i(0, 1, 9), P.i(0, 1, 9)), (2, P.i(0, 1, 4), 3, 2)]):
        l1, l2 = P.f(0.01, 0.001, 0.2), P.f(0.003, 0.001, 0.2)
        g = gen(f"reg{i}")
        w = g.standard_normal(sh)
        w.flat[0] = 0.0
        sg = np.sign(w)
        wt = T(w).requires_grad_(True)
        v1 = l1 * float(np.abs(w).sum())
        same(torch.autograd.grad(l1 * wt.abs().sum(), wt)[0], l1 * sg)
        S.add(f"l1_penalty_{i}", "l1_penalty", "regularizer", {"lambda": l1}, {"w": w, "value": v1, "dw": l1 * sg},
              "numpy", note="lambda * sum|w|; derivative at 0: 0")
        sq = float((w ** 2).sum())
        same(torch.autograd.grad(l2 * (wt ** 2).sum(), wt)[0], 2 * l2 * w)
        S.add(f"l2_penalty_{i}", "l2_penalty", "regularizer", {"lambda": l2},
              {"w": w, "value": l2 * sq, "dw": 2 * l2 * w, "value_half": 0.5 * l2 * sq, "dw_half": l2 * w}, "numpy",
              note="value: lambda * sum(w^2), dw = 2*lambda*w; value_half: 0.5*lambda*sum(w^2), dw_half = lambda*w "
                   "(= PyTorch's weight_decay)")
        S.add(f"elastic_net_{i}", "elastic_net", "regularizer", {"lambda1": l1, "lambda2": l2},
              {"w": w, "value": v1 + l2 * sq, "dw": l1 * sg + 2 * l2 * w, "value_half": v1 + 0.5 * l2 * sq,
               "dw_half": l1 * sg + l2 * w}, "numpy",
              note="value: lambda1*sum|w| + lambda2*sum(w^2); value_half: with 0.5*lambda2")
        c = P.f(1.5, 0.5, 2.0)
        w2 = w.reshape(sh[0], -1)
        out = torch.renorm(T(w2), 2, 0, c).numpy()
        nrm = np.linalg.norm(w2, axis=1, keepdims=True)
        exact = w2 * np.minimum(1, c / np.maximum(nrm, 1e-300))
        S.add(f"max_norm_{i}", "max_norm", "regularizer", {"max_norm": c, "axis": "each row (output unit)"},
              {"w": w, "w_after": exact.reshape(sh), "w_after_torch": out.reshape(sh)}, "numpy; torch.renorm",
              note="rows with a norm above max_norm are scaled down to it; torch.renorm divides by norm+1e-7 instead",
              checks=f"relative difference {relerr(out, exact):.1e}")


def initializers():
    P = Pick("init")
    rows = [(5, 7), (8, 3, 3, 3)] if not VARIANT else [(P.i(0, 2, 30), P.i(0, 2, 30)), (P.i(0, 2, 9), P.i(0, 1, 9), P.i(0, 1, 5), 3)]
    for i, sh in enumerate(rows):
        fi, fo = nn.init._calculate_fan_in_and_fan_out(torch.empty(sh))
        S.add(f"init_scale_{i}", "init_scale", "initializer", {"weight_shape": list(sh), "relu_gain": math.sqrt(2)},
              {"fan_in": fi, "fan_out": fo, "glorot_uniform_bound": math.sqrt(6 / (fi + fo)),
               "glorot_normal_std": math.sqrt(2 / (fi + fo)), "he_normal_std": math.sqrt(2 / fi),
               "he_uniform_bound": math.sqrt(6 / fi), "lecun_normal_std": math.sqrt(1 / fi)},
              "formulas (fans by torch)", note="fan_in = in * kh * kw, fan_out = out * kh * kw")


# --------------------------------------------------------------------------
# optimizers


def np_optimizer(kind, c):
    """Update rules as in README.md, in numpy: returns step(p, g, state, t), t from 1."""
    lr, wd = c["lr"], c.get("weight_decay", 0.0)

    def sgd(p, g, s, t):
        g = g + wd * p
        mu = c["momentum"]
        if mu:
            s["b"] = g if t == 1 else mu * s["b"] + (1 - c["dampening"]) * g
            g = g + mu * s["b"] if c["nesterov"] else s["b"]
        return p - lr * g

    def adagrad(p, g, s, t):
        g = g + wd * p
        s["v"] = s.get("v", c["initial_accumulator_value"]) + g * g
        return p - lr / (1 + (t - 1) * c["lr_decay"]) * g / (np.sqrt(s["v"]) + c["eps"])

    def adadelta(p, g, s, t):
        g = g + wd * p
        r, e = c["rho"], c["eps"]
        s["v"] = r * s.get("v", 0) + (1 - r) * g * g
        d = np.sqrt(s.get("a", 0 * g) + e) / np.sqrt(s["v"] + e) * g
        s["a"] = r * s.get("a", 0) + (1 - r) * d * d
        return p - lr * d

    def rmsprop(p, g, s, t):
        g = g + wd * p
        a = c["alpha"]
        s["v"] = a * s.get("v", 0) + (1 - a) * g * g
        v = s["v"]
        if c["centered"]:
            s["m"] = a * s.get("m", 0) + (1 - a) * g
            v = v - s["m"] ** 2
        u = g / (np.sqrt(v) + c["eps"])
        if c["momentum"]:
            s["b"] = c["momentum"] * s.get("b", 0) + u
            u = s["b"]
        return p - lr * u

    def moments(g, s, t):
        b1, b2 = c["betas"]
        s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
        s["v"] = b2 * s.get("v", 0) + (1 - b2) * g * g
        return s["m"], s["v"], 1 - b1 ** t, 1 - b2 ** t

    def adam(p, g, s, t):
        if kind == "adamw":
            p = p - lr * wd * p
        else:
            g = g + wd * p
        m, v, c1, c2 = moments(g, s, t)
        if c["amsgrad"]:
            s["x"] = np.maximum(s.get("x", 0), v)
            v = s["x"]
        return p - lr * (m / c1) / (np.sqrt(v / c2) + c["eps"])

    def nadam(p, g, s, t):
        if c["decoupled_weight_decay"]:
            p = p - lr * wd * p
        else:
            g = g + wd * p
        m, v, _, c2 = moments(g, s, t)
        b1, psi = c["betas"][0], c["momentum_decay"]
        mu, mu1 = (b1 * (1 - 0.5 * 0.96 ** (k * psi)) for k in (t, t + 1))
        s["mu"] = s.get("mu", 1) * mu
        d = np.sqrt(v / c2) + c["eps"]
        return p - lr * (1 - mu) / (1 - s["mu"]) * g / d - lr * mu1 / (1 - s["mu"] * mu1) * m / d

    def radam(p, g, s, t):
        if c["decoupled_weight_decay"]:
            p = p - lr * wd * p
        else:
            g = g + wd * p
        m, v, c1, c2 = moments(g, s, t)
        b2 = c["betas"][1]
        ri = 2 / (1 - b2) - 1
        rt = ri - 2 * t * b2 ** t / c2
        if rt > 5:
            r = math.sqrt((rt - 4) * (rt - 2) * ri / ((ri - 4) * (ri - 2) * rt))
            return p - lr * m / c1 * r * math.sqrt(c2) / (np.sqrt(v) + c["eps"])
        return p - lr * m / c1

    def adamax(p, g, s, t):
        g = g + wd * p
        b1, b2 = c["betas"]
        s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
        s["u"] = np.maximum(b2 * s.get("u", 0), np.abs(g) + c["eps"])
        return p - lr / (1 - b1 ** t) * s["m"] / s["u"]

    return {"sgd": sgd, "adagrad": adagrad, "adadelta": adadelta, "rmsprop": rmsprop, "adam": adam, "adamw": adam,
            "nadam": nadam, "radam": radam, "adamax": adamax}[kind]


def optimizers():
    P = Pick("opt")
    steps = 25
    lr = lambda base: P.f(base, base / 4, base * 3, 6)
    wd = lambda base: P.f(base, base / 3, base * 4, 6)
    b = lambda: [P(0.9, 0.8, 0.85, 0.95), P(0.999, 0.98, 0.99, 0.9995)]
    SGD = lambda **k: {"lr": lr(0.1), "momentum": 0.0, "dampening": 0.0, "nesterov": False, "weight_decay": 0.0, **k}
    ADA = lambda **k: {"lr": lr(0.05), "lr_decay": 0.0, "initial_accumulator_value": 0.0, "eps": 1e-10,
                       "weight_decay": 0.0, **k}
    ADD = lambda **k: {"lr": P.f(1.0, 0.5, 2.0), "rho": P(0.9, 0.85, 0.95), "eps": P(1e-6, 1e-5, 1e-7), "weight_decay": 0.0, **k}
    RMS = lambda **k: {"lr": lr(0.01), "alpha": P(0.99, 0.9, 0.95), "eps": 1e-8, "momentum": 0.0, "centered": False,
                       "weight_decay": 0.0, **k}
    ADM = lambda **k: {"lr": lr(0.01), "betas": b(), "eps": P(1e-8, 1e-7, 1e-8), "amsgrad": False, "weight_decay": 0.0, **k}
    NAD = lambda **k: {"lr": lr(0.01), "betas": b(), "eps": 1e-8, "momentum_decay": P.f(0.004, 0.001, 0.02),
                       "decoupled_weight_decay": False, "weight_decay": 0.0, **k}
    RAD = lambda **k: {"lr": lr(0.01), "betas": b(), "eps": 1e-8, "decoupled_weight_decay": False, "weight_decay": 0.0, **k}
    AMX = lambda **k: {"lr": lr(0.02), "betas": b(), "eps": 1e-8, "weight_decay": 0.0, **k}
    mom = lambda: P.f(0.9, 0.5, 0.97, 3)
    rows = [
        ("sgd", "plain", SGD()), ("sgd", "weight_decay", SGD(weight_decay=wd(0.01))),
        ("sgd", "momentum", SGD(momentum=mom())), ("sgd", "momentum_weight_decay", SGD(momentum=mom(), weight_decay=wd(0.01))),
        ("sgd", "nesterov", SGD(momentum=mom(), nesterov=True)),
        ("sgd", "nesterov_weight_decay", SGD(momentum=mom(), nesterov=True, weight_decay=wd(0.01))),
        ("adagrad", "plain", ADA()), ("adagrad", "lr_decay", ADA(lr_decay=P.f(0.1, 0.01, 0.5))),
        ("adagrad", "initial_accumulator", ADA(initial_accumulator_value=P.f(0.1, 0.01, 1), eps=1e-6)),
        ("adagrad", "weight_decay", ADA(weight_decay=wd(0.01))),
        ("adadelta", "plain", ADD()), ("adadelta", "weight_decay", ADD(weight_decay=wd(0.01))),
        ("rmsprop", "plain", RMS()), ("rmsprop", "momentum", RMS(momentum=mom())), ("rmsprop", "centered", RMS(centered=True)),
        ("rmsprop", "centered_momentum_weight_decay", RMS(centered=True, momentum=mom(), weight_decay=wd(0.01))),
        ("adam", "plain", ADM()), ("adam", "torch_defaults", {"lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-8,
                                                             "amsgrad": False, "weight_decay": 0.0}),
        ("adam", "beta2_099", ADM(betas=[0.9, 0.99])), ("adam", "amsgrad", ADM(amsgrad=True)),
        ("adam", "weight_decay", ADM(weight_decay=wd(0.05))), ("adam", "large_eps", ADM(eps=P(1e-3, 1e-2, 1e-4))),
        ("adamw", "plain", ADM(weight_decay=0.01)), ("adamw", "weight_decay", ADM(weight_decay=wd(0.2))),
        ("adamw", "amsgrad", ADM(weight_decay=wd(0.02), amsgrad=True)),
        ("nadam", "plain", NAD()), ("nadam", "weight_decay", NAD(weight_decay=wd(0.02))),
        ("nadam", "decoupled", NAD(weight_decay=wd(0.02), decoupled_weight_decay=True)),
        ("radam", "plain", RAD()), ("radam", "beta2_099", RAD(betas=[0.9, 0.99])), ("radam", "weight_decay", RAD(weight_decay=wd(0.02))),
        ("radam", "decoupled", RAD(weight_decay=wd(0.02), decoupled_weight_decay=True)),
        ("adamax", "plain", AMX()), ("adamax", "weight_decay", AMX(weight_decay=wd(0.02))),
        ("sgd", "clip_norm", {**SGD(momentum=mom()), "clip_norm": P.f(1.0, 0.3, 3)}),
        ("sgd", "clip_value", {**SGD(), "clip_value": P.f(0.5, 0.1, 1.0)}),
        ("adam", "clip_norm", {**ADM(), "clip_norm": P.f(0.7, 0.3, 3)}),
    ]
    cls = {"sgd": torch.optim.SGD, "adagrad": torch.optim.Adagrad, "adadelta": torch.optim.Adadelta,
           "rmsprop": torch.optim.RMSprop, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "nadam": torch.optim.NAdam,
           "radam": torch.optim.RAdam, "adamax": torch.optim.Adamax}
    for kind, nm, c in rows:
        name = f"{kind}_{nm}"
        g = gen(name)
        shw, shb = ((3, 4), (4,)) if not VARIANT else ((P.i(0, 1, 5), P.i(0, 1, 5)), (P.i(0, 1, 6),))
        w0, b0 = g.standard_normal(shw), g.standard_normal(shb)
        gw = g.standard_normal((steps, *shw)) * 10 ** g.uniform(-2, 0.5, (steps, 1, 1))
        gb = g.standard_normal((steps, *shb))
        gw[7], gb[7] = 0.0, 0.0                     # one step with no gradient at all
        gb[:, 0] = 0.0                              # one coordinate that never gets a gradient
        kw = {k: v for k, v in c.items() if not k.startswith("clip")}
        if "betas" in kw:
            kw["betas"] = tuple(kw["betas"])
        low = [nn.Parameter(T(w0).float()), nn.Parameter(T(b0).float())]
        opt, lw, lb = cls[kind](low, **kw), [], []
        for t in range(steps):
            low[0].grad, low[1].grad = T(gw[t]).float(), T(gb[t]).float()
            if "clip_norm" in c:
                torch.nn.utils.clip_grad_norm_(low, c["clip_norm"])
            if "clip_value" in c:
                torch.nn.utils.clip_grad_value_(low, c["clip_value"])
            opt.step()
            lw.append(low[0].detach().numpy().copy())
            lb.append(low[1].detach().numpy().copy())
        ps = [nn.Parameter(T(w0)), nn.Parameter(T(b0))]
        opt = cls[kind](ps, **kw)
        tw, tb, norms = [], [], []
        p2 = [w0.copy(), b0.copy()]
        st = [{}, {}]
        f = np_optimizer(kind, c)
        for t in range(steps):
            ps[0].grad, ps[1].grad = T(gw[t]), T(gb[t])
            if "clip_norm" in c:
                norms.append(float(torch.nn.utils.clip_grad_norm_(ps, c["clip_norm"])))
            if "clip_value" in c:
                torch.nn.utils.clip_grad_value_(ps, c["clip_value"])
            g2 = [p.grad.numpy().copy() for p in ps]
            opt.step()
            tw.append(ps[0].detach().numpy().copy())
            tb.append(ps[1].detach().numpy().copy())
            p2 = [f(p, q, s, t + 1) for p, q, s in zip(p2, g2, st)]
            same(p2[0], tw[-1], 1e-11, name)
            same(p2[1], tb[-1], 1e-11, name)
        ts = {"w_init": w0, "b_init": b0, "w_grads": gw, "b_grads": gb, "w_steps": np.array(tw), "b_steps": np.array(tb)}
        if norms:
            ts["grad_norms"] = np.array(norms)
        S.add(name, f"optimizer_{kind}", "optimizer", {"steps": steps, **c}, ts, f"torch.optim.{cls[kind].__name__}",
              note="w_steps[t], b_steps[t]: the parameters after step t" +
                   ("; both gradients are clipped together, by max_norm/(norm+1e-6) where below 1" if "clip_norm" in c else ""),
              checks="the update rule written out in numpy agrees to 1e-11",
              f32={"w_steps": float(f"{relerr(lw, tw):.1e}"), "b_steps": float(f"{relerr(lb, tb):.1e}")})
    for i in range(2):
        name = f"clip_by_norm_{i}"
        g = gen(name)
        a, bb = g.standard_normal((3, 4)), g.standard_normal(5)
        n = math.sqrt(float((a ** 2).sum() + (bb ** 2).sum()))
        mx = (P.f(1.5, 0.5, 2.0), P.f(100.0, 20, 90, 1))[i]
        ps = [nn.Parameter(torch.zeros(3, 4)), nn.Parameter(torch.zeros(5))]
        ps[0].grad, ps[1].grad = T(a), T(bb)
        same(torch.nn.utils.clip_grad_norm_(ps, mx), n)
        sc = min(1.0, mx / n)
        S.add(name, "clip_by_norm", "optimizer", {"max_norm": mx, "norm": 2},
              {"g0": a, "g1": bb, "norm": n, "g0_after": a * sc, "g1_after": bb * sc, "g0_after_torch": ps[0].grad,
               "g1_after_torch": ps[1].grad}, "numpy; torch.nn.utils.clip_grad_norm_",
              note="after: scaled by min(1, max_norm/norm); after_torch: min(1, max_norm/(norm+1e-6))")
    name = "clip_by_value_0"
    a = gen(name).standard_normal((3, 4))
    mx = P.f(0.6, 0.1, 1.0)
    S.add(name, "clip_by_value", "optimizer", {"clip_value": mx}, {"g": a, "g_after": np.clip(a, -mx, mx)}, "numpy.clip")


def lbfgs():
    P = Pick("lbfgs")
    n = P.i(10, 4, 14)
    x0 = np.tile([-1.2, 1.0], n)[:n]

    def rosen(x):
        return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()
    g = gen("lbfgs")
    r, d = P.i(20, 15, 30), P.i(6, 3, 9)
    A, bb = g.standard_normal((r, d)), g.standard_normal(r)
    At, bt = T(A), T(bb)

    def lsq(x):
        return 0.5 * ((At @ x - bt) ** 2).sum()
    sol = np.linalg.lstsq(A, bb, rcond=None)[0]
    for name, f, start, best in (("lbfgs_rosenbrock", rosen, x0, np.ones(n)), ("lbfgs_least_squares", lsq, np.zeros(d), sol)):
        cnt = [0]
        x = nn.Parameter(T(start))
        opt = torch.optim.LBFGS([x], lr=1.0, max_iter=500, max_eval=2000, tolerance_grad=1e-9, tolerance_change=1e-14,
                                history_size=10, line_search_fn="strong_wolfe")

        def closure():
            cnt[0] += 1
            opt.zero_grad()
            v = f(x)
            v.backward()
            return v
        opt.step(closure)
        fx = float(f(x.detach()))
        fg = lambda v: (lambda q: (f(q).item(), torch.autograd.grad(f(q), q)[0].numpy()))(T(v).requires_grad_(True))
        res = scipy.optimize.minimize(fg, start, jac=True, method="L-BFGS-B",
                                      options={"maxcor": 10, "ftol": 1e-16, "gtol": 1e-9, "maxiter": 500, "maxfun": 2000})
        if name == "lbfgs_rosenbrock":
            same(scipy.optimize.rosen(start), float(f(T(start))), 1e-13)
        ts = {"x0": start, "f0": float(f(T(start))), "g0": fg(start)[1], "minimizer": best, "minimum": float(f(T(best))),
              "torch_x": x, "torch_f": fx, "torch_evaluations": cnt[0],
              "torch_iterations": opt.state[x]["n_iter"], "scipy_x": res.x, "scipy_f": float(res.fun),
              "scipy_evaluations": res.nfev, "scipy_iterations": res.nit}
        if name == "lbfgs_least_squares":
            ts.update(A=A, b=bb)
        S.add(name, name, "optimizer", {"history": 10, "line_search": "strong Wolfe", "tolerance_grad": 1e-9,
                                        "max_iterations": 500, "dimension": len(start)}, ts,
              "torch.optim.LBFGS (strong_wolfe); scipy.optimize.minimize(method='L-BFGS-B')",
              note=("f = sum 100*(x[i+1]-x[i]^2)^2 + (1-x[i])^2" if "rosen" in name else "f = 0.5*|A x - b|^2")
              + "; targets, not a trajectory: reach a value this small with evaluations of the same order")


# --------------------------------------------------------------------------
# schedules


def torch_lrs(make, lr, steps, momentum=None):
    p = nn.Parameter(torch.zeros(1))
    opt = torch.optim.SGD([p], lr=lr, momentum=momentum or 0.0)
    sch = make(opt)
    out, ms = [], []
    for _ in range(steps):
        out.append(opt.param_groups[0]["lr"])
        ms.append(opt.param_groups[0]["momentum"])
        opt.step()
        sch.step()
    return np.array(out), np.array(ms)


def schedules():
    P = Pick("sched")
    L = torch.optim.lr_scheduler
    note = "lr[t]: the learning rate in force during step t = 0, 1, ..."
    n = P.i(60, 40, 90)

    def add(name, kind, cfg, lrs, ref, hand=None, extra=None, nt=None, tol=1e-12):
        chk = None
        if hand is not None:
            e = same(hand, lrs, tol, name)
            chk = f"closed form agrees to {e:.0e}"
        S.add(name, f"schedule_{kind}", "schedule", cfg, {"lr": lrs, **(extra or {})}, ref, note + (("; " + nt) if nt else ""),
              checks=chk)
    t = np.arange(n)
    lr = P.f(0.1, 0.01, 1.0)
    s, gm = P.i(10, 3, 17), P.f(0.5, 0.1, 0.9)
    add("schedule_step_0", "step", {"lr": lr, "step_size": s, "gamma": gm}, torch_lrs(lambda o: L.StepLR(o, s, gm), lr, n)[0],
        "torch StepLR", lr * gm ** (t // s))
    ms = [10, 25, 40] if not VARIANT else sorted(P.r.sample(range(2, n - 2), 4))
    gm2 = P.f(0.1, 0.05, 0.8)
    add("schedule_multi_step_0", "multi_step", {"lr": lr, "milestones": ms, "gamma": gm2},
        torch_lrs(lambda o: L.MultiStepLR(o, ms, gm2), lr, n)[0], "torch MultiStepLR",
        lr * gm2 ** np.searchsorted(ms, t, side="right"))
    ge = P.f(0.95, 0.85, 0.99)
    add("schedule_exponential_0", "exponential", {"lr": lr, "gamma": ge, "k": -math.log(ge)},
        torch_lrs(lambda o: L.ExponentialLR(o, ge), lr, n)[0], "torch ExponentialLR", lr * np.exp(math.log(ge) * t),
        nt="gamma^t = exp(-k*t)")
    for i, em in enumerate([0.0, P.f(0.001, 0.0005, 0.005)]):
        tm = n - 1 if i == 0 else P.i(20, 12, 35)
        lrs = torch_lrs(lambda o: L.CosineAnnealingLR(o, tm, em), lr, min(n, tm + 1))[0]
        tt = np.arange(len(lrs))
        add(f"schedule_cosine_{i}", "cosine", {"lr": lr, "T_max": tm, "eta_min": em}, lrs, "torch CosineAnnealingLR",
            em + (lr - em) * (1 + np.cos(np.pi * tt / tm)) / 2, nt="t = 0 .. T_max, within one half period")
    for i, (t0, tmul, em) in enumerate([(10, 1, 0.0), (5, 2, 0.001)] if not VARIANT else
                                       [(P.i(0, 4, 15), 1, P.f(0, 0, 0.005)), (P.i(0, 3, 8), P(0, 2, 3), P.f(0, 0, 0.005))]):
        lrs = torch_lrs(lambda o: L.CosineAnnealingWarmRestarts(o, t0, tmul, em), lr, n)[0]
        hand, cur, ti = [], 0, t0
        for _ in range(n):
            hand.append(em + (lr - em) * (1 + math.cos(math.pi * cur / ti)) / 2)
            cur += 1
            if cur == ti:
                cur, ti = 0, ti * tmul
        add(f"schedule_warm_restarts_{i}", "warm_restarts", {"lr": lr, "T_0": t0, "T_mult": tmul, "eta_min": em}, lrs,
            "torch CosineAnnealingWarmRestarts", np.array(hand), nt="SGDR")
    for i, (strat, three) in enumerate([("cos", False), ("linear", False), ("cos", True)]):
        tot, pct, df, fdf = n, P.f(0.3, 0.15, 0.45, 2), P.f(25.0, 5, 40, 1), P(1e4, 1e3, 1e4, 500.0)
        mx = lr
        lrs, mom = torch_lrs(lambda o: L.OneCycleLR(o, mx, tot, pct_start=pct, anneal_strategy=strat, div_factor=df,
                                                    final_div_factor=fdf, three_phase=three, cycle_momentum=True,
                                                    base_momentum=0.85, max_momentum=0.95), lr, tot - 1, momentum=0.95)
        p = nn.Parameter(torch.zeros(1))
        # the last of the tot values
        o = torch.optim.SGD([p], lr=lr, momentum=0.95)
        sc = L.OneCycleLR(o, mx, tot, pct_start=pct, anneal_strategy=strat, div_factor=df, final_div_factor=fdf,
                          three_phase=three)
        for _ in range(tot - 1):
            o.step()
            sc.step()
        lrs = np.append(lrs, o.param_groups[0]["lr"])
        mom = np.append(mom, o.param_groups[0]["momentum"])
        ini, fin = mx / df, mx / df / fdf
        if three:
            ends = [(pct * tot - 1, ini, mx), (2 * pct * tot - 2, mx, ini), (tot - 1, ini, fin)]
        else:
            ends = [(pct * tot - 1, ini, mx), (tot - 1, mx, fin)]
        hand = []
        for q in range(tot):
            st = 0.0
            for e, a, z in ends:
                if q <= e or e == tot - 1:
                    f = (q - st) / (e - st)
                    hand.append(z + (a - z) / 2 * (1 + math.cos(math.pi * f)) if strat == "cos" else a + (z - a) * f)
                    break
                st = e
        add(f"schedule_one_cycle_{i}", "one_cycle", {"max_lr": mx, "total_steps": tot, "pct_start": pct, "anneal": strat,
                                                     "div_factor": df, "final_div_factor": fdf, "three_phase": three,
                                                     "base_momentum": 0.85, "max_momentum": 0.95}, lrs, "torch OneCycleLR",
            np.array(hand), extra={"momentum": mom},
            nt="phases end at pct_start*total_steps-1 (not rounded) and total_steps-1", tol=1e-11)
    for i, mode in enumerate(["triangular", "triangular2", "exp_range"]):
        up, dn = P.i(8, 3, 12), P.i(8, 3, 12) if VARIANT and i else None
        lo, hi, g3 = P.f(0.001, 0.0005, 0.01), P.f(0.1, 0.02, 0.5), P.f(0.97, 0.9, 0.99) if mode == "exp_range" else 1.0
        lrs = torch_lrs(lambda o: L.CyclicLR(o, lo, hi, up, dn, mode, g3, cycle_momentum=False), lr, n)[0]
        dd = dn or up
        cyc = np.floor(t / (up + dd))
        ph = t - cyc * (up + dd)
        tri = np.where(ph <= up, ph / up, 1 - (ph - up) / dd)
        sc = {"triangular": 1.0, "triangular2": 0.5 ** cyc, "exp_range": g3 ** t}[mode]
        add(f"schedule_cyclic_{mode}", "cyclic", {"base_lr": lo, "max_lr": hi, "step_size_up": up, "step_size_down": dd,
                                                  "mode": mode, "gamma": g3}, lrs, "torch CyclicLR", lo + (hi - lo) * tri * sc,
            tol=1e-11)
    ti, pw = P.i(50, 20, 39), P.f(2.0, 0.5, 3.0, 2)
    add("schedule_polynomial_0", "polynomial", {"lr": lr, "total_iters": ti, "power": pw},
        torch_lrs(lambda o: L.PolynomialLR(o, ti, pw), lr, n)[0], "torch PolynomialLR",
        lr * (1 - np.minimum(t, ti) / ti) ** pw, tol=1e-11)
    sf, wi = P.f(0.1, 0.02, 0.5), P.i(10, 4, 20)
    add("schedule_linear_warmup_0", "linear_warmup", {"lr": lr, "start_factor": sf, "end_factor": 1.0, "warmup_steps": wi},
        torch_lrs(lambda o: L.LinearLR(o, sf, 1.0, wi), lr, n)[0], "torch LinearLR",
        lr * (sf + (1 - sf) * np.minimum(t, wi) / wi))
    add("schedule_warmup_cosine_0", "warmup_cosine", {"lr": lr, "start_factor": sf, "warmup_steps": wi, "total_steps": n,
                                                      "eta_min": 0.0},
        np.where(t < wi, lr * (sf + (1 - sf) * t / wi), lr * (1 + np.cos(np.pi * (t - wi) / (n - wi))) / 2), "by hand",
        hand=torch_lrs(lambda o: L.SequentialLR(o, [L.LinearLR(o, sf, 1.0, wi), L.CosineAnnealingLR(o, n - wi)], [wi]), lr, n)[0],
        nt="linear for t < warmup_steps, then cosine over the total_steps-warmup_steps others; checked with torch SequentialLR")
    k = P.f(0.05, 0.01, 0.5)
    add("schedule_inverse_time_0", "inverse_time", {"lr": lr, "k": k}, lr / (1 + k * t), "by hand: lr/(1+k*t)",
        torch_lrs(lambda o: L.LambdaLR(o, lambda q: 1 / (1 + k * q)), lr, n)[0])
    for i, (tt, m) in enumerate([(60, 6), (50, 4)] if not VARIANT else [(P.i(0, 40, 90), P.i(0, 2, 7)) for _ in range(2)]):
        w = math.ceil(tt / m)
        add(f"schedule_snapshot_{i}", "snapshot", {"lr": lr, "T": tt, "M": m},
            np.array([lr / 2 * (math.cos(math.pi * ((q - 1) % w) / w) + 1) for q in range(1, tt + 1)]),
            "by hand (Huang et al. 2017, equation 2)",
            torch_lrs(lambda o: L.CosineAnnealingWarmRestarts(o, w), lr, tt)[0],
            nt="lr[i] is iteration i+1 of the paper: lr/2*(cos(pi*mod(t-1,ceil(T/M))/ceil(T/M))+1); a snapshot at the end of each cycle")
    for i in range(3):
        name = f"schedule_plateau_{i}"
        g = gen(name)
        losses_ = np.abs(1.0 / (1 + 0.3 * np.arange(40)) + 0.04 * g.standard_normal(40))
        losses_[22:30] = losses_[22]
        c = {"lr": lr, "mode": "min", "factor": P.f(0.5, 0.1, 0.8), "patience": P.i(3, 0, 5), "threshold": 1e-4,
             "threshold_mode": "rel", "cooldown": 0, "min_lr": 0.0, "eps": 1e-8}
        if i == 1:
            c.update(cooldown=P.i(2, 1, 4), min_lr=0.01 * lr, patience=P.i(1, 0, 2))
        if i == 2:
            losses_ = 1 - losses_
            c.update(mode="max", threshold_mode="abs", threshold=P.f(0.01, 0.001, 0.05))
        p = nn.Parameter(torch.zeros(1))
        o = torch.optim.SGD([p], lr=lr)
        sc = L.ReduceLROnPlateau(o, mode=c["mode"], factor=c["factor"], patience=c["patience"], threshold=c["threshold"],
                                 threshold_mode=c["threshold_mode"], cooldown=c["cooldown"], min_lr=c["min_lr"], eps=c["eps"])
        after = []
        for v in losses_:
            o.step()
            sc.step(float(v))
            after.append(o.param_groups[0]["lr"])
        cur, best, bad, cool, hand = lr, None, 0, 0, []
        for v in losses_:
            th = c["threshold"]
            lim = None if best is None else (best * (1 - th) if c["mode"] == "min" else best + th)
            if best is None or (v < lim if c["mode"] == "min" else v > lim):
                best, bad = v, 0
            else:
                bad += 1
            if cool > 0:
                cool, bad = cool - 1, 0
            if bad > c["patience"]:
                new = max(cur * c["factor"], c["min_lr"])
                cur = new if cur - new > c["eps"] else cur
                cool, bad = c["cooldown"], 0
            hand.append(cur)
        same(hand, after, 1e-13, name)
        S.add(name, "schedule_plateau", "schedule", c, {"metric": losses_, "lr_after": np.array(after)}, "torch ReduceLROnPlateau",
              note="lr_after[t]: the learning rate after metric[t] has been reported")


# --------------------------------------------------------------------------
# averaging, metrics, preprocessing


def averaging():
    P = Pick("avg")
    n, sh = P.i(12, 5, 20), (P.i(3, 1, 5), P.i(4, 1, 5))
    seq = gen("avg").standard_normal((n, *sh))
    dec = P.f(0.99, 0.8, 0.999, 3)
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(T(seq[0]))
    for kind, fn in (("polyak", None), ("ema", get_ema_multi_avg_fn(dec))):
        m = M()
        am = AveragedModel(m) if fn is None else AveragedModel(m, multi_avg_fn=fn)
        out = []
        for q in seq:
            with torch.no_grad():
                m.w.copy_(T(q))
            am.update_parameters(m)
            out.append(am.module.w.detach().numpy().copy())
        out = np.array(out)
        if fn is None:
            hand = np.cumsum(seq, 0) / np.arange(1, n + 1)[:, None, None]
        else:
            hand = [seq[0]]
            for q in seq[1:]:
                hand.append(dec * hand[-1] + (1 - dec) * q)
            hand = np.array(hand)
        same(hand, out, 1e-12, kind)
        ts = {"params": seq, "average": out}
        if kind == "ema":
            z = np.zeros(sh)
            cor = []
            for i, q in enumerate(seq):
                z = dec * z + (1 - dec) * q
                cor.append(z / (1 - dec ** (i + 1)))
            ts["average_zero_start_corrected"] = np.array(cor)
        S.add(f"average_{kind}", f"average_{kind}", "averaging", {"decay": dec} if kind == "ema" else {}, ts,
              "torch.optim.swa_utils.AveragedModel",
              note="average[i] after params[i]; the first update copies" if kind == "polyak" else
              "average: starts as a copy of params[0]; average_zero_start_corrected: starts at zero, divided by 1-decay^i")


def metrics():
    P = Pick("metrics")
    for i in range(3):
        n, c = P.i((40, 25, 60)[i], 15, 90), P.i((4, 6, 10)[i], 3, 12)
        name = f"metrics_multiclass_{i}"
        g = gen(name)
        y = g.integers(0, c, n)
        sc = g.standard_normal((n, c))
        sc[np.arange(n), y] += 1.0
        if i == 1:
            sc[:, c - 1] = -10.0 - g.random(n)        # a class that is never predicted
        pr = sc.argmax(1)
        lab = list(range(c))
        k = P.i(3, 2, c - 1) if c > 3 else 2
        prf = lambda a: skm.precision_recall_fscore_support(y, pr, labels=lab, average=a, zero_division=0)
        ts = {"scores": sc, "target": y, "predicted": pr, "accuracy": skm.accuracy_score(y, pr),
              "top_k_accuracy": skm.top_k_accuracy_score(y, sc, k=k, labels=lab), "confusion": skm.confusion_matrix(y, pr, labels=lab)}
        for a in ("macro", "micro", "weighted"):
            ts[f"precision_{a}"], ts[f"recall_{a}"], ts[f"f1_{a}"] = prf(a)[:3]
        ts["precision"], ts["recall"], ts["f1"], ts["support"] = prf(None)
        ts["log_loss"] = skm.log_loss(y, scipy.special.softmax(sc, -1), labels=lab)
        S.add(name, "metrics_multiclass", "metric", {"classes": c, "k": k, "zero_division": 0}, ts, "sklearn.metrics",
              note="confusion[i,j]: true class i predicted as j; log_loss of softmax(scores)")
    for i in range(2):
        name = f"metrics_binary_{i}"
        g = gen(name)
        n = P.i(50, 20, 90)
        y = g.integers(0, 2, n)
        y[:2] = [0, 1]
        sc = g.standard_normal(n) + y
        if i == 1:
            sc = np.round(sc, 0)
        S.add(name, "metrics_binary", "metric", {"ties": i == 1}, {"scores": sc, "target": y, "roc_auc": skm.roc_auc_score(y, sc)},
              "sklearn.metrics.roc_auc_score", note="ties count one half")
    for i, sh in enumerate([(30,), (20, 3)] if not VARIANT else [(P.i(0, 10, 60),), (P.i(0, 10, 30), P.i(0, 2, 5))]):
        name = f"metrics_regression_{i}"
        g = gen(name)
        y = g.standard_normal(sh)
        p = y + 0.5 * g.standard_normal(sh)
        S.add(name, "metrics_regression", "metric", {"multioutput": "uniform average over the columns"},
              {"target": y, "predicted": p, "r2": skm.r2_score(y, p), "mse": skm.mean_squared_error(y, p),
               "mae": skm.mean_absolute_error(y, p)}, "sklearn.metrics")


def preprocessing():
    P = Pick("prep")
    name = "mean_image"
    sh = (P.i(6, 3, 12), P.i(3, 1, 4), P.i(4, 2, 6), P.i(5, 2, 6))
    x = gen(name).uniform(0, 255, sh)
    S.add(name, name, "preprocessing", {}, {"x": x, "mean": x.mean(0), "y": x - x.mean(0)}, "numpy",
          note="mean over N; y = x - mean")
    name = "channel_standardize"
    x = gen(name).uniform(0, 255, sh)
    m, s = x.mean((0, 2, 3)), x.std((0, 2, 3))
    S.add(name, name, "preprocessing", {"ddof": 0}, {"x": x, "mean": m, "std": s, "y": (x - m[:, None, None]) / s[:, None, None]},
          "numpy", note="mean and population standard deviation over N, H, W")
    n, d = P.i(30, 20, 50), P.i(6, 3, 9)
    name = "feature_standardize"
    x = gen(name).standard_normal((n, d)) * 3 + 2
    ss = skp.StandardScaler().fit(x)
    S.add(name, name, "preprocessing", {"ddof": 0}, {"x": x, "mean": ss.mean_, "std": ss.scale_, "y": ss.transform(x)},
          "sklearn StandardScaler")
    name = "pca_whitening"
    g = gen(name)
    x = g.standard_normal((n, d)) @ (g.standard_normal((d, d)) * np.linspace(0.3, 2, d)[:, None]) + g.standard_normal(d)
    mu = x.mean(0)
    xc = x - mu
    cov = xc.T @ xc / n
    ev, U = np.linalg.eigh(cov)
    ev, U = ev[::-1], U[:, ::-1]
    U = U * np.sign(U[np.abs(U).argmax(0), np.arange(d)])
    eps = P(1e-5, 1e-3, 1e-2, 1e-6)
    rot = xc @ U
    wh = rot / np.sqrt(ev + eps)
    zca = wh @ U.T
    k = P.i(3, 1, d - 1)
    pc = sklearn.decomposition.PCA().fit(x)
    same(pc.explained_variance_ * (n - 1) / n, ev, 1e-11)
    same(np.abs(pc.components_.T), np.abs(U), 1e-9)
    same(xc @ scipy.linalg.inv(scipy.linalg.sqrtm(cov + eps * np.eye(d))), zca, 1e-9)
    S.add(name, name, "preprocessing", {"eps": eps, "k": k, "covariance": "X^T X / N"},
          {"x": x, "mean": mu, "covariance": cov, "eigenvalues": ev, "components": U, "rotated": rot, "reduced": rot[:, :k],
           "whitened": wh, "zca": zca}, "numpy.linalg.eigh, checked with sklearn PCA and scipy sqrtm",
          note="columns of components: eigenvectors, largest eigenvalue first, sign: the largest entry is positive (compare rotated, "
               "reduced and whitened column by column up to sign); whitened = rotated/sqrt(eigenvalue+eps); zca = whitened U^T")
    name = "min_max"
    x = gen(name).standard_normal((n, d)) * 5
    lo, hi = P(0.0, -1.0, 0.1), P(1.0, 1.0, 0.9)
    ms = skp.MinMaxScaler((lo, hi)).fit(x)
    S.add(name, name, "preprocessing", {"feature_range": [lo, hi]}, {"x": x, "min": ms.data_min_, "max": ms.data_max_,
                                                                     "y": ms.transform(x)}, "sklearn MinMaxScaler")
    name = "one_hot"
    c = P.i(5, 2, 9)
    y = gen(name).integers(0, c, P.i(8, 4, 20))
    S.add(name, name, "preprocessing", {"classes": c}, {"ids": y, "y": np.eye(c)[y]}, "numpy")


# --------------------------------------------------------------------------
# whole networks

MAKE = {
    "linear": lambda c: nn.Linear(c["in"], c["out"], bias=c["bias"]),
    "conv2d": lambda c: nn.Conv2d(c["in"], c["out"], tuple(c["kernel"]), tuple(c["stride"]), tuple(c["padding"]), bias=c["bias"]),
    "batchnorm1d": lambda c: nn.BatchNorm1d(c["channels"], c["eps"], c["momentum"]),
    "batchnorm2d": lambda c: nn.BatchNorm2d(c["channels"], c["eps"], c["momentum"]),
    "layernorm": lambda c: nn.LayerNorm(c["normalized_shape"], c["eps"]),
    "maxpool2d": lambda c: nn.MaxPool2d(tuple(c["kernel"]), tuple(c["stride"]), tuple(c["padding"])),
    "avgpool2d": lambda c: nn.AvgPool2d(tuple(c["kernel"]), tuple(c["stride"])),
    "global_avgpool2d": lambda c: nn.AdaptiveAvgPool2d(1),
    "flatten": lambda c: nn.Flatten(),
    "tanh": lambda c: nn.Tanh(), "relu": lambda c: nn.ReLU(), "elu": lambda c: nn.ELU(c["alpha"]),
    "leaky_relu": lambda c: nn.LeakyReLU(c["negative_slope"]), "prelu": lambda c: nn.PReLU(c["num_parameters"], c["init"]),
    "sigmoid": lambda c: nn.Sigmoid(), "gelu_erf": lambda c: nn.GELU(), "silu": lambda c: nn.SiLU(),
}


def lin(i, o, bias=True):
    return {"kind": "linear", "in": i, "out": o, "bias": bias}


def conv(i, o, k, s=1, p=0, bias=True):
    return {"kind": "conv2d", "in": i, "out": o, "kernel": [k, k], "stride": [s, s], "padding": [p, p], "bias": bias}


def bn2(c, eps=1e-5, momentum=0.1):
    return {"kind": "batchnorm2d", "channels": c, "eps": eps, "momentum": momentum}


def build(layers, g):
    m = nn.Sequential(*[MAKE[c["kind"]](c) for c in layers])
    with torch.no_grad():
        for k, p in m.named_parameters():
            if p.dim() >= 2:
                p.copy_(T(g.standard_normal(tuple(p.shape)) / math.sqrt(p[0].numel())))
            elif layers[int(k.split(".")[0])]["kind"].startswith(("batchnorm", "layernorm")) and k.endswith("weight"):
                p.copy_(T(g.uniform(0.8, 1.2, tuple(p.shape))))
            elif layers[int(k.split(".")[0])]["kind"] != "prelu":
                p.copy_(T(0.1 * g.standard_normal(tuple(p.shape))))
    return m


def train_net(name, layers, xshape, n, bs, epochs, loss_kind, classes, opt_kind, oc, l2, sched=None, clip=None):
    g = gen(name)
    x = T(g.standard_normal((n, *xshape)))
    y = torch.tensor(g.integers(0, classes, n)) if loss_kind == "cross_entropy" else T(g.standard_normal((n, classes)))
    if loss_kind == "cross_entropy":
        with torch.no_grad():
            x += 0.8 * T(g.standard_normal((classes, *xshape)))[y]
    out = {}
    for dt in (F64, torch.float32):
        net = build(layers, gen(name + "#init")).to(dt)
        init = {k: v.detach().clone() for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
        kw = {k: (tuple(v) if k == "betas" else v) for k, v in oc.items()}
        cls = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}[opt_kind]
        opt = cls(net.parameters(), **kw)
        total = epochs * -(-n // bs)
        sc = torch.optim.lr_scheduler.CosineAnnealingLR(opt, total) if sched == "cosine" else None
        wn = [k for k, p in net.named_parameters() if p.dim() >= 2]
        xs = x.to(dt)
        lfun = (lambda o, t: F.cross_entropy(o, t)) if loss_kind == "cross_entropy" else (lambda o, t: F.mse_loss(o, t.to(dt)))
        dl, tl, g0 = [], [], None
        net.train()
        for ep in range(epochs):
            for q in range(0, n, bs):
                opt.zero_grad()
                d = lfun(net(xs[q:q + bs]), y[q:q + bs])
                pen = 0.5 * l2 * sum((p ** 2).sum() for k, p in net.named_parameters() if k in wn)
                loss = d + pen
                loss.backward()
                if g0 is None:
                    g0 = {k: p.grad.clone() for k, p in net.named_parameters()}
                if clip:
                    torch.nn.utils.clip_grad_norm_(net.parameters(), clip)
                opt.step()
                if sc:
                    sc.step()
                dl.append(d.item())
                tl.append(loss.item())
        net.eval()
        with torch.no_grad():
            o = net(xs)
        fin = {k: v.detach().clone() for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
        out[dt] = (init, g0, np.array(dl), np.array(tl), fin, o, wn)
    init, g0, dl, tl, fin, o, wn = out[F64]
    ts = {"x": x, "target": y, "data_loss": dl, "total_loss": tl, "final_output": o}
    ts.update({f"init/{k}": v for k, v in init.items()})
    ts.update({f"first_grad/{k}": v for k, v in g0.items()})
    ts.update({f"final/{k}": v for k, v in fin.items()})
    f32 = {"total_loss": float(f"{relerr(out[torch.float32][3], tl):.1e}"),
           "final_output": float(f"{relerr(out[torch.float32][5], o):.1e}"),
           "final (worst parameter)": float(f"{max(relerr(out[torch.float32][4][k], fin[k]) for k in fin):.1e}")}
    S.add(name, "network", "network",
          {"layers": layers, "loss": {"kind": loss_kind, "reduction": "mean"}, "optimizer": {"kind": opt_kind, **oc},
           "l2": {"lambda": l2, "formula": "0.5*lambda*sum(w^2), added to the loss", "applies_to": wn},
           "schedule": {"kind": "cosine", "T_max": epochs * -(-n // bs), "eta_min": 0.0, "stepped": "after every batch"} if sched else None,
           "clip_norm": clip, "batch_size": bs, "epochs": epochs, "shuffle": False, "samples": n,
           "last_batch": "kept, even if smaller"}, ts,
          "torch.nn.Sequential, torch.optim",
          note="batches in order: samples 0..bs-1, bs..2bs-1, ...; data_loss and total_loss of every step, before its update; "
               "first_grad: of the total loss, before clipping, at the first step; final_output: evaluation mode, after training",
          f32=f32)
    return o, y


def networks():
    P = Pick("net")
    a, b_, c, k = P.i(20, 7, 25), P.i(16, 5, 21), P.i(12, 4, 15), P.i(5, 3, 7)
    act = P("tanh", "sigmoid", "tanh", "silu")
    train_net("network_mlp", [lin(a, b_), {"kind": act}, lin(b_, c), {"kind": act}, lin(c, k)], (a,), P(32, 24, 36, 40),
              P(8, 4, 6, 12) if not VARIANT else P(8, 4, 12), 5, "cross_entropy", k, "sgd",
              {"lr": P.f(0.1, 0.02, 0.3), "momentum": P.f(0.9, 0.5, 0.95), "dampening": 0.0, "nesterov": P(False, True, False),
               "weight_decay": 0.0}, P.f(0.001, 0.0005, 0.02))
    c0, c1, c2, k = P.i(2, 1, 4), P.i(4, 3, 7), P.i(6, 3, 9), P.i(3, 2, 6)
    h, w = P.i(8, 7, 11), P.i(8, 7, 11)
    layers = [conv(c0, c1, 3, P(1, 1, 2), 1, False), bn2(c1, P(1e-5, 1e-4), P(0.1, 0.05, 0.2)), {"kind": "relu"},
              {"kind": "maxpool2d", "kernel": [2, 2], "stride": [2, 2], "padding": [0, 0]},
              conv(c1, c2, P(3, 1, 3), 1, 1, False), bn2(c2), {"kind": "relu"}, {"kind": "global_avgpool2d"}, {"kind": "flatten"},
              lin(c2, k)]
    train_net("network_convnet", layers, (c0, h, w), 32, P(8, 16, 4), 5, "cross_entropy", k, "adam",
              {"lr": P.f(0.01, 0.002, 0.02), "betas": [0.9, P(0.999, 0.99)], "eps": 1e-8, "amsgrad": False, "weight_decay": 0.0},
              P.f(0.001, 0.0005, 0.01))
    a, b_, k = P.i(6, 3, 9), P.i(10, 5, 14), P.i(3, 1, 5)
    train_net("network_regression", [lin(a, b_), {"kind": "layernorm", "normalized_shape": [b_], "eps": 1e-5},
                                     {"kind": "elu", "alpha": 1.0}, lin(b_, b_), {"kind": "prelu", "num_parameters": 1, "init": 0.25},
                                     lin(b_, k)], (a,), 32, P(8, 4, 16), 5, "mse", k, "adamw",
              {"lr": P.f(0.01, 0.002, 0.02), "betas": [0.9, 0.999], "eps": 1e-8, "amsgrad": False, "weight_decay": P.f(0.01, 0.01, 0.1)},
              0.0, sched="cosine", clip=P.f(1.0, 0.3, 2))


# --------------------------------------------------------------------------
# interchange


def interchange(out):
    P = Pick("interchange")
    a, b_, k = P.i(6, 3, 11), P.i(5, 3, 11), P.i(3, 2, 6)
    c0, c1, c2, h = P.i(2, 1, 4), P.i(3, 2, 6), P.i(4, 2, 6), P.i(7, 6, 9)
    mlp = [lin(a, b_), {"kind": "relu"}, lin(b_, k)]
    cnv = [conv(c0, c1, 3, 1, 1, True), bn2(c1), {"kind": "relu"}, {"kind": "maxpool2d", "kernel": [2, 2], "stride": [2, 2], "padding": [0, 0]},
           conv(c1, c2, 3, 2, 1, False), {"kind": "prelu", "num_parameters": c2, "init": 0.25}, {"kind": "flatten"}]
    with torch.no_grad():
        nf = nn.Sequential(*[MAKE[q["kind"]](q) for q in cnv])(torch.zeros(2, c0, h, h)).shape[1]
    cnv = cnv + [lin(nf, k)]
    for nm, layers, sh, dt in (("mlp_f32", mlp, (a,), torch.float32), ("convnet_f32", cnv, (c0, h, h), torch.float32),
                               ("mlp_f16", mlp, (a,), torch.float16), ("mlp_bf16", mlp, (a,), torch.bfloat16),
                               ("mlp_f64", mlp, (a,), torch.float64)):
        name = f"interchange_{nm}"
        g = gen(name)
        net = build(layers, g).to(torch.float32)
        for q in net:
            if isinstance(q, nn.BatchNorm2d):
                q.running_mean.copy_(T(0.3 * g.standard_normal(q.num_features)))
                q.running_var.copy_(T(g.uniform(0.5, 1.5, q.num_features)))
                q.num_batches_tracked.fill_(17)
        sd = {key: (v.to(dt) if v.is_floating_point() else v).contiguous() for key, v in net.state_dict().items()}
        fn = f"{name}.safetensors"
        save_torch(sd, os.path.join(out, fn), metadata={"format": "pt"})
        back = load_torch(os.path.join(out, fn))
        big = nn.Sequential(*[MAKE[q["kind"]](q) for q in layers])
        big.load_state_dict({key: (v.double() if v.is_floating_point() else v) for key, v in back.items()})
        big.eval()
        x = T(g.standard_normal((4, *sh)))
        with torch.no_grad():
            y = big(x)
        S.add(name, "interchange", "interchange",
              {"file": fn, "layers": layers, "mode": "eval",
               "keys": {key: {"dtype": str(v.dtype).replace("torch.", ""), "shape": list(v.shape)} for key, v in sorted(back.items())}},
              {"x": x, "y": y}, "torch state_dict saved with safetensors.torch",
              note="y: the stored weights widened to float64, then evaluated in float64; num_batches_tracked (int64, no axes) may be ignored")


# --------------------------------------------------------------------------


def main():
    out = ARGS.out
    os.makedirs(out, exist_ok=True)
    for f in (layers_linear, layers_conv2d, layers_conv_transpose2d, layers_maxpool, layers_avgpool, layers_batchnorm,
              layers_other_norms, layers_misc, activations, losses, regularizers, initializers, optimizers, lbfgs, schedules,
              averaging, metrics, preprocessing, networks):
        f()
    interchange(out)
    save_np(S.arrays, os.path.join(out, "cases.safetensors"))
    head = {"format": 1, "seed": ARGS.seed, "variant": VARIANT,
            "versions": {"python": platform.python_version(), "torch": torch.__version__.split("+")[0], "numpy": np.__version__,
                         "scipy": scipy.__version__, "scikit-learn": sklearn.__version__, "mpmath": mpmath.__version__,
                         "safetensors": safetensors.__version__},
            "tensors": "cases.safetensors, float64, C order, key <case>/<tensor>; scalars have shape [1]"}
    with open(os.path.join(out, "cases.json"), "w") as fh:
        fh.write("{\n")
        for key, v in head.items():
            fh.write(f" {json.dumps(key)}: {json.dumps(v)},\n")
        fh.write(' "cases": [\n')
        for i, e in enumerate(S.cases):
            rows = ",\n   ".join(f"{json.dumps(key)}: {json.dumps(v, allow_nan=False)}" for key, v in e.items())
            fh.write("  {" + rows + "}" + ("," if i + 1 < len(S.cases) else "") + "\n")
        fh.write(" ]\n}\n")
    with open(os.path.join(out, "cases.json")) as fh:
        assert len(json.load(fh)["cases"]) == len(S.cases)
    kinds = {}
    for e in S.cases:
        kinds[e["kind"]] = kinds.get(e["kind"], 0) + 1
    for f in os.listdir(out):
        os.chmod(os.path.join(out, f), 0o644)
    print(len(S.cases), "cases,", len(S.arrays), "tensors;", N_CHECKED["gradcheck"], "gradchecks")
    print(" ".join(f"{k}:{v}" for k, v in kinds.items()))
    print("bytes:", {f: os.path.getsize(os.path.join(out, f)) for f in sorted(os.listdir(out))})
    print("extreme inputs, torch against the true value (worst):", sorted(
        ((n, f"{a:.0e}", f"{b:.0e}") for n, (a, b) in WORST_EXTREME.items()), key=lambda q: -float(q[2]))[:4])


if __name__ == "__main__":
    main()
