"""What a training stage tells of its log."""

from __future__ import annotations

import pytest

from jobs.training import last_losses


def row(step: int, samples_per_s: float, wait_share: float, **more: float) -> dict[str, float]:
    figures = {"samples_per_s": samples_per_s, "wait_share": wait_share}
    return {"step": step, "loss": 3.0 - step / 100, **figures, **more}


def test_speed_is_that_of_all_steps_and_rare_waits_count():
    """Ten steps of 1 s, ten more, ten of 4 s that wait for 80 % of it; the first is left out."""
    log = [row(1, 2, 0.9), row(11, 100, 0.0), row(21, 100, 0.0), row(31, 25, 0.8)]
    found = last_losses(log)
    assert found["samples_per_s"] == pytest.approx(50)
    assert found["data_wait_share"] == pytest.approx(3.2 / 6)
    assert found["steps"] == 31
    assert found["loss.loss"] == pytest.approx(2.69)


def test_a_log_of_one_row_is_all_there_is():
    found = last_losses([row(1, 2, 0.9, **{"val.loss": 4.0, "val.other": 5.0})])
    assert (found["samples_per_s"], found["data_wait_share"]) == pytest.approx((2, 0.9))
    assert found["val.best_loss"] == 4.0
    assert found["val.other"] == 5.0
