"""The demo page as a client meets it: every endpoint answers, wrong input gets one sentence, and it stays at home."""

from __future__ import annotations

import json
import socket
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from clipapps.data.images import read_image, write_image
from clipapps.errors import UserError

pytest.importorskip("gradio", reason="the demo needs gradio")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """(client, address, folder with the example pictures) of a page that is being served."""
    from gradio_client import Client

    from clipapps.demos import app

    folder = tmp_path_factory.mktemp("page")
    blocks = app.build(folder).queue(default_concurrency_limit=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "build", lambda *_: blocks)
        _, address, _ = app.launch(prevent_thread_lock=True)
    client = Client(address, verbose=False)
    yield client, address, folder
    client.close()
    blocks.close(verbose=False)


@pytest.fixture(scope="module")
def ask(page):
    from gradio_client import handle_file

    def send(endpoint: str, *inputs: object):
        return page[0].predict(*(handle_file(item) if isinstance(item, Path) else item for item in inputs),
                               api_name=endpoint)

    return send


def test_every_tab_is_there_and_named_endpoints_alone(page) -> None:
    from clipapps.demos.app import projects_with_a_tab

    config = page[0].config
    tabs = {item["props"].get("id") for item in config["components"] if item["type"] == "tabitem"}
    assert {"playground", *projects_with_a_tab()} <= tabs and "denseclip" in tabs
    assert {"/classify", "/find", "/compare", "/segment", "/train_denseclip"} <= set(
        page[0].view_api(return_format="dict")["named_endpoints"])


def test_the_playground_names_what_it_draws(page, ask) -> None:
    scene = page[2] / "playground" / "scene0.png"
    answer = ask("/classify", scene, "star, tree, cup", "a picture of a {}.")
    probabilities = {entry["label"]: entry["confidence"] for entry in answer["confidences"]}
    assert answer["label"] == "tree" and probabilities["tree"] > 0.9  # one tree is all that scene shows
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)


def test_words_are_found_where_they_are(page, ask) -> None:
    scene = page[2] / "playground" / "scene0.png"
    heat = read_image(ask("/find", scene, "a tree")).astype(float).mean(axis=2)
    assert heat.shape == read_image(scene).shape[:2] and heat.std() > 10


def test_a_picture_is_most_like_itself(page, ask) -> None:
    scenes = [page[2] / "playground" / f"scene{number}.png" for number in (0, 1)]
    from gradio_client import handle_file

    table = ask("/compare", [handle_file(scene) for scene in scenes], "a tree")
    assert table["headers"] == ["", "picture 1", "picture 2", "a tree"]
    rows = [[float(value) for value in row[1:]] for row in table["data"]]
    assert rows[0][0] == rows[1][1] == 1.0 and rows[0][1] == rows[1][0] < 0.99


def test_segments_answer_with_classes_of_ones_own(page, ask) -> None:
    scene = page[2] / "denseclip" / "scene1.png"
    painted, regions, table, note = ask("/segment", scene, "star, moon river", 0.5)
    assert read_image(painted).shape == read_image(scene).shape
    assert {entry["label"] for entry in regions["annotations"]} <= {"star", "moon river"}
    assert sum(int(row[1].rstrip("%")) for row in table["data"]) == pytest.approx(100, abs=1)
    assert "never saw: river" in note or "never saw: moon, river" in note


@pytest.mark.parametrize(("content", "words"), [
    (b"no picture at all", "This file is no image"), (b"", "empty"), (b"<html><script>1</script>", "no image")])
def test_a_wrong_upload_gets_one_sentence_without_paths(page, ask, tmp_path, content, words) -> None:
    (tmp_path / "evil.png").write_bytes(content)
    with pytest.raises(Exception, match=words) as caught:
        ask("/segment", tmp_path / "evil.png", "", 0.5)
    said = str(caught.value)
    assert "Traceback" not in said and "/" not in said.replace("/segment", "") and len(said) < 200


def test_a_mistake_in_a_field_gets_one_sentence(page, ask) -> None:
    with pytest.raises(Exception, match="exactly once"):
        ask("/classify", page[2] / "playground" / "scene0.png", "star, tree", "a picture")
    with pytest.raises(Exception, match="at least 2 names"):
        ask("/classify", page[2] / "playground" / "scene0.png", "star", "a {}")


def test_files_of_the_machine_are_not_served(page, tmp_path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("between us")
    for path in (str(secret), "/etc/passwd", "../../../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "file:///etc/passwd",
                 str(Path(__file__)), "http://127.0.0.1:1/x"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{page[1]}gradio_api/file={path}")
        assert caught.value.code in (403, 404)


def test_it_listens_at_home_and_tells_nobody(page) -> None:
    config = json.loads(urllib.request.urlopen(f"{page[1]}config").read())
    assert page[1].startswith("http://127.0.0.1:") and not config["analytics_enabled"]
    port = int(page[1].rsplit(":", 1)[1].strip("/"))
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for address in others:
        with socket.socket() as connection:
            connection.settimeout(1)
            assert connection.connect_ex((address, port)) != 0


def test_a_project_without_a_tab_is_refused(tmp_path) -> None:
    from clipapps.demos.app import build

    with pytest.raises(UserError, match=r"no demo of 'denseclp'.*denseclip"):
        build(tmp_path, "denseclp")


def test_a_gray_picture_is_taken(ask, tmp_path) -> None:
    write_image(tmp_path / "gray.png", np.full((40, 50), 90, np.uint8))
    painted, *_ = ask("/segment", tmp_path / "gray.png", "", 0.5)
    assert read_image(painted).shape == (40, 50, 3)


def test_a_photo_comes_back_brighter_and_as_a_file(page, ask) -> None:
    source = page[2] / "backlit" / "coffee.png"
    (before, after), file, note = ask("/enhance", source, 1.0, 8.0, False)
    dark, bright = read_image(before).astype(float), read_image(after).astype(float)
    assert bright.mean() > 1.15 * dark.mean() and bright.shape == dark.shape
    assert Path(file).suffix == ".png" and read_image(file).shape == read_image(source).shape
    assert note.startswith("Mean luminance")


def test_strength_zero_leaves_a_photo_alone(page, ask) -> None:
    source = page[2] / "backlit" / "coffee.png"
    _, file, _ = ask("/enhance", source, 0.0, 8.0, False)
    assert np.array_equal(read_image(file), read_image(source))
