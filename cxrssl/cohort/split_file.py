"""The user's own split, in a CSV: one row a subject, a study or a film, and the part that it belongs to.

In: the file, and the cohort's films. Out: rows (subject_id, split), and remarks on what one of the two lacks.
Never: a row that is passed over without a count, or an id that may be two subjects'.

Ids are those of the dataset's tables, and may be written as there: 00001280 is NIH's subject 1280, 21012369.0 is
21012369. Rows of studies and films stand for their subject, so all rows of a subject must name one part: `split`
checks it.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from cxrssl.cohort.tables.columns import Column, TableSpec, describe_form
from cxrssl.cohort.tables.peek import peek_columns
from cxrssl.cohort.tables.table import SourceTable, read_table
from cxrssl.core.errors import DataError
from cxrssl.core.text import count_noun, plain

FILE_SPLITS = {"train": "train", "val": "val", "validate": "val", "validation": "val", "valid": "val", "test": "test"}
"""Words of a split file -> ours."""
ID_COLUMNS = {
    "subject": ("subject_id", "patient_id", "Patient ID", "patientid", "PatientID"),
    "study": ("study_id", "StudyInstanceUID"),
    "film": ("image_id", "dicom_id", "Image Index", "filename", "Path", "path", "SOPInstanceUID"),
}
"""What a row is about -> names of the column with its id; the first kind that the file has counts."""


def read_split_file(path: Path, films: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Return subject_id and split, and remarks on what is missing in the file or in the dataset.

    `films` has image_id, study_id, subject_id and path, one row a film.

    Raises: DataError when the file or one of its rows cannot be used, or when it names nothing of the dataset.
    """
    shown = plain(path.name, 120)
    kind, column = _find_ids(path, shown)
    columns = (Column(column), Column("split", values=tuple(FILE_SPLITS)))
    table = read_table(path, shown, TableSpec("split", columns, key=()))
    if table.rejects.height:
        line, bad, rule, _ = table.rejects.sort("line").row(0)
        what = f"{shown}: {count_noun(table.rejects.height, 'row')} cannot be used, the first in line {line:,}"
        words = f"{bad}: {rule}; " if bad else f"{rule}; "
        raise DataError(what, path, f"{words}the words are {', '.join(FILE_SPLITS)}")
    owners = _owners(films, kind)
    listed = _match(table.frame[column], owners)
    if listed.null_count() == len(listed):
        form = plain(describe_form(next(iter(owners))), 80)
        hint = f"use the ids of the dataset's tables, such as {form}"
        raise DataError(f"{shown} names no {kind} of this dataset", path, hint)
    own = pl.DataFrame({"subject_id": listed, "split": table.frame["split"].replace_strict(FILE_SPLITS)})
    return own.drop_nulls("subject_id"), _find_remarks(table, column, listed, films, kind)


def _find_ids(path: Path, shown: str) -> tuple[str, str]:
    columns = peek_columns(path)
    for kind, names in ID_COLUMNS.items():
        for name in names:
            if name in columns:
                return kind, name
    if columns and path.is_file():
        hint = "name the column subject_id, study_id or image_id"
        raise DataError(f'{shown}: column "subject_id" is missing', path, hint)
    return "subject", "subject_id"  # read_table says why the file cannot be read


def _owners(films: pl.DataFrame, kind: str) -> dict[str, str]:
    """Return id -> subject; a film is known by its id, its path and the name of its file."""
    if kind != "film":
        return dict(films.select(pl.col(f"{kind}_id").alias("id"), "subject_id").unique().iter_rows())
    name = pl.col("path").str.extract(r"([^/]*)$")
    names = [pl.col("path"), name, name.str.replace(r"\.[^.]*$", ""), pl.col("image_id")]
    pairs = pl.concat([films.select(each.alias("id"), "subject_id") for each in names])
    pairs = pairs.unique().filter(~pl.col("id").is_duplicated())
    return dict(pairs.iter_rows())


def _match(ids: pl.Series, owners: dict[str, str]) -> pl.Series:
    """Return the subject of each id: as it is written, else as a number that only one subject's id is."""
    numbers: dict[str, set[str]] = {}
    for id_, subject in owners.items():
        numbers.setdefault(_as_number(id_), set()).add(subject)
    found: dict[str, str | None] = {}
    for id_ in ids.unique():
        own = numbers.get(_as_number(id_), set())
        found[id_] = owners.get(id_) or (next(iter(own)) if len(own) == 1 else None)
    return ids.replace_strict(list(found), list(found.values()), return_dtype=pl.String)


def _as_number(id_: str) -> str:
    whole, _, part = id_.partition(".")
    return (whole.lstrip("0") or "0") if whole.isdecimal() and not part.strip("0") else id_


def _find_remarks(table: SourceTable, column: str, listed: pl.Series, films: pl.DataFrame, kind: str) -> list[str]:
    absent = table.frame[column].filter(listed.is_null()).n_unique()
    unnamed = films["subject_id"].n_unique() - listed.drop_nulls().n_unique()
    nouns = {"subject": "subjects", "study": "studies", "film": "films"}
    without = " without a film" if kind == "subject" else " that are not in the cohort"
    counts = {
        f"{nouns[kind]} of {table.file}{without}": absent,
        f"subjects that {table.file} does not name, in no split": unnamed,
    }
    return [f"{what}: {num:,}" for what, num in counts.items() if num]
