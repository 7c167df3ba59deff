"""Words frame by frame, and windows of speech that belong to their motion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gestray.encoders.towers.text import TextEncoder
from gestray.errors import UserError
from gestray.generators.config import ChunkConfig, preset
from gestray.generators.contract import Speech
from gestray.generators.model import CodeGenerator
from gestray.generators.voice import speak
from gestray.generators.windows import meaning_of
from gestray.generators.words import (
    WordVectors,
    frames_of_words,
    most_said,
    spoken_form,
    word_rows,
)
from gestray.speech.words import Word
from gestray.store import Folder
from gestray.tokenizers.config import preset as tokenizer_preset
from gestray.training.checkpoint import MODEL, save_config, save_model
from gestray.views.catalog import read_catalog, read_columns
from gestray.views.frames import stack_frames


def test_words_lie_in_the_frames_in_which_they_are_spoken():
    words = [Word("one", 0.0, 0.1), Word("two", 0.2, 0.3), Word("three", 0.3, 0.301)]
    about = frames_of_words(words, 0, 12)
    assert about[:, 0].tolist() == [0, 0, 0, -1, -1, -1, 1, 1, 1, 2, -1, -1]
    assert about[:, 2].tolist() == [1, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0]
    assert np.allclose(about[:3, 1], [1 / 3, 2 / 3, 1], atol=1e-3)
    assert np.array_equal(frames_of_words(words, 5, 8), about[5:8])


@st.composite
def spoken(draw: st.DrawFn) -> list[Word]:
    """Words in order, of any length, some with nothing between them and some that overlap."""
    words, at = [], 0.0
    for number in range(draw(st.integers(0, 8))):
        start = max(0.0, at + draw(st.sampled_from([0.0, 0.0, 0.1, -0.2, 0.7])))
        at = start + draw(st.sampled_from([0.0, 0.001, 1 / 30, 0.05, 0.5]) | st.floats(0, 1))
        words.append(Word(f"w{number}", start, at))
    return words


@given(spoken(), st.integers(0, 40), st.integers(1, 120))
def test_frames_of_words_are_those_of_one_word_after_the_other(words, first, frames):
    expected = np.zeros((frames, 3), np.float32)
    expected[:, 0] = -1
    for number, word in enumerate(words):
        start, end = word.start_s * 30, word.end_s * 30
        for frame in range(int(start), max(int(start) + 1, round(end))):
            if first <= frame < first + frames:
                over = (frame + 1 - start) / max(end - start, 1e-3)
                expected[frame - first] = number, min(max(over, 0), 1), frame == int(start)
    assert np.array_equal(frames_of_words(words, first, first + frames), expected)


def test_a_word_that_begins_later_is_unknown():
    assert (frames_of_words([Word("later", 1.0, 2.0)], 0, 30)[:, 0] == -1).all()


def test_rows_of_a_vocabulary_give_back_the_words():
    about = np.array([[-1, 0, 0, 2], [5, -1, 5, 6]], np.float32)
    spoken = [{0: "so", 2: "it"}, {5: "it", 6: "goes"}]
    rows, vocabulary = word_rows(about, spoken)
    named = [[None if r == 0 else vocabulary[r - 1] for r in row] for row in rows.tolist()]
    assert named == [[None, "so", "so", "it"], ["it", None, "it", "goes"]]
    assert word_rows(np.full((1, 3), -1.0), [{}])[0].tolist() == [[0, 0, 0]]


def test_case_and_punctuation_do_not_make_another_word():
    assert [spoken_form(w) for w in ("Stop!", "“don't”", "well,", "…")] == [
        "stop",
        "don't",
        "well",
        "",
    ]


def test_the_words_said_most_often_are_kept(monkeypatch):
    monkeypatch.setattr("gestray.generators.words.VOCABULARY", 3)
    assert most_said(["So", "it", "goes.", "so,", "…", "…", "it", "so", "big"]) == (
        ("so", "it", "big"),
        ("goes",),
    )


@pytest.fixture(scope="module")
def with_vocabulary(generator_task, tmp_path_factory):
    """A generator that keeps three words, as it is read from its artifact; and one that keeps none,
    of the same weights."""
    from dataclasses import replace

    task = generator_task("semtalk")
    torch.manual_seed(0)
    plain = task.build()
    kept = ("stop", "so", "it")
    trained = task.trained.model_copy(update={"vocabulary": kept})
    model = replace(task, trained=trained).build()
    model.load_state_dict(plain.state_dict(), strict=False)
    folder = Path(tmp_path_factory.mktemp("kept"))
    save_model(folder / MODEL, model)
    save_config(trained, Folder(str(folder)))
    return CodeGenerator.from_folder(Folder(str(folder))), plain.eval()


def test_words_that_are_kept_are_not_looked_up_and_move_alike(with_vocabulary, monkeypatch):
    model, plain = with_vocabulary
    words = [
        Word(word, 0.3 * n, 0.3 * n + 0.25) for n, word in enumerate(("So", "it", "goes", "so"))
    ]
    speech = Speech(np.random.default_rng(0).normal(0, 0.1, 32_000).astype("f4"), tuple(words))
    expected = plain.generate(speech)
    looked_up = []
    encode = TextEncoder.forward

    def forward(encoder, texts, device):
        looked_up.extend(texts)
        return encode(encoder, texts, device)

    monkeypatch.setattr(TextEncoder, "forward", forward)
    moved = model.generate(speech)
    assert set(looked_up) == {"goes"}
    # Kept words were looked up together, which shows in the last bits.
    np.testing.assert_allclose(moved.poses, expected.poses, atol=1e-4)
    # In whatever order, known and unknown, or none at all.
    for asked in (["it", "goes", "stop"], ["goes"], ["so"], []):
        found, single = model.word_vectors(asked), plain.word_vectors(asked)
        torch.testing.assert_close(found, single, rtol=0, atol=5e-5)
        unknown = [word == "goes" for word in asked]
        assert torch.equal(found[unknown], single[unknown])


def test_words_learnt_for_training_are_not_looked_up_and_no_part_of_the_model(
    with_vocabulary, monkeypatch
):
    model, plain = with_vocabulary
    single, state = plain.word_vectors(["goes", "so"]), set(model.state_dict())
    model.learn_words(["goes"])
    assert {len(part.learnt) for part in model.modules() if isinstance(part, WordVectors)} == {4}
    monkeypatch.setattr(TextEncoder, "forward", lambda *_: pytest.fail("looked up"))
    torch.testing.assert_close(model.word_vectors(["goes", "so"]), single, rtol=0, atol=5e-5)
    assert set(model.state_dict()) == state


def test_beats_mean_nothing_and_takes_without_labels_are_unknown():
    labels = [
        {"label": "01_beat_align", "start_s": 0.0, "end_s": 0.1, "score": 0.1},
        {"label": "05_iconic_l", "start_s": 0.1, "end_s": 0.2, "score": 0.7},
        {"label": "shrug", "start_s": 0.2, "end_s": 0.3, "score": None},
    ]
    import pyarrow as pa

    found = meaning_of(pa.table({"semantics": [labels]}), 12)
    assert np.allclose(found[[0, 3, 6, 9]], [[0.1, 0], [0.7, 1], [1, 1], [0, 0]])
    assert (meaning_of(pa.table({"semantics": pa.nulls(1)}), 3) == -1).all()


def test_windows_hold_the_speech_of_their_own_frames(generator_task, speech_takes):
    """A window's features, words and labels are those of the take at its place."""
    task = generator_task("semges")
    view = task.view()
    ref = next(ref for ref in read_catalog(speech_takes) if view.count(ref))
    take = read_columns(speech_takes, ref, view.columns)
    rows = view.cut(ref, take, range(view.count(ref)))
    frames = task.config.windows().frames
    starts = view._windows.starts(ref, np.arange(view.count(ref)))
    from gestray.generators.windows import features_of_take

    whole = features_of_take(ref, take, view.speech)
    speech = stack_frames(rows["speech"], frames)
    words = [word["word"] for word in ref.words]
    for number, start in enumerate(starts):
        assert np.array_equal(speech[number], whole[start : start + frames])
        heard = {
            spoken_form(word["word"])
            for word in ref.words
            if word["start_s"] * 30 < start + frames - 1 and word["end_s"] * 30 > start + 1
        }
        assert heard <= {word for _, word in rows["spoken"][number].as_py()}
        assert all(words[n].casefold().startswith(w[:2]) for n, w in rows["spoken"][number].as_py())


def test_text_is_spoken_with_its_words_in_time():
    speech = speak("Stop! I have no idea.\nCafé number 7")
    assert [w.word for w in speech.words] == [
        "Stop",
        "I",
        "have",
        "no",
        "idea",
        "Cafe",
        "number",
        "7",
    ]
    times = [(word.start_s, word.end_s) for word in speech.words]
    assert all(0.4 < start < end for start, end in times) and times == sorted(times)
    assert times[-1][1] < len(speech.samples) / 16_000
    loud = np.abs(speech.samples[int(times[0][0] * 16_000) : int(times[0][1] * 16_000)]).max()
    assert loud > 0.1 and np.abs(speech.samples[:4000]).max() == 0


@pytest.mark.parametrize("text", ["", " \n", "…", "你好"])
def test_text_without_words_is_refused(text):
    with pytest.raises(UserError, match="found no word in Latin letters"):
        speak(text)


def test_hops_that_are_no_whole_tokens_are_refused_with_the_nearest_that_are():
    assert ChunkConfig().tokens(4) == (8, 4, 3)
    with pytest.raises(UserError, match=r"chunk.hop_s 0.5 is 15 frames.*hop_s=0.5333"):
        ChunkConfig(hop_s=0.5).tokens(4)
    with pytest.raises(UserError, match=r"chunk.hop_s 0.03 is 1 frames.*hop_s=0.1333"):
        ChunkConfig(hop_s=0.03).tokens(4)


@pytest.mark.parametrize("name", ["semges", "semtalk"])
@pytest.mark.parametrize("size", ["small", "paper"])
def test_windows_of_every_preset_are_whole_tokens(name, size):
    training = preset(name, size)
    of_codes = tokenizer_preset(name, size).model.frames_per_token
    assert sum(training.model.chunk.tokens(of_codes)) * of_codes == training.windows().frames
