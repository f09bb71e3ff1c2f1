"""Text that comes from data, made safe to show; names that come from users, matched to the nearest known one."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# Bidirectional controls and zero-width characters are of Unicode category Cf; C0, C1 and DEL of Cc.
UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def plain(value: object, max_chars: int = 500) -> str:
    """Return `value` as text without control, bidirectional or zero-width characters, cut to `max_chars`."""
    text = str(value)
    if len(text) > max_chars:
        text = text[: max_chars - 1] + "…"
    if text.isascii() and text.isprintable():
        return text
    return "".join(REPLACEMENT if unicodedata.category(char) in UNSAFE_CATEGORIES else char for char in text)


def valid(text: str) -> str:
    """Return `text` as UTF-8 can hold it: JSON and names of files may carry halves of characters."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def nearest_hint(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the nearest known name, or all of them when none is near."""
    options = sorted(known)
    close = difflib.get_close_matches(name, options, n=1)
    if close:
        return f'nearest is "{close[0]}"'
    return f"known: {', '.join(options)}"


def count_noun(num: int, noun: str) -> str:
    """Return `num` with thousands separators and the noun in the right number, such as "1,204 films"."""
    many = f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeou" else f"{noun}s"
    return f"{num:,} {noun if num == 1 else many}"


def format_bytes(num: float) -> str:
    """Return a size such as "38.6 GiB" or "9.6 MiB"."""
    return f"{num / 2**30:,.1f} GiB" if num >= 2**30 else f"{num / 2**20:,.1f} MiB"
