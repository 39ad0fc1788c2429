"""Addresses of layers: `conv2`, `conv2:relu`, `block#2`, `features[0]`, `features/relu#3`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

from pixelward.errors import PixelwardError

_MODULE = r"(?P<module>[^#\[\]:/]*)"
_FORMS = (
    re.compile(_MODULE + r"(#(?P<call>[1-9]\d*))?(\[(?P<item>[^\]]+)\])?(?P<relu>:relu)?"),
    re.compile(_MODULE + r"/(?P<function>\w+)#(?P<count>[1-9]\d*)"),
)


@dataclass(frozen=True)
class Address:
    """One tensor of a forward pass.

    The output of the `call`-th call of `module` (its `item`, if it gives several), or of the rectifier that it
    reaches (`relu`), or of the `count`-th call of the torch function `function` directly inside `module`.
    """

    module: str
    call: int = 1
    item: str | None = None
    relu: bool = False
    function: str | None = None
    count: int = 0

    def __str__(self) -> str:
        name = quote(self.module, safe="_.-")
        if self.function is not None:
            return f"{name}/{self.function}#{self.count}"
        call = f"#{self.call}" if self.call > 1 else ""
        item = f"[{self.item}]" if self.item is not None else ""
        return f"{name}{call}{item}{':relu' if self.relu else ''}"

    @property
    def base(self) -> Address:
        """The module's own output, from which `:relu` starts."""
        return replace(self, relu=False)


def parse(text: str) -> Address:
    """The address that `text` spells. Raises PixelwardError where it is none."""
    for form in _FORMS:
        found = form.fullmatch(text)
        if found:
            parts = found.groupdict()
            return Address(
                module=unquote(parts["module"]),
                call=int(parts.get("call") or 1),
                item=parts.get("item"),
                relu=bool(parts.get("relu")),
                function=parts.get("function"),
                count=int(parts.get("count") or 0),
            )
    raise PixelwardError(
        given=f"layer {text!r}",
        allowed="NAME, NAME:relu, NAME#CALL, NAME[ITEM] or NAME/FUNCTION#CALL",
        next_step="list the layers with `pixelward layers MODEL`",
    )
