"""Objectives within phrases: gestures of single words, and moments in time.

Shapes: N phrases, R of them in a block, V words of a phrase, W of all, K positions, S windows, D
dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gestray.encoders.objectives.contrastive import Similarity


def word_gestures(
    steps_RKD: Tensor, real_RK: Tensor, words_WD: Tensor, spans_W2: Tensor, rate: float,
    reach_s: float, scale: Tensor,
) -> Tensor:  # fmt: skip
    """Each motion's gesture of each word, L2-normalised (R, W, D): JEGAL's attention pooling.

    gʷ = Σⱼ softmaxⱼ(γ gⱼ·c) gⱼ over the positions j from `reach_s` before the word to as long
    after it, because a gesture need not keep to its word's time (Hegde et al. 2025).

    Args:
        steps_RKD: gⱼ, of motion, L2-normalised; position j lasts from j / rate to (j + 1) / rate s.
        real_RK: which are no padding.
        words_WD: c, L2-normalised, of any phrases.
        spans_W2: start and end of each word in seconds; of a word without times NaN, and its
            gesture is looked for in the whole motion.
        scale: γ.
    """
    positions_K = torch.arange(steps_RKD.shape[1], device=steps_RKD.device)
    starts_W1 = (spans_W2[:, :1] - reach_s).nan_to_num(-torch.inf) * rate
    ends_W1 = (spans_W2[:, 1:] + reach_s).nan_to_num(torch.inf) * rate
    # A position counts where it overlaps the span; the last real one stands in for what lies beyond
    # the motion.
    last_R11 = real_RK.sum(1)[:, None, None] - 1
    starts_RW1 = torch.minimum(starts_W1, last_R11.to(starts_W1.dtype))
    near_RWK = (positions_K + 1 > starts_RW1) & (positions_K < ends_W1) & real_RK[:, None]
    scores_RWK = (scale * words_WD) @ steps_RKD.mT
    weights_RWK = scores_RWK.masked_fill(~near_RWK, float("-inf")).softmax(-1)
    return F.normalize(weights_RWK @ steps_RKD, dim=-1)


def coupling(
    steps_NKD: Tensor, real_NK: Tensor, words_NVD: Tensor, said_NV: Tensor, spans_NV2: Tensor,
    rate: float, reach_s: float, scale: Tensor,
) -> Similarity:  # fmt: skip
    """How well motions and phrases couple, word by word (JEGAL).

    λ(g, c) = 1/W Σᵢ maxⱼ cos(gᵢ, cⱼ), over the words i and j of the phrase. Contrasted as any other
    similarity.

    The gestures gᵢ of a motion are those of the phrase that it is compared with, of every phrase
    others. Pooled once, by the words that were said with it, they would carry those words into
    every comparison: of frames that say nothing those are chosen that look like them, and the
    words would be found again without a look at what the hands do.

    Args:
        steps_NKD, real_NK, rate, reach_s, scale: as of `word_gestures`.
        words_NVD: L2-normalised.
        said_NV: which words are no padding; W of them, in all phrases together.
        spans_NV2: when they are said, as of `word_gestures`.
    """
    phrase_W, _ = said_NV.nonzero(as_tuple=True)
    words_WD, spans_W2 = words_NVD[said_NV], spans_NV2[said_NV]
    counts_N = said_NV.sum(1).clamp(min=1)
    mean_WN = F.one_hot(phrase_W, len(said_NV)) / counts_N

    def rows(rows: slice) -> Tensor:
        gestures_RWD = word_gestures(
            steps_NKD[rows], real_NK[rows], words_WD, spans_W2, rate, reach_s, scale
        )
        # Each with every word of its own phrase.
        cosines_WRV = gestures_RWD.transpose(0, 1) @ words_NVD[phrase_W].mT
        best_WR = cosines_WRV.masked_fill(~said_NV[phrase_W, None], float("-inf")).amax(-1)
        return best_WR.T @ mean_WN.to(best_WR.dtype)

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
