"""The page in a real browser, by keyboard: what is read, decided, filtered and kept."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gestray.anchors.review import Journal, Review, standing
from gestray.artifacts import Artifact
from gestray.store import Folder
from jobs.desk import open_desk

uvicorn = pytest.importorskip("uvicorn")
playwright = pytest.importorskip("playwright.sync_api")

TOKEN = "a-token-of-the-test"
WIDE = {"width": 1360, "height": 860}


@pytest.fixture
def page(browser, anchors: Artifact) -> Iterator[playwright.Page]:
    """The page of annotator ann, beside bo, who has rejected the second anchor."""
    import socket

    from serving.review.app import make_app

    store = store_of(anchors)
    [_, second, *_] = phrase_ids(anchors)
    Journal(store, anchors.manifest.identity).add(
        Review(phrase_id=second, annotator="bo", decision="reject")
    )
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        app = make_app(open_desk(store, anchors, "ann"), TOKEN, port)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        found = browser.new_page(viewport=WIDE, color_scheme="light")
        complaints: list[str] = []
        found.on("pageerror", lambda error: complaints.append(str(error)))
        found.on("console", lambda message: complaints.append(message.text))
        found.goto(f"http://127.0.0.1:{port}/?token={TOKEN}")
        found.set_default_timeout(10_000)
        yield found
        found.close()
        server.should_exit = True
        thread.join()
    # Chromium itself notes what the server refuses.
    assert [complaint for complaint in complaints if "status of 422" not in complaint] == []


def store_of(anchors: Artifact) -> Folder:
    return Folder(str(Path(anchors.uri).parents[1]))


def phrase_ids(anchors: Artifact) -> list[str]:
    from jobs.rows import read_rows

    return read_rows(anchors.folder, ["phrase_id"])["phrase_id"].to_pylist()


def decided(anchors: Artifact) -> dict[str, Review]:
    """What stands of ann's decisions in the store, by phrase."""
    reviews = standing(Journal(store_of(anchors), anchors.manifest.identity).read())
    return {phrase: review for (phrase, who), review in reviews.items() if who == "ann"}


def at(page: playwright.Page, number: int) -> None:
    """Wait until an anchor and its motion are on the page."""
    page.wait_for_selector(f"body[data-anchor='{number}']")
    page.wait_for_selector("#scrub:not([max='0'])")


def drawn(page: playwright.Page) -> str:
    return page.evaluate("document.getElementById('figure').toDataURL()")


def test_an_annotator_reads_and_decides_by_keyboard_alone(page, anchors):
    keys = page.keyboard
    first, second, *_ = phrase_ids(anchors)
    at(page, 0)
    assert "token" not in page.url

    # The motion plays, stands, and goes on by frames; the words light up in time.
    keys.press("Space")
    page.evaluate("document.getElementById('scrub').value = 0")
    keys.press("ArrowRight")
    before = drawn(page)
    for _ in range(12):
        keys.press(".")
    assert drawn(page) != before
    for _ in range(60):
        if page.locator("#transcript .now").count():
            break
        keys.press(".")
    assert page.locator("#transcript .now").count() == 1
    before = drawn(page)
    keys.press("v")
    assert page.locator("#view").inner_text() == "left side" and drawn(page) != before

    keys.press("a")
    at(page, 1)
    # Corrected: the label by typing it, a sentence, the hands.
    keys.press("e")
    keys.type("negation")
    keys.press("Tab")
    keys.press("Control+a")
    keys.type("Says no to it.")
    page.focus("[aria-label=handedness]")
    keys.type("both")
    playwright.expect(page.locator("#form-text")).to_contain_text("Both hands, ")
    keys.press("Control+Enter")
    # The other annotator's decision was not to be seen before.
    page.wait_for_selector("#others article")
    assert "bo says otherwise: reject" in page.locator("#others").inner_text()
    keys.press("j")
    at(page, 2)
    keys.press("r")
    at(page, 3)
    keys.press("k")
    at(page, 2)
    keys.press("u")
    page.wait_for_selector("#mine", state="hidden")
    keys.press("n")
    at(page, 3)

    reviews = decided(anchors)
    assert {phrase: review.decision for phrase, review in reviews.items()} == {
        first: "accept",
        second: "edit",
    }
    edited = reviews[second]
    assert (edited.label, edited.intent.sentence) == ("negation", "Says no to it.")
    assert edited.form.handedness == "both" and edited.form.relation != "single"
    assert page.locator("#progress").inner_text().startswith("2 of ")

    # Filters, help, and both looks.
    keys.press("f")
    keys.type("edited")
    keys.press("Enter")
    page.wait_for_selector("body[data-anchor='1']")
    assert page.locator("#where").inner_text().startswith("1 of 1 ")
    keys.press("?")
    assert page.locator("#help").is_visible()
    keys.press("Escape")
    assert not page.locator("#help").is_visible()
    looks = set()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        looks.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(looks) == 2


def test_what_cannot_be_is_said_and_not_kept(page, anchors):
    keys = page.keyboard
    at(page, 0)
    keys.press("e")
    keys.type("negation")
    keys.press("Tab")
    keys.press("Control+a")
    keys.press("Delete")
    keys.press("Control+Enter")
    page.wait_for_selector("#problem:not([hidden])")
    assert "the sentence is empty" in page.locator("#problem").inner_text()
    keys.press("Escape")
    assert page.locator("#problem").is_hidden()
    assert decided(anchors) == {}


@pytest.mark.skipif("GESTRAY_SCREENSHOTS" not in os.environ, reason="only when asked for pictures")
def test_picture(page, anchors):
    """`GESTRAY_SCREENSHOTS=docs/images pytest -k picture` draws what docs/anchors.md shows."""
    from jobs.rows import read_rows

    statuses = read_rows(anchors.folder, ["status"])["status"].to_pylist()
    at(page, 0)
    for _ in range(statuses.index("grounded")):
        page.keyboard.press("j")
    page.wait_for_selector(f"body[data-anchor='{statuses.index('grounded')}']")
    time.sleep(1.5)
    page.screenshot(path=Path(os.environ["GESTRAY_SCREENSHOTS"]) / "review.png")
