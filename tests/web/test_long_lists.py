"""Layers of very many units in a real browser: what is far from the window waits."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from fake_atlas import SPECS, fake_atlas
from pixelward.web import content, pages
from pixelward.web.export import export
from site_pages import LAYER, shown
from watched import FILLED, Watched

pytestmark = pytest.mark.browser


def test_lists_far_away_wait_and_keep_their_heights(browser: Any, tmp_path: Path):
    many = fake_atlas(tmp_path / "atlas", [SPECS[0]._replace(channels=600, dead=0)], k=1)
    export(many, tmp_path / "site")
    asked = []
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    opened = context.new_page()
    watched = Watched(opened, tmp_path.as_uri())
    opened.on("request", lambda sent: asked.append(sent.url))
    opened.goto(f"{tmp_path.as_uri()}/site/layers/000-conv1-relu/index.html")
    assert opened.locator("#units ol").count() == 5
    height = opened.evaluate("document.documentElement.scrollHeight")
    last = "/599.projections.webp"
    assert not [url for url in asked if url.endswith(last)]
    with opened.expect_request(f"**{last}"):
        opened.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    for top in range(0, height, 700):
        opened.evaluate(f"new Promise((done) => (scrollTo(0, {top}), requestAnimationFrame(done)))")
    assert abs(opened.evaluate("document.documentElement.scrollHeight") - height) <= 2
    opened.set_viewport_size({"width": 1000, "height": 900})
    opened.wait_for_function(
        "() => { const [one, ...rest] = document.getElementById('units').children; "
        "const columns = getComputedStyle(one).gridTemplateColumns.split(' ').length; "
        "return rest.length && one.childElementCount % columns === 0; }"
    )
    assert watched.wrong == []
    context.close()


def test_of_very_many_units_only_those_near_the_window_are_in_the_page(browser: Any, tmp_path: Path):
    many = fake_atlas(tmp_path / "atlas", [SPECS[0]._replace(channels=3000, dead=0)], k=1, drawn=False)
    path = tmp_path / LAYER
    path.parent.mkdir(parents=True)
    path.write_text(pages.html(content.layer_page(many, many.layers[0])), "utf-8")
    shutil.copytree(Path(pages.__file__).with_name("static"), tmp_path / "static")
    context = browser.new_context(viewport={"width": 390, "height": 844})
    opened = context.new_page()
    watched = Watched(opened, tmp_path.as_uri())
    opened.goto(path.as_uri())
    opened.wait_for_function("document.querySelectorAll('#units li').length < 1500")
    height = opened.evaluate("document.documentElement.scrollHeight")
    for top in range(0, height, 2000):
        opened.evaluate(f"new Promise((done) => (scrollTo(0, {top}), requestAnimationFrame(done)))")
        assert opened.evaluate(FILLED)
    assert abs(opened.evaluate("document.documentElement.scrollHeight") - height) <= 2
    opened.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    opened.wait_for_selector("#u2999 h2")
    opened.goto(f"{path.as_uri()}?sort=strength#u1500")
    opened.wait_for_selector("#u1500 h2")
    box = opened.locator("#u1500").bounding_box()
    assert 0 <= box["y"] <= 844
    opened.fill("input[name=unit]", "2000-2004")
    assert shown(opened) == sorted(range(2000, 2005), key=lambda each: -many.stats(many.layers[0]).maximum[each])
    assert watched.wrong == []
    context.close()
