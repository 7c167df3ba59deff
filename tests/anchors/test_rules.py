"""Grounding by rules: known gestures with known words, and what must hold for any."""

from __future__ import annotations

import math
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gestray.anchors import rules
from gestray.anchors import taxonomy as taxonomies
from gestray.anchors.taxonomy import FormPattern, load_taxonomy
from gestray.form import HandForm, Intent, Location, PhysicalForm, Trajectory

# Medium, moderate and undistinguished: on its own it suggests nothing.
PLAIN = {
    "zone": "centre",
    "height": "waist",
    "side": "right",
    "reach": "medium",
    "palm": "inward",
    "shape": "relaxed",
    "contact": "none",
    "path": "straight",
    "direction": "backward",
    "repetitions": 1,
    "amplitude": "medium",
    "speed": "moderate",
}
HELD = {"path": "static", "direction": "none", "repetitions": 0, "amplitude": "none"}
NO_HANDS = PhysicalForm(handedness="none")
TAXONOMY = load_taxonomy()


def ground(form: PhysicalForm, transcript: str) -> tuple[Intent | None, str]:
    return rules.ground(form, transcript, TAXONOMY)


def hand(**terms) -> HandForm:
    values = PLAIN | terms
    parts = {
        part: record(**{name: values[name] for name in record.model_fields})
        for part, record in (("location", Location), ("trajectory", Trajectory))
    }
    own = {name: values[name] for name in ("palm", "shape", "contact")}
    return HandForm(**own, **parts)


def one(hold="brief", head="none", **terms) -> PhysicalForm:
    return PhysicalForm(handedness="right", right=hand(**terms), hold=hold, head=head)


def both(relation: str, hold="brief", head="none", **terms) -> PhysicalForm:
    left, right = hand(**terms | {"side": "left"}), hand(**terms)
    return PhysicalForm(
        handedness="both", left=left, right=right, relation=relation, hold=hold, head=head
    )


# What people do and say, by the intent.
AGREEING = {
    "self-reference": (
        one(palm="to self", reach="close", height="chest", contact="chest"),
        "Well, I am from the north",
    ),
    "addressee": (one(shape="index", direction="forward"), "and what would you do"),
    "here": (one(shape="index", palm="down", direction="down"), "right here in this room"),
    "left": (one(shape="index", direction="left"), "the lake is on the left"),
    "right": (one(shape="index", direction="right", zone="periphery"), "then turn right"),
    "up": (one(shape="index", direction="up", height="head"), "the attic is up there"),
    "down": (one(shape="flat", palm="down", direction="down"), "press it down hard"),
    "path": (one(shape="index", path="arc", direction="left"), "we went all the way across"),
    "past": (
        one(palm="inward", direction="backward", height="shoulder", reach="close"),
        "That was years ago.",
    ),
    "future": (one(palm="inward", path="arc", direction="forward"), "we will see tomorrow"),
    "large": (both("apart", palm="inward", amplitude="large", direction="left"), "a huge barn"),
    "small": (one(shape="pinch", palm="inward", hold="long", **HELD), "a tiny dot"),
    "height": (one(shape="flat", palm="down", height="head", hold="long", **HELD), "this high"),
    "growth": (
        one(direction="up", amplitude="large", palm="down", shape="flat"),
        "prices kept rising",
    ),
    "decline": (one(direction="down", amplitude="large", palm="down"), "attendance dropped"),
    "container": (both("touching", shape="cupped", palm="up", **HELD), "a bowl of plums"),
    "whole": (
        one(palm="down", shape="flat", path="arc", direction="right", amplitude="large"),
        "the whole valley",
    ),
    "joining": (both("together", contact="other hand", direction="left"), "they came together"),
    "separating": (both("apart", shape="fist", direction="left"), "it was torn in two"),
    "cycle": (one(path="circle", repetitions=3, direction="up"), "and it repeats each night"),
    "contrast": (
        both("alternating", palm="up", shape="flat", repetitions=2, direction="up"),
        "cheap; slow, however",
    ),
    "listing": (one(shape="counting", repetitions=3, direction="up"), "First the eggs"),
    "precision": (one(shape="ring", direction="down", repetitions=2), "at exactly noon"),
    "approximation": (
        one(palm="down", shape="spread", path="zigzag", direction="left", amplitude="small"),
        "roughly a mile",
    ),
    "emphasis": (one(shape="fist", direction="down", speed="fast"), "this really matters"),
    "uncertainty": (
        both("mirror", palm="up", direction="up", zone="periphery", head="tilt"),
        "hmm, I DON’T know",
    ),
    "question": (one(palm="up", hold="long", head="tilt", **HELD), "Why is that?"),
    "request": (
        both("touching", palm="inward", shape="flat", contact="other hand", **HELD),
        "please stay",
    ),
    "negation": (
        one(palm="to front", path="zigzag", direction="left", repetitions=3, shape="flat"),
        "no, that was never the plan",
    ),
    "affirmation": (one(shape="thumb up"), "Yeah. Excellent work"),
    "stop": (
        one(palm="to front", shape="flat", height="chest", hold="long", **HELD),
        "wait a minute",
    ),
    "dismissal": (
        one(palm="to self", direction="right", speed="fast", hold="none"),
        "oh never mind",
    ),
    "quotation": (
        both("mirror", shape="two fingers", palm="to front", repetitions=2, direction="down"),
        "his so-called friend",
    ),
    "thinking": (
        one(height="head", reach="close", contact="head", **HELD),
        "let me think about it",
    ),
}
CASES = [(label, form, transcript) for label, (form, transcript) in AGREEING.items()]
EMBLEMS = [
    "listing",
    "approximation",
    "uncertainty",
    "request",
    "negation",
    "affirmation",
    "stop",
    "quotation",
]


@pytest.mark.parametrize(("label", "form", "transcript"), CASES)
def test_form_and_words_that_agree_are_grounded(label, form, transcript):
    intent, reason = ground(form, transcript)

    assert intent is not None, reason
    assert intent.label == label
    assert intent.confidence >= 0.85
    assert intent.words
    assert reason == ""


def test_every_intent_but_beat_has_an_agreeing_example():
    assert AGREEING.keys() == TAXONOMY.intents.keys() - {"beat"}


@pytest.mark.parametrize(("label", "transcript"), [(label, text) for label, _, text in CASES])
def test_words_without_the_form_ground_nothing(label, transcript):
    intent, reason = ground(one(**HELD), transcript)

    assert intent is None
    assert label in reason.split("the words suggest")[1]


@pytest.mark.parametrize(("label", "form", "transcript"), CASES)
def test_form_without_words_is_less_sure(label, form, transcript):
    said, _ = ground(form, transcript)
    unsaid, _ = ground(form, "the table was set at seven")

    if unsaid is None:
        assert label not in EMBLEMS
    else:
        assert unsaid.words == ()
        assert unsaid.confidence < said.confidence or said.confidence == 1.0


def test_emblems_are_marked_so():
    marked = [label for label, rule in TAXONOMY.intents.items() if rule.emblem]
    assert marked == ["beat", *EMBLEMS]


@pytest.mark.parametrize("label", EMBLEMS)
def test_an_emblem_needs_no_words(label):
    intent, _ = ground(AGREEING[label][0], "the table was set at seven")

    assert intent.label == label


def test_small_unspecific_movement_is_a_beat_whatever_is_said():
    tap = one(amplitude="small", direction="down", repetitions=2, hold="none")

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
    assert ground(one(hold="long", **HELD), "the table was set")[0] is None


def test_words_decide_between_readings_of_one_form():
    palm_rises = both("mirror", palm="up", shape="flat", direction="up", zone="periphery")

    assert ground(palm_rises, "nobody knows")[0].label == "uncertainty"
    assert ground(palm_rises, "sales have soared")[0].label == "growth"
    assert ground(palm_rises, "we lift the sofa")[0].label == "up"


def test_a_longer_phrase_claims_its_words():
    palm_rises = one(palm="up", shape="flat", direction="up")

    went_up, _ = ground(palm_rises, "the price went up again")
    assert (went_up.label, went_up.words) == ("growth", ("went up",))
    up, _ = ground(palm_rises, "we went with it up there")
    assert (up.label, up.words) == ("up", ("up there",))
    # Not from stronger cues: "would you" is but a weak sign of a request.
    assert rules._heard("what would you do", TAXONOMY)["addressee"] == {"you": rules._STRONG}


def test_the_most_telling_words_come_first():
    intent, _ = ground(one(shape="index", direction="right"), "next to it and to the right")

    assert intent.words == ("to the right", "next to")


def test_either_hand_may_show_the_form():
    thumb = hand(shape="thumb up")
    form = PhysicalForm(handedness="both", left=thumb, right=hand(), relation="parallel")

    assert ground(form, "great")[0].label == "affirmation"


def test_cues_are_whole_words_and_phrases():
    thumb_up = one(shape="thumb up", **HELD)

    assert ground(thumb_up, "yesterday")[0].words == ()
    assert ground(thumb_up, "of a course")[0].words == ()
    assert ground(thumb_up, "well -- of  course!")[0].words == ("of course",)
    # A prefix cue takes its endings, a clitic is no part of the word.
    assert ground(thumb_up, "agreed")[0].words == ("agreed",)
    assert ground(thumb_up, "great's the word")[0].words == ("great",)


def test_evidence_is_the_log_likelihood_ratio_of_a_form():
    form = one(palm="up", shape="flat", direction="forward", amplitude="small")
    met, missed = math.log2(0.95 / (1 / 6) + 0.05), math.log2(0.05)

    assert FormPattern(palm="up").evidence(form) == pytest.approx(met)
    assert FormPattern(palm="down").evidence(form) == pytest.approx(missed)
    assert FormPattern(palm="up", amplitude=["large", "medium"]).evidence(form) == pytest.approx(
        met + missed
    )
    assert FormPattern(palm="up").evidence(NO_HANDS) == -math.inf


def test_rarer_terms_are_stronger_evidence():
    ring, flat = (FormPattern(shape=shape).evidence(one(shape=shape)) for shape in ("ring", "flat"))
    assert ring > flat + 1
    touch, none = (
        FormPattern(contact=contact).evidence(one(contact=contact)) for contact in ("head", "none")
    )
    assert touch > none + 3


def test_terms_of_a_part_share_one():
    for name, terms_of_part in taxonomies._TERMS.items():
        total = sum(taxonomies._share(FormPattern(**{name: term}), name) for term in terms_of_part)
        assert total == pytest.approx(1), name


def test_repetitions_are_a_least_number_and_zero_means_held():
    def shows(least, count):
        return FormPattern(repetitions=least).evidence(one(repetitions=count)) > 0

    assert shows(2, 3) and shows(2, 2) and not shows(2, 1)
    assert shows(0, 0) and not shows(0, 1)


def terms(record: type, name: str) -> st.SearchStrategy:
    return st.sampled_from(typing.get_args(record.model_fields[name].annotation))


def forms() -> st.SearchStrategy[PhysicalForm]:
    location = {name: terms(Location, name) for name in Location.model_fields}
    words = {name: terms(Trajectory, name) for name in Trajectory.model_fields if name[0] != "r"}
    any_hand = st.fixed_dictionaries(
        location
        | words
        | {name: terms(HandForm, name) for name in ("palm", "shape", "contact")}
        | {"repetitions": st.integers(0, 20)}
    ).map(lambda values: hand(**values))
    relation = terms(PhysicalForm, "relation").filter(lambda term: term != "single")
    two = st.builds(PhysicalForm, handedness=st.just("both"), left=any_hand, right=any_hand,
                    relation=relation, hold=terms(PhysicalForm, "hold"),
                    head=terms(PhysicalForm, "head"))  # fmt: skip
    return any_hand.map(lambda right: PhysicalForm(handedness="right", right=right)) | two


@given(forms(), st.text(max_size=200) | st.sampled_from([case[2] for case in CASES]))
@settings(max_examples=150, deadline=None)
def test_any_form_and_text_give_a_sound_answer_twice_the_same(form, transcript):
    intent, reason = ground(form, transcript)

    assert (intent, reason) == ground(form, transcript)
    if intent is None:
        assert reason
    else:
        assert intent.label in TAXONOMY.intents
        assert 0.5 <= intent.confidence <= 1.0
        assert "{" not in intent.sentence


@pytest.mark.parametrize("word", ["grow" + "w" * 100_000, "rise " * 50_000, "\ud800 rises"])
def test_unusual_transcripts_do_not_break_the_sentence(word):
    intent, _ = ground(one(direction="up", amplitude="large", shape="flat"), word)

    assert intent is None or len(intent.sentence) <= 240


def test_lexicon_is_whole_and_its_sentences_take_the_words():
    for label, rule in TAXONOMY.intents.items():
        if label != "beat":
            assert rule.sentence.count("{words}") == 1, label
            assert rule.cues.strong, label
            assert not set(rule.cues.strong) & set(rule.cues.weak), label
        for pattern in rule.forms:
            assert pattern.model_fields_set, label


def test_anchor_carries_the_lexicon_as_provenance():
    anchor = rules.ground_phrase("p1", one(shape="thumb up"), "A thumb goes up.", "yes", TAXONOMY)

    assert (anchor.status, anchor.grounder) == ("grounded", "rules")
    assert anchor.intent_text == anchor.intent.sentence
    assert (anchor.model, anchor.revision) == ("gestray intents", str(TAXONOMY.version))
    assert anchor.prompt_hash == TAXONOMY.hash
    still = rules.ground_phrase("p2", NO_HANDS, "No hands.", "yes", TAXONOMY)
    assert still.status == "ungrounded"
