"""Conditions on films in a report: as written where small cells are shown too, else without values that may identify.

All that writes a condition into tables, figures or facts asks here; nothing hands the choice on.
Never: a hash of the films that meet a condition, as who knows all films finds the one that it leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

from cxrssl.cohort.condition import WHOLE, hide_values
from cxrssl.core.durable import hash_settings
from cxrssl.records.eval_settings import EvalSettings, ProbeSettings
from cxrssl.records.run import RunDescription
from cxrssl.report.small import SmallCells


@dataclass
class _Report:
    """What one report shows of conditions, and the numbers that it gave them: two may read the same."""

    small: SmallCells
    by_films: dict[str, int] = field(default_factory=dict)
    by_text: dict[str, int] = field(default_factory=dict)
    origins: dict[str, int] = field(default_factory=dict)

    def number(self, condition: str, films: str) -> int:
        """Return the number of a condition: equal for the same films, and for the same words of which none are known.

        A condition of a recipe has no hash of films: it is the one of an evaluation that has the same words.
        """
        found = self.by_films.get(films) if films else self.by_text.get(condition)
        if found is None:
            taken, named = self.by_films.values(), self.by_text.get(condition)
            found = max([*taken, *self.by_text.values()], default=0) + 1 if named in (None, *taken) else named
        assert found is not None
        self.by_text.setdefault(condition, found)
        if films:
            self.by_films[films] = found
        return found


_MADE: ContextVar[_Report | None] = ContextVar("the report that is made", default=None)


@contextmanager
def conditions_as(small: SmallCells) -> Iterator[None]:
    """Show conditions whole where `small` shows all, as what it makes must not be shared; else number those hidden."""
    token = _MADE.set(_Report(small))
    try:
        yield
    finally:
        _MADE.reset(token)


def show_condition(condition: str, films: str | None = None) -> str:
    """Return a condition as what is made now may show it; `films` is the hash of those that meet it, if known."""
    report, shown = _MADE.get(), hide_values(condition)
    if report is not None and report.small == "show":
        return condition
    if shown == condition or report is None:
        return shown
    return f"condition {report.number(condition, films or '')} ({'not shown' if shown == WHOLE else shown})"


def show_asked(probe: ProbeSettings) -> str:
    """Return what is asked of an evaluation in words, its condition as it may be shown."""
    return replace(probe, where=show_condition(probe.where, probe.where_sha256)).asked if probe.where else probe.asked


def hide_films(settings: EvalSettings) -> EvalSettings:
    """Return settings whose terms may be hashed for a name in what is made now: numbers in place of hashes of films."""
    probe, carried, report = settings.probe, settings.carried, _MADE.get()
    if not probe.where or (shown := show_condition(probe.where, probe.where_sha256)) == probe.where:
        return settings
    if carried and report:
        origin = report.origins.setdefault(carried.terms_sha256, len(report.origins))
        carried = replace(carried, terms_sha256=str(origin))
    return replace(settings, probe=replace(probe, where=shown, where_sha256=None), carried=carried)


def hash_recipe(description: RunDescription) -> str:
    """Return the beginning of the hash of a recipe: with a condition as it is shown, as few words give it away."""
    where, data = description.where, description.recipe.get("data")
    if not where or (shown := show_condition(where)) == where or not isinstance(data, Mapping):
        return description.recipe_sha256[:8]
    return hash_settings({**description.recipe, "data": {**data, "where": shown}})[:8]
