"""Motion as files that others open: animators, engines, browsers, the field's own code.

`export_motion` chooses the format by the name's ending (`FORMATS`). docs/exports.md says
what each holds and which programs open it.
"""

from __future__ import annotations

from pathlib import Path

from gestray.errors import UserError
from gestray.motion.export.clip import MotionClip, grounded

__all__ = ["FORMATS", "MotionClip", "check_export", "export_motion", "grounded"]

FORMATS = ("npz", "bvh", "glb", "vrma", "fbx", "mp4")


def check_export(path: str | Path, skeleton: str | None = None, rig: str | None = None) -> str:
    """The format that a file's name asks for; so that one can fail before a long work.

    Raises:
        UserError: no format ends so, its folder does not exist, a program that the format needs
            is missing, or `skeleton` or `rig` is given for another format than BVH.
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        endings = ", ".join(f".{name}" for name in FORMATS)
        raise UserError(f"{path}: found the ending {path.suffix!r}, expected one of {endings}")
    if kind != "bvh" and (skeleton or rig):
        raise UserError(f"{path}: a skeleton is chosen for .bvh only; other formats have their own")
    if rig and not skeleton:
        raise UserError(f"rig {rig}: say with a skeleton map what its joints are called")
    if not path.parent.is_dir():
        raise UserError(f"{path}: found no folder {path.parent}; make it first")
    if kind == "fbx":
        from gestray.motion.export.fbx import blender

        blender()
    elif kind == "mp4":
        from gestray.motion.export.video import ffmpeg

        ffmpeg()
    return kind


def export_motion(
    clip: MotionClip,
    path: str | Path,
    skeleton: str | None = None,
    rig: str | None = None,
) -> None:
    """Write a motion as a file, whole or not at all.

    Args:
        clip: the motion.
        path: ends in one of `FORMATS`.
        skeleton: of a BVH file: a shipped map's name, or a YAML file; None: the 55 joints.
        rig: a BVH file whose hierarchy and rest pose the motion goes on, mapped by
            `skeleton`; None: bones as SMPL-X has them, under the map's names.

    Raises:
        UserError: see `check_export`; or the program that the format needs failed.
    """
    kind, path = check_export(path, skeleton, rig), Path(path)
    partial = path.with_name(f".{path.name}.partial.{kind}")
    try:
        if kind == "npz":
            from gestray.motion.export.npz import write_npz

            with partial.open("wb") as stream:
                write_npz(clip, stream)
        elif kind == "bvh":
            from gestray.motion.export.rig import bvh_of

            partial.write_text(bvh_of(clip, skeleton, rig), encoding="utf-8")
        elif kind in ("glb", "vrma"):
            from gestray.motion.export import gltf

            partial.write_bytes(gltf.glb(clip) if kind == "glb" else gltf.vrma(clip))
        elif kind == "fbx":
            from gestray.motion.export.fbx import write_fbx

            write_fbx(clip, partial)
        else:
            from gestray.motion.export.video import write_mp4

            write_mp4(clip, partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
