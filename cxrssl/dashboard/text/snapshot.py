"""The dashboard without a terminal: `--once` and `--json`. Never imports textual."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from cxrssl.core.numbers import encode_numbers
from cxrssl.core.text import count_noun, plain
from cxrssl.dashboard.state import AblationRow, DashboardState, RunRow, count_states, filter_runs, probes_of
from cxrssl.dashboard.text.cells import PROBE_COLUMNS, probe_cells
from cxrssl.dashboard.text.runs import groups_sheet, runs_sheet
from cxrssl.dashboard.text.sheet import Column, Sheet, make_rows, to_text
from cxrssl.dashboard.view import View
from cxrssl.stats.resample import Interval, explain_marks

EMPTY_HINT = "start one with: cxrssl pretrain (needs a cohort: cxrssl ingest), or try the whole chain: cxrssl demo"
DERIVED = frozenset({"fields"})
"""Said in other places of the same row."""
LEFT = frozenset({"run", "state", "EHR", "candidate"})


def shown_runs(state: DashboardState, view: View) -> tuple[RunRow, ...]:
    """Return the runs that the filter lets through."""
    return filter_runs(state.runs, view.filter)


def with_runs(state: DashboardState, runs: tuple[RunRow, ...]) -> DashboardState:
    """Return a state of these runs alone."""
    return dataclasses.replace(state, runs=runs)


def as_json(state: DashboardState) -> dict[str, Any]:
    """Return all runs and probe results, JSON-ready: what is not known or not defined is None."""
    rows = {name: [_as_dict(row) for row in getattr(state, name)] for name in ("runs", "probes", "ablations")}
    values = {"workspace": state.root, **rows, "problems": list(state.problems)}
    return {key: encode_numbers(value, as_null=True) for key, value in values.items()}


def row_values(row: Any) -> Any:
    """Return a row ready for JSON: what is not known or not defined is None."""
    return encode_numbers(_as_dict(row), as_null=True)


def _as_dict(value: Any) -> Any:
    """Return a row as a dict, its numbers with their marks."""
    if isinstance(value, Interval):
        return value.to_dict()
    if dataclasses.is_dataclass(value):
        return {
            field.name: _as_dict(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.name not in DERIVED
        }
    if isinstance(value, Mapping):
        return {key: _as_dict(item) for key, item in value.items()}
    return [_as_dict(item) for item in value] if isinstance(value, tuple) else value


def render(state: DashboardState, view: View | None = None, width: int | None = None) -> str:
    """Return runs and all probe results as plain text of so many places; without a width nothing is cut."""
    view = view or View()
    runs = shown_runs(state, view)
    lines = [headline(state)]
    if not state.runs:
        lines.append(f"no runs yet: {EMPTY_HINT}")
    named = [plain(run.run_id) for run in state.runs if run.is_outcome_used]
    lines += [f"an outcome of the stay was a pretraining input of: {', '.join(named)}"] if named else []
    lines += [f"{plain(run.run_id)}: {plain(run.alarm, 200)}" for run in state.runs if run.alarm]
    lines += _imported_lines(state)
    lines += [f"problem: {plain(problem)}" for problem in state.problems]
    lines += [ablation_line(each) for each in state.ablations]
    if state.runs:
        make = groups_sheet if view.is_grouped else runs_sheet
        lines += ["", *to_text(make(runs, view, width), width)]
    for cohort, split in sorted({(probe.cohort, probe.split) for probe in state.probes}):
        here = RunRow("", "", cohort=cohort, split=split)
        rows = [[cell.strip() for cell in probe_cells(probe)] for probe in probes_of(state, here)]
        lines += [
            "",
            f"macro means on cohort {plain(cohort)}, split {plain(split)}",
            *_align(PROBE_COLUMNS, rows, width),
        ]
        lines += explain_marks(each for probe in probes_of(state, here) for each in (probe.auroc, probe.auprc))
    return "\n".join(lines) + "\n"


def _imported_lines(state: DashboardState) -> list[str]:
    """Return how many runs and evaluations came in which archive, and what that left out."""
    runs, probes = (Counter(filter(None, (row.imported for row in rows))) for rows in (state.runs, state.probes))
    lines = [f"{count_noun(num, 'run')} {plain(what, 200)}" for what, num in runs.items()]
    return [*lines, *(f"{count_noun(num, 'evaluation')} {plain(what, 400)}" for what, num in probes.items())]


def ablation_line(ablation: AblationRow) -> str:
    """Return how far an ablation is, and its primary comparison."""
    done = f"{ablation.num_finished:,} of {count_noun(len(ablation.run_ids), 'run')} finished"
    return f"ablation {plain(ablation.name)}: {done}; {plain(ablation.primary, 400)}"


def headline(state: DashboardState) -> str:
    """Return how many runs there are, and in which states."""
    counts = ", ".join(f"{num} {name}" for name, num in count_states(state.runs))
    return f"{count_noun(len(state.runs), 'run')} in {plain(state.root, 200)}" + (f": {counts}" if counts else "")


def _align(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    names = tuple(Column(name, 0, name in LEFT) for name in columns)
    return to_text(Sheet("", names, make_rows({str(at): row for at, row in enumerate(rows)})), width)
