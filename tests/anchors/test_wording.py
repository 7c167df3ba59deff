"""Sentences say what the record says: each is read back to the record it came from."""

from __future__ import annotations

import re
from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from gestray import form as vocabulary
from gestray.anchors.wording import mirrored_hand, sentence
from gestray.form import HandForm, Location, PhysicalForm, Trajectory


def _hands() -> st.SearchStrategy[HandForm]:
    def one_of(kind: Any) -> st.SearchStrategy[Any]:
        return st.sampled_from(get_args(kind))

    location = st.builds(
        Location,
        zone=one_of(vocabulary.Zone),
        height=one_of(vocabulary.Height),
        side=one_of(vocabulary.Side),
        reach=one_of(vocabulary.Reach),
    )
    trajectory = st.builds(
        Trajectory,
        path=one_of(vocabulary.Path),
        direction=one_of(vocabulary.Direction),
        repetitions=st.integers(0, 20),
        amplitude=one_of(vocabulary.Amplitude),
        speed=one_of(vocabulary.Speed),
    )
    return st.builds(
        HandForm,
        location=location,
        palm=one_of(vocabulary.Palm),
        shape=one_of(vocabulary.HandShape),
        trajectory=trajectory,
        contact=one_of(vocabulary.Contact),
    )


@st.composite
def _forms(draw: st.DrawFn) -> PhysicalForm:
    handedness = draw(st.sampled_from(get_args(vocabulary.Handedness)))
    left = draw(_hands()) if handedness in ("left", "both") else None
    right = draw(_hands()) if handedness in ("right", "both") else None
    if left is not None and right is not None and draw(st.booleans()):
        right = mirrored_hand(left)
    of_pairs = [r for r in get_args(vocabulary.Relation) if r != "single"]
    relation: Any = draw(st.sampled_from(of_pairs)) if handedness == "both" else "single"
    return PhysicalForm(
        handedness=handedness,
        left=left,
        right=right,
        relation=relation,
        hold=draw(st.sampled_from(get_args(vocabulary.Hold))),
        head=draw(st.sampled_from(get_args(vocabulary.HeadMovement))),
    )


# Every term as the sentence has it, by the record's term. Words are written down again here.
SHAPES = {
    "flat": "flat",
    "relaxed": "relaxed",
    "spread": "fingers spread",
    "fist": "closed to a fist",
    "index": "index finger extended",
    "two fingers": "two fingers extended",
    "three fingers": "three fingers extended",
    "four fingers": "four fingers extended",
    "counting": "fingers extending one by one",
    "pinch": "thumb and index finger pinched",
    "ring": "thumb and index finger in a ring",
    "thumb up": "thumb up",
    "cupped": "cupped",
}
PALMS = {
    "up": "palm up",
    "down": "palm down",
    "inward": "palm facing inward",
    "outward": "palm facing outward",
    "to self": "palm towards the speaker",
    "to front": "palm to the front",
}
PATHS = {
    "static": "stays?",
    "straight": "moves? straight",
    "arc": "moves? in an arc",
    "circle": "circles?",
    "zigzag": "swings? to and fro, first",
}
DIRECTIONS = {
    "left": "to the left|outward",
    "right": "to the right|inward",
    "none": "in place",
    **{name: name for name in ("up", "down", "forward", "backward")},
}
SPEEDS = {
    "still": "without haste",
    "slow": "slowly",
    "moderate": "at moderate speed",
    "fast": "quickly",
}
AMPLITUDES = {
    "none": "over no distance",
    "small": "over a short distance",
    "medium": "over a medium distance",
    "large": "over a long distance",
}
NUMBERS = (
    *("three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
TIMES = [" without a full pass", "", ", twice", *(f", {number} times" for number in NUMBERS)]
HEIGHTS = {
    "below waist": "below the waist",
    "above head": "above the head",
    **{name: f"at {name} height" for name in ("waist", "chest", "shoulder", "head")},
}
SIDES = {
    "left": "in the left|each on its own side of the",
    "middle": "in the",
    "right": "in the right|crossed over in the",
}
ZONES = {
    "centre-centre": "inner centre",
    "centre": "centre",
    "extreme periphery": "extreme periphery",
    "periphery": "periphery",
}
REACHES = {"close": "close to the body", "medium": "at half reach", "far": "far to the front"}
CONTACTS = {
    "head": ", touching the head",
    "chest": ", touching the chest",
    "other hand": ", touching the other hand",
    "none": "",
}
RELATIONS = {
    "mirror": "mirroring each other",
    "parallel": "side by side in parallel",
    "alternating": "taking turns",
    "touching": "resting on each other",
    "apart": "coming apart",
    "together": "coming together",
}
HOLDS = {
    "brief": ", stopping there for a moment|, for a moment",
    "long": ", staying there for long|, for long",
    "none": "",
}
HEADS = {
    "nod": ", while the head nods",
    "shake": ", while the head shakes",
    "tilt": ", while the head tilts",
    "none": "",
}


def one(name: str, table: dict[str, str]) -> str:
    """A pattern with a group for each term of `table`: name_0, name_1, ..."""
    return (
        "(?:" + "|".join(f"(?P<{name}_{i}>{words})" for i, words in enumerate(table.values())) + ")"
    )


def hand(side: str) -> str:
    times = {str(n): words for n, words in enumerate(TIMES)}
    moves = (
        f"{one(side + 'path', PATHS)} {one(side + 'direction', DIRECTIONS)} "
        f"{one(side + 'speed', SPEEDS)} {one(side + 'amplitude', AMPLITUDES)}"
        f"{one(side + 'times', times)},"
    )
    return (
        f"{one(side + 'shape', SHAPES)} and {one(side + 'palm', PALMS)}, "
        f"(?:(?P<{side}still>(?:is|are) held still)|{moves}) {one(side + 'height', HEIGHTS)} "
        f"{one(side + 'side', SIDES)} {one(side + 'zone', ZONES)}(?: at the midline)?, "
        f"{one(side + 'reach', REACHES)}{one(side + 'contact', CONTACTS)}"
    )


END = f"{one('hold', HOLDS)}{one('head', HEADS)}\\."
SENTENCES = {
    "none": re.compile(f"Both hands stay at rest{END}"),
    "pair": re.compile(f"Both hands, {hand('L')}, {one('relation', RELATIONS)}{END}"),
    "both": re.compile(
        f"The left hand, {hand('L')}, while the right hand, {hand('R')}, "
        f"the hands {one('relation', RELATIONS)}{END}"
    ),
    "left": re.compile(f"The left hand, {hand('L')}{END}"),
    "right": re.compile(f"The right hand, {hand('R')}{END}"),
}


def read(text: str) -> PhysicalForm:
    """The record that a sentence says: the test's oracle."""
    matches = {kind: pattern.fullmatch(text) for kind, pattern in SENTENCES.items()}
    kinds = [kind for kind, match in matches.items() if match]
    assert len(kinds) == 1, f"{text!r} reads as {kinds or 'nothing'}"
    kind, match = kinds[0], matches[kinds[0]]
    assert match is not None
    groups = {name: words for name, words in match.groupdict().items() if words is not None}

    def term(name: str, table: Any) -> Any:
        [found] = [i for i in range(len(table)) if f"{name}_{i}" in groups]
        return list(table)[found]

    def read_hand(side: str) -> HandForm:
        trajectory = STILL
        if f"{side}still" not in groups:
            trajectory = Trajectory(
                path=term(side + "path", PATHS),
                direction=term(side + "direction", DIRECTIONS),
                repetitions=TIMES.index(term(side + "times", TIMES)),
                amplitude=term(side + "amplitude", AMPLITUDES),
                speed=term(side + "speed", SPEEDS),
            )
        return HandForm(
            location=Location(
                zone=term(side + "zone", ZONES),
                height=term(side + "height", HEIGHTS),
                side=term(side + "side", SIDES),
                reach=term(side + "reach", REACHES),
            ),
            palm=term(side + "palm", PALMS),
            shape=term(side + "shape", SHAPES),
            trajectory=trajectory,
            contact=term(side + "contact", CONTACTS),
        )

    left = read_hand("L") if kind in ("pair", "both", "left") else None
    right = read_hand("R") if kind in ("both", "right") else None
    if kind == "pair":
        assert left is not None
        right = mirrored_hand(left)
    return PhysicalForm(
        handedness="both" if kind == "pair" else kind,  # type: ignore[arg-type]
        left=left,
        right=right,
        relation=term("relation", RELATIONS) if kind in ("pair", "both") else "single",
        hold=term("hold", HOLDS),
        head=term("head", HEADS),
    )


STILL = Trajectory(path="static", direction="none", repetitions=0, amplitude="none", speed="still")


@given(_forms())
@settings(max_examples=300, deadline=None)
def test_a_sentence_says_its_record(form: PhysicalForm) -> None:
    assert read(sentence(form)) == form


@given(_forms(), st.data())
@settings(max_examples=200, deadline=None)
def test_a_change_of_any_term_changes_the_sentence(form: PhysicalForm, data: st.DataObject) -> None:
    other = data.draw(_forms())
    if form.left is not None and data.draw(st.booleans()):
        # One term of one hand, where sentences could most easily fail to differ.
        part = data.draw(st.sampled_from(["location", "trajectory", "palm", "shape", "contact"]))
        donor = data.draw(_hands())
        hand = form.left.model_copy(update={part: getattr(donor, part)})
        other = form.model_copy(update={"left": hand})
    assert (sentence(other) == sentence(form)) == (other == form)


def test_sentences_read_well() -> None:
    hand = HandForm(
        location=Location(zone="periphery", height="chest", side="right", reach="far"),
        palm="down",
        shape="index",
        trajectory=Trajectory(
            path="straight", direction="forward", repetitions=2, amplitude="medium", speed="fast"
        ),
    )
    form = PhysicalForm(handedness="right", right=hand)
    assert sentence(form) == (
        "The right hand, index finger extended and palm down, moves straight forward quickly over "
        "a medium distance, twice, at chest height in the right periphery, far to the front."
    )
    pair = PhysicalForm(
        handedness="both",
        left=mirrored_hand(hand),
        right=hand,
        relation="mirror",
        hold="long",
        head="nod",
    )
    assert sentence(pair) == (
        "Both hands, index finger extended and palm down, move straight forward quickly over a "
        "medium distance, twice, at chest height each on its own side of the periphery, far to "
        "the front, mirroring each other, staying there for long, while the head nods."
    )
    touching = hand.model_copy(update={"trajectory": STILL, "contact": "chest", "shape": "flat"})
    assert sentence(PhysicalForm(handedness="right", right=touching, hold="long")) == (
        "The right hand, flat and palm down, is held still at chest height in the right "
        "periphery, far to the front, touching the chest, for long."
    )
    assert sentence(PhysicalForm(handedness="none")) == "Both hands stay at rest."
