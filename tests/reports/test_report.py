"""The report says what it was given, stands alone, and survives what is missing."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from gestray.errors import UserError
from gestray.metrics.bootstrap import PairedGain
from gestray.metrics.retrieval import DIRECTIONS, TEXT_TO_GESTURE
from gestray.motion.skeleton import PARENTS, REST_OFFSETS, joint
from gestray.reports.leaderboard import leaderboard_json, leaderboard_markdown, methods_of
from gestray.reports.page import duration, number, points
from gestray.reports.retrieval import (
    Comparison,
    Confusion,
    GalleryHit,
    GalleryQuery,
    MethodResult,
    RetrievalReport,
    Space,
    render,
)
from gestray.reports.strips import strip_svg
from gestray.reports.tables import meanings_table, retrieval_table


def rest_positions(frames: int = 12) -> np.ndarray:
    """(frames, 55, 3): the T-pose, hands rising by a centimetre a frame."""
    pose = np.zeros((55, 3))
    for child, parent in enumerate(PARENTS):
        pose[child] = REST_OFFSETS[child] + (pose[parent] if parent >= 0 else 0.0)
    positions = np.repeat(pose[None], frames, axis=0)
    hands = [joint("left_wrist"), joint("right_wrist"), *range(25, 55)]
    positions[:, hands, 1] += 0.01 * np.arange(frames)[:, None]
    return positions


def method(name: str, r1: float) -> MethodResult:
    recall = {"r1": r1, "r5": r1 + 0.1, "r10": r1 + 0.2, "medr": 3.5}
    figures = {f"{d}.{name}": value for d in DIRECTIONS for name, value in recall.items()}
    interval = {f"{direction}.r1": (r1 - 0.0213, r1 + 0.0213) for direction in DIRECTIONS}
    curve = [r1 + 0.004 * k for k in range(50)]
    losses = [{"step": i, "loss": 2.0 / (i + 1), "intent": 0.5 / (i + 1)} for i in range(30)]
    seeds = {11: figures, 12: figures}
    return MethodResult(name, figures, interval, seeds, dict.fromkeys(DIRECTIONS, curve), losses)


def full(report: RetrievalReport) -> RetrievalReport:
    """With every task, as a study has them."""
    more = {
        "threshold.text_to_gesture.r1": 0.451,
        "gallery500.gesture_to_text.medr": 30.5,
        "semantic.precision1": 0.337,
        "semantic.meaningless1": 0.125,
        "spotting.accuracy": 0.636,
        "active_speaker.2": 0.768,
    }
    methods = [replace(report.methods[0], figures={**report.methods[0].figures, **more})]
    return replace(
        report,
        methods=[*methods, *report.methods[1:]],
        comparisons=[report.comparison],
        chance={"semantic.precision": 0.031, "spotting.located": 0.214},
        meanings_from="gold",
        confusions=[Confusion("direct", ["stop", "size <b>", "nothing"], [("stop", [7, 2, 3])])],
        spaces=[Space("direct", np.random.default_rng(0).normal(size=(30, 2)), ["stop", ""] * 15)],
    )


@pytest.fixture
def report() -> RetrievalReport:
    strip = strip_svg(rest_positions())
    hit = GalleryHit("<script>alert(1)</script>", 0.8125, "take_7", 1.5, 3.25, True, strip)
    return RetrievalReport(
        title="Anchors & <script>titles</script>",
        synthetic=True,
        gallery_size=640,
        corpus={"Phrases": 12840, "Speakers": "six"},
        grounder="rules <only>",
        methods=[method("direct", 0.391), method("sma & co", 0.423)],
        comparison=Comparison(
            "sma & co",
            "direct",
            f"{TEXT_TO_GESTURE}.r1",
            PairedGain(0.032, (0.011, 0.054), 0.0818, (0.027, 0.14)),
        ),
        tokenizer_losses=[{"step": i, "loss": 1.0 / (i + 1)} for i in range(20)],
        codebook_use={"body": [(0.97, 231.0), (0.5, 120.0)], "hands": [(0.88, 190.0)]},
        gallery=[GalleryQuery("so <script>big</script>", {"direct": [hit], "sma & co": []})],
        provenance=[("encoder train", "s3://bucket/encoder/sma-0123456789ab", 754.0)],
    )


def empty_report() -> RetrievalReport:
    return RetrievalReport("Nothing yet", False, 10, {}, "none", [])


def test_page_is_well_formed_and_stands_alone(report: RetrievalReport, read_page) -> None:
    html = render(report)
    page = read_page(html)
    assert len(page.ids) == len(set(page.ids))
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    addresses = re.findall(r'\S*https?://[^\s"<]*', html)
    assert all(address.startswith("xmlns") for address in addresses), addresses
    assert "@import" not in html
    for reference in re.findall(r'(?:url\(#|href="#)([\w.-]+)', html):
        assert reference in page.ids


def test_texts_are_escaped(report: RetrievalReport, read_page) -> None:
    html = render(report)
    assert "<script" not in html
    text = read_page(html).text
    assert "<script>alert(1)</script>" in text
    assert "so <script>big</script>" in text
    assert "rules <only>" in text


def test_page_holds_the_figures_given(report: RetrievalReport, read_page) -> None:
    page = read_page(render(report))
    assert page.text.count("42.3") >= 2
    for figure in (
        "+3.2 points",
        "+1.1 to +5.4",
        "+8.2 %",
        "+2.7 to +14.0",
        "37.0–41.2",
        "2 seeds (11, 12)",
        "Gallery of 640",
        "12 840",
        "✓ right · 0.812 · take_7 · 1.5–3.2 s",
        "s3://bucket/encoder/sma-0123456789ab",
        "12 min 34 s",
        "nothing found",
    ):
        assert figure in page.text, figure
    # forest, two recall curves, codebooks, three trainings, one strip
    assert page.tags.count("svg") == 8


def test_synthetic_is_said_at_every_figure_or_nowhere(report: RetrievalReport, read_page) -> None:
    text = read_page(render(report)).text
    # badge, title, two tables, three charts, gallery, training
    assert text.count("ynthetic data") == 9
    assert "ynthetic data" not in read_page(render(empty_report())).text


def test_every_task_has_its_table(report: RetrievalReport, read_page) -> None:
    page = read_page(render(full(report)))
    for figure in (
        "→ threshold R@1",
        "45.1",
        "← gallery500 MedR",
        "30.5",
        "P@1",
        "33.7",
        "chance is 3.1 %",
        "63.6",
        "chance 21.4 %",
        "speaker of 2",
        "76.8",
        "text_to_gesture.r1",
        "size <b>",
        "The space of direct",
    ):
        assert figure in page.text, figure
    assert page.tags.count("svg") == 9
    assert page.text.count("–") > 5  # what sma & co has no figure for


def test_a_method_without_retrieval_is_no_row_of_it(report: RetrievalReport, read_page) -> None:
    speaker = MethodResult("gestsync", {"active_speaker.2": 0.812}, per_seed={0: {}})
    page = read_page(render(replace(report, methods=[speaker], comparison=None)))
    assert "No method was evaluated for retrieval." in page.text
    assert "81.2" in page.text


def test_leaderboard_for_readers_and_for_machines(report: RetrievalReport) -> None:
    report = full(report)
    text = leaderboard_markdown(report)
    assert "| sma & co | 2 | 42.3 (40.2–44.4) | 52.3 | 62.3 | 3.5 |" in text
    assert "| direct | 2 | 33.7 | 12.5 |" in text
    assert (
        "| sma & co | direct | text_to_gesture.r1 | +3.2 (+1.1 to +5.4) | +8.2 (+2.7 to +14.0)"
        in text
    )
    assert "Synthetic data." in text

    values = json.loads(leaderboard_json(report))
    assert values["gain_of"] == "text_to_gesture.r1"
    assert values["gain_relative"] == 0.0818
    assert values["gain_interval"] == [0.027, 0.14]
    assert values["seeds"] == {"direct": [11, 12], "sma & co": [11, 12]}
    assert values["methods"]["direct"]["per_seed"]["11"]["text_to_gesture.r1"] == 0.391
    methods, gallery_size, synthetic = methods_of(leaderboard_json(report))
    assert (gallery_size, synthetic) == (640, True)
    assert [replace(m, losses=()) for m in report.methods] == methods


def test_equal_reports_are_equal_pages(report: RetrievalReport) -> None:
    assert render(report) == render(report)


def test_empty_parts_are_left_out(read_page) -> None:
    page = read_page(render(empty_report()))
    assert "No method was evaluated." in page.text
    assert "svg" not in page.tags
    for heading in ("Training", "What is found", "Stages", "Gain"):
        assert heading not in page.text

    bare = MethodResult("direct", method("direct", 0.2).figures)
    page = read_page(render(RetrievalReport("One", False, 5, {}, "none", [bare])))
    assert page.tags.count("svg") == 1
    assert "20.0" in page.text
    assert "seed" not in page.text


def test_losses_that_are_not_finite_leave_a_page(report: RetrievalReport, read_page) -> None:
    rows = [{"step": 0, "loss": float("nan")}, {"step": 1, "loss": float("inf")}]
    lost = MethodResult("direct", method("direct", 0.2).figures, losses=rows)
    page = read_page(render(RetrievalReport("One", False, 5, {}, "none", [lost])))
    assert "direct, training losses" in page.text


def test_strip_shows_each_pose_from_the_front(read_page) -> None:
    svg = strip_svg(rest_positions(), frames=4, label='a "wave"')
    page = read_page(svg)
    assert page.tags.count("svg") == 1
    assert svg.count("<g ") == 4
    assert 'aria-label="a &quot;wave&quot;"' in svg
    assert len(svg) < 8000
    assert strip_svg(rest_positions(2)).count("<g ") == 2


def hand_points(svg: str) -> np.ndarray:
    """(poses, 10, 5, 2): wrist to tip of every finger; left hand first."""
    paths = re.findall(r'<path d="([^"]+)" stroke="var\(--accent[^"]*" stroke-width="13"', svg)
    return np.array([re.findall(r"(-?\d+),(-?\d+)", path) for path in paths], int).reshape(
        len(paths), 10, 5, 2
    )


def test_strip_draws_the_left_hand_right_and_up_as_up() -> None:
    positions = rest_positions()
    points = hand_points(strip_svg(positions, frames=3))
    wrist = positions[:, joint("left_wrist")] - positions[:, 0]
    # frames 2, 6 and 10 of 12
    expected = np.rint(1000 * wrist[[2, 6, 10]][:, :2] * (1, -1))
    np.testing.assert_array_equal(points[:, 0, 0], expected)
    assert (points[:, :5, -1, 0] > points[:, :5, 0, 0]).all()
    assert (points[:, 5:, -1, 0] < points[:, 5:, 0, 0]).all()


def test_strip_does_not_depend_on_where_the_speaker_stands_and_faces() -> None:
    positions = rest_positions()
    angle = np.deg2rad(130)
    turn = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    moved = positions @ turn.T + (3.0, 1.0, -2.0)
    difference = hand_points(strip_svg(moved)) - hand_points(strip_svg(positions))
    assert np.abs(difference).max() <= 1


def test_strip_of_a_real_recording_stays_small(shared_dir: Path) -> None:
    import torch

    from gestray.motion.kinematics import joint_positions

    (file, *_) = sorted((shared_dir / "data" / "beat2").rglob("*.npz"))
    with np.load(file) as recording:
        poses = torch.from_numpy(recording["poses"][300:360]).float()
        trans = torch.from_numpy(recording["trans"][300:360]).float()
    svg = strip_svg(joint_positions(poses, trans).numpy())
    assert svg.count("<g ") == 6
    assert len(svg) < 10_000
    _, top, width, height = map(int, re.search(r'viewBox="([^"]+)"', svg).group(1).split())
    # An upright upper body: the head above the pelvis, at a person's size.
    assert -1000 < top < -600
    assert 600 < height < 1600
    assert width < 8000


def test_strip_refuses_what_is_not_motion() -> None:
    with pytest.raises(UserError, match=r"found shape \(12, 54, 3\)"):
        strip_svg(rest_positions()[:, :54])
    broken = rest_positions()
    broken[3, 20] = np.nan
    with pytest.raises(UserError, match="NaN"):
        strip_svg(broken)


def printed(table: Table) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table)
    return " ".join(console.export_text().split())


def test_terminal_table_holds_the_figures() -> None:
    text = printed(retrieval_table([method("direct", 0.391), method("[sma]", 0.423)], 12840, True))
    for figure in (
        "[sma]",
        "42.3",
        "40.2–44.4",
        "52.3",
        "3.5",
        "seeds 11, 12",
        "gallery of 12 840",
    ):
        assert figure in text, figure
    assert "synthetic data" in text
    assert "synthetic" not in printed(retrieval_table([method("direct", 0.391)], 5, False))


def test_terminal_table_of_meanings_has_what_there_is(report: RetrievalReport) -> None:
    assert meanings_table(report.methods, 640, True).row_count == 0
    text = printed(meanings_table(full(report).methods, 640, True))
    for figure in ("33.7", "12.5", "63.6", "76.8", "means", "of 2"):
        assert figure in text, figure
    assert "sma & co" not in text


def test_how_figures_are_written() -> None:
    assert [points(x) for x in (0.0321, -0.004, 0.0)] == ["+3.2", "−0.4", "+0.0"]
    assert [number(x) for x in (12840, 3.26, "en", 7.0)] == ["12\u202f840", "3.3", "en", "7"]
    assert [duration(s) for s in (0.25, 754, 7503)] == ["0.2 s", "12 min 34 s", "2 h 05 min"]
