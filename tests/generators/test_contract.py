"""What every generator promises: streams equal recordings, seeds decide, nothing grows."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import psutil
import pytest
import torch

from gestray.errors import UserError
from gestray.generators.contract import Gesturing, Speech
from gestray.generators.graphs import Graphs
from gestray.generators.joins import Joins
from gestray.generators.model import CodeGenerator
from gestray.generators.network import Answer
from gestray.generators.session import MotionDecoder, Session
from gestray.speech.audio import SAMPLE_RATE
from gestray.speech.features import frames_in
from gestray.speech.words import Word, words_of_text
from gestray.tokenizers.config import TokenizerConfig
from gestray.tokenizers.model import MotionTokenizer, as_motion


def speech(seconds: float, seed: int = 0) -> Speech:
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 0.1, round(seconds * SAMPLE_RATE)).astype("f4")
    names = ("stop", "it", "was", "so", "big", "hello", "there")
    starts = np.arange(0.3, seconds - 0.4, 0.4)
    words = [Word(names[n % 7], float(s), float(s) + 0.3) for n, s in enumerate(starts)]
    return Speech(samples, tuple(words))


def in_pieces(whole: Speech, sizes: Iterator[int]) -> Iterator[Speech]:
    """The speech in pieces, each with the words that begin in it."""
    first, given = 0, 0
    while first < len(whole.samples):
        last = min(len(whole.samples), first + next(sizes))
        known = sum(word.start_s * SAMPLE_RATE < last for word in whole.words)
        yield Speech(whole.samples[first:last], whole.words[given:known])
        first, given = last, known


def same(a: Gesturing, b: Gesturing) -> bool:
    pairs = zip(
        (a.poses, a.trans, a.expressions, a.meaning),
        (b.poses, b.trans, b.expressions, b.meaning),
        strict=True,
    )
    return all(
        (x is None and y is None) or (x is not None and y is not None and np.array_equal(x, y))
        for x, y in pairs
    )


@pytest.mark.parametrize("seconds", [0.05, 0.9, 3.0, 5.21])
def test_a_stream_in_pieces_of_any_size_is_the_recording_to_the_bit(generator, seconds):
    whole = speech(seconds)
    rng = np.random.default_rng(1)
    sizes = iter(lambda: int(rng.integers(1, 7000)), None)
    known = generator.generate(whole, seed=3)
    assert len(known) == frames_in(len(whole.samples))
    parts = list(generator.stream(in_pieces(whole, sizes), seed=3))
    assert same(Gesturing.joined(parts), known)


def test_a_second_of_speech_is_enough_for_the_first_motion(generator):
    heard = []

    def pieces() -> Iterator[Speech]:
        for piece in in_pieces(speech(4.0), iter(lambda: 1600, None)):
            heard.append(len(piece.samples))
            yield piece

    first = next(generator.stream(pieces()))
    assert sum(heard) <= SAMPLE_RATE and len(first) >= 8


def test_motion_does_not_depend_on_what_comes_later(generator):
    """Beyond the stated look-ahead: the same beginning, another end."""
    one, other = speech(4.0), speech(4.0, seed=9)
    cut = 2 * SAMPLE_RATE
    mixed = Speech(
        np.concatenate([one.samples[:cut], other.samples[cut:]]),
        tuple(word for word in one.words if word.start_s < 2),
    )
    chunk = generator.config.generator.chunk
    sure = int((2 - chunk.hop_s - chunk.ahead_s) * 30) - 4
    a, b = generator.generate(one, seed=1), generator.generate(mixed, seed=1)
    assert np.array_equal(a.poses[:sure], b.poses[:sure])
    assert not np.array_equal(a.poses, b.poses)


def test_seeds_and_temperature_decide(generator):
    whole = speech(4.0)
    first = generator.generate(whole, seed=5)
    assert same(first, generator.generate(whole, seed=5))
    assert not np.array_equal(first.poses, generator.generate(whole, seed=6).poses)
    likeliest = [generator.generate(whole, seed=seed, temperature=0) for seed in (5, 6)]
    assert np.array_equal(likeliest[0].poses, likeliest[1].poses)


def test_legs_are_drawn_with_less_noise(generator):
    """In one hop of many streams; the other parts with all of it."""
    session = Session(generator, [0] * 64, range(64), temperature=0.5)
    spread_P = session._draw().rest.std(dim=(0, 1, 3))
    whole = 0.5 * generator.config.generator.noise
    for part, spread in zip(generator.config.tokenizer.parts, spread_P.tolist(), strict=True):
        assert spread == pytest.approx((0.3 if part == "lower" else 1) * whole, rel=0.05)


def test_many_at_once_are_as_one_by_one(generator):
    speeches = [speech(2.5, 1), speech(1.2, 2)]
    speakers = [generator.config.speakers[0], None]
    many = generator.generate_many(speeches, speakers, [1, 2])
    for got, one, who, seed in zip(many, speeches, speakers, (1, 2), strict=True):
        alone = generator.generate(one, who, seed)
        assert got.poses.shape == alone.poses.shape
        # In a batch the last bits may differ, and with them, rarely, a code.
        assert (np.abs(got.poses - alone.poses).max(axis=1) < 1e-3).mean() > 0.9


def test_speakers_move_in_their_own_manner_and_strangers_are_refused(generator):
    whole = speech(3.0)
    names = generator.config.speakers
    assert len(names) > 1
    motions = [generator.generate(whole, name).poses for name in (*names[:2], None)]
    assert not np.array_equal(motions[0], motions[1])
    with pytest.raises(UserError, match=rf"speaker 'nobody' is unknown.*known: {names[0]}"):
        generator.generate(whole, "nobody")


def test_what_cannot_be_moved_for_is_refused(generator):
    with pytest.raises(UserError, match="10 samples, expected at least 533"):
        generator.generate(Speech(np.zeros(10, "f4")))
    with pytest.raises(UserError, match="'hello' has no times"):
        generator.generate(Speech(np.zeros(16_000, "f4"), tuple(words_of_text("hello"))))


@pytest.mark.parametrize("sound", ["silence", "full scale", "square wave"])
def test_any_sound_gives_finite_motion(generator, sound):
    samples = {
        "silence": np.zeros(2 * SAMPLE_RATE, "f4"),
        "full scale": np.random.default_rng(0).uniform(-1, 1, 2 * SAMPLE_RATE).astype("f4"),
        "square wave": np.sign(np.sin(np.arange(2 * SAMPLE_RATE) / 20)).astype("f4"),
    }[sound]
    moved = generator.generate(Speech(samples))
    assert len(moved) == 60 and np.isfinite(moved.poses).all()


def test_memory_of_a_stream_does_not_grow(generator):
    """A minute more of speech takes no more memory than the first ten seconds did."""
    ten = speech(10.0)

    def chunks() -> Iterator[Speech]:
        for second in range(70):
            words = [Word(f"w{second % 5}", second + 0.2, second + 0.6)]
            yield Speech(ten.samples[:SAMPLE_RATE], tuple(words))

    sizes = []
    tracemalloc.start()
    try:
        for number, _ in enumerate(generator.stream(chunks())):
            if number % 20 == 18:
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert len(sizes) > 4 and sizes[-1] - sizes[0] < 100_000


@pytest.mark.slow
def test_ten_minutes_of_speech_take_no_more_memory_than_two(generator):
    """Of the whole process, tensors included; words are new all the time."""
    minute = speech(60.0)
    process, sizes = psutil.Process(), []

    def chunks() -> Iterator[Speech]:
        for number in range(10):
            sizes.append(process.memory_info().rss / 2**20)
            for piece in minute.pieces():
                words = [
                    Word(f"{w.word}{number % 3}", w.start_s + 60 * number, w.end_s + 60 * number)
                    for w in piece.words
                ]
                yield Speech(piece.samples, tuple(words))

    frames = sum(len(part) for part in generator.stream(chunks()))
    sizes.append(process.memory_info().rss / 2**20)
    assert frames == 18_000
    assert sizes[-1] - sizes[2] < 10, sizes


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("depth", [1, 2])
@torch.no_grad()
def test_codes_decoded_as_they_come_are_those_of_the_whole(causal, depth):
    torch.manual_seed(0)
    config = TokenizerConfig(
        parts=("body", "hands"), quantizers=2, codebook_size=16, code_dim=8, width=16, depth=depth,
        causal=causal,
    )  # fmt: skip
    tokenizer = MotionTokenizer(config).eval()
    for name, value in tokenizer.state_dict().items():
        if value.is_floating_point() and not name.endswith(".weights"):  # the features' scale
            value.copy_(torch.randn_like(value) * (0.3 if "weight" in name else 0.1))
    codes = torch.randint(16, (1, 40, 2, 2))
    by_part = tokenizer.vectors({"body": codes[:, :, 0], "hands": codes[:, :, 1]})
    vectors = torch.stack(list(by_part.values()), dim=2)
    frames = tokenizer.frames_of(by_part)
    whole = as_motion(Joins(config.frames_per_token)(frames)).poses[0].numpy()
    decoder, found, largest = MotionDecoder(tokenizer, Graphs()), [], 0
    for first in range(0, 40, 5):
        moved = decoder.push(Answer(vectors[:, first : first + 5]))
        found += [] if moved is None else [moved.poses[0]]
        largest = max(largest, decoder._vectors.shape[1])
    given = np.concatenate(found)
    assert len(given) == 160 - 4 * decoder.ahead and largest <= decoder.back + decoder.ahead + 5
    assert np.allclose(given, whole[: len(given)], atol=1e-4)


def test_loading_brings_back_the_generator(generator, tmp_path):
    from gestray.store import Folder
    from gestray.training.checkpoint import MODEL, save_config, save_model

    save_model(tmp_path / MODEL, generator)
    save_config(generator.config, Folder(str(tmp_path)))
    loaded = CodeGenerator.from_folder(Folder(str(tmp_path)))
    assert same(loaded.generate(speech(2.0), seed=1), generator.generate(speech(2.0), seed=1))
