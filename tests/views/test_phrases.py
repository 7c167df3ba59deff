"""Phrases: cut at pauses, bounded in length, whole inside their split."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from gestray.views.catalog import TakeRef
from gestray.views.phrases import PhraseConfig, phrases_of


def ref(words, num_frames=900, split="train") -> TakeRef:
    timed = tuple({"word": w, "start_s": a, "end_s": b, "stressed": None} for w, a, b in words)
    return TakeRef("s", 0, "t", "ada", split, num_frames, 30.0, timed)


def talk(gaps, length=0.3):
    """Words of equal length after the given silences."""
    words, now = [], 0.0
    for number, gap in enumerate(gaps):
        words.append((f"w{number}", now + gap, now + gap + length))
        now += gap + length
    return words


def test_a_pause_ends_a_phrase_and_motion_reaches_to_the_middle_of_it():
    found = phrases_of(ref(talk([1.0, 0.0, 0.0, 0.0, 0.6, 0.0, 0.0, 0.0])), PhraseConfig())
    assert [phrase.text for phrase in found] == ["w0 w1 w2 w3", "w4 w5 w6 w7"]
    # Words 1.0–2.2 s and 2.8–4.0 s: the pause of 0.6 s is shared, the ends get the margin.
    assert [(phrase.first, phrase.last) for phrase in found] == [(18, 75), (75, 132)]
    assert found[0].phrase_id == "t:000018-000075"


def test_a_long_run_is_cut_at_its_longest_pause():
    gaps = [0.0] + [0.1] * 30
    gaps[12] = 0.2
    found = phrases_of(ref(talk(gaps)), PhraseConfig(max_s=8.0))
    assert [phrase.text.split()[0] for phrase in found] == ["w0", "w12"]


def test_short_phrases_and_phrases_without_motion_are_left_out():
    words = talk([0.0, 0.0, 0.0, 0.0, 1.0])
    assert [p.text for p in phrases_of(ref(words), PhraseConfig())] == ["w0 w1 w2 w3"]
    assert phrases_of(ref(words, num_frames=None), PhraseConfig()) == []
    assert phrases_of(ref([], num_frames=900), PhraseConfig()) == []


def test_words_without_times_make_the_take_one_phrase():
    words = [("all", None, None), ("of", None, None), ("it", None, None)]
    found = phrases_of(ref(words), PhraseConfig())
    assert [(p.text, p.first, p.last) for p in found] == [("all of it", 0, 900)]


def test_a_phrase_across_a_split_in_time_belongs_to_neither():
    gaps = [0.5, 0, 0, 0] + [1.0, 0, 0, 0] * 11
    found = phrases_of(ref(talk(gaps), split="time:0.8"), PhraseConfig())
    assert {phrase.split for phrase in found} == {"train", "test"}
    assert all(p.end_s <= 24 + 1e-6 if p.split == "train" else p.start_s >= 24 for p in found)
    whole = phrases_of(ref(talk(gaps)), PhraseConfig())
    assert len(found) in (len(whole), len(whole) - 1)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 2), min_size=1, max_size=60), st.floats(0.05, 0.8))
def test_phrases_are_ordered_disjoint_bounded_and_lose_no_word_within(gaps, length):
    config = PhraseConfig()
    found = phrases_of(ref(talk(gaps, length), num_frames=6000), config)
    for phrase in found:
        span = phrase.words[-1]["end_s"] - phrase.words[0]["start_s"]
        assert config.min_s <= span
        assert span <= config.max_s or len(phrase.words) == 1
        assert phrase.first < phrase.last <= 6000
        numbers = [int(word["word"][1:]) for word in phrase.words]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
    for before, after in itertools.pairwise(found):
        assert before.last <= after.first + 1
    assert len({phrase.phrase_id for phrase in found}) == len(found)
