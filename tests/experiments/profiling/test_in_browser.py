"""The flame graph in a browser: zoom, search, no error, nothing from outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.profiling.flame import flame_page, tree, write_page
from tests.experiments.profiling.test_flame import STACKS
from tests.experiments.watch.browser import Browser, find_browser

PROGRAM = find_browser()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium; set CHROME to its path")
STEP = "[...document.querySelectorAll('.f')].find(f => f.textContent.includes('step (envs'))"


def test_a_click_enlarges_a_frame_and_a_search_adds_up(tmp_path: Path) -> None:
    text = flame_page(tree(STACKS, "all"), title="T", summary="S", phases=[("forward", 1.0)], legend="L")
    path = write_page(tmp_path / "flame.html", text)
    assert PROGRAM is not None
    browser = Browser(PROGRAM, tmp_path / "profile")
    try:
        browser.view(1200, 700)
        browser.open(path)
        whole = browser.run("document.getElementById('graph').getBoundingClientRect().width")
        assert browser.run(f"{STEP}.getBoundingClientRect().width") == pytest.approx(0.75 * whole, rel=0.01)
        browser.run(f"{STEP}.dispatchEvent(new MouseEvent('click', {{bubbles: true}}))")
        assert browser.run(f"{STEP}.getBoundingClientRect().width") == pytest.approx(whole, rel=0.01)
        assert browser.run("document.querySelectorAll('.gone').length") == 2
        browser.run("document.getElementById('whole').click()")
        assert browser.run("document.querySelectorAll('.gone').length") == 0
        # The line inside the frame that is found counts once.
        browser.run("document.getElementById('find').value = 'torch'")
        browser.run("document.getElementById('find').dispatchEvent(new Event('input'))")
        assert browser.run("document.getElementById('found').textContent") == "25.0 % of the time"
        assert browser.problems == []
        assert all(address.startswith(("file:", "about:")) for address in browser.requests)
    finally:
        browser.close()
