"""The page: one self-contained HTML file that plays a fight, opened from disk as well as from a server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any

_SCRIPTS = ("fight.js", "arena.js", "units.js", "timeline.js", "panels.js", "main.js")


def page(scene: Mapping[str, Any]) -> str:
    """Return the page of a scene; it asks for nothing from outside."""
    folder = Path(__file__).parent
    script = "\n".join((folder / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    # Inside a script element only "</" could end it early, and "<!--" could open a comment.
    data = json.dumps(scene, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return Template((folder / "page.html").read_text(encoding="utf-8")).substitute(
        title=escape(str(scene["title"])),
        style=(folder / "page.css").read_text(encoding="utf-8"),
        script=f'"use strict";\n(() => {{\n{script}}})();',
        data=data,
    )


def write_page(scene: Mapping[str, Any], path: Path) -> Path:
    """Write the page; an earlier file stays whole until the new one is.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".writing")
    beside.write_text(page(scene), encoding="utf-8")
    beside.replace(path)
    return path
