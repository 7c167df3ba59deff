"""What is seen of strokes that were put into a motion: recognised, at the word, and no jerk.

The verbalizer, which knows nothing of words and retrieval, describes the motion around each word,
and what it says is compared with what it said of the recording. Strokes are put where it sees
them from the way in to the way out (`gestray.generators.strokes`); here it looks at another
stretch, the gesture with 0.6 s at either side, and at the motion as it is in the end.

Shapes: T frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gestray.anchors.verbalize import describe_many
from gestray.corpora.take import FPS
from gestray.generators.strokes import AT_WORD_S, Stroke, hurried, signs
from gestray.metrics.promises import terms_of

# Motion to either side of a gesture that is described with it, as where gestures are retrieved.
_MARGIN_S = 0.6


@dataclass(frozen=True, eq=False)
class Insertion:
    """A stroke in a motion.

    Args:
        stroke: the recorded gesture.
        word_s: when its word begins, seconds.
        span: frames of the motion that it takes up with its way in and out.
    """

    stroke: Stroke
    word_s: float
    span: slice


@dataclass(frozen=True)
class Seen:
    """What is seen of a stroke.

    Attributes:
        alike: it has the recording's hands, with their shapes, palms and paths.
        at_word: the stroke begins within 0.2 s of the word.
        fields: share of all terms of the form that agree.
        peaks: on the way in or out a hand is faster than the limit, though neither motion is.
    """

    alike: bool
    at_word: bool
    fields: float
    peaks: bool

    @property
    def recognised(self) -> bool:
        """The retrieved form is there, at the word."""
        return self.alike and self.at_word


def seen(
    before: np.ndarray, after: np.ndarray, insertions: Sequence[Insertion], fastest: float
) -> list[Seen]:
    """What is seen of each stroke.

    Args:
        before, after: the motion without strokes and with them, axis-angle (T, 165).
        insertions: strokes that were placed.
        fastest: the limit of a hand's speed, m/s.
    """
    stretches = [_stretch(one) for one in insertions]
    ours = describe_many([after[stretch] for stretch in stretches])
    found = []
    for one, stretch, there in zip(insertions, stretches, ours, strict=True):
        at_word = False
        if there.phases is not None:
            begins_s = stretch.start / FPS + there.phases.stroke_s
            at_word = abs(begins_s - one.word_s) <= AT_WORD_S
        terms = np.array([terms_of(there.form), terms_of(one.stroke.form)])
        found.append(
            Seen(
                alike=signs(there.form) == signs(one.stroke.form),
                at_word=at_word,
                fields=float((terms[0] == terms[1]).mean()),
                peaks=_peaks(before, after, one, fastest),
            )
        )
    return found


def _stretch(one: Insertion) -> slice:
    """Frames of the motion in which the gesture is looked for."""
    phases = one.stroke.phases
    first_s = one.word_s - (phases.stroke_s - phases.start_s) - _MARGIN_S
    last_s = one.word_s + (phases.end_s - phases.stroke_s) + _MARGIN_S
    return slice(max(0, round(first_s * FPS)), round(last_s * FPS))


def _peaks(before: np.ndarray, after: np.ndarray, one: Insertion, fastest: float) -> bool:
    """Whether a hand hurries where one motion goes over into the other."""
    stroke, span = one.stroke, one.span
    first, last = stroke.held
    way = (span.stop - span.start - (last - first) - 1) // 2
    theirs = stroke.frames(first - way, last + way + 1)
    return bool(hurried(after[span], before[span], theirs, fastest).any())
