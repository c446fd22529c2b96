"""Answers as HTML: complete in themselves, escaped, and true to the numbers."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from clipapps.web import views

MARKUP = "<img src=x onerror='pwned=1'>"


def elements(html: str) -> list[tuple[str, dict[str, str | None]]]:
    """(tag, attributes) of every element, in order."""
    found = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes) -> None:
            found.append((tag, dict(attributes)))

    Reader().feed(html)
    return found


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2])))


def test_a_layer_is_one_color_where_its_mask_is_and_nothing_elsewhere() -> None:
    mask = np.zeros((20, 30), bool)
    mask[5:10, 3:9] = True
    html = views.layers(np.zeros((20, 30, 3), np.uint8), [views.Layer("cup", (10, 200, 30), "4%", mask)])
    layer, = (attributes["src"] for tag, attributes in elements(html) if attributes.get("class") == "layer")
    painted = np.asarray(opened(layer).convert("RGBA"))
    assert painted.shape == (20, 30, 4)
    assert np.array_equal(painted[..., 3] == 255, mask) and set(np.unique(painted[..., 3])) == {0, 255}
    assert (painted[mask][:, :3] == (10, 200, 30)).all()


def test_large_pictures_shrink_with_their_layers() -> None:
    mask = np.zeros((1000, 2400), bool)
    mask[:, 1200:] = True
    html = views.layers(np.zeros((1000, 2400, 3), np.uint8), [views.Layer("cup", (1, 2, 3), mask=mask)])
    picture, layer = (opened(attributes["src"]) for tag, attributes in elements(html) if tag == "img")
    assert picture.size == layer.size == (960, 400) and len(html) < 20_000
    assert np.asarray(layer.convert("RGBA"))[..., 3].mean() == pytest.approx(127.5, abs=1)


def test_boxes_are_drawn_in_the_pixels_of_the_picture_and_belong_to_their_layer() -> None:
    html = views.layers(np.zeros((100, 200, 3), np.uint8),
                        [views.Layer("a", (1, 2, 3)), views.Layer("b", (255, 0, 0), boxes=[(10, 20, 60, 90, "b 0.9")])])
    (_, drawing), = (element for element in elements(html) if element[0] == "svg")
    (_, box), = (element for element in elements(html) if element[0] == "rect")
    assert drawing["viewbox"] == "0 0 200 100" and drawing["data-layer"] == "1"
    assert [float(box[side]) for side in ("x", "y", "width", "height")] == [10, 20, 50, 70]
    assert box["stroke"] == "#ff0000"


def test_nothing_found_is_said() -> None:
    html = views.layers(np.zeros((8, 8, 3), np.uint8), [], "No object above the score.")
    assert "No object above the score." in html and "<button" not in html and "range" not in html


def test_texts_are_never_markup() -> None:
    image, mask = np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), bool)
    for html in (views.layers(image, [views.Layer(MARKUP, (0, 0, 0), MARKUP, mask, [(0, 0, 4, 4, MARKUP)])], MARKUP),
                 views.layers(image, [], MARKUP), views.heat_table([(MARKUP, [0.5])], [MARKUP]),
                 views.heat_table([(MARKUP, [0.5])], [MARKUP], pictures=[image])):
        assert not any("onerror" in attributes or attributes.get("src") == "x" for _, attributes in elements(html))
        assert "&lt;img src=x" in html


def test_rings_lie_where_the_points_say() -> None:
    frames, points = np.zeros((3, 16, 16, 3), np.uint8), np.array([[-1, -1, 0, 0], [1, 1, 0.5, -0.5]], np.float32)
    html = views.film_strip(frames, (0.0, 0.5, 1.0), points)
    rings = [(float(ring["cx"]), float(ring["cy"]), ring["stroke"]) for tag, ring in elements(html)
             if tag == "circle" and ring["stroke"] != "#fff"]
    forward, backward = "#f97316", "#0ea5e9"
    assert rings == [(0, 0, forward), (100, 100, forward), (50, 50, backward), (75, 25, backward)]
    assert re.findall(r"<small>(.*?)</small>", html) == ["0.0 s", "0.5 s", "1.0 s"]
    assert "circle" not in views.film_strip(frames, (0.0, 0.5, 1.0))


def test_a_table_has_a_bar_for_each_number_and_marks_the_largest_of_a_column() -> None:
    html = views.heat_table([("a", [0.25, -0.5]), ("b", [0.5, 2.0])], ["x", "y"])
    cells = [attributes for tag, attributes in elements(html) if tag == "td"]
    assert [cell["style"] for cell in cells] == [f"--share:{share}" for share in ("0.250", "0.000", "0.500", "1.000")]
    assert [cell.get("class") for cell in cells] == [None, None, "best", "best"]
    assert "50 %" in views.heat_table([("a", [0.5])], ["x"], percent=True)


@pytest.mark.parametrize("side", [64, 4000])
def test_pictures_in_answers_have_a_bound(side) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (side, 40, 3), np.uint8)
    assert max(opened(views.picture_uri(noise, 100)).size) == min(side, 100)


def test_curves_lie_in_their_ranges_and_leave_out_what_is_not_finite() -> None:
    html = views.curves("loss", {"a": ([10, 20, 30], [4.0, float("nan"), 2.0]), MARKUP: ([20], [3.0])})
    lines = [[tuple(map(float, place.split(","))) for place in attributes["points"].split()]
             for tag, attributes in elements(html) if tag == "polyline"]
    left, top, width, height = views._PLOT
    assert lines == [[(left, top), (left + width, top + height)], [(left + width / 2, top + height / 2)]]
    assert "a 2</span>" in html and "step 30" in html and "&lt;img" in html and "<img" not in html
