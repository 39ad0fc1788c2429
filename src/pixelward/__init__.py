"""See what every unit of a convolutional network has learnt.

The public names are fetched when they are first asked for: importing this package loads neither torch nor numpy.
"""

from __future__ import annotations

import importlib
import operator
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING

from pixelward.errors import PixelwardError as PixelwardError

if TYPE_CHECKING:
    from pixelward.atlas import Atlas as _Atlas
    from pixelward.core.check import check as check
    from pixelward.core.layers import layers as layers
    from pixelward.core.rules import DECONVNET as DECONVNET
    from pixelward.core.rules import GRADIENT as GRADIENT
    from pixelward.core.rules import GUIDED as GUIDED
    from pixelward.core.rules import PRODUCT as PRODUCT
    from pixelward.core.rules import keep_fixed as keep_fixed
    from pixelward.draw import draw as draw
    from pixelward.examine import draw_details as draw_details
    from pixelward.nets.load import load as load
    from pixelward.projection import project as project
    from pixelward.scan import scan as scan
    from pixelward.web.export import export as export

    open = _Atlas.open
    __version__: str

_HOMES: Mapping[str, tuple[str, str]] = {  # public name -> module, name there
    "load": ("pixelward.nets.load", "load"),
    "layers": ("pixelward.core.layers", "layers"),
    "check": ("pixelward.core.check", "check"),
    "project": ("pixelward.projection", "project"),
    "scan": ("pixelward.scan", "scan"),
    "draw": ("pixelward.draw", "draw"),
    "draw_details": ("pixelward.examine", "draw_details"),
    "export": ("pixelward.web.export", "export"),
    "open": ("pixelward.atlas", "Atlas.open"),
    "DECONVNET": ("pixelward.core.rules", "DECONVNET"),
    "GUIDED": ("pixelward.core.rules", "GUIDED"),
    "GRADIENT": ("pixelward.core.rules", "GRADIENT"),
    "PRODUCT": ("pixelward.core.rules", "PRODUCT"),
    "keep_fixed": ("pixelward.core.rules", "keep_fixed"),
}

__all__ = [  # noqa: RUF022, in the order of the work
    "load",
    "layers",
    "check",
    "project",
    "scan",
    "draw",
    "draw_details",
    "export",
    "open",
    "DECONVNET",
    "GUIDED",
    "GRADIENT",
    "PRODUCT",
    "keep_fixed",
    "PixelwardError",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        value: object = version("pixelward")
    elif name in _HOMES:
        module, place = _HOMES[name]
        value = operator.attrgetter(place)(importlib.import_module(module))
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """A package whose public functions are not hidden by its modules of the same name, `scan` and `draw`."""

    def __setattr__(self, name: str, value: object) -> None:
        # An import binds each module to its package. Here the name is the function's, whoever imported what before.
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
