"""Fréchet distance against closed forms, and promises kept and broken."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gestray.form import HandForm, Location, PhysicalForm, Trajectory
from gestray.metrics.fgd import (
    Moments,
    MotionAutoencoder,
    MotionAutoencoderConfig,
    MotionAutoencoderTask,
    MotionAutoencoderTraining,
    frechet_distance,
    frechet_distances,
)
from gestray.metrics.promises import Promise, kept


def gaussian(count: int, dim: int, seed: int) -> np.ndarray:
    """A sample whose mean is 0 and whose covariance is the identity, exactly."""
    x = np.random.default_rng(seed).normal(size=(count, dim))
    x -= x.mean(axis=0)
    return x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.floats(0.1, 3), st.floats(-2, 2))
def test_distances_of_shifted_and_stretched_gaussians_are_the_closed_form(seed, scale, shift):
    one = gaussian(200, 5, seed)
    other = gaussian(300, 5, seed + 1) * scale + shift
    expected = 5 * (shift**2 + (1 - scale) ** 2)
    assert frechet_distance(one, other) == pytest.approx(expected, abs=1e-8)
    assert frechet_distance(other, one) == pytest.approx(expected, abs=1e-8)


def test_a_set_is_at_no_distance_from_itself_even_where_it_is_flat():
    flat = np.random.default_rng(0).normal(size=(50, 3)) @ np.ones((3, 8))
    assert frechet_distance(flat, flat) == pytest.approx(0, abs=1e-6)


def test_the_distance_equals_that_by_the_matrix_root():
    linalg = pytest.importorskip("scipy.linalg")
    rng = np.random.default_rng(3)
    one, other = (rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6)) for _ in range(2))
    spreads = [np.cov(x, rowvar=False) for x in (one, other)]
    root = linalg.sqrtm(spreads[0] @ spreads[1]).real
    expected = np.square(one.mean(0) - other.mean(0)).sum() + np.trace(sum(spreads) - 2 * root)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-6)


def test_moments_of_drawn_sets_give_the_distance_of_their_unions():
    rng = np.random.default_rng(4)
    sides = [
        [rng.normal(3, 1 + side, (rng.integers(9, 40), 6)) for _ in range(5)] for side in range(2)
    ]
    times = rng.multinomial(5, [0.2] * 5, size=7)
    found = frechet_distances(*(Moments.of(sets).drawn(times) for sets in sides))
    for draw, distance in zip(times, found, strict=True):
        one, other = (np.concatenate(np.repeat(np.array(s, object), draw)) for s in sides)
        assert distance == pytest.approx(frechet_distance(one, other), rel=1e-9)


def test_a_batch_of_clips_gives_the_latents_of_each():
    model = MotionAutoencoder(MotionAutoencoderConfig(width=16, dim=4)).eval()
    rng = np.random.default_rng(0)
    clips = [rng.normal(0, 0.3, (frames, 165)).astype("f4") for frames in (40, 23)]
    both = model.latents(clips)
    assert both.shape == (10 + 5, 4)
    assert np.allclose(both, np.concatenate([model.latents([clip]) for clip in clips]))


def test_the_autoencoder_learns_more_than_the_mean_pose():
    """Joints that turn by few degrees about a pose far from zero, as recorded ones do."""
    torch.manual_seed(0)
    phases = torch.linspace(0, 12, 64) + 6 * torch.rand(32, 1)
    ways = torch.randn(2, 165) * 0.05
    swing = torch.stack([phases.sin(), phases.cos()], dim=-1) @ ways
    poses = torch.randn(165) * 0.4 + swing
    config = MotionAutoencoderTraining(model=MotionAutoencoderConfig(width=32, dim=8))
    task = MotionAutoencoderTask(config)
    model = task.build()
    task.start(model, iter([{"poses": poses}]))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for step in range(60):
        loss, _ = task.loss(model, {"poses": poses}, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    still = np.broadcast_to(poses.mean((0, 1)).numpy(), (64, 165))
    recorded = model.eval().latents(list(poses.numpy()))
    assert recorded.std(axis=0).mean() > 5 * model.latents([still]).std(axis=0).mean()


def form(palm: str, height: str = "chest", path: str = "straight") -> PhysicalForm:
    hand = HandForm(
        location=Location(zone="centre", height=height, side="middle", reach="medium"),
        palm=palm,
        shape="flat",
        trajectory=Trajectory(
            path=path, direction="up", repetitions=1, amplitude="medium", speed="moderate"
        ),
    )
    return PhysicalForm(handedness="right", right=hand)


NOTHING = PhysicalForm(handedness="none")


def test_a_promise_is_kept_by_what_looks_like_it():
    known = [Promise(form("up"), "offer")] * 5 + [Promise(form("down", "head"), "calm")] * 5
    promised = [Promise(form("up"), "offer"), Promise(form("up"), "offer")]
    result = kept(promised, [form("up"), form("down", "head")], known)
    assert result.intent.tolist() == [1, 0]
    assert result.fields[0] == 1 and result.fields[1] == pytest.approx(1 - 2 / 28)


def test_no_gesture_keeps_no_promise_but_by_chance():
    known = [Promise(form("up"), "offer")] * 5 + [Promise(form("down"), "calm")] * 5
    result = kept([Promise(form("up"), "offer")], [NOTHING], known)
    assert result.intent.tolist() == [0.5]  # equally unlike both: one in two
    assert result.fields[0] < 0.7
