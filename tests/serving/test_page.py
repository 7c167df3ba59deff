"""The page in a real browser: words in, moving gestures out, two methods side by side."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.api import make_api
from serving.config import ServingConfig
from serving.keys import Key, Keyring
from serving.library import Model
from tests.serving.conftest import InProcess

uvicorn = pytest.importorskip("uvicorn")


@pytest.fixture
def address(model: Model, key: tuple[Key, str]) -> Iterator[str]:
    """Where the API listens, with two names for its model."""
    service = InProcess(model)
    service.models = {"other": model, "gestures": model}
    app = make_api(service, ServingConfig(), Keyring.of([key[0]]))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        server.should_exit = True
        thread.join()


def _open(browser: Any, url: str, **options: Any) -> Any:
    page = browser.new_page(**options)
    page.set_default_timeout(15_000)
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda message: page.complaints.append(message.text))
    page.goto(url)
    return page


def _shot(page: Any, name: str) -> None:
    """A picture for the docs, where one is wanted."""
    if folder := os.environ.get("GESTRAY_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def _pixels(page: Any) -> str:
    return page.locator("canvas").first.evaluate("canvas => canvas.toDataURL()")


def test_words_find_gestures_that_move(browser, address: str, key, model: Model) -> None:
    page = _open(browser, f"{address}#key={key[1]}", viewport={"width": 1280, "height": 900})
    text = model.gestures.rows["text"][2].as_py()
    page.locator("article").first.wait_for()
    assert key[1] not in page.url  # the address does not keep the key
    page.keyboard.press("/")
    page.keyboard.type(text)
    best = model.gestures.search(model.embed_texts([text]), 6)[0]
    found = page.locator("article .words")
    page.wait_for_function(
        "wanted => document.querySelector('article .words').textContent.trim() === wanted",
        arg=best[0].text,
    )
    assert found.count() == 6
    page.wait_for_function("() => [...document.querySelectorAll('canvas')].every(c => c.width > 0)")
    before = _pixels(page)
    page.wait_for_function(
        "before => document.querySelector('canvas').toDataURL() !== before", arg=before
    )
    page.wait_for_function("() => document.querySelector('.words .now')")
    _shot(page, "page")
    page.select_option("#other", "other")
    page.locator("#found.side").wait_for()
    assert page.locator("article").count() == 12
    assert page.complaints == []
    page.close()


def test_on_a_phone_at_night_nothing_sticks_out(browser, address: str, key) -> None:
    size = {"width": 390, "height": 844}
    page = _open(
        browser,
        f"{address}?q=hello#key={key[1]}",
        viewport=size,
        color_scheme="dark",
        has_touch=True,
    )
    page.locator("article").first.wait_for()
    page.wait_for_function("() => document.querySelector('.words span')")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= size["width"]
    _shot(page, "page-phone")
    assert page.complaints == []
    page.close()


def test_without_a_key_the_page_says_where_there_is_one(browser, address: str) -> None:
    page = _open(browser, address)
    page.get_by_text("open the address that").wait_for()
    page.close()
