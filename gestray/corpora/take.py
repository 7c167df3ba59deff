"""The take: one recording, one row; the contract between corpora and models.

Everything a corpus is read into and everything a model is trained from passes
through `Take` and its Arrow schema. Motion is SMPL-X: 55 joints, axis-angle,
30 frames a second. Parts a recording does not have are None, never zeros.
Motion travels between NumPy and Arrow as one buffer, without a copy.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from gestray.corpora.splits import SPLITS, is_split
from gestray.errors import BadInput
from gestray.form import GesturePhases, PhysicalForm
from gestray.speech.audio import LONGEST_RECORDING_S, SAMPLE_RATE
from gestray.speech.words import Word

FPS = 30.0
NUM_JOINTS = 55
POSE_WIDTH = NUM_JOINTS * 3
TRANS_WIDTH = 3
NUM_BETAS = 300
NUM_EXPRESSIONS = 100

#: Rotation vectors longer than one turn (plus rounding) are not axis-angle.
LONGEST_ROTATION = 2 * math.pi + 1e-3

_TAKE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def _frames_of(width: int) -> pa.DataType:
    return pa.list_(pa.list_(pa.float32(), width))


_SPAN = [("start_s", pa.float64()), ("end_s", pa.float64())]

#: Columns of a table of takes; the nullable ones are null where a part is absent.
TAKE_SCHEMA = pa.schema(
    [
        pa.field("take_id", pa.string(), nullable=False),
        pa.field("speaker_id", pa.int32()),
        pa.field("speaker", pa.string()),
        pa.field("split", pa.string(), nullable=False),
        pa.field("language", pa.string()),
        pa.field("fps", pa.float32(), nullable=False),
        pa.field("num_frames", pa.int32()),
        pa.field("duration_s", pa.float32(), nullable=False),
        pa.field("poses", _frames_of(POSE_WIDTH)),
        pa.field("joint_mask", pa.list_(pa.bool_(), NUM_JOINTS)),
        pa.field("trans", _frames_of(TRANS_WIDTH)),
        pa.field("betas", pa.list_(pa.float32(), NUM_BETAS)),
        pa.field("expressions", _frames_of(NUM_EXPRESSIONS)),
        pa.field("audio", pa.large_binary()),
        pa.field(
            "words",
            pa.list_(pa.struct([("word", pa.string()), *_SPAN, ("stressed", pa.bool_())])),
        ),
        pa.field(
            "semantics",
            pa.list_(
                pa.struct(
                    [
                        ("label", pa.string()),
                        *_SPAN,
                        ("score", pa.float64()),
                        ("keywords", pa.string()),
                    ]
                )
            ),
        ),
        pa.field(
            "gold",
            pa.list_(
                pa.struct(
                    [
                        *_SPAN,
                        ("form", pa.string()),
                        ("form_text", pa.string()),
                        ("intent", pa.string()),
                        ("intent_text", pa.string()),
                        ("phases", pa.string()),
                    ]
                )
            ),
        ),
        pa.field("emotion", pa.string()),
        pa.field("extra", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class SemanticLabel:
    """A corpus's own label for a stretch of a take, such as BEAT2's gesture types.

    `score` is the corpus's semantic weight in [0, 1]; `keywords` are the words
    an annotator tied to it.
    """

    label: str
    start_s: float
    end_s: float
    score: float | None = None
    keywords: str | None = None


class GoldGesture(BaseModel):
    """A gold description of one gesture: what it looks like and what it means.

    Records (`form`, `intent`) are None where a corpus has sentences only, sentences ""
    where it has records only; `phases` are in seconds of the take, None when unknown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    start_s: float = Field(ge=0, allow_inf_nan=False)
    end_s: float = Field(ge=0, allow_inf_nan=False)
    form: PhysicalForm | None = None
    form_text: str = ""
    intent: str | None = None
    intent_text: str = ""
    phases: GesturePhases | None = None


@dataclass(eq=False, slots=True)
class Take:
    """One recording. Parts it does not have are None.

    Attributes:
        take_id: unique in its corpus, see `check_take_id`.
        split: ``train``, ``val``, ``test``, ``additional`` or ``time:F``.
        poses: float32 (frames, 165), axis-angle in radians, 30 fps, in the
            order orient 3, body 63, jaw 3, eyes 6, left hand 45, right hand 45.
        joint_mask: bool (55,): the joints the recording captured.
        trans: float32 (frames, 3), metres.
        betas: float32 (300,), SMPL-X shape.
        expressions: float32 (frames, 100), FLAME expression.
        audio: PCM16 mono 16 kHz, little-endian.
        extra: what else the corpus says, as JSON values.
    """

    take_id: str
    split: str
    speaker_id: int | None = None
    speaker: str | None = None
    language: str | None = None
    poses: np.ndarray | None = None
    joint_mask: np.ndarray | None = None
    trans: np.ndarray | None = None
    betas: np.ndarray | None = None
    expressions: np.ndarray | None = None
    audio: bytes | None = None
    words: list[Word] | None = None
    semantics: list[SemanticLabel] | None = None
    gold: list[GoldGesture] | None = None
    emotion: str | None = None
    extra: dict[str, Any] | None = None

    @property
    def num_frames(self) -> int | None:
        return None if self.poses is None else len(self.poses)

    @property
    def duration_s(self) -> float:
        """Length of the longest part in seconds."""
        spans = [*(self.words or ()), *(self.semantics or ()), *(self.gold or ())]
        return max(
            (self.num_frames or 0) / FPS,
            len(self.audio or b"") / (2 * SAMPLE_RATE),
            max((span.end_s or 0.0 for span in spans), default=0.0),
        )

    def validate(self) -> None:
        """Check what every stage after ingest relies on.

        Raises:
            BadInput: names the take, the field and, for motion, the first frame at fault.
        """
        check_take_id(self.take_id)
        if not is_split(self.split):
            expected = f"one of {', '.join(SPLITS)} or time:F"
            raise BadInput(self.take_id, "split", repr(self.split), expected)
        if self.poses is not None:
            check_motion(self.take_id, self.poses, self.trans, self.expressions)
            mask = self.joint_mask
            if mask is None or mask.shape != (NUM_JOINTS,) or mask.dtype != np.bool_:
                found = "none" if mask is None else f"{mask.dtype} {mask.shape}"
                raise BadInput(self.take_id, "joint_mask", found, "bool (55,) beside poses")
        else:
            for name in ("joint_mask", "trans", "expressions"):
                if getattr(self, name) is not None:
                    raise BadInput(self.take_id, name, "motion without poses", "poses beside it")
        if self.betas is not None:
            check_betas(self.take_id, self.betas)
        if self.audio is not None and (not self.audio or len(self.audio) % 2):
            found = f"{len(self.audio)} bytes"
            raise BadInput(self.take_id, "audio", found, "PCM16 samples of two bytes, or None")
        for name in ("words", "semantics", "gold"):
            _check_spans(self.take_id, name, getattr(self, name) or ())
        if self.duration_s > LONGEST_RECORDING_S:
            expected = f"at most {LONGEST_RECORDING_S} s"
            raise BadInput(self.take_id, "duration", f"{self.duration_s:.0f} s", expected)

    def to_table(self) -> pa.Table:
        """The take as a table of one row in `TAKE_SCHEMA`; motion is not copied."""
        columns: dict[str, pa.Array] = {}
        for name, width in _FRAME_WIDTHS.items():
            frames = getattr(self, name)
            columns[name] = (
                pa.nulls(1, _frames_of(width)) if frames is None else _frames_array(frames, width)
            )
        scalars: dict[str, Any] = {
            "fps": FPS,
            "duration_s": self.duration_s,
            "words": None if self.words is None else [asdict(word) for word in self.words],
            "semantics": (
                None if self.semantics is None else [asdict(label) for label in self.semantics]
            ),
            "gold": (
                None
                if self.gold is None
                else [
                    {**dict(gesture), **{name: _json(getattr(gesture, name)) for name in _RECORDS}}
                    for gesture in self.gold
                ]
            ),
            "extra": None if self.extra is None else json.dumps(self.extra, sort_keys=True),
        }
        for field in TAKE_SCHEMA:
            if field.name not in columns:
                value = scalars[field.name] if field.name in scalars else getattr(self, field.name)
                columns[field.name] = pa.array([value], field.type)
        return pa.table([columns[name] for name in TAKE_SCHEMA.names], schema=TAKE_SCHEMA)

    @classmethod
    def from_row(cls, row: pa.Table | pa.RecordBatch) -> Take:
        """The take of a table of one row; motion arrays are read-only views of it.

        Raises:
            ValueError: the table does not have exactly one row.
        """
        if row.num_rows != 1:
            raise ValueError(f"expected a table of one row, found {row.num_rows} rows")
        values: dict[str, Any] = {
            field.name: row.column(field.name)[0].as_py()
            for field in fields(cls)
            if field.name not in _ARRAYS
        }
        for name in _FRAME_WIDTHS:
            values[name] = motion_from_column(row.column(name))
        for name in ("joint_mask", "betas"):
            array = row.column(name)[0].values
            values[name] = None if array is None else array.to_numpy(zero_copy_only=False)
        if values["words"] is not None:
            values["words"] = [Word(**word) for word in values["words"]]
        if values["semantics"] is not None:
            values["semantics"] = [SemanticLabel(**label) for label in values["semantics"]]
        if values["gold"] is not None:
            values["gold"] = [
                GoldGesture(
                    **{
                        **gold,
                        **{
                            name: None
                            if gold[name] is None
                            else record.model_validate_json(gold[name])
                            for name, record in _RECORDS.items()
                        },
                    }
                )
                for gold in values["gold"]
            ]
        if values["extra"] is not None:
            values["extra"] = json.loads(values["extra"])
        return cls(**values)


_FRAME_WIDTHS = {"poses": POSE_WIDTH, "trans": TRANS_WIDTH, "expressions": NUM_EXPRESSIONS}
# Columns of a gold description that hold a record as JSON.
_RECORDS: dict[str, type[BaseModel]] = {"form": PhysicalForm, "phases": GesturePhases}
_ARRAYS = {*_FRAME_WIDTHS, "joint_mask", "betas"}


def _json(record: BaseModel | None) -> str | None:
    return None if record is None else record.model_dump_json()


def motion_from_column(column: pa.ChunkedArray | pa.Array, row: int = 0) -> np.ndarray | None:
    """One row of ``poses``, ``trans`` or ``expressions`` as a float32 (frames, width) view.

    The view shares the column's memory (read-only) and keeps it alive. None where null.
    """
    frames = column[row].values
    if frames is None:
        return None
    values = frames.flatten().to_numpy(zero_copy_only=True)
    return values.reshape(-1, frames.type.list_size)


def check_take_id(take_id: str) -> None:
    """Refuse ids that could not be a file name everywhere.

    Raises:
        BadInput: not 1 to 128 letters, digits, dots, dashes and underscores
            that begin with a letter or digit.
    """
    if not _TAKE_ID.fullmatch(take_id):
        shown = repr(take_id if len(take_id) <= 140 else take_id[:140] + "...")
        expected = "1 to 128 of A-Z a-z 0-9 . _ - that begin with a letter or digit"
        raise BadInput(shown, "take id", shown, expected)


def check_motion(
    file: str,
    poses: np.ndarray,
    trans: np.ndarray | None = None,
    expressions: np.ndarray | None = None,
) -> None:
    """Refuse motion that is not SMPL-X axis-angle, finite and of one length.

    Args:
        file: what to name in errors.
        poses: (frames, 165) axis-angle, at least two frames.
        trans: (frames, 3), or None.
        expressions: (frames, 100), or None.

    Raises:
        BadInput: names the field and, where one is, the first frame at fault.
    """
    if poses.ndim != 2 or poses.shape[1] != POSE_WIDTH:
        raise BadInput(file, "poses", f"shape {poses.shape}", f"shape (frames, {POSE_WIDTH})")
    if len(poses) < 2:
        raise BadInput(file, "poses", f"{len(poses)} frames", "at least 2")
    _check_finite(file, "poses", poses)
    for name, values in (("trans", trans), ("expressions", expressions)):
        if values is None:
            continue
        if values.shape != (len(poses), _FRAME_WIDTHS[name]):
            expected = f"shape ({len(poses)}, {_FRAME_WIDTHS[name]}), as poses has frames"
            raise BadInput(file, name, f"shape {values.shape}", expected)
        _check_finite(file, name, values)
    angles = np.linalg.norm(poses.reshape(len(poses), NUM_JOINTS, 3), axis=-1)
    if angles.max() > LONGEST_ROTATION:
        frame, joint = np.unravel_index(np.argmax(angles > LONGEST_ROTATION), angles.shape)
        found = f"a rotation of {angles[frame, joint]:.4g} rad (joint {joint}, frame {frame})"
        raise BadInput(file, "poses", found, "axis-angle in radians, at most one turn")


def check_betas(file: str, betas: np.ndarray) -> None:
    """Refuse a body shape that is not (300,) and finite.

    Raises:
        BadInput: names `file`.
    """
    if betas.shape != (NUM_BETAS,):
        raise BadInput(file, "betas", f"shape {betas.shape}", f"shape ({NUM_BETAS},)")
    if not np.isfinite(betas).all():
        raise BadInput(file, "betas", "NaN or infinite values", "finite values")


def _check_finite(file: str, name: str, frames: np.ndarray) -> None:
    finite = np.isfinite(frames).all(axis=1)
    if not finite.all():
        first = int(np.argmin(finite))
        found = f"NaN or infinite values (first in frame {first})"
        raise BadInput(file, name, found, "finite values")


def _check_spans(
    take_id: str, name: str, spans: Iterable[Word | SemanticLabel | GoldGesture]
) -> None:
    for index, span in enumerate(spans):
        start, end = span.start_s, span.end_s
        if start is None and end is None:
            continue
        # A NaN fails every comparison, and so this one.
        if start is None or end is None or not 0 <= start <= end < math.inf:
            found = f"{start} s to {end} s"
            raise BadInput(take_id, f"{name}[{index}]", found, "0 <= start <= end, in seconds")


def _frames_array(frames: np.ndarray, width: int) -> pa.Array:
    """An Arrow array of one row over the memory of `frames` (float32, C order)."""
    frames = np.ascontiguousarray(frames, dtype=np.float32)
    values = pa.Array.from_buffers(pa.float32(), frames.size, [None, pa.py_buffer(frames)])
    rows = pa.FixedSizeListArray.from_arrays(values, type=pa.list_(pa.float32(), width))
    offsets = pa.array([0, len(frames)], pa.int32())
    return pa.ListArray.from_arrays(offsets, rows, type=_frames_of(width))
