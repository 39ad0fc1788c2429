"""All pages of a made-up atlas, and of it beside itself. Test modules import the fixtures that they use."""

import pytest

from fake_atlas import fake_atlas, told
from pixelward.atlas import Atlas
from pixelward.details import read_details
from pixelward.likeness import Pairing
from pixelward.web import content, pages
from pixelward.web.beside import compare_layer_page, compare_page
from tags import Tags


@pytest.fixture(scope="module", name="atlas")
def atlas_once(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    """For a whole module, which must leave it as it is."""
    return fake_atlas(tmp_path_factory.mktemp("fake") / "atlas")


@pytest.fixture(scope="module", name="every")
def every_once(atlas: Atlas) -> dict[str, content.Page]:
    """All pages of the site, by path."""
    found: list[content.Page] = [content.index_page(atlas, ["Somebody <b>kind</b>, CC0"])]
    for record in atlas.layers:
        found.append(content.layer_page(atlas, record))
        found += [content.unit_page(atlas, record, channel) for channel in range(record.channels)]
    found += [content.picture_page(atlas, id) for id in atlas.hit_pictures()]
    for record, channel, hit in told(atlas):
        details = read_details(atlas, record, channel, hit)
        assert details is not None
        found.append(content.details_page(atlas, record, channel, details))
    pairing = Pairing(atlas, atlas)
    found += [compare_page(pairing), *(compare_layer_page(pairing, record) for record in atlas.layers)]
    return {page.path: page for page in found}


@pytest.fixture(scope="module", name="parsed")
def parsed_once(every: dict[str, content.Page]) -> dict[str, Tags]:
    return {path: Tags(pages.html(page)) for path, page in every.items()}
