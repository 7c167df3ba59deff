"""Keys: only the right one opens, only as often as it may."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gestray.errors import UserError
from serving.keys import Keyring, make_key, read_keys, write_keys


def test_the_file_has_no_key_in_it_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    key, token = make_key("museum", ("retrieve", "generate"), 60)
    file = tmp_path / "deep" / "keys.json"
    write_keys([key], file)
    assert read_keys(file) == [key]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert token.rsplit("_", 1)[1] not in file.read_text()


@pytest.mark.parametrize("text", ["", "{}", '[{"id": "x"}]', "[1]", "\x80\x04pickle"], ids=repr)
def test_another_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"keys\.json"):
        read_keys(file)


def test_one_letter_off_is_another_key() -> None:
    key, token = make_key("a", ("retrieve",), 60)
    ring = Keyring.of([key])
    assert ring.find(f"Bearer {token}") == key
    assert ring.find(f"bearer {token}") == key
    off = token[:-1] + ("A" if token[-1] != "A" else "B")
    other, _ = make_key("b", ("retrieve",), 60)
    for wrong in (off, token[:-1], token + "x", f"gestray_{other.id}_{token[-43:]}"):
        assert ring.find(f"Bearer {wrong}") is None


@given(st.one_of(st.none(), st.text(max_size=80)))
def test_anything_else_is_no_key(header: str | None) -> None:
    assert Keyring.of([make_key("a", ("retrieve",), 1)[0]]).find(header) is None


def test_a_key_asks_as_often_as_it_may_and_again_later() -> None:
    clock = [0.0]
    key, _ = make_key("a", ("retrieve",), 60)
    ring = Keyring({key.id: key}, now=lambda: clock[0])
    assert [ring.wait(key) for _ in range(60)] == [0.0] * 60
    assert ring.wait(key) == pytest.approx(1.0)
    clock[0] = 0.5
    assert ring.wait(key) == pytest.approx(0.5)
    clock[0] = 1.0
    assert ring.wait(key) == 0.0
    assert ring.wait(key) > 0
    clock[0] = 1e6
    assert [ring.wait(key) for _ in range(60)] == [0.0] * 60
    assert ring.wait(key) > 0
