"""Where the frames of one token meet those of the next: the jump is taken off.

A decoder writes a token's frames at once, and they begin where the codes say, not where the
token before ended. A recording's codes know of each other and jump little; drawn ones do not,
and a jump every few frames is seen as a tremble. Here a token begins where the one before it
would have gone on to, and comes back to itself within its own frames, so nothing has to wait
for what comes next.

Shapes: B streams, T frames, C channels, N frames of a token.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gestray.motion.rotations import matrix_to_sixd, sixd_to_matrix
from gestray.tokenizers.parts import Extra, Frames

_HEALED: tuple[Extra, ...] = ("translation", "expressions")


class Joins:
    """Takes the jumps off frames as they come, a whole number of tokens at a time."""

    def __init__(self, per_token: int) -> None:
        self.per_token = per_token
        # What of a jump is still left in each frame of the token (N, 1).
        self._left = 1 - torch.arange(per_token)[:, None] / per_token
        self._last: Tensor | None = None  # (B, 2, C): where the token before ended

    def __call__(self, frames: Frames) -> Frames:
        """The same frames (B, T, …), joined to those before."""
        if self.per_token < 2:
            return frames
        sixd = matrix_to_sixd(frames.rotations).flatten(-2)
        extras = [frames.extras[name] for name in _HEALED if name in frames.extras]
        widths = [sixd.shape[-1], *(extra.shape[-1] for extra in extras)]
        channels_BTC = torch.cat([sixd, *extras], dim=-1)
        left = self._left.to(channels_BTC)
        healed = []
        for token_BNC in channels_BTC.split(self.per_token, dim=1):
            if self._last is not None:
                before, end = self._last.unbind(1)
                step = (end - before + token_BNC[:, 1] - token_BNC[:, 0]) / 2
                jump = end + step - token_BNC[:, 0]
                token_BNC = token_BNC + jump[:, None] * left
            self._last = token_BNC[:, -2:]
            healed.append(token_BNC)
        sixd, *joined = torch.cat(healed, dim=1).split(widths, dim=-1)
        names = [name for name in _HEALED if name in frames.extras]
        return Frames(
            sixd_to_matrix(sixd.unflatten(-1, (-1, 6))),
            frames.extras | dict(zip(names, joined, strict=True)),
        )
