"""Words of a transcript lie where they are spoken, by the measure of another aligner."""

from __future__ import annotations

import json
import os
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gestray.errors import BadInput, UserError
from gestray.speech.audio import SAMPLE_RATE, read_audio
from gestray.speech.words import Word, format_words, parse_words, read_words

pytest.importorskip("pocketsphinx", reason="needs the extra `align`")
pytest.importorskip("num2words", reason="needs the extra `align`")
pytest.importorskip("rapidfuzz", reason="needs the extra `align`")

from gestray.speech.alignment import _anchors, _language_model, align
from jobs.speech import QUARANTINE, align_files


@pytest.fixture(scope="module")
def recordings(shared_dir: Path) -> list[tuple[bytes, list[Word]]]:
    """Audio, and its words by the Montreal Forced Aligner."""
    root = shared_dir / "data" / "beat2" / "beat_english_v2.0.0"
    return [
        (read_audio(root / f"wave16k/{id}.wav"), read_words(root / f"textgrid/{id}.TextGrid"))
        for id in ("2_scott_0_1_1", "2_scott_0_2_2")
    ]


def text_of(words: list[Word]) -> str:
    return " ".join(word.word for word in words)


def test_a_real_recording(recordings: list[tuple[bytes, list[Word]]]) -> None:
    """Prints the figures of docs/figures.md: `pytest -rP -k a_real_recording`."""
    for audio, reference in recordings:
        found = align(audio, text_of(reference), "t")
        assert [word.word for word in found.words] == [word.word for word in reference]
        errors = [abs(a.start_s - b.start_s) for a, b in zip(found.words, reference, strict=True)]
        median, p90, worst = np.quantile(errors, [0.5, 0.9, 1.0])
        print(f"{len(errors)} words: median {median:.3f} s, 90 % {p90:.3f} s, worst {worst:.3f} s")
        assert median <= 0.02 and p90 <= 0.06
        assert found.recognized > 0.8 and not found.approximated and not found.interpolated
        assert parse_words(format_words(found.words, len(audio) / 32_000).encode(), "f")


@pytest.mark.slow
@pytest.mark.parametrize(("minutes", "wrong"), [(5, 0.0), (10, 0.0), (10, 0.03)])
def test_a_long_recording_that_repeats_itself(
    recordings: list[tuple[bytes, list[Word]]], minutes: int, wrong: float
) -> None:
    """Every minute is heard again two minutes later, `wrong` of the words are transcribed wrongly.

    Prints the figures of docs/figures.md: `pytest -m slow -rP -k repeats_itself`.
    """
    audio = b"".join(recordings[turn % 2][0] for turn in range(minutes))
    rng = np.random.default_rng(minutes)
    vocabulary = [word.word for _, words in recordings for word in words]
    written: list[str] = []
    reference: list[float | None] = []  # start of the word, None where it is not said
    start_s = 0.0
    for turn in range(minutes):
        samples, words = recordings[turn % 2]
        for word in words:
            assert word.start_s is not None
            true = start_s + word.start_s
            edit = rng.choice(
                ["", "left out", "another", "one more"], p=[1 - wrong, *[wrong / 3] * 3]
            )
            if edit in ("another", "one more"):
                written.append(str(rng.choice(vocabulary)))
                reference.append(None)
            if edit in ("", "one more"):
                written.append(word.word)
                reference.append(true)
        start_s += len(samples) / (2 * SAMPLE_RATE)
    began = time.process_time()
    found = align(audio, " ".join(written), "t")
    took = time.process_time() - began
    assert [word.word for word in found.words] == written
    errors = [
        abs(word.start_s - true)
        for word, true in zip(found.words, reference, strict=True)
        if true is not None
    ]
    median, p90, p99, worst = np.quantile(errors, [0.5, 0.9, 0.99, 1.0])
    print(
        f"{start_s:.0f} s, {len(errors)} words, {wrong:.0%} wrong: recognized "
        f"{found.recognized:.0%}, median {median:.3f} s, 90 % {p90:.3f} s, 99 % {p99:.3f} s, "
        f"worst {worst:.3f} s, {took:.1f} s of CPU"
    )
    assert median <= 0.02 and p90 <= 0.06 and worst < 2


def test_errors_in_the_transcript_cost_only_their_surroundings(
    recordings: list[tuple[bytes, list[Word]]],
) -> None:
    """Of 15 s: a word left out, one that is not said, one that is no English, and a numeral."""
    audio, words = recordings[0]
    reference = [word for word in words if word.end_s < 15]
    audio = audio[: 15 * 2 * SAMPLE_RATE]
    written = [word.word for word in reference]
    written[5] = "Zorblax"
    written[12] = "你好"
    written[20] = "banana " + written[20]
    del written[30]
    found = align(audio, " ".join(written), "t")
    assert [word.word for word in found.words] == " ".join(written).split()
    assert found.approximated == ("Zorblax",) and "你好" in found.interpolated
    once = [word for word in reference if written.count(word.word) == 1]
    starts = {word.word: word.start_s for word in found.words}
    errors = [abs(starts[word.word] - word.start_s) for word in once]
    assert len(errors) > 10 and np.median(errors) <= 0.03
    grid = format_words(found.words, 15.0)
    again = parse_words(grid.encode(), "f")  # which is strict about order
    assert [word.word for word in again] == [word.word for word in found.words]


def test_the_transcript_of_another_recording_is_refused(
    recordings: list[tuple[bytes, list[Word]]],
) -> None:
    (audio, _), (_, words) = recordings
    with pytest.raises(BadInput, match="of this recording"):
        align(audio[: 20 * 2 * SAMPLE_RATE], text_of(words), "t.txt")


@pytest.mark.parametrize("text", ["", "你好 世界"])
@pytest.mark.parametrize("samples", [1, 16_000])
def test_silence_has_no_words(text: str, samples: int) -> None:
    with pytest.raises(BadInput, match=r"^t\.txt: transcript"):
        align(bytes(2 * samples), text, "t.txt")


def heard_at(words: str) -> list[tuple[str, float, float]]:
    return [(word, float(number), number + 1.0) for number, word in enumerate(words.split())]


@pytest.mark.parametrize(
    ("tokens", "heard", "anchors"),
    [
        ("a b c d", "a b c d", {0: 0, 1: 1, 2: 2, 3: 3}),
        ("a b c d e f", "x a b c y d e f", {0: 1, 1: 2, 2: 3, 3: 5, 4: 6, 5: 7}),
        ("a b c d e f", "a b c f", {0: 0, 1: 1, 2: 2}),  # one word by itself is no anchor
        ("a b", "x a b", {0: 1, 1: 2}),  # unless there are no more
        ("a b c", "d e f", {}),
        # Heard well the second time only, the passage still is there twice.
        (
            "a b c d e f g a b c d e f g",
            "a b c x e f x a b c d e f g",
            {token: token for token in (0, 1, 2, *range(7, 14))},
        ),
    ],
)
def test_anchors_are_words_in_their_place(tokens: str, heard: str, anchors: dict[int, int]) -> None:
    found = _anchors(tokens.split(), heard_at(heard))
    assert {token: int(start) for token, (_, start, _) in found.items()} == anchors


@given(length=st.integers(20, 40), repeats=st.integers(1, 12), seed=st.integers(0, 2**32 - 1))
def test_anchors_of_a_repeated_passage(length: int, repeats: int, seed: int) -> None:
    """A tenth of the words is misheard, left out or heard twice; the rest is found in its time."""
    passage = [f"w{number}" for number in range(length)]
    tokens = passage * repeats
    rng = np.random.default_rng(seed)
    edits = rng.choice(
        ["", "misheard", "left out", "twice"], len(tokens), p=[0.9, 0.04, 0.03, 0.03]
    )
    heard: list[tuple[str, float, float]] = []
    for number, (token, edit) in enumerate(zip(tokens, edits, strict=True)):
        word = str(rng.choice(passage)) if edit == "misheard" else token
        heard += [(word, number, number + 1)] * {"left out": 0, "twice": 2}.get(edit, 1)
    found = _anchors(tokens, heard)
    assert all(word == tokens[token] for token, (word, _, _) in found.items())
    times = [found[token][1] for token in sorted(found)]
    assert all(before <= after for before, after in pairwise(times))
    assert all(abs(start - token) <= 3 for token, (_, start, _) in found.items())
    # Words with nothing wrong about them within three words.
    planted = [
        token for token in range(3, len(tokens) - 3) if not any(edits[token - 3 : token + 4])
    ]
    assert all(found[token][1] == token for token in planted)


def test_language_model_sums_to_one() -> None:
    """What was seen after a context, and what it leaves to back off, are all there is."""
    model = _language_model(["a", "b", "a", "b", "c", "a", "b", "a"])
    unigrams, bigrams, trigrams = (
        [line.split() for line in part.splitlines() if len(line.split()) > 1]
        for part in model.split("grams:")[1:]
    )
    assert sum(10 ** float(row[0]) for row in unigrams) == pytest.approx(1, abs=1e-3)
    for context in ("a", "b"):
        left = next(10 ** float(row[2]) for row in unigrams if row[1] == context)
        seen = sum(10 ** float(row[0]) for row in bigrams if row[1] == context)
        assert seen + left == pytest.approx(1, abs=1e-3)
    left = next(10 ** float(row[3]) for row in bigrams if row[1:3] == ["a", "b"])
    seen = sum(10 ** float(row[0]) for row in trigrams if row[1:3] == ["a", "b"])
    assert seen + left == pytest.approx(1, abs=1e-3)


def test_a_folder_is_resumed_and_damage_set_aside(
    recordings: list[tuple[bytes, list[Word]]], tmp_path: Path
) -> None:
    import soundfile

    audio, words = recordings[0]
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    heard = np.frombuffer(audio, "<i2")[: 8 * SAMPLE_RATE]
    soundfile.write(source / "whole.flac", heard, SAMPLE_RATE)
    (source / "whole.txt").write_text(text_of([word for word in words if word.end_s < 8]))
    (source / "broken.wav").write_bytes(b"RIFF")
    (source / "broken.txt").write_text("hello")
    (source / "lonely.txt").write_text("hello")
    first = align_files(source, source, out, workers=2)
    assert (first.rows_in, first.rows_out, first.rows_quarantined, first.unpaired) == (2, 1, 1, 1)
    (record,) = map(json.loads, (out / QUARANTINE).read_text().splitlines())
    assert record["out"].endswith("broken.TextGrid") and "broken.wav: " in record["reason"]
    grid = out / "whole.TextGrid"
    assert [path.name for path in sorted(out.iterdir())] == [QUARANTINE, grid.name]
    assert read_words(grid)[0].start_s == pytest.approx(words[0].start_s, abs=0.05)
    made = grid.stat().st_mtime_ns
    again = align_files(source, source, out, workers=1)
    assert (again.up_to_date, again.rows_out) == (1, 1) and grid.stat().st_mtime_ns == made
    os.utime(source / "whole.txt", ns=(made + 1, made + 1))
    assert align_files(source, source, out, workers=1).up_to_date == 0
    with pytest.raises(UserError, match=r"broken\.wav"):
        align_files(source / "broken.wav", source / "broken.txt", tmp_path / "x.TextGrid", 1)
    with pytest.raises(UserError, match="a file and a folder"):
        align_files(source, source / "broken.txt", out, 1)
