"""Numbers of things in sentences."""

from __future__ import annotations

from collections.abc import Sequence


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
