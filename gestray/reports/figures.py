"""The report's charts, as inline SVG that follows the page's theme.

matplotlib knows no themes, so each chart is drawn in placeholder colours that
are then exchanged for the page's CSS variables (`--ink`, `--series-1`, …), with
the variables' light values as the fallback where a chart is shown on its own.
Series differ in dash and marker as well as in colour.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from gestray.metrics.retrieval import DIRECTIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gestray.reports.retrieval import MethodResult, Space

# Placeholder → CSS variable and its light value. The series colours are those
# of Okabe & Ito (2008), which stay apart under every form of colour blindness.
_INK, _MUTED, _GRID = "#010101", "#020202", "#030303"
_SERIES = ("#050501", "#050502", "#050503", "#050504", "#050505", "#050506")
_THEME = {
    _INK: "var(--ink, #1c2127)",
    _MUTED: "var(--muted, #5d6673)",
    _GRID: "var(--line, #d9dde3)",
    _SERIES[0]: "var(--series-1, #0072b2)",
    _SERIES[1]: "var(--series-2, #d55e00)",
    _SERIES[2]: "var(--series-3, #009e73)",
    _SERIES[3]: "var(--series-4, #b5578f)",
    _SERIES[4]: "var(--series-5, #2f9bd6)",
    _SERIES[5]: "var(--series-6, #b98000)",
}
_DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 2)),
    (0, (1.5, 1.5)),
    (0, (5, 1.5, 1, 1.5)),
    "-",
    (0, (3, 1)),
)
_MARKERS = ("o", "s", "^", "D", "v", "P")

_WIDTH_IN = 3.6


def recall_at_1(methods: Sequence[MethodResult], gallery_size: int) -> str:
    """R@1 of every method with its interval, both directions; "" without methods."""
    if not methods:
        return ""
    with _style():
        figure, axes = _figure(0.75 + 0.42 * len(methods))
        for offset, direction, colour, marker, label in zip(
            (-0.13, 0.13),
            DIRECTIONS,
            _SERIES,
            _MARKERS,
            ("text → gesture", "gesture → text"),
            strict=False,
        ):
            rows = [index + offset for index in range(len(methods))]
            name = f"{direction}.r1"
            values = [100 * method.figures[name] for method in methods]
            axes.plot(values, rows, marker, color=colour, markersize=5, label=label, zorder=3)
            for row, method in zip(rows, methods, strict=True):
                interval = method.intervals.get(name)
                if interval:
                    bounds = [100 * bound for bound in interval]
                    axes.plot(bounds, [row, row], color=colour, linewidth=1.6, zorder=2)
        axes.axvline(100 / gallery_size, color=_MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
        axes.set_yticks(range(len(methods)), [method.name for method in methods])
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.set_xlabel("R@1, percent (dashed: chance)")
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0, labelcolor=_INK)
        figure.legend(loc="outside upper center", ncols=2)
        return _svg(figure, "R@1 of each method with its interval, in both directions")


def recall_curves(methods: Sequence[MethodResult], direction: str) -> str:
    """Recall at k of every method that has a curve in this direction."""
    with _style():
        figure, axes = _figure(2.5 + 0.06 * max(0, len(methods) - len(_SERIES)))
        for index, method in enumerate(methods):
            curve = method.recall_curve.get(direction, ())
            if curve:
                axes.plot(
                    range(1, len(curve) + 1),
                    [100 * recall for recall in curve],
                    color=_SERIES[index % len(_SERIES)],
                    linestyle=_DASHES[index % len(_DASHES)],
                    marker=_MARKERS[index % len(_MARKERS)],
                    markevery=[k - 1 for k in (1, 2, 5, 10, 20, 50) if k <= len(curve)],
                    label=method.name,
                )
        axes.set_xscale("log")
        axes.set_xticks((1, 2, 5, 10, 20, 50), ("1", "2", "5", "10", "20", "50"))
        axes.set_ylim(bottom=0)
        axes.set_xlabel("k")
        axes.set_ylabel("R@k, percent")
        if len(methods) > len(_SERIES):
            figure.legend(loc="outside upper left", ncols=3)
        else:
            axes.legend(loc="lower right")
        return _svg(figure, f"Recall at k, {direction.replace('_', ' ')}")


def space(space: Space, named: int = 6) -> str:
    """Gestures as points, the `named` most frequent meanings in colour, the others grey."""
    counts = Counter(meaning for meaning in space.meanings if meaning)
    frequent = [meaning for meaning, _ in counts.most_common(named)]
    groups = [("no meaning", _GRID, 4.0, [""])]
    if rest := [meaning for meaning in counts if meaning not in frequent]:
        groups.append(("other meanings", _MUTED, 5.0, rest))
    groups += [
        (meaning, colour, 9.0, [meaning])
        for meaning, colour in zip(frequent, _SERIES, strict=False)
    ]
    with _style():
        figure, axes = _figure(3.4)
        for index, (label, colour, size, meanings) in enumerate(groups):
            chosen = [meaning in meanings for meaning in space.meanings]
            axes.scatter(
                *space.points[chosen].T,
                s=size,
                c=colour,
                marker=_MARKERS[index % len(_MARKERS)],
                linewidths=0,
                label=label,
            )
        axes.set_xticks(())
        axes.set_yticks(())
        axes.grid(visible=False)
        for side in axes.spines.values():
            side.set_visible(False)
        figure.legend(loc="outside lower left", ncols=2, markerscale=1.6, handletextpad=0.2)
        return _svg(figure, f"Gestures in the space of {space.method}, by what they mean")


def codebook_use(streams: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Share of codes in use per quantizer level, one row of bars a stream; "" without streams.

    The figure on a bar is the perplexity of that level's codes.
    """
    streams = {name: levels for name, levels in streams.items() if levels}
    if not streams:
        return ""
    with _style():
        figure, rows = _figure(0.35 + 1.25 * len(streams), rows=len(streams))
        deepest = max(len(levels) for levels in streams.values())
        for axes, (stream, levels) in zip(rows, streams.items(), strict=True):
            numbers = range(1, len(levels) + 1)
            bars = axes.bar(numbers, [100 * use for use, _ in levels], 0.62, color=_SERIES[0])
            axes.bar_label(
                bars, [f"{perplexity:.0f}" for _, perplexity in levels], padding=1.5, color=_INK
            )
            axes.set_xlim(0.4, deepest + 0.6)
            axes.set_ylim(0, 118)
            axes.set_yticks((0, 50, 100))
            axes.set_xticks(range(1, deepest + 1))
            axes.set_title(stream, loc="left")
            axes.grid(axis="x", visible=False)
        rows[-1].set_xlabel("quantizer level")
        figure.supylabel("codes in use, percent", color=_MUTED, fontsize=8)
        return _svg(figure, "Codes in use per quantizer level, with perplexity")


def by_levels(parts: Mapping[str, Sequence[float]], unit: str, label: str) -> str:
    """A figure of each part over the number of quantizer levels used; "" without parts."""
    if not parts:
        return ""
    with _style():
        figure, axes = _figure(2.3)
        for index, (part, values) in enumerate(parts.items()):
            axes.plot(
                range(1, len(values) + 1),
                values,
                color=_SERIES[index % len(_SERIES)],
                linestyle=_DASHES[index % len(_DASHES)],
                marker=_MARKERS[index % len(_MARKERS)],
                label=part,
            )
        axes.set_xticks(range(1, max(map(len, parts.values())) + 1))
        axes.set_ylim(bottom=0)
        axes.set_xlabel("quantizer levels")
        axes.set_ylabel(unit)
        axes.legend(loc="upper right")
        return _svg(figure, label)


def losses(rows: Sequence[Mapping[str, float]], model: str) -> str:
    """Every named loss of the training of `model` over its steps; logarithmic if all are positive.

    `loss`, where there is one, is the total and drawn heaviest.
    """
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    names = sorted({name for row in rows for name in row} - {"step", "epoch"})
    names.sort(key=lambda name: name != "loss")
    with _style():
        figure, axes = _figure(2.3)
        positive = True
        for index, name in enumerate(names):
            series = [
                (row["step"], row[name]) for row in rows if math.isfinite(row.get(name, math.nan))
            ]
            positive &= all(value > 0 for _, value in series)
            axes.plot(
                *zip(*series, strict=True),
                color=_SERIES[index % len(_SERIES)],
                linestyle=_DASHES[index % len(_DASHES)],
                linewidth=1.8 if name == "loss" else 1.1,
                label=name.replace("_", " "),
            )
        if positive:
            axes.set_yscale("log")
            low, high = axes.get_ylim()
            digits = (1.0,) if high > 30 * low else (1.0, 2.0, 5.0)
            axes.yaxis.set_major_locator(LogLocator(subs=digits))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlabel("step")
        if len(names) > 1:
            figure.legend(loc="outside upper left", ncols=2)
        return _svg(figure, f"Training losses of {model} over steps")


def _style() -> Any:
    import matplotlib

    return matplotlib.rc_context(
        {
            "svg.fonttype": "none",
            "text.parse_math": False,
            "font.size": 8,
            "font.family": "sans-serif",
            "text.color": _INK,
            "axes.edgecolor": _GRID,
            "axes.labelcolor": _MUTED,
            "axes.titlesize": 8,
            "axes.titlecolor": _INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "axes.grid": True,
            "grid.color": _GRID,
            "grid.linewidth": 0.6,
            "xtick.color": _GRID,
            "ytick.color": _GRID,
            "xtick.labelcolor": _MUTED,
            "ytick.labelcolor": _MUTED,
            "xtick.minor.size": 0,
            "ytick.minor.size": 0,
            "lines.linewidth": 1.6,
            "lines.markersize": 3.5,
            "legend.frameon": False,
            "legend.fontsize": 7.5,
            "figure.constrained_layout.use": True,
        }
    )


def _figure(height_in: float, rows: int = 0, width_in: float = _WIDTH_IN) -> tuple[Figure, Any]:
    # Figure itself, not pyplot: no global state, no display, safe in a server.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in))
    figure.patch.set_visible(False)
    if rows:
        axes: Any = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
        every: Sequence[Axes] = axes
    else:
        axes = figure.subplots()
        every = (axes,)
    for one in every:
        one.patch.set_visible(False)
    return figure, axes


def _svg(figure: Figure, label: str) -> str:
    """The figure as an `<svg>` element: themed, without fixed size, ids unique on the page."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": label}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    # The style sheet would leak into the page; the fonts are the page's own.
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r"font-family: [^;\"]+;? ?", "", svg)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    key = hashlib.sha256((label + svg).encode()).hexdigest()[:8]
    svg = re.sub(r'(\bid="|"#|url\(#)', rf"\g<1>{key}-", svg)
    for placeholder, colour in _THEME.items():
        svg = svg.replace(placeholder, colour)
    attributes = f'role="img" aria-label="{escape(label)}" stroke-linejoin="round"'
    return svg.replace("<svg ", f"<svg {attributes} ", 1)
