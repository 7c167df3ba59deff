"""What a server is told: which models, how much at once, who may ask."""

from __future__ import annotations

import ipaddress

from pydantic import Field, field_validator

from gestray.config import Config
from gestray.errors import UserError


class Limits(Config):
    """What a request may cost before anything of it is decoded.

    Args:
        text_chars: of a query's text.
        hits: the largest `k`.
        body_bytes: of a request's body; more is refused while it arrives.
        motion_frames: of an uploaded motion, at 30 a second.
        speech_s: of an uploaded recording, or of a text as it is spoken.
        film_s: of a motion that is asked for as MP4, which takes as long to draw.
        body_s: a body that has not arrived after so long is refused.
        streams: that a replica has open at once.
        stream_s: of speech in a stream.
        stall_s: a client of a stream that neither sends nor acknowledges for so long has left.
    """

    text_chars: int = Field(2_000, ge=1)
    hits: int = Field(100, ge=1)
    body_bytes: int = Field(16 << 20, ge=1024)
    motion_frames: int = Field(3_600, ge=1)
    speech_s: float = Field(120.0, gt=0)
    film_s: float = Field(30.0, gt=0)
    body_s: float = Field(20.0, gt=0)
    streams: int = Field(8, ge=0)
    stream_s: float = Field(300.0, gt=0)
    stall_s: float = Field(20.0, gt=0)


class Load(Config):
    """How much a replica takes on, and what happens beyond that.

    Args:
        replicas: how many there are at least.
        max_replicas: how many there may be under load.
        ongoing: requests a replica works on at once: a batch that is computed, and half of one
            that gathers meanwhile.
        queued: requests that wait for a replica; any more are answered 429 at once. Few, so that
            who is let in is answered soon: what waits is latency.
        batch: texts that are embedded together.
        batch_wait_s: how long the first text of a batch waits for others.
        request_s: a request that takes longer is given up.
        threads: of torch and faiss in a replica.
        moved: speeches that motion is generated for at once.
        move_queued: speeches that wait for that in a replica; any more are answered 429.
        kept_bytes: of recent motions and of files made of them, in the whole service.
        kept_s: how long a motion is kept after it was last asked for.
    """

    replicas: int = Field(1, ge=1)
    max_replicas: int = Field(1, ge=1)
    ongoing: int = Field(24, ge=1)
    queued: int = Field(16, ge=0)
    batch: int = Field(16, ge=1)
    batch_wait_s: float = Field(0.002, ge=0)
    request_s: float = Field(30.0, gt=0)
    threads: int = Field(1, ge=1)
    moved: int = Field(8, ge=1)
    move_queued: int = Field(16, ge=0)
    kept_bytes: int = Field(256 << 20, ge=1 << 20)
    kept_s: float = Field(3_600.0, gt=0)


class ServingConfig(Config):
    """Everything `gestray serve` and a Serve config file say.

    Args:
        store: where the artifacts are; `GESTRAY_STORE` or the default otherwise.
        models: URI of an index by the name of its model. Without any, the newest index of
            each name in the store; the newest of all answers where a request names none.
        generators: URI of a generator by the name of its model, likewise.
        host, port: where to listen. Any but a loopback address needs `keys`.
        grpc_port: where to listen for gRPC at the same address; nowhere without it.
        keys: file of API keys (`gestray serve keys add`).
        log: file that lines of JSON are appended to, on each replica's node: who asked for what,
            and what went wrong. Standard error otherwise.
        allow_origins: web origins whose pages may call the API; none but its own otherwise.
    """

    store: str | None = None
    models: dict[str, str] = Field(default_factory=dict)
    generators: dict[str, str] = Field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    grpc_port: int | None = Field(None, ge=1, le=65535)
    keys: str | None = None
    log: str | None = None
    allow_origins: tuple[str, ...] = ()
    limits: Limits = Limits()
    load: Load = Load()

    @field_validator("host")
    @classmethod
    def _is_address(cls, host: str) -> str:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(f"{host!r} is no IP address, such as 127.0.0.1") from None
        return host

    def check(self) -> None:
        """Refuse what would open the server to others without keys.

        Raises:
            UserError: the address can be reached from other machines and there are no keys; or
                HTTP and gRPC would listen on the same port.
        """
        if self.grpc_port == self.port:
            raise UserError(
                f"port and grpc_port: found {self.port} for both; HTTP and gRPC need one each, as "
                "8000 and 8001"
            )
        if not ipaddress.ip_address(self.host).is_loopback and self.keys is None:
            raise UserError(
                f"host {self.host} can be reached from other machines, but there are no API keys: "
                "make a key with `gestray serve keys add NAME --file keys.json` and give "
                "--keys keys.json, or listen on 127.0.0.1"
            )
