"""The steps that a run logged, each once: one that was done again after a resume counts as it was done last.

In: the metrics journals of a run, in their order. Out: records of ascending steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from cxrssl.core.numbers import number_of
from cxrssl.records.run import RunFiles
from cxrssl.records.tail import Record, first_step, is_metric, iter_journal, read_tip


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
