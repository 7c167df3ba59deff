"""Bodies of the synthetic corpus against real statistics, over feet that do not slide."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from gestray.corpora.synthetic.bounds import MAX_OVERLAP_M, clearance
from gestray.corpora.synthetic.face import BLINK_COEFFICIENT
from gestray.corpora.synthetic.idle import IDLE, smooth_noise, wander
from gestray.corpora.synthetic.legs import CONTACT_JOINTS, SOLE
from gestray.corpora.synthetic.motion import TakeMotion, make_motion
from gestray.corpora.synthetic.script import Deck, Utterance, plan_take, write_script
from gestray.corpora.synthetic.speakers import SPEAKERS, Speaker
from gestray.corpora.synthetic.voice import LettersVoice
from gestray.motion.kinematics import forward_kinematics
from gestray.motion.rotations import axis_angle_to_matrix, geodesic_distance, matrix_to_sixd
from gestray.motion.skeleton import JOINT_NAMES, joint

STATISTICS = Path(__file__).parents[3] / "shared" / "data" / "beat2_statistics"
needs_statistics = pytest.mark.skipif(
    not STATISTICS.exists(), reason="statistics of BEAT2 are not at hand (../shared)"
)
FPS, SECONDS, TAKES_EACH = 30, 40, 3
FRAMES = SECONDS * FPS
# Motion statistics may differ from real ones by this factor, either way.
FACTOR = 2.0
# A joint that is in contact moves no faster, metres a second: a tenth of a millimetre a frame.
SLIDE_M_S = 0.003
# Faster than this, a foot is not in contact for those who go by its speed, metres a second.
CONTACT_SPEED_M_S = 0.15


@dataclass(frozen=True)
class Made:
    """One take, and what is read off it."""

    speaker: Speaker
    utterances: list[Utterance]
    motion: TakeMotion
    positions: np.ndarray
    rotations: torch.Tensor
    chest: np.ndarray

    @property
    def speed(self) -> np.ndarray:
        """Of all joints (T-1, 55), metres a second."""
        return np.linalg.norm(np.diff(self.positions, axis=0), axis=-1) * FPS


@pytest.fixture(scope="module")
def takes() -> list[Made]:
    deck = Deck(0.8, np.random.default_rng(0))
    made = []
    for number in range(TAKES_EACH * len(SPEAKERS)):
        speaker, rng = SPEAKERS[number % len(SPEAKERS)], np.random.default_rng([4, number])
        plan = plan_take(speaker, "train", SECONDS, deck, rng)
        utterances, _ = write_script(speaker, plan, FRAMES, LettersVoice(), rng)
        motion = make_motion(utterances, speaker, FRAMES, rng)
        poses = torch.tensor(motion.poses, dtype=torch.float64).unflatten(-1, (55, 3))
        rotations = axis_angle_to_matrix(poses)
        positions, turned = forward_kinematics(rotations, torch.tensor(motion.trans))
        chest = turned[:, joint("spine3")].numpy()
        made.append(Made(speaker, utterances, motion, positions.numpy(), rotations, chest))
    return made


# --- statistics of real speakers -----------------------------------------


def check_ratios(ratios: dict[str, float]) -> None:
    """Ours by real: within `FACTOR`. `pytest -rP` shows the joints at either end."""
    ordered = sorted(ratios, key=ratios.__getitem__)
    for name in (ordered[0], ordered[len(ordered) // 2], ordered[-1]):
        print(f"{name}: {ratios[name]:.2f}")
    assert not {n: round(float(r), 2) for n, r in ratios.items() if not 1 / FACTOR < r < FACTOR}


@needs_statistics
def test_joints_move_as_fast_as_those_of_real_speakers(takes):
    real = np.load(STATISTICS / "mean_vel_smplxflame_30.npy")
    ours = np.mean([take.speed.mean(axis=0) for take in takes], axis=0)
    check_ratios(dict(zip(JOINT_NAMES, ours / real, strict=True)))


@needs_statistics
def test_joints_turn_as_widely_as_those_of_a_real_speaker(takes):
    """Not compared: knees, feet, collars and thumbs, which are stiffer here than recorded ones."""
    real = np.load(STATISTICS / "beatx_2_330_std.npy").reshape(55, 6).mean(axis=1)
    sixd = torch.cat([matrix_to_sixd(take.rotations) for take in takes])
    ours = sixd.std(dim=0).mean(dim=-1).numpy()
    compared = [
        *("pelvis", "left_hip", "right_hip", "left_ankle", "right_ankle"),
        *("spine1", "spine2", "spine3", "neck", "head", "jaw"),
        *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow"),
        *("left_wrist", "right_wrist"),
        *(n for n in JOINT_NAMES if any(f in n for f in ("index", "middle", "ring", "pinky"))),
    ]
    check_ratios({name: ours[joint(name)] / real[joint(name)] for name in compared})


@pytest.mark.parametrize("name", ["spine1", "neck", "left_elbow", "right_index2"])
def test_wandering_has_the_spread_and_the_spectrum_of_its_table(name):
    rng = np.random.default_rng(1)
    waves = np.concatenate([wander(name, 1800, rng) for _ in range(60)], axis=1)
    idle = (
        IDLE[name.removeprefix("left_").removeprefix("right_").rstrip("123")]
        if (name != "spine1")
        else IDLE[name]
    )
    spread = waves.reshape(1800, -1, 3).std(axis=(0, 1))
    assert spread == pytest.approx(np.array(idle.spread), rel=0.15)
    power = (np.abs(np.fft.rfft(waves * np.hanning(1800)[:, None], axis=0)) ** 2).mean(axis=1)
    below = np.cumsum(power) / power.sum()
    frequency = np.fft.rfftfreq(1800, 1 / FPS)
    assert frequency[np.searchsorted(below, 0.5)] == pytest.approx(idle.median_hz, rel=0.25)
    assert frequency[np.searchsorted(below, 0.9)] == pytest.approx(idle.top_hz, rel=0.25)


def test_noise_does_not_close_on_itself():
    noise = smooth_noise(600, 200, np.random.default_rng(0), (0.2, 0.8))
    assert noise.std() == pytest.approx(1.0, rel=0.1)
    assert abs(np.mean(noise[0] * noise[-1])) < 0.2  # of a periodic one it is nearly 1


# --- standing and stepping --------------------------------------------------


def test_feet_in_contact_do_not_slide_and_others_fly(takes):
    places = [joint(name) for name in CONTACT_JOINTS]
    steps = 0
    for take in takes:
        speed, contact = take.speed[:, places], take.motion.contacts
        rests = contact[1:] & contact[:-1]
        assert speed[rests].max() < SLIDE_M_S
        heights = take.positions[:, [joint("left_foot"), joint("right_foot")], 1]
        assert heights.min() > SOLE - 1e-4
        assert np.all(np.abs(heights[contact[:, 2:]] - SOLE) < 1e-4)
        # One foot is always down, and a foot in the air is lifted and moves.
        assert np.all(contact[:, 2] | contact[:, 3])
        if not rests.all():
            assert heights.max() > SOLE + 0.03 and speed[~rests].max() > 0.5
        steps += int((np.diff(contact[:, 2:].astype(int), axis=0) == -1).sum())
    assert steps > len(takes) * SECONDS / 20  # a step in 20 seconds, at least


def test_contacts_read_off_the_speed_of_the_feet_agree(takes):
    places = [joint(name) for name in CONTACT_JOINTS]
    agree = [
        (take.speed[:, places] < CONTACT_SPEED_M_S) == take.motion.contacts[1:] for take in takes
    ]
    assert np.mean(agree) > 0.97


def test_the_heel_leaves_the_floor_before_the_toes(takes):
    contacts = np.concatenate([take.motion.contacts for take in takes])
    for heel, toes in ((0, 2), (1, 3)):
        assert not np.any(contacts[:, heel] & ~contacts[:, toes])
        assert np.any(~contacts[:, heel] & contacts[:, toes])


def test_the_body_sways_and_keeps_a_human_height(takes):
    for take in takes:
        pelvis = take.positions[:, joint("pelvis")]
        assert np.ptp(pelvis[:, [0, 2]], axis=0).max() > 0.02
        assert pelvis[:, 1].min() > 0.84 and pelvis[:, 1].max() < 0.99
        assert take.speed[:, joint("pelvis")].max() < 1.6
        knees = take.motion.poses.reshape(-1, 55, 3)[:, [joint("left_knee"), joint("right_knee")]]
        assert knees[..., 0].min() > 0 and knees[..., 0].max() < np.deg2rad(90)
        assert np.abs(knees[..., 1:]).max() < 1e-5  # a hinge


def test_no_joint_turns_faster_than_a_body_can(takes):
    limits = np.full(55, 0.45)  # radians a frame: 770 degrees a second
    limits[25:] = 0.7  # fingers
    for take in takes:
        turn = geodesic_distance(take.rotations[1:], take.rotations[:-1]).numpy()
        fast = turn.max(axis=0) > limits
        assert not fast.any(), [JOINT_NAMES[j] for j in np.flatnonzero(fast)]


def test_hands_do_not_wander_into_the_body(takes):
    overlap = []
    for take in takes:
        free = clearance(take.motion.poses.reshape(-1, 55, 3)[::5])
        overlap.append(np.minimum(free.trunk.min(axis=1), free.head.min(axis=1)))
    assert np.mean(np.concatenate(overlap) < -MAX_OVERLAP_M) < 0.002


# --- face and speakers ------------------------------------------------------


def test_jaw_and_mouth_follow_the_vowels(takes):
    for take in takes:
        phones = [phone for utterance in take.utterances for phone in utterance.phones]
        middle = np.array([(phone.start_s + phone.end_s) / 2 for phone in phones])
        seconds = np.arange(FRAMES) / FPS
        near = np.exp(-0.5 * ((seconds[:, None] - middle) / 0.06) ** 2).sum(axis=1)
        jaw = take.motion.poses[:, 3 * joint("jaw")]
        assert np.corrcoef(jaw, near)[0, 1] > 0.85
        stressed = np.array([phone.label.endswith("1") for phone in phones])
        opening = np.interp(middle, seconds, jaw)
        assert opening[stressed].mean() > 1.1 * opening[~stressed].mean()
        assert np.corrcoef(take.motion.expressions[:, 0], near)[0, 1] > 0.4


def test_eyes_blink_and_jump_together(takes):
    blinks = 0
    for take in takes:
        closed = take.motion.expressions[:, BLINK_COEFFICIENT] > 0.8
        blinks += int((np.diff(closed.astype(int)) == 1).sum())
        eyes = take.motion.poses.reshape(-1, 55, 3)[
            :, [joint("left_eye_smplhf"), joint("right_eye_smplhf")]
        ]
        assert np.array_equal(eyes[:, 0], eyes[:, 1])
        moved = np.linalg.norm(np.diff(eyes[:, 0], axis=0), axis=1) > 1e-6
        assert 0.02 < moved.mean() < 0.35  # still on a spot most of the time
    per_minute = blinks / (len(takes) * SECONDS / 60)
    assert 13 < per_minute < 40


def style_of(take: Made) -> np.ndarray:
    """A few plain statistics of a take."""
    words = [word for utterance in take.utterances for word in utterance.words]
    spoken = sum(word.end_s - word.start_s for word in words)
    poses = take.motion.poses.reshape(-1, 55, 3)
    wrists = take.positions[:, [joint("left_wrist"), joint("right_wrist")]]
    local = np.einsum("tji,tsj->tsi", take.chest, wrists - take.positions[:, None, joint("spine3")])
    turned = np.linalg.norm(np.diff(poses[:, joint("spine2")], axis=0), axis=1)
    return np.array(
        [
            len(words) / spoken,
            *np.median(local, axis=0).mean(axis=0)[1:],
            np.log(turned.mean()),
            np.log(take.speed[:, joint("pelvis")].mean()),
            poses[:, [joint(f"spine{k}") for k in (1, 2, 3)], 0].sum(axis=1).mean(),
        ]
    )


def test_speakers_can_be_told_apart(takes):
    assert len(SPEAKERS) >= 8
    assert len({speaker.number for speaker in SPEAKERS}) == len(SPEAKERS)
    assert any(s.right_handed < 0.5 for s in SPEAKERS)
    styles = np.stack([style_of(take) for take in takes])
    styles = (styles - styles.mean(axis=0)) / styles.std(axis=0)
    names = np.array([take.speaker.name for take in takes])
    right = 0
    for number, name in enumerate(names):
        others = np.arange(len(names)) != number
        centres = {n: styles[others & (names == n)].mean(axis=0) for n in set(names)}
        right += min(centres, key=lambda n: np.linalg.norm(centres[n] - styles[number])) == name
    assert right / len(names) > 0.6  # chance is an eighth
