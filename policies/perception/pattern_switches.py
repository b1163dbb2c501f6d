"""How soon the pattern mind notices that an opponent changed its style in mid-fight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.contracts.window import WINDOW_LENGTH
from envs.perception.recording import STYLE
from envs.perception.sights import Sights
from policies.perception.pattern import LENGTHS, PatternTask
from policies.perception.task import Rows, take

WINDOW_TICKS = 2


def switch_rows(task: PatternTask, sights: Sights) -> tuple[Rows, np.ndarray, np.ndarray]:
    """Every decision in the first 10 s after a switch, of fights recorded with `switching=True`.

    Returns:
        Rows as `PatternTask.rows`; the new style, int64 `(row,)`; decisions taken in it so far, int64
        `(row,)`, 1 to 50.
    """
    rows = task.rows(sights, stride=1)
    recording = sights.recording
    unit = np.array(recording.enemies(sights.observers[0]))[rows["slot"]]
    tick = recording.switch_tick[rows["fight"], unit].astype(np.int64)
    # The style changes at the first decision whose tick has come to that of the switch.
    since = rows["time"] - -(-tick // WINDOW_TICKS)
    after = np.flatnonzero((tick >= 0) & (since >= 1) & (since <= WINDOW_LENGTH))
    # The style column of a state says how the decision before it was taken.
    style = recording.units[rows["time"][after], rows["fight"][after], unit[after], STYLE].astype(np.int64)
    return take(rows, after), style - 1, since[after]


@dataclass(frozen=True)
class Recognition:
    """How a switch is seen through windows of one length.

    Attributes:
        accuracy: share that names the new style, of rows whose window still holds decisions of the old one.
        delay: median decisions from a switch to the first naming of the new style, among opponents seen for
            all 50 decisions after it; infinity if half of them are never named, nan without any.
        switches: opponents that the delay is taken over.
        rows: rows that the accuracy is taken over.
    """

    accuracy: float
    delay: float
    switches: int
    rows: int


def recognition(answers: Rows, rows: Rows, style: np.ndarray, since: np.ndarray) -> dict[str, Recognition]:
    """Judge answers after switches, by question.

    Args:
        answers: of `PatternTask.predict`.
        rows: of `switch_rows`; style and since likewise.
        style: the new styles.
        since: decisions since the switch.
    """
    _, opponent = np.unique(np.stack([rows["fight"], rows["slot"]]), axis=1, return_inverse=True)
    opponent = opponent.reshape(-1)
    whole = np.bincount(opponent) == WINDOW_LENGTH
    found = {}
    for question, length in LENGTHS.items():
        right = answers[question].argmax(axis=1) == style
        mixed = since < length
        first = np.full(len(whole), np.inf)
        np.minimum.at(first, opponent[right], since[right].astype(np.float64))
        delays = first[whole]
        found[question] = Recognition(
            float(right[mixed].mean()) if mixed.any() else float("nan"),
            float(np.median(delays)) if len(delays) else float("nan"),
            len(delays),
            int(mixed.sum()),
        )
    return found
