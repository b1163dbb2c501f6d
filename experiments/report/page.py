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
from experiments.report.shell import html_table, pill, shell, write_page

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
        return "The combat mind passes the gate"
    if passed == len(models):
        return f"All {passed} combat minds pass the gate"
    return f"{passed} of {len(models)} combat minds pass the gate"


def summary(report: Report) -> str:
    """What was done and how it went, in two sentences."""
    models = report["models"]
    reused = sum(model["reused"] for model in models)
    deployed = sum(model["deployed"] for model in models)
    trained = f"{len(models) - reused} trained now" + (
        f", {reused} reused from an earlier run" if reused else ""
    )
    return (
        f"{len(models)} models at the {report['profile']} profile: {trained}; {deployed} are deployed."
        f" Each exported file played {report['seeds']['fights']:,} fights that neither training nor selection"
        " had seen."
    )


def html_page(report: Report, next_steps: Sequence[tuple[str, str]]) -> str:
    """Renders the page.

    Args:
        report: The report.
        next_steps: Pairs of what it does and a command.
    """
    models, limits = report["models"], report["thresholds"]
    template = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    body = template.substitute(
        win_note=escape(_win_note(limits)),
        win_figure=figures.win_rates(models, limits["win_rate"]["target"]),
        model_table=_model_table(models),
        curves="".join(figures.learning_curve(m, limits["win_rate"]["target"]) for m in models),
        terms="".join(figures.reward_terms(m) for m in models),
        latency_note=escape(_latency_note(models)),
        latency_figure=figures.latencies(models, limits["latency_p95_ms"]["target"]),
        fights=_fights(models),
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


def _win_note(limits: Mapping[str, Mapping[str, float]]) -> str:
    return (
        "Fights won by kill; a win on time does not count. The bar is the 95 % Wilson interval, whose lower"
        f" end must be above {limits['win_rate']['target']:.0%}. Mirror is the traditional AI in the"
        " learner's place."
    )


def _latency_note(models: Sequence[Mapping[str, Any]]) -> str:
    requests = models[0]["metrics"]["latency_requests"] if models else None
    device = models[0]["metrics"]["latency_device"] if models else None
    made = "Single decisions over HTTP through the running service"
    return f"{made}, {requests or 0} requests per model, on {device}."


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


MODEL_HEADER = (
    "Archetype",
    "Version",
    "Gate",
    "Win rate",
    "95 % interval",
    "Reward",
    "P95",
    "Entropy",
    "Deployed",
)


def model_rows(models: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The main table's cells as plain text, one row per model."""
    rows = []
    for model in models:
        m = model["metrics"]
        rows.append(
            [
                model["archetype"],
                f"v{model['version']}",
                model["gate"],
                _form(m["win_rate"], ".1%"),
                f"{_form(m['win_rate_low'], '.1%')} to {_form(m['win_rate_high'], '.1%')}",
                _form(m["average_reward"], ".0f"),
                f"{_form(model['served_p95_ms'], '.1f')} ms",
                f"{_form(m['action_entropy_bits'], '.2f')} bits",
                "yes" if model["deployed"] else "no",
            ]
        )
    return rows


def _form(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _model_table(models: Sequence[Mapping[str, Any]]) -> str:
    rows = [[pill(c) if i == 2 else escape(c) for i, c in enumerate(row)] for row in model_rows(models)]
    for row, model in zip(rows, models, strict=True):
        for check in model["checks"]:
            if check["name"] == "action_entropy_bits" and check["verdict"] == "fail":
                row[7] = f'<span class="short" title="{escape(check["text"])}">{row[7]}</span>'
    return html_table(MODEL_HEADER, rows, {3, 4, 5, 6, 7})


def _fights(models: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for model in models:
        fight = model["fight"]
        if not fight:
            continue
        chosen = sorted(fight["actions"].items(), key=lambda item: -item[1])[:3]
        rows.append(
            [
                escape(model["archetype"]),
                escape(fight["outcome"].replace("_", " ")),
                str(fight["decisions"]),
                f"{fight['p50_ms']:.1f} ms",
                escape(", ".join(f"{name.replace('_', ' ')} ({count})" for name, count in chosen)),
            ]
        )
    if not rows:
        return "<p>No fight was played.</p>"
    return html_table(("Archetype", "Outcome", "Decisions", "Median", "Most frequent actions"), rows, {2, 3})


def _checks(models: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for model in models:
        items = "".join(
            f"<li>{pill(c['verdict'])} {escape(c['text'])}"
            f"{'' if c['blocking'] else ' (reported, does not block)'}</li>"
            for c in model["checks"]
        )
        name = f"{model['archetype']} {model['model_type']} v{model['version']}"
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
    models, limits = report["models"], report["thresholds"]
    lines = [f"# {headline(report)}", "", summary(report), ""]
    lines += _markdown_table(MODEL_HEADER, model_rows(models))
    lines += ["", "## Baselines", "", _win_note(limits), ""]
    names = list(figures.BASELINE_NAMES)
    rows = [
        [m["archetype"], _form(m["metrics"]["win_rate"], ".1%")]
        + [_form(m["baselines"][name]["win_rate"], ".1%") for name in names]
        for m in models
    ]
    lines += _markdown_table(("Archetype", "Served mind", *figures.BASELINE_NAMES.values()), rows)
    lines += ["", "## Gate", ""]
    for model in models:
        lines.append(f"- {model['archetype']} v{model['version']}: **{model['gate']}**")
        lines += [f"  - {check['verdict']}: {check['text']}" for check in model["checks"]]
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


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(header)} |",
        "|" + "---|" * len(header),
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
