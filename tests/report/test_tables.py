"""Tables: typed cells laid out as Markdown and CSV; cells from data never break them."""

from __future__ import annotations

import csv
import math

import pytest

from cxrssl.report.cells import Cell, Estimate, Number, show_cell
from cxrssl.report.formats.csv import write_csv
from cxrssl.report.formats.markdown import write_table
from cxrssl.report.tables import ReportTable
from cxrssl.stats.resample import Interval

ESTIMATE = Interval(0.734, 0.7015, 0.765, 1000)
UNDEFINED = Interval(math.nan, math.nan, math.nan, 0)


def test_cells_from_data_stay_in_their_cell() -> None:
    table = ReportTable("T", ["a|b", "c"], [["x|y\n| z", "<script>\x1b[31m"], ["plain", "1"]])
    lines = write_table(table).splitlines()[2:]
    assert len(lines) == 4
    for line in lines:
        assert line.replace("\\|", "").count("|") == 3
    assert "<script" not in "".join(lines)
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("a film", "a film"),
        (12345, "12,345"),
        (Number(0.5), "0.500"),
        (Number(12.25, "{:.1f} h"), "12.2 h"),
        (Estimate(ESTIMATE), "0.734 [0.702, 0.765]"),
        (Estimate(ESTIMATE, is_difference=True), "+0.734 [+0.702, +0.765]"),
        (Estimate(UNDEFINED), "not defined"),
    ],
)
def test_people_read_a_cell_rounded(cell: Cell, text: str) -> None:
    assert show_cell(cell) == text


def test_csv_holds_every_number_in_full_and_an_estimate_in_three_columns() -> None:
    rows: list[list[Cell]] = [["a, b", Estimate(ESTIMATE), 1200], ["c", Estimate(UNDEFINED), Number(0.1)], ["d", "", 0]]
    table = ReportTable("T", ["what", "AUROC", "films"], rows, ["a note"])
    assert list(csv.reader(write_csv(table).splitlines())) == [
        ["what", "AUROC", "AUROC lo", "AUROC hi", "films"],
        ["a, b", "0.734", "0.7015", "0.765", "1200"],
        ["c", "", "", "", "0.1"],
        ["d", "", "", "", "0"],
    ]


def test_csv_holds_no_formula_and_numbers_stay_numbers() -> None:
    rows: list[list[Cell]] = [["=1+1", -1, Number(-0.5)], ["-2", 0, Number(1e-9)], ["\x1b[31mx", 1, ""]]
    table = ReportTable("T", ["@name", "-count", "value"], rows)
    assert list(csv.reader(write_csv(table).splitlines())) == [
        ["'@name", "'-count", "value"],
        ["'=1+1", "-1", "-0.5"],
        ["-2", "0", "1e-09"],
        ["\ufffd[31mx", "1", ""],
    ]
