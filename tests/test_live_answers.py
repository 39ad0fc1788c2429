"""Pictures of one's own, tried in the server: the answers are the network's."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from torch import nn

import pixelward as pw
from live_atlas import LAYERS, PREPROCESS, SIZE, network
from live_served import (  # noqa: F401
    HOME,
    JSON,
    OURS,
    PIECE,
    ask,
    atlas_once,
    encoded,
    photo,
    prepared,
    refusal,
    send,
    served_once,
    slug_of,
    token_of,
    tried,
)
from pixelward.atlas import Atlas
from pixelward.core.layers import Layer, observe
from pixelward.pictures import GREY, crop, fit, signal_to_picture, view_box
from pixelward.projection import Projection
from pixelward.web import links
from pixelward.web.live import maps, panels
from pixelward.web.serve import app


def values_of(data: bytes, address: str) -> np.ndarray:
    """A layer's values, by calling the modules."""
    net = network()
    x = net.relu(net.conv1(prepared(data)[None]))
    x = x if address == "conv1:relu" else net.conv2(net.pool(x))
    return (net.fc(net.flat(x)) if address == "fc" else x)[0].detach().numpy()


def test_classes_are_the_softmax_of_the_output(served: TestClient):
    data = encoded(photo(seed=5))
    panel = tried(served, data)
    expected = torch.tensor(values_of(data, "fc")).softmax(0)
    assert panel["classes"] == 3
    assert [guess["index"] for guess in panel["guesses"]] == expected.argsort(descending=True).tolist()
    np.testing.assert_allclose([g["share"] for g in panel["guesses"]], expected.sort(descending=True)[0], rtol=1e-5)
    assert {guess["name"] for guess in panel["guesses"]} == {None}


class Ends(nn.Module):
    """The same network with another end."""

    def __init__(self, end: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.inner, self.end, self.preprocess = network(), end, PREPROCESS

    def forward(self, x: torch.Tensor) -> Any:
        return self.end(self.inner(x))


@pytest.mark.parametrize("end", [lambda y: y[:, :, None, None], lambda y: (y, y), lambda y: y[:, :1]])
def test_classes_are_left_out_where_the_output_is_none_of_them(end: Callable[..., Any], tmp_path: Path):
    net = Ends(end).eval()
    (tmp_path / "one").mkdir()
    photo().save(tmp_path / "one" / "a.png")
    atlas = pw.scan(net, tmp_path / "one", tmp_path / "atlas", layers=["inner.conv1:relu"], note=print)
    panel = tried(TestClient(app(atlas.path, model=net), base_url=HOME))
    assert (panel["classes"], panel["guesses"]) == (0, None)


def test_probabilities_are_not_made_into_others_and_names_are_told(tmp_path: Path):
    net = Ends(lambda y: y.softmax(1)).eval()
    net.classes = ("cat", "dog", "<b>")
    (tmp_path / "one").mkdir()
    photo().save(tmp_path / "one" / "a.png")
    atlas = pw.scan(net, tmp_path / "one", tmp_path / "atlas", layers=["inner.conv1:relu"], note=print)
    client, data = TestClient(app(atlas.path, model=net), base_url=HOME), encoded(photo(seed=5))
    panel = tried(client, data)
    expected = torch.tensor(values_of(data, "fc")).softmax(0)
    assert [g["name"] for g in panel["guesses"]] == [net.classes[n] for n in expected.argsort(descending=True)]
    np.testing.assert_allclose([g["share"] for g in panel["guesses"]], expected.sort(descending=True)[0], rtol=1e-5)
    assert "&lt;b&gt;" in send(client, data, headers=OURS).text


def test_the_picture_is_shown_as_the_network_takes_it(served: TestClient):
    data = encoded(photo(70, 40))
    panel = tried(served, data)
    assert (panel["width"], panel["height"], panel["size"]) == (70, 40, [SIZE, SIZE])
    shown = Image.open(io.BytesIO(served.get(f"/{panel['image']}").content))
    values = np.asarray(shown.convert("RGB")).transpose(2, 0, 1) / 255
    np.testing.assert_allclose((values - 0.5) / 0.25, prepared(data).numpy(), atol=1e-5)


@pytest.mark.parametrize("address", LAYERS)
def test_feature_maps_are_the_networks_values(served: TestClient, atlas: Atlas, address: str):
    data = encoded(photo(seed=3))
    token = token_of(tried(served, data))
    expected = values_of(data, address)
    flat = expected.reshape(len(expected), -1)
    panel = ask(served, f"{links.maps(token, slug_of(atlas, address))}&order=number")
    np.testing.assert_allclose([each["value"] for each in panel["maps"]], flat.max(1), rtol=1e-5, atol=1e-6)
    for each in panel["maps"]:
        assert expected[(each["channel"], *each["position"])] == flat[each["channel"]].max()
    for channel in range(len(expected)):
        unit = ask(served, links.tried_unit(token, slug_of(atlas, address), channel))
        np.testing.assert_allclose(np.ravel(unit["map"]), flat[channel], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", ["map", "layer"])
@pytest.mark.parametrize("address", LAYERS)
def test_maps_on_the_sheet_are_the_values_in_grey(served: TestClient, atlas: Atlas, address: str, scale: str):
    data = encoded(photo(seed=3))
    token = token_of(tried(served, data))
    panel = ask(served, f"{links.maps(token, slug_of(atlas, address))}&scale={scale}")
    sheet = np.asarray(Image.open(io.BytesIO(served.get(f"/{panel['sheet']}").content)).convert("L")).astype(int)
    values = values_of(data, address).reshape(-1, *panel["cell"])
    assert panel["signed"] == (values.min() < 0)
    assert panel["scale"] == ("layer" if address == "fc" else scale)
    for channel, one in enumerate(values):
        row, column = divmod(channel, panel["columns"])
        top, left = row * (panel["cell"][0] + 1), column * (panel["cell"][1] + 1)
        shown = sheet[top : top + one.shape[0], left : left + one.shape[1]]
        most = np.abs(one if panel["scale"] == "map" else values).max()
        expected = GREY + 127 * one / most if panel["signed"] else 255 * one / most
        assert np.abs(shown - expected).max() <= 1


def test_a_map_of_zeros_is_black_and_large_ones_are_reduced():
    assert maps.grey(np.zeros((2, 3, 3), np.float32), "map").max() == 0
    assert maps.cell_of(224, 112) == (112, 56)
    ones = np.ones((5, 224, 112), np.float32)
    assert Image.open(io.BytesIO(maps.sheet(ones, "layer"))).size == (4 * 57, 2 * 113)


@pytest.mark.parametrize("order", ["share", "value", "number"])
def test_maps_are_sorted_as_asked(served: TestClient, atlas: Atlas, order: str):
    token = token_of(tried(served))
    record = atlas.layer("conv1:relu")
    found = ask(served, f"{links.maps(token, record.slug)}&order={order}")["maps"]
    most = atlas.stats(record).maximum
    keys = {"number": lambda each: each["channel"], "value": lambda each: -each["value"]}
    keys["share"] = lambda each: -each["value"] / float(most[each["channel"]])
    assert found == sorted(found, key=keys[order])
    for each in found:
        assert each["share"] == pytest.approx(each["value"] / float(most[each["channel"]]))


@pytest.mark.parametrize(
    ("address", "place"), [(LAYERS[0], None), (LAYERS[0], (3, 9)), (LAYERS[1], (7, 0)), ("fc", None)]
)
def test_a_projection_is_the_one_that_project_gives(
    served: TestClient, atlas: Atlas, address: str, place: tuple[int, int] | None
):
    data = encoded(photo(seed=8))
    token, slug = token_of(tried(served, data)), slug_of(atlas, address)
    expected = pw.project(network(), prepared(data), layer=address, channel=1, position=place)
    panel = ask(served, links.tried_unit(token, slug, 1, place or ()))
    assert panel["value"] == expected.value
    assert tuple(panel["position"]) == expected.position
    assert (panel["field"], panel["reach"]) == (list(expected.field), list(expected.reach))
    assert panel["best"] == (place is None)
    shown = Image.open(io.BytesIO(served.get(f"/{panel['projection']}").content)).convert("RGB")
    assert np.array_equal(np.asarray(shown), drawn(expected))


def drawn(expected: Projection) -> np.ndarray:
    """A projection as the atlas's tiles show one."""
    picture = signal_to_picture(expected.signal.numpy(), "RGB", expected.shown).picture
    return np.asarray(fit(crop(picture, view_box(expected.shown, SIZE, SIZE)), 224))


def test_a_unit_stands_beside_its_hits_in_the_atlas(served: TestClient, atlas: Atlas):
    token, record = token_of(tried(served)), atlas.layer("conv1:relu")
    panel = ask(served, links.tried_unit(token, record.slug, 2))
    hits = atlas["conv1:relu"][2].hits
    assert [hit["value"] for hit in panel["unit"]["hits"]] == [hit.value for hit in hits]
    assert panel["rank"] == sum(hit.value > panel["value"] for hit in hits)
    text = served.get(f"/{links.tried_unit(token, record.slug, 2)}", headers=PIECE).text
    assert f'href="{links.unit(record.slug, 2)}"' in text
    assert f'src="{links.sheet(record.slug, 2, "projections")}"' in text
    assert "A sharp picture is no proof" in text


@pytest.mark.parametrize("id", [0, 3])
def test_a_picture_of_the_atlas_has_the_values_of_the_scan(served: TestClient, atlas: Atlas, id: int):
    panel = served.post(f"/{links.try_picture(id)}", headers=JSON).json()
    assert panel["name"] == f"{id} <b>.png"
    found = 0
    for number, channel, rank in atlas.hits_of_picture(id):
        record = atlas.layers[number]
        unit = ask(served, links.tried_unit(token_of(panel), record.slug, channel))
        assert unit["value"] == pytest.approx(float(atlas.units(record).value[channel, rank]), rel=1e-5, abs=1e-6)
        found += 1
    assert found


def test_a_picture_whose_file_is_gone_is_tried_by_its_small_copy(atlas: Atlas, tmp_path: Path):
    home = shutil.copytree(atlas.path.parent, tmp_path / "moved")
    record = json.loads((home / "atlas" / "atlas.json").read_text())
    record["sources"][0]["path"] = str(tmp_path / "nowhere")
    (home / "atlas" / "atlas.json").write_text(json.dumps(record))
    panel = (
        TestClient(app(home / "atlas", model=network()), base_url=HOME).post("/live/pictures/0", headers=JSON).json()
    )
    assert "small copy" in " ".join(panel["notes"])


def test_a_layer_that_cannot_be_projected_is_told_as_such(tmp_path: Path):
    class Obstacle(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.exp(x)

    net = nn.Sequential(nn.Conv2d(3, 4, 3), Obstacle(), nn.Conv2d(4, 2, 3)).eval()
    net.preprocess = PREPROCESS
    (tmp_path / "one").mkdir()
    photo().save(tmp_path / "one" / "a.png")
    atlas = pw.scan(net, tmp_path / "one", tmp_path / "atlas", layers=["0", "2"], note=print)
    client = TestClient(app(atlas.path, model=net), base_url=HOME)
    if [record.address for record in atlas.layers] != ["0", "2"]:
        pytest.skip("a scan leaves it out")
    token = token_of(tried(client))
    answer = client.get(f"/{links.tried_unit(token, atlas.layers[1].slug, 0)}", headers={"accept": "application/json"})
    assert "exp" in refusal(answer, 422)


def test_a_layers_maps_are_computed_once_for_all_that_is_looked_at_in_them(
    served: TestClient, atlas: Atlas, monkeypatch: pytest.MonkeyPatch
):
    passes: list[str] = []

    def counted(net: nn.Module, batch: torch.Tensor, layers: list[Layer], see: Callable[..., None]) -> None:
        passes.extend(layer.address for layer in layers)
        observe(net, batch, layers, see)

    monkeypatch.setattr(panels, "observe", counted)
    token, (one, other) = token_of(tried(served)), LAYERS[:2]
    for address in (one, other, one):
        slug = slug_of(atlas, address)
        ask(served, links.maps(token, slug))
        for channel in (0, 1):
            ask(served, links.tried_unit(token, slug, channel))
    assert passes == [one, other, one]


def test_one_hit_is_spoken_of_as_one(atlas: Atlas, tmp_path: Path):
    net = network()
    one = pw.scan(net, atlas.path.parent / "pictures", tmp_path / "one", layers=["conv1:relu"], k=1, note=print)
    with TestClient(app(one.path, model=net), base_url=HOME) as client:
        token = tried(client, encoded(Image.new("RGB", (SIZE, SIZE), "gray")))["path"].split("/")[1]
        units = [f"/{links.tried_unit(token, one.layers[0].slug, channel)}" for channel in range(4)]
        ranks = [client.get(each, headers=JSON).json()["rank"] for each in units]
        texts = [client.get(each, headers=PIECE).text for each in units]
    assert 1 in ranks
    assert ["below its best hit." in text for text in texts] == [rank == 1 for rank in ranks]
    assert all("1 best hits" not in text for text in texts)
