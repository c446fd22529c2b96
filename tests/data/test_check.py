"""The reader behind `data check`: what it sees of a sample, and what it says about a wrong one."""

from __future__ import annotations

import numpy as np
import pytest

from clipapps.data.check import Facts, MediaFolder, SampleReader, Summary
from clipapps.errors import BadSampleError, DataError


class Steps:
    """A data set in mmengine's style: one sample of its own, any steps."""

    metainfo = dict(classes=("sky", "road"), palette=[(0, 0, 255), (90, 90, 90)])

    def __init__(self, sample, *steps):
        self.sample, self.pipeline = sample, type("Pipeline", (), {"transforms": steps})

    def __len__(self):
        return 1

    def get_data_info(self, index):
        return {"img_path": "a.jpg", "seg_map_path": "a.png", **self.sample}


def picture(width=6, height=4):
    return {"img": np.zeros((height, width, 3), np.uint8)}


def labels(*ids):
    return {"gt_seg_map": np.resize(np.array(ids, np.uint8), (4, 6))}


def test_image_and_labels_are_seen_before_a_later_step_changes_them():
    def load(sample):
        return {**sample, **picture(), **labels(0, 1, 1, 255)}

    def crop_in_place(sample):
        sample["gt_seg_map"][:] = 7
        return {**sample, "img": sample["img"][:2, :2], "gt_seg_map": sample["gt_seg_map"][:2, :2]}

    facts = SampleReader(Steps({}, load, crop_in_place))[0]
    assert facts.size == (6, 4) and facts.pixels == {0: 6, 1: 12, 255: 6} and facts.problems == []
    assert facts.paths == ["a.jpg", "a.png"]


@pytest.mark.parametrize(("content", "said"), [
    ({**picture(), **labels(255)}, "a.png: every pixel is ignored (255)."),
    ({**picture(), **labels(0, 9, 2)}, "a.png has class ids 2, 9, but they go from 0 to 1."),
    ({**picture(8, 4), **labels(0)}, "a.png is 6 x 4 pixels, but its image is 8 x 4."),
    ({**picture(), "gt_bboxes_labels": np.array([0, 5])}, "a.png has object classes 5, but they go from 0 to 1."),
])
def test_wrong_labels_are_told_with_the_numbers(content, said):
    assert SampleReader(Steps(content))[0].problems == [said]


def test_objects_are_counted_and_boxes_without_an_area_are_told():
    objects = [dict(bbox=[0, 0, 2, 2], label=1), dict(bbox=[1, 1, 3, 2], bbox_label=1),
               dict(bbox=[3, 1, 3, 2], label=0)]
    facts = SampleReader(Steps({**picture(), "instances": objects}))[0]
    assert facts.objects == {1: 2, 0: 1} and facts.problems == ["a.jpg has a box (3, 1, 3, 2) without an area."]
    assert "object classes 7" in SampleReader(Steps({"instances": [dict(bbox=[0, 0, 1, 1], label=7)]}))[0].problems[0]


def test_any_error_of_a_step_becomes_the_samples_problem():
    def bad_sample(sample):
        raise BadSampleError("a.jpg is empty.")

    def broken(sample):
        return sample["no such key"]

    assert SampleReader(Steps({}, bad_sample))[0].problems == ["a.jpg is empty."]
    assert SampleReader(Steps({}, broken))[0].problems == ["a.jpg: KeyError: 'no such key'."]


def test_memory_that_runs_out_is_no_fault_of_the_sample():
    def hungry(sample):
        raise MemoryError

    with pytest.raises(MemoryError):
        SampleReader(Steps({}, hungry))[0]


def test_a_sample_that_a_step_drops_is_counted():
    summary = Summary("train", classes=("sky", "road"))
    summary.add(SampleReader(Steps({**picture(), **labels(1)}, lambda sample: None))[0])
    assert summary.left_out == 1 and summary.bad == 0 and summary.pixels == {1: 24}


def test_a_data_set_without_a_pipeline_is_read_by_index():
    samples = [{"inputs": np.zeros((3, 5, 7), np.uint8), "semantic": np.ones((5, 7), np.uint8)}]
    facts = SampleReader(samples)[0]
    assert facts.size == (7, 5) and facts.pixels == {1: 35}


def test_thumbnails_are_small_and_only_of_the_chosen():
    content = {**picture(1200, 800), "gt_seg_map": np.zeros((800, 1200), np.uint8)}
    assert SampleReader(Steps(content))[0].thumbnail is None
    thumbnail = SampleReader(Steps(content), thumbnails=[0])[0].thumbnail
    assert thumbnail.shape == (128, 192, 3)
    assert np.ptp(thumbnail.reshape(-1, 3), axis=0).max() == 0 and tuple(thumbnail[0, 0]) == (0, 0, 128)  # half sky


def test_a_summary_adds_up():
    summary = Summary("val", classes=("sky", "road"))
    new = [summary.add(facts) for facts in (
        Facts(0, ["a"], (4, 4), pixels={0: 10, 255: 6}, objects={1: 2}),
        Facts(1, ["b"], (8, 2), pixels={0: 4, 1: 12}),
        Facts(2, ["dir/c", "dir/c.png"], (9, 9), problems=["dir/c.png is empty."]))]
    assert [len(found) for found in new] == [0, 0, 1] and new[2][0].file == "dir/c.png"
    assert summary.read == 3 and summary.bad == 1
    assert summary.smallest == (4, 4) and summary.largest == (9, 9)
    assert summary.to_dict()["pixels"] == {"sky": 14, "road": 12, "ignored": 6}
    assert summary.to_dict()["objects"] == {"road": 2}


def test_a_folder_goes_below_itself_and_needs_an_image(tmp_path):
    from PIL import Image

    (tmp_path / "deep").mkdir()
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match="holds no images and no videos"):
        MediaFolder(tmp_path)
    Image.new("L", (5, 3)).save(tmp_path / "deep" / "b.png")
    (tmp_path / "a.JPG").write_bytes(b"not one")
    reader = SampleReader(MediaFolder(tmp_path))
    assert len(reader) == 2 and reader[1].size == (5, 3)
    assert len(reader[0].problems) == 1 and reader[0].problems[0].startswith(f"{tmp_path / 'a.JPG'} is no image")


def test_a_folder_of_videos(tmp_path):
    pytest.importorskip("av", reason="PyAV comes with the extras ila and backlit")
    from clipapps.data.video.writing import write_video

    frames = [np.full((32, 64, 3), 10 * number, np.uint8) for number in range(12)]
    write_video(tmp_path / "a.mp4", frames, fps=12)
    content = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "b.mp4").write_bytes(content[:-40] + bytes(20) + content[-20:])  # the last frame alone is damaged
    (tmp_path / "c.webm").write_bytes(b"no video")
    reader = SampleReader(MediaFolder(tmp_path), thumbnails=[0])
    whole, damaged, none = (reader[index] for index in range(3))
    assert whole.problems == [] and whole.size == (64, 32) and whole.paths == [str(tmp_path / "a.mp4")]
    assert abs(int(whole.thumbnail[0, 0, 0]) - 60) < 4  # the frame in the middle
    assert len(damaged.problems) == 1 and "b.mp4 is damaged" in damaged.problems[0]
    assert len(none.problems) == 1 and "c.webm is no video" in none.problems[0]


def test_clips_are_counted_and_drawn():
    clips = [dict(inputs=np.full((2, 4, 3, 8, 10), 50, np.uint8), label=label, index=0) for label in (1, 3)]
    reader = SampleReader(clips, thumbnails=[0])
    reader.classes = ["a", "b", "c"]
    assert reader[0].size == (10, 8) and reader[0].objects == {1: 1} and reader[0].thumbnail.shape == (8, 10, 3)
    assert reader[1].problems == ["sample 1 has object classes 3, but they go from 0 to 2."]


def test_all_frames_of_a_listed_video_are_decoded(tmp_path):
    pytest.importorskip("av", reason="PyAV comes with the extras ila and backlit")
    from clipapps.data.video.datasets import VideoFiles
    from clipapps.data.video.reader import read_frames
    from clipapps.data.video.writing import write_video

    write_video(tmp_path / "a.mp4", [np.full((32, 64, 3), 10 * number, np.uint8) for number in range(12)], fps=12)
    content = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "b.mp4").write_bytes(content[:-40] + bytes(20) + content[-20:])
    files = [(tmp_path / name, 0) for name in ("a.mp4", "b.mp4")]
    steps = [lambda sample: {**sample, "frames": read_frames(sample["video_path"], [0])}]
    first = VideoFiles(files, ["any"], steps, "the test")
    assert first[1]["frames"].shape == (1, 32, 64, 3)  # what the pipeline reads is fine
    reader = SampleReader(first)
    assert reader[0].problems == [] and reader[0].size == (64, 32) and reader[0].objects == {0: 1}
    assert len(reader[1].problems) == 1 and "b.mp4 is damaged" in reader[1].problems[0]
