"""The network of an atlas, held ready for the pages that need it. Imports torch, unlike the rest of the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import torch
from PIL import Image
from torch import Tensor, nn

from pixelward.atlas import Atlas
from pixelward.core.check import check
from pixelward.core.layers import Layer, find_layers
from pixelward.errors import PixelwardError
from pixelward.scan import recognised
from pixelward.web.worker import WAITING, Worker

if TYPE_CHECKING:
    from pixelward.core.findings import Operation

T = TypeVar("T")


class Studio:
    """A network, the preparation that its atlas was scanned with, and the worker whose thread alone runs it."""

    def __init__(self, atlas: Atlas, net: nn.Module, waiting: int = WAITING) -> None:
        """net: in evaluation mode, the one that was scanned, else PixelwardError. waiting: jobs that may wait."""
        self._sha256 = recognised(atlas, net)
        self.net = net
        self.preprocess = atlas.preprocess
        self.size = atlas.size
        self._like = next((each for each in net.parameters() if each.is_floating_point()), torch.zeros(()))
        self._addresses = [record.address for record in atlas.layers]
        self._layers: dict[str, Layer] = {}
        self._worker = Worker(waiting)
        # At once and beside the start, so that the first page has it, and the first picture a network that has run.
        self._operations = self._worker.submit("", self._begin)

    async def run(self, key: str, job: Callable[[], T]) -> T:
        """What `job` returns or raises, done in the worker's thread: what touches `net` goes through here.

        key: of a visitor's page; a newer job of the same key replaces an older one, "" replaces none.
        Raises Busy or Superseded where the worker does.
        """
        return await self._worker.run(key, job)

    def batch(self, pixels: Tensor) -> Tensor:
        """A prepared picture, (C, H, W), as a batch of one where the network is and in its type."""
        return pixels[None].to(self._like.device, self._like.dtype)

    def layer(self, address: str) -> Layer:
        """A layer of the atlas as `observe` takes it; the first call runs the network. To be asked for in a job."""
        if not self._layers:
            channels = len(self.preprocess.mean)
            found = find_layers(self.net, self._addresses, size=self.size, channels=channels)
            self._layers = {layer.address: layer for layer in found}
        return self._layers[address]

    def holds(self, atlas: Atlas) -> bool:
        """Whether the atlas is, still, one of this network."""
        return bool(atlas.network["sha256"] == self._sha256)

    def operations(self) -> tuple[Operation, ...] | None:
        """How a signal crosses each operation of the network; None where it cannot be watched. Waits for the worker."""
        return self._operations.result()

    def close(self) -> None:
        """Take no more jobs and wait for the one at work."""
        self._worker.close()

    def _begin(self) -> tuple[Operation, ...] | None:
        Image.init()  # loads the readers of all formats
        try:
            self.layer(self._addresses[0])
            return check(self.net, size=self.size, channels=len(self.preprocess.mean)).operations
        except PixelwardError:
            return None
