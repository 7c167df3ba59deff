"""Counting phrases before they are cut, and saying what words without times cost."""

from __future__ import annotations

from collections.abc import Sequence

from gestray.errors import UserError
from gestray.views.catalog import TakeRef
from gestray.views.phrases import PhraseConfig, phrases_of
from jobs.display import remarks


def count_phrases(catalog: Sequence[TakeRef], config: PhraseConfig) -> int:
    """Number of phrases of all takes.

    Raises:
        UserError: there are none; says what takes lack.
    """
    count = sum(len(phrases_of(ref, config)) for ref in catalog)
    spoken = [ref for ref in catalog if ref.words]
    untimed = [ref for ref in spoken if ref.words and ref.words[0]["start_s"] is None]
    if untimed:
        in_time = sum(ref.split.startswith("time:") for ref in untimed)
        remarks.print(about_untimed(len(untimed), len(catalog), in_time), soft_wrap=True)
    if not count:
        raise UserError(
            f"found no phrase in {len(catalog)} takes with motion ({len(spoken)} of them with "
            f"words), expected words in at least one; shorter phrases than "
            f"{config.min_s:g} s (phrases.min_s) do not count"
        )
    return count


def about_untimed(untimed: int, takes: int, in_time_split: int) -> str:
    """What follows from words without times.

    Args:
        untimed: takes whose words have none, among `takes`.
        in_time_split: those of them that ``time:F`` should cut.
    """
    text = (
        f"{untimed} of {takes} takes have words without times: each is one phrase, however long, "
        "and what needs the time of a word (cutting at pauses, spotting) leaves them out"
    )
    if in_time_split:
        text += f"; a split in time needs it too: {in_time_split} of them are in neither part"
    return text + ". Align them (TextGrid or WhisperX JSON) to have them cut."
