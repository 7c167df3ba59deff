"""What must not change a form: the place, facing and size of the speaker, and the frame rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gestray.anchors.verbalize import describe, describe_many, mirrored, sentence
from gestray.errors import UserError
from gestray.motion.rotations import resample_axis_angle
from gestray.motion.skeleton import REST_OFFSETS, joint
from tests.anchors.motions import FPS, GESTURES, form_of, mirror


@pytest.mark.parametrize("name", list(GESTURES))
def test_describing_the_mirror_image_mirrors_the_description(name: str) -> None:
    form = form_of(GESTURES[name])
    assert form_of(mirror(GESTURES[name])) == mirrored(form)
    assert mirrored(mirrored(form)) == form


@pytest.mark.parametrize("name", list(GESTURES))
@given(vector=st.tuples(*[st.floats(-3, 3)] * 3), lean=st.floats(-0.5, 0.5))
@settings(max_examples=8, deadline=None)
def test_facing_lean_and_legs_do_not_matter(
    name: str, vector: tuple[float, float, float], lean: float
) -> None:
    turned = GESTURES[name].copy().reshape(-1, 55, 3)
    turned[:, 0] = vector
    turned[:, joint("spine1"), 0] = lean * np.sin(np.arange(len(turned)) / 20)
    turned[:, joint("left_knee"), 0] = lean
    assert form_of(turned.reshape(-1, 165)) == form_of(GESTURES[name])


@pytest.mark.parametrize("name", list(GESTURES))
@given(size=st.floats(0.5, 2.0))
@settings(max_examples=8, deadline=None)
def test_the_size_of_the_body_does_not_matter(name: str, size: float) -> None:
    skeleton = size * torch.tensor(REST_OFFSETS)
    assert describe(GESTURES[name], rest_offsets=skeleton) == describe(GESTURES[name])


@given(scales=st.tuples(*[st.floats(0.97, 1.03)] * 3))
@settings(max_examples=8, deadline=None)
def test_a_slightly_other_build_does_not_matter(scales: tuple[float, float, float]) -> None:
    """Longer arms, a shorter trunk, larger hands: within what thresholds can bear."""
    arms, trunk, hands = scales
    skeleton = torch.tensor(REST_OFFSETS)
    for name in ("elbow", "wrist"):
        skeleton[[joint(f"left_{name}"), joint(f"right_{name}")]] *= arms
    skeleton[[joint("spine1"), joint("spine2"), joint("spine3")]] *= trunk
    skeleton[25:] *= hands
    assert form_of(GESTURES["stroke"]) == describe(GESTURES["stroke"], rest_offsets=skeleton).form


@pytest.mark.parametrize("fps", [15, 60, 120])
@pytest.mark.parametrize("name", list(GESTURES))
def test_frame_rate_does_not_matter(name: str, fps: int) -> None:
    form, phases = describe(GESTURES[name])
    other = resample_axis_angle(GESTURES[name], FPS, fps)
    other_form, other_phases = describe(other, fps=fps)
    assert other_form == form
    assert (phases is None) == (other_phases is None)
    if phases is not None and other_phases is not None:
        for field, seconds in phases:
            assert getattr(other_phases, field) == pytest.approx(seconds, abs=0.12), field


def test_the_same_motion_has_the_same_bytes_every_time() -> None:
    clips = list(GESTURES.values())

    def read() -> list[bytes]:
        found = describe_many(clips)
        return [
            form.model_dump_json().encode() + repr(phases).encode() + sentence(form).encode()
            for form, phases in found
        ]

    threads = torch.get_num_threads()
    first = read()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        assert read() == first
    finally:
        torch.set_num_threads(threads)
    clips.reverse()
    assert read() == first[::-1]


def test_many_clips_are_read_as_each_alone() -> None:
    clips: list[np.ndarray | torch.Tensor] = [*GESTURES.values(), torch.zeros(1, 165)]
    assert describe_many(clips) == [describe(clip) for clip in clips]
    assert describe_many([]) == []


def test_unreadable_clips_are_refused() -> None:
    with pytest.raises(UserError, match=r"clip 1: poses have shape \(9, 156\)"):
        describe_many([np.zeros((9, 165)), np.zeros((9, 156))])
    with pytest.raises(UserError, match=r"clip 0: poses have shape \(0, 165\).*one frame"):
        describe(np.zeros((0, 165)))
    with pytest.raises(UserError, match=r"clip 0: poses have shape \(165,\)"):
        describe(np.zeros(165))
    broken = np.zeros((9, 165))
    broken[4:6, 7] = np.nan
    with pytest.raises(UserError, match=r"not finite .* in 2 of 9 frames, first in frame 4"):
        describe(broken)
    with pytest.raises(UserError, match="fps"):
        describe(np.zeros((9, 165)), fps=0)
    with pytest.raises(UserError, match="rest offsets"):
        describe(np.zeros((9, 165)), rest_offsets=torch.zeros(22, 3))


# --- a real recording ------------------------------------------------------------------------


def test_real_speech_has_varied_and_valid_forms(shared_dir: Path) -> None:
    folder = shared_dir / "data/beat2/beat_english_v2.0.0/smplxflame_30"
    with np.load(folder / "2_scott_0_1_1.npz", allow_pickle=False) as file:
        poses = file["poses"]
    clips = [poses[i : i + 120] for i in range(0, len(poses) - 120, 60)]
    forms = [description.form for description in describe_many(clips)]
    gesturing = [form for form in forms if form.handedness != "none"]
    # This speaker's hands hardly ever rest (see the quantiles in thresholds.py).
    assert 0.7 <= len(gesturing) / len(forms) <= 1.0
    assert len({sentence(form) for form in forms}) > 0.7 * len(forms)
    hands = [hand for form in gesturing for hand in (form.left, form.right) if hand is not None]
    assert {"waist", "chest"} <= {hand.location.height for hand in hands}
    assert np.mean([hand.shape == "relaxed" for hand in hands]) > 0.5
    for clip, form in zip(clips, forms, strict=True):
        assert form_of(mirror(clip)) == mirrored(form)
