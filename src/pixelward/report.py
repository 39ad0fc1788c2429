"""What `check` prints: the verdict, the operations, the layers; as wide as the terminal, never cut in a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import typer
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pixelward.tables import field_size, sides

if TYPE_CHECKING:
    from pixelward.core.fields import Extent
    from pixelward.core.findings import CheckedLayer, Report

SHOWN = 30  # layers that are listed one by one; more are put together by the size of their maps
_NO_TERMINAL = 10_000  # columns: where nobody looks at it, no line is broken
_STYLES = {"refused": "red", "kept fixed": "dim", "stated extension": "cyan"}


def print_report(report: Report, model: str) -> None:
    """The verdict, then a table of operations and one of layers. model: how the user names the network."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_NO_TERMINAL)
    _print(console, Text(f"{model}, on pictures of {sides(report.size)} pixels:", style="bold"))
    for sentence in report.sentences:
        _print(console, Text(sentence))
    _print(console, Text())
    _print(console, _operations(report))
    if report.obstacles:
        _print(console, Text("\nRefused", style="bold"))
    for each in report.obstacles:
        _print(console, Text(f"{each.place}: {each.reason}"))
        _print(console, Padding(Text(each.remedy, style="dim"), (0, 0, 0, 4), expand=False))
    if report.layers:
        _print(console, Text())
        _print(console, _grouped(report.layers) if len(report.layers) > SHOWN else _listed(report.layers))


def _print(console: Console, what: RenderableType) -> None:
    with console.capture() as printed:
        console.print(what)
    for line in printed.get().splitlines():
        typer.echo(line.rstrip())


def _operations(report: Report) -> Table:
    table = _table("operation", "kind~", "*times", "rule", "first in~")
    for each in report.operations:
        cells = (each.operation, each.kind, each.count, each.how, each.where or "the network itself")
        table.add_row(*_texts(cells), style=_STYLES.get(each.how))
    return table


def _listed(layers: Sequence[CheckedLayer]) -> Table:
    reach = _has_reach(layers)
    table = _table("layer", "*units", "map", "field", *reach * ["reach"], "stride", "offset", "goes down~")
    for each in layers:
        cells = [each.address, each.shape[0], sides(each.shape[1:]), field_size(each.field)]
        cells += reach * [_reach(each)]
        cells += [sides(each.stride), _offset(each), _way_down(each, place=True)]
        table.add_row(*_texts(cells), style=_STYLES["refused"] if each.refusal else None)
    return table


def _grouped(layers: Sequence[CheckedLayer]) -> Table:
    """A row for all layers of one size of maps that go down in one way."""
    groups: dict[tuple[tuple[int, ...], str], list[CheckedLayer]] = {}
    for each in layers:
        groups.setdefault((each.shape[1:], _way_down(each, place=False)), []).append(each)
    reach = _has_reach(layers)
    table = _table("*layers", "map", "field", *reach * ["reach"], "goes down~", "first")
    for (size, way), own in groups.items():
        cells: list[object] = [len(own), sides(size), _span([layer.field for layer in own])]
        cells += reach * ["-" if own[0].refusal else _span([layer.reach for layer in own])]
        cells += [way, own[0].address]
        table.add_row(*_texts(cells), style=_STYLES["refused"] if own[0].refusal else None)
    return table


def _table(*heads: str) -> Table:
    """Columns without lines between. A head that begins with * is of numbers, one that ends in ~ of what may wrap."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for head in heads:
        justify: Literal["left", "right"] = "right" if head.startswith("*") else "left"
        table.add_column(head.strip("*~"), justify=justify, overflow="fold", no_wrap=not head.endswith("~"))
    return table


def _texts(cells: Iterable[object]) -> list[Text]:
    """Cells as they are: an address may hold brackets, which are no markup."""
    return [Text(str(cell)) for cell in cells]


def _has_reach(layers: Iterable[CheckedLayer]) -> bool:
    return any(layer.refusal is None and layer.reach != layer.field for layer in layers)


def _reach(layer: CheckedLayer) -> str:
    return "-" if layer.refusal else field_size(layer.reach)


def _offset(layer: CheckedLayer) -> str:
    return ", ".join(map(str, dict.fromkeys(layer.offset))) if layer.offset else "-"


def _way_down(layer: CheckedLayer, *, place: bool) -> str:
    if layer.refusal:
        by = f": {layer.blocked_by}" if layer.blocked_by else ""
        return f"refused{by}" + (f" in {layer.blocked_in!r}" if by and layer.blocked_in and place else "")
    return "in windows" if layer.windows else f"whole picture: {layer.whole}"


def _span(extents: Iterable[Extent]) -> str:
    """The smallest and the largest of some boxes, of squares one side."""
    ordered = sorted(extents, key=_area)
    return _from_to([_size(extent) for extent in (ordered[0], ordered[-1])])


def _from_to(values: Sequence[str]) -> str:
    return " to ".join(dict.fromkeys((values[0], values[-1])))


def _size(extent: Extent) -> str:
    if extent.rows is None or extent.columns is None:
        return "whole"
    size = field_size(extent)
    return str(extent.rows.size) if size == sides((extent.rows.size, extent.rows.size)) else size


def _area(extent: Extent) -> float:
    if extent.rows is None or extent.columns is None:
        return float("inf")
    return extent.rows.size * extent.columns.size
