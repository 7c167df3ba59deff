"""Every threshold of the verbalizer: where motion becomes words.

Lengths are in *arm lengths* (shoulder to wrist, straight), so body size does not
matter; the frame is that of the chest (x to the body's left, y up, z to the
front), with its origin midway between the shoulders. Where a figure is said to
be of "real speech", it was measured with `hand_tracks` on a minute of BEAT2's
speaker 2, a lively talker, at 30 fps; quantiles are over frames and both hands.

Changing a value changes every anchor: it belongs to a new version of the anchors.
"""

from __future__ import annotations

import math

# --- heights of the palm's centre, arm lengths above the shoulder line ----------------
# On the rest skeleton (shoulder line 0.484 m above the pelvis, arm 0.546 m): pelvis -0.89,
# lowest ribs (spine2) -0.44, base of the neck +0.19, base of the skull +0.39. Real speech
# has two modes: resting hands at -1.06 +- 0.05, gesturing ones at -0.35 +- 0.29.
WAIST_FROM = -0.80
CHEST_FROM = -0.45
SHOULDER_FROM = -0.12
HEAD_FROM = 0.22
ABOVE_HEAD_FROM = 0.70

# --- gesture space (McNeill 1992, p. 89), arm lengths ---------------------------------
# McNeill draws it about a seated speaker: centre-centre before the chest, centre from
# shoulders to waist, periphery to about a forearm outside, extreme periphery beyond. The
# shoulder joints are at +-0.34. Real speech: |x| 0.24 / 0.54 / 0.90 at 5 / 50 / 95 %.
CENTRE_CENTRE_HALF_WIDTH = 0.22
CENTRE_CENTRE_HEIGHTS = (-0.60, -0.05)
CENTRE_HALF_WIDTH = 0.45
CENTRE_HEIGHTS = (-0.85, 0.15)
PERIPHERY_HALF_WIDTH = 0.95
PERIPHERY_HEIGHTS = (-1.05, 0.70)
# Nearer to the midline than a third of the half shoulder width is neither left nor right.
SIDE_FROM = 0.12

# --- reach: depth before the chest, arm lengths ---------------------------------------
# A palm on the breast is at 0.25, one on a forearm bent at a right angle at 0.58, one on
# a straight arm at 1.1. Real speech: 0.51 / 0.67 / 0.76 at 25 / 50 / 75 %.
MEDIUM_REACH_FROM = 0.40
FAR_REACH_FROM = 0.80

# --- smoothing ---------------------------------------------------------------------
# Standard deviation in seconds of the Gaussian over wrist positions: about one frame. It
# takes off the jitter of motion capture and an eighth of the speed of a quick beat (0.15 arm
# lengths in 0.16 s); twice as much would take a third.
SMOOTHING_S = 0.03
# Fingers change their shape more slowly than wrists move; their features are smoothed by this.
SHAPE_SMOOTHING_S = 0.06
# Added to the wrist's smoothing where pauses are looked for, so that jitter makes none.
PAUSE_SMOOTHING_S = 0.04

# --- whether a hand takes part --------------------------------------------------------
# Resting hands stay in place within 0.05 (a standing person's sway); the 1 s bounding box of
# the wrist in real speech has diagonal 0.06 / 0.36 / 0.59 / 0.85 at 0 / 25 / 50 / 75 %.
# A hand above the waist that moved this far in the stroke:
MOVED = 0.10
# or left its rest by this much at some time in the clip, and is now held up:
LEFT_REST = 0.30
# A hand that hangs must swing further than arms do when the body shifts:
MOVED_HANGING = 0.35
# A second hand counts if it moves at least this share of the other's way, or left its rest.
SECOND_HAND_SHARE = 0.20

# --- the stroke -----------------------------------------------------------------------
# A hand is raised once it is above the waist, or this far above its lowest place in the clip:
# three standard deviations of where hands rest in real speech.
RISEN = 0.15
# Arm lengths a second. Holds in real speech drift below 0.12 (5 % of frames).
STILL_SPEED = 0.12
# Hands that wait in a posture wander at up to this, the quiet quarter of real speech.
IDLE_SPEED = 0.40
# A phase ends where speed has a minimum at most this share of its peak (Kita et al. 1998 set
# phase boundaries at such changes of speed and direction).
PHASE_MINIMUM_SHARE = 0.5
# Seconds after which a clip's first or last posture is one in which the hands stay, and the
# distance in both hands together below which two are the same.
STAYED_S = 0.15
SAME_POSTURE = 0.20
# Distance in both hands together from which hands have left a posture: twice what tokens jitter.
LEFT_POSTURE = 0.12
# Hands have come back to a posture within this share of their way from it.
COMES_BACK_SHARE = 0.35
# Seconds before and after a pause in which the hands are clearly faster.
LEG_SECONDS = 0.4
# Share of the peak that follows from which a clip begins within a movement. Smoothing over
# the edge of a clip leaves 0.4 of the speed there; strokes that begin at rest have 0.2.
AT_SPEED_SHARE = 0.27
# Cosine from which two movements go the same way.
SAME_WAY = 0.5
# Hands hold below this speed at the end of a stroke.
HOLD_SPEED = 0.20
# Seconds.
BRIEF_HOLD_FROM = 0.17
LONG_HOLD_FROM = 0.50
# Seconds. Shorter than the shortest is no more than a turning point between preparation and
# retraction; the longest holds three passes there and back of 0.3 s each way.
STROKE_SECONDS = (0.2, 3.0)

# --- the stroke's movement, arm lengths and arm lengths a second ----------------------
# Range along the main axis of the path. 0.08 is 4 cm, 0.25 is 14 cm, 0.60 is 33 cm.
SMALL_FROM = 0.08
MEDIUM_FROM = 0.25
LARGE_FROM = 0.60
# Mean speed while moving. Real speech: 0.41 / 0.80 / 1.4 / 2.7 at 25 / 50 / 75 / 95 %.
MODERATE_FROM = 0.60
FAST_FROM = 1.60
# A swing counts once the hand has crossed the middle fifth of its range.
SWING_LEVELS = (0.4, 0.6)
# How far a path bows out, to its length: a circular arc of 110 degrees by 0.24.
ARC_FROM_BOW = 0.20
# Width of the path to its length: a circle has 1.
CIRCLE_FROM_WIDTH = 0.50
CIRCLE_FROM_TURN = math.radians(290)
# Swings, there and back counted apart, from which a path across the body is a zigzag.
ZIGZAG_FROM_SWINGS = 3

# --- hand shape -----------------------------------------------------------------------
# Flexion of a finger: sum over its three joints, radians; 0 is straight, a tight fist 4.5.
# Real speech: 0.31 / 0.73 / 1.02 at 5 / 50 / 95 %, so a flat hand (the mean of its four
# fingers) is below the relaxed range, and a bowl is above it.
FLAT_BELOW = 0.40
EXTENDED_BELOW = 1.10
CUPPED_FROM = 1.36
CUPPED_FINGER_FROM = 1.10
CURLED_FROM = 1.90
# Angle between index and little finger, radians: 0.65 in the straight hand of the rest pose,
# below 0.25 in 95 % of real speech, above 1.0 when fingers are spread at will.
SPREAD_FROM = 0.90
# Gap between the tips of thumb and index finger, in hand lengths (about 0.2 m). Real speech:
# 0.22 / 0.29 / 0.40 at 1 / 50 / 95 %; 0.15 allows 3 cm of error to tips that touch.
PINCH_BELOW = 0.15
# Mean flexion of the other fingers of a ring, which are stretched, and of a pinch, which bend
# with the index finger: 0.2 and 1.1 in hands posed for the one and the other.
RING_BELOW = 0.65
# Cosines: the thumb stands off the palm's thumb side (real speech: below 0.35 in 99 %), and
# points up from the chest's view.
THUMB_OFF_PALM_FROM = 0.60
THUMB_UPWARD_FROM = 0.50
# Hand lengths from the wrist's middle to the thumb side at which a thumb lies across the palm.
# Real speech: 0.13 / 0.19 / 0.27 at 5 / 50 / 95 %.
THUMB_FOLDED_BELOW = 0.06
# A number of fingers is shown when it stays for this many seconds; a hand that counts goes on
# to the next number this many times.
COUNT_SHOWN_S = 0.10
COUNT_STEPS = 2

# --- contacts ---------------------------------------------------------------------------
# The head is a capsule about the line from inside the chin to inside the crown, from its
# joint in the skull's frame: an adult's head is 15.5 cm broad, 19.5 cm long and 23 cm high
# (means of NASA-STD-3000, vol. 1, 3.3), in arm lengths of 0.546 m.
CHIN = (0.0, -0.04, 0.05)
CROWN = (0.0, 0.14, 0.01)
HEAD_RADIUS = 0.15
# The front of the chest: an elliptic cylinder about the middle of the shoulders, 33 cm broad
# and 22 cm deep, from the navel to the collar bones.
CHEST_MIDDLE_Z = 0.0
CHEST_HALF_WIDTH = 0.32
CHEST_HALF_DEPTH = 0.20
CHEST_HEIGHTS = (-0.75, -0.04)
# A hand's joints and finger tips lie 1 to 2 cm below its skin, and the bodies above are
# coarse: distances from surface to joint, and between joints of both hands.
HEAD_CONTACT = 0.08
CHEST_CONTACT = 0.06
HANDS_CONTACT = 0.055
# Share of the gesture for which a contact lasts, or seconds at its end; and the share for
# which hands that stay on each other touch.
CONTACT_SHARE = 0.5
CONTACT_S = 0.15
TOUCHING_SHARE = 0.75

# --- head, radians ------------------------------------------------------------------------
# Heads move a little longer than hands: seconds before and after the gesture.
HEAD_MARGIN_S = 0.25
# Standard deviation in seconds of the Gaussian that follows the posture; what is quicker is a
# nod or a shake.
HEAD_DRIFT_S = 0.20
# Half range of the swings.
NOD_FROM = 0.05
SHAKE_FROM = 0.08
# Change of the lean to one side when the gesture begins and ends.
TILT_FROM = 0.11

# --- both hands -----------------------------------------------------------------------
# Change of the distance between the wrists, arm lengths, and its share of both ways.
SEPARATION_CHANGE_FROM = 0.20
SEPARATION_SHARE_FROM = 0.5
# Wrists nearer than this (16 cm) while hardly moving are held together.
TOGETHER_BELOW = 0.30
# Hands move in parallel where the correlation of their velocities is by this much greater
# than with one of them mirrored; without a way to the side both are the same.
PARALLEL_MARGIN = 0.20
# Correlation of the velocities below which the hands take turns.
ALTERNATING_BELOW = -0.20
# Distance of one hand from the other's mirror image below which still hands mirror each other.
MIRROR_PLACE_BELOW = 0.40
