"""The form report shows accuracies and confusions of the scores it was given."""

from __future__ import annotations

import dataclasses
import io

from rich.console import Console

from gestray.form import HandForm, Location, PhysicalForm, Trajectory
from gestray.metrics.forms import score_forms
from gestray.metrics.intents import Case, score_intents
from gestray.reports.forms import FormReport, confusions, render
from gestray.reports.tables import forms_table, intents_table


def right(palm: str) -> PhysicalForm:
    hand = HandForm(
        location=Location(zone="centre", height="chest", side="right", reach="medium"),
        palm=palm,
        shape="flat",
        trajectory=Trajectory(
            path="straight", direction="up", repetitions=1, amplitude="small", speed="slow"
        ),
    )
    return PhysicalForm(handedness="right", right=hand)


GOLD = [right("up"), right("up"), right("down"), right("down")]
FOUND = [right("up"), right("down"), right("down"), PhysicalForm(handedness="none")]


def report() -> FormReport:
    return FormReport(
        title="Forms",
        synthetic=True,
        split="val",
        gestures=len(GOLD),
        scores={"recorded": score_forms(GOLD, FOUND), "through tokens": score_forms(GOLD, GOLD)},
        corpus={"takes": 3},
    )


def test_report_holds_accuracies_of_every_source(read_page) -> None:
    page = read_page(render(report()))
    # palm: half are right; a hand that was not found is wrong.
    assert "palm 50.0 100.0 4" in page.text
    assert "handedness 75.0 100.0 4" in page.text
    assert "Confusions: through tokens" in page.text
    assert "Synthetic data" in page.text


def test_confusions_have_gold_in_rows_and_leave_groups_out() -> None:
    by_field = {confusion.field: confusion for confusion in confusions(report().scores["recorded"])}
    assert "location" not in by_field and "relation" not in by_field
    palm = by_field["palm"]
    assert palm.terms == ("up", "down", "absent")
    assert list(palm.rows) == [("up", [1, 1, 0]), ("down", [0, 1, 1])]


def test_terminal_table_says_synthetic() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(forms_table(report().scores, True))
    text = " ".join(console.export_text().split())
    assert "palm 50.0 100.0 4" in text and "synthetic data" in text


NAN = float("nan")
INTENTS = {
    "rules": score_intents(
        [
            Case("up", "grounded", "up", 0.9, 0.5),
            Case("down", "grounded", "up", 0.9, 0.25),
            Case("up", "ungrounded", None, NAN, NAN),
            Case("up", "failed", None, NAN, NAN),
        ]
    ),
    "nothing": score_intents([Case("up", "failed", None, NAN, NAN)]),
}


def test_intents_stand_in_page_and_table_and_what_is_unknown_as_a_dash(read_page) -> None:
    page = read_page(render(dataclasses.replace(report(), intents=INTENTS)))
    # grounded, ungrounded, failed; accuracy, macro-F1 (up 2/5, down 0), similarity, ECE; n
    assert "rules 50.0 25.0 25.0 25.0 20.0 37.5 40.0 4" in page.text
    assert "nothing 0.0 0.0 100.0 0.0 0.0 – – 1" in page.text
    assert "90.0 50.0 2" in page.text  # the one bin
    assert "Intents against gold" not in read_page(render(report())).text

    console = Console(width=80, record=True, file=io.StringIO())
    console.print(intents_table(INTENTS, synthetic=True))
    shown = " ".join(console.export_text().split())
    assert "rules 50.0 25.0 20.0 37.5 40.0 4" in shown
    assert "nothing 0.0 0.0 0.0 – – 1" in shown and "synthetic data" in shown
