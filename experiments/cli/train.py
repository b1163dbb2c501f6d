"""``monster train``: one Tune experiment over the chosen cells."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.cli import common
from experiments.errors import UsageError

if TYPE_CHECKING:
    from experiments.config import SettingsFile
    from experiments.matrix import Request, Run
    from experiments.packing import Plan

RESUME_HINT = "finished runs are kept; run the same command again to continue from the last checkpoints"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    common.add_cells(parser)
    parser.add_argument("--epochs", type=common.positive_int, help="reports to Tune (default: the profile's)")
    parser.add_argument("--batch-size", type=common.positive_int, help="rows per gradient step")
    parser.add_argument(
        "--lr",
        type=common.learning_rate,
        help="learning rate as it stands (default: type's x archetype's / 3e-4)",
    )
    parser.add_argument(
        "--profile", choices=("demo", "small", "full"), default="demo", help="size (default: demo)"
    )
    parser.add_argument("--device", default=None, help="cpu, cuda or cuda:N (default: cpu)")
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16", "fp16"),
        help="number format of forward and backward passes (default: fp32)",
    )
    parser.add_argument(
        "--sampler",
        choices=("columnar", "stock"),
        help="stock: RLlib's own env runners and buffers, the slow reference (default: columnar)",
    )
    parser.add_argument(
        "--env-runners",
        type=common.positive_int,
        help="processes that act for each run, one CPU each (default: the run's own acts)",
    )
    parser.add_argument(
        "--learners",
        type=common.positive_int,
        help="processes that learn for each run, one CPU each (default: the run's own learns)",
    )
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile for losses; needs a C++ compiler"
    )
    parser.add_argument(
        "--no-replay-in-checkpoints",
        action="store_true",
        help="smaller checkpoints; a continued run is then not the run it would have been",
    )
    parser.add_argument(
        "--curriculum",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="climb levels of growing difficulty (default: as --config says, else not)",
    )
    parser.add_argument("--config", type=Path, help="a settings file; the options above go before it")
    parser.add_argument(
        "--parallel",
        type=common.positive_int,
        default=1,
        help="runs at the same time at most, onto GPUs by shares, else one CPU each (default: %(default)s)",
    )
    parser.add_argument(
        "--num-gpus",
        type=common.positive_int,
        help="GPUs to pack runs onto (default: those torch sees, with --device cuda); with --device cpu they"
        " are only counted, to try a plan",
    )
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="reuse finished runs and continue broken ones (default); --no-resume starts anew",
    )
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="a running Ray cluster, auto for this machine's (default: a Ray of the command's own)",
    )
    parser.add_argument(
        "--storage-path",
        metavar="PLACE",
        help="shared folder or URI for checkpoints, such as s3://bucket/runs (default: in --home)",
    )
    parser.add_argument("--dry-run", action="store_true", help="show the plan and do nothing")
    parser.add_argument("--json", action="store_true", help="the plan of --dry-run as JSON")
    common.add_seed(parser)
    common.add_home(parser)
    parser.epilog = "example: monster train --archetypes tank mage --epochs 40 --parallel 2 --dry-run"


def run(args: argparse.Namespace) -> int:
    """Trains and registers; returns the exit code."""
    from experiments import disk, matrix, pipeline, plan_table, tuning

    settings = _settings(args)
    request = _request(args)
    if not args.dry_run:
        _check_device(request.device, args.num_gpus, args.address is not None)
    runs = matrix.resolve(request)
    home = args.home.expanduser().absolute() if args.dry_run else common.check_home(args)
    states = tuning.states(home, runs)
    if not args.resume:
        states = dict.fromkeys(states, "new")
    unfinished = [run for run in runs if states[run.run_id] != "done"]
    plan = _plan(args, settings, unfinished, home)
    if args.dry_run:
        _show_plan(matrix.plan_rows(runs, states), plan, states, args)
        return 0
    progress = common.console()
    progress.line(f"training {len(runs)} runs, {args.parallel} at a time, into {args.home}")
    for line in plan_table.totals(plan, args.profile):
        progress.line(line)
    storage = _storage(args.storage_path)
    disk.check_space(storage or str(home), unfinished, args.parallel)
    with common.stoppable(), _ray(args, runs, storage) as session:
        trained = tuning.train(
            home,
            runs,
            progress,
            resume=args.resume,
            plan=plan,
            storage=storage,
            session=session,
        )
        with common.workshop(args, home, progress, args.seed) as shop:
            for result in trained:
                pipeline.register(shop, result)
    progress.line("next: monster export, then monster evaluate and monster deploy, with the same --home")
    return 0


def _settings(args: argparse.Namespace) -> SettingsFile:
    from experiments import config

    return config.SettingsFile() if args.config is None else config.load_settings(args.config)


def _plan(args: argparse.Namespace, settings: SettingsFile, runs: list[Run], home: Path) -> Plan:
    """Which of the runs that are to be done go together, and where."""
    from experiments import packing

    devices, vram_gb = args.num_gpus or 0, settings.hardware.max_vram_gb
    if runs and runs[0].settings["trial"]["device"] != "cpu":
        import torch

        from experiments.memory import card_gb

        # cuda:N names one of them; a plan can be asked for where there is none.
        one = ":" in runs[0].settings["trial"]["device"]
        devices = 1 if one else devices or max(1, torch.cuda.device_count())
        vram_gb = vram_gb or card_gb()
    room = packing.room_for(runs, args.parallel, devices, vram_gb)
    return packing.plan_for(runs, room, home if args.resume else None)


def _request(args: argparse.Namespace) -> Request:
    from experiments import config, matrix

    settings = _settings(args)
    archetypes, model_types = common.chosen_cells(args)
    if args.curriculum and not any(matrix.has_curriculum(name) for name in model_types):
        raise UsageError(
            f"--curriculum: {', '.join(model_types)} train without levels (perception minds do not fight,"
            " packs keep their size); leave it out"
        )
    laid: dict[str, Any] = {}
    if args.config is not None:
        laid = config.overrides(settings, args.config.name, model_types)
        for name in config.without_effect(settings, model_types):
            common.console().line(f"note: {args.config.name}: '{name}' has no effect in this release")
    return matrix.Request(
        archetypes,
        model_types,
        profile=args.profile,
        seed=args.seed,
        epochs=args.epochs or settings.training.epochs,
        batch_size=args.batch_size or settings.training.batch_size,
        lr=args.lr or settings.training.learning_rate,
        device=args.device or settings.hardware.device or "cpu",
        lane=_lane(args, settings),
        overrides=laid,
        curriculum=config.curriculum_of(settings, args.curriculum),
    )


def _lane(args: argparse.Namespace, settings: Any) -> dict[str, Any]:
    """How each run is carried out, as far as the user says so."""
    precision = args.precision or ("bf16" if settings.hardware.use_amp else None)
    asked = {
        "sampler": args.sampler,
        "precision": precision,
        "env_runners": args.env_runners,
        "learners": args.learners,
        "compiled": args.compile or None,
        "checkpoint_replay": False if args.no_replay_in_checkpoints else None,
    }
    return {name: value for name, value in asked.items() if value is not None}


def _storage(place: str | None) -> str | None:
    """The place of checkpoints, absolute, and writable from here."""
    from experiments import checkpoint_store

    if place is None:
        return None
    storage = place if "://" in place else str(Path(place).expanduser().absolute())
    checkpoint_store.check_writable(storage)
    return storage


@contextlib.contextmanager
def _ray(args: argparse.Namespace, runs: Sequence[Run], storage: str | None) -> Iterator[Any]:
    """Joins the cluster of ``--address`` for as long as the block lasts, and checks the plan on it.

    Yields:
        What `tuning.train` takes as session: None lets it start a Ray of its own.
    """
    if args.address is None:
        yield None
        return
    from experiments import cluster

    cpus = 1 + max(run.helpers for run in runs)
    gpu = any(run.settings["trial"]["device"] != "cpu" for run in runs)
    with cluster.joined(args.address) as there:
        cluster.check_plan(there, cpus=cpus, gpu=gpu, storage=storage, dsn=args.dsn)
        cluster.check_nodes(there, storage)
        yield contextlib.nullcontext


def _check_device(device: str, num_gpus: int | None, elsewhere: bool) -> None:
    """Refuses devices that are not there; of ``cuda:N`` shows Ray, which hands devices out, only that one."""
    if device == "cpu":
        return
    if not re.fullmatch(r"cuda(:\d+)?", device):
        raise UsageError(f"--device {device} is not known; give cpu, cuda or cuda:N")
    if elsewhere:
        return  # the cluster's nodes are asked when they are known
    import torch

    if not torch.cuda.is_available():
        raise UsageError(f"--device {device} was asked for, but torch sees no GPU here; use --device cpu")
    there, number = torch.cuda.device_count(), device.partition(":")[2]
    if (num_gpus or 0) > there or int(number or 0) >= there:
        asked = f"--device {device}" + (f" --num-gpus {num_gpus}" if num_gpus else "")
        raise UsageError(f"{asked} was asked for, but torch sees {there} GPUs here; give fewer, or --dry-run")
    if number:
        shown = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        os.environ["CUDA_VISIBLE_DEVICES"] = shown[int(number)] if shown else number


def _show_plan(rows: list[dict], plan: Plan, states: Mapping[str, str], args: argparse.Namespace) -> None:
    from experiments.plan_table import plan_lines, plan_summary
    from experiments.progress import table

    if args.json:
        common.print_json({"runs": rows, "plan": plan_summary(plan, args.profile)})
        return
    header = [
        "archetype", "model type", "profile", "epochs", "env steps", "updates", "batch", "lr", "noise",
        "reward x", "learns in", "learns by", "device", "state",
    ]  # fmt: skip
    body = [
        [
            row["archetype"], row["model_type"], row["profile"], row["epochs"], _count(row["env_steps"]),
            _count(row["updates"]), row["batch_size"], f"{row['learning_rate']:.2e}", row["noise"],
            row["reward_scale"], row["scenario"], _weights(row["reward"]), row["device"], row["state"],
        ]
        for row in rows
    ]  # fmt: skip
    for line in table(header, body, right={3, 4, 5, 6, 7, 8, 9}):
        print(line)
    print()
    for line in plan_lines(plan, states, args.profile):
        print(line)
    print(f"{len(rows)} runs, {len(rows) - len(plan.placed)} of them done; nothing was started (--dry-run)")


def _weights(reward: Mapping[str, Any] | None) -> str | None:
    """Reward weights that a run learns by in place of the published ones, in one cell of the table."""
    if not reward:
        return None
    flat = {name: value for name, value in reward.items() if name != "terms"} | reward.get("terms", {})
    return " ".join(f"{name.removesuffix('_weight')}={value:g}" for name, value in flat.items())


def _count(value: int | None) -> str | None:
    return None if value is None else f"{value:,}"
