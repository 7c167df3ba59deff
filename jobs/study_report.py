"""What a preference study's answers come to: an artifact of the answers that there are.

It is named by their content: more answers make another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from gestray.artifacts import Artifact, Stage, StageResult, StageRun, provenance
from gestray.config import Config, digest
from gestray.metrics.preference import Preference, holm, preference_of
from gestray.reports.study import StudyItem, StudyReport, leading
from serving.study.desk import Answer, Answers, read_plan
from serving.study.plan import Choice, Plan


class ReportConfig(Config):
    """What `gestray study report` does.

    Args:
        checks_failed: attention checks that a participant may fail and still count.
        unfinished: count those as well who have not answered everything.
    """

    checks_failed: int = Field(0, ge=0)
    unfinished: bool = False


def _report(run: StageRun[ReportConfig]) -> StageResult:
    from gestray.reports import study as reports

    study = run.inputs["study"]
    plan = read_plan(study)
    answers = Answers(study).read()
    people = [judged(plan, lines, run.config) for lines in answers.values()]
    counted = [person for person in people if person.counts]
    report = report_of(plan, people, provenance_of(study))
    run.folder.write_bytes(reports.render(report).encode(), "report.html")
    run.folder.write_bytes(reports.markdown(report).encode(), "report.md")
    run.folder.write_bytes(reports.as_json(report).encode(), "report.json")
    metrics: dict[str, Any] = {"synthetic": plan.synthetic}
    for name, found in report.overall.items():
        metrics |= {
            f"{name}.share": None if math.isnan(found.share) else found.share,
            f"{name}.p_value": found.p_value,
        }
    return StageResult(len(people), len(counted), len(people) - len(counted), metrics)


def report_stage(study: Artifact) -> Stage[ReportConfig]:
    """The stage that reports on the answers there are now."""
    answers = Answers(study).read()
    content = [[who, [line.model_dump(mode="json") for line in answers[who]]] for who in answers]
    return Stage(
        name="study.report",
        makes="evaluation",
        config_type=ReportConfig,
        run=_report,
        needs={"study": "study"},
        fingerprint=lambda _config: digest(content),
    )


@dataclass(frozen=True)
class Person:
    """What a participant's answers come to.

    Attributes:
        choices: (pair, question) → 1 for the first method, −1 for the second, 0 for neither.
        sides: the same choices, 1 for left and −1 for right.
        failed: attention checks that were.
        finished: everything is answered.
        counts: these answers are of the report.
        seconds: from one pair to the next.
    """

    choices: Mapping[tuple[int, str], int]
    sides: Mapping[tuple[int, str], int]
    failed: int
    finished: bool
    counts: bool
    seconds: Sequence[float]


def judged(plan: Plan, lines: Sequence[Answer], config: ReportConfig) -> Person:
    """What stands of a participant's answers; the last to a question is the one that counts."""
    last: dict[tuple[int, str], tuple[Answer, Choice]] = {}
    for line in lines:
        for question, choice in line.choices.items():
            last[line.place, question] = (line, choice)
    choices, sides, failed = {}, {}, set()
    for (place, question), (line, choice) in last.items():
        left = {"left": 1, "right": -1, "same": 0}[choice]
        if line.check is None:
            sides[line.pair, question] = left
            choices[line.pair, question] = -left if line.swapped else left
        elif choice != line.check:
            failed.add(place)
    expected = (min(plan.pairs_each, len(plan.pairs)) + plan.checks) * len(plan.questions)
    finished = len(last) >= expected
    counts = len(failed) <= config.checks_failed and (finished or config.unfinished)
    seconds = {line.place: line.seconds for line in lines}
    return Person(choices, sides, len(failed), finished, counts, list(seconds.values()))


def report_of(
    plan: Plan, people: Sequence[Person], made_from: Sequence[tuple[str, str, float]]
) -> StudyReport:
    """All that the report shows, of those whose answers count."""
    counted = [person for person in people if person.counts]
    rows = [
        (who, pair, question, choice)
        for who, person in enumerate(counted)
        for (pair, question), choice in person.choices.items()
    ]

    def among(question: str, pair: int | None = None) -> Preference:
        of = [(w, c) for w, p, q, c in rows if q == question and pair in (None, p)]
        return preference_of([c for _, c in of], [w for w, _ in of])

    overall = {question: among(question) for question in plan.questions}
    adjusted = holm([found.p_value for found in overall.values()])
    # What a person says to the questions about one pair is much the same: one of them is counted.
    lead = leading(plan.questions)
    lefts = [
        (who, side)
        for who, person in enumerate(counted)
        for (_, question), side in person.sides.items()
        if question == lead
    ]
    return StudyReport(
        title=plan.title,
        synthetic=plan.synthetic,
        methods=plan.methods,
        questions=plan.questions,
        overall=overall,
        adjusted=dict(zip(overall, adjusted, strict=True)),
        items=[
            StudyItem(pair.key, pair.text, {q: among(q, number) for q in plan.questions})
            for number, pair in enumerate(plan.pairs)
        ],
        people={
            "links": plan.participants,
            "began": len(people),
            "finished": sum(person.finished for person in people),
            "failed attention checks": sum(person.failed > 0 for person in people),
            "counted": len(counted),
        },
        checks=plan.checks,
        left=preference_of([side for _, side in lefts], [who for who, _ in lefts]),
        seconds_each=float(np.median([s for p in counted for s in p.seconds] or [0.0])),
        provenance=made_from,
    )


def provenance_of(study: Artifact) -> list[tuple[str, str, float]]:
    """What the study was made of, as reports show it."""
    return [(made.manifest.stage, made.uri, made.manifest.seconds) for made in provenance(study)]
