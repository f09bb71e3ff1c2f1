"""Declarations of features: a TOML of [[feature]] and [[table]], checked. Topic `features` of the manual has the keys.

In: TOML. Out: Declared. Never: an outcome called an input, or a key without effect. Stdlib only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from cxrssl.cohort.declare_feature import NAME, FeatureReader, check_keys, list_of
from cxrssl.cohort.feature import NO, YES, Declared, EventSource, EventTable, Feature, Measured
from cxrssl.core.config import build_settings
from cxrssl.core.errors import ConfigError
from cxrssl.core.text import nearest_hint, plain

_FILE = re.compile(r"[a-z0-9_]+/[a-z0-9_]+")
STAY_TIMES = (
    *("admission.admittime", "admission.dischtime", "icu_stay.intime", "icu_stay.outtime"),
    *("ed_stay.intime", "ed_stay.outtime"),
)
CODED_AT_END = {
    "hosp/diagnoses_icd": "admission.dischtime",
    "hosp/procedures_icd": "admission.dischtime",
    "hosp/drgcodes": "admission.dischtime",
    "hosp/hcpcsevents": "admission.dischtime",
    "ed/diagnosis": "ed_stay.outtime",
}
"""File -> the time from which its rows are known, whatever other times they have."""
KNOWN_AT_END = {
    "hosp/admissions": ("dischtime", "deathtime", "discharge_location", "hospital_expire_flag"),
    "icu/icustays": ("outtime", "los", "last_careunit"),
    "ed/edstays": ("outtime", "disposition"),
    "hosp/patients": ("dod",),
}
"""File -> columns that are known only when the stay has ended."""
END_COLUMN = {"hosp/admissions": "dischtime", "icu/icustays": "outtime", "ed/edstays": "outtime"}
"""File -> its column with the end of the stay."""
STAYS = {"icu/icustays": "icu_stay", "ed/edstays": "ed_stay"}
"""File -> the kind of its stays, where it is not an admission."""


def read_declared(values: Mapping[str, Any], where: str | Path, is_own: bool = True) -> Declared:
    """Return the checked content of a parsed file; `is_own`: of a user, who cannot write SQL or fixed columns.

    Raises: ConfigError, a sentence that names the feature or table.
    """
    try:
        return _read(values, is_own)
    except ConfigError as error:
        raise ConfigError(error.what, where, error.hint) from None


def _read(values: Mapping[str, Any], is_own: bool) -> Declared:
    known = ("feature", "table", *(() if is_own else ("unknown_words",)))
    for key in values:
        if key not in known:
            raise ConfigError(f'unknown key "{plain(key, 60)}"', hint=nearest_hint(key, known))
    tables = tuple(_read_table(each) for each in list_of(values, "table"))
    features = tuple(FeatureReader(each, is_own).read() for each in list_of(values, "feature"))
    if is_own and not features:
        raise ConfigError("no feature is declared", hint='write a table [[feature]] with name = "..."')
    for what, names in (("feature", [each.name for each in features]), ("table", [each.name for each in tables])):
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ConfigError(f'{what} "{twice[0]}" is declared twice')
    return Declared(features, tables, tuple(values.get("unknown_words", ())))


def check_sources(features: Sequence[Feature], tables: Mapping[str, EventTable]) -> None:
    """Raise ConfigError for a feature that its tables cannot give, or give only after the film."""
    named = {feature.name: feature for feature in features}
    check_unique(features)
    for feature in features:
        if feature.measured is None:
            continue
        for source in feature.measured.sources:
            if source.table not in tables:
                what = f'feature "{feature.name}" is of table "{plain(source.table, 60)}", which is not declared'
                raise ConfigError(what, hint=nearest_hint(source.table, tables))
            _check_source(feature, feature.measured, source, tables[source.table])
        for other in feature.measured.count_of:
            if other not in named or named[other].categories != (NO, YES):
                what = f'feature "{feature.name}" counts "{plain(other, 60)}", which is no feature of yes and no'
                raise ConfigError(what, hint=nearest_hint(other, [name for name in named if name != feature.name]))
            if feature.role == "input" and (named[other].role == "outcome" or named[other].known == "after"):
                what = f'feature "{feature.name}" counts "{other}", which is an outcome: it is one too and no input'
                raise ConfigError(what, hint='write role = "outcome"')


def check_unique(features: Sequence[Feature]) -> None:
    """Raise ConfigError if two features have a column of one name."""
    owners: dict[str, str] = {}
    for feature in features:
        for column in (feature.column, *((feature.age_column,) if feature.has_age else ())):
            owner = owners.setdefault(column, feature.name)
            if owner != feature.name:
                what = f'feature "{feature.name}": the column "{column}" is one of feature "{owner}"'
                raise ConfigError(what, hint='write another column = "..."')


def _check_source(feature: Feature, measured: Measured, source: EventSource, table: EventTable) -> None:
    what, value = f'feature "{feature.name}"', source.value or table.value
    needs_value = measured.choose in ("nearest_before", "worst_before", "first_after_admission")
    if needs_value and not value:
        raise ConfigError(f'{what} needs a column of values in "{table.name}"', hint='write value = "..."')
    if (source.items or source.codes) and not table.item:
        raise ConfigError(f'{what} names items, and table "{table.name}" has no key "item"')
    if measured.choose == "at_film" and not table.until:
        raise ConfigError(f'{what} needs intervals, and table "{table.name}" has no key "until"')
    if measured.choose == "any_of_admission":
        if table.key != "hadm_id":
            raise ConfigError(f'{what} is of the admission, and table "{table.name}" has not key = "hadm_id"')
        return
    if feature.role == "input":
        _check_time(what, (table.item, table.version, value, table.unit, *table.limit_in), table)


def _check_time(what: str, read: Sequence[str], table: EventTable) -> None:
    """Raise ConfigError if one of the columns that are read is known only later than the table's time."""
    end = CODED_AT_END.get(table.file, "")
    late = [column for column in read if column.lower() in KNOWN_AT_END.get(table.file, ())]
    ends = (end, *(time for time in STAY_TIMES if time.endswith(("dischtime", "outtime"))))
    if not (end or late) or table.time in (*ends, END_COLUMN.get(table.file)):
        return
    column = f"{table.file}.{late[0]}" if late else table.file
    stay = next((time for time in ends if time.startswith(STAYS.get(table.file, "admission"))), "")
    hint = f'write time = "{end}"' if end else f'write time = "{stay}", or role = "outcome"'
    raise ConfigError(f"{what} is an outcome by its time: {column} is known when the stay has ended", hint=hint)


def _read_table(values: Mapping[str, Any]) -> EventTable:
    name = values.get("name", "")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError('a [[table]] needs the key "name", a word of a-z, 0-9 and _')
    shown = f"table {name}"
    for key in ("file", "time"):
        if not values.get(key):
            raise ConfigError(f'table "{name}" needs the key "{key}"')
    check_keys(values, [each.name for each in fields(EventTable)], shown)
    table = build_settings(EventTable, values, shown)
    if not _FILE.fullmatch(table.file):
        what = f'table "{name}" cannot be in "{plain(table.file, 60)}"'
        raise ConfigError(what, hint='write the folder and the name without .csv.gz, as "hosp/labevents"')
    if "." in table.time:
        if table.time not in STAY_TIMES:
            raise ConfigError(
                f'"{plain(table.time, 60)}" is no time of a stay', hint=nearest_hint(table.time, STAY_TIMES)
            )
        if not table.key:
            raise ConfigError(f'table "{name}" has the time of a stay and needs the key "key", the column with its id')
    return table
