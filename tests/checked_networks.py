"""Networks that `check` is tried on: the paper's operations, gates, attention, and what no rule crosses."""

import torch
import torch.nn.functional as F
from torch import nn

SIZE = (32, 32)


class Excited(nn.Module):
    """Squeeze and excite."""

    def __init__(self, channels):
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.excite(F.silu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))))


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.qkv, self.out = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        q, k, v = self.qkv(x).flatten(2).chunk(3, 1)
        return self.out(torch.bmm(v, torch.bmm(q.transpose(1, 2), k).softmax(-1)).view_as(x))


class Exponential(nn.Module):
    def forward(self, x):
        return torch.exp(x)


class Star(nn.Module):
    """A product of two signals."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.one(x) * self.two(x)


def plain():
    return nn.Sequential(
        nn.Conv2d(3, 4, 5, 2, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.LocalResponseNorm(3),
        nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 64, 5), nn.Softmax(1),
    ).eval()  # fmt: skip


def excited():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.SiLU(), Excited(8), nn.Conv2d(8, 8, 3, padding=1),
        nn.GroupNorm(2, 8), nn.SiLU(), nn.Upsample(scale_factor=2), nn.Conv2d(8, 2, 1),
    ).eval()  # fmt: skip


def attentive():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.GELU(), Attention(8), nn.Conv2d(8, 4, 1)
    ).eval()


def exponential():
    return nn.Sequential(nn.Conv2d(3, 4, 3), Exponential(), nn.Conv2d(4, 2, 1)).eval()


def hopeless():
    return nn.Sequential(Exponential(), nn.Conv2d(3, 4, 3))


def deep():
    """More layers than are listed one by one."""
    blocks = [nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()) for _ in range(31)]
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), *blocks, Exponential(), nn.Conv2d(4, 2, 1)).eval()
