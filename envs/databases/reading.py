"""What every database reader shares: files of bounded size as text, and a list of what was left out."""

from __future__ import annotations

import codecs
import re
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from envs.configuration import ConfigError

MAX_FILE_BYTES = 16 * 1024 * 1024
"""A whole server's monsters take 1-3 MB; what is larger than this is not read at all."""
MAX_NOTES = 2_000
"""Notes kept; further ones are only counted, so that a broken file cannot fill the memory."""

# What YAML allows in a file; anything else is binary data.
_NOT_TEXT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class DatabaseError(ConfigError):
    """A database that cannot be read; one line with file, line number and remedy."""


@dataclass(frozen=True)
class Note:
    """Something that was left out or replaced.

    Attributes:
        file: the file's name.
        line: line number from 1, 0 for the file as a whole.
        what: `monster`, `field`, `skill` or `file`.
        text: what was seen and what was done about it.
    """

    file: str
    line: int
    what: str
    text: str

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        return f"{self.file}: {place}{self.text}"


@dataclass
class Notes:
    """Notes of one import, in the order in which they came.

    Attributes:
        kept: at most `MAX_NOTES` of them.
        counts: how many there were by `what`, kept or not.
    """

    kept: list[Note] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, file: str, line: int, what: str, text: str) -> None:
        """Keep a note; long texts are cut."""
        self.counts[what] += 1
        if not self.full:
            text = " ".join(text.split())
            self.kept.append(Note(file, line, what, text if len(text) <= 300 else text[:297] + "..."))

    @property
    def full(self) -> bool:
        """Whether further notes are only counted."""
        return len(self.kept) >= MAX_NOTES


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


def shown(text: str, limit: int = 40) -> str:
    """A value from a file, quoted and short enough for a message."""
    return repr(text if len(text) <= limit else text[: limit - 3] + "...")


def read_text(path: str | Path, notes: Notes | None = None) -> str:
    """Read a text file of at most `MAX_FILE_BYTES`.

    Bytes that are not UTF-8 become replacement characters with a note (names in older code pages), as
    long as there are notes to write to; without them they are an error.

    Raises:
        DatabaseError: missing, a directory, too large, UTF-16, or not text (with the line).
    """
    path = Path(path)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise DatabaseError(f"{path}: is a folder; give the file in it, such as {path / 'mob_db.yml'}")
        if not stat.S_ISREG(status.st_mode):
            raise DatabaseError(f"{path}: is not a regular file; give a file on disk")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise DatabaseError(f"{path}: no such file; check the path") from None
    except (OSError, ValueError) as error:
        raise DatabaseError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > MAX_FILE_BYTES:
        size = max(status.st_size, len(data)) / 2**20
        raise DatabaseError(
            f"{path}: line 1: nothing was read, the file has {size:.0f} MB and the limit is "
            f"{MAX_FILE_BYTES // 2**20} MB; split it or take out what holds no monsters"
        )
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DatabaseError(f"{path}: line 1: is UTF-16 text; save it as UTF-8")
    text = _decode(path, data.removeprefix(codecs.BOM_UTF8), notes)
    wrong = _NOT_TEXT.search(text)
    if wrong is not None:
        line = text.count("\n", 0, wrong.start()) + 1
        raise DatabaseError(f"{path}: line {line}: the character {wrong[0]!r} belongs to no text file")
    return text


def _decode(path: Path, data: bytes, notes: Notes | None) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        if notes is None:
            raise DatabaseError(f"{path}: line {line}: is not UTF-8 text; save the file as UTF-8") from None
        text = data.decode("utf-8", errors="replace")
        count = text.count("\N{REPLACEMENT CHARACTER}")
        notes.add(path.name, line, "file", f"not UTF-8 text; {count} characters of the file were replaced")
        return text
