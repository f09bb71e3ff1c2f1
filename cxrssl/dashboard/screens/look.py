"""How curves are drawn, as the user chose it: the same on every screen."""

from __future__ import annotations

from typing import Any, Literal

from cxrssl.dashboard.smooth import STRENGTHS
from cxrssl.dashboard.state import turn
from cxrssl.dashboard.view import View
from cxrssl.dashboard.widgets.raster import PlotOptions, Window
from cxrssl.dashboard.widgets.ticks import AXES

Change = Literal["log", "smooth", "sharp", "axis"]


def plot_options(view: View, window: Window | None = None, has_band: bool = True) -> PlotOptions:
    """Return how a view has curves drawn."""
    x_axis = next((axis for axis in AXES if axis == view.x_axis), AXES[0])
    smoothing = view.smoothing if 0 <= view.smoothing <= STRENGTHS[-1] else 0.0
    return PlotOptions(x_axis, view.is_log, smoothing, window, has_band)


def change_plot(view: View, change: Change) -> dict[str, Any]:
    """Return what is other in a view: the other y axis, the next x axis, more or less smoothing."""
    if change == "log":
        return {"is_log": not view.is_log}
    if change == "axis":
        return {"x_axis": turn(AXES, view.x_axis, 1)}
    nearest = min(STRENGTHS, key=lambda strength: abs(strength - view.smoothing))
    return {"smoothing": turn(STRENGTHS, nearest, 1 if change == "smooth" else -1)}
