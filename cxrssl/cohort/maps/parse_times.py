"""[admission], [icu], [[measures]] and [[feature]] of a map: intervals, repeated measures, features of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from cxrssl.cohort.feature import Feature
from cxrssl.cohort.features import OPTIONAL
from cxrssl.cohort.maps.declared import MeasureMap, MeasureSource, SpanMap, TimeMap
from cxrssl.cohort.maps.values import as_table, check_keys
from cxrssl.core.config import build_settings
from cxrssl.core.errors import ConfigError
from cxrssl.core.text import nearest_hint, plain

BY_FILM = ("image", "file")
BUILT_IN: dict[str, Feature] = {feature.name: feature for feature in OPTIONAL}
"""Measured features that come with the program, by name."""


def check_place(place: Any, name: str, time: TimeMap) -> None:
    """Raise ConfigError if a table with times is named by half, or its ids are not those that its times need."""
    if bool(place.file) != bool(place.column):
        key = "column" if place.file else "file"
        raise ConfigError(f'[{name}] needs the key "{key}"')
    if place.file and time.unit and time.zero == "film" and place.key not in BY_FILM:
        what = f"[{name}] has times that are counted from a film, and ids of {place.key}"
        raise ConfigError(what, hint='write key = "image" or "file", or zero = "patient" in [time]')


def build_span(values: dict[str, Any], name: str, time: TimeMap) -> SpanMap:
    """Return [admission] or [icu]."""
    span = build_settings(SpanMap, values, name)
    check_place(span, name, time)
    for key in ("start", *(("end",) if name == "icu" else ())):
        if not getattr(span, key):
            raise ConfigError(f'[{name}] needs the key "{key}"')
    return span


def build_measures(values: dict[str, Any], time: TimeMap) -> MeasureMap:
    """Return one [[measures]]."""
    given = as_table(values.pop("features", {}), "measures.features")
    check_keys(values, [each.name for each in fields(MeasureMap)], "measures")
    table = build_settings(MeasureMap, values, "measures")
    check_place(table, "measures", time)
    if not given:
        hint = 'write [measures.features] and a line such as crp = "column"'
        raise ConfigError("[[measures]] names no feature", hint=hint)
    features = {name: _build_source(name, each, table) for name, each in given.items()}
    return MeasureMap(**{**vars(table), "features": features})


def _build_source(name: str, given: Any, table: MeasureMap) -> MeasureSource:
    where = f"measures.features.{plain(name, 60)}"
    if isinstance(given, str):
        given = {"items": [given]} if table.item else {"value": given}
    elif isinstance(given, list):
        given = {"items": given}
    source = build_settings(MeasureSource, as_table(given, where), where)
    if source.items and not table.item:
        raise ConfigError(f'[{where}] names items, and [[measures]] has no key "item"', hint='write item = "COLUMN"')
    if table.item and not source.items:
        raise ConfigError(f'[{where}] needs items, cells of "{plain(table.item, 60)}"', hint='write ["..."]')
    if not (source.time or table.time):
        raise ConfigError(f'[{where}] needs the key "time"', hint="there, or for all features in [[measures]]")
    if source.limits and (len(source.limits) != 2 or source.limits[0] >= source.limits[1]):
        raise ConfigError(f"[{where}] needs limits = [lowest, highest]")
    return source


def check_measured(name: str, feature: Feature, source: MeasureSource, table: MeasureMap) -> None:
    """Raise ConfigError for a unit that the feature does not know, or a value that it needs and lacks."""
    assert feature.measured is not None
    units, where = feature.measured.units, f"measures.features.{name}"
    if feature.measured.choose in ("nearest_before", "worst_before", "first_after_admission"):
        if not (source.value or table.value):
            raise ConfigError(f'[{where}] needs the key "value"', hint="the column of its values")
        if not feature.categories and not table.unit and source.unit.lower() not in units:
            said = f'has the unit "{plain(source.unit, 40)}"' if source.unit else "needs a unit"
            known = ", ".join(f'"{unit}"' for unit in units)
            hint = f"{name} is known in {known}; of another unit, give the factor to one of these"
            raise ConfigError(f"[{where}] {said}", hint=hint)
    if feature.measured.choose == "at_film" and not table.until:
        raise ConfigError(f'[{where}] is an interval, and [[measures]] has no key "until"')


def find_owner(name: str, own: Mapping[str, Feature]) -> Feature:
    """Return the measured feature of this name: the map's own, or one that comes with the program.

    Raises: ConfigError that names the nearest.
    """
    feature = own.get(name) or BUILT_IN.get(name)
    if feature is None:
        hint = f"{nearest_hint(name, [*own, *BUILT_IN])}; [[feature]] declares one of your own"
        raise ConfigError(f'there is no measured feature "{plain(name, 60)}"', hint=hint)
    return feature
