"""The generic configuration loader: every mistake is one line that names file, key and remedy."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pytest

from envs.configuration import (
    ConfigError,
    Range,
    config_hash,
    load_dataclass,
    load_yaml,
    merge,
    nearest,
    resolved_json,
    to_plain,
)

Anything = TypeVar("Anything")


class Mode(enum.Enum):
    """A setting with named values."""

    FAST = "fast"
    EXACT = "exact"


@dataclasses.dataclass(frozen=True)
class Network:
    """A nested part."""

    hidden_dims: Annotated[tuple[int, ...], Range(minimum=1)] = (128, 64)
    dropout: Annotated[float, Range(minimum=0.0, below=1.0)] = 0.0


@dataclasses.dataclass(frozen=True)
class Training:
    """One field of each kind."""

    name: str
    learning_rate: Annotated[float, Range(above=0.0, maximum=1.0)] = 3e-4
    batch_size: Annotated[int, Range(minimum=1)] = 256
    use_amp: bool = False
    device: Literal["cpu", "cuda"] = "cpu"
    limit: int | None = None
    size: tuple[int, float] = (1, 2.0)
    weights: Annotated[dict[str, float], Range(minimum=0.0)] = dataclasses.field(default_factory=dict)
    network: Network = dataclasses.field(default_factory=Network)
    layers: list[Network] = dataclasses.field(default_factory=list)
    mode: Mode = Mode.FAST
    home: Path = Path("runs")

    def validate(self) -> None:
        """A cross-check of two fields."""
        if self.use_amp and self.device == "cpu":
            raise ValueError("use_amp needs device 'cuda';\n  set use_amp to false")


def write(folder: Path, text: str) -> Path:
    """A YAML file with this text."""
    path = folder / "training.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(data: Any, cls: type = Training) -> str:
    """The error that ``data`` gives; always one line that begins with the source."""
    with pytest.raises(ConfigError) as caught:
        load_dataclass(cls, data, "training.yaml")
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("training.yaml: ")
    return line


def yaml_refusal(path: Path) -> str:
    """The error that reading ``path`` gives; always one line that begins with the path."""
    with pytest.raises(ConfigError) as caught:
        load_yaml(path)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"{path}: ")
    return line


def test_every_kind_of_field_loads_and_the_input_stays_untouched() -> None:
    data = {
        "name": "tank",
        "learning_rate": 1,  # a whole number is fine where a float is expected
        "limit": 7,
        "size": [3, 4],
        "weights": {"kill": 100},
        "network": {"hidden_dims": [32, 16]},
        "layers": [{"dropout": 0.5}],
        "mode": "exact",
        "home": "/data",
    }
    config = load_dataclass(Training, data, "training.yaml")
    assert config == Training(
        name="tank",
        learning_rate=1.0,
        limit=7,
        size=(3, 4.0),
        weights={"kill": 100.0},
        network=Network(hidden_dims=(32, 16)),
        layers=[Network(dropout=0.5)],
        mode=Mode.EXACT,
        home=Path("/data"),
    )
    assert type(config.learning_rate) is float
    assert type(config.weights["kill"]) is float
    assert data["size"] == [3, 4]


def test_unknown_keys_name_the_nearest_valid_key_and_the_full_path() -> None:
    assert "unknown key 'batchsize'; did you mean 'batch_size'?" in refusal({"name": "a", "batchsize": 1})
    line = refusal({"name": "a", "network": {"droput": 0.1}})
    assert "unknown key 'network.droput'; did you mean 'dropout'? (valid: hidden_dims, dropout)" in line
    assert "unknown key 'layers[1].x'" in refusal({"name": "a", "layers": [{}, {"x": 1}]})
    assert "unknown key '3'" in refusal({"name": "a", 3: 1})


def test_a_missing_key_is_named() -> None:
    assert refusal({}) == "training.yaml: key 'name' is missing; add it"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("name", 3, "key 'name' must be text, but is a whole number (3); put it in quotes"),
        (
            "batch_size",
            2.0,
            "must be a whole number, but is a number (2.0); write it without a decimal point",
        ),
        ("batch_size", True, "must be a whole number, but is true or false (True)"),
        ("batch_size", None, "must be a whole number, but is null"),
        ("learning_rate", True, "must be a number, but is true or false"),
        ("learning_rate", "1e-3", "'1e-3' was read as text; write it as a plain number, without quotes"),
        ("learning_rate", "fast", "must be a number, but is text ('fast'); give a number"),
        ("learning_rate", float("nan"), "key 'learning_rate' is nan; give a finite number"),
        ("learning_rate", 10**400, "give a finite number"),
        ("use_amp", "off", "must be true or false, but is text ('off'); write true or false"),
        ("use_amp", 1, "must be true or false, but is a whole number (1); write true or false"),
        ("limit", "x", "key 'limit' must be a whole number, but is text"),
        ("size", 3, "key 'size' must be a list, but is a whole number (3)"),
        ("size", [1], "key 'size' has 1 elements; give a list of exactly 2"),
        ("size", [1, "b"], "key 'size[1]' must be a number"),
        ("weights", [1], "key 'weights' must be a mapping, but is a list"),
        ("weights", {"kill": "x"}, "key 'weights.kill' must be a number"),
        ("weights", {1: 2.0}, "key 'weights.1' must be text"),
        ("network", 3, "key 'network' must be a mapping, but is a whole number (3)"),
        ("device", "cudda", "key 'device': unknown value 'cudda'; did you mean 'cuda'? (valid: cpu, cuda)"),
        ("mode", "exakt", "key 'mode': unknown value 'exakt'; did you mean 'exact'? (valid: fast, exact)"),
    ],
)
def test_wrong_types_say_what_was_seen_and_what_to_write(key: str, value: Any, expected: str) -> None:
    assert expected in refusal({"name": "a", **{key: value}})


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("learning_rate", 0.0, "key 'learning_rate' is 0.0; it must be above 0 and at most 1"),
        ("learning_rate", 1.5, "it must be above 0 and at most 1"),
        ("batch_size", -4, "key 'batch_size' is -4; it must be at least 1"),
        ("weights", {"a": 1.0, "b": -1.0}, "key 'weights.b' is -1.0; it must be at least 0"),
        ("network", {"hidden_dims": [8, 0]}, "key 'network.hidden_dims[1]' is 0; it must be at least 1"),
        ("network", {"dropout": 1.0}, "key 'network.dropout' is 1.0; it must be at least 0 and below 1"),
    ],
)
def test_numbers_out_of_range_name_the_limits(key: str, value: Any, expected: str) -> None:
    assert expected in refusal({"name": "a", **{key: value}})


def test_limits_include_or_exclude_their_ends() -> None:
    limit = Range(minimum=0.0, below=1.0)
    assert [limit.holds(x) for x in (-0.1, 0.0, 0.9, 1.0)] == [False, True, True, False]
    limit = Range(above=0.0, maximum=1.0)
    assert [limit.holds(x) for x in (0.0, 0.1, 1.0, 1.1)] == [False, True, True, False]


def test_validate_speaks_in_one_line_with_the_source() -> None:
    assert refusal({"name": "a", "use_amp": True}) == (
        "training.yaml: use_amp needs device 'cuda'; set use_amp to false"
    )


def test_unions_keep_the_exact_type_and_report_the_first_member() -> None:
    @dataclasses.dataclass(frozen=True)
    class Choice:
        value: float | int | str | None = None

    for value in (3, 3.5, "3", None):
        assert repr(load_dataclass(Choice, {"value": value}, "training.yaml").value) == repr(value)
    assert "key 'value' must be a number, but is a list ([1])" in refusal({"value": [1]}, Choice)


def test_a_field_type_that_configuration_cannot_hold_is_the_programmers_error() -> None:
    @dataclasses.dataclass(frozen=True)
    class Odd:
        value: Anything = 0  # type: ignore[valid-type]

    with pytest.raises(TypeError, match="field 'value' has the type ~Anything"):
        load_dataclass(Odd, {"value": 1}, "training.yaml")


def test_yaml_numbers_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    # YAML 1.1, PyYAML's own dialect, reads these as '1e-3' (text), False, 8, 90 and a date.
    data = load_yaml(
        write(tmp_path, "a: 1e-3\nb: off\nc: 010\nd: 1:30\ne: 2026-11-22\nf: 1_000\ng: -.5\nh: 3.\n")
    )
    assert data == {
        "a": 0.001,
        "b": "off",
        "c": "010",
        "d": "1:30",
        "e": "2026-11-22",
        "f": 1000,
        "g": -0.5,
        "h": 3.0,
    }
    data = load_yaml(write(tmp_path, "a: true\nb: null\nc:\nd: ~\ne: 0\nf: -3\ng: 1E5\nh: cuda:0\ni: .inf\n"))
    assert data == {
        "a": True, "b": None, "c": None, "d": None, "e": 0, "f": -3, "g": 1e5, "h": "cuda:0",
        "i": float("inf"),
    }  # fmt: skip


def test_the_published_forms_load_unchanged(tmp_path: Path) -> None:
    text = (
        "training: {batch_size: 256, learning_rate: 0.0003, epochs: 100, gamma: 0.99}\n"
        'hardware: {device: "cuda:0", max_vram_gb: 11.0, use_amp: true}\n'
        "curriculum: {enabled: true, level_thresholds: [50.0, 100.0]}\n"
    )
    data = load_yaml(write(tmp_path, text))
    assert data["training"] == {"batch_size": 256, "learning_rate": 0.0003, "epochs": 100, "gamma": 0.99}
    assert data["hardware"] == {"device": "cuda:0", "max_vram_gb": 11.0, "use_amp": True}
    assert data["curriculum"] == {"enabled": True, "level_thresholds": [50.0, 100.0]}


def test_a_key_given_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    line = yaml_refusal(write(tmp_path, "training:\n  epochs: 1\n  gamma: 0.9\n  epochs: 2\n"))
    assert "line 4: key 'epochs' is given twice (first on line 2); keep one of them" in line
    assert "is given twice" in yaml_refusal(write(tmp_path, "a: {x: 1, x: 2}\n"))


def test_a_merge_key_may_be_overridden(tmp_path: Path) -> None:
    text = "base: &base {x: 1, y: 1}\nouter: {inner: &inner {<<: *base, x: 2}}\nlast: {<<: *inner, y: 3}\n"
    data = load_yaml(write(tmp_path, text))
    assert data["outer"]["inner"] == {"x": 2, "y": 1}
    assert data["last"] == {"x": 2, "y": 3}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: [1, 2\n", "line 3: "),
        ("a: 1\n\tb: 2\n", "line 2: "),
        ("a: b: c\n", "line 1: "),
        ("a: !!python/object/apply:os.system [id]\n", "line 1: could not determine a constructor"),
        ("- 1\n- 2\n", "the top level is a list; it must be a mapping"),
        ("a: 1\n---\nb: 2\n", "line 2: "),
        ("a: \x00\n", "special characters are not allowed"),
        ("a: " + "9" * 5000, "cannot be read: "),
        ("a: " + "[" * 2000, ""),
    ],
)
def test_broken_yaml_is_one_line_with_its_number(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in yaml_refusal(write(tmp_path, text))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "no such file" in yaml_refusal(tmp_path / "absent.yaml")
    assert "cannot be read" in yaml_refusal(tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"name: caf\xe9\n")
    assert "not UTF-8" in yaml_refusal(latin)
    assert load_yaml(write(tmp_path, "# only a comment\n")) == {}


def test_layers_merge_key_by_key_and_lists_are_replaced() -> None:
    base = {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    over = {"a": {"y": [3]}, "b": {"z": 1}}
    assert merge(base, over) == {"a": {"x": 1, "y": [3]}, "b": {"z": 1}}
    assert base == {"a": {"x": 1, "y": [1, 2]}, "b": 1}


def test_resolved_json_is_canonical_and_loads_back() -> None:
    config = load_dataclass(Training, {"name": "a", "weights": {"b": 1, "a": 2}}, "training.yaml")
    assert resolved_json(config) == (
        '{"batch_size":256,"device":"cpu","home":"runs","layers":[],"learning_rate":0.0003,"limit":null,'
        '"mode":"fast","name":"a","network":{"dropout":0.0,"hidden_dims":[128,64]},"size":[1,2.0],'
        '"use_amp":false,"weights":{"a":2.0,"b":1.0}}'
    )
    assert load_dataclass(Training, to_plain(config), "again") == config


def test_the_hash_depends_on_values_and_not_on_order() -> None:
    # sha256 of the nine bytes {"a":1.5}
    assert config_hash({"a": 1.5}) == hashlib.sha256(b'{"a":1.5}').hexdigest()
    assert config_hash({"a": 1, "b": 2}) == config_hash({"b": 2, "a": 1})
    assert config_hash({"a": 1, "b": 2}) != config_hash({"a": 1, "b": 3})


def test_values_without_a_json_form_are_refused() -> None:
    with pytest.raises(ConfigError, match="nan cannot be written as JSON"):
        resolved_json({"a": float("nan")})
    with pytest.raises(ConfigError, match="a set cannot be written as JSON"):
        resolved_json({"a": {1}})


def test_nearest_ignores_case_and_says_what_is_valid() -> None:
    assert nearest("Tnak", ("tank", "mage")) == "; did you mean 'tank'? (valid: tank, mage)"
    assert nearest("zzz", ("tank", "mage")) == "; (valid: tank, mage)"
