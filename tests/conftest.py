"""Fixtures every part of the test suite shares."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder with one real BEAT2 recording, beside the checkout where it exists."""
    path = Path(__file__).resolve().parents[2] / "shared"
    if not (path / "data" / "beat2").is_dir():
        pytest.skip("no real recording beside this checkout (../shared/data/beat2)")
    return path
