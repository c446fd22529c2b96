"""Files are whole or not there, whatever goes wrong while they are written."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from clipapps.engine.atomic import atomic_file, remove_stale, write_json, write_text
from clipapps.errors import DiskError


def test_the_content_arrives_and_nothing_else_is_left(tmp_path):
    write_text(tmp_path / "new" / "a.txt", "é\n")
    write_json(tmp_path / "new" / "b.json", {"x": 1})
    assert (tmp_path / "new" / "a.txt").read_text(encoding="utf-8") == "é\n"
    assert (tmp_path / "new" / "b.json").read_text() == '{\n  "x": 1\n}\n'
    assert sorted(os.listdir(tmp_path / "new")) == ["a.txt", "b.json"]


def test_an_error_in_the_block_keeps_the_old_file(tmp_path):
    file = tmp_path / "a.txt"
    write_text(file, "old")
    with pytest.raises(ValueError, match="mine"), atomic_file(file, "w") as stream:
        stream.write("half of the n")
        raise ValueError("mine")
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_keeps_the_old_file_and_says_how_much_is_needed(tmp_path):
    """The limit on file size stands for a full disk: the kernel refuses the write at that byte."""
    script = f"""
import os, resource, signal
from clipapps.engine.atomic import atomic_file
from clipapps.errors import DiskError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in (0, 1, 50_000, 99_999):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        with atomic_file({str(tmp_path / "a.bin")!r}, expected_bytes=100_000) as stream:
            for _ in range(100):
                stream.write(b"n" * 1000)
    except DiskError as error:
        print(error.exit_code, os.listdir({str(tmp_path)!r}), error)
"""
    (tmp_path / "a.bin").write_bytes(b"old")
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    lines = result.stdout.splitlines()
    assert len(lines) == 4, result.stderr
    for line in lines:
        assert line.startswith("3 ['a.bin'] ")
        assert "a.bin cannot be written" in line
        assert "bytes free, 100,000 needed" in line
    assert (tmp_path / "a.bin").read_bytes() == b"old"


def test_free_space_is_asked_for_before_anything_is_written(tmp_path):
    with pytest.raises(DiskError, match="not enough free space"), atomic_file(tmp_path / "a", expected_bytes=2**60):
        pytest.fail("the block ran")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="cannot be written"):
        write_text(tmp_path / "file" / "a.txt", "")


def test_leftovers_of_dead_processes_are_removed_and_those_of_live_ones_stay(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    gone, mine = tmp_path / f"a.pth.tmp-{dead.pid}", tmp_path / f"b.pth.tmp-{os.getpid()}"
    live, other = tmp_path / f"c.pth.tmp-{os.getppid()}", tmp_path / "d.pth"
    for file in (gone, mine, live, other):
        file.write_text("")
    assert sorted(remove_stale(tmp_path)) == sorted([gone, mine])
    assert sorted(tmp_path.iterdir()) == sorted([live, other])


def test_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "")
    finally:
        os.umask(old)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640
