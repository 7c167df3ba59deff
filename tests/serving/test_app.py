"""The application on Ray Serve: the same answers in batches, and no more than it can take."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from gestray.store import Folder
from serving.config import Load, ServingConfig
from serving.keys import make_key, write_keys
from serving.library import Model

pytestmark = pytest.mark.ray

_LOAD = Load(ongoing=8, queued=8, batch=8, batch_wait_s=0.02)


@pytest.fixture(scope="module")
def service(ray_cluster: str, store: Folder, tmp_path_factory) -> Iterator[httpx.Client]:
    """`gestray serve`'s application on the session's cluster, and a client with a key."""
    from ray import serve
    from ray.serve.config import HTTPOptions, ProxyLocation

    from serving.app import application
    from tests.conftest import _free_port

    key, token = make_key("test", ("retrieve",), 100_000)
    file = Path(tmp_path_factory.mktemp("keys")) / "keys.json"
    write_keys([key], file)
    config = ServingConfig(store=store.uri, keys=str(file), port=_free_port(), load=_LOAD)
    options = HTTPOptions(host=config.host, port=config.port)
    serve.start(proxy_location=ProxyLocation.HeadOnly, http_options=options)
    serve.run(application(config), name="test", route_prefix="/")
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(
        base_url=f"http://127.0.0.1:{config.port}", headers=headers, timeout=60
    ) as client:
        yield client
    serve.shutdown()


def test_a_batch_answers_what_one_alone_is_answered(service: httpx.Client, model: Model) -> None:
    assert service.get("/readyz").json() == {"status": "ready"}
    texts = model.gestures.rows["text"].to_pylist()[:8]

    def ask(text: str) -> list[str]:
        answer = service.post("/v1/retrieve", json={"text": text, "k": 3})
        assert answer.status_code == 200, answer.text
        return [gesture["id"] for gesture in answer.json()["gestures"]]

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(ask, texts))
    alone = [
        [hit.phrase_id for hit in model.gestures.search(model.embed_texts([text]), 3)[0]]
        for text in texts
    ]
    assert together == alone


def test_beyond_its_queue_it_says_when_to_ask_again(service: httpx.Client) -> None:
    def ask(number: int) -> httpx.Response:
        return service.post("/v1/retrieve", json={"text": f"text {number} " * 60})

    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(ask, range(192)))
    codes = {answer.status_code for answer in answers}
    assert codes == {200, 429}
    busy = next(answer for answer in answers if answer.status_code == 429)
    assert int(busy.headers["retry-after"]) >= 1
    assert service.post("/v1/retrieve", json={"text": "after"}).status_code == 200


def test_it_listens_on_loopback_alone_and_wants_a_key(service: httpx.Client) -> None:
    import psutil

    port = service.base_url.port
    listening = {
        c.laddr.ip
        for c in psutil.net_connections("tcp")
        if c.status == psutil.CONN_LISTEN and c.laddr.port == port
    }
    assert listening == {"127.0.0.1"}
    bare = httpx.post(f"{service.base_url}/v1/retrieve", json={"text": "hi"})
    assert bare.status_code == 401
