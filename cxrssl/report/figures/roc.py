"""ROC and precision-recall figures as numbers: a panel for each finding, with bands for other test subjects."""

from __future__ import annotations

from dataclasses import dataclass

from cxrssl.stats.resample import Interval
from cxrssl.stats.roc import CurveKind

NAMES: dict[CurveKind, tuple[str, tuple[str, str]]] = {
    "roc": ("ROC curves", ("False positive rate (1 − specificity)", "Sensitivity")),
    "pr": ("Precision-recall curves", ("Recall (sensitivity)", "Precision (positive predictive value)")),
}


@dataclass(frozen=True)
class RocLine:
    """The curve of one series in one panel; all of one length."""

    y: tuple[float, ...]
    interval: Interval
    """AUROC, or average precision."""
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    """The band; empty without one."""


@dataclass(frozen=True)
class RocPanel:
    finding: str
    detail: str
    """How many subjects there are with the finding and without it."""
    lines: tuple[RocLine | None, ...]
    """One for each series, None where it has none."""
    prevalence: float | None = None
    """Share of films with the finding: the precision of chance."""


@dataclass(frozen=True)
class RocFigure:
    """A page of panels."""

    kind: CurveKind
    title: str
    names: tuple[str, ...]
    """Of the series."""
    x: tuple[float, ...]
    panels: tuple[RocPanel, ...]
    notes: tuple[str, ...] = ()
