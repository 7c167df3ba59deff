"""What a code leaves out is foreseen: a linear rule from the start, found by least squares."""

from __future__ import annotations

import torch

from gestray.generators.codebooks import Codebooks
from gestray.generators.layers import CodeHeads, with_preparation
from gestray.generators.network import Lesson

PARTS, CODES, DIM, WIDTH = 2, 8, 3, 16


def linear_process(tokens: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Vectors that follow from the ones before and from codes, by a rule; (N, P, D) each."""
    generator = torch.Generator().manual_seed(0)
    before = torch.randn(tokens, PARTS, DIM, generator=generator)
    books = Codebooks(torch.randn(1, PARTS, CODES, DIM, generator=generator))
    coarse = books.look_up(0, torch.randint(CODES, (tokens, PARTS), generator=generator))
    rule = 0.3 * torch.randn(PARTS * DIM, PARTS * DIM, generator=generator)
    vectors = 0.6 * coarse + (before.flatten(1) @ rule).view_as(before) + 0.1
    return before, coarse, vectors


def left_out(heads: CodeHeads, *of_tokens: torch.Tensor) -> torch.Tensor:
    """What is foreseen (N, P, D) of tokens; known is as `CodeHeads.known` has it."""
    known, before, coarse = of_tokens
    assert heads.left_out is not None
    return heads.left_out(known, before, coarse.transpose(0, 1)).transpose(0, 1)


def test_the_start_finds_a_linear_rule() -> None:
    torch.manual_seed(0)
    heads = CodeHeads(PARTS, 2, CODES, DIM, WIDTH)
    before, coarse, vectors = linear_process(4000)
    known = heads.known(torch.randn(4000, PARTS, WIDTH), before)
    share = ((vectors - coarse) - left_out(heads, known, before, coarse)).square().mean()
    assert share > 0.1, "there is something to be found"
    heads.left_out.start(before, coarse, vectors)
    error = ((vectors - coarse) - left_out(heads, known, before, coarse)).square().mean()
    assert error < 1e-4 * share


def test_without_a_token_before_a_code_is_what_it_stands_for() -> None:
    torch.manual_seed(0)
    heads = CodeHeads(PARTS, 2, CODES, DIM, WIDTH)
    before, coarse, vectors = linear_process(500)
    heads.left_out.start(before, coarse, vectors)
    nothing = torch.zeros_like(before)
    rest = left_out(heads, heads.known(torch.zeros(500, PARTS, WIDTH), nothing), nothing, coarse)
    assert torch.equal(rest, torch.zeros_like(rest))


def test_drawn_finer_codes_are_those_nearest_to_what_is_foreseen() -> None:
    torch.manual_seed(0)
    heads = CodeHeads(PARTS, 2, CODES, DIM, WIDTH)
    before, coarse, vectors = linear_process(500)
    heads.left_out.start(before, coarse, vectors)
    scale = torch.tensor([1, 0.5, 0.25, 0.1])
    books = Codebooks(torch.randn(4, PARTS, CODES, DIM) * scale[:, None, None, None])
    none = torch.zeros(6, PARTS, CODES), torch.zeros(6, PARTS, DIM)
    hidden = torch.randn(6, PARTS, WIDTH)
    with torch.no_grad():
        codes, found = heads.draw(hidden, before[:6], books, *none)
        known = heads.known(hidden, before[:6])
        assert torch.equal(codes[..., 0], heads.logits(known).argmax(-1).T)
        # To the bit: by that a gesture that is begun is known.
        assert torch.equal(found, books.sums(codes))
        left = left_out(heads, known, before[:6], books.look_up(0, codes[..., 0]))
    for level in range(1, 4):
        for part in range(PARTS):
            apart = (left[:, part, None] - books.vectors[level, part]).norm(dim=-1)
            assert torch.equal(codes[:, part, level], apart.argmin(-1))
        left = left - books.look_up(level, codes[..., level])
    summed = sum(books.look_up(level, codes[..., level]) for level in range(4))
    assert torch.allclose(found, summed, atol=1e-6)


def test_noise_is_spread_as_the_rule_errs() -> None:
    torch.manual_seed(0)
    heads = CodeHeads(PARTS, 2, CODES, DIM, WIDTH)
    before, coarse, vectors = linear_process(20_000)
    form = torch.tensor([[0.3, 0.0, 0.0], [0.2, 0.1, 0.0], [0.0, -0.1, 0.05]])
    heads.left_out.start(before, coarse, vectors + torch.randn_like(vectors) @ form.T)
    for part in range(PARTS):
        covariance = heads.left_out.spread[part].T @ heads.left_out.spread[part]
        assert torch.allclose(covariance, form @ form.T, atol=4e-3)


def test_with_one_level_nothing_is_built_that_does_not_learn() -> None:
    """Ranks wait for the gradient of every parameter there is."""
    torch.manual_seed(0)
    heads = CodeHeads(PARTS, 1, CODES, DIM, WIDTH)
    books = Codebooks(torch.randn(1, PARTS, CODES, DIM))
    codes = torch.randint(CODES, (4, 5, PARTS, 1))
    lesson = Lesson(
        asked=slice(0, 5), codes=codes, books=books, motion=books.look_up(0, codes[..., 0]),
        before=torch.randn(4, 5, PARTS, DIM), score=torch.zeros(4, 20), means=torch.zeros(4, 5),
        motion_error=lambda vectors: vectors, step=0,
    )  # fmt: skip
    heads.loss(torch.randn(4, 5, PARTS, WIDTH), lesson).backward()
    assert all(parameter.grad is not None for parameter in heads.parameters())


def test_what_prepares_a_gesture_counts_as_much() -> None:
    means = torch.tensor([[0.1, 0.0, 0.0, 0.9, 0.0, 0.0], [-1.0, -1, -1, -1, -1, -1]])
    expected = torch.tensor([[0.1, 0.9, 0.9, 0.9, 0.0, 0.0], [-1.0, -1, -1, -1, -1, -1]])
    assert torch.equal(with_preparation(means, 2), expected)
    assert torch.equal(with_preparation(means, 0), means)
