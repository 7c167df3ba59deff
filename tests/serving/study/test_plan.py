"""Who sees what: all pairs equally often, both methods on both sides, the same every time."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from serving.study.plan import QUESTIONS, Pair, Plan, showings


def plan(pairs: int, each: int, checks: int, seed: int = 3) -> Plan:
    shown = [
        Pair(key=str(n), text="", words=(), seconds=(1.0, 1.0), has_audio=True)
        for n in range(pairs)
    ]
    return Plan(
        methods=("a", "b"), questions=dict(QUESTIONS), pairs=tuple(shown), pairs_each=each,
        checks=checks, ties=False, participants=10, seed=seed, title="", intro="", thanks="",
        synthetic=True,
    )  # fmt: skip


@given(st.integers(1, 12), st.integers(1, 14), st.integers(0, 5), st.integers(0, 50))
@settings(deadline=None, max_examples=80)
def test_a_participant_s_pairs(pairs: int, each: int, checks: int, who: int) -> None:
    of = plan(pairs, each, checks)
    shown = showings(of, who)
    assert shown == showings(of, who)
    judged = [showing for showing in shown if showing.check is None]
    assert len(judged) == min(each, pairs) and len(shown) == len(judged) + checks
    assert len({showing.pair for showing in judged}) == len(judged)
    assert abs(2 * sum(showing.swapped for showing in judged) - len(judged)) <= 1
    asked = Counter(showing.check for showing in shown if showing.check)
    assert abs(asked["left"] - asked["right"]) <= 1
    assert shown[0].check is None  # nobody begins with a check
    for showing in shown:
        assert {showing.method_on("left"), showing.method_on("right")} == {0, 1}


def test_all_pairs_are_seen_equally_often() -> None:
    of = plan(pairs=10, each=4, checks=2)
    seen = Counter(s.pair for who in range(50) for s in showings(of, who) if s.check is None)
    assert set(seen.values()) == {20}


def test_neither_place_nor_pair_tells_the_side() -> None:
    """Over many participants each method is on the left in half of every place and pair."""
    of = plan(pairs=8, each=8, checks=0)
    by_place, by_pair = Counter(), Counter()
    for who in range(1000):
        for place, showing in enumerate(showings(of, who)):
            by_place[place] += showing.swapped
            by_pair[showing.pair] += showing.swapped
    for counts in (by_place, by_pair):
        assert all(abs(count - 500) < 70 for count in counts.values())  # 4.4 deviations
