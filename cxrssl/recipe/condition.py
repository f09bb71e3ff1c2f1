"""When a setting acts: conditions on other settings, written where the setting is declared.

`views.num_focal` holds unless that is 0, false or empty; `train.warmup_frac < 1` and `device != cpu` compare;
`a or b` holds when one of them does. A key that is not there holds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def holds(condition: str, values: Mapping[str, Any]) -> bool:
    """Return whether a condition holds among settings by dotted key."""
    return any(_term_holds(term, values) for term in condition.split(" or "))


def explain_failure(condition: str, values: Mapping[str, Any]) -> str:
    """Return what the settings are that keep a condition from holding: '"views.num_focal" is 0'."""
    keys = [term.split()[0] for term in condition.split(" or ")]
    return " and ".join(f'"{key}" is {_describe(values.get(key, "not there"))}' for key in keys)


def _term_holds(term: str, values: Mapping[str, Any]) -> bool:
    key, *comparison = term.split()
    if key not in values or not comparison:
        return bool(values.get(key))
    operator, limit = comparison
    assert operator in ("<", "!="), f"{term}: a condition compares with < or !="
    return bool(values[key] < float(limit)) if operator == "<" else str(values[key]) != limit


def _describe(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "empty" if value in ((), "") else str(value)
