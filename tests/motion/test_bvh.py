"""BVH files: what programs write is read, what is damaged is refused with its line."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pybvh
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gestray.errors import BadInput
from gestray.motion.bvh import Bvh, BvhJoint, format_bvh, parse_bvh

SMALL = """HIERARCHY
ROOT Hips
{
\tOFFSET 0.0 90.0 0.0
\tCHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
\tJOINT Left Arm
\t{
\t\tOFFSET 10 0 0
\t\tCHANNELS 3 Yrotation Zrotation Xrotation
\t\tEnd Site
\t\t{
\t\t\tOFFSET 5 0 0
\t\t}
\t}
\tJOINT mixamorig:Right_Arm-2
\t{
\t\tOFFSET -10 0 0
\t\tCHANNELS 0
\t\tEnd Site
\t\t{
\t\t\tOFFSET -5 0 0
\t\t}
\t}
}
MOTION
Frames: 2
Frame Time: 0.0083333
0 90 0 1 2 3 4 5 6
1.5 90 -2e-1 .5 -2 3 4 5 6
"""


def parse(text: str | bytes) -> Bvh:
    data = text.encode() if isinstance(text, str) else text
    return parse_bvh(io.BytesIO(data), "take.bvh")


def test_a_small_figure() -> None:
    bvh = parse(SMALL)
    assert [joint.name for joint in bvh.joints] == ["Hips", "Left Arm", "mixamorig:Right_Arm-2"]
    assert [joint.parent for joint in bvh.joints] == [-1, 0, 0]
    assert bvh.joints[1].channels == ("Yrotation", "Zrotation", "Xrotation")
    np.testing.assert_array_equal(bvh.joints[1].offset, [10, 0, 0])
    np.testing.assert_array_equal(bvh.joints[2].end, [-5, 0, 0])
    np.testing.assert_array_equal(bvh.motion[1], [1.5, 90, -0.2, 0.5, -2, 3, 4, 5, 6])
    assert bvh.columns("position") == [[0, 1, 2], [], []]
    assert bvh.columns("rotation") == [[3, 4, 5], [6, 7, 8], []]
    assert bvh.fps == 120


@pytest.mark.parametrize(
    "variant",
    [
        SMALL.replace("\n", "\r\n"),
        "\ufeff" + SMALL,
        SMALL.replace("\t", "   ").replace(" 90 ", "  90\t"),
        SMALL.replace("\n{", " {").replace("HIERARCHY", "hierarchy"),
        SMALL.replace("rotation", "ROTATION").replace("Frame Time:", "frame time:"),
        SMALL.replace("Hips\n", "Hips  \n\n") + "\n\n  \n",
        SMALL.removesuffix("\n"),
    ],
    ids=["crlf", "bom", "spaces", "braces", "case", "blank lines", "no last newline"],
)
def test_spellings_of_one_file(variant: str) -> None:
    found, expected = parse(variant), parse(SMALL)
    np.testing.assert_array_equal(found.motion, expected.motion)
    assert [j.name for j in found.joints] == [j.name for j in expected.joints]
    assert [j.channels for j in found.joints] == [j.channels for j in expected.joints]


LINE = "1.5 90 -2e-1 .5 -2 3 4 5 6"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (SMALL, "", "MOTION: found an empty file"),
        ("MOTION", "MOTIONS", "no line MOTION"),
        ("HIERARCHY", "HIERARCH", "line 1: found 'HIERARCH', expected HIERARCHY"),
        ("}\nMOTION", "}\nROOT Two\n{\nMOTION", "a second root ('ROOT Two')"),
        ("}\nMOTION", "MOTION", "the end of the hierarchy"),
        ("JOINT mixamorig:Right_Arm-2", "JOINT Left Arm", "a second joint named 'Left Arm'"),
        ("JOINT Left Arm", "JOINT", "a joint without a name"),
        ("OFFSET 10 0 0", "OFFSET 10 0", "line 8: found 'OFFSET 10 0'"),
        ("OFFSET 10 0 0", "OFFSET 10 0 nan", "line 8"),
        ("OFFSET 10 0 0", "OFFSET 1_0 0 0", "line 8"),
        ("CHANNELS 3 Y", "CHANNELS 2 Y", "line 9"),
        ("CHANNELS 3 Yrotation", "CHANNELS 3 Zrotation", "each channel once"),
        ("CHANNELS 3 Yrotation", "CHANNELS 3 Yscale", "'Yscale', expected a channel"),
        ("Frames: 2", "Frames: two", "Frames: found 'two'"),
        ("Frames: 2", "Frames: 3", "Frames: found 2 lines of motion, expected 3"),
        ("Frames: 2", "Frames: 1", "Frames: found 2 lines of motion, expected 1"),
        ("Frames: 2\n", "", "'Frames: N'"),
        ("0.0083333", "0", "Frame Time: found '0'"),
        ("0.0083333", "nan", "Frame Time"),
        ("0.0083333", "30", "Frame Time: found '30', expected seconds"),
        (LINE, "1.5 90 -2e-1 .5 -2 3 4 5", "line 29: found 8 numbers, expected 9"),
        (LINE, LINE + " 7", "line 29: found 10 numbers, expected 9"),
        (LINE, LINE.replace("-2e-1", "-2e-1x"), "line 29: found '-2e-1x', expected a number"),
        (LINE, LINE.replace("90", "NaN"), "line 29: found NaN"),
        (LINE, LINE.replace("90", "1e999"), "line 29: found NaN or an infinite"),
        (LINE + "\n", "1.5 90\n-2e-1 .5 -2 3 4 5 6\n", "line 29: found 2 numbers"),
    ],
)
def test_damage_is_named_with_its_line(before: str, after: str, message: str) -> None:
    assert before in SMALL
    with pytest.raises(BadInput, match=r"^take\.bvh: ") as error:
        parse(SMALL.replace(before, after))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("printed", "fps"),
    [
        ("0.0333333", 30),
        ("0.033333", 30),
        ("0.0333", 30),
        ("0.033", 30),
        ("0.0333667", 30000 / 1001),
        ("0.00833333", 120),
        ("0.008333", 120),
        ("8.3333e-3", 120),
        ("0.01666667", 60),
        ("0.041708", 24000 / 1001),
        ("0.04", 25),
        ("0.011364", 1 / 0.011364),
        ("0.0111111", 90),
        ("0.005", 200),
    ],
)
def test_the_rate_that_a_printed_frame_time_means(printed: str, fps: float) -> None:
    """A rate off by the rounding would drift by 6 ms in ten minutes at 0.033333 s."""
    assert parse(SMALL.replace("0.0083333", printed)).fps == pytest.approx(fps, rel=1e-12)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_written_figure_is_read_back(data: st.DataObject) -> None:
    channel = st.sampled_from([f"{a}{k}" for a in "XYZ" for k in ("position", "rotation")])
    names = data.draw(
        st.lists(
            st.text("abcXYZ_:- 019", min_size=1).map(str.strip).filter(bool),
            min_size=1,
            max_size=8,
            unique=True,
        )
    )
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    joints = []
    for i, name in enumerate(names):
        channels = tuple(data.draw(st.lists(channel, max_size=6, unique=True)))
        parent = data.draw(st.integers(0, i - 1)) if i else -1
        joints.append(BvhJoint(name, parent, rng.normal(size=3).round(6), channels))
    width = sum(len(joint.channels) for joint in joints)
    motion = (rng.normal(size=(data.draw(st.integers(1, 4)), width)) * 90).round(6)
    if not width:
        return
    bvh = Bvh(tuple(joints), motion, 60.0)
    found = parse(format_bvh(bvh))
    assert found.fps == 60 and found.num_frames == len(motion)
    index, columns, found_columns = found.index(), bvh.columns(""), found.columns("")
    for i, joint in enumerate(joints):
        there = found.joints[index[joint.name]]
        np.testing.assert_allclose(there.offset, joint.offset, atol=1e-6)
        assert there.channels == joint.channels
        expected_parent = joints[joint.parent].name if joint.parent >= 0 else None
        assert (found.joints[there.parent].name if there.parent >= 0 else None) == expected_parent
        np.testing.assert_allclose(
            found.motion[:, found_columns[index[joint.name]]], motion[:, columns[i]], atol=1e-6
        )


@given(cut=st.integers(0, len(SMALL) - 3))
@settings(max_examples=80, deadline=None)
def test_a_file_cut_short_is_never_read(cut: int) -> None:
    with pytest.raises(BadInput):
        parse(SMALL[:cut])


def test_agrees_with_another_reader(tmp_path: Path) -> None:
    path = tmp_path / "take.bvh"
    text = SMALL.replace("CHANNELS 0", "CHANNELS 3 Zrotation Xrotation Yrotation")
    path.write_text(text.replace("4 5 6", "4 5 6 7 8 9").replace("Left Arm", "LeftArm"))
    ours = parse(path.read_bytes())
    theirs = pybvh.read_bvh_file(path, world_up="+y")
    assert [joint.name for joint in ours.joints] == theirs.joint_names
    np.testing.assert_allclose(ours.motion[:, :3], theirs.root_pos)
    angles = ours.motion[:, 3:].reshape(2, 3, 3)
    np.testing.assert_allclose(angles, np.rad2deg(theirs.joint_angles))


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_mutated_file_is_read_or_refused(data: st.DataObject) -> None:
    """No other error, whatever a disk or an editor did to the bytes."""
    text = bytearray(SMALL.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        kind = data.draw(st.sampled_from(["set", "delete", "repeat", "move"]))
        length = data.draw(st.integers(1, 40))
        if kind == "set":
            text[at] = data.draw(st.integers(0, 255))
        elif kind == "delete":
            del text[at : at + length]
        elif kind == "repeat":
            text[at:at] = text[at : at + length]
        else:
            piece = text[at : at + length]
            del text[at : at + length]
            text[data.draw(st.integers(0, len(text))) :] += piece
        if not text:
            break
    try:
        bvh = parse(bytes(text))
    except BadInput as error:
        assert error.file == "take.bvh" and error.found and error.expected
    else:
        assert bvh.motion.shape == (bvh.num_frames, sum(len(j.channels) for j in bvh.joints))
        assert np.isfinite(bvh.motion).all()
