"""The features of the health record that a map's tables give, in our words and units."""

from __future__ import annotations

import polars as pl

from cxrssl.cohort.files import SourceFile
from cxrssl.cohort.maps.declared import EhrMap, FeatureMap
from cxrssl.cohort.maps.parse import OF_FILMS
from cxrssl.cohort.maps.tables import check_explained, in_our_words, is_blank, judge, own, read_text, word_cells
from cxrssl.cohort.tables.columns import POLARS_TYPES, Column
from cxrssl.cohort.tables.table import SourceTable


def ehr_columns(ehr: EhrMap) -> list[str]:
    """Return the columns of the table that features are taken from."""
    return [feature.column for feature in ehr.features.values()]


def read_ehr(file: SourceFile, ehr: EhrMap) -> SourceTable:
    """Return a table of features: `id` and one column a feature; a cell that the map lacks rejects its row."""
    table = read_text(file, ehr.column, ehr_columns(ehr), ehr.key, ehr.column if ehr.key == "patient" else "")
    features = take_features(table, ehr, keeps_rows=False)
    table.frame = table.frame.select("line", "id", *features)
    return table


def take_features(table: SourceTable, ehr: EhrMap, keeps_rows: bool) -> list[pl.Expr]:
    """Judge the cells of features, and return an expression for each, by the name of the cohort's column.

    Raises: DataError when a column has cells and the map explains none.
    """
    return [_take(table, name, feature, keeps_rows) for name, feature in ehr.features.items()]


def _take(table: SourceTable, name: str, feature: FeatureMap, keeps_rows: bool) -> pl.Expr:
    declared, into = OF_FILMS[name], f"@ehr {name}"
    before = table.frame[own(feature.column)].drop_nulls().len()
    if declared.kind == "text":
        cells = word_cells(feature.words)
        judge(table, Column(feature.column, values=cells, may_be_blank=True), into, keeps_rows)
        taken = in_our_words(into, feature.words, is_blank(table, feature.column))
    elif feature.factor == 1:
        column = Column(feature.column, declared.kind, low=0, high=declared.most, may_be_blank=True)
        judge(table, column, into, keeps_rows)
        cells, taken = (), pl.col(into)
    else:
        judge(table, Column(feature.column, "float", may_be_blank=True), into, keeps_rows)
        table.frame = table.frame.with_columns(pl.col(into) * feature.factor)
        is_beyond = ~pl.col(into).is_between(0, declared.most)
        if keeps_rows:
            table.blank(is_beyond, f"out of range as {name}", (into,))
        else:
            table.reject(is_beyond, f"out of range as {name}", feature.column)
        cells, taken = (), pl.col(into)
    if keeps_rows:
        check_explained(table, feature.column, into, cells, before)
    return taken.cast(POLARS_TYPES[declared.kind]).alias(name)
