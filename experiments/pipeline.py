"""From a finished run to a deployed model, step by step; each step reuses what is already there.

    register -> export -> evaluate -> latency -> judge -> deploy

Every step takes the registry's entry and gives the changed one back, so that the commands ``train``,
``export``, ``evaluate`` and ``deploy`` and the demo all walk the same stairs.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from experiments.contract_text import described
from experiments.errors import ExperimentError
from experiments.gate import UNDECIDED, GateResult, judge, judge_perception
from experiments.ledger import plain, write_json
from experiments.machine import LEARNING_ROOMS, code_version, cpu_count, source_revision
from experiments.perceiving import FIGHTS, FITTED_FILE, evaluate_mind, load_fitted, perceived_words
from experiments.progress import Progress
from experiments.stopping import Looks
from experiments.tuning import TrainedRun
from experiments.yardsticks import evaluation_key

EVALUATION_FIGHTS = 2_000
TRANSFERRED = "transferred from"
"""How a version is related to the one whose weights its run started from."""


@dataclass
class Workshop:
    """What every step needs.

    Attributes:
        home: Project folder.
        registry: An open ``storage`` registry.
        store: The artefact store.
        progress: Where lines for people go.
        seed: Base seed of evaluation, recording and play.
        threads: Of the simulation.
    """

    home: Path
    registry: Any
    store: Any
    progress: Progress
    seed: int = 0
    threads: int = field(default_factory=cpu_count)

    def say(self, version: Any, text: str) -> None:
        """Says one line about one model version."""
        self.progress.line(f"{version.archetype:<10} {version.model_type} v{version.version}: {text}")


@contextlib.contextmanager
def open_workshop(home: Path, dsn: str | None, progress: Progress, seed: int = 0) -> Iterator[Workshop]:
    """Opens the registry (the embedded database unless a DSN is given) and the artefact store.

    Args:
        home: Project folder.
        dsn: PostgreSQL address, or None.
        progress: Where lines for people go.
        seed: Base seed of evaluation, recording and play.
    """
    from storage import StorageConfig, open_registry

    config = StorageConfig(home, dsn=dsn)
    with open_registry(config) as registry:
        yield Workshop(home, registry, config.artifact_store(), progress, seed)


def register(shop: Workshop, trained: TrainedRun) -> Any:
    """Enters a finished run into the registry as a trained version; a known run keeps its version.

    Args:
        shop: Registry and store.
        trained: A finished run with weights in the ledger.

    Returns:
        The ``ModelVersion``.
    """
    from policies.model_types import WEIGHTS_FILE

    run = trained.run
    known = shop.registry.find_run(run.run_id)
    if known is not None:
        shop.say(known, "already registered")
        return known
    folder = trained.record.model_folder
    artifacts = {"weights": asdict(shop.store.put(folder / WEIGHTS_FILE))}
    if (folder / FITTED_FILE).exists():
        artifacts["fitted"] = asdict(shop.store.put(folder / FITTED_FILE))
    final = trained.summary["final"]
    metrics = {
        "loss": final.get("loss"),
        "train_s": trained.summary["train_s"],
        "epochs": trained.summary["epochs"],
        "best_epoch": trained.summary["best_epoch"],
        "selection_win_rate": trained.summary["selection_win_rate"],
        "q_mean": final.get("q_mean"),
        "td_error": final.get("td_error"),
        "env_steps": final.get("env_steps"),
        "updates": final.get("updates"),
    }
    version = shop.registry.register(
        run.archetype,
        run.model_type,
        run.run_id,
        artifacts=artifacts,
        metrics=plain(metrics),
        contracts=dict(run.settings["contracts"]),
        lineage={"run": run.run_id, "settings_sha256": run.hash, "settings": dict(run.settings)},
        source_revision=source_revision(),
    )
    shop.say(version, f"registered from {run.run_id}")
    # Registered before it: an experiment lists what a run starts from first.
    source = None if run.source_id is None else shop.registry.find_run(run.source_id)
    if source is not None:
        shop.registry.link(version.model_id, source.model_id, TRANSFERRED)
    return version


def newest(
    shop: Workshop, archetypes: Sequence[str], model_types: Sequence[str], *, explicit: bool = False
) -> list[Any]:
    """Finds the newest version of each cell.

    Args:
        shop: Registry.
        archetypes: Names.
        model_types: Names.
        explicit: Whether the user named the cells: then a missing one is an error, otherwise it is left out.

    Raises:
        ExperimentError: A named cell, or every cell, has no version.
    """
    found: dict[tuple[str, str], Any] = {(a, m): None for a in archetypes for m in model_types}
    for version in shop.registry.list():
        cell = (version.archetype, version.model_type)
        if cell in found and (found[cell] is None or found[cell].version < version.version):
            found[cell] = version
    missing = ["/".join(cell) for cell, version in found.items() if version is None]
    if missing and (explicit or len(missing) == len(found)):
        raise ExperimentError(f"nothing is registered for {', '.join(missing)}; run monster train first")
    return [version for version in found.values() if version is not None]


def export(shop: Workshop, version: Any) -> Any:
    """Writes the ONNX files of a version, if they agree with its torch model.

    Args:
        shop: Registry and store.
        version: A registered version.

    Returns:
        The version, at least in the state ``exported``.

    Raises:
        ExperimentError: The written file does not match its torch model.
    """
    if is_exported(version):
        shop.say(version, "reusing the exported files")
        return version
    return shop.registry.mark_exported(version.model_id, export_files(shop, version))


def is_exported(version: Any) -> bool:
    """Whether a version has both of its ONNX files."""
    return "onnx_fp32" in version.artifacts and "onnx_fp16" in version.artifacts


def export_files(shop: Workshop, version: Any) -> dict[str, dict[str, Any]]:
    """Writes the ONNX files of a version into the store; the registry is not touched.

    Args:
        shop: Store.
        version: A registered version.

    Returns:
        The artefacts ``onnx_fp32``, ``onnx_fp16`` and ``manifest``.

    Raises:
        ExperimentError: The written file does not match its torch model.
    """
    from experiments.recording import keep_rows, record_decisions, record_steps
    from experiments.trainable import torch_policy
    from policies.export import ExportRefusedError, export_onnx
    from policies.model_types import load_weights

    weights = version.artifacts["weights"]
    model = load_weights(shop.store.fetch(weights["uri"], weights["sha256"]))
    if version.model_type == "combat_dqn":
        recorded = record_steps(version.archetype, torch_policy(model), shop.seed)
    else:
        recorded = record_decisions(model, version.archetype, shop.seed)
    tags = {
        "archetype": version.archetype,
        "model_type": version.model_type,
        "version": str(version.version),
        "run_id": version.run_id,
        "observation": version.contracts["observation"],
        "action": version.contracts["action"],
        "source_revision": version.source_revision,
        "weights_sha256": weights["sha256"],
    }
    with tempfile.TemporaryDirectory(prefix="export-", dir=shop.home) as folder:
        try:
            report = export_onnx(model, Path(folder), tags, recorded)
        except ExportRefusedError as error:
            raise ExperimentError(
                f"{version.archetype} {version.model_type} v{version.version} was not exported: {error}"
            ) from error
        manifest = {**tags, **model.manifest(), **described(model, version.model_type, report)}
        write_json(Path(folder) / "manifest.json", manifest)
        artifacts = {
            "onnx_fp32": _artifact(shop, report.fp32, model.manifest()),
            "onnx_fp16": _artifact(shop, report.fp16, model.manifest()),
            "manifest": asdict(shop.store.put(Path(folder) / "manifest.json", ".json")),
        }
    keep_rows(shop.home, weights["sha256"], recorded)
    shop.say(version, f"exported, {artifacts['onnx_fp32']['bytes'] / 1e3:.0f} kB FP32")
    return artifacts


def _artifact(shop: Workshop, file: Any, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Stores one exported file; its parity stays with it, whatever happens to the metrics later."""
    stored = asdict(shop.store.put(file.path, ".onnx"))
    parity = {
        "max_abs_error": file.agreement.max_abs_error,
        "relative_error": file.agreement.relative_error,
        "action_agreement": file.agreement.action_agreement,
    }
    return {**stored, "parity": plain(parity), "manifest": plain(manifest)}


def evaluate(
    shop: Workshop, version: Any, n: int = EVALUATION_FIGHTS, looks: Looks | None = None
) -> dict[str, Any]:
    """Measures the exported FP32 file on the evaluation seeds.

    A mind that acts plays against the traditional AI; one that perceives is asked about fights, see
    `experiments.perceiving`.

    Args:
        shop: Registry and store.
        version: An exported version.
        n: Fights of a mind that acts.
        looks: Where its fights may end earlier, the case being clear; its last look is the most fights.

    Returns:
        The figures as plain values, with ``evaluation_key``; those of an earlier evaluation by the same key
        are reused.

    Raises:
        ExperimentError: The version is not exported yet, or its file was changed.
    """
    head = head_of(version)
    key = _key(shop, version.archetype, n, looks) if head else _perception_key(shop, version.archetype)
    if version.metrics.get("evaluation_key") == key:
        shop.say(version, "reusing the evaluation")
        return dict(version.metrics)
    artifact = version.artifacts.get("onnx_fp32")
    if artifact is None:
        raise ExperimentError(
            f"{version.archetype}/{version.model_type} v{version.version} is not exported; "
            "run monster export first"
        )
    _say_if_redefined(shop, version)
    path = shop.store.fetch(artifact["uri"], artifact["sha256"])
    figures = _fight(shop, version, head, path, n, looks) if head else _perceive(shop, version, path)
    return {**dict(version.metrics), **plain(figures), "evaluation_key": key}


def _fight(
    shop: Workshop, version: Any, head: str, path: Path, n: int, looks: Looks | None
) -> dict[str, Any]:
    from experiments.evaluation import OnnxPolicy, play_fights
    from experiments.heads import onnx_mind, play_head

    sha256 = version.artifacts["onnx_fp32"]["sha256"]
    if head == "combat":
        policy = OnnxPolicy(path, sha256)
        score = play_fights(version.archetype, policy, n, shop.seed, threads=shop.threads, looks=looks)
    else:
        mind = onnx_mind(path, sha256)
        score = play_head(version.archetype, head, mind, n, shop.seed, threads=shop.threads, looks=looks)
    shop.say(
        version,
        f"win rate {score.win_rate:.3f} ({score.win_rate_low:.3f}-{score.win_rate_high:.3f}, n = {score.n}),"
        f" reward {score.average_reward:.1f}",
    )
    return {**score.as_dict(), "looks": len(looks.fights) if looks else 1}


def _key(shop: Workshop, archetype: str, n: int, looks: Looks | None) -> str:
    """Like `evaluation_key`; fights that may end earlier are others than those that may not."""
    key = evaluation_key(shop, looks.fights[-1] if looks else n, archetype)
    return key if looks is None else f"{key}-{'-'.join(map(str, looks.fights))}"


def _perceive(shop: Workshop, version: Any, path: Path) -> dict[str, Any]:
    from experiments.heads import onnx_mind

    fitted = version.artifacts.get("fitted")
    if fitted is None:
        raise ExperimentError(
            f"{version.name} was registered without what its baselines took from the training rows, by an "
            "older release; train it again"
        )
    figures = evaluate_mind(
        version.model_type,
        version.archetype,
        onnx_mind(path, version.artifacts["onnx_fp32"]["sha256"]).ask,
        load_fitted(shop.store.fetch(fitted["uri"], fitted["sha256"])),
        version.lineage["settings"]["trial"],
        shop.seed,
        shop.home,
    )
    shop.say(version, perceived_words(figures))
    return figures


def _perception_key(shop: Workshop, archetype: str) -> str:
    """Like `evaluation_key`; the rows of a perception mind are made by the code of its task too."""
    parts = [evaluation_key(shop, sum(FIGHTS.values()), archetype), code_version(LEARNING_ROOMS)]
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:16]


def head_of(version: Any) -> str | None:
    """What the actions of a version mean; None of a perception mind, which has none."""
    from policies.model_types import MODEL_TYPES

    return MODEL_TYPES[version.model_type].head


def _say_if_redefined(shop: Workshop, version: Any) -> None:
    """Says so where the user's archetype is no longer what the version was trained as."""
    from envs import archetypes

    trained_as = (version.lineage.get("settings") or {}).get("archetypes")
    if trained_as is not None and trained_as != plain(archetypes.definitions([version.archetype])):
        shop.say(version, "its archetype has changed since it was trained; it fights as it is now")


def time_decisions(shop: Workshop, version: Any, metrics: Mapping[str, Any], url: str) -> dict[str, Any]:
    """Times a version in the running service, in a slot that only its version number reaches.

    Args:
        shop: Registry and store.
        version: An exported version.
        metrics: What is known of it; timings of an earlier run are reused.
        url: Address of the service.

    Returns:
        The metrics with ``latency_p95_ms`` and its neighbours.
    """
    from experiments.latency import measure, measure_inference
    from serve.client import DecisionClient

    if metrics.get("latency_p95_ms") is not None:
        shop.say(version, f"reusing the timing, P95 {metrics['latency_p95_ms']:.2f} ms")
        return dict(metrics)
    rows = served_rows(shop, version)
    cell = (version.archetype, version.model_type, version.version)
    with DecisionClient(url) as client:
        client.load_candidate(*cell)
        if version.model_type == "combat_dqn":
            seen = measure(client, *cell, rows["obs"], rows["action_mask"])
        else:
            carried = version.artifacts["onnx_fp32"]["manifest"]["state"]
            seen = measure_inference(client, *cell, rows, carried)
    shop.say(
        version, f"served in {seen.p50_ms:.2f} ms, P95 {seen.p95_ms:.2f} ms over {seen.requests} requests"
    )
    return {
        **dict(metrics),
        "latency_requests": seen.requests,
        "latency_p50_ms": seen.p50_ms,
        "latency_p95_ms": seen.p95_ms,
        "latency_p99_ms": seen.p99_ms,
        "latency_device": f"cpu, {cpu_count()} cores",
    }


def served_rows(shop: Workshop, version: Any) -> dict[str, Any]:
    """Rows that a version is given as inputs, those of its export where they were kept.

    Args:
        shop: Home and store.
        version: A registered version.
    """
    from experiments.recording import kept_rows, record_decisions
    from policies.export import STARTS
    from policies.model_types import load_weights

    weights = version.artifacts["weights"]
    rows = kept_rows(shop.home, weights["sha256"])
    if rows is None:
        model = load_weights(shop.store.fetch(weights["uri"], weights["sha256"]))
        rows = record_decisions(model, version.archetype, shop.seed)
        rows.pop(STARTS, None)
    return rows


def gate_inputs(version: Any, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Lays a version's parity beside its metrics, under the names that the gate asks for."""
    fp32 = (version.artifacts.get("onnx_fp32") or {}).get("parity") or {}
    fp16 = (version.artifacts.get("onnx_fp16") or {}).get("parity") or {}
    return {
        **metrics,
        "fp32_error": fp32.get("relative_error"),
        "fp16_action_agreement": fp16.get("action_agreement"),
        "fp16_error": fp16.get("relative_error"),
    }


def validate(
    shop: Workshop,
    version: Any,
    metrics: Mapping[str, Any],
    yardsticks: Mapping[str, Any],
    *,
    strict: bool = False,
) -> tuple[Any, GateResult]:
    """Passes a version through the gate and writes the verdict into the registry.

    Two verdicts are said but not written: an undecided one never replaces a decided one (a quick look
    with few fights takes nothing back), and a deployed version keeps the pass it was deployed with until
    another version is deployed.

    Args:
        shop: Registry.
        version: An exported version.
        metrics: Its figures from ``evaluate`` and ``time_decisions``.
        yardsticks: The baselines of its archetype and head; a perception mind has its own in its figures.
        strict: Whether reported checks block too.

    Returns:
        The version in the state ``validated`` and the gate's verdict.
    """
    measured = gate_inputs(version, metrics)
    if head_of(version) is None:
        result = judge_perception(version.model_type, measured)
    else:
        result = judge(measured, yardsticks, strict=strict)
    entry = {
        **metrics,
        "baselines": {
            name: {k: row[k] for k in ("win_rate", "wins", "n")} for name, row in yardsticks.items()
        },
        "refused": result.refused,
    }
    verdict = result.verdict
    shop.say(version, f"gate: {verdict}" + ("" if verdict == "pass" else f" ({result.reasons[0]})"))
    if version.gate and (verdict == UNDECIDED or (version.is_deployed and verdict != version.gate)):
        shop.say(version, f"the registry keeps its verdict '{version.gate}'")
        return replace(version, metrics=plain(entry)), result
    return shop.registry.mark_validated(version.model_id, plain(entry), verdict, list(result.reasons)), result


def deploy(shop: Workshop, version: Any) -> Any:
    """Deploys a version that passed the gate.

    Args:
        shop: Registry.
        version: A validated version.
    """
    if version.is_deployed:
        shop.say(version, "already deployed")
        return version
    version = shop.registry.deploy(version.archetype, version.model_type, version.version)
    shop.say(version, "deployed")
    return version
