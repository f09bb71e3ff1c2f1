"""What was imported from an archive of `cxrssl runs export`: it can be read, and nothing can be made of it again.

In: a published folder. Out: from which archive it is, and what that left out. Never: a film or a subject.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cxrssl.core.artefact import open_artefact
from cxrssl.core.errors import IntegrityError, UsageError
from cxrssl.core.text import plain

RUN = "imported run"
"""Kind of the folder of a run that was imported; the folder of one that was trained here has no manifest."""
ARCHIVE, HIDDEN, FEATURES, COUNTS = "archive", "hidden", "features", "counts"
"""Inputs of what was imported: the SHA-256 of its archive, findings and features of the record that it left out, "tens"
where counts are not exact."""
IN_TENS = "tens"


@dataclass(frozen=True)
class Imported:
    """Where an imported folder comes from."""

    archive: str = ""
    """SHA-256 of the archive; empty for what was made here."""
    hidden: str = ""
    """Findings that rest on few subjects and were left out, joined by comma."""
    features: str = ""
    """What was decoded of the record for few subjects and was left out, joined by comma."""
    counts: str = ""

    @classmethod
    def of(cls, inputs: Mapping[str, str]) -> Imported:
        """Return what the inputs of a manifest say."""
        return cls(*(plain(inputs.get(name, ""), 2000) for name in (ARCHIVE, HIDDEN, FEATURES, COUNTS)))

    def __bool__(self) -> bool:
        return bool(self.archive)

    def to_inputs(self) -> dict[str, str]:
        """Return the inputs of a manifest that say so."""
        named = {ARCHIVE: self.archive, HIDDEN: self.hidden, FEATURES: self.features, COUNTS: self.counts}
        return {name: value for name, value in named.items() if value}

    @property
    def num_hidden(self) -> int:
        """How many findings were left out: means over findings hold them too."""
        return len(self.hidden.split(", ")) if self.hidden else 0

    @property
    def sentence(self) -> str:
        """As in "imported from archive 0123456789ab; left out: Hernia; counts are rounded down to tens"."""
        parts = [f"imported from archive {self.archive[:12]}"]
        names = ", ".join(filter(None, (self.hidden, self.features)))
        parts += [f"left out, under 10 subjects: {names}"] if names else []
        parts += ["counts are rounded down to tens"] if self.counts == IN_TENS else []
        return "; ".join(parts)


HERE = Imported()
"""Of what was made in this workspace."""


def find_imported_run(folder: Path) -> tuple[Imported, str]:
    """Return from which archive a run is, and what is wrong with its files; neither for one that was trained here."""
    try:
        return Imported.of(open_artefact(folder, RUN, verify=False).inputs), ""
    except IntegrityError as error:
        return HERE, error.what


def refuse_imported(folder: Path, what: str) -> None:
    """Raise UsageError for the folder of an imported run: `what` as in "trained further"."""
    if (folder / "manifest.json").is_file():
        raise UsageError(f"run {folder.name} was imported from an archive: it can be read, and not {what}", folder)
