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
        # How much of a jump the next token's has to take over: of the two frames that it goes on
        # from, 1 / N and 2 / N are left.
        self._handed_on = (3 - 2) / (2 * per_token)
        self._ended: Tensor | None = None

    def __call__(self, frames: Frames) -> Frames:
        """The same frames (B, T, …), joined to those before."""
        frames, self._ended = self.join(frames, self._ended)
        return frames

    def join(self, frames: Frames, ended: Tensor | None) -> tuple[Frames, Tensor | None]:
        """The same frames, joined to what ended so, and how they end.

        That is (B, 3, C): the last two frames as they came, and the jump that was taken off.
        """
        if self.per_token < 2:
            return frames, None
        sixd = matrix_to_sixd(frames.rotations).flatten(-2)
        extras = [frames.extras[name] for name in _HEALED if name in frames.extras]
        widths = [sixd.shape[-1], *(extra.shape[-1] for extra in extras)]
        channels_BTC = torch.cat([sixd, *extras], dim=-1)
        left = self._left.to(channels_BTC)
        tokens_BKNC = channels_BTC.unflatten(1, (-1, self.per_token))
        ends_BK2C = tokens_BKNC[:, :-1, -2:]
        if ended is None:  # where motion begins there is no jump
            begin_BKC, second_BKC = tokens_BKNC[:, 1:, :2].unbind(2)
            jumps = [torch.zeros_like(channels_BTC[:, 0])]
        else:
            begin_BKC, second_BKC = tokens_BKNC[:, :, :2].unbind(2)
            ends_BK2C = torch.cat([ended[:, None, :2], ends_BK2C], dim=1)
            jumps = [ended[:, 2]]
        before_BKC, end_BKC = ends_BK2C.unbind(2)
        # Of the frames as they came, all at once; what was taken off before it comes on top.
        step_BKC = (end_BKC - before_BKC + second_BKC - begin_BKC) / 2
        for jump_BC in (end_BKC + step_BKC - begin_BKC).unbind(1):
            jumps.append(jump_BC + self._handed_on * jumps[-1])
        ended = torch.cat([tokens_BKNC[:, -1, -2:], jumps[-1][:, None]], dim=1)
        jumps_BKC = torch.stack(jumps[-tokens_BKNC.shape[1] :], dim=1)
        healed_BKNC = tokens_BKNC + jumps_BKC[:, :, None] * left
        sixd, *joined = healed_BKNC.flatten(1, 2).split(widths, dim=-1)
        names = [name for name in _HEALED if name in frames.extras]
        joined_extras = frames.extras | dict(zip(names, joined, strict=True))
        return Frames(sixd_to_matrix(sixd.unflatten(-1, (-1, 6))), joined_extras), ended
