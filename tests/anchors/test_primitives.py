"""Verbalizing tokens: the words of what they decode to, each code sequence once."""

from __future__ import annotations

import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from gestray.anchors import primitives
from gestray.anchors.primitives import PrimitiveVerbalizer
from gestray.anchors.verbalize import describe
from gestray.errors import UserError
from gestray.store import Folder
from gestray.tokenizers.config import TokenizerConfig
from gestray.tokenizers.model import MotionTokenizer
from jobs.anchors import FORMS_SCHEMA, Verbalizer
from tests.anchors.motions import GESTURES

CONFIG = TokenizerConfig(width=64, code_dim=32, codebook_size=32)


@pytest.fixture(scope="module")
def model() -> MotionTokenizer:
    torch.manual_seed(0)
    model = MotionTokenizer(CONFIG).eval()
    for stream in model.streams.values():
        for codebook in stream.quantizer.codebooks:
            codebook.embed.normal_()
            codebook.initted.fill_(True)
    return model


def codes_of(model: MotionTokenizer, name: str) -> dict[str, list[list[int]]]:
    """Any codes, others for each name."""
    generator = torch.Generator().manual_seed(list(GESTURES).index(name))
    shape = (-(-len(GESTURES[name]) // CONFIG.frames_per_token), CONFIG.quantizers)
    draw = torch.randint(CONFIG.codebook_size, shape, generator=generator)
    return {part: draw.tolist() for part in model.streams}


def test_tokens_are_described_by_what_they_decode_to(model: MotionTokenizer) -> None:
    names = ["held", "stroke", "held"]
    frames = [len(GESTURES[name]) for name in names]
    gestures = [codes_of(model, name) for name in names]
    found = PrimitiveVerbalizer(model).describe_many(gestures, frames)
    for codes, length, description in zip(gestures, frames, found, strict=True):
        tensors = {part: torch.tensor(rows)[None] for part, rows in codes.items()}
        assert description == describe(model.decode(tensors)[0, :length])


def test_each_code_sequence_is_decoded_once(
    model: MotionTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    described: list[int] = []
    describe_many = primitives.describe_many
    monkeypatch.setattr(
        primitives,
        "describe_many",
        lambda clips, fps: described.append(len(clips)) or describe_many(clips, fps),
    )
    verbalizer = PrimitiveVerbalizer(model, kept=2)
    gestures = [codes_of(model, name) for name in ("held", "stroke", "left")]
    frames = [60, 60, 60]
    first = verbalizer.describe_many(gestures * 2, frames * 2)
    assert described == [3] and first[:3] == first[3:]
    # The last two are kept; another length is another motion.
    assert verbalizer.describe_many(gestures[1:], frames[1:]) == first[1:3]
    verbalizer.describe_many(gestures[2:], [40])
    assert verbalizer.describe_many(gestures, frames) == first[:3]
    assert described[1:] == [0, 1, 2]


def test_other_parts_are_refused(model: MotionTokenizer) -> None:
    with pytest.raises(UserError, match="parts"):
        PrimitiveVerbalizer(model).describe_many([{"body": [[0] * 6]}], [4])
    with pytest.raises(UserError, match="kept is 0"):
        PrimitiveVerbalizer(model, kept=0)


def test_rows_hold_the_times_of_the_stroke_in_the_take(model: MotionTokenizer, tmp_path) -> None:
    folder = Folder(str(tmp_path))
    (tmp_path / "config.json").write_text(CONFIG.model_dump_json())
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    codes = codes_of(model, "stroke")
    rows = pa.Table.from_pylist(
        [
            {
                "phrase_id": "p",
                "take_id": "t",
                "split": "test",
                "start_s": 12.5,
                "end_s": 15.5,
                "text": "there",
                "num_frames": len(GESTURES["stroke"]),
                **{f"codes_{part}": rows for part, rows in codes.items()},
            }
        ]
    )
    [row] = Verbalizer(folder)(rows).cast(FORMS_SCHEMA).to_pylist()
    tensors = {part: torch.tensor(rows)[None] for part, rows in codes.items()}
    phases = describe(model.decode(tensors)[0, : len(GESTURES["stroke"])]).phases
    times = [row[name] for name in ("stroke_start_s", "stroke_end_s", "hold_end_s")]
    if phases is None:
        assert times == [None] * 3
    else:
        assert times == [12.5 + t for t in (phases.stroke_s, phases.hold_s, phases.retraction_s)]
