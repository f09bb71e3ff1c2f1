"""A map from its TOML, checked key by key.

In: a TOML. Out: a RecordMap. Never: a key without effect, or a word whose meaning the TOML does not state.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from cxrssl.cohort.feature import Feature
from cxrssl.cohort.features import GIVEN, RECORDED
from cxrssl.cohort.maps.declared import EhrMap, FeatureMap, FilmsMap, JoinMap, RecordMap, TimeMap
from cxrssl.cohort.maps.parse_labels import build_labels
from cxrssl.cohort.maps.parse_times import build_measures, build_span
from cxrssl.cohort.maps.values import as_table, as_tables, cells_of, check_keys, text_of
from cxrssl.core.config import build_settings, read_toml
from cxrssl.core.errors import ConfigError
from cxrssl.core.text import nearest_hint, plain

FEATURES: dict[str, Feature] = {feature.column: feature for feature in GIVEN}
"""Column -> feature that a table may give of any dataset."""
OF_FILMS: dict[str, Feature] = {feature.column: feature for feature in RECORDED}
"""The same, with view and position: those of the films of a folder."""
SIMPLE = ("body_part", "ids", "collection")
NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
SECTIONS = (
    "body_part",
    "ids",
    "collection",
    "films",
    "time",
    "labels",
    "ehr",
    "admission",
    "icu",
    "measures",
    "feature",
)


def read_map(path: Path) -> RecordMap:
    """Return the content of the TOML at `path`.

    Raises: ConfigError for an unknown key, feature or word, naming the nearest.
    """
    try:
        return _build_map(read_toml(path))
    except ConfigError as error:
        raise ConfigError(error.what, path, error.hint) from None


def _build_map(values: dict[str, Any]) -> RecordMap:
    check_keys(values, SECTIONS, "")
    simple = build_settings(RecordMap, {key: values[key] for key in SIMPLE if key in values})
    if simple.collection and not NAME.fullmatch(simple.collection):
        raise ConfigError('"collection" must be a word of a-z, 0-9, _ and -')
    films = _build_films(as_table(values["films"], "films")) if "films" in values else None
    is_folder = films is not None
    time = build_settings(TimeMap, as_table(values.get("time", {}), "time"), "time")
    if films and films.taken and time.unit and time.zero == "film":
        what = '"films.taken" cannot be counted from the film itself'
        raise ConfigError(what, hint='write zero = "patient" in [time], or leave taken out')
    admission, icu = (
        build_span(as_table(values[name], name), name, time) if name in values else None
        for name in ("admission", "icu")
    )
    return RecordMap(
        simple.body_part,
        simple.ids,
        simple.collection,
        films,
        time,
        tuple(build_labels(each, is_folder) for each in as_tables(values.get("labels"), "labels")),
        tuple(_build_ehr(each, is_folder) for each in as_tables(values.get("ehr"), "ehr")),
        admission,
        icu,
        tuple(build_measures(each, time) for each in as_tables(values.get("measures"), "measures")),
        tuple(as_tables(values.get("feature"), "feature")),
    )


def _build_films(values: dict[str, Any]) -> FilmsMap:
    keep = as_table(values.pop("keep", {}), "films.keep")
    joins = tuple(build_settings(JoinMap, each, "films.join") for each in as_tables(values.pop("join", None), "films"))
    check_keys(values, [*(each.name for each in fields(FilmsMap) if each.name not in ("keep", "joins"))], "films")
    films = build_settings(FilmsMap, values, "films")
    if bool(films.file) != bool(films.image):
        key, other = ("image", "file") if films.file else ("file", "image")
        what = f'[films] has the key "{other}" and lacks "{key}"'
        raise ConfigError(what, hint=f'write {key} = "..."' if films.file else "leave image out where files are films")
    if not films.file and (films.path or joins):
        raise ConfigError('[films] needs the key "file" for what it says of columns')
    if not (films.subject or "{subject}" in films.name):
        hint = 'write subject = "COLUMN"; subject = "{image}" says that no person has two films'
        raise ConfigError('[films] needs the key "subject": the films of a person belong to one split', hint=hint)
    for join in joins:
        text_of(join.file, "films.join", "file")
        text_of(join.column, "films.join", "column")
    kept = {column: cells_of(cells, f"films.keep.{column}") for column, cells in keep.items()}
    return FilmsMap(**{**vars(films), "keep": kept, "joins": joins})


def _build_ehr(values: dict[str, Any], is_folder: bool) -> EhrMap:
    known = OF_FILMS if is_folder else FEATURES
    own = [name for name in values if name not in ("file", "column", "key")]
    features = {name: _build_feature(name, values.pop(name), known) for name in own}
    ehr = build_settings(EhrMap, values, "ehr")
    check_place(ehr.file, ehr.column, "ehr", is_folder)
    if not features:
        raise ConfigError("[ehr] names no feature", hint=f"known: {', '.join(known)}")
    return EhrMap(**{**vars(ehr), "features": features})


def check_place(file: str, column: str, name: str, is_folder: bool) -> None:
    """Raise ConfigError if a section names its table by half, or not at all where there is no table of films."""
    for key, value in (("file", file), ("column", column)):
        if not value and (not is_folder or file or column):
            raise ConfigError(f'[{name}] needs the key "{key}"')


def _build_feature(name: str, values: Any, known: Mapping[str, Feature]) -> FeatureMap:
    if name not in known:
        raise ConfigError(f'there is no feature "{plain(name, 60)}"', hint=nearest_hint(name, known))
    where = f"ehr.{name}"
    given = {"column": values} if isinstance(values, str) else as_table(values, where)
    words = as_table(given.pop("words", {}), f"{where}.words")
    if not given.get("column") or set(given) > {"column", "factor"}:
        raise ConfigError(f'[{where}] needs the key "column", and takes "words" or "factor" beside it')
    plain_map = build_settings(FeatureMap, given, where)
    feature = known[name]
    closed = () if feature.is_worded else feature.categories
    if (closed and not words) or (feature.kind != "text" and words):
        lines = ", ".join(f'{word} = ["..."]' for word in closed)
        hint = f"write words = {{ {lines} }}" if closed else "it is a number"
        raise ConfigError(f"[{where}] {'needs' if closed else 'takes no'} words", hint=hint)
    if plain_map.factor != 1 and feature.kind != "float":
        raise ConfigError(f"[{where}] takes no factor", hint="it is no measured number")
    for word in words:
        if closed and word not in (*closed, "unknown"):
            raise ConfigError(f'"{plain(word, 60)}" is no {name}', hint=nearest_hint(word, closed))
    meanings = {word: cells_of(cells, f"{where}.words.{plain(word, 60)}") for word, cells in words.items()}
    said = [cell for cells in meanings.values() for cell in cells]
    twice = [cell for cell in said if said.count(cell) > 1]
    if twice:
        raise ConfigError(f'"{plain(twice[0], 60)}" means two things in [{where}]')
    return FeatureMap(plain_map.column, meanings, plain_map.factor)
