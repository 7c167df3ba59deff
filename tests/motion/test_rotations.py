"""Rotations against scipy, their gradients, and resampling in time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from gestray.errors import UserError
from gestray.motion.rotations import (
    axis_angle_to_matrix,
    geodesic_distance,
    matrix_to_axis_angle,
    matrix_to_sixd,
    resample_axis_angle,
    resample_linear,
    sixd_to_matrix,
)

component = st.floats(-4, 4, allow_nan=False)
vectors = st.lists(st.tuples(component, component, component), min_size=1, max_size=8)


def _random(n: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 3)) * scale


@given(vectors)
@settings(max_examples=60, deadline=None)
def test_matrices_agree_with_scipy(rows: list[tuple[float, float, float]]) -> None:
    vector = np.array(rows)
    matrix = axis_angle_to_matrix(torch.from_numpy(vector)).numpy()
    np.testing.assert_allclose(matrix, Rotation.from_rotvec(vector).as_matrix(), atol=1e-11)


@given(vectors)
@settings(max_examples=60, deadline=None)
def test_round_trips_keep_the_rotation(rows: list[tuple[float, float, float]]) -> None:
    matrix = axis_angle_to_matrix(torch.tensor(rows, dtype=torch.float64))
    back = matrix_to_axis_angle(matrix)
    assert (back.norm(dim=-1) <= np.pi + 1e-9).all()
    torch.testing.assert_close(axis_angle_to_matrix(back), matrix, atol=1e-9, rtol=0)
    torch.testing.assert_close(sixd_to_matrix(matrix_to_sixd(matrix)), matrix, atol=1e-9, rtol=0)


def test_sixd_is_the_first_two_rows() -> None:
    quarter_about_z = axis_angle_to_matrix(torch.tensor([0.0, 0.0, np.pi / 2]))
    expected = torch.tensor([0.0, -1, 0, 1, 0, 0])
    torch.testing.assert_close(matrix_to_sixd(quarter_about_z), expected, atol=1e-6, rtol=0)


def test_sixd_of_a_network_becomes_a_rotation() -> None:
    matrix = sixd_to_matrix(torch.randn(100, 6, dtype=torch.float64))
    identity = torch.eye(3, dtype=torch.float64).expand(100, 3, 3)
    torch.testing.assert_close(matrix @ matrix.transpose(-1, -2), identity, atol=1e-9, rtol=0)
    assert (torch.linalg.det(matrix) > 0).all()
    # The first row keeps its direction.
    sixd = torch.tensor([[2.0, 0, 0, 5, 3, 0]])
    torch.testing.assert_close(sixd_to_matrix(sixd)[0], torch.eye(3))


def test_geodesic_distance_agrees_with_scipy() -> None:
    a, b = Rotation.from_rotvec(_random(200, 1)), Rotation.from_rotvec(_random(200, 2))
    found = geodesic_distance(torch.from_numpy(a.as_matrix()), torch.from_numpy(b.as_matrix()))
    np.testing.assert_allclose(found.numpy(), (a.inv() * b).magnitude(), atol=1e-9)


@pytest.mark.parametrize("angle", [0.0, 1e-6, 1e-3, 1.0, 3.0, np.pi])
def test_geodesic_distance_is_exact_from_none_to_half_a_turn(angle: float) -> None:
    turned = axis_angle_to_matrix(torch.tensor([0.0, angle, 0.0], dtype=torch.float64))
    distance = geodesic_distance(torch.eye(3, dtype=torch.float64), turned)
    assert distance.item() == pytest.approx(angle, abs=1e-9)


def test_gradients_are_right() -> None:
    vector = torch.from_numpy(_random(5, 3)).requires_grad_()
    other = axis_angle_to_matrix(torch.from_numpy(_random(5, 4)))

    def distance(v: torch.Tensor) -> torch.Tensor:
        return geodesic_distance(axis_angle_to_matrix(v), other)

    assert torch.autograd.gradcheck(axis_angle_to_matrix, vector)
    assert torch.autograd.gradcheck(distance, vector)
    sixd = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(sixd_to_matrix, sixd)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_at_the_identity(dtype: torch.dtype) -> None:
    vector = torch.zeros(2, 3, dtype=dtype, requires_grad=True)
    matrix = axis_angle_to_matrix(vector)

    def gradient(of: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(of, vector, retain_graph=True)[0]

    # The derivative of the matrix in x is the generator of rotations about x.
    about_x = gradient(matrix[0, 2, 1] - matrix[0, 1, 2])
    torch.testing.assert_close(about_x[0], torch.tensor([2.0, 0, 0], dtype=dtype))
    back = gradient(matrix_to_axis_angle(matrix).sum())
    torch.testing.assert_close(back, torch.ones(2, 3, dtype=dtype))
    distance = geodesic_distance(matrix, torch.eye(3, dtype=dtype))
    torch.testing.assert_close(gradient(distance.sum()), torch.zeros(2, 3, dtype=dtype))
    sixd = gradient(sixd_to_matrix(matrix_to_sixd(matrix))[:, 0, 1].sum())
    torch.testing.assert_close(sixd, torch.tensor([[0.0, 0, -1]] * 2, dtype=dtype))


def test_resampling_agrees_with_scipy() -> None:
    poses = _random(20, 5).repeat(2, axis=1).astype(np.float32)
    found = resample_axis_angle(poses, 30, 47)
    times = np.arange(len(found)) / 47
    assert len(found) == int(19 / 30 * 47) + 1
    for part in (slice(0, 3), slice(3, 6)):
        oracle = Slerp(np.arange(20) / 30, Rotation.from_rotvec(poses[:, part]))(times)
        error = (oracle.inv() * Rotation.from_rotvec(found[:, part])).magnitude()
        assert error.max() < 1e-5


def test_resampling_is_not_fooled_by_the_two_ways_to_write_a_rotation() -> None:
    # Nearly half a turn about x either way is nearly the same rotation.
    poses = np.array([[np.pi - 0.1, 0, 0], [-np.pi + 0.1, 0, 0]], dtype=np.float32)
    between = resample_axis_angle(poses, 1, 2)[1]
    assert np.linalg.norm(between) == pytest.approx(np.pi, abs=1e-4)


@pytest.mark.parametrize(
    ("fps_from", "fps_to"), [(120, 30), (30, 60), (25, 30), (60, 30), (30, 30)]
)
def test_frames_keep_their_times(fps_from: float, fps_to: float) -> None:
    seconds = np.arange(41)[:, None] / fps_from
    linear = resample_linear(np.hstack([seconds, -seconds]), fps_from, fps_to)
    expected = np.arange(len(linear)) / fps_to
    np.testing.assert_allclose(linear[:, 0], expected, atol=1e-6)
    # As many frames as fit, none beyond the last.
    assert expected[-1] <= seconds[-1] + 1e-6 < expected[-1] + 1 / fps_to + 1e-6
    turning = np.zeros((41, 6))
    turning[:, 4] = seconds[:, 0]
    rotated = resample_axis_angle(turning, fps_from, fps_to)
    np.testing.assert_allclose(rotated[:, 4], expected, atol=1e-6)
    assert rotated.dtype == linear.dtype == np.float32


def test_one_frame_stays_one_frame() -> None:
    assert resample_axis_angle(np.ones((1, 6)), 30, 120).shape == (1, 6)


def test_resampling_refuses_what_it_cannot_mean() -> None:
    with pytest.raises(UserError, match="above 0"):
        resample_axis_angle(np.zeros((3, 3)), 0, 30)
    with pytest.raises(UserError, match="no frames"):
        resample_linear(np.zeros((0, 3)), 30, 15)
    with pytest.raises(UserError, match=r"J\*3"):
        resample_axis_angle(np.zeros((3, 4)), 30, 15)


def _swing(seconds: np.ndarray, hertz: float, degrees: float) -> Rotation:
    """A swing about an axis that itself turns: no two frames share an axis."""
    angle = np.deg2rad(degrees) * np.sin(2 * np.pi * hertz * seconds)
    axis = np.stack([np.cos(seconds), np.sin(seconds), 0.3 * np.cos(2 * seconds)], -1)
    return Rotation.from_rotvec(angle[:, None] * axis)


@pytest.mark.parametrize("fps_from", [60, 90, 100, 120, 240])
@pytest.mark.parametrize("hertz", [0.5, 2, 5])
def test_downsampling_keeps_gestures(fps_from: float, hertz: float) -> None:
    """Against the motion itself at the new frames' times; gestures stay below 5 Hz or so."""
    poses = _swing(np.arange(4 * fps_from) / fps_from, hertz, 60).as_rotvec()
    found = Rotation.from_rotvec(resample_axis_angle(poses, fps_from, 30))
    expected = _swing(np.arange(len(found)) / 30, hertz, 60)
    error = np.rad2deg((expected.inv() * found).magnitude())
    ends = 3  # frames at either end, where half of the kernel sees a reflection
    assert error[ends:-ends].max() < (0.2 if hertz < 5 else 2)
    assert error.max() < 6
    line = resample_linear(np.sin(2 * np.pi * hertz * np.arange(240) / 60)[:, None], 60, 30)
    truth = np.sin(2 * np.pi * hertz * np.arange(len(line)) / 30)
    assert abs(line[ends:-ends, 0] - truth[ends:-ends]).max() < 0.02


def test_downsampling_does_not_turn_a_tremor_into_a_gesture() -> None:
    """A tremor of 28 Hz at 120 frames a second would be one of 2 Hz at 30."""
    seconds = np.arange(480) / 120
    tremor = resample_axis_angle(_swing(seconds, 28, 5).as_rotvec(), 120, 30)
    assert np.rad2deg(np.linalg.norm(tremor[3:-3], axis=1)).max() < 0.1
    picked = _swing(seconds[::4], 28, 5).magnitude()
    assert np.rad2deg(picked).max() > 4  # what every fourth frame shows
    shaken = resample_linear(np.sin(2 * np.pi * 28 * seconds)[:, None], 120, 30)
    assert abs(shaken[3:-3]).max() < 0.02


def test_downsampling_crosses_the_seams_of_axis_angle() -> None:
    """Three whole turns: axis-angle jumps at each half turn, the rotation does not."""
    seconds = np.arange(240) / 120
    turns = Rotation.from_rotvec(seconds[:, None] * [0, 3 * np.pi, 0])
    found = Rotation.from_rotvec(resample_axis_angle(turns.as_rotvec(), 120, 30))
    expected = Rotation.from_rotvec((np.arange(len(found)) / 30)[:, None] * [0, 3 * np.pi, 0])
    assert np.rad2deg((expected.inv() * found).magnitude()).max() < 1e-3


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 20])
def test_downsampling_of_very_short_motion(frames: int) -> None:
    still = np.tile([0.3, -0.2, 0.1], (frames, 1))
    found = resample_axis_angle(still, 120, 30)
    np.testing.assert_allclose(found, np.tile([0.3, -0.2, 0.1], (len(found), 1)), atol=1e-6)
