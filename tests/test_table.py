from __future__ import annotations

import csv

import pytest

from xecgnn.estimate import Estimate
from xecgnn.table import Table, number

TABLE = Table(["name", "x [%]", "n"])
TABLE.add("a|b", Estimate(1.25, 1.15, 1.35, 7, "%"), 3)
TABLE.add("c", 2.0, 12)


def test_text_has_numbers_to_the_right_and_a_rule() -> None:
    assert TABLE.text().splitlines() == [
        "name        x [%]   n",
        "---------------------",
        "a|b   1.25 ± 0.10   3",
        "c           2.000  12",
    ]
    words = Table(["unit", "reason", "x"], [["deg", "2 of 3 agree", "1 %"], ["rad", "a guess", "nan"]])
    assert words.text("  ").splitlines()[2:] == ["  deg   2 of 3 agree  1 %", "  rad   a guess       nan"]


def test_markdown_is_aligned_and_survives_bars() -> None:
    assert TABLE.markdown().splitlines() == [
        "| name | x [%]       | n  |",
        "|------|-------------|----|",
        "| a\\|b | 1.25 ± 0.10 | 3  |",
        "| c    | 2.000       | 12 |",
    ]
    assert Table(["name", "x"], [["a|b", "1.25"]]).markdown().splitlines() == [
        "| name | x    |",
        "|------|------|",
        "| a\\|b | 1.25 |",
    ]


def test_json_and_csv_keep_the_intervals() -> None:
    first, second = TABLE.json()
    assert first["x [%]"] == {"value": 1.25, "low": 1.15, "high": 1.35, "n": 7, "unit": "%"}
    assert (second["x [%]"], second["n"]) == (2.0, 12)
    assert Table(["x"], [[float("nan")]]).json() == [{"x": None}]
    rows = list(csv.DictReader(TABLE.csv().splitlines()))
    assert rows[0] == {"name": "a|b", "x [%]": "1.25", "x [%]_low": "1.15", "x [%]_high": "1.35", "n": "3"}
    assert rows[1]["x [%]"] == "2.0"


def test_latex_escapes_what_it_must() -> None:
    lines = TABLE.latex().splitlines()
    assert lines[0] == r"\begin{tabular}{lrr}"
    assert r"x [\%]" in lines[1]
    assert lines[3] == r"a\textbar{}b & 1.25 $\pm$ 0.10 &  3 \\"


def test_an_empty_table_is_its_head_and_a_row_must_fit() -> None:
    assert Table(["name", "x"]).text() == "name  x\n-------"
    with pytest.raises(ValueError, match="a row of 1 cells in a table of 3 columns: 'd'"):
        TABLE.add("d")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.000"), (-1e-5, "0.000"), (3.14159, "3.142"), (-49.754, "-49.75"), (466.62, "466.6"), (1e6, "1000000")],
)
def test_numbers_have_four_digits(value: float, text: str) -> None:
    assert number(value) == text
