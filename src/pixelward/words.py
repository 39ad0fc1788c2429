"""Numbers of things in sentences."""

from __future__ import annotations


def counted(number: int, thing: str) -> str:
    """`1 layer`, `2 layers`; for things whose plural ends in s."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
