"""The deconvnet by another way: the unchanged network runs with functions whose backward is the deconvnet's.

Nothing here reads autograd's nodes or the library's tables. A mode stands between the network and torch: it computes
each function as it is, and where the deconvnet differs from the gradient it puts another backward under the result.
Then plain `autograd.grad` gives the projection. In use by the zoo only, so it knows what those networks call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

Down = Callable[[Tensor], Tensor]


def spellings(*names: str) -> Iterator[Any]:
    """Every function of these names, also in place: of torch, of tensors, of torch.nn.functional, and below it."""
    for name in names:
        for holder in (torch, Tensor, F, torch._C._nn, torch.special):
            for spelled in (name, f"{name}_", f"__{name}__", f"__i{name}__"):
                if hasattr(holder, spelled):
                    yield getattr(holder, spelled)


class Replaced(torch.autograd.Function):
    """A value that was computed elsewhere, and what becomes of the signal on its way back to `x`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, down: Down) -> Tensor:
        ctx.down = down
        return value.detach()

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        return ctx.down(signal), None, None


def rectified(signal: Tensor) -> Tensor:
    return signal.clamp(min=0)


class Oracle(TorchFunctionMode):
    """Run a network under this mode. `wanted`: tensors to look out for, by name; `found` has them with their graph.

    fixed: of a product of two tensors that both carry the signal, the factor that is kept constant (0 or 1).
    """

    def __init__(self, wanted: Mapping[str, Tensor], fixed: int | None = None) -> None:
        super().__init__()
        self.wanted = dict(wanted)
        self.found: dict[str, Tensor] = {}
        self._fixed = fixed
        self._source = WeakIdKeyDictionary()  # tensor -> the one that it is a constant multiple of
        self._gates = WeakIdKeyDictionary()  # gate -> the tensor that it was computed from

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        keywords = keywords or {}
        live = [t for t in tree_leaves((arguments, keywords)) if isinstance(t, Tensor) and t.requires_grad]
        handler = HANDLERS.get(function) if live else None
        result = handler(self, function, arguments, keywords) if handler else function(*arguments, **keywords)
        if live and torch.is_grad_enabled():
            self._look(result)
        return result

    def _look(self, result: Any) -> None:
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.requires_grad:
                for name, value in list(self.wanted.items()):
                    if same(tensor.detach(), value):
                        self.found[name] = tensor.clone()  # later changes in place concern the tensor, not its clone
                        del self.wanted[name]

    def _instead(self, function: Any, arguments: Any, keywords: Any, down: Down, to: Tensor | None = None) -> Tensor:
        """The function's value, with the signal sent down to `to`, its first argument if not said."""
        x, *others = arguments
        copied = x.detach().clone()
        others = [other.detach() if isinstance(other, Tensor) else other for other in others]
        value = function(copied, *others, **keywords)
        y = Replaced.apply(x if to is None else to, value, down)
        return x.copy_(y) if value is copied else y

    # ---- what differs from the gradient

    def activation(self, function: Any, arguments: Any, keywords: Any) -> Any:
        return self._instead(function, arguments, keywords, rectified)

    def from_zero(self, function: Any, arguments: Any, keywords: Any) -> Any:
        """clamp and hardtanh: rectifiers where they begin at 0, saturations elsewhere."""
        low = keywords.get("min", keywords.get("min_val", (*arguments, None)[1]))
        if isinstance(low, int | float) and low == 0:
            return self.activation(function, arguments, keywords)
        return function(*arguments, **keywords)

    def power(self, function: Any, arguments: Any, keywords: Any) -> Any:
        """The square of a rectifier is a rectifier."""
        if len(arguments) > 1 and isinstance(arguments[1], Tensor):
            return function(*arguments, **keywords)
        return self.activation(function, arguments, keywords)

    def larger(self, function: Any, arguments: Any, keywords: Any) -> Any:
        """Of two tensors: a choice, the first of equal ones. Of a tensor and a constant: a rectifier."""
        a, b = arguments
        if a.requires_grad and b.requires_grad:
            return torch.where(a >= b, a, b)
        return self.activation(function, (a, b) if a.requires_grad else (b, a), keywords)

    def largest(self, function: Any, arguments: Any, keywords: Any) -> Any:
        """amax: a choice, the first of equal ones."""
        return first_largest(*arguments, **keywords)

    def constant(self, function: Any, arguments: Any, keywords: Any) -> Any:
        """Statistics of the picture: their values, without a way down."""
        x, *others = arguments
        copied = x.detach().clone()
        value = function(copied, *others, **keywords)
        return x.copy_(copied) if value is copied else value

    def gate(self, function: Any, arguments: Any, keywords: Any) -> Any:
        result = self.constant(function, arguments, keywords)
        self._gates[result] = self._source.get(arguments[0], arguments[0])
        return result

    def product(self, function: Any, arguments: Any, keywords: Any) -> Any:
        a, b = arguments
        live = [x for x in arguments if isinstance(x, Tensor) and x.requires_grad]
        if len(live) == 2 and self._fixed is not None:
            a, b = (a.detach(), b) if self._fixed == 0 else (a, b.detach())
        if len(live) == 2:
            return function(a, b, **keywords)
        source, other = self._source.get(live[0], live[0]), b if live[0] is a else a
        if isinstance(other, Tensor) and self._gates.get(other) is source:
            return self._instead(function, arguments, keywords, rectified, to=source)  # x * sigmoid(x)
        result = function(a, b, **keywords)
        self._source[result] = source
        return result

    def passed(self, function: Any, arguments: Any, keywords: Any) -> Any:
        return self._instead(function, arguments, keywords, lambda signal: signal)

    def layer_norm(self, function: Any, arguments: Any, keywords: Any) -> Any:
        given = called(function, arguments, keywords)
        x, axes = given["input"].detach(), tuple(range(-len(given["normalized_shape"]), 0))
        spread = x.var(axes, unbiased=False, keepdim=True)
        return self._normalised(function, arguments, keywords, spread + given["eps"], given["weight"])

    def rms_norm(self, function: Any, arguments: Any, keywords: Any) -> Any:
        given = called(function, arguments, keywords)
        x, axes = given["input"].detach(), tuple(range(-len(given["normalized_shape"]), 0))
        eps = torch.finfo(x.dtype).eps if given["eps"] is None else given["eps"]
        return self._normalised(
            function, arguments, keywords, x.square().mean(axes, keepdim=True) + eps, given["weight"]
        )

    def group_norm(self, function: Any, arguments: Any, keywords: Any) -> Any:
        given = called(function, arguments, keywords)
        x, groups = given["input"].detach(), given["num_groups"]
        spread = x.reshape(len(x), groups, -1).var(2, unbiased=False).repeat_interleave(x.shape[1] // groups, 1)
        axes = [1] * (x.dim() - 2)
        weight = given["weight"]
        return self._normalised(
            function,
            arguments,
            keywords,
            spread.view(*x.shape[:2], *axes) + given["eps"],
            None if weight is None else weight.view(-1, *axes),
        )

    def _normalised(
        self, function: Any, arguments: Any, keywords: Any, spread: Tensor, weight: Tensor | None
    ) -> Tensor:
        factor = spread.rsqrt() if weight is None else spread.rsqrt() * weight.detach()
        return self._instead(function, arguments, keywords, lambda signal: signal * factor)

    def unit_length(self, function: Any, arguments: Any, keywords: Any) -> Any:
        given = called(function, arguments, keywords)
        x, p, dim, eps = given["input"], given["p"], given["dim"], given["eps"]
        return x / x.detach().norm(p, dim, keepdim=True).clamp_min(eps).expand_as(x)


def called(function: Any, arguments: Any, keywords: Any) -> dict[str, Any]:
    """The arguments of a call by name, with the defaults."""
    bound = inspect.signature(function).bind(*arguments, **keywords)
    bound.apply_defaults()
    return bound.arguments


def first_largest(x: Tensor, dim: int | Sequence[int] = (), keepdim: bool = False) -> Tensor:
    axes = sorted(axis % x.dim() for axis in ((dim,) if isinstance(dim, int) else dim or range(x.dim())))
    others = [axis for axis in range(x.dim()) if axis not in axes]
    flat = x.permute(*others, *axes).reshape(*(x.shape[axis] for axis in others), -1)
    largest = flat.gather(-1, flat.argmax(-1, keepdim=True)).squeeze(-1)
    for axis in axes if keepdim else ():
        largest = largest.unsqueeze(axis)
    return largest


HANDLERS: dict[Any, Callable[[Oracle, Any, Any, Any], Any]] = {
    **dict.fromkeys(
        spellings(
            *("relu", "relu6", "leaky_relu", "prelu", "elu", "selu", "celu", "silu", "gelu", "mish", "hardswish"),
            *("softplus", "threshold", "rrelu"),
        ),
        Oracle.activation,
    ),
    **dict.fromkeys(spellings("clamp", "clamp_min", "clip", "hardtanh"), Oracle.from_zero),
    **dict.fromkeys(spellings("pow", "square"), Oracle.power),
    **dict.fromkeys(spellings("maximum"), Oracle.larger),
    **dict.fromkeys(spellings("amax"), Oracle.largest),
    **dict.fromkeys(spellings("sigmoid", "hardsigmoid", "tanh", "softmax", "expit"), Oracle.gate),
    **dict.fromkeys(
        [*spellings("var", "std", "var_mean", "std_mean", "norm", "rsqrt", "sqrt"), torch.linalg.vector_norm],
        Oracle.constant,
    ),
    **dict.fromkeys([*spellings("mul", "multiply"), Tensor.__rmul__], Oracle.product),
    F.local_response_norm: Oracle.passed,
    F.layer_norm: Oracle.layer_norm,
    F.rms_norm: Oracle.rms_norm,
    F.group_norm: Oracle.group_norm,
    F.normalize: Oracle.unit_length,
}


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same numbers to 1e-12 of the largest."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return bool((a - b).abs().max() <= 1e-12 * b.abs().max())


class Reference:
    """One pass of the network under the oracle; ask it for projections, then let it go."""

    def __init__(self, net: nn.Module, picture: Tensor, wanted: Mapping[str, Tensor], fixed: int | None = None) -> None:
        for parameter in net.parameters():
            parameter.requires_grad_(False)
        self._leaf = picture.detach().clone().requires_grad_(True)
        with torch.enable_grad(), Oracle(wanted, fixed) as oracle:
            self.output = net(self._leaf.clone())
        self.found, self.missing = oracle.found, list(oracle.wanted)

    def project(self, tensor: Tensor, place: tuple[int, ...], seed: float) -> Tensor:
        """The signal at the picture, (C, H, W), of the unit at `place` = (picture, channel, ...) of `tensor`."""
        start = torch.zeros_like(tensor)
        start[place] = seed
        (signal,) = torch.autograd.grad(tensor, self._leaf, start, retain_graph=True, allow_unused=True)
        return torch.zeros_like(self._leaf)[0] if signal is None else signal[place[0]]
