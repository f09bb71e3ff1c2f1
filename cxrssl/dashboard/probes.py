"""The folder of an evaluation, opened again only when one of its files has changed.

In: the folder of an evaluation. Out: ProbeRow, or what is damaged, or that its cohort is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cxrssl.core.errors import IntegrityError
from cxrssl.dashboard.rows import make_probe_row
from cxrssl.dashboard.state import ProbeRow
from cxrssl.records.damage import Damage
from cxrssl.records.evaluation import KIND, Evaluation, open_evaluation
from cxrssl.records.file import Entry, list_entries


class ProbeFolder:
    """The folder of an evaluation and what has been read of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._entries: tuple[Entry, ...] | None = None
        self._read: Evaluation | Damage = Damage(KIND, folder.name, "")

    def poll(self, datasets: Mapping[str, str]) -> ProbeRow | Damage:
        """Return the evaluation as it is published now; `datasets` are those of the workspace's cohorts."""
        try:
            entries = list_entries(self.folder)
        except OSError:
            entries = ()
        if entries != self._entries:
            self._entries = entries
            try:
                self._read = open_evaluation(self.folder)
            except IntegrityError as error:
                self._read = Damage(KIND, self.folder.name, error.what)
        if isinstance(self._read, Damage):
            return self._read
        return self._read.find_gone(datasets) or make_probe_row(self._read)
