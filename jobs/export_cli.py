"""`gestray export`: a motion as a file that animators and engines open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gestray.errors import UserError
from jobs.command import AsJson, Store, chosen, print_json
from jobs.display import remarks, results

if TYPE_CHECKING:
    from gestray.corpora.take import Take
    from gestray.motion.export import MotionClip


def export(
    motion: Annotated[str, typer.Argument(help="Id of a take, or an npz of SMPL-X motion.")],
    out: Annotated[
        Path, typer.Option("--out", help="File to write: .npz .bvh .glb .vrma .fbx or .mp4.")
    ],
    start_s: Annotated[float, typer.Option("--start", min=0, help="Seconds.")] = 0.0,
    end_s: Annotated[float | None, typer.Option("--end", min=0, help="Seconds.")] = None,
    audio: Annotated[
        Path | None, typer.Option(help="Speech of an npz; else the wav beside it.")
    ] = None,
    skeleton: Annotated[
        str | None,
        typer.Option(help="For .bvh: a name of `ingest skeletons`, or a YAML file."),
    ] = None,
    rig: Annotated[
        str | None, typer.Option(help="For .bvh: a file with the figure to move.")
    ] = None,
    takes: Annotated[
        str | None, typer.Option(help="Artifact that the take is in; the newest otherwise.")
    ] = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Write a motion as SMPL-X npz, BVH, GLB, VRMA, FBX or MP4, by the ending of --out.

    Examples: `gestray export 2_scott_0_1_1 --out take.glb`; `gestray export motion.npz --out
    motion.mp4 --audio speech.wav`; `gestray export motion.npz --out motion.bvh --skeleton mixamo
    --rig character.bvh`. What each format holds and who opens it: docs/exports.md.
    """
    from gestray.motion.export import check_export, export_motion

    kind = check_export(out, skeleton, rig)
    clip = _clip(motion, takes, store, audio, start_s, end_s)
    export_motion(clip, out, skeleton, rig)
    size = out.stat().st_size
    if as_json:
        print_json(
            {
                "file": str(out),
                "format": kind,
                "frames": len(clip),
                "seconds": clip.seconds,
                "bytes": size,
            }
        )
        return
    remarks.print(f"{len(clip)} frames, {clip.seconds:.1f} s, {size / 1e6:.1f} MB")
    results.print(str(out), markup=False, soft_wrap=True)


def _clip(
    motion: str,
    takes: str | None,
    store: str | None,
    audio: Path | None,
    start_s: float,
    end_s: float | None,
) -> MotionClip:
    from gestray.corpora.motion_file import read_motion_file
    from gestray.corpora.take import FPS
    from gestray.motion.export import MotionClip
    from gestray.speech.audio import read_audio, samples_of_frames

    take = read_motion_file(motion) if motion.endswith(".npz") else _take(motion, takes, store)
    if take.poses is None:
        raise UserError(f"{motion}: this take has no motion to export")
    clip = MotionClip(take.poses, take.trans, take.expressions, take.betas, take.audio)
    if audio is not None:
        clip = replace(clip, audio=read_audio(audio))
    first = round(start_s * FPS)
    last = len(clip) if end_s is None else min(round(end_s * FPS), len(clip))
    if first >= last:
        raise UserError(
            f"--start {start_s:g} --end {end_s or clip.seconds:g}: found no frame between them; "
            f"{motion} is {clip.seconds:.2f} s long"
        )
    samples = samples_of_frames(first, last)
    return replace(
        clip,
        poses=clip.poses[first:last],
        trans=None if clip.trans is None else clip.trans[first:last],
        expressions=None if clip.expressions is None else clip.expressions[first:last],
        audio=clip.audio and clip.audio[2 * samples.start : 2 * samples.stop],
    )


def _take(take_id: str, takes: str | None, store: str | None) -> Take:
    from gestray.corpora.take import TAKE_SCHEMA
    from gestray.corpora.take import Take as TakeRow
    from gestray.views.catalog import read_catalog, read_columns

    found = chosen("takes", takes, store)
    refs = {ref.take_id: ref for ref in read_catalog(found.folder)}
    if take_id not in refs:
        import difflib

        near = ", ".join(difflib.get_close_matches(take_id, refs, cutoff=0.4)) or "none is near"
        raise UserError(f"{found.uri}: found no take {take_id!r} among {len(refs)} ({near})")
    return TakeRow.from_row(read_columns(found.folder, refs[take_id], TAKE_SCHEMA.names))
