"""An ingest from and to an object store that keeps failing ends whole, with the same result."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from gestray.corpora.beat2 import list_takes
from gestray.store import Folder
from tests.s3_proxy import FAULTS, faulty_s3, gestray_through

pytestmark = [pytest.mark.ray, pytest.mark.s3]


def stored(folder: Folder) -> pa.Table:
    (shard,) = folder.list("shards")
    return pq.read_table(folder.path(shard), filesystem=folder.filesystem)


def test_faults_change_nothing_and_one_unreadable_object_costs_one_take(
    synthetic_corpus: Path, tmp_path: Path, ray_cluster: str, s3: dict[str, str], gestray
) -> None:
    source = Folder(f"s3://gestray/{tmp_path.name}/corpus")
    source.upload(synthetic_corpus)
    denied = list_takes(synthetic_corpus).take_ids[3]
    out = f"{source.uri}-store"
    with faulty_s3(s3["AWS_ENDPOINT_URL"], 0.05, denied=(f"/{denied}.npz",)) as proxy:
        command = ("ingest", "beat2", source.uri, "--out", out)
        faulty = gestray_through(proxy.url, ray_cluster, *command)
    whole = gestray("ingest", "beat2", synthetic_corpus, "--out", tmp_path, "--json").json

    assert sum(proxy.seen[fault] for fault in FAULTS) >= 10, proxy.seen
    assert (whole["rows_in"], whole["rows_out"]) == (12, 12)
    assert (faulty["rows_in"], faulty["rows_out"], faulty["rows_quarantined"]) == (12, 11, 1)
    (line,) = Folder(faulty["artifact"]).read_bytes("quarantine.jsonl").splitlines()
    record = json.loads(line)
    assert (record["take_id"], record["field"]) == (denied, "location")
    expected = stored(Folder(whole["artifact"]))
    expected = expected.filter(pc.not_equal(expected["take_id"], denied))
    assert stored(Folder(faulty["artifact"])).equals(expected)
