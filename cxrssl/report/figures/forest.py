"""Forest plots as numbers: differences with their intervals below each other, the declared one on top.

In: differences. Out: a Forest, and the ends of its axis. Never: a number without the mark that its table gives it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cxrssl.report.figures.width import is_narrow
from cxrssl.stats.holm import MARK, has_mark
from cxrssl.stats.resample import Interval

PAGE_ROWS, COLUMN_ROWS = 50, 26
MAX_STRETCH = 0.5
"""By how much intervals of few subjects may widen the axis on either side."""


@dataclass(frozen=True)
class ForestRow:
    """A difference."""

    label: str
    interval: Interval
    remark: str = ""
    """In a column of its own: how many seeds, or subjects with a finding and without it."""
    by_seed: tuple[float, ...] = ()
    """Of each seed, where there are several."""
    p_holm: float = math.nan
    is_primary: bool = False
    """Declared beforehand."""
    is_mean: bool = False
    """A mean over findings, drawn as a diamond."""

    @property
    def is_bold(self) -> bool:
        return self.is_primary or self.is_mean

    @property
    def text(self) -> str:
        """Its number as tables show it."""
        return self.interval.to_text(signed=True) + (MARK if has_mark(self.p_holm) else "")


@dataclass(frozen=True)
class ForestSection:
    """Rows below a heading."""

    heading: str
    rows: tuple[ForestRow, ...]


@dataclass(frozen=True)
class Forest:
    """A forest plot."""

    title: str
    axis: str
    """What a difference is, such as "Difference in macro AUROC"."""
    sections: tuple[ForestSection, ...]
    remark_heading: str = ""
    min_difference: float = 0.0
    """Smallest difference that would matter; 0 where none was declared."""
    notes: tuple[str, ...] = ()
    sides: tuple[str, str] = ("worse", "better")
    """What a difference below 0 means, and one above it."""
    limits: tuple[float, float] | None = None
    """Ends of its axis where other pages share it."""

    @property
    def rows(self) -> list[ForestRow]:
        return [row for section in self.sections for row in section.rows]

    def split(self) -> list[Forest]:
        """Return it as forests that are no higher than a page."""
        most = COLUMN_ROWS if is_narrow() else PAGE_ROWS
        pages: list[list[ForestSection]] = [[]]
        for section in self.sections:
            rest = section.rows
            while rest:
                room = most - sum(len(each.rows) for each in pages[-1])
                if room <= 0 or (room < 3 < len(rest) and pages[-1]):
                    pages.append([])
                    continue
                heading = section.heading if rest is section.rows else f"{section.heading}, continued"
                pages[-1].append(ForestSection(heading if section.heading else "", rest[:room]))
                rest = rest[room:]
        made = [replace(self, sections=tuple(page)) for page in pages]
        titles = [f"{self.title} ({k} of {len(made)})" for k in range(1, len(made) + 1)] if len(made) > 1 else []
        return [replace(each, title=title) for each, title in zip(made, titles, strict=True)] if titles else made


def find_limits(forests: Sequence[Forest]) -> tuple[float, float]:
    """Return the ends of an axis that holds all rows; intervals of few subjects are cut where they hide the rest."""
    rows = [row for forest in forests for row in forest.rows if not math.isnan(row.interval.value)]
    marks = [end for forest in forests for end in (-forest.min_difference, 0.0, forest.min_difference)]
    marks += [each for row in rows for each in (row.interval.value, *row.by_seed) if not math.isnan(each)]
    firm = [*marks, *_list_ends([row for row in rows if row.interval.mark != "few"] or rows)]
    low, high = min(firm), max(firm)
    most = MAX_STRETCH * (high - low) or math.inf
    ends = [*firm, *_list_ends(rows)]
    low, high = max(min(ends), low - most), min(max(ends), high + most)
    room = 0.05 * (high - low) or 0.05
    return low - room, high + room


def _list_ends(rows: Iterable[ForestRow]) -> list[float]:
    return [end for row in rows if row.interval.has_interval for end in (row.interval.lo, row.interval.hi)]
