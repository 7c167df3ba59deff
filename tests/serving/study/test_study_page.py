"""The page of a study in a real browser: watched, answered by keyboard, reloaded, by touch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gestray.artifacts import Artifact
from serving.study.app import make_app
from serving.study.desk import Answers, Desk
from serving.study.plan import QUESTIONS, showings
from tests.serving.conftest import opened, shot
from tests.serving.study.studies import make_study, served

WIDE = {"width": 1200, "height": 950}


@pytest.fixture
def study(tmp_path: Path) -> Artifact:
    return make_study(tmp_path, count=3, seconds=0.7, checks=1, pairs_each=2)


@pytest.fixture
def link(study: Artifact) -> Iterator[str]:
    """The link of participant 0."""
    desk = Desk(study)
    with served(make_app(desk)) as address:
        yield f"{address}#p={desk.token(0)}"


def watch(page: Any) -> None:
    """Plays both until the questions can be answered."""
    page.locator("[data-play=left]:enabled").wait_for()
    page.keyboard.press("1")
    page.locator("figure.watched").wait_for()
    page.keyboard.press("2")
    page.locator("fieldset:enabled").first.wait_for()


def chosen(page: Any) -> list[str]:
    return page.evaluate("[...document.querySelectorAll(':checked')].map(one => one.value)")


def test_a_participant_answers_by_keyboard_and_a_reload_loses_nothing(browser, study, link) -> None:
    page = opened(browser, link, viewport=WIDE, color_scheme="light")
    page.locator("#start").wait_for()
    page.keyboard.press("Enter")
    page.locator("fieldset").first.wait_for()
    assert page.locator("fieldset:enabled").count() == 0  # not before it was watched
    watch(page)
    for _ in range(2):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.querySelectorAll(':checked').length === 3")

    page.reload()  # at once: what is on its way arrives
    page.locator("fieldset:enabled").first.wait_for()  # what was answered was watched
    assert chosen(page) == ["left", "left", "right"]
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("() => !document.getElementById('next').disabled")
    assert chosen(page) == ["left", "left", "right", "right", "right"]
    shot(page, "study")

    done = 1
    while done < 3:
        page.keyboard.press("Enter")
        watch(page)
        side = "left"
        if page.locator("#message").is_visible():
            side = "left" if "LEFT" in page.locator("#message").inner_text() else "right"
        for _ in QUESTIONS:
            page.keyboard.press("ArrowLeft" if side == "left" else "ArrowRight")
        page.wait_for_function("() => !document.getElementById('next').disabled")
        done += 1
    page.keyboard.press("Enter")
    page.locator("#thanks").wait_for()
    assert page.locator("#where").inner_text() == "3 of 3 answered"
    page.reload()
    page.locator("#thanks").wait_for()

    [lines] = Answers(study).read().values()
    sheet = Desk(study).sheet(0)
    first = dict(zip(QUESTIONS, ["left", "left", "right", "right", "right"], strict=True))
    assert sheet.choices(0) == first
    # What was on its way when the page was left may have been sent twice, and says the same.
    said = [(line.place, *answer) for line in lines for answer in line.choices.items()]
    assert len(set(said)) == len({(place, question) for place, question, _ in said}) == 15
    for place, showing in enumerate(showings(Desk(study).plan, 0)):
        if showing.check:
            assert set(sheet.choices(place).values()) == {showing.check}
    assert page.complaints == []
    page.close()


def test_by_touch_at_night_on_a_phone(browser_with_gl, link) -> None:
    size = {"width": 390, "height": 844}
    page = opened(browser_with_gl, link, viewport=size, color_scheme="dark", has_touch=True)
    page.locator("#start").tap()
    for side in ("left", "right"):
        page.locator(f"[data-play={side}]").tap()
        page.wait_for_function(
            "side => document.getElementById(side).closest('figure').matches('.watched')", arg=side
        )
    page.locator("fieldset:enabled").first.wait_for()
    page.locator("fieldset >> nth=0 >> text=Left").tap()
    page.wait_for_function("() => document.querySelectorAll(':checked').length === 1")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= size["width"]
    # The avatar, not a stick figure.
    assert page.evaluate("() => Boolean(document.getElementById('left').getContext('webgl2'))")
    shot(page, "study-phone")
    assert page.complaints == []
    page.close()


def test_without_its_link_the_page_says_what_to_open(browser, link) -> None:
    page = opened(browser, link.partition("#")[0])
    page.get_by_text("open the whole link").wait_for()
    page.close()
