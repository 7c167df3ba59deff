"""`gestray plan PIPELINE`: rates are told apart as they are, and foretell what they should."""

from __future__ import annotations

import pytest
import yaml

from gestray.artifacts import Manifest, Stage, StageResult, open_artifact, run_stage
from gestray.config import Config
from gestray.errors import UserError
from gestray.store import Folder
from gestray.training.config import LoopConfig
from gestray.work import Work, note
from jobs.forecast import EXAMPLE_PRICES, Node, Prices, forecast, read_prices
from jobs.pipeline import load_pipeline
from jobs.rates import Rates, StageRate, read_rates, write_rates
from jobs.training import _first_pass

PRICES = Prices(
    nodes={
        "cpu": Node(cpus=4, memory_gb=16, hour=1.0),
        "gpu": Node(cpus=8, gpus=1, memory_gb=32, hour=3.0),
    },
    storage_gb_month=0.02,
)
STAGES = [
    {"stage": "ingest.beat2", "name": "takes", "config": {"source": "corpus", "shard_mb": 100}},
    {
        "stage": "tokenizer.train",
        "name": "tokenizer",
        "inputs": {"takes": "takes"},
        "config": {"loop": {"steps": 500, "batch_size": 32, "compute": {"workers": 2}}},
    },
    {
        "stage": "tokenizer.encode",
        "name": "primitives",
        "inputs": {"takes": "takes", "tokenizer": "tokenizer"},
        "config": {"actors": 4},
    },
]
#: Of one hour, of a corpus of ten.
RATES = Rates(
    measured="2026-01-01",
    machine="here",
    cpus=4,
    hours=1.0,
    corpus_hours=10.0,
    catalog=4_000_000,
    stages=(
        StageRate(
            name="takes", stage="ingest.beat2", start_s=8, unit="takes", units=80, unit_s=0.5,
            written=250_000_000,
        ),
        StageRate(
            name="tokenizer", stage="tokenizer.train", start_s=20, unit="samples", units=1600,
            whole=3000, unit_s=0.02, workers=2, written=10_000_000,
        ),
        StageRate(
            name="primitives", stage="tokenizer.encode", start_s=6, unit="rows", units=900,
            unit_s=0.04, driver_s=0.001, workers=2, written=2_000_000, memory=3_000_000,
        ),
    ),
)  # fmt: skip


@pytest.fixture
def pipeline(tmp_path):
    file = tmp_path / "three.yaml"
    file.write_text(yaml.safe_dump({"stages": STAGES}))
    return load_pipeline(str(file), [])


def seconds(plan):
    return {stage.name: stage.seconds for stage in plan.stages}


def test_starts_stay_work_grows_and_trainings_go_by_their_config(pipeline) -> None:
    plan = forecast(pipeline, RATES, PRICES)
    assert plan.hours == 10
    assert seconds(plan) == pytest.approx(
        {
            "takes": 8 + 80 * 10 * 0.5 / 4,  # 25 shards, but a machine of four cores
            "tokenizer": 20 + 500 * 32 * 0.02 / 2,
            "primitives": 6 + 900 * 10 * 0.04 / 4,
        }
    )
    assert plan.bottleneck.name == "tokenizer"
    [training] = [stage for stage in plan.stages if stage.name == "tokenizer"]
    assert training.passes == pytest.approx(500 * 32 / 30_000)
    assert [stage.written for stage in plan.stages] == [2.5e9, 1e7, 2e7]


def test_a_first_pass_that_takes_longer_goes_with_the_data(pipeline) -> None:
    """The tokenizer's: 30,000 samples a pass of the whole, of which it sees 16,000."""
    takes, tokenizer, primitives = RATES.stages
    slow = tokenizer.model_copy(update={"first_s": 0.01})
    rates = RATES.model_copy(update={"stages": (takes, slow, primitives)})
    plan = forecast(pipeline, rates, PRICES)
    assert plan.stages[1].seconds == pytest.approx(20 + 16_000 * (0.02 + 0.01) / 2)
    plan = forecast(pipeline, rates, PRICES, epochs=3)
    assert plan.stages[1].seconds == pytest.approx(20 + 90_000 * 0.02 / 2 + 30_000 * 0.01 / 2)


@pytest.mark.parametrize(
    ("whole", "longer"),
    [
        (20, 0.5),  # the first step saw all, some twice
        (32, 0.5),
        (64, 0.5 + 0.25),  # the second row begins within the pass
        (640, (0.5 + 0.25) * 640 / 96),  # of which no more was seen
    ],
)
def test_what_a_first_pass_takes_beyond(whole: int, longer: float) -> None:
    """Steps of 32 samples, at 32 a second once the data are known; the first took 1.5 s."""
    loop = LoopConfig(steps=3, batch_size=32)
    rows = [
        {"step": 1, "samples_per_s": 32 / 1.5},
        {"step": 3, "samples_per_s": 64 / 2.25},
    ]
    assert _first_pass(rows, loop, whole, 32.0) == pytest.approx(longer)
    faster = [{**row, "samples_per_s": 64.0} for row in rows]
    assert _first_pass(faster, loop, whole, 32.0) == 0.0
    assert _first_pass(rows[1:], loop, whole, 32.0) == 0.0  # resumed
    work = Work(unit="samples", units=64, workers=2, busy_s=4.0, whole=whole, first_s=2 * longer)
    assert work.seconds == pytest.approx(2.0 + longer * min(1, 64 / whole))


def test_more_workers_help_until_one_process_gathers(pipeline) -> None:
    few, many = (forecast(pipeline, RATES, PRICES, 720, workers) for workers in (8, 400))
    primitives = few.stages[2], many.stages[2]
    assert primitives[0].seconds == pytest.approx(6 + 720 * 900 * 0.04 / 8)
    assert not primitives[0].driver and primitives[1].driver
    assert primitives[1].seconds == pytest.approx(6 + 720 * 900 * 0.001)
    assert primitives[0].nodes == 2 and primitives[1].nodes == 100
    assert primitives[0].price == pytest.approx(primitives[0].seconds / 3600 * 2 * 1.0)


def test_epochs_make_training_go_with_the_corpus(pipeline) -> None:
    plan = forecast(pipeline, RATES, PRICES, 60, epochs=20)
    assert plan.stages[1].seconds == pytest.approx(20 + 20 * 3000 * 60 * 0.02 / 2)
    assert plan.stages[1].passes == 20


def test_what_was_not_told_apart_is_work_and_a_training_s_does_not_grow(pipeline) -> None:
    untold = tuple(
        StageRate(name=rate.name, stage=rate.stage, start_s=30, written=1) for rate in RATES.stages
    )
    plan = forecast(pipeline, RATES.model_copy(update={"stages": untold}), PRICES)
    assert seconds(plan) == {"takes": 300, "tokenizer": 30, "primitives": 300}


def test_gpus_are_paid_for_where_a_config_asks_for_them(pipeline, tmp_path) -> None:
    asks = load_pipeline(str(tmp_path / "three.yaml"), ["tokenizer.loop.compute.device=gpu"])
    plan = forecast(asks, RATES, PRICES)
    training = plan.stages[1]
    assert (training.gpu, training.node, training.nodes) == (True, "gpu", 2)
    tree = plan.as_json()
    assert tree["gpu_hours"] == pytest.approx(2 * training.seconds / 3600)
    assert tree["price"] == pytest.approx(sum(stage.price for stage in plan.stages))
    with pytest.raises(UserError, match="none of the prices' nodes has any"):
        forecast(asks, RATES, Prices(nodes={"cpu": Node(cpus=4, memory_gb=1)}))


def test_what_fits_no_machine_is_said(pipeline) -> None:
    assert forecast(pipeline, RATES, PRICES, 720).limits == ()
    [catalog, rows] = forecast(pipeline, RATES, PRICES, 100_000).limits
    assert "catalogue" in catalog.what and catalog.needs_gb == 400 and catalog.has_gb == 32
    assert "rows of primitives" in rows.what and rows.needs_gb == 300


def test_a_stage_that_was_not_measured_is_named(pipeline) -> None:
    fewer = RATES.model_copy(update={"stages": RATES.stages[:2]})
    with pytest.raises(UserError, match=r"primitives.*no tokenizer\.encode.*calibrate"):
        forecast(pipeline, fewer, PRICES)


def test_rates_survive_their_file_and_mistakes_in_it_are_named(tmp_path) -> None:
    write_rates(RATES, tmp_path / "rates.yaml")
    assert read_rates(tmp_path / "rates.yaml") == RATES
    assert read_prices(EXAMPLE_PRICES).cheapest(gpu=True)[1].gpus == 1
    text = (tmp_path / "rates.yaml").read_text().replace("corpus_hours", "corpus_hour")
    (tmp_path / "rates.yaml").write_text(text)
    with pytest.raises(UserError, match="did you mean 'corpus_hours'"):
        read_rates(tmp_path / "rates.yaml")
    with pytest.raises(UserError, match="gestray plan calibrate"):
        read_rates(tmp_path / "none.yaml")


def test_the_command_with_and_without_its_name_says_the_same(pipeline, gestray, tmp_path) -> None:
    write_rates(RATES, tmp_path / "rates.yaml")
    given = (tmp_path / "three.yaml", "--rates", tmp_path / "rates.yaml", "--at", "60,100000")
    plan = gestray("plan", *given, "--json").json
    assert plan == gestray("plan", "pipeline", *given, "--json").json
    assert plan["seconds"] == pytest.approx(108 + 180 + 96)
    assert [other["hours"] for other in plan["at"]] == [60, 100_000]
    assert plan["at"][0]["bottleneck"] == "takes"
    shown = gestray("plan", *given)
    assert "prices are examples" in shown.out and "the catalogue of takes" in shown.out
    wrong = gestray("plan", *given[:3], "--at", "sixty")
    assert wrong.code == 1 and "expected hours" in wrong.err


def test_a_stage_notes_its_work_in_its_manifest_and_not_in_another_s(tmp_path) -> None:
    def inner(run) -> StageResult:
        note(Work(unit="rows", units=4, workers=2, busy_s=3.0))
        return StageResult(4, 4)

    def outer(run) -> StageResult:
        run_stage(Stage("b", "b", Config, inner), Folder(str(tmp_path)), "b", Config(), {})
        return StageResult(0, 0)

    note(Work(unit="rows", units=1, busy_s=1.0))  # of no stage: forgotten
    report = run_stage(Stage("a", "a", Config, outer), Folder(str(tmp_path)), "a", Config(), {})
    assert report.artifact.manifest.work == ()
    [b] = [path for path in Folder(str(tmp_path)).list("b")]
    [work] = open_artifact(Folder(str(tmp_path)).child(b)).manifest.work
    assert (work.units, work.seconds) == (4, 1.5)


def test_manifests_from_before_work_was_noted_are_read() -> None:
    assert Manifest.model_fields["work"].default == ()


@pytest.mark.ray
def test_a_calibration_tells_work_from_start(ray_cluster, gestray, tmp_path) -> None:
    stages = [
        {"stage": "corpus.synth", "name": "corpus", "config": {"takes": 40, "seconds": 10}},
        {"stage": "ingest.beat2", "name": "takes", "inputs": {"corpus": "corpus"}},
        {
            "stage": "tokenizer.train",
            "name": "tokenizer",
            "inputs": {"takes": "takes"},
            "config": {"loop": {"steps": 500, "batch_size": 8, "compute": {"workers": 1}}},
        },
        {
            "stage": "tokenizer.encode",
            "name": "primitives",
            "inputs": {"takes": "takes", "tokenizer": "tokenizer"},
            "config": {"actors": 1},
        },
    ]
    file, scratch = tmp_path / "p.yaml", tmp_path / "scratch"
    file.write_text(yaml.safe_dump({"stages": stages}))
    out = tmp_path / "rates.yaml"
    options = ("--share", "0.25", "--steps", "10", "--out", out, "--scratch", scratch)
    gestray("plan", "calibrate", file, *options)
    rates = read_rates(out)
    units = {rate.name: (rate.unit, rate.units) for rate in rates.stages}
    assert units["takes"] == ("takes", 10) and units["primitives"][0] == "rows"
    assert units["tokenizer"] == ("samples", 9 * 8)  # after the first step
    assert rates.corpus_hours == pytest.approx(4 * rates.hours)
    for rate in rates.stages:
        made = Folder(str(scratch)).list(rate.name)
        manifest = open_artifact(Folder(str(scratch)).child(made[0])).manifest
        [work] = manifest.work
        assert rate.start_s + work.seconds == pytest.approx(manifest.seconds, abs=0.01)
        assert rate.unit_s > 0 and rate.start_s >= 0
    # The same, from the store's own artifacts.
    plan = gestray("plan", file, "--store", scratch, "--json").json
    assert plan["hours"] == pytest.approx(rates.hours, rel=1e-3)
