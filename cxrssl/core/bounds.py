"""What a setting may be: a closed range of numbers, or some words, as its declaration says.

In: the metadata of a field, a value of its type. Out: nothing, or an error that names the setting and what it may be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cxrssl.core.errors import ConfigError
from cxrssl.core.text import nearest_hint, plain

MAX_LISTED = 4
"""Options that a hint lists in full, rather than the nearest of them."""


def check_bounds(metadata: Mapping[str, Any], value: Any, name: str) -> None:
    """Raise ConfigError when the value of the setting `name`, or a part of it, is not one that it may have."""
    options = metadata.get("options", ())
    for part in value if isinstance(value, tuple) else (value,):
        if isinstance(part, str):
            if options and not any(_allows(option, part) for option in options):
                hint = _describe_options(part, options)
                raise ConfigError(f'"{name}" cannot be "{plain(part, 60)}"', hint=hint)
        elif isinstance(part, float) and not math.isfinite(part):
            raise ConfigError(f'"{name}" is {part}, which cannot be used for training')
        elif part is not None and not _is_within(metadata, part):
            raise ConfigError(f'"{name}" is {plain(part, 60)}, but must be {describe_limits(metadata)}')


def _describe_options(word: str, options: Sequence[str]) -> str:
    """Return a hint that names all options when they are few, else the nearest, and always the open ones."""
    words = [option for option in options if option and "<" not in option]
    hint = f"known: {', '.join(words)}" if len(words) <= MAX_LISTED else nearest_hint(word, words)
    return "; or ".join([hint, *(option for option in options if "<" in option)])


def _allows(option: str, word: str) -> bool:
    """Return whether a word is this option, or begins as an open one such as `timm:<name>` does."""
    start, opens, _ = option.partition("<")
    return word.startswith(start) and len(word) > len(start) if opens else word == option


def _is_within(metadata: Mapping[str, Any], number: float) -> bool:
    low, high = metadata.get("low"), metadata.get("high")
    return (low is None or number >= low) and (high is None or number <= high)


def describe_limits(metadata: Mapping[str, Any]) -> str:
    """Return the closed range of a field in words, nothing if it has none."""
    low, high = metadata.get("low"), metadata.get("high")
    if low is None or high is None:
        return "" if low is high else f"at most {high}" if low is None else f"at least {low}"
    return f"from {low} to {high}"
