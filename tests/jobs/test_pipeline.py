"""Pipelines: checked before they start, killed anywhere, and on real recordings."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

from gestray.artifacts import open_artifact
from gestray.encoders.config import PRESETS
from gestray.errors import UserError
from gestray.generators.config import preset
from gestray.store import Folder
from jobs import shipped
from jobs.pipeline import check_pipeline, expanded, load_pipeline
from jobs.stages import stage_config

# Small enough to train in seconds; what is tested is the pipeline, not the models.
SHORT = {"steps": 12, "batch_size": 16, "checkpoint_every": 4, "log_every": 1}
STAGES = [
    {"stage": "ingest.beat2", "name": "takes", "config": {"source": "$source"}},
    {
        "stage": "tokenizer.train",
        "name": "tokenizer",
        "inputs": {"takes": "takes"},
        "config": {"loop": {**SHORT, "steps": 40}},
    },
    {
        "stage": "tokenizer.encode",
        "name": "primitives",
        "inputs": {"takes": "takes", "tokenizer": "tokenizer"},
    },
    {
        "stage": "anchors.verbalize",
        "name": "forms",
        "inputs": {"primitives": "primitives", "tokenizer": "tokenizer"},
    },
    {"stage": "anchors.ground", "name": "anchors", "inputs": {"forms": "forms"}},
    {
        "stage": "encoder.train",
        "name": "sma",
        "inputs": {"takes": "takes", "anchors": "anchors"},
        "config": {"preset": "sma", "loop": SHORT},
    },
    {
        "stage": "encoder.embed",
        "name": "embeddings",
        "inputs": {"takes": "takes", "encoder": "sma"},
    },
    {
        "stage": "index.build",
        "name": "gestures",
        "inputs": {"embeddings": "embeddings", "anchors": "anchors"},
    },
    {"stage": "evaluate.retrieval", "name": "retrieval", "inputs": {"sma": "embeddings"}},
]


def test_every_shipped_pipeline_is_valid():
    assert shipped.names(shipped.PIPELINES) == [
        "beat2", "demo", "generation", "generation_study", "retrieval_study", "retrieved_gestures",
    ]  # fmt: skip
    for name, trained in (("beat2", "sma"), ("demo", "sma"), ("generation", "semges")):
        pipeline = load_pipeline(name, ["store=/tmp/x", f"{trained}.loop.steps=7"])
        assert pipeline.store == "/tmp/x"
        (stage,) = [stage for stage in pipeline.stages if stage.name == trained]
        assert stage.config["loop"]["steps"] == 7
    check_pipeline(load_pipeline("retrieved_gestures", []))
    check_pipeline(load_pipeline("demo", ["semges.loop.steps=7"]))
    silent = check_pipeline(load_pipeline("demo", ["speech=false", "generators=[]"]))
    assert "semges" not in silent


def test_a_language_model_grounds_where_it_is_asked_for():
    pipeline = load_pipeline("beat2", ["grounder=vllm", "vllm_model=m"])
    check_pipeline(pipeline)
    (stage,) = [stage for stage in expanded(pipeline) if stage.stage == "anchors.ground"]
    config = stage_config(stage.stage, stage.config, stage.name)
    assert (config.grounder, config.vllm.model) == ("vllm", "m")


def test_the_study_trains_every_preset_and_ablation_as_it_should():
    stages = {stage.name: stage for stage in expanded(load_pipeline("retrieval_study", []))}
    for stage in stages.values():
        stage_config(stage.stage, stage.config, stage.name)
    seeds = Counter(role.split("@")[0] for role in stages["retrieval-study"].inputs)
    assert {name: seeds[name] for name in PRESETS} == {
        **dict.fromkeys(PRESETS, 3), "direct": 5, "sma": 5,
    }  # fmt: skip
    assert stages["sma-4"].inputs["anchors"] == "anchors"
    assert stages["sma-shuffled-1"].inputs["anchors"] == "shuffled"
    phrase = stage_config("encoder.train", stages["jegal-phrase-0"].config, "jegal-phrase-0")
    assert (phrase.model.objectives.coupling, phrase.loop.seed) == (0.0, 0)
    small = expanded(load_pipeline("retrieval_study", ["many=[0]", "few=[]", "ablated=[]"]))
    assert set(small[-1].inputs) == {"direct@0", "sma@0", "anchors"}


def test_the_study_of_generators_takes_one_thing_away_at_a_time():
    stages = {stage.name: stage for stage in expanded(load_pipeline("generation_study", []))}
    configs = {
        name: stage_config(stage.stage, stage.config, name) for name, stage in stages.items()
    }
    seeds = Counter(role.split("@")[0] for role in stages["generation-study"].inputs)
    assert set(seeds.values()) == {1, 3} and len(seeds) == 2 + 3 + 5
    for method in ("semges", "semtalk"):
        full = configs[f"{method}-0"].model.method
        assert full == preset(method).model.method
        for name, config in configs.items():
            if name.startswith(f"{method}-") and name.endswith("-2") and name != f"{method}-2":
                ours, theirs = full.model_dump(), config.model.method.model_dump()
                assert sum(ours[key] != theirs[key] for key in ours) == 1, name
                assert config.loop.seed == 2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["tokeniser.loop.steps=1"],
            "nothing is called so; known: store, processes, source, .*tokenizer",
        ),
        (["sourc=x"], "known: store, processes, source"),
    ],
)
def test_overrides_of_nothing_are_refused(overrides, message):
    with pytest.raises(UserError, match=message):
        load_pipeline("beat2", overrides)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": {"takes": "tokens"}}, "'tokens' is no earlier stage; known: takes"),
        ({"config": {"loop": {"stepz": 1}}}, "did you mean 'steps'"),
        ({"config": {"source": "$where"}}, "no parameter 'where'; known: source"),
        ({"stage": "tokenizer.trian"}, "unknown stage 'tokenizer.trian'"),
        ({"name": "../up"}, "expected lower-case letters"),
    ],
)
def test_mistakes_are_found_before_anything_runs(tmp_path, gestray, change, message):
    stages = [STAGES[0], {**STAGES[1], **change}]
    file = tmp_path / "p.yaml"
    file.write_text(yaml.safe_dump({"params": {"source": "x"}, "stages": stages}))
    outcome = gestray("run", file, f"store={tmp_path / 'store'}")
    assert outcome.code == 1
    assert message in outcome.err
    assert not (tmp_path / "store").exists()


def test_help_is_fast_and_shows_examples(gestray):
    outcome = gestray("index", "search", "--help")
    assert outcome.code == 0
    assert 'gestray index search "I was so tired"' in outcome.out


def kill_when(process, sign: str) -> str:
    """SIGKILL the driver as soon as it has said `sign`; returns what it said."""
    said = ""
    for line in process.stderr:
        said += line
        if sign in line:
            process.send_signal(signal.SIGKILL)
            break
    process.wait(timeout=60)
    assert sign in said, f"ended with {process.returncode} before {sign!r}:\n{said}"
    assert process.returncode == -signal.SIGKILL
    return said


@pytest.mark.ray
@pytest.mark.parametrize("thrice", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_killed_pipeline_goes_on_where_it_was(
    synthetic_corpus, tmp_path, gestray, start, ray_cluster, thrice
):
    """SIGKILL in training, in a data stage and, thrice, after grounding; then the command again."""
    file = tmp_path / "p.yaml"
    params = {"source": str(synthetic_corpus)}
    file.write_text(yaml.safe_dump({"params": params, "stages": STAGES}))
    store = tmp_path / "store"
    command = ("run", file, f"store={store}", "--json")

    kill_when(start(*command), "train tokenizer (2 workers): 20/40")
    assert not list(store.glob("tokenizer/*/manifest.json"))
    said = kill_when(start(*command), "anchors.verbalize")
    assert "up to date" in said.split("tokenizer.train")[0]  # ingest did not run again
    assert "train tokenizer (2 workers): 4/40" not in said  # training went on, not anew
    if thrice:
        said = kill_when(start(*command), "train encoder (2 workers): 6/12")
        assert said.count("up to date") == 3

    outcome = gestray(*command)
    assert outcome.code == 0, outcome.err
    report = outcome.json
    before = 5 if thrice else 3
    done = [stage["up_to_date"] for stage in report["stages"]]
    assert done == [True] * before + [False] * (9 - before)
    assert all(
        stage["rows_in"] == stage["rows_out"] + stage["rows_quarantined"]
        for stage in report["stages"]
    )
    log = open_artifact(Folder(report["stages"][1]["artifact"])).folder.read_bytes("log.jsonl")
    assert len(log.splitlines()) == 40
    assert not list(store.glob("*/*/training"))
    html = (Path(report["artifact"]) / "report.html").read_text()
    assert "rules (" in html

    started = time.monotonic()
    again = gestray(*command).json
    assert all(stage["up_to_date"] for stage in again["stages"])
    assert time.monotonic() - started < 30

    _check_reports(gestray, store)

    hits = gestray("index", "search", "I have no idea", "-k", 3, "--store", store, "--json").json
    assert [hit["rank"] for hit in hits["hits"]] == [1, 2, 3]
    assert hits["hits"][0]["score"] >= hits["hits"][1]["score"]


def _check_reports(gestray, store: Path) -> None:
    """What the tokenizer and the verbalizer are worth, of the pipeline's own artifacts."""
    codebook = gestray("tokenizer", "report", "--store", store, "--json").json
    metrics = codebook["metrics"]
    assert metrics["synthetic"] is True
    assert 0 < metrics["gesture.levels10.wrist_mm"] < metrics["gesture.levels1.wrist_mm"]
    assert metrics["hands.levels10.mpjpe_mm"] < metrics["hands.levels1.mpjpe_mm"]
    page = (Path(codebook["artifact"]) / "primitives.html").read_text()
    assert page.count('<li class="card"') > 50

    (anchors,) = store.glob("anchors/anchors-*")
    forms = gestray(
        "anchors", "evaluate", "--store", store, "--input", f"rules={anchors}", "--json"
    ).json
    metrics = forms["metrics"]
    assert forms["rows_in"] == forms["rows_out"] == metrics["gestures"] > 0
    assert metrics["recorded.handedness"] >= 0.95
    assert 0 < metrics["through_tokens.handedness"] <= 1
    statuses = [metrics.get(f"rules.{name}", 0) for name in ("grounded", "ungrounded", "failed")]
    assert 0 < sum(statuses) == metrics["rules.cases"] <= metrics["gestures"]
    assert metrics["rules.intent_accuracy"] > 0
    page = (Path(forms["artifact"]) / "report.html").read_text()
    assert "Confusions: through tokens" in page and "Intents against gold" in page


@pytest.mark.ray
@pytest.mark.s3
@pytest.mark.parametrize(
    "grounder", ["rules", pytest.param("vllm", marks=[pytest.mark.vllm, pytest.mark.slow])]
)
def test_a_real_recording_from_object_storage_to_search(
    shared_dir, tmp_path, gestray, ray_cluster, request, grounder
):
    """BEAT2 in S3, two workers: ends with an index that answers.

    A real language model grounds where there is time; it always does in test_vllm_grounding.
    """
    recordings = shared_dir / "data" / "beat2" / "beat_english_v2.0.0"
    source = Folder(f"s3://gestray/{tmp_path.name}/beat_english_v2.0.0")
    source.upload(recordings)
    short = ("loop.steps=20", "loop.batch_size=16")
    asked = [f"grounder={grounder}"]
    if grounder == "vllm":
        asked.append(f"vllm_model={request.getfixturevalue('smollm2')}")
    outcome = gestray(
        "run", "beat2", f"source={source.uri}", f"store=s3://gestray/{tmp_path.name}/store",
        "split=time:0.8", *asked, "--json",
        *(f"{stage}.{key}" for stage in ("tokenizer", "direct", "sma") for key in short),
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    stages = {
        Path(stage["artifact"]).name.rsplit("-", 1)[0]: stage for stage in outcome.json["stages"]
    }
    assert stages["takes"]["metrics"]["without_motion"] == 1
    assert stages["takes"]["metrics"]["absent"] == 116
    assert "2_scott_0_2_2 has no motion" in outcome.err
    counts = stages["anchors"]["metrics"]
    phrases = stages["primitives"]["rows_out"]
    assert counts["grounder"] == grounder
    assert counts["grounded"] + counts["ungrounded"] + counts["failed"] == phrases > 0
    assert stages["gestures"]["rows_out"] == phrases

    found = gestray(
        "index", "search", "I was so tired", "--json",
        "--store", f"s3://gestray/{tmp_path.name}/store",
    ).json  # fmt: skip
    assert len(found["hits"]) == min(10, phrases)
    for hit in found["hits"]:
        assert hit["take_id"] == "2_scott_0_1_1"
        assert 0 <= hit["start_s"] < hit["end_s"] <= 64.2
        assert -1 <= hit["score"] <= 1
