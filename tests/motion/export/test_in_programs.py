"""Exported files in the programs they are made for: the glTF validator, three.js in Chromium,
three-vrm, Blender. They come from npm into a temporary folder, or must be installed; slow.
"""

from __future__ import annotations

import base64
import io
import json
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gestray.errors import UserError
from gestray.motion.export import MotionClip, export_motion, grounded
from gestray.motion.export.fbx import blender
from gestray.motion.export.gltf import VRM_BONES, GltfDocument
from gestray.motion.skeleton import JOINT_NAMES
from tests.motion.export.conftest import joints_of

pytestmark = pytest.mark.slow

PACKAGES = (
    "three@0.180",
    "@pixiv/three-vrm@3",
    "@pixiv/three-vrm-animation@3",
    "gltf-validator@2.0.0-dev.3.10",
)
FRAMES = (0, 17, 41)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `node_modules`, and the page that plays files."""
    if not shutil.which("npm") or not shutil.which("node"):
        pytest.skip("no node and npm")
    folder = tmp_path_factory.mktemp("site")
    command = ["npm", "install", "--no-audit", "--no-fund", *PACKAGES]
    installed = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    if installed.returncode:
        pytest.skip(f"npm cannot install three.js: {installed.stderr[-300:]}")
    shutil.copy(Path(__file__).with_name("play.html"), folder)
    return folder


class _Site(SimpleHTTPRequestHandler):
    reports: queue.Queue[dict[str, Any]]

    def do_POST(self) -> None:
        self.reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def played(site: Path, tmp_path: Path) -> Iterator[Any]:
    """Plays a file of `site` in Chromium; gives the page's report."""
    chromium = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if not chromium:
        pytest.skip("no Chromium")
    handler = type("Handler", (_Site,), {"reports": queue.Queue()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browsers = []

    def play(**files: str) -> dict[str, Any]:
        times = ",".join(str(frame / 30) for frame in FRAMES)
        query = "&".join(f"{name}={file}" for name, file in files.items())
        url = f"http://127.0.0.1:{server.server_port}/play.html?times={times}&{query}"
        flags = ["--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-sync"]
        flags += ["--disable-background-networking", "--disable-component-update"]
        flags += ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        flags += [f"--user-data-dir={tmp_path / 'profile'}", "--remote-debugging-port=0"]
        browsers.append(
            subprocess.Popen(
                [chromium, *flags, url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        )
        report = handler.reports.get(timeout=120)
        assert report["error"] is None, report["error"]
        return report

    yield play
    for browser in browsers:
        browser.kill()
        browser.wait()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("kind", ["glb", "vrma"])
def test_the_validator_finds_nothing(kind: str, clip: MotionClip, site: Path) -> None:
    path = site / f"checked.{kind}"
    export_motion(clip, path)
    script = """
    const validator = require('gltf-validator'), fs = require('fs');
    validator.validateBytes(new Uint8Array(fs.readFileSync(process.argv[1])))
      .then((report) => console.log(JSON.stringify(report.issues)));
    """
    said = subprocess.run(
        ["node", "-e", script, str(path)], cwd=site, capture_output=True, text=True, check=True
    ).stdout
    issues = json.loads(said)
    known = (
        {"UNSUPPORTED_EXTENSION"} if kind == "vrma" else set()
    )  # the validator knows Khronos' own
    found = [message for message in issues["messages"] if message["code"] not in known]
    assert not issues["numErrors"] and not issues["numWarnings"], found
    # Joints without a surface of their own are nodes that nothing draws: a hint, in VRMA.
    assert {message["code"] for message in found} <= {"NODE_EMPTY"}, found


def test_three_js_plays_the_glb(clip: MotionClip, site: Path, played: Any) -> None:
    export_motion(clip, site / "motion.glb")
    report = played(avatar="motion.glb")
    assert report["tracks"] == 1 + len(JOINT_NAMES)
    assert report["duration"] == pytest.approx((len(clip) - 1) / 30, abs=1e-4)
    wanted, _ = joints_of(clip)
    for frame, places in zip(FRAMES, report["places"], strict=True):
        found = np.array([places[name] for name in JOINT_NAMES])
        assert np.linalg.norm(found - wanted[frame], axis=-1).max() < 1e-3
    pictures = [_picture(data) for data in report["pictures"]]
    background = pictures[0][2, 2].astype(int)
    for picture in pictures:
        covered = (np.abs(picture.astype(int) - background) > 20).any(axis=-1).mean()
        assert 0.02 < covered < 0.6  # somebody stands there
    assert np.abs(pictures[0].astype(int) - pictures[1]).mean() > 1  # and moves


def test_three_vrm_plays_the_vrma_on_an_avatar(clip: MotionClip, site: Path, played: Any) -> None:
    (site / "avatar.vrm").write_bytes(_vrm())
    export_motion(clip, site / "motion.vrma")
    report = played(avatar="avatar.vrm", vrma="motion.vrma")
    wanted, _ = joints_of(clip)
    for frame, places in zip(FRAMES, report["places"], strict=True):
        for name, bone in VRM_BONES.items():
            apart = np.linalg.norm(np.array(places[bone]) - wanted[frame, JOINT_NAMES.index(name)])
            assert apart < 1e-3, (frame, bone, apart)


def _vrm() -> bytes:
    """A VRM 1.0 avatar: gestray's own, with the bones of a humanoid named."""
    document = GltfDocument()
    document.add_avatar(document.add_skeleton())
    bones = {VRM_BONES[n]: {"node": j} for j, n in enumerate(JOINT_NAMES) if n in VRM_BONES}
    licence = "https://vrm.dev/licenses/1.0/"
    meta = {"name": "avatar", "version": "1", "authors": ["gestray"], "licenseUrl": licence}
    document.gltf.extensionsUsed = ["VRMC_vrm"]
    document.gltf.extensions = {
        "VRMC_vrm": {"specVersion": "1.0", "meta": meta, "humanoid": {"humanBones": bones}}
    }
    return document.to_bytes()


def _picture(data: str) -> np.ndarray:
    return np.asarray(
        Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2]))).convert("RGB")
    )


_READ_FBX = """
import json, sys
import bpy
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.import_scene.fbx(filepath=sys.argv[-2])
(armature,) = [thing for thing in bpy.data.objects if thing.type == "ARMATURE"]
meshes = [thing for thing in bpy.data.objects if thing.type == "MESH"]
scene, found = bpy.context.scene, []
first = armature.animation_data.action.frame_range[0]
for frame in json.loads(sys.argv[-1]):
    scene.frame_set(int(first) + frame)
    bones = armature.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones
    found.append({b.name: list(armature.matrix_world @ b.head) for b in bones})
print("FOUND" + json.dumps({"places": found, "meshes": len(meshes), "fps": scene.render.fps}))
"""


def test_blender_reads_the_fbx(clip: MotionClip, tmp_path: Path) -> None:
    try:
        command = blender()
    except UserError as error:
        pytest.skip(str(error))
    path, script = tmp_path / "motion.fbx", tmp_path / "read.py"
    export_motion(clip, path)
    script.write_text(_READ_FBX)
    said = subprocess.run(
        [command, script, path, json.dumps(FRAMES)],
        capture_output=True, text=True, check=True, timeout=600, env=dict(os.environ),
    ).stdout  # fmt: skip
    report = json.loads(said.partition("FOUND")[2].splitlines()[0])
    wanted, _ = joints_of(clip)
    assert report["meshes"] == 1 and report["fps"] == 30
    for frame, places in zip(FRAMES, report["places"], strict=True):
        found = np.array([places[name] for name in JOINT_NAMES])[:, [0, 2, 1]] * [1, 1, -1]
        assert np.linalg.norm(found - wanted[frame], axis=-1).max() < 1e-3
    assert len(grounded(clip)) == len(clip)
