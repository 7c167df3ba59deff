"""Where a hand is in the space before the speaker, and where its palm faces."""

from __future__ import annotations

from gestray.anchors import thresholds
from gestray.form import Height, Location, Palm, Reach, Side, Zone

_ZONES: tuple[tuple[Zone, float, tuple[float, float]], ...] = (
    ("centre-centre", thresholds.CENTRE_CENTRE_HALF_WIDTH, thresholds.CENTRE_CENTRE_HEIGHTS),
    ("centre", thresholds.CENTRE_HALF_WIDTH, thresholds.CENTRE_HEIGHTS),
    ("periphery", thresholds.PERIPHERY_HALF_WIDTH, thresholds.PERIPHERY_HEIGHTS),
)
_HEIGHTS: tuple[tuple[float, Height], ...] = (
    (thresholds.ABOVE_HEAD_FROM, "above head"),
    (thresholds.HEAD_FROM, "head"),
    (thresholds.SHOULDER_FROM, "shoulder"),
    (thresholds.CHEST_FROM, "chest"),
    (thresholds.WAIST_FROM, "waist"),
)


def location(place: list[float]) -> Location:
    """The place in gesture space of a palm at (x, y, z) arm lengths from the shoulders' middle."""
    x, y, z = place
    return Location(zone=_zone(abs(x), y), height=_height(y), side=_side(x), reach=_reach(z))


def palm(normal: list[float], *, is_left: bool) -> Palm:
    """The nearest of six directions; inward is across the body."""
    axis = max(range(3), key=lambda i: abs(normal[i]))
    is_positive = normal[axis] > 0
    if axis == 1:
        return "up" if is_positive else "down"
    if axis == 2:
        return "to front" if is_positive else "to self"
    return "outward" if is_positive == is_left else "inward"


def _zone(aside: float, y: float) -> Zone:
    for zone, half_width, (low, high) in _ZONES:
        if aside < half_width and low <= y < high:
            return zone
    return "extreme periphery"


def _height(y: float) -> Height:
    return next((height for start, height in _HEIGHTS if y >= start), "below waist")


def _side(x: float) -> Side:
    if abs(x) < thresholds.SIDE_FROM:
        return "middle"
    return "left" if x > 0 else "right"


def _reach(z: float) -> Reach:
    if z >= thresholds.FAR_REACH_FROM:
        return "far"
    return "medium" if z >= thresholds.MEDIUM_REACH_FROM else "close"
