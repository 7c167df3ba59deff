"""What a view is: samples cut from takes while streaming, and never stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa

from gestray.views.catalog import TakeRef


class View(Protocol):
    """Cuts the samples of one split out of takes.

    A view is a small picklable value; it travels to the machines that read.
    """

    @property
    def columns(self) -> Sequence[str]:
        """Columns of the take that `cut` needs."""

    def count(self, ref: TakeRef) -> int:
        """Number of samples in a take; zero where it has none to give."""

    def lengths(self, ref: TakeRef) -> Sequence[int]:
        """Frames of each sample in a take."""

    def cut(self, ref: TakeRef, take: pa.Table, samples: Sequence[int]) -> pa.Table:
        """The samples numbered `samples`, one row each, in that order.

        Number n is sample n mod `count`, in epoch n div `count`: a view that draws at
        random draws anew in each epoch, and the same whenever it is asked.
        """
