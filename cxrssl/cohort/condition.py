"""A condition on films without values that may name a person, for what is made to be shared and for messages.

In: a condition in SQL, as a user wrote it. Out: the same where all of it is known to be harmless, else its columns and
operators, else nothing. Never: a value that is compared with a column that this program does not know itself, a word
that is no category of a column that is named, a number that may be an id or an age of 90 and more, a remark.
"""

from __future__ import annotations

import re
from itertools import pairwise

from cxrssl.cohort.features import BUILT_IN

VALUE = "…"
"""Replaces a value that is not shown."""
WHOLE = "(a condition that is not shown)"
AGE = "age_y"
HIDDEN_AGE = 90
"""The age from which none is shown. Source: 45 CFR 164.514(b)(2)(i)(C)."""
_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<text>'(?:[^']|'')*')|(?P<number>\d+(?:\.\d+)?(?![\w.]))|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign><=|>=|<>|!=|[=<>(),])",
    re.ASCII,
)
"""No arithmetic, cast, star, index or quoted name: what those make of a value is not seen in the value."""
_KEYWORDS = frozenset({"and", "or", "not", "in", "between", "is", "like"})
_CONSTANTS = frozenset({"null", "true", "false"})
_OPERANDS = ("text", "number", "name", "constant")
_MAX_DIGITS, _MAX_NAME = 3, 60
_SPLITS = ("train", "val", "test")
_WORDS: dict[str, tuple[str, ...]] = {
    **{each.column: each.categories for each in BUILT_IN.features if not each.form_of},
    **{f"split_{kind}": _SPLITS for kind in ("official", "hash", "icu", "file")},
    "link_status": ("in_icu", "in_stay", "in_ed", "before_stay", "no_admission", "pre_admission", "post_discharge"),
}
"""Column of the view `film` -> words that are shown beside it."""
_NUMBERS = frozenset({
    "gap_h",
    *(each.column for each in BUILT_IN.features if not each.categories),
    *(each.age_column for each in BUILT_IN.features if each.has_age),
})  # fmt: skip
"""Columns of the view `film` beside which short numbers are shown."""
_FLAGS = frozenset(each.censored for each in BUILT_IN.features if each.censored)
_HARMLESS = _NUMBERS | _FLAGS | _WORDS.keys()


def hide_values(condition: str) -> str:
    """Return the condition; with VALUE for each value unless all are harmless; WHOLE where it is not of plain terms."""
    tokens = _split(condition)
    if tokens is None or not _is_plain([token for token in tokens if token[0] != "space"]):
        return WHOLE
    if _is_harmless(tokens):
        return condition
    return "".join(VALUE if kind in ("text", "number") else text for kind, text in tokens)


def _split(condition: str) -> list[tuple[str, str]] | None:
    """Return kind and text of each token; None where there is anything unknown, such as a remark."""
    tokens, at = [], 0
    while at < len(condition):
        found = _TOKEN.match(condition, at)
        if found is None:
            return None
        kind, word = str(found.lastgroup), found[0].lower()
        kind = "keyword" if word in _KEYWORDS else "constant" if word in _CONSTANTS else kind
        tokens.append((kind, found[0]))
        at = found.end()
    return tokens


def _is_plain(tokens: list[tuple[str, str]]) -> bool:
    """Return whether there is no function, query or literal with a type, and no name that holds a number."""
    for (kind, _), (next_kind, next_text) in pairwise(tokens):
        is_call = kind in _OPERANDS and next_text == "("
        if is_call or (kind in _OPERANDS and next_kind in _OPERANDS):
            return False
    names = [text for kind, text in tokens if kind == "name"]
    return all(_count_digits(name) < _MAX_DIGITS and len(name) <= _MAX_NAME for name in names)


def _is_harmless(tokens: list[tuple[str, str]]) -> bool:
    names = {text.lower() for kind, text in tokens if kind == "name"}
    words = {word.lower() for name in names for word in _WORDS.get(name, ())}
    numbers = [text for kind, text in tokens if kind == "number"]
    is_age = AGE in names
    return (
        names <= _HARMLESS
        and all(text[1:-1].lower() in words for kind, text in tokens if kind == "text")
        and (not numbers or not names.isdisjoint(_NUMBERS))
        and all(_count_digits(text) <= _MAX_DIGITS for text in numbers)
        and not (is_age and any(float(text) >= HIDDEN_AGE for text in numbers))
    )


def _count_digits(text: str) -> int:
    return sum(each.isdecimal() for each in text)
