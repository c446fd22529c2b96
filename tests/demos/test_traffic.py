"""The demo as a process of its own, `clipapps demo`, under many users and under users that leave in the middle."""

from __future__ import annotations

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

HOST = "127.0.0.2"  # this machine alone, and told from what other tests serve
SECONDS = 180.0  # after which a request counts as lost


@dataclass
class Server:
    """A running `clipapps demo`."""

    pid: int
    port: int
    files: dict[str, dict[str, object]] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
            ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=SECONDS)
        connection.request(method, f"/gradio_api/{path}", body, {"Content-Type": kind} if body is not None else {})
        return connection, connection.getresponse()

    def upload(self, name: str, content: bytes) -> None:
        body = (b'--limit\r\nContent-Disposition: form-data; name="files"; filename="' + name.encode()
                + b'"\r\nContent-Type: application/octet-stream\r\n\r\n' + content + b"\r\n--limit--\r\n")
        connection, answer = self.ask("POST", "upload", body, "multipart/form-data; boundary=limit")
        self.files[name] = {"path": json.loads(answer.read())[0], "meta": {"_type": "gradio.FileData"}}
        connection.close()

    def call(self, endpoint: str, data: list[object]) -> str:
        """"complete", "busy", or what else came of a request."""
        connection, answer = self.ask("POST", f"call{endpoint}", json.dumps({"data": data}).encode())
        said = answer.read()
        connection.close()
        if answer.status == 503:
            return "busy"
        if answer.status != 200:
            return f"{answer.status} {said[:200]!r}"
        connection, answer = self.ask("GET", f"call{endpoint}/{json.loads(said)['event_id']}")
        event = answer.read().decode().rpartition("event: ")[2]
        connection.close()
        return "complete" if event.startswith("complete") else event[:200]

    def functions(self) -> dict[str, int]:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=SECONDS)
        connection.request("GET", "/config")
        config = json.loads(connection.getresponse().read())
        connection.close()
        return {entry["api_name"]: entry["id"] for entry in config["dependencies"] if entry["api_name"]}

    def megabytes(self) -> float:
        """Resident memory of the server, and of the process that decodes its videos."""
        return sum(int(line.split()[1]) for pid in (self.pid, *self.children("child"))
                   for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")) / 1024

    def children(self, word: str) -> list[int]:
        """Processes that the server started and whose command has this word."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == self.pid and word in (entry / "cmdline").read_text().split("\0"):
                    found.append(int(entry.name))
            except (OSError, ValueError, IndexError):
                continue
        return found


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    pytest.importorskip("gradio", reason="the demo needs gradio")
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    with open(folder / "log.txt", "w") as log:
        ran = subprocess.Popen([sys.executable, "-m", "clipapps", "demo", "--host", HOST, "--port", str(port)],
                               stdout=subprocess.PIPE, stderr=log, text=True,
                               env={**os.environ, "GRADIO_TEMP_DIR": str(folder / "cache")})
    try:
        assert f"http://{HOST}:{port}" in ran.stdout.readline(), (folder / "log.txt").read_text()
        running = Server(ran.pid, port)
        upload_examples(running, folder)
        yield running
    finally:
        ran.terminate()
        ran.wait(30)


def upload_examples(running: Server, folder: Path) -> None:
    from clipapps.data.images import write_image
    from clipapps.data.video.writing import write_video
    from clipapps.toyworld import render, sample_scene

    write_image(folder / "scene.png", render(sample_scene(3, 0), 128).image)
    write_video(folder / "film.mp4", np.random.default_rng(0).integers(0, 255, (16, 64, 64, 3), np.uint8), 8)
    for name in ("scene.png", "film.mp4"):
        running.upload(name, (folder / name).read_bytes())


def requests(running: Server) -> list[tuple[str, list[object]]]:
    """One request for each tab."""
    scene, film = running.files["scene.png"], running.files["film.mp4"]
    return [("/classify", [scene, "star, tree", "a {}", "tiny-rn / builtin"]),
            ("/segment", [scene, "", "CLIP alone, training-free"]), ("/enhance", [scene, 1, 8, False, False]),
            ("/find", [scene, "a tree", "tiny-vit / builtin"]), ("/recognize", [film, "", "CLIP alone, zero-shot", 2])]


def test_it_listens_at_home_alone(server) -> None:
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [words[1] for words in sockets if words[3] == "0A" and words[1].endswith(f":{server.port:04X}")]
    assert listening == [f"0200007F:{server.port:04X}"]


def ask_all_at_once(running: Server, users: int, kinds: list[tuple[str, list[object]]]) -> tuple[Counter, list[float]]:
    """Three requests of each user: what came of them, and the seconds of those that were answered."""
    outcomes, waits, gate = Counter(), list[float](), threading.Barrier(users)

    def user(number: int) -> None:
        gate.wait()
        for turn in range(3):
            began = time.monotonic()
            outcome = running.call(*kinds[(number + turn) % len(kinds)])
            outcomes[outcome] += 1
            if outcome == "complete":
                waits.append(time.monotonic() - began)

    with ThreadPoolExecutor(users) as pool:
        list(pool.map(user, range(users)))
    return outcomes, waits


@pytest.mark.parametrize("users", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_many_users_at_once_are_answered_or_told_that_it_is_busy(server, users) -> None:
    kinds = requests(server)
    at_first = server.megabytes()
    assert [server.call(*kind) for kind in kinds] == ["complete"] * len(kinds)
    ask_all_at_once(server, users, kinds)  # threads get memory of their own, once
    before = server.megabytes()
    outcomes, waits = ask_all_at_once(server, users, kinds)
    assert set(outcomes) <= {"complete", "busy"} and sum(outcomes.values()) == 3 * users
    assert outcomes["complete"] >= 20  # as many as may wait
    assert [server.call(*kind) for kind in kinds] == ["complete"] * len(kinds)
    after = server.megabytes()
    print(f"\n{users} users: {dict(outcomes)}, median {statistics.median(waits):.1f} s, 95 % within "
          f"{np.quantile(waits, 0.95):.1f} s, memory {at_first:.0f} MB at first, {before:.0f} MB before, "
          f"{after:.0f} MB after")
    assert after < 1.1 * before


class Visitor:
    """A page in a browser: a session with its stream of messages."""

    def __init__(self, server: Server) -> None:
        self.server, self.session = server, uuid.uuid4().hex[:10]
        self.functions = server.functions()

    def begin(self, endpoint: str, data: list[object]) -> str:
        body = {"data": data, "fn_index": self.functions[endpoint], "session_hash": self.session, "trigger_id": None}
        connection, answer = self.server.ask("POST", "queue/join", json.dumps(body).encode())
        event = json.loads(answer.read())["event_id"]
        connection.close()
        self.heartbeat, _ = self.server.ask("GET", f"heartbeat/{self.session}")
        self.stream, self.messages = self.server.ask("GET", f"queue/data?session_hash={self.session}")
        return event

    def wait_for(self, message: str) -> None:
        while line := self.messages.readline():
            if line.startswith(b"data:") and json.loads(line[5:])["msg"] == message:
                return
        raise AssertionError(f"the stream ended before {message}")

    def leave(self) -> None:
        for connection in (self.stream, self.heartbeat):
            if connection.sock is not None:
                connection.sock.shutdown(socket.SHUT_RDWR)
            connection.close()
        self.messages.close()


def seconds_until(is_free, limit: float = 60.0) -> float:
    began = time.monotonic()
    while not is_free():
        assert time.monotonic() - began < limit, "the worker was never freed"
        time.sleep(0.05)
    return time.monotonic() - began


def leave_a_training(server: Server) -> float:
    """Seconds until the process of a training is gone, after its page was closed or reloaded."""
    visitor = Visitor(server)
    visitor.begin("train_denseclip", [])
    visitor.wait_for("process_generating")
    assert server.children("train")
    visitor.leave()
    return seconds_until(lambda: not server.children("train"))


def cancel_many_photos(server: Server) -> float:
    """Seconds until another question is answered, after a long answer was cancelled."""
    visitor = Visitor(server)
    event = visitor.begin("enhance_many", [[server.files["scene.png"]] * 24, 1, 8, False, False])
    visitor.wait_for("process_generating")
    body = {"session_hash": visitor.session, "fn_index": visitor.functions["enhance_many"], "event_id": event}
    connection, answer = server.ask("POST", "cancel", json.dumps(body).encode())
    assert answer.status == 200, answer.read()
    connection.close()
    began = time.monotonic()
    assert server.call(*requests(server)[0]) == "complete"
    took = time.monotonic() - began
    visitor.leave()
    return took


def leave_many_photos(server: Server) -> float:
    """The same, after the page was closed."""
    visitor = Visitor(server)
    visitor.begin("enhance_many", [[server.files["scene.png"]] * 24, 1, 8, False, False])
    visitor.wait_for("process_generating")
    visitor.leave()
    began = time.monotonic()
    assert server.call(*requests(server)[0]) == "complete"
    return time.monotonic() - began


@pytest.mark.parametrize("count", [3, pytest.param(51, marks=pytest.mark.slow)])
def test_a_user_that_leaves_frees_the_worker(server, count) -> None:
    ways = (leave_a_training, cancel_many_photos, leave_many_photos)
    took = {way.__name__: [] for way in ways}
    for number in range(count):
        way = ways[number % len(ways)]
        took[way.__name__].append(way(server))
    print("\n" + "; ".join(f"{name}: {len(times)} times, median {statistics.median(times):.2f} s, at most "
                           f"{max(times):.2f} s" for name, times in took.items()))
    assert server.call(*requests(server)[1]) == "complete" and not server.children("train")
