"""What autograd does not see of a forward pass: names of functions, and values that leave the graph.

A mask computed from the picture reaches the next product as a constant: autograd cannot tell `x * (x > 0)` from a
product with a weight. So memory that was filled from the signal without a gradient is *tainted*, and an operation
that mixes a tainted tensor into the signal is suspect. All that runs after a value was read into Python, or after the
signal was changed where autograd does not look, is suspect too; so are nodes that no watched function made.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._C._autograd import _get_sequence_nr as next_sequence_number
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from pixelward.core import pools, readers, rules
from pixelward.core.edges import Edge
from pixelward.core.functions import function_name
from pixelward.core.graph import Composite, Notes, Origin
from pixelward.core.masks import Call, Masks, Spelled
from pixelward.core.overwriting import composites, whole_view
from pixelward.core.quicker import quicker
from pixelward.core.readers import Node, Reader

# Functions of several nodes that are one step: kind, reader, and the node among them that it reads.
COMPOSITES: dict[object, tuple[str, Reader, str | None]] = {
    F.local_response_norm: (rules.RESPONSE_NORM, readers.pointwise, None),
    F.instance_norm: (rules.STATISTIC, readers.instance_norm, "NativeBatchNorm"),
    torch.instance_norm: (rules.STATISTIC, readers.instance_norm, "NativeBatchNorm"),
    **dict.fromkeys((F.lp_pool1d, F.lp_pool2d, F.lp_pool3d), (rules.LP_POOL, pools.lp_pool, "AvgPool2D")),
}

# These make new tensors of an old one's shape and hold nothing of its values.
_SHAPE_ONLY = frozenset(
    "zeros_like ones_like empty_like full_like rand_like randn_like randint_like "
    "new_zeros new_ones new_empty new_full new_tensor".split()
)
# These take of all but their first argument only the form.
_OF_THE_FIRST = frozenset("to type_as expand_as view_as reshape_as".split())
# These tell Python nothing of a tensor's values, only of its form; others that return no tensor read values.
_FORM = frozenset(
    "size shape ndim dim ndimension stride storage_offset numel nelement element_size itemsize nbytes dtype device "
    "layout get_device type is_contiguous is_floating_point is_complex is_signed is_sparse is_quantized is_cuda is_cpu "
    "is_meta is_leaf is_inference is_same_size is_tensor is_pinned is_shared requires_grad requires_grad_ grad_fn "
    "output_nr _version names has_names data_ptr register_hook retain_grad __len__ __repr__ "
    "__dir__ __hash__ __deepcopy__ can_cast result_type broadcast_shapes "
    "dim_order retains_grad dense_dim sparse_dim storage_type "
    "_backward_hooks is_mkldnn is_nested is_xpu is_mps is_neg is_conj _is_view _base".split()
)
_SHAPED_BY_VALUES = frozenset("nonzero argwhere unique unique_consecutive masked_select bincount".split())
_DRAWN = frozenset(
    "rand rand_like randn randn_like randint randint_like randperm bernoulli normal uniform multinomial poisson "
    "exponential geometric cauchy log_normal random".split()
)
_RANDOM = frozenset("dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout".split())


class Counts:
    """How often each function has been called directly inside each module; every call counts."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str], int] = {}

    def count(self, where: str, name: str) -> int:
        self._calls[where, name] = self._calls.get((where, name), 0) + 1
        return self._calls[where, name]


class Sentinel(TorchFunctionMode):
    """Notes the origin of every node, and what escapes the graph. Use as a context round one forward pass.

    `where` is told by the caller: the name of the module whose forward is running. `picture` is the node that would
    keep the picture's gradient.
    `made` is called after each function with the parts of its address and the tensor that it gave or changed. `owned`
    are the names of the functions that the user has rules for: each is one step, however many nodes it makes. quick: as
    of a pass.
    """

    def __init__(
        self,
        where: Callable[[], str],
        made: Callable[[str, str, int, Tensor], None],
        picture: Node,
        owned: Container[str] = frozenset(),
        *,
        quick: bool = False,
    ) -> None:
        super().__init__()
        self._owned, self._quick = owned, quick
        self._where = where
        self._made = made
        self._counts = Counts()
        self._tainted = _Memory()
        self._drawn = _Memory()  # random numbers, and what was made of them
        self._live: dict[int, list[weakref.ref[Tensor]]] = {}  # by address of the memory
        self._depends: dict[Node, bool] = {picture: True}
        self._shifts: dict[Node, float] = {}
        self._shaped = WeakIdKeyDictionary()  # tensors whose shape depends on values
        self._origins: dict[Node, Origin] = {}
        self._composites: dict[Node, Composite] = {}
        self._suspects: dict[Node, str] = {}
        self._masks = Masks(self._tainted.__contains__)
        self._watched: list[tuple[int, int, Origin | None]] = [(0, next_sequence_number(), None)]
        self._escaped: tuple[int, str] | None = None

    def notes(self) -> Notes:
        return Notes(self._origins, self._composites, self._suspects, self._shifts, self._escaped, self._watched)

    def __torch_function__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), keywords: dict[str, Any] | None = None
    ) -> Any:
        keywords = keywords or {}
        given = [leaf for leaf in tree_leaves((arguments, keywords)) if isinstance(leaf, Tensor)]
        name, where = function_name(function), self._where()
        if name in _OF_THE_FIRST:
            given = [tensor for tensor in given if tensor is arguments[0]]
        live = [tensor for tensor in given if self._is_live(tensor)]
        if any(torch._C._functorch.is_functorch_wrapped_tensor(tensor) for tensor in given):
            self._escape(f"{where or 'the network'} uses vmap or another transform, inside which nothing is watched")
            return function(*arguments, **keywords)
        count = self._counts.count(where, name)
        tainted = [tensor for tensor in given if not self._is_live(tensor) and tensor in self._tainted]
        entered = tuple((tensor.grad_fn, tensor.output_nr) for tensor in live)
        call = Call(function, name, arguments, keywords, entered)
        # What the call spells is read before it runs: it may change its arguments in place.
        spelled = self._masks.spelled(call) if tainted and live else None
        versions = [_version(tensor) for tensor in given]
        bases = {id(tensor): _edge_of(tensor._base) for tensor in live if tensor._is_view()}
        first = next_sequence_number()
        result = (quicker(function) if self._quick else function)(*arguments, **keywords)
        origin = Origin(where, name, count, function)
        self._watched.append((first, next_sequence_number(), origin))
        drawn = self._follow_drawn(call, given, result)
        if not (live or tainted):
            return result
        made = list(_results(result, arguments))
        self._masks.follow(call, made)
        changed = [tensor for tensor, version in zip(given, versions, strict=True) if _version(tensor) != version]
        self._look_for_escapes(name, where, live, entered, tainted, changed, result)
        nodes = {tensor.grad_fn for tensor in made} - {None} - {node for node, _ in entered}
        if name in self._owned and self._watched[-1][1] - first > 1:
            self._composites.update(dict.fromkeys(nodes, Composite(name, entered, readers.pointwise)))
        views = [tensor for tensor in changed if id(tensor) in bases]
        self._note(nodes, origin, call, bool(tainted), None if views else spelled)
        if drawn:
            self._suspects.update(dict.fromkeys(nodes, readers.NOISE))
        if not tainted or spelled is not None:
            self._follow_views(call, views, bases, origin, spelled)
        form_only = name in _SHAPE_ONLY and not any(tensor is not arguments[0] for tensor in (*live, *tainted))
        for tensor in made:
            if self._is_live(tensor):
                memory = self._live.setdefault(tensor.untyped_storage().data_ptr(), [])
                memory[:] = [*(reference for reference in memory if reference() is not None), weakref.ref(tensor)]
            elif not form_only:
                self._tainted.add(tensor)
        if nodes and made and (result is None or isinstance(result, Tensor)):
            self._made(where, name, count, made[0])
        return result

    def _follow_drawn(self, call: Call, given: list[Tensor], result: Any) -> bool:
        """Whether random numbers enter a call; what it makes of them is as random."""
        enters = any(tensor in self._drawn for tensor in given) and call.name not in _SHAPE_ONLY
        random = call.name in _RANDOM and bool(call.argument(2, "training", True))
        if enters or random or call.name in _DRAWN:
            for tensor in _results(result, call.arguments):
                if not self._is_live(tensor):
                    self._drawn.add(tensor)
        return enters

    def _look_for_escapes(
        self,
        name: str,
        where: str,
        live: list[Tensor],
        entered: tuple[tuple[Node, int], ...],
        tainted: list[Tensor],
        changed: list[Tensor],
        result: Any,
    ) -> None:
        place = where or "the network"
        values = [leaf for leaf in tree_leaves(result) if leaf is not None and not isinstance(leaf, Tensor)]
        shaped = any(tensor in self._shaped for tensor in (*live, *tainted))
        picked = name == "__getitem__" and any(tensor.dtype == torch.bool for tensor in tainted)
        if shaped or picked or name in _SHAPED_BY_VALUES:
            for leaf in tree_leaves(result):
                if isinstance(leaf, Tensor):
                    self._shaped[leaf] = True
        if (values and name not in _FORM) or (values and shaped) or name == "__array__":
            self._escape(f"values were read in Python by {name} in {place}")
        before = dict(zip(map(id, live), entered, strict=True))
        unseen = [t for t in changed if id(t) in before and t.grad_fn is before[id(t)][0]]
        unseen += [t for t in changed if id(t) not in before and self._is_live_memory(t)]
        if unseen or name == "__set__":
            self._escape(f"the signal was changed by {name} in {place}, where autograd does not look")

    def _follow_views(
        self, call: Call, views: list[Tensor], bases: dict[int, Edge | None], origin: Origin, spelled: Spelled | None
    ) -> None:
        """Note what a change in place through a view of a whole tensor is."""
        for tensor in views:
            overwritten = whole_view(tensor, bases[id(tensor)])
            if overwritten is not None:
                found = composites(call, overwritten, None if spelled is None else spelled.kind)
                self._composites.update(found)
                self._origins.setdefault(overwritten.base.grad_fn, origin)
                for node in found:
                    self._suspects.pop(node, None)

    def _is_live(self, tensor: Tensor) -> bool:
        """Whether a tensor carries the signal: its gradient leads to the picture, and not to a tensor of its own."""
        start = tensor.grad_fn
        if start is None:
            return False
        stack = [start]
        while stack:
            node = stack[-1]
            below = [source for source, _ in node.next_functions if source is not None]
            waiting = [source for source in below if source not in self._depends] if node not in self._depends else []
            if waiting:
                stack += waiting
            else:
                self._depends.setdefault(stack.pop(), any(self._depends[source] for source in below))
        return self._depends[start]

    def _is_live_memory(self, tensor: Tensor) -> bool:
        """Whether a tensor without a gradient lies in the memory of one that carries the signal."""
        owners = self._live.get(tensor.untyped_storage().data_ptr(), ())
        return tensor.grad_fn is None and any(reference() is not None for reference in owners)

    def _escape(self, why: str) -> None:
        if self._escaped is None:
            self._escaped = next_sequence_number(), why

    def _note(self, nodes: set[Node], origin: Origin, call: Call, tainted: bool, spelled: Spelled | None) -> None:
        shift = _shift(call)
        for node in nodes:
            self._origins.setdefault(node, origin)
            if shift is not None:
                self._shifts[node] = shift
            if spelled is not None:
                if spelled.kind is not None:
                    self._composites[node] = Composite(spelled.kind, (spelled.source,))
                continue
            composite = _composite(call)
            if composite is not None:
                self._composites[node] = composite
            if tainted:
                self._suspects[node] = "it uses a tensor computed from the picture that autograd does not follow"
            elif origin.name in _RANDOM and call.argument(2, "training", True):
                self._suspects[node] = readers.RANDOM
            elif origin.name == "threshold" and call.argument(2, "value", 0) != 0:
                self._suspects[node] = "what it puts below the threshold is not 0"


def _shift(call: Call) -> float | None:
    """The number that a call adds to a tensor."""
    if call.name not in ("add", "__add__", "__radd__", "__iadd__") or call.keywords or len(call.arguments) != 2:
        return None
    numbers = [number for number in call.arguments if isinstance(number, int | float)]
    return float(numbers[0]) if len(numbers) == 1 else None


def _composite(call: Call) -> Composite | None:
    """The function as one step, where it is made of several nodes but has a row of its own."""
    if call.function in COMPOSITES:
        return Composite(COMPOSITES[call.function][0], call.entered, *COMPOSITES[call.function][1:])
    if call.function is F.linear and len(call.entered) == 1:
        weight = call.argument(1, "weight", None)
        if isinstance(weight, Tensor) and weight.grad_fn is None and weight.dim() == 2:
            return Composite(rules.LINEAR, call.entered, readers.linear(weight))
    if call.function is F.pad and call.argument(2, "mode", "constant") == "circular":
        return Composite(rules.LINEAR, call.entered, readers.plain)
    return None


def _version(tensor: Tensor) -> int:
    """How often a tensor was changed in place; one made under inference_mode does not count it."""
    return 0 if tensor.is_inference() else tensor._version


def _edge_of(tensor: Tensor | None) -> Edge | None:
    return None if tensor is None or tensor.grad_fn is None else (tensor.grad_fn, tensor.output_nr)


class _Memory:
    """A set of tensors by the memory that they lie in; it keeps them, so that no memory is used twice meanwhile."""

    def __init__(self) -> None:
        self._kept: dict[int, Tensor] = {}

    def add(self, tensor: Tensor) -> None:
        address = tensor.untyped_storage().data_ptr()
        if address:
            self._kept.setdefault(address, tensor.detach())

    def __contains__(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage().data_ptr() in self._kept


def _results(result: Any, arguments: Sequence[Any]) -> Iterator[Tensor]:
    """Tensors that a function made or changed; of an assignment, the tensor assigned into."""
    yield from (leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
    if result is None and arguments and isinstance(arguments[0], Tensor):
        yield arguments[0]
