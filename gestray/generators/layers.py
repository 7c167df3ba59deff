"""Attention and code heads: what the networks over codes are made of.

Every part has weights of its own, so heads work part by part: their tensors have the parts first,
and a layer of all parts is one product of batches.

Shapes: B batch, K tokens, N tokens of all windows, W width, P parts, L levels, S codes of a
codebook, D width of a code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from gestray.generators.codebooks import Codebooks
from gestray.generators.dropout import Dropout
from gestray.generators.network import Lesson
from gestray.training.distributed import gather


class Attention(nn.Module):
    """Multi-head attention from tokens to tokens (Vaswani et al. 2017)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BKW: Tensor, memory_BMW: Tensor) -> Tensor:
        query = self.query(x_BKW).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        both = self.key_value(memory_BMW).unflatten(-1, (2, self.heads, -1))
        key, value = both.permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(query, key, value)
        return self.out(found.transpose(1, 2).flatten(-2))


class Block(nn.Module):
    """Self-attention, attention to a memory where it has one, and two layers, each normed first."""

    def __init__(self, width: int, heads: int, dropout: float, crosses: bool = False) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3 if crosses else 2))
        self.own = Attention(width, heads)
        self.other = Attention(width, heads) if crosses else None
        self.layers = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.dropout = Dropout(dropout)

    def forward(self, x_BKW: Tensor, memory_BMW: Tensor | None = None) -> Tensor:
        normed = self.norms[0](x_BKW)
        x_BKW = x_BKW + self.dropout(self.own(normed, normed))
        if self.other is not None:
            assert memory_BMW is not None
            x_BKW = x_BKW + self.dropout(self.other(self.norms[1](x_BKW), memory_BMW))
        return x_BKW + self.dropout(self.layers(self.norms[-1](x_BKW)))


class Blocks(nn.Module):
    """Blocks over the tokens of a window, each token at a place of its own, and a last norm."""

    def __init__(
        self,
        layers: int,
        tokens: int,
        width: int,
        heads: int,
        dropout: float,
        crosses: bool = False,
    ) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(tokens, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads, dropout, crosses) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x_BKW: Tensor, memory_BMW: Tensor | None = None) -> Tensor:
        x_BKW = x_BKW + self.place
        for block in self.blocks:
            x_BKW = block(x_BKW, memory_BMW)
        return self.norm(x_BKW)


class LeftOut(nn.Module):
    """What the first level's codes leave out of motion, foreseen as one vector of each part.

    By a linear rule, for motion goes on, and by layers for what is not linear. How the rule errs is
    kept as a covariance, and drawn from: expected vectors alone would move less than people do,
    and noise without that form would make them tremble.
    """

    spread: Tensor

    def __init__(self, parts: int, dim: int, width: int) -> None:
        super().__init__()
        self.goes_on = nn.Linear(parts * dim, parts * dim)
        self.begins = nn.Parameter(torch.zeros(parts, dim))
        self.keeps = nn.Parameter(torch.zeros(parts, dim, dim))
        self.register_buffer("spread", torch.zeros(parts, dim, dim))
        self.from_coarse = _weights(parts, dim, width)
        self.inner = _weights(parts, width, width)
        self.inner_bias = nn.Parameter(torch.zeros(parts, width))
        self.out = nn.Parameter(torch.zeros(parts, width, dim))

    def forward(self, known_PNW: Tensor, before_NPD: Tensor, coarse_PND: Tensor) -> Tensor:
        """The vectors expected (P, N, D), given those of the codes and of the token before."""
        before_NC = before_NPD.flatten(1)
        nothing_N1 = (before_NC == 0).all(-1, keepdim=True)
        goes_on_PND = self.goes_on(before_NC).view_as(before_NPD).transpose(0, 1)
        goes_on_PND = torch.baddbmm(goes_on_PND, coarse_PND, self.keeps)
        linear_PND = torch.where(nothing_N1, self.begins[:, None], goes_on_PND)
        known_PNW = torch.baddbmm(known_PNW, coarse_PND, self.from_coarse)
        inner_PNW = torch.baddbmm(self.inner_bias[:, None], known_PNW, self.inner)
        return torch.baddbmm(linear_PND, known_PNW + functional.gelu(inner_PNW), self.out)

    @torch.no_grad()
    def start(self, before_NPD: Tensor, coarse_NPD: Tensor, vectors_NPD: Tensor) -> None:
        """Begin with the linear rule that is best on these tokens, of all ranks (ridge)."""
        parts, dim = coarse_NPD.shape[1:]
        ones = before_NPD.new_ones(len(before_NPD), 1)
        for part in range(parts):
            given = torch.cat([before_NPD.flatten(1), ones, coarse_NPD[:, part]], dim=1).double()
            wanted = (vectors_NPD - coarse_NPD)[:, part].double()
            square, product = (gather((given.T @ x)[None]).sum(0) for x in (given, wanted))
            count = float(square[parts * dim, parts * dim])
            square += 1e-3 * count * torch.eye(len(square)).to(square)
            rule = torch.linalg.solve(square, product).to(self.keeps)
            rows = slice(part * dim, (part + 1) * dim)
            weight, bias, keeps = rule.split([parts * dim, 1, dim])
            self.goes_on.weight[rows], self.goes_on.bias[rows] = weight.T, bias[0]
            self.keeps[part] = keeps
            error = wanted - given @ rule.double()
            covariance = gather((error.T @ error)[None]).sum(0) / count
            covariance += 1e-9 * torch.eye(dim).to(covariance)
            self.spread[part] = torch.linalg.cholesky(covariance).T


class CodeHeads(nn.Module):
    """Motion of all parts, token after token: a code, and what it leaves out.

    Drawn each by itself, the tokens of a hop would be likely one by one and together a motion
    that nobody makes: so a token depends on the vectors of the one before it, of all parts.

    Which code of the first level comes next is a choice, drawn from probabilities. What it leaves
    out decides how smoothly the motion goes on; as choices, level by level, that is learnt slowly
    and hardly better than by chance, and as a vector it is learnt at once. So finer levels are
    the codes nearest to the vector expected, given the token before and the code drawn.
    """

    def __init__(self, parts: int, levels: int, codes: int, dim: int, width: int) -> None:
        super().__init__()
        self.from_before = nn.Linear(parts * dim, parts * width)
        self.inner = _weights(parts, width, width)
        self.inner_bias = nn.Parameter(torch.zeros(parts, width))
        self.to_logits = _weights(parts, width, codes)
        self.bias = nn.Parameter(torch.zeros(parts, codes))
        self.left_out = LeftOut(parts, dim, width) if levels > 1 else None

    def known(self, hidden_NPW: Tensor, before_NPD: Tensor) -> Tensor:
        """What is known of tokens (P, N, W), given the vectors of those before them."""
        of_before_NPW = self.from_before(before_NPD.flatten(1)).view_as(hidden_NPW)
        return (hidden_NPW + of_before_NPW).transpose(0, 1)

    def logits(self, known_PNW: Tensor) -> Tensor:
        """(P, N, S) of the first level's codes."""
        inner_PNW = torch.baddbmm(self.inner_bias[:, None], known_PNW, self.inner)
        known_PNW = known_PNW + functional.gelu(inner_PNW)
        return torch.baddbmm(self.bias[:, None], known_PNW, self.to_logits)

    def loss(self, hidden_BKPW: Tensor, lesson: Lesson, weight_BK: Tensor | None = None) -> Tensor:
        """Cross-entropy of codes in nats, and of what they leave out the share not foreseen.

        Args:
            hidden_BKPW: of the lesson's tokens.
            weight_BK: how much each token counts; None: all alike.
        """
        before_NPD = lesson.before.flatten(0, 1)
        known_PNW = self.known(hidden_BKPW.flatten(0, 1), before_NPD)
        codes_PN = lesson.codes[..., 0].flatten(0, 1).T
        lost_PN = functional.cross_entropy(
            self.logits(known_PNW).flatten(0, 1), codes_PN.flatten(), reduction="none"
        ).view(codes_PN.shape)
        if self.left_out is not None:
            coarse_PND = lesson.books.of_parts(0, codes_PN)
            rest_PND = lesson.vectors.flatten(0, 1).transpose(0, 1) - coarse_PND
            foreseen_PND = self.left_out(known_PNW, before_NPD, coarse_PND)
            spread_P1 = rest_PND.square().mean((1, 2)).clamp(min=1e-8)[:, None]
            lost_PN = lost_PN + (foreseen_PND - rest_PND).square().mean(-1) / spread_P1
        lost_N = lost_PN.mean(0)
        if weight_BK is None:
            return lost_N.mean()
        weight_N = weight_BK.flatten()
        return (lost_N * weight_N).sum() / weight_N.sum().clamp(min=1e-6)

    def likeliest(self, hidden_BKPW: Tensor, before_BKPD: Tensor, books: Codebooks) -> Tensor:
        """Vectors (B, K, P, D) of the likeliest tokens, with the gradients of all codes' means.

        Straight through (Bengio et al. 2013).
        """
        before_NPD = before_BKPD.flatten(0, 1)
        known_PNW = self.known(hidden_BKPW.flatten(0, 1), before_NPD)
        likely_PNS = self.logits(known_PNW).softmax(-1)
        hard_PNS = functional.one_hot(likely_PNS.argmax(-1), likely_PNS.shape[-1]).to(likely_PNS)
        found_PND = torch.bmm(hard_PNS + likely_PNS - likely_PNS.detach(), books.vectors[0])
        if self.left_out is not None:
            found_PND = found_PND + self.left_out(known_PNW, before_NPD, found_PND)
        return found_PND.transpose(0, 1).unflatten(0, before_BKPD.shape[:2])

    def draw(
        self,
        hidden_BPW: Tensor,
        before_BPD: Tensor,
        books: Codebooks,
        gumbel_BPS: Tensor,
        normal_BPD: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Codes (B, P, L) of one token, and their vectors' sums (B, P, D).

        The noise of either kind is drawn by the caller, times a temperature: `gumbel` is added to
        the logits before the likeliest code is taken, `normal` is spread as the linear rule errs.
        """
        known_PBW = self.known(hidden_BPW, before_BPD)
        codes = [(self.logits(known_PBW) + gumbel_BPS.transpose(0, 1)).argmax(-1)]
        vectors_PBD = books.of_parts(0, codes[0])
        if self.left_out is not None:
            wanted_PBD = vectors_PBD + self.left_out(known_PBW, before_BPD, vectors_PBD)
            normal_PBD = normal_BPD.transpose(0, 1)
            wanted_PBD = torch.baddbmm(wanted_PBD, normal_PBD, self.left_out.spread)
            for level in range(1, len(books.vectors)):
                codes.append(books.nearest(level, wanted_PBD - vectors_PBD))
                vectors_PBD = vectors_PBD + books.of_parts(level, codes[-1])
        return torch.stack(codes, dim=-1).transpose(0, 1), vectors_PBD.transpose(0, 1)


def _weights(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) * shape[-2] ** -0.5)


def with_preparation(meaning_BK: Tensor, lead: int) -> Tensor:
    """The most that each token, or one of the `lead` after it in the window, means (B, K)."""
    ahead = functional.pad(meaning_BK, (0, lead), value=-1.0)
    return functional.max_pool1d(ahead[:, None], lead + 1, stride=1)[:, 0]
