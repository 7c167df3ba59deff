"""Residual vector quantization that is the same on any number of workers and after a resume.

The quantizer is `vector-quantize-pytorch`'s (Lee et al. 2022, "Autoregressive Image
Generation using Residual Quantization"): k-means start, moving averages, dead
codes moved to where the data are, all in buffers and so in a checkpoint. Only its
random draws are replaced, by draws from the global batch that the step seeds.
"""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot
from vector_quantize_pytorch import ResidualVQ

from gestray.training.distributed import gather, sum_over_ranks

# Codes that `Quantizer.encode` keeps in sight: with 4, rebuilt gestures' errors at the wrist fall
# by 8 %, with 16 by 10 % (`sma`, small).
BEAM = 8
# Vectors searched at once; bounds memory.
_ROWS_AT_ONCE = 4096


class Quantizer(nn.Module):
    """Vectors to codes, level by level, each level coding what the ones before left over.

    Args:
        dim: D, width of the vectors.
        levels, size: Q codebooks of `size` codes.
        decay: of the moving averages.
        dead_below: a code used by fewer vectors a step than this (moving average) is
            replaced by a random vector of the batch.
        dropout: share of training steps that use a random number of levels.
    """

    def __init__(
        self, dim: int, levels: int, size: int, decay: float, dead_below: float, dropout: float
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.residual = ResidualVQ(
            dim=dim,
            num_quantizers=levels,
            codebook_size=size,
            decay=decay,
            kmeans_init=True,
            threshold_ema_dead_code=dead_below,
            quantize_dropout=True,
            commitment_weight=1.0,
            rotation_trick=False,
        )
        self._draws = _SeededDraws()
        for codebook in self.codebooks:
            codebook.sample_fn = self._draws
            codebook.replace_sample_fn = self._draws

    @property
    def codebooks(self) -> list[Any]:
        """The library's, one a level; their buffers `embed` are (1, size, D)."""
        return [layer._codebook for layer in self.residual.layers]

    def start(self, vectors: Tensor, batches: int) -> None:
        """Start the codebooks with k-means of the vectors (N, D) of `batches` global batches.

        Every rank is given all of them, in the same order. One batch would not do: it has few
        vectors a code, the first level fits them, and next to nothing is left for the others to
        learn from.
        """
        self._draws.seed, self._draws.is_global = 0, True
        self.residual.quantize_dropout = False
        usual = [
            (book.decay, book.kmeans_all_reduce_fn, book.all_reduce_fn) for book in self.codebooks
        ]
        for book in self.codebooks:
            book.decay, book.kmeans_all_reduce_fn, book.all_reduce_fn = 0.0, _keep, _keep
        self.residual.train()(vectors[None])
        self._draws.is_global = False
        for book, functions in zip(self.codebooks, usual, strict=True):
            book.decay, book.kmeans_all_reduce_fn, book.all_reduce_fn = functions
            # The averages are those of one batch, which the next ones are weighed against.
            book.cluster_size /= batches
            book.embed_avg /= batches

    @torch.autocast("cuda", enabled=False)  # what the last levels code is too fine for bfloat16
    def forward(self, vectors: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Quantize (B, K, D), in float32.

        Args:
            step: of training, from 0; seeds all random draws, the same on every rank.

        Returns:
            Quantized vectors with straight-through gradients (B, K, D), codes (B, K, Q), −1
            where a level was dropped, and the commitment loss.
        """
        self._draws.seed = step
        drops = random.Random(f"dropout/{step}").random() < self.dropout
        self.residual.quantize_dropout = drops and len(self.codebooks) > 1
        vectors = vectors.float()
        quantized, codes, losses = self.residual(
            vectors, freeze_codebook=True, rand_quantize_dropout_fixed_seed=step
        )
        if self.training:
            self._learn(vectors.flatten(0, 1), codes.flatten(0, 1))
        return quantized, codes, losses.sum()

    @torch.no_grad()
    def _learn(self, vectors_ND: Tensor, codes_NQ: Tensor) -> None:
        """Move each code to what it stands for: the library's averages, but in one message.

        The library sends two a level, and one more where codes are dead. Each of them waits for
        the other rank: with ten levels, two ranks did 1.4 times the work of one, now 1.7 times.
        """
        used = int((codes_NQ[0] >= 0).sum())  # levels are dropped for the whole batch
        books = self.codebooks[:used]
        left_ND, residuals, sums = vectors_ND, [], []
        for book, code_N in zip(books, codes_NQ.T[:used], strict=True):
            chosen_NS = one_hot(code_N, len(book.embed[0])).to(left_ND)
            sums.append(torch.cat([chosen_NS.sum(0)[:, None], chosen_NS.T @ left_ND], dim=1))
            residuals.append(left_ND)
            left_ND = left_ND - book.embed[0][code_N]
        for book, sums_SE in zip(books, sum_over_ranks(torch.stack(sums)), strict=True):
            book.cluster_size.lerp_(sums_SE[None, :, 0], 1 - book.decay)
            book.embed_avg.lerp_(sums_SE[None, :, 1:], 1 - book.decay)
            book.update_ema()
        dead = [book.cluster_size < book.threshold_ema_dead_code for book in books]
        dead_levels = torch.cat(dead).any(1).tolist()
        if not any(dead_levels):
            return
        pool_MQD = gather(torch.stack(residuals, dim=1))
        self._draws.is_global = True
        for level, book in enumerate(books):
            if dead_levels[level]:
                book.replace(pool_MQD[None, :, level], dead[level])
        self._draws.is_global = False

    @torch.no_grad()
    def encode(self, vectors: Tensor, beam: int = BEAM) -> Tensor:
        """Codes (B, K, Q) of vectors (B, K, D), by beam search.

        Each level keeps the `beam` best stacks of codes so far, for the nearest code of one level
        may leave over what the next ones fit badly (Babenko & Lempitsky 2014, "Additive
        Quantization for Extreme Vector Compression", section 3.1). With one, each level's code is
        the nearest to what is left.
        """
        rows_at_once = vectors.flatten(0, 1).split(_ROWS_AT_ONCE)
        found = [
            self._nearest(rows) if beam == 1 else self._search(rows, beam) for rows in rows_at_once
        ]
        return torch.cat(found).unflatten(0, vectors.shape[:2])

    def _nearest(self, left_ND: Tensor) -> Tensor:
        codes = []
        for book in self.codebooks:
            code_SD = book.embed[0]
            half_squares_S = code_SD.square().sum(-1) / 2
            codes.append(_smallest(torch.addmm(half_squares_S, left_ND, code_SD.T, alpha=-1)))
            left_ND = left_ND - code_SD[codes[-1]]
        return torch.stack(codes, dim=1)

    def _search(self, vectors: Tensor, beam: int) -> Tensor:
        left = vectors[:, None]  # (N, beam, D)
        codes = torch.empty(*left.shape[:2], 0, dtype=torch.long, device=vectors.device)
        for book in self.codebooks:
            code_SD = book.embed[0]
            cost = left.square().sum(-1, keepdim=True) + code_SD.square().sum(-1)
            cost = (cost - 2 * left @ code_SD.T).flatten(1)
            best = cost.topk(min(beam, cost.shape[1]), dim=1, largest=False).indices
            row, code = best // len(code_SD), best % len(code_SD)
            left = left.gather(1, row[..., None].expand(-1, -1, left.shape[-1])) - code_SD[code]
            codes = codes.gather(1, row[..., None].expand(-1, -1, codes.shape[-1]))
            codes = torch.cat([codes, code[..., None]], dim=-1)
        return codes[:, 0]

    def use(self) -> Tensor:
        """How evenly codes are used, from 0 to 1: perplexity of the moving averages over the size.

        A mean over the levels.
        """
        counts_QN = torch.stack([book.cluster_size[0] for book in self.codebooks])
        shares_QN = counts_QN / counts_QN.sum(-1, keepdim=True).clamp_min(1e-9)
        return torch.special.entr(shares_QN).sum(-1).exp().mean() / counts_QN.shape[-1]

    def decode(self, codes: Tensor) -> Tensor:
        """Vectors (B, K, D) of codes (B, K, L) of the first L levels; −1 adds nothing."""
        books = torch.stack([book.embed[0] for book in self.codebooks[: codes.shape[-1]]])
        levels = torch.arange(len(books), device=codes.device)
        chosen_BKLD = books[levels, codes.clamp(min=0)]
        return (chosen_BKLD * (codes >= 0)[..., None]).sum(dim=-2)


def _keep(values: Tensor) -> None:
    """In the place of a sum over ranks that all hold the same."""


class _SeededDraws:
    """The quantizer's way to draw vectors (k-means start, dead codes), made reproducible.

    Draws from the vectors of the global batch in rank order with a generator
    seeded by the step: the same vectors for any number of workers.
    """

    def __init__(self) -> None:
        self.seed = 0
        self.is_global = False  # whether every rank holds the vectors of all

    def __call__(self, samples: Tensor, num: int) -> Tensor:
        """From vectors (1, N, D) of this rank to (1, num, D) of all ranks."""
        with torch.no_grad():
            pool = samples[0] if self.is_global else gather(samples[0].contiguous())
        generator = torch.Generator().manual_seed(self.seed)
        if len(pool) >= num:
            chosen = torch.randperm(len(pool), generator=generator)[:num]
        else:
            chosen = torch.randint(len(pool), (num,), generator=generator)
        return pool[chosen.to(pool.device)][None]


def _smallest(cost_NS: Tensor) -> Tensor:
    """The column of each row's smallest value (N,): on a CPU by NumPy, in a tenth of the time."""
    if cost_NS.device.type != "cpu":
        return cost_NS.argmin(1)
    return torch.from_numpy(cost_NS.numpy().argmin(1))
