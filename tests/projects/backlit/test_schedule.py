"""The corrected schedule: exact lengths, best snapshots, order of the ranking, extensions, restarts."""

from __future__ import annotations

from typing import Any

import pytest

from clipapps.errors import ConfigError
from clipapps.projects.backlit.schedule import CorrectedSchedule, OfficialSchedule


def plan(**changes: Any) -> CorrectedSchedule:
    options = dict(initialize_iters=2, reconstruct_iters=2, enhance_iters=4, refine_iters=2, display_every=2,
                   score_window=2)
    schedule = CorrectedSchedule(**{**options, **changes})
    schedule.start({}, has_network=False, has_guidance=False)
    return schedule


def phases(schedule: Any, steps: int, value: float = 10.0, score: float = 30.0) -> list[str]:
    found = []
    for _ in range(steps):
        found.append(schedule.next().phase[0])
        schedule.done(value, score)
    return found


def test_every_phase_has_its_exact_length():
    assert "".join(phases(plan(), 16)) == "iirreeeerreeeerr"


def test_parts_with_weights_have_no_warm_up():
    schedule = plan()
    schedule.start({}, has_network=True, has_guidance=True)
    assert phases(schedule, 1) == ["e"]


def test_rave_only_enhances_after_its_warm_up():
    assert "".join(phases(plan(initialize_iters=0, refine_iters=0), 10)) == "rreeeeeeee"


def test_the_best_network_of_a_round_is_saved_and_restored():
    schedule, outcomes = plan(initialize_iters=0, reconstruct_iters=0), []
    for score in (-9.0, -1.0, -50.0, -60.0):
        schedule.next()
        outcomes.append(schedule.done(10.0, score))
    assert [outcome.save for outcome in outcomes] == [None, "network/1", None, None]
    assert [outcome.restore for outcome in outcomes] == [None, None, None, "network/1"]


@pytest.mark.parametrize(("order", "expected"), [("paper", ("network/1", "network/0")),
                                                 ("code", ("network/0", "network/1"))])
def test_order_of_the_ranking(order: str, expected: tuple[str, str]):
    schedule = plan(rank_order=order)
    phases(schedule, 8)
    assert schedule.next().intermediates == ("network/1",)
    phases(schedule, 6)
    assert schedule.next().intermediates == expected  # of the second round: network/0 is newer


def test_a_phase_is_extended_while_its_mean_is_high_and_not_for_ever():
    schedule = plan(initialize_iters=0, reconstruct_iters=0, enhance_extension=3, max_extensions=2)
    assert "".join(phases(schedule, 11, value=91.0)) == "eeeeeeeeeer"
    schedule = plan(initialize_iters=0, reconstruct_iters=0, enhance_extension=3)
    assert "".join(phases(schedule, 5, value=90.0)) == "eeeer"


def test_a_failed_reconstruction_is_repeated_as_a_whole():
    schedule = plan(initialize_iters=0, reconstruct_iters=4, reinit_grace=2, max_restarts=1)
    outcomes = [schedule.done(1.0, 5.0) for _ in range(3)]
    assert [outcome.reinitialize for outcome in outcomes] == [False, False, True]
    assert "".join(phases(schedule, 5, score=5.0)) == "rrrre"


def test_state_goes_on_where_it_was():
    for schedule in (plan(), OfficialSchedule(8, 3, 5, 4, reinit_psnr=0)):
        schedule.start(dict(enhance=3, initialize=3, refine=2), has_network=False, has_guidance=True)
        schedule.next()
        phases(schedule, 5)
        other = type(schedule)()
        other.load_state_dict(schedule.state_dict())
        assert phases(other, 40, value=0.0) == phases(schedule, 40, value=0.0)
        assert other.state_dict() == schedule.state_dict()


def test_an_unknown_order_is_refused():
    with pytest.raises(ConfigError, match="paper or code"):
        CorrectedSchedule(rank_order="papre")
