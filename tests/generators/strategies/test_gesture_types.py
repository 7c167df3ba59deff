"""Gesture types: labels, guesses from annotated words, and gestures of the same type."""

from __future__ import annotations

import numpy as np
import pytest

from gestray.errors import UserError
from gestray.generators.contract import Speech
from gestray.generators.strategies.gesture_types import ByGestureType, type_of_label
from gestray.speech.audio import SAMPLE_RATE
from tests.generators.strategies.corpus import recorded, said, sentences

LABELS = [
    ("02_deictic_l", "over there"),
    ("05_iconic_l", "circle"),
    ("06_iconic_m", "circling"),
    ("09_metaphoric_m", "never"),
    ("01_beat_align", "really"),
    ("00_nogesture", "table"),
]
SAID = ("put it over there please", "he drew a circle", "birds were circling",
        "that will never work", "it really works", "the table stood")  # fmt: skip
QUIET = np.zeros(0, np.float32)


@pytest.fixture
def corpus(tmp_path):
    return recorded(tmp_path, LABELS, lea=sentences(*SAID[:3]), ada=sentences(*SAID[3:]))


@pytest.mark.parametrize(
    ("label", "expected"),
    [("02_deictic_l", "deictic"), ("05_iconic_l", "iconic"), ("10_metaphoric_h", "metaphoric"),
     ("Iconic gesture", "iconic"), ("01_beat_align", None), ("00_nogesture", None)],
)  # fmt: skip
def test_types_of_labels(label, expected):
    assert type_of_label(label) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("i never sleep", [("never", "metaphoric")]),
        ("a circle of friends", [("circle", "iconic")]),
        ("look over there now", [("over there", "deictic")]),
        ("the table really", []),  # annotated, but as beat and as no gesture
        ("something else", []),
    ],
)
def test_annotated_words_tell_what_deserves_a_gesture(corpus, text, expected):
    words = said(text)
    guesses = ByGestureType(corpus).guesses(Speech(QUIET, tuple(words)))
    spans = [(" ".join(w.word for w in words[g.first : g.last]), g.type) for g in guesses]
    assert spans == expected


def test_only_words_that_stand_out_get_one(corpus):
    """Of two words that are annotated, the one that is spoken louder."""
    words = said("circle and never")
    samples = np.zeros(round(2.5 * SAMPLE_RATE), np.float32)
    for word, loud in zip(words, (0.02, 0.05, 0.4), strict=True):
        first, last = (round(s * SAMPLE_RATE) for s in (word.start_s, word.end_s))
        samples[first:last] = loud
    guesses = ByGestureType(corpus).guesses(Speech(samples, tuple(words)))
    assert [(g.first, g.type) for g in guesses] == [(2, "metaphoric")]


def test_the_same_word_comes_before_the_same_type(corpus):
    """Published points: type 2, speaker 2, word 5 or up to 3 for one that is alike."""
    strategy = ByGestureType(corpus)
    found = strategy.candidates(Speech(QUIET, tuple(said("draw a circle"))), "lea")
    assert {one.word for one in found} == {2}
    assert [one.score for one in found] == pytest.approx([9.0, 7.0])
    first, second = found
    assert "iconic" in first.why and "the same word" in first.why
    assert 'of "circling"' in second.why and "the same speaker" in second.why
    take = corpus.refs[first.clip.take_id]
    word = next(w for w in corpus.words(take.take_id) if w.word == "circle")
    assert (first.clip.start_s, first.clip.end_s) == (word.start_s, word.end_s)
    # Another's manner earns nothing.
    other = strategy.candidates(Speech(QUIET, tuple(said("draw a circle"))), "ada")
    assert [one.score for one in other] == pytest.approx([7.0, 5.0])


def test_recordings_without_types_are_refused(tmp_path):
    speech = Speech(QUIET, tuple(said("a circle")))
    plain = recorded(tmp_path / "plain", lea=sentences("he drew a circle"))
    with pytest.raises(UserError, match=r"no gesture annotated as deictic.*\(no labels at all\)"):
        ByGestureType(plain).candidates(speech, None)
    beats = recorded(
        tmp_path / "beats", [("01_beat_align", "circle")], lea=sentences("he drew a circle")
    )
    with pytest.raises(UserError, match=r"\(01_beat_align\); expected BEAT2's sem/\*.txt"):
        ByGestureType(beats).candidates(speech, None)
