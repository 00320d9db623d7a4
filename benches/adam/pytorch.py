"""PyTorch's side of `cargo bench --bench adam`: a fused Adam step over SIDE × SIDE parameters.

Started with SIDE, CALLS and THREADS. For every line on standard input, `step` or `whole`, it makes CALLS steps, each with a
new gradient, and prints their milliseconds. A whole step takes the norm before and clears the gradient after.
"""

import sys
from time import perf_counter

import torch

side, calls, threads = (int(argument) for argument in sys.argv[1:])
torch.set_num_threads(threads)
weight = torch.nn.Parameter(torch.randn(side, side) * 0.03)
weight.grad = torch.zeros_like(weight)
new = torch.randn(side, side)
optimizer = torch.optim.Adam([weight], lr=1e-3, fused=True)
print("ready", flush=True)
for line in sys.stdin:
    whole = line.strip() == "whole"
    times = []
    for _ in range(calls):
        weight.grad.copy_(new)
        start = perf_counter()
        if whole:
            torch.nn.utils.get_total_norm([weight.grad], error_if_nonfinite=True)
        optimizer.step()
        if whole:
            optimizer.zero_grad(set_to_none=False)
        times.append((perf_counter() - start) * 1e3)
    print(*times, flush=True)
