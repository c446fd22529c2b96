"""The demo page under attack, on loopback and in bounded numbers: files, types, names, texts, errors, defaults."""

from __future__ import annotations

import http.server
import json
import re
import struct
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
import zlib
from pathlib import Path

import numpy as np
import pytest

from clipapps.data.images import read_image, write_image

TRAINING_FREE = "CLIP alone, training-free"
SECRET = b"between us"
#: how the content of a file that is not the cache's is asked for
FORMS = ["{0}", "/{0}", "//{0}", "file://{0}", "file:{0}", "{1}", "./{1}", "%2e%2e/%2e%2e/{1}", "..%2f..%2f{1}",
         "..%252f..%252f{1}", "....//....//{1}", "..\\..\\{1}", "..%5c..%5c{1}", "{0}%00.png", "{0}?x=.png", "{0}#.png",
         "{2}/../../{1}", "{2}/x/../../{1}", "{2}%2f..%2f..%2f{1}", "http://127.0.0.1:1/{0}"]
#: names of what lies under the page, and ways of paths, none of which belongs on a page
INSIDES = re.compile(r"Traceback|File \"|\.py\b|/tmp|/home|/root|/usr|site-packages|gradio|torch|numpy|PIL\b|pydantic"
                     r"|ffmpeg|libav|decord|Errno|object at 0x", re.IGNORECASE)
EXECUTABLE = re.compile(r"html|javascript|svg|xml|python|wasm|shell", re.IGNORECASE)


def fetch(request: str | urllib.request.Request) -> tuple[int, dict[str, str], bytes]:
    """Status, headers in lower case, and body, also of an error."""
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, {name.lower(): value for name, value in error.headers.items()}, error.read()


def send(page, endpoint: str, data: list[object]) -> str:
    """What the API answers to raw data: the last event and its data, or the status of the refusal."""
    body = json.dumps({"data": data}).encode()
    status, _, answer = fetch(urllib.request.Request(f"{page.address}gradio_api/call{endpoint}", body,
                                                     {"Content-Type": "application/json"}))
    if status != 200:
        return f"{status} {answer.decode()}"
    return fetch(f"{page.address}gradio_api/call{endpoint}/{json.loads(answer)['event_id']}")[2].decode()


def upload(page, name: str, content: bytes) -> tuple[int, str]:
    """Status, and the place of a file in the cache, by a form as a browser sends it."""
    body = (b'--limit\r\nContent-Disposition: form-data; name="files"; filename="' + name.encode()
            + b'"\r\nContent-Type: application/octet-stream\r\n\r\n' + content + b"\r\n--limit--\r\n")
    status, _, answer = fetch(urllib.request.Request(f"{page.address}gradio_api/upload", body,
                                                     {"Content-Type": "multipart/form-data; boundary=limit"}))
    return status, json.loads(answer)[0] if status == 200 else ""


@pytest.fixture
def secret(tmp_path):
    file = tmp_path / "secret.txt"
    file.write_bytes(SECRET)
    return file


@pytest.mark.parametrize("form", FORMS)
def test_no_form_of_a_path_gets_a_foreign_file(page, secret, form) -> None:
    climbing = "../" * 12 + str(secret).lstrip("/")
    asked = form.format(secret, climbing, page.folder.parent)
    for route in ("gradio_api/file=", "gradio_api/stream/", "static/", "assets/", "custom_component/x/component/",
                  "gradio_api/proxy=", "theme.css/"):
        try:
            status, _, body = fetch(page.address + route + urllib.parse.quote(asked, safe="/%:.?#\\="))
        except (http.client.InvalidURL, ConnectionError):
            continue
        assert SECRET not in body and status != 200, f"{route} gave {status}"


def test_a_foreign_path_or_address_is_no_input(page, secret) -> None:
    hits = []

    class Inside(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hits.append(self.path)
            self.send_response(404)
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815 (the library's name)

    with http.server.HTTPServer(("127.0.0.1", 0), Inside) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        inside = f"http://127.0.0.1:{server.server_port}/x.png"
        for place in ({"path": str(secret)}, {"path": inside}, {"path": "x.png", "url": inside},
                      {"path": f"file://{secret}"}, {"path": f"../../{secret}"}, {"path": "/proc/self/environ"}):
            said = send(page, "/segment", [{**place, "meta": {"_type": "gradio.FileData"}}, "", TRAINING_FREE])
            assert said.startswith("event: error") and SECRET.decode() not in said and not INSIDES.search(said), said
        server.shutdown()
    assert hits == []


def png_header(width: int, height: int, body: bytes = b"") -> bytes:
    """A PNG that says it has these sides."""
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", body) + chunk(b"IEND", b""))


def picture_bombs() -> dict[str, bytes]:
    """Small files that say, or are, large pictures."""
    zeros = zlib.compress(b"\0" * 120_000_000, 9)
    tiff = struct.pack("<2sHIH", b"II", 42, 8, 4) + b"".join(
        struct.pack("<HHII", tag, 4, 1, value) for tag, value in ((256, 60_000), (257, 60_000), (258, 8), (273, 8)))
    return {
        "header.png": png_header(30_000, 30_000), "deflated.png": png_header(8_000, 5_000, zeros),
        "wide.png": png_header(24_000_001, 1), "overflow.png": png_header(2**31 - 1, 2**31 - 1),
        "screen.gif": b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + b"\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\0;",
        "large.bmp": b"BM" + struct.pack("<IHHIIiiHHIIIIII", 54, 0, 0, 54, 40, 50_000, 50_000, 1, 24, 0, 0, 0, 0, 0, 0),
        "large.ppm": b"P6 60000 60000 255\n" + b"\0" * 64, "large.tiff": tiff + struct.pack("<I", 0),
        "large.webp": b"RIFF\x2a\0\0\0WEBPVP8L\x1d\0\0\0\x2f" + struct.pack("<I", 16_382 | 16_382 << 14) + b"\0" * 25,
        "large.jpg": b"\xff\xd8\xff\xc0\0\x0b\x08\xff\xff\xff\xff\x01\x01\x11\0"
                     b"\xff\xda\0\x08\x01\x01\0\0\x3f\0\xff\xd9"}


def write_film_bombs(folder: Path) -> list[Path]:
    """Films with too many pixels, frames, or seconds."""
    from clipapps.data.video.writing import write_video

    black = {side: np.zeros((*side, 3), np.uint8) for side in ((2176, 4096), (1088, 1924), (32, 32))}
    for name, side, count, fps in (("4k", (2176, 4096), 2, 2), ("sides", (1088, 1924), 2, 2),
                                   ("long", (32, 32), 4, 0.05), ("frames", (32, 32), 301, 30),
                                   ("fast", (32, 32), 2_000, 1_000)):
        write_video(folder / f"{name}.mp4", [black[side]] * count, fps)
    return sorted(folder.glob("*.mp4"))


# In a process of its own, whose memory nothing else moves; prints seconds and MB of each refusal.
MEASURE = """
import json, sys, time
from pathlib import Path
import numpy as np
from clipapps.data.images import write_image
from clipapps.errors import BadSampleError
from clipapps.web import parts

def peak(kind):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(kind)) / 1024

folder = Path(sys.argv[1])
whole = folder / "whole.gif"
write_image(whole, np.zeros((8, 8, 3), np.uint8))
parts.picture(str(whole)), parts.video(str(whole))  # what is loaded once, and the process that decodes
for file in sorted(folder.glob("*.*")):
    if file == whole:
        continue
    Path("/proc/self/clear_refs").write_text("5")
    before, began = peak("VmRSS"), time.perf_counter()
    try:
        (parts.video if file.suffix == ".mp4" else parts.picture)(str(file))
        said = None
    except BadSampleError as error:
        said = str(error)
    print(json.dumps([file.name, round(time.perf_counter() - began, 3), round(peak("VmHWM") - before, 1), said]))
"""


@pytest.mark.slow
def test_bombs_are_refused_by_their_headers_within_little_memory(tmp_path) -> None:
    for name, content in picture_bombs().items():
        (tmp_path / name).write_bytes(content)
    write_film_bombs(tmp_path)
    ran = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True)
    refusals = [json.loads(line) for line in ran.stdout.splitlines()]
    print(ran.stdout)
    assert len(refusals) == 15
    for name, _, megabytes, said in refusals:
        assert said and "This file" in said or "This video" in said, name
        assert str(tmp_path) not in said and len(said) < 350
        assert megabytes < 50, f"{name} took {megabytes} MB"


def test_films_that_are_too_much_are_refused_before_they_are_decoded(tmp_path, monkeypatch) -> None:
    from clipapps.data.video import VideoReader
    from clipapps.errors import BadSampleError
    from clipapps.web import parts

    monkeypatch.setattr(VideoReader, "read", None)
    monkeypatch.setattr(VideoReader, "stream", None)
    reasons = ("4096 x 2176", "2,000 frames", "301 frames", "80.0 s", "1924 x 1088")
    for film, words in zip(write_film_bombs(tmp_path), reasons, strict=True):
        with pytest.raises(BadSampleError, match=words):
            parts.video(str(film))


def test_what_is_too_large_does_not_get_in(page) -> None:
    from clipapps.web.parts import MAX_UPLOAD_BYTES

    status, _ = upload(page, "large.png", b"\0" * (MAX_UPLOAD_BYTES + 1))
    assert status == 413


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>parent.pwned = 1</script></svg>'
HTML = b"<!doctype html><script>pwned = 1</script>"
WRONG = {"a.svg": SVG, "b.png": SVG, "c.html": HTML, "d.png": HTML, "e.py": b"print(1)", "f.jpg": b"print(1)",
         "g.gif": b"GIF89a/*" + HTML + b"*/=1;", "h.png": b"PK\x03\x04" + b"\0" * 99, "i.png": b"%PDF-1.7 " + HTML,
         "j.js": b"pwned = 1", "k.xhtml": HTML, "l.png": b"\x89PNG\r\n\x1a\n" + HTML,
         "m.mp4": b"\0\0\0\x18ftypisom" + HTML, "n.wasm": b"\0asm\1\0\0\0", "o.webp": b"RIFF\x40\0\0\0WEBP" + HTML}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_type_is_refused_by_content_and_never_served_to_run(page, name) -> None:
    status, place = upload(page, name, WRONG[name])
    assert status == 200
    status, headers, body = fetch(f"{page.address}gradio_api/file={urllib.parse.quote(place)}")
    if status == 200:
        runs = EXECUTABLE.search(headers.get("content-type", ""))
        assert not runs or headers.get("content-disposition", "").startswith("attachment"), headers
        assert body == WRONG[name]
    for endpoint, rest in (("/segment", ["", TRAINING_FREE]), ("/recognize", ["", "CLIP alone, zero-shot", 2])):
        said = send(page, endpoint, [{"path": place, "meta": {"_type": "gradio.FileData"}}, *rest])
        assert said.startswith("event: error") and "This file" in said and not INSIDES.search(said), said


def test_a_picture_with_a_page_behind_it_is_only_a_picture(page, tmp_path) -> None:
    write_image(tmp_path / "a.png", np.full((32, 32, 3), 90, np.uint8))
    _, place = upload(page, "both.png", (tmp_path / "a.png").read_bytes() + HTML)
    _, headers, _ = fetch(f"{page.address}gradio_api/file={urllib.parse.quote(place)}")
    assert headers["content-type"] == "image/png"
    said = send(page, "/enhance", [{"path": place, "meta": {"_type": "gradio.FileData"}}, 1, 8, False, False])
    assert said.startswith("event: complete")
    result = json.loads(said.partition("data: ")[2])[2]["path"]
    assert HTML not in Path(result).read_bytes() and read_image(result).shape == (32, 32, 3)


NAMES = ["n" * 300 + ".png", "../../../../tmp/up.png", "..", "/etc/cron.d/x.png", "CON.png", "nul", "a\tb\x01\x1f.png",
         "\u202egnp.exe", "\u200b\u2066.png", "<img src=x onerror=alert(1)>.png", "a;rm -rf ~;.png", "$(id).png",
         "\N{PILE OF POO}.png", "C:\\windows\\x.png", ".htaccess", "-rf", " ", "%2e%2e%2fx.png", "x.png/..",
         "con:stream.png"]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_strange_name_is_stored_inside_the_cache(page, name) -> None:
    import os

    status, place = upload(page, name, b"content")
    if status == 200:
        cache = Path(os.environ["GRADIO_TEMP_DIR"]).resolve()
        stored = Path(place)
        assert stored.resolve().is_relative_to(cache) and stored.read_bytes() == b"content"
        assert len(stored.name.encode()) < 256 and not any(ord(sign) < 32 for sign in stored.name)
    else:
        assert 400 <= status < 500


TEXTS = {"long": "x" * 100_000, "thousand": ", ".join(f"a{n}" for n in range(1_000)), "nul": "star\0, tree",
         "emoji": "\N{STEAMING BOWL}, \U0001f468\u200d\U0001f469\u200d\U0001f467", "template": "{}, {0}, {star}, %s",
         "markup": "<img src=x onerror='pwned=1'>, <script>pwned=1</script>", "right to left": "\u202estar\u202c, tree",
         "combining": "e" + "\u0301" * 90 + ", tree"}


@pytest.mark.parametrize("kind", TEXTS)
def test_a_strange_text_is_answered_or_refused_in_a_sentence(page, kind) -> None:
    scene = {"path": place_of(page, "playground", "scene0.png"), "meta": {"_type": "gradio.FileData"}}
    for endpoint, rest in (("/classify", ["a {}", "tiny-rn / builtin"]), ("/segment", [TRAINING_FREE])):
        said = send(page, endpoint, [scene, TEXTS[kind], *rest])
        if kind in ("long", "thousand"):
            assert said.startswith("event: error") and "at most" in said.lower() and len(said) < 300, said[:400]
        elif kind == "combining":
            assert said.startswith("event: error") and "tokens" in said and not INSIDES.search(said), said[:400]
        else:
            assert said.startswith("event: complete"), said[:400]
            view, *_ = json.loads(said.partition("data: ")[2])
            assert "<img src=x" not in str(view) and "<script" not in str(view) or endpoint == "/classify"  # bare names


def place_of(page, tab: str, name: str) -> str:
    """Where the cache has an example file."""
    return upload(page, name, (page.folder / tab / name).read_bytes())[1]


MALFORMED = [("/segment", []), ("/segment", [None, None, None]), ("/segment", [1, 2, 3]), ("/segment", [{}, "", "x"]),
             ("/segment", ["text", "", TRAINING_FREE]), ("/segment", [{"path": ""}, "", TRAINING_FREE]),
             ("/segment", [None, "", "no such model"]), ("/classify", [None, "a, b", "{}", "../x / y"]),
             ("/classify", [None, ["a"], {"b": 1}, 3]), ("/enhance", [None, "much", -5, "yes", None]),
             ("/enhance", [None, 1e308, float("inf"), False, False]), ("/enhance_many", [[], 1, 8, False, False]),
             ("/enhance_many", [[None] * 99, 1, 8, False, False]), ("/compare", ["x", 1, 2]),
             ("/recognize", [None, "", "CLIP alone, zero-shot", -1]), ("/compare", [None, "", "tiny-rn / builtin"]),
             ("/describe_backbone", ["a / b"]), ("/describe_backbone", [None]), ("/fetch_backbone", ["../../x"]),
             ("/no_such_endpoint", []), ("/stop_train_denseclip", [])]


@pytest.mark.parametrize(("endpoint", "data"), MALFORMED)
def test_no_error_shows_the_inside(page, endpoint, data) -> None:
    said = send(page, endpoint, data)
    assert not INSIDES.search(said), said
    assert len(said) < 700


def test_it_is_not_shared_not_analyzed_and_documented(page, client) -> None:
    config = json.loads(fetch(f"{page.address}config")[2])
    assert not config["analytics_enabled"] and not page.blocks.share and page.blocks.share_url is None
    assert page.address.startswith("http://127.0.0.1:") and not page.blocks.mcp_server and not page.blocks.show_error
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert endpoints and all(len(entry["description"]) > 20 for entry in endpoints.values())


def test_pages_from_elsewhere_cannot_read_it(page) -> None:
    for origin in ("http://evil.example", "null", "http://127.0.0.1.evil.example"):
        for method in ("GET", "OPTIONS"):
            _, headers, _ = fetch(urllib.request.Request(
                f"{page.address}config", method=method,
                headers={"Origin": origin, "Access-Control-Request-Method": "POST"}))
            assert headers.get("access-control-allow-origin") not in (origin, "*"), (origin, method)


def test_others_on_the_network_are_asked_for_a_password() -> None:
    from clipapps.cli.demo import is_loopback

    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.5", "10.0.0.1", "my-host")))
