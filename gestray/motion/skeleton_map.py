"""Maps from other skeletons to the 55 SMPL-X joints: YAML files that a person can write.

A map says which joint of a recording moves which joint of SMPL-X, and what the
recording's numbers mean. Everything else follows from the recording's own offsets (see
`retarget.py`). Maps of common skeletons are in ``skeletons/``; docs/ingest.md explains
how to write another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, field_validator

from gestray.config import Config, make_config, read_yaml
from gestray.errors import BadInput, UserError
from gestray.motion.bvh import Bvh
from gestray.motion.skeleton import JOINT_NAMES, joint

_SHIPPED = Path(__file__).with_name("skeletons")

#: Metres of one unit. The CMU recordings count in 1/0.45 inches.
UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "inch": 0.0254, "cmu": 0.0254 / 0.45}

#: Without these there is no telling where a figure's up and left are.
REQUIRED = ("pelvis", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow")


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class SkeletonMap(Config):
    """How a skeleton's joints stand for those of SMPL-X.

    Args:
        description: which skeleton this is, for lists.
        joints: for an SMPL-X joint the joint of the recording whose rotation it takes:
            a name, or several of which the first counts that exists and that no joint
            above in the map has taken. SMPL-X joints that are not named stay at rest.
        ignore_prefix: a regular expression; what it matches at the beginning of a
            name counts as absent, such as ``mixamorig:``.
        up: the axis that points up, or ``detect``: the one along which the figure stands.
        units: a name of `UNITS`, metres of one unit, or ``detect``: from the size of
            the figure.
        rest: the pose that corresponds to SMPL-X's T-pose up to the directions of limbs:
            ``zero`` (all angles zero), ``first_frame``, or angles of joints in
            degrees by channel, such as ``{LeftArm: {Zrotation: -90}}``; the others zero.
    """

    description: str = ""
    joints: dict[str, Names] = Field(min_length=1)
    ignore_prefix: str | None = None
    up: Literal["y", "z", "detect"] = "detect"
    units: Annotated[float, Field(gt=0)] | Literal["m", "cm", "mm", "inch", "cmu", "detect"] = (
        "detect"
    )
    rest: Literal["zero", "first_frame"] | dict[str, dict[str, float]] = "zero"

    @field_validator("joints")
    @classmethod
    def _known(cls, joints: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name in joints:
            joint(name)
        absent = [name for name in REQUIRED if not joints.get(name)]
        if absent:
            raise ValueError(f"no source for {', '.join(absent)}, which every map needs")
        return joints

    @field_validator("ignore_prefix")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return pattern


def shipped_maps() -> dict[str, SkeletonMap]:
    """The maps that come with gestray, by name."""
    return {path.stem: load_map(str(path)) for path in sorted(_SHIPPED.glob("*.yaml"))}


def load_map(name_or_path: str) -> SkeletonMap:
    """A shipped map by its name, or one from a YAML file.

    Raises:
        UserError: no such map, or a key or joint that nothing has; the nearest is named.
    """
    path = _SHIPPED / f"{name_or_path}.yaml"
    if "/" in name_or_path or not path.is_file():
        path = Path(name_or_path)
    if not path.is_file():
        names = ", ".join(file.stem for file in sorted(_SHIPPED.glob("*.yaml")))
        raise UserError(
            f"skeleton {name_or_path!r}: found no such file; expected a YAML file "
            f"or one of the shipped maps: {names}"
        )
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        raise UserError(f"{path}: expected a mapping with the key 'joints'")
    return make_config(SkeletonMap, tree, str(path))


@dataclass(frozen=True)
class Match:
    """A map applied to a figure.

    Attributes:
        sources: the figure's joint for each SMPL-X joint, int (55,); -1 where none.
        absorbed: joints that no SMPL-X joint takes but whose rotation reaches one
            farther out, such as a second spine joint.
        dropped: joints whose motion is lost, such as finger tips.
    """

    sources: np.ndarray
    absorbed: tuple[str, ...]
    dropped: tuple[str, ...]

    @property
    def at_rest(self) -> tuple[str, ...]:
        """SMPL-X joints without a source."""
        return tuple(JOINT_NAMES[i] for i in np.flatnonzero(self.sources < 0))


def match_joints(skeleton: SkeletonMap, bvh: Bvh, file: str) -> Match:
    """Which joint of the figure moves which joint of SMPL-X.

    Raises:
        BadInput: a joint that every figure needs is missing, or two are called the
            same without their prefix.
    """
    index: dict[str, int] = {}
    for name, i in bvh.index().items():
        short = re.sub(rf"\A(?:{skeleton.ignore_prefix or ''})", "", name)
        if short in index:
            raise BadInput(file, f"joint {name}", f"a second {short!r}", "each name once")
        index[short] = i
    sources = np.full(len(JOINT_NAMES), -1)
    for target, names in skeleton.joints.items():
        free = (index[name] for name in names if name in index and index[name] not in sources)
        sources[joint(target)] = next(free, -1)
    for target in REQUIRED:
        if sources[joint(target)] < 0:
            found = f"none called {' or '.join(skeleton.joints[target])} (of {_some(list(index))})"
            raise BadInput(file, f"joint for {target}", found, "a joint as the map names it")
    used = set(sources[sources >= 0].tolist())
    leads_to_source = np.zeros(len(bvh.joints), dtype=bool)
    for i in reversed(range(len(bvh.joints))):
        parent = bvh.joints[i].parent
        if parent >= 0 and (leads_to_source[i] or i in used):
            leads_to_source[parent] = True
    unmapped = [i for i in range(len(bvh.joints)) if i not in used]
    return Match(
        sources,
        tuple(bvh.joints[i].name for i in unmapped if leads_to_source[i]),
        tuple(bvh.joints[i].name for i in unmapped if not leads_to_source[i]),
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
