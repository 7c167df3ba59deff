"""`gestray plan`: what a job will take, before it is started."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from jobs.command import AsJson, Overrides, PipelineName, Store, chosen, print_json
from jobs.display import results

PIPELINE = "pipeline"


class _PipelineOrCommand(TyperGroup):
    """`gestray plan demo` is `gestray plan pipeline demo`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = [PIPELINE, *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_PipelineOrCommand,
    help="What a job will take, before it is started.",
    epilog="`gestray plan demo` is short for `gestray plan pipeline demo`.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(PIPELINE)
def plan_pipeline(
    pipeline: PipelineName,
    overrides: Overrides = None,
    hours: Annotated[
        float | None, typer.Option(min=0.001, help="Of recordings; as calibrated otherwise.")
    ] = None,
    at: Annotated[
        str, typer.Option(help="Hours of further corpora to compare, with commas between.")
    ] = "60,720,100000",
    rates: Annotated[
        Path | None,
        typer.Option(help="Of `gestray plan calibrate`; the store's artifacts otherwise."),
    ] = None,
    prices: Annotated[Path | None, typer.Option(help="A YAML file; examples otherwise.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Of every stage; as its config says otherwise.")
    ] = None,
    epochs: Annotated[
        float | None,
        typer.Option(min=0, help="Passes of every training; steps of its config otherwise."),
    ] = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """What a pipeline will take: stages, time, GPU hours, storage, money, and what is longest.

    From rates that were measured: of `gestray plan calibrate`, or of artifacts that the store has.
    Examples: `gestray plan demo`; `gestray plan beat2 --rates rates.yaml --hours 60 --epochs 20
    --prices mine.yaml`; `gestray plan beat2 --rates rates.yaml --workers 8 --json`.
    """
    from gestray.reports.plan import limit_lines, plan_table, scale_table
    from gestray.store import Folder, default_store
    from jobs.forecast import EXAMPLE_PRICES, forecast, read_prices
    from jobs.pipeline import load_pipeline
    from jobs.rates import read_rates

    loaded = load_pipeline(pipeline, overrides or ())
    target = Folder(loaded.store or store or default_store())
    found = read_rates(rates) if rates else _rates_in(target, loaded)
    priced = read_prices(prices or EXAMPLE_PRICES)
    plan = forecast(loaded, found, priced, hours, workers, epochs).as_json()
    others = [
        forecast(loaded, found, priced, size, workers, epochs).as_json() for size in _sizes(at)
    ]
    if as_json:
        kept = [{key: value for key, value in o.items() if key != "stages"} for o in others]
        print_json({"measured_hours": found.hours, "machine": found.machine, **plan, "at": kept})
        return
    results.print(plan_table(plan))
    if others:
        results.print(scale_table(others))
    for line in (line for each in [plan, *others] for line in limit_lines(each)):
        results.print(line, markup=False, soft_wrap=True)
    where = f"measured on {found.hours:.2f} hours, {found.cpus} CPUs, {found.gpus} GPUs"
    told = "" if prices else "; prices are examples"
    results.print(f"{where}{told}", markup=False, soft_wrap=True)


def _sizes(at: str) -> list[float]:
    from gestray.errors import UserError

    try:
        sizes = [float(size) for size in at.split(",") if size.strip()]
    except ValueError:
        sizes = [-1.0]
    if any(size <= 0 for size in sizes):
        raise UserError(f"--at {at!r}: expected hours with commas between, as in 60,720")
    return sizes


def _rates_in(store: Any, pipeline: Any) -> Any:
    """Rates of the newest artifacts that a store has of a pipeline's stages."""
    from gestray.artifacts import artifacts_of_kind
    from gestray.errors import UserError
    from jobs.pipeline import expanded
    from jobs.rates import rates_of
    from jobs.stages import stage_named

    newest = []
    for stage in expanded(pipeline):
        made = artifacts_of_kind(store, stage_named(stage.stage).makes)
        same = [artifact for artifact in made if artifact.manifest.stage == stage.stage]
        named = [artifact for artifact in same if artifact.manifest.name == stage.name] or same
        if not named:
            raise UserError(
                f"store {store.uri}: has no artifact of {stage.stage}, so nothing says what it "
                "takes; run `gestray plan calibrate` and give its file by --rates"
            )
        newest.append(named[-1])
    return rates_of(newest)


@app.command("calibrate")
def plan_calibrate(
    pipeline: PipelineName,
    overrides: Overrides = None,
    share: Annotated[
        float, typer.Option(min=0.0001, max=1, help="Of the corpus that is measured on.")
    ] = 0.1,
    steps: Annotated[int, typer.Option(min=10, help="Of every training.")] = 60,
    out: Annotated[Path, typer.Option(help="File of rates to write.")] = Path("rates.yaml"),
    scratch: Annotated[
        str | None, typer.Option(help="Folder or s3:// URI to work in; a temporary one otherwise.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a pipeline on a share of its corpus and write what each stage took.

    On the machines that will do the work: rates of one are not those of another. Examples:
    `gestray plan calibrate demo`; `gestray plan calibrate beat2 source=beat_english_v2.0.0
    size=paper --share 0.05 --out rates.yaml`; then `gestray plan beat2 --rates rates.yaml`.
    """
    import tempfile

    from gestray.store import Folder
    from jobs.calibrate import calibrate
    from jobs.pipeline import load_pipeline
    from jobs.rates import write_rates

    loaded = load_pipeline(pipeline, overrides or ())
    with tempfile.TemporaryDirectory(prefix="gestray-rates-") as folder:
        rates = calibrate(loaded, Folder(scratch or folder), share, steps)
    write_rates(rates, out)
    if as_json:
        print_json({"file": str(out), **rates.model_dump(mode="json")})
    else:
        results.print(str(out), markup=False, soft_wrap=True)


@app.command("anchors")
def plan_anchors(
    overrides: Overrides = None,
    grounder: Annotated[str, typer.Option(help="vllm, or openai (a server).")] = "vllm",
    model: Annotated[str | None, typer.Option(help="As of `gestray anchors ground`.")] = None,
    forms: Annotated[
        str | None, typer.Option(help="Forms to be grounded; the newest otherwise.")
    ] = None,
    sample: Annotated[
        int, typer.Option(min=1, help="Questions to ask; as many as are in flight tell most.")
    ] = 64,
    device_price: Annotated[float, typer.Option(min=0, help="Of a device and hour.")] = 0.0,
    prompt_price: Annotated[float, typer.Option(min=0, help="Of a million tokens given.")] = 0.0,
    token_price: Annotated[float, typer.Option(min=0, help="Of a million generated.")] = 0.0,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """What `gestray anchors ground` will take: tokens, time, device hours, money.

    A sample is asked, and its answers are kept: a run that follows pays for the rest alone.
    Examples: `gestray plan anchors --model Qwen/Qwen3-8B vllm.concurrency=8 --device-price 2.5`;
    `gestray plan anchors --grounder openai --model m openai.url=http://host:8000/v1 --prompt-price
    0.15 --token-price 0.6`.
    """
    from gestray.anchors.costs import Prices
    from gestray.config import parse_overrides, with_overrides
    from gestray.reports.tables import anchors_plan_table
    from gestray.store import Folder, default_store
    from jobs.anchors import GroundConfig
    from jobs.plan import plan_anchors as plan
    from jobs.stages import stage_config

    values: dict[str, Any] = {"grounder": grounder}
    if model is not None:
        values[grounder] = {"model": model}
    config = stage_config(
        "anchors.ground", with_overrides(values, parse_overrides(overrides or ())), "plan anchors"
    )
    assert isinstance(config, GroundConfig)
    target = Folder(store or default_store())
    described = chosen("forms", forms, store)
    found = plan(target, described, config, sample, Prices(device_price, prompt_price, token_price))
    if as_json:
        print_json({"forms": described.uri, **found.as_json()})
        return
    results.print(anchors_plan_table(found.as_json()))
