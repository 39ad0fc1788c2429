"""Every rule is written twice: the library against the table of twins, in float64."""

from functools import cache

import numpy as np
import pytest
import torch

from all_twins import CASES, TWINS
from oracles import difference
from pixelward.core import rules
from pixelward.core.nodes import NODES, known_operation
from pixelward.core.project import walk
from pixelward.core.trace import trace
from pixelward.errors import PixelwardError
from twins import Maker, Operation, tensor

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
NAMES = [f"{case.kinds[0]}: {case.name}" for case in CASES]
every_case = pytest.mark.parametrize("case", CASES, ids=NAMES)


@cache
def prepared(case):
    """The operation as a network, its twin, pictures, and a random signal shaped like its output."""
    operation, slow = case.make(Maker(1))
    net, x = Operation(operation).eval(), tensor(case.pictures(2))
    out = net(x.clone())
    signal = torch.from_numpy(np.random.default_rng(3).standard_normal(out.shape))
    return net, slow, x, out.detach(), signal


def gradient(net, x, signal):
    leaf = x.clone().requires_grad_(True)
    (down,) = torch.autograd.grad(net(leaf * 1), leaf, signal)
    return down


@cache
def traced(case):
    net, _, x, _, _ = prepared(case)
    return trace(net, x, ["last"])


def sent_down(case, signal, table):
    with torch.no_grad():
        return walk(traced(case).plan, traced(case).targets["last"].value, signal, table)


@every_case
def test_the_twin_computes_what_torch_computes(case):
    """The second writing on its own: its output is torch's, and its gradient autograd's, without the library."""
    net, slow, x, out, signal = prepared(case)
    if slow is None:  # linear, so that torch's own forward is the witness
        zero = net(torch.zeros_like(x))
        assert difference(net(2 * x) - zero, 2 * (out - zero)) < case.exact
        return
    assert out.shape == slow.up(x.numpy()).shape
    assert difference(tensor(slow.up(x.numpy())), out) < case.exact
    if case.picture != "whole numbers":  # of equal maxima autograd may take all
        assert difference(slow.down(x.numpy(), signal.numpy(), "gradient"), gradient(net, x, signal)) < case.exact


@every_case
def test_the_rules_equal_their_twin(case):
    """All three rule sets, in a plan that holds a step of the twin's kind."""
    net, slow, x, out, signal = prepared(case)
    for name in ("deconvnet", "guided"):
        if case.refused and name == "deconvnet":
            with pytest.raises(PixelwardError, match=case.refused):
                sent_down(case, signal, rules.RULE_SETS[name])
            continue
        got = sent_down(case, signal, rules.RULE_SETS[name])
        if slow is None:
            zero = net(torch.zeros_like(x))
            assert ((out - zero) * signal).sum().item() == pytest.approx((x * got).sum().item(), rel=case.exact), name
        else:
            assert difference(got, slow.down(x.numpy(), signal.numpy(), name)) < case.exact, name
    assert difference(sent_down(case, signal, rules.GRADIENT), gradient(net, x, signal)) < case.exact
    met = {step.kind for step in traced(case).plan.steps}
    assert case.refused or met & {getattr(rules, kind) for kind in case.kinds}, "another row than the twin's"


def test_every_kind_of_the_table_has_twins():
    assert {getattr(rules, kind) for kind in TWINS} >= set(rules.DECONVNET)


UNMET = {  # rows of nodes that no twin makes, and why
    "BackwardHookFunction": "made by hooks on modules: see test_known_faults.py",
    "CudnnBatchNorm": "only on a GPU",
    "MiopenBatchNorm": "only on a GPU",
}


def test_every_row_of_the_table_of_nodes_is_read_in_the_plan_of_a_twin():
    """A row without a twin fails by name. A node that a gate or a pattern swallowed is not read by its row."""
    crossed = {name for name, (kind, _) in NODES.items() if kind in rules.DECONVNET}
    read = {known_operation(step.node) for case in CASES for step in traced(case).plan.steps if step.node is not None}
    assert sorted(crossed - read) == sorted(UNMET)
