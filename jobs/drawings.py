"""What the page of an evaluation draws of methods: retrieved gestures, spaces, confusions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gestray.artifacts import Artifact
from gestray.metrics.retrieval import TEXT_TO_GESTURE
from gestray.reports.retrieval import Confusion, GalleryHit, GalleryQuery, Space
from gestray.views.catalog import read_catalog, read_columns
from jobs.measure import PhraseSet

if TYPE_CHECKING:
    from jobs.evaluate import Evaluated

NOTHING = "nothing"
"""What beats and idle hands mean, as a column of a confusion."""


def gallery(
    found: Sequence[Evaluated], phrases: PhraseSet, takes: Artifact, count: int, hits: int = 3
) -> list[GalleryQuery]:
    """Example queries with each method's first hits drawn.

    Of the phrases that mean something, where it is known what they mean, spread over the
    difficulty the first method has with them, so that the page shows failures as well.
    """
    means = phrases.meanings.carries.any(axis=1)
    asked = np.flatnonzero(means if means.any() else ~means)
    ranks = found[0].runs.ranks.get(f"{TEXT_TO_GESTURE}.medr")
    if ranks is not None:
        asked = asked[np.argsort(ranks[0][asked], kind="stable")]
    count = min(count, len(asked))
    chosen = asked[np.linspace(0, len(asked) - 1, count).astype(int)] if count else []
    strips = _Strips(takes)
    rows = phrases.rows.to_pylist()
    carries = phrases.meanings.carries
    queries = []
    for query in chosen:
        shown: dict[str, list[GalleryHit]] = {}
        for method in found:
            scores = method.motion @ method.query[query]
            shown[method.name] = [
                GalleryHit(
                    text=rows[item]["text"],
                    score=float(scores[item]),
                    take_id=rows[item]["take_id"],
                    start_s=rows[item]["start_s"],
                    end_s=rows[item]["end_s"],
                    correct=bool(phrases.labels[item] == phrases.labels[query]),
                    strip_svg=strips.draw(rows[item]),
                    meaning=phrases.meanings.of(item),
                    carries=bool((carries[item] & carries[query]).any()),
                )
                for item in np.argsort(-scores, kind="stable")[:hits].tolist()
            ]
        text = rows[query]["text"]
        queries.append(GalleryQuery(text, shown, phrases.meanings.of(query)))
    return queries


def confusion(evaluated: Evaluated, phrases: PhraseSet) -> Confusion | None:
    """What the first gesture means, of every meaning a query has; None without meanings."""
    top = evaluated.runs.runs[0].top
    if top is None:
        return None
    meanings = phrases.meanings
    counts: dict[str, Counter[str]] = {term: Counter() for term in meanings.terms}
    for query in np.flatnonzero(top >= 0):
        first = set(np.array(meanings.terms)[meanings.carries[top[query]]]) or {NOTHING}
        for term in np.array(meanings.terms)[meanings.carries[query]].tolist():
            counts[term][term if term in first else min(first)] += 1
    terms = [*meanings.terms, NOTHING]
    rows = [(term, [found[t] for t in terms]) for term, found in counts.items() if found]
    return Confusion(evaluated.name, terms, rows)


def space(evaluated: Evaluated, phrases: PhraseSet, points: int) -> Space:
    """An even sample of the motion embeddings in two dimensions (t-SNE, van der Maaten 2008)."""
    from sklearn.manifold import TSNE

    count = len(phrases.rows)
    sample = np.linspace(0, count - 1, min(points, count)).astype(int)
    meanings = [phrases.meanings.of(int(phrase)) for phrase in sample]
    if len(sample) < 4:
        return Space(evaluated.name, evaluated.motion[sample, :2], meanings)
    embed = TSNE(
        metric="cosine", init="random", perplexity=min(30.0, len(sample) / 4), random_state=0
    )
    return Space(evaluated.name, embed.fit_transform(evaluated.motion[sample]), meanings)


class _Strips:
    """Stick figures of phrases, each drawn once."""

    def __init__(self, takes: Artifact) -> None:
        self.folder = takes.folder
        self.refs = {ref.take_id: ref for ref in read_catalog(takes.folder)}
        self.drawn: dict[str, str] = {}

    def draw(self, phrase: Mapping[str, Any]) -> str:
        import torch

        from gestray.corpora.take import FPS, motion_from_column
        from gestray.motion.kinematics import joint_positions
        from gestray.reports.strips import strip_svg

        if phrase["phrase_id"] not in self.drawn:
            column = read_columns(self.folder, self.refs[phrase["take_id"]], ["poses"])["poses"]
            motion = motion_from_column(column)
            assert motion is not None
            span = slice(round(phrase["start_s"] * FPS), round(phrase["end_s"] * FPS))
            positions = joint_positions(torch.from_numpy(motion[span].copy())).numpy()
            self.drawn[phrase["phrase_id"]] = strip_svg(positions)
        return self.drawn[phrase["phrase_id"]]
