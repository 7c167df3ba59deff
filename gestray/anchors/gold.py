"""Gold descriptions of clips from a file: what people say a gesture looks like and means.

One clip and grader a row, in CSV with a header or in JSON lines, with the columns of
`GoldClip`; docs/anchors.md shows both. This is how the annotations of other
projects come in (SEMANTIX: clip, transcript, physical form, intent).
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gestray.anchors.taxonomy import NO_INTENT, Taxonomy, load_taxonomy
from gestray.errors import UserError, shorten
from gestray.form import PhysicalForm
from gestray.store import Folder


class GoldClip(BaseModel):
    """What one grader says of one clip; a value that is missing or empty is not known.

    `clip` is the phrase's id in the anchors that are evaluated, `intent` a label of the
    taxonomy or "none", `form` a `PhysicalForm` (in CSV as JSON), `form_text` and `intent_text`
    are sentences.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    clip: str = Field(min_length=1)
    transcript: str = ""
    form: PhysicalForm | None = None
    form_text: str = ""
    intent: str | None = None
    intent_text: str = ""
    grader: str = ""


def read_gold(uri: str, taxonomy: Taxonomy | None = None) -> list[GoldClip]:
    """The clips of a file on disk or in an object store (``.csv``, ``.jsonl``).

    Args:
        uri: of the file.
        taxonomy: whose labels its intents are; default the shipped one.

    Raises:
        UserError: names file, row and column of what is wrong.
    """
    folder, _, name = uri.rpartition("/")
    try:
        text = Folder(folder or ".").read_bytes(name).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{uri}: cannot be read as text: {error}") from None
    if uri.endswith(".csv"):
        rows = _csv_rows(text)
    elif uri.endswith(".jsonl"):
        rows = _json_rows(uri, text)
    else:
        raise UserError(f"{uri}: expected the name to end in .csv or .jsonl")
    labels = (*(taxonomy or load_taxonomy()).labels, NO_INTENT)
    clips: list[GoldClip] = []
    seen: dict[tuple[str, str], int] = {}
    for number, values in rows:
        try:
            clip = GoldClip.model_validate(values)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            where = ".".join(map(str, problem["loc"])) or "row"
            raise UserError(
                f"{uri}: row {number}: {where}: found {shorten(str(problem['input']))!r}; "
                f"{problem['msg'].removeprefix('Value error, ')}"
            ) from None
        if clip.intent is not None and clip.intent not in labels:
            raise UserError(
                f"{uri}: row {number}: intent: found {shorten(clip.intent)!r}; no intent of the "
                f"taxonomy: {', '.join(labels)}"
            )
        first = seen.setdefault((clip.clip, clip.grader), number)
        if first != number:
            raise UserError(
                f"{uri}: rows {first} and {number} are both of clip {clip.clip!r} and grader "
                f"{clip.grader!r}; expected one"
            )
        clips.append(clip)
    if not clips:
        raise UserError(f"{uri}: found no clips")
    return clips


def _csv_rows(text: str) -> Iterator[tuple[int, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="more values than columns")
    for values in reader:
        known = {name: value for name, value in values.items() if value}
        if "form" in known:
            with contextlib.suppress(ValueError):  # left as it is, for the record to refuse
                known["form"] = json.loads(known["form"])
        yield reader.line_num, known


def _json_rows(uri: str, text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(f"{uri}: row {number}: not JSON: {error}") from None
