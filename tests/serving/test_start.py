"""What keeps a server from starting is told before it starts, in one sentence."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from gestray.artifacts import artifacts_of_kind
from gestray.errors import UserError
from gestray.store import Folder
from serving.config import ServingConfig
from serving.library import check_chosen, choose
from serving.local import cause
from tests.jobs.conftest import gestray

__all__ = ["gestray"]


@pytest.fixture
def copied(store: Folder, tmp_path: Path) -> Folder:
    """The store, to be damaged; its artifacts know each other where they are now."""
    copy = shutil.copytree(store.path(), tmp_path / "store")
    for manifest in copy.rglob("manifest.json"):
        manifest.write_text(manifest.read_text().replace(store.uri, str(copy)))
    return Folder(str(copy))


def test_what_is_whole_is_served(copied: Folder) -> None:
    check_chosen(choose(ServingConfig(store=copied.uri)))


def _without(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def _header(change: Any) -> Any:
    def damage(folder: Path) -> None:
        file = folder / "model.safetensors"
        data = file.read_bytes()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        change(header)
        new = json.dumps(header).encode()
        file.write_bytes(len(new).to_bytes(8, "little") + new + data[8 + length :])

    return damage


def _cut(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("kind", "damage", "says"),
    [
        ("index", _without("manifest.json"), None),
        ("index", _without("index/index.faiss"), "build the index again"),
        ("embeddings", _without("manifest.json"), "finished artifact"),
        ("encoder", _without("model.safetensors"), "make the artifact again"),
        ("encoder", _header(lambda h: h.pop(next(iter(sorted(h))))), "1 tensors are missing"),
        ("generator", _header(lambda h: h.update(new=h[max(h)])), "1 unknown"),
        ("generator", _header(lambda h: h[max(h)].update(shape=[1])), "1 of another shape"),
        ("generator", _cut, "bytes, expected"),
        ("encoder", lambda f: (f / "model.safetensors").write_bytes(b"nothing"), "header"),
    ],
)
def test_what_is_damaged_is_told_in_a_sentence(
    copied: Folder, gestray, monkeypatch, kind, damage, says
) -> None:
    monkeypatch.setattr("jobs.cluster.connect", lambda: pytest.fail("it was about to start"))
    for artifact in artifacts_of_kind(copied, kind):  # other tests may have made some beside
        damage(Path(artifact.uri))
    if says is None:  # nobody knows of it any more; the generator is served alone
        assert not choose(ServingConfig(store=copied.uri)).models
        return
    ended = gestray("serve", "--store", copied.uri)
    assert ended.code == 1 and says in ended.err and "Traceback" not in ended.err
    assert ended.err.count("error: ") == 1


def test_a_port_that_is_taken_is_told_in_a_sentence(store: Folder, gestray, monkeypatch) -> None:
    monkeypatch.setattr("jobs.cluster.connect", lambda: pytest.fail("it was about to start"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for option in ("--port", "--grpc-port"):
            ended = gestray("serve", "--store", store.uri, "--port", "0", option, port)
            assert ended.code == 1 and f"{option[2:].replace('-', '_')} {port}" in ended.err
    ended = gestray("serve", "--store", store.uri, "--port", "8000", "--grpc-port", "8000")
    assert ended.code == 1 and "one each" in ended.err


def test_what_serve_tells_at_length_is_told_in_a_sentence() -> None:
    told = """Deploying application gestray failed: The deployment failed to start 3 times in a row.
ray::ServeReplica:gestray:Gestures.initialize_and_get_metadata() (pid=1, ip=127.0.0.1)
  File "library.py", line 9, in load_model
    raise UserError(f"{uri}: its encoder does not read")
gestray.errors.UserError: s3://x/index/a: its encoder does not read, and requests are words
"""
    assert cause(told) == "s3://x/index/a: its encoder does not read, and requests are words"
    assert cause("Deploying failed:\nMemoryError: no more\n").startswith(
        "the replicas do not start: Mem"
    )


def test_a_file_of_keys_that_is_none_is_told_too(gestray, tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("[{}]")
    ended = gestray("serve", "--keys", tmp_path / "keys.json", "--store", tmp_path)
    assert ended.code == 1 and "keys.json" in ended.err
    with pytest.raises(UserError, match="no index and no generator"):
        choose(ServingConfig(store=str(tmp_path)))
