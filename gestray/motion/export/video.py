"""MP4 with the speech: the avatar in motion, filmed from the front.

Frames are drawn by `raster.py` and go to ffmpeg through a pipe, H.264 and AAC. ffmpeg is
the one on the path, or that of the package `imageio-ffmpeg` (the extra `video`); it runs
as a process of its own.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
import torch

from gestray.errors import UserError
from gestray.motion.export.avatar import load_avatar, rest_places
from gestray.motion.export.clip import MotionClip, grounded
from gestray.motion.export.raster import Camera, draw
from gestray.motion.kinematics import forward_kinematics
from gestray.motion.rotations import axis_angle_to_matrix
from gestray.motion.skeleton import joint
from gestray.speech.audio import SAMPLE_RATE

WIDTH, HEIGHT = 960, 720
# From the knees to a hand above the head, metres above the floor.
_SEEN = (0.48, 2.08)
# The camera goes with the speaker, evenly: by the mean path of so many seconds.
_FOLLOW_S = 4.0


def write_mp4(clip: MotionClip, path: Path) -> None:
    """Film a clip.

    Raises:
        UserError: there is no ffmpeg, or it failed.
    """
    command = [ffmpeg(), "-y", "-loglevel", "error"]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}"]
    command += ["-r", f"{clip.fps:g}", "-i", "-"]
    with tempfile.TemporaryDirectory() as folder:
        if clip.audio:
            wav = Path(folder) / "speech.wav"
            soundfile.write(wav, np.frombuffer(clip.audio, "<i2"), SAMPLE_RATE, subtype="PCM_16")
            command += ["-i", str(wav), "-c:a", "aac", "-b:a", "96k"]
        # Speech is often a little longer than motion; the picture decides.
        command += ["-t", f"{clip.seconds:.3f}", "-c:v", "libx264", "-pix_fmt", "yuv420p"]
        command += ["-crf", "20", "-preset", "veryfast", "-movflags", "+faststart", str(path)]
        errors = Path(folder) / "errors"
        with errors.open("wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log)
            assert process.stdin is not None
            try:
                for picture in pictures(clip):
                    process.stdin.write(picture.tobytes())
                process.stdin.close()
            except BrokenPipeError:
                pass  # what ffmpeg says is the error
            except BaseException:
                process.kill()
                raise
            finally:
                code = process.wait()
        if code:
            raise UserError(f"{path.name}: ffmpeg failed: {errors.read_text()[-400:].strip()}")


def pictures(clip: MotionClip) -> Iterator[np.ndarray]:
    """The frames of the film, uint8 (HEIGHT, WIDTH, 3)."""
    avatar = load_avatar()
    clip = grounded(clip)
    turned, moved = _carried(clip)
    cameras = _cameras(clip, turned)
    blend = avatar.shares()

    def picture(frame: int) -> np.ndarray:
        turns = (blend @ turned[frame].reshape(-1, 9)).reshape(-1, 3, 3)
        vertices = np.einsum("vab,vb->va", turns, avatar.vertices) + blend @ moved[frame]
        normals = np.einsum("vab,vb->va", turns, avatar.normals)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        return draw(avatar, vertices, normals, cameras[frame])

    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        for first in range(0, len(clip), 8 * workers):  # some at a time bounds memory
            yield from pool.map(picture, range(first, min(first + 8 * workers, len(clip))))


def _carried(clip: MotionClip) -> tuple[np.ndarray, np.ndarray]:
    """How each joint carries the T-pose: rotations (T, 55, 3, 3) and shifts (T, 55, 3)."""
    rotations = axis_angle_to_matrix(torch.tensor(clip.poses).float().unflatten(-1, (-1, 3)))
    assert clip.trans is not None, "grounded clips have a path"
    places, turned = forward_kinematics(rotations, torch.from_numpy(clip.trans))
    at_rest = torch.from_numpy(rest_places())
    moved = places - (turned @ at_rest[..., None]).squeeze(-1)
    return turned.numpy(), moved.numpy()


def _cameras(clip: MotionClip, turned: np.ndarray) -> list[Camera]:
    """Of each frame: before the figure, where its chest looks on average."""
    ahead = turned[:, joint("spine3"), :, 2].mean(axis=0)
    yaw = float(np.arctan2(ahead[0], ahead[2]))
    assert clip.trans is not None, "grounded clips have a path"
    reach = round(_FOLLOW_S / 2 * clip.fps)
    path = np.pad(clip.trans.astype(np.float64), ((reach + 1, reach), (0, 0)), mode="edge")
    sums = np.cumsum(path, axis=0)
    targets = (sums[2 * reach + 1 :] - sums[: -2 * reach - 1]) / (2 * reach + 1)
    low, high = _SEEN
    targets[:, 1] = (low + high) / 2
    return [Camera(target, yaw, high - low, WIDTH, HEIGHT) for target in targets]


def ffmpeg() -> str:
    """The program ffmpeg.

    Raises:
        UserError: there is none; says how to get one.
    """
    if found := shutil.which("ffmpeg"):
        return found
    if importlib.util.find_spec("imageio_ffmpeg"):
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    raise UserError("MP4 needs ffmpeg: install it, or `pip install gestray[video]`")
