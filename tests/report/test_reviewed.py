"""What a report must not say: a time that nobody knows, an ablation that was not asked for, a best that was no fair
test."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

from cxrssl.report.cells import Cell, Number
from cxrssl.report.choose import Choice, _has_part
from cxrssl.report.facts import _seconds
from cxrssl.report.tables import ReportTable


def run_of(*events: tuple[str, float]) -> Any:
    return SimpleNamespace(events=[{"event": name, "ts": ts} for name, ts in events], tip=[])


def test_the_time_of_a_run_that_was_killed_and_resumed_is_not_known() -> None:
    assert _seconds(run_of(("start", 10.0), ("stop", 70.0), ("start", 100.0), ("finish", 130.0))) == 90.0
    assert math.isnan(_seconds(run_of(("start", 10.0), ("start", 100.0), ("finish", 130.0))))


def test_an_ablation_stands_in_a_report_by_its_name_or_with_some_of_its_runs() -> None:
    ablation: Any = SimpleNamespace(name="study", contract=SimpleNamespace(runs={"a": None, "b": None}))
    assert _has_part(ablation, Choice(), set())
    assert _has_part(ablation, Choice(ablation="study"), set())
    assert not _has_part(ablation, Choice(ablation="other"), {"a"})
    assert _has_part(ablation, Choice(cohort="nih"), {"b"})
    assert not _has_part(ablation, Choice(cohort="nih"), {"c"})


def test_a_row_that_no_fair_test_has_made_is_never_best() -> None:
    rows: list[list[Cell]] = [["leaky", Number(0.9)], ["fair", Number(0.7)], ["worse", Number(0.6)]]
    assert ReportTable("t", ["Features", "AUROC"], rows, compared=[1], barred=[0]).best() == {(1, 1)}
