"""Who may ask for what, and the line in the log that says so: for every door alike."""

from __future__ import annotations

import json
import logging
import math
from http import HTTPStatus

from serving.keys import Key, Keyring, Scope
from serving.problems import Problem

audit = logging.getLogger("gestray.audit")


def admit(keyring: Keyring, bearer: str | None, needed: Scope, asked: str) -> Key:
    """The key of whoever may ask; one request of its quota is spent.

    Args:
        bearer: `Bearer …`, as it was sent.
        needed: the scope that what is asked needs.
        asked: the name of that.

    Raises:
        Problem: there is no key or it is unknown, has not the scope, or asks too often.
    """
    key = keyring.find(bearer)
    if key is None:
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "send a key of this server as `Authorization: Bearer …`",
            {"www-authenticate": "Bearer"},
        )
    if needed not in key.scopes:
        raise Problem(
            HTTPStatus.FORBIDDEN,
            f"this key may {', '.join(key.scopes)}; {asked} needs the scope {needed}",
        )
    if wait := keyring.wait(key):
        raise Problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"this key may ask {key.per_minute} times a minute",
            {"retry-after": str(math.ceil(wait))},
        )
    return key


def record(
    request_id: str,
    method: str,
    path: str,
    key: Key | None,
    status: int,
    seconds: float,
    trace: str | None,
) -> None:
    """One line: who asked for what and how it ended; never what was said, and never a key."""
    line: dict[str, object] = {
        "request_id": request_id,
        "method": method,
        "path": path,
        "status": status,
        "ms": round(1000 * seconds, 1),
        "key": key.id if key else None,
    }
    if trace is not None:
        line["trace_id"] = trace
    audit.info(json.dumps(line), extra={"fields": line})
