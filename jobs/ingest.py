"""Recordings to takes: reads a corpus on Ray Data, writes shards, quarantines what is damaged.

The same for every format: what differs is the `Source` (`gestray.corpora.source`).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from gestray.artifacts import Stage, StageResult, StageRun
from gestray.config import Config
from gestray.corpora.beat2 import Beat2Source
from gestray.corpora.folder import ABOUT_FILE, open_corpus
from gestray.corpora.manifest import read_manifest_bytes
from gestray.corpora.shards import SHARDS, ShardWriter
from gestray.corpora.source import Source, TakeEntry
from gestray.corpora.take import FPS, Take
from gestray.errors import BadInput, UserError
from gestray.motion.skeleton_map import SkeletonMap, load_map, shipped_maps
from gestray.store import Folder
from gestray.work import Work, note
from jobs.cluster import at_once, connect
from jobs.display import progress, remarks
from jobs.phrases import about_untimed
from jobs.telemetry import count

QUARANTINE = "quarantine.jsonl"


class IngestConfig(Config):
    """What every `gestray ingest` reads and how it writes.

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


class BvhConfig(IngestConfig):
    """What `gestray ingest bvh` reads.

    Args:
        manifest: the CSV file that names the takes. Its content is part of the identity.
        skeleton: the map of the joints, a shipped one's name or a YAML file; likewise.
    """

    EXECUTION: ClassVar[frozenset[str]] = frozenset({"source", "manifest", "skeleton"})

    manifest: str | None = None
    skeleton: str | None = None


class SmplxConfig(IngestConfig):
    """What `gestray ingest smplx` reads.

    Args:
        fps: frames a second of files that do not say.
        up: the axis that points up; detected in each file where not stated.
    """

    fps: float | None = Field(None, ge=1, le=1000)
    up: Literal["y", "z"] | None = None


@dataclass(frozen=True)
class ShardPlan:
    """What one task reads, and the shard it writes."""

    source: Source
    entries: tuple[TakeEntry, ...]
    target: Folder
    shard: str


def _files_of(config: IngestConfig) -> list[list[Any]] | None:
    """Names, sizes and modification times of the corpus's files."""
    if config.source is None:
        return None
    files = open_corpus(config.source).files()
    return [[file.name, file.size, file.modified_ns] for file in files]


def ingest(source: Source, run: StageRun[Any]) -> StageResult:
    """Read every take of `source` and write it to a shard of the artifact, or quarantine it."""
    config: IngestConfig = run.config
    listing = source.list_takes()
    for remark in listing.remarks:
        remarks.print(remark, markup=False, soft_wrap=True)
    records = [quarantine_record(take_id, error) for take_id, error in listing.quarantined]
    rows_in = len(listing.entries) + len(records)
    stored: list[dict[str, Any]] = []
    plans = _plan_shards(config, source, listing.entries, run.folder)
    if plans:
        connect()
        import ray
        import ray.data

        dataset = ray.data.from_items([{"plan": plan} for plan in plans])
        outcomes = dataset.map_batches(
            _write_shard, batch_size=1, batch_format="pandas", num_cpus=1
        )
        busy_s = 0.0
        with progress("ingest", len(listing.entries)) as track:
            seen = 0
            for row in outcomes.iter_rows():
                outcome = json.loads(row["outcome"])
                stored += outcome["stored"]
                records += outcome["quarantined"]
                busy_s += outcome["seconds"]
                told = {
                    "stored": len(outcome["stored"]),
                    "quarantined": len(outcome["quarantined"]),
                }
                count("gestray_ingest_takes", told)
                seen += len(outcome["stored"]) + len(outcome["quarantined"])
                track(seen)
        workers = at_once(min(len(plans), int(ray.cluster_resources()["CPU"])))
        note(Work(unit="takes", units=seen, workers=workers, busy_s=busy_s))
    said = Counter(item["remark"] for item in stored if item["remark"])
    for remark, number in said.most_common():
        remarks.print(f"{number} takes: {remark}", markup=False, soft_wrap=True)
    _report_quarantine(run, records, rows_in)
    without_motion = [item["take_id"] for item in stored if item["num_frames"] is None]
    for take_id in without_motion:
        remarks.print(f"take {take_id} has no motion: kept for speech, not for training")
    if not stored:
        raise UserError(
            f"{source.root}: none of its {rows_in} takes could be read; see the reasons above"
        )
    frames = sum(item["num_frames"] or 0 for item in stored)
    untimed = [item for item in stored if item["words"] == "untimed"]
    if untimed:
        in_time = sum(item["split"].startswith("time:") for item in untimed)
        remarks.print(about_untimed(len(untimed), len(stored), in_time), soft_wrap=True)
    metrics = {
        "takes": len(stored),
        "synthetic": _says_synthetic(source.root),
        "absent": len(listing.absent),
        "without_motion": len(without_motion),
        "without_words": sum(item["words"] == "none" for item in stored),
        "without_word_times": len(untimed),
        "without_audio": sum(not item["audio"] for item in stored),
        "speakers": len({item["speaker"] for item in stored}),
        "motion_hours": frames / FPS / 3600,
        "shards": len([path for path in run.folder.list(SHARDS)]),
    }
    return StageResult(rows_in, len(stored), len(records), metrics)


def quarantine_record(take_id: str, error: BadInput) -> dict[str, Any]:
    """A line of the quarantine file."""
    return {
        "take_id": take_id,
        "file": error.file,
        "field": error.field,
        "found": error.found,
        "expected": error.expected,
        "reason": str(error),
    }


def _report_quarantine(run: StageRun[Any], records: list[dict[str, Any]], rows_in: int) -> None:
    """Write the quarantine file and say what is in it; with `strict`, that is the end."""
    records.sort(key=lambda record: record["take_id"])
    lines = "".join(json.dumps(record) + "\n" for record in records)
    run.folder.write_bytes(lines.encode(), QUARANTINE)
    for record in records:
        line = f"quarantined {record['take_id']}: {record['reason']}"
        remarks.print(line, markup=False, soft_wrap=True)
    if run.config.strict and records:
        raise UserError(
            f"--strict: {len(records)} of {rows_in} takes are damaged (listed above); mend or "
            "remove their files, or run without --strict to leave them out"
        )


def _says_synthetic(root: str) -> bool:
    """Whether the corpus declares itself invented (see `ABOUT_FILE`)."""
    text = open_corpus(root).read(ABOUT_FILE, 1 << 20)
    try:
        about = json.loads(text or "{}")
    except ValueError as error:
        raise UserError(f"{root}/{ABOUT_FILE}: not JSON ({error}); mend or remove it") from None
    return isinstance(about, dict) and bool(about.get("synthetic", False))


def _plan_shards(
    config: IngestConfig, source: Source, entries: tuple[TakeEntry, ...], target: Folder
) -> list[ShardPlan]:
    """Takes in random order, groups kept together, in shards of about `shard_mb`."""
    groups: dict[str, list[TakeEntry]] = {}
    for entry in entries:
        groups.setdefault(entry.group or entry.take_id, []).append(entry)
    together = list(groups.values())
    members: list[list[TakeEntry]] = []
    filled = float("inf")
    for number in np.random.default_rng(config.seed).permutation(len(together)):
        for entry in together[number]:
            if filled >= config.shard_mb * 1_000_000:
                members.append([])
                filled = 0
            members[-1].append(entry)
            filled += entry.size
    return [
        ShardPlan(source, tuple(shard), target, f"{SHARDS}/{number:05d}.parquet")
        for number, shard in enumerate(members)
    ]


def _write_shard(plans: Any) -> dict[str, list[str]]:
    """Read the takes of one shard and write it; one row group a take.

    Returns one row with the outcome of every take, as JSON.
    """
    began = time.perf_counter()
    plan: ShardPlan = plans["plan"].iloc[0]
    stored: list[dict[str, Any]] = []
    quarantined: list[dict[str, Any]] = []
    takes = _readable_takes(plan, quarantined)
    first = next(takes, None)
    if first is not None:
        with plan.target.open_output(plan.shard) as stream, ShardWriter(stream) as writer:
            for take in _chain(first, takes):
                writer.write(take)
                stored.append(
                    {
                        "take_id": take.take_id,
                        "speaker": take.speaker,
                        "num_frames": take.num_frames,
                        "split": take.split,
                        "words": _kind_of_words(take),
                        "audio": take.audio is not None,
                        "remark": plan.source.remark(take),
                    }
                )
    outcome = {"stored": stored, "quarantined": quarantined}
    return {"outcome": [json.dumps(outcome | {"seconds": time.perf_counter() - began})]}


def _kind_of_words(take: Take) -> str:
    if not take.words:
        return "none" if take.words is None else "timed"
    return "untimed" if any(word.start_s is None for word in take.words) else "timed"


def _readable_takes(plan: ShardPlan, quarantined: list[dict[str, Any]]) -> Iterator[Take]:
    for entry in plan.entries:
        try:
            yield plan.source.read_take(entry)
        except BadInput as error:
            quarantined.append(quarantine_record(entry.take_id, error))


def _chain(first: Take, rest: Iterator[Take]) -> Iterator[Take]:
    yield first
    yield from rest


def _root_of(config: IngestConfig, expected: str) -> str:
    """Where the corpus lies. A whole path, for tasks run in folders of their own."""
    if config.source is None:
        raise UserError(f"ingest: no source given; expected {expected}")
    return Folder(config.source).uri


def _beat2_source(config: IngestConfig) -> Source:
    return Beat2Source(_root_of(config, "a folder in BEAT2's layout"), config.split)


def _bvh_source(config: BvhConfig) -> Source:
    from gestray.corpora.bvh import BvhSource

    root = _root_of(config, "a folder of BVH files")
    manifest, skeleton = _bvh_inputs(config)
    return BvhSource(root, manifest, skeleton, config.split)


def _smplx_source(config: SmplxConfig) -> Source:
    from gestray.corpora.smplx_folder import SmplxSource

    root = _root_of(config, "a folder of SMPL-X npz files")
    return SmplxSource(root, config.split, config.fps, config.up)


def _bvh_inputs(config: BvhConfig) -> tuple[str, SkeletonMap]:
    """Where the manifest lies, and the skeleton map."""
    if config.manifest is None:
        raise UserError("ingest bvh: no manifest given; expected --manifest FILE.csv")
    if config.skeleton is None:
        shipped = ", ".join(shipped_maps())
        raise UserError(
            f"ingest bvh: no skeleton given; expected --skeleton FILE.yaml or {shipped}"
        )
    return config.manifest, load_map(config.skeleton)


def _bvh_fingerprint(config: BvhConfig) -> list[Any]:
    manifest, skeleton = _bvh_inputs(config)
    content = hashlib.sha256(read_manifest_bytes(manifest)).hexdigest()
    return [_files_of(config), content, skeleton.model_dump(mode="json")]


_SOURCES: dict[type[Config], Callable[[Any], Source]] = {
    IngestConfig: _beat2_source,
    BvhConfig: _bvh_source,
    SmplxConfig: _smplx_source,
}


def source_of(config: Config) -> Source:
    """The corpus that a config names.

    Raises:
        UserError: it names none, or not all that is needed to read it.
    """
    return _SOURCES[type(config)](config)


def _run(run: StageRun[Any]) -> StageResult:
    config = run.config
    if "corpus" in run.inputs:
        config = config.model_copy(update={"source": run.inputs["corpus"].uri})
    return ingest(source_of(config), run)


BEAT2 = Stage(
    name="ingest.beat2",
    makes="takes",
    config_type=IngestConfig,
    run=_run,
    needs={"corpus": "corpus"},
    optional=frozenset({"corpus"}),
    fingerprint=_files_of,
)
BVH = Stage(
    name="ingest.bvh",
    makes="takes",
    config_type=BvhConfig,
    run=_run,
    fingerprint=_bvh_fingerprint,
)
SMPLX = Stage(
    name="ingest.smplx",
    makes="takes",
    config_type=SmplxConfig,
    run=_run,
    fingerprint=_files_of,
)
