"""The first lines of a report: of many setups their number, no range whose end is the best of them."""

from __future__ import annotations

import math

import pytest

from cxrssl.report.cells import Cell, Estimate
from cxrssl.report.lead import lead_of_table
from cxrssl.report.lines import text_of
from cxrssl.report.tables import ReportTable
from cxrssl.stats.resample import Interval

NAN = math.nan


def lead_of(*values: float) -> str:
    rows: list[list[Cell]] = [
        [f"setup {at}", Estimate(Interval(value, value - 0.05, value + 0.05, 100, 100, 40))]
        for at, value in enumerate(values)
    ]
    return text_of(lead_of_table("Cohort a", ReportTable("", ("Features", "AUROC"), rows), range(len(rows))))


@pytest.mark.parametrize(
    ("values", "undefined"),
    [
        ((0.7, 0.65, 0.6, 0.8), ""),
        ((0.7, NAN, 0.6, 0.8), ", which is not defined for 1"),
        ((NAN, 0.6, NAN, NAN), ", which is not defined for 3"),
    ],
)
def test_of_many_setups_their_number_is_said_and_how_many_have_no_score(
    values: tuple[float, ...], undefined: str
) -> None:
    assert lead_of(*values) == f"Cohort a: 4 trained setups; the table of them has the macro AUROC of each{undefined}."


def test_of_few_each_has_its_interval() -> None:
    assert lead_of(0.7, NAN) == ("Cohort a: setup 0 macro AUROC 0.700 [0.650, 0.750]; setup 1 macro AUROC not defined.")
