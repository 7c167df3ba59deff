"""The user's own SMPL-X model: a subject's true skeleton, and the body's surface.

SMPL-X is the user's to obtain (https://smpl-x.is.tue.mpg.de), and its licence is
the user's to hold; gestray ships nothing of it. The model is a file of arrays and
its equations are published (Loper et al. 2015, "SMPL"; Pavlakos et al. 2019,
"SMPL-X"), so both are computed here, without the PyPI package `smplx`: that one is
under a non-commercial licence and unpickles what it reads. The extra `smplx`
installs it for those who hold the licence; a test then compares the two.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gestray.errors import UserError
from gestray.motion.kinematics import forward_kinematics
from gestray.motion.rotations import axis_angle_to_matrix
from gestray.motion.skeleton import JOINT_NAMES, PARENTS

_JOINTS = len(JOINT_NAMES)
# Columns of `shapedirs`: directions of the body's shape, then of the facial expression.
_SHAPES, _EXPRESSIONS = 300, 100
_EXPECTED = "expected an SMPL-X model as .npz, such as SMPLX_NEUTRAL_2020.npz"


def rest_offsets_from_smplx(model_path: str | Path, betas: np.ndarray) -> np.ndarray:
    """The rest offsets of one subject, for `forward_kinematics(rest_offsets=...)`.

    Args:
        model_path: an SMPL-X model file, ``.npz``.
        betas: shape coefficients (n,), n <= 300; missing ones count as 0.

    Returns:
        Offsets from parent to joint in metres, float32 (55, 3). Row 0 is the rest
        position of the pelvis, so that positions agree with the model's own.

    Raises:
        UserError: the file cannot be read as an SMPL-X model, or betas do not fit it.
    """
    model = SmplxModel.load(model_path)
    return model.rest_offsets(torch.as_tensor(betas, dtype=torch.float32)).numpy()


@dataclass(frozen=True)
class SmplxModel:
    """The arrays of a model file, float32, with V vertices.

    Attributes:
        template: mean shape in metres (V, 3).
        shape_directions: (V, 3, 400), 300 of shape and 100 of expression.
        pose_directions: corrections by pose (V, 3, 486).
        joint_regressor: (55, V).
        weights: skinning weights (V, 55).
        faces: vertex indices of the triangles (F, 3), int64.
    """

    template: Tensor
    shape_directions: Tensor
    pose_directions: Tensor
    joint_regressor: Tensor
    weights: Tensor
    faces: Tensor

    @classmethod
    def load(cls, path: str | Path) -> SmplxModel:
        """Reads a model file.

        Raises:
            UserError: the file is no ``.npz``, cannot be read, or lacks an array of the
                right shape. Pickled arrays are refused, since a pickle can run code.
        """
        arrays = _read(Path(path))
        v = len(arrays["v_template"])
        expected = {
            "v_template": (v, 3),
            "shapedirs": (v, 3, _SHAPES + _EXPRESSIONS),
            "posedirs": (v, 3, (_JOINTS - 1) * 9),
            "J_regressor": (_JOINTS, v),
            "weights": (v, _JOINTS),
        }
        for key, shape in expected.items():
            if arrays[key].shape != shape:
                raise UserError(
                    f"{path}: {key} has shape {arrays[key].shape}, expected {shape}; {_EXPECTED}"
                )
        template, shapes, poses, regressor, weights = (
            torch.from_numpy(arrays[key].astype(np.float32)) for key in expected
        )
        faces = torch.from_numpy(arrays["f"].astype(np.int64))
        return cls(template, shapes, poses, regressor, weights, faces)

    def rest_offsets(self, betas: Tensor) -> Tensor:
        """Offsets from parent to joint in metres (55, 3) of betas (n,); see `skeleton`.

        The joints are regressed from the shaped template (Loper et al. 2015, eq. 10). Row
        0 is the rest position of the pelvis.
        """
        joints = self.joint_regressor @ self._shaped(betas)
        offsets = joints - joints[torch.from_numpy(PARENTS.clip(min=0))]
        return torch.cat([joints[:1], offsets[1:]])

    def vertices(
        self, poses: Tensor, trans: Tensor, betas: Tensor, expressions: Tensor | None = None
    ) -> Tensor:
        """The surface (T, V, 3) in metres by linear blend skinning (Loper et al. 2015, eq. 2-9).

        Joints follow the shape alone, as published; the package `smplx` lets
        expressions move them too, a little.

        Args:
            poses: axis-angle in radians (T, 165), the hands' too (no PCA, no mean hand added).
            trans: translation in metres (T, 3).
            betas: shape coefficients (n,), n <= 300.
            expressions: expression coefficients (T, m), m <= 100; none is a neutral face.

        Raises:
            UserError: there are more coefficients than the model has directions.
        """
        rotations = axis_angle_to_matrix(poses.unflatten(-1, (_JOINTS, 3)))
        offsets = self.rest_offsets(betas)
        positions, turned = forward_kinematics(rotations, rest_offsets=offsets)
        rest = forward_kinematics(torch.eye(3).expand(_JOINTS, 3, 3), rest_offsets=offsets)[0]

        shaped = self._shaped(betas).expand(len(poses), -1, -1)
        if expressions is not None:
            _check_count("expressions", expressions.shape[-1], _EXPRESSIONS)
            directions = self.shape_directions[..., _SHAPES : _SHAPES + expressions.shape[-1]]
            shaped = shaped + torch.einsum("vcm,tm->tvc", directions, expressions)
        bend = (rotations[:, 1:] - torch.eye(3)).flatten(1)
        shaped = shaped + torch.einsum("vcp,tp->tvc", self.pose_directions, bend)

        # Each joint carries a vertex from its rest place to where the joint is now.
        carried = positions - (turned @ rest[..., None]).squeeze(-1)
        blended = torch.einsum("vj,tjab->tvab", self.weights, turned)
        moved = torch.einsum("vj,tja->tva", self.weights, carried)
        return (blended @ shaped[..., None]).squeeze(-1) + moved + trans[:, None]

    def _shaped(self, betas: Tensor) -> Tensor:
        if betas.ndim != 1:
            raise UserError(f"betas have shape {tuple(betas.shape)}, expected (n,)")
        _check_count("betas", len(betas), _SHAPES)
        return self.template + self.shape_directions[..., : len(betas)] @ betas


def _check_count(name: str, found: int, most: int) -> None:
    if found > most:
        raise UserError(f"{found} {name}, expected at most {most}")


def _read(path: Path) -> dict[str, np.ndarray]:
    keys = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f")
    if path.suffix != ".npz":
        raise UserError(f"{path}: {_EXPECTED} (a .pkl is not read: pickles can run code)")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in keys if key not in file]
            if not missing:
                return {key: file[key] for key in keys}
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); {_EXPECTED}") from error
    raise UserError(f"{path}: no {', '.join(missing)} in it; {_EXPECTED}")
