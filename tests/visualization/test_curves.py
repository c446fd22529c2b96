"""Figures of a run."""

from __future__ import annotations

import io
import json

import numpy as np
from PIL import Image

from clipapps.visualization.curves import _series, draw_curves, read_scalars

RECORDS = [{"mode": "train", "step": step, "loss": 1 / step, "ce.loss": 0.5, "part.loss": 0.1, "lr": 0.1}
           for step in range(1, 9)] + [{"mode": "val", "step": 8, "mIoU": 0.5, "IoU/sky": None}]


def test_a_cut_last_line_is_left_out(tmp_path):
    (tmp_path / "s.jsonl").write_text("\n".join(map(json.dumps, RECORDS)) + '\n{"mode": "tr')
    assert read_scalars(tmp_path / "s.jsonl") == RECORDS


def test_lines_hold_the_numbers_of_their_mode():
    lines = _series(RECORDS, "train", lambda name: "loss" in name)
    assert list(lines) == ["loss", "ce.loss", "part.loss"]
    assert lines["loss"] == ([1, 2, 3, 4, 5, 6, 7, 8], [1 / step for step in range(1, 9)])
    assert list(_series(RECORDS, "val", lambda name: "/" not in name)) == ["mIoU"]


def test_the_figure_is_a_png_with_something_on_it():
    for records in (RECORDS, []):
        buffer = io.BytesIO()
        draw_curves(records, buffer, title="a run")
        array = np.asarray(Image.open(buffer).convert("L"))
        assert array.shape[0] > 200
        assert (array < 128).any()
