"""Tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gestray.metrics.agreement import Agreement
from gestray.metrics.forms import FieldScore
from gestray.metrics.intents import IntentScore
from gestray.reports.page import duration, number, percent, span
from gestray.reports.retrieval import (
    DIRECTION_TITLES,
    MEANING_COLUMNS,
    WORD_COLUMNS,
    Column,
    MethodResult,
    best_values,
    direction_columns,
    present,
)
from gestray.reports.tokenizer import MEASURES as TOKENIZER_MEASURES

if TYPE_CHECKING:
    from rich.table import Table


def retrieval_table(methods: Sequence[MethodResult], gallery_size: int, synthetic: bool) -> Table:
    """Recall in percent and median rank of every method in both directions.

    R@1 carries its 95 % interval where there is one; the best figure of a
    column is bold. The caption names seeds, gallery size and synthetic data.
    """
    columns = [
        # The direction's title spans the first columns, a part on each.
        (f"{part}\n{column.title}", column)
        for direction, title in DIRECTION_TITLES.items()
        for part, column in zip(_spread(title), direction_columns(direction), strict=True)
    ]
    columns = [(title, c) for title, c in columns if present([c], methods)]
    return _methods_table("Retrieval, percent", columns, methods, gallery_size, synthetic)


def meanings_table(methods: Sequence[MethodResult], gallery_size: int, synthetic: bool) -> Table:
    """What the gestures found mean, words spotted and speakers told, in percent.

    Only what any method has a figure for.
    """
    titles = {
        "semantic.precision1": "P@1",
        "semantic.precision10": "P@10",
        "semantic.map": "mAP",
        "semantic.meaningless1": "means\nnothing",
        "spotting.accuracy": "spot\nwords",
        "spotting.stressed": "stres-\nsed",
        "active_speaker.2": "who\nof 2",
        "active_speaker.4": "who\nof 4",
        "active_speaker.6": "who\nof 6",
    }
    known = {column.name: column for column in (*MEANING_COLUMNS, *WORD_COLUMNS)}
    titled = [(title, known[name]) for name, title in titles.items()]
    titled = [(title, column) for title, column in titled if present([column], methods)]
    return _methods_table("Meaning and words", titled, methods, gallery_size, synthetic)


def _spread(title: str) -> tuple[str, str, str, str]:
    query, _, found = title.partition(" → ")
    return f"{query} →", found, "", ""


def _methods_table(
    title: str,
    columns: Sequence[tuple[str, Column]],
    methods: Sequence[MethodResult],
    gallery_size: int,
    synthetic: bool,
) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    seeds = sorted({seed for method in methods for seed in method.seeds})
    caption = [f"gallery of {number(gallery_size)}"]
    if seeds:
        caption.append(f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}")
    with_interval = {column.name for _, column in columns if column.name.endswith(".r1")}
    if any(with_interval & set(method.intervals) for method in methods):
        caption.append("below R@1 its 95 % interval")
    if synthetic:
        caption.append("synthetic data")
    table = Table(title=title, caption=escape(" · ".join(caption)), box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("method", overflow="fold")
    for heading, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    best = best_values(methods)
    for method in methods:
        cells = [escape(method.name)]
        for _, column in columns:
            value = method.figures.get(column.name)
            if value is None:
                cells.append("–")
                continue
            text = f"{value:.1f}" if column.is_rank else percent(value)
            if best.get(column.name) == value:
                text = f"[bold]{text}[/bold]"
            if column.name in with_interval and column.name in method.intervals:
                text += f"\n[dim]{span(method.intervals[column.name])}[/dim]"
            cells.append(text)
        if any(cell != "–" for cell in cells[1:]):
            table.add_row(*cells)
    return table


def forms_table(scores: Mapping[str, Mapping[str, FieldScore]], synthetic: bool) -> Table:
    """Accuracy in percent of each field of the physical form, one column a source of motion."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(
        title="Physical form against gold, percent",
        caption="synthetic data" if synthetic else None,
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("field")
    for source in scores:
        table.add_column(source, justify="right")
    table.add_column("n", justify="right")
    for name, score in next(iter(scores.values())).items():
        if score.total:
            found = (percent(fields[name].accuracy) for fields in scores.values())
            table.add_row(name, *found, number(score.total))
    return table


def intents_table(scores: Mapping[str, IntentScore], synthetic: bool) -> Table:
    """Agreement of each grounder's intents with gold, one row a grounder."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title="Intents against gold, percent",
        caption="synthetic data" if synthetic else None,
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("anchors", overflow="fold")
    for column in ("grounded", "accuracy", "macro-F1", "similarity", "ECE", "n"):
        table.add_column(column, justify="right")
    for name, score in scores.items():
        figures = (
            score.statuses.get("grounded", 0) / score.cases,
            score.accuracy,
            score.macro_f1,
            score.similarity,
            score.calibration_error,
        )
        shown = ("–" if math.isnan(value) else percent(value) for value in figures)
        table.add_row(escape(name), *shown, number(score.cases))
    return table


def agreement_table(pair: str, scores: Mapping[str, Agreement], synthetic: bool) -> Table:
    """Agreement of two annotators, one row a field; kappa as it is, shares in percent."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    items = max((score.items for score in scores.values()), default=0)
    table = Table(
        title=f"Agreement of {escape(pair)}",
        caption=f"{number(items)} phrases in common · 95 % interval over phrases"
        + (" · synthetic data" if synthetic else ""),
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("field")
    for column in ("kappa", "interval", "agreed, %", "n"):
        table.add_column(column, justify="right")
    for name, score in scores.items():
        kappa = "–" if math.isnan(score.kappa) else f"{score.kappa:.2f}"
        interval = "" if score.interval is None else "{:.2f} – {:.2f}".format(*score.interval)
        table.add_row(name, kappa, interval, percent(score.agreed), number(score.cases))
    return table


def anchors_plan_table(plan: Mapping[str, Any]) -> Table:
    """What grounding takes, as `gestray plan anchors --json` has it."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    left, asked = plan["left"], number(plan["sampled"])
    table = Table(
        title=f"Grounding by {escape(plan['model'])}",
        caption=f"{asked} questions were asked to find out; their answers are kept"
        if plan["sampled"]
        else "all is answered",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("")
    table.add_column("", justify="right")
    table.add_column("95 % interval", justify="right")

    def add(name: str, key: str, show: Callable[[float], str]) -> None:
        amount = left[key]
        table.add_row(
            name, show(amount["value"]), f"{show(amount['low'])} – {show(amount['high'])}"
        )

    for name, key in (
        ("phrases", "phrases"),
        ("without hands, not asked about", "without_hands"),
        ("with a question like another's", "equal"),
        ("answered before", "answered"),
    ):
        table.add_row(name, number(plan[key]))
    table.add_row("[bold]questions left[/bold]", number(left["questions"]), end_section=True)
    if not left["questions"]:
        return table
    table.add_row("tokens a second, of one engine", number(plan["tokens_per_s"]))
    table.add_row("start of an engine", duration(plan["start_s"]))
    table.add_row("same in all prompts, %", percent(plan["shared_prompt"]), end_section=True)
    add("tokens to generate", "tokens", lambda value: number(round(value)))
    add("prompt tokens", "prompt_tokens", lambda value: number(round(value)))
    add("wall time", "seconds", duration)
    if plan["devices"]:
        add("device hours", "device_hours", lambda value: f"{value:,.2f}")
    if left["price"]["value"]:
        add("price", "price", lambda value: f"{value:,.2f}")
    return table


def tokenizer_table(errors: Mapping[str, Sequence[Mapping[str, float]]], synthetic: bool) -> Table:
    """Errors of each part with 1, 2, … levels; `errors` as `TokenizerReport` has them."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(
        title="Reconstruction by number of levels",
        caption="synthetic data" if synthetic else None,
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("part")
    table.add_column("measure")
    for level in range(1, 1 + max(map(len, errors.values()))):
        table.add_column(str(level), justify="right")
    for part, rows in errors.items():
        for measure, title, unit in TOKENIZER_MEASURES:
            if measure in rows[0]:
                table.add_row(part, f"{title}, {unit}", *(f"{row[measure]:.2f}" for row in rows))
    return table
