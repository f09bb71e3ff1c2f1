"""The field for a part of a run id, in sight only while it is used."""

from __future__ import annotations

from textual import on
from textual.widgets import Input

HINT = "part of a run id; enter keeps the filter, escape shows all runs"


class RunFilter(Input):
    """What the ids of the shown runs contain."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(placeholder=HINT, id=id)
        self.display = False

    def open(self) -> None:
        """Let the user type."""
        self.display = True
        self.focus()

    def leave(self) -> None:
        """Filter no more."""
        self.value = ""
        self.display = False

    @on(Input.Submitted)
    def keep(self) -> None:
        """Stay in sight while something is filtered."""
        self.display = bool(self.value)
