"""What the fields of an atlas's records have to be, so that one that was written over is told as damage.

Layers are held to it one by one, when they are asked for: opening an atlas of many has to stay fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are(kind: Callable[[object], bool], value: object, lengths: Iterable[int] | None = None) -> bool:
    return isinstance(value, list) and all(map(kind, value)) and (lengths is None or len(value) in lengths)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _has(value: object, **kinds: Callable[[object], bool]) -> bool:
    return isinstance(value, dict) and all(name in value and holds(value[name]) for name, holds in kinds.items())


def _is_span(value: object) -> bool:
    """Of `Extent.to_json`: whole numbers, three a path; the first of a path's pixels may lie outside."""
    three = partial(_are, lambda number: isinstance(number, int), lengths=(3,))
    return value is None or (bool(value) and _are(three, value))


LAYER: Mapping[str, Callable[[Any], bool]] = MappingProxyType(
    {
        "number": _is_count,
        "address": _is_text,
        "aliases": partial(_are, _is_text),
        "channels": lambda value: _is_count(value) and value > 0,
        "map": partial(_are, _is_count, lengths=(0, 2)),
        "field": partial(_has, rows=_is_span, columns=_is_span),
        "reach": partial(_has, rows=_is_span, columns=_is_span),
        "stride": lambda value: value is None or _are(_is_count, value, (2,)),
    }
)
RECORD: Mapping[str, Callable[[Any], bool]] = MappingProxyType(
    {
        "network": partial(_has, model=_is_text, sha256=_is_text),
        "preprocessing": _has,
        "rules": _is_text,
        "k": _is_count,
        "size": partial(_are, lambda side: _is_count(side) and side != 0, lengths=(2,)),
        "tiles": lambda value: value is None or _has(value, size=_is_count, stride=_is_count),
        "sources": partial(_are, partial(_has, name=_is_text, path=_is_text)),
        "counts": partial(_has, pictures=_is_count, used=_is_count, skipped=_is_count),
        "files": _has,
        "layers": lambda value: isinstance(value, list),
    }
)
DRAWN: Mapping[str, Callable[[Any], bool]] = MappingProxyType(
    {
        "rules": _is_text,
        "unpool": _is_text,
        "seed": lambda value: isinstance(value, str | int | float),
        "layers": lambda value: _has(value) and all(map(_is_text, value.values())),
        "thumbs": _is_text,
    }
)


def refuse_other_types(plain: Mapping[str, Any], kinds: Mapping[str, Callable[[Any], bool]]) -> None:
    """Raises KeyError or TypeError where a field of `plain` is missing or not of its kind."""
    for name, holds in kinds.items():
        if not holds(plain[name]):
            raise TypeError(f"{name} is {plain[name]!r}")
