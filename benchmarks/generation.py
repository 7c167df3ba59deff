"""Seconds of motion a second: speech in, motion out, features of speech and words included.

    python benchmarks/generation.py --json

`ratio` is the real-time factor of `semtalk`, the default generator at size `small`, in a stream
of a minute of synthetic speech with its words, quickened as it is served. `also` has the limit, the
bare forward passes of network and decoder on what was computed before; the stream without being
quickened, all of it in PyTorch; the same for `semges`; how long it takes to quicken one; how long
after the first second of speech the first motion is there; and how memory grows over ten minutes.

Weights are random: speed does not depend on them. What it does depend on is as in a trained
generator: as many gestures of random codes are remembered, and the gate is open for a tenth of the
time. The vocabulary is that of other takes; a word that is not in it is looked up when it is said
(`looked_up`).
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from side_by_side import Comparison, alternate, main
from torch.nn import functional

from gestray.corpora.beat2 import list_takes, read_take
from gestray.corpora.synthetic import write_corpus
from gestray.generators.config import TrainedGenerator, preset
from gestray.generators.contract import Speech
from gestray.generators.gesture_memory import Gesture
from gestray.generators.graphs import Graphs
from gestray.generators.model import CodeGenerator
from gestray.generators.session import Session
from gestray.generators.words import most_said, spoken_form
from gestray.speech.audio import SAMPLE_RATE, pcm16_to_float
from gestray.tokenizers.config import preset as tokenizer_preset
from gestray.tokenizers.model import MotionTokenizer
from gestray.training.task import Batch

SECONDS = 60
MINUTES = 10
OTHERS = 12
# Of gestures with a meaning in 480 synthetic training takes there are 1,173 of 19 tokens.
GESTURES, TOKENS = 1173, 19
OPEN = 0.1


def generator(name: str, windows: Batch, vocabulary: tuple[str, ...]) -> CodeGenerator:
    """A generator of a preset over a tokenizer whose codebooks have seen some motion."""
    config = tokenizer_preset(name).model
    torch.manual_seed(0)
    tokenizer = MotionTokenizer(config)
    tokenizer.start([{column: windows[column] for column in tokenizer.columns}])
    training = preset(name)
    trained = TrainedGenerator(
        generator=training.model, tokenizer=config, speakers=("a", "b"), vocabulary=vocabulary
    )
    model = CodeGenerator(trained)
    model.learn_words()
    model.tokenizer.load_state_dict(tokenizer.state_dict())
    remember_anything(model)
    return model.eval()


def remember_anything(model: CodeGenerator) -> None:
    """Gestures of random codes, told at random."""
    assert model.network.memory is not None
    levels, parts, size, _ = model.books.vectors.shape
    codes = torch.randint(size, (GESTURES, TOKENS, parts, levels))
    before = model.books.sums(codes).roll(1, dims=1)
    told = functional.normalize(torch.randn(GESTURES, model.network.memory.told.shape[1]), dim=-1)
    model.keep([Gesture(*each) for each in zip(told, before, codes, strict=True)])


def open_the_gate(model: CodeGenerator, speech: Speech) -> None:
    """For a tenth of the time, whatever random weights say."""
    meaning = model.generate(speech, "a").meaning
    assert meaning is not None
    network: Any = model.network
    threshold = float(np.quantile(meaning, 1 - OPEN))
    network.method = network.method.model_copy(update={"threshold": threshold})


def real_time_factor(model: CodeGenerator, speech: Speech) -> float:
    """Of a stream in pieces of a tenth of a second; words that are not kept are looked up anew."""
    model.network.heard.words.encoder.forget()
    began = time.perf_counter()
    frames = sum(len(part) for part in model.stream(speech.pieces(0.1), "a"))
    return frames / 30 / (time.perf_counter() - began)


def in_pytorch(model: CodeGenerator, speech: Speech) -> float:
    """`real_time_factor` of a generator that is not quickened."""
    graphs, model.graphs = model.graphs, Graphs()
    found = real_time_factor(model, speech)
    model.graphs = graphs
    return found


def bare(model: CodeGenerator) -> float:
    """Network and decoder alone, again and again for one window."""
    session = Session(model, [1], [0], 1.0)
    window, noise = session._window(), session._draw()
    first, last = session.past, session.past + session.hop
    books = model.books
    hops, frames = 60, session.hop * session.per_token
    began = time.perf_counter()
    with torch.inference_mode():
        for _ in range(hops):
            answer = model.network.answer(window, first, last, books, noise, model.graphs)
            session.motion.push(answer)
    return hops * frames / 30 / (time.perf_counter() - began)


def first_motion_ms(model: CodeGenerator, speech: Speech) -> float:
    """From the first second of speech to the first motion, of a model that is loaded."""
    model.network.heard.words.encoder.forget()
    began = time.perf_counter()
    next(model.stream(speech.pieces(1.0), "a"))
    return 1000 * (time.perf_counter() - began)


def growth_mb(model: CodeGenerator, speech: Speech) -> float:
    """By how much the process grows from the second minute of a stream to the tenth."""
    process, sizes = psutil.Process(), []

    def minutes() -> Iterator[Speech]:
        for number in range(MINUTES):
            sizes.append(process.memory_info().rss / 2**20)
            for piece in speech.pieces(1.0):
                later = tuple(
                    type(w)(w.word, (w.start_s or 0) + 60 * number, (w.end_s or 0) + 60 * number)
                    for w in piece.words
                )
                yield Speech(piece.samples, later)

    for _ in model.stream(minutes(), "a"):
        pass
    return process.memory_info().rss / 2**20 - sizes[1]


def measure(runs: int) -> Comparison:
    with tempfile.TemporaryDirectory() as folder:
        write_corpus(Path(folder), takes=1, seed=5, seconds=float(SECONDS), speech=True)
        take = read_take(folder, list_takes(folder).take_ids[0])
        write_corpus(Path(folder) / "others", takes=OTHERS, seed=6, seconds=float(SECONDS))
        others = [
            word.word
            for take_id in list_takes(Path(folder) / "others").take_ids
            for word in read_take(Path(folder) / "others", take_id).words or ()
        ]
    assert take.audio is not None and take.poses is not None
    speech = Speech(pcm16_to_float(take.audio)[: SECONDS * SAMPLE_RATE], tuple(take.words or ()))
    whole = len(take.poses) // 64 * 64

    def clips(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values[:whole].reshape(-1, 64, values.shape[1]).copy())

    assert take.trans is not None and take.expressions is not None
    windows = {
        "poses": clips(take.poses),
        "trans": clips(take.trans - take.trans[0]),
        "expressions": clips(take.expressions),
    }
    vocabulary, _ = most_said(others)
    models = {name: generator(name, windows, vocabulary) for name in ("semtalk", "semges")}
    ways: dict[str, Callable[[], float]] = {}
    quickening_s = {}
    for name, model in models.items():
        open_the_gate(model, speech)
        began = time.perf_counter()
        model.quicken()
        quickening_s[name] = time.perf_counter() - began
        ways[name] = lambda model=model: real_time_factor(model, speech)  # type: ignore[misc]
        ways[f"{name}, bare"] = lambda model=model: bare(model)  # type: ignore[misc]
        ways[f"{name}, in PyTorch"] = lambda model=model: in_pytorch(model, speech)  # type: ignore[misc]
    found = alternate(ways, runs)
    said = {spoken_form(word.word) for word in speech.words}
    also: dict[str, object] = {
        "words": len(said),
        "looked_up": len(said - set(vocabulary)),
        **{f"{n} times real time": value for n, value in found.items() if n != "semtalk"},
    }
    for name, model in models.items():
        also[f"{name} s to quicken"] = quickening_s[name]
        times = [first_motion_ms(model, speech) for _ in range(2 * runs)]
        also[f"{name} first motion ms"] = statistics.median(times)
        also[f"{name} first motion ms, worst"] = max(times)
        also[f"{name} grows MB from minute 2 to {MINUTES}"] = growth_mb(model, speech)
        print(f"{name}: {times}", file=sys.stderr)
    also["threads"] = torch.get_num_threads()
    unit = "seconds of motion a second"
    return Comparison(found["semtalk"], 1.0, unit, runs, also)


if __name__ == "__main__":
    main("generation", "Motion for speech against real time.", measure)
