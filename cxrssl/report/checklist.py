"""Checklists for authors and reviewers, each item with the lines that answer it, or "not answered".

In: a checklist of the package, what a workspace holds. Out: a filled checklist. Never: the words of a checklist, which
are its publishers'; an answer that no record gives.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from cxrssl.core.errors import UsageError
from cxrssl.core.text import count_noun, nearest_hint, plain
from cxrssl.core.workspace import Workspace
from cxrssl.records.published import Published
from cxrssl.report.answers import ANSWERS
from cxrssl.report.conditions import conditions_as
from cxrssl.report.evidence import Evidence, read_evidence
from cxrssl.report.small import SmallCells, hide_in_sentence

FOLDER = "checklists"
MISSHAPEN = (AttributeError, LookupError, TypeError, ValueError)
"""What a look at records raises that another version or another program has made, whole as their files are."""
NOT_ANSWERED = "not answered"
SEEN = {"text": "read in a reprint, topic in our words", "topic": "topic only, in our words"}
"""What was read of the items, as the head of a checklist says it."""


@dataclass(frozen=True)
class Item:
    """An item of a checklist."""

    number: str
    section: str
    topic: str
    """In this program's own words."""
    answer: str
    """The name of what answers it in `report.answers.ANSWERS`; empty where only authors can."""


@dataclass(frozen=True)
class Checklist:
    """The items of a checklist, where they were published and how they were read."""

    name: str
    title: str
    source: str
    read: str
    seen: str
    """One of SEEN."""
    items: tuple[Item, ...]


@dataclass(frozen=True)
class FilledItem:
    """An item with what answers it; no lines where nothing does."""

    item: Item
    lines: tuple[str, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The lines, or NOT_ANSWERED; whose answer it is where no record can give it."""
        if self.lines:
            return self.lines
        return (NOT_ANSWERED if self.item.answer else f"{NOT_ANSWERED}: for the authors",)


@dataclass(frozen=True)
class Filled:
    """A checklist with its answers."""

    checklist: Checklist
    items: tuple[FilledItem, ...]

    @property
    def headline(self) -> str:
        """Such as "27 of 42 items answered by records of this workspace"."""
        num = sum(bool(each.lines) for each in self.items)
        return f"{num:,} of {count_noun(len(self.items), 'item')} answered by records of this workspace"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        about = {key: getattr(self.checklist, key) for key in ("name", "title", "source", "read", "seen")}
        items = [{**vars(each.item), "lines": list(each.lines)} for each in self.items]
        return {**about, "items": items}


def checklist_names() -> list[str]:
    """Return the names of the checklists of the package."""
    folder = resources.files("cxrssl") / "report" / FOLDER
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def read_checklist(name: str) -> Checklist:
    """Return a checklist of the package. Raises: UsageError for an unknown name."""
    if name not in checklist_names():
        raise UsageError(f'there is no checklist "{plain(name, 60)}"', hint=nearest_hint(name, checklist_names()))
    text = (resources.files("cxrssl") / "report" / FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    values = tomllib.loads(text)
    items = tuple(Item(**each) for each in values.pop("item"))
    return Checklist(name, **values, items=items)


def fill_checklist(
    checklist: Checklist, workspace: Workspace, published: Published, small: SmallCells = "hide"
) -> Filled:
    """Return a checklist with the lines that records of a workspace give to each item; small counts are hidden."""
    evidence = read_evidence(workspace, published, small)
    names = [name for name in dict.fromkeys(item.answer for item in checklist.items) if name]
    with conditions_as("hide"):
        given = {name: _answer(name, evidence) for name in names}
    return Filled(
        checklist, tuple(FilledItem(item, _hide(given.get(item.answer, ()), small)) for item in checklist.items)
    )


def _answer(name: str, evidence: Evidence) -> tuple[str, ...]:
    """Return the lines of an answer; none where a record lacks what a version that made it did not write."""
    try:
        return tuple(ANSWERS[name](evidence))
    except MISSHAPEN:
        return ()


def _hide(lines: Sequence[str], small: SmallCells) -> tuple[str, ...]:
    return tuple(hide_in_sentence(line, small) for line in lines)
