"""Twelve files that want to run code, at every door that takes weights: refused by name, and nothing of them runs."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from clipapps.clip import CLIPBackbone
from clipapps.engine import checkpoint, runner
from clipapps.engine.config import load_config
from clipapps.errors import UserError


class Call:
    """Calls a function when it is unpickled."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple:
        return self.function, self.arguments

    def __call__(self) -> None:
        """Only so that pickle takes a call as the function of another."""


class Whole(nn.Module):
    """A module pickled as a whole, with a call among its attributes."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.layer, self.call = nn.Linear(1, 1), call


def zipped(path: Path, content: object) -> None:
    torch.save({"state_dict": {"weight": torch.ones(1)}, "meta": content}, path)


def legacy(path: Path, content: object) -> None:
    torch.save({"state_dict": {"weight": torch.ones(1)}, "meta": content}, path, _use_new_zipfile_serialization=False)


def raw(path: Path, content: object) -> None:
    path.write_bytes(pickle.dumps({"state_dict": content}, protocol=2))


def torchscript(path: Path, content: object) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps(content, protocol=2))
        archive.writestr("model/constants.pkl", b"\x80\x02).")


def nested_zip(path: Path, content: object) -> None:
    """A checkpoint inside a checkpoint: the inner one's bytes, and a call that opens them."""
    inner = io.BytesIO()
    torch.save({"inner": content}, inner)
    zipped(path, [inner.getvalue(), Call(pickle.loads, pickle.dumps(content))])


def array(path: Path, content: object) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([content], dtype=object), allow_pickle=True)


FILES: dict[str, tuple[Callable[[Path, object], None], Callable[[Path], object]]] = {
    "os_system.pth": (zipped, lambda s: Call(os.system, f"touch {s}")),
    "eval.pt": (legacy, lambda s: Call(eval, f"open({str(s)!r}, 'w')")),
    "getattr_chain.bin": (raw, lambda s: Call(Call(getattr, Call(__import__, "os"), "system"), f"touch {s}")),
    "exec.ckpt": (zipped, lambda s: Call(exec, f"open({str(s)!r}, 'w')")),
    "pickle.safetensors": (raw, lambda s: Call(subprocess.run, ["touch", str(s)])),
    "nested_zip.pth": (nested_zip, lambda s: Call(os.system, f"touch {s}")),
    "torchscript.pt": (torchscript, lambda s: Call(os.system, f"touch {s}")),
    ".metadata": (raw, lambda s: Call(os.system, f"touch {s}")),  # of torch's distributed checkpoints: a pickle
    "whole.pkl": (raw, lambda s: Whole(Call(os.system, f"touch {s}"))),
    "objects.npy": (array, lambda s: Call(os.system, f"touch {s}")),
    "module.pth": (zipped, lambda s: Whole(Call(Path.touch, s))),
    "opener.bin": (legacy, lambda s: Call(open, str(s), "w")),
}


@pytest.fixture(params=FILES)
def hostile(request, tmp_path) -> tuple[Path, Path]:
    """A hostile file, and the file that would be there if anything of it ran."""
    write, payload = FILES[request.param]
    sentinel = tmp_path / "it_ran"
    write(tmp_path / request.param, payload(sentinel))
    return tmp_path / request.param, sentinel


def test_the_files_are_what_they_claim(tmp_path):
    """Unpickled without care a file does run: the sentinel would tell."""
    write, payload = FILES["getattr_chain.bin"]
    write(tmp_path / "w.bin", payload(tmp_path / "it_ran"))
    with (tmp_path / "w.bin").open("rb") as file:
        pickle.load(file)
    assert (tmp_path / "it_ran").exists()


def test_the_command_line(hostile, tmp_path, toy_config, clipapps_cli):
    file, sentinel = hostile
    for arguments in (("test", toy_config, file, "--out", tmp_path / "out"),
                      ("train", toy_config, "--work-dir", tmp_path / "run", f"load_from={file}"),
                      ("train", toy_config, "--work-dir", tmp_path / "run", "--resume", file)):
        result = clipapps_cli(*arguments)
        assert result.code == 2, result.err
        assert str(file) in result.err
        assert "Traceback" not in result.err
        assert not sentinel.exists()
        assert not (tmp_path / "run").exists()


def test_a_work_folder_that_names_it_as_its_last_checkpoint(hostile, tmp_path, toy_config, clipapps_cli, caplog):
    file, sentinel = hostile
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "iter_20.pth").write_bytes(file.read_bytes())
    (folder / "last_checkpoint").write_text("iter_20.pth\n")
    result = clipapps_cli("train", toy_config, "--work-dir", folder, "--resume", "train_cfg.max_iters=1")
    assert result.code == 0, result.err  # it is passed over, and the run starts anew
    assert "iter_20.pth" in caplog.text
    assert not sentinel.exists()


def test_the_python_interface(hostile, tmp_path, toy_config):
    file, sentinel = hostile
    cfg = load_config(toy_config)
    for door in (lambda: checkpoint.load(file), lambda: checkpoint.load_weights(nn.Linear(1, 1), file),
                 lambda: runner.test(cfg, file, tmp_path / "out"),
                 lambda: runner.train(cfg, tmp_path / "run", resume=file),
                 lambda: CLIPBackbone.from_pretrained("tiny-rn", str(file))):
        with pytest.raises(UserError, match=file.name.replace(".", r"\.")):
            door()
        assert not sentinel.exists()


def test_prediction(hostile, tmp_path, clipapps_cli):
    file, sentinel = hostile
    from clipapps.data.images import write_image

    write_image(tmp_path / "picture.png", np.zeros((32, 32, 3), np.uint8))
    result = clipapps_cli("predict", "denseclip", tmp_path / "picture.png", "--weights", file, "--out", tmp_path / "p")
    assert result.code == 2, result.err
    assert file.name in result.err
    assert not sentinel.exists()
