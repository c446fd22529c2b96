"""The training of CLIP-LIT, CLIP-LIT-Latent and RAVE (arXiv 2303.17569, algorithm 1; arXiv 2404.01889, section 3).

Read `BacklitTrainLoop.run_iter`: the schedule says which phase the next step belongs to, the phase's loader gives the
batch, `BacklitEnhancer` has the losses, and what came out of the step decides how the schedule goes on:

    initialize   the pair of prompts learns to tell backlit from well-lit photos
    reconstruct  the network learns to leave photos as they are; one that fails starts anew
    enhance      the network lowers the guidance loss; the best network of the round is kept
    refine       the pair learns a finer scale: backlit > earlier results > well-lit
    ...          enhance and refine alternate to the end; both are extended while their losses are high

RAVE computes its direction once, before the first step, and has neither "initialize" nor "refine".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.runner.base_loop import BaseLoop
from torch import Tensor

from clipapps.engine.atomic import write_json
from clipapps.engine.training_state import unwrapped
from clipapps.errors import ConfigError
from clipapps.projects.backlit.datasets import (
    BACKLIT,
    WELL_LIT,
    LabeledView,
    Lighting,
    RankedView,
    squashed,
    to_tensor,
)
from clipapps.projects.backlit.guidance import ResidualDirection
from clipapps.projects.backlit.models import BacklitEnhancer, to_bytes
from clipapps.projects.backlit.residual import corrected, embed_words, interpret, report, residual_vector
from clipapps.projects.backlit.schedule import ENHANCE, INITIALIZE, RECONSTRUCT, REFINE, Outcome, Schedule, Step
from clipapps.registry import LOOPS

STATE = "backlit_loop"  # key in checkpoints
REPORT = "residual.json"
_LISTED = 15  # words at either end of the report


class Feed:
    """A loader whose passes are numbered, so that it can stop within one and go on there in another process.

    Args:
        loader: with a sampler that has `set_epoch`.
    """

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.passes, self.drawn = -1, 0
        self._batches: Iterator[dict[str, Any]] = iter(())
        self._is_open = False

    def begin(self) -> None:
        """Start the next pass."""
        self.passes, self.drawn = self.passes + 1, 0
        self._open()

    def next(self) -> dict[str, Any]:
        """The next batch; a pass that is over is followed by the next one."""
        if not self._is_open and self.passes >= 0:
            self._open()
            for _ in range(self.drawn):
                next(self._batches)
        if not self._is_open or self.drawn == len(self.loader):
            self.begin()
        self.drawn += 1
        return next(self._batches)

    def _open(self) -> None:
        self.loader.sampler.set_epoch(self.passes)
        self._batches, self._is_open = iter(self.loader), True


@LOOPS.register_module()
class BacklitTrainLoop(BaseLoop):
    """Alternates between the network and its guidance, as a schedule says.

    Args:
        runner: whose model is a BacklitEnhancer and whose optimizer has all of its parameters.
        dataloader: config of the network's loader; its data set is a `Lighting`. The guidance's loaders are made of
            the same settings and pictures.
        max_iters: steps of all phases together.
        schedule: a Schedule or its config.
        guidance_batch_size: of the phases "initialize" and "refine".
        val_begin, val_interval: first step and steps between validations.

    Raises:
        ConfigError: another model or data set than these.
    """

    def __init__(self, runner: Any, dataloader: dict[str, Any], max_iters: int, schedule: Schedule | dict[str, Any],
                 guidance_batch_size: int = 16, val_begin: int = 1, val_interval: int = 1000) -> None:
        super().__init__(runner, dataloader)
        self._max_iters, self._max_epochs, self._iter, self._epoch = int(max_iters), 1, 0, 0
        self.val_begin, self.val_interval, self.stop_training = val_begin, val_interval, False
        self.schedule: Schedule = LOOPS.build(schedule) if isinstance(schedule, dict) else schedule
        self.pictures = self.dataloader.dataset.wrapped
        if not isinstance(self.pictures, Lighting) or not isinstance(self.model, BacklitEnhancer):
            raise ConfigError("BacklitTrainLoop trains a BacklitEnhancer on a data set with two sides, such as "
                              "LightingFolders or ToyWorldLighting.")
        self.ranked = RankedView(self.pictures, seed=runner.seed)
        views = {INITIALIZE: LabeledView(self.pictures), REFINE: self.ranked}
        network_feed = Feed(self.dataloader)
        self.feeds = {RECONSTRUCT: network_feed, ENHANCE: network_feed}
        for phase, view in views.items():
            content = {**dataloader, "dataset": view, "batch_size": guidance_batch_size, "persistent_workers": False}
            self.feeds[phase] = Feed(runner.build_dataloader(content, seed=runner.seed))
        self.snapshots: dict[str, dict[str, Tensor]] = {}
        self._rendered: tuple[str, ...] | None = None
        self._is_resumed = False
        runner.visualizer.dataset_meta = self.pictures.metainfo
        runner.register_hook(LoopStateHook(self))

    # ---- the algorithm ----------------------------------------------------------------------------------------

    def run(self) -> torch.nn.Module:
        """Train to the last step."""
        self.runner.call_hook("before_train")
        self.runner.call_hook("before_train_epoch")
        if not self._is_resumed:
            self.schedule.start({phase: len(feed.loader) for phase, feed in self.feeds.items()},
                                has_network=self.model.has_network_weights,
                                has_guidance=not self.model.guidance.is_learned)
        if isinstance(self.model.guidance, ResidualDirection) and not self.model.guidance.is_fitted:
            self.fit_direction(self.model.guidance)
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter()
            is_due = self._iter % self.val_interval == 0 or self._iter == self._max_iters
            if self.runner.val_loop is not None and self._iter >= self.val_begin and is_due:
                self.runner.val_loop.run()
        self.runner.call_hook("after_train_epoch")
        self.runner.call_hook("after_train")
        return self.runner.model

    def run_iter(self) -> None:
        """One step of the phase that the schedule names, and what follows from it."""
        step = self.schedule.next()
        batch = self.next_batch(step)
        self.runner.call_hook("before_train_iter", batch_idx=self._iter, data_batch=batch)
        outputs = self.runner.model.train_step(batch, optim_wrapper=self.runner.optim_wrapper)
        before = self.schedule.phase
        outcome = self.schedule.done(*value_and_score(outputs, step.phase))
        self.carry_out(outcome)
        if before != self.schedule.phase:
            self.runner.logger.info("step %d: %s -> %s (round %d)", self._iter + 1, before, self.schedule.phase,
                                    self.schedule.round)
        self.runner.call_hook("after_train_iter", batch_idx=self._iter, data_batch=batch, outputs=outputs)
        self._iter += 1

    def next_batch(self, step: Step) -> dict[str, Any]:
        """A batch of the phase's pictures; a refinement first renders the results that are ranked."""
        if step.phase == REFINE and (step.starts_pass or self._rendered != step.intermediates):
            self.ranked.set_intermediates([self.render(name) for name in step.intermediates])
            self._rendered = step.intermediates
        feed = self.feeds[step.phase]
        if step.starts_pass:
            feed.begin()
        return dict(feed.next(), phase=step.phase)

    def carry_out(self, outcome: Outcome) -> None:
        """Take a snapshot, go back to one, or start the network anew."""
        if outcome.save:
            part = self.model.get_submodule(outcome.save.partition("/")[0])
            self.snapshots[outcome.save] = {name: value.detach().clone() for name, value in part.state_dict().items()}
        if outcome.restore and outcome.restore in self.snapshots:
            part = self.model.get_submodule(outcome.restore.partition("/")[0])
            part.load_state_dict(self.snapshots[outcome.restore])
        if outcome.reinitialize:
            self.runner.logger.info("step %d: the reconstruction failed; a new network", self._iter + 1)
            self.model.network.reset_parameters()
            for parameter in self.model.network.parameters():
                self.runner.optim_wrapper.optimizer.state.pop(parameter, None)

    @torch.no_grad()
    def render(self, snapshot: str) -> np.ndarray:
        """Every backlit picture enhanced by an earlier network, (N, S, S, 3) uint8; S is the guidance's size."""
        network, current = self.model.network, self.model.network.state_dict()
        current = {name: value.clone() for name, value in current.items()}
        network.load_state_dict(self.snapshots[snapshot])
        rendered = []
        for index in range(self.pictures.count(BACKLIT)):
            image = squashed(self.pictures.read(BACKLIT, index), self.pictures.guidance_size)
            enhanced, _ = self.model.enhance(self._on_device(image), self.model.train_padding)
            rendered.append(to_bytes(enhanced)[0].permute(1, 2, 0).cpu().numpy())
        network.load_state_dict(current)
        return np.stack(rendered)

    @torch.no_grad()
    def fit_direction(self, guidance: ResidualDirection) -> None:
        """RAVE's direction from the training pictures as they are, and what it says as `residual.json`."""
        sides = [torch.cat([self.model.towers.embed(self._on_device(self.pictures.read(side, index)),
                                                    guidance.embed_transform)
                            for index in range(self.pictures.count(side))]) for side in (BACKLIT, WELL_LIT)]
        residual = residual_vector(*sides)
        clip = self.model.towers.clip
        if clip.has_text:
            words = list(dict.fromkeys(clip.vocabulary() if guidance.words is None else guidance.words))
            embeds = embed_words(clip, words)
            if guidance.shift_tokens:
                residual = corrected(residual, embeds, interpret(residual, embeds, guidance.shift_tokens))
            if self.runner.rank == 0:
                found = interpret(residual, embeds, min(_LISTED, len(words) // 2))
                write_json(Path(self.runner.work_dir) / REPORT, report(residual, found, words))
        elif guidance.shift_tokens:
            raise ConfigError("shift_tokens corrects the direction by words; build the guiding CLIP with_text=True.")
        else:
            self.runner.logger.info("no text tower: %s, the words nearest to the direction, is not written", REPORT)
        guidance.set(residual)

    def _on_device(self, image: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 -> (1, 3, H, W) in 0..1."""
        return to_tensor(image)[None].to(self.runner.device).float() / 255

    # ---- what the engine asks of a loop -----------------------------------------------------------------------

    @property
    def model(self) -> BacklitEnhancer:
        """The model without wrappers."""
        return unwrapped(self.runner.model)

    @property
    def max_epochs(self) -> int:
        """One: the whole training counts as one epoch."""
        return self._max_epochs

    @property
    def max_iters(self) -> int:
        """Steps of all phases together."""
        return self._max_iters

    @property
    def epoch(self) -> int:
        """The current epoch."""
        return self._epoch

    @property
    def iter(self) -> int:
        """Steps done."""
        return self._iter

    def state_dict(self) -> dict[str, Any]:
        """Schedule, positions in the loaders, and snapshots."""
        return dict(schedule=self.schedule.state_dict(), snapshots=self.snapshots,
                    feeds={phase: [feed.passes, feed.drawn] for phase, feed in self.feeds.items()})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s content."""
        self.schedule.load_state_dict(state["schedule"])
        device = self.runner.device
        self.snapshots = {name: {key: value.to(device) for key, value in part.items()}
                          for name, part in state["snapshots"].items()}
        for phase, (passes, drawn) in state["feeds"].items():
            self.feeds[phase].passes, self.feeds[phase].drawn = passes, drawn
        self._is_resumed = True


class LoopStateHook(Hook):
    """Puts a loop's state into checkpoints and back.

    Args:
        loop: with `state_dict` and `load_state_dict`.
    """

    def __init__(self, loop: BacklitTrainLoop) -> None:
        self.loop = loop

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Add the state."""
        checkpoint[STATE] = self.loop.state_dict()

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Take it, if training goes on from this checkpoint."""
        if runner.is_resuming and STATE in checkpoint:
            self.loop.load_state_dict(checkpoint[STATE])


def value_and_score(outputs: dict[str, Any], phase: str) -> tuple[float, float]:
    """What a phase's end, and its best, are judged by; the same in every process.

    Reconstruction: the PSNR is the score. Otherwise the score is the loss, negated. The end of "enhance" is judged by
    the objective, which leaves RAVE's extra factor out.
    """
    loss = _mean(outputs["loss"])
    if phase == RECONSTRUCT:
        return loss, _mean(outputs["psnr"])
    return (_mean(outputs["objective"]) if phase == ENHANCE else loss), -loss


def _mean(value: Any) -> float:
    """The mean over the processes."""
    if get_world_size() == 1:
        return float(value.detach() if isinstance(value, Tensor) else value)
    total = torch.as_tensor(value, dtype=torch.float32).detach().clone()
    all_reduce(total, op="mean")
    return float(total)
