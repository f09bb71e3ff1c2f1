"""The baseline that a report is told to subtract, in the place of untrained, vanilla, pixels and wrong records.

In: a Pin, published groups. Out: what is subtracted, and the differences to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cxrssl.core.text import count_noun
from cxrssl.evaluate.averages import is_pinned, pin_key
from cxrssl.evaluate.compare import REFERENCES, Group
from cxrssl.evaluate.groups import SeedGroup, find_seed
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.group import GroupRecord
from cxrssl.stats.seeds import SeedScores

Find = Callable[[Evaluation, Group], Evaluation | None]


@dataclass(frozen=True)
class Pin:
    """A setup, wherever it was scored."""

    label: str
    """How tables call what is subtracted."""
    groups: Mapping[str, SeedGroup]
    """By the terms on which it was scored."""

    def find(self, evaluation: Evaluation, _: Group | None = None) -> Evaluation | None:
        """Return what is subtracted from a single evaluation: of the same seed, or without one; never itself."""
        base = self.groups.get(evaluation.settings.terms)
        if base is None or evaluation.eval_id in {each.eval_id for each in (*base.evaluations, *base.repeats)}:
            return None
        if len(base.evaluations) == 1:
            return base.evaluations[0]
        return next((each for each in base.evaluations if find_seed(each) == find_seed(evaluation)), None)

    def differences(self, record: GroupRecord) -> dict[str, SeedScores]:
        """Return the difference of means over seeds to it by its label, if there is one."""
        found = record.numbers.differences
        key = next((key for base in self.groups.values() if (key := pin_key(base)) in found), None)
        return {} if key is None else {self.label: found[key]}


def references_of(pin: Pin | None) -> Mapping[str, Find]:
    """Return what single evaluations are compared with, by its name in tables."""
    return REFERENCES if pin is None else {pin.label: pin.find}


def differences_of(record: GroupRecord, pin: Pin | None) -> dict[str, SeedScores]:
    """Return the differences of a group that a report shows, by the name of what is subtracted."""
    if pin is not None:
        return pin.differences(record)
    return {name: scores for name, scores in record.numbers.differences.items() if not is_pinned(name)}


def describe_missing(pin: Pin | None, terms: str) -> str:
    """Return that the baseline is not on the terms of a table, in a sentence; empty where it is, or none is pinned."""
    return "" if pin is None or terms in pin.groups else f"The pinned baseline, {pin.label}, was not scored here."


def describe_pin(pin: Pin) -> str:
    """Return what is subtracted everywhere, for the facts of a report."""
    seeds = sorted({seed for each in pin.groups.values() for seed in each.seeds})
    counted = f", {count_noun(len(seeds), 'seed')}" if seeds else ""
    return f"{pin.label}{counted}; chosen for this report, and not declared before"
