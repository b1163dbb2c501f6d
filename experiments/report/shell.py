"""What every page has: style sheet, head line, facts, tables and verdicts; self-contained HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template


def shell(
    *, title: str, over: str, headline: str, summary: str, facts: Sequence[tuple[str, str]], body: str
) -> str:
    """Renders a whole page around its sections.

    Args:
        title: Of the browser's window.
        over: The small line above the head line.
        headline: The result in one sentence.
        summary: Two or three sentences.
        facts: Pairs of a figure and what it is.
        body: The sections, as HTML.
    """
    boxes = "".join(f'<div class="fact"><b>{escape(b)}</b><span>{escape(s)}</span></div>' for b, s in facts)
    template = Template(Path(__file__).with_name("shell.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(title),
        over=escape(over),
        headline=escape(headline),
        summary=escape(summary),
        facts=boxes,
        body=body,
    )


def write_page(path: Path, text: str) -> None:
    """Writes a page so that a reader sees the old file or the whole new one."""
    beside = path.with_name(f"{path.name}.writing")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def pill(verdict: str, words: str | None = None) -> str:
    """A verdict as a coloured word: pass, fail or undecided.

    Args:
        verdict: Decides the colour.
        words: What it says; the verdict itself by default.
    """
    return f'<span class="pill {escape(verdict)}">{escape(words or verdict)}</span>'


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: set[int]) -> str:
    """A table of cells that are HTML already; one too wide for the page scrolls by itself.

    Args:
        header: Column titles.
        rows: Cells.
        numbers: Columns aligned to the right.
    """

    def cells(tag: str, row: Sequence[str]) -> str:
        opened = [f'<{tag} class="n">' if i in numbers else f"<{tag}>" for i in range(len(row))]
        return "".join(f"{start}{cell}</{tag}>" for start, cell in zip(opened, row, strict=True))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    table = f"<table><thead><tr>{cells('th', header)}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{table}</div>'
