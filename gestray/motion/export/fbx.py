"""FBX by way of Blender, for Unreal, MotionBuilder and Maya.

FBX has no open specification. Blender, which is free and under the GPL, writes it; it runs as
a process of its own that imports the GLB and exports FBX. Found as, in this order:
`$GESTRAY_BLENDER` (the program ``blender``, or a Python that has the package ``bpy``), ``blender``
on the path, this Python if it has ``bpy``.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from gestray.errors import UserError
from gestray.motion.export.clip import MotionClip
from gestray.motion.export.gltf import glb

_TIMEOUT_S = 900

# Runs in Blender: argument 1 is the GLB, 2 the FBX, 3 the frames a second. Leaf bones would
# be joints that nobody has, and simplified curves would not be the motion.
_SCRIPT = """
import sys
import bpy

source, target, fps = sys.argv[-3:]
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.context.scene.render.fps = round(float(fps))
bpy.context.scene.render.fps_base = round(float(fps)) / float(fps)
bpy.ops.import_scene.gltf(filepath=source, bone_heuristic="BLENDER")
for thing in list(bpy.data.objects):  # the shape that the importer draws bones with
    if thing.type == "MESH" and not thing.vertex_groups:
        bpy.data.objects.remove(thing)
scene = bpy.context.scene  # it bakes its own range of frames, which is not the motion's
scene.frame_start, scene.frame_end = (round(f) for f in bpy.data.actions[0].frame_range)
bpy.ops.export_scene.fbx(
    filepath=target, add_leaf_bones=False, bake_anim=True, bake_anim_simplify_factor=0.0,
    bake_anim_use_all_actions=False, bake_anim_use_nla_strips=False, axis_forward="-Z", axis_up="Y",
    object_types={"ARMATURE", "MESH"},
)
"""


def write_fbx(clip: MotionClip, path: Path) -> None:
    """Write the avatar in motion as FBX.

    Raises:
        UserError: there is no Blender, or it failed.
    """
    command = blender()
    with tempfile.TemporaryDirectory() as folder:
        source, script = Path(folder) / "motion.glb", Path(folder) / "to_fbx.py"
        source.write_bytes(glb(clip))
        script.write_text(_SCRIPT, encoding="utf-8")
        arguments = [str(source), str(path.absolute()), str(clip.fps)]
        if Path(command).stem.startswith("blender"):
            whole = [command, "--background", "--factory-startup", "--python", str(script), "--"]
        else:
            whole = [command, str(script)]
        ended = subprocess.run(
            [*whole, *arguments], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    if ended.returncode or not path.exists():
        last = "\n".join((ended.stderr or ended.stdout).strip().splitlines()[-5:])
        raise UserError(f"{path.name}: Blender ({command}) wrote no FBX: {last}")


def blender() -> str:
    """The program that runs Blender's Python.

    Raises:
        UserError: there is none; says how to get one.
    """
    if given := os.environ.get("GESTRAY_BLENDER"):
        if not (found := shutil.which(given)):
            raise UserError(f"GESTRAY_BLENDER={given}: found no such program")
        return found
    if found := shutil.which("blender"):
        return found
    if importlib.util.find_spec("bpy"):
        return sys.executable
    raise UserError(
        "FBX is written by Blender, and none was found; install it (https://www.blender.org), or "
        "`pip install bpy` into an environment of its own, and set GESTRAY_BLENDER to blender or "
        "that environment's python; or export .glb, which Blender and Unreal import"
    )
