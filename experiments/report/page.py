"""Writes a report for people: one self-contained HTML page, and the same in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from experiments.ledger import write_json
from experiments.progress import duration
from experiments.report import figures
from experiments.report.matrix import MEANING, failures, html_matrix, matrix, text_rows
from experiments.report.shell import html_table, pill, shell, write_page
from experiments.report.types import markdown_table, type_markdown, type_section

Report = Mapping[str, Any]


def write_reports(
    report: Report, folder: Path, next_steps: Sequence[tuple[str, str]], stem: str = "report"
) -> dict[str, Path]:
    """Writes ``<stem>.json``, ``<stem>.html`` and ``<stem>.md``.

    Args:
        report: What ``build_report`` gave.
        folder: Where to.
        next_steps: Pairs of what it does and a command.
        stem: Name of the files.

    Returns:
        The three paths by ending.
    """
    paths = {ending: folder / f"{stem}.{ending}" for ending in ("json", "html", "md")}
    write_json(paths["json"], report)
    for ending, text in (("html", html_page(report, next_steps)), ("md", markdown(report, next_steps))):
        write_page(paths[ending], text)
    return paths


def headline(report: Report) -> str:
    """The result in one sentence."""
    models = report["models"]
    passed = sum(model["gate"] == "pass" for model in models)
    if passed == len(models) == 1:
        return "The mind passes the gate"
    if passed == len(models):
        return f"All {passed} minds pass the gate"
    return f"{passed} of {len(models)} minds pass the gate"


def summary(report: Report) -> str:
    """What was done and how it went, in a few sentences."""
    models = report["models"]
    reused = sum(model["reused"] for model in models)
    deployed = sum(model["deployed"] for model in models)
    trained = f"{len(models) - reused} trained now" + (
        f", {reused} reused from an earlier run" if reused else ""
    )
    return (
        f"{len(models)} models at the {report['profile']} profile: {trained}; {deployed} are deployed."
        f" Each exported file was measured on fights that neither training nor selection had seen, at most"
        f" {report['seeds']['fights']:,} of a mind that acts."
    )


def html_page(report: Report, next_steps: Sequence[tuple[str, str]]) -> str:
    """Renders the page.

    Args:
        report: The report.
        next_steps: Pairs of what it does and a command.
    """
    models = report["models"]
    template = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    failed = "".join(f"<li>{escape(line)}</li>" for line in failures(models))
    types, _, _ = matrix(models)
    body = template.substitute(
        matrix=html_matrix(models),
        matrix_note=escape(MEANING),
        failures=f"<ul>{failed}</ul>" if failed else "",
        types="".join(
            type_section(name, [m for m in models if m["model_type"] == name], report) for name in types
        ),
        checks=_checks(models),
        phases=figures.phases(report["phases_s"]),
        next="".join(f"<p>{escape(what)}</p><pre>{escape(command)}</pre>" for what, command in next_steps),
        provenance=_provenance(report),
    )
    created = report["created_at"].replace("T", " ").replace("+00:00", " UTC")
    return shell(
        title=headline(report),
        over=f"ML Monster report, {created}",
        headline=headline(report),
        summary=summary(report),
        facts=_facts(report),
        body=body,
    )


def _facts(report: Report) -> list[tuple[str, str]]:
    models = report["models"]
    rates = [m["metrics"]["win_rate"] for m in models if m["metrics"]["win_rate"] is not None]
    p95 = [m["served_p95_ms"] for m in models if m["served_p95_ms"] is not None]
    passed = sum(m["gate"] == "pass" for m in models)
    return [
        (f"{passed} of {len(models)}", "pass the gate"),
        (
            f"{100 * min(rates):.0f} to {max(rates):.0%}" if rates else "-",
            "win rate against the traditional AI",
        ),
        (f"{max(p95):.1f} ms" if p95 else "-", "slowest P95 of a served decision"),
        (duration(report["wall_s"]), f"from start to report on {report['machine']['cpu_cores']} cores"),
    ]


def _checks(models: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for model in models:
        items = "".join(
            f"<li>{pill(c['verdict'])} {escape(c['text'])}"
            f"{'' if c['blocking'] else ' (reported, does not block)'}</li>"
            for c in model["checks"]
        )
        version = "" if model["version"] is None else f" v{model['version']}"
        name = f"{model['archetype']} {model['model_type']}{version}"
        opened = "" if model["gate"] == "pass" else " open"
        parts.append(
            f"<details{opened}><summary>{escape(name)} {pill(model['gate'])}</summary>"
            f"<ul>{items}</ul></details>"
        )
    return "".join(parts)


def _provenance(report: Report) -> str:
    machine, seeds = report["machine"], report["seeds"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    rows = [
        ("Command", report["command"]),
        (
            "Machine",
            f"{machine['processor']}, {machine['cpu_cores']} cores, {machine['memory_gb']} GB,"
            f" {machine['system']}",
        ),
        ("Software", f"Python {machine['python']}, {versions}"),
        ("Source", report["source_revision"]),
        ("Seeds", f"base seed {seeds['base']}; training, selection and evaluation draw from disjoint blocks"),
    ]
    return html_table(("", ""), [[escape(a), f"<code>{escape(b)}</code>"] for a, b in rows], set())


def markdown(report: Report, next_steps: Sequence[tuple[str, str]]) -> str:
    """Renders the report in Markdown: the tables without the figures.

    Args:
        report: The report.
        next_steps: Pairs of what it does and a command.
    """
    models = report["models"]
    lines = [f"# {headline(report)}", "", summary(report), ""]
    lines += markdown_table(*text_rows(models))
    lines += ["", MEANING, ""]
    lines += [f"- {line}" for line in failures(models)]
    types, _, _ = matrix(models)
    for name in types:
        lines += type_markdown(name, [m for m in models if m["model_type"] == name])
    lines += ["", "## Time", "", f"{report['wall_s']:.0f} s in all: " + _phase_words(report), ""]
    lines += ["## What to do next", ""]
    lines += [f"- {what}: `{command}`" for what, command in next_steps]
    machine = report["machine"]
    lines += ["", "## How this was made", "", f"`{report['command']}` on {machine['processor']},"]
    lines += [
        f"{machine['cpu_cores']} cores, {machine['memory_gb']} GB; source `{report['source_revision']}`.",
        "",
    ]
    return "\n".join(lines)


def _phase_words(report: Report) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {seconds:.0f} s" for name, seconds in report["phases_s"].items()
    )
