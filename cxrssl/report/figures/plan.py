"""Figures that a report may draw: cheap to list, drawn only where the last report has not the same.

In: what is published, as tables of a report show it. Out: Plans. No matplotlib until one is drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata, resources
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.averages import Averages
from cxrssl.evaluate.compare import Differences
from cxrssl.evaluate.groups import SeedGroup
from cxrssl.evaluate.learning import Curve
from cxrssl.records.ablation import Ablation
from cxrssl.records.learning import CurveNumbers
from cxrssl.report.document import Figure
from cxrssl.report.figures.formats import FORMATS, Format
from cxrssl.report.figures.width import is_narrow, width_in
from cxrssl.report.pin import Pin
from cxrssl.report.small import SmallCells
from cxrssl.stats.resample import Interval

LIBRARY, EXTRA = "matplotlib", "report"
PAGE_PANELS, COLUMN_PANELS = 16, 6
"""Most panels of one figure, so that it is no higher than a page."""
Item = TypeVar("Item")
DIGITS = 3
"""Of what is drawn: as many as tables show, so that a figure tells no more than they do."""


@dataclass(frozen=True)
class Material:
    """What figures are made of; see `report.write`."""

    tables: Sequence[Sequence[SeedGroup]]
    """Of each table those on equal terms."""
    averages: Averages
    differences: Differences
    ablations: Sequence[Ablation]
    small: SmallCells
    arms: Mapping[str, str] = field(default_factory=dict)
    """By run_id the arm of an ablation."""
    runs: Mapping[str, Path] = field(default_factory=dict)
    """The folders of runs by their run_id."""
    curves: Sequence[Curve] = ()
    numbers: Mapping[str, CurveNumbers] = field(default_factory=dict)
    """Of learning curves, by curve_id."""
    pin: Pin | None = None
    embedded: Workspace | None = None
    """Whose features are shown by t-SNE; None where that was not asked for, as it takes seconds."""
    films: Workspace | None = None
    """Whose films may be shown; None where they were not asked for, as what shows films must not be shared."""


@dataclass(frozen=True)
class Plan:
    """A figure that can be drawn."""

    name: str
    """Of its files, without ending."""
    title: str
    """One sentence below it."""
    alt: str
    key: str
    """Equal where the same would be drawn by the same code."""
    collect: Callable[[], object]
    """Returns its plain numbers, such as a Forest."""

    def make(self, formats: Sequence[Format] = FORMATS) -> Figure:
        """Return the figure."""
        from cxrssl.report.figures.draw import draw_figure

        files = draw_figure(self.collect(), self.name, formats)
        svg, pdf, png = (files.get(kind, b"") for kind in FORMATS)
        return Figure(self.name, self.title, self.alt, svg, pdf, png)


def is_installed() -> bool:
    """Return whether figures can be drawn; nothing is imported."""
    return find_spec(LIBRARY) is not None


def explain_missing() -> str:
    """Return the sentence that stands in the place of figures where they cannot be drawn."""
    return f"Figures other than the exclusion flow are left out: install them with pip install 'cxrssl[{EXTRA}]'."


def split_panels(panels: Sequence[Item]) -> list[Sequence[Item]]:
    """Return the panels of each page; one page without a panel where there is none."""
    most = COLUMN_PANELS if is_narrow() else PAGE_PANELS
    return [panels[k : k + most] for k in range(0, max(1, len(panels)), most)]


def hash_drawn(*parts: object) -> str:
    """Return a key of what is drawn, and of the code that draws it."""
    return hashlib.sha256(repr((parts, width_in(), _hash_code())).encode()).hexdigest()


def keep(figure: Item) -> Item:
    """Return a figure whose numbers are there when it is planned."""
    return figure


def round_number(value: float) -> float:
    """Return a number with as many digits as tables show."""
    return round(value, DIGITS)


def round_interval(interval: Interval) -> Interval:
    """Return an interval with as many digits as tables show."""
    value, lo, hi = (round_number(each) for each in (interval.value, interval.lo, interval.hi))
    return replace(interval, value=value, lo=lo, hi=hi)


def _hash_code() -> str:
    """Return what changes when a figure may look otherwise: this package, and the library."""
    files = sorted(resources.files("cxrssl.report.figures").iterdir(), key=lambda each: each.name)
    content = b"".join(each.read_bytes() for each in files if each.name.endswith(".py"))
    version = metadata.version(LIBRARY) if is_installed() else ""
    return hashlib.sha256(content).hexdigest() + version
