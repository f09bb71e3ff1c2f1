"""Tracebacks without what the data said: types, places and source lines, and of each message its plain words.

In: an exception, with those that led to it. Out: text. Never: a value, an id, a date, or a name of a file.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator

LEFT_OUT = "…"
HEADER = f"cxrssl: this is where the bug is. {LEFT_OUT} replaces what may have come from data.\n\n"
_QUOTED = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|`[^`\n]*`")
_OTHER = re.compile(r"[^\s,:;()]*[^a-z_\s.,:;()][^\s,:;()]*")
"""A word with anything but small letters in it: a number, a name, a path."""


def format_error(error: BaseException) -> str:
    """Return the traceback of an exception and of those that led to it, the first first."""
    return HEADER + "\n".join(_list_parts(error, set()))


def _list_parts(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    for other in (before, *(error.exceptions if isinstance(error, BaseExceptionGroup) else ())):
        if other is not None and id(other) not in seen:
            yield from _list_parts(other, seen)
    places = "".join(traceback.format_tb(error.__traceback__))
    yield f"Traceback (most recent call last):\n{places}{type(error).__name__}: {mask_values(_message_of(error))}\n"


def mask_values(text: str) -> str:
    """Return a message in which everything that may be a value is left out, and nothing but words is kept."""
    return re.sub(rf"{LEFT_OUT}+", LEFT_OUT, _OTHER.sub(LEFT_OUT, _QUOTED.sub(LEFT_OUT, text)))


def _message_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return ""
