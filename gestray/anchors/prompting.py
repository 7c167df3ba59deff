"""What a language model is asked about a gesture, and what is made of its answer.

The prompt follows the four stages of "Semantic Motion Anchors": handedness,
motion, intent, verification. The answer is JSON under a grammar, so it is
bounded in every part: small models fill whatever they are allowed to. Nothing
here runs a model; see `jobs.vllm_grounding`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import unicodedata
from importlib import resources
from string import Template
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from gestray.anchors.anchor import Status
from gestray.form import INTENTS, Handedness, Intent, PhysicalForm

PROMPT = "ground_v1.txt"

_UNSUPPORTED = "none"
# Words of the certainty scale rather than a number: a JSON number has no bound on its
# digits, and small models are better at choosing a word than at calibrating a figure.
_CONFIDENCE = {"low": 0.3, "medium": 0.6, "high": 0.9}
_LONGEST_WORD = 16  # characters a word of a transcript is counted as, at most, when clipping

_Word = Annotated[str, StringConstraints(max_length=24)]


class GroundingResponse(BaseModel):
    """The model's answer. The order of the fields is the order of its reasoning."""

    model_config = ConfigDict(extra="forbid")

    handedness: Handedness
    motion: str = Field(max_length=60)
    intent: Literal[(*INTENTS, _UNSUPPORTED)]  # type: ignore[valid-type]
    words: list[_Word] = Field(max_length=3)
    sentence: str = Field(max_length=120)
    supported: bool
    confidence: Literal["low", "medium", "high"]


@functools.cache
def response_schema() -> dict[str, Any]:
    """JSON schema of `GroundingResponse`, for guided decoding; do not modify it."""
    schema = GroundingResponse.model_json_schema()
    schema.pop("description")
    return schema


@functools.cache
def prompt_hash() -> str:
    """First 12 digits of the hash of prompt, labels and schema, in their order."""
    shaping = [_prompt_text(), INTENTS, response_schema()]
    return hashlib.sha256(json.dumps(shaping).encode()).hexdigest()[:12]


def build_messages(
    form_text: str, form: PhysicalForm, transcript: str, max_words: int = 60
) -> list[dict[str, str]]:
    """The chat messages that ask for the intent of one gesture.

    The system message is the same for every phrase, so the engine's prefix
    cache holds it. Transcript and form are quoted as data: see `quoted`.

    Args:
        form_text: the sentence of the form.
        form: the form itself; its handedness is stated apart, for the first stage.
        transcript: the words spoken; any text.
        max_words: words of the transcript that are kept, from its beginning.
    """
    labels = "\n".join(f"- {label}: {meaning}" for label, meaning in INTENTS.items())
    system, user = _prompt_parts()
    filled = user.substitute(
        handedness=form.handedness,
        form_text=quoted(form_text, max_words=120),
        transcript=quoted(transcript, max_words) or "(no words)",
    )
    return [
        {"role": "system", "content": system.substitute(labels=labels)},
        {"role": "user", "content": filled},
    ]


def quoted(text: str, max_words: int) -> str:
    """Make text safe to stand in a prompt as quoted material, on one line.

    Drops control, format (bidirectional, zero-width), private and surrogate
    characters, and the characters that could close the quotation or spell a
    chat template's special token (``<|im_end|>``, ``</s>``, ``[INST]``), which
    tokenizers would read as such. Clips to `max_words` words, and to 16
    characters a word on average: scripts without spaces have no words to count.
    """
    # Before anything is scanned: a transcript may be a whole book.
    text = text[: 64 * max_words]
    # Twice: a compatibility form such as a full-width "<" only shows after it.
    text = unicodedata.normalize("NFKC", text)
    text = "".join(" " if char.isspace() else char for char in text)
    text = "".join(char for char in text if unicodedata.category(char)[0] != "C")
    text = text.translate(str.maketrans("[]{}", "()()", "<>|"))
    return " ".join(text.split()[:max_words])[: _LONGEST_WORD * max_words].strip()


def parse_response(
    text: str, form: PhysicalForm | None = None, transcript: str | None = None
) -> tuple[Intent | None, Status, str]:
    """Read the model's answer; never raises, whatever the text.

    With `form` and `transcript`, what the model claims about them is checked
    too: an answer that gets the hands wrong, or quotes words that nobody said,
    does not describe this gesture.

    Returns:
        An intent, "grounded" and ""; or None, "ungrounded" and why no intent is
        claimed; or None, "failed" and why the text is no answer, in which case
        the caller keeps the text.
    """
    try:
        answer = GroundingResponse.model_validate_json(text)
    except (ValidationError, UnicodeEncodeError) as error:
        return None, "failed", f"not an answer in the schema: {_first_problem(error)}"
    if answer.intent == _UNSUPPORTED:
        return None, "ungrounded", "the model finds no intent"
    if not answer.supported:
        return None, "ungrounded", f"the model does not uphold {answer.intent!r} on verification"
    if form is not None and answer.handedness != form.handedness:
        return (
            None,
            "ungrounded",
            f"the model sees hands {answer.handedness}, not {form.handedness}",
        )
    # Escapes in JSON bring back what a grammar keeps out of its text.
    words = tuple(word for word in (quoted(word, 8) for word in answer.words) if word)
    if transcript is not None and words:
        spoken = f" {_plain(transcript)} "
        said = tuple(word for word in words if f" {_plain(word)} " in spoken)
        if not said:
            return None, "ungrounded", "the model quotes words that were not said"
        words = said
    sentence = quoted(answer.sentence, 60)[:240]
    if not sentence:
        return None, "failed", "not an answer in the schema: the sentence is empty"
    return (
        Intent(
            label=answer.intent,
            sentence=sentence,
            words=words,
            confidence=_CONFIDENCE[answer.confidence],
        ),
        "grounded",
        "",
    )


def _first_problem(error: ValidationError | UnicodeEncodeError) -> str:
    if isinstance(error, UnicodeEncodeError):
        return "text that is not Unicode"
    problem = error.errors(include_url=False, include_input=False)[0]
    return ": ".join([*map(str, problem["loc"]), problem["msg"]])[:200]


def _plain(text: str) -> str:
    letters = "".join(char if char.isalnum() or char == "'" else " " for char in text.casefold())
    return " ".join(letters.split())


def _prompt_text() -> str:
    return resources.files("gestray.anchors").joinpath("prompts", PROMPT).read_text("utf-8")


@functools.cache
def _prompt_parts() -> tuple[Template, Template]:
    _, system, user = _prompt_text().replace("# user\n", "# system\n").split("# system\n")
    return Template(system.strip()), Template(user.strip())
