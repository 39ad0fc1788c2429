"""Small parts of pages, each by itself: numbers and names in words, bars and ticks, outlines, rows of panels."""

from dataclasses import replace

import pytest

from fake_pages import atlas_once, every_once  # noqa: F401
from pixelward.atlas import Atlas
from pixelward.core.fields import Box
from pixelward.web import content, gather, links, pages
from pixelward.web.live.entries import MapEntry, MapsPanel
from tags import Tags


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.00"), (9.2, "9.20"), (31.04, "31.0"), (123.4, "123"), (12345.6, "12,346"), (0.0004, "4.00e-04")],
)
def test_numbers_have_three_digits(value: float, text: str):
    assert pages.number(value) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 0, "0 %"),
        (0, 9, "0 %"),
        (1, 9, "11 %"),
        (9, 9, "100 %"),
        (1, 10**6, "below 0.1 %"),
        (10**6 - 1, 10**6, "over 99.9 %"),
        (1, 16, "6.2 %"),
        (399, 400, "99.8 %"),
    ],
)
def test_shares_never_read_as_none_or_all_unless_they_are(part: int, whole: int, text: str):
    assert pages.share(part, whole) == text


@pytest.mark.parametrize(("value", "text"), [(-0.004, "0.00"), (-0.5, "−0.50"), (0.999, "1.00"), (0.0, "0.00")])
def test_correlations_have_a_sign_where_they_have_one(value: float, text: str):
    assert pages.signed(value) == text


def test_long_names_may_break_and_stay_escaped():
    assert str(pages.breakable("a.b_c/<i>.x & 0.5.")) == "a.<wbr>b_<wbr>c/&lt;i&gt;.<wbr>x &amp; 0.5."
    assert Tags(str(pages.breakable("a.b_c/<i>.x & 0.5."))).words == "a.b_c/<i>.x & 0.5."


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("r 0.908, fine 1.00e-05; 1,234.5 (0.1)", "r 0.908, fine 1.00e-05; 1,234.5 (0.1)"),
        ("-0.25 of layer1.0.conv2", "-0.25 of layer1.|0.|conv2"),
        ("0.1.conv", "0.|1.|conv"),
        ("features.10.2", "features.|10.|2"),
        ("v1.5", "v1.|5"),
    ],
)
def test_numbers_stay_whole_where_names_may_break(text: str, broken: str):
    assert str(pages.breakable(text)) == broken.replace("|", "<wbr>")


def test_entropy_is_none_without_labels_and_nothing_where_all_are_alike():
    assert gather.entropy(gather.counted_labels([None, None])) is None
    assert gather.entropy(gather.counted_labels(["a", "a", None])) == 0
    assert gather.entropy(gather.counted_labels(["a", "b", "c", "d"])) == 2
    assert [each.label for each in gather.counted_labels(["b", "a", "c", "c"])] == ["c", "a", "b"]


def test_bars_without_an_edge_are_named_by_the_other():
    histogram = content.Histogram((None, 2.0**-20, 2.0**20), (2.0**-20, 0.5, None), (1, 0, 2))
    assert [bar.title for bar in pages.bars(histogram)] == [
        "below 9.54e-07: 1 picture",
        "from 9.54e-07 to 0.500: 0 pictures",
        "from 1,048,576: 2 pictures",
    ]


@pytest.mark.parametrize(("value", "text"), [(-27, "−27"), (0, "0"), (4, "4"), ("-4.00e-04", "−4.00e-04")])
def test_numbers_have_a_real_minus(value: object, text: str):
    assert pages.minus(value) == text


def test_apostrophes_are_curly_and_quotes_stay():
    assert pages.curly("the paper's 'rule', units' maps") == "the paper’s 'rule', units' maps"


@pytest.mark.parametrize(
    ("highest", "texts"),
    [
        (0, ["0"]),
        (1, ["0", "1"]),
        (4, ["0", "1", "2", "3", "4"]),
        (5, ["0", "2", "4"]),
        (4999, ["0", "1,000", "2,000", "3,000", "4,000"]),
    ],
)
def test_gridlines_are_few_round_numbers_as_high_as_a_bar_of_so_many(highest: int, texts: list[str]):
    def heights(count: int) -> float:
        shown = pages.bars(content.Histogram((0.5, 1.0), (1.0, 2.0), (count, highest)))
        return shown[0].y

    lines = pages.gridlines(content.Histogram((0.5, 1.0), (1.0, 2.0), (0, highest)))
    assert [line.text for line in lines] == texts
    for line in lines[1:]:
        assert line.y == pytest.approx(heights(int(line.text.replace(",", ""))))


def test_ticks_stand_at_powers_of_two():
    edges = [2.0 ** (n / 2) for n in range(-2, 4)]
    histogram = content.Histogram(tuple(edges[:-1]), tuple(edges[1:]), (1, 1, 1, 1, 1))
    assert [(tick.x, tick.text) for tick in pages.ticks(histogram)] == [(0.0, "0.5"), (256.0, "1"), (512.0, "2")]


def test_frames_over_a_picture_never_add_up_to_more_than_a_few():
    assert pages.faintness(1) == pages.faintness(5) == 0.7
    assert all(0 < count * pages.faintness(count) <= 6 for count in (10, 100, 5000))


def test_surroundings_show_how_far_fields_leave_the_picture_up_to_a_quarter(every: dict[str, content.Page]):
    page = every["index.html"]
    assert isinstance(page, content.IndexPage)
    layer = page.layers[0]
    assert pages.surroundings([layer], (64, 64)) == (0, 0, 64, 64)
    for box, margin in (((-5, 0, 70, 64), 5), ((-1, 0, 75, 64), 10), ((-300, 0, 700, 64), 16)):
        wide = replace(layer, middle=Box(*box))
        assert pages.surroundings([layer, wide], (64, 64)) == (-margin, 0, 64 + 2 * margin, 64)


@pytest.mark.parametrize(
    ("box", "path"),
    [
        ((8, 4, 16, 20), "M0 0H64V48H0ZM4 8V24H24V8Z"),
        ((-8, -4, 16, 20), "M0 0H64V48H0ZM0 0V8H16V0Z"),
        ((40, 60, 16, 20), "M0 0H64V48H0ZM60 40V48H64V40Z"),
    ],
)
def test_what_lies_outside_a_field_is_shaded_inside_the_picture_only(box, path):
    assert pages.shade(Box(*box), (48, 64)) == path


@pytest.mark.parametrize("count", range(1, 60))
def test_panels_stand_in_rows_of_about_one_length(count: int):
    columns = pages.gallery_columns(count)
    rows = -(-count // columns)
    assert columns <= 9
    assert rows == -(-count // 9)
    assert columns == 1 or rows * (columns - 1) < count


@pytest.mark.parametrize(
    ("part", "said"),
    [(1 + 1e-7, "100 %"), (1 - 1e-7, "100 %"), (0.9991, "over 99.9 %"), (1.5, "150 %"), (None, "0.500")],
)
def test_shares_of_a_unit_s_strongest_are_told_as_far_as_float32_tells_them(
    atlas: Atlas, part: float | None, said: str
):
    layer = content.layer_page(atlas, atlas.layers[0]).layer
    entry = MapEntry(0, 0.5, (0, 0), part, links.unit("x", 0))
    panel = MapsPanel("live/t/x/maps.html", layer, "share", "map", False, "s", (1, 1), 1, (entry,), 0)
    assert f"<b>0</b> {said}</span>" in pages.filled("live/maps.html", panel)
