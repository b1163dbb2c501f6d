"""The import directions of the house: statically over every file, and transitively in fresh processes.

`ALLOWED` is the rule. A module that breaks it fails `test_static_directions` with file and line; a heavy
library that creeps in through a chain of imports fails one of the tests below it.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("envs", "policies", "experiments", "storage", "serve")

# Which of our packages each one may import; the longest matching prefix decides.
ALLOWED = {
    "envs.contracts": ("envs.contracts",),
    "envs": ("envs",),
    "policies": ("policies", "envs"),
    "storage": ("storage", "envs.contracts"),
    "serve": ("serve", "envs.contracts", "storage"),
    "experiments": PACKAGES,
}
# Third-party libraries that a package never imports, not even inside a function.
FORBIDDEN = {
    "envs.contracts": ("torch", "numba", "ray", "gymnasium", "yaml"),
    "envs": ("torch", "ray", "onnxruntime", "asyncpg"),
    "storage": ("torch", "numba", "ray", "gymnasium", "onnxruntime"),
    "serve": ("torch", "numba", "gymnasium", "ray.rllib", "ray.tune", "ray.train"),
}


def modules(package: str) -> dict[str, Path]:
    """Every module of a package by its dotted name, ``package`` itself first."""
    found = {}
    for path in sorted((ROOT / package.replace(".", "/")).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def within(module: str, prefixes: tuple[str, ...]) -> bool:
    """Whether ``module`` is one of ``prefixes`` or lies below one."""
    return any(module == prefix or module.startswith(prefix + ".") for prefix in prefixes)


def rule_for(module: str) -> str:
    """The key of `ALLOWED` with the longest match."""
    return max((name for name in ALLOWED if within(module, (name,))), key=len)


def imported(module: str, path: Path) -> Iterator[tuple[str, int]]:
    """Each module that a file imports anywhere, functions included, with the line."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            for alias in node.names:
                # `from envs import contracts` imports the module envs.contracts, not only envs.
                inner = ROOT.joinpath(*base.split("."), alias.name)
                is_module = inner.is_dir() or inner.with_suffix(".py").is_file()
                yield (f"{base}.{alias.name}" if is_module else base), node.lineno


def broken_rules(module: str, path: Path) -> list[str]:
    """What a file imports against the rules, as ``file:line: reason``."""
    rule = rule_for(module)
    forbidden = tuple(name for key, names in FORBIDDEN.items() if within(module, (key,)) for name in names)
    problems = []
    for name, line in imported(module, path):
        place = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        if name.split(".")[0] in PACKAGES and not within(name, ALLOWED[rule]):
            problems.append(f"{place}:{line}: {rule} may not import {name}, only {', '.join(ALLOWED[rule])}")
        if within(name, forbidden):
            problems.append(f"{place}:{line}: {rule} may not import {name}")
    return problems


@pytest.mark.parametrize("package", PACKAGES)
def test_static_directions(package: str) -> None:
    found = modules(package)
    assert package in found, f"{package}/__init__.py is missing"
    assert [problem for module, path in found.items() for problem in broken_rules(module, path)] == []


def test_the_static_check_sees_every_form_of_import(tmp_path: Path) -> None:
    source = tmp_path / "engine.py"
    source.write_text(
        "import numpy\n"
        "from envs import contracts\n"
        "from . import table\n"
        "def late():\n"
        "    import torch.nn\n"
        "    from ray.rllib.core import learner\n"
        "    from policies.export import export_onnx\n"
        "    from envs import combat\n"
    )
    lines = [problem.split(":")[1] for problem in broken_rules("serve.engine", source)]
    # numpy, envs.contracts and serve's own table are fine. `envs.combat` is seen as `envs` until it exists.
    assert lines == ["5", "6", "7", "8"]
    assert broken_rules("experiments.engine", source) == []


def test_relative_imports_are_resolved() -> None:
    path = ROOT / "envs" / "contracts" / "__init__.py"
    tree = {name for name, _ in imported("envs.contracts", path)}
    assert all(not name.startswith(".") and name for name in tree)
    assert any(within(name, ("envs.contracts",)) for name in tree)


def loaded_by(statements: str) -> set[str]:
    """Run statements in a fresh Python, in another folder; returns the names of all modules it then has."""
    code = f"{statements}\nimport json, sys\nsys.stderr.write('\\n' + json.dumps(sorted(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd="/",
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def importing(names: list[str]) -> str:
    """Statements that import each module; those that only run as a program are left out."""
    return "\n".join(f"import {name}" for name in names if not name.endswith("__main__"))


def third_party(names: set[str]) -> set[str]:
    """The top-level libraries among modules, without the standard library, ours and what each start loads."""
    always = {name.partition(".")[0] for name in loaded_by("pass")}
    tops = {name.partition(".")[0] for name in names} - always - set(PACKAGES) - {"__main__"}
    return {name for name in tops if name not in sys.stdlib_module_names}


def assert_loads_none(names: set[str], unwanted: tuple[str, ...]) -> None:
    """Fail with the unwanted modules that were loaded."""
    assert sorted(name for name in names if within(name, unwanted))[:10] == []


def test_contracts_load_numpy_alone() -> None:
    names = loaded_by(importing(list(modules("envs.contracts"))))
    assert "envs.contracts" in names
    assert third_party(names) == {"numpy"}


def test_importing_envs_is_light() -> None:
    names = loaded_by("import envs")
    assert_loads_none(names, ("numba", "torch", "ray", "scipy", "pandas", "onnxruntime"))


def test_storage_loads_neither_ray_nor_the_other_rooms() -> None:
    names = loaded_by(importing(list(modules("storage"))))
    assert_loads_none(names, (*FORBIDDEN["storage"], "policies", "experiments", "serve"))
    ours = {name for name in names if within(name, ("envs",))}
    assert {name for name in ours if name != "envs" and not within(name, ("envs.contracts",))} == set()


def test_a_replica_is_light() -> None:
    names = loaded_by(importing(list(modules("serve"))))
    assert_loads_none(names, ("torch", "numba", "gymnasium", "ray.rllib", "policies", "experiments"))


def test_networks_and_export_need_no_rllib() -> None:
    plain = ("policies", "policies.combat_dqn", "policies.export")
    names = loaded_by(importing([name for name in modules("policies") if name in plain]))
    assert_loads_none(names, ("ray",))


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["registry", "--help"]])
def test_help_loads_no_heavy_library(arguments: list[str]) -> None:
    names = loaded_by(
        "import sys\n"
        "from experiments.cli import main\n"
        f"sys.argv = ['monster', *{arguments!r}]\n"
        "try:\n    code = main()\nexcept SystemExit as stop:\n    code = stop.code\n"
        "assert not code, code"
    )
    assert_loads_none(names, ("ray", "torch", "numba", "onnxruntime", "scipy", "pandas", "gymnasium"))


@pytest.mark.parametrize("order", [("envs", "gymnasium"), ("gymnasium", "envs")], ids=" then ".join)
def test_gymnasium_knows_our_ids_whichever_is_imported_first(order: tuple[str, str]) -> None:
    names = loaded_by(
        f"import {order[0]}, {order[1]}\n"
        "spec = gymnasium.spec('MLMonster/Combat-v0')\n"
        "assert spec.vector_entry_point, spec"
    )
    assert_loads_none(names, ("numba", "torch", "ray"))
