"""What goes in and out of the API, as OpenAPI describes it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

#: Phrase ids as gestray makes them; whatever else is asked for does not exist.
PhraseId = Annotated[
    str,
    Path(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}:[0-9]{6,8}-[0-9]{6,8}$",
        description="Id of a recorded phrase, as a hit has it.",
        examples=["synth_003:000120-000199"],
    ),
]


class RetrieveRequest(BaseModel):
    """Words to find gestures for."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"text": "I have no idea", "k": 3}]}
    )
    text: str = Field(min_length=1, description="What is being said.")
    k: int = Field(5, ge=1, description="How many gestures.")
    model: str | None = Field(None, description="A name of /v1/models; the default otherwise.")


class Gesture(BaseModel):
    """A recorded phrase that was found."""

    rank: int
    score: float = Field(description="Cosine similarity, -1 to 1.")
    id: str = Field(description="For /v1/clips.")
    speaker: str | None
    seconds: float
    text: str = Field(description="What was said with it.")
    form: str | None = Field(description="The gesture in words.")
    intent: str | None = Field(description="What it means, in the terms of the taxonomy.")


class Answer(BaseModel):
    """Gestures, best first, and the artifacts they come from."""

    model: str
    source: dict[str, str] = Field(description="Identities of index, encoder and takes.")
    gestures: list[Gesture]


class MotionAnswer(BaseModel):
    """What a motion resembles, and what is said with motion like it."""

    model: str
    source: dict[str, str]
    similar: list[Gesture]
    texts: list[Gesture] = Field(description="By what was said, best first.")


class ModelAbout(BaseModel):
    """A model that answers."""

    name: str
    default: bool
    gestures: int
    source: dict[str, str]


class Word(BaseModel):
    """A word of a phrase; seconds from the phrase's start, null where it has no times."""

    word: str
    start_s: float | None
    end_s: float | None


class Clip(BaseModel):
    """A recorded phrase; its motion and sound are beside it (`…/motion`, `…/audio`)."""

    id: str
    take: str
    speaker: str | None
    start_s: float = Field(description="In the take.")
    end_s: float
    text: str
    words: list[Word]
    form: str | None
    intent: str | None
    has_audio: bool


class Skeleton(BaseModel):
    """Joints by number: bones as (from, to, part of the body), the head, its neck, the wrists."""

    bones: list[tuple[int, int, str]]
    head: int
    neck: int
    wrists: list[int]


class Health(BaseModel):
    """A state in a word."""

    status: str
