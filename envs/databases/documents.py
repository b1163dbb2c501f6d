"""YAML as a stream of entries with line numbers, in bounded time and memory.

A database is one mapping with a long list in it. Its entries are handed out one by one as `Node` trees, so
that the file's size does not matter, nothing is built from tags, and an alias stays an alias: what it stands
for is never repeated, however often a file says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from envs.databases.reading import DatabaseError, shown

MAX_VALUES = 2_000_000
"""Values, keys and brackets read from one file; a whole server's monsters are about 300,000."""
MAX_ENTRY_VALUES = 20_000
"""Values, keys and brackets of one entry."""
MAX_DEPTH = 32

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Node:
    """A value with the line it stands on.

    Attributes:
        value: text for a scalar, a list or dict of nodes, None for an alias.
        line: from 1.
        quoted: a scalar in quotes or a block: text, whatever it looks like.
        problem: what is wrong with a mapping's keys, as (line, reason); None if nothing is.
    """

    value: str | list[Node] | dict[str, Node] | None
    line: int
    quoted: bool = False
    problem: tuple[int, str] | None = None

    @property
    def text(self) -> str | None:
        """The text of a scalar, None for anything else."""
        return self.value if isinstance(self.value, str) else None

    def get(self, key: str) -> Node | None:
        """The value of a key; None where there is none, an empty one, or this is no mapping."""
        if not isinstance(self.value, dict):
            return None
        node = self.value.get(key)
        return None if node is None or node.empty else node

    @property
    def empty(self) -> bool:
        """Whether nothing stands behind the key (or null)."""
        return isinstance(self.value, str) and not self.quoted and self.value in ("", "~", "null", "Null")

    def describe(self) -> str:
        """What it is, for a message."""
        if isinstance(self.value, str):
            return shown(self.value)
        if self.value is None:
            return "an alias"
        return "a list" if isinstance(self.value, list) else "a mapping"


@dataclass
class Document:
    """A file whose top level is a mapping.

    Attributes:
        source: what messages call the file.
        top: the values of all keys but the streamed one; complete once the entries are read.
        streamed_line: line of the streamed key, 0 before it came.
    """

    text: str
    source: str
    top: dict[str, Node] = field(default_factory=dict)
    streamed_line: int = 0
    _seen: int = 0
    _budget: int = MAX_VALUES

    def entries(self, key: str) -> Iterator[Node]:
        """Read the file once and hand out the entries of the list under `key`; `top` gets the rest.

        Raises:
            DatabaseError: not YAML, a key twice at the top level, another structure, or too much of it.
        """
        for name, line in self._keys(f"a database begins with 'Header:' and '{key}:'"):
            if name == key:
                yield from self._stream(key, line)
            else:
                self.top[name] = self._limited()

    def items(self) -> Iterator[tuple[str, Node]]:
        """Read the file once and hand out the keys and values of its top level.

        Raises:
            DatabaseError: as `entries`.
        """
        for name, _ in self._keys("it must be names with a mapping each"):
            yield name, self._limited()

    def _keys(self, wanted: str) -> Iterator[tuple[str, int]]:
        """Keys of the top level with their lines; whoever asks reads the value before the next key."""
        self._events = self._guarded()
        self._next()  # the stream's start
        if isinstance(self._next(), yaml.StreamEndEvent):
            raise DatabaseError(f"{self.source}: line 1: the file is empty; {wanted}")
        event = self._next()
        if not isinstance(event, yaml.MappingStartEvent):
            raise DatabaseError(
                f"{self.source}: line {_line(event)}: the top level is not a mapping; {wanted}"
            )
        lines: dict[str, int] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            name, line = self._key(event), _line(event)
            if name in lines:
                raise DatabaseError(
                    f"{self.source}: line {line}: {shown(name)} is given twice "
                    f"(first on line {lines[name]}); keep one of them"
                )
            lines[name] = line
            yield name, line
        while not isinstance(event := self._next(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                raise DatabaseError(
                    f"{self.source}: line {_line(event)}: a second document begins ('---'); keep one per file"
                )

    def _limited(self) -> Node:
        """The next value, of bounded size."""
        self._budget = min(MAX_VALUES, self._seen + MAX_ENTRY_VALUES)
        node = self._node(self._next(), 1)
        self._budget = MAX_VALUES
        return node

    def _stream(self, key: str, line: int) -> Iterator[Node]:
        self.streamed_line = line
        event = self._next()
        if isinstance(event, yaml.ScalarEvent) and not event.value:
            return
        if not isinstance(event, yaml.SequenceStartEvent):
            raise DatabaseError(
                f"{self.source}: line {_line(event)}: '{key}' is not a list; its entries begin with '- '"
            )
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            self._budget = min(MAX_VALUES, self._seen + MAX_ENTRY_VALUES)
            node = self._node(event, 2)
            self._budget = MAX_VALUES
            yield node

    def _key(self, event: Any) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise DatabaseError(f"{self.source}: line {_line(event)}: a key must be a word, such as 'Body:'")
        return str(event.value)

    def _node(self, event: Any, depth: int) -> Node:
        line = _line(event)
        if isinstance(event, yaml.ScalarEvent):
            return Node(event.value, line, quoted=not event.implicit[0])
        if isinstance(event, yaml.AliasEvent):
            return Node(None, line)
        if depth > MAX_DEPTH:
            raise DatabaseError(f"{self.source}: line {line}: nested more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.SequenceStartEvent):
            values = []
            while not isinstance(event := self._next(), yaml.SequenceEndEvent):
                values.append(self._node(event, depth + 1))
            return Node(values, line)
        return self._mapping(line, depth)

    def _mapping(self, line: int, depth: int) -> Node:
        values: dict[str, Node] = {}
        lines: dict[str, int] = {}
        problem: tuple[int, str] | None = None
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key, at = self._node(event, depth + 1), _line(event)
            value = self._node(self._next(), depth + 1)
            if key.text is None:
                problem = problem or (at, f"a key is {key.describe()}")
            elif key.text in values:
                twice = f"key {shown(key.text)} is given twice (first on line {lines[key.text]})"
                problem = problem or (at, twice)
            else:
                values[key.text], lines[key.text] = value, at
        return Node(values, line, problem=problem)

    def _next(self) -> Any:
        event = next(self._events)
        self._seen += 1
        if self._seen > self._budget:
            whole = self._budget == MAX_VALUES
            what, most = ("the file", MAX_VALUES) if whole else ("one entry", MAX_ENTRY_VALUES)
            raise DatabaseError(
                f"{self.source}: line {_line(event)}: {what} has more than {most:,} values; no database has"
            )
        return event

    def _guarded(self) -> Iterator[Any]:
        try:
            yield from yaml.parse(self.text, Loader=_LOADER)
        except yaml.YAMLError as error:
            raise DatabaseError(f"{self.source}: {self._reason(error)}") from None

    def _reason(self, error: yaml.YAMLError) -> str:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        parts = [getattr(error, "context", None), getattr(error, "problem", None)]
        reason = ", ".join(part for part in parts if part) or " ".join(str(error).split())
        number = mark.line + 1 if mark is not None else 1
        lines = self.text.split("\n")
        line = lines[number - 1] if number <= len(lines) else ""
        if re.match(r" *\t", line):
            reason = f"a tab indents the line; use spaces ({reason})"
        return f"line {number}: not YAML: {' '.join(reason.split())}"


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
