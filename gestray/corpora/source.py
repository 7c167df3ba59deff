"""What ingest asks of a corpus: which takes there are, and one of them at a time.

Formats differ in where a take's parts lie and in how its motion is written. What
becomes of a take (shards, quarantine, counts) does not, so readers implement
`Source` and the ingest job knows nothing else of them. A source is small and
travels to the tasks that read takes; it opens its files there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from gestray.corpora.take import Take
from gestray.errors import BadInput


@dataclass(frozen=True)
class TakeEntry:
    """One take of a corpus, before it is read.

    Args:
        take_id: unique in the corpus.
        split: of `gestray.corpora.splits`.
        size: about how many bytes its recording takes; sizes shards.
        group: takes of one group are read one after the other, by the same task:
            clips of one file, so that the file is parsed once. Empty: the take alone.
        detail: what else its source needs to read it.
    """

    take_id: str
    split: str
    size: int = 1
    group: str = ""
    detail: Any = None


@dataclass(frozen=True)
class Listing:
    """What a corpus holds, before any take is read.

    Attributes:
        entries: the takes to read.
        quarantined: takes that cannot be read for what is known of them already, by id
            or by what stands in its place.
        absent: ids that the corpus lists without having any file of theirs.
        unlisted: takes that the corpus has and its list of takes does not name.
        remarks: what the person who ingests should know, a sentence each.
    """

    entries: tuple[TakeEntry, ...]
    quarantined: tuple[tuple[str, BadInput], ...] = ()
    absent: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


class Source(Protocol):
    """A corpus that can be ingested."""

    @property
    def root(self) -> str:
        """Where it lies: a local folder or an ``s3://`` URI."""

    def list_takes(self) -> Listing:
        """Its takes, without reading their recordings.

        Raises:
            UserError: the corpus as a whole cannot be read.
        """

    def read_take(self, entry: TakeEntry) -> Take:
        """One take, whole and checked, with the split of its entry.

        Raises:
            BadInput: a part is damaged; the take is quarantined.
        """

    def remark(self, take: Take) -> str | None:
        """What the person who ingests should know of how `take` was read.

        Said once for all takes of which the same is to be said.
        """
