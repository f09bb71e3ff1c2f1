"""Numbers that JSON lacks, and numbers from files that may be anything.

Journals and query results write not-finite numbers as the strings "nan", "inf", "-inf"; published scores and snapshots,
where they mean "not defined", as null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
LARGEST = 1e300
LARGEST_COUNT = 2**53
"""Up to here a float64 holds every whole number."""


def encode_number(value: float, as_null: bool = False) -> float | str | None:
    """Return a float as JSON can hold it."""
    if math.isfinite(value):
        return value
    return None if as_null else str(value)


def encode_numbers(value: Any, as_null: bool = False) -> Any:
    """Return a nested value in which each float is as JSON can hold it, and each key is text."""
    if isinstance(value, float):
        return encode_number(value, as_null)
    if isinstance(value, Mapping):
        return {str(key): encode_numbers(item, as_null) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode_numbers(item, as_null) for item in value]
    return value


def decode_number(value: Any) -> Any:
    """Return the float that "nan", "inf" or "-inf" names, and anything else as it is."""
    return NON_FINITE.get(value, value) if isinstance(value, str) else value


def score_text(value: float, signed: bool = False) -> str:
    """Return a score, or a difference of two, with three digits; "-0.000" is below zero by more than rounding."""
    return format(round(value, 12) + 0.0, "+.3f" if signed else ".3f")


def number_of(value: Any) -> float:
    """Return `value` as a float; nan for anything that is no number, inf for one too large to be drawn."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return math.nan
    if abs(value) >= LARGEST:
        return math.inf if value > 0 else -math.inf
    return float(value)


def is_count(value: Any) -> bool:
    """Return whether `value` is a whole number that is neither negative nor absurdly large."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST_COUNT
