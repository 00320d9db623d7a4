"""PyTorch's side of `benches/compare/run`: measures one (network, work, threads).

Started with these three as arguments. Then, for every line `seconds calls` on standard input, calls the
work for at least so long and so often, and prints one JSON line with each call's milliseconds.
"""

import json
import sys
from time import perf_counter

import torch
from torch import nn

# Batches of labels drawn at the start. Each step takes the next: with one batch of labels a network would
# soon know them by heart, and vanishing gradients are not what training looks like.
LABEL_BATCHES = 64


def tiny():
    return [nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 4)]


def mlp():
    return [nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10)]


def lenet():
    return [
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    ]


def pair(before, channels):
    """Two times convolution, batch norm and ReLU."""
    layers = []
    for inputs in (before, channels):
        layers += [
            nn.Conv2d(inputs, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        ]
    return layers


def cifar():
    layers = []
    for before, channels in [(3, 32), (32, 64), (64, 128)]:
        layers += pair(before, channels) + [nn.MaxPool2d(2)]
    head = [nn.Linear(128 * 4 * 4, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 10)]
    return layers + [nn.Flatten()] + head


def vgg():
    layers = []
    for before, channels in [(3, 64), (64, 128), (128, 256)]:
        layers += pair(before, channels) + [nn.MaxPool2d(2)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)]
    return layers + pair(256, 512) + head


# Layers, shape of a sample, batch size, classes.
NETWORKS = {
    "tiny": (tiny, [8], 32, 4),
    "mlp": (mlp, [784], 128, 10),
    "lenet": (lenet, [1, 28, 28], 128, 10),
    "cifar": (cifar, [3, 32, 32], 64, 10),
    "vgg": (vgg, [3, 32, 32], 32, 10),
}


def training(layers, shape, batch, classes):
    model = nn.Sequential(*layers()).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss = nn.CrossEntropyLoss()
    x = torch.randn(batch, *shape)
    labels = torch.randint(classes, (LABEL_BATCHES, batch)).unbind()
    steps = 0

    def step():
        nonlocal steps
        optimizer.zero_grad(set_to_none=True)
        loss(model(x), labels[steps % LABEL_BATCHES]).backward()
        optimizer.step()
        steps += 1

    return step


def inference(layers, shape, batch):
    model = nn.Sequential(*layers()).eval()
    x = torch.randn(batch, *shape)

    def predict():
        with torch.inference_mode():
            model(x)

    return predict


def measure(work, seconds, calls):
    """Milliseconds of each call."""
    times = []
    start = perf_counter()
    while len(times) < calls or perf_counter() - start < seconds:
        call = perf_counter()
        work()
        times.append((perf_counter() - call) * 1e3)
    return times


def main():
    network, work, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    layers, shape, batch, classes = NETWORKS[network]
    if work == "train":
        call = training(layers, shape, batch, classes)
    else:
        call = inference(layers, shape, batch if work == "predict" else 1)
    for line in sys.stdin:
        seconds, calls = line.split()
        print(json.dumps({"ms": measure(call, float(seconds), int(calls))}), flush=True)


if __name__ == "__main__":
    main()
