"""What can be done with a set of anchors: read each beside its recording, and decide about it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from gestray.anchors import anchor as anchors
from gestray.anchors.prompting import CONFIDENCES, was_said
from gestray.anchors.review import Journal, Review, differ, standing
from gestray.anchors.taxonomy import NO_INTENT, Taxonomy
from gestray.anchors.wording import sentence
from gestray.errors import UserError
from gestray.form import (
    TERMS_OF_GESTURE,
    TERMS_OF_HAND,
    HandForm,
    Intent,
    Location,
    PhysicalForm,
    Trajectory,
)
from serving.recordings import Recordings, skeleton

_WORDS_KEPT = 8
_REPETITIONS = tuple(map(str, range(21)))


class Proposal(BaseModel):
    """What an annotator wants to be written down; `form` and `intent` count for `edit` alone."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["accept", "edit", "reject"]
    form: PhysicalForm | None = None
    intent: Intent | None = None


class Position(NamedTuple):
    """Where an anchor stands: one's own decision, and whether another annotator's differs."""

    decision: str
    disagrees: bool


class Desk:
    """One annotator before one set of anchors; anchors are known by their row.

    Other annotators' decisions are only told once one's own is made.

    Args:
        rows: anchors (`anchor_schema`) beside `take_id`, `text`, `start_s`, `end_s`,
            `stroke_start_s`, `stroke_end_s` and `hold_end_s` of their phrases.
        recordings: what they were made from; None where there is no motion.
        taxonomy: of the anchors.
        journal: where decisions go.
        annotator: who decides.
        about: what the anchors are, for the head of the page.
    """

    def __init__(
        self,
        rows: pa.Table,
        recordings: Recordings | None,
        taxonomy: Taxonomy,
        journal: Journal,
        annotator: str,
        about: Mapping[str, Any],
    ) -> None:
        self._rows = rows
        self._recordings = recordings
        self._taxonomy = taxonomy
        self._journal = journal
        self._annotator = annotator
        self._about = dict(about)
        self._lock = threading.Lock()
        self._mine: dict[str, Review] = {}
        self._others: dict[str, list[Review]] = {}
        for (phrase_id, who), review in standing(journal.read()).items():
            if who == annotator:
                self._mine[phrase_id] = review
            else:
                self._others.setdefault(phrase_id, []).append(review)

    def __len__(self) -> int:
        return len(self._rows)

    def session(self) -> dict[str, Any]:
        """All that the page needs to begin, and where every anchor stands."""
        positions = [self._position(phrase_id) for phrase_id in self._rows["phrase_id"].to_pylist()]
        labels = [
            Intent.model_validate_json(intent).label if intent else NO_INTENT
            for intent in self._rows["intent"].to_pylist()
        ]
        return {
            **self._about,
            "annotator": self._annotator,
            "fields": {
                "gesture": TERMS_OF_GESTURE,
                "hand": _fields_of_hand(),
            },
            "parts": {
                "location": list(Location.model_fields),
                "trajectory": list(Trajectory.model_fields),
            },
            "intents": {label: rule.definition for label, rule in self._taxonomy.intents.items()},
            "confidences": CONFIDENCES,
            "skeleton": skeleton(),
            "anchors": {
                "status": self._rows["status"].to_pylist(),
                "intent": labels,
                "decision": [position.decision for position in positions],
                "disagrees": [position.disagrees for position in positions],
            },
        }

    def anchor(self, number: int) -> dict[str, Any]:
        """One anchor, its phrase, and what has been decided about it."""
        row = self._row(number)
        found = self._anchor(row)
        start_s, end_s = row["start_s"], row["end_s"]
        words: list[dict[str, Any]] = []
        if self._recordings is not None and row["take_id"] is not None:
            words = self._recordings.words(row["take_id"], start_s, end_s)
        stroke = None
        if row["stroke_start_s"] is not None:
            times = (row["stroke_start_s"], row["stroke_end_s"], row["hold_end_s"])
            stroke = [time - start_s for time in times]
        return {
            **found.model_dump(
                mode="json",
                include={"phrase_id", "form_text", "status", "reason", "raw", "grounder", "model"},
            ),
            "form": found.form.model_dump(mode="json"),
            "intent": _plain(found.intent),
            "text": row["text"],
            "words": words or [{"word": w, "start_s": None, "end_s": None} for w in _words(row)],
            "stroke": stroke,
            "at": None if start_s is None else [start_s, end_s],
            "mine": self._shown(self._mine.get(found.phrase_id)),
            "others": self._others_shown(found.phrase_id),
        }

    def motion(self, number: int) -> bytes | None:
        """Packed joint positions of a phrase (`recordings.pack`); None where there are none."""
        row = self._row(number)
        if self._recordings is None or row["take_id"] is None:
            return None
        return self._recordings.motion(row["take_id"], row["start_s"], row["end_s"])

    def decide(self, number: int, proposal: str | bytes) -> dict[str, Any]:
        """Write a `Proposal` in JSON down.

        Returns:
            What `anchor` has of decisions, and the new `position`.

        Raises:
            UserError: says what of it cannot be.
        """
        row = self._row(number)
        try:
            wanted = Proposal.model_validate_json(proposal)
        except ValidationError as error:
            raise UserError(_problem(error)) from None
        found = self._anchor(row)
        form: PhysicalForm | None
        if wanted.decision == "edit":
            if wanted.form is None:
                raise UserError("form: an edit says what the gesture looks like")
            form, intent = wanted.form, self._checked(wanted.intent, row)
        elif wanted.decision == "accept":
            if found.status == "failed":
                raise UserError("this anchor failed: edit it, or reject it")
            form, intent = found.form, found.intent
        else:
            form, intent = None, None
        unchanged = (form, intent) == (found.form, found.intent) and found.status != "failed"
        return self._write(row, "accept" if unchanged else wanted.decision, form, intent)

    def withdraw(self, number: int) -> dict[str, Any]:
        """Take the decision about an anchor back; returns what `decide` does."""
        return self._write(self._row(number), "withdraw", None, None)

    def sentence(self, form: str | bytes) -> str:
        """The sentence of a form in JSON.

        Raises:
            UserError: it is no form; says why.
        """
        try:
            return sentence(PhysicalForm.model_validate_json(form))
        except ValidationError as error:
            raise UserError(_problem(error)) from None

    def _write(
        self, row: Mapping[str, Any], decision: Any, form: PhysicalForm | None, intent: Any
    ) -> dict[str, Any]:
        phrase_id = row["phrase_id"]
        with self._lock:
            review = Review(
                phrase_id=phrase_id,
                annotator=self._annotator,
                decision=decision,
                text=row["text"] or "",
                form=form,
                intent=intent,
            )
            self._journal.add(review)
            if decision == "withdraw":
                self._mine.pop(phrase_id, None)
            else:
                self._mine[phrase_id] = review
        return {
            "mine": self._shown(self._mine.get(phrase_id)),
            "others": self._others_shown(phrase_id),
            "position": self._position(phrase_id)._asdict(),
        }

    def _checked(self, intent: Intent | None, row: Mapping[str, Any]) -> Intent | None:
        if intent is None:
            return None
        if intent.label not in self._taxonomy.intents:
            raise UserError(f"intent: {intent.label!r} is no label of the taxonomy")
        if not intent.sentence.strip():
            raise UserError("intent: the sentence is empty; say what the gesture means here")
        if unsaid := [word for word in intent.words if not was_said(word, row["text"] or "")]:
            raise UserError(f"intent: {unsaid[0]!r} is not said in this phrase")
        if len(intent.words) > _WORDS_KEPT:
            raise UserError(f"intent: found {len(intent.words)} words, at most {_WORDS_KEPT}")
        return intent.model_copy(update={"sentence": intent.sentence.strip()})

    def _position(self, phrase_id: str) -> Position:
        mine = self._mine.get(phrase_id)
        if mine is None:
            return Position("", False)
        others = self._others.get(phrase_id, ())
        return Position(mine.decision, any(differ(mine, other) for other in others))

    def _others_shown(self, phrase_id: str) -> list[dict[str, Any]]:
        if phrase_id not in self._mine:
            return []
        return [shown for other in self._others.get(phrase_id, ()) if (shown := self._shown(other))]

    def _shown(self, review: Review | None) -> dict[str, Any] | None:
        if review is None:
            return None
        return {
            "annotator": review.annotator,
            "decision": review.decision,
            "form": review.form.model_dump(mode="json") if review.form else None,
            "form_text": sentence(review.form) if review.form else "",
            "intent": _plain(review.intent),
        }

    def _row(self, number: int) -> dict[str, Any]:
        if not 0 <= number < len(self._rows):
            raise IndexError(number)
        return self._rows.slice(number, 1).to_pylist()[0]

    def _anchor(self, row: Mapping[str, Any]) -> anchors.Anchor:
        return anchors.from_row({name: row[name] for name in anchors.anchor_schema().names})


def _fields_of_hand() -> dict[str, tuple[str, ...]]:
    """In the order in which a hand is described: where, how it is held, how it moves."""
    terms = TERMS_OF_HAND | {"repetitions": _REPETITIONS}
    held = [name for name in HandForm.model_fields if name in terms]
    order = [*Location.model_fields, *held, *Trajectory.model_fields]
    return {name: terms[name] for name in order}


def _plain(intent: Intent | None) -> dict[str, Any] | None:
    return intent.model_dump(mode="json") if intent else None


def _words(row: Mapping[str, Any]) -> list[str]:
    return (row["text"] or "").split()


def _problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, problem["loc"]))
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
