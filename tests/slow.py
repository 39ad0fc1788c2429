"""The rules once more, in numpy: small operations that go up and come down, and ways to put them together.

Nothing here knows torch or the library. Arrays are float64, with the pictures of a batch along axis 0. An operation
`up(x)` gives its output, `down(x, signal, rules)` sends a signal back, where `rules` is "deconvnet", "guided" or
"gradient". A smooth operation is written once, as `formula(x, at)`: what it does to `x` with everything that the way
down keeps constant (gates, statistics, switches) taken from `at`, the recorded input. Its transpose is the derivative
of that formula in x, by complex steps: exact to rounding, and without a line of calculus.
"""

import numpy as np

STEP = 1e-30


class Crossed(Exception):
    """A signal met an operation that the deconvnet has no rule for."""


def derivative(function, x, signal):
    """The signal times the matrix of derivatives of `function` at x, picture by picture. A step in each direction."""
    down = np.empty_like(x)
    for n, (one, above) in enumerate(zip(x, signal, strict=True)):
        directions = np.eye(one.size).reshape(-1, *one.shape)
        moved = function(one[None] + 1j * STEP * directions, n).imag / STEP
        down[n] = (moved.reshape(one.size, -1) @ above.ravel()).reshape(one.shape)
    return down


def total(signal, shape):
    """The signal summed to the shape that broadcasting started from."""
    extra = signal.ndim - len(shape)
    signal = signal.sum(tuple(range(extra)))
    axes = tuple(axis for axis, size in enumerate(shape) if size == 1 and signal.shape[axis] != 1)
    return signal.sum(axes, keepdims=True)


class Leaf:
    """One operation: `formula(x, at)`; `fixed` are the rule sets for which `at` stays constant."""

    def __init__(self, formula, fixed=("deconvnet",)):
        self.formula, self.fixed = formula, fixed

    def up(self, x):
        return self.formula(x, x)

    def down(self, x, signal, rules):
        if rules in self.fixed:
            return derivative(lambda z, n: self.formula(z, x[n : n + 1]), x, signal)
        return derivative(lambda z, n: self.formula(z, z), x, signal)


class Skipped(Leaf):
    """Left out on the deconvnet's way down: the paper's rule for contrast normalisation."""

    def down(self, x, signal, rules):
        return signal if rules == "deconvnet" else super().down(x, signal, rules)


class Uncrossed(Leaf):
    """Without a rule in the deconvnet: it may only stand where no signal comes, as in a gate."""

    def down(self, x, signal, rules):
        if rules == "deconvnet":
            raise Crossed
        return super().down(x, signal, rules)


class Rectifier:
    """An activation f of one argument; its slope by a complex step where f takes complex numbers."""

    def __init__(self, f, slope=None):
        self.up = f
        self.slope = slope or (lambda x: f(x + 1j * STEP).imag / STEP)

    def down(self, x, signal, rules):
        if rules == "deconvnet":
            return np.maximum(signal, 0)
        slope = self.slope(x)
        return signal * slope if rules == "gradient" else np.maximum(signal, 0) * np.maximum(slope, 0)


class Chain:
    """One operation after the other."""

    def __init__(self, *parts):
        self.parts = parts

    def up(self, x):
        for part in self.parts:
            x = part.up(x)
        return x

    def down(self, x, signal, rules):
        inputs = []
        for part in self.parts:
            inputs.append(x)
            x = part.up(x)
        for part, before in zip(reversed(self.parts), reversed(inputs), strict=True):
            signal = part.down(before, signal, rules)
        return signal


class Branches:
    """Several operations on one input; `joined(outputs)` puts their results together, `sent` takes them apart."""

    def __init__(self, *branches):
        self.branches = branches

    def up(self, x):
        return self.joined([branch.up(x) for branch in self.branches])

    def down(self, x, signal, rules):
        outputs = [branch.up(x) for branch in self.branches]
        down = np.zeros_like(x)
        for branch, output, part in zip(self.branches, outputs, self.sent(signal, outputs, rules), strict=True):
            if part is not None:
                down = down + branch.down(x, total(part, output.shape), rules)
        return down


class Sum(Branches):
    def __init__(self, *branches, weights=None):
        super().__init__(*branches)
        self.weights = weights or [1.0] * len(branches)

    def joined(self, outputs):
        return sum(weight * output for weight, output in zip(self.weights, outputs, strict=True))

    def sent(self, signal, outputs, rules):
        return [weight * signal for weight in self.weights]


class Joined(Branches):
    def __init__(self, *branches, axis=1):
        super().__init__(*branches)
        self.axis = axis

    def joined(self, outputs):
        return np.concatenate(outputs, self.axis)

    def sent(self, signal, outputs, rules):
        ends = np.cumsum([output.shape[self.axis] for output in outputs])
        return np.split(signal, ends[:-1], self.axis)


class Gated(Branches):
    """Feature times gate: the deconvnet keeps the gate constant, the others send signals to both."""

    def joined(self, outputs):
        feature, gate = outputs
        return feature * gate

    def sent(self, signal, outputs, rules):
        feature, gate = outputs
        return [signal * gate, None if rules == "deconvnet" else signal * feature]


class Larger(Branches):
    """The larger of two; of equal ones the first."""

    def joined(self, outputs):
        return np.where(outputs[0] >= outputs[1], *outputs)

    def sent(self, signal, outputs, rules):
        first = outputs[0] >= outputs[1]
        return [signal * first, signal * ~first]


def linear(function):
    """An operation that is linear in the signal, up to a constant."""
    return Leaf(lambda x, at: function(x))


def switched(formula):
    """A choice among places: `at` decides, in the deconvnet as in guided backpropagation."""
    return Leaf(formula, fixed=("deconvnet", "guided"))


SAME = linear(lambda x: x)


# ---------------------------------------------------------------- building blocks


def maps(vector):
    """A number a channel, shaped for (N, C, H, W)."""
    return np.reshape(vector, (-1, 1, 1))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def between(z, low, high):
    """Clamped, also for complex numbers."""
    return np.where(z.real < low, low, np.where(z.real > high, high, z))


def softmax(z, axis):
    e = np.exp(z - z.real.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def mean(x, axes):
    return x.mean(axes, keepdims=True)


def variance(x, axes, correction=0):
    count = np.prod([x.shape[axis] for axis in (axes if isinstance(axes, tuple) else (axes,))])
    return ((x - mean(x, axes)) ** 2).sum(axes, keepdims=True) / (count - correction)


def padded(x, margins, value=0.0):
    """Margins as (before, after) for each of the last axes."""
    return np.pad(x, [(0, 0)] * (x.ndim - len(margins)) + list(margins), constant_values=value)


def places(size, kernel, stride=1, padding=0, dilation=1, ceil=False):
    """For every window along one axis, the places under it that lie on the map; as torch counts windows."""
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (-(-span // stride) if ceil else span // stride) + 1
    if ceil and (count - 1) * stride >= size + padding:
        count -= 1
    return [[p for p in range(start, start + dilation * kernel, dilation) if 0 <= p < size]
            for start in range(-padding, count * stride - padding, stride)]  # fmt: skip


def adaptive(size, count):
    return [list(range(i * size // count, -(-(i + 1) * size // count))) for i in range(count)]


def over_windows(x, windows, reduce):
    """`reduce(samples, window)` for every window; `windows`: a list of places for each of the last axes."""
    counts = tuple(len(axis) for axis in windows)
    out = np.zeros((*x.shape[: x.ndim - len(windows)], *counts), x.dtype)
    for place in np.ndindex(counts):
        chosen = [axis[i] for axis, i in zip(windows, place, strict=True)]
        out[(..., *place)] = reduce(x[(..., *np.ix_(*chosen))], place)
    return out


def largest(x, at, axes):
    """Of x, along some axes, the sample where `at` is largest; of equal ones the first, row by row."""
    axes = tuple(axis % x.ndim for axis in axes)
    rest = [axis for axis in range(x.ndim) if axis not in axes]
    x, at = (t.transpose(rest + list(axes)).reshape(*(t.shape[r] for r in rest), -1) for t in (x, at))
    winner = np.argmax(at.real, -1)  # numpy, too, takes the first
    return np.take_along_axis(x, np.broadcast_to(winner, x.shape[:-1])[..., None], -1)[..., 0]


def max_pooled(x, at, windows):
    """Max-pooling by loops over windows."""
    axes = tuple(range(-len(windows), 0))
    counts = tuple(len(axis) for axis in windows)
    out = np.zeros((*x.shape[: x.ndim - len(windows)], *counts), x.dtype)
    for place in np.ndindex(counts):
        chosen = (..., *np.ix_(*[axis[i] for axis, i in zip(windows, place, strict=True)]))
        out[(..., *place)] = largest(x[chosen], at[chosen], axes)
    return out


def convolved(x, weight, bias=0.0, stride=1, padding=0, dilation=1, groups=1):
    """Convolution over the last axes, one kernel place at a time. weight: (out, in / groups, *kernel)."""
    rank = weight.ndim - 2
    stride, padding, dilation = ([p] * rank if np.isscalar(p) else p for p in (stride, padding, dilation))
    x = padded(x, [p if isinstance(p, tuple) else (p, p) for p in padding])
    axes = range(rank)
    counts = [(x.shape[2 + a] - dilation[a] * (weight.shape[2 + a] - 1) - 1) // stride[a] + 1 for a in axes]
    out = np.zeros((len(x), len(weight), *counts), x.dtype)
    each, inner = len(weight) // groups, weight.shape[1]
    for o, i in np.ndindex(len(weight), inner):
        channel = o // each * inner + i
        for k in np.ndindex(weight.shape[2:]):
            under = tuple(
                slice(k[a] * dilation[a], k[a] * dilation[a] + (counts[a] - 1) * stride[a] + 1, stride[a]) for a in axes
            )
            out[:, o] += weight[(o, i, *k)] * x[(slice(None), channel, *under)]
    return out + np.reshape(bias, (-1,) + (1,) * rank)


def transposed(x, weight, bias=0.0, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    """Transposed convolution: every sample spreads its kernel. weight: (in, out / groups, *kernel)."""
    rank = weight.ndim - 2
    axes = range(rank)
    sizes = [
        (x.shape[2 + a] - 1) * stride + dilation * (weight.shape[2 + a] - 1) + 1 + output_padding for a in axes
    ]  # before the padding is cut off
    out = np.zeros((len(x), weight.shape[1] * groups, *sizes), x.dtype)
    each = len(weight) // groups
    for i, o in np.ndindex(weight.shape[:2]):
        channel = i // each * weight.shape[1] + o
        for k in np.ndindex(weight.shape[2:]):
            under = tuple(
                slice(k[a] * dilation, k[a] * dilation + (x.shape[2 + a] - 1) * stride + 1, stride) for a in axes
            )
            out[(slice(None), channel, *under)] += weight[(i, o, *k)] * x[:, i]
    cut = tuple(slice(padding, size - padding) for size in sizes)
    return out[(slice(None), slice(None), *cut)] + np.reshape(bias, (-1,) + (1,) * rank)


def resizing(size, count, mode, aligned=False, scale=None):
    """Matrix (count, size) that resizes one axis; `scale`: the factor that was asked for, where it was."""
    matrix = np.zeros((count, size))
    ratio = size / count if scale is None else 1 / scale
    for i in range(count):
        source = i * (size - 1) / (count - 1) if aligned else (i + 0.5) * ratio - 0.5
        if mode == "nearest":
            taps = {int(i * ratio): 1.0}
        elif mode == "nearest-exact":
            taps = {int((i + 0.5) * ratio): 1.0}
        elif mode == "linear":
            source = max(source, 0.0)
            taps = {int(source): 1 - source % 1, int(source) + 1: source % 1}
        else:
            first = int(np.floor(source))
            taps = {first + k: _cubic(source - first - k) for k in (-1, 0, 1, 2)}
        for place, weight in taps.items():
            matrix[i, min(max(place, 0), size - 1)] += weight
    return matrix


def _cubic(distance, a=-0.75):
    d = abs(distance)
    return (a + 2) * d**3 - (a + 3) * d**2 + 1 if d <= 1 else a * (d**3 - 5 * d**2 + 8 * d - 4)


def resized(x, matrices):
    """Each of the last axes times its matrix."""
    for axis, matrix in enumerate(matrices, start=-len(matrices)):
        x = np.moveaxis(np.moveaxis(x, axis, -1) @ matrix.T, -1, axis)
    return x
