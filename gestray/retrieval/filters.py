"""Which recorded gestures may be found at all: by speaker, meaning, length, hands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gestray.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Filter:
    """Conditions that a hit meets, every one of them; those left out let all through.

    Attributes:
        speakers, intents, handedness, splits, takes: one of these.
        min_seconds, max_seconds: length of the phrase, both inclusive.
    """

    speakers: tuple[str, ...] = ()
    intents: tuple[str, ...] = ()
    handedness: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    min_seconds: float | None = None
    max_seconds: float | None = None

    def __bool__(self) -> bool:
        return self != Filter()

    def mask(self, rows: pa.Table) -> NDArray[np.bool_]:
        """(N,) of the rows of an index, which of them meet the conditions.

        Raises:
            UserError: a value that no row has.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        kept = np.ones(len(rows), bool)
        for name, column in _COLUMNS.items():
            asked = getattr(self, name)
            if asked:
                is_in = pc.is_in(rows[column], value_set=pa.array(asked, pa.string()))
                kept &= is_in.to_numpy()
                _check_known(rows, column, asked)
        seconds = rows["end_s"].to_numpy() - rows["start_s"].to_numpy()
        if self.min_seconds is not None:
            kept &= seconds >= self.min_seconds
        if self.max_seconds is not None:
            kept &= seconds <= self.max_seconds
        return kept


_COLUMNS = {
    "speakers": "speaker",
    "intents": "intent",
    "handedness": "handedness",
    "splits": "split",
    "takes": "take_id",
}


def _check_known(rows: pa.Table, column: str, asked: tuple[str, ...]) -> None:
    known = sorted(value for value in rows[column].unique().to_pylist() if value is not None)
    for value in asked:
        if value not in known:
            shown = ", ".join(known[:30]) + (", …" if len(known) > 30 else "")
            raise UserError(
                f"{column} {value!r}: no gesture of the index has it; there are: {shown or 'none'}"
            )
