import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from envs.playback import frames
from experiments.watch.page import page, write_page
from experiments.watch.scene import build_scene
from tests.experiments.watch.fights import fight


def data_of(text: str) -> dict[str, Any]:
    """The scene inside a page."""
    found = re.search(r'<script type="application/json" id="fight">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def test_the_page_is_self_contained_and_small() -> None:
    replay = fight()
    scene = build_scene(replay, list(frames(replay)))
    text = page(scene)
    assert data_of(text) == json.loads(json.dumps(scene))
    assert "http://" not in text and "https://" not in text and "//cdn" not in text
    assert not re.findall(r'(?:src|href)="(?!data:,)', text) and "@import" not in text and "url(" not in text
    assert "default-src 'none'" in text
    assert len(text) < 500_000


def test_names_cannot_break_out_of_the_page() -> None:
    evil = '</script><script>alert(1)</script><!-- "&'
    replay = fight(team=("mage",))
    fighters = tuple(replace(fighter, name=evil) for fighter in replay.fighters)
    replay = replace(replay, fighters=fighters, about={"note": evil})
    text = page(build_scene(replay, list(frames(replay))))
    assert data_of(text)["units"][0]["name"] == evil
    assert "<script>alert" not in text and text.count("</script>") == 2 and "<!--" not in text


def test_a_page_replaces_the_old_one_whole(tmp_path: Path) -> None:
    replay = fight(team=("mage",))
    path = tmp_path / "deep" / "fight.html"
    scene = build_scene(replay, list(frames(replay)))
    write_page(scene, path)
    assert write_page({**scene, "title": "another"}, path) == path
    assert "<title>another</title>" in path.read_text()
    assert [p.name for p in path.parent.iterdir()] == ["fight.html"]
