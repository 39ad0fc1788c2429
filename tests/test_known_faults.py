"""Faults that random networks once found, each in its smallest form."""

import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pixelward as pw
from oracles import difference, hooked
from pixelward.core.descent import project_hits
from pixelward.core.project import Unit, project_units
from pixelward.core.rules import RULE_SETS
from pixelward.core.trace import trace
from twins import Operation

X = torch.randn(2, 2, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "operation",
    [lambda x: x.mT, lambda x: (x + 1).transpose(2, 3) * 2, lambda x: (x + x).transpose(1, 3)],
    ids=["mT", "rows and columns", "channels and columns"],
)
def test_a_layer_whose_rows_and_columns_changed_places_is_refused_not_turned(operation):
    """Its boxes would be told of the wrong axes. What lies above it projects: see `test_laws_fields.py`."""
    net = Operation(operation)
    with pytest.raises(pw.PixelwardError, match=r"layer 'last' of shape .* allowed: layers of maps \(channels, height"):
        project_units(net, X[:1], "last", [Unit(0, 1, (1, 1))])
    traced = trace(net, X[:1], ["last"])
    one = torch.ones(1, dtype=torch.int64)
    with pytest.raises(pw.PixelwardError, match="layer 'last' of shape"):
        project_hits(traced.plan, traced.targets["last"], one, torch.tensor([[1, 1]]), one - 1)


@pytest.mark.parametrize("rules", sorted(RULE_SETS))
def test_one_picture_equals_a_batch_below_a_channels_last_layer(rules):
    """torch 2.13 itself is wrong here: its batch norm's backward, for one picture and a gradient of channels-last
    memory that went through a view. A signal that is contiguous is not met by it."""
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.InstanceNorm2d(2, affine=True, track_running_stats=True)
            self.norm.running_var = torch.tensor([0.3, 2.0])
            self.linear, self.last = nn.Linear(2, 3), nn.Identity()

        def forward(self, x):
            return self.last(torch.relu(self.linear(self.norm(x).permute(0, 2, 3, 1)).mean((1, 2))))

    net = Net().double().eval()
    (alone,) = project_units(net, X[:1], "last", [Unit(0, 0)], seed="one", rules=rules)
    both = project_units(net, X, "last", [Unit(0, 0), Unit(1, 0)], seed="one", rules=rules)
    assert alone.signal.any() or both[1].signal.any()
    assert difference(alone.signal, both[0].signal) < 1e-10


@pytest.mark.parametrize("operation", [lambda x: x + x.amax(1), lambda x: x * 2 - x.mean(1)], ids=["amax", "mean"])
def test_a_map_that_lost_its_channels_is_not_spread_over_other_pictures(operation):
    """(N, H, W) beside (N, C, H, W): picture n goes to channel n. One picture alone is refused as a batch is."""
    for pictures in (X, X[:1]):
        with pytest.raises(pw.PixelwardError, match="mixes the pictures of a batch"):
            project_units(Operation(operation), pictures, "last", [Unit(n, 0) for n in range(len(pictures))])


class Between(nn.Module):
    """Two convolutions of the picture, what is made of them, and a last convolution."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(3)
        self.one, self.two, self.last = nn.Conv2d(2, 4, 3), nn.Conv2d(2, 4, 3), nn.Conv2d(4, 2, 1)
        self.function = function
        self.double()

    def forward(self, x):
        return self.last(self.function(self.one(x), self.two(x)))


def written(change):
    def function(y, z):
        y = y * 1
        return change(y, z)

    return function


def by_mask_in_place(y, z):
    turned = y.permute(0, 2, 3, 1)
    turned = turned.mul_(turned > 0)
    return turned.permute(0, 3, 1, 2)


def full_slice(y, z):
    view = y[:]
    view[view < 0] = 0
    return y


def without_mean(y, z):
    view = y[:]
    view -= view.mean(1, keepdim=True)
    return y


class Halting(torch.autograd.Function):
    """Doubles its first input on the way up, and sends nothing down to its last: of one input, nothing at all."""

    @staticmethod
    def forward(context, *given):
        context.count = len(given)
        return given[0] * 2

    @staticmethod
    def backward(context, signal):
        return (*[signal * 2] * (context.count - 1), None)


@pytest.mark.parametrize("count", [1, 2])
def test_a_function_that_sends_nothing_down_may_be_crossed_by_many_signals_at_once(count):
    """What it gave was once counted up to its last signal, so that inputs were missing."""
    net = Operation(lambda x: x + Halting.apply(*[x * 3] * count))
    one, two = project_units(net, X[:1], "last", [Unit(0, 0), Unit(0, 1)], rules="gradient", seed="one")
    for unit, together in ((Unit(0, 0), one), (Unit(0, 1), two)):
        (alone,) = project_units(net, X[:1], "last", [unit], rules="gradient", seed="one")
        assert torch.equal(alone.signal, together.signal)
        assert alone.signal.sum() == (1 if count == 1 else 7)


# What was once silently wrong: the network, and one that spells the same so that autograd needs no rule but ReLU's.
EQUAL = {
    "a copy's target gets nothing": (written(lambda y, z: y.copy_(z)), lambda y, z: z),
    "all of a tensor assigned": (
        written(lambda y, z: (y.__setitem__(..., F.avg_pool2d(y, 3, 1, 1)), y)[1]),
        lambda y, z: F.avg_pool2d(y, 3, 1, 1),
    ),
    "a rectified copy": (written(lambda y, z: (y.__setitem__(slice(None), y.relu()), y)[1]), lambda y, z: y.relu()),
    "a mask in place on a turned view": (written(by_mask_in_place), lambda y, z: y.relu()),
    "a whole tensor rectified through its flattened view": (
        written(lambda y, z: (y.flatten(1).relu_(), y)[1]),
        lambda y, z: y.relu(),
    ),
    "a flattened view rectified in place": (
        written(lambda y, z: y.flatten(2).relu_().view_as(z)),
        lambda y, z: y.relu(),
    ),
    "groups of channels rectified in place": (
        written(lambda y, z: (y.unflatten(1, (2, 2)).relu_(), y)[1]),
        lambda y, z: y.relu(),
    ),
    "a mask assigned in a full slice": (written(full_slice), lambda y, z: y.relu()),
    "a full slice plus its own base": (written(lambda y, z: (y[:].add_(y), y)[1]), lambda y, z: y + y),
    "a view plus itself": (
        written(lambda y, z: (lambda v: v.add_(v, alpha=0.5))(y.view_as(y))),
        lambda y, z: y * 1.5,
    ),
    "a mean taken from a full slice": (written(without_mean), lambda y, z: y - y.mean(1, keepdim=True).detach()),
    "a mean taken by rsub": (
        lambda y, z: torch.rsub(y.mean(1, keepdim=True), y),
        lambda y, z: y - y.mean(1, keepdim=True).detach(),
    ),
    "half a mean taken by lerp": (
        lambda y, z: torch.lerp(y, y.mean(1, keepdim=True).expand_as(y), 0.5),
        lambda y, z: 0.5 * y + 0.5 * y.mean(1, keepdim=True).detach(),
    ),
    "the gate of -x": (lambda y, z: y * torch.sigmoid(-y), lambda y, z: y * torch.sigmoid(-y).detach()),
    "the tanh of a rectified tensor": (
        lambda y, z: y.relu() * torch.tanh(y.relu()),
        lambda y, z: y.relu() * torch.tanh(y.relu()).detach(),
    ),
    "tanh less one": (lambda y, z: y * (torch.tanh(y) - 1), lambda y, z: y * (torch.tanh(y) - 1).detach()),
    "a pooled copy added": (
        lambda y, z: y + F.interpolate(y.unflatten(2, (3, 2)).unflatten(4, (3, 2)).mean((3, 5)), scale_factor=2),
        lambda y, z: y + F.interpolate(F.avg_pool2d(y, 2), scale_factor=2),
    ),
    "a channel-group shortcut": (
        lambda y, z: y + y.unflatten(1, (2, 2)).sum(1).repeat(1, 2, 1, 1),
        lambda y, z: y + torch.cat([y[:, :2] + y[:, 2:]] * 2, 1),
    ),
    "a sum of what was rectified apart": (
        lambda y, z: y.relu() + y.sum(1, keepdim=True),
        lambda y, z: y.relu() + sum(y.split(1, 1)),
    ),
    "a root mean square over the map by a pool": (
        lambda y, z: y / torch.sqrt(F.avg_pool2d(y**2, 6) + 1e-5),
        lambda y, z: y / torch.sqrt((y**2).mean((2, 3), keepdim=True) + 1e-5).detach(),
    ),
    "a gate that mixes by lerp": (
        lambda y, z: torch.lerp(y, z, (y - z).sigmoid()),
        lambda y, z: y * (1 - (y - z).sigmoid().detach()) + z * (y - z).sigmoid().detach(),
    ),
    "a sigmoid by hand": (lambda y, z: y * (1 / (1 + torch.exp(-z))), lambda y, z: y * z.sigmoid().detach()),
    "a hard sigmoid by hand": (
        lambda y, z: y * F.relu6(z + 3) / 6,
        lambda y, z: y * F.hardsigmoid(z).detach(),
    ),
}


@pytest.mark.parametrize(("function", "plain"), EQUAL.values(), ids=EQUAL)
def test_what_was_once_wrong_is_right(function, plain):
    x = torch.randn(1, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    net, other = Between(function), Between(plain)
    (unit,) = project_units(net, x, "last", [Unit(0, 1, (2, 3))], seed="one")
    expected = hooked(other, x, other.last, 1, (2, 3), "deconvnet", 1.0)
    assert expected.any()
    assert difference(unit.signal, expected) < 1e-10


W = torch.tensor([0.5, 2.0, 1.0, 3.0], dtype=torch.float64).view(4, 1, 1)
THREE = torch.tensor(3.0)


def acon(y):
    return (1.5 * y - 0.5 * y) * torch.sigmoid(2 * (1.5 * y - 0.5 * y)) + 0.5 * y


# Activations in spellings that were once taken for gates, and a spelling that is known.
ACTIVATIONS = {
    "hard swish, scaled before": (lambda y: y * torch.clamp((y + 3) / 6, 0, 1), F.hardswish),
    "hard swish, clamped by method": (lambda y: y * ((y + 3) / 6).clamp(0, 1), F.hardswish),
    "hard swish, hardtanh": (lambda y: y * F.hardtanh((y + 3) / 6, 0.0, 1.0), F.hardswish),
    "hard swish, three as a tensor": (lambda y: y * (F.relu6(y + THREE) / 6), F.hardswish),
    "hard swish, three by name": (lambda y: y * (F.relu6(torch.add(y, other=3)) / 6), F.hardswish),
    "hard swish, subtracted": (lambda y: y * (F.relu6(y.sub(-3)) / 6), F.hardswish),
    "the classical hard sigmoid": (
        lambda y: y * torch.clamp(0.5 * (y + 1), 0, 1),
        lambda y: y * torch.clamp(0.5 * y + 0.5, 0, 1),
    ),
    "timm's hard mish": (lambda y: 0.5 * y * (y + 2).clamp(0, 2), lambda y: y * torch.clamp(0.5 * y + 1, 0, 1)),
    "mish by logaddexp": (lambda y: y * torch.logaddexp(y, torch.zeros((), dtype=y.dtype)).tanh(), F.mish),
    "swish, scaled by channel before": (lambda y: W * y * torch.sigmoid(y), lambda y: W * F.silu(y)),
    "ACON, its difference written twice": (acon, lambda y: y * torch.sigmoid(2 * y) + 0.5 * y),
}


@pytest.mark.parametrize(("spelled", "known"), ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_an_activation_is_one_however_it_is_spelled(spelled, known):
    x = torch.randn(1, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    (one,), (other,) = (
        project_units(Between(lambda y, z, f=f: f(y)), x, "last", [Unit(0, 1, (2, 3))], seed="one")
        for f in (spelled, known)
    )
    assert other.signal.any()
    assert difference(one.signal, other.signal) < 1e-10


def test_a_convolution_called_twice_makes_one_activation():
    x = torch.randn(1, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))

    class Twice(Between):
        def forward(self, x):
            return self.last(self.one(x) * torch.sigmoid(self.one(x)))

    once = Between(lambda y, z: F.silu(y))
    (one,), (other,) = (project_units(net, x, "last", [Unit(0, 1, (2, 3))], seed="one") for net in (Twice(None), once))
    assert difference(one.signal, other.signal) < 1e-10


HOOKS = ["register_full_backward_hook", "register_full_backward_pre_hook"]


@pytest.mark.parametrize("register", HOOKS)
def test_backward_hooks_that_others_left_change_nothing(register):
    x = torch.randn(1, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    net = Between(lambda y, z: F.relu(y))
    (before,) = project_units(net, x, "last", [Unit(0, 1, (2, 3))], seed="one")
    getattr(net.one, register)(lambda *given: None)
    for rules in ("deconvnet", "gradient"):
        (after,) = project_units(net, x, "last", [Unit(0, 1, (2, 3))], seed="one", rules=rules)
        assert rules == "gradient" or difference(before.signal, after.signal) < 1e-12


def test_a_network_made_under_inference_mode_is_refused_and_left_as_it_was():
    with torch.inference_mode():
        net = nn.Conv2d(3, 4, 3)
    with pytest.raises(pw.PixelwardError, match=r"made under torch\.inference_mode.*outside of inference_mode"):
        pw.project(net, torch.randn(3, 8, 8), layer="", channel=1)
    assert net.weight.requires_grad


def test_a_constant_kept_from_a_run_under_inference_mode_is_a_constant():
    class Placed(Between):
        grid = None

        def forward(self, x):
            if self.grid is None:
                self.grid = torch.linspace(0, 1, 6, dtype=x.dtype)
            return self.last(self.one(x) + self.grid)

    x = torch.randn(1, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    net = Placed(None)
    with torch.inference_mode():
        net(x)
    (one,) = project_units(net, x, "last", [Unit(0, 1, (2, 3))], seed="one")
    (other,) = project_units(Between(lambda y, z: y), x, "last", [Unit(0, 1, (2, 3))], seed="one")
    assert difference(one.signal, other.signal) < 1e-12


def test_what_runs_without_gradients_is_told_with_where_to_look():
    class Frozen(Between):
        @torch.no_grad()
        def forward(self, x):
            return self.last(self.one(x))

    with pytest.raises(pw.PixelwardError, match=r"nothing depends on the picture.*no_grad"):
        pw.layers(Frozen(None), size=(8, 8), channels=2)


def with_a_gradient_of_its_own(y, z):
    weight = torch.ones(4, 1, 1, dtype=y.dtype, requires_grad=True)
    return y * ((y.detach() > 0) * weight)


def under_a_dead_view(y, z):
    y.flatten(1).shape  # noqa: B018, the view is made and dropped
    y.data.clamp_(min=0)
    return y


def part_by_mask(y, z):
    y = y * 1
    half = y[:, :2]
    half[half < 0] = 0
    return y


MIXES = "mixes the pictures of a batch"
REFUSED = {
    "a tensor with a gradient of its own": (with_a_gradient_of_its_own, "does not follow"),
    "a fresh leaf": (
        lambda y, z: y * ((y.detach() > 0).double().requires_grad_() * 1.0),
        "does not follow",
    ),
    "new_tensor": (lambda y, z: y * y.new_tensor((y > 0).double()), "does not follow|read in Python"),
    "full_like": (lambda y, z: y * torch.full_like(y, y.detach().abs().mean()), "does not follow|read in Python"),
    "pickled": (lambda y, z: y * pickle.loads(pickle.dumps(y > 0)), "read in Python"),
    "data under a dead view": (under_a_dead_view, "changed by clamp"),
    "a star with its bias apart": (
        lambda y, z: F.relu6(y + torch.ones(4, 1, 1, dtype=y.dtype)) * z,
        "neither is a gate",
    ),
    "a star": (lambda y, z: y * F.relu6(y), "neither is a gate"),
    "divided by a sigmoid's denominator": (lambda y, z: y / (1 + torch.exp(-z)), "divisor carry the signal"),
    "the logarithm of nearly an exponential": (lambda y, z: torch.log(torch.exp(y) + 1e-3), "'Log'|has to cross"),
    "divided by 1 + exp(x), which falls": (lambda y, z: y / (1 + torch.exp(y)), "divisor carry the signal"),
    "divided by 5 + exp(-x)": (lambda y, z: y / (5 + torch.exp(-y)), "divisor carry the signal"),
    "divided by 1 + exp(x * x)": (lambda y, z: y / (1 + torch.exp(y * y)), "divisor carry the signal"),
    "the tanh of a falling softplus": (lambda y, z: y * torch.tanh(F.softplus(-y)) * z, "neither is a gate"),
    "random numbers": (lambda y, z: y * torch.rand_like(y), "random numbers"),
    "a Bernoulli mask": (
        lambda y, z: y * (y.new_empty(1, 4, 1, 1).bernoulli_(0.5) / 0.5) + z,
        "random numbers that were drawn while the network ran .* call eval",
    ),
    "a dropout of ones": (lambda y, z: y * F.dropout(torch.ones(4, 1, 1, dtype=y.dtype)), "random numbers"),
    "a part by a mask": (part_by_mask, "does not follow|changed in place"),
    "a constant that was overwritten": (
        lambda y, z: (lambda k: (torch.maximum(y, k), k.add_(1))[0])(torch.ones(4, 1, 1, dtype=y.dtype)),
        "overwritten in place later",
    ),
    "an integer mask turned round": (lambda y, z: y * ~((y <= 0).int()), "does not follow"),
    "statistics of the batch": (
        lambda y, z: y * (z.mean((2, 3)) - z.mean((2, 3)).mean(0)).sigmoid()[:, :, None, None],
        MIXES,
    ),
    "a gate over the batch": (lambda y, z: y * z.mean((2, 3)).softmax(0)[:, :, None, None], MIXES),
    "the batch on another axis": (lambda y, z: y - y.transpose(0, 1).mean(1, keepdim=True).transpose(0, 1), MIXES),
    "a slice of the batch on another axis": (lambda y, z: y + y.transpose(0, 1)[:, :1].transpose(0, 1) * 0.5, MIXES),
    "one of the batch on another axis": (lambda y, z: y + y.transpose(0, 1)[:, 0].unsqueeze(0), MIXES),
    "halves of the batch": (lambda y, z: sum(y.chunk(2, 0)) + z, MIXES),
    "the batch stacked and summed": (lambda y, z: y + torch.stack([y, z], 1)[:, 0].sum(0), MIXES),
    "a sum over a later place of the batch": (lambda y, z: y + torch.stack([y, z], 0).sum(1), MIXES),
    "the batch merged behind the channels": (
        lambda y, z: y + y.transpose(0, 1).flatten(1, 2).mean(1)[None, :, None],
        MIXES,
    ),
    "a convolution over the batch": (
        lambda y, z: F.conv2d(y.transpose(0, 1), torch.ones(2, 2, 1, 1, dtype=y.dtype)).transpose(0, 1),
        MIXES,
    ),
    "a pool over the batch": (lambda y, z: y + F.avg_pool2d(y.transpose(0, 3), 3, 1, 1).transpose(0, 3), MIXES),
    "a linear layer over the batch": (
        lambda y, z: y + F.linear(y.transpose(0, 3), torch.ones(2, 2, dtype=y.dtype)).transpose(0, 3),
        MIXES,
    ),
    "a product over the batch": (
        lambda y, z: y + torch.matmul(torch.ones(2, 2, dtype=y.dtype), y.transpose(0, 2)).transpose(0, 2),
        MIXES,
    ),
    "a norm over the batch": (
        lambda y, z: y + F.layer_norm(y.transpose(0, 3), (2,)).transpose(0, 3),
        MIXES,
    ),
    "the batch padded": (lambda y, z: F.pad(y, [0] * 6 + [0, 2])[2:] + y, MIXES),
    "the batch among the channels": (lambda y, z: y + y.flatten(0, 1).mean(0), MIXES),
}


@pytest.mark.filterwarnings("ignore:To copy construct")
@pytest.mark.parametrize(("function", "words"), REFUSED.values(), ids=REFUSED)
def test_what_was_once_silently_wrong_is_refused(function, words):
    x = torch.randn(2, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    with pytest.raises(pw.PixelwardError, match=words):
        project_units(Between(function), x, "last", [Unit(0, 1), Unit(1, 0)])


# The axis of the pictures moves about, and no two pictures meet.
APART = {
    "channels in front": lambda y, z: (y.transpose(0, 1)[1:3] * 2).repeat(2, 1, 1, 1).transpose(0, 1),
    "heads in front": lambda y, z: y.unflatten(1, (2, 2)).permute(1, 0, 2, 3, 4).unbind(0)[1].repeat(1, 2, 1, 1) + y,
    "one of heads in front": lambda y, z: y.unflatten(1, (2, 2)).transpose(0, 1)[1].repeat(1, 2, 1, 1) + y,
    "stacked in front": lambda y, z: torch.stack([y, z]).mean(0),
    "stacked and chosen": lambda y, z: torch.stack([y, z], 2)[:, :, 1] + torch.stack([y, z])[0],
    "a contraction": lambda y, z: (
        torch.einsum("oc,nchw->nohw", torch.eye(4, dtype=y.dtype).roll(1, 0), y).mean((2, 3))[:, :, None, None] + y
    ),
    "one channel contracted": lambda y, z: (
        torch.einsum("oc,nchw->nohw", torch.ones(4, 1, dtype=y.dtype), y[:, :1]) - z.mean(1, keepdim=True)
    ),
    "merged with rows": lambda y, z: y - y.permute(0, 2, 1, 3).flatten(0, 1).mean(1).unflatten(0, (-1, 6))[:, None],
    "one after another": lambda y, z: torch.stack([(a - b).relu() for a, b in zip(y, z, strict=True)]),
    "joined and parted": lambda y, z: sum(torch.cat([y, z.flip(-1)]).relu().chunk(2)),
}


@pytest.mark.parametrize("function", APART.values(), ids=APART)
def test_pictures_that_stay_apart_are_not_refused_wherever_they_stand(function):
    """Of a batch, and of one picture alone, whose axis is of one sample as others may be."""
    x = torch.randn(3, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    net = Between(function)
    units = [Unit(n, 1, (2, 3)) for n in range(3)]
    together = project_units(net, x, "last", units, seed="one")
    for number, unit in enumerate(together):
        (alone,) = project_units(net, x[number : number + 1], "last", [Unit(0, 1, (2, 3))], seed="one")
        assert unit.signal.any()
        assert difference(unit.signal, alone.signal) < 1e-10


def test_a_linear_layer_behind_maps_that_could_not_be_followed_is_refused_by_project_too():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.lin = nn.Conv2d(2, 4, 3), nn.Linear(4, 5)

        def forward(self, x):
            y = self.conv(x)
            return self.lin(y.flatten(2).transpose(1, 2).reshape(1, *y.shape[2:], 4))

    with pytest.raises(pw.PixelwardError, match=r"layer 'lin' of shape \(6, 6, 5\), with its channels last"):
        pw.project(Tokens(), torch.randn(2, 8, 8), layer="lin", channel=1)


def test_a_pool_over_channels_rows_and_columns():
    """Maps given to a pool of volumes, whose places are counted over the channels too."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveMaxPool3d((2, 3, 3)), nn.Conv2d(2, 5, 2)).double()
    picture = torch.randn(3, 8, 8, dtype=torch.float64)
    found = pw.project(net, picture, layer="2", channel=1, position=(0, 0))
    leaf = picture[None].requires_grad_()
    value = net(leaf)[0, 1, 0, 0]
    (gradient,) = torch.autograd.grad(value, leaf)
    assert difference(found.signal, (value * gradient[0]).detach()) < 1e-12
