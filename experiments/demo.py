"""``monster demo``: from nothing to six served minds and a report, in one process tree that ends with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments import pipeline
from experiments.errors import ExperimentError
from experiments.gate import GateResult
from experiments.ledger import write_json
from experiments.matrix import Request, resolve
from experiments.progress import Progress, duration
from experiments.report import build_report, model_entry, write_reports
from experiments.tuning import TrainedRun, train


@dataclass(frozen=True)
class DemoOptions:
    """What the demo is to do.

    Attributes:
        home: Project folder.
        request: Cells, profile and seed.
        parallel: Training runs at the same time.
        fights: Evaluation fights per model and per baseline.
        dsn: PostgreSQL address; the embedded server when None.
        command: The command line, for the report.
    """

    home: Path
    request: Request
    parallel: int
    fights: int = pipeline.EVALUATION_FIGHTS
    dsn: str | None = None
    command: str = "monster demo"


@dataclass
class Phases:
    """Times the phases, announces them, and keeps their seconds in order.

    Attributes:
        progress: Where lines for people go.
        seconds: Seconds per phase.
    """

    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def __call__(self, name: str, what: str) -> Iterator[None]:
        """Runs one phase."""
        self.progress.line(f"== {what}")
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started


@dataclass
class Mind:
    """One model on its way through the demo.

    Attributes:
        trained: Its finished run.
        version: Its entry in the registry, as it stands now.
        metrics: What has been measured.
        gate: The verdict, once there is one.
        fight: The fight it played through the service.
    """

    trained: TrainedRun
    version: Any
    metrics: dict[str, Any] = field(default_factory=dict)
    gate: GateResult | None = None
    fight: dict[str, Any] | None = None


class ServiceStart:
    """Starts the service beside other work; its start-up is mostly waiting for processes.

    Args:
        home: Project folder.
        dsn: PostgreSQL address, or None.
        start: Starts a service and gives its handle; the real one unless a test brings another.
    """

    def __init__(self, home: Path, dsn: str | None, start: Callable[..., Any] | None = None) -> None:
        self._home, self._dsn, self._start_service = home, dsn, start
        self._handle: Any = None
        self._error: BaseException | None = None
        self._unwanted = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._start, name="service-start", daemon=True)
        self._thread.start()

    def _start(self) -> None:
        try:
            if self._start_service is None:
                from serve.process import start_service

                self._start_service = start_service
            handle = self._start_service(self._home, dsn=self._dsn, owner_pid=os.getpid())
        except BaseException as error:  # handed over to the waiting thread
            self._error = error
            return
        with self._lock:
            self._handle = handle
            unwanted = self._unwanted
        if unwanted:
            handle.stop()

    def ready(self) -> Any:
        """Waits for the service and gives its handle.

        Raises:
            ExperimentError: It did not start.
        """
        self._thread.join()
        if self._error is not None:
            raise ExperimentError(f"the service did not start: {self._error}") from self._error
        return self._handle

    def stop(self) -> None:
        """Stops the service.

        One that is just coming up is not waited for: it ends with this process, which it watches, or as
        soon as it is up, whichever comes first.
        """
        with self._lock:
            self._unwanted = True
            handle = self._handle
        if handle is not None:
            handle.stop()


def run_demo(options: DemoOptions, progress: Progress) -> dict[str, Any]:
    """Runs the whole line and writes the report.

    Args:
        options: What to do.
        progress: Where lines for people go.

    Returns:
        The report.

    Raises:
        ExperimentError: A step failed; what was finished is reused by the next run.
    """
    phases = Phases(progress)
    runs = resolve(options.request)
    archetypes = tuple(dict.fromkeys(run.archetype for run in runs))
    with phases("warm_up", "compiling the simulation (cached for later runs)"):
        _warm_up(archetypes)
    with pipeline.open_workshop(options.home, options.dsn, progress, options.request.seed) as shop:
        with phases("baselines", f"baselines: {options.fights:,} fights each"):
            yardsticks = pipeline.baselines(shop, archetypes, options.fights)
        with phases("train", f"training {len(runs)} minds, {options.parallel} at a time"):
            trained = train(options.home, runs, progress, parallel=options.parallel)
        service = ServiceStart(options.home, options.dsn)
        try:
            minds = _validate(options, shop, service, trained, yardsticks, phases)
        finally:
            service.stop()
    report = _report(options, minds, yardsticks, phases, progress)
    return report


def _warm_up(archetypes: tuple[str, ...]) -> None:
    from experiments.evaluation import attack_nearest, play_fights
    from experiments.machine import cpu_count
    from experiments.seeds import Purpose

    for archetype in archetypes:
        play_fights(archetype, attack_nearest, 2, 0, purpose=Purpose.WARM_UP, threads=cpu_count())


def _validate(
    options: DemoOptions,
    shop: pipeline.Workshop,
    service: ServiceStart,
    trained: list[TrainedRun],
    yardsticks: dict[str, dict[str, Any]],
    phases: Phases,
) -> list[Mind]:
    with phases("register", "registering"):
        minds = [Mind(result, pipeline.register(shop, result)) for result in trained]
    with phases("export", "exporting to ONNX, checked against torch"):
        for mind in minds:
            mind.version = pipeline.export(shop, mind.version)
    with phases("validate", f"validating: {options.fights:,} fights each by the exported file"):
        for mind in minds:
            mind.metrics = pipeline.evaluate(shop, mind.version, options.fights)
    with phases("serve", "waiting for the service"):
        handle = service.ready()
    with phases("latency", "timing decisions through the service"):
        for mind in minds:
            mind.metrics = pipeline.time_decisions(shop, mind.version, mind.metrics, handle.url)
    with phases("gate", "the gate"):
        for mind in minds:
            baselines = yardsticks[mind.version.archetype]
            mind.version, mind.gate = pipeline.validate(shop, mind.version, mind.metrics, baselines)
    with phases("deploy", "deploying what passed"):
        for mind in minds:
            if mind.gate is not None and mind.gate.verdict == "pass":
                mind.version = pipeline.deploy(shop, mind.version)
        _await_deployed(handle, minds)
    with phases("play", "the simulator as a game server asks the service"):
        for mind in minds:
            if mind.version.is_deployed:
                mind.fight = _play(handle, mind, options.request.seed, shop.progress)
    return minds


def _await_deployed(handle: Any, minds: list[Mind], patience_s: float = 30.0) -> None:
    """Waits until the service answers with the versions just deployed; it looks about once a second."""
    wanted = {
        (m.version.archetype, m.version.model_type, m.version.version) for m in minds if m.version.is_deployed
    }
    deadline = time.monotonic() + patience_s
    with handle.client() as client:
        while True:
            serving = {
                (row["archetype"], row["model_type"], row["model_version"])
                for row in client.models()
                if row.get("deployed", True)
            }
            if wanted <= serving:
                return
            if time.monotonic() > deadline:
                missing = ", ".join("/".join(map(str, cell)) for cell in sorted(wanted - serving))
                raise ExperimentError(
                    f"the service did not pick up {missing} in {patience_s:.0f} s; see logs/serve.log"
                )
            time.sleep(0.2)


def _play(handle: Any, mind: Mind, seed: int, progress: Progress) -> dict[str, Any]:
    from experiments.game_server import play_served_fight
    from experiments.latency import Latency

    with handle.client() as client:
        fight = play_served_fight(client, mind.version.archetype, seed)
    times = Latency.of(fight.times_ms)
    progress.line(
        f"{fight.archetype:<10} {fight.outcome.replace('_', ' ')} after {fight.decisions} served decisions,"
        f" median {times.p50_ms:.1f} ms"
    )
    return {
        "outcome": fight.outcome,
        "decisions": fight.decisions,
        "reward": fight.reward,
        "model_version": fight.model_version,
        "actions": fight.actions,
        "p50_ms": times.p50_ms,
        "p95_ms": times.p95_ms,
    }


def _report(
    options: DemoOptions,
    minds: list[Mind],
    yardsticks: dict[str, dict[str, Any]],
    phases: Phases,
    progress: Progress,
) -> dict[str, Any]:
    with phases("report", "writing the report"):
        entries = [
            model_entry(
                mind.version,
                mind.gate,
                yardsticks[mind.version.archetype],
                mind.trained.record.history(),
                mind.fight,
                reused=mind.trained.reused,
            )
            for mind in minds
            if mind.gate is not None
        ]
        report = build_report(
            entries,
            command=options.command,
            profile=options.request.profile,
            seed=options.request.seed,
            wall_s=progress.elapsed_s,
            phases_s=phases.seconds,
            fights=options.fights,
        )
        deployed = [mind.version.archetype for mind in minds if mind.version.is_deployed]
        write_sample_request(
            options.home, (deployed or [minds[0].version.archetype])[-1], options.request.seed
        )
        write_reports(report, options.home, next_steps(options.home))
    return report


SAMPLE_REQUEST = "request.json"


def write_sample_request(home: Path, archetype: str, seed: int) -> None:
    """Leaves a request to try the service with: a world view in the middle of a fight."""
    from experiments.game_server import sample_request

    write_json(home / SAMPLE_REQUEST, sample_request(archetype, seed))


def monster_command() -> str:
    """The command as the user has to type it here: by its name where the shell finds it, else by its path."""
    here = Path(sys.argv[0])
    if here.name != "monster":
        return "monster"
    found = shutil.which("monster")
    if found is not None and os.path.realpath(found) == os.path.realpath(here):
        return "monster"
    shown = os.path.relpath(here)
    return str(here) if shown.startswith("..") else shown


def next_steps(home: Path) -> list[tuple[str, str]]:
    """What a newcomer may do after the demo: pairs of what it does and a command."""
    shown = os.path.relpath(home)
    shown = shown if not shown.startswith("..") else str(home)
    monster = monster_command()
    return [
        ("Serve the deployed minds", f"{monster} serve --home {shown} --port 8000"),
        (
            "Ask one for a decision (another terminal)",
            "curl -s localhost:8000/v1/decide -H 'Content-Type: application/json'"
            f" -d @{shown}/{SAMPLE_REQUEST}",
        ),
        ("See what is registered", f"{monster} registry list --home {shown}"),
        (
            "Plan a run of your own",
            f"{monster} train --archetypes mage --epochs 60 --seed 1 --home {shown} --dry-run",
        ),
    ]


def final_table(report: dict[str, Any]) -> list[str]:
    """The result as a table for the terminal."""
    from experiments.progress import table
    from experiments.report.page import headline

    header = [
        "archetype",
        "gate",
        "win rate",
        "95 % interval",
        "random",
        "mirror",
        "nearest",
        "reward",
        "P95 ms",
        "deployed",
    ]
    rows = []
    for model in report["models"]:
        m, b = model["metrics"], model["baselines"]
        p95 = model["served_p95_ms"]
        rows.append(
            [
                model["archetype"],
                model["gate"],
                f"{m['win_rate']:.3f}",
                f"{m['win_rate_low']:.3f}-{m['win_rate_high']:.3f}",
                *(f"{b[name]['win_rate']:.3f}" for name in ("random", "mirror", "attack_nearest")),
                f"{m['average_reward']:.0f}",
                None if p95 is None else f"{p95:.1f}",
                "yes" if model["deployed"] else "no",
            ]
        )
    lines = ["", *table(header, rows, right={2, 3, 4, 5, 6, 7, 8}), ""]
    lines += [
        f"{model['archetype']}: {reason}"
        for model in report["models"]
        if model["gate"] != "pass"
        for reason in model["reasons"]
    ]
    lines.append(
        f"{headline(report)}; {duration(report['wall_s'])} on {report['machine']['cpu_cores']} cores"
    )
    return lines
