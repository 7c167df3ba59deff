"""Figures of generated motion: known answers, and the published ones against an oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.smplx_standin import write_standin
from gestray.corpora.beat2 import read_take
from gestray.corpora.take import Take
from gestray.metrics.generation import corrected, published
from gestray.metrics.generation.beats import nearness, slowest, speeds
from gestray.metrics.generation.face import Face
from gestray.metrics.generation.figures import draws, interval, mean
from gestray.metrics.generation.measure import Moved, Spoken, mean_joint_speeds, measure
from gestray.metrics.generation.onsets import onset_times
from gestray.metrics.generation.published import BeatSettings
from gestray.motion.kinematics import joint_positions
from gestray.motion.smplx_body import SmplxModel
from gestray.speech.audio import pcm16_to_float
from tests.metrics.generation import published_oracle as oracle

RATE, FPS = 16_000, 30
BEATS_S = np.arange(1.0, 9.0, 1.0) + 0.01  # no two frames equally near


def clicks(times: np.ndarray, seconds: float = 10.0) -> np.ndarray:
    """A metronome: bursts of noise that die away within 50 ms."""
    samples = np.zeros(round(seconds * RATE), np.float32)
    noise = np.random.default_rng(0).standard_normal(800) * np.exp(-np.arange(800) / 150)
    for time in times:
        samples[round(time * RATE) : round(time * RATE) + 800] += 0.5 * noise
    return samples


def nodding(times: np.ndarray, seconds: float = 10.0) -> np.ndarray:
    """Joints (T, 55, 3) that all move fast, and are slowest (but not still) at these times."""
    t = np.arange(round(seconds * FPS)) / FPS
    near = np.exp(-((t[:, None] - times) ** 2) / (2 * 0.1**2)).sum(axis=1)
    place = np.cumsum(1.0 - 0.5 * near + 1e-3 * t) / FPS  # gaining a little: else all is a tie
    return np.tile(place[:, None, None], (1, 55, 3))


@pytest.fixture(scope="module")
def real() -> Take:
    root = Path(__file__).resolve().parents[4] / "shared" / "data" / "beat2"
    if not root.is_dir():
        pytest.skip("no real recording beside this checkout (../shared/data/beat2)")
    return read_take(str(root / "beat_english_v2.0.0"), "2_scott_0_1_1")


@pytest.fixture(scope="module")
def joints(real: Take) -> np.ndarray:
    assert real.poses is not None
    return joint_positions(torch.tensor(real.poses)).numpy()


def imitation(real: Take) -> np.ndarray:
    """Another motion for the same speech: the recording, late by half a second and livelier."""
    assert real.poses is not None
    return np.roll(real.poses, 15, axis=0) * 1.1


# --- onsets ------------------------------------------------------------------


def test_onsets_are_those_of_librosa(real: Take) -> None:
    librosa = pytest.importorskip("librosa")
    assert real.audio is not None
    speech = pcm16_to_float(real.audio)
    for samples in (speech, speech[32_000:200_000], clicks(BEATS_S)):
        wanted = librosa.onset.onset_detect(y=samples, sr=RATE, hop_length=512, units="time")
        assert len(wanted) > 5
        np.testing.assert_allclose(onset_times(samples, RATE), wanted, atol=1e-9)
    fast = librosa.resample(speech[:200_000], orig_sr=RATE, target_sr=44_100)  # where peaks wait
    wanted = librosa.onset.onset_detect(y=fast, sr=44_100, units="time")
    np.testing.assert_allclose(onset_times(fast, 44_100), wanted, atol=1e-9)


def test_silence_has_no_onsets() -> None:
    assert not len(onset_times(np.zeros(RATE), RATE))
    assert not len(onset_times(np.zeros(100), RATE))


# --- beats -------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.integers(1, 7))
def test_minima_are_those_of_scipy(seed: int, order: int) -> None:
    from scipy.signal import argrelextrema

    values = np.random.default_rng(seed).integers(0, 9, (40, 3)).astype(float)
    found = slowest(values, order)
    for column in range(3):
        wanted = argrelextrema(values[:, column], np.less, order=order)[0]
        np.testing.assert_array_equal(np.flatnonzero(found[:, column]), wanted)


@given(st.lists(st.floats(0, 100), max_size=8), st.lists(st.floats(0, 100), max_size=8))
def test_nearness_is_by_the_nearest(times: list[float], others: list[float]) -> None:
    found = nearness(np.array(times), np.sort(others), 0.3)
    for time, near in zip(times, found, strict=True):
        distance = min((abs(time - other) for other in others), default=np.inf)
        assert near == pytest.approx(np.exp(-(distance**2) / 0.18), abs=1e-12)


def test_a_metronome_is_met_and_off_beat_is_not() -> None:
    """Beats on the clicks score near 1 both ways, beats between them what the formula gives."""
    ones = np.ones(55)
    sound = clicks(BEATS_S)
    on, off = nodding(BEATS_S), nodding(BEATS_S[:-1] + 0.5)
    met, of_beats = corrected.beat_consistency(on, sound, RATE, ones)
    assert mean([met]) > 0.97 and mean([of_beats]) > 0.97
    met, of_beats = corrected.beat_consistency(off, sound, RATE, ones)
    assert mean([of_beats]) == pytest.approx(np.exp(-(0.5**2) / 0.18), abs=0.1)
    full = mean([published.beat_consistency(on, sound, RATE, ones, settings=BeatSettings(trim=0))])
    assert full > 9.7


def test_twitching_meets_every_onset_but_its_beats_meet_none() -> None:
    """Why the corrected mode scores the other direction too."""
    sound = clicks(np.array([2.0, 8.0]))
    twitching = nodding(np.arange(0.5, 10, 0.55))
    met, of_beats = corrected.beat_consistency(twitching, sound, RATE, np.ones(55))
    assert mean([met]) > 0.6 and mean([of_beats]) < 0.45


def test_silence_and_stillness() -> None:
    """Nobody can be in time with silence: no figure. Who stands still meets no onset: 0."""
    moving, still = nodding(BEATS_S), np.zeros((300, 55, 3), np.float32)
    silence, sound = np.zeros(10 * RATE, np.float32), clicks(BEATS_S)
    for samples, motion, wanted in ((silence, moving, (0.0, 0)), (sound, still, None)):
        old = published.beat_consistency(motion, samples, RATE, np.ones(55))
        new, _ = corrected.beat_consistency(motion, samples, RATE, np.ones(55))
        if wanted is None:
            assert mean([old]) == mean([new]) == 0
        else:
            assert old[1] == 0 and new[1] == 0


def test_the_published_threshold_is_looked_up_before_the_beat() -> None:
    """Kept from the field's code: who stood still two seconds before a beat has not made it."""
    moment = np.array([5.01])
    late, sound, ones = nodding(moment), clicks(moment), np.ones(55)
    late[:120] = late[120]  # still for four seconds; the beat is a second later
    assert mean([corrected.beat_consistency(late, sound, RATE, ones)[0]]) > 0.9
    assert mean([published.beat_consistency(late, sound, RATE, ones)]) == 0


# --- positions -----------------------------------------------------------------


def test_positions_have_the_figures_that_a_hand_calculates() -> None:
    frames = np.zeros((10, 55, 3), np.float32)
    frames[5:, 20, 0] = 0.2  # one wrist, by 20 cm, half of the time: 10 cm from its mean, always
    assert mean([published.l1_diversity(frames)]) == pytest.approx(0.1)
    assert mean([corrected.diversity(frames)]) == pytest.approx(10 / 55)
    recorded, semantic = np.zeros_like(frames), np.array([0.0] * 5 + [0.33] * 5)
    assert mean([corrected.semantic_relevant_recall(frames, recorded, semantic)]) == pytest.approx(
        54 / 55
    )
    old = mean([published.semantic_relevant_recall(frames, recorded, semantic)])
    assert old == pytest.approx(54 / 55 * 0.33 / 0.165 / 2)


def test_jerk_of_a_cubic_is_its_coefficient() -> None:
    t = np.arange(30)[:, None, None] / FPS
    cubic = np.tile(t**3 / 6 * np.array([2.0, 0, 0]), (1, 55, 1))
    assert mean([corrected.jitter(cubic, FPS)]) == pytest.approx(2.0)


def test_feet_skate_only_while_they_stand() -> None:
    steps = np.zeros((31, 55, 3))
    steps[:, 11, 1] = 0.5  # the right foot is up
    steps[:, 10, 0] = np.arange(31) / FPS * 0.3  # the left one slides by 30 cm/s
    assert mean([corrected.foot_skating(steps, FPS)]) == pytest.approx(30.0)
    steps[:, [10, 11]] = steps[:, [11, 10]]
    assert mean([corrected.foot_skating(steps, FPS)]) == pytest.approx(30.0)
    steps[:, 10, 0] = steps[:, 11, 0]
    steps[:, 11, 0] = 0  # now the raised one moves
    assert mean([corrected.foot_skating(steps, FPS)]) == 0


# --- faces ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SmplxModel:
    """A stand-in of SMPL-X's size with random contents."""
    return SmplxModel.load(write_standin(tmp_path_factory.mktemp("smplx")))


def test_a_face_is_the_whole_skinning_of_a_body_at_rest(model: SmplxModel) -> None:
    generator = torch.Generator().manual_seed(0)
    poses = torch.zeros(3, 165)
    poses[:, 66:69] = torch.randn(3, 3, generator=generator) * 0.3
    expressions, betas = (
        torch.randn(3, 100, generator=generator),
        torch.randn(10, generator=generator),
    )
    found = Face(model, betas).vertices(torch.randn(3, 165) * 0 + poses, expressions)
    wanted = model.vertices(poses, torch.zeros(3, 3), betas, expressions)
    torch.testing.assert_close(found, wanted, atol=2e-4, rtol=0)


def test_the_body_does_not_move_the_face(model: SmplxModel) -> None:
    poses = torch.zeros(2, 165)
    turned = poses.clone()
    turned[:, :66] = 0.4
    face, expressions = Face(model, torch.zeros(10)), torch.ones(2, 100) * 0.1
    torch.testing.assert_close(
        face.vertices(poses, expressions), face.vertices(turned, expressions)
    )


def test_faces_have_the_figures_that_a_hand_calculates() -> None:
    rng = np.random.default_rng(0)
    recorded = rng.random((5, 7, 3))
    shifted = recorded + np.array([3e-3, 0, 0])
    assert mean([corrected.face_mse(shifted, recorded)]) == pytest.approx(9.0)
    assert mean([published.face_mse(shifted, recorded)]) == pytest.approx(1e8 * 9e-6 / 3)
    # A constant shift is no difference of velocity; to the published figure it is.
    assert mean([corrected.face_velocity(shifted, recorded, FPS)]) == pytest.approx(0, abs=1e-9)
    assert mean([published.lip_vertex_difference(shifted, recorded)]) == pytest.approx(1e5 * 1e-3)


# --- all of it -------------------------------------------------------------------


def test_published_equals_its_oracle_on_the_real_recording(
    real: Take, joints: np.ndarray, model: SmplxModel
) -> None:
    pytest.importorskip("librosa")
    assert real.poses is not None and real.audio is not None and real.expressions is not None
    samples, made = pcm16_to_float(real.audio), imitation(real)
    semantic = np.clip(np.sin(np.arange(len(made)) / 40), 0, 1)
    mean_speeds = mean_joint_speeds([real.poses])
    face = Face(model, torch.zeros(10))
    spoken = Spoken(Moved(real.poses), samples, semantic)
    faces = Spoken(Moved(real.poses[:100], None, real.expressions[:100]), face=face)
    for poses, expressions in ((real.poses, real.expressions), (made, real.expressions * 0.8)):
        ours = joint_positions(torch.tensor(poses)).numpy()
        for settings_ in (BeatSettings(), BeatSettings(trim=10, threshold=0.1)):
            found = measure(Moved(poses), spoken, mean_speeds, settings_)
            wanted = oracle.beat_consistency(
                ours, samples, RATE, mean_speeds, settings_.trim, settings_.threshold
            )
            assert mean([found["published.bc"]]) == pytest.approx(wanted, abs=1e-9)
            assert 1 < wanted < 10
        assert mean([found["published.l1div"]]) == pytest.approx(
            oracle.l1_diversity(ours), rel=1e-5
        )
        wanted = oracle.srgr(ours, joints, semantic)
        assert mean([found["published.srgr"]]) == pytest.approx(wanted, rel=1e-9)
        vertices, recorded = (
            face.vertices(torch.tensor(p[:100]), torch.tensor(e[:100])).numpy()
            for p, e in ((poses, expressions), (real.poses, real.expressions))
        )
        found = measure(Moved(poses[:100], None, expressions[:100]), faces, mean_speeds)
        assert mean([found["published.mse"]]) == pytest.approx(
            oracle.mse(vertices, recorded), rel=1e-4
        )
        assert mean([found["published.lvd"]]) == pytest.approx(
            oracle.lvd(vertices, recorded), rel=1e-4
        )


def test_what_cannot_be_told_is_absent(joints: np.ndarray, real: Take) -> None:
    assert real.poses is not None
    found = measure(Moved(real.poses), Spoken(Moved(real.poses)), np.ones(55))
    assert set(found) == {"published.l1div", "corrected.diversity", "corrected.jitter"}


def test_speeds_are_central_differences() -> None:
    positions = np.zeros((4, 55, 3))
    positions[:, 0, 0] = [0, 1, 4, 9]
    np.testing.assert_allclose(speeds(positions, 30.0)[:, 0], [30, 60, 120, 150])


def test_intervals_cover_and_need_two_takes() -> None:
    rng = np.random.default_rng(1)
    parts = [(float(x), 1.0) for x in rng.normal(5, 1, 40)]
    low, high = interval(parts, draws(40, 500)) or (0, 0)
    assert low < mean(parts) < high and high - low == pytest.approx(4 / np.sqrt(40), rel=0.5)
    assert interval(parts[:1], draws(1, 500)) is None
    assert interval([(0.0, 0.0)] * 3, draws(3, 500)) is None
    assert np.isnan(mean([(0.0, 0.0)]))
