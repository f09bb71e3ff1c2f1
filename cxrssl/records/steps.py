"""The steps that a run logged, each once: one that was done again after a resume counts as it was done last.

In: the metrics journals of a run, in their order. Out: records of ascending steps, or their metrics as columns.
Never: all steps of a long run in memory at once.

Suffix letter: N steps.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrssl.core.numbers import LARGEST, number_of
from cxrssl.records.run import RunFiles
from cxrssl.records.tail import Record, first_step, is_metric, iter_journal, read_tip

NO_METRICS = frozenset({"step", "epoch", "ts"})
PIECE_STEPS = 20_000
"""At most so many are held at once."""
NUMBERS = frozenset({float, int})
"""By exact type: a truth value is an int to isinstance, and no metric."""


@dataclass(frozen=True, eq=False)
class Column:
    """One metric as it was logged at some steps of a run; all arrays [N]."""

    metric: str
    step_N: npt.NDArray[np.int64]
    epoch_N: npt.NDArray[np.float64] | None
    """None where records have no epoch; nan where that is no number."""
    ts_N: npt.NDArray[np.float64]
    """Unix seconds."""
    value_N: npt.NDArray[np.float64]


USAGE = frozenset({"cpu_cores", "rss_mb", "disk_read_mb_per_s", "gpu_reserved_mb", "gpu_busy_frac"})
"""Names of what a run takes of its machine, which train/usage.py measures."""


def iter_metrics(folder: Path) -> Iterator[Record]:
    """Yield the records of all steps of a run, as its journals stand when the first is asked for."""
    paths = RunFiles(folder).journals()
    cuts = find_cuts(paths)
    last = -1
    for path in paths:
        for record in iter_journal(path):
            if is_metric(record) and last < record["step"] < cuts.get(path, math.inf):
                last = record["step"]
                yield record


def iter_columns(folder: Path) -> Iterator[Column]:
    """Yield what `iter_metrics` finds in columns, of at most PIECE_STEPS steps each; no step is twice in a metric."""
    records = iter_metrics(folder)
    while piece := list(itertools.islice(records, PIECE_STEPS)):
        yield from columns_of(piece)


def columns_of(records: Iterable[Record]) -> Iterator[Column]:
    """Yield the metrics of records of ascending steps in columns, those of records of equal keys together."""
    alike: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        alike.setdefault(tuple(record), []).append(record)
    for keys, group in alike.items():
        yield from _make_columns(keys, group)


def last_loss(files: RunFiles) -> float | None:
    """Return the loss that a run logged last, None before the first."""
    for path in reversed(files.journals()):
        records = read_tip(path, lambda record: is_metric(record) and "loss" in record)
        if records:
            return number_of(records[-1]["loss"])
    return None


def find_cuts(paths: Sequence[Path], known: dict[Path, int] | None = None) -> dict[Path, int]:
    """Return for each journal that later ones take over from the step at which they do.

    `known` remembers the first steps of journals from one call to the next.
    """
    known = {} if known is None else known
    cuts: dict[Path, int] = {}
    cut: int | None = None
    for path in reversed(paths):
        if cut is not None:
            cuts[path] = cut
        first = known[path] if path in known else first_step(path)
        if first is not None:
            known[path] = first
            cut = first if cut is None else min(cut, first)
    return cuts


def _make_columns(keys: tuple[str, ...], records: list[Record]) -> Iterator[Column]:
    """Yield the metrics of records of equal keys."""
    values = dict(zip(keys, zip(*(record.values() for record in records), strict=True), strict=True))
    step_N, ts_N = np.array(values["step"], np.int64), _to_floats(values["ts"])
    epoch_N = _to_floats(values["epoch"]) if "epoch" in values else None
    for key in keys:
        if key in NO_METRICS:
            continue
        kinds = set(map(type, values[key]))
        if kinds <= NUMBERS:
            yield Column(key, step_N, epoch_N, ts_N, _to_floats(values[key]))
        elif kinds & NUMBERS:
            rows = [row for row, value in enumerate(values[key]) if type(value) in NUMBERS]
            value_N = _to_floats([values[key][row] for row in rows])
            yield Column(key, step_N[rows], None if epoch_N is None else epoch_N[rows], ts_N[rows], value_N)


def _to_floats(values: Sequence[Any]) -> npt.NDArray[np.float64]:
    """Return `number_of` each value."""
    if set(map(type, values)) <= NUMBERS:
        with contextlib.suppress(OverflowError):
            numbers = np.array(values, np.float64)
            return np.where(np.abs(numbers) >= LARGEST, np.copysign(np.inf, numbers), numbers)
    return np.array([number_of(value) for value in values], np.float64)
