"""All that a replica answers, within the limits of its config."""

from __future__ import annotations

from dataclasses import dataclass

from serving.answering.generation import Generation
from serving.answering.retrieval import Retrieval
from serving.config import ServingConfig
from serving.motions import Exports
from serving.service import Service
from serving.streams.conversation import Streams
from serving.work import Bounded

# Speeches that are spoken, decoded or aligned at once, or wait for it.
_MOST_LISTENING = 16


@dataclass(frozen=True)
class Answering:
    """Whatever a replica can be asked, but for what only its operators ask."""

    service: Service
    retrieval: Retrieval
    generation: Generation
    streams: Streams

    @classmethod
    def of(cls, service: Service, config: ServingConfig) -> Answering:
        """Answers of a service, within a config's limits."""
        exports = Exports(config.limits.film_s)
        listening = Bounded("speeches", 1, _MOST_LISTENING, retry_s=5)
        generation = Generation(service, config.limits, config.load.kept_s, exports, listening)
        retrieval = Retrieval(service, config.limits, exports)
        return cls(service, retrieval, generation, Streams(generation))
