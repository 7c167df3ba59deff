"""The taxonomy of intents, `intents.yaml`: what each is, how it looks and what is said with it.

Everything that speaks of intents takes it from here: the rules weigh its forms
and cues, prompts show its definitions and examples, and `gestray.form.INTENTS`
are its labels. So a taxonomy is changed in one file, whose version and hash are
part of the provenance of whatever was made with it.
"""

from __future__ import annotations

import functools
import hashlib
import math
from importlib import resources
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from gestray.form import (
    INTENTS,
    Amplitude,
    Contact,
    Direction,
    Handedness,
    HandForm,
    HandShape,
    HeadMovement,
    Height,
    Hold,
    Location,
    Palm,
    Path,
    PhysicalForm,
    Reach,
    Relation,
    Side,
    Speed,
    Trajectory,
    Zone,
)

# Share of terms that are none of those an intent is known by: gestures vary, and in forms that
# come from measured motion some terms are on the wrong side of a threshold.
_MISREAD = 0.05
# How often people make the commonest forms; the other terms of a part share the rest equally.
_COMMON: dict[str, dict[str, float]] = {
    "relation": {"single": 0.5},
    "shape": {"relaxed": 0.35, "flat": 0.25, "spread": 0.1, "index": 0.1},
    "path": {"straight": 0.6, "static": 0.2},
    "contact": {"none": 0.85},
    "head": {"none": 0.7},
}
# Share of all forms that make a number of passes, by the least number asked for.
_PASSES_SHARE = {0: 0.25, 1: 0.75, 2: 0.4, 3: 0.2}


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


# The terms of each part of a form that a pattern may ask for.
_TERMS: dict[str, tuple[str, ...]] = {
    name: get_args(record.model_fields[name].annotation)
    for record, names in (
        (PhysicalForm, ("handedness", "relation", "hold", "head")),
        (Location, ("zone", "height", "side", "reach")),
        (HandForm, ("palm", "shape", "contact")),
        (Trajectory, ("path", "direction", "amplitude", "speed")),
    )
    for name in names
}


class FormPattern(BaseModel):
    """A partial physical form: for each condition, the terms that meet it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    handedness: Annotated[tuple[Handedness, ...], BeforeValidator(_listed)] = ()
    relation: Annotated[tuple[Relation, ...], BeforeValidator(_listed)] = ()
    zone: Annotated[tuple[Zone, ...], BeforeValidator(_listed)] = ()
    height: Annotated[tuple[Height, ...], BeforeValidator(_listed)] = ()
    side: Annotated[tuple[Side, ...], BeforeValidator(_listed)] = ()
    reach: Annotated[tuple[Reach, ...], BeforeValidator(_listed)] = ()
    palm: Annotated[tuple[Palm, ...], BeforeValidator(_listed)] = ()
    shape: Annotated[tuple[HandShape, ...], BeforeValidator(_listed)] = ()
    path: Annotated[tuple[Path, ...], BeforeValidator(_listed)] = ()
    direction: Annotated[tuple[Direction, ...], BeforeValidator(_listed)] = ()
    amplitude: Annotated[tuple[Amplitude, ...], BeforeValidator(_listed)] = ()
    speed: Annotated[tuple[Speed, ...], BeforeValidator(_listed)] = ()
    contact: Annotated[tuple[Contact, ...], BeforeValidator(_listed)] = ()
    hold: Annotated[tuple[Hold, ...], BeforeValidator(_listed)] = ()
    head: Annotated[tuple[HeadMovement, ...], BeforeValidator(_listed)] = ()
    # The least number of passes; 0 asks for a hand that is held still.
    repetitions: Literal[0, 1, 2, 3] | None = None

    def evidence(self, form: PhysicalForm) -> float:
        """Bits in favour of this pattern over any form, by that hand which shows most of it.

        A term that meets a condition is there because the pattern is, or was misread for any
        other as often as it occurs; so it counts as log2((1 - misread) / share + misread), where
        share is that of all terms which would meet it. One that does not is a misread one.
        """
        hands = [hand for hand in (form.left, form.right) if hand is not None]
        return max((self._hand_evidence(form, hand) for hand in hands), default=-math.inf)

    def _hand_evidence(self, form: PhysicalForm, hand: HandForm) -> float:
        shown = dict(form) | dict(hand.location) | dict(hand.trajectory) | dict(hand)
        return sum(
            math.log2((1 - _MISREAD) / share + _MISREAD)
            if self._meets(name, shown[name])
            else math.log2(_MISREAD)
            for name, share in _shares(self)
        )

    def _meets(self, name: str, shown: Any) -> bool:
        if name == "repetitions":
            return shown == 0 if self.repetitions == 0 else shown >= (self.repetitions or 0)
        return shown in getattr(self, name)


class Cues(BaseModel):
    """Words and phrases that go with an intent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strong: tuple[str, ...]
    weak: tuple[str, ...]


class Example(BaseModel):
    """A gesture and its words, with what should be said of them; prompts show it.

    `motion` is the gesture in a few words, `words` are those of the transcript
    that carry the intent, `sentence` says the intent at this moment.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hands: Literal["left", "right", "both"]
    form: str
    transcript: str
    motion: str = Field(max_length=60)
    words: tuple[str, ...] = Field(max_length=3)
    sentence: str = Field(max_length=120)


class IntentRule(BaseModel):
    """One entry of ``intents.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    definition: str
    emblem: bool
    cues: Cues
    forms: tuple[FormPattern, ...] = Field(min_length=1)
    example: Example
    sentence: str


class Taxonomy(BaseModel):
    """The whole of ``intents.yaml``: one rule for every intent.

    `unsupported` is the example of a gesture whose form and words agree on none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    unsupported: Example
    intents: dict[str, IntentRule]

    @model_validator(mode="after")
    def _cover(self) -> Taxonomy:
        assert self.intents.keys() == INTENTS.keys(), "gestray.form names the labels of this file"
        return self


@functools.cache
def taxonomy() -> Taxonomy:
    """The taxonomy that gestray ships."""
    return Taxonomy.model_validate(yaml.safe_load(_text()))


@functools.cache
def taxonomy_hash() -> str:
    """First 12 digits of the hash of the file."""
    return hashlib.sha256(_text().encode()).hexdigest()[:12]


def _text() -> str:
    return resources.files("gestray.anchors").joinpath("intents.yaml").read_text("utf-8")


@functools.cache
def _shares(pattern: FormPattern) -> tuple[tuple[str, float], ...]:
    """The conditions of a pattern, each with the share of terms that meet it."""
    return tuple((name, _share(pattern, name)) for name in sorted(pattern.model_fields_set))


def _share(pattern: FormPattern, name: str) -> float:
    if name == "repetitions":
        return _PASSES_SHARE[pattern.repetitions or 0]
    common = _COMMON.get(name, {})
    rare = (1 - sum(common.values())) / (len(_TERMS[name]) - len(common))
    return sum(common.get(term, rare) for term in getattr(pattern, name))
