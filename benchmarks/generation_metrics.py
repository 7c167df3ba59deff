"""Minutes of motion scored a second: joints by forward kinematics against a skinned mesh.

    python benchmarks/generation_metrics.py --json

The other way is the field's: all figures of the body (BC, L1 diversity, SRGR) from joints that
come out of the body model, which skins 10,475 vertices a frame, for the generated and for the
recorded motion; onsets by librosa, beats with loops over frames, as published. Ours computes
both modes and jitter and skating feet besides. Both get the same minute of made-up motion
and speech; that the published figures agree is checked first. The body model is gestray's own
skinning over a file of random arrays in SMPL-X's shapes; its rest offsets are given to both.
MSE and LVD, which need vertices, are left out of both; `also` says what they add.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from side_by_side import Comparison, alternate, main
from smplx_standin import write_standin

from gestray.metrics.generation.face import Face
from gestray.metrics.generation.figures import mean
from gestray.metrics.generation.measure import Moved, Spoken, measure
from gestray.motion.kinematics import joint_positions
from gestray.motion.smplx_body import SmplxModel

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.metrics.generation import published_oracle as field

FRAMES, RATE, FPS = 1800, 16_000, 30
_SKINNED_AT_ONCE = 64


def measure_speed(runs: int) -> Comparison:
    rng = np.random.default_rng(0)
    made, recorded = _motion(rng), _motion(rng)
    samples = _speech(rng)
    semantic = np.clip(np.sin(np.arange(FRAMES) / 40), 0, 1)
    mean_speeds = np.full(55, 0.5)
    with tempfile.TemporaryDirectory() as folder:
        model = SmplxModel.load(write_standin(Path(folder)))
    betas = torch.zeros(300)
    offsets = model.rest_offsets(betas)
    spoken = Spoken(Moved(recorded), samples, semantic, offsets.numpy())
    with_face = Spoken(
        Moved(recorded, None, rng.standard_normal((FRAMES, 100)) * 0.3),
        rest_offsets=offsets.numpy(), face=Face(model, betas),
    )  # fmt: skip
    figures: dict[str, dict[str, float]] = {}

    def ours() -> float:
        torch.set_num_threads(1)  # its steps are too small to share
        started = time.perf_counter()
        parts = measure(Moved(made), spoken, mean_speeds)
        figures["ours"] = {name: mean([part]) for name, part in parts.items()}
        return 1 / (time.perf_counter() - started)

    def mesh() -> float:
        torch.set_num_threads(2)
        started = time.perf_counter()
        joints = [_through_mesh(model, poses, betas, offsets) for poses in (made, recorded)]
        figures["mesh"] = {
            "published.bc": field.beat_consistency(joints[0], samples, RATE, mean_speeds, 60, 0.3),
            "published.l1div": field.l1_diversity(joints[0]),
            "published.srgr": field.srgr(*joints, semantic),
        }
        return 1 / (time.perf_counter() - started)

    def face() -> float:
        started = time.perf_counter()
        expressions = rng.standard_normal((FRAMES, 100)) * 0.3
        measure(Moved(made, None, expressions), with_face, mean_speeds)
        return 1 / (time.perf_counter() - started)

    ours(), mesh()
    for name, value in figures["mesh"].items():
        assert np.isclose(value, figures["ours"][name], rtol=1e-4), (name, value)
    medians = alternate({"ours": ours, "mesh": mesh}, runs)
    worked = time.process_time()
    ours()
    worked = time.process_time() - worked
    also = {
        "seconds_a_minute": 1 / medians["ours"],
        "seconds_a_minute_other": 1 / medians["mesh"],
        "seconds_a_minute_with_faces": 1 / alternate({"face": face}, 1)["face"],
        "processor_seconds_a_minute": worked,
        "frames": FRAMES,
        "threads": 1,
        "other_threads": 2,
    }
    return Comparison(medians["ours"], medians["mesh"], "minutes/s", runs, also)


def _motion(rng: np.random.Generator) -> np.ndarray:
    """Every joint swings, at its own rate."""
    seconds = np.arange(FRAMES)[:, None] / FPS
    rates, phases = rng.uniform(0.3, 2, 165), rng.uniform(0, 6, 165)
    return (0.3 * np.sin(2 * np.pi * seconds * rates + phases)).astype(np.float32)


def _speech(rng: np.random.Generator) -> np.ndarray:
    """Noise in syllables of a fifth of a second."""
    seconds = np.arange(FRAMES * RATE // FPS) / RATE
    loudness = np.clip(np.sin(2 * np.pi * 2.5 * seconds), 0, 1) ** 2
    return (0.2 * rng.standard_normal(len(seconds)) * loudness).astype(np.float32)


@torch.no_grad()
def _through_mesh(
    model: SmplxModel, poses: np.ndarray, betas: torch.Tensor, offsets: torch.Tensor
) -> np.ndarray:
    """Joints as the field gets them: the surface is made, and thrown away."""
    found = []
    for chunk in torch.from_numpy(poses).split(_SKINNED_AT_ONCE):
        model.vertices(chunk, torch.zeros(len(chunk), 3), betas)
        found.append(joint_positions(chunk, rest_offsets=offsets))
    return torch.cat(found).numpy()


if __name__ == "__main__":
    main("generation_metrics", __doc__.splitlines()[0], measure_speed)
