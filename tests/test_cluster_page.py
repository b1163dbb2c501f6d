"""Every command on the page about clusters can be given as it stands there."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest

from experiments.cli import build_parser

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"^```\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
TEXTS = [
    "".join(str(piece.value) for piece in node.values if isinstance(piece, ast.Constant))
    for node in ast.walk(ast.parse((ROOT / "experiments" / "cluster.py").read_text(encoding="utf-8")))
    if isinstance(node, ast.JoinedStr)
]
"""What errors say, without the values in it."""


def test_the_page_walks_from_the_wheel_to_training() -> None:
    assert [line.split()[0] for line in COMMANDS] == ["make", "ray", "ray", "ray", "monster", "monster"]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_can_be_given(command: str) -> None:
    program, *words = shlex.split(command)
    if program == "monster":
        args = build_parser(words[0]).parse_args(words)
        assert args.address and args.storage_path and args.dsn
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert words[0] in targets
    else:
        assert words[0] in ("up", "attach") and (ROOT / words[1]).is_file()


def test_the_options_and_files_that_the_text_names_exist() -> None:
    parser = build_parser("train")
    commands = next(action for action in parser._actions if isinstance(action.choices, dict))
    assert isinstance(commands.choices, dict)
    known = set(re.findall(r"--[a-z][a-z-]+", commands.choices["train"].format_help()))
    assert set(re.findall(r"`(--[a-z-]+)`", PAGE)) <= known
    for link in re.findall(r"\]\(\.\./([^)]+)\)", PAGE):
        assert (ROOT / link).is_file(), link


@pytest.mark.parametrize(
    "line", re.findall(r"^\| `([^`]+)` \|", PAGE.split("## Troubleshooting")[1], re.MULTILINE)
)
def test_the_lines_of_troubleshooting_are_ours(line: str) -> None:
    for part in line.split("…"):
        assert any(part.strip() in text for text in TEXTS), part
