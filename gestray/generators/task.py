"""How a generator learns: windows of takes, whose motion a frozen tokenizer makes codes of."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional

from gestray.generators.config import GeneratorTraining, TrainedGenerator
from gestray.generators.heard import Window, Words
from gestray.generators.layers import Blocks, CodeHeads, LeftOut
from gestray.generators.model import CodeGenerator
from gestray.generators.network import Lesson
from gestray.generators.semges import Coherence
from gestray.generators.semtalk import SemTalk
from gestray.generators.windows import SpeechWindows
from gestray.generators.words import word_rows
from gestray.store import Folder
from gestray.tokenizers.model import MotionTokenizer
from gestray.tokenizers.parts import Frames, columns_of
from gestray.training.task import Batch
from gestray.views.frames import stack_frames

# Share of windows whose speaker is kept from the generator, so that it can do without.
_NOBODY = 0.1
START_WINDOWS = 1024


@dataclass(frozen=True)
class GeneratorTask:
    """`gestray.training.task.Task` of a generator.

    Args:
        config: the network and its training.
        trained: the same as it will be kept.
        tokenizer: folder of the frozen tokenizer.
        features: of speech, computed before; None: they are made from audio.
        gate: folder of a SemTalk generator whose gate is taken over and kept as it is.
        words: those of the takes that are not in the vocabulary, to be looked up together.
    """

    config: GeneratorTraining
    trained: TrainedGenerator
    tokenizer: Folder
    features: Folder | None = None
    gate: Folder | None = None
    words: tuple[str, ...] = ()

    def view(self, split: str = "train") -> SpeechWindows:
        motion = columns_of(self.trained.tokenizer.parts)
        return SpeechWindows(
            self.config.windows(), split, motion, self.config.model.speech, self.features
        )

    def build(self) -> nn.Module:
        model = CodeGenerator(self.trained)
        model.tokenizer.load_state_dict(MotionTokenizer.from_folder(self.tokenizer).state_dict())
        model.learn_words(self.words)
        if self.gate is not None:
            _take_gate(model, CodeGenerator.from_folder(self.gate))
        return model

    def start(self, model: nn.Module, batches: Iterator[Batch]) -> None:
        """How motion goes on, of `START_WINDOWS` windows of all ranks: see `LeftOut.start`."""
        assert isinstance(model, CodeGenerator)
        books, loop = model.books, self.config.loop
        before, coarse, vectors = [], [], []
        wanted = math.ceil(START_WINDOWS * loop.accumulate / loop.batch_size)
        for batch in itertools.islice(batches, wanted):
            _, codes = self._codes(model, batch)
            of_windows = books.sums(codes)
            before.append(of_windows[:, :-1].flatten(0, 1))
            vectors.append(of_windows[:, 1:].flatten(0, 1))
            coarse.append(books.look_up(0, codes[:, 1:, :, 0]).flatten(0, 1))
        for part in model.modules():
            if isinstance(part, LeftOut):
                part.start(torch.cat(before), torch.cat(coarse), torch.cat(vectors))
            elif isinstance(part, Coherence):
                part.start(torch.cat(vectors))

    @torch.autocast("cuda", enabled=False)  # codes are those that it will be used with
    def _codes(self, model: CodeGenerator, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """Of the windows of a batch, each part's weighted features and the codes (B, K, P, L)."""
        motion = {name: batch[name] for name in columns_of(self.trained.tokenizer.parts)}
        features, by_part = model.tokenizer.codes_of(**motion)
        return features, torch.stack(list(by_part.values()), dim=2)

    def compiled(self, model: nn.Module) -> Iterator[nn.Module]:
        """The transformers and the heads; words are looked up outside of them."""
        return (part for part in model.modules() if isinstance(part, Blocks | CodeHeads))

    def collate(self, rows: pa.Table) -> Batch:
        frames = self.config.windows().frames
        columns = ("speech", "words", "meaning", *columns_of(self.trained.tokenizer.parts))
        arrays = {name: stack_frames(rows[name], frames) for name in columns}
        about = arrays.pop("words")
        spoken = [dict(window) for window in rows["spoken"].to_pylist()]
        word, vocabulary = word_rows(about[..., 0], spoken)
        number_of = {name: n for n, name in enumerate(self.trained.speakers, start=1)}
        return {
            **{name: torch.from_numpy(values) for name, values in arrays.items()},
            "about": torch.from_numpy(about[..., 1:].copy()),
            "word": word,
            "vocabulary": vocabulary,
            "speaker": torch.tensor([number_of.get(s, 0) for s in rows["speaker"].to_pylist()]),
        }

    def loss(self, model: nn.Module, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(model, CodeGenerator)
        features, codes = self._codes(model, batch)
        window, lesson = self._window(model, batch, codes, features, step)
        losses = model.network.losses(window, lesson)
        return losses.pop("loss"), losses

    def _window(
        self,
        model: CodeGenerator,
        batch: Batch,
        codes: Tensor,
        features: dict[str, Tensor],
        step: int,
    ) -> tuple[Window, Lesson]:
        (past, hop, _), books = model.tokens, model.books
        batch_size, tokens = codes.shape[:2]
        device, forgets = codes.device, self.config.model.forgets
        # How much of its past each window knows: all of it, or by chance only the latest.
        first = past - (torch.rand(batch_size, device=device) * past).long()
        begins = torch.rand(batch_size, device=device) < forgets
        first = torch.where(begins, first, 0)
        # Some of it as it never was: in use, it is what the generator did.
        others = codes[torch.randperm(batch_size, device=device)]
        wrong = torch.rand(batch_size, tokens, device=device) < forgets / 2
        remembered = torch.where(wrong[..., None, None], others, codes)
        nobody = torch.rand(batch_size, device=device) < _NOBODY
        if not self.training_draws(model):
            first, remembered, nobody = torch.zeros_like(first), codes, torch.zeros_like(nobody)
        token = torch.arange(tokens, device=device)
        known = (token >= first[:, None]) & (token < past)
        window = Window(
            speech=batch["speech"],
            about=batch["about"],
            words=Words(batch["word"], batch["vocabulary"]),
            speaker=batch["speaker"].masked_fill(nobody, 0),
            past=books.sums(remembered),
            known=known,
        )
        vectors = books.sums(codes)
        before = functional.pad(vectors[:, :-1], (0, 0, 0, 0, 1, 0))
        # Each token is told of the one before it, if that is known or of the same hop.
        told = functional.pad(known[:, :-1], (1, 0)) | (token > past)
        if self.training_draws(model):  # so that it listens too, and does not only go on
            told = told & (torch.rand(told.shape, device=device) >= forgets)
        before = before * told[..., None, None]
        parts = self.trained.tokenizer.parts
        # A corpus's own scores say how much a frame is meant; a token means something if most
        # of its frames do.
        score, means = batch["meaning"].unbind(-1)
        per_token = self.trained.tokenizer.frames_per_token
        asked = slice(past, past + hop)
        frames = slice(past * per_token, (past + hop) * per_token)

        def motion_error(of_asked: Tensor) -> Tensor:
            whole = torch.cat([vectors[:, :past], of_asked, vectors[:, past + hop :]], dim=1)
            named: dict[str, Tensor] = {p: whole[:, :, n] for n, p in enumerate(parts)}
            got = model.tokenizer.frames_of(named, asked)
            return huber(got, features, frames, model.tokenizer)

        lesson = Lesson(
            asked=asked,
            codes=codes[:, asked],
            books=books,
            motion=vectors,
            before=before[:, asked],
            score=score[:, frames],
            means=token_meaning(means, per_token),
            motion_error=motion_error,
            step=step,
        )
        return window, lesson

    @staticmethod
    def training_draws(model: nn.Module) -> bool:
        """Whether windows are made harder: in training, and not where it is validated."""
        return model.training


def token_meaning(means: Tensor, frames_per_token: int) -> Tensor:
    """Whether each token (…, K) means something, as most of its frames (…, T) do: 0, 1, or −1
    where unknown."""
    pooled = means.unflatten(-1, (-1, frames_per_token)).mean(-1)
    return torch.where(pooled < 0, -1, (pooled >= 0.5).long())


def huber(
    got: Frames, wanted: dict[str, Tensor], asked: slice, tokenizer: MotionTokenizer
) -> Tensor:
    """Huber's loss of each frame (B, T): of the parts' weighted features, their mean.

    Features are weighted as in the tokenizer, so that the loss is about the distance between
    postures, and measured by how far those of the batch spread: errors below the spread count
    as squares, above as they are.

    Args:
        got: of T frames.
        wanted: each part's weighted features (B, T, C) of whole windows.
        asked: which of their frames `got` is to be.
        tokenizer: whose parts are judged.
    """
    found = []
    for part, stream in tokenizer.parts():
        goal_BTC = wanted[part]
        spread = goal_BTC.var((0, 1), correction=0).mean().sqrt().clamp(min=1e-4)
        apart_BTC = (stream.features(got) - goal_BTC[:, asked]) / spread
        found.append(
            functional.smooth_l1_loss(
                apart_BTC, torch.zeros_like(apart_BTC), reduction="none"
            ).mean(-1)
        )
    return torch.stack(found).mean(0)


def _take_gate(model: CodeGenerator, other: CodeGenerator) -> None:
    """Take over a trained gate, which is then left as it is."""
    from gestray.errors import UserError

    ours, theirs = model.network, other.network
    if not (isinstance(ours, SemTalk) and isinstance(theirs, SemTalk)):
        raise UserError("the input gate: found no gate, expected generators of the method semtalk")
    try:
        ours.gate.load_state_dict(theirs.gate.state_dict())
    except RuntimeError:
        raise UserError(
            "the input gate has another shape than this generator's: train both with the same "
            "model.chunk, model.speech, model.text and model.width"
        ) from None
    ours.gate.requires_grad_(False)
