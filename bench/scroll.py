"""How smoothly a layer's page of very many units scrolls: bench/scroll.py [--units 10000] [--steps 80].

Makes up a layer, writes its page, opens it in a Chromium (as `make test-web` does) and flings from top to bottom in so
many steps, one a frame. Says how long a frame takes, and how long the page's own thread was at work in all.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

from pixelward.atlas import Atlas
from pixelward.web import content, links, pages
from web import made_up

FLING = """async (steps) => {
  const taken = [], high = document.documentElement.scrollHeight;
  let last = performance.now();
  for (let step = 1; step <= steps; step++) {
    scrollTo(0, (high * step) / steps);
    await new Promise(requestAnimationFrame);
    taken.push(performance.now() - last);
    last = performance.now();
  }
  return taken.sort((a, b) => a - b);
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=80)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pixelward-bench-") as work:
        page = written(Atlas.open(made_up(Path(work) / "atlas", given.units)), Path(work) / "site")
        scroll(page, given.steps, Path(work) / "trace.json")


def written(atlas: Atlas, site: Path) -> Path:
    """The page of the first layer, with its drawings and twin; says how long they took to make."""
    (record,) = atlas.layers
    began = time.process_time()
    page = content.layer_page(atlas, record)
    made = time.process_time()
    text, twin = pages.html(page), pages.twin(page)
    print(f"{record.channels} units: gathered in {made - began:.1f} s, written in {time.process_time() - made:.1f} s")
    print(f"page {len(text.encode()) / 1e6:.1f} MB, twin {len(twin.encode()) / 1e6:.1f} MB")
    file = site / links.layer(record.slug)
    shutil.copytree(atlas.path / "drawings" / record.slug, file.parent, copy_function=os.link)
    shutil.copytree(Path(pages.__file__).with_name("static"), site / "static")
    file.write_text(text, "utf-8")
    return file


def scroll(file: Path, steps: int, trace: Path) -> None:
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        page.set_default_timeout(120_000)
        page.goto(file.as_uri())
        nodes = page.evaluate("document.getElementsByTagName('*').length")
        browser.start_tracing(page=page, path=trace, categories=["disabled-by-default-devtools.timeline"])
        taken = page.evaluate(FLING, steps)
        browser.stop_tracing()
        browser.close()
    events = json.loads(trace.read_text("utf-8"))["traceEvents"]
    busy = sum(each.get("tdur", 0) for each in events if each["name"] == "RunTask") / 1e6
    print(
        f"{nodes} elements; frames p50 {taken[steps // 2]:.0f} ms, p95 {taken[int(0.95 * steps)]:.0f} ms; {busy:.1f} s"
    )


if __name__ == "__main__":
    main()
