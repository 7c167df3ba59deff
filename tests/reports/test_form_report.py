"""The form report shows accuracies and confusions of the scores it was given."""

from __future__ import annotations

import io

from rich.console import Console

from gestray.form import HandForm, Location, PhysicalForm, Trajectory
from gestray.metrics.forms import score_forms
from gestray.reports.forms import FormReport, confusions, render
from gestray.reports.tables import forms_table


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
