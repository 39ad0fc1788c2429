"""What autograd does not see of a forward pass: names of functions, and values that leave the graph.

A mask computed from the picture reaches the next product as a constant: autograd cannot tell `x * (x > 0)` from a
product with a weight. So every tensor computed from the signal without a gradient is *tainted*, and an operation
that mixes a tainted tensor into the signal is suspect; so is all that runs after Python has read a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from pixelward.core import rules
from pixelward.core.nodes import Composite, Node, Notes, Origin

COMPOSITES: dict[object, str] = {F.local_response_norm: rules.RESPONSE_NORM}

# These make new tensors of an old one's shape and hold nothing of its values.
_SHAPE_ONLY = frozenset(
    "zeros_like ones_like empty_like full_like rand_like randn_like randint_like "
    "new_zeros new_ones new_empty new_full new_tensor size dim stride numel element_size".split()
)
_READS = frozenset("item tolist numpy __array__ __bool__ __int__ __float__ __index__ is_nonzero equal allclose".split())
_RANDOM = frozenset("dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout".split())
_ONE_NAME: dict[Any, str] = {
    F.max_pool1d: "max_pool1d",
    F.max_pool2d: "max_pool2d",
    F.max_pool3d: "max_pool3d",
    F.adaptive_max_pool1d: "adaptive_max_pool1d",
    F.adaptive_max_pool2d: "adaptive_max_pool2d",
    F.adaptive_max_pool3d: "adaptive_max_pool3d",
}


def function_name(function: Any) -> str:
    """One name for every spelling: `F.relu`, `torch.relu_`, `Tensor.relu` are all `relu`."""
    name = str(_ONE_NAME.get(function) or getattr(function, "__name__", type(function).__name__))
    if name == "__get__":  # an attribute of a tensor, such as .data
        name = str(getattr(getattr(function, "__self__", None), "__name__", name))
    return name if name.startswith("__") else name.rstrip("_")


class Counts:
    """How often each function has been called directly inside each module; every call counts."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str], int] = {}

    def count(self, where: str, name: str) -> int:
        self._calls[where, name] = self._calls.get((where, name), 0) + 1
        return self._calls[where, name]


class Sentinel(TorchFunctionMode):
    """Notes the origin of every node, and what escapes the graph. Use as a context round one forward pass.

    `where` is told by the caller: the name of the module whose forward is running.
    `made` is called after each function, with its address parts and its result.
    """

    def __init__(self, where: Callable[[], str], made: Callable[[str, str, int, Any], None]) -> None:
        super().__init__()
        self._where = where
        self._made = made
        self._counts = Counts()
        self._tainted = WeakIdKeyDictionary()
        self._latest = -1
        self._origins: dict[Node, Origin] = {}
        self._composites: dict[Node, Composite] = {}
        self._suspects: dict[Node, str] = {}
        self._escaped: tuple[int, str] | None = None

    def notes(self) -> Notes:
        return Notes(self._origins, self._composites, self._suspects, self._escaped)

    def __torch_function__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), keywords: dict[str, Any] | None = None
    ) -> Any:
        keywords = keywords or {}
        given = [leaf for leaf in tree_leaves((arguments, keywords)) if isinstance(leaf, Tensor)]
        live = [tensor for tensor in given if tensor.requires_grad]
        name, where = function_name(function), self._where()
        count = self._counts.count(where, name)
        # A user's autograd function fills its result before autograd adopts it; from then on the graph knows it.
        tainted = [tensor for tensor in given if tensor in self._tainted and not tensor.requires_grad]
        entered = tuple((tensor.grad_fn, tensor.output_nr) for tensor in live if tensor.grad_fn is not None)
        result = function(*arguments, **keywords)
        if not (live or tainted):
            return result
        if name in _READS and self._escaped is None:
            self._escaped = self._latest, f"values were read in Python by {name} in {where or 'the network'}"
        made = list(_results(result, name, arguments))
        nodes = {tensor.grad_fn for tensor in made if tensor.requires_grad} - {None}
        nodes -= {node for node, _ in entered}
        if nodes:
            self._note(nodes, Origin(where, name, count, function), entered, tainted, arguments, keywords)
            self._made(where, name, count, result if isinstance(result, Tensor) else arguments[0])
        if name not in _SHAPE_ONLY:
            for tensor in made:
                if not tensor.requires_grad:
                    self._tainted[tensor] = True
        return result

    def _note(
        self,
        nodes: set[Node],
        origin: Origin,
        entered: tuple[tuple[Node, int], ...],
        tainted: list[Tensor],
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
    ) -> None:
        for node in nodes:
            self._origins.setdefault(node, origin)
            self._latest = max(self._latest, node._sequence_nr())
            if origin.function in COMPOSITES:
                self._composites[node] = Composite(COMPOSITES[origin.function], entered)
            if tainted:
                self._suspects[node] = "it uses a tensor computed from the picture that autograd does not follow"
            elif origin.name in _RANDOM and keywords.get("training", (*arguments, True, True)[2]):
                self._suspects[node] = "it is random (training mode)"


def _results(result: Any, name: str, arguments: tuple[Any, ...]) -> Iterator[Tensor]:
    """Tensors that a function made or changed; of an assignment, the tensor assigned into."""
    yield from (leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
    if result is None and arguments and isinstance(arguments[0], Tensor):
        yield arguments[0]
