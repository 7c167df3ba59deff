"""What evaluations of generation score: recordings of a split, and motions beside them.

Reference rows (what was recorded, a mean pose, a random training take) and other people's rows
(folders of npz) are made here; `generate_scores.py` adds those of generators.
"""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from pydantic import Field

from gestray.config import Config
from gestray.corpora.folder import open_corpus
from gestray.corpora.motion_file import read_motion_file
from gestray.corpora.take import FPS, NUM_BETAS, motion_from_column
from gestray.errors import UserError
from gestray.form import GesturePhases, PhysicalForm
from gestray.generators.contract import Speech
from gestray.generators.windows import meaning_of
from gestray.metrics.fgd import Moments, MotionAutoencoder, frechet_distances
from gestray.metrics.generation import published
from gestray.metrics.generation.figures import Part, draws, interval, mean
from gestray.metrics.generation.measure import Moved, Spoken, mean_joint_speeds, measure
from gestray.metrics.promises import Promise, kept
from gestray.speech.audio import SAMPLE_RATE, pcm16_to_float
from gestray.speech.words import Word
from gestray.store import Folder
from gestray.views.catalog import TakeRef, read_catalog, read_columns
from jobs.display import remarks
from jobs.generation_encoder import EncoderJudge

# Training takes whose joints' mean speed is that of the corpus.
_SPEED_TAKES = 64


class BeatConfig(Config):
    """Settings of published beat consistency; papers compare only where all are the same.

    Args:
        trim: frames left out at either end: 60 in EMAGE and SemTalk, 10 in RAG-Gesture.
        threshold: of relative speed: 0.3 in older code, 0.1 in newer.
    """

    trim: int = Field(60, ge=0)
    threshold: float = Field(0.3, ge=0)


class MetricsConfig(Config):
    """How motion is scored.

    Args:
        split: whose recordings it is compared with.
        motions: rows by name: folders of npz in BEAT2's format, a file a take, whose name holds
            the take's id (``res_2_scott_0_1_1.npz``), as EMAGE, SemTalk and others write.
        smplx_model: the user's SMPL-X model (.npz): joints and faces of each speaker's own
            shape. None: gestray's skeleton, and no MSE and LVD.
        beats: of the published mode.
        resamples: bootstrap draws of takes for an interval; 0: no intervals.
        margin_s: motion before and after a gold gesture that is described with it.
    """

    split: str = "test"
    motions: dict[str, str] = Field(default_factory=dict)
    smplx_model: str | None = None
    beats: BeatConfig = BeatConfig()
    resamples: int = Field(200, ge=0)
    margin_s: float = Field(0.2, ge=0)


class Corpus:
    """Takes of the split and of training, as far as figures need them."""

    def __init__(self, takes: Folder, config: MetricsConfig) -> None:
        self.takes, self.config = takes, config
        catalog = [ref for ref in read_catalog(takes) if ref.num_frames]
        self.tested = [ref for ref in catalog if ref.split == config.split]
        self.trained = [ref for ref in catalog if ref.split == "train"]
        if not self.tested:
            raise UserError(f"{takes.uri}: found no take of the split {config.split!r} with motion")
        columns = ["poses", "trans", "expressions", "betas", "audio", "gold", "semantics"]
        rows = [self._read(ref, columns) for ref in self.tested]
        self.recorded = [_moved(row) for row in rows]
        self.spoken = self._spoken(rows)
        self.golds = [_golds(row) for row in rows]
        self.means = [
            meaning_of(row, len(moved.poses))[:, 1]
            for row, moved in zip(rows, self.recorded, strict=True)
        ]
        self.known = [
            promise for ref in self.trained for promise, _ in _golds(self._read(ref, ["gold"]))
        ]
        of_corpus = self.trained or self.tested
        some = of_corpus[:: max(1, len(of_corpus) // _SPEED_TAKES)]
        self.mean_speeds = mean_joint_speeds(_poses(self._read(ref, ["poses"])) for ref in some)

    def _read(self, ref: TakeRef, columns: Sequence[str]) -> Any:
        return read_columns(self.takes, ref, columns)

    @cached_property
    def speech(self) -> list[Speech]:
        """What generators move for, exactly as long as the recorded motion."""
        return [_speech(ref, spoken) for ref, spoken in zip(self.tested, self.spoken, strict=True)]

    def _spoken(self, rows: Sequence[Any]) -> list[Spoken]:
        model = None
        if self.config.smplx_model is not None:
            from gestray.motion.smplx_body import SmplxModel

            model = SmplxModel.load(self.config.smplx_model)
        found = []
        for row, moved in zip(rows, self.recorded, strict=True):
            audio = row["audio"][0].as_buffer()
            offsets = face = None
            if model is not None:
                import torch

                from gestray.metrics.generation.face import Face

                betas = row["betas"][0].as_py() or [0.0] * NUM_BETAS
                shape = torch.tensor(betas, dtype=torch.float32)
                offsets, face = model.rest_offsets(shape).numpy(), Face(model, shape)
            meant = meaning_of(row, len(moved.poses))[:, 0]
            found.append(
                Spoken(
                    moved,
                    None if audio is None else pcm16_to_float(memoryview(audio)),
                    meant if (meant >= 0).all() else None,
                    offsets,
                    face,
                )
            )
        return found

    def mean_pose(self) -> list[Moved]:
        """The mean of training poses, held."""
        self._check_trained()
        some = self.trained[:: max(1, len(self.trained) // 32)]
        held = np.mean([_poses(self._read(ref, ["poses"])).mean(0) for ref in some], axis=0)
        return [Moved(np.tile(held.astype(np.float32), (len(m.poses), 1))) for m in self.recorded]

    def random_clips(self, seed: int) -> list[Moved]:
        """For each take the motion of a random training take, over and over.

        Together they are recordings that know nothing of the speech: their FGD is what chance
        leaves between two sets of takes, and no generator comes below it but by chance.
        """
        found = []
        for ref, moved in zip(self.tested, self.recorded, strict=True):
            rng = np.random.default_rng([seed, zlib.crc32(ref.take_id.encode())])
            found.append(Moved(np.resize(self._random_take(rng), moved.poses.shape)))
        return found

    def one_clip(self, seed: int) -> list[Moved]:
        """For all takes the motion of one random training take, over and over."""
        clip = self._random_take(np.random.default_rng(seed))
        return [Moved(np.resize(clip, moved.poses.shape)) for moved in self.recorded]

    def _random_take(self, rng: np.random.Generator) -> np.ndarray:
        self._check_trained()
        return _poses(self._read(self.trained[rng.integers(len(self.trained))], ["poses"]))

    def _check_trained(self) -> None:
        if not self.trained:
            raise UserError(f"{self.takes.uri}: found no take of the split 'train' with motion")

    def motions_of(self, name: str, folder: str) -> list[Moved | None]:
        """Motion for each take from a folder of npz; None where it has none.

        Raises:
            UserError: no file's name holds the id of a take of the split, or two do.
        """
        files = [f.name for f in open_corpus(folder).files() if f.name.endswith(".npz")]
        found: list[Moved | None] = []
        for ref in self.tested:
            mine = [file for file in files if _is_of(file, ref.take_id)]
            if len(mine) > 1:
                raise UserError(f"{folder}: found {mine[0]} and {mine[1]} for take {ref.take_id}")
            take = read_motion_file(f"{folder.rstrip('/')}/{mine[0]}") if mine else None
            if take is None or take.poses is None:
                found.append(None)
            else:
                found.append(Moved(take.poses, take.trans, take.expressions))
        lacking = [r.take_id for r, m in zip(self.tested, found, strict=True) if m is None]
        if len(lacking) == len(found):
            raise UserError(
                f"{folder}: found {len(files)} npz files, none whose name holds the id of a take "
                f"of the split {self.config.split!r}, such as {lacking[0]}"
            )
        if lacking:
            shown = ", ".join(lacking[:3]) + (", …" if len(lacking) > 3 else "")
            remarks.print(
                f"{name}: no motion for {len(lacking)} of {len(found)} takes ({shown}); the row is "
                "over the others",
                markup=False,
            )
        return found


def fingerprint(config: MetricsConfig) -> Any:
    """What folders of motion hold, since they lie outside the store."""
    return {
        name: [(file.name, file.size) for file in open_corpus(folder).files()]
        for name, folder in sorted(config.motions.items())
    }


def _is_of(file: str, take_id: str) -> bool:
    """Whether a file's name is a take's id, with any prefix or suffix that keeps it whole."""
    stem = PurePosixPath(file).stem
    before, found, after = stem.partition(take_id)
    goes_on = after[:1].isalnum() or after[:2].strip("_").isdigit()
    return bool(found) and not (before[-1:].isalnum() or goes_on)


def _moved(row: Any) -> Moved:
    return Moved(
        _poses(row), motion_from_column(row["trans"]), motion_from_column(row["expressions"])
    )


def _poses(row: Any) -> np.ndarray:
    poses = motion_from_column(row["poses"])
    assert poses is not None
    return poses


def _speech(ref: TakeRef, spoken: Spoken) -> Speech:
    if spoken.samples is None:
        raise UserError(f"take {ref.take_id!r} has no audio to move for")
    # As long as the motion, so that rows compare frame by frame.
    wanted = int(np.ceil((ref.num_frames or 0) * SAMPLE_RATE / FPS)) + 1
    samples = np.pad(spoken.samples[:wanted], (0, max(0, wanted - len(spoken.samples))))
    return Speech(samples, tuple(Word(**word) for word in ref.words or ()))


def _golds(row: Any) -> list[tuple[Promise, tuple[float, float]]]:
    """Gold gestures that mean something, and when they are made."""
    found = []
    for gold in row["gold"][0].as_py() or ():
        if gold["form"] is None or gold["intent"] in (None, "beat"):
            continue
        span = gold["start_s"], gold["end_s"]
        if gold["phases"] is not None:
            phases = GesturePhases.model_validate_json(gold["phases"])
            span = phases.start_s, phases.end_s
        form = PhysicalForm.model_validate_json(gold["form"])
        found.append((Promise(form, gold["intent"]), span))
    return found


@dataclass(frozen=True)
class OfTake:
    """What figures are made of, of one motion of one take.

    Attributes:
        latents: of the autoencoder (K, D).
        whole: the same of whole multiples of `published.FGD_WHOLE` frames.
        parts: of every other figure.
    """

    latents: np.ndarray
    whole: np.ndarray
    parts: Mapping[str, Part]


class Judge:
    """Scores motions of the split's takes.

    Figures are named ``published.…`` and ``corrected.…`` (`measure.FIGURES`); ``semantic.…`` are
    what the verbalizer sees of gold gestures (`gestray.metrics.promises`), ``encoder.…`` what an
    encoder makes of phrases; ``fgd`` is that
    of the corrected mode, ``speed`` the mean speed of all angles in radians a second.
    """

    def __init__(
        self, corpus: Corpus, autoencoder: MotionAutoencoder, encoder: EncoderJudge | None = None
    ) -> None:
        self.corpus, self.autoencoder, self.encoder = corpus, autoencoder, encoder
        real = [self._of_take(moved, {}) for moved in corpus.recorded]
        self.real = {
            "latents": Moments.of([take.latents for take in real]),
            "whole": Moments.of([take.whole for take in real]),
        }
        self.draws = draws(len(real), corpus.config.resamples)
        # How often each draw has each take (R, S).
        self.times = (self.draws[:, :, None] == np.arange(len(real))).sum(axis=1)

    def scores(
        self,
        runs: Sequence[Sequence[Moved | None]],
        beside: Sequence[Sequence[Mapping[str, Part]]] | None = None,
    ) -> dict[str, Any]:
        """Means over runs, their intervals over takes, and each run's own figures.

        Takes that a run has no motion for are left out of it. An interval is the middle 95 %
        of bootstrap draws of takes, the same for every row.

        Args:
            runs: of each run, motion for every take.
            beside: of each run, parts of further figures of every take.
        """
        if beside is None:
            beside = [[{}] * len(run) for run in runs]
        judged = [self._judged(run, parts) for run, parts in zip(runs, beside, strict=True)]
        each = [self._figures(run) for run in judged]
        found: dict[str, Any] = {
            name: float(np.mean([figures[name] for figures in each])) for name in each[0]
        }
        for name, (low, high) in self._intervals(judged).items():
            found |= {f"{name}.low": low, f"{name}.high": high}
        found["takes"] = min(sum(take is not None for take in run) for run in judged)
        return found | {"runs": each}

    def _judged(
        self, run: Sequence[Moved | None], beside: Sequence[Mapping[str, Part]]
    ) -> list[OfTake | None]:
        semantic = [{**a, **b} for a, b in zip(self._semantic(run), beside, strict=True)]
        if self.encoder is not None:
            encoded = self.encoder.parts(run)
            semantic = [{**a, **b} for a, b in zip(semantic, encoded, strict=True)]
        settings = published.BeatSettings(**self.corpus.config.beats.model_dump())
        found: list[OfTake | None] = []
        for moved, spoken, seen in zip(run, self.corpus.spoken, semantic, strict=True):
            if moved is None:
                found.append(None)
                continue
            parts = measure(moved, spoken, self.corpus.mean_speeds, settings)
            steps = np.abs(np.diff(moved.poses, axis=0)).mean(axis=1)
            speed = FPS * float(steps.sum()), float(len(steps))
            found.append(self._of_take(moved, {**parts, **seen, "speed": speed}))
        return found

    def _of_take(self, moved: Moved, parts: Mapping[str, Part]) -> OfTake:
        whole = len(moved.poses) // published.FGD_WHOLE * published.FGD_WHOLE
        encode = self.autoencoder.latents
        return OfTake(encode([moved.poses]), encode([moved.poses[:whole]]), parts)

    def _semantic(self, run: Sequence[Moved | None]) -> list[dict[str, Part]]:
        """What is seen of each take's gold gestures; {} where it has none."""
        from gestray.anchors.verbalize import describe_many

        promised: list[Promise] = []
        cut: list[np.ndarray] = []
        counts, margin = [], self.corpus.config.margin_s
        for moved, golds in zip(run, self.corpus.golds, strict=True):
            before = len(cut)
            for promise, (start_s, end_s) in golds if moved is not None else ():
                assert moved is not None
                first = max(0, round((start_s - margin) * FPS))
                clip = np.array(moved.poses[first : round((end_s + margin) * FPS)])
                if len(clip) > 1:
                    promised.append(promise)
                    cut.append(clip)
            counts.append(len(cut) - before)
        if not cut:
            return [{} for _ in counts]
        described = [description.form for description in describe_many(cut)]
        result = kept(promised, described, self.corpus.known)
        seen = np.array([form.handedness != "none" for form in described], dtype=float)
        columns = {"intent": result.intent, "fields": result.fields, "gestures": seen}
        edges = np.cumsum([0, *counts])
        return [
            {
                f"semantic.{name}": (float(column[first:last].sum()), float(last - first))
                for name, column in columns.items()
                if last > first
            }
            for first, last in itertools.pairwise(edges)
        ]

    def _figures(self, run: Sequence[OfTake | None]) -> dict[str, float]:
        named = self._named(run)
        fgd = self._fgd(run, np.ones((1, len(run))))
        figures = {name: float(value[0]) for name, value in fgd.items() if np.isfinite(value[0])}
        return {**figures, **{name: mean(parts) for name, parts in named.items()}}

    def _named(self, run: Sequence[OfTake | None]) -> dict[str, list[Part]]:
        """Parts of every figure, one a take."""
        names = dict.fromkeys(name for take in run if take is not None for name in take.parts)
        return {
            name: [(0.0, 0.0) if t is None else t.parts.get(name, (0.0, 0.0)) for t in run]
            for name in names
        }

    def _fgd(self, run: Sequence[OfTake | None], times_RS: np.ndarray) -> dict[str, np.ndarray]:
        """(R,) of takes drawn so many times each; NaN where too little is left.

        A take without motion is missing on the generated side alone.
        """
        there = [number for number, take in enumerate(run) if take is not None]
        found = {}
        for name, scale, column in (("fgd", 1.0, "latents"), ("published.fgd", 10.0, "whole")):
            made = Moments.of([getattr(run[number], column) for number in there])
            sides = self.real[column].drawn(times_RS), made.drawn(times_RS[:, there])
            enough = np.minimum(*(side.number for side in sides)) > 1
            values = np.full(len(times_RS), np.nan)
            kept = [Moments(*(part[enough] for part in side)) for side in sides]
            values[enough] = scale * frechet_distances(*kept)
            found[name] = values
        return {"corrected.fgd": found["fgd"], **found}

    def _intervals(
        self, judged: Sequence[Sequence[OfTake | None]]
    ) -> dict[str, tuple[float, float]]:
        if not len(self.draws) or len(self.corpus.recorded) < 2:
            return {}
        found = {}
        each = [self._named(run) for run in judged]
        for name in each[0]:
            # Runs differ little in their weights: their takes are pooled.
            pooled = np.sum([named[name] for named in each], axis=0)
            if (between := interval(pooled, self.draws)) is not None:
                found[name] = between
        drawn = [self._fgd(run, self.times) for run in judged]
        for name in drawn[0]:
            values = np.mean([fgd[name] for fgd in drawn], axis=0)
            if np.isfinite(values).any():
                low, high = np.nanquantile(values, (0.025, 0.975))
                found[name] = float(low), float(high)
        return found


RESULT = "result.json"


def rows_of(folder: Folder) -> dict[str, dict[str, Any]]:
    """The rows of an evaluation, as they were written."""
    return json.loads(folder.read_bytes(RESULT))["rows"]
