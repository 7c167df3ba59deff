"""`gestray generate`: text and recordings into files, and what is refused."""

from __future__ import annotations

import io
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from gestray.artifacts import Artifact, Stage, StageResult, run_stage
from gestray.config import Config
from gestray.corpora.npz import read_arrays
from gestray.errors import UserError
from gestray.speech.words import Word, format_words
from gestray.store import Folder
from gestray.training.checkpoint import MODEL, model_bytes, save_config
from jobs.generator import _check_speech

KEYS = ("poses", "trans", "expressions", "betas", "gender", "model", "mocap_frame_rate")


@pytest.fixture(scope="module")
def store(generator_task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that holds an untrained semtalk generator."""
    folder = tmp_path_factory.mktemp("store")
    torch.manual_seed(0)
    model = generator_task("semtalk").build()

    def write(run):
        run.folder.write_bytes(model_bytes(model), MODEL)
        save_config(model.config, run.folder)
        return StageResult(1, 1)

    stage = Stage("generator.train", "generator", Config, write)
    artifact = run_stage(stage, Folder(str(folder)), "semtalk", Config(), {}).artifact
    assert isinstance(artifact, Artifact)
    return folder


def arrays(path: Path) -> dict[str, np.ndarray]:
    found = read_arrays(io.BytesIO(path.read_bytes()), str(path), KEYS)
    assert set(found) == set(KEYS)
    return found


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """Three seconds of noise as a wav file, and words for it."""
    samples = np.random.default_rng(0).normal(0, 0.1, 48_000)
    soundfile.write(tmp_path / "talk.wav", samples, 16_000)
    words = [Word("stop", 0.5, 0.9), Word("there", 1.0, 1.5)]
    (tmp_path / "talk.TextGrid").write_text(format_words(words, 3.0))
    return tmp_path / "talk.wav"


def test_text_becomes_a_file_that_reads_back(gestray, store, tmp_path):
    out = tmp_path / "idea.npz"
    options = ("--text", "I have no idea. Stop!", "--out", out, "--store", store, "--json")
    made = gestray("generate", *options)
    assert made.code == 0, made.err
    found = arrays(out)
    assert made.json["frames"] == len(found["poses"]) > 60 and made.json["words"] == 5
    assert found["poses"].shape[1] == 165 and found["expressions"].shape[1] == 100
    assert found["mocap_frame_rate"] == 30 and np.isfinite(found["poses"]).all()
    again = tmp_path / "again.npz"
    assert gestray("generate", *options[:2], "--out", again, "--store", store).code == 0
    assert np.array_equal(arrays(again)["poses"], found["poses"])
    other = tmp_path / "other.npz"
    assert (
        gestray("generate", *options[:2], "--out", other, "--store", store, "--seed", 1).code == 0
    )
    assert not np.array_equal(arrays(other)["poses"], found["poses"])
    assert not list(tmp_path.glob(".*"))  # nothing is left of the work


def test_a_recording_with_its_textgrid(gestray, store, talk):
    out = talk.with_suffix(".npz")
    words = talk.with_suffix(".TextGrid")
    made = gestray(
        "generate", "--audio", talk, "--textgrid", words, "--out", out, "--store", store, "--json"
    )
    assert made.code == 0, made.err
    assert made.json["frames"] == 90 and made.json["words"] == 2
    avatar = talk.with_suffix(".glb")
    assert gestray("generate", "--audio", talk, "--out", avatar, "--store", store).code == 0
    assert avatar.read_bytes()[:4] == b"glTF"


@pytest.mark.parametrize(
    ("sound", "seconds"),
    [
        ("silence", 2.0),
        ("music", 2.0),
        ("10 s of 8 kHz stereo", 10.0),
        ("a tenth of a second", 0.1),
    ],
)
def test_any_recording_gives_motion_as_long_as_it(gestray, store, tmp_path, sound, seconds):
    times = np.arange(round(seconds * 16_000)) / 16_000
    chord = sum(np.sin(2 * np.pi * hertz * times) for hertz in (220, 277, 330)) / 5
    samples, rate = {
        "silence": (np.zeros(len(times)), 16_000),
        "music": (chord * (1 + np.sign(np.sin(4 * np.pi * times))) / 2, 16_000),
        "10 s of 8 kHz stereo": (np.stack([chord[::2], chord[::2]], axis=1), 8_000),
        "a tenth of a second": (chord, 16_000),
    }[sound]
    soundfile.write(tmp_path / "sound.wav", samples, rate)
    out = tmp_path / "sound.npz"
    made = gestray(
        "generate", "--audio", tmp_path / "sound.wav", "--out", out, "--store", store, "--json"
    )
    assert made.code == 0, made.err
    assert made.json["seconds"] == pytest.approx(seconds, abs=1 / 29)
    assert "motion follows the rhythm of speech alone" in made.err
    assert np.isfinite(arrays(out)["poses"]).all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--text", ""), "found no word in Latin letters, expected something to say"),
        (("--text", "hello", "--speaker", "nobody"), "speaker 'nobody' is unknown.*known: "),
        (("--text", "hello", "--audio", "a.wav"), "expected either --text or --audio"),
        (("--text", "hello", "--transcript", "a.txt"), "go with --audio"),
        (("--audio", "missing.wav"), "missing.wav: found no such file"),
        ((), "expected either --text or --audio"),
    ],
)
def test_what_cannot_be_done_is_said(gestray, store, tmp_path, options, says):
    out = tmp_path / "x.npz"
    made = gestray("generate", *options, "--out", out, "--store", store)
    assert made.code == 1 and made.out == "" and not out.exists()
    assert re.search(says, " ".join(made.err.split()))


@pytest.mark.parametrize(
    ("name", "says"),
    [("x.avi", "found the ending '.avi', expected one of .npz"), ("no/x.npz", "found no folder")],
)
def test_where_nothing_can_be_written_is_said_first(gestray, store, tmp_path, name, says):
    made = gestray("generate", "--text", "hello", "--out", tmp_path / name, "--store", store)
    assert made.code == 1 and says in " ".join(made.err.split())


def test_words_of_another_recording_are_refused(gestray, store, talk):
    words = [Word("stop", 0.5, 0.9), Word("late", 2.9, 3.4), Word("other", 9.0, 9.5)]
    talk.with_suffix(".TextGrid").write_text(format_words(words, 10.0))
    options = ("--textgrid", talk.with_suffix(".TextGrid"), "--out", talk.with_suffix(".npz"))
    made = gestray("generate", "--audio", talk, *options, "--store", store)
    assert made.code == 1
    assert "the word 'other' begins at 9.00 s, but" in made.err and "ends at 3.00 s" in made.err
    # A word that begins just after the end is no fault: aligners round.
    words[2] = Word("other", 3.5, 4.0)
    talk.with_suffix(".TextGrid").write_text(format_words(words, 10.0))
    made = gestray("generate", "--audio", talk, *options, "--store", store, "--json")
    assert made.code == 0 and made.json["words"] == 2
    assert "1 words begin after the recording's end" in made.err


def test_a_transcript_of_another_recording_is_refused(gestray, store, talk):
    talk.with_suffix(".txt").write_text("none of this was ever said in that noise")
    options = ("--transcript", talk.with_suffix(".txt"), "--out", talk.with_suffix(".npz"))
    made = gestray("generate", "--audio", talk, *options, "--store", store)
    assert made.code == 1 and "is it English, and of this recording?" in made.err


def test_corpora_without_speech_are_refused_before_training():
    class Silent:
        uri = "store/takes/x"
        manifest = SimpleNamespace(rows_out=12, metrics={"without_audio": 12})

    with pytest.raises(UserError, match="12 of 12 takes have no audio"):
        _check_speech(Silent())  # type: ignore[arg-type]
