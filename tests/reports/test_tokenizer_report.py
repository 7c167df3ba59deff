"""The codebook report and the page of primitives show what they were given."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from gestray.motion.skeleton import PARENTS, REST_OFFSETS, joint
from gestray.reports.primitives import companions
from gestray.reports.strips import hands_svg
from gestray.reports.tokenizer import (
    Primitive,
    PrimitivesPage,
    TokenizerReport,
    render,
    render_primitives,
)


def report() -> TokenizerReport:
    body = [{"mpjpe_mm": 30.25 / n, "geodesic_deg": 4.0 / n, "velocity_mm_s": 90.0} for n in (1, 2)]
    face = [{"geodesic_deg": 1.5 / n} for n in (1, 2)]
    return TokenizerReport(
        title="Tokens of <b>us</b>",
        synthetic=True,
        split="test",
        corpus={"takes": 12},
        gesture=[{"wrist_mm": 45.6, "finger_mm": 9.1}, {"wrist_mm": 12.34, "finger_mm": 6.78}],
        errors={"body": body, "face": face},
        codebook_use={"body": [(0.97, 231.0), (0.5, 120.0)], "face": [(0.88, 190.0)]},
        losses=[{"step": i, "loss": 1.0 / (i + 1)} for i in range(5)],
        primitives="primitives.html",
        provenance=[("tokenizer.train", "s3://bucket/tokenizer/x", 75.0)],
    )


def test_report_holds_the_figures_given(read_page) -> None:
    page = read_page(render(report()))
    for figure in (
        "45.60",
        "12.3 mm",
        "6.8 mm",
        "30.25",
        "15.12",
        "0.75",
        "97.0 %",
        "perplexity 231",
    ):
        assert figure in page.text, figure
    assert "<b>us</b>" in page.text  # escaped, so a reader sees it
    # position, rotation, velocity; codes in use; losses
    assert page.tags.count("svg") == 5
    assert "ynthetic data" not in read_page(render(replace(report(), synthetic=False))).text


def test_a_part_without_positions_has_no_column_of_them(read_page) -> None:
    only_face = replace(report(), errors={"face": report().errors["face"]})
    text = read_page(render(only_face)).text
    assert "Rotation, °" in text and "Position, mm" not in text


def test_page_of_primitives_lists_every_code_and_escapes_it(read_page) -> None:
    codes = [
        Primitive("body", 7, 90, 0.9, "The right hand <i>rises</i>.", "<svg></svg>"),
        Primitive("hands", 3, 10, 0.1, "Both hands: fist.", "<svg></svg>"),
    ]
    html = render_primitives(PrimitivesPage("Codes", True, codes))
    page = read_page(html)
    assert page.tags.count("svg") == 2
    assert "The right hand <i>rises</i>." in page.text
    assert "body 7 · 90.0 % (90 tokens)" in page.text
    assert html.count('name="part"') == 2


def test_companions_are_the_codes_met_most_often() -> None:
    body = np.array([0, 0, 0, 1, 1, 2])
    hands = np.array([3, 3, 1, 2, 2, 3])
    found = companions({"body": body, "hands": hands}, codebook_size=4)
    assert found["body"].tolist() == [[0, 3], [1, 2], [2, 3], [3, 3]]
    # Code 0 of the hands never occurs: beside it stands what is most frequent of all.
    assert found["hands"].tolist() == [[0, 0], [0, 1], [1, 2], [0, 3]]


def hand_lines(svg: str) -> np.ndarray:
    (path,) = re.findall(r'<path d="([^"]+)"', svg)
    return np.array(re.findall(r"(-?\d+),(-?\d+)", path), int).reshape(2, 5, 5, 2)


@pytest.mark.parametrize("hand, towards_thumb", [(0, -1), (1, 1)])
def test_palms_face_the_reader_with_fingers_up(hand: int, towards_thumb: int) -> None:
    positions = np.zeros((55, 3))
    for child, parent in enumerate(PARENTS):
        positions[child] = REST_OFFSETS[child] + (positions[parent] if parent >= 0 else 0.0)
    lines = hand_lines(hands_svg(positions))[hand]
    tips = lines[:, -1] - lines[:, 0]
    assert (tips[:4, 1] < -100).all()  # index to little finger; y grows downward
    thumb, index, pinky = tips[4], tips[0], tips[2]
    assert towards_thumb * (thumb[0] - index[0]) > 0 and towards_thumb * (index[0] - pinky[0]) > 0


def test_a_turned_hand_is_drawn_alike() -> None:
    positions = np.zeros((55, 3))
    for child, parent in enumerate(PARENTS):
        positions[child] = REST_OFFSETS[child] + (positions[parent] if parent >= 0 else 0.0)
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    moved = positions @ turn.T + positions[joint("head")]
    assert np.abs(hand_lines(hands_svg(moved)) - hand_lines(hands_svg(positions))).max() <= 1
