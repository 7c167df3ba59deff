"""Logs as lines of JSON: what programs read, and what an operator searches by a request's id."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any


class JsonLines(logging.Formatter):
    """A record as one line; `fields` of it, where it has some, are keys of their own."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": when, "level": record.levelname, "log": record.name}
        line |= getattr(record, "fields", None) or {"message": record.getMessage()}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_to(file: str | None) -> None:
    """Write what gestray logs to a file, which replicas of a node share, or to standard error."""
    handler = logging.StreamHandler() if file is None else logging.FileHandler(file, "a", "utf-8")
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("gestray")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
