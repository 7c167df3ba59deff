"""Our dropout is that of torch: its share, scale and gradient, and its seed decides."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gestray.generators.dropout import Dropout


@given(
    shape=st.lists(st.integers(0, 7), max_size=3),
    p=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**31),
)
@settings(deadline=None)
def test_what_is_kept_is_scaled_and_the_rest_is_zero(shape, p, seed):
    torch.manual_seed(seed)
    x = torch.randn(shape, requires_grad=True)
    y = Dropout(p)(x)
    assert y.shape == x.shape and y.dtype == x.dtype
    kept = y != 0
    torch.testing.assert_close(y[kept], x[kept] / (1 - p))
    y.sum().backward()
    torch.testing.assert_close(x.grad, kept / (1 - p))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_each_element_is_left_out_as_often_and_by_itself(p):
    torch.manual_seed(0)
    draws = 400
    left_out = torch.stack([Dropout(p)(torch.ones(64, 16)) == 0 for _ in range(draws)]).double()
    several = 6 * (p * (1 - p)) ** 0.5
    assert abs(left_out.mean() - p) < several / left_out.numel() ** 0.5
    assert (left_out.mean(0) - p).abs().max() < several / draws**0.5
    # Neighbours, which share a word of the generator, and draws that follow each other.
    for one, other in ((left_out[..., 1:], left_out[..., :-1]), (left_out[1:], left_out[:-1])):
        together = ((one - p) * (other - p)).mean()
        assert abs(together) < 6 * p * (1 - p) / one.numel() ** 0.5


def test_torchs_seed_decides():
    x = torch.ones(5, 3, 7)

    def drawn(seed):
        torch.manual_seed(seed)
        return torch.stack([Dropout(0.5)(x), Dropout(0.5)(x)])

    first, again, other = drawn(0), drawn(0), drawn(1)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


def test_nothing_is_left_out_of_a_share_of_none_or_in_use():
    x = torch.randn(4, 5)
    assert torch.equal(Dropout(0.0)(x), x)
    assert torch.equal(Dropout(0.7).eval()(x), x)
