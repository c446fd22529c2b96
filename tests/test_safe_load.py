"""Hostile and damaged weights files: nothing of them runs, nothing grows, and every refusal names the file.

`tests/engine/test_checkpoint.py` has pickles and safetensors through `checkpoint.load`; here stand the reader's own
doors: TorchScript archives, metadata, and sizes that a small file claims.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
import time
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from clipapps.errors import WeightsError
from clipapps.safe_load import MAX_HEADER_BYTES, MAX_TENSORS, load, load_safetensors

ONE = struct.pack("<f", 1.0)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def script_module(attributes: bytes) -> bytes:
    """The pickle of a script module, memo entry 0, whose attributes are set by these opcodes."""
    return b"\x80\x02c__torch__\nModel\n)\x81q\x00}" + attributes + b"b."


def tensor(size: tuple[int, ...], stride: tuple[int, ...], key: str = "0", count: int = 1) -> bytes:
    """Opcodes of a float tensor over the stored bytes `data/<key>`."""
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + number(count) + b"tQ"
    sizes, strides = (b"(" + b"".join(map(number, values)) + b"t" for values in (size, stride))
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(0) + sizes + strides + b"\x89NtR"


def archive(path: Path, content: bytes, compression: int = zipfile.ZIP_STORED, **data: bytes) -> Path:
    """A TorchScript archive with this `data.pkl` and these storages (`s0=...` is `data/0`)."""
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("model/data.pkl", content)
        file.writestr("model/constants.pkl", b"\x80\x02).")
        for key, value in data.items():
            file.writestr(f"model/data/{key[1:]}", value)
    return path


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.register_buffer("scale", torch.arange(4).half())
        self.register_buffer("part", torch.arange(12.0).view(3, 4)[:, 1:3])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


def test_a_torchscript_archive_gives_its_tensors_by_dotted_name(tmp_path: Path) -> None:
    model = Linear()
    torch.jit.script(model).save(str(tmp_path / "m.pt"))
    loaded, expected = load(tmp_path / "m.pt"), model.state_dict()
    assert loaded.keys() == expected.keys() and loaded["scale"].dtype == torch.float16
    assert all(torch.equal(value, expected[name]) for name, value in loaded.items())


def test_a_small_archive_written_by_hand_loads(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.pt", script_module(text("w") + tensor((1,), (1,)) + b"s"), s0=ONE)
    assert load(path) == {"w": torch.ones(1)}


@pytest.mark.parametrize("name", ["os system", "builtins eval", "torch load", "torch.hub load", "functools partial",
                                  "torch.jit._pickle restore_type_tag", "__torch__x system"])
def test_a_torchscript_archive_with_a_foreign_name_is_refused(tmp_path: Path, name: str) -> None:
    module, function = name.split()
    sentinel = tmp_path / "it_ran"
    call = f"c{module}\n{function}\n(".encode() + text(f"touch {sentinel}") + b"tR"
    path = archive(tmp_path / "m.pt", script_module(text("w") + tensor((1,), (1,)) + b"s" + text("x") + call + b"s"),
                   s0=ONE)
    with pytest.raises(WeightsError, match=r"m\.pt"):
        load(path)
    assert not sentinel.exists()


def test_a_storage_name_that_leaves_the_archive_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.pt", script_module(text("w") + tensor((1,), (1,), key="../0") + b"s"), s0=ONE)
    with pytest.raises(WeightsError, match=r"m\.pt"):
        load(path)


def test_a_module_that_holds_itself_is_walked_once(tmp_path: Path) -> None:
    content = script_module(text("again") + b"h\x00s" + text("w") + tensor((1,), (1,)) + b"s")
    assert load(archive(tmp_path / "m.pt", content, s0=ONE)) == {"w": torch.ones(1)}


@pytest.mark.parametrize(("size", "stride"), [
    ((10**5, 10**5), (0, 0)), ((2,), (1,)), ((1,), (-1,)), ((2**62, 4), (1, 1))])
def test_a_tensor_larger_than_its_storage_is_refused(tmp_path: Path, size: tuple, stride: tuple) -> None:
    path = archive(tmp_path / "m.pt", script_module(text("w") + tensor(size, stride) + b"s"), s0=ONE)
    with pytest.raises(WeightsError, match=r"m\.pt"):
        load(path)


def test_a_storage_that_is_named_often_is_kept_once(tmp_path: Path) -> None:
    names = b"".join(text(f"w{index}") + tensor((4,), (1,), count=4) + b"s" for index in range(50))
    loaded = load(archive(tmp_path / "m.pt", script_module(names), s0=4 * ONE))
    assert len(loaded) == 50 and len({value.data_ptr() for value in loaded.values()}) == 1


def test_compressed_tensors_of_a_torchscript_archive_are_refused_unread(tmp_path: Path) -> None:
    path = archive(tmp_path / "bomb.pt", script_module(text("w") + tensor((1,), (1,)) + b"s"), zipfile.ZIP_DEFLATED,
                   s0=bytes(2**24))
    assert path.stat().st_size < 2**16
    with pytest.raises(WeightsError, match="compressed"):
        load(path)


def test_every_truncation_of_a_torchscript_archive_is_refused(tmp_path: Path) -> None:
    torch.jit.script(Linear()).save(str(tmp_path / "m.pt"))
    whole = (tmp_path / "m.pt").read_bytes()
    for cut in range(64):
        (tmp_path / "cut.pt").write_bytes(whole[: len(whole) * cut // 64])
        with pytest.raises(WeightsError, match=r"cut\.pt"):
            load(tmp_path / "cut.pt")


def test_a_damaged_byte_gives_tensors_or_one_error(tmp_path: Path) -> None:
    torch.jit.script(Linear()).save(str(tmp_path / "m.pt"))
    whole = bytearray((tmp_path / "m.pt").read_bytes())
    for place in range(0, len(whole), len(whole) // 200):
        damaged = whole.copy()
        damaged[place] ^= 0xFF
        (tmp_path / "d.pt").write_bytes(damaged)
        try:
            assert all(isinstance(value, torch.Tensor) for value in load(tmp_path / "d.pt").values())
        except WeightsError as error:
            assert "d.pt" in str(error)


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".pkl", ".npy"])
def test_a_pickle_does_not_run_whatever_it_is_called(tmp_path: Path, suffix: str) -> None:
    path, sentinel = tmp_path / f"w{suffix}", tmp_path / "it_ran"
    path.write_bytes(pickle.dumps({"w": Touch(sentinel)}, protocol=2))
    with pytest.raises(WeightsError, match=f"w{suffix}"):
        load(path)
    assert not sentinel.exists()


@pytest.mark.parametrize("read", [load, load_safetensors])
@pytest.mark.parametrize("name", ["absent.safetensors", "folder.safetensors"])
def test_a_missing_file_is_named_at_every_door(tmp_path: Path, read, name: str) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(WeightsError, match=f"There is no weights file .*{name}"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["w.onnx", "w", "w.pkl", "w.h5", "w.SAFETENSORS"])
def test_another_kind_of_file_is_refused_with_the_kinds_that_are_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(WeightsError, match=r"expected \.safetensors or \.pt, \.pth, \.bin, \.ckpt"):
        load(tmp_path / name)


def test_metadata_comes_with_the_tensors(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "w.safetensors", metadata={"config": "mine"})
    tensors, metadata = load_safetensors(tmp_path / "w.safetensors")
    assert torch.equal(tensors["w"], torch.ones(2)) and metadata == {"config": "mine"}


@pytest.mark.parametrize("header", [
    b"[" * 100_000, b'{"a":' * 50_000 + b"1" + b"}" * 50_000, b'{"a":' + b"9" * 6000 + b"}", b"[]", b"7",
    json.dumps({"__metadata__": {"a": 1}}).encode(), b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}',
    b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
], ids=["nested lists", "nested dicts", "long number", "list", "number", "metadata", "negative size", "hole"])
def test_a_strange_header_is_refused(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + ONE)
    with pytest.raises(WeightsError, match=r"w\.safetensors"):
        load(path)


def test_a_header_below_the_cap_with_too_many_entries_is_refused_at_once(tmp_path: Path) -> None:
    entry = b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    header = b"{" + b",".join(entry % index for index in range(5 * MAX_TENSORS)) + b"}"
    assert len(header) < MAX_HEADER_BYTES
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    start = time.process_time()
    with pytest.raises(WeightsError, match="between 0 and"):
        load(tmp_path / "w.safetensors")
    assert time.process_time() - start < 0.3


def test_a_header_above_the_cap_is_refused_unparsed(tmp_path: Path) -> None:
    with (tmp_path / "w.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", MAX_HEADER_BYTES + 1))
        file.truncate(MAX_HEADER_BYTES + 100)
    with pytest.raises(WeightsError, match="more than"):
        load(tmp_path / "w.safetensors")
