"""An ablation: its primary comparison on top; below it a forest, a matrix, the metric by a recipe key, or one arm.

In: Study. Out: what the tables show.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from cxrssl.dashboard.screens.common import LAST, CommonScreen
from cxrssl.dashboard.screens.session import Session
from cxrssl.dashboard.state import turn
from cxrssl.dashboard.study import Study
from cxrssl.dashboard.text.lines import info_line, title_lines
from cxrssl.dashboard.text.sheet import Sheet
from cxrssl.dashboard.text.study import MATRIX_NOTE, findings_sheet, forest_sheet, key_sheet, matrix_sheet, study_lines
from cxrssl.dashboard.widgets.line import Line
from cxrssl.dashboard.widgets.table import KeyedTable
from cxrssl.records.ablation import METRICS

SHAPES = ("forest", "numbers", "differences", "key")


class AblationScreen(CommonScreen):
    """One ablation of the workspace."""

    NAME = "ablation"
    TOP = "#study"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "move_shape(1)", "Forest, matrix, key", id="next_pane"),
        Binding("shift+tab", "move_shape(-1)", "Back", show=False, id="previous_pane"),
        Binding("enter", "drill", "By finding", id="drill"),
        Binding("escape", "leave", "All arms", show=False),
        Binding("p", "pin", "Pin", id="pin"),
        Binding("m", "move_metric", "Metric", id="next_metric"),
        Binding("f", "move_cohort", "Cohort", id="next_cohort"),
        Binding("x", "choose_key", "Recipe key", id="x_axis"),
        Binding("n", "move_study(1)", "Next study", id="next_study", show=False),
        Binding("N", "move_study(-1)", "Study back", id="previous_study", show=False),
        *LAST,
    ]

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.state: Study | None = None
        self.shape = SHAPES[0]
        self.cohort = ""
        """Shown alone; "" for all."""
        self.key = ""
        """The recipe key that the metric is shown against."""
        self.opened: tuple[str, str] | None = None
        """The arm and the cohort that are shown by finding."""

    def compose_body(self) -> ComposeResult:
        yield Line(id="study")
        yield Line(id="empty", is_free=True)
        yield KeyedTable(id="arms")
        yield Line(id="notes", is_free=True)

    def plan_reading(self) -> Callable[[], Study]:
        view = self.session.view
        return partial(self.session.reader.read_study, view.study, view.pinned_arm, view.study_metric)

    def show_state(self) -> None:
        study = self.state
        if study is None:
            return
        table, notes, empty = self.query_one(KeyedTable), self.query_one("#notes", Line), self.query_one("#empty", Line)
        lines = study_lines(study)
        table.display = notes.display = bool(study.rows)
        empty.display = not study.rows
        self.query_one("#study", Line).show(title_lines(lines if study.name else [""]))
        if not study.rows:
            empty.show(info_line(lines[-1]))
            return
        sheet = self._sheet(self.app.size.width - 3)
        table.show_sheet(sheet.measure())
        texts = [MATRIX_NOTE] if self.shape == "differences" and not self.opened else []
        notes.show(
            info_line(" · ".join([sheet.title, *texts, *sheet.notes] if sheet.title else [*texts, *sheet.notes]))
        )

    def _sheet(self, width: int | None = None) -> Sheet:
        study = self.state
        assert study is not None, "a table is of a study"
        if self.opened is not None and self.opened in study.findings:
            return findings_sheet(study, *self.opened, width)
        cohort = self.cohort if self.cohort in study.cohorts else ""
        if self.shape == "forest":
            return forest_sheet(study, cohort, width)
        if self.shape == "key" and study.keys:
            return key_sheet(study, self._key_of(study), cohort, width)
        return matrix_sheet(study, self.shape == "differences", width)

    def sheets(self) -> list[Sheet]:
        return [self._sheet()] if self.state and self.state.rows else []

    def selected_key(self) -> str:
        return self.query_one(KeyedTable).selected

    def command(self) -> str:
        return "cxrssl report" if self.state and self.state.rows else ""

    def _at_cursor(self) -> tuple[str, str] | None:
        """Return the arm and the cohort at the cursor; of a matrix the first cohort that the arm has."""
        study, key = self.state, self.selected_key()
        rows = study.rows if study else ()
        found = next((row for row in rows if f"{row.arm} on {row.cohort}" == key), None)
        found = found or next((row for row in rows if row.arm == key), None)
        return (found.arm, found.cohort) if found else None

    @on(DataTable.RowSelected, "#arms")
    def action_drill(self) -> None:
        """Show the arm at the cursor by finding."""
        at = None if self.opened else self._at_cursor()
        if at is None or self.state is None:
            return
        if at not in self.state.findings:
            self.notify("the evaluations that this row was made of are not in the workspace", markup=False)
            return
        self._open(at)

    def action_leave(self) -> None:
        self._open(None)

    def _open(self, at: tuple[str, str] | None) -> None:
        self.opened = at
        self.query_one(KeyedTable).chosen_key = ""
        self.show_state()

    def action_move_shape(self, by: int) -> None:
        self.opened = None
        has_keys = self.state is not None and self.state.keys
        self.shape = turn(SHAPES if has_keys else SHAPES[:-1], self.shape, by)
        self.query_one(KeyedTable).chosen_key = ""
        self.show_state()

    def action_pin(self) -> None:
        at = self._at_cursor()
        if at is not None:
            self._look(pinned_arm=at[0])

    def _key_of(self, study: Study) -> str:
        """Return the key that was chosen; the first in which arms differ where none was."""
        return self.key if self.key in study.keys else study.keys[0]

    def action_choose_key(self) -> None:
        """Show the metric against a recipe key of the user's choice."""
        study = self.state
        if study is None or not study.keys:
            self.notify("the runs of this ablation that are here differ in no recipe key", markup=False)
            return

        def take(key: str) -> None:
            self.key, self.opened, self.shape = key, None, "key"
            self.query_one(KeyedTable).chosen_key = ""
            self.show_state()

        self.pick("Recipe key", list(study.keys), self._key_of(study), take)

    def action_move_metric(self) -> None:
        if self.state is not None:
            self._look(study_metric=turn(METRICS, self.state.metric, 1))

    def action_move_cohort(self) -> None:
        if self.state is not None:
            self.cohort = turn(("", *self.state.cohorts), self.cohort, 1)
            self.show_state()

    def action_move_study(self, by: int) -> None:
        if self.state is not None and self.state.names:
            self.opened, self.cohort = None, ""
            self._look(study=turn(self.state.names, self.state.name, by), study_metric="", pinned_arm="")

    def _look(self, **changes: object) -> None:
        self.session.change(**changes)
        self.action_read()
