"""The page as a person meets it: opened from disk in a real browser, played, scrubbed, stepped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from envs import terrain
from envs.playback import frames
from experiments.watch.page import write_page
from experiments.watch.scene import build_scene
from tests.experiments.watch.browser import NAMES, Browser, find_browser
from tests.experiments.watch.fights import fight

PROGRAM = find_browser()
pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason=f"no browser: none of {', '.join(NAMES)} on the path, nor in $CHROME"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert PROGRAM is not None
    browser = Browser(PROGRAM, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test ends without an error in the console and without a request beyond the page."""
    if PROGRAM is None:
        yield
        return
    browser = request.getfixturevalue("browser")
    browser.problems.clear()
    browser.requests.clear()
    yield
    assert browser.problems == []
    outside = [url for url in browser.requests if not url.startswith(("file://", "data:", "about:"))]
    assert outside == []


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of fights by every head, of a pack, and of nobody."""
    folder = tmp_path_factory.mktemp("pages")
    fights = {
        "combat": fight(),
        "movement": fight("movement", team=("ranged",), terrain=terrain.layout("walls", 32)),
        "skill": fight("skill", team=("mage", "tank")),
        "control": fight("control", team=("aggressive",)),
        "pack": fight("pack", learners=3, noted=False),
        "nobody": fight(learners=0, team=("mage", "tank", "support", "ranged", "aggressive")),
    }
    return {
        name: write_page(build_scene(replay, list(frames(replay))), folder / f"{name}.html")
        for name, replay in fights.items()
    }


def seconds(browser: Browser) -> float:
    return float(browser.run("window.watch.state().seconds"))


def test_it_plays_pauses_and_ends(browser: Browser, pages: dict[str, Path]) -> None:
    browser.view(1280, 800)
    browser.open(pages["combat"], "#play=0")
    assert seconds(browser) == 0 and browser.run("window.watch.state().playing") is False
    browser.key(" ")
    browser.wait("window.watch.state().seconds > 0.3")
    browser.key(" ")
    stopped = seconds(browser)
    browser.run("new Promise(done => setTimeout(done, 150))")
    assert seconds(browser) == stopped
    browser.run("document.querySelector('[data-speed=\"8\"]').click()")
    browser.run(
        "window.watch.seek(1e6); window.watch.seek(window.watch.state().seconds - 1); window.watch.play(true)"
    )
    browser.wait("!document.getElementById('banner').hidden && !window.watch.state().playing")
    assert "HP left" in browser.run("document.getElementById('banner').textContent")
    assert browser.run("window.watch.state().state === window.watch.state().states - 1")


def test_the_scrub_bar_moves_through_time(browser: Browser, pages: dict[str, Path]) -> None:
    browser.view(1280, 800)
    browser.open(pages["combat"], "#play=0")
    box = browser.run(
        "(b => [b.left, b.top, b.width, b.height])(document.getElementById('track').getBoundingClientRect())"
    )
    length = float(browser.run("document.getElementById('track').getAttribute('aria-valuemax')"))
    edge, y = 9, box[1] + box[3] / 2  # room at both ends of the bar

    def at(share: float) -> float:
        return float(box[0] + edge + share * (box[2] - 2 * edge))

    browser.mouse("mousePressed", at(0.25), y)
    assert seconds(browser) == pytest.approx(length / 4, rel=0.01)
    browser.mouse("mouseMoved", at(0.5), y)
    assert seconds(browser) == pytest.approx(length / 2, rel=0.01)
    browser.mouse("mouseReleased", at(0.5), y)
    browser.mouse("mouseMoved", at(0.9), y)
    assert seconds(browser) == pytest.approx(length / 2, rel=0.01)
    clock = browser.wait(f"document.getElementById('clock').textContent === '{seconds(browser):.1f}'")
    assert clock


def test_arrows_step_by_decisions_and_the_panel_follows(browser: Browser, pages: dict[str, Path]) -> None:
    browser.view(1280, 800)
    browser.open(pages["combat"], "#play=0")
    for key in ("ArrowRight",) * 3 + ("ArrowLeft",):
        browser.key(key)
    assert seconds(browser) == pytest.approx(0.4)
    browser.wait("document.querySelector('#decision h2 span').textContent.startsWith('3 of ')")
    wanted = browser.run(
        "(() => { const f = JSON.parse(document.getElementById('fight').textContent), l = f.learners[0];"
        " return [f.actions[l.chosen[2]].replaceAll('_', ' '), l.values[2].toFixed(1),"
        " [...l.legal[2]].filter(c => c === '0').length]; })()"
    )
    assert browser.run("document.querySelector('#decision .chosen span').textContent") == wanted[0]
    assert browser.run("document.querySelector('#decision .figure b').textContent") == wanted[1]
    assert browser.run("document.querySelectorAll('#decision .row').length") == 10
    assert browser.run("document.querySelectorAll('#decision .illegal').length") == wanted[2]
    assert browser.run("document.querySelectorAll('#threat .row').length") == 3
    assert browser.run("document.querySelectorAll('#threat s').length") == 3  # marks of what was predicted
    assert browser.run("document.querySelectorAll('#reward .row').length") == 2


def test_a_unit_is_selected_by_click_and_by_key(browser: Browser, pages: dict[str, Path]) -> None:
    browser.view(1280, 800)
    browser.open(pages["combat"], "#play=0")
    place = browser.run(
        "(() => { const p = window.watch.state().places[4],"
        " b = document.getElementById('arena').getBoundingClientRect();"
        " return [b.left + p.X, b.top + p.Y]; })()"
    )
    browser.mouse("mousePressed", *place)
    browser.mouse("mouseReleased", *place)
    browser.wait("document.querySelector('#unit h2').textContent.includes('orange tank')")
    browser.key("3")
    browser.wait("document.querySelector('#unit h2').textContent.includes('blue support')")
    assert browser.run("document.querySelector('.chip[aria-pressed=true]').dataset.unit") == "2"


@pytest.mark.parametrize("name", ["movement", "skill", "control", "pack", "nobody"])
def test_every_head_has_its_panel(browser: Browser, pages: dict[str, Path], name: str) -> None:
    browser.view(1280, 800, scheme="dark")
    browser.open(pages[name], "#play=0&t=2")
    wanted = {
        "movement": "document.querySelectorAll('.compass > div').length === 9",
        "skill": "document.querySelector('#decision .chosen') !== null",
        "control": "document.querySelectorAll('#decision .rail.both').length === 5",
        "pack": "document.querySelectorAll('.tabs button').length === 3",
        "nobody": "document.getElementById('decision').textContent.includes('AI plays both sides')",
    }
    assert browser.run(wanted[name])
    for at in (0.0, 5.0, 1e6):  # drawing anywhere in the fight raises nothing
        browser.run(f"window.watch.seek({at})")
        browser.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_units_are_painted_in_light_and_dark_and_nothing_overflows(
    browser: Browser, pages: dict[str, Path], tmp_path: Path
) -> None:
    for width, height, scheme in (
        (1280, 800, "light"),
        (1280, 800, "dark"),
        (390, 844, "light"),
        (390, 844, "dark"),
    ):
        browser.view(width, height, scheme=scheme)
        browser.open(pages["combat"], "#play=0")
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
        file = tmp_path / "page.png"
        file.write_bytes(browser.picture())
        spot = browser.run(
            "(() => { const s = window.watch.state(), p = s.places[1],"
            " b = document.getElementById('arena').getBoundingClientRect();"
            " return [b.left + p.X - 0.32 * s.scale, b.top + p.Y]; })()"  # in the token, beside its sign
        )
        colour = browser.run("getComputedStyle(document.documentElement).getPropertyValue('--team0').trim()")
        with Image.open(file) as image:
            seen = image.convert("RGB").getpixel((round(spot[0]), round(spot[1])))
        assert isinstance(seen, tuple)
        wanted = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
        assert max(abs(a - b) for a, b in zip(seen, wanted, strict=True)) < 25
