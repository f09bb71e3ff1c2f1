"""The field for a filter, in sight only while it is used; it completes fields and values as one types."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.suggester import Suggester
from textual.widgets import Input

from cxrssl.core.text import plain
from cxrssl.dashboard.state import RunRow
from cxrssl.results.filter import complete_filter, field_values

HINT = "state:running ehr:stay auroc>0.75 base; right completes, enter keeps, escape shows all"


class FilterSuggester(Suggester):
    """Completes the last word from what the runs are."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self.values: dict[str, set[str]] = {}

    async def get_suggestion(self, value: str) -> str | None:
        if not value or value.endswith(" "):
            return None
        return next((plain(text, 300) for text in complete_filter(value, self.values) if text.startswith(value)), None)


class RunFilter(Input):
    """Which runs are shown, in the filter language."""

    def __init__(self, *, id: str | None = None) -> None:
        self._suggester = FilterSuggester()
        super().__init__(placeholder=HINT, id=id, suggester=self._suggester)
        self.display = False
        self.wanted = ""
        """The last text that is a filter."""
        self.why = ""
        """Why the text is none."""

    def learn(self, runs: Sequence[RunRow]) -> None:
        """Know what can be completed."""
        if self.has_focus:
            self._suggester.values = field_values(run.fields for run in runs)

    def complain(self, why: str) -> None:
        """Say why the text is no filter yet, or that it is one."""
        self.why = plain(why, 200)
        self.set_class(bool(why), "-wrong")

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
