"""BEAT2 (Liu et al., EMAGE, CVPR 2024) and corpora laid out like it, as takes.

A take is up to six files of one name, one in each folder of `PARTS`. A
*missing* file is a part the take does not have; a *damaged* one quarantines
the whole take (`BadInput`), for a model should not learn from the rest of a
recording whose one part has gone wrong. The files of synthetic corpora
carry gold descriptions besides, in ``gold/``.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from gestray.corpora.folder import CorpusFolder, open_corpus, read_unchanged
from gestray.corpora.labels import parse_emotion, parse_gold, parse_semantics
from gestray.corpora.npz import read_arrays
from gestray.corpora.parts import (
    MAX_TEXT_BYTES,
    as_float32,
    as_text,
    audio_s,
    check_audio,
    frame_rate,
    motion_s,
    read_audio,
    read_text,
    read_words,
)
from gestray.corpora.source import Listing, TakeEntry
from gestray.corpora.splits import SPLITS, parse_split, split_of
from gestray.corpora.take import (
    FPS,
    NUM_JOINTS,
    Take,
    check_betas,
    check_motion,
    check_take_id,
)
from gestray.errors import BadInput, UserError
from gestray.speech.audio import LONGEST_RECORDING_S

SPLIT_FILE = "train_test_split.csv"

#: Folder and suffix of each part of a take.
PARTS = {
    "motion": ("smplxflame_30", ".npz"),
    "audio": ("wave16k", ".wav"),
    "words": ("textgrid", ".TextGrid"),
    "semantics": ("sem", ".txt"),
    "emotion": ("emo", ".csv"),
    "gold": ("gold", ".json"),
}

# The third part of a take id is the kind of recording: 0 monologue and 1
# conversation in English, 2 and 3 in Chinese, and so on, as the corpus's author
# explains in https://github.com/PantoMatrix/PantoMatrix/issues/13.
_LANGUAGES = ("english", "chinese", "spanish", "japanese")
_ID = re.compile(r"(?P<speaker_id>\d{1,9})_(?P<speaker>[^_]+)_(?P<kind>[0-7])_\d+_\d+")
_LANGUAGE_FOLDER = re.compile(r"beat_(?P<language>[a-z]+)_v[\d.]+")


@dataclass(frozen=True)
class Beat2Listing:
    """What a corpus holds, before any take is read.

    Attributes:
        take_ids: takes with at least one file, in order.
        absent: ids of the split file without any file.
        unlisted: takes with files that the split file does not name; their
            split is ``additional``, so that they neither train nor test unasked.
        quarantined: ids that are no take ids, with what is wrong; never opened.
        splits: split of each of `take_ids`.
        folders: language folder of each of `take_ids`; "" where the root is one.
    """

    take_ids: tuple[str, ...]
    absent: tuple[str, ...]
    unlisted: tuple[str, ...]
    quarantined: dict[str, BadInput]
    splits: dict[str, str]
    folders: dict[str, str]


def list_takes(root: str | Path) -> Beat2Listing:
    """Takes of the corpus at `root`, without reading them.

    Args:
        root: a language folder (``beat_english_v2.0.0``), or the folder that
            holds several of them; a local path or an ``s3://`` URI.

    Raises:
        UserError: no such layout; a damaged split file or one that names an
            id twice; or one take id in two language folders.
    """
    corpus = open_corpus(root)
    quarantined: dict[str, BadInput] = {}
    home: dict[str, str] = {}
    splits: dict[str, str] = {}
    absent: list[str] = []
    unlisted: list[str] = []
    for folder in _language_folders(corpus):
        listed = _read_splits(corpus, folder)
        with_files = _ids_with_files(corpus, folder)
        for take_id in sorted(with_files | (listed or {}).keys()):
            try:
                check_take_id(take_id)
            except BadInput as error:
                quarantined[take_id] = error
                continue
            if take_id not in with_files:
                absent.append(take_id)
                continue
            if take_id in home:
                raise UserError(
                    f"{corpus}: found take {take_id} in {home[take_id]} and in {folder}, "
                    "expected each id in one language folder; rename or remove one"
                )
            home[take_id] = folder
            splits[take_id] = _split_in(listed, take_id)
            if listed is not None and take_id not in listed:
                unlisted.append(take_id)
    return Beat2Listing(
        take_ids=tuple(splits),
        absent=tuple(id for id in absent if id not in home),
        unlisted=tuple(unlisted),
        quarantined=quarantined,
        splits=splits,
        folders=home,
    )


def read_take(
    root: str | Path, take_id: str, split_override: str | None = None, folder: str | None = None
) -> Take:
    """One take of the corpus at `root`, whole and checked.

    Args:
        root: as for `list_takes`.
        take_id: one of its `Beat2Listing.take_ids`.
        split_override: ``time:F``, or a name of `SPLITS` (as from
            `Beat2Listing.splits`, which spares reading the split file again);
            None takes the corpus's own.
        folder: its language folder, as from `Beat2Listing.folders`; None looks for it.

    Raises:
        BadInput: a part is damaged; the file and the field are named.
        UserError: no such layout, or `split_override` is not a split.
    """
    check_take_id(take_id)
    if split_override not in SPLITS:
        parse_split(split_override)
    corpus = open_corpus(root)
    if folder is None:
        folder = _find(corpus, take_id)
    files = _files(folder, take_id)
    split = split_override or _split_in(_read_splits(corpus, folder), take_id)

    def read() -> Take:
        take = Take(take_id, split)
        take.speaker_id, take.speaker, take.language = _parse_id(take_id, folder or corpus.name)
        _read_parts(corpus, files, take)
        take.validate()
        return take

    return read_unchanged(corpus, files.values(), read)


def _read_parts(corpus: CorpusFolder, files: Mapping[str, str], take: Take) -> None:
    """Fill in every part that has a file."""
    _read_motion(corpus, files["motion"], take)
    take.audio = read_audio(corpus, files["audio"])
    if take.audio is not None:
        check_audio(files["audio"], take.audio, motion_s(take.num_frames))
    recorded_s = max(motion_s(take.num_frames), audio_s(take.audio))
    take.words = read_words(corpus, files["words"], recorded_s)
    if (text := read_text(corpus, files["semantics"])) is not None:
        take.semantics = parse_semantics(text, files["semantics"])
    if (text := read_text(corpus, files["emotion"])) is not None:
        take.emotion = parse_emotion(text, files["emotion"])
    if (data := corpus.read(files["gold"], MAX_TEXT_BYTES)) is not None:
        take.gold = parse_gold(data, files["gold"])


@dataclass(frozen=True)
class Beat2Source:
    """A corpus in BEAT2's layout, as ingest reads it.

    Args:
        root: as for `list_takes`.
        split: ``time:F``, or None for the corpus's own.
    """

    root: str
    split: str | None = None

    def list_takes(self) -> Listing:
        split = parse_split(self.split)
        listing = list_takes(self.root)
        sizes = dict.fromkeys(listing.take_ids, 1)
        for file in open_corpus(self.root).files():
            stem = PurePosixPath(file.name).stem
            if stem in sizes:
                sizes[stem] += file.size
        entries = tuple(
            TakeEntry(
                take_id,
                split or listing.splits[take_id],
                sizes[take_id],
                detail=listing.folders[take_id],
            )
            for take_id in listing.take_ids
        )
        return Listing(
            entries, tuple(listing.quarantined.items()), listing.absent, listing.unlisted
        )

    def read_take(self, entry: TakeEntry) -> Take:
        return read_take(self.root, entry.take_id, entry.split, entry.detail)

    def remark(self, take: Take) -> str | None:
        return None


# --- layout ---------------------------------------------------------------


def _language_folders(corpus: CorpusFolder) -> list[str]:
    """Folders that hold takes, relative to the root; [""] when the root is one."""
    marks = {folder for folder, _ in PARTS.values()} | {SPLIT_FILE}
    entries = corpus.list()
    if marks & set(entries):
        return [""]
    folders = [
        entry
        for entry in entries
        if _LANGUAGE_FOLDER.fullmatch(entry) and marks & set(corpus.list(entry))
    ]
    if not folders:
        raise UserError(
            f"{corpus}: found no BEAT2 layout, expected the folders "
            f"{', '.join(folder for folder, _ in PARTS.values())} (those that exist), "
            "or language folders such as beat_english_v2.0.0 that hold them"
        )
    return folders


def _files(folder: str, take_id: str) -> dict[str, str]:
    """Name of each part's file, relative to the root."""
    prefix = f"{folder}/" if folder else ""
    return {part: f"{prefix}{place}/{take_id}{suffix}" for part, (place, suffix) in PARTS.items()}


def _ids_with_files(corpus: CorpusFolder, folder: str) -> set[str]:
    return {
        name.removesuffix(suffix)
        for place, suffix in PARTS.values()
        for name in corpus.list(f"{folder}/{place}" if folder else place)
        if name.endswith(suffix)
    }


def _find(corpus: CorpusFolder, take_id: str) -> str:
    for folder in _language_folders(corpus):
        if any(corpus.exists(file) for file in _files(folder, take_id).values()):
            return folder
    raise BadInput(take_id, "files", "none in this corpus", "at least one part")


def _parse_id(take_id: str, folder: str) -> tuple[int | None, str | None, str | None]:
    """Speaker number, speaker name and language; None where the names do not say."""
    in_folder = _LANGUAGE_FOLDER.fullmatch(folder)
    language = in_folder["language"] if in_folder else None
    match = _ID.fullmatch(take_id)
    if match is None:
        return None, None, language
    of_id = _LANGUAGES[int(match["kind"]) // 2]
    return int(match["speaker_id"]), match["speaker"], language or of_id


def _read_splits(corpus: CorpusFolder, folder: str) -> dict[str, str] | None:
    """Split of each id in the split file, or None when there is no such file."""
    file = f"{folder}/{SPLIT_FILE}" if folder else SPLIT_FILE
    text = read_text(corpus, file)
    if text is None:
        return None
    splits: dict[str, str] = {}
    row_of: dict[str, int] = {}
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise UserError(f"{file}: found broken CSV ({error}), expected rows 'id,type'") from None
    rows = [(line, row) for line, row in rows if any(row)]
    if not rows or rows[0][1][:2] != ["id", "type"]:
        found = ",".join(rows[0][1])[:80] if rows else "an empty file"
        raise UserError(f"{file}: row 1: found {found!r}, expected the header 'id,type'")
    for line, row in rows[1:]:
        if len(row) < 2 or row[1] not in SPLITS:
            raise UserError(
                f"{file}: row {line}: found {','.join(row)[:80]!r}, "
                f"expected an id and one of {', '.join(SPLITS)}"
            )
        if row[0] in splits:
            raise UserError(
                f"{file}: found id {row[0][:140]!r} in rows {row_of[row[0]]} and {line}, "
                "expected each id once; remove one"
            )
        splits[row[0]], row_of[row[0]] = row[1], line
    return splits


def _split_in(listed: dict[str, str] | None, take_id: str) -> str:
    return split_of(take_id) if listed is None else listed.get(take_id, "additional")


# --- parts ----------------------------------------------------------------


def _read_motion(corpus: CorpusFolder, file: str, take: Take) -> None:
    """Fill in poses, trans, expressions and betas, at 30 frames a second."""
    stream = corpus.open(file)
    if stream is None:
        return
    with stream:
        arrays = read_arrays(
            stream,
            file,
            ("poses", "trans", "expressions", "betas", "mocap_frame_rate", "model", "gender"),
        )
    if "poses" not in arrays:
        raise BadInput(file, "poses", "no such array", "axis-angle (frames, 165)")
    poses, trans, expressions, betas = (
        as_float32(file, name, arrays[name]) if name in arrays else None for name in _MOTION
    )
    assert poses is not None
    check_motion(file, poses, trans, expressions)
    if betas is not None:
        check_betas(file, betas)
    fps = FPS  # of the folder's name, where the file does not say
    if "mocap_frame_rate" in arrays:
        fps = frame_rate(file, "mocap_frame_rate", arrays["mocap_frame_rate"])
    if len(poses) / fps > LONGEST_RECORDING_S:
        found = f"{len(poses) / fps:.0f} s ({len(poses)} frames at {fps:g} a second)"
        raise BadInput(file, "poses", found, f"at most {LONGEST_RECORDING_S} s")
    if fps != FPS:
        from gestray.motion.rotations import resample_axis_angle, resample_linear

        poses = resample_axis_angle(poses, fps, FPS)
        trans = None if trans is None else resample_linear(trans, fps, FPS)
        expressions = None if expressions is None else resample_linear(expressions, fps, FPS)
        check_motion(file, poses, trans, expressions)
    take.poses, take.trans, take.expressions, take.betas = poses, trans, expressions, betas
    take.joint_mask = np.ones(NUM_JOINTS, dtype=np.bool_)
    texts = {name: as_text(arrays.get(name)) for name in ("model", "gender")}
    take.extra = {name: text for name, text in texts.items() if text is not None} or None


_MOTION = ("poses", "trans", "expressions", "betas")
