"""Recordings to takes: reads a corpus on Ray Data, writes shards, quarantines what is damaged."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, ClassVar

import numpy as np
import pyarrow.parquet as pq
from pydantic import Field

from gestray.artifacts import Stage, StageResult, StageRun
from gestray.config import Config
from gestray.corpora.beat2 import list_takes, read_take
from gestray.corpora.folder import ABOUT_FILE, open_corpus
from gestray.corpora.splits import parse_split
from gestray.corpora.take import TAKE_SCHEMA
from gestray.errors import BadInput, UserError
from gestray.store import Folder
from gestray.views.catalog import SHARDS
from jobs.cluster import connect
from jobs.display import progress, remarks

QUARANTINE = "quarantine.jsonl"


class IngestConfig(Config):
    """What `gestray ingest beat2` reads and how it writes.

    Args:
        source: the corpus, unless a `corpus` artifact is the input. Its location
            is no part of the result's identity; the names, sizes and times of
            its files are.
        split: empty for the corpus's own, or ``time:0.8``.
        shard_mb: about how much recording goes into one shard.
        seed: of the order takes are stored in.
        strict: fail if any take is quarantined. Part of the identity: what was
            ingested without it does not count as up to date with it.
    """

    EXECUTION: ClassVar[frozenset[str]] = frozenset({"source"})

    source: str | None = None
    split: str | None = None
    shard_mb: int = Field(256, ge=1)
    seed: int = 0
    strict: bool = False


@dataclass(frozen=True)
class ShardPlan:
    """What one task reads, and the shard it writes."""

    source: str
    take_ids: tuple[str, ...]
    splits: tuple[str, ...]
    target: Folder
    shard: str


def _fingerprint(config: IngestConfig) -> list[list[Any]] | None:
    """Names, sizes and modification times of the corpus's files."""
    if config.source is None:
        return None
    files = open_corpus(config.source).files()
    return [[file.name, file.size, file.modified_ns] for file in files]


def _run(run: StageRun[IngestConfig]) -> StageResult:
    config = run.config
    source = run.inputs["corpus"].uri if "corpus" in run.inputs else config.source
    if source is None:
        raise UserError("ingest: no source given; expected a folder in BEAT2's layout")
    split = parse_split(config.split)
    listing = list_takes(source)
    plans = _plan_shards(config, source, split, listing.take_ids, listing.splits, run.folder)
    records: list[dict[str, Any]] = [
        {"take_id": take_id, "file": "", "field": "take_id", "reason": reason}
        for take_id, reason in listing.quarantined.items()
    ]
    rows_in = len(listing.take_ids) + len(records)
    stored: list[dict[str, Any]] = []
    if plans:
        connect()
        import ray.data

        dataset = ray.data.from_items([{"plan": plan} for plan in plans])
        outcomes = dataset.map_batches(
            _write_shard, batch_size=1, batch_format="pandas", num_cpus=1
        )
        with progress("ingest", len(listing.take_ids)) as track:
            seen = 0
            for row in outcomes.iter_rows():
                outcome = json.loads(row["outcome"])
                stored += outcome["stored"]
                records += outcome["quarantined"]
                seen += len(outcome["stored"]) + len(outcome["quarantined"])
                track(seen)
    records.sort(key=lambda record: record["take_id"])
    lines = "".join(json.dumps(record) + "\n" for record in records)
    run.folder.write_bytes(lines.encode(), QUARANTINE)
    for record in records:
        remarks.print(f"quarantined {record['take_id']}: {record['reason']}", markup=False)
    if config.strict and records:
        raise UserError(
            f"--strict: {len(records)} of {rows_in} takes are damaged (listed above); mend or "
            "remove their files, or run without --strict to leave them out"
        )
    without_motion = [item["take_id"] for item in stored if item["num_frames"] is None]
    for take_id in without_motion:
        remarks.print(f"take {take_id} has no motion: kept for speech, not for training")
    if not stored:
        raise UserError(
            f"{source}: none of its {rows_in} takes could be read; see the reasons above"
        )
    frames = sum(item["num_frames"] or 0 for item in stored)
    metrics = {
        "takes": len(stored),
        "synthetic": _says_synthetic(source),
        "absent": len(listing.absent),
        "without_motion": len(without_motion),
        "without_words": sum(not item["words"] for item in stored),
        "without_audio": sum(not item["audio"] for item in stored),
        "speakers": len({item["speaker"] for item in stored}),
        "motion_hours": frames / 30 / 3600,
        "shards": len([path for path in run.folder.list(SHARDS)]),
    }
    return StageResult(rows_in, len(stored), len(records), metrics)


def _says_synthetic(source: str) -> bool:
    """Whether the corpus declares itself invented (see `ABOUT_FILE`)."""
    text = open_corpus(source).read(ABOUT_FILE, 1 << 20)
    try:
        about = json.loads(text or "{}")
    except ValueError as error:
        raise UserError(f"{source}/{ABOUT_FILE}: not JSON ({error}); mend or remove it") from None
    return isinstance(about, dict) and bool(about.get("synthetic", False))


def _plan_shards(
    config: IngestConfig,
    source: str,
    split: str | None,
    take_ids: tuple[str, ...],
    splits: Any,
    target: Folder,
) -> list[ShardPlan]:
    """Takes in random order, cut into shards of about `shard_mb` of source files."""
    sizes = _source_bytes(source, take_ids)
    members: list[list[str]] = []
    filled = float("inf")
    for number in np.random.default_rng(config.seed).permutation(len(take_ids)):
        if filled >= config.shard_mb * 1_000_000:
            members.append([])
            filled = 0
        members[-1].append(take_ids[number])
        filled += sizes[take_ids[number]]
    return [
        ShardPlan(
            source,
            tuple(shard),
            tuple(split or splits[take_id] for take_id in shard),
            target,
            f"{SHARDS}/{number:05d}.parquet",
        )
        for number, shard in enumerate(members)
    ]


def _source_bytes(source: str, take_ids: tuple[str, ...]) -> dict[str, int]:
    sizes = dict.fromkeys(take_ids, 1)
    for file in open_corpus(source).files():
        stem = PurePosixPath(file.name).stem
        if stem in sizes:
            sizes[stem] += file.size
    return sizes


def _write_shard(plans: Any) -> dict[str, list[str]]:
    """Read the takes of one shard and write it; one row group a take.

    Returns one row with the outcome of every take, as JSON.
    """
    plan: ShardPlan = plans["plan"].iloc[0]
    stored: list[dict[str, Any]] = []
    quarantined: list[dict[str, Any]] = []
    tables = _readable_takes(plan, quarantined)
    first = next(tables, None)
    if first is not None:
        with (
            plan.target.open_output(plan.shard) as stream,
            pq.ParquetWriter(stream, TAKE_SCHEMA, compression="zstd") as writer,
        ):
            for take in _chain(first, tables):
                writer.write_table(take.to_table())
                stored.append(
                    {
                        "take_id": take.take_id,
                        "speaker": take.speaker,
                        "num_frames": take.num_frames,
                        "words": take.words is not None,
                        "audio": take.audio is not None,
                    }
                )
    return {"outcome": [json.dumps({"stored": stored, "quarantined": quarantined})]}


def _readable_takes(plan: ShardPlan, quarantined: list[dict[str, Any]]) -> Any:
    for take_id, split in zip(plan.take_ids, plan.splits, strict=True):
        try:
            yield read_take(plan.source, take_id, split)
        except BadInput as error:
            quarantined.append(
                {
                    "take_id": take_id,
                    "file": error.file,
                    "field": error.field,
                    "reason": str(error),
                }
            )


def _chain(first: Any, rest: Any) -> Any:
    yield first
    yield from rest


BEAT2 = Stage(
    name="ingest.beat2",
    makes="takes",
    config_type=IngestConfig,
    run=_run,
    needs={"corpus": "corpus"},
    optional=frozenset({"corpus"}),
    fingerprint=_fingerprint,
)
