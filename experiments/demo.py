"""``monster demo``: from nothing to served minds and a report, in one process tree that ends with it.

What fails on the way (a run, an export, an evaluation) is a row of the report with its reason; the others go
on. Only this process writes into the registry: worker processes do the long work and give it back.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments import demo_jobs, pipeline
from experiments.demo_jobs import Place, Told
from experiments.errors import ExperimentError
from experiments.gate import FAIL, PASS, Check, GateResult
from experiments.ledger import Ledger
from experiments.matrix import Request, Run, resolve
from experiments.next_steps import next_steps, write_sample_request
from experiments.progress import Progress
from experiments.report import build_report, failed_entry, model_entry, write_reports
from experiments.service_start import ServiceStart
from experiments.tuning import TrainedRun, states, train
from experiments.workers import Job, Outcome, Workers, one_line


@dataclass(frozen=True)
class DemoOptions:
    """What the demo is to do.

    Attributes:
        home: Project folder.
        request: Cells, profile and seed.
        parallel: Training runs at the same time, and worker processes of the other phases.
        fights: Most evaluation fights per model.
        dsn: PostgreSQL address; the embedded server when None.
        command: The command line, for the report.
    """

    home: Path
    request: Request
    parallel: int
    fights: int = pipeline.EVALUATION_FIGHTS
    dsn: str | None = None
    command: str = "monster demo"

    @property
    def place(self) -> Place:
        """Where worker processes work."""
        return Place(self.home, self.request.seed, self.fights)


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
    """One cell on its way through the demo.

    Attributes:
        run: Its resolved settings.
        trained: Its finished run; None if it failed.
        version: Its entry in the registry, as it stands now.
        metrics: What has been measured.
        baselines: What it is held against.
        gate: The verdict, once there is one.
        answered: What it did through the service once deployed.
        seconds: Seconds per phase.
    """

    run: Run
    trained: TrainedRun | None = None
    version: Any = None
    metrics: dict[str, Any] = field(default_factory=dict)
    baselines: dict[str, Any] = field(default_factory=dict)
    gate: GateResult | None = None
    answered: dict[str, Any] | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.run.archetype:<10} {self.run.model_type}"

    @property
    def alive(self) -> bool:
        """Whether nothing failed yet."""
        return self.gate is None or self.gate.verdict == PASS

    def fail(self, phase: str, reason: str) -> None:
        """Ends its way: the verdict is fail, with the reason."""
        check = Check(phase, FAIL, f"{phase}: {reason}")
        self.gate = GateResult(FAIL, (check.text,), (check,), False)


def run_demo(
    options: DemoOptions, progress: Progress, start_service: Callable[..., Any] | None = None
) -> dict[str, Any]:
    """Runs the whole line and writes the report.

    Args:
        options: What to do.
        progress: Where lines for people go.
        start_service: Starts the service; the real one unless a test brings another.

    Returns:
        The report.

    Raises:
        ExperimentError: The service did not start; what was finished is reused by the next run.
    """
    phases = Phases(progress)
    minds = [Mind(run) for run in resolve(options.request)]
    archetypes = tuple(dict.fromkeys(mind.run.archetype for mind in minds))
    with phases("warm_up", "compiling the simulation (cached for later runs)"):
        _warm_up(archetypes)
    with pipeline.open_workshop(options.home, options.dsn, progress, options.request.seed) as shop:
        with phases("train", f"training {len(minds)} minds, {options.parallel} at a time"):
            _train(options, minds, progress)
        with phases("register", "registering"):
            for mind in minds:
                if mind.trained is not None:
                    mind.version = pipeline.register(shop, mind.trained)
        service = ServiceStart(options.home, options.dsn, start_service)
        try:
            with Workers(options.parallel) as workers:
                _measure(options, shop, workers, minds, phases)
            with phases("serve", "waiting for the service"):
                handle = service.ready()
            _deploy(shop, handle, minds, phases)
        finally:
            service.stop()
    return _report(options, minds, phases, progress)


def _warm_up(archetypes: tuple[str, ...]) -> None:
    from experiments.evaluation import attack_nearest, play_fights
    from experiments.machine import cpu_count
    from experiments.seeds import Purpose

    for archetype in archetypes:
        play_fights(archetype, attack_nearest, 2, 0, purpose=Purpose.WARM_UP, threads=cpu_count())


def _train(options: DemoOptions, minds: Sequence[Mind], progress: Progress) -> None:
    """Trains what is not finished; a run that failed is its mind's failure."""
    runs = [mind.run for mind in minds]
    before, reason = states(options.home, runs), "it did not finish"
    try:
        train(options.home, runs, progress, parallel=options.parallel)
    except ExperimentError as error:
        reason = one_line(error)
        progress.line(f"going on without what failed: {reason}")
    for mind in minds:
        record = Ledger(options.home).run(mind.run.run_id)
        summary = record.done()
        if summary is None:
            mind.fail("train", reason)
            continue
        mind.trained = TrainedRun(mind.run, record, summary, before[mind.run.run_id] == "done")
        mind.seconds["train"] = summary["train_s"]


def _measure(
    options: DemoOptions, shop: pipeline.Workshop, workers: Workers, minds: Sequence[Mind], phases: Phases
) -> None:
    """Baselines, exports and evaluations, in the worker processes."""
    with phases("baselines", "baselines of every archetype and head"):
        _play_baselines(options, shop, workers, minds)
    with phases("export", "exporting to ONNX, checked against torch"):

        def exported(mind: Mind, artifacts: Any) -> None:
            mind.version = shop.registry.mark_exported(mind.version.model_id, artifacts)

        waiting = [mind for mind in minds if mind.alive and not pipeline.is_exported(mind.version)]
        exports = [(mind, demo_jobs.export, (options.place, mind.version)) for mind in waiting]
        _work(shop, workers, "export", exported, exports)
    with phases("evaluate", f"evaluating the exported files, {options.fights:,} fights at most"):

        def evaluated(mind: Mind, metrics: Any) -> None:
            mind.metrics = metrics

        evaluations = [
            (mind, demo_jobs.evaluate, (options.place, mind.version, mind.baselines))
            for mind in minds
            if mind.alive
        ]
        _work(shop, workers, "evaluate", evaluated, evaluations)


def _play_baselines(
    options: DemoOptions, shop: pipeline.Workshop, workers: Workers, minds: Sequence[Mind]
) -> None:
    cells: dict[tuple[str, str], list[Mind]] = {}
    for mind in minds:
        if mind.alive and (head := pipeline.head_of(mind.version)):
            cells.setdefault((mind.run.archetype, head), []).append(mind)
    jobs = [Job(" ".join(cell), demo_jobs.play_baselines, (options.place, *cell)) for cell in cells]
    for outcome in workers.run(jobs):
        told = _heard(shop, outcome)
        for mind in cells[outcome.job.arguments[1:]]:
            if told is None:
                mind.fail("baselines", str(outcome.error))
            else:
                mind.baselines = told.value


def _work(
    shop: pipeline.Workshop,
    workers: Workers,
    phase: str,
    take: Callable[[Mind, Any], None],
    jobs: Sequence[tuple[Mind, Callable[..., Told], tuple[Any, ...]]],
) -> None:
    """Does a job for each mind; what fails is that mind's failure."""
    whose = [(Job(mind.name, work, arguments), mind) for mind, work, arguments in jobs]
    minds = {id(job): mind for job, mind in whose}
    for outcome in workers.run([job for job, _ in whose]):
        mind, told = minds[id(outcome.job)], _heard(shop, outcome)
        mind.seconds[phase] = outcome.seconds
        if told is None:
            mind.fail(phase, str(outcome.error))
        else:
            take(mind, told.value)


def _heard(shop: pipeline.Workshop, outcome: Outcome) -> Told | None:
    """Says what a job had to say; None if it failed."""
    if outcome.error is not None:
        shop.progress.line(f"{outcome.job.name} failed: {outcome.error}")
        return None
    told: Told = outcome.value
    for line in told.lines:
        shop.progress.line(line)
    return told


def _deploy(shop: pipeline.Workshop, handle: Any, minds: Sequence[Mind], phases: Phases) -> None:
    """Timing through the service, the gate, deployment, and one answer of each deployed mind."""
    with phases("latency", "timing decisions through the service"):
        for mind in minds:
            if mind.alive:
                with _own(mind, "latency", shop.progress):
                    mind.metrics = pipeline.time_decisions(shop, mind.version, mind.metrics, handle.url)
    with phases("gate", "the gate"):
        for mind in minds:
            if mind.alive:
                mind.version, mind.gate = pipeline.validate(shop, mind.version, mind.metrics, mind.baselines)
    with phases("deploy", "deploying what passed"):
        for mind in minds:
            if mind.gate is not None and mind.gate.verdict == PASS:
                mind.version = pipeline.deploy(shop, mind.version)
        _await_deployed(handle, [mind for mind in minds if _is_deployed(mind)])
    with phases("play", "the simulator as a game server asks the service"):
        for mind in minds:
            if _is_deployed(mind):
                with _own(mind, "play", shop.progress):
                    mind.answered = _ask(shop, handle, mind)


def _is_deployed(mind: Mind) -> bool:
    """Whether it is the one that now answers; an earlier deployed version of a cell that failed is not."""
    return mind.gate is not None and mind.gate.verdict == PASS and bool(mind.version.is_deployed)


@contextlib.contextmanager
def _own(mind: Mind, phase: str, progress: Progress) -> Iterator[None]:
    """Times a step of one mind; an error of it is that mind's failure."""
    started = time.monotonic()
    try:
        yield
    except (ExperimentError, RuntimeError, OSError) as error:
        progress.line(f"{mind.name} failed: {one_line(error)}")
        mind.fail(phase, one_line(error))
    finally:
        mind.seconds[phase] = time.monotonic() - started


def _await_deployed(handle: Any, minds: Sequence[Mind], patience_s: float = 60.0) -> None:
    """Waits until the service answers with the versions just deployed; it looks about once a second."""
    wanted = {(m.version.archetype, m.version.model_type, m.version.version) for m in minds}
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


def _ask(shop: pipeline.Workshop, handle: Any, mind: Mind) -> dict[str, Any]:
    """One fight by a mind that acts, one answer of a mind that perceives, through the service."""
    from experiments.served import answer_row, play_by_inputs, play_views

    with handle.client() as client:
        head = pipeline.head_of(mind.version)
        if head is None:
            done = answer_row(client, mind.version, pipeline.served_rows(shop, mind.version))
        elif head == "combat":
            done = play_views(client, mind.version, shop.seed)
        else:
            done = play_by_inputs(client, mind.version, head, shop.seed)
    shop.progress.line(f"{mind.name} {done['words']}")
    return done


def _report(
    options: DemoOptions, minds: Sequence[Mind], phases: Phases, progress: Progress
) -> dict[str, Any]:
    with phases("report", "writing the report"):
        entries = [_entry(mind) for mind in minds]
        report = build_report(
            entries,
            command=options.command,
            profile=options.request.profile,
            seed=options.request.seed,
            wall_s=progress.elapsed_s,
            phases_s=phases.seconds,
            fights=options.fights,
        )
        fighting = [m.run.archetype for m in minds if _is_deployed(m) and m.run.model_type == "combat_dqn"]
        write_sample_request(options.home, (fighting or [minds[0].run.archetype])[-1], options.request.seed)
        write_reports(report, options.home, next_steps(options.home))
    return report


def _entry(mind: Mind) -> dict[str, Any]:
    assert mind.gate is not None
    history = mind.trained.record.history() if mind.trained else []
    if mind.version is None:
        return failed_entry(mind.run, mind.gate, history, mind.seconds)
    # The registry keeps a verdict of its own; the report shows what this demo measured.
    return model_entry(
        mind.version,
        mind.gate,
        mind.baselines,
        history,
        mind.answered,
        reused=bool(mind.trained and mind.trained.reused),
        seconds=mind.seconds,
    )
