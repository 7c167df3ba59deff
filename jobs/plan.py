"""What a job will take, told before it is started."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gestray.anchors.costs import Estimate, Prices, Sample, estimate
from gestray.anchors.engines import Answer, Engine, Instructions, Question, Sampling
from gestray.artifacts import Artifact
from gestray.errors import UserError
from gestray.store import Folder
from jobs.anchors import GroundConfig, language_model_grounder
from jobs.display import progress
from jobs.rows import read_rows


@dataclass(frozen=True)
class AnchorsPlan:
    """What grounding a corpus takes.

    Attributes:
        model: that was asked.
        phrases: of the corpus.
        without_hands: phrases that no model is asked about.
        equal: phrases whose question another one asks as well.
        answered: questions whose answer was in the store already.
        sampled: questions that were asked to find out; their answers are kept.
        shared_prompt: share of a prompt that is the same for all, which a prefix cache holds.
        tokens_per_s: that one engine generated.
        start_s: of an engine.
        left: what is still to be paid for.
    """

    model: str
    phrases: int
    without_hands: int
    equal: int
    answered: int
    sampled: int
    shared_prompt: float
    tokens_per_s: float
    start_s: float
    engines: int
    devices: int
    left: Estimate

    def as_json(self) -> dict[str, Any]:
        tree = asdict(self)
        for name, amount in tree["left"].items():
            if name != "questions":
                value, low, high = amount
                tree["left"][name] = {"value": value, "low": low, "high": high}
        return tree


def plan_anchors(
    store: Folder, forms: Artifact, config: GroundConfig, sample: int, prices: Prices
) -> AnchorsPlan:
    """Ask an engine about a sample of a corpus, and say what the rest will take.

    The sample's answers are kept as those of any run, so that they are paid for once.

    Raises:
        UserError: there is no model to be asked, or it cannot be.
    """
    if config.grounder == "rules":
        raise UserError("rules ask no model: expected --grounder vllm or openai")
    engines = _engines(config)
    # One engine is measured: how many a run has is known.
    alone = config.model_copy(update={"vllm": config.vllm.model_copy(update={"concurrency": 1})})
    grounder = language_model_grounder(alone, store)
    rows = read_rows(forms.folder)
    survey = grounder.survey(rows)
    rng = np.random.default_rng(0)
    chosen = sorted(rng.permutation(survey.unanswered)[:sample].tolist())
    if not chosen:
        nothing = Sample([0], [0], 0, 0.0, 0.0)
        measured, rate = nothing, 0.0
    else:
        watch = Stopwatch(grounder.engine)
        grounder.engine = watch
        with progress(f"ask {watch.model}", len(chosen)) as track:
            for _ in grounder.ground(rows.take(chosen), lambda done, _total: track(done)):
                pass
        measured = watch.sample()
        rate = sum(measured.tokens) / max(measured.work_s, 1e-9)
    devices = config.vllm.tensor_parallel_size if config.grounder == "vllm" else 0
    left = len(survey.unanswered) - len(chosen)
    return AnchorsPlan(
        model=grounder.engine.model,
        phrases=len(rows),
        without_hands=survey.without_hands,
        equal=len(rows) - survey.without_hands - survey.questions,
        answered=survey.questions - len(survey.unanswered),
        sampled=len(chosen),
        shared_prompt=survey.shared_prompt,
        tokens_per_s=rate,
        start_s=measured.start_s,
        engines=engines,
        devices=devices,
        left=estimate(measured, left, engines, devices, prices),
    )


def _engines(config: GroundConfig) -> int:
    """That a run has at most."""
    if config.grounder == "openai":
        return 1
    concurrency = config.vllm.concurrency
    return concurrency if isinstance(concurrency, int) else concurrency[1]


class Stopwatch:
    """An engine that is timed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name = engine.name
        self._tokens: Counter[str] = Counter()
        self._prompt_tokens: Counter[str] = Counter()
        self._starts_s: list[float] = []
        self._work_s = 0.0

    @property
    def model(self) -> str:
        return self._engine.model

    @property
    def revision(self) -> str:
        return self._engine.revision

    def identity(self) -> dict[str, Any]:
        return self._engine.identity()

    def answer(
        self, told: Instructions, questions: Sequence[Question], sampling: Sampling
    ) -> Iterator[list[Answer]]:
        asked = time.monotonic()
        began, ended = float("inf"), asked
        for answers in self._engine.answer(told, questions, sampling):
            ended = time.monotonic()
            # Answers say how long they took; what was before the earliest was the start.
            began = min(began, ended - max(answer.seconds for answer in answers))
            for answer in answers:
                self._tokens[answer.key] += answer.tokens
                self._prompt_tokens[answer.key] += answer.prompt_tokens
            yield answers
        self._starts_s.append(max(0.0, began - asked))
        self._work_s += ended - began

    def sample(self) -> Sample:
        """What has been asked so far."""
        keys = list(self._tokens)
        return Sample(
            tokens=[self._tokens[key] for key in keys],
            prompt_tokens=[self._prompt_tokens[key] for key in keys],
            rounds=len(self._starts_s),
            start_s=float(np.mean(self._starts_s)),
            work_s=self._work_s,
        )
