"""What is asked of embeddings, on tables made by hand: meanings, targets, figures, gains."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from jobs.meanings import BEAT, Gesture, Meanings, Target, targets_of
from jobs.measure import PhraseSet, Runs, measure, query_columns

WORDS = [
    {"word": "so", "start_s": 10.0, "end_s": 10.2, "stressed": False},
    {"word": "huge", "start_s": 10.2, "end_s": 10.8, "stressed": True},
    {"word": "really", "start_s": 10.8, "end_s": 11.4, "stressed": True},
]


def test_the_word_under_a_gesture_is_that_which_lasts_longest_in_it() -> None:
    gestures = [Gesture(10.1, 10.7, "size"), Gesture(10.9, 11.3, BEAT), Gesture(10.3, 10.5, BEAT)]
    assert targets_of(WORDS, gestures) == [Target(1, False, True), Target(2, True, True)]
    assert targets_of(WORDS, [Gesture(12.0, 13.0, "size")]) == []
    untimed = [dict(word, start_s=None, end_s=None) for word in WORDS]
    assert targets_of(untimed, gestures) == []


N_TAKES, PER_TAKE, DIM, STRIDE = 12, 6, 16, 3
COUNT = N_TAKES * PER_TAKE


def vectors(values: np.ndarray) -> pa.Array:
    flat = pa.array(values.astype(np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def lists(values: list[np.ndarray]) -> pa.Array:
    offsets = np.cumsum([0, *map(len, values)])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), vectors(np.concatenate(values)))


@pytest.fixture(scope="module")
def phrases() -> PhraseSet:
    """Each phrase has two words of 0.5 s; the gesture is under the second, every third a beat."""
    numbers = range(COUNT)
    starts = [100.0 + 2 * (number % PER_TAKE) for number in numbers]
    meanings = [BEAT if number % 3 == 0 else ("size", "stop")[number % 2] for number in numbers]
    rows = pa.table(
        {
            "phrase_id": [f"p{number:03}" for number in numbers],
            "take_id": [f"t{number // PER_TAKE}" for number in numbers],
            "speaker": ["ada"] * COUNT,
            "start_s": starts,
            "end_s": [start + 1.0 + 0.01 * (number % 7) for number, start in enumerate(starts)],
            "text": [f"words {number}" for number in numbers],
        }
    )
    terms = ["size", "stop"]
    gestures = [
        [Gesture(start + 0.5, start + 0.9, meaning)]
        for start, meaning in zip(starts, meanings, strict=True)
    ]
    carries = np.array([[meaning == term for term in terms] for meaning in meanings])
    return PhraseSet(rows, Meanings("gold", terms, carries, gestures), None, resamples=200)


def embeddings(phrases: PhraseSet, seed: int, noise: float) -> pa.Table:
    """A method that knows the phrases up to noise; the second word's gesture is under it."""
    rng = np.random.default_rng(1 + seed)
    truth = np.random.default_rng(0).normal(size=(COUNT, DIM))
    motion = truth + noise * rng.normal(size=truth.shape)
    words = [rng.normal(size=(2, DIM)) for _ in range(COUNT)]
    frames = [np.repeat(word, 5, axis=0) for word in words]  # ten frames of 0.1 s
    starts = np.asarray(phrases.rows["start_s"])
    spoken = [
        [
            {
                "word": f"w{n}",
                "start_s": s + 0.5 * n,
                "end_s": s + 0.5 + 0.5 * n,
                "stressed": n == 1,
            }
            for n in (0, 1)
        ]
        for s in starts
    ]
    return (
        phrases.rows.append_column("text_embedding", vectors(truth))
        .append_column("motion_embedding", vectors(motion))
        .append_column("frame_start_s", pa.array(starts))
        .append_column("frame_embeddings", lists(frames))
        .append_column("words", pa.array(spoken))
        .append_column("word_embeddings", lists(words))
    )


def runs(phrases: PhraseSet, name: str, noise: float, seeds: int) -> Runs:
    found = [
        measure(phrases, embeddings(phrases, seed, noise), "text_embedding", True, STRIDE)
        for seed in range(seeds)
    ]
    return Runs(name, found, phrases)


def test_figures_of_every_task(phrases) -> None:
    found = runs(phrases, "good", 0.0, 2)
    figures, intervals = found.figures(), found.intervals()
    assert figures["text_to_gesture.r1"] == figures["batches32.gesture_to_text.r1"] == 1.0
    assert figures["text_to_gesture.medr"] == figures["meaningful.text_to_gesture.medr"] == 1.0
    asked = found.values["meaningful.text_to_gesture.r1"][0]
    means = phrases.meanings.carries.any(axis=1)
    np.testing.assert_array_equal(np.isnan(asked), ~means)
    of_32 = found.values["batches32.text_to_gesture.r1"][0]
    np.testing.assert_array_equal(
        found.values["meaningful32.text_to_gesture.r1"][0], np.where(means, of_32, np.nan)
    )
    assert figures["active_speaker.6"] == 1.0
    assert figures["spotting.accuracy"] == figures["spotting.beats"] == 1.0
    assert figures["spotting.stressed"] == 1.0
    assert "spotting.unstressed" not in figures  # no such word has a gesture
    assert figures["active_speaker_in_time.4"] > 0.9
    assert 0 < figures["semantic.precision1"] < 1
    assert set(intervals) >= {"text_to_gesture.r1", "text_to_gesture.medr", "spotting.accuracy"}
    assert intervals["text_to_gesture.r1"] == (1.0, 1.0)
    assert found.chance["spotting.located"] == pytest.approx(0.9)  # 0.86 s of a second
    by_seed = [found.figures(number)["semantic.map"] for number in (0, 1)]
    assert figures["semantic.map"] == pytest.approx(np.mean(by_seed))


def test_gains_are_paired_over_the_same_queries(phrases) -> None:
    good, poor = runs(phrases, "good", 0.3, 3), runs(phrases, "poor", 3.0, 2)
    gain = good.gain_over(poor, "text_to_gesture.r1")
    assert gain.absolute_interval[0] > 0
    expected = good.figures()["text_to_gesture.r1"] - poor.figures()["text_to_gesture.r1"]
    assert gain.absolute == pytest.approx(expected)
    assert good.gain_over(poor, "spotting.accuracy").absolute == 0.0
    assert good.gain_over(poor, "spotting.unstressed") is None


def test_only_what_is_asked_is_measured(phrases) -> None:
    rows = embeddings(phrases, 0, 1.0)
    asked = PhraseSet(phrases.rows, phrases.meanings, None, ("spotting",), 200)
    found = measure(asked, rows, "text_embedding", True, STRIDE)
    assert {name.split(".")[0] for name in found.values} == {"spotting"}
    # Words without times: spotting has no word, and nobody is told word by word.
    untimed = [[dict(w, start_s=None, end_s=None) for w in ws] for ws in rows["words"].to_pylist()]
    words = pa.array(untimed, rows["words"].type)
    rows = rows.set_column(rows.column_names.index("words"), "words", words)
    found = measure(phrases, rows, "text_embedding", True, STRIDE)
    assert not any(name.startswith(("spotting", "active_speaker_in")) for name in found.values)


def test_each_way_to_query_a_method_has_a_name(phrases) -> None:
    rows = embeddings(phrases, 0, 1.0)
    rows = rows.append_column("speech_embedding", rows["text_embedding"])
    rows = rows.append_column("text_speech_embedding", pa.nulls(COUNT))
    assert query_columns(rows, "text_embedding") == {
        "": "text_embedding",
        ".speech": "speech_embedding",
    }
