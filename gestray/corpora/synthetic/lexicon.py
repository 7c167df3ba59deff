"""Words and sentence patterns of the synthetic corpus, read from `lexicon.yaml`."""

from __future__ import annotations

from importlib import resources
from typing import Any, NamedTuple

import yaml


class Patterns(NamedTuple):
    """Sentence patterns of one gesture type; `lexicon.yaml` says how they are written.

    Attributes:
        topic: what the gesture means, with ``{}`` for the topic of the utterance.
        train: patterns for takes of every split.
        unseen: patterns for validation and test takes only.
    """

    topic: str
    train: tuple[str, ...]
    unseen: tuple[str, ...]


def _patterns(entry: dict[str, str]) -> Patterns:
    train, unseen = (tuple(entry[key].splitlines()) for key in ("train", "unseen"))
    return Patterns(entry["topic"], train, unseen)


_LEXICON: dict[str, Any] = yaml.safe_load(
    resources.files(__package__).joinpath("lexicon.yaml").read_text(encoding="utf-8")
)

SLOTS: dict[str, tuple[str, ...]] = {
    name: tuple(words.split(" | ")) for name, words in _LEXICON["slots"].items()
}
"""Alternatives that may fill a slot, by its name."""

PATTERNS: dict[str, Patterns] = {
    name: _patterns(entry) for name, entry in _LEXICON["gestures"].items()
}
"""Sentence patterns by gesture type, see `gestray.corpora.synthetic.vocabulary.GESTURES`."""

NEUTRAL: Patterns = _patterns(_LEXICON["neutral"])
"""Patterns of utterances without a meaning that a gesture could show."""
