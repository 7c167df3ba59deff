"""The models that servers of these tests have."""

from tests.serving.conftest import (
    generator_task,
    key,
    model,
    mover,
    speech_takes,
    store,
    tokenizer_folder,
)

__all__ = ["generator_task", "key", "model", "mover", "speech_takes", "store", "tokenizer_folder"]
