"""Splits: what may be asked for, what a hash gives, where time is cut."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gestray.corpora.splits import is_split, parse_split, spans, split_of
from gestray.errors import UserError


def test_spans_of_plain_and_timed_splits() -> None:
    assert spans("val", 10.0) == {"val": (0.0, 10.0)}
    assert spans("time:0.8", 10.0) == {"train": (0.0, 8.0), "test": (8.0, 10.0)}


@given(st.integers(1, 99), st.floats(0.1, 1e4))
def test_a_timed_split_covers_the_take_once(percent: int, duration_s: float) -> None:
    split = f"time:0.{percent:02d}"
    assert parse_split(split) == split and is_split(split)
    parts = spans(split, duration_s)
    assert parts["train"][0] == 0.0 and parts["test"][1] == duration_s
    assert parts["train"][1] == parts["test"][0]
    assert parts["train"][1] == pytest.approx(duration_s * percent / 100)


@pytest.mark.parametrize(
    "spec", ["time:0", "time:1", "time:1.5", "time:0.0", "time:-0.5", "time:x", "train", "", "0.8"]
)
def test_other_specs_are_refused(spec: str) -> None:
    with pytest.raises(UserError, match=r"time:0\.8"):
        parse_split(spec)


def test_no_spec_means_as_in_the_corpus() -> None:
    assert parse_split(None) is None
    assert not is_split("tset")
    with pytest.raises(UserError, match="additional"):
        spans("tset", 1.0)


def test_hash_split_is_stable_and_80_10_10() -> None:
    # Computed once with sha256sum: first 8 bytes, big-endian, modulo 10.
    assert [split_of(id) for id in ("aa", "ab", "d")] == ["train", "val", "test"]  # 6, 8, 9
    counts = Counter(split_of(f"take_{i}") for i in range(20_000))
    assert {name: round(count / 20_000, 2) for name, count in counts.items()} == {
        "train": 0.8,
        "val": 0.1,
        "test": 0.1,
    }
