"""The gesture types of the synthetic corpus, read from `vocabulary.yaml`."""

from __future__ import annotations

from importlib import resources

import yaml
from pydantic import TypeAdapter

from gestray.corpora.synthetic.gesture import GestureType


def _read() -> dict[str, GestureType]:
    text = resources.files(__package__).joinpath("vocabulary.yaml").read_text(encoding="utf-8")
    return TypeAdapter(dict[str, GestureType]).validate_python(yaml.safe_load(text))


_TYPES = _read()

BEAT: GestureType = _TYPES["beat"]
"""Small flicks on stressed words; the script says how many and when."""

GESTURES: dict[str, GestureType] = {
    name: gesture_type for name, gesture_type in _TYPES.items() if name != "beat"
}
"""Semantic gesture types by name; the sentences that go with them are in `lexicon.PATTERNS`."""
