"""The desk of `gestray anchors review`: anchors beside their phrases and recordings."""

from __future__ import annotations

import pyarrow.compute as pc

from gestray.anchors.review import Journal
from gestray.anchors.taxonomy import taxonomy_of
from gestray.artifacts import Artifact, provenance
from gestray.store import Folder
from jobs.rows import read_rows
from serving.recordings import Recordings
from serving.review.desk import Desk

# What a desk shows of a phrase besides its anchor.
_OF_PHRASES = [
    "take_id",
    "text",
    "start_s",
    "end_s",
    "stroke_start_s",
    "stroke_end_s",
    "hold_end_s",
]


def open_desk(store: Folder, anchors: Artifact, annotator: str) -> Desk:
    """The desk of one annotator before these anchors, with what was decided before.

    Raises:
        UserError: a journal cannot be read.
    """
    made_from = {artifact.manifest.kind: artifact for artifact in provenance(anchors)}
    forms = read_rows(anchors.input("forms").folder, ["phrase_id", *_OF_PHRASES])
    rows = read_rows(anchors.folder)
    places = pc.index_in(rows["phrase_id"], value_set=forms["phrase_id"].combine_chunks())
    phrases = forms.take(places)
    for name in _OF_PHRASES:
        rows = rows.append_column(name, phrases[name])
    takes = made_from.get("takes")
    metrics = anchors.manifest.metrics
    by = " ".join(str(metrics[name]) for name in ("grounder", "model") if name in metrics)
    return Desk(
        rows,
        Recordings(takes.folder) if takes else None,
        taxonomy_of(anchors.folder),
        Journal(store, anchors.manifest.identity),
        annotator,
        {
            "title": f"{anchors.folder.name} by {by}",
            "synthetic": bool(takes and takes.manifest.metrics.get("synthetic")),
        },
    )
