"""The demo page as a client meets it: every endpoint answers, wrong input gets one sentence, and it stays at home."""

from __future__ import annotations

import json
import socket
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest

from clipapps.data.images import read_image, write_image
from clipapps.errors import UserError

pytest.importorskip("gradio", reason="the demo needs gradio")


TRAINING_FREE, ZERO_SHOT = "CLIP alone, training-free", "CLIP alone, zero-shot"
BUILTIN = "tiny-rn / builtin"
ENDPOINTS = {"/describe_backbone", "/fetch_backbone", "/classify", "/find", "/compare", "/segment", "/enhance",
             "/enhance_many", "/recognize", *(f"/{verb}_{project}" for verb in ("train", "stop_train")
                                              for project in ("pretrain", "backlit", "denseclip", "ila"))}


def test_every_tab_is_there_and_every_endpoint_has_a_name_and_words(client) -> None:
    from clipapps.demos.app import projects_with_a_tab

    tabs = {item["props"].get("id") for item in client.config["components"] if item["type"] == "tabitem"}
    assert {"playground", *projects_with_a_tab()} <= tabs and {"denseclip", "backlit", "ila"} <= tabs
    described = client.view_api(return_format="dict")
    assert set(described["named_endpoints"]) == ENDPOINTS and not described["unnamed_endpoints"]
    assert all(endpoint["description"] for endpoint in described["named_endpoints"].values())


def test_the_playground_names_what_it_draws(page, ask) -> None:
    scene = page.folder / "playground" / "scene0.png"
    answer, note = ask("/classify", scene, "star, tree, cup", "a picture of a {}.", "tiny-vit / builtin")
    assert note.startswith("tiny-vit")
    probabilities = {entry["label"]: entry["confidence"] for entry in answer["confidences"]}
    assert answer["label"] == "tree" and probabilities["tree"] > 0.6  # one tree is all that scene shows
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)


def test_words_are_found_where_they_are(page, ask) -> None:
    scene = page.folder / "playground" / "scene0.png"
    found, note = ask("/find", scene, "a tree", BUILTIN)
    heat = read_image(found).astype(float).mean(axis=2)
    assert heat.shape == read_image(scene).shape[:2] and heat.std() > 10 and "never saw" not in note
    _, note = ask("/find", scene, "a zebra", BUILTIN)
    assert "never saw: zebra." in note


def test_a_picture_is_most_like_itself(page, ask) -> None:
    scenes = [page.folder / "playground" / f"scene{number}.png" for number in (0, 1)]
    view, _, table = ask("/compare", scenes, "a tree, <b>bold</b>", BUILTIN)
    assert table["columns"] == ["picture 1", "picture 2", "a tree", "<b>bold</b>"]
    one, two = table["rows"]["picture 1"], table["rows"]["picture 2"]
    assert one[0] == two[1] == 1.0 and one[1] == two[0] < 0.99 and one[2] > two[2]
    assert "&lt;b&gt;bold" in view and "<b>" not in view


def test_segments_answer_with_classes_of_ones_own(page, ask) -> None:
    scene = page.folder / "denseclip" / "scene1.png"
    view, note, archive, facts = ask("/segment", scene, "star, moon river", TRAINING_FREE)
    assert facts["size"] == list(read_image(scene).shape[:2])
    assert {entry["name"] for entry in facts["classes"]} <= {"star", "moon river"}
    assert sum(entry["share"] for entry in facts["classes"]) == pytest.approx(1, abs=1e-3)
    assert view.count('class="layer"') == len(facts["classes"]) and "never saw" in note and "river" in note
    with zipfile.ZipFile(archive) as files:
        assert sorted(files.namelist()) == ["denseclip.json", "denseclip.png", "denseclip_mask.png"]


def test_every_model_of_a_list_answers(page, ask) -> None:
    from clipapps.web.tabs import shipped_models

    for endpoint, project, source, rest in (("/segment", "denseclip", "scene1.png", ()),
                                            ("/recognize", "ila", "moves_left.mp4", (2,))):
        for model in shipped_models(project):
            *_, facts = ask(endpoint, page.folder / project / source, "", model, *rest)
            assert facts["method"].startswith(model)


@pytest.mark.parametrize(("content", "words"), [
    (b"no picture at all", "This file is no image"), (b"", "empty"), (b"<html><script>1</script>", "no image")])
def test_a_wrong_upload_gets_one_sentence_without_paths(page, ask, tmp_path, content, words) -> None:
    (tmp_path / "evil.png").write_bytes(content)
    with pytest.raises(Exception, match=words) as caught:
        ask("/segment", tmp_path / "evil.png", "", TRAINING_FREE)
    said = str(caught.value)
    assert "Traceback" not in said and "/" not in said.replace("/segment", "") and len(said) < 200


def test_a_mistake_in_a_field_gets_one_sentence(page, ask) -> None:
    with pytest.raises(Exception, match="exactly once"):
        ask("/classify", page.folder / "playground" / "scene0.png", "star, tree", "a picture", BUILTIN)
    with pytest.raises(Exception, match="at least 2 names"):
        ask("/classify", page.folder / "playground" / "scene0.png", "star", "a {}", BUILTIN)


def test_files_of_the_machine_are_not_served(page, tmp_path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("between us")
    for path in (str(secret), "/etc/passwd", "../../../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "file:///etc/passwd",
                 str(Path(__file__)), "http://127.0.0.1:1/x"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{page.address}gradio_api/file={path}")
        assert caught.value.code in (403, 404)


def test_it_listens_at_home_and_tells_nobody(page) -> None:
    config = json.loads(urllib.request.urlopen(f"{page.address}config").read())
    assert page.address.startswith("http://127.0.0.1:") and not config["analytics_enabled"]
    port = int(page.address.rsplit(":", 1)[1].strip("/"))
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
    *_, facts = ask("/segment", tmp_path / "gray.png", "", TRAINING_FREE)
    assert facts["size"] == [40, 50]


def test_a_photo_comes_back_brighter_and_as_a_file(page, ask) -> None:
    source = page.folder / "backlit" / "coffee.png"
    (before, after), note, file = ask("/enhance", source, 1.0, 8.0, False, False)
    dark, bright = read_image(before).astype(float), read_image(after).astype(float)
    assert bright.mean() > 1.15 * dark.mean() and bright.shape == dark.shape
    assert Path(file).suffix == ".png" and read_image(file).shape == read_image(source).shape
    assert note.startswith("Mean luminance")


def test_strength_zero_leaves_a_photo_alone(page, ask) -> None:
    source = page.folder / "backlit" / "coffee.png"
    *_, file = ask("/enhance", source, 0.0, 8.0, False, False)
    assert np.array_equal(read_image(file), read_image(source))


def test_many_photos_are_one_archive_and_a_wrong_one_is_named(page, ask, tmp_path) -> None:
    small = read_image(page.folder / "backlit" / "coffee.png")[:64, :64]
    for name in ("a.png", "b.jpg"):
        write_image(tmp_path / name, small)
    (tmp_path / "c.png").write_text("no picture")
    gallery, note, archive = ask("/enhance_many", [tmp_path / "a.png", tmp_path / "b.jpg", tmp_path / "c.png"],
                                 1.0, 8.0, False, False)
    assert len(gallery) == 2 and note.startswith("2 photos enhanced. c.png is no image that is read here \\(JPEG")
    with zipfile.ZipFile(archive["value"] if isinstance(archive, dict) else archive) as files:
        assert files.namelist() == ["a.png", "b.jpg"] and files.testzip() is None
    with pytest.raises(Exception, match="c.png is no image"):
        ask("/enhance_many", [tmp_path / "c.png"], 1.0, 8.0, False, False)


def test_a_film_is_recognized_window_by_window(page, ask) -> None:
    best, strip, timeline, note, archive, facts = ask(
        "/recognize", page.folder / "ila" / "three_motions.mp4", "a boat, a <i>tree</i>", ZERO_SHOT, 2)
    assert {entry["label"] for entry in best["confidences"]} == {"a boat", "a <i>tree</i>"}
    assert [window["start"] for window in facts["windows"]] == [0.0, 2.0, 4.0]
    assert strip.count("<li>") == 8 and note.startswith("zero-shot")
    shown = timeline["value"] if isinstance(timeline, dict) else timeline
    assert "0-2 s" in shown and "&lt;i&gt;tree" in shown and "<i>" not in shown
    with zipfile.ZipFile(archive) as files:
        assert {Path(name).suffix for name in files.namelist()} == {".png", ".json", ".csv"}


def test_a_backbone_that_is_not_here_is_told_with_its_size_and_not_fetched(page, ask) -> None:
    words = ask("/describe_backbone", "ViT-B-32-quickgelu / openai")
    assert "about 605 MB" in words and "not on this machine" in words
    with pytest.raises(Exception, match="605 MB"):
        ask("/classify", page.folder / "playground" / "scene0.png", "star, tree", "a {}", "ViT-B-32-quickgelu / openai")
    assert ask("/describe_backbone", "tiny-vit / builtin") == "tiny-vit: 4 MB, on this machine."


@pytest.mark.parametrize("project", ["pretrain", "backlit", "denseclip", "ila"])
def test_a_training_starts_in_a_process_and_stops(client, project) -> None:
    from clipapps.web import tabs

    job = client.submit(api_name=f"/train_{project}")
    status, loss, metric, pictures = next(job)
    assert status.startswith("Starting")
    run, = tabs._running.values()
    assert run._process.poll() is None and run.config.startswith(f"{project}/")
    assert client.predict(api_name=f"/stop_train_{project}") == "Stopping."
    assert [status for status, *_ in job][-1].startswith("Stopped at step")
    assert run._process.poll() is not None and not tabs._running
