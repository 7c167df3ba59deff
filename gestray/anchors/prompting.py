"""What a language model is asked about a gesture, and what is made of its answer.

The answer follows the four stages of "Semantic Motion Anchors" (arXiv
2605.30608): handedness, motion, intent, verification. It is JSON under a
grammar and bounded in every part: small models fill whatever they are allowed
to. Prompts are versioned files, `prompts/*.md`; labels and worked examples come
from the taxonomy. Nothing here runs a model; see `gestray.anchors.grounding`.
"""

from __future__ import annotations

import functools
import json
import unicodedata
from importlib import resources
from pathlib import Path
from string import Template
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from gestray.anchors.anchor import Status
from gestray.anchors.engines import Instructions
from gestray.anchors.taxonomy import NO_INTENT, Example, Taxonomy
from gestray.config import Config, digest
from gestray.errors import UserError, shorten
from gestray.form import Handedness, Intent, PhysicalForm

# Words of the certainty scale rather than a number: a JSON number has no bound on its
# digits, and small models are better at choosing a word than at calibrating a figure.
CONFIDENCES = {"very low": 0.1, "low": 0.3, "medium": 0.5, "high": 0.7, "very high": 0.9}
_LONGEST_WORD = 16  # characters a word of a transcript is counted as, at most, when clipping

_Word = Annotated[str, StringConstraints(max_length=24)]


class _Stage(BaseModel):
    model_config = ConfigDict(extra="forbid")


class IntentStage(_Stage):
    """Stage three: a label of the taxonomy or "none", and the intent in free text."""

    label: str
    sentence: str = Field(max_length=120)


class Verification(_Stage):
    """Stage four: which words carry the intent, what bears it out, and how surely."""

    words: list[_Word] = Field(max_length=3)
    form_supports: bool
    words_support: bool
    confidence: Literal[tuple(CONFIDENCES)]  # type: ignore[valid-type]


class GroundingResponse(_Stage):
    """The model's answer. The order of the fields is the order of its reasoning."""

    handedness: Handedness
    motion: str = Field(max_length=60)
    intent: IntentStage
    verification: Verification


class PromptConfig(Config):
    """What a model is shown.

    Args:
        file: a shipped prompt ("v2"), or the path of a Markdown file of one's own.
        examples: intents whose example of the taxonomy is shown with its answer, "none" for the
            one of a gesture without intent; in this order.
        max_words: words of a transcript that are shown, from its beginning.
    """

    file: str = "v2"
    examples: tuple[str, ...] = ("uncertainty", NO_INTENT)
    max_words: int = Field(60, ge=1)


def response_schema(taxonomy: Taxonomy) -> dict[str, Any]:
    """JSON schema of `GroundingResponse` with the labels there are, for guided decoding."""
    schema = GroundingResponse.model_json_schema()
    parts = schema.pop("$defs")
    for name, part in schema["properties"].items():
        if "$ref" in part:
            schema["properties"][name] = parts[part["$ref"].rpartition("/")[2]]
    for part in (schema, *schema["properties"].values()):
        part.pop("description", None)
    labels = schema["properties"]["intent"]["properties"]["label"]
    labels["enum"] = [*taxonomy.labels, NO_INTENT]
    return schema


def prompt_hash(prompt: PromptConfig, taxonomy: Taxonomy) -> str:
    """First 12 digits of the hash of all that a model is told, and of the answer's schema."""
    return digest([_template(prompt.file), *instructions(prompt, taxonomy)])


def instructions(prompt: PromptConfig, taxonomy: Taxonomy) -> Instructions:
    """What is the same for all gestures: an engine's prefix cache holds the message.

    Raises:
        UserError: the prompt's file cannot be read, or has other parts than a prompt has; or an
            example is of no intent.
    """
    system, _ = _parts(prompt.file)
    labels = "\n".join(f"- {label}: {rule.definition}" for label, rule in taxonomy.intents.items())
    examples = "".join(_worked(prompt.file, name, taxonomy) for name in prompt.examples)
    message = _filled(
        prompt.file, system, labels=labels, examples=f" For example:{examples}" if examples else ""
    )
    return Instructions(message, json.dumps(response_schema(taxonomy)))


def user_message(prompt: PromptConfig, form_text: str, form: PhysicalForm, transcript: str) -> str:
    """The question about one gesture.

    Args:
        prompt: the file and how much of a transcript is shown.
        form_text: the sentence of the form.
        form: the form itself; its handedness is stated apart, for the first stage.
        transcript: the words spoken; any text. It and the form are quoted as data: see `quoted`.
    """
    return _question(prompt.file, form.handedness, form_text, quoted(transcript, prompt.max_words))


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
    if not (text.isascii() and text.isprintable()):  # most is, and needs none of this
        # First: a compatibility form such as a full-width "<" only shows after it.
        text = unicodedata.normalize("NFKC", text)
        text = "".join(" " if char.isspace() else char for char in text)
        text = "".join(char for char in text if unicodedata.category(char)[0] != "C")
    text = text.translate(str.maketrans("[]{}", "()()", "<>|"))
    return " ".join(text.split()[:max_words])[: _LONGEST_WORD * max_words].strip()


def parse_response(
    text: str,
    taxonomy: Taxonomy,
    form: PhysicalForm | None = None,
    transcript: str | None = None,
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
    label, verification = answer.intent.label, answer.verification
    if label == NO_INTENT:
        return None, "ungrounded", "the model finds no intent"
    if label not in taxonomy.intents:
        return None, "failed", f"not an answer in the schema: {shorten(label)!r} is no label"
    against = [
        part
        for part, supports in (
            ("the form", verification.form_supports),
            ("the words", verification.words_support),
        )
        if not supports
    ]
    if against:
        return (
            None,
            "ungrounded",
            f"the model does not uphold {label!r} on verification, by {' and '.join(against)}",
        )
    if form is not None and answer.handedness != form.handedness:
        return (
            None,
            "ungrounded",
            f"the model sees hands {answer.handedness}, not {form.handedness}",
        )
    # Escapes in JSON bring back what a grammar keeps out of its text.
    words = tuple(word for word in (quoted(word, 8) for word in verification.words) if word)
    if transcript is not None and words:
        said = tuple(word for word in words if was_said(word, transcript))
        if not said:
            return None, "ungrounded", "the model quotes words that were not said"
        words = said
    sentence = quoted(answer.intent.sentence, 60)[:240]
    if not sentence:
        return None, "failed", "not an answer in the schema: the sentence is empty"
    confidence = CONFIDENCES[verification.confidence]
    intent = Intent(label=label, sentence=sentence, words=words, confidence=confidence)
    return intent, "grounded", ""


def was_said(words: str, transcript: str) -> bool:
    """Whether words occur in a transcript, one after the other; case and punctuation aside."""
    return f" {_plain(words)} " in f" {_plain(transcript)} "


def _worked(file: str, name: str, taxonomy: Taxonomy) -> str:
    """An example as it is shown: the question, and the answer that is right."""
    if name == NO_INTENT:
        example = taxonomy.unsupported
    elif name in taxonomy.intents:
        example = taxonomy.intents[name].example
    else:
        raise UserError(
            f"prompt.examples: found {name!r}, expected intents of the taxonomy or {NO_INTENT!r}: "
            f"{', '.join(taxonomy.labels)}"
        )
    question = _question(file, example.hands, example.form, example.transcript)
    return f"\n{question}\n{_right_answer(name, example).model_dump_json()}"


def _right_answer(label: str, example: Example) -> GroundingResponse:
    supported = label != NO_INTENT
    return GroundingResponse(
        handedness=example.hands,
        motion=example.motion,
        intent=IntentStage(label=label, sentence=example.sentence),
        verification=Verification(
            words=list(example.words),
            form_supports=supported,
            words_support=supported,
            confidence="high",
        ),
    )


def _question(file: str, hands: str, form_text: str, transcript: str) -> str:
    _, user = _parts(file)
    return _filled(
        file,
        user,
        handedness=hands,
        form_text=quoted(form_text, max_words=120),
        transcript=transcript or "(no words)",
    )


def _filled(file: str, part: Template, **values: str) -> str:
    try:
        return part.substitute(values)
    except (KeyError, ValueError) as error:
        raise UserError(
            f"prompt {file}: found {error}, expected {', '.join(f'${name}' for name in values)} "
            "there, and $$ for a dollar sign"
        ) from None


def _first_problem(error: ValidationError | UnicodeEncodeError) -> str:
    if isinstance(error, UnicodeEncodeError):
        return "text that is not Unicode"
    problem = error.errors(include_url=False, include_input=False)[0]
    return ": ".join([*map(str, problem["loc"]), problem["msg"]])[:200]


def _plain(text: str) -> str:
    letters = "".join(char if char.isalnum() or char == "'" else " " for char in text.casefold())
    return " ".join(letters.split())


@functools.cache
def _template(file: str) -> str:
    shipped = resources.files("gestray.anchors").joinpath("prompts")
    names = sorted(entry.name.removesuffix(".md") for entry in shipped.iterdir())
    if file in names:
        return shipped.joinpath(f"{file}.md").read_text("utf-8")
    try:
        return Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"prompt.file: found {shorten(file)!r}, expected a shipped prompt "
            f"({', '.join(names)}) or a Markdown file that can be read: {error}"
        ) from None


@functools.cache
def _parts(file: str) -> tuple[Template, Template]:
    before, *parts = _template(file).replace("# user\n", "# system\n").split("# system\n")
    if before.strip() or len(parts) != 2:
        raise UserError(
            f"prompt {file}: expected a line '# system', what is said before all gestures, a line "
            "'# user', and what is said of each"
        )
    return Template(parts[0].strip()), Template(parts[1].strip())
