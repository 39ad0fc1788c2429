"""The network of an atlas, held ready for the pages that need it. Imports torch, unlike the rest of the server."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from PIL import Image
from torch import Tensor, nn

from pixelward.atlas import Atlas
from pixelward.core.layers import Layer, find_layers
from pixelward.core.precision import like_of
from pixelward.core.project import Below
from pixelward.errors import PixelwardError
from pixelward.fingerprint import recognised
from pixelward.web.kept import KeptOf
from pixelward.web.worker import Worker

BELOW = 2  # pictures whose last layer is kept ready: some ten megabytes each, for a visitor or two who go on in it

T = TypeVar("T")


class Studio:
    """A network, the preparation that its atlas was scanned with, and the worker whose thread alone runs it."""

    def __init__(self, atlas: Atlas, net: nn.Module, worker: Worker | None = None) -> None:
        """net: in evaluation mode, the one that was scanned, else PixelwardError. worker: of another studio with the
        same network; None for a new one."""
        if worker is None:  # otherwise it may be at work, and the network not as it is at rest
            recognised(atlas, net)
        self._scan = _scan(atlas)
        self._sha256 = atlas.network["sha256"]
        self.net = net
        self.preprocess = atlas.preprocess
        self.size = atlas.size
        self._like = like_of(net)
        self._addresses = [record.address for record in atlas.layers]
        self._layers: dict[str, Layer] = {}
        self.below: KeptOf[object, tuple[str, ...], Below] = KeptOf(BELOW)  # of pictures; to be used in jobs
        self._worker = worker or Worker()
        if worker is None:  # at once and beside the start, so that the first picture finds a network that has run
            self._worker.submit("", self._begin)

    async def run(self, key: str, job: Callable[[], T]) -> T:
        """What `job` returns or raises, done in the worker's thread: what touches `net` goes through here.

        key: of a visitor's page; a newer job of the same key replaces an older one, "" replaces none.
        Raises Busy or Superseded where the worker does.
        """
        return await self._worker.run(key, job)

    def go_on(self) -> None:
        """To be called by a long job between its steps: raises Superseded where nobody waits for it any more."""
        self._worker.go_on()

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

    def of(self, atlas: Atlas) -> Studio | None:
        """The studio for an atlas: this one, or, after a scan with another preparation or choice of layers, one more
        with the same worker. None for an atlas of another network."""
        if _scan(atlas) == self._scan:
            return self
        return Studio(atlas, self.net, self._worker) if atlas.network["sha256"] == self._sha256 else None

    def close(self) -> None:
        """Take no more jobs, and wait for the one at work for a moment."""
        self._worker.close()

    def _begin(self) -> None:
        Image.init()  # loads the readers of all formats
        with suppress(PixelwardError):
            self.layer(self._addresses[0])


def _scan(atlas: Atlas) -> object:
    """All of a scan that the studio goes by."""
    return atlas.network["sha256"], atlas.preprocessing, atlas.size, [record.address for record in atlas.layers]
