"""YAML files as plain values: the scalars of YAML 1.2, no key twice, errors as one line with its number."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

__all__ = ["ConfigError", "describe_type", "load_yaml", "plain_scalar"]


# What YAML calls a value, for people: Python's type names mean little to who wrote the file.
_TYPE_NAMES: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    dict: "a mapping",
    list: "a list",
    tuple: "a list",
    type(None): "null",
}


class ConfigError(ValueError):
    """A setting that cannot be used; its text is one line that names file, key and remedy."""


class _Loader(yaml.SafeLoader):
    """Safe YAML with the scalars of YAML 1.2, and without silent surprises.

    PyYAML follows YAML 1.1, where ``1e-3`` is text, ``off`` is false, ``010`` is eight and ``1:30`` is
    ninety. Here ``1e-3`` is a number and the other three are text, which the type check then reports.
    """

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode | None:
        """Compose a mapping; a key given twice is an error instead of the last one winning silently.

        Checked here, before merge keys (``<<``) are resolved, because those may be overridden.
        """
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value if node is not None else ():
            if isinstance(key, yaml.ScalarNode) and key.value in lines:
                first = lines[key.value]
                reason = f"key '{key.value}' is given twice (first on line {first}); keep one of them"
                raise yaml.constructor.ConstructorError(None, None, reason, key.start_mark)
            if isinstance(key, yaml.ScalarNode):
                lines[key.value] = key.start_mark.line + 1
        return node


# The scalars of YAML 1.2 that are no text: tag, pattern, first characters.
_SCALARS = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|\.[0-9]+(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("merge", r"<<", "<"),
)
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping.

    Args:
        path: The file, UTF-8. An empty file gives an empty mapping.

    Returns:
        Plain Python values: dict, list, str, int, float, bool, None.

    Raises:
        ConfigError: No such file, not YAML (with the line), a key given twice, or not a mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
    try:
        # Safe: the loader is a SafeLoader, which builds plain values and runs no code.
        data = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {_yaml_reason(error)}") from None
    except (
        ValueError,
        RecursionError,
    ) as error:  # a number of thousands of digits, lists nested by the hundred
        raise ConfigError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        seen = describe_type(type(data))
        raise ConfigError(f"{path}: the top level is {seen}; it must be a mapping of 'key: value' lines")
    return data


def plain_scalar(text: str) -> bool | int | float | str | None:
    """The value of an unquoted YAML scalar: true, 3, 0.5, null, or the text itself."""
    tag = next((tag for tag, pattern, _ in _SCALARS if re.fullmatch(pattern, text)), "str")
    if tag == "null":
        return None
    if tag == "bool":
        return text.lower() == "true"
    digits = text.replace("_", "")
    # A number of thousands of digits stays text, which the type check then reports.
    if tag == "int" and len(digits) < 1000:
        return int(digits)
    if tag == "float":
        return float(re.sub(r"(?<=[-+])\.(?=[a-zA-Z])|^\.(?=[a-zA-Z])", "", digits))
    return text


def describe_type(kind: type) -> str:
    """A type in the words of a configuration file: ``a whole number``, ``text``, ``a mapping``."""
    return _TYPE_NAMES.get(kind, f"a {kind.__name__}")


def _yaml_reason(error: yaml.YAMLError) -> str:
    """PyYAML's several lines as one, beginning with the line number people can jump to."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    parts = [getattr(error, "context", None), getattr(error, "problem", None)]
    reason = ", ".join(part for part in parts if part) or " ".join(str(error).split())
    place = f"line {mark.line + 1}: " if mark is not None else ""
    return place + " ".join(reason.split())
