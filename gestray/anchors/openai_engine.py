"""An engine at the end of a URL: any server with the interface of OpenAI's chat completions.

vLLM, SGLang, llama.cpp, Ollama and hosted services speak it. The schema goes
along as `response_format`; of a server that takes it for a hint, more answers
come back malformed, which is what retries are for.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from gestray.anchors.engines import Answer, Instructions, Question, Sampling
from gestray.config import Config
from gestray.errors import UserError, shorten

if TYPE_CHECKING:
    import httpx

KEY = "OPENAI_API_KEY"
"""The environment variable that holds the key, where a server wants one."""

#: Pauses before a request is repeated; each is drawn between half of it and all of it.
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)
# The server's fault or its load; anything else is the request's.
_TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_REFUSED = frozenset({400, 413, 422})
# Where none of so many is taken, it is not the phrases that are refused.
_ALL_REFUSED = 8


class OpenAIConfig(Config):
    """Where the server is and what it is asked for.

    Args:
        url: up to and including ``/v1``.
        model: as the server names it.
        revision: which version of it, where the name leaves that open; recorded and no more.
        concurrency: requests at a time.
        timeout_s: for one answer.
    """

    EXECUTION: ClassVar[frozenset[str]] = frozenset({"concurrency", "timeout_s"})

    url: str = Field("http://127.0.0.1:8000/v1", pattern=r"^https?://[^\s@?#]+$")
    model: str = ""
    revision: str = ""
    concurrency: int = Field(16, ge=1)
    timeout_s: float = Field(120.0, gt=0)


class OpenAIEngine:
    """See the module."""

    name = "openai"

    def __init__(self, config: OpenAIConfig) -> None:
        if not config.model:
            raise UserError(
                "openai.model is missing: name the model as the server does (GET /v1/models)"
            )
        self.config = config

    @property
    def model(self) -> str:
        return self.config.model

    @property
    def revision(self) -> str:
        return self.config.revision

    def identity(self) -> dict[str, Any]:
        return {"engine": self.name, **self.config.identity()}

    def answer(
        self, told: Instructions, questions: Sequence[Question], sampling: Sampling
    ) -> Iterator[list[Answer]]:
        import httpx

        key = os.environ.get(KEY)
        waiting = iter(questions)
        running: set[Future[Answer]] = set()
        taken = refused = 0
        with (
            httpx.Client(
                timeout=self.config.timeout_s,
                headers={"Authorization": f"Bearer {key}"} if key else None,
                limits=httpx.Limits(max_connections=self.config.concurrency),
            ) as client,
            ThreadPoolExecutor(self.config.concurrency) as threads,
        ):
            try:
                while True:
                    # No more in flight than the server is to have at a time.
                    while len(running) < self.config.concurrency:
                        question = next(waiting, None)
                        if question is None:
                            break
                        running.add(threads.submit(self._ask, client, told, question, sampling))
                    if not running:
                        return
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    answers = [future.result() for future in done]
                    refused += sum(bool(answer.refusal) for answer in answers)
                    taken += sum(not answer.refusal for answer in answers)
                    if not taken and refused >= min(_ALL_REFUSED, len(questions)) > 1:
                        raise UserError(
                            f"{self.config.url} takes no question at all: {answers[0].refusal}"
                        )
                    yield answers
            finally:
                threads.shutdown(wait=False, cancel_futures=True)

    def _ask(
        self, client: httpx.Client, told: Instructions, question: Question, sampling: Sampling
    ) -> Answer:
        schema = {"name": "anchor", "schema": json.loads(told.schema), "strict": True}
        body = {
            "model": self.config.model,
            "messages": [
                {"role": "system", "content": told.system},
                {"role": "user", "content": question.user},
            ],
            "response_format": {"type": "json_schema", "json_schema": schema},
            **sampling.model_dump(),
        }
        asked = time.monotonic()
        response = self._send(client, body)
        if response.status_code in _REFUSED:
            return Answer(question.key, "", refusal=_complaint(response))
        try:
            found = response.json()
            choice, usage = found["choices"][0], found.get("usage") or {}
            return Answer(
                question.key,
                choice["message"]["content"] or "",
                cut_off=choice["finish_reason"] == "length",
                tokens=int(usage.get("completion_tokens") or 0),
                prompt_tokens=int(usage.get("prompt_tokens") or 0),
                seconds=time.monotonic() - asked,
            )
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            raise UserError(
                f"{self.config.url}: found {shorten(response.text)!r}, expected a chat completion "
                "as of OpenAI's interface: is openai.url right?"
            ) from None

    def _send(self, client: httpx.Client, body: dict[str, Any]) -> httpx.Response:
        """The response, after pauses where the server was not up to it."""
        import httpx

        url = f"{self.config.url.rstrip('/')}/chat/completions"
        trouble = ""
        for pause_s in (0.0, *PAUSES_S):
            time.sleep(pause_s * random.uniform(0.5, 1))
            try:
                response = client.post(url, json=body)
            except httpx.TransportError as error:
                trouble = f"{type(error).__name__} {error}".strip()
                continue
            if response.is_success or response.status_code in _REFUSED:
                return response
            trouble = f"status {response.status_code}, {_complaint(response)}"
            if response.status_code not in _TRANSIENT:
                raise UserError(
                    f"{url}: {trouble}. Check openai.url and openai.model, and {KEY} where the "
                    "server wants a key"
                )
        raise UserError(
            f"{url} does not answer: {trouble}, {len(PAUSES_S) + 1} times. What it answered before "
            "is kept: give the command again when it is back"
        )


def _complaint(response: httpx.Response) -> str:
    try:
        found = response.json()
        return str((found.get("error") or found).get("message") or found)[:200]
    except (ValueError, AttributeError):
        return response.text[:200]
