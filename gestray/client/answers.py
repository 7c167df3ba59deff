"""What a server of gestray answers: the same classes at both ends of the wire."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

MotionFormat = Literal["npz", "bvh", "glb", "vrma", "mp4"]


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
    kind: Literal["retrieval", "generation"]
    default: bool = Field(description="Of its kind.")
    gestures: int | None = Field(description="That can be found; null of a generator.")
    speakers: list[str] | None = Field(description="Whose manner a generator knows; null else.")
    source: dict[str, str]


class Word(BaseModel):
    """A word of a phrase; seconds from the phrase's start, null where it has no times."""

    word: str
    start_s: float | None
    end_s: float | None


class Phases(BaseModel):
    """When a gesture is prepared, made, held and taken back; seconds from the phrase's start.

    Preparation lasts from `start_s` to `stroke_s`, the stroke to `hold_s`, the hold to
    `retraction_s`, and the retraction to `end_s`.
    """

    start_s: float
    stroke_s: float
    hold_s: float
    retraction_s: float
    end_s: float


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
    intent_text: str | None = Field(description="What the gesture means here, in a sentence.")
    phases: Phases | None = Field(description="Of the gesture; null where there is none.")
    has_audio: bool
    formats: list[MotionFormat] = Field(description="Files that `/v1/clips/{id}/export.…` makes.")


class Skeleton(BaseModel):
    """Joints by number: bones as (from, to, part of the body), the head, its neck, the wrists."""

    bones: list[tuple[int, int, str]]
    head: int
    neck: int
    wrists: list[int]
    rest: list[tuple[int, float, float, float]] = Field(
        description="Of each joint its parent, −1 of the root, and its place beside it in metres."
    )


class Motion(BaseModel):
    """A generated motion; its joints, sound and files are beside it."""

    id: str
    model: str
    source: dict[str, str] = Field(description="Identities of generator, tokenizer and takes.")
    seconds: float
    frames: int
    fps: float
    speaker: str | None
    seed: int
    text: str | None = Field(description="What was to be said; null of a recording.")
    words: list[Word] = Field(description="As they are said; seconds from the start.")
    meaning: list[float] | None = Field(
        description="How much each frame is meant, 0 to 1; null where the model does not say."
    )
    has_audio: bool
    expires_s: float = Field(description="How long it is kept after it was last asked for.")
    formats: list[MotionFormat] = Field(description="Files that `/v1/motions/{id}.…` makes.")
    remark: str | None = Field(description="What was done about its words, if anything.")


class ReleaseAbout(BaseModel):
    """What answers for a model."""

    live: str
    next: str | None = Field(description="What is to, or answers a share; null without a swap.")
    share: float = Field(description="Of requests, for `next`.")
    ready: bool = Field(description="Whether every replica has `next`.")


class Releases(BaseModel):
    """What answers, by model, and what each replica has loaded."""

    version: int = Field(description="Counts changes.")
    problem: str | None = Field(description="Why the last swap was given up, if it was.")
    models: dict[str, ReleaseAbout]
    replicas: dict[str, list[str]]


class Health(BaseModel):
    """A state in a word."""

    status: str
