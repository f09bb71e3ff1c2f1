"""The folder of an evaluation or an ablation, opened again only when one of its files has changed.

In: such a folder. Out: ProbeRow, or contract and table; or what is damaged, or that its cohort is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cxrssl.core.errors import IntegrityError
from cxrssl.dashboard.kept import Kept
from cxrssl.dashboard.rows import make_probe_row
from cxrssl.dashboard.state import ProbeRow
from cxrssl.records.ablation import KIND as ABLATION
from cxrssl.records.ablation import TABLE_FOLDER, AblationTable, open_ablation
from cxrssl.records.contract import CONTRACT, Contract, read_contract
from cxrssl.records.damage import Damage
from cxrssl.records.evaluation import KIND, Evaluation, open_evaluation
from cxrssl.records.file import Entry, list_entries
from cxrssl.records.notes import NOTES, RunNotes, read_notes


class ProbeFolder:
    """The folder of an evaluation and what has been read of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._entries: tuple[Entry, ...] | None = None
        self._read: Evaluation | Damage = Damage(KIND, folder.name, "")
        self._row: Kept[ProbeRow] = Kept()

    @property
    def evaluation(self) -> Evaluation | None:
        """What was last read, None where it is damaged."""
        return self._read if isinstance(self._read, Evaluation) else None

    def poll(self, datasets: Mapping[str, str]) -> ProbeRow | Damage | None:
        """Return the evaluation as it is published now; `datasets` are those of the workspace's cohorts.

        None for a point of a learning curve: it says nothing of the run with all labels.
        """
        try:
            entries = list_entries(self.folder)
        except OSError:
            entries = ()
        if entries != self._entries:
            self._entries, self._row = entries, Kept()
            try:
                self._read = open_evaluation(self.folder)
            except IntegrityError as error:
                self._read = Damage(KIND, self.folder.name, error.what)
        if isinstance(self._read, Damage):
            return self._read
        if self._read.settings.probe.fraction is not None:
            return None
        read = self._read
        return read.find_gone(datasets) or self._row.get(read.path, lambda: make_probe_row(read))


class AblationFolder:
    """The folder of an ablation and what has been read of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._entries: tuple[Entry, ...] | None = None
        self._read: tuple[Contract, AblationTable | None] | Damage | None = None

    def poll(self) -> tuple[Contract, AblationTable | None] | Damage | None:
        """Return its contract and its table, if there is one yet; None where it has not begun."""
        has_table = (self.folder / TABLE_FOLDER).is_dir()
        try:
            entries = list_entries(self.folder, CONTRACT.__eq__)
            entries += list_entries(self.folder / TABLE_FOLDER) if has_table else ()
        except OSError:
            entries = ()
        if entries != self._entries:
            self._entries, self._read = entries, self._open() if has_table else self._begun()
        return self._read

    def _open(self) -> tuple[Contract, AblationTable | None] | Damage:
        try:
            ablation = open_ablation(self.folder)
        except IntegrityError as error:
            return Damage(ABLATION, self.folder.name, error.what)
        return ablation.contract, ablation.table

    def _begun(self) -> tuple[Contract, None] | None:
        try:
            return read_contract(self.folder), None
        except IntegrityError:
            return None


class NotesFile:
    """What a person wrote of a run, read again only when the file is another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key: object = None
        self._read = RunNotes()

    def poll(self) -> RunNotes:
        """Return the notes as they stand now."""
        try:
            info = (self.folder / NOTES).lstat()
            key = (info.st_mtime_ns, info.st_ctime_ns, info.st_size, info.st_ino)
        except OSError:
            key = None
        if key != self._key:
            self._key, self._read = key, read_notes(self.folder) if key else RunNotes()
        return self._read
