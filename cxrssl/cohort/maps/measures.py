"""Repeated measures of a map's tables, long or wide, as events from which a value is chosen for each film.

In: [[measures]] and [[feature]]. Out: declared features whose sources are the map's, and the rows of these sources in
the form of cohort/events/stage. Never: a value of after the film, or a unit that the feature does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from cxrssl.cohort.events.asked import Asked
from cxrssl.cohort.events.fill import Chosen, OwnEvents
from cxrssl.cohort.events.stage import LIMIT
from cxrssl.cohort.feature import EventSource, EventTable, Feature
from cxrssl.cohort.features import OPTIONAL, TABLES, declare, known_names
from cxrssl.cohort.maps.declared import MeasureMap, MeasureSource, RecordMap
from cxrssl.cohort.maps.moments import Timed, read_rows, take_moments
from cxrssl.cohort.maps.parse import read_map
from cxrssl.cohort.maps.parse_times import check_measured, find_owner
from cxrssl.cohort.maps.tables import own, table_name
from cxrssl.cohort.tables.table import SourceTable
from cxrssl.core.errors import ConfigError, DataError
from cxrssl.core.text import plain

STAGED = ("subject", "stay", "time", "stored", "until", "item", "version", "unit", "limit", "value value")


def own_features(path: Path, cohort: Path) -> Asked | None:
    """Return the measured features of a map for a cohort in this folder, or None where it has none.

    Of a group of the program's, all features are returned: those that the map does not name are unknown.

    Raises: ConfigError.
    """
    record_map = read_map(path)
    if not (record_map.measures or record_map.declared):
        return None
    try:
        return _own_features(record_map, path, cohort)
    except ConfigError as error:
        raise ConfigError(error.what, error.where or path, error.hint) from None


def _own_features(record_map: RecordMap, path: Path, cohort: Path) -> Asked:
    tables = {f"map_{number}": _event_table(number, each) for number, each in enumerate(record_map.measures)}
    sources: dict[str, list[EventSource]] = {}
    for number, each in enumerate(record_map.measures):
        for name, source in each.features.items():
            sources.setdefault(name, []).append(EventSource(f"map_{number}", (name,), unit=source.unit))
    values = _declarations(record_map, tables, sources)
    own = {each.name: each for each in declare(values, path, cohort.absolute()).features}
    for each in record_map.measures:
        for name, source in each.features.items():
            check_measured(name, find_owner(name, own), source, each)
    groups = {find_owner(name, own).group for name in sources if name not in own}
    features = dict(own)
    for feature in OPTIONAL:
        if feature.group in groups:
            assert feature.measured is not None
            bound = tuple(sources.get(feature.name, ()))
            measured = replace(feature.measured, sources=bound or feature.measured.sources)
            features[feature.name] = replace(feature, measured=measured)
    order = [name for name in known_names() if name in features]
    return Asked(Chosen(tuple(features[name] for name in order), {**TABLES, **tables}), values)


def _event_table(number: int, table: MeasureMap) -> EventTable:
    stored, until, unit = (key if getattr(table, key) else "" for key in ("stored", "until", "unit"))
    return EventTable(
        f"map_{number}", f"map/measures_{number}", "time", item="item", value="value",
        stored=stored, until=until, unit=unit,
    )  # fmt: skip


def _declarations(
    record_map: RecordMap, tables: dict[str, EventTable], sources: dict[str, list[EventSource]]
) -> dict[str, Any]:
    """Return [[feature]] of the map with the sources that [[measures]] gives them, in the form of `--features FILE`."""
    features = []
    for given in record_map.declared:
        name = str(given.get("name", ""))
        if "sources" in given:
            raise ConfigError(f'feature "{plain(name, 60)}" has sources', hint="name it in [measures.features] instead")
        if "count_of" not in given and name not in sources:
            what = f'feature "{plain(name, 60)}" is declared, and no [measures.features] names it'
            raise ConfigError(what, hint=f'write {plain(name, 60)} = "COLUMN" there')
        of_feature = [
            {"table": each.table, "items": list(each.items), **({"unit": each.unit} if each.unit else {})}
            for each in sources.get(name, [])
        ]
        features.append({**given, **({"sources": of_feature} if of_feature else {})})
    used = {each["table"] for given in features for each in given.get("sources", [])}
    declared = [
        {key: value for key, value in vars(table).items() if value and key != "subject"}
        for name, table in tables.items()
        if name in used
    ]
    return {"table": declared, "feature": features} if features else {}


def read_events(timed: Timed, record_map: RecordMap, said: pl.DataFrame) -> tuple[OwnEvents, list[SourceTable]]:
    """Return the rows of all measures, and of each film whose rows are its own and its moment; and the tables read.

    `said` has since_admission_h where it is known.

    Raises: DataError for an input whose values are all of after the film.
    """
    at = timed.moments()
    by_film = any(not each.file or each.key != "patient" for each in record_map.measures)
    owner = timed.image["image_id" if by_film else "subject_id"]
    since = said["since_admission_h"] if "since_admission_h" in said.columns else pl.Series([None] * len(at))
    films = pl.DataFrame({"image_id": timed.image["image_id"], "owner": owner, "taken_at": at})
    since_us = (since.cast(pl.Float64) * 3.6e9).round().cast(pl.Int64)
    in_icu = (said["icu"] == "icu") if "icu" in said.columns else pl.Series([None] * len(at), dtype=pl.Boolean)
    films = films.with_columns((at - since_us.cast(pl.Duration("us"))).alias("admittime"), in_icu.alias("in_icu"))
    rows, others = {}, []
    for number, each in enumerate(record_map.measures):
        table, ids = read_rows(timed, each, table_name("measures", number), measure_columns(each))
        if each.file:
            others.append(table)
        staged = pl.concat([_stage(timed, table, each, name, source) for name, source in each.features.items()])
        pairs = pl.DataFrame({"id": ids, "subject": owner}).drop_nulls().unique()
        rows[f"map_{number}"] = staged.join(pairs, "id", "inner").select(STAGED)
    return OwnEvents(films, rows), others


def measure_columns(table: MeasureMap) -> list[str]:
    """Return the columns that are read."""
    names = [table.time, table.stored, table.until, table.item, table.value, table.unit]
    names += [each for source in table.features.values() for each in (source.value, source.time)]
    return [name for name in dict.fromkeys(names) if name]


def _stage(timed: Timed, table: SourceTable, place: MeasureMap, name: str, source: MeasureSource) -> pl.DataFrame:
    """Return the rows of one feature as events, the times of cells that are none unknown."""
    frame = table.frame
    is_own = frame[own(place.item)].is_in(source.items) if place.item else pl.Series([True] * frame.height)
    if place.item and frame.height and not is_own.any():
        shown = ", ".join(f'"{plain(item, 30)}"' for item in source.items)
        what = f'{table.file}: no row has {shown} in "{plain(place.item, 60)}", as {name} is named in the map'
        raise DataError(what, hint="check how the table writes it")
    column = source.value or place.value
    value = frame[own(column)] if column else pl.Series(["1"] * frame.height)
    times = {"time": source.time or place.time, "stored": place.stored, "until": place.until}
    moments = {
        key: take_moments(table, each, timed.time)
        if each
        else pl.Series([None] * frame.height, dtype=pl.Datetime("us"))
        for key, each in times.items()
    }
    number = pl.col("value").cast(pl.Float64, strict=False)
    low, high = source.limits or (None, None)
    limit = (
        pl.when(number == float("-inf")).then(pl.lit(low, pl.Float64))
        .when(number == float("inf")).then(pl.lit(high, pl.Float64))
        .otherwise(pl.col("value").str.extract(LIMIT).cast(pl.Float64, strict=False))
    )  # fmt: skip
    events = pl.DataFrame({"id": frame["id"], "value": value, **moments}).with_columns(
        (limit * source.factor).alias("limit"),
        pl.when(limit.is_not_null())
        .then(None)
        .when(number.is_not_null())
        .then((number * source.factor).cast(pl.String))
        .otherwise("value")
        .alias("value value"),
        pl.lit(name).alias("item"),
        (frame[own(place.unit)].str.to_lowercase() if place.unit else pl.lit(None, pl.String)).alias("unit"),
        *(pl.lit(None, pl.String).alias(key) for key in ("stay", "version")),
    )
    # In a wide table a blank cell is no result; a blank value of a long one breaks a rule.
    is_result = is_own if place.item else value.is_not_null()
    return events.filter(is_result).drop("value")


def check_inputs(features: Sequence[Feature], events: OwnEvents) -> None:
    """Raise ConfigError for an input whose values are all of after the films: it is an outcome by its time."""
    last = events.films.group_by("owner").agg(pl.col("taken_at").max())
    for feature in features:
        tables = [source.table for source in feature.measured.sources] if feature.measured else []
        parts = [events.rows[name].filter(pl.col("item") == feature.name) for name in tables if name in events.rows]
        if feature.role != "input" or not parts:
            continue
        rows = pl.concat(parts).drop_nulls("time").join(last, left_on="subject", right_on="owner")
        if rows.height and rows.filter(pl.col("time") <= pl.col("taken_at")).is_empty():
            what = f'feature "{feature.name}" is an outcome by its time: all its values are of after the films'
            raise ConfigError(what, hint='leave it out, or write role = "outcome"')
