"""Counting phrases before they are cut, and saying what words without times cost."""

from __future__ import annotations

from collections.abc import Sequence

from gestray.errors import UserError
from gestray.views.catalog import TakeRef
from gestray.views.phrases import PhraseConfig, phrases_of
from jobs.display import remarks


def count_phrases(
    catalog: Sequence[TakeRef], config: PhraseConfig, split: str | None = None
) -> int:
    """Number of phrases of all takes, in one split or all.

    Raises:
        UserError: there are none; says what takes lack.
    """
    phrases = [phrase for ref in catalog for phrase in phrases_of(ref, config)]
    count = sum(split in (None, phrase.split) for phrase in phrases)
    spoken = [ref for ref in catalog if ref.words]
    untimed = [ref for ref in spoken if ref.words and ref.words[0]["start_s"] is None]
    if untimed:
        in_time = sum(ref.split.startswith("time:") for ref in untimed)
        remarks.print(about_untimed(len(untimed), len(catalog), in_time), soft_wrap=True)
    if phrases and not count:
        known = ", ".join(sorted({phrase.split for phrase in phrases}))
        raise UserError(
            f"found no phrase in split {split!r} among {len(phrases)}; there are: {known}"
        )
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
