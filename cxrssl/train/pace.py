"""How often to do something that delays training: at the interval asked for, or, if none is, as often as is cheap.

In: an interval in steps, and how long each time took. Out: whether it is due. Never: a number that depends on it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

CHECKPOINT_EVERY, PROBE_EVERY = 100, 200
MAX_SHARE = 0.01
"""Largest share of run time that an automatic action may take."""


class Pace:
    """Every `asked` steps; with None every `usual` steps, but no sooner than keeps it under MAX_SHARE of run time."""

    def __init__(self, usual: int, asked: int | None) -> None:
        self._every = usual if asked is None else asked
        self._is_free = asked is None
        self._next = 0.0

    def is_due(self, step: int) -> bool:
        """Return whether it is time at this step."""
        return step % self._every == 0 and not (self._is_free and time.monotonic() < self._next)

    @contextlib.contextmanager
    def spend(self) -> Iterator[None]:
        """Measure what one time takes."""
        started = time.monotonic()
        yield
        # If it took d seconds, it is cheap again when d is MAX_SHARE of the time since it began.
        ended = time.monotonic()
        self._next = ended + (ended - started) * (1 / MAX_SHARE - 1)
