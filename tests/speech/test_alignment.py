"""Words of a transcript lie where they are spoken, by the measure of another aligner."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from gestray.errors import BadInput, UserError
from gestray.speech.audio import SAMPLE_RATE, read_audio
from gestray.speech.words import Word, format_words, parse_words, read_words

pytest.importorskip("pocketsphinx", reason="needs the extra `align`")
pytest.importorskip("num2words", reason="needs the extra `align`")

from gestray.speech.alignment import _language_model, align
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
