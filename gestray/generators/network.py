"""What `CodeGenerator` asks of a network over codes: to answer a window, and to learn from one.

Shapes: see `gestray.generators.heard`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from gestray.generators.codebooks import Codebooks
from gestray.generators.gesture_memory import GestureMemory
from gestray.generators.graphs import Graphs
from gestray.generators.heard import Heard, Window


@dataclass(frozen=True)
class Noise:
    """What is drawn for the tokens that are asked for, times the temperature; zeros draw nothing.

    Args:
        codes: Gumbel noise, for the logits of the first level (B, K, P, S).
        rest: normal noise, for what its codes leave out (B, K, P, D).
        gate: uniform in [0, 1) (B, K), for methods that draw by themselves.
    """

    codes: Tensor
    rest: Tensor
    gate: Tensor

    def of_tokens(self) -> Iterator[tuple[Tensor, Tensor]]:
        """`codes` and `rest` token by token (B, P, …)."""
        return zip(self.codes.unbind(1), self.rest.unbind(1), strict=True)


@dataclass(frozen=True)
class Answer:
    """Motion of the tokens asked for.

    Args:
        vectors: of its codes, sums over the levels (B, K, P, D).
        meaning: how much each token is meant (B, K), where the method says.
    """

    vectors: Tensor
    meaning: Tensor | None = None


@dataclass(frozen=True)
class Lesson:
    """What was really done in the hop of a window. Here K counts the hop's tokens alone, and T
    their frames: what a window holds before and after them is there to be heard.

    Args:
        asked: which of the window's tokens they are.
        codes: (B, K, P, L).
        books: the vectors that codes stand for.
        motion: of all tokens of the window, sums over the levels of their codes' vectors
            (B, K, P, D).
        before: of each token, the vectors of the one before it as the network knows them.
        score: annotators' score of each frame (B, T), −1 where unknown.
        means: whether each token of the whole window means something: 0, 1, or −1 where unknown.
        motion_error: of vectors (B, K, P, D), Huber's loss of each frame of their motion (B, T).
        step: of training; seeds what must be the same on all ranks.
    """

    asked: slice
    codes: Tensor
    books: Codebooks
    motion: Tensor
    before: Tensor
    score: Tensor
    means: Tensor
    motion_error: Callable[[Tensor], Tensor]
    step: int

    @property
    def vectors(self) -> Tensor:
        """`motion` of the hop (B, K, P, D)."""
        return self.motion[:, self.asked]


class Network(Protocol):
    """A network over codes."""

    heard: Heard
    memory: GestureMemory | None

    def answer(
        self, window: Window, first: int, last: int, books: Codebooks, noise: Noise, run: Graphs
    ) -> Answer:
        """The tokens `first` to `last`, exclusive; `run` runs what is the same in every hop."""

    def losses(self, window: Window, lesson: Lesson) -> dict[str, Tensor]:
        """The loss to minimise, as `loss`, and its parts."""

    def gate_of(self, window: Window) -> Tensor | None:
        """How much each token means (B, K), in [0, 1]; None: there is no gate that learns."""

    def told_of(self, words: Tensor, motion: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
        """What recorded gestures are looked up by (…, K, C), and how much each token counts.

        Args:
            words: vectors of the words said (…, K, C).
            motion: vectors of what was done (…, K, P, D).
            means: how much each token means (…, K).
        """
