"""Gestures of training, remembered token by token: which motion went with such words.

A corpus has some hundred gestures that mean something. That is enough to tell from words which of
them is meant, and not to learn what each looks like: of all that a network is asked for, few codes
are of these gestures. So they are kept, and looked up as kNN-LM looks up words (Khandelwal
et al. 2020): a token with a meaning takes the codes of the remembered token of which most similar
things are told (words; or, in SemGes, motion), that is as far into its gesture, and came after the
same motion. The last keeps to a gesture once it is begun, so that nothing has to be carried from
hop to hop.

Shapes: B batch, K tokens, P parts that gesture, L levels, D width of a code, M remembered tokens,
C width of what is told of a gesture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from gestray.generators.config import TrainedGenerator
from gestray.training.distributed import gather

GESTURING = ("body", "upper", "hands")
"""Parts whose motion is remembered: legs and face go on as they were."""

# How much it counts that the words are the same (cosine), that the motion before is (1 for the
# same and soon nothing for another), how far apart it is, and each token of being earlier or
# later in the gesture; in the logits of a draw.
_WORDS, _GOES_ON, _APART, _LATER = 20.0, 16.0, 0.2, 1.0
_SAME = 0.05  # of the spread of motion: closer is the same
_MOST_LATER = 4
# Tokens from the start of a gesture's meaning until a word counts 1/e.
_FADES = 3.0


@dataclass(frozen=True)
class Cue:
    """What a gesture is looked up by.

    Args:
        told: vector of what is told of it, of length 1; zeros where nothing is (B, K, C).
        since: tokens since the hands set off, as far back as the window goes (B, K).
        meant: whether the token is of a gesture that means something (B, K).
    """

    told: Tensor
    since: Tensor
    meant: Tensor

    def __getitem__(self, key: tuple[slice, slice]) -> Cue:
        """The same of some tokens."""
        return Cue(self.told[key], self.since[key], self.meant[key])

    def by(self, told_BKC: Tensor) -> Cue:
        """The same, told by other vectors, of any length."""
        return replace(self, told=functional.normalize(told_BKC, dim=-1))

    def where(self, meant_BK: Tensor) -> Cue:
        """The same, of which no more than these mean something."""
        return replace(self, meant=self.meant & meant_BK)


def cue_of(told_BKC: Tensor, meaning_BK: Tensor, leads_BK: Tensor, lead: int) -> Cue:
    """The cue of each token, from all of its gesture that the window has.

    Args:
        told_BKC: vectors of what is told of each token: words, say, or motion.
        meaning_BK: how much each token means.
        leads_BK: whether it means something or leads to it; a gesture is tokens in a row.
        lead: tokens from where hands set off to where meaning begins.
    """
    token = torch.arange(leads_BK.shape[1], device=leads_BK.device)
    gesture_BK = (~leads_BK).long().cumsum(1)
    both_BKK = leads_BK[:, :, None] & leads_BK[:, None]
    same_BKK = (gesture_BK[:, :, None] == gesture_BK[:, None]) & both_BKK
    first_BK = torch.where(same_BKK, token, len(token)).amin(2)
    late_BKK = (token - first_BK[..., None] - lead).clamp(min=0)
    weight_BKK = same_BKK * meaning_BK[:, None] * torch.exp(-late_BKK / _FADES)
    told_BKC = functional.normalize(weight_BKK @ told_BKC, dim=-1)
    return Cue(told_BKC, (token - first_BK).clamp(min=0), leads_BK)


class GestureMemory(nn.Module):
    """The latest `size` tokens of gestures that training came by."""

    told: Tensor
    before: Tensor
    since: Tensor
    codes: Tensor
    usual: Tensor
    spread: Tensor
    seen: Tensor

    def __init__(self, config: TrainedGenerator, size: int, width: int) -> None:
        super().__init__()
        tokenizer = config.tokenizer
        self.parts = [n for n, name in enumerate(tokenizer.parts) if name in GESTURING]
        of_parts, levels = len(self.parts), tokenizer.quantizers
        self.register_buffer("told", torch.zeros(size, width))
        self.register_buffer("before", torch.zeros(size, of_parts * tokenizer.code_dim))
        self.register_buffer("since", torch.full((size,), -1))
        self.register_buffer("codes", torch.zeros(size, of_parts, levels, dtype=torch.long))
        self.register_buffer("usual", torch.zeros(width))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def learn(self, cue: Cue, before_BKPD: Tensor, codes_BKPL: Tensor) -> None:
        """Remember tokens, of all ranks, in place of the oldest.

        Args:
            cue: of the tokens; those without a meaning, or with no word, are left.
            before_BKPD: vectors of all parts before each; zeros, where unknown, are left.
            codes_BKPL: what was done, of all parts.
        """
        before = before_BKPD[:, :, self.parts].flatten(2)
        known = cue.meant & (before != 0).any(-1) & (cue.told != 0).any(-1)
        found = (known.long(), cue.told, before, cue.since, codes_BKPL[:, :, self.parts])
        known, *values = (gather(value.flatten(0, 1)) for value in found)
        new = [value[known.bool()][-len(self.since) :] for value in values]
        count = len(new[0])
        at = (self.seen + torch.arange(count, device=self.seen.device)) % len(self.since)
        for kept, value in zip((self.told, self.before, self.since, self.codes), new, strict=True):
            kept[at] = value.to(kept.dtype)
        self.seen += count
        there = self.seen.clamp(1, len(self.since))
        mean, square = self.before.sum(0) / there, self.before.square().sum() / there
        self.usual.copy_(self.told.sum(0) / there)
        self.spread.copy_((square - mean.square().sum()).clamp(min=1e-6))

    def likeness(self, cue: Cue) -> Tensor:
        """How much words and place of each token speak for each one remembered (B, K, M)."""
        # Cosines of what words differ by from the usual ones; those kept are of length 1, and
        # are read only once.
        asked_BKC, usual_C = functional.normalize(cue.told - self.usual, dim=-1), self.usual
        dots_NM = torch.cat([asked_BKC.flatten(0, 1), usual_C[None]]) @ self.told.T
        along_BKM, usual_M = dots_NM[:-1].unflatten(0, cue.since.shape), dots_NM[-1]
        length_M = (1 - 2 * usual_M + usual_C @ usual_C).clamp(min=1e-6).sqrt()
        cosine_BKM = (along_BKM - (asked_BKC @ usual_C)[..., None]) / length_M
        later = (cue.since[..., None] - self.since).abs().clamp(max=_MOST_LATER)
        likeness = _WORDS * cosine_BKM - _LATER * later
        return likeness.masked_fill(self.since < 0, -torch.inf)

    def recall(
        self, likeness_BM: Tensor, before_BPD: Tensor, gumbel_BPS: Tensor, drawn_BPL: Tensor
    ) -> Tensor:
        """Codes (B, P, L) of all parts of one token: those drawn, gestures as remembered.

        Args:
            likeness_BM: of the token.
            before_BPD: vectors of the token before.
            gumbel_BPS: noise of the draw; tokens remembered share that of the first part's codes.
            drawn_BPL: what is done where nothing is remembered, and by other parts.
        """
        before_BC = before_BPD[:, self.parts].flatten(1)
        # Without products of matrices: one row of them is slower, and the same is not quite 0.
        apart_BM = torch.cdist(
            before_BC, self.before, compute_mode="donot_use_mm_for_euclid_dist"
        ).square()
        apart_BM = apart_BM / self.spread
        goes_on_BM = _GOES_ON * torch.exp(-apart_BM / _SAME) - _APART * apart_BM
        shared = torch.arange(len(self.since), device=apart_BM.device) % gumbel_BPS.shape[-1]
        chosen = (likeness_BM + goes_on_BM + gumbel_BPS[:, 0, shared]).argmax(-1)
        recalled = drawn_BPL.clone()
        recalled[:, self.parts] = self.codes[chosen]
        return torch.where(self.seen > 0, recalled, drawn_BPL)
