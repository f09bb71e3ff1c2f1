"""What a cell of a report holds: a text, a count, a number or an estimate, laid out by each format in its own way.

In: values, also from data. Out: the text that people read; the values stay as they are for programs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from cxrssl.stats.holm import MARK, has_mark
from cxrssl.stats.resample import Interval


@dataclass(frozen=True)
class Number:
    """A number with the way it is shown to people."""

    value: float
    pattern: str = "{:.3f}"


@dataclass(frozen=True)
class Numbers:
    """Several numbers, such as one a seed."""

    values: tuple[float, ...]


@dataclass(frozen=True)
class Estimate:
    """A value with its interval."""

    interval: Interval
    is_difference: bool = False
    """Whether its sign is always shown."""
    remark: str = ""
    """What people must know of it beside its marks, such as "one seed"."""
    p_holm: float = math.nan
    """Of a difference of a family, adjusted for their number; see `stats.holm`."""


Cell: TypeAlias = str | int | Number | Numbers | Estimate


def show_cell(cell: Cell) -> str:
    """Return a cell as people read it, such as "1,204", "0.734 [0.702, 0.765]" or "not defined"."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, Number):
        return "not defined" if math.isnan(cell.value) else cell.pattern.format(cell.value)
    if isinstance(cell, Numbers):
        return ", ".join(f"{value:.3f}" for value in cell.values)
    text = cell.interval.to_text(signed=cell.is_difference) + (MARK if has_mark(cell.p_holm) else "")
    return f"{text} {cell.remark}" if cell.remark else text
