"""What a request prefers of what can be answered: its Accept header, as RFC 9110 has it read."""

from __future__ import annotations

import re

_QUALITY = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")
HTML, JSON = "text/html", "application/json"


def prefers_json(accept: str) -> bool:
    """Whether JSON is asked for rather than a page: by its quality, and between equals where only JSON is named."""
    (json, json_named), (html, html_named) = (_quality(accept, kind) for kind in (JSON, HTML))
    return json > 0 and (json, json_named) > (html, html_named)


def _quality(accept: str, kind: str) -> tuple[float, int]:
    """The quality of a media type, and how closely the range that says so names it; 0.0 where none allows it.

    Of several ranges the closest counts, whatever their order. A range whose quality is no number says nothing.
    """
    ranges = [kind, f"{kind.split('/')[0]}/*", "*/*"]
    closest = (0, 0.0)
    for part in accept.split(","):
        name, *parameters = (each.strip().lower() for each in part.split(";"))
        quality = next((each[2:] for each in parameters if each.startswith("q=")), "1")
        if name in ranges and _QUALITY.fullmatch(quality):
            closest = max(closest, (len(ranges) - ranges.index(name), float(quality)))
    return closest[1], closest[0]
