"""Laws 12 and 16: the network is left as it was found, and what has no rule is refused by name."""

import copy
import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules import module as module_hooks

import pixelward as pw
from pixelward.core.layers import find_layers, layers, observe
from pixelward.core.project import Unit, project_units
from pixelward.core.sentinel import Sentinel
from pixelward.core.trace import trace
from pixelward.errors import PixelwardError

X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Branchy(nn.Module):
    """In-place rectifiers, a buffer that counts, dropout and random numbers in the forward pass."""

    def __init__(self, fail_at=None):
        super().__init__()
        self.one, self.two, self.norm = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)
        self.drop = nn.Dropout()
        self.register_buffer("calls", torch.zeros(()))
        self.fail_at = fail_at
        self.one.bias.requires_grad_(False)

    def forward(self, x):
        self.calls += 1
        torch.rand(3)
        x = F.relu_(self.one(x))
        if self.fail_at == "middle":
            raise ArithmeticError("the network's own error")
        return self.drop(self.norm(F.relu(self.two(x), inplace=True)))


def state(net):
    return (
        {name: (p.requires_grad, p.grad, p.detach().clone()) for name, p in net.named_parameters()},
        {name: (id(b), b.clone()) for name, b in net.named_buffers()},
        [m.training for m in net.modules()],
        [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in net.modules()],
        torch.get_rng_state(),
        torch.backends.mha.get_fastpath_enabled(),
        torch.is_grad_enabled(),
        len(module_hooks._global_forward_hooks) + len(module_hooks._global_forward_pre_hooks),
        set(net.__dict__),
    )


def same(before, after):
    for one, two in zip(before, after, strict=True):
        if isinstance(one, torch.Tensor):
            assert torch.equal(one, two)
        elif isinstance(one, dict):
            assert one.keys() == two.keys()
            for key in one:
                for a, b in zip(one[key], two[key], strict=True):
                    assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        else:
            assert one == two


@pytest.mark.parametrize("fail", [None, "middle", "layer", "channel", "rule"])
def test_nothing_is_left_on_the_network_after_success_or_error(fail):
    net = Branchy(fail_at=fail).eval()
    before, x = state(net), X.clone()

    def use(**options):
        arguments = {"layer": "norm", "channel": 0, **options}
        project_units(net, X[:1], arguments.pop("layer"), [Unit(0, arguments.pop("channel"))], **arguments)

    wrong = {"layer": {"layer": "three"}, "channel": {"channel": 9}, "rule": {"rules": {}}}.get(fail, {})
    if fail is None:
        use()
        layers(net, size=(16, 16))
        observe(net, X, find_layers(net, ["one:relu", "two"], size=(16, 16)), lambda index, tensor: None)
    else:
        words = "forward failed: ArithmeticError: the network's own error" if fail == "middle" else "given: "
        with pytest.raises(PixelwardError, match=words):
            use(**wrong)
    same(before, state(net))
    assert torch.equal(x, X)


def test_the_graph_is_freed_with_its_plan_and_does_not_wait_for_the_garbage_collector(monkeypatch):
    kept = []
    made = Sentinel.__init__

    def note(self, *arguments, **named):
        made(self, *arguments, **named)
        kept.append(weakref.ref(self))

    monkeypatch.setattr(Sentinel, "__init__", note)
    gc.disable()
    try:
        project_units(Branchy().eval(), X[:1], "norm", [Unit(0, 0)])
        assert [ref() for ref in kept] == [None]
    finally:
        gc.enable()


def test_batch_norm_and_dropout_in_training_mode_are_refused_and_their_buffers_restored():
    for module, words in ((nn.BatchNorm2d(4), "training mode"), (nn.Dropout(), "random")):
        net = nn.Sequential(nn.Conv2d(3, 4, 3), module, nn.Conv2d(4, 2, 1)).train()
        before = copy.deepcopy(net.state_dict())
        with pytest.raises(PixelwardError, match=words):
            project_units(net, X[:1], "2", [Unit(0, 0)])
        assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_the_output_with_watching_is_the_same_bits():
    net = Branchy().eval()
    plain = net(X)
    seen = []
    found = find_layers(net, ["norm"], size=(16, 16))
    observe(net, X, found, lambda index, tensor: seen.append(tensor.clone()))
    assert torch.equal(seen[0], plain)
    assert torch.equal(trace(net, X, ["norm"]).targets["norm"].activations, plain)


class One(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.conv, self.last, self.function = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1), function

    def forward(self, x):
        return self.last(self.function(self.conv(x)))


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, grad):
        return grad * 2 * ctx.saved_tensors[0]


def branch(x):
    return x if x.sum() > 0 else -x


def numbers(x):
    return x * float(x.detach().mean())


def masked(x, number):
    y = x.clone()
    y[y < 0] = number
    return y


REFUSED = {
    "sigmoid": (torch.sigmoid, "sigmoid in 'the network'|sigmoid"),
    "tanh": (torch.tanh, "tanh"),
    "softmax": (lambda x: x.softmax(1), "softmax"),
    "exponential": (torch.exp, "exp"),
    "two signals multiplied": (lambda x: x * (x + 1), "both factors carry the signal"),
    "division by a signal": (lambda x: 1 + x / (x.abs() + 1), "numerator and divisor carry the signal"),
    "one divided by a signal": (lambda x: 1 / (x.abs() + 1), "the divisor carries the signal"),
    "a mask of another tensor": (lambda x: x * (2 * x > 0), "autograd does not follow"),
    "a mask of zeros elsewhere": (lambda x: torch.where(x > 0, x, -x), "autograd does not follow"),
    "another number assigned": (lambda x: masked(x, 1), "autograd does not follow"),
    "a mask turned round": (lambda x: x * (x < 0), "autograd does not follow"),
    "detached": (lambda x: x * x.detach(), "autograd does not follow"),
    "data": (lambda x: x + x.data, "autograd does not follow"),
    "a branch on a value": (branch, "read in Python"),
    "a number read": (numbers, "autograd does not follow|read in Python"),
    "a user's own function": (Square.apply, "Square"),
    "weights from the picture": (
        lambda x: F.conv2d(x, x.mean((2, 3)).view(1, 4, 1, 1).expand(4, 4, 1, 1)),
        "weights are computed from the picture",
    ),
}


@pytest.mark.parametrize(("function", "words"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_rule_is_refused_by_name_and_the_layer_below_is_not(function, words):
    net = One(function)
    with pytest.raises(PixelwardError, match=words) as refusal:
        project_units(net, X[:1], "last", [Unit(0, 0)])
    assert "next step: choose a layer below it" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    project_units(net, X[:1], "conv", [Unit(0, 0)])
    project_units(net, X[:1], "last", [Unit(0, 0)], rules="gradient")


def test_guided_takes_the_gradient_of_saturating_activations():
    project_units(One(torch.sigmoid), X[:1], "last", [Unit(0, 0)], rules="guided")


def test_a_users_rule_lets_an_operation_pass():
    rule = lambda signal, step: [signal]  # noqa: E731
    for key, function in ((Square, Square.apply), (torch.exp, torch.exp)):
        (unit,) = project_units(One(function), X[:1], "last", [Unit(0, 0)], rules={**pw.DECONVNET, key: rule})
        assert unit.signal.any()


def test_scripted_and_compiled_modules_are_refused_with_the_remedy():
    traced = torch.jit.trace(One(torch.relu).eval(), X[:1])
    with pytest.raises(PixelwardError, match=r"scripted or traced.*before torch\.jit"):
        project_units(traced, X[:1], "last", [Unit(0, 0)])


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("con", "layer 'con' - allowed: modules of the network, such as .*conv"),
        ("conv:relu:relu", "allowed: NAME, NAME:relu"),
        ("last:relu", "no rectifier follows 'last'"),
        ("conv#2", "which put out no tensor.* use one of conv"),
        ("conv/relu#7", "which did not run"),
    ],
)
def test_unknown_layers_are_answered_with_what_there_is(layer, words):
    with pytest.raises(PixelwardError, match=words):
        project_units(One(torch.relu), X[:1], layer, [Unit(0, 0)])


def test_a_picture_that_does_not_fit_is_one_line():
    with pytest.raises(PixelwardError, match=r"shape \(1, 5, 16, 16\).*forward failed.*--size, --channels"):
        project_units(One(torch.relu), torch.zeros(1, 5, 16, 16), "last", [Unit(0, 0)])


def test_a_network_that_stops_early_is_watched_by_function_too():
    net = One(torch.relu)
    (layer,) = find_layers(net, ["/relu#1"], size=(16, 16))
    assert layer.address == "conv:relu"
    seen = []
    observe(net, X, [layer], lambda index, tensor: seen.append(tensor.clone()))
    assert torch.equal(seen[0], net.conv(X).relu())
