#!/usr/bin/env python3
"""Layers that ../reference has no numbers for, computed in float64 by PyTorch; entries as described there.

    pip install torch numpy safetensors
    python generate.py           # writes cases.json and cases.safetensors beside this file

Written with torch 2.15.0, numpy 2.4.6, safetensors 0.8.0.
"""
import json
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn
from torch.nn import functional as F

HERE = Path(__file__).parent
CASES, ARRAYS = [], {}


def add(name, kind, config, function, leaves, check=True):
    """function(**leaves) -> y. Stores the leaves, dy, y and the gradient for every leaf."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    leaves = {key: torch.tensor(rng.normal(size=shape)).requires_grad_() for key, shape in leaves.items()}
    y = function(**leaves)
    dy = torch.tensor(rng.normal(size=tuple(y.shape)))
    grads = torch.autograd.grad(y, list(leaves.values()), dy)
    if check:
        call = lambda *values: function(**dict(zip(leaves, values)))
        assert torch.autograd.gradcheck(call, list(leaves.values()), fast_mode=True), name
    tensors = leaves | {"dy": dy, "y": y} | {"d" + key: grad for key, grad in zip(leaves, grads)}
    tensors = {key: np.ascontiguousarray(value.detach().numpy()) for key, value in tensors.items()}
    ARRAYS.update({f"{name}/{key}": value for key, value in tensors.items()})
    shapes = {key: list(value.shape) for key, value in tensors.items()}
    # As in ../reference; an entry with this key is checked in f32, too.
    CASES.append({"name": name, "kind": kind, "group": "layer", "config": config, "tensors": shapes,
                  "torch_f32_error": {}, "tolerance": {"f64": 1e-10, "f32": 1e-5}})


def convolutions():
    for n, c, filters, length, kernel, stride, padding, dilation, groups, bias in (
        (2, 3, 4, 11, 3, 1, 1, 1, 1, True),
        (1, 4, 6, 20, 5, 2, 0, 1, 2, True),
        (3, 2, 2, 9, 2, 3, 4, 2, 2, False),
        (2, 1, 1, 1, 1, 1, 0, 1, 1, True),
        (2, 5, 17, 40, 4, 1, 3, 3, 1, True),
    ):
        config = {"out_channels": filters, "kernel": kernel, "stride": stride, "padding": padding,
                  "dilation": dilation, "groups": groups, "bias": bias}
        leaves = {"x": (n, c, length), "weight": (filters, c // groups, kernel)} | ({"bias": (filters,)} if bias else {})
        add(f"conv1d_{len(CASES)}", "conv1d", config,
            lambda x, weight, bias=None: F.conv1d(x, weight, bias, stride, padding, dilation, groups), leaves)
    # Depthwise: one and two filters to a channel, and what makes the image smaller.
    for n, c, times, h, w, kernel, stride, padding, dilation in (
        (2, 5, 1, 7, 9, [3, 3], [1, 1], [1, 1], [1, 1]),
        (1, 3, 2, 8, 7, [3, 2], [2, 1], [1, 0], [1, 1]),
        (2, 4, 1, 9, 33, [5, 5], [2, 2], [2, 2], [1, 1]),
        (2, 2, 1, 8, 40, [3, 3], [1, 1], [2, 2], [2, 2]),
        (1, 3, 1, 5, 6, [2, 4], [3, 2], [1, 3], [1, 2]),
    ):
        config = {"in_channels": c, "out_channels": c * times, "kernel": kernel, "stride": stride, "padding": padding,
                  "dilation": dilation, "groups": c, "bias": True, "padding_mode": "zeros"}
        leaves = {"x": (n, c, h, w), "weight": (c * times, 1, *kernel), "bias": (c * times,)}
        add(f"depthwise_{len(CASES)}", "conv2d", config,
            lambda x, weight, bias: F.conv2d(x, weight, bias, stride, padding, dilation, c), leaves)
    # Output padding of a stride or more, which only a dilation allows.
    for n, c, filters, h, w, kernel, stride, padding, outside, dilation, groups in (
        (2, 2, 3, 4, 5, [3, 2], [1, 2], [1, 0], [1, 2], [2, 3], 1),
        (1, 4, 4, 3, 3, [3, 3], [1, 1], [0, 1], [2, 0], [3, 1], 4),
        (2, 17, 18, 9, 8, [3, 3], [1, 1], [1, 1], [0, 0], [1, 1], 1),
        (1, 2, 4, 5, 4, [2, 5], [3, 4], [1, 2], [2, 3], [1, 1], 2),
    ):
        config = {"in_channels": c, "out_channels": filters, "kernel": kernel, "stride": stride, "padding": padding,
                  "output_padding": outside, "dilation": dilation, "groups": groups, "bias": True}
        leaves = {"x": (n, c, h, w), "weight": (c, filters // groups, *kernel), "bias": (filters,)}
        add(f"conv_transpose2d_{len(CASES)}", "conv_transpose2d", config,
            lambda x, weight, bias: F.conv_transpose2d(x, weight, bias, stride, padding, outside, groups, dilation), leaves)


def shapes():
    for shape, output in (((2, 3, 7, 8), [3, 3]), ((1, 2, 3, 4), [5, 2]), ((2, 2, 6, 6), [1, 1])):
        add(f"adaptive_maxpool2d_{len(CASES)}", "adaptive_maxpool2d", {"output_size": output},
            lambda x: F.adaptive_max_pool2d(x, output), {"x": shape})
    add("global_maxpool2d", "global_maxpool2d", {}, lambda x: x.amax((2, 3)), {"x": (3, 4, 5, 7)})
    for shape, output in (((2, 3, 4, 5), [8, 9]), ((1, 2, 6, 7), [4, 3]), ((1, 1, 3, 4), [1, 1])):
        add(f"upsample_bilinear_{len(CASES)}", "upsample_bilinear", {"output_size": output, "align_corners": True},
            lambda x: F.interpolate(x, output, mode="bilinear", align_corners=True), {"x": shape})
    add("zero_pad", "zero_pad", {"sides": [1, 2, 0, 3]}, lambda x: F.pad(x, (0, 3, 1, 2)), {"x": (2, 3, 4, 5)})
    add("permute", "permute", {"order": [2, 0, 1]}, lambda x: x.permute(0, 3, 1, 2), {"x": (2, 3, 4, 5)})
    add("reshape", "reshape", {"shape": [5, 12]}, lambda x: x.reshape(2, 5, 12), {"x": (2, 3, 4, 5)})


def recurrent():
    kinds = {"rnn": (nn.RNN, 1), "lstm": (nn.LSTM, 4), "gru": (nn.GRU, 3)}
    for kind, hidden, inputs, n, steps, bias, sequence, truncate, activation in [
        (kind, *rest)
        for kind in kinds
        for rest in ((4, 3, 2, 5, True, True, None, "tanh"), (5, 7, 3, 6, True, False, None, "tanh"),
                     (1, 1, 1, 1, False, True, None, "tanh"), (3, 2, 4, 7, True, True, 3, "tanh"),
                     (17, 20, 5, 4, True, False, 1, "tanh"))
    ] + [("rnn", 4, 3, 2, 5, True, True, None, "relu")]:
        make, gates = kinds[kind]
        settings = {"nonlinearity": activation} if kind == "rnn" else {}
        network = make(inputs, hidden, bias=bias, batch_first=True, **settings).double()

        def function(x, **params):
            y, state = [], None
            for part in x.split(truncate or steps, 1):
                # Truncated: the state goes on, its gradient does not.
                state = state if state is None else tuple(s.detach() for s in state) if kind == "lstm" else state.detach()
                out, state = torch.func.functional_call(network, params, (part,) if state is None else (part, state))
                y.append(out)
            y = torch.cat(y, 1)
            return y if sequence else y[:, -1]

        leaves = {"x": (n, steps, inputs), "weight_ih_l0": (gates * hidden, inputs), "weight_hh_l0": (gates * hidden, hidden)}
        if bias:
            leaves |= {"bias_ih_l0": (gates * hidden,), "bias_hh_l0": (gates * hidden,)}
        config = {"hidden": hidden, "bias": bias, "sequence": sequence, "truncate": truncate, "nonlinearity": activation}
        # A truncated gradient is not the derivative: finite differences would not agree.
        add(f"{kind}_{len(CASES)}", kind, config, function, leaves, check=truncate is None)


convolutions()
shapes()
recurrent()
(HERE / "cases.json").write_text(json.dumps({"versions": {"torch": torch.__version__, "numpy": np.__version__}, "cases": CASES}, indent=1) + "\n")
save_file(ARRAYS, HERE / "cases.safetensors")
print(len(CASES), "cases")
