"""All that the command `project` draws of one unit, as one picture."""

from __future__ import annotations

from PIL import Image
from torch import nn

from pixelward import explain
from pixelward.projection import Projection
from pixelward.strips import PAPER


def unit_sheet(net: nn.Module, projection: Projection, *, walk: bool = False, controls: bool = False) -> Image.Image:
    """The projection beside its picture; below it the way down and the controls, where they are asked for."""
    strips = [projection.to_image()]
    if walk:
        strips.append(explain.walk(net, projection))
    if controls:
        strips.append(explain.controls(net, projection))
    whole = Image.new("RGB", (max(each.width for each in strips), sum(each.height for each in strips)), PAPER)
    top = 0
    for strip in strips:
        whole.paste(strip, (0, top))
        top += strip.height
    return whole
