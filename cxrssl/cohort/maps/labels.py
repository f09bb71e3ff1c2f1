"""The findings of a map's tables: 1 present, 0 absent, -1 uncertain, null unknown."""

from __future__ import annotations

import re

import polars as pl

from cxrssl.cohort.files import SourceFile
from cxrssl.cohort.maps.declared import LabelMap
from cxrssl.cohort.maps.tables import check_explained, in_our_words, is_blank, judge, own, read_text, word_cells
from cxrssl.cohort.tables.columns import Column
from cxrssl.cohort.tables.table import SourceTable

EXPLAINED = "@labels"
"""The column of a list of findings after it was judged."""


def label_columns(labels: LabelMap) -> list[str]:
    """Return the columns of the table that labels are taken from."""
    return [labels.list] if labels.list else list(dict.fromkeys(labels.findings.values()))


def read_labels(file: SourceFile, labels: LabelMap) -> SourceTable:
    """Return a table of labels: `id` and one Int8 column a finding; a cell that the map lacks rejects its row."""
    subject = labels.column if labels.key == "patient" else ""
    table = read_text(file, labels.column, label_columns(labels), labels.key, subject)
    findings = take_labels(table, labels, keeps_rows=False)
    table.frame = table.frame.select("line", "id", *findings)
    return table


def take_labels(table: SourceTable, labels: LabelMap, keeps_rows: bool) -> list[pl.Expr]:
    """Judge the cells of labels, and return an Int8 expression for each finding, by its name.

    Raises: DataError when a column has cells and the map explains none.
    """
    if labels.list:
        return _take_list(table, labels, keeps_rows)
    words = {"1": labels.present, "0": labels.absent, "-1": labels.uncertain}
    columns = label_columns(labels)
    before = {name: table.frame[own(name)].drop_nulls().len() for name in columns}
    for name in columns:
        column = Column(name, values=word_cells(words), may_be_blank=True)
        judge(table, column, f"{EXPLAINED} {name}", keeps_rows)
    for name in columns:
        if keeps_rows:  # where rows are rejected, cohort/losses speaks of a table that loses all
            check_explained(table, name, f"{EXPLAINED} {name}", word_cells(words), before[name])
    return [
        in_our_words(f"{EXPLAINED} {column}", words, is_blank(table, column)).cast(pl.Int8).alias(finding)
        for finding, column in labels.findings.items()
    ]


def _take_list(table: SourceTable, labels: LabelMap, keeps_rows: bool) -> list[pl.Expr]:
    cells = table.frame[own(labels.list)].drop_nulls().unique().sort().to_list()
    meaning = {cell: read_list(cell, labels) for cell in cells}
    explained = tuple(cell for cell, values in meaning.items() if values is not None)
    column = Column(labels.list, values=explained or ("",), may_be_blank=True)
    judge(table, column, EXPLAINED, keeps_rows)
    if keeps_rows:
        words = [*labels.findings, *([labels.normal] if labels.normal else [])]
        check_explained(table, labels.list, EXPLAINED, words, table.frame[own(labels.list)].drop_nulls().len())
    taken = []
    for name in labels.findings:
        values = {cell: each[name] for cell, each in meaning.items() if each is not None}
        value = pl.col(EXPLAINED).replace_strict(values, default=None, return_dtype=pl.Int8) if values else pl.lit(None)
        taken.append(value.cast(pl.Int8).alias(name))
    return taken


def read_list(cell: str, labels: LabelMap) -> dict[str, int | None] | None:
    """Return each finding's value for a cell that names the present ones, or None when it has an unknown word.

    A finding that others imply, named without any of them, leaves these unknown; one of `open` alone leaves all.
    """
    if cell in labels.unknown:
        return dict.fromkeys(labels.findings)
    spelt = {word: name for name, words in labels.words.items() for word in words}
    parts = re.split("|".join(map(re.escape, labels.separators)), cell) if labels.separators else [cell]
    words = {spelt.get(part.strip(), part.strip()) for part in parts}
    if not words <= {*labels.findings, labels.normal}:
        return None
    present = set(words)
    while new := {each for name in present for each in labels.implies.get(name, ())} - present:
        present |= new
    least = {name for name in present if not any(name in labels.implies.get(other, ()) for other in present)}
    is_open = bool(present) and present <= set(labels.open)
    values: dict[str, int | None] = {}
    for name in labels.findings:
        if name in present:
            values[name] = 1
        elif least & set(labels.implies.get(name, ())) or (is_open and name != labels.normal):
            values[name] = None
        else:
            values[name] = 0
    return values
