"""Folders of SMPL-X motion in the layouts of AMASS and SHOW."""

from __future__ import annotations

import pickle
import wave
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from gestray.corpora.smplx_folder import SmplxSource, take_ids
from gestray.corpora.take import Take
from gestray.errors import BadInput, UserError
from gestray.speech.words import Word

RNG = np.random.default_rng(0)


def poses(frames: int, width: int = 165) -> np.ndarray:
    """Slow motion around a pose, upright on average."""
    time = np.linspace(0, 1, frames)[:, None]
    found = RNG.normal(size=width) * 0.2 + 0.1 * np.sin(3 * time + RNG.uniform(0, 6, width))
    found[:, :3] *= 0.3
    return found


def read(root: Path, **options: object) -> dict[str, Take]:
    source = SmplxSource(str(root), **options)
    return {entry.take_id: source.read_take(entry) for entry in source.list_takes().entries}


def save(path: Path, **arrays: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path


def test_amass_smplx_at_thirty(tmp_path: Path) -> None:
    motion = poses(60)
    arrays = {
        "poses": motion,
        "trans": RNG.normal(size=(60, 3)),
        "betas": np.arange(16.0),
        "gender": "female",
        "mocap_frame_rate": 30.0,
        "surface_model_type": "smplx",
    }
    save(tmp_path / "CMU" / "01" / "walk 1_stageii.npz", **arrays)
    save(tmp_path / "CMU" / "01" / "neutral_stagei.npz", betas=np.zeros(16))
    save(tmp_path / "CMU" / "01" / "shape.npz", betas=np.zeros(16))
    (take,) = read(tmp_path).values()
    assert take.take_id == "CMU_01_walk-1_stageii"
    np.testing.assert_array_equal(take.poses, motion.astype(np.float32))
    np.testing.assert_array_equal(take.trans, arrays["trans"].astype(np.float32))
    assert take.joint_mask.all() and take.expressions is None and take.words is None
    assert list(take.betas[:17]) == [*range(16), 0] and take.betas.shape == (300,)
    assert take.extra == {
        "recording": "CMU/01/walk 1_stageii.npz",
        "fps": 30.0,
        "up": "y",
        "gender": "female",
        "surface_model_type": "smplx",
    }
    assert "2 files" in SmplxSource(str(tmp_path)).list_takes().remarks[0]


def test_amass_smplh_is_z_up_and_fast(tmp_path: Path) -> None:
    """156 numbers a frame at 120 frames a second, in a world with z up."""
    whole = poses(241)
    whole[:, 66:75] = 0  # SMPL-H has neither jaw nor eyes
    upright = Rotation.from_rotvec(whole[:, :3])
    fallen = Rotation.from_euler("x", 90, degrees=True) * upright
    motion = np.hstack([fallen.as_rotvec(), whole[:, 3:66], whole[:, 75:]])
    trans = np.cumsum(RNG.normal(size=(241, 3)), 0) * 0
    trans[:, 2] = 0.9 + 0.001 * np.arange(241)
    save(tmp_path / "a.npz", poses=motion, trans=trans, mocap_framerate=120, betas=np.ones(16))
    (take,) = read(tmp_path).values()
    assert take.num_frames == 61 and take.extra["up"] == "z" and take.betas is None
    found = Rotation.from_rotvec(take.poses[:, :3])
    assert (upright[::4].inv() * found).magnitude().max() < 2e-3
    np.testing.assert_allclose(take.poses[3:-3, 3:], whole[12:-12:4, 3:], atol=2e-3)
    np.testing.assert_allclose(take.trans[:, 1], trans[::4, 2], atol=1e-5)
    np.testing.assert_allclose(take.trans[:, [0, 2]], 0, atol=1e-6)
    assert np.flatnonzero(~take.joint_mask).tolist() == [22, 23, 24]
    assert read(tmp_path, up="z")["a"].poses.tolist() == take.poses.tolist()
    remark = SmplxSource(str(tmp_path)).remark(take)
    assert remark == "120 frames a second, z up, 3 joints at rest"


def show(frames: int = 30) -> dict[str, np.ndarray]:
    whole = poses(frames)
    return {
        "global_orient": whole[:, None, :3],
        "body_pose": whole[:, 3:66].reshape(frames, 21, 3),
        "jaw_pose": whole[:, 66:69],
        "leye_pose": whole[:, 69:72],
        "reye_pose": whole[:, 72:75],
        "left_hand_pose": whole[:, 75:120],
        "right_hand_pose": whole[:, 120:165],
        "transl": np.zeros((frames, 3)),
        "expression": RNG.normal(size=(frames, 50)),
        "betas": np.arange(10.0)[None],
        "fps": np.array(30),
    }


def test_show_with_an_array_a_part(tmp_path: Path) -> None:
    arrays = show()
    save(tmp_path / "clip.npz", **arrays)
    (take,) = read(tmp_path).values()
    expected = np.concatenate([arrays[n].reshape(30, -1) for n in list(arrays)[:7]], axis=1)
    np.testing.assert_array_equal(take.poses, expected.astype(np.float32))
    assert take.joint_mask.all() and take.trans is not None
    np.testing.assert_array_equal(take.expressions[:, :50], arrays["expression"].astype(np.float32))
    assert not take.expressions[:, 50:].any() and take.expressions.shape == (30, 100)
    assert take.betas[9] == 9


def test_parts_that_a_recording_lacks_stay_at_rest(tmp_path: Path) -> None:
    arrays = show()
    for name in ("jaw_pose", "leye_pose", "reye_pose", "left_hand_pose"):
        del arrays[name]
    save(tmp_path / "clip.npz", **arrays)
    (take,) = read(tmp_path).values()
    assert np.flatnonzero(~take.joint_mask).tolist() == [22, 23, 24, *range(25, 40)]
    assert not take.poses[:, 66:120].any()


def test_amass_parts_under_their_other_names(tmp_path: Path) -> None:
    whole = poses(30)
    names = {"root_orient": (0, 3), "pose_body": (3, 66), "pose_jaw": (66, 69)}
    names |= {"pose_eye": (69, 75), "pose_hand": (75, 165)}
    parts = {name: whole[:, a:b] for name, (a, b) in names.items()}
    save(tmp_path / "clip.npz", **parts, mocap_frame_rate=30)
    np.testing.assert_array_equal(read(tmp_path)["clip"].poses, whole.astype(np.float32))


def test_hands_as_coefficients_need_their_components(tmp_path: Path) -> None:
    arrays = show()
    arrays["left_hand_pose"] = RNG.normal(size=(30, 6))
    save(tmp_path / "clip.npz", **arrays)
    with pytest.raises(BadInput, match="left_hand_pose: found 6 numbers a frame, expected 45"):
        read(tmp_path)
    components, mean = RNG.normal(size=(45, 45)) * 0.1, RNG.normal(size=45) * 0.1
    save(tmp_path / "clip.npz", **arrays, left_hand_components=components, left_hand_mean=mean)
    expected = arrays["left_hand_pose"] @ components[:6] + mean
    np.testing.assert_allclose(read(tmp_path)["clip"].poses[:, 75:120], expected, atol=1e-5)


def test_speech_beside_the_motion(tmp_path: Path) -> None:
    for name in ("timed", "plain", "mute"):
        save(tmp_path / f"{name}.npz", poses=poses(60), mocap_frame_rate=30)
    (tmp_path / "timed.json").write_text('[{"word": "oh", "start": 0.5, "end": 1.0}]')
    (tmp_path / "timed.txt").write_text("not these")
    (tmp_path / "plain.txt").write_text("\ufeffjust text\r\n", encoding="utf-8")
    with wave.open(str(tmp_path / "timed.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(2 * 32_000))
    takes = read(tmp_path)
    assert takes["timed"].words == [Word("oh", 0.5, 1.0)] and len(takes["timed"].audio) == 64_000
    assert takes["plain"].words == [Word("just"), Word("text")] and takes["plain"].audio is None
    assert takes["mute"].words is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"poses": np.zeros((30, 72))}, r"poses: found shape \(30, 72\)"),
        ({"poses": None}, "global_orient or root_orient: found no such array"),
        ({"poses": np.full((30, 165), np.nan)}, "NaN"),
        ({"poses": np.full((30, 165), 90.0)}, "axis-angle in radians"),
        ({"poses": np.zeros((1, 165))}, "1 frames, expected at least 2"),
        ({"poses": np.array([None] * 30)}, "pickle, not loaded"),
        ({"trans": np.zeros((29, 3))}, "trans"),
        ({"trans": np.zeros(3)}, "trans"),
        ({"mocap_frame_rate": 0}, "mocap_frame_rate: found 0"),
        ({"mocap_frame_rate": None}, "frame rate: found none"),
        ({"betas": np.zeros(301)}, "betas"),
        ({"expression": np.zeros((30, 101))}, "expressions"),
    ],
)
def test_damage_is_named(tmp_path: Path, change: dict, message: str) -> None:
    arrays = {"poses": poses(30), "trans": np.zeros((30, 3)), "mocap_frame_rate": 30} | change
    save(tmp_path / "a.npz", **{n: values for n, values in arrays.items() if values is not None})
    with pytest.raises(BadInput, match=r"^a\.npz: ") as error:
        read(tmp_path)
    assert error.match(message)


def test_a_rate_may_be_stated_where_files_do_not(tmp_path: Path) -> None:
    save(tmp_path / "a.npz", poses=poses(61))
    assert read(tmp_path, fps=60.0)["a"].num_frames == 31


def test_a_figure_that_lies_needs_its_up_axis_stated(tmp_path: Path) -> None:
    motion = np.zeros((30, 165))
    motion[:, 2] = np.pi / 2  # on its side
    save(tmp_path / "a.npz", poses=motion, mocap_frame_rate=30)
    with pytest.raises(BadInput, match="state up=y or up=z"):
        read(tmp_path)
    np.testing.assert_allclose(read(tmp_path, up="y")["a"].poses, motion, atol=1e-6)


def test_a_pickle_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(pickle.dumps({"poses": 1}))
    with pytest.raises(BadInput, match="pickle"):
        read(tmp_path)


def test_a_folder_without_motion(tmp_path: Path) -> None:
    save(tmp_path / "shape.npz", betas=np.zeros(16))
    with pytest.raises(UserError, match=r"no \.npz files"):
        SmplxSource(str(tmp_path)).list_takes()


def test_take_ids_are_fit_and_unique() -> None:
    files = ["a/b.npz", "a_b.npz", "a/ü (1).npz", "-x.npz", "ü.npz", f"{'long/' * 40}a.npz"]
    found = take_ids(files)
    assert len(set(found)) == len(files)
    assert found[2] == "a_---1-" and found[3] == "x"
    assert found[0].startswith("a_b-") and found[1].startswith("a_b-")
    assert all(len(take_id) <= 128 and take_id[0].isalnum() for take_id in found)
    assert take_ids(files) == found
