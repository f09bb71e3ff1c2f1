"""A curve in one line of characters: eight heights, a dot where nothing was logged. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

HEIGHTS = "▁▂▃▄▅▆▇█"
GAP = "·"


def spark(values: Sequence[float], chars: int = 12) -> str:
    """Return the values from left to right, the lowest at the bottom, in at most `chars` characters."""
    if not values:
        return ""
    num = min(chars, len(values))
    parts = [values[at * len(values) // num : (at + 1) * len(values) // num] for at in range(num)]
    means = [_mean(part) for part in parts]
    known = [mean for mean in means if math.isfinite(mean)]
    if not known:
        return GAP * num
    low, high = min(known), max(known)
    return "".join(_char(mean, low, high) for mean in means)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return math.fsum(known) / len(known) if known else math.nan


def _char(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return GAP
    share = (value / 2 - low / 2) / (high / 2 - low / 2) if high / 2 > low / 2 else 0.5
    return HEIGHTS[min(int(share * len(HEIGHTS)), len(HEIGHTS) - 1)]
