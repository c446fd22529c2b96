"""The training loop: its phases in order, the same numbers after a resume in any of them, and what it keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from clipapps.engine import checkpoint
from clipapps.projects.backlit.network import EnhancementNetwork

STEPS = 14
PHASES = ("train_cfg.guidance_batch_size=2", "train_cfg.schedule.initialize_iters=2",
          "train_cfg.schedule.reconstruct_iters=2", "train_cfg.schedule.enhance_iters=3",
          "train_cfg.schedule.refine_iters=2", "train_cfg.schedule.max_extensions=0",
          "train_cfg.schedule.display_every=1", "train_cfg.schedule.score_window=2", f"train_cfg.max_iters={STEPS}",
          f"train_cfg.val_interval={STEPS}", "default_hooks.checkpoint.interval=1",
          f"default_hooks.checkpoint.max_keep={STEPS}")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, train_small) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    train_small("clip_lit", folder, *PHASES)
    return folder


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {name: leaf for key, item in value.items() for name, leaf in leaves(item, f"{path}/{key}").items()}
    if isinstance(value, (list, tuple)):
        return {name: leaf for key, item in enumerate(value) for name, leaf in leaves(item, f"{path}/{key}").items()}
    return {path: value}


def different(one: Path, other: Path) -> list[str]:
    first, second = ({name: leaf for name, leaf in leaves(checkpoint.load(file)).items()
                      if not name.startswith("/message_hub")} for file in (one, other))
    assert first.keys() == second.keys()
    return [name for name, leaf in first.items()
            if not (torch.equal(leaf, second[name]) if isinstance(leaf, torch.Tensor) else leaf == second[name])]


def test_phases_follow_each_other(undisturbed: Path):
    log = (undisturbed / "train.log").read_text()
    told = [line.split("INFO - ")[1] for line in log.splitlines() if " -> " in line]
    assert told == ["step 2: initialize -> reconstruct (round 0)", "step 4: reconstruct -> enhance (round 1)",
                    "step 7: enhance -> refine (round 1)", "step 9: refine -> enhance (round 2)",
                    "step 12: enhance -> refine (round 2)", "step 14: refine -> enhance (round 3)"]


@pytest.mark.parametrize("step", [1, 3, 6, 8, 13])  # within every phase, the last with two earlier results
def test_resume_in_any_phase_is_equal_to_the_bit(undisturbed: Path, tmp_path: Path, train_small, step: int):
    train_small("clip_lit", tmp_path, *PHASES, resume=undisturbed / f"iter_{step}.pth")
    assert different(undisturbed / f"iter_{STEPS}.pth", tmp_path / f"iter_{STEPS}.pth") == []


def test_a_checkpoint_holds_snapshots_and_no_tower(undisturbed: Path):
    content = checkpoint.load(undisturbed / f"iter_{STEPS}.pth")
    assert set(content["backlit_loop"]["snapshots"]) == {"network/0", "network/1", "guidance/best"}
    assert {name.partition(".")[0] for name in content["state_dict"]} == {"network", "guidance"}
    assert content["backlit_loop"]["schedule"]["total"] == STEPS


def test_each_phase_trains_its_own_part(undisturbed: Path):
    def moved(before: int, after: int) -> set[str]:
        one, other = (checkpoint.load(undisturbed / f"iter_{step}.pth")["state_dict"] for step in (before, after))
        return {name.partition(".")[0] for name in one if not torch.equal(one[name], other[name])}

    assert moved(1, 2) == {"guidance"}
    assert moved(2, 3) == {"network"}
    assert moved(5, 6) == {"network"}
    assert moved(7, 8) == {"guidance"}


def test_rave_fits_its_direction_once_and_tells_what_it_says(tmp_path: Path, train_small):
    metrics = train_small("rave", tmp_path, "train_cfg.schedule.reconstruct_iters=1", "train_cfg.max_iters=3",
                          "train_cfg.val_interval=3", "default_hooks.checkpoint.interval=1",
                          "default_hooks.checkpoint.max_keep=3")
    assert {"PSNR", "SSIM", "input_PSNR", "input_SSIM"} <= set(metrics)
    first, last = (checkpoint.load(tmp_path / f"iter_{step}.pth")["state_dict"] for step in (1, 3))
    assert first["guidance.is_fitted"] and torch.equal(first["guidance.direction"], last["guidance.direction"])
    assert first["guidance.direction"].norm().item() == pytest.approx(1.0, abs=1e-5)
    told = json.loads((tmp_path / "residual.json").read_text())
    assert told["threshold"] == pytest.approx(((1 - told["cosine_of_means"]) / 2) ** 0.5, abs=1e-4)
    assert len(told["well_lit"]) == len(told["backlit"]) == 10


def test_rave_without_a_list_of_words_reports_on_every_token(tmp_path: Path, train_small, monkeypatch):
    from clipapps.clip import CLIPBackbone

    tokens = [f"word{number // 2}" for number in range(80)]  # as tokens within and at the end of words
    monkeypatch.setattr(CLIPBackbone, "vocabulary", lambda self: tokens)
    short = ("train_cfg.max_iters=1", "train_cfg.val_interval=1", "train_cfg.schedule.reconstruct_iters=1")
    train_small("rave", tmp_path / "all", *short, "model.guidance.words=None")
    told = json.loads((tmp_path / "all" / "residual.json").read_text())
    assert len({entry["word"] for entry in told["well_lit"] + told["backlit"]}) == 30
    train_small("rave", tmp_path / "none", *short, "model.guidance.words=None", "model.clip.with_text=False")
    assert not (tmp_path / "none" / "residual.json").exists()
    assert "no text tower" in (tmp_path / "none" / "train.log").read_text()


def test_a_failed_reconstruction_starts_a_new_network(tmp_path: Path, train_small):
    train_small("rave", tmp_path, "train_cfg.schedule.reconstruct_iters=3", "train_cfg.schedule.reinit_psnr=1000",
                "train_cfg.schedule.reinit_grace=0", "train_cfg.schedule.max_restarts=1", "train_cfg.max_iters=1",
                "train_cfg.val_interval=1")
    content = checkpoint.load(tmp_path / "iter_1.pth")
    assert content["optimizer"]["state"] == {}
    assert content["backlit_loop"]["schedule"]["_restarts"] == 1


def test_the_latent_pair_trains_without_a_text_tower(tmp_path: Path, train_small):
    train_small("clip_lit_latent", tmp_path, *PHASES, "train_cfg.max_iters=4", "train_cfg.val_interval=4",
                "model.clip.with_text=False")
    one, other = (checkpoint.load(tmp_path / f"iter_{step}.pth")["state_dict"] for step in (1, 2))
    assert one["guidance.embedding"].shape == (2, 128)
    assert not torch.equal(one["guidance.embedding"], other["guidance.embedding"])


def test_the_released_schedule_resumes_to_the_bit(tmp_path: Path, small_overrides):
    from clipapps.engine import runner
    from clipapps.engine.config import load_config
    from clipapps.projects.backlit.schedule import OfficialSchedule

    config = load_config("backlit/rave_tiny_toyworld", [*small_overrides, "default_hooks.checkpoint.interval=2",
                                                        "default_hooks.checkpoint.max_keep=9"])
    config.model.update(train_padding="zeros", identity_reduction="sum")
    config.train_cfg.update(max_iters=10, val_interval=10)
    config.train_cfg.schedule = dict(type=OfficialSchedule, initialize_iters=0, enhance_iters=3, refine_iters=0,
                                     display_every=2, enhance_threshold=1e9)
    config.model.network_weights = str(tmp_path / "network.safetensors")
    torch.manual_seed(0)
    checkpoint.save_weights(EnhancementNetwork(start_bias=0.9).state_dict(), config.model.network_weights)
    runner.train(config, tmp_path / "a")
    runner.train(config, tmp_path / "b", resume=tmp_path / "a" / "iter_4.pth")
    assert different(tmp_path / "a" / "iter_10.pth", tmp_path / "b" / "iter_10.pth") == []
    state = checkpoint.load(tmp_path / "a" / "iter_10.pth")["backlit_loop"]
    schedule = state["schedule"]
    assert (schedule["total"], schedule["round"], schedule["reconstruct_iters"]) == (10, 3, 0)
    assert set(state["snapshots"]) == {"network/0"}
