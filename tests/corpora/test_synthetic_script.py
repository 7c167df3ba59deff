"""What is said and shown in the synthetic corpus: shares, frequencies, beats, distractors."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import asdict

import numpy as np
import pytest

from gestray.corpora.synthetic.grammar import make_sentence, patterns_of
from gestray.corpora.synthetic.lexicon import NEUTRAL, PATTERNS
from gestray.corpora.synthetic.script import (
    LONGEST_UTTERANCE_S,
    UTTERANCE_S,
    ZIPF_EXPONENT,
    Deck,
    Utterance,
    plan_take,
    ranked_types,
    write_script,
)
from gestray.corpora.synthetic.speakers import SPEAKERS
from gestray.corpora.synthetic.stroke import FPS
from gestray.corpora.synthetic.vocabulary import GESTURES
from gestray.corpora.synthetic.voice import LettersVoice

TAKES, SECONDS = 80, 60


@pytest.fixture(scope="module")
def scripts() -> list[list[Utterance]]:
    deck = Deck(ZIPF_EXPONENT["train"], np.random.default_rng(7))
    made = []
    for number in range(TAKES):
        speaker, rng = SPEAKERS[number % len(SPEAKERS)], np.random.default_rng([7, number])
        plan = plan_take(speaker, "train", SECONDS, deck, rng)
        made.append(write_script(speaker, plan, SECONDS * FPS, LettersVoice(), rng)[0])
    return made


def of_all(scripts: list[list[Utterance]]) -> list[Utterance]:
    return [utterance for script in scripts for utterance in script]


def spoken_s(utterance: Utterance) -> float:
    return utterance.words[-1].end_s - utterance.words[0].start_s


def test_most_of_the_speaking_time_is_beats_or_idle(scripts):
    """Speaking time: from the first to the last word of each utterance, pauses left out.

    Both ways of counting hold: time in utterances that show no meaning at all, and time
    outside of the strokes and holds that do.
    """
    utterances = of_all(scripts)
    speaking = sum(map(spoken_s, utterances))
    plain = sum(spoken_s(u) for u in utterances if u.type_name is None)
    assert 0.70 <= plain / speaking < 0.85
    strokes = sum(g.frames / FPS for u in utterances if u.type_name for g in u.gestures)
    assert 1 - strokes / speaking >= 0.70
    assert all(not u.gestures or u.kind == "beats" for u in utterances if u.type_name is None)
    # People talk most of the time, but not without a breath.
    assert 0.6 < speaking / (TAKES * SECONDS) < 0.9
    assert max(map(spoken_s, utterances)) < LONGEST_UTTERANCE_S + 0.6


def test_gesture_types_in_training_follow_zipf(scripts):
    counts = Counter(u.type_name for u in of_all(scripts) if u.type_name)
    assert set(counts) == set(GESTURES)  # the rarest are there
    ordered = np.array([counts[name] for name in ranked_types()], dtype=np.float64)
    # Rank by rank the noise is large at the end; the slope over groups of ranks is not.
    groups = np.array_split(np.arange(len(ordered)), 9)
    rank = [np.exp(np.log(g + 1).mean()) for g in groups]
    slope = np.polyfit(np.log(rank), np.log([ordered[g].mean() for g in groups]), 1)[0]
    assert slope == pytest.approx(-ZIPF_EXPONENT["train"], abs=0.15)
    assert ordered[0] > 8 * ordered[-10:].mean()


def test_deck_gives_every_type_its_share_within_one():
    for exponent in (0.0, 0.8):
        deck, counts = Deck(exponent, np.random.default_rng(3)), Counter()
        share = np.arange(1, len(GESTURES) + 1) ** -exponent
        share /= share.sum()
        for draws in range(1, 1001):
            counts[deck.draw()] += 1
            if draws % 100 == 0:
                off = [counts[n] - draws * p for n, p in zip(ranked_types(), share, strict=True)]
                assert max(map(abs, off)) < 1.5


def test_held_out_splits_hold_every_type_alike():
    assert ZIPF_EXPONENT["val"] == ZIPF_EXPONENT["test"] == 0
    deck = Deck(0.0, np.random.default_rng(0))
    drawn = [deck.draw() for _ in range(2 * len(GESTURES))]
    assert set(Counter(drawn[: len(GESTURES)]).values()) == {1}
    assert set(Counter(drawn).values()) == {2}


def test_what_is_planned_is_said(scripts):
    planned = said = 0
    deck = Deck(ZIPF_EXPONENT["train"], np.random.default_rng(7))
    for number, script in enumerate(scripts):
        speaker, rng = SPEAKERS[number % len(SPEAKERS)], np.random.default_rng([7, number])
        planned += len(plan_take(speaker, "train", SECONDS, deck, rng).todo)
        said += sum(u.kind in ("meaning", "gesture only", "words only") for u in script)
    assert 0.93 < said / planned <= 1


def test_strokes_lie_on_their_keywords_and_never_overlap(scripts):
    for script in scripts:
        gestures = [g for u in script for g in u.gestures]
        assert all(a.last < b.first for a, b in itertools.pairwise(gestures))
        assert all(g.first >= 0 and g.last <= (SECONDS - 0.8) * FPS for g in gestures)
        for utterance in script:
            if utterance.type_name is None:
                continue
            (gesture,) = utterance.gestures
            start, end = utterance.keyword[0].start_s, utterance.keyword[-1].end_s
            assert 0 < start - gesture.first / FPS < 0.16  # leads its word slightly
            assert gesture.last / FPS >= end


def test_beats_fall_on_stressed_words(scripts):
    beats = [(u, g) for u in of_all(scripts) if u.kind == "beats" for g in u.gestures]
    assert len(beats) > 200
    for utterance, gesture in beats:
        hand = gesture.right or gesture.left
        # The first lowest point of the wrist is a beat.
        height = hand.wrist[:, 1]
        low = next(
            k for k in range(1, len(height) - 1) if height[k - 1] > height[k] <= height[k + 1]
        )
        time_s = (gesture.first + low) / FPS
        assert any(
            word.stressed and word.start_s - 0.06 <= time_s <= word.end_s + 0.06
            for word in utterance.words
        )


def test_distractors_go_both_ways(scripts):
    utterances = of_all(scripts)
    kinds = Counter(u.kind for u in utterances)
    assert all(kinds[kind] >= 20 for kind in ("gesture only", "words only", "meaning", "idle"))
    for utterance in utterances:
        if utterance.kind == "words only":
            assert not utterance.gestures and not utterance.intent_text
        if utterance.kind == "gesture only":
            assert len(utterance.gestures) == 1 and len(utterance.keyword) == 1


@pytest.mark.parametrize("unseen", [False, True])
def test_every_speaker_can_say_every_meaning(unseen):
    rates = [speaker.words_per_s for speaker in SPEAKERS]
    rng = np.random.default_rng(0)
    for name, patterns in {**PATTERNS, "neutral": NEUTRAL}.items():
        lengths = [len(make_sentence(patterns_of(patterns, unseen), rng).words) for _ in range(60)]
        for rate in (0.95 * min(rates), 1.05 * max(rates)):
            fits = [UTTERANCE_S[0] <= length / rate <= UTTERANCE_S[1] for length in lengths]
            assert np.mean(fits) > 0.3, name


def test_speakers_differ_in_what_they_show(scripts):
    shown: dict[str, list[int]] = {}
    for number, script in enumerate(scripts):
        name = SPEAKERS[number % len(SPEAKERS)].name
        shown.setdefault(name, []).append(sum(u.type_name is not None for u in script))
    assert np.mean(shown["hugo"]) > 1.2 * np.mean(shown["grace"])
    assert len({str(asdict(speaker)) for speaker in SPEAKERS}) == len(SPEAKERS)
