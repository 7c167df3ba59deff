"""Words on their way from a file or an aligner to a take.

A span knows the place it was read from, so that an error can name it, and the
times it must lie between, so that a word without times can be given some.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

from gestray.errors import BadInput, shorten

#: Aligners round boundaries; words may overlap by this much, in seconds.
OVERLAP_TOLERANCE_S = 1e-3


@dataclass(frozen=True, slots=True)
class Span:
    """A word with the place it was read from, and the times it must lie between.

    Attributes:
        where: such as ``tier words, interval 3``.
        start_s, end_s: None when unknown.
        earliest_s, latest_s: of the segment the word belongs to, None when unknown.
    """

    where: str
    word: str
    start_s: float | None
    end_s: float | None
    earliest_s: float | None = None
    latest_s: float | None = None


def fill_times(spans: Sequence[Span], least_s: float = 0.0) -> list[Span]:
    """`spans` with times for those without, where anything bounds them.

    A run of untimed words lies between its timed neighbours and within its
    segment, and shares that time by the number of letters. Where that leaves
    less than `least_s` a word, the words before give up theirs and share it.
    """
    filled: list[Span] = []
    ahead = 0
    for timed, group in groupby(spans, lambda span: span.start_s is not None):
        run = list(group)
        ahead += len(run)
        if timed:
            filled += run
            continue
        before = filled[-1].end_s if filled else None
        after = spans[ahead].start_s if ahead < len(spans) else None
        start = max((t for t in (before, run[0].earliest_s) if t is not None), default=None)
        end = min((t for t in (after, run[-1].latest_s) if t is not None), default=None)
        start = end if start is None else start
        if start is None:
            filled += run
            continue
        end = start if end is None else max(start, end)
        while filled and end - start < least_s * len(run):
            run.insert(0, filled.pop())
            start = run[0].start_s or 0.0
        letters = sum(len(span.word) for span in run) or 1
        now, said = start, 0
        for span in run:
            said += len(span.word)
            until = start + (end - start) * said / letters
            filled.append(replace(span, start_s=now, end_s=until))
            now = until
    return filled


def check_order(spans: Sequence[Span], file: str) -> None:
    """Refuse times that cannot be those of words spoken one after the other."""

    def refuse(span: Span, expected: str) -> BadInput:
        found = f"{shorten(repr(span.word))} from {span.start_s:g} s to {span.end_s:g} s"
        return BadInput(file, span.where, found, expected)

    timed = [span for span in spans if span.start_s is not None]
    for span in timed:
        assert span.start_s is not None and span.end_s is not None
        if span.start_s < 0:
            raise refuse(span, "a start at or after 0 s")
        if span.end_s < span.start_s:
            raise refuse(span, "an end at or after the start")
    for before, after in pairwise(timed):
        assert before.end_s is not None and after.start_s is not None
        if after.start_s < before.end_s - OVERLAP_TOLERANCE_S:
            raise refuse(after, f"a start after the word before it, which ends {before.end_s:g}")
