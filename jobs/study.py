"""Preference studies, made of what two methods did.

A study's artifact holds the motion of both methods, turned alike, and what is heard.
Answers lie beside it (`serving.study.desk`), and `jobs.study_report` tells what they come to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
from pydantic import Field, field_validator

from gestray.artifacts import (
    MANIFEST,
    Artifact,
    Stage,
    StageResult,
    StageRun,
    open_artifact,
    provenance,
)
from gestray.config import Config
from gestray.corpora.take import FPS, Take
from gestray.errors import UserError, shorten
from gestray.speech.audio import sample_at
from gestray.store import Folder
from jobs.display import progress
from serving.library import Model, load_model
from serving.recordings import pack_turns, wav_file
from serving.study.desk import MEDIA, PLAN, audio_name, media_name
from serving.study.plan import NEEDS_AUDIO, QUESTIONS, Pair, Plan, Word

_INTRO = (
    "You will see pairs of figures that gesture while they speak. Watch both to their end, with "
    "sound, then say which is better. There are no wrong answers, but now and then a pair asks "
    "for a certain answer, to see that it was watched. Your answers are kept without your name."
)
_THANKS = "Thank you! That was all; you may close this page."
# Speech of two methods is the same where its length differs by no more, seconds.
_SAME_SPEECH_S = 0.1


class StudyConfig(Config):
    """What `gestray study create` makes.

    Args:
        names: of the two methods.
        sources: where their motion is: a folder of npz files with speech and words beside them,
            an artifact of takes, or an index, which answers `texts`.
        texts: words that two indexes are searched with.
        questions: name → question, or names of the known ones; None asks all that can be.
        pairs: how many there are, drawn by `seed`; 0 takes all that both methods have.
        pairs_each: how many of them one participant sees; 0 for all.
        checks: attention checks each.
        ties: a participant may say that there is no difference.
        longest_s: longer motion is cut, seconds.
        participants: how many links there are.
    """

    EXECUTION: ClassVar[frozenset[str]] = frozenset({"sources"})

    names: tuple[str, str]
    sources: tuple[str, str]
    texts: tuple[str, ...] = ()
    questions: dict[str, str] | None = None
    pairs: int = Field(20, ge=0)
    pairs_each: int = Field(0, ge=0)
    checks: int = Field(2, ge=0, le=20)
    ties: bool = False
    longest_s: float = Field(20.0, gt=0)
    participants: int = Field(100, ge=1, le=100_000)
    seed: int = Field(0, ge=0)
    title: str = "Which gestures are better?"
    intro: str = _INTRO
    thanks: str = _THANKS

    @field_validator("names")
    @classmethod
    def _differ(cls, names: tuple[str, str]) -> tuple[str, str]:
        if names[0] == names[1]:
            raise ValueError("two methods need two names")
        return names


@dataclass(frozen=True, eq=False)
class Shown:
    """What one method did: poses (T, 165), and what is said and heard with them."""

    poses: np.ndarray
    text: str
    words: tuple[Word, ...]
    audio: bytes | None


class Source(Protocol):
    """Where the motion of a method comes from."""

    synthetic: bool

    def keys(self) -> list[str]:
        """What it has, by the name that the other method knows it by as well."""

    def identity(self, keys: Sequence[str]) -> Any:
        """What tells its content from any other."""

    def read(self, key: str) -> Shown:
        """One of them."""


class FolderSource:
    """A folder of npz files, speech and words beside them (docs/ingest.md)."""

    synthetic = False

    def __init__(self, uri: str) -> None:
        from gestray.corpora.smplx_folder import SmplxSource

        self._source = SmplxSource(uri, fps=FPS)
        self._folder = Folder(uri)
        self._entries = {entry.take_id: entry for entry in self._source.list_takes().entries}

    def keys(self) -> list[str]:
        return list(self._entries)

    def identity(self, keys: Sequence[str]) -> Any:
        found = []
        for key in keys:
            name, sidecars = self._entries[key].detail
            for file in (name, *sidecars.values()):
                content = self._folder.read_bytes(*file.split("/"))
                found.append([file, hashlib.sha256(content).hexdigest()])
        return found

    def read(self, key: str) -> Shown:
        return _of_take(self._source.read_take(self._entries[key]))


class TakesSource:
    """An artifact of takes, by their ids."""

    def __init__(self, takes: Artifact) -> None:
        from gestray.views.catalog import read_catalog

        self._takes = takes
        self.synthetic = bool(takes.manifest.metrics.get("synthetic"))
        self._refs = {ref.take_id: ref for ref in read_catalog(takes.folder) if ref.num_frames}

    def keys(self) -> list[str]:
        return list(self._refs)

    def identity(self, keys: Sequence[str]) -> Any:
        return self._takes.manifest.identity

    def read(self, key: str) -> Shown:
        from gestray.corpora.take import TAKE_SCHEMA
        from gestray.views.catalog import read_columns

        return _of_take(
            Take.from_row(read_columns(self._takes.folder, self._refs[key], TAKE_SCHEMA.names))
        )


class IndexSource:
    """The best answer of an index to each text; nothing is heard, for it was said of another."""

    def __init__(self, index: Artifact, texts: Sequence[str]) -> None:
        self._index, self._texts = index, list(texts)
        made = {artifact.manifest.kind: artifact for artifact in provenance(index)}
        self.synthetic = bool(made["takes"].manifest.metrics.get("synthetic"))

    def keys(self) -> list[str]:
        return self._texts

    def identity(self, keys: Sequence[str]) -> Any:
        return self._index.manifest.identity

    @cached_property
    def _model(self) -> Model:
        return load_model(self._index.manifest.name, self._index.uri)

    def read(self, key: str) -> Shown:
        [[hit]] = self._model.gestures.search(self._model.embed_texts([key]), 1)
        found = self._model.recordings.poses(hit.take_id, hit.start_s, hit.end_s)
        assert found is not None, "phrases have motion"
        words = tuple(Word(word=word, start_s=None, end_s=None) for word in key.split())
        return Shown(found[0], key, words, None)


def open_source(uri: str, texts: Sequence[str]) -> Source:
    """The source that a URI names.

    Raises:
        UserError: it is none, or texts are missing or of no use.
    """
    folder = Folder(uri)
    if not folder.exists(MANIFEST):
        if texts:
            raise UserError(f"{uri}: texts are for indexes, but this is a folder of motion")
        return FolderSource(uri)
    artifact = open_artifact(folder)
    if artifact.manifest.kind == "takes":
        return TakesSource(artifact)
    if artifact.manifest.kind == "index":
        if not texts:
            raise UserError(f"{uri}: an index answers texts: give --texts, a file of one a line")
        return IndexSource(artifact, texts)
    raise UserError(
        f"{uri}: found an artifact of kind {artifact.manifest.kind}, expected takes, an index, or "
        "a folder of npz files"
    )


def _create(run: StageRun[StudyConfig]) -> StageResult:
    config = run.config
    sources = [open_source(uri, config.texts) for uri in config.sources]
    keys = shared_keys(config, sources)
    pairs = []
    with progress("study", len(keys)) as track:
        for number, key in enumerate(keys):
            pairs.append(_write_pair(run.folder, number, key, sources, config))
            track(number + 1)
    questions = _questions(config, pairs)
    plan = Plan(
        methods=config.names,
        questions=questions,
        pairs=tuple(pairs),
        pairs_each=config.pairs_each or len(pairs),
        checks=config.checks,
        ties=config.ties,
        participants=config.participants,
        seed=config.seed,
        title=config.title,
        intro=config.intro,
        thanks=config.thanks,
        synthetic=any(source.synthetic for source in sources),
    )
    run.folder.write_bytes(plan.model_dump_json(indent=1).encode(), PLAN)
    metrics = {
        "pairs": len(pairs),
        "questions": list(questions),
        "participants": plan.participants,
        "synthetic": plan.synthetic,
    }
    return StageResult(len(keys), len(pairs), 0, metrics)


def shared_keys(config: StudyConfig, sources: Sequence[Source]) -> list[str]:
    """What both methods have and the study shows.

    Raises:
        UserError: it is nothing, or fewer than was asked for.
    """
    mine, theirs = (dict.fromkeys(source.keys()) for source in sources)
    shared = [key for key in mine if key in theirs]
    if not shared:
        first, second = (shorten(", ".join(keys)) or "nothing" for keys in (mine, theirs))
        raise UserError(
            f"the methods have nothing in common: {config.names[0]} has {first}, "
            f"{config.names[1]} has {second}; give motion of the same speech the same names"
        )
    if not config.pairs or config.pairs == len(shared):
        return shared
    if config.pairs > len(shared):
        raise UserError(
            f"pairs: found {len(shared)} that both methods have, expected {config.pairs}; say "
            "pairs=0 for all that there are"
        )
    drawn = np.random.default_rng(config.seed).choice(len(shared), config.pairs, replace=False)
    return [shared[place] for place in sorted(drawn)]


def _write_pair(
    folder: Folder, number: int, key: str, sources: Sequence[Source], config: StudyConfig
) -> Pair:
    first, second = (source.read(key) for source in sources)
    audio = _same_speech(key, first.audio, second.audio)
    longest = round(config.longest_s * FPS)
    frames = [min(len(shown.poses), longest) for shown in (first, second)]
    if audio is not None:
        # Of the same speech, and a longer one would tell its method.
        frames = [min(frames)] * 2
    for method, shown in enumerate((first, second)):
        poses = np.ascontiguousarray(shown.poses[: frames[method]], np.float32)
        folder.write_bytes(pack_turns(poses, FPS), MEDIA, media_name(number, method))
    seconds = (frames[0] / FPS, frames[1] / FPS)
    if audio is not None:
        folder.write_bytes(
            wav_file(audio[: 2 * sample_at(max(seconds))]), MEDIA, audio_name(number)
        )
    said = first if first.text else second
    words = tuple(
        word for word in said.words if word.start_s is None or word.start_s < max(seconds)
    )
    text = " ".join(word.word for word in words) or said.text
    return Pair(key=key, text=text, words=words, seconds=seconds, has_audio=audio is not None)


def _same_speech(key: str, first: bytes | None, second: bytes | None) -> bytes | None:
    """What is heard with a pair: it must be of both."""
    from gestray.speech.audio import SAMPLE_RATE

    if first is None or second is None:
        return first or second
    found = [len(audio) / (2 * SAMPLE_RATE) for audio in (first, second)]
    if abs(found[0] - found[1]) > _SAME_SPEECH_S:
        raise UserError(
            f"{key}: the methods' speech is {found[0]:.2f} s and {found[1]:.2f} s long; a study "
            "compares motion for the same speech"
        )
    return first


def _questions(config: StudyConfig, pairs: Sequence[Pair]) -> dict[str, str]:
    heard = all(pair.has_audio for pair in pairs)
    if config.questions is None:
        return {name: QUESTIONS[name] for name in QUESTIONS if heard or name not in NEEDS_AUDIO}
    if silent := NEEDS_AUDIO & config.questions.keys() if not heard else ():
        raise UserError(
            f"questions: {', '.join(silent)} cannot be asked, since some pairs have no speech"
        )
    return dict(config.questions)


def _of_take(take: Take) -> Shown:
    if take.poses is None:
        raise UserError(f"{take.take_id}: this take has no motion to show")
    words = tuple(
        Word(word=word.word, start_s=word.start_s, end_s=word.end_s) for word in take.words or ()
    )
    return Shown(take.poses, " ".join(word.word for word in words), words, take.audio)


def _fingerprint(config: StudyConfig) -> Any:
    sources = [open_source(uri, config.texts) for uri in config.sources]
    keys = shared_keys(config, sources)
    return [source.identity(keys) for source in sources]


CREATE = Stage(
    name="study.create",
    makes="study",
    config_type=StudyConfig,
    run=_create,
    fingerprint=_fingerprint,
)
