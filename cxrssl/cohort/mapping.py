"""The user's own tables of labels and health-record columns, and the small TOML that explains them.

In: a TOML; `cxrssl ingest --help` shows an example. File names are absolute or relative to the TOML; `key` declares
whether ids are those of images, studies or patients, or names of the films' files; `words` maps our words to the cells
that mean them.
Out: source tables with ids under `id`, findings and features under their own names.
Never: a word whose meaning the TOML does not state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from cxrssl.cohort.features import GIVEN, RECORDED
from cxrssl.cohort.files import SourceFile
from cxrssl.cohort.sources import GIVEN_SCHEMA
from cxrssl.cohort.tables.columns import Column, TableSpec
from cxrssl.cohort.tables.table import SourceTable, read_table
from cxrssl.core.config import build_settings, read_toml, setting
from cxrssl.core.errors import ConfigError
from cxrssl.core.text import nearest_hint, plain

KEYS = ("image", "study", "patient", "file")
MAX_NAME = 100
"""Characters of a finding's name."""
TAKEN = {
    *("id", "line", "image_id", "study_id", "subject_id", "path", "taken_at", "link_status", "hadm_id", "stay_id"),
    *("ed_stay_id", "gap_h", "macro"),
    *(name for feature in RECORDED for name in (feature.column, feature.censored) if name),
}
"""Columns of a cohort's films and of the tables here, and the word of a mean over findings."""
FEATURES = {feature.column: feature for feature in GIVEN}
"""Column -> feature."""


@dataclass(frozen=True)
class LabelMap:
    """The table of labels: its file, what its ids identify, and the cells that mean present, absent and uncertain."""

    file: str = ""
    column: str = ""
    key: str = setting("study", options=KEYS)
    present: tuple[str, ...] = ("1", "1.0")
    absent: tuple[str, ...] = ("0", "0.0")
    uncertain: tuple[str, ...] = ("-1", "-1.0")


@dataclass(frozen=True)
class EhrMap:
    """The table of the health record: its file, and what its ids identify."""

    file: str = ""
    column: str = ""
    key: str = setting("patient", options=KEYS)


@dataclass(frozen=True)
class FeatureMap:
    """A column of the health record."""

    column: str = ""
    words: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Our word -> the cells that mean it; if empty, cells are taken unchanged."""


@dataclass(frozen=True)
class RecordMap:
    """The content of the TOML."""

    body_part: tuple[str, ...] = ()
    ids: str = setting("tags", options=("tags", "file"))
    """What tells films apart: their tags, or the names of their files, where the tags were taken out."""
    labels: LabelMap | None = None
    findings: dict[str, str] = field(default_factory=dict)
    """Finding -> column."""
    ehr: EhrMap | None = None
    features: dict[str, FeatureMap] = field(default_factory=dict)


def read_map(path: Path) -> RecordMap:
    """Return the content of the TOML at `path`.

    Raises: ConfigError for an unknown key, feature or word, naming the nearest.
    """
    try:
        return _build_map(read_toml(path))
    except ConfigError as error:
        raise ConfigError(error.what, path, error.hint) from None


def find_tables(path: Path, record_map: RecordMap) -> dict[str, SourceFile]:
    """Return the TOML and the tables that it names, as files of the dataset."""
    files = {"map": SourceFile(path, plain(path.name, 120))}
    for name, table in (("labels", record_map.labels), ("ehr", record_map.ehr)):
        if table is not None:
            place = path.parent / table.file
            shown = plain(place.name, 120)
            is_taken = any(file.shown == shown for file in files.values())
            files[f"map {name}"] = SourceFile(place, f"{shown} as [{name}]" if is_taken else shown)
    return files


def read_labels(file: SourceFile, record_map: RecordMap) -> SourceTable:
    """Return the labels: `id` and one Int8 column a finding; a cell that the map lacks rejects its row."""
    labels = record_map.labels
    assert labels is not None, "the map names a table of labels"
    values = {
        **dict.fromkeys(labels.absent, 0),
        **dict.fromkeys(labels.uncertain, -1),
        **dict.fromkeys(labels.present, 1),
    }
    columns = [Column(column, values=tuple(values), may_be_blank=True) for column in record_map.findings.values()]
    table = _read(file, labels.column, labels.key, columns)
    table.frame = table.frame.select(
        "line",
        pl.col(labels.column).alias("id"),
        *(
            pl.col(column).replace_strict(values, default=None, return_dtype=pl.Int8).alias(finding)
            for finding, column in record_map.findings.items()
        ),
    )
    return table


def read_ehr(file: SourceFile, record_map: RecordMap) -> SourceTable:
    """Return the features: `id` and one column a feature, in our words; a cell that the map lacks rejects its row."""
    ehr = record_map.ehr
    assert ehr is not None, "the map names a table of the health record"
    table = _read(
        file, ehr.column, ehr.key, [_feature_column(name, each) for name, each in record_map.features.items()]
    )
    features = [_in_our_words(each).cast(GIVEN_SCHEMA[name]).alias(name) for name, each in record_map.features.items()]
    table.frame = table.frame.select("line", pl.col(ehr.column).alias("id"), *features)
    return table


def name_files(table: SourceTable, paths: pl.Series) -> pl.Series:
    """Write the ids of the table as names of files, and return the name of each film in the same form.

    A name has no suffix, and as many folders before it as the table gives. A name of two films is neither's.
    """
    table.frame = table.frame.with_columns(file_name(pl.col("id").str.replace_all("\\", "/", literal=True)))
    table.reject(pl.col("id").is_duplicated(), "the same file twice", table.spec.key[0])
    num_parts = table.frame["id"].str.count_matches("/").max()
    last = pl.col("id").str.split("/").list.tail(1 + (num_parts if isinstance(num_parts, int) else 0)).list.join("/")
    names = paths.alias("id").to_frame().select(file_name(pl.col("id"))).select(last)
    return names.select(pl.when(~pl.col("id").is_duplicated()).then(pl.col("id")))["id"]


def file_name(path: pl.Expr) -> pl.Expr:
    """Return a path without the suffix of a film."""
    return path.str.replace(r"(?i)\.(dcm|dicom|ima|png|jpe?g)$", "")


def _build_map(values: dict[str, Any]) -> RecordMap:
    nested = {name: _as_table(values.pop(name), name) for name in ("labels", "ehr") if name in values}
    plain_map = build_settings(RecordMap, {name: values[name] for name in values if name in ("body_part", "ids")})
    unknown = [name for name in values if name not in ("body_part", "ids")]
    if unknown:
        hint = nearest_hint(unknown[0], ("body_part", "ids", "labels", "ehr"))
        raise ConfigError(f'unknown key "{plain(unknown[0], 80)}"', hint=hint)
    labels, findings = _build_labels(nested["labels"]) if "labels" in nested else (None, {})
    ehr, features = _build_ehr(nested["ehr"]) if "ehr" in nested else (None, {})
    return RecordMap(plain_map.body_part, plain_map.ids, labels, findings, ehr, features)


def _build_labels(values: dict[str, Any]) -> tuple[LabelMap, dict[str, str]]:
    findings = _as_table(values.pop("findings", {}), "labels.findings")
    labels = build_settings(LabelMap, values, "labels")
    _check_named(labels.file, labels.column, "labels")
    if not findings:
        raise ConfigError("[labels.findings] names no finding", hint='write a line such as Edema = "column"')
    for finding, column in findings.items():
        if not isinstance(column, str) or not column:
            raise ConfigError(f'"labels.findings.{plain(finding, 60)}" must be the name of a column')
        _check_finding(finding, column, labels)
    words = [*labels.present, *labels.absent, *labels.uncertain]
    twice = [word for word in words if words.count(word) > 1]
    if twice:
        raise ConfigError(f'"{plain(twice[0], 60)}" means two things in [labels]', hint="present, absent or uncertain?")
    return labels, findings


def _check_finding(name: str, column: str, labels: LabelMap) -> None:
    """Raise ConfigError for a name that a cohort's tables have a column of already, or that no table can show."""
    shown = plain(name, 60)
    if name.lower() in TAKEN or name.startswith("split_"):
        what = f'a finding cannot be named "{shown}", as a column of every cohort is'
        raise ConfigError(what, hint=f'choose another name, such as "{shown} (finding)"')
    if name != plain(name, MAX_NAME) or not name.strip() or name != name.strip():
        raise ConfigError(
            f'a finding cannot be named "{shown}"', hint=f"write 1 to {MAX_NAME} characters of plain text"
        )
    if column == labels.column:
        raise ConfigError(f'"labels.findings.{shown}" is the column of ids', hint="name the column of the finding")


def _build_ehr(values: dict[str, Any]) -> tuple[EhrMap, dict[str, FeatureMap]]:
    tables = {name: values.pop(name) for name in list(values) if isinstance(values[name], dict)}
    ehr = build_settings(EhrMap, values, "ehr")
    _check_named(ehr.file, ehr.column, "ehr")
    if not tables:
        raise ConfigError("[ehr] names no feature", hint=f"known: {', '.join(FEATURES)}")
    return ehr, {name: _build_feature(name, table) for name, table in tables.items()}


def _build_feature(name: str, values: dict[str, Any]) -> FeatureMap:
    if name not in FEATURES:
        raise ConfigError(f'there is no feature "{plain(name, 60)}"', hint=nearest_hint(name, FEATURES))
    where = f"ehr.{name}"
    words = _as_table(values.pop("words", {}), f"{where}.words")
    column = build_settings(EhrMap, values, where).column if set(values) == {"column"} else ""
    if not column:
        raise ConfigError(f'[{where}] needs the key "column", and takes "words" beside it')
    feature = FEATURES[name]
    closed = () if feature.is_worded else feature.categories
    if (closed and not words) or (feature.kind != "text" and words):
        hint = (
            "write words = { " + ", ".join(f'{word} = ["..."]' for word in closed) + " }"
            if closed
            else "it is a number"
        )
        raise ConfigError(f"[{where}] {'needs' if closed else 'takes no'} words", hint=hint)
    for word, cells in words.items():
        if closed and word not in closed:
            raise ConfigError(f'"{plain(word, 60)}" is no {name}', hint=nearest_hint(word, closed))
        if not isinstance(cells, list) or not all(isinstance(cell, str) for cell in cells):
            raise ConfigError(f'"{where}.words.{plain(word, 60)}" must be a list of cells')
    return FeatureMap(column, {word: tuple(cells) for word, cells in words.items()})


def _as_table(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f'"{name}" must be a table')
    return dict(value)


def _check_named(file: str, column: str, name: str) -> None:
    for key, value in (("file", file), ("column", column)):
        if not value:
            raise ConfigError(f'[{name}] needs the key "{key}"')


def _read(file: SourceFile, id_column: str, key: str, columns: list[Column]) -> SourceTable:
    unique = {column.name: column for column in columns if column.name != id_column}
    subject = id_column if key == "patient" else "subject_id"
    spec = TableSpec(file.shown, (Column(id_column), *unique.values()), (id_column,), subject)
    return read_table(file.path, file.shown, spec)


def _feature_column(name: str, feature: FeatureMap) -> Column:
    declared = FEATURES[name]
    if declared.kind != "text":
        return Column(feature.column, declared.kind, low=0, high=declared.most, may_be_blank=True)
    cells = tuple(cell for cells in feature.words.values() for cell in cells)
    return Column(feature.column, values=cells, may_be_blank=True)


def _in_our_words(feature: FeatureMap) -> pl.Expr:
    if not feature.words:
        return pl.col(feature.column)
    meaning = {cell: word for word, cells in feature.words.items() for cell in cells}
    return pl.col(feature.column).replace_strict(meaning, default=None, return_dtype=pl.String)
