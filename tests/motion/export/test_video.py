"""The film: what the drawing shows, and what the file holds."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gestray.errors import UserError
from gestray.motion.export import MotionClip, export_motion
from gestray.motion.export.avatar import Avatar
from gestray.motion.export.raster import Camera, draw
from gestray.motion.export.video import HEIGHT, WIDTH, ffmpeg, pictures

CAMERA = Camera(np.zeros(3), 0.0, height_m=2.0, width=100, height=100)


def sheets(*depths: float) -> tuple[Avatar, np.ndarray, np.ndarray]:
    """Squares of a metre that face the camera: red, green, blue, at these distances to it."""
    square = np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]], np.float32)
    vertices = np.concatenate([square + np.array([0, 0, z]) for z in depths]).astype(np.float32)
    faces = np.concatenate([np.array([[0, 1, 2], [0, 2, 3]]) + 4 * i for i in range(len(depths))])
    normals = np.tile(np.array([0, 0, 1], np.float32), (len(vertices), 1))
    colors = np.repeat(np.eye(3, dtype=np.float32)[: len(depths)], 4, axis=0)
    skin = np.zeros((len(vertices), 4), np.uint8)
    return Avatar(vertices, normals, colors, faces.astype(np.uint16), skin, skin), vertices, normals


def test_a_square_covers_its_pixels() -> None:
    """A metre at the target's distance is half of a picture of two metres, to the pixel."""
    avatar, vertices, normals = sheets(0.0)
    picture = draw(avatar, vertices, normals, CAMERA)
    red = (picture[..., 0] > 100) & (picture[..., 1] < 50)
    assert red.sum() == 50 * 50
    assert red[25:75, 25:75].all()


def test_the_nearer_hides_the_farther() -> None:
    avatar, vertices, normals = sheets(0.0, 1.0, -1.0)
    picture = draw(avatar, vertices, normals, CAMERA)
    assert picture[50, 50, 1] > 100 and picture[50, 50, [0, 2]].max() < 50
    # It is also larger by perspective, and covers all of both.
    assert not ((picture[..., 0] > 100) & (picture[..., 1] < 50)).any()


def test_what_faces_away_is_not_drawn() -> None:
    avatar, vertices, normals = sheets(0.0)
    behind = replace(CAMERA, yaw=np.pi)
    assert len(np.unique(draw(avatar, vertices, normals, behind).reshape(-1, 3), axis=0)) == 1


def test_a_side_is_where_one_sees_it() -> None:
    """From the front, the body's left is on the right; from behind, on the left."""
    poses = np.zeros((2, 165), np.float32)
    poses[:, 3 * 16 + 2] = 0.5  # the left arm raised
    (picture, _) = pictures(MotionClip(poses))
    skin = (picture[..., 0].astype(int) - picture[..., 2] > 30).nonzero()
    hands = np.abs(skin[1] - WIDTH / 2) > WIDTH / 5
    raised, level = (skin[0][hands & ((skin[1] > WIDTH / 2) == side)] for side in (True, False))
    assert np.median(raised) < np.median(level) - HEIGHT / 8
    # Turned around, the camera goes round with the figure, and the picture is the same.
    turned = poses.copy()
    turned[:, 1] = np.pi
    (other, _) = pictures(MotionClip(turned))
    assert (np.abs(picture.astype(int) - other) > 30).any(axis=-1).mean() < 0.01


def test_mp4_has_the_frames_and_the_speech(clip: MotionClip, tmp_path: Path) -> None:
    tone = (8000 * np.sin(np.arange(20_000) * 0.1)).astype("<i2").tobytes()
    path = tmp_path / "motion.mp4"
    short = MotionClip(clip.poses[:15], clip.trans[:15], audio=tone)
    export_motion(short, path)
    said = subprocess.run(
        [ffmpeg(), "-i", path], capture_output=True, text=True, check=False
    ).stderr
    assert "Video: h264" in said and "Audio: aac" in said and "30 fps" in said
    found = re.search(r"Duration: 00:00:(\d+\.\d+)", said)
    assert found and abs(float(found[1]) - 0.5) < 0.06
    read = [ffmpeg(), "-loglevel", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    data = subprocess.run(read, capture_output=True, check=True).stdout
    frames = np.frombuffer(data, np.uint8).reshape(-1, HEIGHT, WIDTH, 3)
    assert len(frames) == 15
    drawn = next(iter(pictures(short)))
    assert np.abs(frames[0].astype(int) - drawn).mean() < 4


def test_without_ffmpeg_it_says_how_to_get_it(
    clip: MotionClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gestray.motion.export.video as video

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(video.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install gestray\[video\]"):
        export_motion(clip, tmp_path / "motion.mp4")
