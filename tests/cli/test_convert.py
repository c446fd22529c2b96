"""`clipapps convert`: words in any order, refusals with exit code 2, and no code of a file ever."""

from __future__ import annotations

import argparse
import builtins
import json
import os
import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from torch import nn

from clipapps.engine import checkpoint, trusted_load
from clipapps.errors import WeightsError

TINY = "denseclip/denseclip_fpn_tiny_toyworld"
RANDOM = "model.backbone.weights=None"


class Payload:
    """Calls something when it is unpickled."""

    def __init__(self, call, *arguments) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


def payloads(sentinel: Path) -> dict[str, object]:
    command = f"open({str(sentinel)!r}, 'w')"
    return {
        "os.system": Payload(os.system, f"touch {sentinel}"),
        "eval": Payload(eval, command),
        "exec": Payload(exec, command),
        "import": Payload(builtins.__import__, "antigravity"),
        "getattr chain": Payload(getattr, Payload(builtins.__import__, "os"), "system"),
        "subprocess": Payload(subprocess.run, ["touch", str(sentinel)]),
        "open": Payload(open, str(sentinel), "w"),
        "path": Payload(Path.touch, sentinel),
        "torch.load": Payload(torch.load, str(sentinel)),
        "numpy load": Payload(np.load, str(sentinel)),
        "compile": Payload(compile, command, "x", "exec"),
        "nested": Payload(pickle.loads, pickle.dumps(Payload(os.system, f"touch {sentinel}"))),
    }


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", list(payloads(Path("x"))))
def test_code_in_a_file_never_runs(clipapps_cli, tmp_path, name, legacy):
    """Without --trust it is refused; the reader behind --trust leaves it out, or refuses it, too."""
    sentinel, file = tmp_path / "it_ran", tmp_path / "w.pth"
    torch.save({"state_dict": {"weight": torch.ones(1)}, "payload": payloads(sentinel)[name]}, file,
               _use_new_zipfile_serialization=not legacy)
    for words in ([file], ["denseclip", file]):
        result = clipapps_cli("convert", *words)
        assert result.code == 2 and f"clipapps convert --trust {file}" in result.err
    try:
        content = trusted_load.only_plain(trusted_load.read_without_types(file))
        assert content["state_dict"]["weight"].tolist() == [1.0]
    except WeightsError as error:
        assert str(file) in str(error) and "not even with --trust" in str(error)
    assert not sentinel.exists() and os.listdir(tmp_path) == ["w.pth"]


def old_training_run(state: dict[str, torch.Tensor], meta: dict[str, object]) -> dict[str, object]:
    """What older OpenMMLab checkpoints hold beside their weights."""
    return {"state_dict": state, "meta": {**meta, "args": argparse.Namespace(seed=1), "PALETTE": np.zeros((2, 3))},
            "message_hub": {"log_scalars": {"loss": HistoryBuffer([1.0, 2.0], [1, 1])}}, "best": np.float64(0.5),
            "callback": argparse.ArgumentParser}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_trust_keeps_tensors_and_plain_values_of_an_old_training_run(tmp_path, legacy):
    """The whole way, child process included."""
    file = tmp_path / "old run.pth"
    torch.save(old_training_run(nn.Linear(3, 2).state_dict(), {"CLASSES": ("sky", "tree"), "epoch": 3}), file,
               _use_new_zipfile_serialization=not legacy)
    with pytest.raises(WeightsError, match=r"clipapps convert --trust '.*old run\.pth'"):
        checkpoint.load(file)
    content = trusted_load.load_trusted(file)
    assert content["meta"] == {"CLASSES": ["sky", "tree"], "epoch": 3, "args": {}}
    assert content["state_dict"].keys() == {"weight", "bias"}
    assert content["message_hub"] == {"log_scalars": {"loss": {}}}


def test_trust_on_the_command_line_warns_and_writes_safetensors(clipapps_cli, tmp_path):
    file = tmp_path / "old.pth"
    layer = nn.Linear(3, 2)
    torch.save(old_training_run(layer.state_dict(), {}), file)
    result = clipapps_cli("convert", "--trust", file)
    assert result.code == 0, result.err
    assert result.out.splitlines() == [str(tmp_path / "old.safetensors"), "2 tensors, names unchanged"]
    assert "warning: " in result.err and "--trust" in result.err
    assert torch.equal(checkpoint.load(tmp_path / "old.safetensors")["weight"], layer.weight)


def test_trust_does_not_open_what_is_damaged(clipapps_cli, tmp_path):
    torch.save(old_training_run(nn.Linear(3, 2).state_dict(), {}), tmp_path / "w.pth")
    whole = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(whole[: len(whole) // 2])
    result = clipapps_cli("convert", "--trust", tmp_path / "w.pth")
    assert result.code == 2 and "damaged" in result.err and os.listdir(tmp_path) == ["w.pth"]


def test_a_file_in_the_working_folder_is_not_imported_by_the_trusted_reader(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text(f"open({str(tmp_path / 'it_ran')!r}, 'w')")
    torch.save(old_training_run(nn.Linear(3, 2).state_dict(), {}), tmp_path / "w.pth")
    monkeypatch.chdir(tmp_path)
    assert "state_dict" in trusted_load.load_trusted("w.pth")
    assert not (tmp_path / "it_ran").exists()


@pytest.mark.parametrize(("words", "said"), [
    (["absent.pth"], "There is no weights file absent.pth"),
    (["denseclip", "absent.pth"], "There is no weights file absent.pth"),
    (["denseclip"], "one checkpoint, and at most one file"),
    (["dencelip", "w.pth"], "Did you mean 'denseclip'?"),
    (["w.pth", "out.pth"], "must end in .safetensors"),
    (["w.pth", "a.safetensors", "b.safetensors"], "at most one file"),
    (["w.pth", "--config", TINY], "A config belongs to a project"),
    (["pretrain", "w.pth"], "has no converter"),
    (["denseclip", "w.pth", "--config", "denseclip/nothing"], "There is no config"),
    (["denseclip", "w.pth", "--config", TINY, "model.backbone.weigths=None"], "Did you mean 'weights'?"),
    (["denseclip", "w.pth"], "1 unexpected"),
    (["denseclip", "w.pth", "--turst"], "Did you mean '--trust'?"),
])
def test_wrong_words_end_with_one_sentence(clipapps_cli, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": torch.ones(1)}, "w.pth")
    result = clipapps_cli("convert", *words)
    assert result.code == 2 and said in result.err and "Traceback" not in result.err
    assert os.listdir(tmp_path) == ["w.pth"]


def test_a_converted_checkpoint_predicts_and_is_tested(clipapps_cli, tmp_path):
    """A checkpoint in the authors' layout, for a changed config: converted, then used by two verbs."""
    from mmengine.registry import init_default_scope
    from PIL import Image

    from clipapps.engine.config import load_config
    from clipapps.projects.denseclip.convert import TEMPERATURE, official_name
    from clipapps.registry import MODELS

    init_default_scope("clipapps")
    model = MODELS.build(load_config(TINY, [RANDOM]).model)
    state = {official_name(name): value for name, value in model.state_dict().items() if name != TEMPERATURE}
    state["text_encoder.positional_embedding"] = state["text_encoder.positional_embedding"][:13].clone()
    torch.save({"state_dict": state, "meta": {"CLASSES": model.class_names}}, tmp_path / "released.pth")
    weights = tmp_path / "out" / "w.safetensors"
    result = clipapps_cli("convert", "denseclip", tmp_path / "released.pth", weights, "--config", TINY, RANDOM,
                          "model.tau=0.1")
    assert result.code == 0, result.err
    assert result.out.split()[:2] == [str(weights), str(weights.with_name("config.py"))]

    Image.new("RGB", (96, 64), "green").save(tmp_path / "photo.png")
    result = clipapps_cli("predict", "denseclip", tmp_path / "photo.png", "--weights", weights, "--out", tmp_path / "p",
                          "--device", "cpu")
    assert result.code == 0, result.err
    facts = json.loads((tmp_path / "p" / "photo.json").read_text())
    assert facts["method"] == "denseclip_fpn_tiny_toyworld, decoder"

    result = clipapps_cli("test", weights.with_name("config.py"), weights, "--out", tmp_path / "t", "--device", "cpu",
                          "test_dataloader.dataset.num_scenes=4", "test_dataloader.batch_size=2")
    assert result.code == 0, result.err
    assert 0 <= json.loads((tmp_path / "t" / "metrics.json").read_text())["mIoU"] <= 1
