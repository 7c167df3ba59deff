"""Objectives within phrases: gestures of single words, and moments in time.

Shapes: N phrases, R of them in a block, W words, K positions, S windows, D dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gestray.encoders.objectives.contrastive import Similarity


def word_gestures(
    steps_BKD: Tensor, real_BK: Tensor, words_BWD: Tensor, spans_BW2: Tensor, rate: float,
    reach_s: float, scale: Tensor,
) -> Tensor:  # fmt: skip
    """The gesture of each word, L2-normalised (B, W, D): JEGAL's attention pooling.

    gʷ = Σⱼ softmaxⱼ(γ gⱼ·c) gⱼ over the positions j from `reach_s` before the word to as long
    after it, because a gesture need not keep to its word's time (Hegde et al. 2025).

    Args:
        steps_BKD: gⱼ, of motion, L2-normalised; position j lasts from j / rate to (j + 1) / rate s.
        real_BK: which are no padding.
        words_BWD: c, L2-normalised.
        spans_BW2: start and end of each word in seconds; of a word without times, or of
            padding, NaN, and its gesture is looked for in the whole phrase.
        scale: γ.
    """
    positions_K = torch.arange(steps_BKD.shape[1], device=steps_BKD.device)
    starts_BW1 = (spans_BW2[..., :1] - reach_s).nan_to_num(-torch.inf) * rate
    ends_BW1 = (spans_BW2[..., 1:] + reach_s).nan_to_num(torch.inf) * rate
    # A position counts where it overlaps the span; the last real one stands in for what lies beyond
    # the motion.
    last_B11 = real_BK.sum(1)[:, None, None] - 1
    starts_BW1 = torch.minimum(starts_BW1, last_B11.to(starts_BW1.dtype))
    near_BWK = (positions_K + 1 > starts_BW1) & (positions_K < ends_BW1) & real_BK[:, None]
    scores_BWK = (scale * words_BWD @ steps_BKD.mT).masked_fill(~near_BWK, float("-inf"))
    return F.normalize(scores_BWK.softmax(-1) @ steps_BKD, dim=-1)


def coupling(gestures_NWD: Tensor, words_NWD: Tensor, real_NW: Tensor) -> Similarity:
    """How well phrases' gestures and words couple, word by word (JEGAL).

    λ(g, c) = 1/W Σᵢ maxⱼ cos(gᵢ, cⱼ), over the words i of the gestures' phrase and j of the other:
    a phrase that belongs to its gestures has for each of them a word that fits. Contrasted as
    any other similarity.

    Args:
        gestures_NWD: as `word_gestures` makes them.
        words_NWD: L2-normalised.
        real_NW: which words are no padding.
    """

    def rows(rows: slice) -> Tensor:
        cosines_RWNV = torch.einsum("rwd,nvd->rwnv", gestures_NWD[rows], words_NWD)
        best_RWN = cosines_RWNV.masked_fill(~real_NW, float("-inf")).amax(-1)
        real_RW1 = real_NW[rows, :, None]
        return (best_RWN * real_RW1).sum(1) / real_RW1.sum(1).clamp(min=1)

    return rows


def window_starts(real_BK: Tensor, width: int, windows: int, drawn: bool) -> Tensor:
    """Where windows of `width` positions begin, (B, S), one in each of S equal parts of a phrase.

    At random where `drawn`, otherwise in the middle. Of a phrase shorter than a window all
    begin at 0.
    """
    device = real_BK.device
    room_B1 = (real_BK.sum(1, keepdim=True) - width).clamp(min=0)
    shape = (len(real_BK), windows)
    within = torch.rand(shape, device=device) if drawn else torch.full(shape, 0.5, device=device)
    places = (torch.arange(windows, device=device) + within) / windows
    return (places * (room_B1 + 1)).long().clamp(max=room_B1)


def windows_of(steps_BKD: Tensor, real_BK: Tensor, starts_BS: Tensor, width: int) -> Tensor:
    """Mean of each window's positions, L2-normalised (B, S, D)."""
    positions_K = torch.arange(steps_BKD.shape[1], device=steps_BKD.device)
    first_BS1 = starts_BS[..., None]
    inside_BSK = (positions_K >= first_BS1) & (positions_K < first_BS1 + width) & real_BK[:, None]
    return F.normalize(inside_BSK.to(steps_BKD.dtype) @ steps_BKD, dim=-1)


class Overlaps:
    """Windows of one phrase that overlap by more than half: neither in time nor out of it.

    As `Matches`, of all windows of all phrases in a row.
    """

    def __init__(self, starts_NS: Tensor, width: int) -> None:
        count, windows = starts_NS.shape
        self.keys = torch.arange(count, device=starts_NS.device).repeat_interleave(windows)
        self.starts = starts_NS.flatten()
        self.width = width

    def rows(self, rows: slice) -> Tensor:
        """bool (R, N·S)."""
        near = (self.starts[rows, None] - self.starts).abs() * 2 < self.width
        return near & (self.keys[rows, None] == self.keys)
