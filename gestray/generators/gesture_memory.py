"""Gestures of training, remembered whole: which motion went with such words.

A corpus has some hundred gestures that mean something. That is enough to tell from words which of
them is meant, and not to learn what each looks like: of all that a network is asked for, few codes
are of these gestures. So they are kept, from where hands set off until they are back, and looked up
as kNN-LM looks up words (Khandelwal et al. 2020): a token with a meaning takes the codes of the
remembered token of whose gesture most similar things are told (words; or, in SemGes, motion), that
is as far into its gesture, and came after the same motion. A gesture once begun is played to its
end, for hands that are left in the air stay there. That it is begun shows in the codes themselves:
those of a remembered token are followed by the next one's. So nothing has to be carried from hop to
hop.

Shapes: B batch, K tokens, P parts that gesture, L levels, D width of a code, S codes; G gestures
and N tokens are remembered; C width of what is told of a gesture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gestray.generators.codebooks import Codebooks
from gestray.generators.config import TrainedGenerator
from gestray.generators.graphs import Graphs

GESTURING = ("body", "upper", "hands")
"""Parts whose motion is remembered: legs and face go on as they were."""

# How much it counts that the same is told (cosine), that the motion before is (1 for the
# same and soon nothing for another), how far apart it is, and each token of being earlier or
# later in the gesture; in the logits of a draw.
_TOLD, _GOES_ON, _APART, _LATER = 20.0, 16.0, 0.2, 1.0
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
        meant: whether the token means something or leads to it (B, K).
    """

    told: Tensor
    since: Tensor
    meant: Tensor

    def __getitem__(self, key: tuple[slice, slice | int]) -> Cue:
        """The same of some tokens."""
        return Cue(self.told[key], self.since[key], self.meant[key])

    def by(self, told_BKC: Tensor) -> Cue:
        """The same, told by other vectors, of any length."""
        return replace(self, told=functional.normalize(told_BKC, dim=-1))


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


@dataclass(frozen=True)
class Gesture:
    """One that was recorded, of K tokens: the first is where hands set off.

    Args:
        told: vector of what is told of it, of length 1 (C,).
        before: vectors of the token before each (K, P, D).
        codes: what was done (K, P, L).
    """

    told: Tensor
    before: Tensor
    codes: Tensor


def gestures_of(
    told_KC: Tensor,
    meaning_K: Tensor,
    leads_K: Tensor,
    around: tuple[int, int],
    vectors_KPD: Tensor,
    codes_KPL: Tensor,
) -> Iterator[Gesture]:
    """The gestures of one recording of which something is told, as `cue_of` would tell of them.

    One that begins with the recording is left out: what came before it is not known.

    Args:
        told_KC: as of `cue_of`.
        meaning_K: as of `cue_of`.
        leads_K: as of `cue_of`.
        around: tokens from where hands set off to where meaning begins, and from where it ends to
            where hands are back, or set off again.
        vectors_KPD: of its tokens.
        codes_KPL: of its tokens.
    """
    lead, trail = around
    edges = np.flatnonzero(np.diff(np.concatenate([[0], leads_K.numpy(), [0]]).astype(int)))
    begins, ends = edges[::2], edges[1::2]
    nexts = np.append(begins, len(leads_K))[1:]
    for first, end, following in zip(begins, ends, nexts, strict=True):
        late_K = (torch.arange(end - first) - lead).clamp(min=0)
        weight_K = meaning_K[first:end] * torch.exp(-late_K / _FADES)
        told_C = functional.normalize(weight_K @ told_KC[first:end], dim=-1)
        if first and told_C.any():
            span = slice(first, min(end + trail, following))
            before = slice(span.start - 1, span.stop - 1)
            yield Gesture(told_C, vectors_KPD[before], codes_KPL[span])


class GestureMemory(nn.Module):
    """Gestures that training came by; how many is a matter of the config."""

    told: Tensor
    usual: Tensor
    before: Tensor
    since: Tensor
    gesture: Tensor
    codes: Tensor
    spread: Tensor
    squares: Tensor

    def __init__(self, config: TrainedGenerator, width: int) -> None:
        super().__init__()
        tokenizer, count, tokens = config.tokenizer, config.gestures, config.gesture_tokens
        self.parts = [n for n, name in enumerate(tokenizer.parts) if name in GESTURING]
        of_parts, levels = len(self.parts), tokenizer.quantizers
        self.register_buffer("told", torch.zeros(count, width))
        self.register_buffer("usual", torch.zeros(width))
        self.register_buffer("before", torch.zeros(tokens, of_parts * tokenizer.code_dim))
        self.register_buffer("since", torch.zeros(tokens, dtype=torch.long))
        self.register_buffer("gesture", torch.zeros(tokens, dtype=torch.long))
        self.register_buffer("codes", torch.zeros(tokens, of_parts, levels, dtype=torch.long))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("squares", torch.zeros(tokens), persistent=False)
        # Tokens by the first number of `before`, which tells nearly all of them apart.
        self.whose: dict[float, list[int]] = {}
        self._done: Tensor | None = None
        self.register_load_state_dict_post_hook(_line_up)

    @torch.no_grad()
    def keep(self, gestures: Sequence[Gesture]) -> None:
        """Remember these, of all parts, and nothing else."""
        assert gestures, "nothing to remember"
        lengths = torch.tensor([len(gesture.codes) for gesture in gestures])
        self.gesture = torch.arange(len(gestures)).repeat_interleave(lengths)
        self.since = torch.cat([torch.arange(int(length)) for length in lengths])
        told_GC = torch.stack([gesture.told for gesture in gestures])
        self.usual = told_GC.mean(0)
        self.told = functional.normalize(told_GC - self.usual, dim=-1)
        self.before = torch.cat([g.before[:, self.parts].flatten(1) for g in gestures])
        self.codes = torch.cat([gesture.codes[:, self.parts] for gesture in gestures])
        self.spread = self.before.var(0, unbiased=False).sum().clamp(min=1e-6)
        _line_up(self)

    def likeness(self, cue: Cue) -> Tensor:
        """How much what is told of each token speaks for each gesture remembered (B, K, G)."""
        # Cosines of what is told by how it differs from the usual, as those kept do.
        return _TOLD * functional.normalize(cue.told - self.usual, dim=-1) @ self.told.T

    def recall(
        self, asked: tuple[Cue, Tensor] | None, before_BPD: Tensor, gumbel_BPS: Tensor, run: Graphs
    ) -> Tensor | None:
        """Remembered tokens (B,) that are done, −1 where none is; None: nowhere.

        Args:
            asked: the token's cue (B, …) and likeness (B, G); None: no row is to begin a gesture.
            before_BPD: vectors of the token before.
            gumbel_BPS: noise of the draw; gestures remembered share that of the first part's codes.
            run: runs `most_alike`.
        """
        if not len(self.since):
            return None
        goes_on = self._next(before_BPD)
        if asked is None and not goes_on:
            return None
        token_B = torch.full((len(before_BPD),), -1, device=before_BPD.device)
        for row, token in goes_on.items():
            token_B[row] = token
        if asked is not None:
            cue, likeness_BG = asked
            before_BC = before_BPD[:, self.parts].flatten(1)
            given = cue.since, likeness_BG, before_BC, gumbel_BPS[:, 0]
            token_B = torch.where(cue.meant, run(self.most_alike, *given), token_B)
        return token_B

    def done(self, books: Codebooks) -> Tensor:
        """Vectors (N, P, D) of the tokens, to the bit those that their codes are drawn with."""
        if self._done is None or self._done.device != self.codes.device:
            self._done = Codebooks(books.vectors[:, self.parts]).sums(self.codes)
        return self._done

    def most_alike(
        self, since_B: Tensor, likeness_BG: Tensor, before_BC: Tensor, gumbel_BS: Tensor
    ) -> Tensor:
        """The remembered token (B,) for one of which so much is known; see `recall`."""
        squares_BN = before_BC.square().sum(-1, keepdim=True) + self.squares
        apart_BN = (squares_BN - 2 * before_BC @ self.before.T).clamp(min=0) / self.spread
        goes_on_BN = _GOES_ON * torch.exp(-apart_BN / _SAME) - _APART * apart_BN
        later_BN = (since_B[:, None] - self.since).abs().clamp(max=_MOST_LATER)
        shared = torch.arange(len(self.told), device=self.told.device) % gumbel_BS.shape[-1]
        of_gesture_BG = likeness_BG + gumbel_BS.index_select(1, shared)
        of_token_BN = of_gesture_BG.index_select(1, self.gesture)
        return (of_token_BN + goes_on_BN - _LATER * later_BN).argmax(-1)

    def _next(self, before_BPD: Tensor) -> dict[int, int]:
        """The tokens that go on with a remembered gesture, by row where there is one."""
        found = {}
        for row, first in enumerate(before_BPD[:, self.parts[0], 0].tolist()):
            if tokens := self.whose.get(first):
                before_C = torch.cat([before_BPD[row, part] for part in self.parts])
                # Mostly there is but one; of equal ones, the last.
                for token in reversed(tokens):
                    if torch.equal(self.before[token], before_C):
                        found[row] = token
                        break
        return found


def _line_up(memory: GestureMemory, *_: object) -> None:
    """Make what is found out about the gestures remembered."""
    memory.squares = memory.before.square().sum(-1)
    memory.whose, memory._done = {}, None
    follows = memory.since > 0
    tokens, firsts = follows.nonzero()[:, 0], memory.before[follows, 0]
    for token, first in zip(tokens.tolist(), firsts.tolist(), strict=True):
        memory.whose.setdefault(first, []).append(token)


class Recall:
    """Gestures as they are remembered, for the tokens of a hop."""

    def __init__(self, memory: GestureMemory, cue: Cue, books: Codebooks, run: Graphs) -> None:
        self.memory, self.cue, self._books, self._run = memory, cue, books, run
        self.asked = (cue.meant.any(0) | run.traces).tolist()
        self.likeness_BKG = run(memory.likeness, cue) if any(self.asked) else None

    def __call__(
        self, number: int, before_BPD: Tensor, gumbel_BPS: Tensor, drawn_BPD: Tensor
    ) -> Tensor:
        """Vectors of all parts of the token with this number in the hop.

        Those drawn, gestures as remembered: see `GestureMemory.recall`.
        """
        token_B = self.tokens(number, before_BPD, gumbel_BPS)
        if token_B is None:
            return drawn_BPD
        parts, recalls_B11 = self.memory.parts, token_B[:, None, None] >= 0
        done_BPD = self.memory.done(self._books)[token_B.clamp(min=0)]
        moved_BPD = drawn_BPD.clone()
        moved_BPD[:, parts] = torch.where(recalls_B11, done_BPD, drawn_BPD[:, parts])
        return moved_BPD

    def tokens(self, number: int, before_BPD: Tensor, gumbel_BPS: Tensor) -> Tensor | None:
        """What `GestureMemory.recall` gives for the token with this number in the hop."""
        asked = None
        if self.likeness_BKG is not None and self.asked[number]:
            asked = self.cue[:, number], self.likeness_BKG[:, number]
        return self.memory.recall(asked, before_BPD, gumbel_BPS, self._run)
