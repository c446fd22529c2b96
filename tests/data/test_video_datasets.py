"""Lists, folders and tables of videos."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipapps.data.video.datasets import CsvVideos, FolderVideos, ListFileVideos, class_names
from clipapps.errors import DataError
from clipapps.registry import DATASETS


@pytest.fixture
def root(tmp_path) -> Path:
    """Two videos (empty files: nothing reads them here) in a folder, one of them in a folder below with blanks."""
    for name in ("a.mp4", "my clips/b c.webm"):
        (tmp_path / "videos" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "videos" / name).touch()
    (tmp_path / "labels.csv").write_text('id,name\n1,"goes up, then down"\n0,runs\n')
    return tmp_path


def test_list_file(root):
    (root / "train.txt").write_text("# videos\na.mp4 1 \n\n  \nmy clips/b c.webm\t0\n")
    videos = ListFileVideos("train.txt", root, classes="labels.csv", data_prefix="videos",
                            pipeline=[lambda sample: {**sample, "seen": True}])
    assert videos.metainfo["classes"] == ("runs", "goes up, then down")
    assert [videos[index] for index in range(2)] == [
        dict(video_path=str(root / "videos/a.mp4"), label=1, index=0, sample_idx=0, seen=True),
        dict(video_path=str(root / "videos/my clips/b c.webm"), label=0, index=1, sample_idx=1, seen=True)]
    with pytest.raises(IndexError):
        videos[2]


@pytest.mark.parametrize(("line", "words"), [
    ("a.mp4", "Line 2 of .*expected a path and a label"), ("a.mp4 -1", "Line 2"), ("a.mp4 one", "Line 2"),
    ("a.mp4 2", "labels 2, but with 2 classes they go from 0 to 1"),
    ("c.mp4 1", "1 of the 2 videos .* not there: .*c.mp4"),
])
def test_wrong_lines(root, line, words):
    (root / "train.txt").write_text(f"a.mp4 0\n{line}\n")
    with pytest.raises(DataError, match=words):
        ListFileVideos(root / "train.txt", root / "videos", classes=("x", "y"))


def test_empty_and_missing_lists(root):
    (root / "train.txt").write_text("# nothing\n")
    with pytest.raises(DataError, match="lists no videos"):
        ListFileVideos(root / "train.txt", classes=("x",))
    with pytest.raises(DataError, match="There is no file"):
        ListFileVideos(root / "val.txt", classes=("x",))


def test_folder_per_class(tmp_path):
    for name in ("walk/b.MP4", "walk/x/a.mkv", "run fast/c.avi", "run fast/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    videos = FolderVideos(tmp_path)
    assert videos.metainfo["classes"] == ("run fast", "walk")
    assert [(file.name, label) for file, label in videos.files] == [("c.avi", 0), ("b.MP4", 1), ("a.mkv", 1)]
    assert [label for _, label in FolderVideos(tmp_path, classes=("walk", "run fast")).files] == [0, 0, 1]
    assert len(FolderVideos(tmp_path, classes=("walk",))) == 2
    with pytest.raises(DataError, match="'wolk' has no folder .* Did you mean 'walk'"):
        FolderVideos(tmp_path, classes=("wolk",))
    with pytest.raises(DataError, match="no folder"):
        FolderVideos(tmp_path / "none")


def test_table(root):
    (root / "train.csv").write_text("video,split,action\na.mp4,train,runs\n"
                                    "my clips/b c.webm,train,\"goes up, then down\"\n")
    columns = dict(path="video", label="action")
    videos = CsvVideos("train.csv", root, classes="labels.csv", data_prefix="videos", **columns)
    assert [label for _, label in videos.files] == [0, 1]
    without = CsvVideos(root / "train.csv", root / "videos", **columns)
    assert without.metainfo["classes"] == ("goes up, then down", "runs")
    with pytest.raises(DataError, match="Line 3 of .* 'goes up, then down', which is no class"):
        CsvVideos(root / "train.csv", root / "videos", classes=("runs", "walks"), **columns)
    with pytest.raises(DataError, match="no column 'path'"):
        CsvVideos(root / "train.csv", root / "videos")
    (root / "numbers.csv").write_text("path,label\na.mp4,2\nmy clips/b c.webm,0\n")
    videos = CsvVideos(root / "numbers.csv", root / "videos")
    assert [label for _, label in videos.files] == [2, 0]
    assert videos.metainfo["classes"] == ("0", "1", "2")


def test_class_names(tmp_path):
    assert class_names(["b", "a"]) == ("b", "a")
    for content, words in (("name,id\n", "no list of classes"), ("id,name\n0,a\n2,b\n", "from 0 to 1"),
                           ("a\nb\n", "id,name")):
        (tmp_path / "labels.csv").write_text(content)
        with pytest.raises(DataError, match=words):
            class_names(tmp_path / "labels.csv")


def test_the_registry_knows_them(root):
    (root / "train.txt").write_text("a.mp4 0\n")
    videos = DATASETS.build(dict(type="ListFileVideos", ann_file=str(root / "train.txt"), classes=["x"],
                                 data_root=str(root / "videos")))
    assert len(videos) == 1


def test_shared_lists(shared):
    folder = shared / "data" / "ila"
    if not folder.is_dir():
        pytest.skip(f"there are no videos in {folder}")
    sets = [ListFileVideos(f"{split}.txt", folder, classes="labels.csv", data_prefix="videos")
            for split in ("train", "val")]
    assert [len(videos) for videos in sets] == [5, 5]
    assert sets[0].metainfo["classes"][2] == "applying eye makeup"
