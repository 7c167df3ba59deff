"""The rules grounder on gold forms and transcripts of the synthetic corpus's test takes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from gestray.anchors.rules import ground
from gestray.anchors.taxonomy import load_taxonomy
from gestray.corpora.synthetic.gold import gold_form
from gestray.corpora.synthetic.script import ZIPF_EXPONENT, Deck, plan_take, write_script
from gestray.corpora.synthetic.speakers import SPEAKERS
from gestray.corpora.synthetic.voice import LettersVoice

TAKES = 96


@pytest.mark.parametrize("split", ["test", pytest.param("train", marks=pytest.mark.slow)])
def test_intents_are_found_again(split):
    """Beats and gestures that no word goes with are included; `pytest -s` prints the figures."""
    taxonomy = load_taxonomy()
    rng = np.random.default_rng(0)
    # Every type equally often, so that the splits differ in their sentences alone.
    deck = Deck(ZIPF_EXPONENT["test"], rng)
    hits: Counter[str] = Counter()
    claimed: Counter[str] = Counter()
    actual: Counter[str] = Counter()
    for number in range(TAKES):
        speaker = SPEAKERS[number % len(SPEAKERS)]
        plan = plan_take(speaker, split, 60.0, deck, rng)
        for utterance in write_script(speaker, plan, 1800, LettersVoice(), rng)[0]:
            transcript = " ".join(word.text for word in utterance.words)
            for gesture in utterance.gestures:
                intent, _ = ground(gold_form(gesture), transcript, taxonomy)
                actual[gesture.kind.intent] += 1
                claimed[intent.label if intent else ""] += 1
                hits[gesture.kind.intent] += intent is not None and (
                    intent.label == gesture.kind.intent
                )
    f1 = {
        label: 2 * hits[label] / max(claimed[label] + actual[label], 1) for label in taxonomy.labels
    }
    macro, accuracy = np.mean(list(f1.values())), hits.total() / actual.total()
    print(f"\n{split}: macro-F1 {macro:.3f}, accuracy {accuracy:.3f}, n {actual.total()}")
    assert min(actual[label] for label in taxonomy.labels) >= 3
    assert macro >= 0.9
