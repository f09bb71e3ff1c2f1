"""Ticks of an axis: round numbers, and labels in which neighbours differ. Pure."""

from __future__ import annotations

import math
from typing import Literal

from cxrssl.dashboard.text.cells import short_number, short_seconds

Axis = Literal["step", "epoch", "time"]
TIME_STEPS = (
    1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400,
)  # fmt: skip
"""Round distances in seconds, up to a day."""
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


def decade_text(exponent: float) -> str:
    """Return a power of ten; a part of a decade in a few digits."""
    if abs(exponent - round(exponent)) > 1e-6:
        return short_number(10.0**exponent)
    decade = round(exponent)
    return f"{10.0**decade:,.{max(-decade, 0)}f}" if -4 <= decade < 6 else f"1e{decade}"


def tick_text(tick: float, ticks: list[float]) -> str:
    """Return the label of a tick, with enough decimals to differ from its neighbour."""
    distance = ticks[1] - ticks[0] if len(ticks) > 1 else abs(tick)
    if tick and (abs(tick) >= 1e6 or distance < 1e-4):
        return short_number(tick)
    return f"{tick:,.{max(-math.floor(math.log10(distance) + 1e-9), 0) if distance else 0}f}"


def axis_labels(ticks: list[float], axis: Axis) -> list[str]:
    """Return the labels of an x axis."""
    if axis != "time":
        return [_whole_text(tick, ticks) for tick in ticks]
    texts = [("-" if tick < 0 else "") + short_seconds(abs(tick)) for tick in ticks]
    return texts if len(set(texts)) == len(texts) else list(map(_full_time, ticks))


def _full_time(tick: float) -> str:
    """Return hours, minutes and seconds, for ticks that differ in seconds alone."""
    whole = round(abs(tick))
    return f"{'-' if tick < 0 else ''}{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"


def _whole_text(tick: float, ticks: list[float]) -> str:
    """Return a count of steps or epochs in full, and a part of an epoch with the decimals of its neighbours."""
    return f"{tick:,.0f}" if all(each == round(each) for each in ticks) else tick_text(tick, ticks)
