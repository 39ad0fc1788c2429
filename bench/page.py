"""Makes docs/performance.md of the results."""

from typing import Any


def page(results: dict[str, Any]) -> str:
    return ""
