"""The table of all runs; on a narrow screen the last columns are scrolled out of sight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cxrssl.dashboard.state import RunRow
from cxrssl.dashboard.text.cells import run_cells, short_id
from cxrssl.dashboard.text.styles import STATE_STYLES, WARNING
from cxrssl.dashboard.widgets.table import PADDING, SCROLLBAR, Cell, Column, KeyedTable

MIN_ID_CHARS = 21
LEFT = frozenset({"state", "EHR"})


class RunTable(KeyedTable):
    """All runs."""

    HELP = "Runs, the one that started last first."

    def show_runs(self, runs: Sequence[RunRow]) -> None:
        """Show these runs; the ids take the width that the other columns leave."""
        texts_of = {run.run_id: run_cells(run) for run in runs}
        columns = run_columns(list(texts_of.values()), self.app.size.width)
        id_chars = columns[0].width
        rows = {}
        for run in runs:
            texts = {**texts_of[run.run_id], "run": short_id(texts_of[run.run_id]["run"], id_chars)}
            styles = {"state": STATE_STYLES.get(run.state, ""), "EHR": WARNING if run.is_outcome_used else ""}
            rows[run.run_id] = [Cell(texts[column.name], styles.get(column.name, "")) for column in columns]
        self.show(columns, rows)


def run_columns(rows: Sequence[Mapping[str, str]], screen_width: int) -> list[Column]:
    """Return the columns of the run table: ids take the width that the others leave; the rest is scrolled to."""

    def longest(name: str) -> int:
        return max([len(name), *(len(row[name]) for row in rows)])

    widths = {
        "state": max(8, longest("state")),
        "steps": longest("steps"),
        "left": 6,
        "loss": max(6, longest("loss")),
        "AUROC": 5,
        "films/s": 7,
    }
    widths |= {"EHR": min(longest("EHR"), 14 if screen_width < 150 else 40), "seed": max(4, longest("seed"))}
    shown = list(widths)
    room = screen_width - PADDING - SCROLLBAR
    while (id_chars := room - sum(widths[name] + PADDING for name in shown)) < MIN_ID_CHARS and len(shown) > 5:
        shown.pop()
    id_chars = max(min(id_chars, longest("run")), MIN_ID_CHARS)
    return [Column("run", id_chars, True), *(Column(name, width, name in LEFT) for name, width in widths.items())]
