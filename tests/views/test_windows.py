"""Windows lie whole inside their split and hold exactly the take's frames."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from gestray.views.catalog import TakeRef
from gestray.views.windows import WindowConfig, Windows


def take(num_frames: int | None, split: str = "train") -> tuple[TakeRef, pa.Table | None]:
    ref = TakeRef("s", 0, "t", None, split, num_frames, (num_frames or 0) / 30, None)
    if num_frames is None:
        return ref, None
    poses = np.repeat(np.arange(num_frames, dtype=np.float32)[:, None], 165, axis=1)
    inner = pa.FixedSizeListArray.from_arrays(pa.array(poses.ravel()), 165)
    return ref, pa.table({"poses": pa.ListArray.from_arrays([0, num_frames], inner)})


def first_and_last(rows: pa.Table) -> list[tuple[int, int]]:
    windows = [np.frombuffer(p, np.float32).reshape(-1, 165) for p in rows["poses"].to_pylist()]
    assert all((np.diff(window[:, 7]) == 1).all() for window in windows)
    return [(int(window[0, 0]), int(window[-1, 0])) for window in windows]


def test_windows_are_cut_at_the_stride():
    view = Windows(WindowConfig(), "train")
    ref, rows = take(150)
    assert view.count(ref) == 5  # (150 - 64) // 20 + 1
    assert first_and_last(view.cut(ref, rows, [4, 0])) == [(80, 143), (0, 63)]


@pytest.mark.parametrize(
    ("num_frames", "split", "train", "test"),
    [(150, "train", 5, 0), (63, "train", 0, 0), (None, "train", 0, 0), (400, "time:0.8", 13, 1)],
)
def test_windows_are_counted_within_their_split(num_frames, split, train, test):
    ref, _ = take(num_frames, split)
    assert Windows(WindowConfig(), "train").count(ref) == train
    assert Windows(WindowConfig(), "test").count(ref) == test


def test_a_split_in_time_shares_no_frame():
    ref, rows = take(700, "time:0.8")
    spans = {}
    for split in ("train", "test"):
        view = Windows(WindowConfig(), split)
        spans[split] = first_and_last(view.cut(ref, rows, range(view.count(ref))))
    assert max(last for _, last in spans["train"]) < 560 <= min(first for first, _ in spans["test"])


def starts(config: WindowConfig, samples: list[int], num_frames: int = 400) -> list[int]:
    view = Windows(config, "train")
    ref, rows = take(num_frames)
    return [first for first, _ in first_and_last(view.cut(ref, rows, samples))]


def test_every_epoch_cuts_the_same_windows_at_the_stride():
    assert starts(WindowConfig(), [3, 3 + 17, 3 + 2 * 17]) == [60, 60, 60]  # 17 windows


def test_random_windows_begin_within_their_stride_and_anew_in_each_epoch():
    config = WindowConfig(random=1)
    epochs = [starts(config, list(range(e * 17, (e + 1) * 17))) for e in range(200)]
    offsets = np.array(epochs) - 20 * np.arange(17)
    # The last window begins at 320 of 400 - 64 = 336: it cannot be moved by more than 16.
    assert offsets.min() == 0 and offsets[:, :-1].max() == 19 and offsets[:, -1].max() == 16
    counts = np.bincount(offsets[:, :-1].ravel(), minlength=20)
    assert counts.min() > 100  # of 160 expected: all offsets are about equally likely
    assert abs(np.corrcoef(offsets[:-1, 0], offsets[1:, 0])[0, 1]) < 0.25
    assert abs(np.corrcoef(offsets[:, 0], offsets[:, 1])[0, 1]) < 0.25


def test_random_windows_are_the_same_whenever_they_are_asked_for():
    config = WindowConfig(random=1)
    assert starts(config, [5, 40, 1000]) == [starts(config, [n])[0] for n in (5, 40, 1000)]
    assert starts(config, list(range(17))) != starts(WindowConfig(random=2), list(range(17)))
