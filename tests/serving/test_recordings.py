"""What a browser gets of a recording: the words in time, and figures that face the reader."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from gestray.motion.skeleton import JOINT_NAMES, joint
from gestray.views.catalog import read_catalog
from gestray.views.phrases import PhraseConfig, phrases_of
from serving.recordings import Recordings, pack, skeleton


def unpack(packed: bytes) -> tuple[np.ndarray, float]:
    frames, joints, fps = struct.unpack_from("<IIf", packed)
    return np.frombuffer(packed, "<i2", offset=12).reshape(frames, joints, 3) / 1000, fps


def test_millimetres_are_kept():
    positions = np.random.default_rng(0).normal(size=(7, 55, 3)).astype(np.float32)

    found, fps = unpack(pack(positions, 30.0))

    assert fps == 30.0
    assert np.abs(found - positions).max() <= 0.0005 + 1e-6


def test_a_phrase_comes_with_its_words_and_faces_the_reader(takes):
    recordings = Recordings(takes)
    for ref in read_catalog(takes)[:3]:
        for phrase in phrases_of(ref, PhraseConfig()):
            span = (ref.take_id, phrase.start_s, phrase.end_s)
            words = recordings.words(*span)
            assert [word["word"] for word in words] == [word["word"] for word in phrase.words]
            assert words[0]["start_s"] == pytest.approx(phrase.words[0]["start_s"] - phrase.start_s)
            found, _ = unpack(recordings.motion(*span))
            assert len(found) == phrase.last - phrase.first
            across = found[:, joint("left_shoulder")] - found[:, joint("right_shoulder")]
            x, _, z = across.mean(axis=0)
            assert x > 0.2 and abs(z) < 0.01  # the speaker's left is on the reader's right
            above = found[:, joint("head")] - found[:, joint("pelvis")]
            assert above[:, 1].min() > 0.3


def test_the_unknown_has_neither_words_nor_motion(takes):
    recordings = Recordings(takes)
    assert recordings.words("absent", 0, 1) == []
    assert recordings.motion("absent", 0, 1) is None


def test_all_joints_but_those_of_the_face_hang_together():
    bones = skeleton()["bones"]
    ends = {to for _, to, _ in bones}
    face = {"jaw", "left_eye_smplhf", "right_eye_smplhf"}
    assert {JOINT_NAMES[j] for j in ends} == {*JOINT_NAMES} - face - {"pelvis"}
    parts = {JOINT_NAMES[to]: part for _, to, part in bones}
    assert parts["left_thumb3"] == "left hand" and parts["right_wrist"] == "right arm"
    assert parts["right_knee"] == "legs" and parts["head"] == "trunk"


def test_the_sound_of_a_phrase_is_what_was_recorded_then(takes, tmp_path):
    import dataclasses
    import io
    import wave

    from gestray.corpora.shards import ShardWriter
    from gestray.corpora.take import TAKE_SCHEMA, Take
    from gestray.store import Folder
    from gestray.views.catalog import read_columns

    ref = read_catalog(takes)[0]
    samples = np.arange(16_000 * 20, dtype="<i2")
    take = Take.from_row(read_columns(takes, ref, TAKE_SCHEMA.names))
    folder = Folder(str(tmp_path))
    with folder.open_output("shards/00000.parquet") as stream, ShardWriter(stream) as writer:
        writer.write(dataclasses.replace(take, audio=samples.tobytes()))

    recordings = Recordings(folder)
    with wave.open(io.BytesIO(recordings.wav(ref.take_id, 1.5, 2.25))) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (16_000, 1, 2)
        found = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
    assert np.array_equal(found, samples[24_000:36_000])
    assert recordings.has_audio(ref.take_id) and not Recordings(takes).has_audio(ref.take_id)
    assert Recordings(takes).wav(ref.take_id, 0, 1) is None


def test_turns_put_the_joints_where_places_say(takes):
    """A second way to the same figure: the avatar's nodes, and the joints as they are sent."""
    from gestray.motion.skeleton import PARENTS, REST_OFFSETS

    recordings = Recordings(takes)
    ref = read_catalog(takes)[0]
    places, _ = unpack(recordings.motion(ref.take_id, 1.0, 3.0))
    packed = recordings.turns(ref.take_id, 1.0, 3.0)
    frames, joints, fps = struct.unpack_from("<IIf", packed)
    quaternions = np.frombuffer(packed, "<i2", offset=12).reshape(frames, joints, 4) / 32767
    assert (frames, joints, fps) == (60, 55, 30)
    assert np.abs(np.linalg.norm(quaternions, axis=-1) - 1).max() < 1e-4
    turned = (
        Rotation.from_quat(quaternions.reshape(-1, 4)).as_matrix().reshape(frames, joints, 3, 3)
    )
    world, found = turned.copy(), np.zeros((frames, joints, 3))
    for j in range(1, joints):
        parent = PARENTS[j]
        world[:, j] = world[:, parent] @ turned[:, j]
        found[:, j] = found[:, parent] + world[:, parent] @ REST_OFFSETS[j]
    assert np.abs(found - places).max() < 0.002
