"""One [[feature]] of a file of declarations, checked key by key.

In: a table of TOML. Out: a Feature. Never: a key without effect. Stdlib only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, get_args

from cxrssl.cohort.feature import (
    NO,
    YES,
    Choose,
    EventSource,
    Feature,
    Known,
    Measured,
    Missing,
    Role,
    Scale,
    band_labels,
    make_edges,
)  # fmt: skip
from cxrssl.core.config import build_settings
from cxrssl.core.errors import ConfigError
from cxrssl.core.text import nearest_hint, plain

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
KINDS = ("category", "number", "repeated", "interval", "codes")
_FIXED = ("rule", "source", "bands_of", "band_width", "reveals", "censored", "most", "is_whole")
"""Keys of the features that come with the program, of columns that it reads itself."""
_MEASURED = ("choose", "sources", "count_of", "units", "range", "window_h", "stale_h", "worst", "missing")
FEATURE_KEYS = (
    *("name", "group", "kind", "role", "known", "meaning", "column", "categories", "words", "unit", "scale"),
    *_FIXED,
    *_MEASURED,
)
_CHOICES: dict[str, tuple[Choose, ...]] = {
    "number": ("count_before",),
    "repeated": ("nearest_before", "worst_before", "first_after_admission", "count_before"),
    "interval": ("at_film",),
    "codes": ("any_before", "count_before", "any_of_admission"),
}
"""Kind -> how its values may be chosen."""
_YES_OR_NO = ("any_before", "at_film", "any_of_admission")


class FeatureReader:
    """One [[feature]]."""

    def __init__(self, values: Mapping[str, Any], is_own: bool) -> None:
        self.values, self.is_own = values, is_own
        name = values.get("name", "")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ConfigError('a [[feature]] needs the key "name", a word of a-z, 0-9 and _')
        self.name, self.shown = name, f'feature "{name}"'

    def read(self) -> Feature:
        known = [key for key in FEATURE_KEYS if not (self.is_own and key in _FIXED)]
        check_keys(self.values, known, self.shown)
        kind = self._word("kind", KINDS)
        role, choose = self._word("role", get_args(Role)), self._choose(kind)
        known_when = self._known(choose)
        if role == "input" and known_when == "after":
            what = f"{self.shown} is known only after the film: it is an outcome and no input"
            raise ConfigError(what, hint='write role = "outcome"')
        group = self._text("group")
        if not NAME.fullmatch(group):
            raise ConfigError(f"{self.shown}: a group is a word of a-z, 0-9 and _")
        column = self._text("column", "") or self.name
        if not NAME.fullmatch(column):
            raise ConfigError(f"{self.shown}: a column is a word of a-z, 0-9 and _")
        edges = make_edges(self.values["band_width"]) if "bands_of" in self.values else ()
        categories = self._categories(kind, choose, edges)
        measured = self._measured(choose) if choose else None
        return Feature(
            self.name, group, role, known_when, self._text("meaning"), categories,
            column=column, source=self._text("source", ""), rule=self._text("rule", ""),
            words=self._words(), scale=self._scale(measured) if not categories else None,
            most=self.values.get("most", 0), is_whole=self.values.get("is_whole", choose == "count_before"),
            censored=self._text("censored", ""), form_of=self._text("bands_of", ""), edges=edges,
            reveals=self._text("reveals", ""), measured=measured,
        )  # fmt: skip

    def _choose(self, kind: str) -> Choose | None:
        if "choose" not in self.values and not self.is_own:
            return None
        choose: Choose = self._word("choose", get_args(Choose))
        allowed = ("nearest_before", "first_after_admission") if kind == "category" else _CHOICES[kind]
        if choose not in allowed:
            what = f'{self.shown} of kind "{kind}" cannot be chosen by "{choose}"'
            raise ConfigError(what, hint=f"choose {', '.join(allowed)}")
        return choose

    def _known(self, choose: Choose | None) -> Known:
        if choose is None:
            known: Known = self._word("known", get_args(Known))
            return known
        follows: Known = "at" if choose == "at_film" else "after" if choose == "any_of_admission" else "before"
        if self.values.get("known", follows) != follows:
            what = f'{self.shown} is chosen by "{choose}", so that it is known {follows} the film'
            raise ConfigError(what, hint=f'write known = "{follows}"')
        return follows

    def _categories(self, kind: str, choose: Choose | None, edges: tuple[int, ...]) -> tuple[str, ...]:
        if edges:
            return band_labels(edges)
        if choose in _YES_OR_NO:
            return (NO, YES)
        given = texts_of(self.values.get("categories", []), f'{self.shown}: "categories"') or tuple(self._words())
        if (kind == "category") != bool(given):
            what = "needs words" if kind == "category" else f'of kind "{kind}" takes no words'
            raise ConfigError(f"{self.shown} {what}", hint='write words = { low = ["1", "2"], high = ["3"] }')
        return given

    def _measured(self, choose: Choose) -> Measured:
        sources = tuple(self._source(each) for each in list_of(self.values, "sources"))
        count_of = texts_of(self.values.get("count_of", []), f'{self.shown}: "count_of"')
        if bool(sources) == bool(count_of):
            raise ConfigError(f'{self.shown} needs "sources", or "count_of" in place of it')
        low, high = self._range()
        unit, units = self._text("unit", ""), self._units()
        for source in sources:
            if source.unit and source.unit.lower() not in units:
                what = f'{self.shown} says nothing of the unit "{plain(source.unit, 40)}"'
                raise ConfigError(
                    what, hint=f'write units = {{ "{plain(source.unit, 40)}" = FACTOR }} to {unit or "its unit"}'
                )
        measured = Measured(
            choose, sources, count_of, unit, units, low, high, self._hours("window_h"), self._hours("stale_h"),
            self._word("worst", ("high", "low"), "high"), self._word("missing", get_args(Missing), "unknown"),
        )  # fmt: skip
        if measured.stale_h and measured.window_h and measured.stale_h > measured.window_h:
            raise ConfigError(
                f"{self.shown} becomes stale only after its window", hint="write a stale_h of at most window_h"
            )
        if measured.has_age and not (measured.stale_h or measured.window_h):
            raise ConfigError(f'{self.shown} needs "window_h", how many hours back it is looked for')
        return measured

    def _source(self, values: Mapping[str, Any]) -> EventSource:
        check_keys(values, [each.name for each in fields(EventSource)], f"sources of {self.shown}")
        plain_values = {key: value for key, value in values.items() if key not in ("items", "codes")}
        source = build_settings(EventSource, plain_values, f"sources of {self.shown}")
        items = texts_of(_write_numbers(values.get("items", [])), f'{self.shown}: "items"')
        codes = {
            version: texts_of(each, f'{self.shown}: "codes" of version {plain(version, 20)}')
            for version, each in table_of(values, "codes", self.shown).items()
        }
        if not all(each and all(code.strip(" .") for code in each) for each in codes.values()):
            raise ConfigError(f"{self.shown} has a version without codes", hint='write codes = { 10 = ["I50"] }')
        return EventSource(source.table, items, source.value, source.unit, codes)

    def _units(self) -> dict[str, tuple[float, float]]:
        units = {self._text("unit", "").lower(): (1.0, 0.0)}
        for written, rule in table_of(self.values, "units", self.shown).items():
            parts = rule if isinstance(rule, list) else [rule, 0]
            if len(parts) != 2 or not all(type(part) in (int, float) for part in parts) or not parts[0]:
                what = f'{self.shown}: the unit "{plain(written, 40)}" needs a factor, or [factor, summand]'
                raise ConfigError(
                    what, hint=f"the value times the factor plus the summand is in {self._text('unit', '?')}"
                )
            units[written.lower()] = (float(parts[0]), float(parts[1]))
        return units

    def _range(self) -> tuple[float, float]:
        ends = self.values.get("range", [float("-inf"), float("inf")])
        if (
            not isinstance(ends, list)
            or [type(end) in (int, float) for end in ends] != [True, True]
            or ends[0] >= ends[1]
        ):
            raise ConfigError(f"{self.shown} needs range = [lowest, highest]")
        return float(ends[0]), float(ends[1])

    def _scale(self, measured: Measured | None) -> Scale:
        given = table_of(self.values, "scale", self.shown)
        if given:
            check_keys(given, [each.name for each in fields(Scale)], f"scale of {self.shown}")
            scale = build_settings(Scale, given, f"scale of {self.shown}")
        elif measured and measured.high < float("inf") and measured.low > float("-inf"):
            scale = Scale(measured.low, measured.high)
        else:
            raise ConfigError(f'{self.shown} needs "range", or scale = {{ low = ..., high = ... }}')
        if scale.low >= scale.high:
            raise ConfigError(f"{self.shown}: its scale ends before it begins")
        return scale

    def _words(self) -> dict[str, tuple[str, ...]]:
        words = table_of(self.values, "words", self.shown)
        return {name: texts_of(each, f'{self.shown}: "words" of {plain(name, 40)}') for name, each in words.items()}

    def _hours(self, key: str) -> float | None:
        hours = self.values.get(key)
        if hours is None:
            return None
        if type(hours) not in (int, float) or not 0 < hours < float("inf"):
            raise ConfigError(f'{self.shown}: "{key}" must be hours above 0')
        return float(hours)

    def _text(self, key: str, default: str | None = None) -> str:
        text = self.values.get(key, default)
        if not isinstance(text, str) or (text != plain(text, 4000) and key != "rule"):
            raise ConfigError(f'{self.shown} needs the key "{key}", a text')
        return text

    def _word(self, key: str, known: Sequence[Any], default: Any = None) -> Any:
        word = self.values.get(key, default)
        if word is None:
            raise ConfigError(f'{self.shown} needs the key "{key}"', hint=f"one of {', '.join(known)}")
        if word not in known:
            raise ConfigError(
                f'{self.shown}: "{key}" cannot be "{plain(str(word), 40)}"', hint=nearest_hint(str(word), known)
            )
        return word


def _write_numbers(given: Any) -> Any:
    """Return a list with its whole numbers as texts: an itemid is written either way."""
    return [str(each) if type(each) is int else each for each in given] if isinstance(given, list) else given


def texts_of(given: Any, what: str) -> tuple[str, ...]:
    """Return a list of texts, or raise ConfigError: one text alone would be taken for its letters."""
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise ConfigError(f"{what} must be a list of texts", hint='write ["...", "..."]')
    return tuple(given)


def table_of(values: Mapping[str, Any], key: str, shown: str) -> Mapping[str, Any]:
    """Return the table of a key, empty where it is left out, or raise ConfigError."""
    table = values.get(key, {})
    if not isinstance(table, Mapping):
        raise ConfigError(f'{shown}: "{key}" must be a table', hint=f"write {key} = {{ ... = ... }}")
    return table


def list_of(values: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    tables = values.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise ConfigError(f'"{key}" must be written as [[{key}]]')
    return tables


def check_keys(values: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in values:
        if key not in known:
            raise ConfigError(f'unknown key "{plain(key, 60)}" in {where}', hint=nearest_hint(key, known))
