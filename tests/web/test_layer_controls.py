"""The controls of a layer's page in a real browser, opened from disk: sorting, filtering, searching, addresses."""

import unicodedata
from pathlib import Path
from typing import Any

import pytest

from fake_atlas import SPECS, fake_atlas
from pixelward.web import content
from pixelward.web.export import export
from pixelward.words import share
from site_pages import LAYER, UNIT, shown, told
from watched import Watched

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("reversed_", [False, True])
@pytest.mark.parametrize("sort", ["index", "strength", "sparsity", "selectivity"])
def test_units_are_sorted_by(page: Any, layer: content.LayerPage, sort: str, reversed_: bool):
    keys = {
        "index": lambda unit: (unit.channel,),
        "strength": lambda unit: (-unit.maximum, unit.channel),
        "sparsity": lambda unit: (unit.positive, unit.channel),
        "selectivity": lambda unit: (unit.entropy, -len(unit.hits), unit.channel),
    }
    page.goto(page.at(LAYER))
    page.select_option("select[name=sort]", sort)
    page.set_checked("input[name=reversed]", reversed_)
    expected = [unit.channel for unit in sorted(layer.units, key=keys[sort], reverse=reversed_)]
    assert shown(page) == expected
    page.reload()
    assert shown(page) == expected
    assert page.locator("select[name=sort]").input_value() == sort


def test_units_are_filtered_by_label(page: Any, layer: content.LayerPage):
    page.goto(page.at(LAYER))
    assert told(page) == "40 units"
    for label in layer.labels:
        page.select_option("select[name=label]", label.label)
        expected = [unit.channel for unit in layer.units if label.label in {each.label for each in unit.labels}]
        assert shown(page) == expected
        assert told(page) == f"{len(expected)} of 40 units"
        assert not page.locator("#dead").is_visible()


def test_dead_and_living_units_are_told_apart(page: Any, layer: content.LayerPage):
    page.goto(page.at(LAYER))
    page.select_option("select[name=state]", "dead")
    assert shown(page) == []
    assert page.locator("#dead li:visible").all_inner_texts() == [str(unit.channel) for unit in layer.dead]
    assert told(page) == "3 of 40 units"
    page.select_option("select[name=state]", "alive")
    assert shown(page) == [unit.channel for unit in layer.units]
    assert not page.locator("#dead").is_visible()
    assert told(page) == "37 of 40 units"


def test_units_are_found_by_their_numbers(page: Any, layer: content.LayerPage):
    page.goto(page.at(LAYER))
    page.keyboard.press("/")
    page.keyboard.type("7, 30-32")
    assert shown(page) == [7, 30, 31, 32]
    page.fill("input[name=unit]", str(layer.dead[0].channel))
    assert shown(page) == []
    assert page.locator("#dead li:visible").count() == 1
    page.fill("input[name=unit]", "7")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{UNIT.format(7)}")


def test_units_are_found_by_names_and_labels_of_their_pictures(page: Any, layer: content.LayerPage):
    page.goto(page.at(LAYER))
    names = {hit.name for unit in layer.units for hit in unit.hits}
    labels = {hit.label for unit in layer.units for hit in unit.hits if hit.label}
    asked = [
        *sorted(names)[:4],
        *sorted(labels)[:2],
        next(f"{h.label}  {h.name}" for h in layer.units[0].hits if h.label),
    ]
    for text in asked:
        page.fill("input[name=unit]", text.upper())
        words = text.lower().split()
        expected = [
            unit.channel
            for unit in layer.units
            if any(all(word in f"{hit.name} {hit.label or ''}".lower() for word in words) for hit in unit.hits)
        ]
        assert shown(page) == expected, text
        assert len(expected) > 0
        assert not page.locator("#dead").is_visible()  # a dead unit has no picture
        assert told(page) == f"{len(expected)} of 40 units"
    page.fill("input[name=unit]", "no such picture")
    assert shown(page) == []
    page.reload()  # what is asked for stands in the address
    assert (page.input_value("input[name=unit]"), shown(page)) == ("no such picture", [])


@pytest.mark.parametrize("text", ["unit 7", "Unit 7", "units 7", "#7", "u7", "7", "7,", " 7 ; #7 "])
def test_a_number_can_be_written_in_many_ways(page: Any, text: str):
    page.goto(page.at(LAYER))
    page.fill("input[name=unit]", text)
    assert shown(page) == [7]
    page.fill("input[name=unit]", f"{text}-u8".replace(",-", "-").replace(" -", "-"))
    assert shown(page) == [7, 8]


def test_names_of_digits_and_names_with_marks_are_found(browser: Any, tmp_path: Path):
    names = ("2020/1234", "2020-12-31.jpg", unicodedata.normalize("NFD", "Müller 3.png"), "MÜLLER.png", "plain.png")
    atlas = fake_atlas(tmp_path / "atlas", [SPECS[0]._replace(channels=40, dead=3)], names=names, k=2)
    export(atlas, tmp_path / "site")
    page_of_layer = content.layer_page(atlas, atlas.layers[0])
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    watched = Watched(page, tmp_path.as_uri())
    page.goto(f"{tmp_path.as_uri()}/site/{LAYER}")
    bare = page.url

    def having(*some: str) -> list[int]:
        wanted = tuple(unicodedata.normalize("NFC", name) for name in some)
        held = {u.channel: [unicodedata.normalize("NFC", hit.name) for hit in u.hits] for u in page_of_layer.units}
        found = [channel for channel, names in held.items() if any(name.startswith(wanted) for name in names)]
        assert 0 < len(found) < 37
        return found

    for text, some in (
        ("1234", names[:1]),
        ("2020", names[:2]),
        ("2020-12-31", names[1:2]),
        ("müller", names[2:4]),
        ("Muller", names[2:4]),
        (unicodedata.normalize("NFD", "mÜller"), names[2:4]),
    ):
        page.fill("input[name=unit]", text)
        assert shown(page) == having(*some), text
    page.fill("input[name=unit]", "12, 2020")  # a unit has one of these numbers
    assert shown(page) == [12]
    page.fill("input[name=unit]", "")
    assert (len(shown(page)), page.url) == (37, bare)  # without a bare question mark
    assert watched.wrong == []
    context.close()


def test_where_nothing_is_found_one_line_says_what_to_do(page: Any):
    page.goto(page.at(LAYER))
    line = page.locator("#nothing")
    assert not line.is_visible()
    page.fill("input[name=unit]", "no such picture")
    assert "Clear the field" in line.inner_text()
    assert line.inner_text().endswith("words in their pictures’ names and labels.")
    page.fill("input[name=unit]", "")
    assert not line.is_visible()
    page.select_option("select[name=state]", "dead")
    assert not line.is_visible()
    page.select_option("select[name=label]", index=1)
    assert line.is_visible()


def test_an_address_that_asks_for_what_is_not_there_shows_all(page: Any, layer: content.LayerPage):
    page.goto(page.at(LAYER) + "?sort=beauty&label=unicorn&show=nothing&unit=%E2%80%93&odd=1")
    assert shown(page) == [unit.channel for unit in layer.units]
    assert page.locator("#units").get_attribute("data-show") == "both"


@pytest.mark.parametrize("name", ["length", "item", "namedItem", "controls", "__proto__", "told"])
def test_names_of_an_address_that_mean_nothing_change_nothing(page: Any, layer: content.LayerPage, name: str):
    page.goto(f"{page.at(LAYER)}?sort=strength&{name}=1")
    strongest = sorted(layer.units, key=lambda unit: (-unit.maximum, unit.channel))
    assert shown(page) == [unit.channel for unit in strongest]
    assert told(page) == "40 units"


@pytest.mark.parametrize("seen", [10_000, 4096, 800])
def test_shares_are_written_as_on_the_page_of_a_unit(page: Any, layer: content.LayerPage, seen: int):
    most = [0, 1, 5, seen // 8, seen // 3, seen // 2, seen - seen // 100, seen - 5, seen - 1, seen]
    parts = [*most, *(part for part in range(11, seen, seen // 25))][: len(layer.units)]
    page.add_init_script(
        "document.addEventListener('readystatechange', () => { if (document.readyState !== 'interactive') return;"
        f"document.getElementById('units').dataset.seen = {seen}; const parts = {parts};"
        "document.querySelectorAll('#units li').forEach((each, at) => each.dataset.positive = parts[at] ?? 0); });"
    )
    page.goto(f"{page.at(LAYER)}?sort=sparsity")
    texts = page.locator("#units h2 span").all_inner_texts()
    assert texts[-len(parts) :] == [share(part, seen) for part in sorted(parts)]
