"""Films of a fight: GIF through Pillow, MP4 through ffmpeg."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from envs.contracts import layout as f
from envs.playback import Frame
from envs.render import HEAL, HURT, Mark, Painter, window_of
from envs.replay import Replay
from envs.simulation.state import TICK_MS
from experiments.errors import ExperimentError

PIXELS = 480
GIF_MS = 100
"""One picture per tick: players of GIFs slow down anything much faster."""
MP4_MS = 50
_HOLD_MS = 1_200
"""The last picture stands this long."""
_MARK_MS = 700


def pictures(
    replay: Replay, frames: Sequence[Frame], step_ms: int, pixels: int = PIXELS
) -> Iterator[np.ndarray]:
    """Pictures of a fight in play time, uint8 (pixels, pixels, 3); units glide between decisions.

    Args:
        replay: what was recorded.
        frames: the fight, from `envs.playback.frames`.
        step_ms: play time between two pictures.
        pixels: width and height.
    """
    fighters = [replay.fighters[index] for team in replay.teams for index in team]
    skills = np.zeros((len(fighters), 6, f.NUM_SKILL_FIELDS), np.int32)
    for unit, fighter in enumerate(fighters):
        for slot, skill in enumerate(fighter.skills):
            row = skills[unit, slot]
            row[f.KIND], row[f.RADIUS] = f.SKILL_KINDS.index(skill.kind), skill.radius
            row[f.CAST_TIME] = skill.cast_ms
    rows = replay.arena.terrain
    terrain = None if rows is None else np.array([[letter == "#" for letter in row] for row in rows])
    tables = [frame.units for frame in frames]
    window = window_of(tables, replay.arena.size)
    painter = Painter(skills, replay.arena.size, terrain=terrain, pixels=pixels, window=window)
    times = np.array([frame.tick * TICK_MS for frame in frames])
    marks = _marks(frames)
    moving = [f.X, f.Y, f.HP, f.SP, f.CAST_LEFT]
    for ms in range(0, int(times[-1]) + step_ms, step_ms):
        ms = min(ms, int(times[-1]))
        k = int(np.searchsorted(times, ms, side="right")) - 1
        units = tables[k].astype(np.float64)
        if k + 1 < len(frames):
            share = (ms - times[k]) / (times[k + 1] - times[k])
            units[:, moving] += share * (tables[k + 1][:, moving] - units[:, moving])
            # Who is alive at the beginning of the window is drawn alive until its end.
            units[:, f.HP] = np.where(tables[k][:, f.HP] > 0, np.maximum(units[:, f.HP], 1), 0)
        here = [
            Mark(units[unit, f.X], units[unit, f.Y] + 0.75 + 0.9 * (ms - at) / _MARK_MS, words, colour)
            for at, unit, words, colour in marks
            if 0 <= ms - at < _MARK_MS
        ]
        yield painter.paint(units, ms / 1000, here)


def write_gif(replay: Replay, frames: Sequence[Frame], path: Path, pixels: int = PIXELS) -> Path:
    """Write an endless GIF.

    Raises:
        ExperimentError: the file cannot be written.
    """
    from PIL import Image

    images = [Image.fromarray(p) for p in pictures(replay, frames, GIF_MS, pixels)]
    # One palette for all, from a picture in mid-fight: colours then do not flicker.
    palette = images[len(images) // 2].quantize(128)
    flat = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    durations = [GIF_MS] * (len(flat) - 1) + [_HOLD_MS]
    with _beside(path) as beside:
        flat[0].save(
            beside.path,
            "GIF",
            save_all=True,
            append_images=flat[1:],
            duration=durations,
            loop=0,
            optimize=False,
        )
    return path


def write_mp4(replay: Replay, frames: Sequence[Frame], path: Path, pixels: int = 720) -> Path:
    """Write an H.264 film.

    Raises:
        ExperimentError: no ffmpeg is installed, or the file cannot be written.
    """
    check_mp4()
    import imageio_ffmpeg

    with _beside(path) as beside:
        writer = imageio_ffmpeg.write_frames(
            str(beside.path),
            (pixels, pixels),
            fps=1000 / MP4_MS,
            codec="libx264",
            output_params=["-f", "mp4"],
        )
        writer.send(None)
        last = b""
        for picture in pictures(replay, frames, MP4_MS, pixels):
            last = picture.tobytes()
            writer.send(last)
        for _ in range(_HOLD_MS // MP4_MS):
            writer.send(last)
        writer.close()
    return path


def check_mp4() -> None:
    """Raise ExperimentError where no MP4 can be made here."""
    try:
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        raise ExperimentError(
            "an MP4 needs ffmpeg: pip install 'ml-monster[video]' -c constraints.txt, or take --gif"
        ) from None


def _marks(frames: Sequence[Frame]) -> list[tuple[int, int, str, tuple[int, int, int]]]:
    """Damage and healing as (ms, unit, words, colour)."""
    marks = []
    for before, after in itertools.pairwise(frames):
        taken = after.damage.sum(axis=0)
        healed = after.units[:, f.HP] - before.units[:, f.HP] + taken
        for unit in range(len(taken)):
            if taken[unit] > 0:
                marks.append((after.tick * TICK_MS, unit, str(taken[unit]), HURT))
            if healed[unit] > 0 and after.units[unit, f.HP] > 0:
                marks.append((after.tick * TICK_MS, unit, f"+{healed[unit]}", HEAL))
    return marks


class _beside:  # noqa: N801  (used as a statement)
    """Writes to a file beside the wanted one and puts it in its place when all went well."""

    def __init__(self, path: Path) -> None:
        self.wanted = path
        self.path = path.with_name(path.name + ".writing")

    def __enter__(self) -> _beside:
        try:
            self.wanted.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ExperimentError(f"{self.wanted.parent} cannot be made ({error.strerror})") from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if kind is None:
            self.path.replace(self.wanted)
            return
        self.path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise ExperimentError(f"{self.wanted} cannot be written ({error.strerror})") from None
