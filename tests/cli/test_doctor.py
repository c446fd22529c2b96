"""`clipapps doctor`: the block, its levels and its cures."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from clipapps.cli import environment
from clipapps.cli.environment import BROKEN, NOTE, OK

WHOLE = {"torch": "2.15.0", "opencv-python": "5.0.0"}


@pytest.fixture
def requires(monkeypatch):
    """Pretend that the installed clipapps asks for the given requirements."""

    def pretend(*lines, extras=()):
        monkeypatch.setattr(environment.metadata, "requires", lambda name: list(lines))
        monkeypatch.setattr(environment.metadata, "metadata",
                            lambda name: type("Fields", (), {"get_all": staticmethod(lambda key: list(extras))}))

    return pretend


def test_block_names_versions_plugins_and_sections(clipapps_cli):
    result = clipapps_cli("doctor")
    assert result.code == 0, result.out
    for line in ("system", "packages", "conflicts", "system libraries", "accelerator", "disk", "plugins"):
        assert f"\n{line}\n" in f"\n{result.out}"
    assert "torch 2." in result.out and "denseclip: clipapps.projects.denseclip" in result.out


def test_json_has_the_same_findings(clipapps_cli):
    sections = json.loads(clipapps_cli("doctor", "--json").out)
    assert {finding["level"] for found in sections.values() for finding in found} <= {OK, NOTE, BROKEN}


def test_missing_and_old_requirements_are_broken_and_cured_by_pip(requires):
    requires("torch>=3", "safetensors>=0.5", "opencv-python>=4; python_version>'3'")
    found = list(environment.requirements(WHOLE))
    assert [(finding.level, finding.text) for finding in found] == [
        (BROKEN, "torch 2.15.0: >=3 is needed"), (BROKEN, "safetensors: not installed"), (OK, "opencv-python 5.0.0")]
    assert found[1].cure == "pip install 'safetensors>=0.5'"


def test_missing_extra_is_a_note_with_its_command(requires):
    requires("decord2>=3; extra == 'video'", "torch; extra == 'seg'", "clipapps[video]; extra == 'all'",
             extras=("video", "seg", "all"))
    video, = (finding for finding in environment.requirements(WHOLE) if "video" in finding.text)
    assert video.level == NOTE and "decord2>=3" in video.text and video.cure == 'pip install "clipapps[video]"'
    seg, = (finding for finding in environment.requirements(WHOLE) if "seg" in finding.text)
    assert seg.level == OK


def test_headless_opencv_takes_the_place_of_opencv(requires):
    requires("opencv-python>=4.10")
    finding, = environment.requirements({"opencv-python-headless": "5.0.0"})
    assert (finding.level, finding.text) == (OK, "opencv-python-headless 5.0.0")


@pytest.mark.parametrize(("owners", "text", "cure"), [
    ({"mmengine": ["onedl-mmengine", "mmengine"]}, "mmengine and onedl-mmengine both install 'mmengine'",
     "pip uninstall -y mmengine onedl-mmengine && pip install --force-reinstall --no-deps onedl-mmengine"),
    ({"decord": ["decord2", "decord"]}, "decord and decord2 both install 'decord'", "--no-deps decord2"),
    ({"cv2": ["opencv-python", "opencv-python-headless"]}, "both install 'cv2'", "--no-deps opencv-python"),
    ({"mmcv": ["mmcv"]}, "the maintained onedl-mmcv is needed", "pip uninstall -y mmcv && pip install onedl-mmcv"),
])
def test_distributions_that_overwrite_each_other_are_broken(monkeypatch, owners, text, cure):
    monkeypatch.setattr(environment.metadata, "packages_distributions", lambda: owners)
    finding, = environment.conflicts({})
    assert finding.level == BROKEN and text in finding.text and finding.cure.endswith(cure)


def test_one_distribution_counted_twice_is_no_conflict(monkeypatch):
    monkeypatch.setattr(environment.metadata, "packages_distributions", lambda: {"cv2": ["opencv-python"] * 2})
    assert list(environment.conflicts({})) == []


def test_missing_system_library_matters_only_to_what_is_installed(monkeypatch):
    monkeypatch.setattr(environment, "_loads", lambda library: False)
    headless = list(environment.libraries({"opencv-python-headless": "5"}))
    assert [finding.level for finding in headless] == [OK]
    plain = list(environment.libraries({"opencv-python": "5"}))
    assert {finding.cure for finding in plain} == {"sudo apt-get install -y libgl1",
                                                   "sudo apt-get install -y libglib2.0-0"}
    assert {finding.level for finding in plain} == {BROKEN}


def test_libusb_may_come_from_a_python_package(monkeypatch):
    monkeypatch.setattr(environment, "_loads", lambda library: library != "libusb-1.0.so.0")
    assert [finding.level for finding in environment.libraries({"open3d-cpu": "0.20"})] == [BROKEN]
    assert [finding.level for finding in environment.libraries({"open3d-cpu": "0.20", "libusb-package": "1"})] == [OK]


def test_broken_requirement_gives_exit_code_1_and_shows_the_cure(clipapps_cli, monkeypatch):
    finding = environment.Finding("two of a kind", BROKEN, "mend")
    monkeypatch.setattr(environment, "conflicts", lambda versions: [finding])
    result = clipapps_cli("doctor")
    assert result.code == 1
    assert "X two of a kind  ->  mend" in result.out and "1 broken" in result.out


def test_broken_plugin_is_a_note(clipapps_cli, install_plugin):
    install_plugin("broken", "import a_package_that_is_not_there")
    result = clipapps_cli("doctor")
    assert result.code == 0
    assert "? broken: broken, ModuleNotFoundError" in result.out


def test_little_space_is_a_note(monkeypatch):
    usage = SimpleNamespace(free=2**30, total=2**20)
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda place: usage)
    found = list(environment.disk())
    assert {finding.level for finding in found} == {NOTE}
    assert "--shm-size" in found[-1].cure
