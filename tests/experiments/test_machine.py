from pathlib import Path

import pytest

from experiments import machine


def test_comments_and_docstrings_do_not_change_the_meaning_but_code_does(tmp_path: Path) -> None:
    def meaning(source: str) -> bytes:
        path = tmp_path / "x.py"
        path.write_text(source)
        return machine._meaning(path)

    plain = meaning('"""A."""\ndef f(x):\n    """B."""\n    return x + 1\n')
    assert plain == meaning('"""Other."""\n# why\n\ndef f(x):\n    return x + 1\n')
    assert plain != meaning("def f(x):\n    return x + 2\n")


def test_the_code_version_covers_envs_and_policies_and_their_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for room in ("envs", "policies", "serve"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "a.py").write_text("x = 1\n")
        (tmp_path / room / "a.yaml").write_text("x: 1\n")
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    versions = []
    for change in (None, ("serve", "a.py"), ("policies", "a.yaml"), ("envs", "a.py")):
        if change:
            (tmp_path / change[0] / change[1]).write_text("x = 2\n" if change[1] == "a.py" else "x: 2\n")
        versions.append(machine.code_version.__wrapped__())
    assert versions[0] == versions[1] != versions[2] != versions[3]


def test_the_description_names_cores_and_versions() -> None:
    description = machine.describe()
    assert description["cpu_cores"] >= 1 and description["memory_gb"] > 0
    assert description["versions"]["torch"] and description["versions"]["ml-monster"]
    assert machine.source_revision().endswith("c" + machine.code_version()[:12])
