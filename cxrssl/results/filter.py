"""The filter language for runs: words, `field:value`, comparisons, AND by juxtaposition, OR, NOT, parentheses.

In: text that a person typed, and rows of values by field. Out: a Filter that says of a row whether it matches; words
that complete the text. Never: duckdb, polars, typer or textual; a comparison that holds for a value that is not known.

    state:running ehr:stay auroc>0.75 base        # all of them
    (seed:0 OR seed:1) NOT tag:old train.lr>=1e-3
"""

from __future__ import annotations

import fnmatch
import math
import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from cxrssl.core.errors import UsageError
from cxrssl.core.text import nearest_hint, plain

Value = str | float | bool | tuple[str, ...] | None
"""A word, a number, yes or no, or several words; what is not known is None or left out. No name of a field has a space.
"""
Row = Mapping[str, Value]
TEXT_FIELDS = ("run", "tag", "note")
"""Where a word without a field is looked for."""
HINT = "such as: state:running ehr:stay auroc>0.75 base"
UNITS = {"": 1.0, "%": 0.01, "k": 1e3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TOKEN = re.compile(r'\s*(?:(?P<paren>[()])|(?P<word>(?:"[^"]*"?|[^\s()"])+))')
_TERM = re.compile(r'(?P<field>[^\s:<>=!"]+)(?P<op>:|!=|<=|>=|<|>|=)(?P<value>.*)', re.DOTALL)
_NUMBER = re.compile(r"([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)(%|[ksmhd]?)")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Filter:
    """What a person asked for."""

    text: str
    fields: frozenset[str]
    """All that are named."""
    matches: Callable[[Row], bool]


def parse_filter(text: str, known: Collection[str] = ()) -> Filter:
    """Return the filter that `text` is; an empty one matches all. `known` are the fields that any row may have.

    Raises: UsageError for text that is no filter, and for a field that is not known.
    """
    parser = _Parser(text, frozenset(known))
    return Filter(text, frozenset(parser.fields), parser.matches)


def complete_filter(text: str, values: Mapping[str, Collection[str]], most: int = 20) -> list[str]:
    """Return whole texts that `text` may become: its last word made a field, or a value of one.

    `values` are the words by field that occur; none for a field of numbers: see `field_values`.
    """
    head, last = _split_last(text)
    if found := _TERM.fullmatch(last):
        field, op, begun = found["field"], found["op"], found["value"].strip('"')
        words = sorted(values.get(field, ()))
        ends = [f"{field}{op}{_quote(word)}" for word in words if word.casefold().startswith(begun.casefold())]
    else:
        ends = [name + (":" if values[name] else ">") for name in sorted(values) if name.startswith(last)]
    return [head + end for end in ends[:most]]


def field_values(rows: Iterable[Row]) -> dict[str, set[str]]:
    """Return the words that occur in rows by field; none for numbers."""
    values: dict[str, set[str]] = {}
    for row in rows:
        for field, value in row.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            values.setdefault(field, set()).update(() if is_number else _words(value))
    return values


class _Parser:
    """Recursive descent over: any = all {OR all}; all = not {not}; not = NOT not | ( any ) | term."""

    def __init__(self, text: str, known: frozenset[str]) -> None:
        self._tokens = _split(text)
        self._at = 0
        self._known = {name.casefold(): name for name in known} | {name: name for name in known}
        self.fields: set[str] = set()
        self.matches: Callable[[Row], bool] = self._any() if self._tokens else lambda row: True
        if self._at < len(self._tokens):
            raise UsageError('a ")" closes nothing', hint=HINT)

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _any(self) -> Callable[[Row], bool]:
        parts = [self._all()]
        while self._peek() == "OR":
            self._at += 1
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else lambda row: any(part(row) for part in parts)

    def _all(self) -> Callable[[Row], bool]:
        parts = []
        while (token := self._peek()) and token not in ("OR", ")"):
            if token == "AND":
                self._at += 1
                continue
            parts.append(self._not())
        if not parts:
            raise UsageError(f"the filter lacks a term {_place(self._peek())}", hint=HINT)
        return parts[0] if len(parts) == 1 else lambda row: all(part(row) for part in parts)

    def _not(self) -> Callable[[Row], bool]:
        token = self._peek()
        self._at += 1
        if token == "NOT":
            if self._peek() in ("", "OR", ")"):
                raise UsageError("the filter lacks a term after NOT", hint=HINT)
            inner = self._not()
            return lambda row: not inner(row)
        if token == "(":
            inner = self._any()
            if self._peek() != ")":
                raise UsageError('a "(" of the filter is not closed', hint=HINT)
            self._at += 1
            return inner
        return self._term(token)

    def _term(self, token: str) -> Callable[[Row], bool]:
        found = _TERM.fullmatch(token)
        if not found or token.startswith('"'):
            part = token.replace('"', "").casefold()
            return lambda row: any(part in word.casefold() for key in TEXT_FIELDS for word in _words(row.get(key)))
        field, op, value = found["field"], found["op"], found["value"].replace('"', "")
        if self._known:
            field = self._known.get(field) or self._known.get(field.casefold()) or self._refuse(field)
        self.fields.add(field)
        if op in _COMPARE:
            return _compare(field, _COMPARE[op], _read_number(field, op, value))
        if op == "!=":
            equal = _equals(field, value)
            return lambda row: row.get(field) is not None and not equal(row)
        return _equals(field, value) if op == "=" else _resembles(field, value)

    def _refuse(self, field: str) -> str:
        known = nearest_hint(field, [*self._known.values()])
        hint = known if known.startswith("nearest") else HINT
        raise UsageError(f'runs have no field "{plain(field, 60)}"', hint=hint)


def _split(text: str) -> list[str]:
    return [found["paren"] or found["word"] for found in _TOKEN.finditer(text)]


def _split_last(text: str) -> tuple[str, str]:
    """Return what stands before the last word, and the last word, which may be empty."""
    if not text or text[-1].isspace() or text[-1] in "()":
        return text, ""
    last = _split(text)[-1]
    return text[: len(text) - len(last)], last


def _place(token: str) -> str:
    return f'before "{token}"' if token else "at its end"


def _words(value: Value) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, tuple):
        return value
    if isinstance(value, bool):
        return ("yes" if value else "no",)
    return (value if isinstance(value, str) else f"{value:g}",)


def _number(value: Value) -> float:
    """Return a number, nan for anything else."""
    return math.nan if value is None or isinstance(value, bool | str | tuple) else float(value)


def _quote(word: str) -> str:
    return f'"{word}"' if re.search(r"[\s()]", word) else word


def _read_number(field: str, op: str, text: str) -> float:
    found = _NUMBER.fullmatch(text.strip())
    if not found:
        raise UsageError(f'"{plain(field + op + text, 60)}" compares with no number', hint=HINT)
    return float(found[1]) * UNITS[found[2]]


def _compare(field: str, holds: Callable[[float, float], bool], limit: float) -> Callable[[Row], bool]:
    return lambda row: holds(_number(row.get(field)), limit)  # no comparison holds for nan


def _equals(field: str, wanted: str) -> Callable[[Row], bool]:
    found = _NUMBER.fullmatch(wanted.strip())
    limit = float(found[1]) * UNITS[found[2]] if found else math.nan

    def matches(row: Row) -> bool:
        value = row.get(field)
        if not math.isnan(number := _number(value)):
            return number == limit
        return any(word.casefold() == wanted.casefold() for word in _words(value))

    return matches


def _resembles(field: str, wanted: str) -> Callable[[Row], bool]:
    """A word that contains the wanted one, or is as its * and ? say; a number that equals it."""
    equal, pattern = _equals(field, wanted), wanted.casefold()
    has_signs = "*" in pattern or "?" in pattern

    def matches(row: Row) -> bool:
        value = row.get(field)
        if not math.isnan(_number(value)) or (isinstance(value, tuple) and not has_signs):
            return equal(row)
        words = [word.casefold() for word in _words(value)]
        return any(fnmatch.fnmatchcase(word, pattern) if has_signs else pattern in word for word in words)

    return matches
