"""The taxonomy of intents: what each is, how it looks and what is said with it.

gestray ships one, `intents.yaml`; a file of one's own takes its place by a
config's `taxonomy`. Everything that speaks of intents takes it from here: the
rules weigh its forms and cues, prompts show its definitions and examples, and
its keys are the labels. Name, version and hash are part of the provenance of
whatever was made with it, and anchors carry their taxonomy along.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from importlib import resources
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
)

from gestray.config import digest
from gestray.errors import UserError, shorten
from gestray.form import (
    TERMS_OF_GESTURE,
    TERMS_OF_HAND,
    Amplitude,
    Contact,
    Direction,
    Handedness,
    HandForm,
    HandShape,
    HeadMovement,
    Height,
    Hold,
    Palm,
    Path,
    PhysicalForm,
    Reach,
    Relation,
    Side,
    Speed,
    Zone,
)
from gestray.store import Folder

TAXONOMY = "taxonomy.json"
"""The file of a taxonomy beside the anchors that were made with it."""

NO_INTENT = "none"
"""What is said, in the place of a label, where form and words support none."""

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
_TERMS = TERMS_OF_GESTURE | TERMS_OF_HAND


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
    """One intent: its key in the file is the label."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    definition: str
    emblem: bool
    cues: Cues
    forms: tuple[FormPattern, ...] = Field(min_length=1)
    example: Example
    sentence: str

    @field_validator("sentence")
    @classmethod
    def _says_words_at_most(cls, sentence: str) -> str:
        try:
            sentence.format(words="")
        except (KeyError, IndexError, ValueError):
            raise ValueError("expected no braces but those of {words}") from None
        return sentence


_Label = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9 -]{0,39}$")]


class Taxonomy(BaseModel):
    """All intents there are, by label.

    `unsupported` is the example of a gesture whose form and words agree on none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=64)
    version: int
    unsupported: Example
    intents: dict[_Label, IntentRule] = Field(min_length=1)

    @field_validator("intents")
    @classmethod
    def _leaves_none(cls, intents: dict[str, IntentRule]) -> dict[str, IntentRule]:
        if NO_INTENT in intents:
            raise ValueError(f"{NO_INTENT!r} is what is said where there is no intent")
        return intents

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.intents)

    @functools.cached_property
    def hash(self) -> str:
        """First 12 digits of the hash of all it says, order included; comments are free."""
        return digest(self.to_json())

    def to_json(self) -> str:
        """Read again by `Taxonomy.model_validate_json`."""
        return self.model_dump_json(exclude_unset=True)


@functools.cache
def load_taxonomy(uri: str = "") -> Taxonomy:
    """The taxonomy of a YAML file on disk or in an object store, or the shipped one.

    Raises:
        UserError: names file, line and key of all that is wrong.
    """
    if not uri:
        shipped = resources.files("gestray.anchors").joinpath("intents.yaml")
        return read_taxonomy("intents.yaml", shipped.read_text("utf-8"))
    folder, _, name = uri.rpartition("/")
    try:
        text = Folder(folder or ".").read_bytes(name).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"taxonomy {uri}: cannot be read as text: {error}") from None
    return read_taxonomy(uri, text)


def taxonomy_of(anchors: Folder) -> Taxonomy:
    """The taxonomy that the anchors of a folder were made with."""
    return Taxonomy.model_validate_json(anchors.read_bytes(TAXONOMY))


def read_taxonomy(file: str, text: str) -> Taxonomy:
    """The taxonomy of a file's text.

    Raises:
        UserError: names file, line and key of all that is wrong.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where it is built
    try:
        tree = yaml.compose(text, loader)
        values = yaml.load(text, loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"taxonomy {file}: line {line}: not YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"taxonomy {file}: not YAML: {error}") from None
    problems = list(_twice(tree, ()))
    try:
        found = Taxonomy.model_validate(values)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            line, key = _place(tree, item["loc"])
            message = item["msg"].removeprefix("Value error, ")
            problems.append((line, f"{key}: found {shorten(str(item['input']))!r}; {message}"))
    if problems:
        listed = "\n  ".join(f"line {line}: {problem}" for line, problem in sorted(problems))
        raise UserError(f"taxonomy {file}:\n  {listed}")
    return found


def _place(tree: yaml.Node | None, loc: tuple[Any, ...]) -> tuple[int, str]:
    """Line and key of a place in a file, or of what is nearest above it where it is missing."""
    line = 1
    for step in loc:
        inner = None
        if isinstance(tree, yaml.MappingNode):
            for key, value in tree.value:
                if key.value == str(step):
                    line, inner = key.start_mark.line + 1, value
        elif isinstance(tree, yaml.SequenceNode) and isinstance(step, int):
            inner = tree.value[step] if step < len(tree.value) else None
            line = inner.start_mark.line + 1 if inner else line
        tree = inner
    return line, ".".join(map(str, loc)) or "file"


def _twice(tree: yaml.Node | None, above: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Keys that a mapping has twice, of which YAML would silently take the last."""
    if isinstance(tree, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in tree.value:
            line, name = key.start_mark.line + 1, ".".join((*above, str(key.value)))
            if name in lines:
                yield line, f"{name}: twice, first in line {lines[name]}"
            lines.setdefault(name, line)
            yield from _twice(value, (*above, str(key.value)))


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
