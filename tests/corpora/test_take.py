"""The take survives Arrow and Parquet to the bit, without copies, and refuses nonsense."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gestray.corpora.take import (
    FPS,
    TAKE_SCHEMA,
    GoldGesture,
    SemanticLabel,
    Take,
    motion_from_column,
)
from gestray.errors import BadInput
from gestray.form import HandForm, Location, PhysicalForm, Trajectory
from gestray.speech.words import Word

RIGHT = HandForm(
    location=Location(zone="centre", height="chest", side="right", reach="medium"),
    palm="up",
    shape="flat",
    trajectory=Trajectory(
        path="arc", direction="up", repetitions=1, amplitude="large", speed="slow"
    ),
)
GOLD = GoldGesture(
    start_s=0.25,
    end_s=1.5,
    form=PhysicalForm(handedness="right", right=RIGHT),
    form_text="The right hand rises.",
    intent="growth",
    intent_text="It grows.",
)


def make_take(frames: int = 40, **parts: object) -> Take:
    rng = np.random.default_rng(frames)
    values: dict = {
        "take_id": "1_ada_0_1_1",
        "split": "train",
        "speaker_id": 1,
        "speaker": "ada",
        "language": "english",
        "poses": rng.normal(0, 0.5, (frames, 165)).astype(np.float32),
        "joint_mask": np.arange(55) % 7 != 0,
        "trans": rng.normal(0, 1, (frames, 3)).astype(np.float32),
        "betas": rng.normal(0, 1, 300).astype(np.float32),
        "expressions": rng.normal(0, 1, (frames, 100)).astype(np.float32),
        "audio": rng.integers(0, 256, 3200, dtype=np.uint8).tobytes(),
        "words": [Word("it", 0.1, 0.3), Word("grows", 0.3, 0.9, stressed=True)],
        "semantics": [SemanticLabel("05_iconic_l", 0.25, 1.5, 0.5, "grows")],
        "gold": [GOLD],
        "emotion": "neutral",
        "extra": {"gender": "neutral", "sessions": [1, 2]},
    }
    return Take(**{**values, **parts})


def assert_same(a: Take, b: Take) -> None:
    for name in Take.__slots__:
        left, right = getattr(a, name), getattr(b, name)
        if isinstance(left, np.ndarray):
            assert right.dtype == left.dtype, name
            np.testing.assert_array_equal(left, right, err_msg=name)
        else:
            assert left == right, name


OPTIONAL = [
    "speaker_id",
    "speaker",
    "language",
    "poses",
    "trans",
    "betas",
    "expressions",
    "audio",
    "words",
    "semantics",
    "gold",
    "emotion",
    "extra",
]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(2, 60), st.sets(st.sampled_from(OPTIONAL))), min_size=1, max_size=4
    )
)
def test_round_trip_through_parquet(tmp_path_factory, rows: list) -> None:
    """Any takes, with any parts absent, in one file and one row group."""
    takes = []
    for frames, absent in rows:
        if "poses" in absent:
            absent = absent | {"joint_mask", "trans", "expressions"}
        takes.append(make_take(frames, **dict.fromkeys(absent)))
        takes[-1].validate()
    path = tmp_path_factory.mktemp("takes") / "takes.parquet"
    tables = pa.concat_tables(take.to_table() for take in takes).combine_chunks()
    pq.write_table(tables, path, compression="zstd")
    table = pq.read_table(path)
    assert table.schema.equals(TAKE_SCHEMA)
    for index, take in enumerate(takes):
        assert_same(take, Take.from_row(table.slice(index, 1)))
        if take.poses is not None:
            np.testing.assert_array_equal(motion_from_column(table["poses"], index), take.poses)


def test_motion_is_not_copied() -> None:
    take = make_take()
    assert take.poses is not None and take.expressions is not None
    table = take.to_table()
    for name, frames in (("poses", take.poses), ("expressions", take.expressions)):
        view = motion_from_column(table[name])
        assert view is not None and np.shares_memory(view, frames)
        assert not view.flags.writeable
    first, second = (make_take(frames) for frames in (3, 5))
    both = pa.concat_tables([first.to_table(), second.to_table()])
    batch = both.combine_chunks().to_batches()[0]
    view = Take.from_row(batch.slice(1, 1)).poses
    whole = np.frombuffer(batch.column("poses").values.values.buffers()[1], np.float32)
    assert view is not None and np.shares_memory(view, whole)
    np.testing.assert_array_equal(view, second.poses)


def test_columns_follow_the_contract() -> None:
    (row,) = make_take(45).to_table().to_pylist()
    assert row["fps"] == FPS == 30.0
    assert row["num_frames"] == 45 and row["duration_s"] == 1.5
    assert len(row["poses"][0]) == 165 and len(row["betas"]) == 300
    assert row["words"][1] == {"word": "grows", "start_s": 0.3, "end_s": 0.9, "stressed": True}
    assert PhysicalForm.model_validate_json(row["gold"][0]["form"]) == GOLD.form
    bare = Take("x", "test").to_table().to_pylist()[0]
    assert {name for name, value in bare.items() if value is not None} == {
        "take_id",
        "split",
        "fps",
        "duration_s",
    }


def test_duration_is_that_of_the_longest_part() -> None:
    assert Take("x", "train").duration_s == 0.0
    assert Take("x", "train", words=[Word("a", 0, 0.5), Word("b")]).duration_s == 0.5
    audio = b"\0\0" * 16_000
    assert make_take(15, audio=audio, semantics=None, gold=None).duration_s == 1.0
    assert make_take(60, audio=audio).duration_s == 2.0


def test_other_memory_layouts_are_taken() -> None:
    wide = np.random.default_rng(0).normal(0, 0.3, (8, 330))
    take = make_take(8, poses=wide[:, ::2])
    np.testing.assert_array_equal(
        motion_from_column(take.to_table()["poses"]), wide[:, ::2].astype(np.float32)
    )


def spoiled(name: str, frame: int, value: float) -> dict:
    frames = np.array(getattr(make_take(), name))
    frames[frame, 1] = value
    return {name: frames}


@pytest.mark.parametrize(
    ("parts", "field", "found"),
    [
        (spoiled("poses", 7, math.nan), "poses", "frame 7"),
        (spoiled("trans", 3, math.inf), "trans", "frame 3"),
        (spoiled("expressions", 0, -math.inf), "expressions", "frame 0"),
        (spoiled("poses", 9, 6.5), "poses", "joint 0, frame 9"),
        ({"poses": np.zeros((40, 156), np.float32)}, "poses", "(40, 156)"),
        ({"poses": np.zeros((40, 55, 3), np.float32)}, "poses", "(40, 55, 3)"),
        ({"poses": np.zeros((1, 165), np.float32)}, "poses", "1 frames"),
        ({"trans": np.zeros((39, 3), np.float32)}, "trans", "(39, 3)"),
        ({"expressions": np.zeros((40, 50), np.float32)}, "expressions", "(40, 50)"),
        ({"betas": np.zeros((40, 300), np.float32)}, "betas", "(40, 300)"),
        ({"betas": np.full(300, np.nan, np.float32)}, "betas", "NaN"),
        ({"joint_mask": None}, "joint_mask", "none"),
        ({"joint_mask": np.ones(22, bool)}, "joint_mask", "(22,)"),
        ({"poses": None, "joint_mask": None}, "trans", "without poses"),
        ({"audio": b"\0\0\0"}, "audio", "3 bytes"),
        ({"audio": b""}, "audio", "0 bytes"),
        ({"words": [Word("a", 1.0, 0.5)]}, "words[0]", "1.0 s to 0.5 s"),
        ({"words": [Word("a", None, 0.5)]}, "words[0]", "None s"),
        ({"semantics": [SemanticLabel("x", math.nan, 1)]}, "semantics[0]", "nan"),
        ({"split": "dev"}, "split", "'dev'"),
        ({"words": [Word("a", 0, 1e6)]}, "duration", "1000000 s"),
    ],
)
def test_nonsense_is_refused(parts: dict, field: str, found: str) -> None:
    take = make_take(**parts)
    with pytest.raises(BadInput) as error:
        take.validate()
    assert (error.value.file, error.value.field) == ("1_ada_0_1_1", field)
    assert found in error.value.found


@pytest.mark.parametrize(
    "take_id",
    ["", "../x", "a/b", "a\\b", "a\0b", ".hidden", "-x", "a b", "a\n", "é", "a" * 129],
)
def test_ids_that_are_no_file_names_are_refused(take_id: str) -> None:
    with pytest.raises(BadInput, match="take id"):
        make_take(take_id=take_id).validate()


def test_one_turn_is_still_a_rotation() -> None:
    poses = np.zeros((2, 165), np.float32)
    poses[:, 0] = 2 * math.pi
    make_take(2, poses=poses).validate()


def test_from_row_wants_one_row() -> None:
    table = make_take().to_table()
    with pytest.raises(ValueError, match="2 rows"):
        Take.from_row(pa.concat_tables([table, table]))
