"""The vectors that codes stand for: looked up, summed over the levels, searched.

Shapes: L levels, P parts, S codes of a codebook, D width of a code; N tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Codebooks:
    """Of all parts and levels of a tokenizer.

    Args:
        vectors: (L, P, S, D).
    """

    vectors: Tensor

    def look_up(self, level: int, codes: Tensor) -> Tensor:
        """Vectors (…, P, D) of one level's codes (…, P)."""
        return self.vectors[level][self._part, codes]

    def of_parts(self, level: int, codes_PN: Tensor) -> Tensor:
        """The same, parts first: (P, N, D)."""
        return self.vectors[level][self._part[:, None], codes_PN]

    def sums(self, codes: Tensor) -> Tensor:
        """Sums over the levels (…, P, D) of the vectors of codes (…, P, L).

        To the bit those that `CodeHeads.draw` gives: level by level.
        """
        coarse, *finer = codes.unbind(-1)
        found = self.look_up(0, coarse)
        for level, of_level in enumerate(finer, start=1):
            found = found + self.look_up(level, of_level)
        return found

    def nearest(self, level: int, wanted_PND: Tensor) -> Tensor:
        """Codes (P, N) of one level whose vectors lie nearest to those wanted."""
        # ½ |wanted − v|² less ½ |wanted|²; `torch.cdist` takes five times as long, most of it to
        # square all vectors of the codebooks anew.
        apart_PNS = torch.baddbmm(self._half_squares[level], wanted_PND, self._away[level])
        return apart_PNS.argmin(-1)

    @cached_property
    def _part(self) -> Tensor:
        return torch.arange(self.vectors.shape[1], device=self.vectors.device)

    @cached_property
    def _half_squares(self) -> Tensor:
        """(L, P, 1, S)."""
        return self.vectors.square().sum(-1)[:, :, None] / 2

    @cached_property
    def _away(self) -> Tensor:
        """(L, P, D, S): the vectors, turned round."""
        return -self.vectors.transpose(2, 3).contiguous()
