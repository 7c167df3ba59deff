"""The contact sheet of gestures: whole, well-formed, and as committed."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from gestray.corpora.synthetic.vocabulary import GESTURES
from gestray.reports.gesture_sheet import TYPES_A_SHEET, sheet_svg

IMAGES = Path(__file__).parents[2] / "docs" / "images"
SVG = "{http://www.w3.org/2000/svg}"


def test_a_sheet_draws_every_variant_of_its_types():
    names = ("fist_down", "point_left", "circle", "hand_to_chin")
    svg = ElementTree.fromstring(sheet_svg({name: GESTURES[name] for name in names}))
    rows = svg.findall(f"{SVG}g")
    assert len(rows) == len(names)
    for name, row in zip(names, rows, strict=True):
        cells = row.findall(f"{SVG}g/{SVG}g")
        assert len(cells) == len(GESTURES[name].variants)
        assert f"{name}: {GESTURES[name].intent}" in "".join(row.itertext())
    notes = "".join(rows[0].itertext())
    assert "2 times" in notes and "head nods" in notes


@pytest.mark.skipif(not IMAGES.is_dir(), reason="docs/images is not in this checkout")
def test_committed_sheets_show_every_type():
    files = sorted(IMAGES.glob("gestures-*.svg"))
    assert len(files) == -(-len(GESTURES) // TYPES_A_SHEET)
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    for name, kind in GESTURES.items():
        assert f">{name}: {kind.intent}<" in text, f"{name}: draw the sheets anew"
    assert sum(file.stat().st_size for file in files) < 1_500_000
