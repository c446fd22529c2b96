"""A film through a project for pictures: every frame is answered, and the saved film keeps its sound and length."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from clipapps.data.video import VideoReader
from clipapps.data.video.writing import write_video
from clipapps.errors import BadSampleError
from clipapps.inference import Image, Inferencer, Result

torch = pytest.importorskip("torch")
pytest.importorskip("av", reason="films need PyAV")


@dataclass
class Negative(Result):
    """A picture's negative."""

    def plot(self) -> Image:
        return 255 - self.image

    def to_dict(self) -> dict[str, Any]:
        return dict(mean=float(self.image.mean()))


class Inverter(Inferencer):
    """Makes negatives."""

    device = torch.device("cpu")

    def predict(self, image: Image, name: str) -> Negative:
        return Negative(name, image)


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "film.mp4"
    write_video(path, [np.full((32, 48, 3), 40 * number, np.uint8) for number in range(5)], fps=10)
    return path


def test_a_film_is_one_result_that_is_computed_while_it_is_saved(film, tmp_path) -> None:
    [result] = Inverter()(film)
    assert result.source == film and result.name == "film" and result.plot().mean() == pytest.approx(255, abs=3)
    shares: list[float] = []
    result.inferencer.progress = shares.append
    paths = result.save(tmp_path / "out")
    assert [path.name for path in paths] == ["film.mp4", "film.json", "film.jsonl"]
    with VideoReader(paths[0]) as video:
        shown = [frame.mean() for _, frame in video.stream()]
    assert shown == pytest.approx([255 - 40 * number for number in range(5)], abs=3)
    lines = [json.loads(line) for line in paths[2].read_text().splitlines()]
    assert [line["time"] for line in lines] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=1e-3)
    assert [line["mean"] for line in lines] == pytest.approx([0, 40, 80, 120, 160], abs=3)
    assert json.loads(paths[1].read_text())["frames"] == 5
    assert shares == sorted(shares) and len(shares) == 5


def test_a_damaged_film_leaves_nothing(film, tmp_path) -> None:
    content = film.read_bytes()
    film.write_bytes(content[:len(content) // 3] + bytes(len(content) - len(content) // 3))
    with pytest.raises(BadSampleError, match=r"film\.mp4"):
        Inverter()(film)[0].save(tmp_path / "out")
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True
