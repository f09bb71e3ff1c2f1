"""Points in the plane as numbers: one panel for each way of colouring them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

OTHER = -1
"""Points of no group that is named: they stand in grey behind the others."""


@dataclass(frozen=True, eq=False)
class ScatterPanel:
    title: str
    groups: tuple[str, ...]
    """In the order of SERIES."""
    rows: NDArray[np.int64]
    """Which points it shows."""
    group_of: NDArray[np.int64]
    """Of each of them its place in `groups`, or OTHER."""


@dataclass(frozen=True, eq=False)
class ScatterFigure:
    title: str
    places_N2: NDArray[np.float64]
    panels: tuple[ScatterPanel, ...]
    notes: tuple[str, ...]
