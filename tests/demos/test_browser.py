"""The demo page as a person meets it, in a real browser."""

from __future__ import annotations

import re
from urllib.parse import urlparse

import pytest

from clipapps.data.images import write_image

TABS = ("CLIP playground", "Backlit", "DenseCLIP", "ILA")
RUN = {"CLIP playground": "Name it", "Backlit": "Enhance", "DenseCLIP": "Segment", "ILA": "Recognize"}
SECONDS = 60_000  # milliseconds that anything may take on a busy machine


@pytest.fixture
def visit(browser, page):
    """`visit(tab)` opens the page at a tab; afterwards nothing may have gone wrong or left the machine."""
    opened, complaints = browser.new_page(), []
    opened.set_default_timeout(SECONDS)
    opened.on("console", lambda line: complaints.append(f"{line.text} {line.location.get('url')}")
              if line.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda request: complaints.append(request.url) if is_elsewhere(request.url) else None)

    def open_tab(tab: str, scheme: str = "light", width: int = 1280, height: int = 900):
        opened.emulate_media(color_scheme=scheme)
        opened.set_viewport_size({"width": width, "height": height})
        opened.goto(page.address)
        opened.locator("#tabs > .tab-wrapper [role=tab]", has_text=tab).click()
        panel(opened).get_by_text("Train it yourself").wait_for()
        return opened

    yield open_tab
    opened.close()
    assert complaints == []


def is_elsewhere(url: str) -> bool:
    parts = urlparse(url)
    return parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1"


def panel(opened):
    return opened.locator("#tabs > [role=tabpanel]").filter(visible=True)


ANSWERS = {"CLIP playground": ".block:has([data-testid=label-output-value])",
           "Backlit": "[data-testid=imageslider-image]", "DenseCLIP": ".answer .stage img", "ILA": ".answer .strip img"}


def answer_of(opened, tab: str) -> str:
    """Once it is there, what a tab shows as its answer: a text, or the address of a picture."""
    shown = panel(opened).locator(ANSWERS[tab]).filter(visible=True).last
    shown.wait_for()
    return shown.get_attribute("src") or shown.inner_text()


def wait_for_another(opened, tab: str, before: str) -> None:
    opened.wait_for_function(
        "([selector, before]) => [...document.querySelectorAll(`#tabs > [role=tabpanel] ${selector}`)].filter(part =>"
        " part.checkVisibility()).slice(-1).some(part => (part.src || part.innerText) !== before)",
        arg=[ANSWERS[tab], before])


def upload(opened, path) -> None:
    """Replaces the file in a tab's input."""
    field = panel(opened).locator(".input").filter(visible=True).first
    field.get_by_role("button", name=re.compile("Remove Image|Clear")).first.click()
    with opened.expect_response(lambda response: "/upload" in response.url):
        field.locator("input[type=file]").set_input_files(path)


@pytest.fixture(scope="module")
def own_files(tmp_path_factory):
    """A picture and a video of the user's own, and files that are neither."""
    from clipapps.data.video.writing import write_video
    from clipapps.toyworld import SceneSpec, render, sample_scene
    from clipapps.toyworld.motions import sample_motion

    folder = tmp_path_factory.mktemp("own")
    scene = sample_scene(99, 0, SceneSpec(min_objects=1, max_objects=1, group=0.0, backlit=0.0, dark=0.0))
    write_image(folder / "own.png", render(scene, 200).image)
    write_video(folder / "own.mp4", sample_motion(5, 0).frames(16, 96), fps=8)
    for name in ("wrong.png", "wrong.mp4"):
        (folder / name).write_text("neither a picture nor a film")
    return folder


@pytest.mark.parametrize("tab", TABS)
def test_a_tab_answers_at_once_and_examples_and_uploads(visit, own_files, tab) -> None:
    opened = visit(tab)
    first = answer_of(opened, tab)
    panel(opened).locator(".gallery-item").filter(visible=True).nth(2).click()
    wait_for_another(opened, tab, first)
    second, suffix = answer_of(opened, tab), "mp4" if tab == "ILA" else "png"

    upload(opened, own_files / f"own.{suffix}")
    run = panel(opened).get_by_role("button", name=RUN[tab], exact=True)
    run.click()
    wait_for_another(opened, tab, second)

    upload(opened, own_files / f"wrong.{suffix}")
    run.click()
    toast = opened.get_by_test_id("toast-body").filter(has_text="This file is no ")  # a player says so, too
    toast.wait_for()
    assert "/" not in toast.inner_text() and len(toast.inner_text()) < 250


def test_a_training_shows_itself_and_stops(visit) -> None:
    opened = visit("DenseCLIP")
    panel(opened).get_by_text("Train it yourself").click()
    assert "clipapps train denseclip/" in panel(opened).locator(".train .command textarea").input_value()
    panel(opened).get_by_role("button", name="Start training").click()
    panel(opened).locator(".train").get_by_text(re.compile(r"Step [1-9]")).wait_for(timeout=200_000)
    panel(opened).locator(".train .curve polyline").first.wait_for()
    panel(opened).get_by_role("button", name="Stop", exact=True).click()
    panel(opened).locator(".train").get_by_text(re.compile(r"Stopped at step \d+")).wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_every_tab_fits_and_can_be_read(visit, scheme) -> None:
    Axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe
    opened = visit(TABS[0], scheme, width=390, height=844)
    grounds = set()
    for tab in TABS:
        opened.locator("#tabs > .tab-wrapper [role=tab]", has_text=tab).click()
        panel(opened).get_by_text("Train it yourself").click()
        answer_of(opened, tab)
        width = opened.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, f"{tab} is {width} pixels wide"
        found = Axe().run(opened, options={"runOnly": ["color-contrast", "button-name", "label", "image-alt"]})
        assert found.violations_count == 0, f"{tab}: {found.generate_report()}"
        checked = next(rule for rule in found.response["passes"] if rule["id"] == "color-contrast")
        assert len(checked["nodes"]) > 15
        grounds.add(opened.evaluate("getComputedStyle(document.body).backgroundColor"))
        low = [button.inner_text() for button in panel(opened).locator("button.lg").filter(visible=True).all()
               if button.bounding_box()["height"] < 44]
        assert low == [], f"{tab}: too low for a finger"
    assert len(grounds) == 1 and (min(map(int, re.findall(r"\d+", grounds.pop())[:3])) > 200) == (scheme == "light")


def test_a_class_is_seen_alone_when_its_name_is_pressed(visit) -> None:
    opened = visit("DenseCLIP")
    answer_of(opened, "DenseCLIP")
    legend, masks = panel(opened).locator(".legend button"), panel(opened).locator(".stage .layer")
    assert legend.count() == masks.count() > 1
    legend.nth(1).click()
    assert [mask.is_visible() for mask in masks.all()] == [number == 1 for number in range(masks.count())]
    legend.nth(1).click()
    assert all(mask.is_visible() for mask in masks.all())
    panel(opened).locator(".opacity input").fill("0.1")
    assert float(masks.first.evaluate("mask => getComputedStyle(mask).opacity")) == pytest.approx(0.1, abs=0.01)


def test_many_photos_come_back_as_one_archive(visit, own_files, tmp_path) -> None:
    import zipfile

    opened = visit("Backlit")
    panel(opened).get_by_role("tab", name="Many photos").click()
    panel(opened).get_by_role("button", name="Enhance all").click()
    panel(opened).get_by_text("2 photos enhanced.").wait_for()
    with opened.expect_download() as download:
        panel(opened).get_by_role("button", name="Save all").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert sorted(archive.namelist()) == ["chelsea.png", "coffee.png"]


MARKUP = "<img src=x onerror=pwned=1>"


def test_names_and_errors_are_shown_as_text(visit) -> None:
    opened = visit("DenseCLIP")
    before = answer_of(opened, "DenseCLIP")
    panel(opened).get_by_label("Class names").fill(f"{MARKUP}, star")
    panel(opened).get_by_role("button", name="Segment", exact=True).click()
    wait_for_another(opened, "DenseCLIP", before)
    assert MARKUP in panel(opened).locator(".legend").inner_text()

    opened.locator("#tabs > .tab-wrapper [role=tab]", has_text="CLIP playground").click()
    panel(opened).get_by_label("Names").filter(visible=True).fill(f"{MARKUP} {'x1 ' * 23}, star")
    panel(opened).get_by_role("button", name="Name it", exact=True).click()
    toast = opened.get_by_test_id("toast-body")
    toast.wait_for()
    assert "tokens" in toast.inner_text() and MARKUP in toast.inner_text()
    assert opened.evaluate("window.pwned") is None and opened.locator("img[src=x]").count() == 0


def test_a_class_list_of_its_own_names_the_models_that_ship(visit) -> None:
    from clipapps.web.tabs import shipped_models

    for tab, project in (("DenseCLIP", "denseclip"), ("ILA", "ila")):
        opened = visit(tab)
        field = panel(opened).get_by_label("Model", exact=True)
        shipped = list(shipped_models(project))
        assert field.count() == bool(shipped)
        if shipped:
            field.click()
            options = opened.get_by_role("option").all_inner_texts()
            assert [name for name, option in zip(shipped, options, strict=False) if name in option] == shipped
