"""Two ways to the same projections, written apart from the library's table, and small random networks to try them on.

`hooked`: autograd with hooks on its own nodes. `slow`: explicit loops in numpy; convolution as a dense matrix.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import nn

# ---------------------------------------------------------------- hooks on autograd's nodes

ACTIVATIONS = (
    *("Relu", "Threshold", "Clamp", "Maximum", "Hardtanh"),
    *("LeakyRelu", "Elu", "Celu", "Silu", "Gelu", "Hardswish", "Mish", "Softplus", "PreluKernel"),
)


def hooked(net, picture, module, channel, place, rule, seed):
    """Projection of one unit of the output of `module` (its tensor before anything above runs), by node hooks."""
    seen = {}
    handle = module.register_forward_hook(lambda _m, _i, out: seen.setdefault("out", out))
    leaf = picture.clone().requires_grad_(True)
    try:
        with torch.enable_grad():
            net(leaf.clone())
    finally:
        handle.remove()
    out = seen["out"]
    nodes, stack = set(), [out.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in nodes:
            continue
        nodes.add(node)
        stack += [below for below, _ in node.next_functions]

    def clamp(below, above, node):
        down = above[0].clamp(min=0)
        slopes = node(torch.ones_like(down)) if rule == "guided" else down  # a signal of ones shows the slope
        slopes = slopes if isinstance(slopes, tuple) else (slopes,)
        if rule == "deconvnet":
            return tuple(None if part is None else down for part in below)
        return tuple(
            None if part is None else down * slope.clamp(min=0) for part, slope in zip(below, slopes, strict=False)
        )

    for node in nodes:
        if rule != "gradient" and type(node).__name__.startswith(ACTIVATIONS):
            node.register_hook(lambda below, above, node=node: clamp(below, above, node))
    start = torch.zeros_like(out)
    start[(0, channel, *place)] = seed
    (down,) = torch.autograd.grad(out, leaf, start)
    return down[0]


class Passed(nn.Module):
    """In place of a response norm: autograd then does on the way down what the paper does, nothing."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        return x + (self.norm(x) - x).detach()


def without_norms(net):
    """The network with its response norms left out of the way down."""
    for name, module in list(net.named_children()):
        if isinstance(module, nn.LocalResponseNorm):
            setattr(net, name, Passed(module))
    return net


# ---------------------------------------------------------------- small networks as data


class Small(nn.Module):
    """A network from a list of operations; `layers` are its named tensors. Several spellings of one rectifier."""

    def __init__(self, rows):
        super().__init__()
        self.rows = rows
        self.parts = nn.ModuleList()
        for row in rows:
            self.parts.append(self._part(row))

    def _part(self, row):
        kind = row[0]
        if kind == "conv":
            _, weight, bias, stride, padding, dilation, groups = row
            conv = nn.Conv2d(
                weight.shape[1] * groups, weight.shape[0], weight.shape[2:], stride, padding, dilation, groups
            ).double()
            conv.weight.data, conv.bias.data = torch.from_numpy(weight), torch.from_numpy(bias)
            return conv
        if kind == "bn":
            norm = nn.BatchNorm2d(len(row[1])).double()
            for name, value in zip(("weight", "bias", "running_mean", "running_var"), row[1:], strict=True):
                getattr(norm, name).data = torch.from_numpy(value)
            return norm.eval()
        if kind == "residual":
            return Small(row[1])
        if kind == "concat":
            return nn.ModuleList([Small(row[1]), Small(row[2])])
        return nn.Identity()

    def forward(self, x):
        for row, part in zip(self.rows, self.parts, strict=True):
            x = self._apply(row, part, x)
        return x

    @staticmethod
    def _apply(row, part, x):
        kind = row[0]
        if kind == "relu":
            return RECTIFIERS[row[1]](x)
        if kind == "pool":
            return F.max_pool2d(x, row[1], row[2], row[3], ceil_mode=row[4])
        if kind == "avg":
            return F.avg_pool2d(x, row[1], row[2], row[3])
        if kind == "lrn":
            return F.local_response_norm(x, 3, alpha=0.5, beta=0.75, k=1.0)
        if kind == "residual":
            return part(x) + x
        if kind == "concat":
            return torch.cat([part[0](x), part[1](x)], 1)
        return part(x)


RECTIFIERS = {
    "module": nn.ReLU(),
    "in place": lambda x: F.relu(x, inplace=True),
    "functional": F.relu,
    "torch": torch.relu,
    "method": lambda x: x.relu(),
    "clamp": lambda x: x.clamp(min=0),
    "clamp_min": lambda x: x.clamp_min(0),
    "maximum": lambda x: torch.maximum(x, torch.zeros((), dtype=x.dtype)),
    "threshold": lambda x: F.threshold(x, 0, 0),
}


@st.composite
def small_networks(draw, rectified=True, pools=("max", "avg"), norms=("bn", "lrn"), depth=5, in_place=True):
    """(rows, picture): operations whose maps never vanish, and a picture of 8 to 11 samples a side."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    height, width = draw(st.integers(8, 11)), draw(st.integers(8, 11))
    channels = draw(st.integers(1, 3))
    picture = random.standard_normal((1, channels, height, width))
    rows, size = [], (height, width)
    for _ in range(draw(st.integers(2, depth))):
        kinds = [
            "conv",
            "residual",
            "concat",
            *(["relu"] * 2 if rectified else []),
            *norms,
            *[f"{p}pool" for p in pools],
        ]
        row, channels, size = _row(draw, random, draw(st.sampled_from(kinds)), channels, size, rectified)
        rows.append(row)
    if not in_place:
        rows = [("relu", "torch") if row == ("relu", "in place") else row for row in rows]
    return rows, picture


def _row(draw, random, kind, channels, size, rectified):
    if kind == "relu" and rectified:
        return ("relu", draw(st.sampled_from(sorted(RECTIFIERS)))), channels, size
    if kind == "bn":
        return ("bn", *random.standard_normal((3, channels)), random.uniform(0.5, 2, channels)), channels, size
    if kind == "lrn":
        return ("lrn",), channels, size
    if kind in ("maxpool", "avgpool") and min(size) >= 3:
        kernel, stride = draw(st.integers(2, 3)), draw(st.integers(1, 2))
        padding = draw(st.integers(0, kernel // 2))
        ceil = kind == "maxpool" and draw(st.booleans())
        after = tuple(_pooled(s, kernel, stride, padding, ceil) for s in size)
        row = ("pool", kernel, stride, padding, ceil) if kind == "maxpool" else ("avg", kernel, stride, padding)
        return row, channels, after
    if kind in ("residual", "concat"):
        branches = [
            [_conv(random, channels, channels, draw(st.sampled_from([1, 3])), same=True)]
            + ([("relu", "functional")] if rectified and draw(st.booleans()) else [])
            for _ in range(2)
        ]
        if kind == "residual":
            return ("residual", branches[0]), channels, size
        return ("concat", *branches), 2 * channels, size
    groups = draw(st.sampled_from([g for g in (1, 2) if channels % g == 0]))
    kernel, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    padding, stride = draw(st.integers(0, 2)), draw(st.integers(1, 2))
    if min(size) + 2 * padding < dilation * (kernel - 1) + 1:
        kernel = 1
    out = groups * draw(st.integers(1, 2))
    weight = random.standard_normal((out, channels // groups, kernel, kernel))
    row = ("conv", weight, random.standard_normal(out), stride, padding, dilation, groups)
    after = tuple((s + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 for s in size)
    return row, out, after


def _conv(random, channels, out, kernel, same):
    weight = random.standard_normal((out, channels, kernel, kernel))
    return ("conv", weight, random.standard_normal(out), 1, kernel // 2 if same else 0, 1, 1)


def _pooled(size, kernel, stride, padding, ceil):
    span = size + 2 * padding - kernel
    out = (math.ceil(span / stride) if ceil else span // stride) + 1
    if ceil and (out - 1) * stride >= size + padding:
        out -= 1
    return out


# ---------------------------------------------------------------- slow loops


def slow_up(rows, x):
    """Forward by loops. x: (C, H, W). Returns the output and, for the way down, a list of (row, what it needs)."""
    trail = []
    for row in rows:
        x, kept = _up(row, x)
        trail.append((row, kept))
    return x, trail


def slow_down(trail, signal, rule="deconvnet", unpool="sum"):
    """From the output of `slow_up` back to its input, by loops."""
    for row, kept in reversed(trail):
        signal = _down(row, kept, signal, rule, unpool)
    return signal


def _windows(size, kernel, stride, padding, out):
    for i in range(out):
        yield [y for y in range(i * stride - padding, i * stride - padding + kernel) if 0 <= y < size]


def _dense(row, shape):
    """The convolution as a matrix from the flattened input to the flattened output."""
    _, weight, _, s, p, d, groups = row
    channels, height, width = shape
    out, inner, kh, kw = weight.shape
    oh = (height + 2 * p - d * (kh - 1) - 1) // s + 1
    ow = (width + 2 * p - d * (kw - 1) - 1) // s + 1
    matrix = np.zeros((out * oh * ow, channels * height * width))
    for o in range(out):
        first = (o // (out // groups)) * inner
        for m in range(oh):
            for n in range(ow):
                for i in range(inner):
                    for u in range(kh):
                        for v in range(kw):
                            y, x = s * m + d * u - p, s * n + d * v - p
                            if 0 <= y < height and 0 <= x < width:
                                matrix[(o * oh + m) * ow + n, ((first + i) * height + y) * width + x] = weight[
                                    o, i, u, v
                                ]
    return matrix, (out, oh, ow)


def _up(row, x):
    kind = row[0]
    if kind == "conv":
        matrix, shape = _dense(row, x.shape)
        return (matrix @ x.ravel()).reshape(shape) + row[2][:, None, None], (matrix, x.shape)
    if kind == "relu":
        return np.maximum(x, 0), x > 0
    if kind == "bn":
        factor = row[1] / np.sqrt(row[4] + 1e-5)
        return (x - row[3][:, None, None]) * factor[:, None, None] + row[2][:, None, None], factor[:, None, None]
    if kind == "lrn":
        out = np.empty_like(x)
        for c in range(len(x)):
            near = x[max(0, c - 1) : c + 2]
            out[c] = x[c] / (1.0 + 0.5 / 3 * (near**2).sum(0)) ** 0.75
        return out, None
    if kind == "pool":
        _, k, s, p, ceil = row
        oh, ow = (_pooled(n, k, s, p, ceil) for n in x.shape[1:])
        out, switches = np.empty((len(x), oh, ow)), {}
        for c in range(len(x)):
            for i, ys in enumerate(_windows(x.shape[1], k, s, p, oh)):
                for j, xs in enumerate(_windows(x.shape[2], k, s, p, ow)):
                    best = max((x[c, y, z], -y, -z) for y in ys for z in xs)
                    out[c, i, j], switches[c, i, j] = best[0], (-best[1], -best[2])
        return out, (x.shape, switches)
    if kind == "avg":
        _, k, s, p = row
        oh, ow = (_pooled(n, k, s, p, False) for n in x.shape[1:])
        out = np.zeros((len(x), oh, ow))
        for i, ys in enumerate(_windows(x.shape[1], k, s, p, oh)):
            for j, xs in enumerate(_windows(x.shape[2], k, s, p, ow)):
                for y in ys:
                    for z in xs:
                        out[:, i, j] += x[:, y, z] / (k * k)
        return out, (x.shape, oh, ow)
    if kind == "residual":
        out, trail = slow_up(row[1], x)
        return out + x, trail
    one, first = slow_up(row[1], x)
    two, second = slow_up(row[2], x)
    return np.concatenate([one, two]), (first, second, len(one))


def _down(row, kept, signal, rule, unpool):
    kind = row[0]
    if kind == "conv":
        matrix, shape = kept
        return (matrix.T @ signal.ravel()).reshape(shape)
    if kind == "relu":
        return {
            "deconvnet": np.maximum(signal, 0),
            "guided": np.maximum(signal, 0) * kept,
            "gradient": signal * kept,
        }[rule]
    if kind == "bn":
        return signal * kept
    if kind == "lrn":
        return signal
    if kind == "pool":
        shape, switches = kept
        down = np.zeros(shape)
        for (c, i, j), (y, x) in switches.items():
            arriving, standing = signal[c, i, j], down[c, y, x]
            if unpool == "sum":
                down[c, y, x] += arriving
            elif (abs(arriving), arriving) > (abs(standing), standing):
                down[c, y, x] = arriving
        return down
    if kind == "avg":
        shape, oh, ow = kept
        _, k, s, p = row
        down = np.zeros(shape)
        for i, ys in enumerate(_windows(shape[1], k, s, p, oh)):
            for j, xs in enumerate(_windows(shape[2], k, s, p, ow)):
                for y in ys:
                    for z in xs:
                        down[:, y, z] += signal[:, i, j] / (k * k)
        return down
    if kind == "residual":
        return slow_down(kept, signal, rule, unpool) + signal
    first, second, size = kept
    return slow_down(first, signal[:size], rule, unpool) + slow_down(second, signal[size:], rule, unpool)


def difference(a, b):
    """max |a - b| / max |b|, the measure of DESIGN 2; 0 for two zero tensors."""
    a, b = torch.as_tensor(a), torch.as_tensor(b)
    largest = b.abs().max().item()
    return (a - b).abs().max().item() / largest if largest else a.abs().max().item()
