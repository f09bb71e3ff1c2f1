"""A condition on films without values that may name a person, for what is made to be shared and for messages.

In: a condition in SQL, as a user wrote it. Out: its columns and operators, and of its values short words and numbers.
Never: a value that is compared where a column identifies, one that looks like an id or a date, a remark.
"""

from __future__ import annotations

import re

VALUE = "…"
"""Stands for a value that is not shown."""
WHOLE = "(a condition that is not shown)"
_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<text>'(?:[^']|'')*')|(?P<number>(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?!\w))"
    r'|(?P<name>[A-Za-z_]\w*|"[^"]+")|(?P<sign><=|>=|<>|!=|==|\|\||::|[=<>+\-*/%(),.\[\]])',
    re.ASCII,
)
_IDENTIFIES = re.compile(r"(^|_)(u?ids?|mrn|name|path|key|hash|sha256|dates?|time|at)$|accession|patient|subject")
"""Names of columns whose values tell a person, a film or a moment."""
_WORD = re.compile(r"'[A-Za-z]+(?:[ _-][A-Za-z]+){0,2}'")
_NUMBER = re.compile(r"\d{0,3}(?:\.\d{0,3})?")
_DIGITS = re.compile(r"\d{3}")
MAX_WORD = 24


def hide_values(condition: str) -> str:
    """Return the condition with VALUE for each value that may identify; WHOLE where it is not plain SQL."""
    tokens = _split(condition)
    if tokens is None:
        return WHOLE
    names = [text.strip('"') for kind, text in tokens if kind == "name"]
    if any(_DIGITS.search(name) for name in names):
        return WHOLE
    is_identifying = any(_IDENTIFIES.search(name.lower()) for name in names)
    return "".join(
        VALUE if kind in ("text", "number") and (is_identifying or not _is_harmless(kind, text)) else text
        for kind, text in tokens
    )


def _split(condition: str) -> list[tuple[str, str]] | None:
    """Return kind and text of each token; None where there is a remark, or anything unknown."""
    if "--" in condition or "/*" in condition:
        return None
    tokens, at = [], 0
    while at < len(condition):
        found = _TOKEN.match(condition, at)
        if found is None:
            return None
        tokens.append((str(found.lastgroup), found[0]))
        at = found.end()
    return tokens


def _is_harmless(kind: str, text: str) -> bool:
    if kind == "number":
        return _NUMBER.fullmatch(text) is not None
    return len(text) <= MAX_WORD and _WORD.fullmatch(text) is not None
