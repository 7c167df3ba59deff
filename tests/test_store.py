"""Folders, on a disk and in a real S3 server, behave alike."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path

import pytest

from gestray import store
from gestray.errors import UserError
from gestray.store import Folder
from tests.s3_proxy import FAULTS, faulty_s3


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def folder(request, tmp_path, monkeypatch) -> Folder:
    if request.param == "local":
        return Folder(str(tmp_path / "store"))
    for name, value in request.getfixturevalue("s3").items():
        monkeypatch.setenv(name, value)
    return Folder(f"s3://gestray/{tmp_path.name}")


def test_what_is_written_is_read_listed_and_deleted(folder):
    assert not folder.exists("a", "b.txt")
    assert folder.list() == []
    folder.write_bytes(b"one", "a", "b.txt")
    folder.child("a").write_bytes(b"two", "c.txt")
    assert folder.read_bytes("a", "b.txt") == b"one"
    assert folder.list("a") == ["a/b.txt", "a/c.txt"]
    assert folder.list() == ["a"]
    folder.write_bytes(b"new", "a", "b.txt")
    assert folder.child("a").read_bytes("b.txt") == b"new"
    folder.child("a").delete()
    assert not folder.exists("a", "b.txt")
    folder.child("a").delete()  # absent is fine


def test_folders_travel_there_and_back(folder, tmp_path):
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "x").write_bytes(b"x")
    (source / "deep" / "y").write_bytes(b"y" * 100_000)
    folder.upload(source, "copy")
    back = folder.download(tmp_path / "back", "copy")
    assert (back / "x").read_bytes() == b"x"
    assert (back / "deep" / "y").read_bytes() == b"y" * 100_000


def test_a_folder_can_be_sent_to_another_process(folder):
    folder.write_bytes(b"1", "f")
    assert pickle.loads(pickle.dumps(folder)).read_bytes("f") == b"1"


def test_an_interrupted_write_leaves_the_old_content_and_nothing_else(tmp_path):
    folder = Folder(str(tmp_path))
    folder.write_bytes(b"old", "f")
    with pytest.raises(RuntimeError), folder.open_output("f") as stream:
        stream.write(b"half of the ne")
        raise RuntimeError("killed")
    assert folder.read_bytes("f") == b"old"
    assert [path.name for path in Path(tmp_path).iterdir()] == ["f"]


@pytest.mark.parametrize("uri", ["gs://bucket/x", "s3://", "http://host/x"])
def test_other_stores_are_refused(uri):
    with pytest.raises(UserError, match="expected a"):
        Folder(uri)


@pytest.mark.s3
def test_a_wrong_secret_is_refused_by_the_server(s3, monkeypatch):
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(OSError, match=r"(?i)signature|denied|forbidden"):
        Folder("s3://gestray/x").write_bytes(b"1", "f")


@pytest.fixture
def through_proxy(s3, monkeypatch):
    """Opens a folder of the S3 server through a proxy; the proxy is its second result."""
    with faulty_s3(s3["AWS_ENDPOINT_URL"], rate=0.0, stall_s=0.1) as proxy:
        for name, value in {**s3, "AWS_ENDPOINT_URL": proxy.url}.items():
            monkeypatch.setenv(name, value)
        yield Folder("s3://gestray/through-proxy"), proxy


@pytest.mark.s3
def test_a_server_that_fails_now_and_then_loses_nothing(through_proxy):
    folder, proxy = through_proxy
    proxy.rate = 0.15
    contents = {f"{n}": os.urandom(50_000 * n + 1) for n in range(30)}
    for name, data in contents.items():
        folder.write_bytes(data, name)
    assert folder.list() == sorted(contents)
    for name, data in contents.items():
        assert folder.exists(name) and folder.read_bytes(name) == data
    assert len([fault for fault in FAULTS if proxy.seen[fault]]) >= 4


@pytest.mark.s3
def test_a_server_that_is_away_is_waited_for(through_proxy, monkeypatch, caplog):
    monkeypatch.setattr(store, "REQUEST_ATTEMPTS", 1)
    monkeypatch.setattr(store, "PAUSES_S", (0.5, 1.0, 2.0))
    folder, proxy = through_proxy
    folder.write_bytes(b"there", "f")
    proxy.down_until = time.monotonic() + 0.7
    assert folder.read_bytes("f") == b"there"
    assert "read gestray/through-proxy/f failed, again in" in caplog.text
    proxy.down_until = time.monotonic() + 60
    with pytest.raises(OSError, match=r"NETWORK_CONNECTION|curl"):
        folder.write_bytes(b"never", "f")


@pytest.mark.s3
def test_an_answer_that_stops_half_way_is_asked_for_again(through_proxy, monkeypatch):
    monkeypatch.setattr(store, "REQUEST_TIMEOUT_S", 1)
    folder, proxy = through_proxy
    folder.write_bytes(b"x" * 100_000, "f")
    proxy.faults, proxy.stall_s, proxy.rate = ("slow answer",), 2.5, 0.5
    started = time.monotonic()
    assert all(folder.read_bytes("f") == b"x" * 100_000 for _ in range(2))
    assert proxy.seen["slow answer"]
    assert time.monotonic() - started < 2.5 * proxy.seen["slow answer"]


@pytest.mark.s3
def test_what_is_refused_is_not_tried_again(through_proxy):
    folder, proxy = through_proxy
    folder.write_bytes(b"1", "secret")
    proxy.denied = ("/secret",)
    with pytest.raises(OSError, match=r"(?i)denied|403"):
        folder.read_bytes("secret")
    with pytest.raises(FileNotFoundError):
        folder.read_bytes("absent")
