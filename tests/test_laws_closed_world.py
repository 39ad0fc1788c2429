"""Law 16 under attack: ways to leave autograd's graph, to share memory, to bear a false name.

`accepted`: projected, and equal to hooks on autograd's nodes. `refused`: one line that says why.
"""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from oracles import difference, hooked
from pixelward.core.descent import project_hits
from pixelward.core.layers import find_layers, layers, observe
from pixelward.core.project import Unit, project_units
from pixelward.core.rules import DECONVNET
from pixelward.core.trace import trace
from pixelward.errors import PixelwardError

X = torch.randn(1, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """conv, then `middle(conv's output, the network)`, then conv."""

    def __init__(self, middle, inner=4):
        super().__init__()
        torch.manual_seed(1)
        self.one, self.last = nn.Conv2d(3, 4, 3).double(), nn.Conv2d(inner, 2, 3).double()
        self.linear = nn.Linear(4, 4).double()
        self.middle = middle

    def forward(self, x):
        return self.last(self.middle(self.one(x), self))


def without_gradient(change):
    def middle(y, net):
        with torch.no_grad():
            change(y)
        return y

    return middle


def winners(y, net):
    mask = torch.zeros_like(y)
    mask.view(len(y), -1).scatter_(1, y.flatten(1).topk(30, 1).indices, 1.0)
    return y * mask


def by_view(y, net):
    mask = torch.zeros_like(y)
    mask[0].copy_(y.detach()[0] > 0)
    return y * mask


def written(y, net):
    y[y < 0] = 0
    return y


def biased(y, net):
    return F.conv2d(y, net.linear.weight[:, :, None, None], y.mean((0, 2, 3)))


@torch.jit.script
def scripted(y: torch.Tensor):
    return y * (y > 0).to(y.dtype)


def named(name):
    """An autograd function that squares and bears the name of one of autograd's own nodes."""
    return type(
        name,
        (torch.autograd.Function,),
        {
            "forward": staticmethod(lambda ctx, x: (ctx.save_for_backward(x), x * x)[1]),
            "backward": staticmethod(lambda ctx, grad: grad * 2 * ctx.saved_tensors[0]),
        },
    )


REFUSED = {
    "relu without a gradient": (without_gradient(lambda y: y.relu_()), "changed by relu"),
    "product without a gradient": (without_gradient(lambda y: y.mul_(y > 0)), "changed by mul|does not follow"),
    "assignment without a gradient": (without_gradient(lambda y: y.__setitem__(y < 0, 0.0)), "changed|follow"),
    "clamped data": (lambda y, net: (y.data.clamp_(min=0), y)[1], "changed by clamp"),
    "data set": (lambda y, net: (setattr(y, "data", y.detach().relu()), y)[1], "changed by __set__|changed"),
    "detached and rectified": (lambda y, net: (y.detach().relu_(), y)[1], "changed by relu"),
    "winners by topk": (winners, "does not follow"),
    "a mask filled through a view": (by_view, "does not follow"),
    "a mask made in numpy": (lambda y, net: y * torch.from_numpy(y.detach().numpy() > 0), "read in Python by numpy"),
    "a mask as a parameter": (lambda y, net: y * nn.Parameter((y > 0).to(y.dtype)), "does not follow"),
    "a scripted function": (lambda y, net: scripted(y), "cannot be watched"),
    "vmap": (lambda y, net: torch.vmap(lambda t: t * (t > 0))(y), "uses vmap or another transform"),
    "shape of a choice": (lambda y, net: y * (y > 0).nonzero().shape[0], "read in Python|does not follow"),
    "size of a choice": (lambda y, net: y * y[y > 0].numel(), "read in Python"),
    "formatted": (lambda y, net: y * float(f"{y.mean():.5f}"), "read in Python"),
    "contains": (lambda y, net: y if 0.5 in y else -y, "read in Python"),
    "rounded division": (lambda y, net: torch.div(y, 2, rounding_mode="floor"), "rounded division|div"),
    "threshold of another value": (lambda y, net: F.threshold(y, 0, 20), "not 0"),
    "bias from the picture": (biased, "computed from the picture|mixes"),
    "slope from the picture": (lambda y, net: F.prelu(y, y.mean((2, 3))[0]), "slope is computed"),
    "the mean of the batch": (lambda y, net: y - y.mean(0, keepdim=True), "mixes the pictures"),
    "the batch turned round": (lambda y, net: y + y.flip(0), "mixes the pictures"),
}


@pytest.mark.parametrize(
    "name", ["Relu", "Mul", "Clone", "Cat", "Mean", "Convolution", "NativeBatchNorm", "Threshold", "Maximum"]
)
def test_a_users_function_is_refused_whatever_name_it_bears(name):
    function = named(name)
    with pytest.raises(PixelwardError, match=f"{name} in .*add a rule: .*{name}: my_rule"):
        project_units(Net(lambda y, net: function.apply(y)), X, "last", [Unit(0, 0)])


@pytest.mark.parametrize(("middle", "words"), REFUSED.values(), ids=REFUSED)
def test_refused_in_one_line(middle, words):
    with pytest.raises(PixelwardError, match=words) as refusal:
        project_units(Net(middle), X, "last", [Unit(0, 0)])
    assert "\n" not in str(refusal.value)


SILENT = {"rounded division"}  # whose gradient is 0 everywhere


@pytest.mark.parametrize("name", REFUSED)
def test_the_gradient_of_what_is_refused_is_autograds(name):
    """One picture, and two at once, where what mixes pictures shows; against a leaf's own `grad`."""
    net, places = Net(REFUSED[name][0]), [(1, 2, 3), (0, 5, 6)]
    for pictures in (X, torch.cat([X, X.flip(3)])):
        units = [Unit(number, c, (y, x)) for number, (c, y, x) in zip(range(len(pictures)), places, strict=False)]
        leaf = pictures.clone().requires_grad_(True)
        out = net(leaf)
        sum(out[(unit.picture, unit.channel, *unit.position)] for unit in units).backward()
        got = project_units(net, pictures, "last", units, seed="one", rules="gradient")
        assert difference(torch.stack([each.signal for each in got]), leaf.grad) < 1e-12
    assert leaf.grad.any() == (name not in SILENT)


def named_buffer(y, net):
    return y * torch.arange(1.0, 11.0, dtype=torch.float64)


ACCEPTED = {
    "rectifier with the constant on the left": lambda y, net: torch.maximum(torch.zeros((), dtype=y.dtype), y),
    "thirds": lambda y, net: y / 3,
    "divided by whole numbers": lambda y, net: y / torch.tensor([3, 7, 9, 11]).view(4, 1, 1),
    "scaled addition": lambda y, net: torch.add(y, y * 2, alpha=0.1),
    "scaled subtraction": lambda y, net: torch.sub(y, y * 2, alpha=0.3),
    "a factor of one axis": named_buffer,
    "a factor of two axes": lambda y, net: y * torch.linspace(1, 2, 100, dtype=y.dtype).view(10, 10),
    "a factor of three axes": lambda y, net: y * torch.linspace(1, 2, 4, dtype=y.dtype).view(4, 1, 1),
    "channels broadcast": lambda y, net: y[:, :1] * torch.ones(1, 4, 1, 1, dtype=y.dtype),
    "a crop by negative padding": lambda y, net: F.pad(y, (1, -2, -1, 0)),
    "channels last and back": lambda y, net: F.gelu(net.linear(y.permute(0, 2, 3, 1))).permute(0, 3, 1, 2),
    "chunks by keyword": lambda y, net: torch.cat(torch.chunk(input=y, chunks=2, dim=1)[::-1], 1),
    "a pool without a batch": lambda y, net: F.max_pool2d(y[0], 3, 1, 1)[None],
    "concatenated on a counted axis": lambda y, net: torch.cat([y[:, :2], y[:, 2:] * 2], -3),
    "pictures split and joined": lambda y, net: y.reshape(len(y) * 2, 2, 10, 10).reshape(len(y), 4, 10, 10),
    "float32 inside": lambda y, net: (y.float() * 0.5).double(),
    "written to a mask of its own": lambda y, net: y * torch.zeros_like(y).add_(2),
}


@pytest.mark.parametrize("middle", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted_and_equal_to_the_oracle_one_by_one_together_and_in_windows(middle):
    net = Net(middle)
    exact = 1e-5 if middle is ACCEPTED["float32 inside"] else 1e-10
    places = [(0, 2, 3), (1, 0, 0), (0, 5, 6)]
    expected = [hooked(net, X, net.last, c, (y, x), "deconvnet", 1.0) for c, y, x in places]
    together = project_units(net, X, "last", [Unit(0, c, (y, x)) for c, y, x in places], seed="one")
    for (c, y, x), one, right in zip(places, together, expected, strict=True):
        assert right.any()
        assert difference(one.signal, right) < exact
        for rules in ("guided", "gradient"):
            (alone,) = project_units(net, X, "last", [Unit(0, c, (y, x))], seed="one", rules=rules)
            assert difference(alone.signal, hooked(net, X, net.last, c, (y, x), rules, 1.0)) < exact
    traced = trace(net, X, ["last"])
    number = torch.tensor(places)
    signals, boxes = project_hits(
        traced.plan, traced.targets["last"], number[:, 0], number[:, 1:], torch.zeros(3, dtype=torch.int64)
    )
    for (c, y, x), signal, box in zip(places, signals, boxes, strict=True):
        full = F.pad(torch.zeros_like(X[0]), [50] * 4)
        full[:, 50 + box.top :, 50 + box.left :][:, : box.height, : box.width] = signal
        (seeded,) = project_units(net, X, "last", [Unit(0, c, (y, x))])
        assert difference(full[:, 50:-50, 50:-50], seeded.signal) < exact


def test_a_window_of_more_than_32767_places():
    x = torch.zeros(1, 1, 200, 200)
    x[0, 0, 180, 7] = 1
    (unit,) = project_units(nn.Sequential(nn.MaxPool2d(200)), x, "0", [Unit(0, 0)])
    assert unit.signal[0].nonzero().tolist() == [[180, 7]]


def test_a_re_entrant_checkpoint_is_refused_by_every_rule_set_and_leaves_no_gradient():
    net = Net(lambda y, net: checkpoint(nn.ReLU(), y, use_reentrant=True))
    for rules in ("deconvnet", "gradient"):
        with pytest.raises(PixelwardError, match=r"re-entrant checkpoint.*use_reentrant=False"):
            project_units(net, X, "last", [Unit(0, 0)], rules=rules)
    assert all(parameter.grad is None for parameter in net.parameters())
    same = Net(lambda y, net: checkpoint(nn.ReLU(), y, use_reentrant=False))
    expected = project_units(Net(lambda y, net: torch.relu(y)), X, "last", [Unit(0, 0)])[0].signal
    assert difference(project_units(same, X, "last", [Unit(0, 0)])[0].signal, expected) < 1e-10


def test_a_rule_that_gives_the_wrong_thing_is_told_so():
    net = Net(lambda y, net: torch.exp(y))
    for rule, words in (
        (lambda signal, step: signal, "gave Tensor - allowed: a list of one signal"),
        (lambda signal, step: [], "gave a list of 0"),
        (lambda signal, step: [signal[:, :1]], "gave a signal of shape"),
    ):
        with pytest.raises(PixelwardError, match=words):
            project_units(net, X, "last", [Unit(0, 0)], rules={**DECONVNET, torch.exp: rule})


def test_mixed_precision_is_cast_as_autograd_casts_it():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3).bfloat16(), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1).bfloat16()
    ).eval()
    (unit,) = project_units(net, X.bfloat16(), "3", [Unit(0, 0)], seed="one")
    assert unit.signal.dtype == torch.bfloat16
    assert unit.signal.any()


def test_modes_of_the_caller_do_not_matter():
    net = Net(lambda y, net: torch.relu(y))
    expected = project_units(net, X, "last", [Unit(0, 0)])[0].signal
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert torch.equal(project_units(net, X, "last", [Unit(0, 0)])[0].signal, expected)
            assert layers(net, size=(12, 12))[0].address == "one:relu"
    assert torch.equal(project_units(nn.DataParallel(net), X, "last", [Unit(0, 0)])[0].signal, expected)


def test_threads_do_not_disturb_each_other():
    net, other = Net(lambda y, net: torch.relu(y)), Net(lambda y, net: torch.relu(y))
    expected = project_units(net, X, "last", [Unit(0, 0)])[0].signal
    wrong = []

    def work(task):
        for _ in range(15):
            try:
                task()
            except Exception as error:
                wrong.append(error)

    def same():
        if not torch.equal(project_units(net, X, "last", [Unit(0, 0)])[0].signal, expected):
            wrong.append("another picture")

    tasks = [same, lambda: project_units(net, X, "one:relu", [Unit(0, 1)]), lambda: other(X)]
    threads = [threading.Thread(target=work, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert torch.backends.mha.get_fastpath_enabled()


def test_layers_with_their_channels_last_are_told_by_their_maps():
    net = Net(lambda y, net: net.linear(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
    (layer,) = find_layers(net, ["linear"], size=(12, 12))
    assert (layer.shape, layer.channel_axis) == ((4, 10, 10), 3)
    assert (layer.field.rows.size, layer.stride) == (3, (1, 1))
    (unit,) = project_units(net, X, "linear", [Unit(0, 2, (3, 5))], seed="one")
    expected = (net.linear.weight[2, :, None, None, None] * net.one.weight).sum(0)
    assert difference(unit.signal[:, 3:6, 5:8], expected) < 1e-10
    seen = []
    observe(net, X, [layer], lambda index, tensor: seen.append(tensor.shape))
    assert seen == [(1, 4, 10, 10)]
    assert [layer.address for layer in layers(net, size=(12, 12))] == ["one", "last"]


def test_layers_whose_channels_nobody_can_tell_are_refused_not_guessed():
    net = Net(lambda y, net: net.linear(y.flatten(2).transpose(1, 2)).transpose(1, 2).view(1, 4, 10, 10))
    with pytest.raises(PixelwardError, match=r"layer 'linear' of shape \(100, 4\), with its channels last"):
        find_layers(net, ["linear"], size=(12, 12))


def test_a_rectifier_that_ran_before_the_modules_output_is_not_its_own():
    class Aside(nn.Conv2d):
        def forward(self, x):
            y = super().forward(x)
            self.aside = F.relu(y)
            return y

    net = nn.Sequential(Aside(3, 4, 3), nn.Conv2d(4, 2, 1))
    found = layers(net, size=(12, 12))
    assert [layer.address for layer in found] == ["0", "1"]


def test_what_is_done_with_a_layer_is_not_taken_for_a_function_of_the_network():
    net = Net(lambda y, net: y.relu() * 2)

    def visit(number, maps):
        seen.append(tuple(maps.shape))
        maps[:, :1].relu()

    found, seen = find_layers(net, ["one", "/relu#1"], size=(12, 12)), []
    observe(net, X, found, visit)
    assert seen == [(1, *layer.shape) for layer in found]


def test_observe_leaves_the_pictures_alone_and_serves_a_layer_twice():
    class Shifts(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return self.conv(x.sub_(1))

    net, x = Shifts(), torch.ones(1, 3, 8, 8)
    (layer,) = find_layers(net, ["conv"], size=(8, 8))
    seen = []
    observe(net, x, [layer, layer], lambda index, tensor: seen.append(index))
    assert seen == [0, 1]
    assert torch.equal(x, torch.ones(1, 3, 8, 8))


def test_layers_below_a_failure_can_be_found_by_name():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    assert len(layers(net, size=(8, 8))) == 1
    (layer,) = find_layers(net, ["0:relu"], size=(20, 20))
    assert layer.shape == (4, 18, 18)
    for ask in (lambda: layers(net, size=(20, 20)), lambda: find_layers(net, ["3"], size=(20, 20))):
        with pytest.raises(PixelwardError, match="forward failed: RuntimeError"):
            ask()


def test_lazy_networks_are_refused_with_the_remedy():
    with pytest.raises(PixelwardError, match=r"lazy modules that have not run.*call the network once"):
        layers(nn.Sequential(nn.LazyConv2d(4, 3)), size=(8, 8))
