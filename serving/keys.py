"""API keys: who may ask for what, and how often.

A key is an id and 32 random bytes, shown once when it is made. The file holds the SHA-256
of the bytes, which nobody can guess their way back from; a slow hash is for passwords. A
replica counts requests by itself, so a limit holds for each replica.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from gestray.errors import UserError

Scope = Literal["retrieve", "generate", "metrics", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

_TOKEN = re.compile(r"gestray_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


class Key(BaseModel):
    """A key as the file has it: all but the key itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str
    name: str = Field(min_length=1, max_length=64)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: tuple[Scope, ...] = Field(min_length=1)
    per_minute: int = Field(ge=1)
    created: str


def make_key(name: str, scopes: Iterable[Scope], per_minute: int) -> tuple[Key, str]:
    """A new key, and the text that its owner sends; that text is kept nowhere."""
    identity, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    key = Key(
        id=identity,
        name=name,
        sha256=_hash(secret),
        scopes=tuple(sorted(set(scopes))),
        per_minute=per_minute,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return key, f"gestray_{identity}_{secret}"


def read_keys(file: Path) -> list[Key]:
    """The keys of a file.

    Raises:
        UserError: there is no such file, or it is no list of keys.
    """
    try:
        return TypeAdapter(list[Key]).validate_json(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from None
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "the file"
        raise UserError(
            f"{file}: {where}: {error.errors()[0]['msg']}; expected what "
            "`gestray serve keys add` writes"
        ) from None


def write_keys(keys: Iterable[Key], file: Path) -> None:
    """Replace the file, readable by its owner alone, at once or not at all."""
    text = json.dumps([key.model_dump() for key in keys], indent=2) + "\n"
    file.parent.mkdir(parents=True, exist_ok=True)
    # mkstemp makes files that only their owner can read.
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@dataclass
class _Bucket:
    """Requests a key may still make; fills up evenly (token bucket)."""

    left: float
    since: float


@dataclass
class Keyring:
    """The keys a replica knows, and how much each of them has asked for."""

    keys: dict[str, Key]
    now: Callable[[], float] = time.monotonic
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    @classmethod
    def of(cls, keys: Iterable[Key]) -> Keyring:
        return cls({key.id: key for key in keys})

    def find(self, authorization: str | None) -> Key | None:
        """The key of an `Authorization: Bearer …` header; None if it is not one of ours."""
        scheme, _, token = (authorization or "").partition(" ")
        match = _TOKEN.fullmatch(token.strip()) if scheme.lower() == "bearer" else None
        key = self.keys.get(match[1]) if match else None
        if match is None or key is None:
            return None
        return key if hmac.compare_digest(_hash(match[2]), key.sha256) else None

    def wait(self, key: Key) -> float:
        """Seconds until the key may ask again; 0, and one request is counted, if it may now."""
        now = self.now()
        bucket = self._buckets.setdefault(key.id, _Bucket(key.per_minute, now))
        rate = key.per_minute / 60
        bucket.left = min(key.per_minute, bucket.left + (now - bucket.since) * rate)
        bucket.since = now
        if bucket.left < 1:
            return (1 - bucket.left) / rate
        bucket.left -= 1
        return 0.0


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
