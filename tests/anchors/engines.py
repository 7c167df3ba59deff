"""Engines of tests: one that says what it is told to, and a server that counts."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from gestray.anchors.engines import Answer, Instructions, Question, Sampling

GOOD = json.dumps(
    {
        "handedness": "right",
        "motion": "the hand rises",
        "intent": {"label": "growth", "sentence": "Sales rose."},
        "verification": {
            "words": [],
            "form_supports": True,
            "words_support": True,
            "confidence": "high",
        },
    }
)


@dataclass
class Scripted:
    """An engine whose answers are `say(question, sampling)`; `asked` holds what it was asked."""

    say: Callable[[Question, Sampling], Answer] = lambda question, sampling: Answer(
        question.key, GOOD, tokens=90
    )
    fails_after: int | None = None
    name: str = "vllm"
    model: str = "m"
    revision: str = "r"
    block: int = 2
    asked: list[tuple[str, Sampling]] = field(default_factory=list)

    def identity(self) -> dict[str, Any]:
        return {"engine": self.name, "model": self.model}

    def answer(
        self, told: Instructions, questions: Sequence[Question], sampling: Sampling
    ) -> Iterator[list[Answer]]:
        for start in range(0, len(questions), self.block):
            if self.fails_after is not None and len(self.asked) >= self.fails_after:
                raise RuntimeError("the engine is gone")
            block = questions[start : start + self.block]
            self.asked += [(question.user, sampling) for question in block]
            yield [self.say(question, sampling) for question in block]


class Server:
    """A chat completions server on this machine that counts how often it answers each question.

    `reply(body)` gives a status and a JSON body or text; by default a good answer.
    """

    def __init__(self, reply: Callable[[dict[str, Any]], tuple[int, Any]] | None = None) -> None:
        self.calls: Counter[str] = Counter()
        self.seen: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self._running = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer._lock:
                    outer._running += 1
                    outer.most_at_once = max(outer.most_at_once, outer._running)
                    outer.seen.append(body)
                    outer.headers.append(dict(self.headers))
                status, value = (reply or (lambda body: (200, completion(GOOD))))(body)
                data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
                with outer._lock:
                    outer._running -= 1
                    if status == 200:
                        outer.calls[body["messages"][1]["content"]] += 1
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # whoever asked was killed

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Server:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def completion(text: str, finish: str = "stop") -> dict[str, Any]:
    """The body of a chat completion."""
    return {
        "choices": [{"message": {"content": text}, "finish_reason": finish}],
        "usage": {"completion_tokens": 90},
    }
