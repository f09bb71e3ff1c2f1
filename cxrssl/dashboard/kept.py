"""What was made, until what it was made from is another. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """One value."""

    def __init__(self) -> None:
        self._key: object = self
        self._value: T

    def get(self, key: object, make: Callable[[], T]) -> T:
        """Return the value for this key: the one that is kept, or a new one."""
        if key != self._key:
            self._value, self._key = make(), key
        return self._value
