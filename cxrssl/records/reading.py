"""What is read of an encoder for a probe: its class token, its patches, several layers, or films that look alike.

In: a word of the command line, or of published settings. Out: Reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cxrssl.core.errors import UsageError
from cxrssl.core.text import nearest_hint, plain

Pooling = Literal["attention", "max"]
ReadingKind = Literal["cls", "patches", "last", "knn", "attention", "max"]
TOKENS = "tokens"
"""Features that are the tokens of all patches."""
UNCOUNTED: dict[str, ReadingKind] = {"cls": "cls", "patches": "patches", "attention": "attention", "max": "max"}
COUNTED: dict[str, tuple[int, int]] = {"last": (1, 64), "knn": (1, 10_000)}
"""Kinds with a number after a colon, and its range."""
WORDS = ("cls", "patches", "last:N", "knn:K", "attention", "max")


@dataclass(frozen=True)
class Reading:
    """How the features of a film are read, and what is fitted on them."""

    kind: ReadingKind = "cls"
    count: int = 0
    """Layers of `last`, neighbours of `knn`."""

    @property
    def name(self) -> str:
        """As it is written: "last:4"."""
        return f"{self.kind}:{self.count}" if self.count else self.kind

    @property
    def setting(self) -> str | None:
        """As candidates record it; None for the class token, which they do not."""
        return None if self.kind == "cls" else self.name

    @property
    def features(self) -> str | None:
        """Which features it needs, as their cache is keyed; None for the class token."""
        if self.pooling is not None:
            return TOKENS
        return None if self.kind in ("cls", "knn") else self.name

    @property
    def pooling(self) -> Pooling | None:
        """How a probe that sees patches pools them; None for one that does not see them."""
        return self.kind if self.kind in ("attention", "max") else None

    @property
    def is_linear(self) -> bool:
        """Whether what is fitted is a regression on one row of features a film."""
        return self.kind != "knn" and self.pooling is None

    @property
    def slug(self) -> str:
        """At the beginning of the id of a candidate: "last4"; empty for the class token."""
        return "" if self.kind == "cls" else f"{self.kind}{self.count or ''}"

    @property
    def words(self) -> str:
        """In tables: "class tokens of the last 4 layers"."""
        return {
            "cls": "class token",
            "patches": "mean of patches",
            "last": f"class tokens of the last {self.count} layers",
            "knn": f"{self.count} nearest films by class token",
            "attention": "patches pooled by attention",
            "max": "patches pooled by maximum",
        }[self.kind]


CLS = Reading()


def parse_reading(text: str) -> Reading:
    """Return what --read names. Raises: UsageError."""
    kind, colon, count = text.strip().partition(":")
    if kind not in (*UNCOUNTED, *COUNTED) or (kind in COUNTED) != bool(colon):
        raise UsageError(f'--read cannot be "{plain(text, 40)}"', hint=nearest_hint(text, WORDS))
    if kind not in COUNTED:
        return Reading(UNCOUNTED[kind])
    low, high = COUNTED[kind]
    if not count.isdecimal() or not low <= int(count) <= high:
        raise UsageError(f'--read {kind} has "{plain(count, 20)}"', hint=f"write a number from {low} to {high}")
    return Reading("last" if kind == "last" else "knn", int(count))


def check_reading(reading: Reading, joined: str, folds: int = 0) -> None:
    """Raise UsageError for what is not done with features that are read in this way."""
    if not reading.is_linear and joined:
        what = (
            f"--read {reading.kind} fits no regression on features of a film, and --with has no columns to join to them"
        )
        raise UsageError(what, hint="name one of them")
    if reading.pooling and folds:
        what = f"--read {reading.kind} is fitted on the train films of a split, and with --folds there is none"
        raise UsageError(what, hint="name one of them")
