"""The contract of language model engines: questions in, answers out.

An engine generates and nothing else. What is asked, what an answer is worth,
what is asked again and what is kept is decided once for all of them, in
`gestray.anchors.grounding`. So an engine is a page of code: `jobs.vllm_grounding`
runs vLLM on Ray, `gestray.anchors.openai_engine` speaks to any server with the
interface of OpenAI's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from pydantic import Field

from gestray.config import Config


class Sampling(Config):
    """How a model generates.

    The answer to a question is 90 to 140 tokens long; `max_tokens` only cuts off what runs
    away.
    """

    temperature: float = Field(0.0, ge=0.0)
    max_tokens: int = Field(320, ge=1)
    seed: int = 0


class Instructions(NamedTuple):
    """What a model is told about all questions alike.

    `schema` is the JSON schema of the answer as text: the order of its properties counts.
    """

    system: str
    schema: str


class Question(NamedTuple):
    """A user message, and the key its answer is known by."""

    key: str
    user: str


class Answer(NamedTuple):
    """What a model made of a question.

    Attributes:
        key: the question's.
        text: as generated.
        cut_off: it ran into the bound on its tokens.
        tokens: how many were generated.
        prompt_tokens: how many the engine was given, as it counts them; 0 where it does not say.
        seconds: that the engine had the question, its start aside.
        refusal: why the engine did not take the question, "" where it did.
    """

    key: str
    text: str
    cut_off: bool = False
    tokens: int = 0
    refusal: str = ""
    prompt_tokens: int = 0
    seconds: float = 0.0


class Engine(Protocol):
    """Runs a language model."""

    name: str

    @property
    def model(self) -> str:
        """The model's name, as provenance."""

    @property
    def revision(self) -> str:
        """The model's revision, "" where it has none."""

    def identity(self) -> dict[str, Any]:
        """What answers depend on, besides question and sampling."""

    def answer(
        self, told: Instructions, questions: Sequence[Question], sampling: Sampling
    ) -> Iterator[list[Answer]]:
        """Answer every question once, in any order, as JSON of the schema.

        Answers come as soon as they are there: those that came before an engine died
        are kept.

        Raises:
            UserError: the engine cannot work at all, now or as configured.
        """
