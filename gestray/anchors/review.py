"""What people decide about anchors: that one holds, what it should say, or that it is of no use.

A decision is kept the moment it is made, in a journal beside the artifacts. What stands in the
journals of all annotators is closed into an artifact of kind `reviews` (`jobs.reviews`), which
overrides what grounders said wherever anchors are learned from, and is gold where they are
evaluated.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow as pa
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from gestray.anchors.gold import GoldClip
from gestray.anchors.taxonomy import NO_INTENT
from gestray.anchors.wording import sentence
from gestray.errors import UserError, shorten
from gestray.form import Intent, PhysicalForm
from gestray.journal import read_lines, write_lines
from gestray.store import Folder

JOURNALS = "review-journals"

Decision = Literal["accept", "edit", "reject", "withdraw"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
# A journal is written anew with every decision; beyond so many a further one is begun.
_DECISIONS_PER_FILE = 256

REVIEWS_SCHEMA = pa.schema(
    [
        pa.field("phrase_id", pa.string(), False),
        pa.field("annotator", pa.string(), False),
        pa.field("decision", pa.string(), False),
        pa.field("text", pa.string(), False),
        # JSON; null where the anchor is rejected, and `intent` where there is none.
        pa.field("form", pa.string()),
        pa.field("form_text", pa.string(), False),
        pa.field("intent", pa.string()),
        pa.field("intent_text", pa.string(), False),
        pa.field("at", pa.timestamp("us", tz="UTC"), False),
    ]
)


class Review(BaseModel):
    """One annotator's decision about one phrase.

    `accept` and `edit` say what the phrase's gesture looks like and, where it has any, what it
    means; `reject` that neither can be said, so that nothing should be learned from it.
    `withdraw` takes the decision before it back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    phrase_id: str
    annotator: str
    decision: Decision
    text: str = ""
    form: PhysicalForm | None = None
    intent: Intent | None = None
    at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))

    @model_validator(mode="after")
    def _hold_together(self) -> Review:
        describes = self.decision in ("accept", "edit")
        if describes != (self.form is not None) or (self.intent and not describes):
            raise ValueError(f"{self.decision!r} goes {'with' if describes else 'without'} a form")
        return self

    @property
    def label(self) -> str:
        """The intent's, or `NO_INTENT`."""
        return self.intent.label if self.intent else NO_INTENT


def check_annotator(name: str) -> str:
    """An annotator's name: part of a file's, so kept to what is safe there."""
    if not _NAME.fullmatch(name):
        raise UserError(
            f"annotator {shorten(name)!r}: expected letters, digits, '_' and '-', at most 32"
        )
    return name


class Journal:
    """The decisions about one set of anchors, of all annotators.

    At `review-journals/{identity of the anchors}/`, in files of one sitting each: any number of
    sittings may go on at a time, in one store.
    """

    def __init__(self, store: Folder, anchors_identity: str) -> None:
        self.folder = store.child(JOURNALS, anchors_identity)
        self._file = ""
        self._lines: list[Review] = []

    def read(self) -> list[Review]:
        """All decisions, oldest first.

        Raises:
            UserError: a line is none; names file and line.
        """
        files = [name for name in self.folder.list() if name.endswith(".jsonl")]
        found = [
            review
            for name in files
            for review in read_lines(self.folder, name, Review, "a decision")
        ]
        return sorted(found, key=lambda review: review.at)

    def add(self, review: Review) -> None:
        """Keep a decision: it is in the store when this returns."""
        if not self._lines or len(self._lines) >= _DECISIONS_PER_FILE:
            began = f"{review.at:%Y%m%dT%H%M%S}"
            self._file = f"{review.annotator}-{began}-{uuid.uuid4().hex[:8]}.jsonl"
            self._lines = []
        lines = [*self._lines, review]
        write_lines(self.folder, self._file, lines)
        self._lines = lines  # only now: a decision that could not be written was not made


def standing(reviews: Iterable[Review]) -> dict[tuple[str, str], Review]:
    """What stands of decisions in the order they were made: (phrase, annotator) → the last one."""
    last = {(review.phrase_id, review.annotator): review for review in reviews}
    return {key: review for key, review in last.items() if review.decision != "withdraw"}


def last_words(reviews: Iterable[Review]) -> dict[str, Review]:
    """Phrase → the newest decision of any annotator."""
    return {review.phrase_id: review for review in sorted(reviews, key=lambda review: review.at)}


def differ(first: Review, second: Review) -> bool:
    """Whether two annotators say different things of a phrase, the wording of an intent aside."""
    return (first.form, first.label) != (second.form, second.label)


def to_row(review: Review) -> dict[str, Any]:
    """The row of `REVIEWS_SCHEMA`; `from_row` is its inverse."""
    form, intent = review.form, review.intent
    return {
        **review.model_dump(include={"phrase_id", "annotator", "decision", "text", "at"}),
        "form": form.model_dump_json() if form else None,
        "form_text": sentence(form) if form else "",
        "intent": intent.model_dump_json() if intent else None,
        "intent_text": intent.sentence if intent else "",
    }


def from_row(row: dict[str, Any]) -> Review:
    """Read a decision back from its row."""
    form, intent = row["form"], row["intent"]
    return Review(
        **{name: row[name] for name in ("phrase_id", "annotator", "decision", "text", "at")},
        form=PhysicalForm.model_validate_json(form) if form else None,
        intent=Intent.model_validate_json(intent) if intent else None,
    )


def as_gold(reviews: Sequence[Review]) -> list[GoldClip]:
    """Decisions as gold clips, one for each annotator; what was rejected is none."""
    return [
        GoldClip(
            clip=review.phrase_id,
            transcript=review.text,
            form=review.form,
            form_text=sentence(review.form),
            intent=review.label,
            intent_text=review.intent.sentence if review.intent else "",
            grader=review.annotator,
        )
        for review in reviews
        if review.form is not None
    ]
