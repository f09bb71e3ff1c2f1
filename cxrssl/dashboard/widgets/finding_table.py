"""The table of one candidate's findings."""

from __future__ import annotations

from cxrssl.dashboard.state import ProbeRow
from cxrssl.dashboard.text.cells import FINDING_COLUMNS, finding_cells, widest
from cxrssl.dashboard.text.sheet import Cell, Column
from cxrssl.dashboard.widgets.table import PADDING, SCROLLBAR, KeyedTable

DIALOG_WIDTH = 96
FRAME = 2


class FindingTable(KeyedTable):
    """The findings of one candidate."""

    def show_findings(self, probe: ProbeRow) -> None:
        """Show the findings in the order of the cohort."""
        room = min(self.app.size.width, DIALOG_WIDTH) - FRAME - SCROLLBAR - 4 * PADDING
        counts = max([len(FINDING_COLUMNS[1]), *(len(finding_cells(finding)[1]) for finding in probe.findings)])
        numbers = [widest([getattr(each, name) for each in probe.findings]) for name in ("auroc", "auprc")]
        named = max([8, *(len(finding.finding) for finding in probe.findings)])
        widths = (max(min(named, room - counts - sum(numbers)), 8), counts, *numbers)
        columns = [Column(n, w, i == 0) for i, (n, w) in enumerate(zip(FINDING_COLUMNS, widths, strict=True))]
        self.show(columns, {f.finding: [Cell(text) for text in finding_cells(f)] for f in probe.findings})
