"""Rows of a perception task: played, stored and read again, checked, and handed out in batches."""

from __future__ import annotations

import dataclasses
import json
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from envs.perception.sights import Sights
from policies.perception.compositions import SPLITS, FightPlan, record, split_sights
from policies.perception.task import PerceptionTask, Rows, count_rows, join, take
from policies.state_files import replaced

MANIFEST = "rows.json"
FIGHT_NUMBERS = 1_000_000
"""Fights of one composition are numbered below this, so that `fight` names one over all compositions."""


class DataError(ValueError):
    """Rows that cannot be learned from; its text names the set, the row and the remedy."""


def collect(
    task: PerceptionTask,
    archetype: str,
    plan: FightPlan,
    seed: int,
    *,
    held_out: bool = False,
    tell: Callable[[str], None] | None = None,
) -> dict[str, Rows]:
    """Play the fights of a plan and make rows of them.

    Args:
        task: what is learned.
        archetype: whose eyes.
        plan: what is recorded.
        seed: of compositions and fights.
        held_out: the compositions that are never trained on, else those of training.
        tell: is told the progress, one line per composition.

    Returns:
        Rows of train, validation and test; or of held_out alone.

    Raises:
        DataError: a number that is not finite, or a set without rows.
    """
    parts: dict[str, list[Rows]] = {}
    grids = {"grid_stride": task.grid_stride} if task.grid_stride else {}
    for number, (composition, sights) in enumerate(record(archetype, plan, seed, held_out=held_out, **grids)):
        sets: dict[str, Sights] = {"held_out": sights} if held_out else split_sights(sights)
        for name, some in sets.items():
            if some.recording.num_fights == 0:
                continue
            rows = task.rows(some, stride=plan.stride)
            rows["fight"] = rows["fight"] + number * FIGHT_NUMBERS
            parts.setdefault(name, []).append(rows)
        if tell is not None:
            left, right = (" ".join(team) for team in composition.teams)
            tell(f"{archetype}: {left} against {right}, {sights.recording.num_fights} fights")
    found: dict[str, Rows] = {name: join(parts[name]) for name in SPLITS if name in parts}
    for name in ("held_out",) if held_out else SPLITS[:3]:
        if count_rows(found.get(name, {})) == 0:
            raise DataError(f"{name}: no rows; record more fights than {plan.fights} per composition")
    for name, rows in found.items():
        check(rows, name)
    return found


def check(rows: Rows, name: str, source: str = "simulator") -> None:
    """Refuse numbers that are not finite.

    Args:
        rows: of one set.
        name: of the set, for the message.
        source: where they come from, for the message.

    Raises:
        DataError: with array, row, fight and place of the first such number.
    """
    for key, values in rows.items():
        if values.dtype.kind != "f":
            continue
        good = np.isfinite(values).reshape(len(values), -1)
        if good.all():
            continue
        row, place = (int(index[0]) for index in np.nonzero(~good))
        at = (
            tuple(int(index) for index in np.unravel_index(place, values.shape[1:]))
            if values.ndim > 1
            else ()
        )
        raise DataError(
            f"{source}, {name}: row {row} (fight {int(rows['fight'][row])}) holds "
            f"{values[(row, *at)]} in '{key}'{list(at) if at else ''}; "
            f"{int((~good).any(axis=1).sum())} of {len(values)} rows are like that: leave them out or mend "
            "their source, and start again"
        )


def store(sets: dict[str, Rows], folder: Path, about: dict[str, Any]) -> None:
    """Write rows; the folder appears whole or not at all.

    Args:
        sets: rows by name of the set.
        folder: where to; replaced if it exists.
        about: what they are, in plain JSON types: kept beside them.
    """
    with replaced(folder) as beside:
        listing: dict[str, Any] = {}
        for name, rows in sets.items():
            (beside / name).mkdir()
            for key, values in rows.items():
                np.save(beside / name / f"{key}.npy", values, allow_pickle=False)
            listing[name] = {"rows": count_rows(rows), "arrays": sorted(rows)}
        (beside / MANIFEST).write_text(json.dumps({"about": about, "sets": listing}, indent=1), "utf-8")


def read(folder: Path) -> dict[str, Rows]:
    """Read what `store` wrote; the arrays stay on the disk until they are touched.

    Raises:
        DataError: no such folder, arrays missing or of other lengths, or numbers that are not finite.
    """
    try:
        listing = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["sets"]
        sets = {
            name: {
                key: np.load(folder / name / f"{key}.npy", mmap_mode="r", allow_pickle=False)
                for key in entry["arrays"]
            }
            for name, entry in listing.items()
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: no stored rows ({error}); record them again") from error
    for name, rows in sets.items():
        for key, values in rows.items():
            if len(values) != listing[name]["rows"]:
                raise DataError(
                    f"{folder}, {name}: '{key}' has {len(values)} rows, the listing says "
                    f"{listing[name]['rows']}; record them again"
                )
        check(rows, name, str(folder))
    return sets


@dataclasses.dataclass(frozen=True)
class Loader:
    """Batches of training rows in an order that depends on seed and epoch alone.

    Any batch can be made by itself, so training can go on in the middle of an epoch.

    Attributes:
        rows: of the training set.
        batch_size: rows per batch; the last rows of an epoch that fill none are left for another epoch.
        seed: of order and augmentation.
        augment: changes a batch, with a generator of its own; None leaves it.
        prefetch: batches that another thread prepares ahead; 0: none.
    """

    rows: Rows
    batch_size: int
    seed: int
    augment: Callable[[Rows, np.random.Generator], Rows] | None = None
    prefetch: int = 2

    @property
    def batches(self) -> int:
        """Batches per epoch."""
        return max(1, count_rows(self.rows) // self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """Rows of an epoch, int64 `(row,)`."""
        return np.random.default_rng([self.seed, epoch]).permutation(count_rows(self.rows))

    def batch(self, epoch: int, number: int, order: np.ndarray | None = None) -> Rows:
        """One batch of an epoch."""
        order = self.order(epoch) if order is None else order
        # In the order in which they lie: the same batch, read faster from a disk.
        chosen = np.sort(order[number * self.batch_size : (number + 1) * self.batch_size])
        rows = take(self.rows, chosen)
        if self.augment is None:
            return rows
        return self.augment(rows, np.random.default_rng([self.seed, epoch, number]))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Rows]:
        """The batches of an epoch from the given one on."""
        order = self.order(epoch)
        if self.prefetch == 0:
            for number in range(start, self.batches):
                yield self.batch(epoch, number, order)
            return
        ready: queue.Queue[Rows | BaseException | None] = queue.Queue(self.prefetch)
        stop = threading.Event()

        def put(item: Rows | BaseException | None) -> bool:
            while not stop.is_set():
                try:
                    ready.put(item, timeout=0.1)
                    return True
                except queue.Full:
                    continue
            return False

        def work() -> None:
            try:
                for number in range(start, self.batches):
                    if not put(self.batch(epoch, number, order)):
                        return
                put(None)
            except BaseException as error:
                put(error)

        thread = threading.Thread(target=work, name="prefetch", daemon=True)
        thread.start()
        try:
            while (item := ready.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            thread.join()
