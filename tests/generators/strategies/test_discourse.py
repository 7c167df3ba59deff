"""Connectives and their relations: known answers, and gestures by them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gestray.errors import UserError
from gestray.generators.contract import Speech
from gestray.generators.strategies.contract import Candidate
from gestray.generators.strategies.discourse import ByDiscourse, connectives_of
from gestray.speech.words import Word
from tests.generators.strategies.corpus import recorded, said, sentences

CAUSE, CONDITION = "contingency.cause", "contingency.condition"
CONCESSION, AFTER = "comparison.concession", "temporal.asynchronous"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("i stayed because it rained", [("because", CAUSE)]),
        ("i stayed because of the rain", []),
        ("Because, well, it rained!", [("because", CAUSE)]),
        ("it was so big", []),
        ("it rained so we stayed", [("so", CAUSE)]),
        ("he whispered so that nobody heard", [("so that", "contingency.purpose")]),
        ("since you ask i will tell", [("since", CAUSE)]),
        ("i have known her ever since", [("ever since", AFTER)]),
        ("he has lived there since nineteen ninety", []),
        ("i wonder if she knows", []),
        ("if it rains we stay even if they go", [("if", CONDITION), ("even if", CONCESSION)]),
        ("what if", []),
        ("wait a while", []),
        ("i cook while you sleep", [("while", "temporal.synchronous")]),
        ("when did you leave", []),
        ("call me when you leave", [("when", "temporal.synchronous")]),
        ("bread and butter", []),
        ("he came and she left", [("and", "expansion.conjunction")]),
        ("he came and then she left", [("and then", AFTER)]),
        ("before noon", []),
        ("before you go", [("before", AFTER)]),
        ("nothing but trouble", []),
        ("small but strong", [("but", CONCESSION)]),
        ("however hard you try", []),
        ("for example apples on the other hand pears",
         [("for example", "expansion.instantiation"),
          ("on the other hand", "comparison.contrast")]),
        ("tea instead of coffee", [("instead of", "expansion.substitution")]),
        ("we wait otherwise we lose", [("otherwise", "contingency.negative-condition")]),
        ("no words of that kind here", []),
        ("", []),
    ],
)  # fmt: skip
def test_connectives_and_what_they_signal(text, expected):
    found = connectives_of(said(text))
    assert [(one.text, one.sense) for one in found] == expected
    words = text.casefold().replace(",", "").split()
    assert all(" ".join(words[one.first : one.last]) == one.text for one in found)


def test_a_pause_opens_a_clause():
    together = said("black and white")
    assert connectives_of(together) == []
    apart = [together[0], *(replace(w, start_s=w.start_s + 1, end_s=w.end_s + 1)
                            for w in together[1:])]  # fmt: skip
    assert [one.text for one in connectives_of(apart)] == ["and"]


def test_the_same_connective_comes_before_the_same_relation(tmp_path):
    """Published points: relation 2, connective 4 more, speaker 3 more."""
    corpus = recorded(
        tmp_path,
        lea=sentences("it was late so we went home", "we left because it was late"),
        ada=sentences("they came because we called", "for example like this"),
    )
    found = ByDiscourse(corpus).candidates(Speech(silence(), said("go because it is time")), "ada")
    assert [(one.word, one.score) for one in found] == [(1, 9.0), (1, 6.0), (1, 2.0)]
    assert texts(corpus, found) == [
        "they came because we called",
        "we left because it was late",
        "it was late so we went home",
    ]
    assert '"because" (contingency.cause), the same connective, the same speaker' in found[0].why
    assert found[2].why.startswith('"because" (contingency.cause), so, text ')
    # The clip is of the connective, half a second at either side.
    word = next(w for w in corpus.words(found[0].clip.take_id) if w.word == "because")
    assert found[0].clip.start_s == pytest.approx(word.start_s - 0.5)
    assert found[0].clip.end_s == pytest.approx(word.end_s + 0.5)


def test_of_equal_points_what_is_said_decides(tmp_path):
    corpus = recorded(
        tmp_path,
        lea=sentences("they cheered because of course because the dog barked loudly",
                      "we stayed inside because it rained all day"),
    )  # fmt: skip
    speech = Speech(silence(), said("the picnic was cancelled because it rained"))
    first, *_ = ByDiscourse(corpus).candidates(speech, None)
    assert texts(corpus, [first]) == ["we stayed inside because it rained all day"]


def test_speech_without_a_connective_wants_nothing(tmp_path):
    corpus = recorded(tmp_path, lea=sentences("we left because it was late"))
    strategy = ByDiscourse(corpus)
    assert strategy.candidates(Speech(silence(), said("nice weather today")), None) == []
    # A relation that no recording has.
    assert strategy.candidates(Speech(silence(), said("for example this one")), None) == []


def test_recordings_without_connectives_or_times_are_refused(tmp_path):
    plain = recorded(tmp_path / "plain", lea=sentences("nice weather today"))
    speech = Speech(silence(), said("go because it is time"))
    with pytest.raises(UserError, match=r"found no discourse connective .* in 1 recorded phrases"):
        ByDiscourse(plain).candidates(speech, None)
    untimed = [Word(name) for name in ["we", "left", "because", "it", "was", "late"]]
    timeless = recorded(tmp_path / "timeless", lea=[untimed])
    with pytest.raises(UserError, match=r"no take whose words have times.*speech align"):
        ByDiscourse(timeless).candidates(speech, None)


def silence():
    import numpy as np

    return np.zeros(0, np.float32)


def texts(corpus, found: list[Candidate]) -> list[str]:
    rows = [corpus["phrase_id"].index(one.clip.phrase_id) for one in found]
    return [corpus["text"][row] for row in rows]
