"""Checkpoints: plain, atomic, and never code."""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from safetensors.torch import save_file
from torch import nn

from clipapps.engine import checkpoint
from clipapps.errors import WeightsError


class Payload:
    """Creates a file when it is unpickled."""

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
        "getattr chain": Payload(getattr, Payload(__import__, "os"), "system"),
        "subprocess": Payload(subprocess.run, ["touch", str(sentinel)]),
        "open": Payload(open, str(sentinel), "w"),
        "path": Payload(Path.touch, sentinel),
        "torch.load": Payload(torch.load, str(sentinel)),
        "numpy load": Payload(np.load, str(sentinel)),
        "bytecode": Payload(compile, command, "x", "exec"),
        "nested pickle": Payload(pickle.loads, pickle.dumps(Payload(os.system, f"touch {sentinel}"))),
        "module": nn.Linear(1, 1),
    }


@pytest.mark.parametrize("name", list(payloads(Path("x"))))
@pytest.mark.parametrize("form", ["zip .pth", "legacy .pt", "raw .bin", "raw .safetensors"])
def test_code_in_a_file_is_refused_and_does_not_run(tmp_path, name, form):
    sentinel = tmp_path / "it_ran"
    content = {"state_dict": {"weight": torch.ones(1)}, "payload": payloads(sentinel)[name]}
    kind, suffix = form.split()
    file = tmp_path / f"weights{suffix}"
    if kind == "raw":
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(WeightsError) as caught:
        checkpoint.load(file)
    assert str(file) in str(caught.value)
    assert not sentinel.exists()
    if kind == "zip":
        assert f"clipapps convert --trust {file}" in str(caught.value)


@pytest.mark.parametrize("suffix", [".pkl", ".npy", ".npz", ".txt", ""])
def test_other_kinds_of_files_are_refused(tmp_path, suffix):
    file = tmp_path / f"weights{suffix}"
    np.save(file.open("wb"), np.array([object()]), allow_pickle=True)
    with pytest.raises(WeightsError, match="weights"):
        checkpoint.load(file)


def test_a_checkpoint_opens_without_an_allow_list(tmp_path):
    content = {"state_dict": nn.Linear(2, 2).state_dict(), "hub": {"loss": HistoryBuffer([1.0], [1])},
               "score": np.float64(0.5), "steps": (1, 2)}
    checkpoint.save(content, tmp_path / "a.pth")
    raw = torch.load(tmp_path / "a.pth", weights_only=True)
    assert raw["score"] == 0.5
    again = checkpoint.load(tmp_path / "a.pth")
    assert isinstance(again["hub"]["loss"], HistoryBuffer)
    assert torch.equal(again["state_dict"]["weight"], content["state_dict"]["weight"])


def test_weights_with_metadata(tmp_path):
    shared = torch.arange(6.0).reshape(2, 3)
    checkpoint.save_weights({"a": shared, "b": shared, "c": shared.t()}, tmp_path / "w.safetensors",
                            {"config": "x", "classes": ["sky", "road"], "score": np.float32(0.5)})
    again = checkpoint.load(tmp_path / "w.safetensors")
    assert torch.equal(again["b"], shared)
    assert torch.equal(again["c"], shared.t())
    metadata = checkpoint.read_metadata(tmp_path / "w.safetensors")
    assert metadata["config"] == "x"
    assert json.loads(metadata["classes"]) == ["sky", "road"]
    assert json.loads(metadata["score"]) == 0.5
    assert os.listdir(tmp_path) == ["w.safetensors"]
    assert (tmp_path / "w.safetensors").stat().st_mode & 0o044  # readable by others, as every file written here


def test_every_truncation_is_refused_with_the_file_name(tmp_path):
    checkpoint.save({"state_dict": nn.Linear(30, 30).state_dict(), "text": "x" * 500}, tmp_path / "a.pth")
    checkpoint.save_weights(nn.Linear(30, 30).state_dict(), tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        whole = (tmp_path / name).read_bytes()
        for cut in range(64):
            (tmp_path / f"cut{name}").write_bytes(whole[: len(whole) * cut // 64])
            with pytest.raises(WeightsError, match=f"cut{name}"):
                checkpoint.load(tmp_path / f"cut{name}")


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x03\x04", b"\x80\x02.", bytes(range(256)) * 4])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_garbage_is_refused(tmp_path, content, suffix):
    (tmp_path / f"g{suffix}").write_bytes(content)
    with pytest.raises(WeightsError, match=f"g{suffix}"):
        checkpoint.load(tmp_path / f"g{suffix}")


def malformed_headers() -> dict[str, bytes]:
    def file(header: object, data: bytes = b"\0" * 8) -> bytes:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + data

    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    return {
        "header too large": struct.pack("<Q", 2**60) + b"{}",
        "header longer than the file": struct.pack("<Q", 100) + b"{}",
        "header of size zero": struct.pack("<Q", 0) + b"{}",
        "not UTF-8": file(b'{"\xff": 1}'),
        "not JSON": file(b"{nothing}"),
        "a list": file([1, 2]),
        "claims 10 GB": file({"a": {"dtype": "F32", "shape": [2_500_000_000], "data_offsets": [0, 10**10]}}),
        "overlapping": file({"a": entry, "b": entry}),
        "shape does not match": file({"a": {**entry, "shape": [3]}}),
        "offsets backwards": file({"a": {**entry, "data_offsets": [8, 0]}}),
        "overflowing shape": file({"a": {**entry, "shape": [2**63, 4]}}),
        "unknown type": file({"a": {**entry, "dtype": "F7"}}),
        "data missing": file({"a": entry}, b""),
    }


@pytest.mark.parametrize("name", list(malformed_headers()))
def test_malformed_safetensors_are_refused(tmp_path, name):
    (tmp_path / "m.safetensors").write_bytes(malformed_headers()[name])
    with cheap(), pytest.raises(WeightsError, match=r"m\.safetensors"):
        checkpoint.load(tmp_path / "m.safetensors")


@contextmanager
def cheap() -> Iterator[None]:
    """The block takes under a second of this process's time and under 200 MB at its peak (where Linux tells)."""
    started = time.process_time()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
    except OSError:
        before = None
    else:
        before = peak_memory()
    yield
    assert time.process_time() - started < 1
    assert before is None or peak_memory() - before < 200 * 2**20


def peak_memory() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


def test_a_million_entries_are_refused_quickly(tmp_path):
    entry = '"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    header = ("{" + ",".join(entry % index for index in range(1_000_000)) + "}").encode()
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with cheap(), pytest.raises(WeightsError):
        checkpoint.load(tmp_path / "m.safetensors")


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path):
    """torch stores without compression; a few kilobytes of zeros that unpack to gigabytes are a bomb."""
    torch.save({"w": torch.zeros(2**24)}, tmp_path / "big.pth")
    with zipfile.ZipFile(tmp_path / "big.pth") as source, zipfile.ZipFile(
            tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            target.writestr(member.filename, source.read(member))
    assert (tmp_path / "bomb.pth").stat().st_size < 200_000
    with pytest.raises(WeightsError, match=r"bomb\.pth"):
        checkpoint.load(tmp_path / "bomb.pth")


def test_weights_of_every_form_load(tmp_path):
    source = nn.Linear(3, 2)
    forms = {"plain.pth": source.state_dict(), "mmengine.pth": {"meta": {}, "state_dict": source.state_dict()},
             "wrapped.pth": {f"module.{name}": value for name, value in source.state_dict().items()}}
    for name, content in forms.items():
        checkpoint.save(content, tmp_path / name)
    checkpoint.save_weights(source.state_dict(), tmp_path / "w.safetensors")
    for name in (*forms, "w.safetensors"):
        target = nn.Linear(3, 2)
        checkpoint.load_weights(target, tmp_path / name)
        assert torch.equal(target.weight, source.weight)


def test_a_misfit_is_a_short_table(tmp_path):
    checkpoint.save_weights({**{f"extra{i}": torch.ones(1) for i in range(9)}, "weight": torch.ones(4, 3)},
                            tmp_path / "w.safetensors")
    target = nn.Linear(3, 2)
    before = target.weight.clone()
    with pytest.raises(WeightsError) as caught:
        checkpoint.load_weights(target, tmp_path / "w.safetensors")
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("does not fit Linear: 1 missing, 9 unexpected, 1 of another shape.")
    assert "missing:" in lines[1]
    assert "and 3 more" in lines[2]
    assert "weight (file (4, 3), model (2, 3))" in lines[3]
    assert torch.equal(target.weight, before)


@pytest.mark.parametrize(("change", "said"), [
    ("shapes", "0 missing, 0 unexpected, 1 of another shape"), ("missing", "1 missing, 0 unexpected"),
    ("extra", "0 missing, 1 unexpected"), ("renamed", "1 missing, 1 unexpected"),
    ("all renamed", "4 missing, 4 unexpected"), ("empty", "holds no weights")])
def test_weights_that_do_not_fit_are_told_at_the_command_line_in_one_table(tmp_path, toy_config, clipapps_cli, change,
                                                                         said):
    from engine_toy_task import ToyModel

    whole = ToyModel(norm=False).state_dict()
    changed = {
        "shapes": {**whole, "net.4.bias": torch.zeros(3)},
        "missing": {name: value for name, value in whole.items() if name != "net.4.bias"},
        "extra": {**whole, "net.9.bias": torch.zeros(1)},
        "renamed": {name.replace("4.bias", "4.offset"): value for name, value in whole.items()},
        "all renamed": {f"old.{name}": value for name, value in whole.items()}, "empty": {}}
    checkpoint.save({"state_dict": changed[change]}, tmp_path / "w.pth")
    result = clipapps_cli("test", toy_config, tmp_path / "w.pth", "--out", tmp_path / "out", "model.norm=False")
    assert result.code == 2
    assert said in result.err
    assert "w.pth" in result.err and "Traceback" not in result.err


def test_a_known_prefix_is_hinted_at(tmp_path):
    checkpoint.save({f"backbone.{name}": value for name, value in nn.Linear(3, 2).state_dict().items()},
                    tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"fit after dropping their prefix 'backbone\.'"):
        checkpoint.load_weights(nn.Linear(3, 2), tmp_path / "w.pth")
    checkpoint.save(nn.Linear(3, 2).state_dict(), tmp_path / "part.pth")
    with pytest.raises(WeightsError, match=r"the model calls 'model\.'"):
        checkpoint.load_weights(nn.ModuleDict({"model": nn.Linear(3, 2)}), tmp_path / "part.pth")


def test_loading_what_fits(tmp_path):
    checkpoint.save({"weight": torch.full((2, 3), 7.0), "other": torch.ones(1)}, tmp_path / "w.pth")
    target = nn.Linear(3, 2)
    checkpoint.load_weights(target, tmp_path / "w.pth", strict=False)
    assert target.weight.eq(7.0).all()
    with pytest.raises(WeightsError):
        checkpoint.load_weights(nn.Conv2d(1, 1, 1), tmp_path / "w.pth", strict=False)


def test_a_file_without_weights_says_what_it_holds(tmp_path):
    checkpoint.save({"epoch": 3, "note": "x"}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="holds no weights .*epoch, note"):
        checkpoint.load_weights(nn.Linear(1, 1), tmp_path / "w.pth")


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_a_full_disk_while_saving_loses_nothing(tmp_path, kind):
    """Writing fails at byte 0, after 1 byte, half way, and at the last bytes; one process tries all four."""
    file = tmp_path / f"w.{kind}"
    script = f"""
import os, resource, signal, torch
from clipapps.engine import checkpoint
from clipapps.errors import DiskError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
write = checkpoint.save if {kind!r} == "pth" else checkpoint.save_weights
for limit in (0, 1, 200_000, 399_999):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        write({{"a": torch.zeros(100_000)}}, {str(file)!r})
    except DiskError as error:
        print(error.exit_code, "bytes free" in str(error), os.listdir({str(tmp_path)!r}))
"""
    (checkpoint.save if kind == "pth" else checkpoint.save_weights)({"a": torch.ones(3)}, file)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.stdout.splitlines() == [f"3 True ['w.{kind}']"] * 4, result.stderr
    assert checkpoint.load(file)["a"].tolist() == [1, 1, 1]


def test_saving_streams(tmp_path):
    """Peak memory of a save stays under 1.2 times the checkpoint, measured in a process of its own."""
    script = f"""
import resource, torch
from clipapps.engine import checkpoint
content = {{"a": torch.zeros(40_000_000)}}
checkpoint.save({{"warm": torch.zeros(10)}}, {str(tmp_path / "warm.pth")!r})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
checkpoint.save(content, {str(tmp_path / "a.pth")!r})
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""
    grown = int(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout)
    assert grown < 0.2 * 160_000_000


def test_save_files_of_safetensors_written_elsewhere_load(tmp_path):
    save_file({"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, tmp_path / "w.safetensors")
    checkpoint.load_weights(nn.Linear(3, 2), tmp_path / "w.safetensors")
