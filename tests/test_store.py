"""Folders, on a disk and in a real S3 server, behave alike."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from gestray.errors import UserError
from gestray.store import Folder


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
