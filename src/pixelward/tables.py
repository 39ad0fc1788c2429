"""What the commands print: an atlas in lines, in a table, in plain values for JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import typer

from pixelward.words import counted

if TYPE_CHECKING:
    from pixelward.atlas import Atlas
    from pixelward.core.fields import Extent
    from pixelward.core.layers import Layer

SHOWN = 20  # skipped pictures before "and N more"


def described(atlas: Atlas) -> dict[str, Any]:
    """An atlas in plain values."""
    return {
        "atlas": str(atlas.path),
        "network": atlas.network["model"],
        "weights": atlas.network["sha256"],
        "preprocessing": atlas.preprocess.to_dict(),
        "sources": atlas.sources,
        "pictures": atlas.pictures_seen,
        "skipped": [{"source": row.source, "name": row.name, "reason": row.reason} for row in atlas.skipped()],
        "tiles": atlas.tiles,
        "k": atlas.k,
        "rules": atlas.rules,
        "layers": [record.to_json() for record in atlas.layers],
        "drawn": list(atlas.drawings.layers) if atlas.drawings else [],
    }


def print_info(atlas: Atlas) -> None:
    """What `described` says, for people; of skipped pictures the first few."""
    preprocessing = atlas.preprocess.to_dict()
    print_table(
        (),
        [
            ("atlas", atlas.path),
            ("network", atlas.network["model"]),
            ("weights", atlas.network["sha256"]),
            ("preprocessing", ", ".join(f"{key} {value}" for key, value in preprocessing.items())),
            ("sources", ", ".join(f"{source['name']} ({source['path']})" for source in atlas.sources)),
            ("tiles", f"{atlas.tiles[0]} pixels, every {atlas.tiles[1]}" if atlas.tiles else "none"),
            ("pictures", f"{atlas.pictures_seen}, {atlas.pictures_skipped} skipped"),
            ("hits", f"{atlas.k} a unit"),
        ],
    )
    for row in islice(atlas.skipped(), SHOWN):
        typer.echo(f"  skipped {row.source}/{row.name}: {row.reason}")
    if atlas.pictures_skipped > SHOWN:
        typer.echo(f"  and {atlas.pictures_skipped - SHOWN} more; --json lists them all")
    drawn = atlas.drawings.layers if atlas.drawings else ()
    typer.echo()
    print_table(
        ("layer", "units", "dead", "map", "field", "drawn"),
        [
            (
                each.address,
                each.channels,
                int((atlas.stats(each).positive == 0).sum()),
                sides(each.map),
                field_size(each.field),
                "yes" if each.address in drawn else "no",
            )
            for each in atlas.layers
        ],
    )


def print_summary(atlas: Atlas) -> None:
    units = sum(record.channels for record in atlas.layers)
    skipped = f", {atlas.pictures_skipped} skipped" if atlas.pictures_skipped else ""
    drawn = f", {len(atlas.drawings.layers)} drawn" if atlas.drawings else ""
    typer.echo(
        f"{atlas.path}: {counted(len(atlas.layers), 'layer')}{drawn}, {counted(units, 'unit')}, "
        f"{counted(atlas.pictures_seen, 'picture')}{skipped}"
    )


def print_layers(layers: Sequence[Layer]) -> None:
    """Addresses, shapes and fields; where some differ, also the reaches, and which layers cannot be projected."""
    refused = any(layer.refusal is not None for layer in layers)
    reach = any(layer.refusal is None and layer.reach != layer.field for layer in layers)
    head = ("layer", "units", "map", "field", *["reach"] * reach, "stride", *["projected"] * refused, "also")
    rows = []
    for each in layers:
        row: list[object] = [each.address, each.channels, sides(each.shape[1:]), field_size(each.field)]
        row += ["-" if each.refusal else field_size(each.reach)] * reach
        row += [sides(each.stride), *["refused" if each.refusal else "yes"] * refused, *each.aliases]
        rows.append(row)
    print_table(head, rows)


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as their longest entry, never cut: addresses are there to be copied."""
    texts = [[str(cell) for cell in row] for row in [head, *rows] if row]
    columns = max(map(len, texts), default=0)
    wide = [max((len(row[at]) for row in texts if at < len(row)), default=0) for at in range(columns)]
    for row in texts:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, wide, strict=False)).rstrip())


def sides(lengths: Sequence[int] | None) -> str:
    return " x ".join(map(str, lengths)) if lengths else "-"


def field_size(field: Extent) -> str:
    if field.rows is None or field.columns is None:
        return "whole picture"
    if field.rows.beside or field.columns.beside:
        return "varies"  # with the unit's place, where paths of several strides meet
    return sides((field.rows.size, field.columns.size))
