"""Twins of gates, which the deconvnet keeps constant."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from slow import (
    SAME,
    Chain,
    Gated,
    Joined,
    Sum,
    Uncrossed,
    between,
    convolved,
    linear,
    mean,
    over_windows,
    places,
    resized,
    resizing,
    sigmoid,
    softmax,
    variance,
)
from twins import GATE, SINGLE, tensor, twin
from twins_activations import RELU, SLOW
from twins_pools import greatest

MIRROR = linear(lambda x: x[..., ::-1])
HARDSWISH = SLOW["hardswish"]

# ---------------------------------------------------------------- squeeze and excitation, in its spellings


def squeezing(m):
    """Mean over space, two small layers with a rectifier between: in torch and slow, up to the last layer's output."""
    one, two = m.normal(2, m.channels, 1, 1), m.normal(m.channels, 2, 1, 1)
    a, b = m.normal(2), m.normal(m.channels)

    def operation(x):
        hidden = F.relu(F.conv2d(x.mean((2, 3), keepdim=True), tensor(one), tensor(a)))
        return F.conv2d(hidden, tensor(two), tensor(b))

    slow = Chain(
        linear(lambda x: mean(x, (2, 3))),
        linear(lambda x: convolved(x, one, a)),
        RELU,
        linear(lambda x: convolved(x, two, b)),
    )
    return operation, slow


def shaped(f):
    """The last function of a gate, which no signal of the deconvnet crosses."""
    return Uncrossed(lambda z, at: f(z))


def hard(z):
    return between(z + 3, 0, 6) / 6


def gated_in_place(x, gate):
    y = x * 1
    return y.mul_(gate)


SQUEEZED = {
    "sigmoid": (lambda x, z: x * torch.sigmoid(z), sigmoid),
    "sigmoid, gate first": (lambda x, z: z.sigmoid() * x, sigmoid),
    "sigmoid in place": (lambda x, z: gated_in_place(x, z.sigmoid_()), sigmoid),
    "sigmoid expanded": (lambda x, z: x * torch.sigmoid(z).expand_as(x), sigmoid),
    "sigmoid module, view": (lambda x, z: x * nn.Sigmoid()(z.flatten(1)).view(len(x), -1, 1, 1), sigmoid),
    "sigmoid sliced and joined": (
        lambda x, z: x * torch.cat([torch.sigmoid(z)[:, :1], torch.sigmoid(z)[:, 1:]], 1),
        sigmoid,
    ),
    "twice a sigmoid": (lambda x, z: x * (2 * torch.sigmoid(z)), lambda z: 2 * sigmoid(z)),
    "feature scaled, sigmoid": (lambda x, z: 2 * x * torch.sigmoid(z), lambda z: 2 * sigmoid(z)),
    "1 + sigmoid": (lambda x, z: x * (1 + torch.sigmoid(z)), lambda z: 1 + sigmoid(z)),
    "1 - sigmoid": (lambda x, z: x * (1 - torch.sigmoid(z)), lambda z: 1 - sigmoid(z)),
    "one of two sigmoids": (lambda x, z: x * torch.sigmoid(z) * torch.sigmoid(-z), lambda z: sigmoid(z) * sigmoid(-z)),
    "hardsigmoid": (lambda x, z: x * F.hardsigmoid(z), hard),
    "hardsigmoid module": (lambda x, z: nn.Hardsigmoid()(z) * x, hard),
    "hardsigmoid by hand": (lambda x, z: x * (F.relu6(z + 3) / 6), hard),
    "hardsigmoid by hand, factor": (lambda x, z: x * (F.relu6(z + 3.0) * (1 / 6)), hard),
    "hardsigmoid by hand, in place": (
        lambda x, z: gated_in_place(x, (z * 1).add_(3.0).clamp_(0.0, 6.0).div_(6.0)),
        hard,
    ),
    "hardsigmoid by hand, divided at the end": (lambda x, z: x * F.relu6(z + 3) / 6, hard),
    "hardsigmoid by hand, clamp": (
        lambda x, z: x * (0.2 * z + 0.5).clamp(0, 1),
        lambda z: between(0.2 * z + 0.5, 0, 1),
    ),
    "tanh": (lambda x, z: x * torch.tanh(z), np.tanh),
    "1 + tanh": (lambda x, z: x * (1 + torch.tanh(z)), lambda z: 1 + np.tanh(z)),
    "softmax over channels": (lambda x, z: x * torch.softmax(z, 1), lambda z: softmax(z, 1)),
    "scaled softmax over channels": (lambda x, z: x * (F.softmax(z / 2, dim=1) * 4), lambda z: 4 * softmax(z / 2, 1)),
}


def squeezed(operation, gate):
    def make(m):
        inner, slow = squeezing(m)
        return lambda x: operation(x, inner(x)), Gated(SAME, Chain(slow, shaped(gate)))

    return make


for name, (operation, gate) in SQUEEZED.items():
    exact = SINGLE if name in ("hardsigmoid", "hardsigmoid module") else 1e-10
    twin(GATE, f"squeeze: {name}", exact=exact)(squeezed(operation, gate))


@twin(GATE, "squeeze: sigmoid, with its input added")
def _residual(m):
    inner, slow = squeezing(m)
    return (
        lambda x: x + x.flip(3) * torch.sigmoid(inner(x)),
        Sum(SAME, Gated(MIRROR, Chain(slow, shaped(sigmoid)))),
    )


@twin(GATE, "squeeze by linear layers")
def _by_linear_layers(m):
    one, two = m.normal(3, m.channels), m.normal(m.channels, 3)
    net = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1), nn.Sigmoid()
    )
    net[2].weight, net[4].weight = nn.Parameter(tensor(one)), nn.Parameter(tensor(two))
    net[2].bias = net[4].bias = None
    slow = Chain(
        linear(lambda x: x.mean((2, 3)) @ one.T),
        RELU,
        linear(lambda x: (x @ two.T)[:, :, None, None]),
        shaped(sigmoid),
    )
    return lambda x: x * net(x)[:, :, None, None].expand(x.shape), Gated(SAME, slow)


@twin(GATE, "efficient channel attention")
def _efficient(m):
    kernel = m.normal(1, 1, 3)

    def operation(x):
        y = x.mean((2, 3)).view(len(x), 1, -1)
        y = torch.sigmoid(F.conv1d(y, tensor(kernel), padding=1)).view(len(x), -1, 1, 1)
        return x * y.expand_as(x)

    slow = Chain(
        linear(lambda x: convolved(x.mean((2, 3))[:, None], kernel, padding=1)[:, 0, :, None, None]), shaped(sigmoid)
    )
    return operation, Gated(SAME, slow)


# ---------------------------------------------------------------- gates over space


@twin(GATE, "spatial: mean and maximum over channels")
def _spatial(m):
    kernel = m.normal(1, 2, 3, 3)

    def operation(x):
        y = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * torch.sigmoid(F.conv2d(y, tensor(kernel), padding=1))

    pooled = Joined(linear(lambda x: mean(x, (1,))), greatest((1,), True))
    return operation, Gated(SAME, Chain(pooled, linear(lambda x: convolved(x, kernel, padding=1)), shaped(sigmoid)))


@twin(GATE, "channels, then space, both with mean and maximum")
def _both(m):
    one, two, kernel = m.normal(2, m.channels, 1, 1), m.normal(m.channels, 2, 1, 1), m.normal(1, 2, 3, 3)

    def hidden(y):
        return F.conv2d(F.relu(F.conv2d(y, tensor(one))), tensor(two))

    def operation(x):
        x = x * torch.sigmoid(hidden(F.adaptive_avg_pool2d(x, 1)) + hidden(F.adaptive_max_pool2d(x, 1)))
        y = torch.cat([x.max(1, keepdim=True)[0], x.mean(1, keepdim=True)], 1)
        return x * torch.sigmoid(F.conv2d(y, tensor(kernel), padding=1))

    slow_hidden = linear(lambda x: convolved(x, one)), RELU, linear(lambda x: convolved(x, two))
    channels = Sum(Chain(linear(lambda x: mean(x, (2, 3))), *slow_hidden), Chain(greatest((2, 3), True), *slow_hidden))
    pooled = Joined(greatest((1,), True), linear(lambda x: mean(x, (1,))))
    space = Chain(pooled, linear(lambda x: convolved(x, kernel, padding=1)), shaped(sigmoid))
    return operation, Chain(Gated(SAME, Chain(channels, shaped(sigmoid))), Gated(SAME, space))


@twin(GATE, "coordinates: a gate along rows and one along columns")
def _coordinates(m):
    shared, rows, columns = m.normal(2, m.channels, 1, 1), m.normal(m.channels, 2, 1, 1), m.normal(m.channels, 2, 1, 1)

    def operation(x):
        height, width = x.shape[2:]
        y = torch.cat([x.mean(3, keepdim=True), x.mean(2, keepdim=True).permute(0, 1, 3, 2)], 2)
        one, two = torch.split(F.hardswish(F.conv2d(y, tensor(shared))), [height, width], dim=2)
        one = torch.sigmoid(F.conv2d(one, tensor(rows)))
        two = torch.sigmoid(F.conv2d(two.permute(0, 1, 3, 2), tensor(columns)))
        return x * two * one

    def hidden(axis):
        return linear(lambda x: convolved(mean(x, (axis,)), shared)), HARDSWISH

    first = Chain(*hidden(3), linear(lambda x: convolved(x, rows)), shaped(sigmoid))
    second = Chain(*hidden(2), linear(lambda x: convolved(x, columns)), shaped(sigmoid))
    return operation, Gated(Gated(SAME, second), first)


def halves(x):
    return over_windows(x, [places(s, 2, 2) for s in x.shape[2:]], lambda s, place: s.mean((-2, -1)))


@twin(GATE, "of half the size, resized")
def _resized(m):
    m.need(m.height > 1 and m.width > 1)

    def operation(x):
        return x * F.interpolate(torch.sigmoid(F.avg_pool2d(x, 2)), size=x.shape[2:])

    matrices = [resizing(s // 2, s, "nearest") for s in m.shape[1:]]
    return operation, Gated(SAME, Chain(linear(halves), shaped(lambda z: resized(sigmoid(z), matrices))))


@twin(GATE, "of half the size, resized smoothly")
def _resized_smoothly(m):
    m.need(m.height > 1 and m.width > 1)

    def operation(x):
        gate = F.interpolate(torch.sigmoid(F.avg_pool2d(x, 2)), size=x.shape[2:], mode="bilinear")
        return gate * x

    matrices = [resizing(s // 2, s, "linear") for s in m.shape[1:]]
    return operation, Gated(SAME, Chain(linear(halves), shaped(lambda z: resized(sigmoid(z), matrices))))


@twin(GATE, "a convolution's sigmoid")
def _convolved(m):
    kernel = m.normal(m.channels, m.channels, 3, 3)
    return (
        lambda x: x * torch.sigmoid(F.conv2d(x, tensor(kernel), padding=1)),
        Gated(SAME, Chain(linear(lambda x: convolved(x, kernel, padding=1)), shaped(sigmoid))),
    )


@twin(GATE, "energy of each place (no weights)")
def _energy(m):
    m.need(m.height * m.width > 1)

    def operation(x):
        away = (x - x.mean((2, 3), keepdim=True)).pow(2)
        spread = away.sum((2, 3), keepdim=True) / (x.shape[2] * x.shape[3] - 1)
        return x * torch.sigmoid(away / (4 * (spread + 1e-2)) + 0.5)

    def gate(z, at):
        return sigmoid((z - mean(z, (2, 3))) ** 2 / (4 * (variance(z, (2, 3), 1) + 1e-2)) + 0.5)

    return operation, Gated(SAME, Uncrossed(gate))


@twin(GATE, "softmax over space")
def _softmax_over_space(m):
    def operation(x):
        return x * torch.softmax(x.mean(1).flatten(1), 1).view(len(x), 1, *x.shape[2:])

    def gate(z, at):
        return softmax(z.mean(1).reshape(len(z), -1), 1).reshape(len(z), 1, *z.shape[2:])

    return operation, Gated(SAME, Uncrossed(gate))


@twin(GATE, "global context")
def _global_context(m):
    """The context is a sum over places by softmax, inside the gate only."""
    one, two = m.normal(1, m.channels, 1, 1), m.normal(m.channels, m.channels, 1, 1)

    def operation(x):
        weights = F.softmax(F.conv2d(x, tensor(one)).reshape(len(x), 1, -1), dim=-1).unsqueeze(3)
        context = (x.reshape(len(x), x.shape[1], -1).unsqueeze(1) @ weights).view(len(x), -1, 1, 1)
        return x * torch.sigmoid(F.conv2d(context, tensor(two)))

    def gate(z, at):
        weights = softmax(convolved(z, one).reshape(len(z), 1, -1), -1).reshape(len(z), 1, *z.shape[2:])
        return sigmoid(convolved((z * weights).sum((2, 3), keepdims=True), two))

    return operation, Gated(SAME, Uncrossed(gate))


# ---------------------------------------------------------------- gates between branches


@twin(GATE, "half the channels gate the others")
def _half(m):
    m.need(m.channels % 2 == 0)
    half = m.channels // 2
    gate = Chain(linear(lambda x: x[:, half:]), shaped(sigmoid))
    return lambda x: x[:, :half] * torch.sigmoid(x[:, half:]), Gated(linear(lambda x: x[:, :half]), gate)


@twin(GATE, "glu")
def _glu(m):
    m.need(m.channels % 2 == 0)
    half = m.channels // 2
    gate = Chain(linear(lambda x: x[:, half:]), shaped(sigmoid))
    return lambda x: F.glu(x, 1), Gated(linear(lambda x: x[:, :half]), gate)


@twin(GATE, "highway: g a + (1 - g) b")
def _highway(m):
    inner, slow = squeezing(m)

    def operation(x):
        gate = torch.sigmoid(inner(x))
        return x * gate + x.flip(3) * (1 - gate)

    difference = Sum(SAME, MIRROR, weights=[1.0, -1.0])  # g a + (1 - g) b = b + g (a - b): the two gates are one
    return operation, Sum(MIRROR, Gated(difference, Chain(slow, shaped(sigmoid))))


def selective(m):
    """Weights of two branches: softmax over the branches, from the mean of their sum."""
    branches = m.normal(2, m.channels, m.channels, 1, 1)
    twins = [linear(lambda x: x), MIRROR]
    squeezed = Chain(Sum(*twins), linear(lambda x: mean(x, (2, 3))))

    def chosen(n):
        def gate(z, at):
            return softmax(np.stack([convolved(z, branch) for branch in branches], 1), 1)[:, n]

        return Uncrossed(gate)

    slow = Sum(*[Gated(branch, Chain(squeezed, chosen(n))) for n, branch in enumerate(twins)])

    def logits(summed):
        return [F.conv2d(summed.mean((2, 3), keepdim=True), tensor(branch)) for branch in branches]

    return logits, slow


@twin(GATE, "selective kernels: stack, product, sum")
def _selective(m):
    logits, slow = selective(m)

    def operation(x):
        u = torch.stack([x, x.flip(3)], 1)
        return (u * torch.softmax(torch.stack(logits(u.sum(1)), 1), 1)).sum(1)

    return operation, slow


@twin(GATE, "selective kernels: one product a branch")
def _selective_apart(m):
    logits, slow = selective(m)

    def operation(x):
        one, two = x, x.flip(3)
        a, b = torch.softmax(torch.stack(logits(one + two), 0), 0).unbind(0)
        return one * a + two * b

    return operation, slow


@twin(GATE, "selective kernels: split attention")
def _split_attention(m):
    """Branches in one tensor; softmax by view, transpose and reshape."""
    logits, slow = selective(m)

    def operation(x):
        count = len(x)
        u = torch.cat([x, x.flip(3)], 1).reshape(count, 2, -1, *x.shape[2:])
        z = torch.cat(logits(u.sum(1)), 1)
        z = F.softmax(z.view(count, 1, 2, -1).transpose(1, 2), dim=1).reshape(count, -1, 1, 1)
        return (u * z.reshape(count, 2, -1, 1, 1)).sum(dim=1).contiguous()

    return operation, slow


@twin(GATE, "selective kernels: einsum", refused="einsum.*both factors carry the signal")
def _selective_einsum(m):
    logits, slow = selective(m)

    def operation(x):
        u = torch.stack([x, x.flip(3)], 1)
        weights = torch.softmax(torch.stack(logits(u.sum(1)), 1), 1)[..., 0, 0]
        return torch.einsum("nbchw,nbc->nchw", u, weights)

    return operation, slow
