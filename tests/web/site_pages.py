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

# Texts that are wider than what holds them, where that does not scroll.
OVER = """() => [...document.querySelectorAll("main :is(h1, h2, h3, p, li, dt, dd, label, legend)")].filter((each) => {
  const range = document.createRange();
  range.selectNodeContents(each);
  const words = [...range.getClientRects()].filter((box) => box.width);
  const room = each.getBoundingClientRect();
  const inline = getComputedStyle(each).display === "inline";
  const scrolls = each.closest(".scrolls, .skip, svg") || each.querySelector(".scrolls");
  return room.width && !inline && !scrolls && words.some((box) => box.right > room.right + 1);
}).map((each) => each.outerHTML.slice(0, 200))"""


def shown(page: Any) -> list[int]:
    """The numbers of the units on a layer's page, in their order."""
    return page.eval_on_selector_all("#units li", "items => items.map((item) => Number(item.id.slice(1)))")


def told(page: Any) -> str:
    return page.locator("#told").inner_text()
