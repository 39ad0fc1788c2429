"""How smoothly a layer's page of very many units scrolls: -m bench.scroll [--units 10000] [--steps 80]. Exits with 1
where frames take longer than FLUNG and WHEELED.

Makes up a layer, writes its page and opens it in a Chromium (as `make test-web` does), 1440 x 900 pixels. The page is
flung from top to bottom in so many steps, one a frame, which no hand does but that drags the scroll bar; moved by 60
pixels a frame, as by a wheel, with its pictures and without: a Chromium without a screen decodes and draws them by
processor, so what lies between these two is not the page's work; and by 300, a fling, at which the page itself leaves
them out. Of each the time of a frame, and how long the page's own thread was at work for it. Then its units are sorted:
how long that holds the thread, and when the next frame is there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench import explorer
from bench.explorer import Figure
from bench.web import made_up
from pixelward.atlas import Atlas
from pixelward.web import content, links, pages

WHEEL, FLING = 60, 300  # pixels a frame
WHEELED = 100.0  # milliseconds, of the 95th percentile of a frame
FLUNG = 20.0, 50.0  # of the median, and of the 95th percentile
SORTS = ("strength", "sparsity", "selectivity", "index")
SCROLL = """async ([steps, wheel]) => {
  const taken = [], high = document.documentElement.scrollHeight;
  let last = performance.now();
  for (let step = 1; step <= steps; step++) {
    scrollTo(0, wheel ? high / 4 + wheel * step : (high * step) / steps);
    await new Promise(requestAnimationFrame);
    taken.push(performance.now() - last);
    last = performance.now();
  }
  return taken;
}"""
SORT = """async (sort) => {
  const choice = document.querySelector("select[name=sort]");
  choice.value = sort;
  const began = performance.now();
  choice.dispatchEvent(new Event("input", { bubbles: true }));
  const held = performance.now() - began;
  await new Promise(requestAnimationFrame);
  await new Promise(setTimeout);
  return [held, performance.now() - began];
}"""


class Way(NamedTuple):
    """A way to scroll. wheel: pixels a frame, 0 to get to the end in all frames. usual, goal: what a frame's time is to
    be below, its median and its 95th percentile; None where no goal is set."""

    what: str
    wheel: int
    pictures: bool = True
    usual: float | None = None
    goal: float | None = None


WAYS = (
    Way("dragged from top to bottom in {steps} frames", 0),
    Way(f"scrolled {WHEEL} pixels a frame", WHEEL, goal=WHEELED),
    Way(f"scrolled {WHEEL} pixels a frame, without the pictures", WHEEL, pictures=False),
    Way(f"scrolled {FLING} pixels a frame", FLING, usual=FLUNG[0], goal=FLUNG[1]),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=80)
    explorer.options(parser)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pixelward-bench-") as work:
        atlas = Atlas.open(made_up(Path(work) / "atlas", given.units))
        figures = [*written(atlas, Path(work) / "site"), *scrolled(Path(work), given.steps)]
    return explorer.told("scroll", figures, given.results)


def written(atlas: Atlas, site: Path) -> Iterator[Figure]:
    """Write the page of the only layer, with its drawings and twin: how long that takes."""
    (record,) = atlas.layers
    began = time.process_time()
    page = content.layer_page(atlas, record)
    gathered = time.process_time()
    text = pages.html(page)
    made = time.process_time()
    twin = pages.twin(page)
    name = f"a page of {record.channels:,} units"
    yield Figure(f"{name}, gathered", gathered - began, unit="s")
    yield Figure(f"{name}, written, {len(text.encode()) / 1e6:.1f} MB", made - gathered, unit="s")
    yield Figure(f"its JSON twin, {len(twin.encode()) / 1e6:.1f} MB", time.process_time() - made, unit="s")
    shutil.copytree(atlas.path / "drawings" / record.slug, (site / page.path).parent, copy_function=os.link)
    shutil.copytree(Path(pages.__file__).with_name("static"), site / "static")
    (site / page.path).write_text(text, "utf-8")


def scrolled(work: Path, steps: int) -> Iterator[Figure]:
    """How long frames take on each of the ways, and the work of the page's thread."""
    from playwright.sync_api import sync_playwright

    (page,) = (work / "site").glob(links.layer("*"))
    with sync_playwright() as playwright:
        for way in WAYS:
            taken, busy = frames(playwright, page, way, steps, work / "trace.json")
            what = f"that page {way.what.format(steps=steps)}: a frame"
            half, most = np.quantile(taken, (0.5, 0.95))
            yield Figure(what, float(half), float(most), way.goal, usual=way.usual)
            yield Figure("work of the page’s thread for it, on average", busy / steps)
        browser, opened = shown(playwright, page)
        held, framed = zip(*(opened.evaluate(SORT, sort) for sort in SORTS), strict=True)
        browser.close()
    yield Figure("that page sorted, the slowest of four orders: its thread is held", max(held))
    yield Figure("until that frame is there", max(framed))


def shown(playwright: Any, file: Path, *flags: str) -> tuple[Any, Any]:
    """A browser of its own, and the page in it."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", *flags])
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.set_default_timeout(120_000)
    page.goto(file.as_uri())
    page.wait_for_load_state("networkidle")
    return browser, page


def frames(playwright: Any, file: Path, way: Way, steps: int, trace: Path) -> tuple[list[float], float]:
    """Milliseconds of each frame, and those that the page's thread was at work in all."""
    browser, page = shown(playwright, file, *([] if way.pictures else ["--blink-settings=imagesEnabled=false"]))
    browser.start_tracing(page=page, path=trace, categories=["disabled-by-default-devtools.timeline"])
    taken = page.evaluate(SCROLL, [steps, way.wheel])
    browser.stop_tracing()
    browser.close()
    events = json.loads(trace.read_text("utf-8"))["traceEvents"]
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    own = (e for e in events if e["name"] == "RunTask" and names.get((e["pid"], e["tid"])) == "CrRendererMain")
    return taken, sum(event.get("tdur", 0) for event in own) / 1000


if __name__ == "__main__":
    sys.exit(main())
