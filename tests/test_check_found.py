"""`check`: on known networks, every operation, count, rule, layer and sentence written out; what cannot be checked."""

import pytest
import torch
from torch import nn

import pixelward as pw
from checked_networks import SIZE, Exponential, Star, attentive, excited, exponential, plain


def rows(report):
    return [(each.operation, each.kind, each.how, each.count, each.where) for each in report.operations]


def ways(report):
    return [(each.address, each.windows, each.whole, each.blocked_by) for each in report.layers]


def test_the_papers_network_and_a_softmax_that_no_layer_lies_above():
    report = pw.check(plain(), size=SIZE)
    assert rows(report) == [
        ("conv2d", "convolution", "paper's rule", 2, "0"),
        ("relu", "ReLU", "paper's rule", 2, "2"),
        ("max_pool2d", "max-pool", "paper's rule", 1, "3"),
        ("local_response_norm", "local response norm", "paper's rule", 1, "4"),
        ("batch_norm", "batch norm", "exact transpose", 1, "1"),
        ("flatten", "linear", "exact transpose", 1, "7"),
        ("linear", "linear", "exact transpose", 1, "8"),
        ("softmax", "saturating activation", "refused", 1, "9"),
    ]
    assert ways(report) == [("0:relu", True, None, None), ("5:relu", True, None, None)]
    first, second = report.layers
    assert (first.shape, second.shape) == ((4, 16, 16), (6, 8, 8))
    assert (first.stride, first.offset, second.stride, second.offset) == ((2, 2), (-2, -2), (4, 4), (-8, -8))
    assert (first.reach.rows.size, second.reach.rows.size) == (5, 17)
    assert (report.projectable, report.refused) == (report.layers, ())
    assert str(report) == (
        "Both layers can be projected exactly, in windows of the picture. "
        "Everything that the signal crosses is the paper's own or an exact transpose."
    )
    assert repr(report) == f"<Report on Sequential: {report}>"


def test_a_gate_is_kept_fixed_so_that_a_field_is_global_and_a_reach_local():
    report = pw.check(excited(), size=SIZE)
    assert rows(report) == [
        ("conv2d", "convolution", "paper's rule", 5, "0"),
        ("batch_norm", "batch norm", "exact transpose", 1, "1"),
        ("adaptive_avg_pool2d", "average pool", "exact transpose", 1, "3"),
        ("interpolate", "linear", "exact transpose", 1, "7"),
        ("silu", "other rectifier", "stated extension", 3, "2"),
        ("mul", "gate", "stated extension", 1, "3"),
        ("group_norm", "norm by the picture's own statistics", "stated extension", 1, "5"),
        ("sigmoid", "saturating activation", "kept fixed", 1, "3"),
    ]
    assert ways(report) == [
        ("0:relu", True, None, None),
        ("3.squeeze:relu", False, "adaptive_avg_pool2d is global", None),
        ("3.excite", False, "adaptive_avg_pool2d is global", None),
        ("4:relu", True, None, None),
        ("8", False, "interpolate needs autograd's node", None),
    ]
    gated = report.layers[3]
    assert gated.field.is_global
    assert (gated.reach.rows.size, gated.stride, gated.offset) == (7, (2, 2), (-3, -3))
    assert [each.title for each in report.extensions] == ["SiLU", "gate", "group norm"]
    assert str(report) == (
        "All 5 layers can be projected exactly: 2 in windows of the picture, 3 on the whole picture, which takes "
        "longer. 3 operations are stated extensions of the paper: SiLU, gate and group norm."
    )


def test_layers_above_an_attention_are_refused_by_name_and_those_below_are_not():
    report = pw.check(attentive(), size=SIZE)
    assert ways(report) == [
        ("0:relu", True, None, None),
        ("2:relu", True, None, None),
        ("4.qkv", True, None, None),
        ("4.out", False, None, "bmm"),
        ("5", False, None, "bmm"),
    ]
    assert {each.blocked_in for each in report.refused} == {"4"}
    assert [(each.operation, each.count, each.where, each.blocks) for each in report.operations[-2:]] == [
        ("bmm", 2, "4", ("4.out", "5")),
        ("softmax", 1, "4", ()),  # met only by a signal that has crossed the product
    ]
    obstacle = report.obstacles[0]
    assert obstacle.reason in report.refused[0].refusal
    assert obstacle.remedy in report.refused[0].refusal
    assert obstacle.remedy == 'choose a layer below it, or use rules="gradient"'
    assert report.obstacles == (obstacle,)  # the softmax makes the weights of the products
    assert str(report).startswith(
        "3 of 5 layers can be projected exactly, in windows of the picture. The signal cannot cross bmm and softmax (3 "
        f"of them, the first in '4'): {obstacle.reason}; 2 layers lie above it. 1 operation is a stated extension of "
    )


class Heads(nn.Module):
    """torch's own attention, over the places of a map."""

    def __init__(self, channels, *, need_weights):
        super().__init__()
        self.heads, self.need_weights = nn.MultiheadAttention(channels, 2, batch_first=True), need_weights

    def forward(self, x):
        places = x.flatten(2).transpose(1, 2)
        found = self.heads(places, places, places, need_weights=self.need_weights)[0]
        return found.transpose(1, 2).view_as(x)


@pytest.mark.parametrize("need_weights", [True, False])
def test_torchs_own_attention_is_one_obstacle_whatever_it_is_made_of(need_weights):
    net = nn.Sequential(nn.Conv2d(3, 8, 5, 4), Heads(8, need_weights=need_weights), nn.Conv2d(8, 2, 1)).eval()
    (obstacle,) = pw.check(net, size=(16, 16)).obstacles
    assert obstacle.place.startswith("multi_head_attention_forward ")
    assert obstacle.reason == "attention: what it multiplies with is computed from the picture"
    assert obstacle.remedy == 'choose a layer below it, or use rules="gradient"'


def test_a_softmax_outside_an_attention_is_an_obstacle_of_its_own():
    net = nn.Sequential(attentive(), nn.Softmax(1)).eval()
    products, softmax = pw.check(net, size=SIZE).obstacles
    assert (products.place, softmax.place) == ("bmm and softmax (3 of them, the first in '0.4')", "softmax in '1'")
    assert softmax.remedy.endswith("torch.softmax: my_rule}")


def test_the_softmax_of_an_attention_is_an_obstacle_of_its_own_where_it_is_a_layer():
    class Weighed(nn.Module):
        def forward(self, x):
            places = x.flatten(2)[:, None]
            return (torch.softmax(places @ places.mT, -1) @ places).view_as(x)

    net = nn.Sequential(nn.Conv2d(3, 4, 3), Weighed(), nn.Conv2d(4, 2, 1)).eval()
    assert [each.place for each in pw.check(net, size=(8, 8)).obstacles] == [
        "matmul and softmax (3 of them, the first in '1')"
    ]
    products, softmax = pw.check(net, size=(8, 8), all_layers=True).obstacles
    assert (softmax.place, softmax.blocks) == ("softmax in '1'", ("1/softmax#1",))
    assert products.operations[0].operation == "matmul"


def test_a_mask_that_autograd_does_not_follow_is_told_how_to_spell_it():
    class Masked(nn.Sequential):
        def forward(self, x):
            below = self[0](x)
            return self[1](below * (below.detach() > 0))

    (obstacle,) = pw.check(Masked(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)), size=SIZE).obstacles
    assert obstacle.remedy == (
        'choose a layer below it, or use rules="gradient"; a mask is followed where it is x > 0 of the tensor x that '
        "it masks, not of x.detach() or x.data"
    )


def test_what_is_refused_names_operation_layer_and_the_line_that_adds_a_rule():
    report = pw.check(exponential(), size=SIZE)
    (refused,) = [each for each in report.operations if each.how == "refused"]
    assert (refused.operation, refused.where, refused.count, refused.blocks) == ("exp", "1", 1, ("2",))
    assert refused.remedy == "choose a layer below it, or add a rule: rules={**pw.DECONVNET, torch.exp: my_rule}"
    assert report.layers[1].refusal.startswith("given: exp in '1', which the signal has to cross")
    assert report.layers[1].refusal.endswith(refused.remedy)
    assert "The signal cannot cross exp in '1': no row of the table of rules names it; 1 layer lies above it." in str(
        report
    )


def test_a_users_own_rule_is_accepted_and_said_to_be_one():
    rules = {**pw.DECONVNET, torch.exp: lambda signal, step: [signal]}
    report = pw.check(exponential(), size=SIZE, rules=rules)
    assert report.refused == ()
    assert ("exp", "your own rule") in [(each.operation, each.how) for each in report.operations]
    assert ways(report)[1] == ("2", False, "exp needs autograd's node", None)
    assert report.rules == "own"
    assert str(report) == (
        "Both layers can be projected exactly: 1 in windows of the picture, 1 on the whole picture, which takes longer."
    )


def test_the_factor_of_a_product_that_the_user_keeps_fixed():
    assert pw.check(Star(), size=SIZE, all_layers=True).operations[1].title == "product of two signals"
    rules = {**pw.DECONVNET, pw.PRODUCT: pw.keep_fixed(0)}
    report = pw.check(Star(), size=SIZE, rules=rules, all_layers=True)
    assert rows(report) == [
        ("conv2d", "convolution", "paper's rule", 2, "one"),
        ("mul", "product of two signals", "your own rule", 1, ""),
    ]


@pytest.mark.parametrize(("make", "refused"), [(plain, 0), (excited, 0), (attentive, 0), (exponential, 1)])
def test_guided_crosses_by_autograd_what_a_deconvnet_keeps_fixed_or_refuses(make, refused):
    report = pw.check(make(), size=SIZE, rules="guided")
    assert len(report.refused) == refused
    hows = {each.kind: each.how for each in report.operations}
    assert hows["convolution"] == "paper's rule"
    for kind in ("gate", "saturating activation", "local response norm", "product of two signals"):
        assert hows.get(kind, "autograd's own") == "autograd's own"
    for kind in ("ReLU", "other rectifier"):
        assert hows.get(kind, "guided backpropagation") == "guided backpropagation"


@pytest.mark.parametrize("make", [plain, excited, attentive, exponential])
def test_the_gradient_goes_everywhere(make):
    report = pw.check(make(), size=SIZE, rules="gradient")
    assert {each.how for each in report.operations} == {"autograd's own"}
    assert report.refused == ()


def test_all_layers_are_reported_where_they_are_asked_for():
    report = pw.check(plain(), size=SIZE, all_layers=True)
    assert [(each.address, each.shape) for each in report.layers] == [
        ("0", (4, 16, 16)), ("1", (4, 16, 16)), ("0:relu", (4, 16, 16)), ("3", (4, 8, 8)), ("4", (4, 8, 8)),
        ("5", (6, 8, 8)), ("5:relu", (6, 8, 8)), ("7", (384,)), ("8", (5,)), ("9", (5,)),
    ]  # fmt: skip
    assert [(each.windows, each.whole, each.blocked_by) for each in report.layers[-3:]] == [
        (False, "a vector", None),
        (False, "a vector", None),
        (False, None, "softmax"),
    ]
    assert report.obstacles[0].blocks == ("9",)


def test_what_makes_every_layer_above_it_unfit_is_an_obstacle_wherever_it_stands():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(), nn.Conv2d(4, 2, 1))
    report = pw.check(net, size=SIZE)
    assert ways(report) == [("0", True, None, None), ("2", False, None, "dropout")]
    assert "random" in report.obstacles[0].reason
    assert net.training


@pytest.mark.parametrize("make", [nn.Dropout, nn.RReLU, lambda: nn.BatchNorm2d(4)])
def test_what_is_refused_in_training_mode_is_told_to_leave_it(make):
    report = pw.check(nn.Sequential(nn.Conv2d(3, 4, 3), make(), nn.Conv2d(4, 2, 1)), size=SIZE)
    (obstacle,) = report.obstacles
    assert obstacle.remedy == "choose a layer below it, or call eval() first"
    assert report.layers[-1].refusal.endswith(obstacle.remedy)


def test_a_network_without_convolutions_has_no_default_layer():
    report = pw.check(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2)), size=(8, 8))
    assert report.layers == ()
    assert str(report).startswith("It has no convolution over pictures, so there is no layer to list unless all are")


def test_one_layer_is_one_layer():
    assert str(pw.check(nn.Conv2d(3, 4, 3), size=(8, 8))).startswith("Its one layer can be projected exactly, in win")
    net = nn.Sequential(Exponential(), nn.Conv2d(3, 4, 3))
    assert str(pw.check(net, size=(8, 8))).startswith("Its one layer cannot be projected. The signal cannot cross exp")
    net.append(nn.Conv2d(4, 2, 1))
    assert str(pw.check(net, size=(8, 8))).startswith("Neither of its two layers can be projected. The signal")


# What cannot be checked


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (lambda: torch.jit.trace(nn.Conv2d(3, 4, 3), torch.zeros(1, 3, *SIZE)), "scripted or traced"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(7, 2)), "forward failed"),
        (lambda: nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 4, 3)), "^given: a network over sequences - "),
        (lambda: nn.Conv1d(3, 4, 3), r"^given: a network over sequences, which did not take .* \(1, 3, 32, 32\) - "),
        (lambda: nn.Conv3d(3, 4, 3), "^given: a network over volumes, which did not take a picture tensor of shape"),
    ],
)
def test_only_a_network_that_cannot_be_watched_is_an_error(net, words):
    with pytest.raises(pw.PixelwardError, match=words):
        pw.check(net(), size=SIZE)


def test_an_unknown_rule_set_is_an_error():
    with pytest.raises(pw.PixelwardError, match="rules='deconv'"):
        pw.check(plain(), size=SIZE, rules="deconv")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"size": 32}, r"given: size=32, channels=3 - allowed: \(height, width\)"),
        ({"size": (0, 4)}, r"given: size=\(0, 4\)"),
        ({"size": (32,)}, r"given: size=\(32,\)"),
        ({"channels": 0}, "channels=0"),
    ],
)
def test_what_is_no_size_is_told_in_one_line(given, words):
    with pytest.raises(pw.PixelwardError, match=words):
        pw.check(nn.Conv2d(3, 4, 3), **given)


def test_a_name_instead_of_a_network_is_told_in_one_line():
    with pytest.raises(pw.PixelwardError, match=r"given: a str instead of a network.*pw\.load"):
        pw.check("zfnet64")


@pytest.mark.parametrize("rules", [{3: len}, {torch.exp: 3}], ids=["a number as key", "a number as rule"])
def test_what_is_no_rule_is_told_in_one_line(rules):
    with pytest.raises(pw.PixelwardError, match="among the rules"):
        pw.check(nn.Conv2d(3, 4, 3), rules=rules)
