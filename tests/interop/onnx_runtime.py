#!/usr/bin/env python3
"""ONNX files that layerwise wrote, checked by onnx and run by ONNX Runtime.

    python onnx_runtime.py EXPORT

EXPORT is the program built from export.rs. Every file must pass the checker, and every output be layerwise's, within 1e-5 of
the largest.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file

BOUND = 1e-5


def main(export):
    good = True
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        subprocess.run([export, str(folder)], check=True)
        files = sorted(folder.glob("*.onnx"))
        for path in files:
            model = onnx.load(path)
            onnx.checker.check_model(model, full_check=True)
            tensors = load_file(path.with_suffix(".safetensors"))
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            [got] = session.run(None, {"input": tensors["x"]})
            want = tensors["y"]
            error = np.abs(got - want).max() / max(np.abs(want).max(), 1e-30) if got.shape == want.shape else np.inf
            operators = " ".join(node.op_type for node in model.graph.node if node.op_type != "Identity")
            print(f"{path.stem:32} {error:.1e}  {operators}")
            good &= bool(error <= BOUND)
        if not files:
            sys.exit("no file was written")
    sys.exit(0 if good else "the outputs differ")


if __name__ == "__main__":
    main(*sys.argv[1:])
