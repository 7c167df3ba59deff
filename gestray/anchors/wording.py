"""The sentence of a physical form: what a person would write who saw the gesture.

The sentence is what a text encoder embeds, so it is fluent and says everything
that the record holds: different records have different sentences.
"""

from __future__ import annotations

from gestray.form import (
    Amplitude,
    Contact,
    Direction,
    HandForm,
    HandShape,
    HeadMovement,
    Height,
    Hold,
    Location,
    Palm,
    Path,
    PhysicalForm,
    Reach,
    Relation,
    Side,
    Speed,
    Trajectory,
    Zone,
)

_SHAPES: dict[HandShape, str] = {
    "flat": "flat",
    "relaxed": "relaxed",
    "spread": "fingers spread",
    "fist": "closed to a fist",
    "index": "index finger extended",
    "two fingers": "two fingers extended",
    "three fingers": "three fingers extended",
    "four fingers": "four fingers extended",
    "counting": "fingers extending one by one",
    "pinch": "thumb and index finger pinched",
    "ring": "thumb and index finger in a ring",
    "thumb up": "thumb up",
    "cupped": "cupped",
}
_PALMS: dict[Palm, str] = {
    "up": "palm up",
    "down": "palm down",
    "inward": "palm facing inward",
    "outward": "palm facing outward",
    "to self": "palm towards the speaker",
    "to front": "palm to the front",
}
_DIRECTIONS: dict[Direction, str] = {
    "up": "up",
    "down": "down",
    "left": "to the left",
    "right": "to the right",
    "forward": "forward",
    "backward": "backward",
    "none": "in place",
}
# A pair of mirrored hands is told from the left hand's view.
_PAIR_DIRECTIONS: dict[Direction, str] = {**_DIRECTIONS, "left": "outward", "right": "inward"}
# Singular and plural.
_VERBS: dict[Path, tuple[str, str]] = {
    "static": ("stays", "stay"),
    "straight": ("moves straight", "move straight"),
    "arc": ("moves in an arc", "move in an arc"),
    "circle": ("circles", "circle"),
    "zigzag": ("swings to and fro, first", "swing to and fro, first"),
}
_SPEEDS: dict[Speed, str] = {
    "still": "without haste",
    "slow": "slowly",
    "moderate": "at moderate speed",
    "fast": "quickly",
}
_AMPLITUDES: dict[Amplitude, str] = {
    "none": "over no distance",
    "small": "over a short distance",
    "medium": "over a medium distance",
    "large": "over a long distance",
}
_NUMBERS = (
    *("three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
# By the number of repetitions.
_TIMES = (
    " without a full pass",
    "",
    ", twice",
    *(f", {number} times" for number in _NUMBERS),
)
_HEIGHTS: dict[Height, str] = {
    "below waist": "below the waist",
    "waist": "at waist height",
    "chest": "at chest height",
    "shoulder": "at shoulder height",
    "head": "at head height",
    "above head": "above the head",
}
_ZONES: dict[Zone, str] = {
    "centre-centre": "inner centre",
    "centre": "centre",
    "periphery": "periphery",
    "extreme periphery": "extreme periphery",
}
_SIDES: dict[Side, str] = {
    "left": "in the left {zone}",
    "middle": "in the {zone} at the midline",
    "right": "in the right {zone}",
}
_PAIR_SIDES: dict[Side, str] = {
    "left": "each on its own side of the {zone}",
    "middle": "in the {zone} at the midline",
    "right": "crossed over in the {zone}",
}
_REACHES: dict[Reach, str] = {
    "close": "close to the body",
    "medium": "at half reach",
    "far": "far to the front",
}
_RELATIONS: dict[Relation, str] = {
    "mirror": "mirroring each other",
    "parallel": "side by side in parallel",
    "alternating": "taking turns",
    "touching": "resting on each other",
    "apart": "coming apart",
    "together": "coming together",
    "single": "",
}
_CONTACTS: dict[Contact, str] = {
    "none": "",
    "head": ", touching the head",
    "chest": ", touching the chest",
    "other hand": ", touching the other hand",
}
# After a movement, and of hands that do not move at all.
_HOLDS: dict[Hold, tuple[str, str]] = {
    "none": ("", ""),
    "brief": (", stopping there for a moment", ", for a moment"),
    "long": (", staying there for long", ", for long"),
}
_HEADS: dict[HeadMovement, str] = {
    "none": "",
    "nod": ", while the head nods",
    "shake": ", while the head shakes",
    "tilt": ", while the head tilts",
}
_SWAPPED_SIDE: dict[Side, Side] = {"left": "right", "right": "left", "middle": "middle"}
_SWAPPED_DIRECTION: dict[Direction, Direction] = {"left": "right", "right": "left"}
_STILL = Trajectory(path="static", direction="none", repetitions=0, amplitude="none", speed="still")


def sentence(form: PhysicalForm) -> str:
    """An English sentence for a physical form; different forms have different sentences."""
    hands = [hand for hand in (form.left, form.right) if hand is not None]
    is_still = all(hand.trajectory == _STILL for hand in hands)
    return f"{_hands(form)}{_HOLDS[form.hold][is_still]}{_HEADS[form.head]}."


def _hands(form: PhysicalForm) -> str:
    left, right = form.left, form.right
    if left is not None and right is not None:
        how = _RELATIONS[form.relation]
        if right == mirrored_hand(left):
            return f"Both hands, {_clause(left, is_pair=True)}, {how}"
        return (
            f"The left hand, {_clause(left)}, while the right hand, {_clause(right)}, "
            f"the hands {how}"
        )
    if left is not None:
        return f"The left hand, {_clause(left)}"
    if right is not None:
        return f"The right hand, {_clause(right)}"
    return "Both hands stay at rest"


def mirrored(form: PhysicalForm) -> PhysicalForm:
    """The form of the same gesture seen in a mirror: left and right change places."""
    swapped = {"left": "right", "right": "left"}
    return PhysicalForm.model_validate(
        {
            "handedness": swapped.get(form.handedness, form.handedness),
            "left": form.right and mirrored_hand(form.right),
            "right": form.left and mirrored_hand(form.left),
            "relation": form.relation,
            "hold": form.hold,
            "head": form.head,
        }
    )


def mirrored_hand(hand: HandForm) -> HandForm:
    """The form of the other hand when it does the mirror image of what this one does."""
    side, direction = hand.location.side, hand.trajectory.direction
    return hand.model_copy(
        update={
            "location": hand.location.model_copy(update={"side": _SWAPPED_SIDE[side]}),
            "trajectory": hand.trajectory.model_copy(
                update={"direction": _SWAPPED_DIRECTION.get(direction, direction)}
            ),
        }
    )


def _clause(hand: HandForm, *, is_pair: bool = False) -> str:
    movement = _movement(hand.trajectory, is_pair=is_pair)
    place = _place(hand.location, is_pair=is_pair)
    contact = _CONTACTS[hand.contact]
    return f"{_SHAPES[hand.shape]} and {_PALMS[hand.palm]}, {movement} {place}{contact}"


def _movement(trajectory: Trajectory, *, is_pair: bool) -> str:
    if trajectory == _STILL:
        return "are held still" if is_pair else "is held still"
    directions = _PAIR_DIRECTIONS if is_pair else _DIRECTIONS
    words = [_VERBS[trajectory.path][is_pair], directions[trajectory.direction]]
    words += [_SPEEDS[trajectory.speed], _AMPLITUDES[trajectory.amplitude]]
    return " ".join(words) + _TIMES[trajectory.repetitions] + ","


def _place(location: Location, *, is_pair: bool) -> str:
    sides = _PAIR_SIDES if is_pair else _SIDES
    where = sides[location.side].format(zone=_ZONES[location.zone])
    return f"{_HEIGHTS[location.height]} {where}, {_REACHES[location.reach]}"
