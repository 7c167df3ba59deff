"""The invented speakers of the synthetic corpus and how each of them moves and talks."""

from __future__ import annotations

from dataclasses import dataclass

from gestray.corpora.synthetic.gesture import HandStroke


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """A speaker's style.

    Attributes:
        number: the speaker's id in take ids.
        name: the speaker's name in take ids.
        words_per_s: rate of speech within an utterance.
        voice: voice of the synthesizer, in espeak-ng's names (language and variant).
        pitch: of the voice, in espeak-ng's scale from 0 to 99.
        tempo: speed of gestures; 1 is ordinary.
        amplitude: size of gestures; 1 is ordinary.
        right_handed: share of one-handed gestures made with the right hand.
        gesture_rate: how often a meaning is shown; 1 is ordinary.
        beats: share of utterances without a meaning to show that carry beats.
        rests: where the hands rest between gestures; the first in most takes.
        lean: bend of the trunk to the front, radians.
        head_pitch: how far the head is lowered, radians.
        head_nod: nod on a stressed word, radians.
        liveliness: idle motion as a share of that in `idle.IDLE`.
        sway_m: standard deviation of the body's sway over the feet, metres.
        stillness_s: mean time between two shifts of the weight, seconds.
        steps: share of those shifts that are steps.
    """

    number: int
    name: str
    words_per_s: float
    voice: str
    pitch: int
    tempo: float
    amplitude: float
    right_handed: float
    gesture_rate: float
    beats: float
    rests: tuple[HandStroke, ...]
    lean: float
    head_pitch: float
    head_nod: float
    liveliness: float
    sway_m: float
    stillness_s: float
    steps: float

    def take_id(self, number: int) -> str:
        """Id of the speaker's take `number`, from 1, in BEAT2's form (0: English monologue)."""
        return f"{self.number}_{self.name}_0_{number}_{number}"


_HANGING_POLE = (0.35, 0.0, -1.0)
_AT_SIDES = HandStroke(
    ("relaxed",), "inward", (0.1, -1, 0.1), (0.44, -0.955, 0.10), path="static", pole=_HANGING_POLE
)
_AT_THIGHS = HandStroke(
    ("relaxed",), "to self", (-0.1, -1, 0.2), (0.4, -0.91, 0.27), path="static", pole=_HANGING_POLE
)
_AT_BELLY = HandStroke(("relaxed",), "to self", (-1, -0.2, 0.1), (0.37, -0.82, 0.4), path="static")
_BEFORE_HIPS = HandStroke(
    ("fist",), "inward", (-0.2, -0.8, 0.5), (0.38, -0.88, 0.3), path="static", pole=_HANGING_POLE
)
_FOREARMS_LIFTED = HandStroke(
    ("relaxed",), "inward", (-0.2, 0, 1), (0.36, -0.72, 0.42), path="static"
)


SPEAKERS: tuple[Speaker, ...] = (
    Speaker(
        number=101,
        name="ada",
        words_per_s=2.75,
        voice="en-us+f3",
        pitch=60,
        tempo=1.0,
        amplitude=1.0,
        right_handed=0.9,
        gesture_rate=1.0,
        beats=0.6,
        rests=(_AT_SIDES, _AT_BELLY),
        lean=0.02,
        head_pitch=0.02,
        head_nod=0.035,
        liveliness=0.7,
        sway_m=0.013,
        stillness_s=1.6,
        steps=0.64,
    ),
    Speaker(
        number=102,
        name="ben",
        words_per_s=2.5,
        voice="en-us+m3",
        pitch=35,
        tempo=0.88,
        amplitude=0.9,
        right_handed=0.85,
        gesture_rate=0.8,
        beats=0.4,
        rests=(_AT_BELLY, _FOREARMS_LIFTED),
        lean=0.06,
        head_pitch=0.08,
        head_nod=0.02,
        liveliness=0.5,
        sway_m=0.01,
        stillness_s=2.6,
        steps=0.36,
    ),
    Speaker(
        number=103,
        name="chloe",
        words_per_s=3.0,
        voice="en-gb-x-rp+f2",
        pitch=70,
        tempo=1.12,
        amplitude=1.12,
        right_handed=0.2,
        gesture_rate=1.2,
        beats=0.75,
        rests=(_AT_SIDES, _FOREARMS_LIFTED),
        lean=-0.02,
        head_pitch=-0.02,
        head_nod=0.05,
        liveliness=1.0,
        sway_m=0.018,
        stillness_s=1.1,
        steps=0.8,
    ),
    Speaker(
        number=104,
        name="dan",
        words_per_s=2.6,
        voice="en+m1",
        pitch=40,
        tempo=0.95,
        amplitude=1.08,
        right_handed=0.7,
        gesture_rate=0.9,
        beats=0.5,
        rests=(_AT_THIGHS, _AT_SIDES),
        lean=0.08,
        head_pitch=0.05,
        head_nod=0.03,
        liveliness=0.6,
        sway_m=0.012,
        stillness_s=2.0,
        steps=0.8,
    ),
    Speaker(
        number=105,
        name="eva",
        words_per_s=2.9,
        voice="en-us+f5",
        pitch=50,
        tempo=1.08,
        amplitude=0.94,
        right_handed=0.8,
        gesture_rate=1.1,
        beats=0.65,
        rests=(_BEFORE_HIPS, _AT_BELLY),
        lean=0.0,
        head_pitch=0.0,
        head_nod=0.04,
        liveliness=0.8,
        sway_m=0.014,
        stillness_s=1.5,
        steps=0.45,
    ),
    Speaker(
        number=106,
        name="finn",
        words_per_s=2.7,
        voice="en-us+m7",
        pitch=45,
        tempo=1.02,
        amplitude=1.04,
        right_handed=0.3,
        gesture_rate=1.0,
        beats=0.55,
        rests=(_AT_BELLY, _AT_THIGHS),
        lean=0.04,
        head_pitch=0.06,
        head_nod=0.025,
        liveliness=0.65,
        sway_m=0.011,
        stillness_s=1.8,
        steps=0.55,
    ),
    Speaker(
        number=107,
        name="grace",
        words_per_s=2.4,
        voice="en-gb-scotland+f4",
        pitch=55,
        tempo=0.9,
        amplitude=0.86,
        right_handed=0.95,
        gesture_rate=0.8,
        beats=0.35,
        rests=(_FOREARMS_LIFTED, _AT_BELLY),
        lean=0.03,
        head_pitch=0.03,
        head_nod=0.045,
        liveliness=0.55,
        sway_m=0.008,
        stillness_s=3.0,
        steps=0.27,
    ),
    Speaker(
        number=108,
        name="hugo",
        words_per_s=2.85,
        voice="en-us+m2",
        pitch=30,
        tempo=1.1,
        amplitude=1.15,
        right_handed=0.6,
        gesture_rate=1.2,
        beats=0.7,
        rests=(_AT_THIGHS, _FOREARMS_LIFTED),
        lean=0.05,
        head_pitch=-0.01,
        head_nod=0.03,
        liveliness=0.9,
        sway_m=0.017,
        stillness_s=1.2,
        steps=0.73,
    ),
)
