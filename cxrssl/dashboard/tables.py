"""Tables that are updated in place: rows have keys, a cell is written only when its text changed, the selection stays.

In: columns and rows of Cell. Out: the screen. Never: markup; a cell's text is shown as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable

from cxrssl.dashboard.cells import FINDING_COLUMNS, PROBE_COLUMNS, finding_cells, probe_cells, run_cells, short_id
from cxrssl.dashboard.state import ProbeRow, RunRow

# Light enough to stay legible as greys: with NO_COLOR only their brightness is left.
STATE_STYLES = {
    "running": "bold #5fd75f",
    "stopped": "#ffd75f",
    "died": "bold #ff8787",
    "failed": "bold #ff8787",
    "finished": "#5fd7ff",
    "unseen": "#afafff",
}
TROUBLE, WARNING = STATE_STYLES["failed"], "bold #ffd75f"
PADDING = 2
"""Cells beside the text of each column."""
SCROLLBAR = 1
DIALOG_WIDTH = 96
FRAME = 2
MIN_ID_CHARS = 21
LEFT = frozenset({"state", "EHR"})


@dataclass(frozen=True)
class Column:
    name: str
    width: int
    is_left: bool = False


@dataclass(frozen=True)
class Cell:
    text: str
    style: str = ""


class KeyedTable(DataTable[Text]):
    """A DataTable whose rows are told apart by a key. Selecting nothing selects the first row that was ever shown."""

    class Moved(Message):
        """The user moved to another row."""

        def __init__(self, table: KeyedTable, key: str) -> None:
            super().__init__()
            self.table, self.key = table, key

        @property
        def control(self) -> KeyedTable:
            return self.table

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row")
        self.wanted = ""
        """The key the user is at; it may be out of sight for a while, behind a filter."""
        self._columns: tuple[Column, ...] = ()
        self._cells: dict[str, tuple[Cell, ...]] = {}

    @property
    def selected(self) -> str:
        """Key of the row at the cursor, "" in an empty table."""
        return self.wanted if self.wanted in self._cells else next(iter(self._cells), "")

    def show(self, columns: Sequence[Column], rows: Mapping[str, Sequence[Cell]]) -> None:
        """Show these rows."""
        fresh = {key: tuple(cells) for key, cells in rows.items()}
        if tuple(columns) != self._columns or list(fresh) != list(self._cells):
            self._rebuild(tuple(columns), fresh)
            return
        for key, cells in fresh.items():
            for column, old, new in zip(self._columns, self._cells[key], cells, strict=True):
                if old != new:
                    self.update_cell(key, column.name, _text_of(new, column))
        self._cells = fresh

    def _rebuild(self, columns: tuple[Column, ...], rows: dict[str, tuple[Cell, ...]]) -> None:
        with self.prevent(DataTable.RowHighlighted), self.app.batch_update():
            is_same_shape = columns == self._columns
            self.clear(columns=not is_same_shape)
            if not is_same_shape:
                for column in columns:
                    label = Text(column.name, justify="left" if column.is_left else "right")
                    self.add_column(label, width=column.width, key=column.name)
            for key, cells in rows.items():
                self.add_row(*(_text_of(cell, c) for cell, c in zip(cells, columns, strict=True)), key=key)
            self._columns, self._cells = columns, rows
            self.wanted = self.wanted or next(iter(rows), "")
            if self.selected:
                self.move_cursor(row=list(rows).index(self.selected))

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        event.stop()
        key = event.row_key.value
        if key is not None and key in self._cells and key != self.selected:
            self.wanted = key
            self.post_message(self.Moved(self, key))


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


class ProbeTable(KeyedTable):
    """Probe results on the cohort and split of one run."""

    HELP = "Candidates probed on this run's cohort. Enter: the findings of one."
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "Findings")]

    def show_probes(self, probes: Sequence[ProbeRow], run: RunRow) -> None:
        """Show these candidates; one on other films or other probe settings than the first is marked."""
        room = self.app.size.width - PADDING - SCROLLBAR - 3 * PADDING - 2 * 20 - 7
        columns = [Column(PROBE_COLUMNS[0], max(min(room, 60), 16), True)]
        columns += [Column(name, width) for name, width in zip(PROBE_COLUMNS[1:], (20, 20, 7), strict=True)]
        rows = {}
        for probe in probes:
            texts = probe_cells(probe, run, columns[0].width, probe.terms == probes[0].terms)
            is_focused = probe.candidate_id == run.run_id
            style = WARNING if probe.is_outcome_used else "bold" if is_focused else ""
            rows[probe.eval_id] = [Cell(text, style) for text in texts]
        self.show(columns, rows)


class FindingTable(KeyedTable):
    """The findings of one candidate."""

    def show_findings(self, probe: ProbeRow) -> None:
        """Show the findings in the order of the cohort."""
        room = min(self.app.size.width, DIALOG_WIDTH) - FRAME - SCROLLBAR - 4 * PADDING
        counts = max([len(FINDING_COLUMNS[1]), *(len(finding_cells(finding)[1]) for finding in probe.findings)])
        widths = (
            min(max([8, *(len(finding.finding) for finding in probe.findings)]), room - counts - 40),
            counts,
            20,
            20,
        )
        columns = [Column(n, w, i == 0) for i, (n, w) in enumerate(zip(FINDING_COLUMNS, widths, strict=True))]
        self.show(columns, {f.finding: [Cell(text) for text in finding_cells(f)] for f in probe.findings})


def run_columns(rows: Sequence[Mapping[str, str]], screen_width: int) -> list[Column]:
    """Return the columns of the run table: ids take what the others leave; what finds no room lies out of sight."""

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


def _text_of(cell: Cell, column: Column) -> Text:
    justify = "left" if column.is_left else "right"
    return Text(cell.text, cell.style, justify=justify, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
