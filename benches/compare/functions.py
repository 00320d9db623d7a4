#!/usr/bin/env python3
"""PyTorch's side of `cargo bench --bench functions`: nanoseconds an element, one thread, batch 64.

    RAYON_NUM_THREADS=1 cargo bench --bench functions   # ours, under target/criterion
    python benches/compare/functions.py                 # one line for each name: PyTorch, ours, PyTorch over ours

`python benches/compare/functions.py gelu` measures the names that contain `gelu`.
"""

import json
import os
import sys
from pathlib import Path
from time import perf_counter

import torch
from torch.nn import functional as F

torch.set_num_threads(1)
torch.manual_seed(0)
aten = torch.ops.aten
BATCH, FEATURES, CLASSES = 64, 1024, 1000
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).parents[2] / "target"))

x = 2 * torch.randn(BATCH, FEATURES)
SELU = (1.6732632423543772, 1.0507009873554805, 1)
# Forward, and backward from (dy, x, y).
ACTIVATIONS = {
    "relu": (torch.relu, lambda dy, x, y: aten.threshold_backward(dy, y, 0)),
    "relu6": (F.relu6, lambda dy, x, y: aten.hardtanh_backward(dy, x, 0, 6)),
    "leaky_relu": (F.leaky_relu, lambda dy, x, y: aten.leaky_relu_backward(dy, x, 0.01, False)),
    "elu": (F.elu, lambda dy, x, y: aten.elu_backward(dy, 1, 1, 1, True, y)),
    "selu": (F.selu, lambda dy, x, y: aten.elu_backward(dy, *SELU, True, y)),
    "gelu_erf": (F.gelu, lambda dy, x, y: aten.gelu_backward(dy, x)),
    "gelu_tanh": (lambda x: F.gelu(x, approximate="tanh"), lambda dy, x, y: aten.gelu_backward(dy, x, approximate="tanh")),
    "silu": (F.silu, lambda dy, x, y: aten.silu_backward(dy, x)),
    "mish": (F.mish, lambda dy, x, y: aten.mish_backward(dy, x)),
    "softplus": (F.softplus, lambda dy, x, y: aten.softplus_backward(dy, x, 1, 20)),
    "sigmoid": (torch.sigmoid, lambda dy, x, y: aten.sigmoid_backward(dy, y)),
    "tanh": (torch.tanh, lambda dy, x, y: aten.tanh_backward(dy, y)),
    "softsign": (F.softsign, None),
    "hardsigmoid": (F.hardsigmoid, lambda dy, x, y: aten.hardsigmoid_backward(dy, x)),
    "hardswish": (F.hardswish, lambda dy, x, y: aten.hardswish_backward(dy, x)),
}


def works():
    """Name, function to call, number of elements."""
    for name, (forward, backward) in ACTIVATIONS.items():
        y = forward(x)
        yield f"activation/{name}/forward", lambda f=forward: f(x), x.numel()
        if backward:
            yield f"activation/{name}/backward", lambda f=backward, y=y: f(x, x, y), x.numel()
    for name, forward, backward in (
        ("softmax", torch.softmax, aten._softmax_backward_data),
        ("log_softmax", torch.log_softmax, aten._log_softmax_backward_data),
    ):
        for shape in ((BATCH, 10), (BATCH, CLASSES), (BATCH, 10, 256)):
            z = 2 * torch.randn(shape)
            y, label = forward(z, 1), "x".join(map(str, shape))
            yield f"{name}/forward/{label}", lambda z=z, f=forward: f(z, 1), z.numel()
            yield f"{name}/backward/{label}", lambda z=z, y=y, f=backward: f(z, y, 1, torch.float32), z.numel()
    yield from losses()


def losses():
    logits = (2 * torch.randn(BATCH, CLASSES)).requires_grad_()
    classes, soft = torch.arange(BATCH), torch.sigmoid(2 * torch.randn(BATCH, CLASSES))

    def focal(logits, target):
        logs = F.log_softmax(logits, 1)[range(BATCH), target]
        return ((1 - logs.exp()) ** 2 * -logs).mean()

    for name, loss, target in (
        ("cross_entropy", F.cross_entropy, classes),
        ("cross_entropy_smooth", lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1), classes),
        ("multiclass_hinge", F.multi_margin_loss, classes),
        ("nll", F.nll_loss, classes),
        ("focal", focal, classes),
        ("cross_entropy_soft", F.cross_entropy, soft),
        ("bce_with_logits", F.binary_cross_entropy_with_logits, soft),
        ("kl_div", lambda x, t: F.kl_div(x, t, reduction="batchmean"), soft),
        ("mse", F.mse_loss, soft),
        ("l1", F.l1_loss, soft),
        ("huber", F.huber_loss, soft),
        ("smooth_l1", F.smooth_l1_loss, soft),
    ):
        call = lambda loss=loss, target=target: torch.autograd.grad(loss(logits, target), logits)
        yield f"loss/{name}/value_and_grad", call, logits.numel()


def nanoseconds(call):
    """The median of 30 rounds of at least 5 ms each."""
    call(), call()
    rounds, count = [], 1
    while len(rounds) < 30:
        start = perf_counter()
        for _ in range(count):
            call()
        taken = perf_counter() - start
        if taken < 0.005:
            count *= 2
        else:
            rounds.append(taken / count * 1e9)
    return sorted(rounds)[15]


def ours(name):
    """Criterion's median for this name, if it was measured."""
    group, bench = name.rsplit("/", 1)
    for path in (f"{group}/{bench}", f"{group.replace('/', '_', 1)}/{bench}", name.replace("/", "_", 1)):
        estimates = TARGET / "criterion" / path / "new" / "estimates.json"
        if estimates.exists():
            return json.loads(estimates.read_text())["median"]["point_estimate"]
    return None


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    print(f"{'name':<44} {'PyTorch':>9} {'ours':>9} {'ratio':>7}   (ns an element)")
    for name, call, elements in works():
        if wanted in name:
            theirs, mine = nanoseconds(call), ours(name)
            rest = f"{mine / elements:9.3f} {theirs / mine:7.2f}" if mine else ""
            print(f"{name:<44} {theirs / elements:9.3f} {rest}")


main()
