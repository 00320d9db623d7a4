"""PyTorch's side of `benches/compare/layers`: started with a number of threads, measures what each line asks for."""

import json
import sys

import torch
from pytorch import measure
from torch import nn
from torch.nn import functional as F

BATCH = 64
WORDS = 5000
CLASSES = 1000
IMAGES = [64, 16, 16]


class Apply(nn.Module):
    """A function as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Last(nn.Module):
    """The last state of a recurrent layer."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0][:, -1]


class Maxout(nn.Module):
    """A linear layer and the largest of each unit's pieces."""

    def __init__(self, inputs, units, pieces):
        super().__init__()
        self.linear, self.pieces = nn.Linear(inputs, units * pieces), pieces

    def forward(self, x):
        return self.linear(x).unflatten(1, (-1, self.pieces)).max(2)[0]


class DropConnect(nn.Module):
    """A mask for each sample and a batched product."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x):
        mask = torch.empty(len(x), *self.weight.shape).bernoulli_(0.5)
        bias = torch.empty(len(x), len(self.bias)).bernoulli_(0.5) * self.bias
        return torch.bmm(mask * self.weight, x.unsqueeze(2)).squeeze(2) + bias


def recurrent(kind):
    return lambda: Last(kind(64, 128, batch_first=True))


def function(call):
    return lambda: Apply(call)


# Shape of a sample and the layer: the list in layers.rs. What PyTorch does not have is written with what it has.
LAYERS = {
    "relu": (IMAGES, nn.ReLU),
    "relu6": (IMAGES, nn.ReLU6),
    "leaky_relu": (IMAGES, nn.LeakyReLU),
    "elu": (IMAGES, nn.ELU),
    "selu": (IMAGES, nn.SELU),
    "gelu": (IMAGES, nn.GELU),
    "gelu_tanh": (IMAGES, lambda: nn.GELU("tanh")),
    "silu": (IMAGES, nn.SiLU),
    "mish": (IMAGES, nn.Mish),
    "hard_swish": (IMAGES, nn.Hardswish),
    "hard_sigmoid": (IMAGES, nn.Hardsigmoid),
    "sigmoid": (IMAGES, nn.Sigmoid),
    "tanh": (IMAGES, nn.Tanh),
    "softplus": (IMAGES, nn.Softplus),
    "softsign": (IMAGES, nn.Softsign),
    "relu_features": ([1024], nn.ReLU),
    "gelu_features": ([1024], nn.GELU),
    "prelu": (IMAGES, lambda: nn.PReLU(64)),
    "prelu_features": ([1024], lambda: nn.PReLU(1024)),
    "prelu_shared": (IMAGES, nn.PReLU),
    "maxout_channels": (IMAGES, function(lambda x: x.unflatten(1, (-1, 2)).max(2)[0])),
    "maxout": ([512], lambda: Maxout(512, 256, 4)),
    "softmax": ([CLASSES], lambda: nn.Softmax(1)),
    "softmax_few": ([10], lambda: nn.Softmax(1)),
    "softmax_channels": ([10, 16, 16], lambda: nn.Softmax(1)),
    "softmax_rows": ([10, 16, 16], lambda: nn.Softmax(2)),
    "log_softmax": ([CLASSES], lambda: nn.LogSoftmax(1)),
    "log_softmax_few": ([10], lambda: nn.LogSoftmax(1)),
    "log_softmax_channels": ([10, 16, 16], lambda: nn.LogSoftmax(1)),
    "dropout": (IMAGES, nn.Dropout),
    "dropout_features": ([1024], nn.Dropout),
    "dropout_spatial": (IMAGES, nn.Dropout2d),
    "alpha_dropout": (IMAGES, nn.AlphaDropout),
    "gaussian_noise": (IMAGES, function(lambda x: x + 0.5 * torch.randn_like(x))),
    "gaussian_dropout": (IMAGES, function(lambda x: x * (1 + 0.5 * torch.randn_like(x)))),
    "drop_connect": ([512], lambda: DropConnect(512, 256)),
    # It has one kind of regions: neither of the paper's.
    "fractional_max_pool": ([32, 28, 28], lambda: nn.FractionalMaxPool2d(2, 19)),
    "fractional_max_pool_overlapping": ([32, 28, 28], lambda: nn.FractionalMaxPool2d(3, 19)),
    "adaptive_avg_pool": (IMAGES, lambda: nn.AdaptiveAvgPool2d(5)),
    "adaptive_max_pool": (IMAGES, lambda: nn.AdaptiveMaxPool2d(5)),
    "global_max_pool": (IMAGES, function(lambda x: torch.amax(x, (2, 3)))),
    "global_avg_pool": (IMAGES, function(lambda x: torch.mean(x, (2, 3)))),
    "layer_norm": ([1024], lambda: nn.LayerNorm(1024)),
    "layer_norm_steps": ([64, 128], lambda: nn.LayerNorm(128)),
    "group_norm": (IMAGES, lambda: nn.GroupNorm(8, 64)),
    "group_norm_small": ([256, 4, 4], lambda: nn.GroupNorm(32, 256)),
    "instance_norm": (IMAGES, lambda: nn.InstanceNorm2d(64, affine=True)),
    "local_response_norm": (IMAGES, lambda: nn.LocalResponseNorm(5)),
    "upsample_nearest": ([32, 16, 16], lambda: nn.Upsample(scale_factor=2)),
    "upsample_bilinear": ([32, 16, 16], lambda: nn.Upsample(scale_factor=2, mode="bilinear")),
    "upsample_odd": ([32, 16, 16], lambda: nn.Upsample((25, 27), mode="bilinear")),
    "zero_pad": (IMAGES, lambda: nn.ZeroPad2d(1)),
    # A view costs nothing; what reads it next pays. Ours is in order.
    "permute": (IMAGES, function(lambda x: x.permute(0, 2, 3, 1).contiguous())),
    "conv1d": ([64, 128], lambda: nn.Conv1d(64, 64, 5, padding=2)),
    "conv_transpose": ([64, 8, 8], lambda: nn.ConvTranspose2d(64, 32, 4, 2, 1)),
    "conv_transpose_stride_1": ([32, 16, 16], lambda: nn.ConvTranspose2d(32, 32, 3, 1, 1)),
    "depthwise": (IMAGES, lambda: nn.Conv2d(64, 64, 3, padding=1, groups=64)),
    "depthwise_large": ([32, 32, 32], lambda: nn.Conv2d(32, 32, 3, padding=1, groups=32)),
    "depthwise_stride_2": (IMAGES, lambda: nn.Conv2d(64, 64, 3, 2, 1, groups=64)),
    "grouped": (IMAGES, lambda: nn.Conv2d(64, 64, 3, padding=1, groups=4)),
    "embedding": ([64], lambda: nn.Embedding(WORDS, 128)),
    "rnn": ([32, 64], recurrent(nn.RNN)),
    "lstm": ([32, 64], recurrent(nn.LSTM)),
    "gru": ([32, 64], recurrent(nn.GRU)),
}


def focal(x, target):
    logs = F.log_softmax(x, 1).gather(1, target.unsqueeze(1))
    return ((1 - logs.exp()) ** 2 * -logs).mean()


# The loss, and whether its target is a class.
LOSSES = {
    "cross_entropy": (F.cross_entropy, True),
    "cross_entropy_smooth": (lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1), True),
    "cross_entropy_soft": (F.cross_entropy, False),
    "multiclass_hinge": (F.multi_margin_loss, True),
    "nll": (F.nll_loss, True),
    "focal": (focal, True),
    "binary_cross_entropy": (F.binary_cross_entropy_with_logits, False),
    "kl_divergence": (lambda x, t: F.kl_div(x, t, reduction="batchmean"), False),
    "mse": (F.mse_loss, False),
    "mae": (F.l1_loss, False),
    "huber": (F.huber_loss, False),
    "smooth_l1": (F.smooth_l1_loss, False),
}


def work_of(name, work):
    if name in LOSSES:
        loss, by_class = LOSSES[name]
        x = (2 * torch.randn(BATCH, CLASSES)).requires_grad_()
        target = torch.arange(BATCH) if by_class else torch.sigmoid(x.detach())
        return lambda: torch.autograd.grad(loss(x, target), x)
    sample, make = LAYERS[name]
    layer, ids = make(), name == "embedding"
    x = torch.randint(WORDS, (BATCH, *sample)) if ids else torch.randn(BATCH, *sample)
    if work == "predict":
        layer.eval()

        def predict():
            with torch.inference_mode():
                layer(x)

        return predict
    leaves = list(layer.parameters()) + ([] if ids else [x.requires_grad_()])
    if work == "forward":
        return lambda: layer(x)
    dy = torch.randn_like(layer(x))
    return lambda: torch.autograd.grad(layer(x), leaves, dy)


def main():
    torch.set_num_threads(int(sys.argv[1]))
    torch.manual_seed(0)
    current = None
    for line in sys.stdin:
        name, work, seconds, calls = line.split()
        if current != (name, work):
            current, call = (name, work), work_of(name, work)
        print(json.dumps({"ms": measure(call, float(seconds), int(calls))}), flush=True)


if __name__ == "__main__":
    main()
