"""Pages of the exported site that tests open, and what is read off a layer's."""

from typing import Any

LAYER = "layers/000-conv1-relu/index.html"
UNIT = "layers/000-conv1-relu/{}.html"
PAGES = [
    "index.html",
    LAYER,
    f"{LAYER}?show=overlay&sort=selectivity",
    UNIT.format(2),
    UNIT.format(0),
    "pictures/0.html",
]


def shown(page: Any) -> list[int]:
    """The numbers of the units on a layer's page, in their order."""
    return page.eval_on_selector_all("#units li", "items => items.map((item) => Number(item.id.slice(1)))")


def told(page: Any) -> str:
    return page.locator("#told").inner_text()
