"""Reliability diagrams as numbers: predicted probability and observed share, a panel for each finding."""

from __future__ import annotations

import math
from dataclasses import dataclass

ENDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
"""Of axes, the smallest that holds all."""


@dataclass(frozen=True)
class ReliabilityPoint:
    """Films of neighbouring scores."""

    predicted: tuple[float, ...]
    """Mean probability, one for each series: a map changes it, and not which films these are."""
    observed: float
    low: float
    high: float
    """Ends of the interval of the observed share; nan without one."""


@dataclass(frozen=True)
class ReliabilityPanel:
    finding: str
    detail: str
    numbers: tuple[tuple[int, str], ...]
    """Which series, and what is said of it."""
    points: tuple[ReliabilityPoint, ...]


@dataclass(frozen=True)
class ReliabilityFigure:
    """A page of panels."""

    title: str
    names: tuple[str, ...]
    panels: tuple[ReliabilityPanel, ...]
    notes: tuple[str, ...] = ()


def find_end(panel: ReliabilityPanel) -> float:
    """Return the end of both axes."""
    values = [value for point in panel.points for value in (*point.predicted, point.observed, point.high)]
    most = max([value for value in values if not math.isnan(value)], default=1.0)
    return next((end for end in ENDS if most <= end), 1.0)
