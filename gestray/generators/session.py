"""A generator at work on a stream: it hears, hop by hop it answers, and codes become motion.

All that is carried from hop to hop is here, and none of it grows: the last seconds of sound,
features and words, the vectors of the last tokens, what was drawn, and the tokens that the decoder
looks at.

Shapes: B streams side by side, T frames of a window, K tokens, P parts, L levels, S codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gestray.generators.contract import Gesturing
from gestray.generators.feet import Stance, keep_feet
from gestray.generators.graphs import Graphs
from gestray.generators.heard import Window, Words
from gestray.generators.joins import Joins
from gestray.generators.network import Answer, Noise
from gestray.generators.windows import check_times
from gestray.generators.words import frames_of_words, spoken_form, word_rows
from gestray.speech.features import FRAMES_PER_S, Sound, SpeechFeatures, end_of_frame, frames_in
from gestray.speech.words import Word
from gestray.tokenizers.model import Motion, MotionTokenizer, as_motion
from gestray.tokenizers.parts import PartName

if TYPE_CHECKING:
    from gestray.generators.model import CodeGenerator


# Of all noise, how much the codes of some parts are drawn with: legs that do what comes are a
# tremble and feet that slide, and say nothing.
_STEADIER: dict[PartName, float] = {"lower": 0.3}


class Listener:
    """Features of one stream of speech, in order, and the words that are of use still."""

    def __init__(self, features: SpeechFeatures) -> None:
        self.features = features
        self.sound = Sound()
        self.words: list[Word] = []
        self._made = 0  # frames computed
        self._kept = np.zeros((0, features.width), np.float32)  # of them, those not yet taken

    def hear(self, samples: np.ndarray, words: Sequence[Word] = ()) -> None:
        """What comes next."""
        check_times(words, "the speech")
        self.sound.append(samples)
        self.words += words

    @property
    def heard(self) -> int:
        """Whole frames heard so far."""
        return frames_in(self.sound.end)

    @property
    def ready(self) -> int:
        """Frames that can be taken by now."""
        hop = self.features.hop or 1
        made = self.heard // hop * hop
        return len(self._kept) + max(0, made - self._made)

    def take(self, frames: int) -> np.ndarray:
        """Features (frames, C) of the next frames."""
        assert frames <= self.ready
        while len(self._kept) < frames:
            step = self.features.hop or frames - len(self._kept)
            new = self.features(self.sound, self._made, self._made + step)
            self._kept = np.concatenate([self._kept, new])
            self._made += step
        self.sound.forget(end_of_frame(self._made) - self.features.reach)
        taken, self._kept = self._kept[:frames], self._kept[frames:]
        return taken

    def forget_words(self, before_frame: int) -> None:
        """Let go of words that are over."""
        over_s = before_frame / FRAMES_PER_S
        self.words = [word for word in self.words if (word.end_s or 0) >= over_s]


class Session:
    """Streams side by side, all at the same hop, and what they remember."""

    def __init__(
        self,
        model: CodeGenerator,
        speakers: Sequence[int],
        seeds: Sequence[int],
        temperature: float,
    ) -> None:
        self.model = model
        noise, parts = temperature * model.config.generator.noise, model.config.tokenizer.parts
        self._noise_P1 = torch.tensor([[noise * _STEADIER.get(part, 1.0)] for part in parts])
        self.per_token = model.config.tokenizer.frames_per_token
        self.past, self.hop, self.ahead = model.tokens
        self.listeners = [Listener(model.features) for _ in speakers]
        self.motion = MotionDecoder(model.tokenizer, model.graphs)
        self._books = model.books
        self._device = self._books.vectors.device
        self._speaker = torch.tensor(list(speakers), device=self._device)
        self._draws = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._hops = 0
        tokens = self.past + self.hop + self.ahead
        # Before the beginning nothing sounds.
        silence = np.stack([model.silence] * (tokens * self.per_token))
        self._speech = np.stack([silence] * len(self.listeners))
        count, width = (len(self.listeners), tokens), model.config.tokenizer.code_dim
        self._past = torch.zeros(*count, len(parts), width, device=self._device)
        self._known = torch.zeros(count, dtype=torch.bool, device=self._device)

    @property
    def frames_needed(self) -> int:
        """Frames that every listener must have ready for the next hop."""
        return (self.hop if self._hops else self.hop + self.ahead) * self.per_token

    def step(self) -> Gesturing | None:
        """Answer the next hop; motion of all streams (B, T, …), as far as it is final."""
        new = self.frames_needed
        taken = np.stack([listener.take(new) for listener in self.listeners])
        self._speech = np.concatenate([self._speech[:, new:], taken], axis=1)
        first, last = self.past, self.past + self.hop
        given = self._window(), first, last, self._books, self._draw()
        answer = self.model.network.answer(*given, self.model.graphs)
        self._past[:, first:last] = answer.vectors
        self._known[:, first:last] = True
        kept = self.past + self.hop
        # The window moves on by a hop; what lies ahead is to be said anew.
        self._past[:, : self.past] = self._past[:, self.hop : kept].clone()
        self._known[:, : self.past] = self._known[:, self.hop : kept].clone()
        self._known[:, self.past :] = False
        self._hops += 1
        for listener in self.listeners:
            listener.forget_words((self._hops * self.hop - self.past) * self.per_token)
        return self.motion.push(answer)

    def _window(self) -> Window:
        start = (self._hops * self.hop - self.past) * self.per_token
        frames = self._speech.shape[1]
        about = np.stack(
            [frames_of_words(each.words, start, start + frames) for each in self.listeners]
        )
        spoken = [
            {int(n): spoken_form(each.words[int(n)].word) for n in np.unique(numbers) if n >= 0}
            for each, numbers in zip(self.listeners, about[..., 0], strict=True)
        ]
        rows, vocabulary = word_rows(about[..., 0], spoken)
        words = Words(rows.to(self._device), vocabulary, self.model.word_vectors(vocabulary))
        return Window(
            speech=torch.from_numpy(self._speech).to(self._device),
            about=torch.from_numpy(about[..., 1:].copy()).to(self._device),
            words=self.model.network.heard.tokens_of_words(words),
            speaker=self._speaker,
            past=self._past.clone(),
            known=self._known.clone(),
        )

    def _draw(self) -> Noise:
        """Noise of a hop: Gumbel, so that the likeliest code is one drawn (Gumbel 1954)."""
        config = self.model.config.tokenizer
        of_parts = self.hop, len(config.parts)
        codes, rest, gate = (
            torch.stack([draw(generator) for generator in self._draws]).to(self._device)
            for draw in (
                lambda g: torch.rand((*of_parts, config.codebook_size), generator=g),
                lambda g: torch.randn((*of_parts, config.code_dim), generator=g),
                lambda g: torch.rand(self.hop, generator=g),
            )
        )
        noise_P1 = self._noise_P1.to(codes)
        return Noise(self.model.graphs(_gumbel, codes) * noise_P1, rest * noise_P1, gate)


def _gumbel(uniform: Tensor) -> Tensor:
    """Gumbel noise of uniform noise in [0, 1)."""
    return -(-uniform.clamp(1e-9, 1 - 1e-7).log()).log()


class MotionDecoder:
    """Tokens to motion as they come: a frame is given when no token to come can change it.

    A causal tokenizer's frames are final at once. Those of another wait for as many tokens as
    its decoder looks ahead; for live use of a deep one, train it with model.causal=true.
    """

    def __init__(self, tokenizer: MotionTokenizer, run: Graphs) -> None:
        self.tokenizer, self._run = tokenizer, run
        self.back, self.ahead = tokenizer.decoder_reach
        self._vectors: Tensor | None = None  # (B, K, P, D): those that decoding still looks at
        self._meaning: Tensor | None = None
        self._given = 0  # of them, tokens whose frames were given
        self._end = End()

    def push(self, answer: Answer) -> Gesturing | None:
        """Take tokens; motion (B, T, …) of those that are final now, None where none is."""
        known, new = self._vectors, answer.vectors
        self._vectors = new if known is None else torch.cat([known, new], dim=1)
        if answer.meaning is not None:
            meaning = self._meaning
            self._meaning = (
                answer.meaning if meaning is None else torch.cat([meaning, answer.meaning], dim=1)
            )
        return self._give(self._vectors.shape[1] - self.ahead)

    def _give(self, last: int) -> Gesturing | None:
        assert self._vectors is not None
        first = self._given
        if last <= first:
            return None
        given = self.tokenizer, self._vectors, first, last, self._end
        motion, self._end = self._run(moved_on, *given)
        per_token = self.tokenizer.config.frames_per_token

        def of(values: Tensor | None) -> np.ndarray | None:
            return None if values is None else values.cpu().numpy()

        meaning = None
        if self._meaning is not None:
            meaning = (
                self._meaning[:, first:last].repeat_interleave(per_token, 1).float().cpu().numpy()
            )
        poses = of(motion.poses)
        assert poses is not None
        found = Gesturing(poses, of(motion.translation), of(motion.expressions), meaning)
        forgotten = max(0, last - self.back)
        self._vectors = self._vectors[:, forgotten:]
        if self._meaning is not None:
            self._meaning = self._meaning[:, forgotten:]
        self._given = last - forgotten
        return found


@dataclass(frozen=True)
class End:
    """How motion ended, for what comes next.

    Args:
        joint: see `gestray.generators.joins`; None: nothing has moved yet.
        stance: see `gestray.generators.feet`.
    """

    joint: Tensor | None = None
    stance: Stance | None = None


def moved_on(
    tokenizer: MotionTokenizer, vectors_BKPD: Tensor, first: int, last: int, end: End
) -> tuple[Motion, End]:
    """Motion of the tokens `first` to `last`, exclusive, that goes on from an end; its own end."""
    parts = tokenizer.config.parts
    by_part: dict[str, Tensor] = dict(zip(parts, vectors_BKPD.unbind(2), strict=True))
    frames = tokenizer.frames_of(by_part, slice(first, last))
    frames, joint = Joins(tokenizer.config.frames_per_token).join(frames, end.joint)
    frames, stance = keep_feet(frames, end.stance)
    return as_motion(frames), End(joint, stance)
