"""One forward pass of somebody's network, watched and left as it was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock, get_ident
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks
from torch.nn.parameter import is_lazy

from pixelward.core.addresses import Address
from pixelward.core.devices import is_near
from pixelward.core.precision import full_precision
from pixelward.errors import PixelwardError

Watcher = Callable[[Address, Tensor], None]


class Done(BaseException):
    """Raised by a watcher when it has seen enough: nothing above runs. Never leaves this package."""


class Modules:
    """The names of a network's modules, and the module that is running now."""

    def __init__(self, net: nn.Module) -> None:
        self.names = {id(module): name for name, module in reversed(list(net.named_modules(remove_duplicate=False)))}
        self.aliases = {name: self.names[id(module)] for name, module in net.named_modules(remove_duplicate=False)}
        self._running: list[str] = [""]
        self._calls: dict[str, int] = {}

    def running(self) -> str:
        return self._running[-1]

    @contextmanager
    def watched(self, watch: Watcher) -> Iterator[None]:
        """Call `watch` with every tensor that a module of the network puts out, as soon as it is there."""

        def enter(module: nn.Module, arguments: Any) -> None:
            if get_ident() == owner:
                self._running.append(self.names.get(id(module), self.running()))

        def leave(module: nn.Module, arguments: Any, output: Any) -> None:
            if get_ident() != owner:  # the hooks are the process's; other threads run other passes
                return
            self._running.pop()
            name = self.names.get(id(module))
            if name is None or output is None:
                return
            call = self._calls[name] = self._calls.get(name, 0) + 1
            for item, tensor in _tensors(output):
                watch(Address(name, call, item), tensor)

        owner = get_ident()
        handles = [
            module_hooks.register_module_forward_pre_hook(enter),
            module_hooks.register_module_forward_hook(leave, always_call=True),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _tensors(output: Any) -> Iterator[tuple[str | None, Tensor]]:
    if isinstance(output, Tensor):
        yield None, output
        return
    pairs: Any = ()
    if isinstance(output, dict):
        pairs = output.items()
    elif isinstance(output, (tuple, list)):
        pairs = enumerate(output)
    for key, value in pairs:
        if isinstance(value, Tensor):
            yield str(key), value


def unwrapped(net: nn.Module) -> nn.Module:
    """The network inside DataParallel and its kin. Raises PixelwardError for what is no network."""
    if not isinstance(net, nn.Module):
        raise PixelwardError(
            given=f"a {type(net).__name__} instead of a network",
            allowed="torch.nn.Module",
            next_step='load one first, as pw.load("zfnet64")',
        )
    while isinstance(net, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        net = net.module
    return net


def refuse_unreadable(net: nn.Module, *, opaque: bool = False) -> None:
    """Refuse what no watcher can see into: compiled modules; scripted and traced ones unless `opaque` are allowed."""
    for name, module in net.named_modules():
        scripted = isinstance(module, torch.jit.ScriptModule)
        if (
            (scripted and not opaque)
            or type(module).__name__ == "OptimizedModule"
            or getattr(module, "_compiled_call_impl", None)
        ):
            what = f"module {name!r}" if name else "network"
            raise PixelwardError(
                given=f"a {'scripted or traced' if scripted else 'compiled'} {what}",
                allowed="networks whose forward pass is ordinary Python over torch",
                next_step="hand over the network as it was before "
                + ('torch.jit, or use rules="gradient"' if scripted else "torch.compile"),
            )

    if any(parameter.is_inference() for parameter in net.parameters() if not is_lazy(parameter)):
        raise PixelwardError(
            given="a network that was made under torch.inference_mode()",
            allowed="networks whose parameters autograd can follow",
            next_step="build and load it outside of inference_mode",
        )
    if any(is_lazy(parameter) for parameter in net.parameters()):
        raise PixelwardError(
            given="a network with lazy modules that have not run yet",
            allowed="networks whose parameters are there",
            next_step="call the network once with a picture, then load its weights",
        )


_ONE_AT_A_TIME = RLock()  # a pass changes what the process shares, such as requires_grad of the parameters


@contextmanager
def untouched(net: nn.Module) -> Iterator[None]:
    """Freeze the parameters meanwhile; afterwards, also after an error, leave everything as it was."""
    with _ONE_AT_A_TIME, _restored(net), full_precision():
        yield


@contextmanager
def _restored(net: nn.Module) -> Iterator[None]:
    frozen = [parameter for parameter in net.parameters() if parameter.requires_grad]
    buffers = [
        (module, dict(module._buffers), {n: b.detach().clone() for n, b in module._buffers.items() if b is not None})
        for module in net.modules()
    ]
    devices = sorted({tensor.device.index for tensor in net.parameters() if tensor.device.type == "cuda"})
    fast_path = torch.backends.mha.get_fastpath_enabled()
    try:
        for parameter in frozen:
            parameter.requires_grad_(False)
        torch.backends.mha.set_fastpath_enabled(False)
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        for parameter in frozen:
            parameter.requires_grad_(True)
        for module, before, copies in buffers:
            for name, copy in copies.items():
                _put_back(before[name], copy)  # type: ignore[arg-type]
            if not isinstance(module, torch.jit.ScriptModule):  # whose buffers cannot be exchanged
                module._buffers.clear()
                module._buffers.update(before)


def _put_back(buffer: Tensor, copy: Tensor) -> None:
    """Write the copy into the buffer, if that was changed; on a GPU also if not, since looking would wait for it."""
    if is_near(buffer.device) or _meets_itself(buffer):  # the last refuses to be written
        if not torch.equal(buffer, copy):
            with torch.no_grad():  # one of inference mode is written by its `data` alone
                (buffer.data if buffer.is_inference() else buffer).copy_(copy)
    else:
        buffer.data.copy_(copy)  # `data`, since for autograd nothing changes


def _meets_itself(tensor: Tensor) -> bool:
    """Whether it was expanded, so that several of its numbers share one place in memory."""
    return any(size > 1 and stride == 0 for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


def run(net: nn.Module, pictures: Tensor) -> None:
    """Call the network; what it says against its input becomes one line. `Done` ends it early."""
    try:
        net(pictures)
    except Done:
        pass
    except PixelwardError:
        raise
    except Exception as error:
        kind = other_than_pictures(net)
        if kind is not None:
            raise PixelwardError(
                given=f"a network over {kind}, which did not take a picture tensor of shape {tuple(pictures.shape)}",
                allowed="networks over pictures, (N, C, H, W)",
                next_step="use a network whose convolutions are nn.Conv2d",
            ) from error
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        allowed = "pictures that the network takes as its one input"
        next_step = "give the size and the channels that it was built for (--size, --channels)"
        if "modified inplace" in said or "in-place operation" in said:
            allowed = "networks that can run while gradients are recorded"
            next_step = "set inplace=False in the operation that changes a part of a tensor"
        raise PixelwardError(
            given=f"a picture tensor of shape {tuple(pictures.shape)}, on which the network's forward failed: {said}",
            allowed=allowed,
            next_step=next_step,
        ) from error


def other_than_pictures(net: nn.Module) -> str | None:
    """What a network is over whose first convolution is not over pictures."""
    for module in net.modules():
        for kind, what in ((nn.Conv2d, None), (nn.Conv1d, "sequences"), (nn.Conv3d, "volumes")):
            if isinstance(module, kind):
                return what
    return None
