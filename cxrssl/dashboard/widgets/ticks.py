"""Ticks of an axis: round numbers, and labels in which neighbours differ. Pure."""

from __future__ import annotations

import math
from typing import Literal

from cxrssl.dashboard.text.cells import short_number, short_seconds

Axis = Literal["step", "epoch", "time"]
AXES: tuple[Axis, ...] = ("step", "epoch", "time")


def nice_ticks(low: float, high: float, num: int) -> list[float]:
    """Return about `num` round numbers (1, 2 or 5 times a power of ten apart) from `low` to `high`."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    rough = span / max(num, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    distance = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= 0.7 * rough)
    first = math.ceil(low / distance - 1e-9)
    return [index * distance for index in range(first, math.floor(high / distance + 1e-9) + 1)]


def y_labels(low: float, high: float, height: int, is_log: bool) -> list[tuple[float, str]]:
    """Return the ticks of the y axis and their labels; of a logarithmic axis the ticks are exponents."""
    num = max(height // 2, 3)
    if not is_log:
        ticks = nice_ticks(low, high, num)
        return [(tick, tick_text(tick, ticks)) for tick in ticks]
    decades = list(range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1))
    if len(decades) >= 3:
        return [(float(decade), _decade_text(decade)) for decade in decades[:: -(-len(decades) // num)]]
    ticks = [tick for tick in nice_ticks(10**low, 10**high, num) if tick > 0]
    return [(math.log10(tick), tick_text(tick, ticks)) for tick in ticks]


def _decade_text(decade: int) -> str:
    return f"{10.0**decade:,.{max(-decade, 0)}f}" if -4 <= decade < 6 else f"1e{decade}"


def tick_text(tick: float, ticks: list[float]) -> str:
    """Return the label of a tick, with enough decimals to differ from its neighbour."""
    distance = ticks[1] - ticks[0] if len(ticks) > 1 else abs(tick)
    if tick and (abs(tick) >= 1e6 or distance < 1e-4):
        return short_number(tick)
    return f"{tick:,.{max(-math.floor(math.log10(distance) + 1e-9), 0) if distance else 0}f}"


def x_labels(low: float, high: float, width: int, axis: Axis) -> list[tuple[float, str]]:
    """Return the ticks of the x axis and their labels."""
    ticks = _x_ticks(low, high, width, axis)
    return [(tick, short_seconds(tick) if axis == "time" else _whole_text(tick, ticks)) for tick in ticks]


def _x_ticks(low: float, high: float, width: int, axis: Axis) -> list[float]:
    num = max(width // 14, 2)
    if axis != "time":
        return nice_ticks(low, high, num)
    rough = (high - low) / num
    distances = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)
    distance = next((d for d in distances if d >= rough), None)
    if distance is None:
        return [day * 86_400 for day in nice_ticks(low / 86_400, high / 86_400, num)]
    return [float(tick * distance) for tick in range(math.ceil(low / distance), math.floor(high / distance) + 1)]


def _whole_text(tick: float, ticks: list[float]) -> str:
    """Return a count of steps or epochs in full, and a part of an epoch with the decimals of its neighbours."""
    return f"{tick:,.0f}" if all(each == round(each) for each in ticks) else tick_text(tick, ticks)
