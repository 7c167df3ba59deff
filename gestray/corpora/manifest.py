"""Manifests: a CSV that says which recordings of a folder are takes, and what is said in them.

A row is a take. A bad row is that take's trouble and quarantines it; a manifest whose
columns cannot be told is the whole ingest's.
"""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from gestray.corpora.parts import MAX_TEXT_BYTES
from gestray.corpora.splits import SPLITS, is_split, split_of
from gestray.corpora.take import check_take_id
from gestray.errors import BadInput, UserError
from gestray.speech.words import decode_text
from gestray.store import Folder

REQUIRED = ("take_id", "path", "text")
OPTIONAL = (
    *("speaker", "start_s", "end_s", "audio", "textgrid", "split", "semantics"),
    *("form_text", "intent_text"),
)
_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?")


@dataclass(frozen=True)
class ManifestRow:
    """One take as the manifest describes it; None or "" where it says nothing.

    Attributes:
        line: of the file, for errors.
        path: the recording, relative to the corpus.
        start_s, end_s: the part of the recording that is the take, in seconds.
        extra: what other columns say.
    """

    line: int
    take_id: str
    path: str
    text: str
    split: str
    speaker: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    audio: str | None = None
    textgrid: str | None = None
    semantics: str | None = None
    form_text: str = ""
    intent_text: str = ""
    extra: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """The rows of a manifest, and its bad rows with their take id or ``row N``."""

    file: str
    rows: tuple[ManifestRow, ...]
    bad: tuple[tuple[str, BadInput], ...]


def read_manifest_bytes(uri: str) -> bytes:
    """The manifest at a local path or an ``s3://`` URI.

    Raises:
        UserError: there is none, or it is too large.
    """
    folder, _, name = uri.rpartition("/")
    parent = Folder(folder or ("." if not uri.startswith("/") else "/"))
    is_there = parent.exists(name) if not parent.is_local else Path(uri).is_file()
    if not name or not is_there:
        raise UserError(f"manifest {uri}: found no such file; expected a CSV file")
    data = parent.read_bytes(name) if not parent.is_local else Path(uri).read_bytes()
    if len(data) > MAX_TEXT_BYTES:
        raise UserError(f"manifest {uri}: found {len(data)} bytes, at most {MAX_TEXT_BYTES}")
    return data


def parse_manifest(data: bytes, file: str) -> Manifest:
    """The takes of a manifest.

    Args:
        data: comma-separated, with a header; UTF-8 or, with a byte order mark, UTF-16.
        file: its name, for errors.

    Raises:
        UserError: it is no CSV, or a column is missing or there twice.
    """
    reader = csv.reader(io.StringIO(decode_text(data, file), newline=""), strict=True)
    try:
        table = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise UserError(f"{file}: found broken CSV ({error}, line {reader.line_num})") from None
    table = [(line, row) for line, row in table if any(row)]
    header = table[0][1] if table else []
    _check_header(header, file)
    rows: dict[str, ManifestRow] = {}
    bad: list[tuple[str, BadInput]] = []
    for line, cells in table[1:]:
        try:
            row = _row(line, header, cells, file)
            if row.take_id in rows:
                found = f"{row.take_id!r} again, as in row {rows[row.take_id].line}"
                raise _bad(file, line, "take_id", found, "each id once")
            rows[row.take_id] = row
        except BadInput as error:
            named = dict(zip(header, cells, strict=False)).get("take_id", "")
            bad.append((named[:140] or f"row {line}", error))
    return Manifest(file, tuple(rows.values()), tuple(bad))


def _bad(file: str, line: int, column: str, found: str, expected: str) -> BadInput:
    return BadInput(file, f"row {line}, column {column}", found, expected)


def _check_header(header: list[str], file: str) -> None:
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        found = ", ".join(header)[:120] if header else "an empty file"
        raise UserError(
            f"{file}: row 1: found {found!r}, expected a header with the columns "
            f"{', '.join(REQUIRED)} and, where they apply, {', '.join(OPTIONAL)}, separated by "
            f"commas; {', '.join(missing)} is missing"
        )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        shown = ", ".join(name or "(without a name)" for name in twice)
        raise UserError(f"{file}: row 1: found columns twice: {shown}; expected each once")


def _row(line: int, header: list[str], cells: list[str], file: str) -> ManifestRow:
    if len(cells) != len(header):
        expected = f"{len(header)}, as the header has (text with commas needs quotes)"
        raise BadInput(file, f"row {line}", f"{len(cells)} cells", expected)
    values = dict(zip(header, cells, strict=True))
    take_id = values["take_id"]
    try:
        check_take_id(take_id)
    except BadInput as error:
        raise _bad(file, line, "take_id", error.found, error.expected) from None
    split = values.get("split", "") or split_of(take_id)
    if not is_split(split):
        raise _bad(file, line, "split", repr(split[:40]), f"{', '.join(SPLITS)} or time:F")
    start_s, end_s = (_seconds(values, name, line, file) for name in ("start_s", "end_s"))
    if end_s is not None and end_s <= (start_s or 0.0):
        expected = f"more than start_s, {start_s or 0:g}"
        raise _bad(file, line, "end_s", f"{end_s:g}", expected)
    known = {*REQUIRED, *OPTIONAL}
    return ManifestRow(
        line=line,
        take_id=take_id,
        path=_path(values, "path", line, file) or "",
        text=values["text"],
        split=split,
        speaker=values.get("speaker") or None,
        start_s=start_s,
        end_s=end_s,
        audio=_path(values, "audio", line, file),
        textgrid=_path(values, "textgrid", line, file),
        semantics=values.get("semantics") or None,
        form_text=values.get("form_text", ""),
        intent_text=values.get("intent_text", ""),
        extra={name: cell for name, cell in values.items() if name not in known and cell},
    )


def _seconds(values: dict[str, str], column: str, line: int, file: str) -> float | None:
    cell = values.get(column, "")
    if not cell:
        return None
    seconds = float(cell) if _NUMBER.fullmatch(cell) else math.inf
    if not math.isfinite(seconds):
        raise _bad(file, line, column, repr(cell[:40]), "seconds, or nothing")
    return seconds


def _path(values: dict[str, str], column: str, line: int, file: str) -> str | None:
    """The file a column names, relative to the corpus and within it."""
    cell = values.get(column, "")
    if not cell:
        if column in REQUIRED:
            raise _bad(file, line, column, "nothing", "a file of the corpus")
        return None
    path = PurePosixPath(cell)
    if path.is_absolute() or ".." in path.parts or "\0" in cell or "\\" in cell:
        expected = "a path relative to the corpus and within it, with /"
        raise _bad(file, line, column, repr(cell[:80]), expected)
    return path.as_posix()
