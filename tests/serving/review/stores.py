"""A store with anchors of a few takes, made without a tokenizer and without a cluster."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from gestray.anchors.anchor import anchor_schema, to_row
from gestray.anchors.rules import ground_phrase
from gestray.anchors.taxonomy import TAXONOMY, load_taxonomy
from gestray.anchors.verbalize import describe_many, sentence
from gestray.artifacts import Artifact, Stage, StageResult, run_stage
from gestray.config import Config
from gestray.corpora.take import motion_from_column
from gestray.store import Folder
from gestray.views.catalog import read_catalog, read_columns
from gestray.views.phrases import PhraseConfig, phrases_of
from jobs.anchors import FORMS_SCHEMA


def anchors_of(takes: Folder, store: Path, count: int = 2) -> Artifact:
    """Anchors by rules of the first takes, with all that they are made from, in `store`."""
    target, taxonomy = Folder(str(store)), load_taxonomy()

    def made(kind: str, files: dict[str, bytes], rows: int, **inputs: Artifact) -> Artifact:
        def write(run):
            for name, content in files.items():
                run.folder.write_bytes(content, name)
            metrics = {"synthetic": True, "grounder": "rules", "model": taxonomy.name}
            return StageResult(rows, rows, 0, metrics)

        needs = {role: artifact.manifest.kind for role, artifact in inputs.items()}
        stage = Stage(f"make.{kind}", kind, Config, write, needs)
        return run_stage(stage, target, kind, Config(), inputs).artifact

    def parquet(rows: list[dict], schema: pa.Schema) -> dict[str, bytes]:
        out = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows, schema), out)
        return {"rows.parquet": out.getvalue().to_pybytes()}

    forms, anchors = [], []
    for ref in read_catalog(takes)[:count]:
        motion = motion_from_column(read_columns(takes, ref, ["poses"])["poses"])
        poses = torch.from_numpy(motion.copy())
        phrases = phrases_of(ref, PhraseConfig())
        found = describe_many([poses[phrase.first : phrase.last] for phrase in phrases])
        for phrase, (form, phases) in zip(phrases, found, strict=True):
            text = sentence(form)
            forms.append(
                {
                    "phrase_id": phrase.phrase_id,
                    "take_id": ref.take_id,
                    "split": phrase.split,
                    "start_s": phrase.start_s,
                    "end_s": phrase.end_s,
                    "text": phrase.text,
                    "form": form.model_dump_json(),
                    "form_text": text,
                    "stroke_start_s": phases and phrase.start_s + phases.stroke_s,
                    "stroke_end_s": phases and phrase.start_s + phases.hold_s,
                    "hold_end_s": phases and phrase.start_s + phases.retraction_s,
                }
            )
            anchors.append(
                to_row(ground_phrase(phrase.phrase_id, form, text, phrase.text, taxonomy))
            )
    shard = {"shards/00000.parquet": takes.read_bytes("shards", "00000.parquet")}
    takes_made = made("takes", shard, len(read_catalog(takes)))
    forms_made = made("forms", parquet(forms, FORMS_SCHEMA), len(forms), takes=takes_made)
    files = parquet(anchors, anchor_schema()) | {TAXONOMY: taxonomy.to_json().encode()}
    return made("anchors", files, len(anchors), forms=forms_made)
