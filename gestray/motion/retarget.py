"""Motion of another skeleton on the SMPL-X joints.

What is carried over is each joint's rotation in the world, not its angles: those are
relative to a parent and a rest pose that every skeleton chooses for itself.

    G(t) = W · Q(t) · R⁻¹ · M

Q(t) is the global rotation of the source joint, R the same in its rest pose, W turns
the recording's world to y up. M is how the SMPL-X joint is turned when the SMPL-X
figure takes up the source's rest pose; it follows from the offsets alone:

- The trunk, the feet and the collarbones are only turned to face where the source
  faces: their joints lie elsewhere in each skeleton though both stand straight.
- A limb is swung, from the body outwards, until each of its bones points along the
  source's bone, by the smallest turn that does it. The hand is fitted to all knuckles.

So an A-pose, splayed legs or a different fan of the fingers cancel out, and the bones
of the limbs point the same way in the world as the source's. Extra joints between two
that are mapped are absorbed: the outer one's global rotation contains theirs. Joints
without a source follow their parents.

The root's path is scaled by the ratio of standing heights, so that feet which stood on
the ground stand on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import roma
import torch
from torch import Tensor

from gestray.errors import BadInput
from gestray.motion.bvh import Bvh
from gestray.motion.rotations import resample_linear, resample_quaternions
from gestray.motion.skeleton import FINGERS, JOINT_NAMES, PARENTS, REST_OFFSETS, joint
from gestray.motion.skeleton_map import UNITS, Match, SkeletonMap, match_joints

# The bones whose lengths make the size of a figure.
_SIZE_BONES = tuple(
    (f"{side}_{a}", f"{side}_{b}")
    for side in ("left", "right")
    for a, b in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
)
# From a child to a giant; no two units fall into it together.
_SIZES = (0.62, 1.36)
_LIMBS = (
    "hip",
    "knee",
    "shoulder",
    "elbow",
    "wrist",
    *(f"{f}{i}" for f in FINGERS for i in (1, 2)),
)
# Directions this near to an axis are meant to be the axis.
_SNAP = float(np.cos(np.deg2rad(25)))
# A trunk within 45 degrees of an axis stands along it.
_UPRIGHT = float(np.cos(np.deg2rad(45)))


@dataclass(frozen=True)
class Figure:
    """What a recording's figure was found to be.

    Attributes:
        match: which joint moves which.
        units: metres of one unit.
        unit_name: of `skeleton_map.UNITS`, or the number as the map states it.
        up: the world's axis that points up, ``y`` or ``z``.
        size: of the figure's limbs over those of the SMPL-X rest pose.
        detected: which of ``up`` and ``units`` were detected, not stated.
    """

    match: Match
    units: float
    unit_name: str
    up: str
    size: float
    detected: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Retargeted:
    """SMPL-X motion.

    Attributes:
        poses: axis-angle in radians, float32 (frames, 165).
        trans: of the pelvis in metres, y up, float32 (frames, 3).
        joint_mask: bool (55,), the joints that have a source.
        figure: what was found out on the way.
    """

    poses: np.ndarray
    trans: np.ndarray
    joint_mask: np.ndarray
    figure: Figure


def inspect_figure(bvh: Bvh, skeleton: SkeletonMap, file: str) -> Figure:
    """What `retarget` would make of a recording.

    Raises:
        BadInput: the figure does not fit the map, or up or units can neither be
            detected nor are they stated.
    """
    return BvhFigure(bvh, skeleton, file).figure


def retarget(bvh: Bvh, skeleton: SkeletonMap, file: str, fps: float = 30.0) -> Retargeted:
    """The motion of a BVH figure on the SMPL-X joints, resampled.

    Args:
        bvh: the recording, at least one frame.
        skeleton: the map of its joints.
        file: its name, for errors.
        fps: frames a second wanted.

    Raises:
        BadInput: see `inspect_figure`.
    """
    source = BvhFigure(bvh, skeleton, file)
    world = source.world_rotations(fps)
    rest = source.rest_alignment()
    match = source.figure.match
    # Global rotations of the 55 joints, parents first; unsourced ones follow the parent.
    turned: list[Tensor] = []
    local: list[Tensor] = []
    identity = torch.tensor([0.0, 0, 0, 1], dtype=torch.float64)
    for j, b in enumerate(match.sources):
        parent = turned[PARENTS[j]] if j else identity.expand(len(world[0]), 4)
        if b < 0:
            turned.append(parent)
            local.append(identity.expand_as(parent))
            continue
        turned.append(roma.quat_product(world[b], rest[j].expand_as(world[b])))
        local.append(roma.quat_product(roma.quat_conjugation(parent), turned[-1]))
    poses = roma.unitquat_to_rotvec(torch.stack(local, 1)).flatten(1).numpy().astype(np.float32)
    return Retargeted(poses, source.root_path(fps), match.sources >= 0, source.figure)


class BvhFigure:
    """A BVH figure as the map reads it: its rest pose, its world, its size."""

    def __init__(self, bvh: Bvh, skeleton: SkeletonMap, file: str) -> None:
        if not bvh.num_frames:
            raise BadInput(file, "Frames", "0", "at least 1")
        self._bvh = bvh
        self._file = file
        self._parents = [j.parent for j in bvh.joints]
        self._offsets = torch.from_numpy(np.stack([j.offset for j in bvh.joints]))
        self.match = match_joints(skeleton, bvh, file)
        self._rest = self._global(self.rest_rotations(skeleton))
        self._rest_places = self._places(self._rest, self._offsets)
        detected = [name for name in ("up", "units") if getattr(skeleton, name) == "detect"]
        up = self._detect_up() if skeleton.up == "detect" else skeleton.up
        size, unit_name, units = self._units(skeleton)
        self.figure = Figure(self.match, units, unit_name, up, size, tuple(detected))
        # z up to y up: a quarter turn about x.
        half = np.sqrt(0.5) if up == "z" else 0.0
        turn = [-half, 0, 0, np.sqrt(1 - half**2)]
        self.to_y_up = torch.tensor(turn, dtype=torch.float64)

    # --- forward kinematics of the source -----------------------------------

    def _local(self, i: int, motion: np.ndarray) -> Tensor:
        """Rotation of joint `i` relative to its parent, quaternions (frames, 4)."""
        names = [name for name in self._bvh.joints[i].channels if "rotation" in name]
        if not names:
            return torch.tensor([[0.0, 0, 0, 1]], dtype=torch.float64).expand(len(motion), 4)
        angles = torch.from_numpy(np.ascontiguousarray(motion[:, self._bvh.columns("rotation")[i]]))
        order = "".join(name[0] for name in names)
        if len(order) == 1:
            half = torch.deg2rad(angles[:, 0]) / 2
            quaternions = torch.zeros(len(motion), 4, dtype=torch.float64)
            quaternions[:, "XYZ".index(order)] = half.sin()
            quaternions[:, 3] = half.cos()
            return quaternions
        return roma.euler_to_unitquat(order, angles, degrees=True)

    def _global(self, local: list[Tensor]) -> list[Tensor]:
        turned: list[Tensor] = []
        for rotation, parent in zip(local, self._parents, strict=True):
            turned.append(rotation if parent < 0 else roma.quat_product(turned[parent], rotation))
        return turned

    def _places(self, turned: list[Tensor], offsets: Tensor) -> list[Tensor]:
        """Positions of the joints, the root's at its offset."""
        places: list[Tensor] = []
        for i, parent in enumerate(self._parents):
            if parent < 0:
                places.append(offsets[i].expand(len(turned[i]), 3))
            else:
                step = roma.quat_action(turned[parent], offsets[i].expand(len(turned[i]), 3))
                places.append(places[parent] + step)
        return places

    def rest_rotations(self, skeleton: SkeletonMap) -> list[Tensor]:
        joints = self._bvh.joints
        if skeleton.rest == "first_frame":
            return [self._local(i, self._bvh.motion[:1]) for i in range(len(joints))]
        motion = np.zeros((1, self._bvh.motion.shape[1]))
        if isinstance(skeleton.rest, dict):
            columns = self._bvh.columns("")
            for name, angles in skeleton.rest.items():
                index = self._bvh.index()
                if name not in index:
                    expected = "joints of the file; change the map"
                    raise BadInput(self._file, f"rest pose of {name}", "no such joint", expected)
                channels = joints[index[name]].channels
                for channel, angle in angles.items():
                    if channel not in channels:
                        found = f"channels {', '.join(channels)}"
                        raise BadInput(self._file, f"rest pose of {name}", found, channel)
                    motion[0, columns[index[name]][channels.index(channel)]] = angle
        return [self._local(i, motion) for i in range(len(joints))]

    # --- up and size ---------------------------------------------------------

    def _source(self, name: str) -> int:
        return int(self.match.sources[joint(name)])

    def _detect_up(self) -> str:
        """The axis along which the figure stands: over its motion, or else at rest."""
        few = self._bvh.motion[:: max(1, self._bvh.num_frames // 64)]
        moving = self._global([self._local(i, few) for i in range(len(self._parents))])
        low, high = self._source("pelvis"), self._top()
        for places in (self._places(moving, self._offsets), self._rest_places):
            trunk = (places[high] - places[low]).mean(0)
            axis = int(trunk.abs().argmax())
            if axis > 0 and trunk[axis] > _UPRIGHT * trunk.norm():
                return "xyz"[axis]
        found = f"a figure whose trunk points to {_rounded(trunk)} at rest"
        expected = "one that stands along +y or +z; state `up: y` or `up: z` in the map"
        raise BadInput(self._file, "up axis", found, expected)

    def _top(self) -> int:
        """The highest mapped joint of the trunk."""
        for name in ("head", "neck", "spine3", "left_shoulder"):
            if self._source(name) >= 0:
                return self._source(name)
        raise AssertionError("left_shoulder is required")

    def _units(self, skeleton: SkeletonMap) -> tuple[float, str, float]:
        """Size of the figure against the SMPL-X rest pose, unit's name, metres of a unit."""
        found = wanted = 0.0
        for a, b in _SIZE_BONES:
            if self._source(a) >= 0 and self._source(b) >= 0:
                places = self._rest_places
                found += float((places[self._source(b)] - places[self._source(a)]).norm())
                wanted += float(np.linalg.norm(REST_OFFSETS[joint(b)]))
        if found == 0:
            raise BadInput(self._file, "OFFSET", "limbs without length", "a figure's offsets")
        if skeleton.units != "detect":
            units = skeleton.units if isinstance(skeleton.units, float) else UNITS[skeleton.units]
            return found * units / wanted, str(skeleton.units), units
        for name, units in UNITS.items():
            if _SIZES[0] < found * units / wanted < _SIZES[1]:
                return found * units / wanted, name, units
        raise BadInput(
            self._file,
            "units",
            f"limbs of {found:.4g} units where SMPL-X has {wanted:.2f} m",
            f"a person in {', '.join(UNITS)}; state `units` in the map",
        )

    # --- rest pose -----------------------------------------------------------

    def _at_rest(self, name: str) -> np.ndarray | None:
        source = self._source(name)
        return None if source < 0 else self._rest_places[source][0].numpy()

    def _facing(self) -> np.ndarray:
        """Rotation matrix from the SMPL-X T-pose to where the rest pose faces."""
        top, pelvis = self._top(), self._source("pelvis")
        up = _snapped((self._rest_places[top][0] - self._rest_places[pelvis][0]).numpy())
        left = np.zeros(3)
        for part in ("shoulder", "hip"):
            places = [self._at_rest(f"{side}_{part}") for side in ("left", "right")]
            if places[0] is not None and places[1] is not None:
                left += places[0] - places[1]
        left = left - left @ up * up
        if np.linalg.norm(up) == 0 or np.linalg.norm(left) == 0:
            found = "a rest pose without an upright trunk or without shoulders apart"
            raise BadInput(self._file, "OFFSET", found, "a figure that stands; state `rest`")
        left = _snapped(left)
        left = left - left @ up * up
        left /= np.linalg.norm(left)
        return np.stack([left, up, np.cross(left, up)], axis=1)

    def rest_alignment(self) -> list[Tensor]:
        """R⁻¹ · M of every SMPL-X joint, quaternions (4,)."""
        facing = self._facing()
        turned: list[np.ndarray] = []
        found: list[Tensor] = []
        for j, name in enumerate(JOINT_NAMES):
            side, _, part = name.partition("_")
            inherits = side in ("left", "right") and part not in ("hip", "collar", "ankle", "foot")
            matrix = turned[PARENTS[j]] if inherits else facing
            if side in ("left", "right") and part in _LIMBS:
                matrix = self._aligned(side, part, matrix)
            turned.append(matrix)
            quaternion = roma.rotmat_to_unitquat(torch.from_numpy(matrix))
            source = self.match.sources[j]
            if source >= 0:
                rest = self._rest[source][0]
                quaternion = roma.quat_product(roma.quat_conjugation(rest), quaternion)
            found.append(quaternion)
        return found

    def _aligned(self, side: str, part: str, matrix: np.ndarray) -> np.ndarray:
        """`matrix` turned so that the limb's bones point as in the source's rest pose."""
        here = self._at_rest(f"{side}_{part}")
        pairs = []
        for child in _children(part):
            there = self._at_rest(f"{side}_{child}")
            if here is None or there is None or np.linalg.norm(there - here) == 0:
                continue
            bone = matrix @ REST_OFFSETS[joint(f"{side}_{child}")]
            pairs.append((_unit(bone), _unit(there - here)))
        if not pairs:
            return matrix
        ours, theirs = (
            np.stack(vectors).astype(np.float64) for vectors in zip(*pairs, strict=True)
        )
        if len(pairs) > 1 and np.linalg.svd(theirs)[1][1] > 0.1:
            turn = roma.special_procrustes(torch.from_numpy(theirs.T @ ours)).numpy()
        else:
            turn = _smallest_turn(ours.mean(0), theirs.mean(0))
        return turn @ matrix

    # --- motion --------------------------------------------------------------

    def world_rotations(self, fps: float) -> list[Tensor]:
        """Global rotations of the source's joints at `fps`, in a world with y up."""
        local = []
        for i in range(len(self._parents)):
            rotations = self._local(i, self._bvh.motion)
            local.append(resample_quaternions(rotations[:, None], self._bvh.fps, fps)[:, 0])
        turned = self._global(local)
        return [roma.quat_product(self.to_y_up.expand_as(q), q) for q in turned]

    def root_path(self, fps: float) -> np.ndarray:
        """Position of the pelvis in metres at `fps`, for a figure of SMPL-X's height.

        Other joints than the pelvis and those before it keep their offsets: bones have
        one length.
        """
        chain = [self._source("pelvis")]
        while self._parents[chain[0]] >= 0:
            chain.insert(0, self._parents[chain[0]])
        place = torch.zeros(self._bvh.num_frames, 3, dtype=torch.float64)
        turned = torch.tensor([0.0, 0, 0, 1], dtype=torch.float64).expand(len(place), 4)
        for i in chain:
            place = place + roma.quat_action(turned, self._step(i))
            turned = roma.quat_product(turned, self._local(i, self._bvh.motion))
        metres = place * self.figure.units * self.height_ratio()
        upright = roma.quat_action(self.to_y_up.expand(len(place), 4), metres)
        return resample_linear(upright.numpy(), self._bvh.fps, fps)

    def _step(self, i: int) -> Tensor:
        """Offset of joint `i` from its parent (frames, 3), with its position channels.

        Programs write positions in place of the offset or on top of it; which, shows
        in whether they are nearer to the offset or to zero.
        """
        offset = self._offsets[i].expand(self._bvh.num_frames, 3)
        axes = [name[0] for name in self._bvh.joints[i].channels if "position" in name]
        if not axes:
            return offset
        moved = self._bvh.motion[:, self._bvh.columns("position")[i]]
        order = ["XYZ".index(axis) for axis in axes]
        written = torch.from_numpy(moved.copy())
        in_place = (written - offset[:, order]).mean(0).norm() <= written.mean(0).norm()
        step = offset.clone()
        step[:, order] = written if in_place else offset[:, order] + written
        return step

    def height_ratio(self) -> float:
        """Height of the pelvis above the ankles when standing, SMPL-X's over the source's."""
        up = self._facing()[:, 1]
        ours, theirs = 0.0, 0.0
        for side in ("left", "right"):
            places = [self._at_rest(n) for n in ("pelvis", *(f"{side}_{p}" for p in _LEG))]
            if any(place is None for place in places):
                continue
            pelvis, hip, knee, ankle = (place for place in places if place is not None)
            legs = np.linalg.norm(knee - hip) + np.linalg.norm(ankle - knee)
            theirs += float((pelvis - hip) @ up + legs)
            ours += -float(sum(REST_OFFSETS[joint(f"{side}_{part}")][1] for part in _LEG))
        return ours / (theirs * self.figure.units) if theirs > 0 else 1 / self.figure.size


_LEG = ("hip", "knee", "ankle")


def _children(part: str) -> tuple[str, ...]:
    """The joints at whose bones a limb's joint is aligned."""
    if part == "wrist":
        return tuple(f"{finger}1" for finger in FINGERS if finger != "thumb")
    chain = {"hip": "knee", "knee": "ankle", "shoulder": "elbow", "elbow": "wrist"}
    return (chain.get(part) or f"{part[:-1]}{int(part[-1]) + 1}",)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _snapped(vector: np.ndarray) -> np.ndarray:
    """Unit vector of `vector`, or the axis it nearly points along; zero stays zero."""
    length = np.linalg.norm(vector)
    if length == 0:
        return vector
    axis = int(np.argmax(np.abs(vector)))
    if abs(vector[axis]) < _SNAP * length:
        return vector / length
    snapped = np.zeros(3)
    snapped[axis] = np.sign(vector[axis])
    return snapped


def _smallest_turn(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The rotation matrix by the smallest angle that turns one direction to another."""
    start, end = _unit(start), _unit(end)
    axis = np.cross(start, end)
    sine, cosine = np.linalg.norm(axis), start @ end
    if sine < 1e-12:
        # Any axis across will do for half a turn.
        axis = np.cross(start, np.eye(3)[int(np.argmin(np.abs(start)))])
        angle = 0.0 if cosine > 0 else np.pi
    else:
        angle = float(np.arctan2(sine, cosine))
    return roma.rotvec_to_rotmat(torch.from_numpy(_unit(axis) * angle)).numpy()


def _rounded(vector: Tensor) -> str:
    return "(" + ", ".join(f"{float(value):.2f}" for value in vector) + ")"
