"""A generator over the codes of a frozen tokenizer: the contract, for any network.

It is one module with the tokenizer inside, so that its artifact is all one needs.

Shapes: B batch, T frames, K tokens, P parts, L levels, S codes of a codebook, D width of a code.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from gestray.errors import UserError
from gestray.generators.codebooks import Codebooks
from gestray.generators.config import SemGesConfig, TrainedGenerator
from gestray.generators.contract import Gesturing, Speech
from gestray.generators.gesture_memory import Gesture
from gestray.generators.graphs import Graphs
from gestray.generators.network import Network
from gestray.generators.semges import SemGes
from gestray.generators.semtalk import SemTalk
from gestray.generators.session import Session
from gestray.generators.windows import built
from gestray.generators.words import WordVectors
from gestray.speech.features import Sound, end_of_frame, frames_in
from gestray.store import Folder
from gestray.tokenizers.model import MotionTokenizer
from gestray.training.checkpoint import load_pretrained


class CodeGenerator(nn.Module):
    """See `gestray.generators.contract.Generator`."""

    lexicon: Tensor | None

    def __init__(self, config: TrainedGenerator) -> None:
        super().__init__()
        generator, tokenizer = config.generator, config.tokenizer
        self.config = config
        self.tokens = generator.chunk.tokens(tokenizer.frames_per_token)
        self.features = built(generator.speech)
        self.tokenizer = MotionTokenizer(tokenizer).requires_grad_(False)
        self.tokenizer.beam = 1  # training encodes every batch anew
        network = SemGes if isinstance(generator.method, SemGesConfig) else SemTalk
        self._network = network(config, self.features.width, sum(self.tokens))
        self._row_of = {word: row for row, word in enumerate(config.vocabulary)}
        lexicon = torch.zeros(len(self._row_of), self.network.heard.words.width)
        self.register_buffer("lexicon", lexicon if self._row_of else None)
        self.graphs = Graphs()
        self.register_load_state_dict_post_hook(_forget_graphs)
        self.eval()

    @property
    def network(self) -> Network:
        return cast(Network, self._network)

    def train(self, mode: bool = True) -> CodeGenerator:
        """The tokenizer stays as it is: frozen, its averages with it."""
        super().train(mode)
        if mode:
            self.graphs = Graphs()
        self.tokenizer.eval()
        return self

    @property
    def books(self) -> Codebooks:
        """The vectors that the tokenizer's codes stand for."""
        streams = [cast(Any, stream) for stream in self.tokenizer.streams.values()]
        levels = range(self.config.tokenizer.quantizers)
        of_levels = [
            torch.stack([stream.quantizer.codebooks[level].embed[0] for stream in streams])
            for level in levels
        ]
        return Codebooks(torch.stack(of_levels))

    def learn_words(self, others: Sequence[str] = ()) -> None:
        """Look up the words of the vocabulary, for good; and others, for as long as it lives."""
        vocabulary = self.config.vocabulary
        self.look_up((*vocabulary, *others))
        if self.lexicon is not None:
            self.lexicon.copy_(self.network.heard.words.of(vocabulary))

    def look_up(self, words: Sequence[str]) -> None:
        """Know these words together, for as long as it lives."""
        learnt = self.network.heard.words.together(words)
        for part in self.modules():
            if isinstance(part, WordVectors):  # a gate has its own
                part.learnt = learnt

    def keep(self, gestures: Sequence[Gesture]) -> None:
        """Remember these gestures, and no others: see `gestray.generators.gesture_memory`."""
        self.graphs = Graphs()
        assert self.network.memory is not None, "this method remembers nothing"
        self.network.memory.keep(gestures)
        tokens = sum(len(gesture.codes) for gesture in gestures)
        self.config = self.config.model_copy(
            update={"gestures": len(gestures), "gesture_tokens": tokens}
        )

    @torch.no_grad()
    def quicken(self) -> None:
        """Make graphs of what a stream runs in each hop, to be used until something is learnt.

        Takes one to five seconds, and a stream two thirds of its time from then on, on a CPU; see
        `gestray.generators.graphs`. Streams side by side in one session are as before.
        """
        if self.books.vectors.device.type != "cpu":
            return
        self.graphs = Graphs()
        session = Session(self, [0], [0], 0.0)
        # At first there is no motion behind it.
        steps = 2 + math.ceil(sum(self.tokenizer.decoder_reach) / session.hop)
        for _ in range(steps):
            _wait_in_silence(session)
            session.step()
        with self.graphs.tracing():
            _wait_in_silence(session)
            session.step()

    def word_vectors(self, words: Sequence[str]) -> Tensor:
        """(V, C): those of the vocabulary as they were learnt, others looked up."""
        looked_up = self.network.heard.words.of([w for w in words if w not in self._row_of])
        if self.lexicon is None:
            return looked_up
        rows = [self._row_of.get(word) for word in words]
        found = self.lexicon[[row or 0 for row in rows]]
        found[[row is None for row in rows]] = looked_up.to(found.device)
        return found

    @property
    def silence(self) -> np.ndarray:
        """Features (C,) of a frame in which nothing sounds."""
        hop = self.features.hop or 1
        return self.features(Sound(), 0, hop)[0]

    def number_of(self, speaker: str | None) -> int:
        """Of a speaker, counted from 1; 0 is nobody in particular.

        Raises:
            UserError: the generator has never seen the speaker; names those it has.
        """
        known = self.config.speakers
        if speaker is None:
            return 0
        if speaker not in known:
            raise UserError(
                f"speaker {speaker!r} is unknown to this generator; known: {', '.join(known)}. "
                "Leave the speaker out for nobody's manner in particular"
            )
        return known.index(speaker) + 1

    def generate(
        self, speech: Speech, speaker: str | None = None, seed: int = 0, temperature: float = 1.0
    ) -> Gesturing:
        """The motion of a whole speech; see `Generator`."""
        return Gesturing.joined(list(self.stream(speech.pieces(), speaker, seed, temperature)))

    def generate_many(
        self,
        speeches: Sequence[Speech],
        speakers: Sequence[str | None],
        seeds: Sequence[int],
        temperature: float = 1.0,
    ) -> list[Gesturing]:
        """The motions of many speeches; see `Generator`."""
        return apart(list(self.hops(speeches, speakers, seeds, temperature)), speeches)

    def hops(
        self,
        speeches: Sequence[Speech],
        speakers: Sequence[str | None],
        seeds: Sequence[int],
        temperature: float = 1.0,
    ) -> Iterator[Gesturing]:
        """`generate_many` as it comes: of all speeches side by side (B, T, …); see `apart`.

        Whoever stops reading has spent no more than the hops that were read.
        """
        numbers = [self.number_of(speaker) for speaker in speakers]
        frames = [_frames_of(len(speech.samples)) for speech in speeches]
        session = Session(self, numbers, seeds, temperature)
        longest = max(len(speech.samples) for speech in speeches)
        for listener, speech in zip(session.listeners, speeches, strict=True):
            listener.hear(np.pad(speech.samples, (0, longest - len(speech.samples))), speech.words)
        return _to_the_end(session, max(frames))

    def stream(
        self,
        chunks: Iterable[Speech],
        speaker: str | None = None,
        seed: int = 0,
        temperature: float = 1.0,
    ) -> Iterator[Gesturing]:
        """Motion as speech comes; see `Generator`."""
        live = Live(self, speaker, seed, temperature)
        for chunk in chunks:
            live.hear(chunk)
            yield from live.moves()
        yield from live.rest()

    @classmethod
    def from_folder(cls, folder: Folder) -> CodeGenerator:
        """Load a trained generator, in evaluation mode on the CPU."""
        return load_pretrained(folder, cls, TrainedGenerator)


class Live:
    """A stream that is told what is heard, for those who cannot be asked for it.

    `hear` and `moves` in turns, `rest` at the end: together what `stream` gives.
    """

    def __init__(
        self, model: CodeGenerator, speaker: str | None, seed: int, temperature: float
    ) -> None:
        self._session = Session(model, [model.number_of(speaker)], [seed], temperature)
        [self._listener] = self._session.listeners
        self._given = 0

    def hear(self, chunk: Speech) -> None:
        """What is said next."""
        self._listener.hear(chunk.samples, chunk.words)

    def moves(self) -> Iterator[Gesturing]:
        """The motion, hop by hop, for which enough has been heard."""
        while self._listener.ready >= self._session.frames_needed:
            with torch.inference_mode():
                moved = self._session.step()
            if moved is not None:
                self._given += moved.poses.shape[1]
                yield moved[0]

    def rest(self) -> Iterator[Gesturing]:
        """What is left, when nothing more will be heard."""
        heard = _frames_of(self._listener.sound.end)
        for moved in _to_the_end(self._session, heard, self._given):
            yield moved[0]


def _forget_graphs(model: nn.Module, *_: object) -> None:
    cast(CodeGenerator, model).graphs = Graphs()


def apart(hops: Sequence[Gesturing], speeches: Sequence[Speech]) -> list[Gesturing]:
    """The motions that lie side by side in `hops`, each as long as its speech."""
    return [
        Gesturing.joined([part[row] for part in hops])[: _frames_of(len(speech.samples))]
        for row, speech in enumerate(speeches)
    ]


def _wait_in_silence(session: Session) -> None:
    """Hear nothing until there is enough for the next hop."""
    for listener in session.listeners:
        while listener.ready < session.frames_needed:
            silence = np.zeros(end_of_frame(session.hop * session.per_token), np.float32)
            listener.hear(silence)


def _frames_of(samples: int) -> int:
    frames = frames_in(samples)
    if frames < 1:
        raise UserError(
            f"the speech has {samples} samples, expected at least {end_of_frame(1)}, one "
            "frame of motion"
        )
    return frames


def _to_the_end(session: Session, frames: int, given: int = 0) -> Iterator[Gesturing]:
    """The motion up to `frames`, beyond the speech's end in silence; of all streams."""
    while given < frames:
        _wait_in_silence(session)
        with torch.inference_mode():
            moved = session.step()
        if moved is None:
            continue
        excess = max(0, given + moved.poses.shape[1] - frames)
        count = moved.poses.shape[1] - excess
        given += count
        yield moved[:, :count]
