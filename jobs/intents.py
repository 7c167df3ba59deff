"""Evaluation of grounded intents beside gold, and gold clips of a file as forms to ground."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from gestray.anchors.anchor import Anchor, from_row
from gestray.anchors.gold import GoldClip, read_gold
from gestray.anchors.taxonomy import load_taxonomy
from gestray.artifacts import Artifact, Stage, StageResult, StageRun, provenance
from gestray.config import Config, digest
from gestray.errors import UserError
from gestray.metrics.agreement import cohen_kappa
from gestray.metrics.intents import Case, IntentScore, score_intents
from gestray.store import Folder
from jobs.anchors import FORMS_SCHEMA
from jobs.rows import read_rows, write_rows

INTENTS_FILE = "intents.parquet"
ABSENT = "absent"
"""In the place of a status, where there is no anchor of a clip with gold."""

_SCHEMA = pa.schema(
    [
        ("grounder", pa.string()),
        ("phrase_id", pa.string()),
        ("gold", pa.string()),
        ("status", pa.string()),
        ("found", pa.string()),
        ("confidence", pa.float64()),
        ("gold_text", pa.string()),
        ("found_text", pa.string()),
        ("similarity", pa.float64()),
    ]
)


class GoldIntent(NamedTuple):
    """What the gesture of a phrase means, and the sentence that says so, "" where there is none."""

    phrase_id: str
    label: str
    text: str


def gold_of_clips(clips: Sequence[GoldClip]) -> list[GoldIntent]:
    """The gold intents of a file, one for each clip and grader that has one."""
    return [
        GoldIntent(clip.clip, clip.intent, clip.intent_text)
        for clip in clips
        if clip.intent is not None
    ]


def gold_of_phrases(
    anchors: Artifact, takes: Artifact, golds: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[GoldIntent]:
    """The gold intent of each phrase: that of the gold gesture which is longest in its stroke.

    Where the phrase's gesture has no stroke, in the phrase. Phrases without any are left out.

    Args:
        golds: take → its gold gestures.

    Raises:
        UserError: the anchors are not of these takes.
    """
    if takes.uri not in {artifact.uri for artifact in provenance(anchors)}:
        raise UserError(f"{anchors.uri} was not made from {takes.uri}; expected anchors that were")
    found = []
    for row in read_rows(anchors.input("forms").folder).to_pylist():
        phrase = (row["start_s"], row["end_s"])
        stroke = (row["stroke_start_s"], row["stroke_end_s"])
        span = phrase if stroke[0] is None else stroke
        best, longest = None, 0.0
        for gold in golds.get(row["take_id"], ()):
            together = min(gold["end_s"], span[1]) - max(gold["start_s"], span[0])
            if gold["intent"] is not None and together > longest:
                best, longest = gold, together
        if best is not None:
            found.append(GoldIntent(row["phrase_id"], best["intent"], best["intent_text"] or ""))
    return found


def write_intents(
    folder: Folder, grounders: Mapping[str, tuple[Artifact, Sequence[GoldIntent]]]
) -> dict[str, IntentScore]:
    """Write every grounder's cases beside gold, and score them.

    Raises:
        UserError: a grounder has no anchor of any phrase with gold.
    """
    rows: list[dict[str, Any]] = []
    for name, (artifact, golds) in grounders.items():
        anchors = {
            row["phrase_id"]: from_row(row) for row in read_rows(artifact.folder).to_pylist()
        }
        if not any(gold.phrase_id in anchors for gold in golds):
            raise UserError(
                f"{artifact.uri}: found no anchor of a phrase with a gold intent "
                f"({len(anchors)} anchors, {len(golds)} gold intents)"
            )
        rows += [_row(name, gold, anchors.get(gold.phrase_id)) for gold in golds]
    _add_similarities(rows)
    with folder.open_output(INTENTS_FILE) as out:
        pq.write_table(pa.Table.from_pylist(rows, _SCHEMA), out, compression="zstd")
    return intents_of(folder)


def intents_of(folder: Folder) -> dict[str, IntentScore]:
    """Grounder → score, of an evaluation's rows; none where no anchors were evaluated."""
    if not folder.exists(INTENTS_FILE):
        return {}
    table = pq.read_table(folder.path(INTENTS_FILE), filesystem=folder.filesystem)
    cases: dict[str, list[Case]] = defaultdict(list)
    for row in table.to_pylist():
        figures = {
            name: float("nan") if row[name] is None else row[name]
            for name in ("confidence", "similarity")
        }
        cases[row["grounder"]].append(Case(row["gold"], row["status"], row["found"], **figures))
    return {name: score_intents(found) for name, found in cases.items()}


def grader_agreement(clips: Sequence[GoldClip]) -> float:
    """Cohen's kappa of the labels of two graders, the mean over all pairs; NaN without a pair."""
    by_grader: dict[str, dict[str, str]] = defaultdict(dict)
    for clip in clips:
        if clip.intent is not None:
            by_grader[clip.grader][clip.clip] = clip.intent
    kappas = []
    for first, second in itertools.combinations(by_grader.values(), 2):
        both = sorted(first.keys() & second.keys())
        kappas.append(cohen_kappa([first[clip] for clip in both], [second[clip] for clip in both]))
    known = [kappa for kappa in kappas if not np.isnan(kappa)]
    return float(np.mean(known)) if known else float("nan")


def _row(name: str, gold: GoldIntent, anchor: Anchor | None) -> dict[str, Any]:
    intent = anchor.intent if anchor else None
    return {
        "grounder": name,
        "phrase_id": gold.phrase_id,
        "gold": gold.label,
        "status": anchor.status if anchor else ABSENT,
        "found": intent.label if intent else None,
        "confidence": intent.confidence if intent else None,
        "gold_text": gold.text,
        "found_text": intent.sentence if intent else "",
        "similarity": None,
    }


def _add_similarities(rows: Sequence[dict[str, Any]]) -> None:
    """Cosine of the sentences, by MiniLM, where there are both."""
    import torch

    from gestray.encoders.config import TextTowerConfig
    from gestray.encoders.towers.text import TextEncoder

    both = [row for row in rows if row["gold_text"] and row["found_text"]]
    if not both:
        return
    encode = TextEncoder(TextTowerConfig())
    gold, found = (
        encode([row[name] for row in both], torch.device("cpu"))
        for name in ("gold_text", "found_text")
    )
    similarities = torch.nn.functional.cosine_similarity(gold, found)
    for row, similarity in zip(both, similarities.tolist(), strict=True):
        row["similarity"] = similarity


class GoldConfig(Config):
    """What `gestray anchors gold` does.

    Args:
        file: the clips, in CSV or JSON lines.
        taxonomy: a YAML file of the intents they name, in the place of the shipped one.
    """

    file: str = Field(min_length=1)
    taxonomy: str = ""

    def identity(self) -> dict[str, Any]:
        return {}  # its content is, wherever it lies


def file_digest(uri: str, taxonomy: str) -> str:
    """Of a gold file's content, for the identity of what is made with it."""
    clips = read_gold(uri, load_taxonomy(taxonomy))
    return digest([clip.model_dump(mode="json") for clip in clips])


def _run(run: StageRun[GoldConfig]) -> StageResult:
    from gestray.anchors.wording import sentence

    clips = read_gold(run.config.file, load_taxonomy(run.config.taxonomy))
    described: dict[str, dict[str, Any]] = {}
    for clip in clips:
        if clip.form is not None:  # of several graders, the first has the word
            described.setdefault(
                clip.clip,
                {
                    "phrase_id": clip.clip,
                    "text": clip.transcript,
                    "form": clip.form.model_dump_json(),
                    "form_text": clip.form_text or sentence(clip.form),
                },
            )
    if not described:
        raise UserError(f"{run.config.file}: found no clip with a form; a grounder needs one")
    table = pa.Table.from_pylist(list(described.values()), FORMS_SCHEMA)
    written = write_rows(run.folder, [table], FORMS_SCHEMA, "read clips", len(table))
    count = len({clip.clip for clip in clips})
    return StageResult(count, written, count - written, {"graders": len({c.grader for c in clips})})


GOLD = Stage(
    name="anchors.gold",
    makes="forms",
    config_type=GoldConfig,
    run=_run,
    fingerprint=lambda config: file_digest(config.file, config.taxonomy),
)
