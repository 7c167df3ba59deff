"""Objectives: known answers, and what must not count."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from gestray.encoders.objectives.contrastive import Matches, cosines, info_nce, siglip
from gestray.encoders.objectives.coupling import (
    Overlaps,
    coupling,
    window_starts,
    windows_of,
    word_gestures,
)
from gestray.encoders.objectives.variational import (
    MotionDecoder,
    divergence,
    draw,
    reconstruction,
)
from gestray.encoders.towers.encoded import Encoded


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def scalar(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def test_info_nce_is_the_closed_form():
    a, b = unit(5, 8), unit(5, 8, seed=1)
    logits = 3 * a @ b.T
    expected = 0.0
    for i in range(5):
        expected -= math.log(math.exp(logits[i, i]) / sum(math.exp(x) for x in logits[i]))
        expected -= math.log(math.exp(logits[i, i]) / sum(math.exp(x) for x in logits[:, i]))
    assert info_nce(cosines(a, b), 5, scalar(3.0)).item() == pytest.approx(expected / 10)


def test_two_pairs_by_hand():
    """Right pairs at cosine 1, wrong ones at 0, γ = ln 3: −log 3 / (3 + 1) each way."""
    a = torch.eye(2, dtype=torch.float64)
    assert info_nce(cosines(a, a), 2, scalar(math.log(3))).item() == pytest.approx(math.log(4 / 3))


def test_siglip_is_its_pseudocode():
    """Against the transcription of Algorithm 1 of Zhai et al. 2023."""
    image, text = unit(6, 8), unit(6, 8, seed=1)
    t_prime, b = scalar(math.log(10.0)), scalar(-10.0)
    logits = image @ text.T * t_prime.exp() + b
    labels = 2 * torch.eye(6) - torch.ones(6, 6)
    expected = -torch.sum(F.logsigmoid(labels * logits)) / 6
    found = siglip(cosines(image, text), 6, t_prime.exp(), b)
    assert found.item() == pytest.approx(expected.item())


@pytest.mark.parametrize("way", ["infonce", "siglip"])
def test_pairs_that_belong_together_are_no_negatives(way):
    """Moving such a pair apart or together changes nothing."""
    a, b = unit(4, 8), unit(4, 8, seed=1)
    keys = torch.tensor([7, 7, 1, 2])

    def loss(other: torch.Tensor) -> torch.Tensor:
        similarity = a @ b.T + other
        rows = lambda rows: similarity[rows]  # noqa: E731
        if way == "siglip":
            return siglip(rows, 4, scalar(2.0), scalar(-1.0), Matches(keys))
        return info_nce(rows, 4, scalar(2.0), Matches(keys))

    change = torch.zeros(4, 4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(change), change)
    assert gradient[0, 1] == gradient[1, 0] == 0
    assert (gradient[[0, 0, 2], [2, 3, 0]] > 0).all() and (gradient.diagonal() < 0).all()


@pytest.mark.parametrize("way", ["infonce", "siglip"])
def test_rows_without_a_pair_change_nothing(way):
    a, b = unit(6, 8), unit(6, 8, seed=1)
    weight = torch.tensor([1.0, 0, 1, 1, 0, 1], dtype=torch.float64)
    kept = weight.bool()

    def loss(a, b, weight=None):
        if way == "siglip":
            bias = scalar(-1.0)
            return siglip(cosines(a, b), len(a), scalar(2.0), bias, weight=weight).item()
        return info_nce(cosines(a, b), len(a), scalar(2.0), weight=weight).item()

    assert loss(a, b, weight) == pytest.approx(loss(a[kept], b[kept]))
    assert loss(a, b, torch.zeros(6)) == 0


def test_transcripts_as_alike_as_the_threshold_are_no_negatives():
    vectors = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    keys = torch.arange(3)
    found = Matches(keys, vectors, above=0.6).rows(slice(0, 3))
    assert found.tolist() == [[True, True, False], [True, True, True], [False, True, True]]
    assert torch.equal(Matches(keys, vectors, 0.6).rows(slice(1, 2)), found[1:2])


def test_a_word_finds_its_gesture_within_reach_and_not_beyond():
    """Ten positions a second; what the word asks for is at 0.3 s, and again at 0.9 s."""
    steps = torch.zeros(1, 12, 2)
    steps[..., 1] = 1
    for place in (3, 9):
        steps[0, place] = torch.tensor([1.0, 0.0])
    real = torch.ones(1, 12, dtype=torch.bool)
    word = torch.tensor([[[1.0, 0.0]]])
    spans = torch.tensor([[[0.5, 0.6]]])

    def found(reach_s: float, spans: torch.Tensor = spans, scale: float = 50.0) -> torch.Tensor:
        return word_gestures(steps, real, word[0], spans[0], 10.0, reach_s, torch.tensor(scale))[
            0, 0
        ]

    assert found(0.0) @ word[0, 0] == pytest.approx(0.0, abs=1e-6)
    assert found(0.2) @ word[0, 0] == pytest.approx(1.0)
    # Position 1 alone at γ = 0 of those from 0.3 to 0.8 s.
    expected = F.normalize(torch.tensor([1.0, 4.0]), dim=0)
    torch.testing.assert_close(found(0.2, scale=0.0), expected)
    unknown = torch.full_like(spans, math.nan)
    torch.testing.assert_close(
        found(0.2, unknown, 0.0), F.normalize(torch.tensor([2.0, 10.0]), dim=0)
    )
    # A word spoken after the motion has ended gets its last position.
    late = torch.tensor([[[5.0, 5.2]]])
    torch.testing.assert_close(found(0.2, late), torch.tensor([0.0, 1.0]))


def spoken(phrases: int, words: int) -> dict[str, torch.Tensor]:
    """Words said one after the other, half a second each, of phrases that end in padding."""
    starts = torch.arange(words, dtype=torch.float64) / 2
    counts = torch.arange(phrases) % words + 1
    return {
        "words_NVD": unit(phrases, words, 5, seed=1),
        "said_NV": torch.arange(words) < counts[:, None],
        "spans_NV2": torch.stack([starts, starts + 0.5], -1).repeat(phrases, 1, 1),
    }


def test_coupling_is_the_mean_of_best_words():
    """Against loops over motions, phrases and words, of which some are padding."""
    steps, real = unit(3, 12, 5), torch.arange(12) < torch.tensor([[12], [7], [9]])
    said = spoken(3, 4)
    words, rate, reach_s, scale = said["words_NVD"], 5.0, 0.2, scalar(3.0)
    found = coupling(steps, real, **said, rate=rate, reach_s=reach_s, scale=scale)
    for a in range(3):
        for b in range(3):
            best = []
            for i in range(int(said["said_NV"][b].sum())):
                start, end = said["spans_NV2"][b, i].tolist()
                first = min((start - reach_s) * rate, int(real[a].sum()) - 1)
                near = [
                    k
                    for k in range(int(real[a].sum()))
                    if k + 1 > first and k < (end + reach_s) * rate
                ]
                scores = torch.stack([scale * steps[a, k] @ words[b, i] for k in near])
                gesture = F.normalize(scores.softmax(0) @ steps[a, near], dim=0)
                best.append(max(float(gesture @ c) for c in words[b, said["said_NV"][b]]))
            assert found(slice(0, 3))[a, b].item() == pytest.approx(sum(best) / len(best))
    assert torch.equal(found(slice(1, 2)), found(slice(0, 3))[1:2])


def test_coupling_looks_at_what_the_hands_do():
    """Where everyone moves alike, what is said must not be found by the words alone."""
    said = spoken(6, 4)
    alike = unit(1, 12, 5).repeat(6, 1, 1)
    real = torch.ones(6, 12, dtype=torch.bool)
    found = coupling(alike, real, **said, rate=5.0, reach_s=0.4, scale=scalar(10.0))
    assert info_nce(found, 6, scalar(10.0)) >= math.log(6) - 1e-9


def test_windows_are_drawn_one_in_each_part_and_lie_inside():
    real = torch.arange(40) < torch.tensor([[40], [21], [6]])
    torch.manual_seed(0)
    starts = torch.stack([window_starts(real, 8, 4, drawn=True) for _ in range(200)])
    assert starts.min() == 0
    assert (starts.amax((0, 2)) == torch.tensor([32, 13, 0])).all()
    assert (starts[:, 0].diff(dim=1) >= 0).all()
    assert torch.equal(window_starts(real, 8, 4, drawn=False)[0], torch.tensor([4, 12, 20, 28]))
    steps = unit(1, 40, 3)
    window = windows_of(steps, real[:1], torch.tensor([[5]]), 8)
    torch.testing.assert_close(window[0, 0], F.normalize(steps[0, 5:13].mean(0), dim=-1))


def test_windows_that_overlap_by_more_than_half_are_no_negatives():
    overlaps = Overlaps(torch.tensor([[0, 3, 4], [0, 30, 60]]), width=8)
    found = overlaps.rows(slice(0, 6))
    assert found[0].tolist() == [True, True, False, False, False, False]
    assert found[3].tolist() == [False, False, False, True, False, False]


def normal(mean: list[float], log_variance: list[float]) -> Encoded:
    empty = torch.zeros(1, 0, len(mean))
    return Encoded(torch.tensor([mean]), empty, empty.any(-1), torch.tensor([log_variance]))


def test_divergence_is_that_of_torch():
    from torch.distributions import Normal, kl_divergence

    p, q = normal([0.3, -1.0], [0.2, -0.5]), normal([1.0, 0.5], [-0.3, 0.7])

    def of(side: Encoded) -> Normal:
        return Normal(side.pooled, (side.log_variance / 2).exp())

    expected = kl_divergence(of(p), of(q)).mean()
    assert divergence(p, q).item() == pytest.approx(expected.item())
    expected = kl_divergence(of(p), Normal(0.0, 1.0)).mean()
    assert divergence(p).item() == pytest.approx(expected.item())
    assert divergence(normal([0.0], [0.0])).item() == 0


def test_draws_have_the_mean_and_the_variance():
    torch.manual_seed(0)
    side = normal([1.0, -2.0], [0.0, math.log(4.0)])
    draws = torch.cat([draw(side) for _ in range(4000)])
    assert draws.mean(0).tolist() == pytest.approx([1.0, -2.0], abs=0.1)
    assert draws.std(0).tolist() == pytest.approx([1.0, 2.0], abs=0.1)


def test_reconstruction_counts_what_is_real():
    patches = torch.zeros(1, 3, 2)
    decoded = torch.tensor([[[2.0, 0.0], [0.5, 0.5], [9.0, 9.0]]])
    real = torch.tensor([[True, True, False]])
    # Smooth L1: 2 − ½ and 0; twice ½ · ½².
    expected = ((1.5 + 0) / 2 + 0.125) / 2
    assert reconstruction(decoded, patches, real).item() == pytest.approx(expected)


def test_a_decoder_gives_every_real_position_whatever_the_padding():
    torch.manual_seed(0)
    decoder = MotionDecoder(4, 8, 1, 2, 8, 0.0, positions=9, channels=3).eval()
    latent = torch.randn(2, 4)
    short = decoder(latent[:1], torch.ones(1, 5, dtype=torch.bool))
    real = torch.arange(9) < torch.tensor([[5], [9]])
    torch.testing.assert_close(decoder(latent, real)[:1, :5], short, atol=1e-5, rtol=0)
