"""Mel filters: as librosa makes them, and what their scale promises."""

from __future__ import annotations

import librosa
import numpy as np
import pytest

from gestray.speech.mel import oshaughnessy_filters, slaney_filters


@pytest.mark.parametrize(
    ("window", "rate", "bands"), [(400, 16_000, 80), (2048, 44_100, 128), (512, 8000, 20)]
)
def test_slaney_filters_are_those_of_librosa(window, rate, bands):
    expected = librosa.filters.mel(sr=rate, n_fft=window, n_mels=bands, dtype=np.float64)
    np.testing.assert_allclose(slaney_filters(window, rate, bands), expected.T, atol=1e-12)


def test_even_filters_are_those_of_librosa_but_for_their_weight():
    """Its triangles rise evenly in hertz, ours in mel: they are largest at the same bins."""
    ours = oshaughnessy_filters(8192, 16_000, 40, 60.0, 7600.0)
    theirs = librosa.filters.mel(
        sr=16_000, n_fft=8192, n_mels=40, fmin=60.0, fmax=7600.0, htk=True, norm=None
    ).T
    assert np.abs(ours.argmax(axis=0) - theirs.argmax(axis=0)).max() <= 1
    np.testing.assert_array_equal(ours > 0, theirs > 0)
    np.testing.assert_allclose(ours.sum(axis=0), 1)
