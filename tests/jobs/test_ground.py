"""`gestray anchors ground` with a server as its engine: killed, repeated, and its counts."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gestray.anchors import prompting
from gestray.anchors.taxonomy import load_taxonomy, read_taxonomy, taxonomy_of
from gestray.artifacts import Artifact, Stage, StageResult, run_stage
from gestray.config import Config
from gestray.store import Folder
from jobs.anchors import FORMS_SCHEMA
from tests.anchors.engines import GOOD, Server, completion
from tests.anchors.test_grounding import phrases
from tests.anchors.test_taxonomy import OWN


def forms_artifact(store: Path, texts: list[str]) -> Artifact:
    """Forms of phrases with these words, as `gestray anchors verbalize` leaves them."""
    rows = phrases(*texts)
    others = {
        name: pa.nulls(len(rows), FORMS_SCHEMA.field(name).type)
        for name in FORMS_SCHEMA.names
        if name not in rows.column_names
    }
    columns = {**{name: rows[name] for name in rows.column_names}, **others}
    table = pa.table({name: columns[name] for name in FORMS_SCHEMA.names}, FORMS_SCHEMA)

    def write(run):
        with run.folder.open_output("rows.parquet") as out:
            pq.write_table(table, out)
        return StageResult(len(table), len(table))

    class Written(Config):
        texts: tuple[str, ...]

    stage = Stage("anchors.verbalize", "forms", Written, write)
    return run_stage(stage, Folder(str(store)), "forms", Written(texts=tuple(texts)), {}).artifact


NO_EXAMPLES = "prompt.examples=[]"


def command(store: Path, server: Server) -> list[str]:
    options = ["--grounder", "openai", "--model", "m", "--store", str(store), "--json"]
    return ["anchors", "ground", *options, f"openai.url={server.url}", "openai.concurrency=2"]


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))]
)
def test_a_killed_driver_goes_on_and_asks_nothing_again(tmp_path, gestray, seed):
    texts = [f"phrase {number}" for number in range(120)]
    forms_artifact(tmp_path, texts)
    moment = random.Random(seed).randrange(45, 110)

    def slowly(_body):
        time.sleep(0.05)
        return 200, completion(GOOD)

    with Server(slowly) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "jobs.cli", *command(tmp_path, server)],
            env=os.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        while sum(server.calls.values()) < moment:
            assert process.poll() is None, process.stderr.read().decode()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
        time.sleep(0.3)  # what is under way arrives at the server
        parts = [pq.read_table(part) for part in tmp_path.glob("grounding-cache/*/*.parquet")]
        kept = sum(map(len, parts))
        before = sum(server.calls.values())
        assert not list(tmp_path.glob("anchors/*/manifest.json"))

        report = gestray(*command(tmp_path, server)).json
        after = sum(server.calls.values())

    print(f"\nkilled after {before} answers, {kept} of them kept; {after - 120} asked again")
    # Lost is what was under way and what came in the last hundredth of the run.
    assert before - 10 <= kept <= before
    assert report["rows_in"] == report["rows_out"] == 120
    metrics = report["metrics"]
    assert (metrics["reused"], metrics["calls"]) == (kept, 120 - kept)
    assert after - before == 120 - kept  # the server agrees
    [rows] = tmp_path.glob("anchors/*/rows.parquet")
    assert pq.read_table(rows)["phrase_id"].to_pylist() == [f"p{n}" for n in range(120)]


def test_a_second_corpus_with_the_same_phrases_asks_nothing(tmp_path, gestray):
    with Server() as server:
        forms_artifact(tmp_path, ["one", "two", "three"])
        first = gestray(*command(tmp_path, server)).json
        forms_artifact(tmp_path, ["three", "one"])
        second = gestray(*command(tmp_path, server)).json
        again = gestray(*command(tmp_path, server)).json

    assert first["metrics"]["calls"] == 3
    assert (second["metrics"]["reused"], second["metrics"]["calls"]) == (2, 0)
    assert second["artifact"] != first["artifact"] and again["up_to_date"]
    assert sum(server.calls.values()) == 3


def test_a_prompt_is_part_of_what_anchors_are(tmp_path, gestray):
    """Of the artifact's identity too: a changed file makes other anchors."""
    prompt = tmp_path / "mine.md"
    forms_artifact(tmp_path, ["one"])
    artifacts = []
    with Server() as server:
        for text in ("Label it: $labels$examples", "Label this: $labels$examples"):
            prompt.write_text(f"# system\n{text}\n# user\n$handedness $form_text $transcript\n")
            prompting._template.cache_clear()  # as a new process has it
            prompting._parts.cache_clear()
            done = gestray(*command(tmp_path, server), f"prompt.file={prompt}")
            artifacts.append(done.json["artifact"])

    assert artifacts[0] != artifacts[1]
    assert sum(server.calls.values()) == 2


def test_a_taxonomy_is_part_of_what_anchors_are_and_of_what_is_asked(tmp_path, gestray):
    """Its cues only rules read: changing them makes other anchors, of the same answers."""
    mine = tmp_path / "mine.yaml"
    forms_artifact(tmp_path, ["sales grew"])
    found = []
    with Server(lambda body: (200, completion(GOOD.replace("growth", "bull market")))) as server:
        for old, new in (("", ""), ("[sales grew]", "[soared]"), ("Prices rise", "Prices fall")):
            mine.write_text(OWN.replace(old, new))
            load_taxonomy.cache_clear()  # as a new process has it
            found.append(gestray(*command(tmp_path, server), f"taxonomy={mine}", NO_EXAMPLES).json)
        mine.write_text("version: 1")
        load_taxonomy.cache_clear()
        refused = gestray(*command(tmp_path, server), f"taxonomy={mine}")

    assert [report["metrics"]["calls"] for report in found] == [1, 0, 1]
    assert [report["metrics"]["grounded"] for report in found] == [1, 1, 1]
    assert len({report["artifact"] for report in found}) == 3
    schema = server.seen[0]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["intent"]["properties"]["label"]["enum"] == ["bull market", "none"]
    kept = taxonomy_of(Folder(found[0]["artifact"]))
    assert kept.hash == read_taxonomy("mine", OWN).hash
    assert refused.code == 1 and f"taxonomy {mine}:\n  line 1: " in refused.err


def test_rules_take_no_model(gestray):
    outcome = gestray("anchors", "ground", "--model", "m")
    assert outcome.code == 1
    assert "--model goes with --grounder vllm or openai" in outcome.err
