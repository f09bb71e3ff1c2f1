"""What distinguishes a run that is being lost from a healthy one, in words.

In: the records of a run as they are logged, and the ranges that its objective calls healthy. Out: alarms.
Never: an effect on the weights: it only reads.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cxrssl.model.objective import Number

WINDOW = 10
"""Logged steps that a median is taken over: one odd batch is no alarm."""
SPIKE_RATIO, SPIKE_RISE = 2.0, 0.5


@dataclass(frozen=True)
class Alarm:
    """Something that a person should look at."""

    kind: str
    """`collapse` or `spike`."""
    what: str


class Watch:
    """Reads the records of a run as they are logged; raises each kind of alarm once until its cause is gone."""

    def __init__(self, numbers: Sequence[Number]) -> None:
        self._bounded = [number for number in numbers if number.low is not None]
        self._recent: dict[str, deque[float]] = {number.name: deque(maxlen=WINDOW) for number in self._bounded}
        self._losses: deque[float] = deque(maxlen=WINDOW)
        self._raised: set[str] = set()

    def update(self, record: Mapping[str, float]) -> list[Alarm]:
        """Return the alarms that this record raises."""
        # A median of several steps, since a single batch may be odd in a healthy run.
        for name, values in self._recent.items():
            values.append(record[name])
        alarms = [alarm for alarm in (self._find_collapse(), self._find_spike(record["loss"])) if alarm]
        # After the comparison: a jump is measured against what came before it.
        self._losses.append(record["loss"])
        new = [alarm for alarm in alarms if alarm.kind not in self._raised]
        self._raised = {alarm.kind for alarm in alarms}
        return new

    def _find_collapse(self) -> Alarm | None:
        for number in self._bounded:
            values = self._recent[number.name]
            if number.low is None or len(values) < WINDOW or (value := statistics.median(values)) >= number.low:
                continue
            return Alarm("collapse", "collapse: " + number.complaint.format(value=value, low=number.low))
        return None

    def _find_spike(self, loss: float) -> Alarm | None:
        if len(self._losses) < WINDOW // 2:
            return None
        usual = statistics.median(self._losses)
        # Both, because twice a loss near zero is nothing, and half a nat above a large one neither.
        if loss > SPIKE_RATIO * usual and loss > usual + SPIKE_RISE:
            return Alarm("spike", f"spike: the loss is {loss:.3f}, usually {usual:.3f}")
        return None
