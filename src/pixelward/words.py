"""Numbers of things, values, shares and amounts of memory, in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress


def counted(number: int, thing: str) -> str:
    """`1 layer`, `2 layers`; for things whose plural ends in s."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def listed(things: Sequence[str], shown: int = 8) -> str:
    """`a, b and c`; of many, the first `shown` and how many more there are."""
    if len(things) > shown:
        return f"{', '.join(things[:shown])} and {len(things) - shown} more"
    return " and ".join(part for part in (", ".join(things[:-1]), *things[-1:]) if part)


def without(names: Sequence[str], number: int, reason: str) -> str:
    """That layers are left out: these of `number`, the first of them for `reason`."""
    first = "because of" if len(names) == 1 else "the first because of"
    return f"{len(names)} of {counted(number, 'layer')} left out, {listed(names)}, {first} {reason}"


def number(value: float) -> str:
    """A value with three significant digits, more where it has more before the point; powers of ten for tiny ones."""
    if value and abs(value) < 1e-3:
        return f"{value:.2e}"
    return f"{value:#.3g}" if abs(value) < 99.95 else f"{value:,.0f}"


def share(part: int, whole: int) -> str:
    """A part of a whole in per cent; a small part never reads as none, a large one never as all."""
    if not whole:
        return "0 %"
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "below 0.1 %"
    if 99.9 < percent < 100:
        return "over 99.9 %"
    return f"{percent:.0f} %" if percent in (0, 100) or 10 <= percent < 99 else f"{percent:.1f} %"


_UNITS = ("B", "K", "M", "G", "T")


def amount(number: int) -> str:
    """Bytes as people write them: `1.5G`, `320M`; of 1024 each."""
    size, unit = _scaled(number)
    return f"{size:.3g}{unit}"


def enough(number: int) -> str:
    """Bytes as `amount` writes them, rounded up to two digits: who gives as many gives no less."""
    size, unit = _scaled(number)
    step = 10 ** max(len(str(int(size))) - 2, 0) if size >= 10 else 0.1
    return f"{math.ceil(size / step) * step:.4g}{unit}"


def _scaled(number: int) -> tuple[float, str]:
    size, unit = float(number), 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return size, _UNITS[unit]


def bytes_of(text: str) -> int:
    """`4G`, `500M`, `2.5g` -> bytes. Raises ValueError for anything else, and for nothing."""
    unit = text[-1:].upper()
    factor = 1024 ** _UNITS.index(unit) if unit in _UNITS else 1
    with suppress(ValueError, OverflowError):
        number = round(float(text[:-1] if unit in _UNITS else text) * factor)
        if number >= 1:
            return number
    raise ValueError(f"{text!r} is no amount of memory; write it as 4G or 500M")
