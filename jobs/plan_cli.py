"""`gestray plan`: what a job will take, before it is started."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobs.command import AsJson, Overrides, Store, group, print_json
from jobs.display import results

app = group("What a job will take, before it is started.")


@app.callback()
def _plan() -> None:
    """Keeps `anchors` a command of its own while it is the only one."""


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
    from gestray.artifacts import newest, open_artifact
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
    chosen = open_artifact(Folder(forms), "forms") if forms else newest(target, "forms")
    found = plan(target, chosen, config, sample, Prices(device_price, prompt_price, token_price))
    if as_json:
        print_json({"forms": chosen.uri, **found.as_json()})
        return
    results.print(anchors_plan_table(found.as_json()))
