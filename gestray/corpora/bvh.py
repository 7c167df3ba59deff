"""BVH recordings with a manifest, as takes.

The manifest (`manifest.py`) says which part of which file is a take and what is said in
it; a skeleton map (`gestray.motion.skeleton_map`) how its joints move those of SMPL-X. A
file is read once for all the takes cut from it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from gestray.corpora.folder import CorpusFolder, open_corpus, read_unchanged
from gestray.corpora.labels import parse_semantics
from gestray.corpora.manifest import (
    ManifestRow,
    parse_manifest,
    read_manifest_bytes,
)
from gestray.corpora.parts import (
    audio_s,
    check_audio,
    motion_s,
    read_audio,
    read_text,
    read_words,
)
from gestray.corpora.source import Listing, TakeEntry
from gestray.corpora.splits import parse_split
from gestray.corpora.take import FPS, GoldGesture, SemanticLabel, Take, check_motion
from gestray.errors import BadInput, UserError
from gestray.motion.bvh import parse_bvh
from gestray.motion.retarget import Figure, Retargeted, inspect_figure, retarget
from gestray.motion.skeleton import JOINT_NAMES
from gestray.motion.skeleton_map import SkeletonMap, load_map
from gestray.speech.audio import LONGEST_RECORDING_S, samples_of_frames
from gestray.speech.words import Word, words_of_text

# BVH is text: a value takes ten characters at the recording's rate, four bytes at ours.
_TEXT_PER_STORED = 4
_LABEL_FILES = (".txt", ".tsv")


@dataclass(frozen=True)
class BvhSource:
    """BVH files and the manifest that names them.

    Args:
        root: the folder that the manifest's paths start from, local or ``s3://``.
        manifest: the CSV file, local or ``s3://``.
        skeleton: the map of the figure's joints.
        split: ``time:F``, or None for the manifest's.
    """

    root: str
    manifest: str
    skeleton: SkeletonMap
    split: str | None = None

    def list_takes(self) -> Listing:
        split = parse_split(self.split)
        manifest = parse_manifest(read_manifest_bytes(self.manifest), self.manifest)
        sizes = {file.name: file.size for file in open_corpus(self.root).files()}
        shared = Counter(row.path for row in manifest.rows)
        entries = tuple(
            TakeEntry(
                row.take_id,
                split or row.split,
                size=max(1, sizes.get(row.path, 0) // (_TEXT_PER_STORED * shared[row.path])),
                group=row.path,
                detail=row,
            )
            for row in manifest.rows
        )
        return Listing(entries, manifest.bad)

    def read_take(self, entry: TakeEntry) -> Take:
        row: ManifestRow = entry.detail
        corpus = open_corpus(self.root)
        labels = row.semantics if _names_labels(row) else None
        names = (row.path, row.audio, row.textgrid, labels)
        files = [name for name in names if name is not None]
        return read_unchanged(corpus, files, lambda: self._read(corpus, row, entry.split))

    def _read(self, corpus: CorpusFolder, row: ManifestRow, split: str) -> Take:
        take = Take(row.take_id, split, speaker=row.speaker)
        if not corpus.exists(row.path):
            raise self._bad(row, "path", f"{row.path!r}, which does not exist", "a BVH file")
        skeleton = self.skeleton.model_dump_json()
        motion = _read_motion(self.root, row.path, corpus.stamp(row.path), skeleton)
        clip = self._clip(row, len(motion.poses))
        take.poses, take.trans = motion.poses[clip], motion.trans[clip]
        take.joint_mask = motion.joint_mask
        check_motion(row.path, take.poses, take.trans)
        take.audio = self._audio(corpus, row, clip)
        if take.audio is not None:
            check_audio(f"{row.audio}", take.audio, motion_s(take.num_frames))
        take.words = self._words(corpus, row, clip, motion_s(len(motion.poses)))
        take.semantics = self._semantics(corpus, row, clip)
        if row.form_text or row.intent_text:
            take.gold = [
                GoldGesture(
                    start_s=0.0,
                    end_s=motion_s(take.num_frames),
                    form_text=row.form_text,
                    intent_text=row.intent_text,
                )
            ]
        take.extra = {**_extra(row, motion.figure, motion_s(clip.start)), **row.extra}
        take.validate()
        return take

    def remark(self, take: Take) -> str | None:
        figure = (take.extra or {}).get("figure")
        return None if figure is None else describe(figure)

    def _bad(self, row: ManifestRow, column: str, found: str, expected: str) -> BadInput:
        return BadInput(self.manifest, f"row {row.line}, column {column}", found, expected)

    def _clip(self, row: ManifestRow, frames: int) -> slice:
        """The frames of the take."""
        first = round((row.start_s or 0.0) * FPS)
        last = frames if row.end_s is None else round(row.end_s * FPS)
        recorded = f"{row.path} lasts {motion_s(frames):.2f} s"
        # The last frame of a recording stands for the time until the one that is not there.
        if last > frames + 1:
            expected = f"at most its length: {recorded}"
            raise self._bad(row, "end_s", f"{row.end_s:g}", expected)
        last = min(last, frames)
        if last - first < 2:
            column = "start_s" if row.start_s else "path"
            found = f"{max(0, last - first)} frames from {row.start_s or 0:g} s on"
            raise self._bad(row, column, found, f"at least 2 frames ({recorded})")
        return slice(first, last)

    def _audio(self, corpus: CorpusFolder, row: ManifestRow, clip: slice) -> bytes | None:
        """The sound of the clip; of a whole recording also what follows the motion."""
        if row.audio is None:
            return None
        audio = _read_sound(self.root, row.audio, corpus.stamp(row.audio))
        if audio is None:
            found = f"{row.audio!r}, which does not exist"
            raise self._bad(row, "audio", found, "an audio file, or nothing")
        samples = samples_of_frames(clip.start, clip.stop)
        stop = None if row.end_s is None else 2 * samples.stop
        cut = audio[2 * samples.start : stop]
        if not cut:
            expected = f"sound beyond {motion_s(clip.start):.2f} s, where the clip starts"
            raise BadInput(row.audio, "duration", f"{audio_s(audio):.2f} s", expected)
        return cut

    def _words(
        self, corpus: CorpusFolder, row: ManifestRow, clip: slice, recorded_s: float
    ) -> list[Word] | None:
        """Timed words from their file, else the words of the text without times."""
        if row.textgrid is None:
            return words_of_text(row.text) or None
        words = read_words(corpus, row.textgrid, recorded_s)
        if words is None:
            found = f"{row.textgrid!r}, which does not exist"
            raise self._bad(row, "textgrid", found, "a TextGrid or JSON of words, or nothing")
        if row.start_s is None and row.end_s is None:
            return words
        if not all(word.start_s is not None for word in words):
            if row.text:
                return words_of_text(row.text)
            expected = "words with times, or the text of the clip in the column text"
            raise self._bad(
                row, "textgrid", f"{row.textgrid!r}, whose words have no times", expected
            )
        start, end = motion_s(clip.start), motion_s(clip.stop)
        return [
            Word(word.word, max(word.start_s - start, 0.0), min(word.end_s, end) - start)
            for word in words
            if word.start_s is not None
            and word.end_s is not None
            and start <= (word.start_s + word.end_s) / 2 < end
        ]

    def _semantics(
        self, corpus: CorpusFolder, row: ManifestRow, clip: slice
    ) -> list[SemanticLabel] | None:
        """Labels from a file in BEAT2's format, or the one label of the clip."""
        if row.semantics is None:
            return None
        start, end = motion_s(clip.start), motion_s(clip.stop)
        if not _names_labels(row):
            return [SemanticLabel(row.semantics, 0.0, end - start)]
        text = read_text(corpus, row.semantics)
        if text is None:
            found = f"{row.semantics!r}, which does not exist"
            raise self._bad(row, "semantics", found, "a file of labels, or one label")
        return [
            SemanticLabel(
                label.label,
                max(label.start_s - start, 0.0),
                min(label.end_s, end) - start,
                label.score,
                label.keywords,
            )
            for label in parse_semantics(text, row.semantics)
            if label.end_s > start and label.start_s < end
        ]


def _names_labels(row: ManifestRow) -> bool:
    """Whether `semantics` names a file rather than a label."""
    return row.semantics is not None and row.semantics.endswith(_LABEL_FILES)


# Takes of one file are read one after the other; two, since shards begin and end within one.
@lru_cache(maxsize=2)
def _read_motion(root: str, path: str, stamp: Hashable, skeleton: str) -> Retargeted:
    """The whole recording at 30 frames a second; another stamp is another file."""
    stream = open_corpus(root).open(path)
    if stream is None:
        raise BadInput(path, "file", "none", "a BVH file")
    with stream:
        bvh = parse_bvh(stream, path)
    seconds = bvh.num_frames / bvh.fps
    if seconds > LONGEST_RECORDING_S:
        raise BadInput(path, "Frames", f"{seconds:.0f} s", f"at most {LONGEST_RECORDING_S} s")
    motion = retarget(bvh, SkeletonMap.model_validate_json(skeleton), path, FPS)
    for values in (motion.poses, motion.trans):
        values.flags.writeable = False
    return motion


@lru_cache(maxsize=2)
def _read_sound(root: str, path: str, stamp: Hashable) -> bytes | None:
    return read_audio(open_corpus(root), path)


def _extra(row: ManifestRow, figure: Figure, start_s: float) -> dict[str, Any]:
    return {
        "recording": row.path,
        "recording_start_s": start_s,
        "text": row.text,
        "figure": _figure_values(figure),
    }


def _figure_values(figure: Figure) -> dict[str, Any]:
    return {
        "joints": int((figure.match.sources >= 0).sum()),
        "at_rest": list(figure.match.at_rest),
        "absorbed": list(figure.match.absorbed),
        "dropped": list(figure.match.dropped),
        "up": figure.up,
        "units": figure.unit_name,
        "detected": list(figure.detected),
    }


def inspect_file(path: Path, skeleton: str) -> dict[str, Any]:
    """How a skeleton map reads one BVH file, for people.

    Raises:
        UserError: there is no such file or map, or the file does not fit it.
    """
    skeleton_map = load_map(skeleton)
    if not path.is_file():
        raise UserError(f"{path}: found no such file, expected a BVH file")
    with path.open("rb") as stream:
        bvh = parse_bvh(stream, str(path))
    figure = inspect_figure(bvh, skeleton_map, str(path))
    sources = enumerate(figure.match.sources)
    return {
        "frames": bvh.num_frames,
        "fps": bvh.fps,
        "seconds": bvh.num_frames / bvh.fps,
        **_figure_values(figure),
        "size": round(figure.size, 4),
        "mapped": {JOINT_NAMES[j]: bvh.joints[b].name for j, b in sources if b >= 0},
    }


def describe(figure: dict[str, Any]) -> str:
    """What was found of a figure, as a sentence for people."""
    found = [
        f"{name} {figure[name]} ({'detected' if name in figure['detected'] else 'stated'})"
        for name in ("up", "units")
    ]
    parts = [f"{figure['joints']} of 55 joints moved; {', '.join(found)}"]
    for key, title in (
        ("at_rest", "SMPL-X joints at rest"),
        ("absorbed", "unmapped joints carried by the next joint out"),
        ("dropped", "unmapped joints left out"),
    ):
        if figure[key]:
            parts.append(f"{title}: {', '.join(figure[key])}")
    return "; ".join(parts)
