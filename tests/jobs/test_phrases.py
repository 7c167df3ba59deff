"""What jobs say of takes whose words have no times."""

from __future__ import annotations

import pytest

from gestray.errors import UserError
from gestray.views.catalog import TakeRef
from gestray.views.phrases import PhraseConfig
from jobs.phrases import count_phrases


def _ref(number: int, start_s: float | None, split: str = "train") -> TakeRef:
    end_s = None if start_s is None else start_s + 1
    words = ({"word": "yes", "start_s": start_s, "end_s": end_s, "stressed": None},)
    return TakeRef("s", number, f"t{number}", None, split, 150, 5.0, words)


def test_takes_without_word_times_are_counted_and_named(capfd) -> None:
    catalog = [_ref(0, 1.0), _ref(1, None), _ref(2, None, "time:0.8")]
    assert count_phrases(catalog, PhraseConfig()) == 2
    said = " ".join(capfd.readouterr().err.split())
    assert "2 of 3 takes have words without times: each is one phrase" in said
    assert "1 of them are in neither part" in said
    assert count_phrases(catalog[:1], PhraseConfig()) == 1
    assert not capfd.readouterr().err


def test_no_phrase_at_all_says_what_is_missing() -> None:
    silent = TakeRef("s", 0, "t", None, "train", 150, 5.0, None)
    with pytest.raises(UserError, match=r"no phrase in 1 takes with motion \(0 of them with words"):
        count_phrases([silent], PhraseConfig())
