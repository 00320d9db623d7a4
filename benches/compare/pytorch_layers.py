"""PyTorch's side of `benches/compare/layers`: measures one (layer, work, threads), as `pytorch.py` does networks."""

import json
import sys

import torch
from pytorch import measure
from torch import nn

BATCH = 64
WORDS = 5000


class GlobalMaxPool(nn.Module):
    def forward(self, x):
        return torch.amax(x, (2, 3))


class Permute(nn.Module):
    def forward(self, x):
        # A view costs nothing; what reads it next pays. Ours is in order.
        return x.permute(0, 2, 3, 1).contiguous()


class Last(nn.Module):
    """The last state of a recurrent layer."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0][:, -1]


def recurrent(kind):
    return lambda: Last(kind(64, 128, batch_first=True))


# Shape of a sample and the layer: the list in layers.rs.
LAYERS = {
    "layer_norm": ([1024], lambda: nn.LayerNorm(1024)),
    "layer_norm_steps": ([64, 128], lambda: nn.LayerNorm(128)),
    "group_norm": ([64, 16, 16], lambda: nn.GroupNorm(8, 64)),
    "group_norm_small": ([256, 4, 4], lambda: nn.GroupNorm(32, 256)),
    "instance_norm": ([64, 16, 16], lambda: nn.InstanceNorm2d(64, affine=True)),
    "local_response_norm": ([64, 16, 16], lambda: nn.LocalResponseNorm(5)),
    "adaptive_avg_pool": ([64, 16, 16], lambda: nn.AdaptiveAvgPool2d(5)),
    "adaptive_max_pool": ([64, 16, 16], lambda: nn.AdaptiveMaxPool2d(5)),
    "global_max_pool": ([64, 16, 16], GlobalMaxPool),
    "upsample_nearest": ([32, 16, 16], lambda: nn.Upsample(scale_factor=2)),
    "upsample_bilinear": ([32, 16, 16], lambda: nn.Upsample(scale_factor=2, mode="bilinear")),
    "upsample_odd": ([32, 16, 16], lambda: nn.Upsample((25, 27), mode="bilinear")),
    "zero_pad": ([64, 16, 16], lambda: nn.ZeroPad2d(1)),
    "permute": ([64, 16, 16], Permute),
    "conv1d": ([64, 128], lambda: nn.Conv1d(64, 64, 5, padding=2)),
    "conv_transpose": ([64, 8, 8], lambda: nn.ConvTranspose2d(64, 32, 4, 2, 1)),
    "conv_transpose_stride_1": ([32, 16, 16], lambda: nn.ConvTranspose2d(32, 32, 3, 1, 1)),
    "depthwise": ([64, 16, 16], lambda: nn.Conv2d(64, 64, 3, padding=1, groups=64)),
    "depthwise_large": ([32, 32, 32], lambda: nn.Conv2d(32, 32, 3, padding=1, groups=32)),
    "depthwise_stride_2": ([64, 16, 16], lambda: nn.Conv2d(64, 64, 3, 2, 1, groups=64)),
    "grouped": ([64, 16, 16], lambda: nn.Conv2d(64, 64, 3, padding=1, groups=4)),
    "embedding": ([64], lambda: nn.Embedding(WORDS, 128)),
    "rnn": ([32, 64], recurrent(nn.RNN)),
    "lstm": ([32, 64], recurrent(nn.LSTM)),
    "gru": ([32, 64], recurrent(nn.GRU)),
}


def work_of(name, work):
    sample, make = LAYERS[name]
    layer = make()
    ids = name == "embedding"
    x = torch.randint(WORDS, (BATCH, *sample)) if ids else torch.randn(BATCH, *sample)
    if work == "predict":
        layer.eval()

        def predict():
            with torch.inference_mode():
                layer(x)

        return predict
    leaves = list(layer.parameters()) + ([] if ids else [x.requires_grad_()])
    dy = torch.randn_like(layer(x))
    return lambda: torch.autograd.grad(layer(x), leaves, dy)


def main():
    name, work, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    call = work_of(name, work)
    for line in sys.stdin:
        seconds, calls = line.split()
        print(json.dumps({"ms": measure(call, float(seconds), int(calls))}), flush=True)


if __name__ == "__main__":
    main()
