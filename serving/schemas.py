"""What goes into the API, as OpenAPI describes it; what comes out is `gestray.client.answers`."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gestray.client.answers import MotionFormat
from serving.problems import Problem, describe

Asked = TypeVar("Asked", bound=BaseModel)

_PHRASE = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}:[0-9]{6,8}-[0-9]{6,8}$"
_MOTION = r"^[0-9a-f]{32}$"

#: Phrase ids as gestray makes them; whatever else is asked for does not exist.
PhraseId = Annotated[
    str,
    Path(
        pattern=_PHRASE,
        description="Id of a recorded phrase, as a hit has it.",
        examples=["synth_003:000120-000199"],
    ),
]


#: Motions as gestray makes them: random, so that nobody finds another's by trying.
MotionId = Annotated[
    str,
    Path(
        pattern=_MOTION,
        description="Id of a generated motion.",
        examples=["0123456789abcdef0123456789abcdef"],
    ),
]

# More than a number in JSON holds exactly would be another seed in some clients.
Seed = Annotated[int, Field(ge=0, lt=2**53, description="Same seed, same motion.")]
Temperature = Annotated[
    float,
    Field(ge=0, le=10, allow_inf_nan=False, description="0 takes what is likeliest."),
]
Speaker = Annotated[
    str | None, Field(max_length=128, description="Whose manner; null: nobody's in particular.")
]
Name = Annotated[
    str | None,
    Field(max_length=128, description="A name of /v1/models; the default otherwise."),
]


class RetrieveRequest(BaseModel):
    """Words to find gestures for."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"text": "I have no idea", "k": 3}]}
    )
    text: str = Field(min_length=1, description="What is being said.")
    k: int = Field(5, ge=1, description="How many gestures.")
    model: Name = None


class GenerateRequest(BaseModel):
    """Words to say, and how to move for them."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"text": "I have no idea", "seed": 3}]}
    )
    text: str = Field(min_length=1, description="What is said; the server speaks it.")
    speaker: Speaker = None
    seed: Seed = 0
    temperature: Temperature = 1.0
    model: Name = None


class Recording(BaseModel):
    """What comes with a recording, and how to move for it."""

    model_config = ConfigDict(extra="forbid")
    transcript: str | None = Field(None, description="What is said in it; is aligned.")
    speaker: Speaker = None
    seed: Seed = 0
    temperature: Temperature = 1.0
    model: Name = None


class ClipFileRequest(BaseModel):
    """A file of a recorded phrase's motion."""

    id: str = Field(pattern=_PHRASE)
    format: MotionFormat
    model: Name = None


class MotionFileRequest(BaseModel):
    """A file of a generated motion, or its speech."""

    id: str = Field(pattern=_MOTION)
    format: MotionFormat | Literal["wav"]


class SwapRequest(BaseModel):
    """Another index for a model."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"index": "gestures-0123456789ab", "share": 0.1}]},
    )
    index: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}-[0-9a-f]{12}$",
        description="Of the server's store, by name and identity.",
    )
    model: Name = None
    share: float = Field(
        1.0, ge=0, le=1, description="Of requests that it answers; 0 takes it back."
    )


def validated(kind: type[Asked], given: bytes | Mapping[str, Any]) -> Asked:
    """What was given, as `kind` has it.

    Raises:
        Problem: it is not that; names where.
    """
    try:
        if isinstance(given, bytes):
            return kind.model_validate_json(given)
        return kind.model_validate(given)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        unreadable = errors[0]["type"] == "json_invalid"
        status = HTTPStatus.BAD_REQUEST if unreadable else HTTPStatus.UNPROCESSABLE_ENTITY
        raise Problem(status, describe(errors)) from None
