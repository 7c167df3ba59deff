"""Generation: texts and recordings in, motions out, as joints, sound and files."""

from __future__ import annotations

import asyncio
import io
import json
import struct
from http import HTTPStatus

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient

from gestray.generators.contract import Gesturing, Speech
from gestray.generators.voice import speak
from gestray.speech.audio import SAMPLE_RATE
from gestray.speech.words import Word, format_words
from serving.library import Mover
from serving.listening import rounded
from serving.moving import Moving
from serving.problems import Problem
from serving.recordings import pack_places
from serving.shelf import Shelf
from serving.telemetry import Telemetry
from tests.serving.conftest import run
from tests.serving.test_api import problem
from tests.serving.test_recordings import unpack

_RNG = np.random.default_rng(0)


def sound(seconds: float, kind: str = "WAV", rate: int = SAMPLE_RATE) -> bytes:
    file = io.BytesIO()
    samples = _RNG.normal(0, 0.1, round(seconds * rate)).clip(-1, 1)
    soundfile.write(file, samples, rate, format=kind)
    return file.getvalue()


def silence(seconds: float) -> bytes:
    """A FLAC of silence: kilobytes for hours."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros(round(seconds * 8000)), 8000, format="FLAC")
    return file.getvalue()


def test_a_text_is_spoken_and_moved_for(client: TestClient, mover: Mover) -> None:
    asked = {"text": "I have no idea. Stop!", "seed": 3}
    made = client.post("/v1/generate", json=asked).json()
    speech, _ = rounded(speak(asked["text"]))
    moved = mover.generator.generate(speech, seed=3)
    assert [word["word"] for word in made["words"]] == [word.word for word in speech.words]
    assert made["frames"] == len(moved) and made["seconds"] == pytest.approx(len(moved) / 30)
    assert made["source"] == mover.source and made["model"] == "semtalk"
    assert len(made["meaning"]) == len(moved)

    at = f"/v1/motions/{made['id']}"
    assert client.get(at).json() == made
    joints, fps = unpack(client.get(f"{at}/motion").content)
    assert fps == 30 and np.abs(joints - unpack(pack_places(moved.poses, 30))[0]).max() < 2e-3
    assert client.get(f"{at}/turns").content[:8] == struct.pack("<II", len(moved), 55)
    with soundfile.SoundFile(io.BytesIO(client.get(f"{at}/audio").content)) as wav:
        assert (wav.samplerate, wav.frames) == (SAMPLE_RATE, len(speech.samples))
    with np.load(io.BytesIO(client.get(f"{at}.npz").content), allow_pickle=False) as arrays:
        assert np.abs(arrays["poses"] - moved.poses).max() < 1e-3


@pytest.mark.parametrize(
    ("kind", "begins"), [("bvh", b"HIERARCHY"), ("glb", b"glTF"), ("vrma", b"glTF")]
)
def test_motions_and_clips_come_as_files(client: TestClient, model, kind, begins) -> None:
    made = client.post("/v1/generate", files={"audio": sound(0.6)}).json()
    phrase = model.gestures.rows["phrase_id"][2].as_py()
    for at in (f"/v1/motions/{made['id']}.{kind}", f"/v1/clips/{phrase}/export.{kind}"):
        answer = client.get(at)
        assert answer.content.startswith(begins)
        assert f'.{kind}"' in answer.headers["content-disposition"]


def test_a_short_motion_is_filmed_and_a_long_one_is_not(client: TestClient) -> None:
    short = client.post("/v1/generate", files={"audio": sound(0.4)}).json()
    assert client.get(f"/v1/motions/{short['id']}.mp4").content[4:8] == b"ftyp"
    long = client.post("/v1/generate", files={"audio": sound(2.5)}).json()
    assert "at most 2" in problem(client.get(f"/v1/motions/{long['id']}.mp4"), 422)


def test_a_recording_comes_with_words_or_what_is_said_or_alone(client: TestClient) -> None:
    words = [Word("no", 0.2, 0.5), Word("idea", 0.6, 1.1)]
    grid = format_words(words, 1.5).encode()
    said = "the old man walked down the long road to the village"
    listed = json.dumps([{"word": "no", "start": 0.2, "end": 0.5}]).encode()
    speech = speak(said)
    file = io.BytesIO()
    soundfile.write(file, speech.samples, SAMPLE_RATE, format="FLAC")
    given = [
        ({"audio": sound(1.5), "words": grid}, {}, ["no", "idea"]),
        ({"audio": sound(1.5, "OGG", 44_100), "words": listed}, {"seed": "4"}, ["no"]),
        ({"audio": file.getvalue()}, {"transcript": said}, said.split()),
        ({"audio": sound(1.5, "MP3", 48_000)}, {"temperature": "0"}, []),
    ]
    for files, fields, expected in given:
        answer = client.post("/v1/generate", files=files, data=fields)
        assert answer.status_code == 200, answer.text
        made = answer.json()
        assert [word["word"] for word in made["words"]] == expected
        assert (made["remark"] is None) == bool(expected)
        assert made["seed"] == int(fields.get("seed", 0)) and made["text"] is None


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"text": ""}, 422, "text"),
        ({"text": "…"}, 422, "word"),
        ({"text": "x" * 2001}, 422, "at most 2000"),
        ({"text": "one two three " * 20}, 422, "at most 6 s"),
        ({"text": "hi", "seed": -1}, 422, "seed"),
        ({"text": "hi", "temperature": 11}, 422, "temperature"),
        ({"text": "hi", "speaker": "nobody"}, 422, "known:"),
        ({"text": "hi", "model": "other"}, 404, "semtalk"),
        ({"text": "hi", "voice": "en"}, 422, "voice"),
        ({"text": 'a <mark name="gesture:shrug"/> b'}, 422, "mark"),
    ],
)
def test_a_text_that_cannot_be_moved_for_is_told_why(client, body, status, says) -> None:
    assert says in problem(client.post("/v1/generate", json=body), status)


@pytest.mark.parametrize(
    ("files", "fields", "says"),
    [
        ({"words": b"[]"}, {}, "audio"),
        ({"audio": b"no sound"}, {}, "expected"),
        ({"audio": sound(0.01)}, {}, "at least"),
        ({"audio": sound(6.5)[:190_000]}, {}, "size"),
        ({"audio": silence(3600)}, {}, "at most 6 s"),
        ({"audio": sound(1), "words": b"{"}, {}, "words"),
        ({"audio": sound(1), "words": b'[{"word": "a", "start": 9, "end": 10}]'}, {}, "ends at"),
        ({"audio": sound(1), "words": b'[{"word": "a"}]'}, {}, "without times"),
        ({"audio": sound(1)}, {"transcript": "…"}, "no words"),
        ({"audio": sound(1)}, {"seed": "x"}, "seed"),
        ({"audio": sound(1)}, {"path": "/etc/passwd"}, "path"),
    ],
)
def test_an_upload_that_is_none_is_told_why(client, files, fields, says) -> None:
    assert says in problem(client.post("/v1/generate", files=files, data=fields), 422)


def test_other_bodies_are_refused(client: TestClient) -> None:
    xml = {"content-type": "application/xml"}
    problem(client.post("/v1/generate", content=b"<a/>", headers=xml), 415)
    torn = {"content-type": "multipart/form-data; boundary=x"}
    problem(client.post("/v1/generate", content=b"--x\r\nno", headers=torn), 422)
    many = {f"file{n}": b"x" for n in range(9)}
    problem(client.post("/v1/generate", files=many), 400)
    plain = {"content-type": "application/json"}
    problem(client.post("/v1/generate", content=b"{", headers=plain), 400)


@pytest.mark.parametrize(
    "motion", ["0" * 32, "../keys", "%2e%2e%2f", "0" * 31, "G" * 32, "0" * 32 + ".npz.npz"]
)
def test_a_motion_that_is_not_kept_is_not_found(client: TestClient, motion: str) -> None:
    for end in ("", ".npz", ".exe", "/motion", "/audio"):
        assert client.get(f"/v1/motions/{motion}{end}").status_code in (404, 422)


def test_models_list_generators_too(client: TestClient, mover: Mover) -> None:
    retrieval, generation = client.get("/v1/models").json()
    assert (retrieval["kind"], generation["kind"]) == ("retrieval", "generation")
    assert generation["speakers"] == mover.speakers and generation["default"]
    assert generation["gestures"] is None and retrieval["gestures"] > 0


def speech(seconds: float) -> Speech:
    return Speech(_RNG.normal(0, 0.1, round(seconds * SAMPLE_RATE)).astype("f4"))


def test_speeches_that_wait_are_moved_for_together_and_alike(mover: Mover) -> None:
    moving, hops = Moving(4, 8, Telemetry()), []
    compute = moving.compute

    async def counted(work):
        hops.append(1)
        return await compute(work)

    moving.compute = counted
    speeches = [speech(1.0 + 0.1 * n) for n in range(4)]

    async def together() -> list[Gesturing]:
        asked = (moving.generate(mover, x, None, n, 1.0) for n, x in enumerate(speeches))
        return await asyncio.gather(*asked)

    found = run(together())
    for number, (motion, x) in enumerate(zip(found, speeches, strict=True)):
        alone = mover.generator.generate(x, seed=number)
        assert len(motion) == len(alone)
        assert np.abs(motion.poses - alone.poses).max() < 1e-3
    assert len(hops) <= 5  # as many as the longest alone takes


def test_what_nobody_waits_for_is_not_computed(mover: Mover) -> None:
    moving, hops = Moving(1, 8, Telemetry()), []
    compute = moving.compute

    async def counted(work):
        hops.append(1)
        return await compute(work)

    moving.compute = counted

    async def leaves() -> None:
        long = asyncio.create_task(moving.generate(mover, speech(60), None, 0, 1.0))
        waits = asyncio.create_task(moving.generate(mover, speech(60), None, 0, 1.0))
        while len(hops) < 3:
            await asyncio.sleep(0.01)
        assert len(moving.waiting) == 1
        long.cancel(), waits.cancel()
        await asyncio.wait([long, waits])
        before = len(hops)
        await moving.generate(mover, speech(0.5), None, 0, 1.0)
        assert len(hops) - before <= 6 and not moving.waiting

    run(leaves())


def test_beyond_its_queue_it_says_when_to_ask_again(mover: Mover) -> None:
    async def crowd() -> list:
        moving = Moving(1, 2, Telemetry())
        asked = (moving.generate(mover, speech(0.5), None, n, 1.0) for n in range(8))
        return await asyncio.gather(*asked, return_exceptions=True)

    found = run(crowd())
    refused = [x for x in found if isinstance(x, Problem)]
    assert 1 <= len(refused) <= 6
    assert {x.status_code for x in refused} == {HTTPStatus.TOO_MANY_REQUESTS}
    assert all(int(x.headers["retry-after"]) >= 1 for x in refused)
    assert sum(isinstance(x, Gesturing) for x in found) == 8 - len(refused)


def test_a_shelf_holds_what_was_asked_for_last_and_no_more() -> None:
    clock = [0.0]
    shelf = Shelf(10, kept_s=5, now=lambda: clock[0])
    for key in "abc":
        shelf.put(key, key, 4)
    assert [shelf.get(key) for key in "abc"] == [None, "b", "c"] and shelf.bytes == 8
    shelf.get("b")
    shelf.put("d", "d", 4)
    assert [shelf.get(key) for key in "bcd"] == ["b", None, "d"]
    assert not shelf.put("e", "e", 11) and len(shelf) == 2
    clock[0] = 4.0
    shelf.get("d")
    clock[0] = 6.0
    assert shelf.get("b") is None and shelf.get("d") == "d"
    clock[0] = 12.0
    assert len(shelf) == 0 and shelf.bytes == 0
    shelf.put("f", 1, 3)
    shelf.put("f", 2, 5)
    assert shelf.get("f") == 2 and shelf.bytes == 5


def test_packed_joints_have_a_header(client: TestClient) -> None:
    made = client.post("/v1/generate", files={"audio": sound(0.5)}).json()
    packed = client.get(f"/v1/motions/{made['id']}/motion").content
    frames, joints, fps = struct.unpack_from("<IIf", packed)
    assert (frames, joints, fps) == (made["frames"], 55, 30)
