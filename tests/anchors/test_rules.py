"""Grounding by rules: known gestures with known words, and what must hold for any."""

from __future__ import annotations

import typing

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gestray.anchors import rules
from gestray.anchors.rules import FormPattern, ground, ground_phrase
from gestray.form import INTENTS, HandForm, Location, PhysicalForm, Trajectory

# Medium, moderate and undistinguished: on its own it suggests nothing.
PLAIN = {
    "zone": "centre",
    "height": "waist",
    "side": "right",
    "reach": "medium",
    "palm": "inward",
    "shape": "relaxed",
    "path": "straight",
    "direction": "forward",
    "repetitions": 1,
    "amplitude": "medium",
    "speed": "moderate",
}
NO_HANDS = PhysicalForm(handedness="none")


def hand(**terms) -> HandForm:
    values = PLAIN | terms
    parts = {
        part: record(**{name: values[name] for name in record.model_fields})
        for part, record in (("location", Location), ("trajectory", Trajectory))
    }
    return HandForm(palm=values["palm"], shape=values["shape"], **parts)


def one(**terms) -> PhysicalForm:
    return PhysicalForm(handedness="right", right=hand(**terms))


def both(relation: str, **terms) -> PhysicalForm:
    left, right = hand(**terms | {"side": "left"}), hand(**terms)
    return PhysicalForm(handedness="both", left=left, right=right, relation=relation)


AGREEING = [
    (
        "self-reference",
        one(palm="to self", reach="close", height="chest", direction="backward"),
        "Well, I am from the north",
    ),
    ("addressee", one(shape="index", height="chest"), "and what would you do"),
    ("listing", one(shape="two fingers", repetitions=3, direction="up"), "First the eggs"),
    (
        "uncertainty",
        both("mirror", palm="up", direction="up", zone="periphery"),
        "hmm, I DON’T know",
    ),
    (
        "negation",
        one(palm="down", path="zigzag", direction="left", repetitions=3, shape="flat"),
        "no, that was never the plan",
    ),
    ("affirmation", one(shape="thumb up"), "Yeah. Excellent work"),
    ("large", both("apart", amplitude="large", direction="left"), "a huge old barn"),
    ("small", one(shape="pinch", path="static", amplitude="none", repetitions=0), "a tiny dot"),
    ("growth", one(direction="up", amplitude="large", palm="up"), "prices kept rising"),
    ("decline", one(direction="down", amplitude="large", palm="down"), "attendance dropped"),
    ("stop", one(palm="to front", shape="flat", height="chest"), "wait a minute"),
    (
        "pointing away",
        one(shape="index", zone="periphery", direction="right", reach="far"),
        "the lake is over there",
    ),
    ("cycle", one(path="circle", repetitions=3, direction="up"), "and it repeats each night"),
    ("precision", one(shape="pinch", amplitude="small"), "at exactly noon"),
    ("emphasis", one(shape="fist", direction="down", speed="fast"), "this really matters"),
    ("thinking", one(height="head", reach="close", palm="to self"), "let me think about it"),
    ("contrast", both("alternating", palm="up", direction="left"), "cheap; slow, however"),
]


@pytest.mark.parametrize(("label", "form", "transcript"), AGREEING)
def test_form_and_words_that_agree_are_grounded(label, form, transcript):
    intent, reason = ground(form, transcript)

    assert intent is not None, reason
    assert intent.label == label
    assert intent.confidence >= 0.85
    assert intent.words
    assert reason == ""


def test_every_intent_but_beat_has_an_agreeing_example():
    assert {label for label, *_ in AGREEING} == set(INTENTS) - {"beat"}


@pytest.mark.parametrize(
    ("label", "form", "transcript"), [case for case in AGREEING if case[0] != "small"]
)
def test_words_without_the_form_ground_nothing(label, form, transcript):
    intent, reason = ground(one(), transcript)

    assert intent is None
    assert label in reason.split("the words suggest")[1]


@pytest.mark.parametrize(("label", "form", "transcript"), AGREEING)
def test_form_without_words_grounds_emblems_only(label, form, transcript):
    intent, _ = ground(form, "the table was set at seven")

    if label in ("affirmation", "uncertainty", "stop"):
        assert intent.label == label
        assert intent.confidence == 0.5
        assert intent.words == ()
    else:
        assert intent is None or intent.label == "beat"


def test_small_unspecific_movement_is_a_beat_whatever_is_said():
    tap = one(amplitude="small", direction="down", repetitions=4)

    for transcript in ("", "the table was set", "yes maybe you and a hundred others"):
        intent, _ = ground(tap, transcript)
        assert intent.label == "beat"
        assert "rhythm" in intent.sentence


@pytest.mark.parametrize("transcript", ["", "I don't know", "yes"])
def test_no_gesture_is_ungrounded(transcript):
    intent, reason = ground(NO_HANDS, transcript)

    assert intent is None
    assert "no hand" in reason


def test_a_held_hand_is_not_a_beat():
    held = one(path="static", direction="none", repetitions=0, amplitude="none", speed="still")

    assert ground(held, "the table was set")[0] is None


def test_words_decide_between_readings_of_one_form():
    index_forward = one(shape="index", height="chest", repetitions=2)

    assert ground(index_forward, "it is your turn")[0].label == "addressee"
    assert ground(index_forward, "firstly the cost")[0].label == "listing"


def test_either_hand_may_show_the_form():
    thumb = hand(shape="thumb up")
    form = PhysicalForm(handedness="both", left=thumb, right=hand(), relation="parallel")

    assert ground(form, "great")[0].label == "affirmation"


def test_cues_are_whole_words_and_phrases():
    thumb_up = one(shape="thumb up")

    assert ground(thumb_up, "yesterday")[0].words == ()
    assert ground(thumb_up, "of a course")[0].words == ()
    assert ground(thumb_up, "well -- of  course!")[0].words == ("of course",)
    # A prefix cue takes its endings, a clitic is no part of the word.
    assert ground(thumb_up, "agreed")[0].words == ("agreed",)
    assert ground(thumb_up, "great's the word")[0].words == ("great",)


def test_a_pattern_of_four_may_miss_one_and_one_of_three_may_not():
    form = one(palm="up", shape="flat", direction="forward", amplitude="small")

    four = FormPattern(palm="up", shape="flat", direction="forward", amplitude="large")
    assert four.match(form) == (0.75, 3)
    three = FormPattern(palm="up", shape="flat", amplitude=["large", "medium"])
    assert three.match(form) == (pytest.approx(2 / 3), 2)
    assert three.match(NO_HANDS) == (0.0, 0)


def test_repetitions_are_a_least_number_and_zero_means_held():
    assert FormPattern(repetitions=2).match(one(repetitions=3))[0] == 1.0
    assert FormPattern(repetitions=2).match(one(repetitions=1))[0] == 0.0
    assert FormPattern(repetitions=0).match(one(repetitions=1))[0] == 0.0
    assert FormPattern(repetitions=0).match(one(repetitions=0))[0] == 1.0


def terms(record: type, name: str) -> st.SearchStrategy:
    return st.sampled_from(typing.get_args(record.model_fields[name].annotation))


def forms() -> st.SearchStrategy[PhysicalForm]:
    location = {name: terms(Location, name) for name in Location.model_fields}
    words = {name: terms(Trajectory, name) for name in Trajectory.model_fields if name[0] != "r"}
    any_hand = st.fixed_dictionaries(
        location
        | words
        | {"palm": terms(HandForm, "palm"), "shape": terms(HandForm, "shape")}
        | {"repetitions": st.integers(0, 20)}
    ).map(lambda values: hand(**values))
    relation = st.sampled_from(["mirror", "parallel", "alternating", "apart", "together"])
    two = st.builds(PhysicalForm, handedness=st.just("both"), left=any_hand, right=any_hand,
                    relation=relation)  # fmt: skip
    return any_hand.map(lambda right: PhysicalForm(handedness="right", right=right)) | two


@given(forms(), st.text(max_size=200) | st.sampled_from([case[2] for case in AGREEING]))
@settings(max_examples=150, deadline=None)
def test_any_form_and_text_give_a_sound_answer_twice_the_same(form, transcript):
    intent, reason = ground(form, transcript)

    assert (intent, reason) == ground(form, transcript)
    if intent is None:
        assert reason
    else:
        assert intent.label in INTENTS
        assert 0.5 <= intent.confidence <= 1.0
        assert "{" not in intent.sentence


@pytest.mark.parametrize("word", ["grow" + "w" * 100_000, "rise " * 50_000, "\ud800 rises"])
def test_unusual_transcripts_do_not_break_the_sentence(word):
    intent, _ = ground(one(direction="up", amplitude="large"), word)

    assert intent is None or len(intent.sentence) <= 240


def test_lexicon_is_whole_and_its_sentences_take_the_words():
    lexicon = rules._lexicon()

    assert lexicon.intents.keys() == INTENTS.keys()
    for label, rule in lexicon.intents.items():
        if label != "beat":
            assert rule.sentence.count("{words}") == 1, label
            assert rule.cues.strong, label
            assert not set(rule.cues.strong) & set(rule.cues.weak), label
        for pattern in rule.forms:
            assert pattern.model_fields_set, label


def test_a_term_outside_the_vocabulary_is_refused():
    entry = yaml.safe_load(rules._lexicon_text())["intents"]["growth"]
    entry["forms"] = [{"direction": "upwards"}]

    with pytest.raises(ValueError, match="direction"):
        rules.IntentRule.model_validate(entry)


def test_anchor_carries_the_lexicon_as_provenance():
    anchor = ground_phrase("p1", one(shape="thumb up"), "A thumb goes up.", "yes")

    assert (anchor.status, anchor.grounder) == ("grounded", "rules")
    assert anchor.intent_text == anchor.intent.sentence
    assert anchor.model.startswith("intents.yaml v")
    assert len(anchor.prompt_hash) == 12
    assert ground_phrase("p2", NO_HANDS, "No hands.", "yes").status == "ungrounded"
