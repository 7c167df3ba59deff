"""`gestray ingest … --check`: what a corpus holds and lacks, before anything is written.

Every take is read just as an ingest reads it, because nothing less can promise
that an ingest will find it readable: a header may be sound and its data not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from rich.markup import escape
from rich.table import Table

from gestray.corpora.source import Listing, Source, TakeEntry
from gestray.corpora.take import Take
from gestray.errors import BadInput
from jobs.ingest import quarantine_record

#: Parts of a take by the column that holds them.
PARTS = {
    "motion": "poses",
    "translation": "trans",
    "expressions": "expressions",
    "audio": "audio",
    "words": "words",
    "semantics": "semantics",
    "emotion": "emotion",
    "gold": "gold",
}

# Reading waits for the disk or the network as long as it computes.
_THREADS = 4
# Ids and reasons a person is shown; JSON has them all.
_SHOWN = 6


@dataclass(frozen=True)
class _Facts:
    """What is kept of a take that was read."""

    split: str
    speaker: str
    language: str
    seconds: float
    parts: frozenset[str]
    remark: str | None


@dataclass(frozen=True)
class CorpusCheck:
    """What a corpus holds and lacks; see `as_json` for its figures."""

    root: str
    takes: tuple[_Facts, ...]
    quarantined: tuple[dict[str, Any], ...]
    absent: tuple[str, ...]
    unlisted: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether an ingest would find every take readable."""
        return not self.quarantined

    def as_json(self) -> dict[str, Any]:
        return {
            "source": self.root,
            "takes": len(self.takes) + len(self.quarantined),
            "readable": len(self.takes),
            "hours": self._hours(self.takes),
            "parts": {
                part: {
                    "present": sum(part in take.parts for take in self.takes),
                    "missing": sum(part not in take.parts for take in self.takes),
                    "hours": self._hours(take for take in self.takes if part in take.parts),
                }
                for part in PARTS
            },
            "splits": dict(sorted(Counter(take.split for take in self.takes).items())),
            "languages": dict(sorted(Counter(take.language for take in self.takes).items())),
            "speakers": dict(sorted(Counter(take.speaker for take in self.takes).items())),
            "absent": list(self.absent),
            "unlisted": list(self.unlisted),
            "remarks": list(self.remarks),
            "quarantined": list(self.quarantined),
        }

    def tables(self) -> Iterator[Table]:
        """What a person reads: parts, counts, and what is wrong."""
        values = self.as_json()
        title = f"{values['readable']} readable takes, {values['hours']:.2f} h"
        parts = Table("part", title=title, title_justify="left")
        for column in ("takes", "missing", "hours"):
            parts.add_column(column, justify="right")
        for part, row in values["parts"].items():
            parts.add_row(part, str(row["present"]), str(row["missing"]), f"{row['hours']:.2f}")
        yield parts
        counts = Table(show_header=False, box=None)
        for name in ("splits", "languages", "speakers"):
            shown = [f"{key} {count}" for key, count in values[name].items()]
            counts.add_row(f"{name} ({len(shown)})", escape(_some(shown)))
        for name, ids in (("absent", self.absent), ("unlisted", self.unlisted)):
            counts.add_row(f"{name} ({len(ids)})", escape(_some(ids)))
        for remark in self.remarks:
            counts.add_row("remark", escape(remark))
        yield counts
        if self.quarantined:
            wrong = Table("take", "what is wrong", title_justify="left")
            wrong.title = f"{len(self.quarantined)} takes an ingest would quarantine"
            for record in self.quarantined[:_SHOWN]:
                wrong.add_row(escape(record["take_id"][:40]), escape(record["reason"]))
            if len(self.quarantined) > _SHOWN:
                wrong.add_row("…", f"{len(self.quarantined) - _SHOWN} more; --json lists all")
            yield wrong

    @staticmethod
    def _hours(takes: Iterable[_Facts]) -> float:
        return round(sum(take.seconds for take in takes) / 3600, 4)


def check_corpus(source: Source, listing: Listing, track: Callable[[int], None]) -> CorpusCheck:
    """Read every take of `source`, writing nothing.

    Args:
        source: the corpus.
        listing: what it lists.
        track: told the number of takes read.
    """
    records = [quarantine_record(take_id, error) for take_id, error in listing.quarantined]
    takes: list[_Facts] = []

    def read(entry: TakeEntry) -> _Facts | dict[str, Any]:
        try:
            take = source.read_take(entry)
        except BadInput as error:
            return quarantine_record(entry.take_id, error)
        return _facts(take, source.remark(take))

    with ThreadPoolExecutor(_THREADS) as pool:
        for done, found in enumerate(pool.map(read, listing.entries), 1):
            if isinstance(found, _Facts):
                takes.append(found)
            else:
                records.append(found)
            track(done)
    records.sort(key=lambda record: record["take_id"])
    said = Counter(take.remark for take in takes if take.remark)
    remarks = (*listing.remarks, *(f"{count} takes: {text}" for text, count in said.most_common()))
    return CorpusCheck(
        source.root, tuple(takes), tuple(records), listing.absent, listing.unlisted, remarks
    )


def _facts(take: Take, remark: str | None) -> _Facts:
    held = frozenset(part for part, name in PARTS.items() if getattr(take, name) is not None)
    speaker, language = take.speaker or "unknown", take.language or "unknown"
    return _Facts(take.split, speaker, language, take.duration_s, held, remark)


def _some(names: Iterable[str]) -> str:
    names = list(names)
    rest = f", … ({len(names) - _SHOWN} more)" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest
