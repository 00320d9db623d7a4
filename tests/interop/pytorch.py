#!/usr/bin/env python3
"""Weights from PyTorch to layerwise and back, with PyTorch itself.

    python pytorch.py EXCHANGE

EXCHANGE is the program built from exchange.rs. Both sides must give the same outputs, within 1e-5 of the largest, for
weights saved by either in every type; the other side loads them strictly.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

BOUND = 1e-5
TYPES = {"f32": torch.float32, "f64": torch.float64, "f16": torch.float16, "bf16": torch.bfloat16}


def networks():
    mlp = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 5))
    convnet = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.LeakyReLU(0.1),
        nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=4),
        nn.GELU(),
        nn.MaxPool2d(2),
        nn.Sequential(nn.Conv2d(16, 24, 3, dilation=2, padding=2), nn.SiLU()),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24 * 2 * 2, 7),
    )
    return {"mlp": (mlp, (20,)), "convnet": (convnet, (3, 16, 16))}


def converted(state, dtype):
    return {k: (v.to(dtype) if v.is_floating_point() else v).contiguous() for k, v in state.items()}


def output(network, state, x):
    """In float64, of weights as they stand in the file, loaded strictly."""
    network = network.double()
    network.load_state_dict({k: v.double() if v.is_floating_point() else v for k, v in state.items()}, strict=True)
    network.eval()
    with torch.no_grad():
        return network(x.double())


def compare(what, want, path):
    got = load_file(path)["y"].double()
    error = ((got - want).abs().max() / want.abs().max()).item()
    print(f"{what:32} {error:.1e}")
    return error <= BOUND


def main(exchange):
    torch.manual_seed(1)
    good = True
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        inputs = {}
        for name, (network, shape) in networks().items():
            network.train()
            for _ in range(3):
                network(torch.randn(8, *shape))
            x = inputs[name] = torch.randn(6, *shape)
            np.save(folder / f"{name}_x.npy", x.numpy())
            for kind, dtype in TYPES.items():
                save_file(converted(network.state_dict(), dtype), folder / f"{name}_{kind}.safetensors")
        subprocess.run([exchange, str(folder)], check=True)
        for name, x in inputs.items():
            for kind in TYPES:
                for side, prefix in [("PyTorch to layerwise", ""), ("layerwise to PyTorch", "ours_")]:
                    stem = f"{prefix}{name}_{kind}"
                    network, _ = networks()[name]
                    want = output(network, load_file(folder / f"{stem}.safetensors"), x)
                    good &= compare(f"{side}: {name} {kind}", want, folder / f"{stem}_y.safetensors")
    sys.exit(0 if good else "the outputs differ")


if __name__ == "__main__":
    main(*sys.argv[1:])
