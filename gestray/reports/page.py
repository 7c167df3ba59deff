"""How every report is written: one HTML file that stands alone, and one way to write figures.

Styles, figures and drawings are inside the page and nothing is fetched, so it can be
mailed, archived beside an artifact and opened years later. It follows the reader's light
or dark theme and fits a phone. The terminal's tables write figures the same way.
"""

from __future__ import annotations

from typing import Any

from gestray.metrics.bootstrap import Interval


def render_page(template: str, **context: Any) -> str:
    """The page of a template in ``templates/``; `context` must hold ``report``."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("gestray.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=percent, points=points, span=span, number=number, duration=duration
    )
    return environment.get_template(template).render(**context)


def percent(fraction: float) -> str:
    """0.4231 → "42.3"."""
    return f"{100 * fraction:.1f}"


def points(fraction: float) -> str:
    """A difference with its sign: 0.032 → "+3.2", with a true minus."""
    return f"{100 * fraction:+.1f}".replace("-", "−")


def span(interval: Interval, lower_is_better: bool = False) -> str:
    """An interval of fractions in percent, or of ranks as they are."""
    low, high = interval
    if lower_is_better:
        return f"{low:.1f}–{high:.1f}"
    return f"{percent(low)}–{percent(high)}"


def number(value: str | int | float) -> str:
    """Counts with thin-space thousands, other numbers short, text as it is."""
    if isinstance(value, str):
        return value
    if float(value).is_integer():
        return f"{int(value):,}".replace(",", "\u202f")
    return f"{value:,.1f}".replace(",", "\u202f")


def duration(seconds: float) -> str:
    """12.34 → "12.3 s", 754 → "12 min 34 s", 7500 → "2 h 05 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
