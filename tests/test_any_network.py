"""Networks as people have them: parametrised weights, memory formats, low precision, tuples, reuse, odd channels."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import pixelward as pw
from oracles import difference, hooked
from pixelward.core.layers import find_layers, layers
from pixelward.core.project import Unit, project_units

X = torch.randn(2, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def seeded(make):
    torch.manual_seed(1)
    return make().double().eval()


def stack(conv=nn.Conv2d):
    return nn.Sequential(
        conv(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        conv(8, 8, 3, padding=1),
        nn.SiLU(),
        conv(8, 4, 3),
    )


def signal(net, picture, layer="6", channel=1, position=(2, 3), **options):
    return project_units(net, picture, layer, [Unit(0, channel, position)], seed="one", **options)[0].signal


def plain_copy(net, conv=nn.Conv2d):
    """The same network with its weights as they come out of their parametrisations."""
    bare = stack(conv).double().eval()
    for one, other in zip(net, bare, strict=True):
        if isinstance(other, nn.Conv2d):
            other.weight.data, other.bias.data = one.weight.detach().clone(), one.bias.detach().clone()
        elif isinstance(other, nn.BatchNorm2d):
            other.load_state_dict(one.state_dict())
    return bare


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight - weight.mean((1, 2, 3), keepdim=True)


PARAMETRISED = {
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "a parametrisation of one's own": lambda module: parametrize.register_parametrization(module, "weight", Doubled()),
}


@pytest.mark.parametrize("wrap", PARAMETRISED.values(), ids=PARAMETRISED)
def test_parametrised_weights_project_as_the_weights_that_they_give_and_stay(wrap):
    net = seeded(stack)
    for module in list(net):
        if isinstance(module, nn.Conv2d):
            wrap(module)
    net.eval()
    before = copy.deepcopy(net.state_dict())
    got = signal(net, X[:1])
    assert got.any()
    assert difference(got, signal(plain_copy(net), X[:1])) < 1e-12
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    assert parametrize.is_parametrized(net[0])


HOOKED = {"weight norm": nn.utils.weight_norm, "spectral norm": nn.utils.spectral_norm}


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("wrap", HOOKED.values(), ids=HOOKED)
def test_weights_made_by_the_old_hooks_project_as_the_weights_that_they_give_and_stay(wrap, training):
    """The hooks make `weight` anew before every forward; in training, spectral norm also steps its vector."""
    net = seeded(stack)
    for module in list(net):
        if isinstance(module, nn.Conv2d):
            wrap(module)
            module.train(training)
    before = copy.deepcopy(net.state_dict())
    got = signal(net, X[:1])
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    assert before.keys() == net.state_dict().keys()
    with torch.no_grad():
        net(X[:1])  # so that `weight` is what a forward from the same state makes
    assert got.any()
    assert difference(got, signal(plain_copy(net), X[:1])) < 1e-12
    assert all(module._forward_pre_hooks for module in net if isinstance(module, nn.Conv2d))


def test_the_memory_format_does_not_matter():
    net = seeded(stack)
    expected = signal(net, X[:1])
    turned = copy.deepcopy(net).to(memory_format=torch.channels_last)
    assert turned[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert difference(signal(turned, X[:1].to(memory_format=torch.channels_last)), expected) < 1e-12
    assert [layer.field for layer in layers(turned, size=(16, 16))] == [
        layer.field for layer in layers(net, size=(16, 16))
    ]


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.float16, 0.05), (torch.bfloat16, 0.3)])
def test_low_precision_projects_in_its_own_precision(dtype, close):
    # One place of a pool may choose another pixel in bfloat16, so a net without pools is compared.
    torch.manual_seed(4)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)
    )
    net = net.double().eval()
    expected = signal(net, X[:1], "5")
    low = signal(copy.deepcopy(net).to(dtype), X[:1].to(dtype), "5")
    assert low.dtype == dtype
    assert 0 < difference(low.double(), expected) < close


class Several(nn.Module):
    """Gives a dict with a tuple in it, and calls one module three times."""

    def __init__(self):
        super().__init__()
        self.stem, self.block, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 2, 1)

    def forward(self, x):
        x = F.relu(self.stem(x))
        for _ in range(3):
            x = F.relu(self.block(x)) + x
        return {"maps": (x, self.head(x)), "mean": x.mean((2, 3))}


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Conv2d(3, 4, 3)
        self.outer = nn.Conv2d(4, 2, 3)

    def forward(self, x):
        y = self.inner(x)
        return y, self.outer(F.relu(y))


def test_calls_of_one_module_are_layers_of_their_own_whatever_the_network_returns():
    net = seeded(Several)
    found = [layer.address for layer in layers(net, size=(16, 16))]
    assert found == ["stem:relu", "block:relu", "block#2:relu", "block#3:relu", "head"]
    sizes = [layer.field.rows.size for layer in layers(net, size=(16, 16))]
    assert sizes == [3, 5, 7, 9, 9]
    assert difference(signal(net, X[:1], "head"), hooked(net, X[:1], net.head, 1, (2, 3), "deconvnet", 1.0)) < 1e-12
    assert [layer.address for layer in find_layers(net, ["[mean]"], size=(16, 16))] == ["[mean]"]


def test_a_tuple_is_told_by_its_items():
    net = seeded(Pair)
    (layer,) = find_layers(net, ["[1]"], size=(16, 16))
    assert layer.address == "outer"
    assert difference(signal(net, X[:1], "[1]"), signal(net, X[:1], "outer")) == 0


@pytest.mark.parametrize("channels", [1, 5])
def test_networks_of_one_channel_or_five(channels):
    net = seeded(lambda: nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)))
    picture = torch.randn(channels, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    p = pw.project(net, picture, layer="2", channel=1)
    assert p.signal.shape == picture.shape
    expected = hooked(net, picture[None], net[2], 1, p.position, "deconvnet", p.value)
    assert difference(p.signal, expected) < 1e-12
    assert layers(net, size=(12, 12), channels=channels)[1].field.rows.size == 5


class Flattened(nn.Module):
    """One-dimensional and three-dimensional operations inside a network over pictures."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.deep = nn.Conv3d(1, 2, (3, 3, 3), padding=(1, 1, 1))
        self.gate = nn.Conv1d(1, 1, 3, padding=1)
        self.last = nn.Conv2d(8, 2, 3)

    def forward(self, x):
        y = F.relu(self.conv(x))
        weight = torch.sigmoid(self.gate(y.mean((2, 3)).unsqueeze(1))).transpose(1, 2).unsqueeze(-1)
        y = self.deep((y * weight).unsqueeze(1))
        y = F.max_pool3d(y, (1, 2, 2))
        rows = F.max_pool1d(F.relu(y).flatten(1, 2).flatten(0, 1), 3, 1, 1)
        return self.last(rows.view(len(x), 8, *y.shape[3:]))


def test_operations_of_one_and_three_dimensions_inside_a_network_over_pictures():
    net = seeded(Flattened)
    (unit,) = project_units(net, X[:1], "last", [Unit(0, 1, (2, 3))], seed="one")

    class Fixed(Flattened):  # what the deconvnet keeps fixed is a constant here, so hooks tell the same
        def forward(self, x):
            y = F.relu(self.conv(x))
            weight = torch.sigmoid(self.gate(y.mean((2, 3)).unsqueeze(1))).transpose(1, 2).unsqueeze(-1).detach()
            y = F.max_pool3d(self.deep((y * weight).unsqueeze(1)), (1, 2, 2))
            rows = F.max_pool1d(F.relu(y).flatten(1, 2).flatten(0, 1), 3, 1, 1)
            return self.last(rows.view(len(x), 8, *y.shape[3:]))

    fixed = Fixed().double()
    fixed.load_state_dict(net.state_dict())
    assert difference(unit.signal, hooked(fixed, X[:1], fixed.last, 1, (2, 3), "deconvnet", 1.0)) < 1e-12


@pytest.mark.parametrize("net", [nn.Conv1d(3, 4, 3), nn.Conv3d(3, 4, 3), nn.Conv3d(1, 4, 3)], ids=repr)
def test_networks_over_sequences_and_volumes_are_refused_in_one_line(net):
    over = "sequences" if isinstance(net, nn.Conv1d) else "volumes"
    whole = nn.Sequential(net, nn.ReLU())
    for ask in (
        lambda: layers(whole, size=(12, 12)),
        lambda: pw.project(whole, torch.randn(3, 12, 12), layer="0", channel=0),
    ):
        with pytest.raises(pw.PixelwardError, match=f"over {over}") as refusal:
            ask()
        assert "\n" not in str(refusal.value)


class Sampled(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.conv, self.last, self.function = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1), function
        self.rows = nn.GRU(4, 4, batch_first=True)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        return self.last(self.function(self, self.conv(x)))


def recurrent(net, y):
    return net.rows(y.flatten(2).transpose(1, 2))[0].transpose(1, 2).view_as(y)


def attending(net, y):
    tokens = y.flatten(2).transpose(1, 2)
    return net.attention(tokens, tokens, tokens)[0].transpose(1, 2).view_as(y)


def dot_product(net, y):
    tokens = y.flatten(2).transpose(1, 2)
    return F.scaled_dot_product_attention(tokens, tokens, tokens).transpose(1, 2).view_as(y)


def part_in_place(net, y):
    y = y * 1
    y[:, :2].relu_()
    return y


def dynamic(net, y):
    return F.conv2d(y, net.last.weight.new_ones(4, 4, 1, 1) * y.mean())


REFUSED = {
    "a recurrent layer": (recurrent, "a recurrent layer"),
    "attention": (attending, "attention: what it multiplies with"),
    "dot-product attention": (dot_product, "scaled_dot_product_attention.*attention"),
    "a part changed in place": (
        part_in_place,
        r"a part of a tensor was changed in place.*join the parts with torch\.cat",
    ),
    "dynamic convolution": (dynamic, "its weights are computed from the picture"),
    "a star": (lambda net, y: F.relu6(y) * net.conv.weight.mean() * y.roll(1, 1), "neither is a gate"),
    "a gated convolution": (lambda net, y: F.gelu(y[:, :2]).repeat(1, 2, 1, 1) * y, "neither is a gate"),
    "two gates": (lambda net, y: y.tanh() * y.roll(1, 1).sigmoid(), "both factors are gates"),
    "clamped on both sides of 0": (lambda net, y: y.clamp(-1, 1), "it clamps elsewhere than at 0"),
    "clamped from above": (lambda net, y: y.clamp(max=1), "it clamps elsewhere than at 0"),
    "a sigmoid": (lambda net, y: y.sigmoid(), "it saturates"),
}


@pytest.mark.parametrize(("function", "words"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_rule_is_refused_with_reason_and_remedy_and_the_gradient_crosses_it(function, words):
    net = seeded(lambda: Sampled(function))
    with pytest.raises(pw.PixelwardError, match=words) as refusal:
        signal(net, X[:1], "last")
    assert "next step: choose a layer below it, or " in str(refusal.value)
    assert signal(net, X[:1], "conv").any()
    leaf = X[:1].clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(net(leaf.clone())[0, 1, 2, 3], leaf)
    assert difference(signal(net, X[:1], "last", rules="gradient"), expected[0]) < 1e-10
    (last,) = [layer for layer in layers(net, size=(16, 16)) if layer.address == "last"]
    assert last.refusal == str(refusal.value)


def test_the_user_names_the_factor_of_a_star_to_keep_fixed():
    net = seeded(lambda: Sampled(lambda net, y: F.relu6(y) * y.roll(1, 1)))
    with pytest.raises(pw.PixelwardError, match=r"pw\.PRODUCT: pw\.keep_fixed\(0\)"):
        signal(net, X[:1], "last")
    for kept in (0, 1):

        def fixed(net, y, kept=kept):
            factors = [F.relu6(y), y.roll(1, 1)]
            factors[kept] = factors[kept].detach()
            return factors[0] * factors[1]

        other = Sampled(fixed).double().eval()
        other.load_state_dict(net.state_dict())
        rules = {**pw.DECONVNET, pw.PRODUCT: pw.keep_fixed(kept)}
        expected = hooked(other, X[:1], other.last, 1, (2, 3), "deconvnet", 1.0)
        assert difference(signal(net, X[:1], "last", rules=rules), expected) < 1e-12
    with pytest.raises(pw.PixelwardError, match=r"keep_fixed\(2\) - allowed: 0 or 1"):
        pw.keep_fixed(2)


def test_scripted_and_traced_networks_are_refused_but_for_the_gradient_and_compiled_ones_always():
    net = stack().eval()
    picture = X[:1].float()
    expected = signal(net, picture, rules="gradient")
    for made in (torch.jit.script(net), torch.jit.trace(net, picture)):
        with pytest.raises(pw.PixelwardError, match=r'a scripted or traced network.* or use rules="gradient"'):
            signal(made, picture, "6")
        assert difference(signal(made, picture, "", rules="gradient"), expected) < 1e-5
    for rules in ("deconvnet", "gradient"):
        with pytest.raises(pw.PixelwardError, match=r"a compiled network.*as it was before torch\.compile$"):
            signal(torch.compile(net, backend="aot_eager"), picture, "6", rules=rules)


def test_batch_norm_in_training_mode_is_refused_by_the_gradient_too_for_it_forgets_its_statistics():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)).double().train()
    for rules in ("deconvnet", "guided", "gradient"):
        with pytest.raises(pw.PixelwardError, match=r"batch_norm in '1'.*next step: .*call eval\(\) first"):
            signal(net, X[:1], "2", rules=rules)


def test_a_piece_that_torch_cannot_change_in_place_is_told_with_the_remedy():
    class Halves(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.act = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)

        def forward(self, x):
            one, two = self.conv(x).chunk(2, 1)
            return torch.cat([self.act(one), two], 1)

    with pytest.raises(pw.PixelwardError, match="next step: set inplace=False"):
        layers(Halves(), size=(12, 12))


@pytest.mark.parametrize("activation", [nn.SiLU, nn.ReLU6, nn.ReLU])
def test_a_whole_tensor_changed_in_place_through_a_view_is_followed(activation):
    class Normed(nn.Module):
        def __init__(self, inplace):
            super().__init__()
            self.conv, self.norm, self.last = nn.Conv2d(3, 4, 3), nn.LayerNorm(4), nn.Conv2d(4, 2, 3)
            self.act = activation(inplace=inplace)

        def forward(self, x):
            y = self.norm(self.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            y = self.act(y)
            y = torch.cat([y, y], 1)[:, :8]
            y += y.flip(1)
            return self.last(y[:, :4])

    in_place, apart = seeded(lambda: Normed(True)), seeded(lambda: Normed(False))
    for rules in ("deconvnet", "guided", "gradient"):
        one, other = (signal(net, X[:1], "last", rules=rules) for net in (in_place, apart))
        assert other.any()
        assert difference(one, other) < 1e-12
    assert [layer.address for layer in layers(in_place, size=(16, 16))] == ["conv:relu", "last"]


class DropPath(nn.Module):
    """Stochastic depth: in training a picture's branch is dropped or scaled, in evaluation it is left alone."""

    def forward(self, x):
        if not self.training:
            return x
        kept = torch.bernoulli(torch.full((len(x), 1, 1, 1), 0.5, dtype=x.dtype))
        return x * kept / 0.5


class Faded(nn.Module):
    """Stochastic depth as first published: in evaluation a branch counts as often as it was kept."""

    def forward(self, x):
        return x * torch.full((), 0.5, dtype=x.dtype)


class Depth(nn.Module):
    """A residual network; what its branch passes through."""

    def __init__(self, drop):
        super().__init__()
        self.conv, self.drop, self.last = nn.Conv2d(3, 3, 3, padding=1), drop, nn.Conv2d(3, 2, 3)

    def forward(self, x):
        return self.last(x + self.drop(torch.relu(self.conv(x))))


class Half(nn.Module):
    def forward(self, x):
        return x / 2


def test_stochastic_depth_in_evaluation():
    """Left alone, or times a constant, it projects as the network without; the same network in training is refused."""
    dropping, plain, faded, half = (seeded(lambda d=d: Depth(d())) for d in (DropPath, nn.Identity, Faded, Half))
    assert signal(plain, X[:1], "last").any()
    assert torch.equal(signal(dropping, X[:1], "last"), signal(plain, X[:1], "last"))
    assert torch.equal(signal(faded, X[:1], "last"), signal(half, X[:1], "last"))
    assert not torch.equal(signal(faded, X[:1], "last"), signal(plain, X[:1], "last"))
    dropping.train()
    with pytest.raises(pw.PixelwardError, match=r"mul in 'drop'.*random numbers.*next step: .*eval\(\) first"):
        signal(dropping, X[:1], "last")


def test_what_was_compiled_in_place_is_refused_by_every_rule_set():
    inner, whole = stack().eval(), stack().eval()
    inner[4].compile(backend="aot_eager")
    whole.compile(backend="aot_eager")
    for net, words in (
        (whole, "a compiled network"),
        (inner, "a compiled module '4'"),
    ):
        for rules in ("deconvnet", "guided", "gradient"):
            with pytest.raises(pw.PixelwardError, match=f"{words}.*next step: .*before torch.compile") as refusal:
                signal(net, X[:1].float(), rules=rules)
            assert "\n" not in str(refusal.value)
