"""Answers of language models, kept by what was asked: no question is paid for twice.

Answers lie in the store beside the artifacts, at `grounding-cache/{realm}/`. A
realm is all that the answers of a run share (engine, model, revision, sampling,
system message, schema); within it, an answer's key is the hash of its question.
So a run that was killed goes on where it was, another corpus with the same
phrases has its answers already, and a changed prompt asks only what it changes.

Answers are appended as small Parquet files, each written at once and under a
name of its own: any number of runs may write and read the same realm.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
import uuid
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from gestray.anchors.engines import Answer
from gestray.config import digest
from gestray.errors import UserError
from gestray.store import Folder

CACHE = "grounding-cache"

_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), False),
        pa.field("attempt", pa.int32(), False),
        pa.field("text", pa.string(), False),
        pa.field("cut_off", pa.bool_(), False),
        pa.field("tokens", pa.int32(), False),
    ]
)
# A part is written after a hundredth of the time since the first answer, or so many seconds: no
# more than that is lost with a killed run, and a run of a day leaves about a thousand parts.
_PART_SHARE, _PART_S = 0.01, 0.05


def question_key(user: str) -> str:
    """The key of a question, 32 hexadecimal digits."""
    return hashlib.sha256(user.encode()).hexdigest()[:32]


class AnswerCache:
    """The answers of one realm.

    Args:
        store: of the artifacts.
        realm: all that the answers depend on besides their question, as JSON values.
    """

    def __init__(self, store: Folder, realm: Mapping[str, Any]) -> None:
        self.folder = store.child(CACHE, digest(realm, 16))
        self._realm = dict(realm)
        self._new: list[tuple[int, Answer]] = []
        # Of the first answer, and of the last part.
        self._began, self._written = math.inf, -math.inf

    def load(self, keys: Collection[str], last: int) -> dict[str, tuple[int, Answer]]:
        """What is known of `keys`: the last attempt at each, counted from 0, and its answer.

        Args:
            keys: of questions.
            last: later attempts do not count: whoever allows no more gets what they would get
                of the engine.

        Raises:
            UserError: a part cannot be read.
        """
        parts = [path for path in self.folder.list() if path.endswith(".parquet")]
        wanted = set(keys)
        known: dict[str, tuple[int, Answer]] = {}
        if not parts or not wanted:
            return known
        dataset = pads.dataset(
            [self.folder.path(part) for part in parts],
            schema=_SCHEMA,
            format="parquet",
            filesystem=self.folder.filesystem,
        )
        try:
            for batch in dataset.to_batches():
                for row in batch.to_pylist():
                    attempt = row.pop("attempt")
                    before, _ = known.get(row["key"], (0, None))
                    if row["key"] in wanted and before <= attempt <= last:
                        known[row["key"]] = (attempt, Answer(**row))
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(
                f"{self.folder.uri}: found a part that cannot be read ({error}), expected Parquet "
                "files of gestray: remove the part; its answers will be generated again"
            ) from None
        return known

    def keep(self, attempt: int, answers: Iterable[Answer]) -> None:
        """Add answers; they are written soon, and by `flush` at once."""
        self._new += [(attempt, answer) for answer in answers]
        now = time.monotonic()
        self._began = min(self._began, now)
        if now - self._written > max(_PART_S, _PART_SHARE * (now - self._began)):
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet."""
        if self._new:
            rows = [
                {name: answer._asdict()[name] for name in _SCHEMA.names if name != "attempt"}
                | {"attempt": attempt}
                for attempt, answer in self._new
            ]
            if self._written == -math.inf:  # for people: nothing reads it
                self.folder.write_bytes(json.dumps(self._realm, indent=2).encode(), "realm.json")
            with self.folder.open_output(f"{time.time_ns()}-{uuid.uuid4().hex[:8]}.parquet") as out:
                pq.write_table(pa.Table.from_pylist(rows, _SCHEMA), out, compression="zstd")
            self._new.clear()
            self._written = time.monotonic()
