"""Grounding by rules: an intent is claimed where form and words agree.

The rules need no model, give the same answer every time, and can be read and
edited (`intents.yaml`). They are the grounder of laptops and tests, and the
baseline that a language model has to beat. Two kinds of evidence are weighed:

- the *form*: how much of a typical physical form of the intent is there;
- the *cues*: words of the transcript that go with the intent.

Neither suffices alone, since most forms have many readings and most words come
with no gesture; the exceptions are emblems, whose form is a convention
(Kendon 1988), and beats, which have no reading (McNeill 1992).
"""

from __future__ import annotations

import functools
import hashlib
import math
import re
import unicodedata
from importlib import resources
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from gestray.anchors.anchor import Anchor
from gestray.form import (
    INTENTS,
    Amplitude,
    Direction,
    Handedness,
    HandForm,
    HandShape,
    Height,
    Intent,
    Palm,
    Path,
    PhysicalForm,
    Reach,
    Relation,
    Side,
    Speed,
    Zone,
)

# A pattern of four conditions may miss one; shorter ones must hold in full. Forms come
# from measured motion, where one term in four is easily on the wrong side of a threshold.
_LEAST_FORM = 0.75
_STRONG, _WEAK = 1.0, 0.5
# Form without words: a convention holds, but nothing said confirms it.
_FORM_ALONE = 0.5
# An intent keeps this many of the words that carry it; its sentence quotes the first three.
_WORDS_KEPT, _WORDS_QUOTED = 8, 3


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


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
    # The least number of passes; 0 asks for a hand that is held still.
    repetitions: int | None = None

    def match(self, form: PhysicalForm) -> tuple[float, int]:
        """Share and number of conditions met by that hand which meets most of them."""
        hands = [hand for hand in (form.left, form.right) if hand is not None]
        met = max((self._met(form, hand) for hand in hands), default=0)
        return met / len(self.model_fields_set), met

    def _met(self, form: PhysicalForm, hand: HandForm) -> int:
        shown: dict[str, Any] = {"handedness": form.handedness, "relation": form.relation}
        shown |= hand.location.model_dump() | hand.trajectory.model_dump()
        shown |= {"palm": hand.palm, "shape": hand.shape}
        return sum(self._meets(name, shown[name]) for name in self.model_fields_set)

    def _meets(self, name: str, shown: Any) -> bool:
        if name == "repetitions":
            return shown == 0 if self.repetitions == 0 else shown >= (self.repetitions or 0)
        return shown in getattr(self, name)


class Cues(BaseModel):
    """Words and phrases that go with an intent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strong: tuple[str, ...]
    weak: tuple[str, ...]

    def find(self, transcript: str) -> tuple[float, tuple[str, ...]]:
        """Strength of the best cue in a transcript, and the distinct cues in their order."""
        found = {
            strength: [match.group() for match in pattern.finditer(transcript)]
            for strength, pattern in _cue_patterns(self)
        }
        words = tuple(dict.fromkeys(found[_STRONG] + found[_WEAK]))[:_WORDS_KEPT]
        return max((s for s, matches in found.items() if matches), default=0.0), words


class IntentRule(BaseModel):
    """One entry of ``intents.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    definition: str
    emblem: bool
    cues: Cues
    forms: tuple[FormPattern, ...] = Field(min_length=1)
    sentence: str


class Lexicon(BaseModel):
    """The whole of ``intents.yaml``: one rule for every intent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    intents: dict[str, IntentRule]


def ground(form: PhysicalForm, transcript: str) -> tuple[Intent | None, str]:
    """Find the intent that a form and its transcript support together.

    The confidence is the geometric mean of both evidences, so it is high only
    where they agree; an emblem or a beat without words gets 0.5. Where several
    intents are supported, the most confident wins, then the one whose form is
    the more specific, then the first of the lexicon.

    Args:
        form: what the gesture looks like.
        transcript: the words spoken with it; any text, case and punctuation.

    Returns:
        The intent and "", or None and the reason why none is claimed.
    """
    if form.handedness == "none":
        return None, "no hand takes part in a gesture"
    spoken = _normalised(transcript)
    candidates: list[tuple[float, int, Intent]] = []
    forms_seen, cues_heard = [], []
    for label, rule in _lexicon().intents.items():
        if label == "beat":
            continue
        form_share, specificity = max(pattern.match(form) for pattern in rule.forms)
        cue_strength, words = rule.cues.find(spoken)
        if cue_strength:
            cues_heard.append(label)
        if form_share < _LEAST_FORM:
            continue
        forms_seen.append(label)
        if cue_strength:
            confidence = math.sqrt(form_share * cue_strength)
        elif rule.emblem and form_share == 1.0:
            confidence = _FORM_ALONE
        else:
            continue
        candidates.append((confidence, specificity, _intent(label, words, confidence)))
    if candidates:
        return max(candidates, key=lambda candidate: candidate[:2])[2], ""
    if any(pattern.match(form)[0] == 1.0 for pattern in _lexicon().intents["beat"].forms):
        return _intent("beat", (), _FORM_ALONE), ""
    return None, (
        f"no intent is supported by both: the form suggests {_listing(forms_seen)}, "
        f"the words suggest {_listing(cues_heard)}"
    )


def ground_phrase(phrase_id: str, form: PhysicalForm, form_text: str, transcript: str) -> Anchor:
    """The anchor of one phrase, by `ground`, with the lexicon as its provenance."""
    intent, reason = ground(form, transcript)
    return Anchor(
        phrase_id=phrase_id,
        form=form,
        form_text=form_text,
        intent=intent,
        intent_text=intent.sentence if intent else "",
        status="grounded" if intent else "ungrounded",
        reason=reason,
        grounder="rules",
        model=f"intents.yaml v{_lexicon().version}",
        prompt_hash=hashlib.sha256(_lexicon_text().encode()).hexdigest()[:12],
    )


def _intent(label: str, words: tuple[str, ...], confidence: float) -> Intent:
    quoted = ", ".join(f'"{word}"' for word in words[:_WORDS_QUOTED])
    sentence = (
        _lexicon().intents[label].sentence.format(words=f", saying {quoted}" if words else "")
    )
    return Intent(label=label, sentence=sentence, words=words, confidence=round(confidence, 3))


def _listing(labels: list[str]) -> str:
    return ", ".join(labels) if labels else "none"


def _lexicon_text() -> str:
    return resources.files("gestray.anchors").joinpath("intents.yaml").read_text("utf-8")


@functools.cache
def _lexicon() -> Lexicon:
    lexicon = Lexicon.model_validate(yaml.safe_load(_lexicon_text()))
    assert lexicon.intents.keys() == INTENTS.keys(), "intents.yaml must rule on every intent"
    return lexicon


@functools.cache
def _cue_patterns(cues: Cues) -> tuple[tuple[float, re.Pattern[str]], ...]:
    return (_STRONG, _any_of(cues.strong)), (_WEAK, _any_of(cues.weak))


def _any_of(cues: tuple[str, ...]) -> re.Pattern[str]:
    """Matches any of the cues as whole words, the longest first; nothing if there are none."""
    longest_first = sorted(cues, key=len, reverse=True)
    alternatives = "|".join(re.escape(cue).replace(r"\*", r"\w{0,12}") for cue in longest_first)
    return re.compile(rf"(?<![\w'])(?:{alternatives})(?=$|\s|'s\b)" if cues else r"(?!)")


def _normalised(transcript: str) -> str:
    """Lower-case words with single spaces; apostrophes inside words stay ("don't")."""
    text = unicodedata.normalize("NFKC", transcript).casefold().replace("\u2019", "'")
    return " ".join(re.findall(r"\w+(?:'\w+)*", text))
