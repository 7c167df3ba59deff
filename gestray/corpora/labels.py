"""Labels of a recording: gesture types, emotion, gold descriptions.

They are small text files that people write, so every number is checked and an
error names its row.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from pydantic import TypeAdapter, ValidationError

from gestray.corpora.take import GoldGesture, SemanticLabel
from gestray.errors import BadInput


def parse_semantics(text: str, file: str) -> list[SemanticLabel]:
    """Gesture labels: rows of label, start, end, duration, score, keywords (tab-separated).

    Labels are kept as they are, known or not; blank keywords are None.

    Raises:
        BadInput: a row is too short or a number is none; the row is named.
    """
    labels = []
    for row, line in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in line.split("\t")]
        if not any(cells):
            continue
        field = f"row {row}"
        if len(cells) < 5 or not cells[0]:
            expected = "label, start, end, duration, score, keywords, tab-separated"
            raise BadInput(file, field, f"{line.strip()[:80]!r}", expected)
        start, end, _, score = (
            _number(file, f"{field}, {name}", cell)
            for name, cell in zip(("start", "end", "duration", "score"), cells[1:5], strict=True)
        )
        _check_order(file, field, start, end)
        if not 0 <= score <= 1:
            raise BadInput(file, f"{field}, score", f"{score:g}", "a number from 0 to 1")
        keywords = " ".join(cell for cell in cells[5:] if cell)
        labels.append(SemanticLabel(cells[0], start, end, score, keywords or None))
    return labels


def parse_emotion(text: str, file: str) -> str:
    """Emotion of a take, such as ``neutral`` from ``00_netural, 0, 63.9, 63.9, 0``.

    Where several rows cut the take, the emotion that lasts longest in all.

    Raises:
        BadInput: no row, a row without a label, or a number that is none.
    """
    seconds: defaultdict[str, float] = defaultdict(float)
    for row, line in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in line.split(",")]
        if not any(cells):
            continue
        label = re.sub(r"^\d+_", "", cells[0])
        if not label or len(cells) < 3:
            raise BadInput(file, f"row {row}", repr(line.strip()[:80]), "label, start, end")
        start, end = (_number(file, f"row {row}", cell) for cell in cells[1:3])
        _check_order(file, f"row {row}", start, end)
        seconds["neutral" if label == "netural" else label] += end - start
    if not seconds:
        raise BadInput(file, "emotion", "an empty file", "a row of label, start, end")
    return max(seconds, key=seconds.__getitem__)


def parse_gold(data: bytes, file: str) -> list[GoldGesture]:
    """Gold descriptions: a JSON list of `GoldGesture` records.

    Raises:
        BadInput: not such a list; the first record and key at fault are named.
    """
    try:
        gold = _GOLD.validate_json(data)
    except ValidationError as error:
        first: Any = error.errors(include_url=False)[0]
        field = ".".join(str(key) for key in first["loc"]) or "gold"
        raise BadInput(file, field, repr(first["input"])[:80], first["msg"]) from None
    for index, gesture in enumerate(gold):
        _check_order(file, f"{index}", gesture.start_s, gesture.end_s)
    return gold


_GOLD = TypeAdapter(list[GoldGesture])


def _number(file: str, field: str, cell: str) -> float:
    if not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?", cell):
        raise BadInput(file, field, repr(cell[:40]), "a number")
    return float(cell)


def _check_order(file: str, field: str, start: float, end: float) -> None:
    if not 0 <= start <= end:
        raise BadInput(file, field, f"{start:g} s to {end:g} s", "0 <= start <= end")
