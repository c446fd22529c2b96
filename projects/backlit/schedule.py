"""When each phase of CLIP-LIT and RAVE begins and ends: explicit states that can be saved, printed, and tested alone.

Two schedules of the same algorithm (arXiv 2303.17569, section 3 and algorithm 1). `CorrectedSchedule` has exact phase
lengths and keeps the best network of every round. `OfficialSchedule` does what the released training loop does, with
its counting by passes over the data, its running mean over zeros, and its live "best".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clipapps.errors import ConfigError
from clipapps.registry import LOOPS

INITIALIZE, RECONSTRUCT, ENHANCE, REFINE = "initialize", "reconstruct", "enhance", "refine"
LOWEST = -10_000.0
#: released loop: a warm-up shorter than the first is replaced by the second when its part is not loaded
_LEAST_INITIALIZE, _LEAST_RECONSTRUCT = (3000, 8000), (200, 1000)


@dataclass(frozen=True)
class Step:
    """What the next iteration does.

    Args:
        phase: "initialize", "reconstruct", "enhance" or "refine".
        starts_pass: begin a new pass over the phase's data.
        intermediates: for "refine": names of the snapshots whose results are ranked between input and reference, in
            the order of the ranking.
    """

    phase: str
    starts_pass: bool = False
    intermediates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What is to be done after an iteration.

    Args:
        mean: the running mean score, where it was looked at.
        is_best: it was the best so far.
        save: name of the snapshot to take, "<part of the model>/<slot>"; restore: the one to go back to.
        reinitialize: the network starts anew.
    """

    mean: float | None = None
    is_best: bool = False
    save: str | None = None
    restore: str | None = None
    reinitialize: bool = False


@dataclass
class Schedule(ABC):
    """The lengths and thresholds of the algorithm; iterations count from 0 over all phases.

    Args:
        initialize_iters, reconstruct_iters: the two warm-ups.
        enhance_iters, refine_iters: one round; RAVE has no refinement.
        enhance_extension, refine_extension: iterations added at a phase's end while its value is above
            enhance_threshold, refine_threshold.
        display_every: iterations between two looks at the score; score_window: entries of its running mean.
        reinit_psnr: a reconstruction below this many dB starts anew, at the earliest after reinit_grace iterations.
    """

    initialize_iters: int = 8000
    reconstruct_iters: int = 1000
    enhance_iters: int = 2100
    refine_iters: int = 1000
    enhance_extension: int = 60
    refine_extension: int = 100
    enhance_threshold: float = 90.0
    refine_threshold: float = 60.0
    display_every: int = 20
    score_window: int = 30
    reinit_psnr: float = 8.0
    reinit_grace: int = 100

    total: int = field(default=0, init=False)
    round: int = field(default=0, init=False)

    @abstractmethod
    def start(self, batches_per_pass: Mapping[str, int], *, has_network: bool, has_guidance: bool) -> None:
        """Before the first step: sizes of the loaders by phase, and which parts came with weights."""

    @abstractmethod
    def next(self) -> Step:
        """The step to do now."""

    @abstractmethod
    def done(self, value: float, score: float) -> Outcome:
        """The step is done.

        Args:
            value: what the phase's end is judged by (the objective, or the loss). score: what its best is judged by,
                higher is better (PSNR in dB, or the loss, negated).
        """

    @property
    @abstractmethod
    def phase(self) -> str:
        """The current phase."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes, as plain values."""
        return {name: list(value) if isinstance(value, list) else value for name, value in vars(self).items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`'s values."""
        for name, value in state.items():
            setattr(self, name, list(value) if isinstance(value, list) else value)


@LOOPS.register_module(name="BacklitCorrectedSchedule")
@dataclass
class CorrectedSchedule(Schedule):
    """The algorithm with exact phases: every phase has its own count, mean, and best.

    A round's best network becomes its intermediate result, and the network goes back to it at the round's end; so does
    the guidance at the end of a refinement. A reconstruction that failed is repeated as a whole.

    Args:
        rank_order: "paper": input > older > newer > reference; "code": as the released loop has it, newer > older.
        max_extensions: of one phase; max_restarts: of the reconstruction.

    >>> schedule = CorrectedSchedule(initialize_iters=1, reconstruct_iters=1, enhance_iters=2, refine_iters=1)
    >>> schedule.start({}, has_network=False, has_guidance=False)
    >>> for _ in range(5):
    ...     print(schedule.next().phase, schedule.done(value=10.0, score=30.0).save)
    initialize None
    reconstruct None
    enhance None
    enhance network/1
    refine guidance/best
    """

    rank_order: str = "paper"
    max_extensions: int = 10
    max_restarts: int = 5

    _phase: str = field(default="", init=False)
    _done: int = field(default=0, init=False)
    _length: int = field(default=0, init=False)
    _extensions: int = field(default=0, init=False)
    _restarts: int = field(default=0, init=False)
    _best: float = field(default=LOWEST, init=False)
    _values: list[float] = field(default_factory=list, init=False)
    _scores: list[float] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        if self.rank_order not in ("paper", "code"):
            raise ConfigError(f"rank_order is paper or code, not {self.rank_order!r}.")
        if self.enhance_iters < 1:
            raise ConfigError("A round needs at least one enhancement iteration (enhance_iters).")

    @property
    def phase(self) -> str:
        """The current phase."""
        return self._phase

    def start(self, batches_per_pass: Mapping[str, int], *, has_network: bool, has_guidance: bool) -> None:
        """A part that came with weights needs no warm-up."""
        if has_guidance:
            self.initialize_iters = 0
        if has_network:
            self.reconstruct_iters = 0
        self._begin(INITIALIZE)

    def next(self) -> Step:
        """The step to do now."""
        return Step(self._phase, starts_pass=self._done == 0,
                    intermediates=self._ranked() if self._phase == REFINE else ())

    def done(self, value: float, score: float) -> Outcome:
        """Count, look at the mean of the phase's last scores, and end the phase when it is time."""
        self.total += 1
        self._done += 1
        self._values = [*self._values, value][-self.score_window:]
        self._scores = [*self._scores, score][-self.score_window:]
        is_end = self._done >= self._length
        mean = sum(self._scores) / len(self._scores)
        if self._phase == RECONSTRUCT and self._has_failed(mean):
            self._restarts += 1
            self._begin(RECONSTRUCT)
            return Outcome(mean, reinitialize=True)
        if is_end and self._is_extended():
            is_end = False
        is_best = self._is_best(mean, is_end)
        saved = self._slot() if self._phase in (ENHANCE, REFINE) else None
        outcome = Outcome(mean if is_end or self._done % self.display_every == 0 else None, is_best,
                          save=saved if is_best else None, restore=saved if is_end and not is_best else None)
        if is_end:
            self._begin(self._following())
        return outcome

    def _begin(self, phase: str) -> None:
        lengths = {INITIALIZE: self.initialize_iters, RECONSTRUCT: self.reconstruct_iters,
                   ENHANCE: self.enhance_iters, REFINE: self.refine_iters}
        while lengths[phase] < 1:
            self._phase = phase
            phase = self._following()
        if phase == ENHANCE:
            self.round += 1
        self._phase, self._length, self._done, self._extensions = phase, lengths[phase], 0, 0
        self._best, self._values, self._scores = LOWEST, [], []

    def _following(self) -> str:
        return {INITIALIZE: RECONSTRUCT, RECONSTRUCT: ENHANCE, ENHANCE: REFINE, REFINE: ENHANCE}[self._phase]

    def _has_failed(self, mean: float) -> bool:
        return (mean < self.reinit_psnr and self._done > min(self.reinit_grace, self._length - 1)
                and self._restarts < self.max_restarts)

    def _is_extended(self) -> bool:
        """Whether the phase's mean value is still above its threshold; adds the iterations."""
        threshold, extension = {ENHANCE: (self.enhance_threshold, self.enhance_extension),
                                REFINE: (self.refine_threshold, self.refine_extension)}.get(
                                    self._phase, (float("inf"), 0))
        if sum(self._values) / len(self._values) <= threshold or self._extensions >= self.max_extensions:
            return False
        self._length += extension
        self._extensions += 1
        return True

    def _is_best(self, mean: float, is_end: bool) -> bool:
        """At every display and at the end; a mean over few scores does not count while more are to come."""
        is_full = len(self._scores) == self.score_window
        if not (is_end or (is_full and self._done % self.display_every == 0)) or mean <= self._best:
            return False
        self._best = mean
        return True

    def _slot(self) -> str:
        return f"network/{self.round % 2}" if self._phase == ENHANCE else "guidance/best"

    def _ranked(self) -> tuple[str, ...]:
        newer, older = f"network/{self.round % 2}", f"network/{(self.round - 1) % 2}"
        if self.round == 1:
            return (newer,)
        return (older, newer) if self.rank_order == "paper" else (newer, older)


@LOOPS.register_module(name="BacklitOfficialSchedule")
@dataclass
class OfficialSchedule(Schedule):
    """The released training loop, exactly: see `_start_pass` and `done`; protected by the golden case `schedule`.

    Args:
        reinit_extension: iterations that a re-initialization adds to the reconstruction.

    >>> schedule = OfficialSchedule(initialize_iters=0, reconstruct_iters=0)
    >>> schedule.start(dict(enhance=48, initialize=48, refine=24), has_network=True, has_guidance=True)
    >>> schedule.next()
    Step(phase='enhance', starts_pass=True, intermediates=())
    """

    reinit_extension: int = 100

    current: int = field(default=0, init=False)
    network_iters: int = field(default=0, init=False)
    round_iters: int = field(default=0, init=False)
    best_score: float = field(default=LOWEST, init=False)
    slot: int = field(default=0, init=False)
    dumps: list[int] = field(default_factory=lambda: [0, 0], init=False)  # after which iteration; 0: none
    _batches: dict[str, int] = field(default_factory=dict, init=False)
    _scores: list[float] = field(default_factory=list, init=False)
    _written: int = field(default=0, init=False)
    _left: int = field(default=0, init=False)
    _is_network_pass: bool = field(default=True, init=False)
    _since_start: int = field(default=0, init=False)
    _ranked: list[str] = field(default_factory=list, init=False)

    def start(self, batches_per_pass: Mapping[str, int], *, has_network: bool, has_guidance: bool) -> None:
        """Too short warm-ups of parts without weights are replaced; a network with weights has none."""
        self._batches, self._scores = dict(batches_per_pass), [0.0] * self.score_window
        if not has_guidance and self.refine_iters and self.initialize_iters < _LEAST_INITIALIZE[0]:
            self.initialize_iters = _LEAST_INITIALIZE[1]
        if has_network:
            self.reconstruct_iters = 0
        elif self.reconstruct_iters < _LEAST_RECONSTRUCT[0]:
            self.reconstruct_iters = _LEAST_RECONSTRUCT[1]

    @property
    def phase(self) -> str:
        """The current phase."""
        if self._is_network_pass:
            return RECONSTRUCT if self.total < self._warm_up else ENHANCE
        return INITIALIZE if self.total < self.initialize_iters else REFINE

    @property
    def _warm_up(self) -> int:
        return self.initialize_iters + self.reconstruct_iters

    def next(self) -> Step:
        """The step to do now; begins a pass where the last one is over."""
        starts_pass = self._left == 0
        while self._left == 0:
            self._start_pass()
        if self.phase == REFINE and self.current == self.network_iters:
            self._choose_groups()
        return Step(self.phase, starts_pass, tuple(self._ranked) if self.phase == REFINE else ())

    def _start_pass(self) -> None:
        if self.total < self.initialize_iters:
            self.network_iters, self.round_iters = 0, self.initialize_iters
        elif self.total < self._warm_up:
            self.network_iters = self.round_iters = self.reconstruct_iters
        elif self.current == 0:
            self.network_iters, self.round_iters = self.enhance_iters, self.enhance_iters + self.refine_iters
        self._is_network_pass = self.current + 1 <= self.network_iters
        if not self._is_network_pass and self.current + 1 >= self.round_iters:
            self.current = self.network_iters = self.round_iters = 0
            self.best_score, self._scores = LOWEST, [0.0] * self.score_window
            self.round += 1
            return
        self._left = self._batches["enhance" if self._is_network_pass else self.phase]

    def _choose_groups(self) -> None:
        """At the first refinement of a round: which dumps are ranked; with both, the newest comes first."""
        self.slot = 1 - self.slot
        slots = [] if not any(self.dumps) else [0] if not self.dumps[1] else [1 - self.slot, self.slot]
        self._ranked = [f"network/{slot}" for slot in slots]

    def done(self, value: float, score: float) -> Outcome:
        """Count; in a network pass also score, dump and re-initialize."""
        outcome = self._score(score) if self._is_network_pass else Outcome()
        self._left -= 1
        if self._is_network_pass and self.current + 1 == self.network_iters:
            if self.total > self._warm_up and value > self.enhance_threshold:
                self.network_iters += self.enhance_extension
                self.round_iters += self.enhance_extension
            else:
                self._left = 0
        elif not self._is_network_pass and self.current + 1 == self.round_iters:
            if value > self.refine_threshold:
                self.round_iters += self.refine_extension
            else:
                self._left = 0
        self.current += 1
        self.total += 1
        return outcome

    def _score(self, score: float) -> Outcome:
        is_reconstruction = self.phase == RECONSTRUCT
        self._scores[self._written % self.score_window] = score
        self._written += 1
        self._since_start += 1
        mean = sum(self._scores) / self.score_window  # of zeros, too, after a round's reset
        reinitialize = is_reconstruction and mean < self.reinit_psnr and self._since_start > self.reinit_grace
        if reinitialize:
            self._since_start = 0
            self.reconstruct_iters += self.reinit_extension
        if (self.total + 1) % self.display_every:
            return Outcome(reinitialize=reinitialize)
        is_best = mean > self.best_score
        save = None
        if is_best:
            self.best_score = mean
            if self.total > self._warm_up:
                self.dumps[self.slot] = self.total + 1
                save = f"network/{self.slot}"
        return Outcome(mean, is_best, save=save, reinitialize=reinitialize)
