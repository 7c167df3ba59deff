"""Tables of what a pipeline will take, as `gestray plan PIPELINE --json` has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gestray.reports.page import duration, number

if TYPE_CHECKING:
    from rich.table import Table


def _table(title: str, *columns: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="left" if name in ("stage", "bottleneck") else "right")
    return table


def plan_table(plan: Mapping[str, Any]) -> Table:
    """The stages of one plan."""
    title = f"{number(round(plan['hours'], 1))} hours of recordings"
    columns = ("stage", "work", "workers", "nodes", "start", "in all", "GB", "price")
    table = _table(title, *columns)
    for stage in plan["stages"]:
        if stage["passes"] is not None:
            work = f"{number(round(stage['units']))} samples, {stage['passes']:.2g} passes"
        elif stage["unit"]:
            work = f"{number(round(stage['units']))} {stage['unit']}"
        else:
            work = "not told apart"
        name = stage["name"]
        table.add_row(
            f"[bold]{name}[/bold]" if name == plan["bottleneck"] else name,
            work,
            f"{stage['workers']}{', one gathers' if stage['driver'] else ''}",
            f"{stage['nodes']} {stage['node']}",
            duration(stage["start_s"]),
            duration(stage["seconds"]),
            f"{stage['written'] / 1e9:,.2f}",
            f"{stage['price']:,.2f}",
        )
    table.add_section()
    storage, price = f"{plan['storage_gb']:,.2f}", f"{plan['price']:,.2f}"
    table.add_row("all", "", "", "", "", duration(plan["seconds"]), storage, price)
    table.caption = (
        f"{plan['cpu_hours']:,.2f} CPU hours, {plan['gpu_hours']:,.2f} GPU hours; storage "
        f"{plan['storage_price_month']:,.2f} a month; longest: {plan['bottleneck']}"
    )
    return table


def scale_table(plans: Sequence[Mapping[str, Any]]) -> Table:
    """The same pipeline on corpora of several sizes."""
    columns = ("hours", "in all", "CPU hours", "GPU hours", "GB", "price", "bottleneck")
    table = _table("other sizes of corpus", *columns)
    for plan in plans:
        table.add_row(
            number(round(plan["hours"], 1)),
            duration(plan["seconds"]),
            f"{plan['cpu_hours']:,.1f}",
            f"{plan['gpu_hours']:,.1f}",
            f"{plan['storage_gb']:,.1f}",
            f"{plan['price']:,.2f}",
            plan["bottleneck"],
        )
    return table


def limit_lines(plan: Mapping[str, Any]) -> list[str]:
    """What does not fit a machine at this size, a sentence each."""
    return [
        f"{number(round(plan['hours'], 1))} hours: {limit['what']} needs "
        f"{limit['needs_gb']:,.0f} GB, and the largest node has {limit['has_gb']:,.0f}: "
        f"{limit['remedy']}"
        for limit in plan["limits"]
    ]
