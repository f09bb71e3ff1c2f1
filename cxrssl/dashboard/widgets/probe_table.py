"""The table of candidates that were probed on the cohort and split of one run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from cxrssl.dashboard.state import ProbeRow, RunRow
from cxrssl.dashboard.text.cells import PROBE_COLUMNS, probe_cells, widest
from cxrssl.dashboard.text.sheet import Cell, Column
from cxrssl.dashboard.text.styles import WARNING
from cxrssl.dashboard.widgets.table import PADDING, SCROLLBAR, KeyedTable


class ProbeTable(KeyedTable):
    """Probe results on the cohort and split of one run."""

    HELP = "Candidates probed on this run's cohort. Enter: the findings of one."
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "Findings")]

    run_id = ""
    """Of the run whose candidates are shown; with another run the cursor returns to the first of them."""

    def show_probes(self, probes: Sequence[ProbeRow], run: RunRow) -> None:
        """Show these candidates; one on other films or other probe settings than the first is marked."""
        if run.run_id != self.run_id:
            self.run_id, self.chosen_key = run.run_id, ""
        widths = [widest([probe.auroc for probe in probes]), widest([probe.auprc for probe in probes]), 7]
        room = self.app.size.width - PADDING - SCROLLBAR - 3 * PADDING - sum(widths)
        columns = [Column(PROBE_COLUMNS[0], max(min(room, 60), 16), True)]
        columns += [Column(name, width) for name, width in zip(PROBE_COLUMNS[1:], widths, strict=True)]
        rows = {}
        for probe in probes:
            texts = probe_cells(probe, run, columns[0].width, probe.terms == probes[0].terms)
            is_focused = probe.candidate_id == run.run_id
            style = WARNING if probe.is_outcome_used else "bold" if is_focused else ""
            rows[probe.eval_id] = [Cell(text, style) for text in texts]
        self.show(columns, rows)
