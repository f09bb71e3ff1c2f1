"""How far two curves of the same draws may be apart.

Measured on a CPU over 209 steps of tests.gpu.runs.CALM, against fp32, the loss averaged over 20 steps: bf16 autocast
moves it by at most 0.073, in the mean of a run by at most 0.031 (4 seeds); another order of the sums alone, half a
batch at a time, by at most 0.003 (2 seeds). The band is twice that, as a GPU adds up in yet another order. The first 10
losses, before differences have grown, differ by at most 0.008 or 0.024, as the processor multiplies bf16.
"""

from typing import NamedTuple

import numpy as np

WINDOW = 20
FIRST = 10


class Away(NamedTuple):
    """Relative distances of two curves."""

    first: float
    """The largest of the first 10 losses."""
    max: float
    """The largest of losses averaged over 20 steps."""
    mean: float

    def is_within(self) -> bool:
        return self.first < BAND.first and self.max < BAND.max and self.mean < BAND.mean


BAND = Away(0.05, 0.15, 0.06)


def measure_away(losses: list[float], expected: list[float]) -> Away:
    """Return how far a curve is from the one expected, which is as long."""
    assert len(losses) == len(expected) >= WINDOW
    kernel = np.ones(WINDOW) / WINDOW
    away = np.abs(np.convolve(losses, kernel, "valid") / np.convolve(expected, kernel, "valid") - 1)
    first = np.abs(np.array(losses[:FIRST]) / np.array(expected[:FIRST]) - 1)
    return Away(float(first.max()), float(away.max()), float(away.mean()))
