"""After training a generator is given the gestures that it learnt from: see `gesture_memory`.

Windows of training hold two seconds and begin anywhere, so gestures would be in pieces that do not
fit together. Here takes are encoded whole.

Shapes: K tokens of a take, W windows, P parts, L levels, C width of a word's vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pyarrow as pa
import torch
from torch import Tensor

from gestray.generators.gesture_memory import Gesture, gestures_of
from gestray.generators.heard import Window, Words
from gestray.generators.layers import with_preparation
from gestray.generators.model import CodeGenerator
from gestray.generators.task import GeneratorTask, token_meaning
from gestray.generators.windows import SpeechWindows, meaning_of, words_of
from gestray.generators.words import word_rows
from gestray.store import Folder
from gestray.views.catalog import TakeRef, read_catalog, read_columns
from gestray.views.windows import Windows, motion_of


def taught_by(task: GeneratorTask, takes: Folder) -> list[TakeRef]:
    """The takes that training has windows of."""
    windows = _windows(task)
    return [ref for ref in read_catalog(takes) if windows.count(ref)]


@torch.no_grad()
def remember(
    task: GeneratorTask,
    model: CodeGenerator,
    takes: Folder,
    refs: Sequence[TakeRef],
    on_take: Callable[[int], None] = lambda done: None,
) -> None:
    """Give a trained generator the gestures with a meaning of the takes that it learnt from.

    What means something in a take without labels is what the gate says, if it has learnt to: from
    other takes, or as the gate of another generator. Of more gestures than `remembers`, as many
    are kept, spread evenly over the corpus.

    Args:
        task: that the generator was trained by.
        model: on the CPU, with a memory; it is changed, and so is its config.
        takes: of training.
        refs: of them, as `taught_by` has it.
        on_take: told how many takes are done.
    """
    model.eval()
    windows = _windows(task)
    found: dict[str, list[Gesture]] = {}
    unlabelled: list[TakeRef] = []
    for ref in refs:
        take = read_columns(takes, ref, (*model.tokenizer.columns, "semantics"))
        means_K = _labelled(model, ref, take, windows.frames_of(ref))
        if means_K is None:
            unlabelled.append(ref)
        else:
            found[ref.take_id] = list(_gestures(model, ref, take, windows, means_K))
            on_take(len(found))
    learnt = task.gate is not None or len(found) > 0
    for ref in unlabelled:
        found[ref.take_id] = []
        if learnt:
            hops = _hops(task)
            take = read_columns(takes, ref, hops.columns)
            means_K = _as_the_gate_says(task, model, hops, ref, take)
            if means_K is not None:
                found[ref.take_id] = list(_gestures(model, ref, take, windows, means_K))
        on_take(len(found))
    gestures = [gesture for ref in refs for gesture in found[ref.take_id]]
    most = task.config.model.method.remembers
    if len(gestures) > most:
        gestures = [gestures[n * len(gestures) // most] for n in range(most)]
    if gestures:
        model.keep(gestures)


def _windows(task: GeneratorTask) -> Windows:
    return Windows(task.config.windows(), "train")


def _gestures(
    model: CodeGenerator, ref: TakeRef, take: pa.Table, windows: Windows, means_K: Tensor
) -> Iterator[Gesture]:
    """Those of a take, of the split's part of it."""
    network, (first, last) = model.network, windows.frames_of(ref)
    motion = {
        name: torch.from_numpy(motion_of(ref, take, name)[None, first:last].copy())
        for name in model.tokenizer.columns
    }
    by_part = model.tokenizer.encode(**motion)
    codes_1KPL = torch.stack(list(by_part.values()), dim=2)[:, : len(means_K)]
    vectors_1KPD = model.books.sums(codes_1KPL)
    frames = slice(first, first + len(means_K) * model.config.tokenizer.frames_per_token)
    about, spoken = words_of(ref)
    row_1T, vocabulary = word_rows(about[None, frames, 0], [spoken])
    words = Words(row_1T, vocabulary, model.word_vectors(vocabulary))
    words_1KC = network.heard.tokens_of_words(words)
    told_KC, counts_K = network.told_of(words_1KC[0], vectors_1KPD[0], means_K)
    method = model.config.generator.method
    around = method.around(model.config.tokenizer.frames_per_token)
    leads_K = with_preparation(means_K[None], around[0])[0] > method.threshold
    yield from gestures_of(told_KC, counts_K, leads_K, around, vectors_1KPD[0], codes_1KPL[0])


def _labelled(
    model: CodeGenerator, ref: TakeRef, take: pa.Table, span: tuple[int, int]
) -> Tensor | None:
    """How much each token means (K,), as the labels say; None: the take has none."""
    assert ref.num_frames is not None
    means_T = torch.from_numpy(meaning_of(take, ref.num_frames)[slice(*span), 1])
    per_token = model.config.tokenizer.frames_per_token
    means_K = token_meaning(means_T[: len(means_T) // per_token * per_token], per_token)
    return None if (means_K < 0).any() else means_K.float()


def _hops(task: GeneratorTask) -> SpeechWindows:
    """Windows that a hop apart begin, as a stream has them."""
    view, chunk = task.view("train"), task.config.model.chunk
    return replace(
        view, config=view.config.model_copy(update={"stride_s": chunk.hop_s, "random": None})
    )


def _as_the_gate_says(
    task: GeneratorTask, model: CodeGenerator, view: SpeechWindows, ref: TakeRef, take: pa.Table
) -> Tensor | None:
    """How much each token means (K,); None: there is no gate that learns."""
    past, hop, _ = model.tokens
    batch = task.collate(view.cut(ref, take, range(view.count(ref))))
    codes = (len(model.config.tokenizer.parts), model.config.tokenizer.code_dim)
    known = torch.zeros(len(batch["word"]), sum(model.tokens), dtype=torch.bool)
    window = Window(
        speech=batch["speech"],
        about=batch["about"],
        words=Words(batch["word"], batch["vocabulary"], model.word_vectors(batch["vocabulary"])),
        speaker=torch.zeros_like(batch["speaker"]),
        past=torch.zeros(*known.shape, *codes),
        known=known,
    )
    meaning_WK = model.network.gate_of(window)
    if meaning_WK is None:
        return None
    # Each window answers for its hop; what comes before the first is its past.
    begins, answered = meaning_WK[0, :past], meaning_WK[:, past : past + hop]
    return torch.cat([begins, answered.flatten()])
