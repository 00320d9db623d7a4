#!/usr/bin/env python3
"""PyTorch's side of `cargo bench --bench special`: nanoseconds an element, batch 64, on 1 and 2 threads.

    cargo bench --bench special              # ours, under target/criterion
    python benches/compare/special.py        # one line for each name: PyTorch, ours, PyTorch over ours

`python benches/compare/special.py dropout` measures the names that contain `dropout`. A step is forward and backward: of
a mask they are the same work here, while PyTorch keeps the mask. DropConnect is, in PyTorch, a mask for each sample drawn
with `bernoulli_` and a batched product.
"""

import json
import os
import sys
from pathlib import Path
from time import perf_counter

import torch
from torch.nn import functional as F

torch.manual_seed(0)
aten = torch.ops.aten
BATCH, CHANNELS, SIDE, FEATURES = 64, 32, 28, 1024
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).parents[2] / "target"))


def works():
    """Name, function to call, number of elements."""
    images, features = torch.randn(BATCH, CHANNELS, SIDE, SIDE), torch.randn(BATCH, FEATURES)
    for name, x, slopes in (
        ("images", images, CHANNELS), ("features", features, FEATURES), ("shared", images, 1),
    ):
        weight = torch.full((slopes,), 0.25)
        yield f"prelu_{name}_forward", lambda x=x, w=weight: torch.prelu(x, w), x.numel()
        # The kernel's own backward and the sum that autograd adds for a slope of many elements.
        shape = [1, slopes] + [1] * (x.dim() - 2)
        axes = [axis for axis in range(x.dim()) if shape[axis] == 1]
        call = lambda x=x, w=weight.reshape(shape), axes=axes: [
            part if i == 0 else part.sum(axes) for i, part in enumerate(aten._prelu_kernel_backward(x, x, w))
        ]
        yield f"prelu_{name}_backward", call, x.numel()
    for name, x in (("images", images), ("features", features)):
        split = x.reshape(BATCH, x.shape[1] // 2, 2, *x.shape[2:])
        yield f"maxout_{name}_forward", lambda s=split: s.max(2), x.numel()
        best, at = split.max(2)
        zeros = lambda s=split, at=at, dy=best: torch.zeros_like(s).scatter_(2, at.unsqueeze(2), dy.unsqueeze(2))
        yield f"maxout_{name}_backward", zeros, x.numel()
    yield from masks(images, features)
    samples = torch.rand(BATCH, CHANNELS, 2)
    pool = lambda: aten.fractional_max_pool2d(images, [2, 2], [19, 19], samples)
    y, at = pool()
    backward = lambda: aten.fractional_max_pool2d_backward(y, images, [2, 2], [19, 19], at)
    for name in ("fractional", "fractional_overlapping"):
        yield f"{name}_forward", pool, images.numel()
        yield f"{name}_backward", backward, images.numel()
    x, w, dy = torch.randn(BATCH, 512), torch.randn(256, 512), torch.randn(BATCH, 256)
    mask = torch.empty(BATCH, 256, 512)
    forward = lambda: torch.bmm(mask.bernoulli_(0.5) * w, x.unsqueeze(2))

    def connections():
        torch.bmm((mask * w).transpose(1, 2), dy.unsqueeze(2))
        (mask * torch.bmm(dy.unsqueeze(2), x.unsqueeze(1))).sum(0)

    yield "drop_connect_forward", forward, mask.numel()
    yield "drop_connect_backward", connections, mask.numel()


def masks(images, features):
    def dropout():
        _, mask = aten.native_dropout(features, 0.5, True)
        aten.native_dropout_backward(features, mask, 2.0)

    def spatial():
        noise = torch.empty(BATCH, CHANNELS, 1, 1).bernoulli_(0.5).div_(0.5)
        images * noise
        images * noise

    def autograd(function):
        x = features.clone().requires_grad_()
        return lambda: torch.autograd.grad(function(x), x, features)

    yield "dropout_step", dropout, features.numel()
    yield "alpha_dropout_step", autograd(lambda x: F.alpha_dropout(x, 0.5, True)), features.numel()
    yield "gaussian_noise_forward", lambda: features + 0.5 * torch.randn_like(features), features.numel()
    yield "gaussian_dropout_step", autograd(lambda x: x * (1 + 0.5 * torch.randn_like(x))), features.numel()
    yield "spatial_dropout_step", spatial, images.numel()


def nanoseconds(call):
    """The median of 15 rounds of at least 5 ms each."""
    call(), call()
    rounds, count = [], 1
    while len(rounds) < 15:
        start = perf_counter()
        for _ in range(count):
            call()
        taken = perf_counter() - start
        if taken < 0.005:
            count *= 2
        else:
            rounds.append(taken / count * 1e9)
    return sorted(rounds)[7]


def ours(threads, name):
    """Criterion's median for this name, if it was measured."""
    estimates = TARGET / "criterion" / f"special_{threads}" / name / "new" / "estimates.json"
    return json.loads(estimates.read_text())["median"]["point_estimate"] if estimates.exists() else None


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    print(f"{'name':<34} {'threads':>7} {'PyTorch':>9} {'ours':>9} {'ratio':>7}   (ns an element)")
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for name, call, elements in works():
            if wanted in name:
                theirs, mine = nanoseconds(call), ours(threads, name)
                rest = f"{mine / elements:9.3f} {theirs / mine:7.2f}" if mine else ""
                print(f"{name:<34} {threads:>7} {theirs / elements:9.3f} {rest}")


main()
