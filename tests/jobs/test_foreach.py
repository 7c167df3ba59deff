"""Pipelines that say a stage once and run it many times, and stages side by side."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gestray.errors import UserError
from jobs.pipeline import PipelineStage, expanded, load_pipeline

TRAIN = {
    "stage": "encoder.train",
    "name": "{method}-{seed}",
    "foreach": [
        {"method": ["direct"], "seed": [0, 1]},
        {"method": ["tmr", "clip4clip"], "seed": "$seeds"},
    ],
    "inputs": {"takes": "takes"},
    "config": {"preset": "{method}", "loop": {"seed": "{seed}"}},
}
EMBED = {
    "stage": "encoder.embed",
    "name": "{method}-{seed}-embeddings",
    "foreach": "{method}-{seed}",
    "inputs": {"takes": "takes", "encoder": "{method}-{seed}"},
}
STUDY = {
    "stage": "evaluate.retrieval",
    "name": "study",
    "inputs": {"{method}@{seed}": "{method}-{seed}-embeddings"},
}
TAKES = {"stage": "ingest.beat2", "name": "takes", "config": {"source": "x"}}
# An ablation beside the presets, under the same name in the file.
ABLATION = {
    **TRAIN,
    "foreach": {"method": ["direct-half"], "seed": [0]},
    "config": {"preset": "direct"},
}


def stages_of(
    tmp_path: Path, *stages: dict, overrides: tuple[str, ...] = ()
) -> list[PipelineStage]:
    file = tmp_path / "p.yaml"
    file.write_text(yaml.safe_dump({"params": {"seeds": [7]}, "stages": list(stages)}))
    return expanded(load_pipeline(str(file), overrides))


def test_every_combination_is_a_stage_with_its_values(tmp_path) -> None:
    stages = {
        stage.name: stage for stage in stages_of(tmp_path, TAKES, TRAIN, ABLATION, EMBED, STUDY)
    }
    trained = ["direct-0", "direct-1", "tmr-7", "clip4clip-7", "direct-half-0"]
    assert list(stages) == ["takes", *trained, *(f"{name}-embeddings" for name in trained), "study"]
    assert stages["direct-1"].config == {"preset": "direct", "loop": {"seed": 1}}  # a number
    assert stages["tmr-7-embeddings"].inputs == {"takes": "takes", "encoder": "tmr-7"}
    assert stages["study"].inputs == {
        "direct@0": "direct-0-embeddings",
        "direct@1": "direct-1-embeddings",
        "tmr@7": "tmr-7-embeddings",
        "clip4clip@7": "clip4clip-7-embeddings",
        "direct-half@0": "direct-half-0-embeddings",
    }


def test_parameters_and_keys_reach_all_of_them(tmp_path) -> None:
    overrides = ("seeds=[3, 4]", "{method}-{seed}.loop.steps=5")
    stages = stages_of(tmp_path, TAKES, TRAIN, overrides=overrides)
    assert [stage.name for stage in stages[1:]] == [
        "direct-0", "direct-1", "tmr-3", "tmr-4", "clip4clip-3", "clip4clip-4",
    ]  # fmt: skip
    assert all(stage.config["loop"]["steps"] == 5 for stage in stages[1:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"foreach": "{methd}"}, "'{methd}' is the name of no earlier stage with foreach"),
        ({"foreach": {"method": "tmr"}}, "expected lists of values by name"),
        ({"foreach": {"method": ["tmr"]}}, r"nothing fills {seed}; known: method"),
        ({"name": "{method}"}, "stage direct: made twice"),
    ],
)
def test_what_makes_no_sense_is_said(tmp_path, change, message) -> None:
    with pytest.raises(UserError, match=message):
        stages_of(tmp_path, TAKES, {**TRAIN, **change})


def test_stages_side_by_side_resume_and_fail_as_one(tmp_path, gestray) -> None:
    """Two corpora at once in processes of their own; again; then one that cannot be made."""
    file = tmp_path / "p.yaml"
    corpora = {
        "stage": "corpus.synth",
        "name": "corpus-{seed}",
        "foreach": {"seed": [0, 1]},
        "config": {"takes": 1, "seconds": 10, "seed": "{seed}"},
    }
    file.write_text(yaml.safe_dump({"processes": 2, "stages": [corpora]}))
    command = ("run", file, f"store={tmp_path / 'store'}", "--json")
    report = gestray(*command).json
    assert [Path(s["artifact"]).name.split("-")[1] for s in report["stages"]] == ["0", "1"]
    assert [stage["up_to_date"] for stage in report["stages"]] == [False] * 2
    again = gestray(*command).json
    assert [stage["up_to_date"] for stage in again["stages"]] == [True] * 2
    assert [stage["artifact"] for stage in again["stages"]] == [
        stage["artifact"] for stage in report["stages"]
    ]

    missing = {
        "stage": "ingest.beat2",
        "name": "takes-{part}",
        "foreach": {"part": ["a", "b"]},
        "config": {"source": str(tmp_path / "nowhere-{part}")},
    }
    file.write_text(yaml.safe_dump({"processes": 2, "stages": [missing]}))
    outcome = gestray(*command)
    assert outcome.code == 1
    # Whichever of the two fails first is told.
    assert "nowhere-a" in outcome.err or "nowhere-b" in outcome.err
    assert "Traceback" not in outcome.err
