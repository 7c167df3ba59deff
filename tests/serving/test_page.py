"""The page in a real browser: searched, played, compared, generated, streamed and taken away."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.api import make_api
from serving.config import ServingConfig
from serving.keys import Key, Keyring
from serving.library import Model, Mover
from tests.serving.conftest import InProcess, opened, shot
from tests.serving.study.studies import served

WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def address(model: Model, mover: Mover, key: tuple[Key, str]) -> Iterator[str]:
    """Where the API listens, with two names for its model and for its generator."""
    service = InProcess(model, mover)
    service.models = {"other": model, "gestures": model}
    service.movers = {"another": mover, "semtalk": mover}
    with served(make_api(service, ServingConfig(), Keyring.of([key[0]]))) as address:
        yield address


def looks_other(page: Any, before: bytes) -> bool:
    """Whether the stage comes to look other than before, within some seconds."""
    for _ in range(50):
        if page.locator(".stage").first.screenshot() != before:
            return True
        page.wait_for_timeout(100)
    return False


def shown(page: Any, number: int = 0) -> None:
    """Wait until a stage has its motion."""
    page.locator(f".player:not(.empty, .loading) >> nth={number}").wait_for()


def download(page: Any, kind: str) -> bytes:
    """What a reader gets who asks for a file of the first stage."""
    page.locator("[data-part=files] summary").first.click()
    with page.expect_download() as found:
        page.locator(f"[data-kind={kind}]").first.click()
    assert found.value.suggested_filename.endswith(f".{kind}")
    return Path(found.value.path()).read_bytes()


def test_words_find_gestures_that_are_played_compared_and_taken_away(
    browser_with_gl, address: str, key, model: Model
) -> None:
    page = opened(browser_with_gl, f"{address}#key={key[1]}", viewport=WIDE)
    shown(page)
    assert key[1] not in page.url  # the address does not keep the key
    text = model.gestures.rows["text"][2].as_py()
    page.keyboard.press("/")
    page.keyboard.type(text)
    best = model.gestures.search(model.embed_texts([text]), 6)[0]
    page.wait_for_function(
        "wanted => document.querySelector('.results .said')?.textContent === wanted",
        arg=best[0].text,
    )
    assert page.locator(".results li").count() == 6
    shown(page)
    assert page.evaluate(
        "() => Boolean(document.querySelector('.stage canvas').getContext('webgl2'))"
    )
    assert looks_other(page, page.locator(".stage").first.screenshot())
    page.locator(".timeline .now").first.wait_for()
    shot(page, "page")

    # By keyboard: stand still, step, the next gesture, another view.
    page.locator(".results li").first.focus()
    page.keyboard.press(".")
    clock = page.locator("[data-part=clock]").first
    before = clock.inner_text()
    for _ in range(6):
        page.keyboard.press(".")
    assert clock.inner_text() != before
    page.keyboard.press("ArrowDown")
    assert page.locator(".results li[aria-selected=true] .rank").inner_text() == "2"
    shown(page)
    page.keyboard.press("v")
    assert page.locator("[data-part=view]").first.inner_text() == "left side"

    with np.load(io.BytesIO(download(page, "npz"))) as file:
        assert file["poses"].shape[1] == 165
    assert download(page, "glb")[:4] == b"glTF"
    assert download(page, "bvh").startswith(b"HIERARCHY")

    page.select_option("#other", "other")
    shown(page, 1)
    assert page.locator(".results li").count() == 12
    assert page.locator(".stage > .chip").all_inner_texts() == ["gestures", "other"]
    shot(page, "page-compared")
    assert page.complaints == []
    page.close()


def test_motion_is_generated_from_text_file_and_microphone_and_streamed(
    browser_with_gl, address: str, key, tmp_path: Path
) -> None:
    page = opened(browser_with_gl, f"{address}?mode=make#key={key[1]}", viewport=WIDE)
    page.wait_for_function("() => document.getElementById('model').value === 'semtalk'")
    page.fill("#say", "I have no idea")
    page.keyboard.press("Enter")
    shown(page)
    words = page.locator(".timeline .words span").all_inner_texts()
    assert words == ["I", "have", "no", "idea"]
    shot(page, "page-generated")
    with np.load(io.BytesIO(download(page, "npz"))) as file:
        spoken_frames = len(file["poses"])
        assert spoken_frames > 20

    # What the microphone hears becomes a file; it is Chromium's own beep.
    page.click("#record")
    page.get_by_text("Stop 1 s").wait_for()
    page.click("#record")
    page.get_by_text("recording, ").wait_for()
    page.fill("#say", "")
    page.click("#make [type=submit]")
    page.wait_for_function("() => document.querySelector('.timeline .words').hidden")
    shown(page)
    assert download(page, "npz")[:2] == b"PK"

    page.click("[role=tab][data-mode=live]")
    page.fill("#sentence", "It was huge.")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "() => /[1-9] s of motion/.test(document.getElementById('state').textContent)"
    )
    page.locator(".caption .now").first.wait_for()
    shot(page, "page-live")
    page.click("#end")
    shown(page)  # the whole of it, to be played again
    assert page.locator(".timeline .words span").all_inner_texts() == ["It", "was", "huge"]
    assert download(page, "bvh").startswith(b"HIERARCHY")

    page.click("#talk")
    page.get_by_text("s behind").wait_for()
    assert looks_other(page, page.locator(".stage").first.screenshot())
    page.click("#talk")
    shown(page)
    assert page.complaints == []
    page.close()


def test_on_a_phone_at_night_without_webgl_nothing_sticks_out(browser, address: str, key) -> None:
    page = opened(
        browser, f"{address}?q=hello#key={key[1]}", viewport=PHONE, color_scheme="dark",
        has_touch=True,
    )  # fmt: skip
    shown(page)
    pixels = "() => document.querySelector('.stage canvas').toDataURL()"
    before = page.evaluate(pixels)
    page.wait_for_function(f"before => ({pixels})() !== before", arg=before)
    page.locator(".results li >> nth=1").tap()
    page.locator(".results li[aria-selected=true] >> text=2").wait_for()
    for mode in ("make", "live", "search"):
        page.locator(f"[data-mode={mode}]").tap()
        width = page.evaluate("() => document.documentElement.scrollWidth")
        assert width <= PHONE["width"], mode
    shown(page)
    page.select_option("#other", "other")
    shown(page, 1)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.complaints == []
    page.close()


def test_a_phone_shows_the_avatar(browser_with_gl, address: str, key) -> None:
    page = opened(
        browser_with_gl, f"{address}?q=hello#key={key[1]}", viewport=PHONE, color_scheme="dark",
        has_touch=True,
    )  # fmt: skip
    shown(page)
    page.locator("[data-part=play]").tap()
    shot(page, "page-phone")
    assert page.complaints == []
    page.close()


def test_turns_are_read_alike_here_and_there(browser, address: str, key, model: Model) -> None:
    """The browser's own kinematics against the places that the server sends."""
    phrase = model.gestures.rows["phrase_id"][0].as_py()
    page = opened(browser, f"{address}#key={key[1]}", viewport=WIDE)
    worst = page.evaluate(
        """async ([phrase, key]) => {
          const { unpackTurns, places, GrowingTurns } = await import("/assets/turns.js");
          const headers = { authorization: `Bearer ${key}` };
          const ask = async (path) => (await fetch(`/v1/${path}`, { headers }));
          const rest = (await (await ask("skeleton")).json()).rest;
          const motion = unpackTurns(await (await ask(`clips/${phrase}/turns`)).arrayBuffer());
          const packed = await (await ask(`clips/${phrase}/motion`)).arrayBuffer();
          const given = new Int16Array(packed, 12);
          const found = new Int16Array(given.length);
          places(motion, rest, 0, found);
          // The same turns as a stream brings them, as axis-angle.
          const rows = new Float32Array(motion.frames * 168);
          for (let i = 0; i < motion.frames * 55; i++) {
            const [x, y, z, w] = [0, 1, 2, 3].map((axis) => motion.turns[4 * i + axis] / 32767);
            const angle = 2 * Math.atan2(Math.hypot(x, y, z), w);
            const scale = angle / (Math.hypot(x, y, z) || 1);
            const at = Math.floor(i / 55) * 168 + 3 * (i % 55);
            rows.set([x * scale, y * scale, z * scale], at);
          }
          const grown = new GrowingTurns(30);
          grown.facing = [0, 0, 0, 1]; // they face the reader already
          const half = Math.floor(motion.frames / 2);
          grown.add(rows, half, 168);
          grown.add(rows.subarray(half * 168), motion.frames - half, 168);
          const streamed = new Int16Array(given.length);
          places(grown, rest, 0, streamed);
          const apart = (one) => Math.max(...one.map((value, i) => Math.abs(value - given[i])));
          return [given.length, apart(found), apart(streamed)];
        }""",
        [phrase, key[1]],
    )
    assert worst[0] > 1000 and max(worst[1:]) <= 2  # millimetres
    page.close()


def test_without_a_key_the_page_says_where_there_is_one(browser, address: str) -> None:
    page = opened(browser, address)
    page.get_by_text("open the address that").wait_for()
    page.close()


@pytest.mark.slow
def test_three_js_is_what_its_script_builds(tmp_path: Path) -> None:
    import shutil
    import subprocess

    from serving.pages import ASSETS

    if shutil.which("npm") is None:
        pytest.skip("npm is not here")
    script = shutil.copy(ASSETS.parent / "make_three.sh", tmp_path)
    (tmp_path / "assets").mkdir()
    built = subprocess.run(["bash", str(script)], capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "assets" / "three.js").read_bytes() == (ASSETS / "three.js").read_bytes()
