"""The report of a preference study: what was preferred, how surely, and who was asked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from gestray.metrics.preference import Preference
from gestray.reports.page import percent, render_page, span

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class StudyItem:
    """One pair: what both methods call it, what was said, and the preference by question."""

    key: str
    text: str
    preferences: Mapping[str, Preference]


@dataclass(frozen=True)
class StudyReport:
    """All that the report shows; preferences are of the first method over the second.

    Attributes:
        questions: name → as it was asked.
        overall: question → the preference over all pairs and people.
        adjusted: question → p by Holm, for as many questions as were asked.
        people: how many had links, began, finished, failed, were counted.
        checks: attention checks each.
        left: how often the left was chosen, whatever stood there, in the leading question.
        seconds_each: median of a pair.
        provenance: (stage, artifact URI, seconds) of what the study was made of.
    """

    title: str
    synthetic: bool
    methods: tuple[str, str]
    questions: Mapping[str, str]
    overall: Mapping[str, Preference]
    adjusted: Mapping[str, float]
    items: Sequence[StudyItem]
    people: Mapping[str, int]
    checks: int
    left: Preference
    seconds_each: float
    provenance: Sequence[tuple[str, str, float]] = field(default_factory=tuple)

    @property
    def lead(self) -> str:
        """The question whose figure stands first."""
        return leading(self.questions)


def leading(questions: Mapping[str, str]) -> str:
    """The question that counts most: the overall one, or the first."""
    return "overall" if "overall" in questions else next(iter(questions))


def p_text(p: float) -> str:
    """0.0312 → "0.031"; what is smaller than can be told is said so."""
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}" if p < 0.01 else f"{p:.3f}"


def share_text(found: Preference) -> str:
    """ "72.2 (65.1–78.6)", or a dash where nobody has decided."""
    if not found.decided:
        return "–"
    return f"{percent(found.share)} ({span(found.interval)})"


def render(report: StudyReport) -> str:
    """The report as one HTML page."""
    from gestray.reports import study_figures

    return render_page(
        "study.html.j2",
        report=report,
        p_text=p_text,
        questions_figure=study_figures.questions(report),
        items_figure=study_figures.items(report),
    )


def markdown(report: StudyReport) -> str:
    """The tables for a README, in percent."""
    first, second = report.methods
    synthetic = " Synthetic data." if report.synthetic else ""
    people = ", ".join(f"{name} {count}" for name, count in report.people.items())
    lines = [
        f"# {report.title}",
        "",
        f"How often {first} was preferred to {second}, in percent of the decided, with exact 95 % "
        f"intervals (Clopper–Pearson) and exact binomial tests against 50.{synthetic}",
        "",
        f"| question | {first} | {second} | ties | preferred | by people | p | p (Holm) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, found in report.overall.items():
        by_people = span(found.by_people) if found.by_people else "–"
        lines.append(
            f"| {name} | {found.first} | {found.second} | {found.ties} | {share_text(found)} | "
            f"{by_people} | {p_text(found.p_value)} | {p_text(report.adjusted[name])} |"
        )
    lines += ["", "| pair | " + " | ".join(report.questions) + " |"]
    lines += ["|---|" + "---|" * len(report.questions)]
    for item in report.items:
        cells = [share_text(item.preferences[name]) for name in report.questions]
        lines.append(f"| {item.key} | " + " | ".join(cells) + " |")
    lines += ["", f"Participants: {people}. The left was chosen in {share_text(report.left)}."]
    return "\n".join(lines) + "\n"


def as_json(report: StudyReport) -> str:
    """Every figure of the report. Fractions, not percent; what there is none of is null."""
    values = asdict(report)
    del values["provenance"]
    return json.dumps(_without_nan(values), indent=1) + "\n"


def _without_nan(values: Any) -> Any:
    if isinstance(values, dict):
        return {name: _without_nan(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [_without_nan(value) for value in values]
    return None if isinstance(values, float) and math.isnan(values) else values


def study_table(values: Mapping[str, Any]) -> Table:
    """For the terminal: the questions of a report's JSON."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    first, second = values["methods"]
    people = ", ".join(f"{name} {count}" for name, count in values["people"].items())
    table = Table(
        title=escape(f"{first} over {second}, percent"),
        caption=escape(people + ("; synthetic data" if values["synthetic"] else "")),
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for column in ("question", first, second, "ties", "preferred", "p", "p (Holm)"):
        table.add_column(escape(column), justify="left" if column == "question" else "right")
    for name, counts in values["overall"].items():
        found = Preference(**{**counts, "share": counts["share"] or math.nan})
        table.add_row(
            escape(name),
            str(found.first),
            str(found.second),
            str(found.ties),
            share_text(found),
            p_text(found.p_value),
            p_text(values["adjusted"][name]),
        )
    return table
