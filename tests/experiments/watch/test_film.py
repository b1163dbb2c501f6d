import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from envs import terrain
from envs.playback import frames
from envs.replay import Replay
from experiments.errors import ExperimentError
from experiments.watch import film
from tests.experiments.watch.fights import fight


@pytest.fixture(scope="module")
def short() -> Replay:
    return fight(team=("mage",), time_limit_ticks=30, terrain=terrain.layout("pillars", 32), starts="around")


def test_pictures_follow_play_time_and_units_glide(short: Replay) -> None:
    states = list(frames(short))
    pictures = list(film.pictures(short, states, 100, pixels=120))
    assert len(pictures) == short.end.tick + 1 == 31
    assert all(p.shape == (120, 120, 3) and p.dtype == np.uint8 for p in pictures)
    assert len({p.tobytes() for p in pictures}) > 20  # half-way pictures differ from both neighbours


def test_a_gif_lasts_as_long_as_the_fight(short: Replay, tmp_path: Path) -> None:
    path = film.write_gif(short, list(frames(short)), tmp_path / "deep" / "fight.gif", pixels=120)
    with Image.open(path) as image:
        durations = []
        for index in range(31):
            image.seek(index)
            durations.append(image.info["duration"])
        assert image.size == (120, 120) and image.info["loop"] == 0
    assert sum(durations) == pytest.approx(3000 + 1200, abs=100)
    assert [p.name for p in path.parent.iterdir()] == ["fight.gif"]


def test_a_gif_that_cannot_be_written_leaves_nothing(short: Replay, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExperimentError, match="cannot be made"):
        film.write_gif(short, list(frames(short))[:2], tmp_path / "file" / "fight.gif", pixels=60)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_an_mp4(short: Replay, tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg", reason="the extra 'video' is not installed")
    import imageio_ffmpeg

    path = film.write_mp4(short, list(frames(short)), tmp_path / "fight.mp4", pixels=160)
    count, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert seconds == pytest.approx(3.05 + 1.2, abs=0.1) and count == 61 + 24
    assert [p.name for p in tmp_path.iterdir()] == ["fight.mp4"]


def test_without_ffmpeg_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name == "imageio_ffmpeg":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ExperimentError, match=r"ml-monster\[video\].*or take --gif"):
        film.check_mp4()
