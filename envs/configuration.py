"""Configuration that refuses mistakes: YAML in, frozen dataclasses out, one clear line on an error.

Each package owns the dataclasses of its own settings and its own YAML files; all of them read them here, so
that a mistyped key is answered in the same words everywhere. The module needs the standard library and
PyYAML only, because every package may import it.

    @dataclass(frozen=True)
    class Training:
        learning_rate: Annotated[float, Range(above=0.0, maximum=1.0)] = 3e-4
        hidden_dims: tuple[int, ...] = (128, 128)

    training = load_dataclass(Training, load_yaml("training.yaml"), source="training.yaml")

A dataclass may have a method ``validate()`` that cross-checks its fields and raises ``ValueError``; it is
called after construction and its message is prefixed with the file and the key.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import hashlib
import json
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from envs.yaml_file import ConfigError, describe_type, load_yaml

__all__ = [
    "ConfigError",
    "Range",
    "config_hash",
    "load_dataclass",
    "load_yaml",
    "merge",
    "nearest",
    "resolved_json",
    "to_plain",
]

Config = TypeVar("Config")

_NUMBER_TEXT = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?")


@dataclasses.dataclass(frozen=True)
class Range:
    """Limits of a number, put into its type: ``Annotated[float, Range(above=0.0, maximum=1.0)]``.

    On a tuple, list or dict the limits hold for each element.

    Attributes:
        minimum: Smallest value allowed.
        maximum: Largest value allowed.
        above: The value must be greater than this.
        below: The value must be less than this.
    """

    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies within the limits."""
        return not (
            (self.minimum is not None and value < self.minimum)
            or (self.maximum is not None and value > self.maximum)
            or (self.above is not None and value <= self.above)
            or (self.below is not None and value >= self.below)
        )

    def __str__(self) -> str:
        """The limits in words, for an error message."""
        parts = [
            ("at least", self.minimum),
            ("above", self.above),
            ("at most", self.maximum),
            ("below", self.below),
        ]
        return " and ".join(f"{word} {limit:g}" for word, limit in parts if limit is not None)


def load_dataclass(cls: type[Config], data: Mapping[str, Any], source: str) -> Config:
    """Build a dataclass from plain values, checking every key, type and range.

    Supported field types: bool, int, float, str, Path, None, Literal, Enum (by value), unions, ``tuple``,
    ``list``, ``Sequence``, ``dict``, ``Mapping``, nested dataclasses, ``Any``, and ``Annotated`` with a
    `Range`. A whole number is accepted where a float is expected, and nothing else is converted.

    Args:
        cls: A dataclass.
        data: Values by field name, as `load_yaml` gives them; left untouched.
        source: What error messages call the origin, usually the file's name.

    Returns:
        An instance of ``cls`` with lists turned into tuples where the type says so.

    Raises:
        ConfigError: Unknown or missing key, wrong type, number out of range, or ``validate()`` refuses.
    """
    if isinstance(data, cls):
        return data
    return typing.cast(Config, _dataclass(cls, data, source, ""))


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one set of plain values over another; mappings are merged key by key, everything else replaced.

    Args:
        base: The lower layer, for instance a profile's file.
        over: The upper layer, which wins.

    Returns:
        A new mapping; neither argument is changed.
    """
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(below, value) if both else value  # type: ignore[arg-type]
    return merged


def to_plain(value: Any) -> Any:
    """Turn a configuration into plain JSON types: dict, list, str, int, float, bool, None.

    Raises:
        ConfigError: A value that JSON has no form for (NaN, infinity, or an object of another type).
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return to_plain(value.value)
    if isinstance(value, Mapping):
        return {str(key): to_plain(element) for key, element in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(element) for element in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{value} cannot be written as JSON; use a finite number or null")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ConfigError(f"a {type(value).__name__} cannot be written as JSON; use plain values or a dataclass")


def resolved_json(config: Any) -> str:
    """The configuration as canonical JSON: sorted keys, no spaces, equal settings give equal text."""
    return json.dumps(to_plain(config), sort_keys=True, separators=(",", ":"), allow_nan=False)


def config_hash(config: Any) -> str:
    """SHA-256 of `resolved_json`, 64 hexadecimal digits."""
    return hashlib.sha256(resolved_json(config).encode()).hexdigest()


def nearest(name: object, valid: Iterable[object]) -> str:
    """The end of an error line about an unknown name: ``; did you mean 'tank'? (valid: mage, tank)``.

    Args:
        name: What was given.
        valid: What would have been accepted.
    """
    names = [str(option) for option in valid]
    close = difflib.get_close_matches(
        str(name).lower(), [option.lower() for option in names], n=1, cutoff=0.5
    )
    guess = next((option for option in names if close and option.lower() == close[0]), None)
    hint = f"; did you mean '{guess}'?" if guess is not None else ";"
    return f"{hint} (valid: {', '.join(names) if names else 'none'})"


def _dataclass(cls: Any, data: Any, source: str, key: str) -> Any:
    if not isinstance(data, Mapping):
        raise _wrong(source, key, "a mapping", data)
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    for name in data:
        if name not in fields:
            where = f"unknown key '{_join(key, name)}'"
            raise ConfigError(f"{source}: {where}{nearest(name, fields)}")
    values = {}
    for name, field in fields.items():
        path = _join(key, name)
        if name in data:
            values[name] = _convert(hints[name], data[name], source, path)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{source}: key '{path}' is missing; add it")
    try:
        config = cls(**values)
        validate = getattr(config, "validate", None)
        if callable(validate):
            validate()
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{source}: {key + ': ' if key else ''}{_one_line(error)}") from None
    return config


def _convert(hint: Any, value: Any, source: str, key: str) -> Any:
    """Check ``value`` against the type ``hint`` and return it in the form the dataclass wants."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        converted = _convert(arguments[0], value, source, key)
        for limit in arguments[1:]:
            if isinstance(limit, Range):
                _check_range(limit, converted, source, key)
        return converted
    if hint is Any or hint is object:
        return value
    if origin is typing.Literal:
        if not any(value == option and type(value) is type(option) for option in arguments):
            raise ConfigError(f"{source}: key '{key}': unknown value '{value}'{nearest(value, arguments)}")
        return value
    if origin in (typing.Union, types.UnionType):
        return _convert_union(arguments, value, source, key)
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, typing.cast(type, hint)) else _dataclass(hint, value, source, key)
    container = origin or hint
    if not isinstance(container, type):
        raise TypeError(
            f"field '{key}' has the type {hint!r}, which configuration cannot hold; use a supported one"
        )
    if issubclass(container, enum.Enum):
        return _convert_enum(container, value, source, key)
    if container is tuple:
        return _convert_tuple(arguments, value, source, key)
    if issubclass(container, Mapping):
        return _convert_mapping(arguments, value, source, key)
    if container is not str and issubclass(container, Sequence):
        elements = _convert_tuple((arguments[0] if arguments else Any, ...), value, source, key)
        return list(elements) if container is list else elements
    return _convert_scalar(container, value, source, key)


def _convert_union(options: tuple[Any, ...], value: Any, source: str, key: str) -> Any:
    if value is None and type(None) in options:
        return None
    rest = [option for option in options if option is not type(None)]
    # An exact match first: with `int | float` a 3 stays an int, with `str | Path` text stays text.
    for option in rest:
        if option is type(value):
            return _convert(option, value, source, key)
    error: ConfigError | None = None
    for option in rest:
        try:
            return _convert(option, value, source, key)
        except ConfigError as refused:
            error = error or refused
    assert error is not None  # a union has at least one member beside None
    raise error


def _convert_enum(kind: type[enum.Enum], value: Any, source: str, key: str) -> enum.Enum:
    try:
        return kind(value)
    except ValueError:
        options = [member.value for member in kind]
        raise ConfigError(
            f"{source}: key '{key}': unknown value '{value}'{nearest(value, options)}"
        ) from None


def _convert_tuple(arguments: tuple[Any, ...], value: Any, source: str, key: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise _wrong(source, key, "a list", value)
    if not arguments:
        return tuple(value)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        hints: tuple[Any, ...] = (arguments[0],) * len(value)
    elif len(arguments) != len(value):
        raise ConfigError(
            f"{source}: key '{key}' has {len(value)} elements; give a list of exactly {len(arguments)}"
        )
    else:
        hints = arguments
    return tuple(
        _convert(hint, element, source, f"{key}[{i}]")
        for i, (hint, element) in enumerate(zip(hints, value, strict=True))
    )


def _convert_mapping(arguments: tuple[Any, ...], value: Any, source: str, key: str) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(source, key, "a mapping", value)
    key_hint, value_hint = arguments or (Any, Any)
    converted = {}
    for name, element in value.items():
        path = _join(key, name)
        converted[_convert(key_hint, name, source, path)] = _convert(value_hint, element, source, path)
    return converted


def _convert_scalar(kind: type, value: Any, source: str, key: str) -> Any:
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise ConfigError(f"{source}: key '{key}' is {_short(value)}; give a finite number")
        return number
    if kind is Path and isinstance(value, (str, Path)):
        return Path(value)
    # bool is a subclass of int in Python; a batch_size of `true` is a mistake all the same.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _wrong(source, key, "text" if kind is Path else describe_type(kind), value)
    return value


def _check_range(limit: Range, value: Any, source: str, key: str) -> None:
    if isinstance(value, (list, tuple)):
        for i, element in enumerate(value):
            _check_range(limit, element, source, f"{key}[{i}]")
    elif isinstance(value, Mapping):
        for name, element in value.items():
            _check_range(limit, element, source, _join(key, name))
    elif value is not None and not limit.holds(value):
        raise ConfigError(f"{source}: key '{key}' is {value}; it must be {limit}")


def _wrong(source: str, key: str, expected: str, value: Any) -> ConfigError:
    """The error for a value of the wrong type, with the remedy where the cause is known."""
    numeric_text = isinstance(value, str) and _NUMBER_TEXT.fullmatch(value)
    if numeric_text and expected in ("a number", "a whole number"):
        remedy = f"'{value}' was read as text; write it as a plain number, without quotes (3e-4 as 3.0e-4)"
    elif expected == "a whole number" and isinstance(value, float):
        remedy = "write it without a decimal point or exponent"
    elif expected == "true or false" and str(value).lower() in ("yes", "no", "on", "off", "0", "1"):
        remedy = "write true or false"
    elif expected == "text":
        remedy = "put it in quotes"
    else:
        remedy = f"give {expected}"
    place = f"key '{key}'" if key else "the top level"
    seen = f"{describe_type(type(value))} ({_short(value)})"
    return ConfigError(f"{source}: {place} must be {expected}, but is {seen}; {remedy}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _join(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
