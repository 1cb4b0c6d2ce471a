"""YAML that means something else than it says: read as said, or refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from xecgnn.config import load_config
from xecgnn.settings import ConfigError, parse_yaml, to_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("yes", "yes"), ("on", "on"), ("y", "y"), ("true", True), ("False", False),
        ("2026_11_25", "2026_11_25"), ("1_000", "1_000"), ("2026-11-25", "2026-11-25"), ("1:30", "1:30"),
        ("010", 10), ("0o10", 8), ("0x1F", 31), ("-5", -5), ("+5", 5), ("0x", "0x"),
        ("1e-3", 0.001), ("1E5", 1e5), ("-1e-1", -0.1), (".5", 0.5), ("1.", 1.0), ("1.5e+3", 1500.0), ("e3", "e3"),
        ("null", None), ("~", None), ("", None), ("'None'", "None"), ("'1e-3'", "1e-3"), ("=", "="),
    ],
)  # fmt: skip
def test_plain_words_are_what_they_say(text: str, value: object) -> None:
    (found,) = parse_yaml(f"key: {text}", "x").values()
    assert found == value
    assert type(found) is type(value)
    assert parse_yaml(to_yaml({"key": value}), "x") == {"key": value}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data: {batch_size: 3}\ntraining: {lr: 1}\ndata: {num_workers: 0}", "'data' is there more than once line 1"),
        ("training: {lr: 1, lr: 2}", "'lr' is there more than once"),
        ("a:\n  b: 1\n  'b': 2", "'b' is there more than once"),
        ("a: &a {x: 1}\nb: {<<: *a, <<: *a}", "'<<' is there more than once"),
        ("survey: None", "None is no value: write null, or 'None' for the text line 1, column 9"),
        ("a: &a {b: *a}", "recursive"),
        ("a: !!python/object/apply:os.system [true]", "could not determine a constructor"),
        ("a: !!int x", "invalid literal"),
        ("a: !!bool x", "'x'"),
        ("{a: 1}: 2", "a key that is no text"),
        ("a: *b", "undefined alias"),
        ("a: 1\n---\na: 2", "single document"),
        ("a: " + "9" * 5000, "integer string"),
        ("a:\tb: c", "line 1"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=r"^my\.yaml: cannot be read as YAML: [^\n]*$") as caught:
        parse_yaml(text, "my.yaml")
    assert words in str(caught.value)


def test_merged_keys_lie_below_those_that_are_written() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: [*b, *a], z: 3}"
    assert parse_yaml(text, "x") == {"a": {"x": 1, "y": 1}, "b": {"x": 1, "y": 2}, "c": {"x": 1, "y": 2, "z": 3}}


def test_keys_are_text() -> None:
    assert parse_yaml("on: 1\n5: 2\nnull: 3\n1e3: 4", "x") == {"on": 1, "5": 2, "null": 3, "1e3": 4}


def test_other_encodings(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_bytes(b"\xef\xbb\xbfrun_name: Schauer \xc3\xa4\n")
    assert load_config(path).run_name == "Schauer ä"
    for content in ("run_name: ä\n".encode("latin-1"), "run_name: a\n".encode("utf-16"), b"run_name: a\x00\n"):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"my\.yaml: cannot be read as YAML: [^\n]*$"):
            load_config(path)


def test_a_name_that_looks_like_a_number_survives_the_settings_of_its_run() -> None:
    for name in ("1e-3", "2026_11_25", "no", "None", "null", "010", "~"):
        assert parse_yaml(to_yaml({"run_name": name}), "config.yaml") == {"run_name": name}


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "1e400"])
def test_no_setting_is_infinite(tmp_path: Path, value: str) -> None:
    (tmp_path / "my.yaml").write_text(f"normalization: {{time_shift: {value}}}\n")
    with pytest.raises(ConfigError, match=r"normalization\.time_shift: should be a finite number"):
        load_config(tmp_path / "my.yaml")
