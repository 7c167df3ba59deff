"""Word times for recordings with a transcript: pairs of files in, TextGrids out.

A job of hours can be stopped at any time: a TextGrid appears whole or not at
all, and one that is newer than what it was made from is not made again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from gestray.errors import BadInput, UserError
from gestray.speech.alignment import align
from gestray.speech.audio import SAMPLE_RATE, read_audio
from gestray.speech.words import MAX_WORDS_BYTES, decode_text, format_words
from jobs.display import progress, remarks

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".mp3", ".ogg", ".opus"})
QUARANTINE = "quarantine.jsonl"


@dataclass(frozen=True)
class Pair:
    """A recording, its transcript, and the TextGrid to make of them."""

    audio: Path
    transcript: Path
    out: Path

    @property
    def up_to_date(self) -> bool:
        if not self.out.exists():
            return False
        made = self.out.stat().st_mtime_ns
        return all(made >= path.stat().st_mtime_ns for path in (self.audio, self.transcript))


@dataclass(frozen=True)
class Outcome:
    """What came of a pair; `reason` says why there is no TextGrid."""

    out: str
    reason: str | None = None
    seconds: float = 0.0
    words: int = 0
    recognized: float = 0.0
    approximated: tuple[str, ...] = ()
    interpolated: tuple[str, ...] = ()


@dataclass(frozen=True)
class AlignmentSummary:
    """Counts over all pairs; the shares are of the words of this run.

    Attributes:
        unpaired: files without their other half.
        recognized: share of words that were also recognized in their place.
        approximated, interpolated: see `gestray.speech.alignment.Alignment`.
    """

    rows_in: int
    rows_out: int
    rows_quarantined: int
    up_to_date: int
    unpaired: int
    seconds: float
    words: int
    recognized: float
    approximated: float
    interpolated: float


def pair_up(audio: Path, transcript: Path, out: Path) -> tuple[list[Pair], list[Path]]:
    """The pairs of two files or two folders, and files without their other half.

    In folders, which may be the same, files belong together by their name
    without suffix; transcripts end in ``.txt``.

    Raises:
        UserError: a path does not exist, one is a file and the other a folder,
            there is nothing to align, or two recordings have one name.
    """
    for path in (audio, transcript):
        if not path.exists():
            raise UserError(f"{path}: found nothing there, expected a file or a folder")
    if audio.is_file() and transcript.is_file():
        return [Pair(audio, transcript, out)], []
    if audio.is_file() or transcript.is_file():
        raise UserError(f"{audio}, {transcript}: found a file and a folder, expected two of a kind")
    recordings: dict[str, Path] = {}
    for path in sorted(audio.iterdir()):
        if path.suffix.lower() not in AUDIO_SUFFIXES:
            continue
        if path.stem in recordings:
            first = recordings[path.stem].name
            raise UserError(f"{audio}: found {first} and {path.name}, expected one of them")
        recordings[path.stem] = path
    texts = {path.stem: path for path in sorted(transcript.iterdir()) if path.suffix == ".txt"}
    both = sorted(recordings.keys() & texts.keys())
    if not both:
        raise UserError(
            f"{audio}, {transcript}: found no recording and transcript of one name, expected "
            f"NAME{{{', '.join(sorted(AUDIO_SUFFIXES))}}} and NAME.txt"
        )
    pairs = [Pair(recordings[n], texts[n], out / f"{n}.TextGrid") for n in both]
    lone = [files[n] for files in (recordings, texts) for n in sorted(files.keys() - set(both))]
    return pairs, lone


def align_files(audio: Path, transcript: Path, out: Path, workers: int) -> AlignmentSummary:
    """Write a TextGrid for every pair; those that fail are named in `QUARANTINE` beside them.

    Raises:
        UserError: see `pair_up`; or the extra ``align`` is not installed.
        BadInput: the one pair that was given cannot be aligned.
    """
    pairs, unpaired = pair_up(audio, transcript, out)
    for path in unpaired:
        remarks.print(f"{path}: has no other half of its name, left out", markup=False)
    single = audio.is_file()
    folder = out.parent if single else out
    folder.mkdir(parents=True, exist_ok=True)
    due = [pair for pair in pairs if not pair.up_to_date]
    outcomes: list[Outcome] = []
    with progress("align", len(pairs)) as track:
        for outcome in _outcomes(due, workers):
            outcomes.append(outcome)
            track(len(pairs) - len(due) + len(outcomes), Path(outcome.out).name)
    failed = sorted((o for o in outcomes if o.reason), key=lambda outcome: outcome.out)
    for outcome in failed:
        if single:
            raise UserError(outcome.reason)
        remarks.print(f"quarantined {outcome.out}: {outcome.reason}", markup=False)
    if not single:
        records = ({"out": o.out, "reason": o.reason} for o in failed)
        text = "".join(json.dumps(record) + "\n" for record in records)
        _write_whole(folder / QUARANTINE, text)
    return _summarize(pairs, len(pairs) - len(due), len(unpaired), outcomes)


def _summarize(
    pairs: list[Pair], up_to_date: int, unpaired: int, outcomes: list[Outcome]
) -> AlignmentSummary:
    made = [outcome for outcome in outcomes if outcome.reason is None]
    words = sum(outcome.words for outcome in made)
    quarantined = len(outcomes) - len(made)
    assert up_to_date + len(made) + quarantined == len(pairs)
    return AlignmentSummary(
        rows_in=len(pairs),
        rows_out=up_to_date + len(made),
        rows_quarantined=quarantined,
        up_to_date=up_to_date,
        unpaired=unpaired,
        seconds=sum(outcome.seconds for outcome in made),
        words=words,
        recognized=sum(o.recognized * o.words for o in made) / max(1, words),
        approximated=sum(len(o.approximated) for o in made) / max(1, words),
        interpolated=sum(len(o.interpolated) for o in made) / max(1, words),
    )


def _outcomes(pairs: list[Pair], workers: int) -> Iterator[Outcome]:
    """Outcomes as they come, by at most `workers` processes."""
    if min(workers, len(pairs)) <= 1:
        yield from map(_align, pairs)
        return
    with ProcessPoolExecutor(min(workers, len(pairs))) as pool:
        futures: Iterable = as_completed([pool.submit(_align, pair) for pair in pairs])
        for future in futures:
            yield future.result()


def _align(pair: Pair) -> Outcome:
    try:
        audio = read_audio(pair.audio)
        with open(pair.transcript, "rb") as file:
            data = file.read(MAX_WORDS_BYTES)
        alignment = align(audio, decode_text(data, str(pair.transcript)), str(pair.transcript))
    except BadInput as error:
        return Outcome(str(pair.out), reason=str(error))
    except OSError as error:
        return Outcome(str(pair.out), reason=f"{error.filename}: {error.strerror}")
    seconds = len(audio) / (2 * SAMPLE_RATE)
    _write_whole(pair.out, format_words(alignment.words, seconds))
    return Outcome(
        str(pair.out),
        seconds=seconds,
        words=len(alignment.words),
        recognized=alignment.recognized,
        approximated=alignment.approximated,
        interpolated=alignment.interpolated,
    )


def _write_whole(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8", newline="\n")
    os.replace(part, path)
