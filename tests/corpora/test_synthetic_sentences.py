"""The sentences of the synthetic corpus: natural, and others in testing than in training."""

from __future__ import annotations

import itertools
import re
from itertools import pairwise

import numpy as np
import pytest

from gestray.anchors import rules
from gestray.anchors.taxonomy import load_taxonomy
from gestray.corpora.synthetic.grammar import (
    MAX_WORD_GAP_S,
    make_sentence,
    speak,
    stressed_words,
)
from gestray.corpora.synthetic.lexicon import NEUTRAL, PATTERNS, SLOTS, Patterns
from gestray.corpora.synthetic.script import ZIPF_EXPONENT, Deck, plan_take, write_script
from gestray.corpora.synthetic.speakers import SPEAKERS
from gestray.corpora.synthetic.vocabulary import GESTURES
from gestray.corpora.synthetic.voice import LettersVoice

ALL = PATTERNS | {"neutral": NEUTRAL}


def skeletons(pattern: str) -> set[str]:
    """What a pattern can become before its slots are filled."""
    parts = re.split(r"(\([^()]*\)|\[[^\[\]]*\])", pattern)
    options = [part[1:-1].split("|") if part[:1] in ("(", "[") else [part] for part in parts]
    return {" ".join("".join(choice).split()) for choice in itertools.product(*options)}


def keywords(patterns: tuple[str, ...]) -> set[str]:
    return {
        phrase for pattern in patterns for phrase in re.search(r"\[(.*)\]", pattern)[1].split("|")
    }


def skeleton_regex(skeleton: str) -> str:
    slots = {name: f"(?:{'|'.join(words)})" for name, words in SLOTS.items()}
    return re.sub(r"\{(\w+)\}", lambda match: slots[match[1]], skeleton)


def regex(of: str, entries: dict[str, Patterns] = ALL) -> re.Pattern[str]:
    """Finds any sentence of the train or unseen patterns."""
    alternatives = {
        skeleton_regex(skeleton)
        for patterns in entries.values()
        for pattern in getattr(patterns, of)
        for skeleton in skeletons(pattern)
    }
    return re.compile(rf"\b(?:{'|'.join(sorted(alternatives, key=len, reverse=True))})\b")


def sentences(patterns: Patterns, count: int) -> list[str]:
    rng = np.random.default_rng(0)
    made = (make_sentence(patterns.train + patterns.unseen, rng) for _ in range(count))
    return [" ".join(sentence.words) for sentence in made]


@pytest.fixture(scope="module")
def scripts():
    """Split and utterances of scripted takes."""
    rng = np.random.default_rng(3)
    made = []
    for split, exponent in ZIPF_EXPONENT.items():
        deck = Deck(exponent, rng)
        for speaker in SPEAKERS:
            plan = plan_take(speaker, split, 120.0, deck, rng)
            made.append((split, write_script(speaker, plan, 3600, LettersVoice(), rng)[0]))
    return made


def test_every_type_has_many_patterns_and_other_ones_unseen():
    assert PATTERNS.keys() == GESTURES.keys()
    for name, patterns in ALL.items():
        assert len(patterns.train) >= 6 and len(patterns.unseen) >= 3, name
    assert len(NEUTRAL.train) >= 40 and len(NEUTRAL.unseen) >= 12


def test_no_unseen_skeleton_is_one_of_training_whatever_the_type():
    train, unseen = (
        {
            skeleton
            for patterns in ALL.values()
            for pattern in getattr(patterns, of)
            for skeleton in skeletons(pattern)
        }
        for of in ("train", "unseen")
    )
    assert len(train) > 1000 and len(unseen) > 500
    assert not train & unseen


@pytest.mark.parametrize("name", PATTERNS)
def test_unseen_keywords_are_others_than_those_of_training(name):
    assert not keywords(PATTERNS[name].train) & keywords(PATTERNS[name].unseen)


def test_training_takes_never_use_unseen_patterns(scripts):
    unseen = regex("unseen")
    told: dict[str, list[bool]] = {"train": [], "val": [], "test": []}
    for split, utterances in scripts:
        for utterance in utterances:
            text = " ".join(word.text for word in utterance.words)
            told[split].append(unseen.search(text) is not None)
    assert not any(told["train"])
    for split in ("val", "test"):
        assert 0.3 < np.mean(told[split]) < 0.7


def test_every_utterance_is_of_a_pattern(scripts):
    known = [regex("train"), regex("unseen")]
    for _, utterances in scripts:
        for utterance in utterances:
            text = " ".join(word.text for word in utterance.words)
            assert any(pattern.search(text) for pattern in known), text


@pytest.mark.parametrize("name", ALL)
def test_words_can_be_spoken_and_articles_fit(name):
    vowel_sound = re.compile(r"(?!use|one\b|uni|eu)[aeiou]|hour")
    for text in sentences(ALL[name], 200):
        assert re.fullmatch(r"[a-z]+('[a-z]+)*( [a-z]+('[a-z]+)*)*", text), text
        assert 5 <= len(text.split()) <= 18, text
        for before, after in pairwise(text.split()):
            if before in ("a", "an"):
                assert (before == "an") == bool(vowel_sound.match(after)), text
            assert before != after or before in ("no", "again", "grew", "so"), text


@pytest.mark.parametrize("name", PATTERNS)
def test_sentences_carry_a_keyword_and_a_topic(name):
    rng = np.random.default_rng(0)
    patterns = PATTERNS[name]
    made = set()
    for _ in range(200):
        sentence = make_sentence(patterns.train + patterns.unseen, rng)
        first, last = sentence.keyword
        assert 0 <= first < last <= len(sentence.words)
        phrase = " ".join(sentence.words[first:last])
        assert phrase in keywords(patterns.train) | keywords(patterns.unseen)
        assert any(stressed_words(sentence)[first:last])
        assert sentence.topic != "it" and sentence.topic.split()[-1] in sentence.words
        made.add(sentence.words)
    assert len(made) > 150


def test_distractors_both_ways(scripts):
    kinds = [utterance.kind for _, utterances in scripts for utterance in utterances]
    assert {"words only", "gesture only"} <= set(kinds)
    with_meaning = [regex(of, PATTERNS) for of in ("train", "unseen")]
    for _, utterances in scripts:
        for utterance in utterances:
            assert (utterance.type_name is not None) == (
                utterance.kind in ("meaning", "gesture only")
            )
            if utterance.kind == "words only":
                text = " ".join(word.text for word in utterance.words)
                assert not utterance.gestures
                assert any(pattern.fullmatch(text) for pattern in with_meaning)


def test_neutral_sentences_hold_words_that_mean_something_elsewhere():
    """So that nobody does well by looking for keywords: many hold a strong cue, of many intents."""
    made, taxonomy = sentences(NEUTRAL, 400), load_taxonomy()
    cues = [
        {label for label, cues in rules._heard(text, taxonomy).items() if max(cues.values()) >= 4}
        for text in made
    ]
    assert np.mean([bool(found) for found in cues]) > 0.3
    assert len(set().union(*cues)) >= 12


def test_function_words_are_unstressed_and_a_keyword_never_is():
    sentence = make_sentence(("the {tall} is [so] near to {place}",), np.random.default_rng(0))
    told = dict(zip(sentence.words, stressed_words(sentence), strict=True))
    assert told["so"] and not told["the"] and not told["is"] and not told["to"]


def test_words_keep_the_rate_asked_for():
    rng = np.random.default_rng(0)
    for rate in (2.0, 3.0):
        sentence = make_sentence(PATTERNS["rise"].train, rng)
        words = speak(sentence, 1.5, rate, rng)
        assert words[0].start_s == 1.5
        length = words[-1].end_s - words[0].start_s
        assert length <= len(words) / rate + 1e-3
        assert length >= len(words) / rate - MAX_WORD_GAP_S - 1e-3
        assert all(a.end_s <= b.start_s for a, b in pairwise(words))
