"""What is reported of a run while it trains: guard, journal, alarms, progress. It reads numbers and makes none.

In: the numbers of each step, which come from the device a few steps late. Out: metrics journal, events, progress bar.
Never: a step reported as good after a bad one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxrssl.core.errors import GuardStop
from cxrssl.core.journal import Journal, append_record
from cxrssl.core.process import peak_rss_bytes
from cxrssl.core.progress import Track
from cxrssl.model.objective import Objective
from cxrssl.train.alarms import Alarm, Watch
from cxrssl.train.health import Measured
from cxrssl.train.meter import Meter
from cxrssl.train.plan import RunPlan
from cxrssl.train.schedule import StepSettings
from cxrssl.train.step import number_names
from cxrssl.train.usage import Usage


@dataclass(frozen=True)
class _Step:
    """What the host knows of a step whose numbers are under way."""

    step: int
    rows: NDArray[np.int64]
    now: StepSettings
    extra: Measured


class Recorder:
    """Reads the numbers of every step as they arrive."""

    def __init__(
        self, plan: RunPlan, model: Objective, journal: Journal, events: Path, progress: Track, first: int
    ) -> None:
        self._plan, self._journal, self._events = plan, journal, events
        self._progress, self._device = progress, model.device
        self._names = number_names(model)
        self._meter: Meter[_Step] = Meter()
        self._watch = Watch(model.numbers)
        self._usage = Usage(model.device)
        self._since = time.perf_counter()
        self._since_step = first
        self.wait_s = 0.0
        """Time that steps have waited for their films since the last record."""
        self.loss = math.nan

    def send(
        self,
        step: int,
        rows: NDArray[np.int64],
        now: StepSettings,
        numbers_P: Tensor,
        is_bad: Tensor,
        extra: Measured,
    ) -> None:
        """Take the numbers of a step, what was measured beside it and what the guard thinks of it; returns at once."""
        # The verdict travels with the numbers, so that none is reported before it is known to be good.
        self._meter.send(_Step(step, rows, now, extra), torch.cat([numbers_P, is_bad[None]]))

    def read(self, wait: bool = False) -> list[tuple[int, Alarm]]:
        """Record what has arrived, with `wait` everything that was sent; return the alarms that it raised, by step.

        Raises: GuardStop for a step that the guard has called bad: nothing was changed by it and all that came after.
        """
        alarms: list[tuple[int, Alarm]] = []
        for about, (*values, is_bad) in self._meter.arrived(wait):
            record = dict(zip(self._names, values, strict=True))
            if is_bad:
                raise self._stop(about, record)
            self.loss = record["loss"]
            self._progress.advance(
                self._plan.recipe.train.batch_size,
                f"loss {self.loss:.3f}, step {about.step + 1} of {self._plan.num_steps}",
            )
            if about.step % self._plan.machine.log_every == 0 or about.step + 1 == self._plan.num_steps:
                self._record(about, record)
            for alarm in self._watch.update(record):
                append_record(self._events, {"event": "alarm", "step": about.step, **asdict(alarm)})
                alarms.append((about.step, alarm))
        return alarms

    def _record(self, about: _Step, record: dict[str, float]) -> None:
        recipe = self._plan.recipe.train
        now = time.perf_counter()
        wall_s, num_steps = max(now - self._since, 1e-9), about.step + 1 - self._since_step
        self._journal.log(
            {
                "step": about.step,
                "epoch": about.step / self._plan.steps_per_epoch,
                **record,
                **about.now.to_record(),
                **about.extra.read(),
                "films_per_s": recipe.batch_size * num_steps / wall_s,
                "data_frac": self.wait_s / wall_s,
                "memory_mb": _peak_memory_mb(self._device),
                **self._usage.measure(),
            }
        )
        self._since, self._since_step, self.wait_s = now, about.step + 1, 0.0

    def _stop(self, about: _Step, record: Mapping[str, float]) -> GuardStop:
        bad = [f"{name} is {value}" for name, value in record.items() if not math.isfinite(value)]
        what = ", ".join(bad) or "a moment of the optimiser is not finite"
        append_record(
            self._events, {"event": "guard", "step": about.step, "what": what, **record, "rows": about.rows.tolist()}
        )
        hint = "the same command tries again from the last checkpoint; a lower rate is --set train.lr=..."
        return GuardStop(f"{what} at step {about.step}; no weight was changed by it", self._events, hint)


def _peak_memory_mb(device: torch.device) -> float:
    """Return the most memory the run has held so far: on the GPU, or resident on the host; in MiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return peak_rss_bytes() / 2**20
