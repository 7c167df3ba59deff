"""The record of a semantic motion anchor, and its flat row in Parquet.

An anchor pairs what a phrase's gesture looks like with what it means there
("Semantic Motion Anchors", arXiv 2605.30608). The two halves supervise
different branches of the dual encoder: `form_text` the motion branch,
`intent_text` the transcript branch. An anchor without intent still carries its
form, so a phrase never drops out of the data because grounding gave nothing.
"""

from __future__ import annotations

import functools
import json
from typing import Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, model_validator

from gestray.form import Intent, PhysicalForm

# Version of the row below and of what its columns mean.
SCHEMA_VERSION = 1

Status = Literal["grounded", "ungrounded", "failed"]


class Anchor(BaseModel):
    """The form and, where it could be grounded, the intent of one phrase's gesture.

    `grounded` carries an intent; `ungrounded` is a finding (`reason` says why no
    intent is claimed); `failed` is a breakdown of the grounder (`reason` says of
    what kind, `raw` keeps what it returned).

    Provenance: `grounder`; the `model`'s name (or the rules' lexicon) with its
    `revision`, "" where it has none; `prompt_hash` of what the model was told (or
    of the lexicon); `sampling`, a JSON object of the parameters of the run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    phrase_id: str
    form: PhysicalForm
    form_text: str
    intent: Intent | None = None
    intent_text: str = ""
    status: Status
    reason: str = ""
    raw: str = ""
    grounder: Literal["rules", "vllm", "openai"]
    model: str
    revision: str = ""
    prompt_hash: str
    schema_version: int = SCHEMA_VERSION
    sampling: str = "{}"

    @model_validator(mode="after")
    def _hold_together(self) -> Anchor:
        if (self.status == "grounded") != (self.intent is not None):
            raise ValueError(
                f"status {self.status!r} does not fit "
                f"{'an intent' if self.intent else 'no intent'}: grounded anchors carry one, "
                "others none"
            )
        if self.intent_text != (self.intent.sentence if self.intent else ""):
            raise ValueError("intent_text must be the intent's sentence, or '' without an intent")
        if (self.status == "grounded") == bool(self.reason):
            raise ValueError("a reason belongs to ungrounded and failed anchors, and to them alone")
        if self.raw and self.status != "failed":
            raise ValueError("raw text is kept for failed anchors only")
        if not isinstance(json.loads(self.sampling), dict):
            raise ValueError("sampling must be a JSON object")
        return self


@functools.cache
def anchor_schema() -> pa.Schema:
    """Arrow schema of one anchor a row; `form` and `intent` are JSON objects.

    JSON keeps the rows flat and the file readable by any Parquet reader when a
    taxonomy grows; `intent` is null where there is none. No other column is null.
    """

    def text(name: str) -> pa.Field:
        return pa.field(name, pa.string(), nullable=name == "intent")

    return pa.schema(
        [text(name) for name in ("phrase_id", "form", "form_text", "intent", "intent_text")]
        + [text(name) for name in ("status", "reason", "raw", "grounder", "model", "revision")]
        + [text("prompt_hash"), pa.field("schema_version", pa.int32(), False), text("sampling")]
    )


def to_row(anchor: Anchor) -> dict[str, Any]:
    """The row of `anchor_schema` for an anchor; `from_row` is its inverse."""
    row = {name: getattr(anchor, name) for name in anchor_schema().names}
    row["form"] = anchor.form.model_dump_json()
    row["intent"] = None if anchor.intent is None else anchor.intent.model_dump_json()
    return row


def from_row(row: dict[str, Any]) -> Anchor:
    """Read an anchor back from its row.

    Raises:
        pydantic.ValidationError: a value does not fit the record.
    """
    values = dict(row)
    values["form"] = PhysicalForm.model_validate_json(values["form"])
    if values["intent"] is not None:
        values["intent"] = Intent.model_validate_json(values["intent"])
    return Anchor(**values)
