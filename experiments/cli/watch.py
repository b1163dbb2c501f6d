"""``monster watch``: a fight as a page, a film, or JSON; recorded first when no replay is given."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from experiments.cli import common


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument("replay", nargs="?", type=Path, help="a replay file; without one a fight is recorded")
    who = parser.add_argument_group("recording a fight")
    who.add_argument("--archetype", metavar="NAME", help="who is watched, such as tank (default: aggressive)")
    common.add_archetypes_file(who)  # type: ignore[arg-type]
    who.add_argument("--model-type", metavar="NAME", help="which registered mind plays (default: combat_dqn)")
    mind = who.add_mutually_exclusive_group()
    mind.add_argument("--onnx", type=Path, metavar="FILE", help="an exported model plays")
    mind.add_argument("--script", action="store_true", help="the traditional AI plays both sides")
    who.add_argument("--scenario", metavar="NAME", help="such as 1v1, 3v3 or kite (default: the archetype's)")
    who.add_argument(
        "--opponent", metavar="NAME", help="such as classic, veteran or kiter (default: classic)"
    )
    who.add_argument("--level", type=common.positive_int, help="of the curriculum, for scenario and opponent")
    common.add_seed(who)  # type: ignore[arg-type]
    common.add_home(who)  # type: ignore[arg-type]
    out = parser.add_argument_group("what is written")
    out.add_argument("--out", type=Path, metavar="FILE", help="the page (default: beside the replay)")
    out.add_argument("--gif", type=Path, metavar="FILE", help="a film as GIF")
    out.add_argument("--mp4", type=Path, metavar="FILE", help="a film as MP4 (extra 'video')")
    parser.add_argument("--anyway", action="store_true", help="show a replay that the rules have left behind")
    parser.add_argument("--json", action="store_true", help="what was written and how it ended, as JSON")
    parser.epilog = "example: monster watch --archetype mage --seed 3 --gif fight.gif"


def run(args: argparse.Namespace) -> int:
    """Records or loads a fight, simulates it, and writes what was asked for."""
    from envs.playback import frames
    from envs.replay import load, save
    from experiments.errors import ExperimentError
    from experiments.watch import film
    from experiments.watch.page import write_page
    from experiments.watch.scene import build_scene

    _check(args)
    if args.mp4:
        film.check_mp4()
    if args.replay:
        path, replay = args.replay, load(args.replay)
    else:
        subject = _subject(args)
        from experiments.watch.record import record_fight

        replay = record_fight(subject, args.seed)
        if args.out:
            path = args.out.with_suffix(".json")
        else:
            path = args.home / "watch" / f"{subject.archetype}-{replay.about['scenario']}-s{args.seed}.json"
        save(replay, path)
    states = list(frames(replay, check=not args.anyway))
    genuine = not args.anyway or _is_genuine(replay)
    scene = build_scene(replay, states, genuine=genuine)
    page = args.out or path.with_suffix(".html")
    try:
        write_page(scene, page)
    except OSError as error:
        raise ExperimentError(f"{page} cannot be written ({error.strerror}); give another --out") from None
    written = {"page": str(page), "replay": str(path)}
    if (args.gif or args.mp4) and not args.json:
        print(f"drawing {replay.end.tick / 10:.0f} s of film", file=sys.stderr)
    if args.gif:
        written["gif"] = str(film.write_gif(replay, states, args.gif))
    if args.mp4:
        written["mp4"] = str(film.write_mp4(replay, states, args.mp4))
    _report(args, written, scene, sum(state.reward for state in states))
    return 0


def _report(args: argparse.Namespace, written: dict[str, str], scene: dict[str, Any], reward: float) -> None:
    seconds = scene["ticks"][-1] / 10
    if args.json:
        result = {
            "title": scene["title"], "outcome": scene["outcome_words"], "seconds": seconds, "reward": reward,
            "decisions": len(scene["ticks"]) - 1, "about": scene["about"], "seed": scene["seed"],
            "genuine": scene["genuine"], "files": written,
        }  # fmt: skip
        common.print_json(result)
        return
    played = scene["about"].get("played by", "unknown")
    ending = scene["outcome_words"]
    print(f"{scene['title']}: {ending} after {seconds:.1f} s, reward {reward:.1f} (played by: {played})")
    for kind, name in written.items():
        print(f"{kind + ':':<8}{name}")


def _check(args: argparse.Namespace) -> None:
    """Refuses what does not fit together before any work."""
    from experiments.errors import UsageError

    if args.replay:
        given = [name for name in ("archetype", "model_type", "onnx", "scenario", "opponent", "level")
                 if getattr(args, name) is not None]  # fmt: skip
        given += ["script"] if args.script else []
        if given:
            names = ", ".join("--" + name.replace("_", "-") for name in given)
            raise UsageError(f"a replay says itself who fights; leave out {names}")
    if args.level and (args.scenario or args.opponent):
        raise UsageError("--level says who fights whom; give no --scenario and no --opponent with it")
    targets = [("--out", args.out, ".html"), ("--gif", args.gif, ".gif"), ("--mp4", args.mp4, ".mp4")]
    for option, path, suffix in targets:
        if path is not None and (path.suffix.lower() != suffix or path.is_dir()):
            raise UsageError(f"{option} {path}: give the name of a {suffix} file")


def _is_genuine(replay: Any) -> bool:
    from envs.playback import frames
    from envs.replay import ReplayError

    try:
        for _ in frames(replay):
            pass
    except ReplayError:
        return False
    return True


def _subject(args: argparse.Namespace) -> Any:
    """Who is to be watched: the given file, a registered mind, or the traditional AI."""
    from experiments.matrix import check_names
    from experiments.watch.record import OnnxMind, Subject, head_of

    common.use_archetypes_file(args)
    model_type = args.model_type or "combat_dqn"
    check_names(None, [model_type])
    head = head_of(model_type)
    mind = OnnxMind(args.onnx) if args.onnx else None
    archetype = args.archetype or (mind.tags.get("archetype") if mind else None) or "aggressive"
    fight = {"scenario": args.scenario, "opponent": args.opponent, "level": args.level}
    _check_names(archetype, **fight)
    if mind is not None:
        return Subject(archetype, mind, head, **fight, about={"played by": args.onnx.name})
    found = None if args.script else _registered(args, archetype, model_type)
    if found is None:
        if not args.script:
            print(
                f"no trained mind of {archetype} in {args.home}: the traditional AI plays both sides",
                file=sys.stderr,
            )
        return Subject(archetype, None, head, **fight, about={"played by": "traditional AI"})
    version, path, sha256 = found
    settings = version.lineage.get("settings", {}).get("trial", {})
    factor = None
    if "reward_scale" in settings:
        factor = settings["training"].get("reward_unit", 1.0) / settings["reward_scale"]
    words = {"played by": f"{model_type} v{version.version}"}
    return Subject(archetype, OnnxMind(path, sha256, factor), head, **fight, about=words)


def _check_names(archetype: str, scenario: str | None, opponent: str | None, level: int | None) -> None:
    """Refuses unknown names before a database or a kernel starts. Raises ConfigError."""
    from envs import archetypes, scenarios

    archetypes.load(archetype)
    if scenario is not None:
        scenarios.resolve(archetype, scenario)
    if opponent is not None:
        from envs.arena import opponent_arguments

        opponent_arguments(opponent)
    if level is not None:
        from envs import curriculum

        curriculum.level(level)


def _registered(args: argparse.Namespace, archetype: str, model_type: str) -> Any:
    """The deployed version of a cell, else the newest exported one: (version, file, digest), or None.

    Raises:
        ExperimentError: the user named a model type and it has no exported version.
    """
    from experiments.errors import ExperimentError
    from experiments.progress import Progress, silent

    # Looking into a folder that holds no database would start one there.
    if args.dsn is None and not (args.home / "postgres").is_dir():
        versions = []
    else:
        home = common.check_home(args)
        with common.stoppable(), common.workshop(args, home, Progress(silent)) as shop:
            versions = [v for v in shop.registry.list(archetype, model_type) if "onnx_fp32" in v.artifacts]
            versions.sort(key=lambda v: (v.is_deployed, v.version))
            if versions:
                artifact = versions[-1].artifacts["onnx_fp32"]
                return versions[-1], shop.store.fetch(artifact["uri"], artifact["sha256"]), artifact["sha256"]
    if args.model_type:
        raise ExperimentError(
            f"no exported {model_type} of {archetype} is registered in {args.home}; train and export one, "
            "or give --onnx or --script"
        )
    return None
