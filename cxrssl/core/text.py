"""Text that comes from data, made safe to show; names that come from users, matched to the nearest known one."""

from __future__ import annotations

import difflib
import json
import re
import shlex
import sys
import unicodedata
from collections.abc import Iterable
from typing import Any

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# Bidirectional controls and zero-width characters are of Unicode category Cf; C0, C1 and DEL of Cc.
UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_FORMULA = re.compile(r"['\t\r\n]|\s*[=+\-@＝＋－＠]")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_LINE_MAKERS = {ord("\n"): None, ord("\t"): None}


def plain(value: object, max_chars: int = 500) -> str:
    """Return `value` as text without control, bidirectional or zero-width characters, cut to `max_chars`."""
    text = str(value)
    if len(text) > max_chars:
        text = text[: max_chars - 1] + "…"
    return text if text.isascii() and text.isprintable() else "".join(map(_plain_char, text))


def shell_word(value: object) -> str:
    """Return `value` as one word of a command that can be copied into bash or zsh: whole, quoted where needed.

    A character that is not safe to show is written by its bytes, as $'\\x07'.
    """
    text = str(value)
    if all(_plain_char(char) == char for char in text):
        return shlex.quote(text)
    return "$'" + "".join(map(_escape_char, text)) + "'"


def plain_lines(text: str) -> str:
    """Return text of many lines without control characters other than line feeds and tabs."""
    if text.isascii() and text.translate(_LINE_MAKERS).isprintable():
        return text
    return "".join(char if char in "\n\t" else _plain_char(char) for char in text)


def _plain_char(char: str) -> str:
    is_unsafe = unicodedata.category(char) in UNSAFE_CATEGORIES or _is_noncharacter(ord(char))
    return REPLACEMENT if is_unsafe else char


def _escape_char(char: str) -> str:
    if char in "\\'":
        return "\\" + char
    if _plain_char(char) == char:
        return char
    is_byte = 0xDC80 <= ord(char) <= 0xDCFF  # a byte of a file's name that is no UTF-8 (PEP 383)
    data = char.encode("utf-8", "surrogateescape" if is_byte else "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in data)


def _is_noncharacter(code: int) -> bool:
    """Return whether Unicode assigns nothing to this code for ever; XML forbids two of them."""
    return code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF


def csv_text(text: str) -> str:
    """Return text as a cell of CSV: plain, and with ' before what a spreadsheet would run as a formula.

    Source: OWASP, CSV Injection. Text that is a number stays; text that begins with ' gets one more, so that the
    rule can be undone.
    """
    return escape_formula(plain(text, sys.maxsize))


def escape_formula(text: str) -> str:
    """Return text with ' before it if a spreadsheet would run it; `from_csv_text` undoes it."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def from_csv_text(cell: str) -> str:
    """Return the text that `escape_formula` was given."""
    return cell.removeprefix("'")


def dump_json(value: Any, indent: int | None = None) -> str:
    """Return JSON in printable ASCII, whatever its texts hold; what JSON lacks is written as text."""
    return json.dumps(value, indent=indent, default=str, allow_nan=False).replace("", "\u007f")


def valid(text: str) -> str:
    """Return `text` as UTF-8 can hold it: JSON and names of files may carry halves of characters."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def nearest_hint(name: str, known: Iterable[str], most: int = 30) -> str:
    """Return a hint that names the nearest known name; when none is near all of them, or a few of more than `most`."""
    options = sorted(known)
    close = difflib.get_close_matches(name, options, n=1)
    if close:
        return f'nearest is "{close[0]}"'
    return f"known: {', '.join(options) if len(options) <= most else few_nearest(name, options)}"


def few_nearest(name: str, known: Iterable[str], num: int = 3) -> str:
    """Return the nearest of many names, such as the ids of runs, nearest first, and how many more there are."""
    options = sorted(known)
    begins = [each for each in options if name and each.startswith(name)]
    close = dict.fromkeys([*begins, *difflib.get_close_matches(name, options, n=num, cutoff=0.0)])
    shown = ", ".join(list(close)[:num])
    return f"{shown} and {len(options) - num:,} more" if len(options) > num else shown


def count_noun(num: int, noun: str) -> str:
    """Return `num` with thousands separators and the noun in the right number, such as "1,204 films"."""
    many = f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeou" else f"{noun}s"
    shown = f"{num:,}"  # a count that is hidden must not be told by its noun
    return f"{shown} {noun if shown == '1' else many}"


def format_bytes(num: float) -> str:
    """Return a size such as "38.6 GiB" or "9.6 MiB"."""
    return f"{num / 2**30:,.1f} GiB" if num >= 2**30 else f"{num / 2**20:,.1f} MiB"
