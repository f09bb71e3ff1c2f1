"""The tables that a map names: CSV or Parquet, read as text, and judged column by column.

In: a map, a folder. Out: SourceTables. Never: a cell that the map does not explain and that is not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl

from cxrssl.cohort.files import SourceFile
from cxrssl.cohort.maps.declared import ANY, BLANK, UNKNOWN, RecordMap
from cxrssl.cohort.tables.columns import Column, TableSpec, cast_column, describe_form
from cxrssl.cohort.tables.table import SourceTable, read_table
from cxrssl.core.errors import DataError
from cxrssl.core.text import count_noun, plain

IDS = {"image": "image_id", "study": "study_id", "patient": "subject_id"}
"""What an id names -> the column of films that has it."""
SUFFIX = r"(?i)\.(dcm|dicom|ima|png|jpe?g)$"
OWN = " (yours)"
FIRST = ("line", "path", "size")
RESERVED = (*FIRST, "id", "image_id", "study_id", "subject_id", "patient_id")
"""Columns that frames of films and tables have of the program."""
LACKS = "@lacks"
"""Begins the name of a column that says which rows the table has no row of, of a column that was joined."""
MAP = "map"
"""The layout's name of the TOML; those of its tables begin with it."""


def find_tables(path: Path, record_map: RecordMap, root: Path) -> dict[str, SourceFile]:
    """Return the TOML and the tables that it names, as files of the dataset: beside the TOML, else below `root`."""
    files = {MAP: SourceFile(path, plain(path.name, 120))}
    for name, file, section in _named(record_map):
        if not file:  # in the table of films
            continue
        place = path.parent / file
        if not place.is_file() and (root / file).is_file():
            place = root / file
        shown = plain(place.name, 120)
        is_taken = any(each.shown == shown for each in files.values())
        files[name] = SourceFile(place, f"{shown} as [{section}]" if is_taken else shown)
    return files


def table_name(section: str, number: int = 0) -> str:
    """Return the layout's name of the table of a section of the map."""
    return f"{MAP} {section}" + (f" {number + 1}" if number else "")


def _named(record_map: RecordMap) -> Iterable[tuple[str, str, str]]:
    """Yield the layout's name, the file and the section of each table that is named."""
    films = record_map.films
    if films:
        yield table_name("films"), films.file, "films"
        for number, join in enumerate(films.joins):
            yield table_name("join", number), join.file, "films.join"
    for section in ("labels", "ehr", "measures"):
        for number, each in enumerate(getattr(record_map, section)):
            yield table_name(section, number), each.file, section
    for section, span in record_map.spans.items():
        yield table_name(section), span.file, section


def own(name: str) -> str:
    """Return the name under which a frame has a column of the user: some names are those of the program."""
    return f"{name}{OWN}" if name in RESERVED else name


def read_text(file: SourceFile, id_column: str, columns: Iterable[str], key: str, subject: str = "") -> SourceTable:
    """Return a table of text: ids under `id`, which must not repeat if `key` says so, and the columns as written.

    The columns are those of the file, under the names that `own` returns.
    """
    wanted = [name for name in dict.fromkeys(columns) if name]
    others = [Column(own(name), may_be_blank=True, when_bad="blank", aliases=_alias(name)) for name in wanted]
    id_name = own(id_column) if id_column in FIRST else id_column
    id_alias = (id_column,) if id_name != id_column else ()
    spec = TableSpec(
        file.shown,
        (
            Column(id_name, "id", aliases=id_alias),
            *(each for each in others if id_column not in (each.name, *each.aliases)),
        ),
        (id_name,) if key else (),
        own(subject) if subject and subject != id_column else subject or "subject_id",
    )
    table = read_table(file.path, file.shown, spec)
    # The id as a column of its own too, where the map takes more from it.
    again = [pl.col(id_name).alias(own(id_column))] if id_column in wanted else []
    table.frame = table.frame.with_columns(pl.col(id_name).alias("id"), *again)
    return table


def _alias(name: str) -> tuple[str, ...]:
    return (name,) if own(name) != name else ()


def judge(table: SourceTable, column: Column, into: str, keeps_rows: bool) -> None:
    """Add the typed values of a column of text as `into`.

    A cell that breaks a rule is unknown and counted if `keeps_rows`, else it rejects its row.
    """
    cells = table.frame[own(column.name)]
    typed, rule = cast_column(cells, column)
    if rule.null_count() == len(rule):
        table.frame = table.frame.with_columns(typed.alias(into))
        return
    table.frame = table.frame.with_columns(typed.alias(into), rule.alias("@rule"))
    for broken in rule.drop_nulls().unique(maintain_order=True):
        is_bad = rule == broken
        label = f"{column.name}: {broken}"
        table.forms.setdefault(label, plain(describe_form((cells.filter(is_bad)[0] or "").strip()), 60))
        if keeps_rows:
            table.blanked[label] = int(is_bad.fill_null(False).sum())
        else:
            table.reject(pl.col("@rule") == broken, broken, column.name)
    table.frame = table.frame.drop("@rule")


def check_explained(table: SourceTable, column: str, into: str, words: Iterable[str], before: int) -> None:
    """Raise DataError if a column has cells and the map explains none; `before` is the number of rows that had one."""
    if before and not table.frame.height - table.frame[into].null_count():
        label = next((each for each in table.forms if each.startswith(f"{column}: ")), "")
        form = f", written as {table.forms[label]}" if label else ""
        shown = ", ".join(f'"{plain(word, 30)}"' for word in words) or "numbers"
        what = f'{table.file}: the map explains none of {count_noun(before, "cell")} of "{plain(column, 60)}"{form}'
        raise DataError(what, hint=f"it knows {shown}")


def check_some(table: SourceTable, column: str, cells: pl.Series, values: pl.Series, what: str) -> None:
    """Raise DataError if a column has cells and none of them could be read."""
    said = cells.drop_nulls()
    if len(said) and values.null_count() == len(values):
        form = plain(describe_form(said[0].strip()), 60)
        problem = f'{table.file}: none of {count_noun(len(said), "cell")} of "{plain(column, 60)}", written as {form}'
        raise DataError(f"{problem}, can be read as {what}", hint="say how they are written in [time]: unit, format")


def word_cells(words: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the cells that words allow; none where any cell is."""
    cells = tuple(cell for each in words.values() for cell in each if cell != BLANK)
    return () if ANY in cells else cells


def is_blank(table: SourceTable, column: str) -> pl.Expr:
    """Return whether the table has a row with a blank cell there; one that a joined table lacks is not blank."""
    lacks, written = f"{LACKS} {own(column)}", pl.col(own(column)).fill_null("").str.strip_chars() == ""
    return written & ~pl.col(lacks) if lacks in table.frame.columns else written


def in_our_words(judged: str, words: Mapping[str, tuple[str, ...]], blank_cell: pl.Expr) -> pl.Expr:
    """Return the word that each cell means; null is unknown, as is a cell that the map does not explain.

    `judged` are the cells that it explains; see `is_blank` for the others.
    """
    if not words:
        return pl.col(judged)
    meaning = {cell: (None if word == UNKNOWN else word) for word, cells in words.items() for cell in cells}
    blank, other = meaning.pop(BLANK, None), meaning.pop(ANY, None)
    cell = pl.col(judged)
    known = cell.replace_strict(meaning, default=other, return_dtype=pl.String) if meaning else pl.lit(other)
    return pl.when(blank_cell).then(pl.lit(blank, pl.String)).when(cell.is_not_null()).then(known)


def file_name(path: pl.Expr) -> pl.Expr:
    """Return a path without the suffix of a film."""
    return path.str.replace(SUFFIX, "")


def name_files(table: SourceTable, paths: pl.Series) -> pl.Series:
    """Write the ids of the table as names of files, and return the name of each film in the same form.

    A name has no suffix, and as many folders before it as the table gives. A name of two films is neither's.
    """
    table.frame = table.frame.with_columns(
        file_name(pl.col("id").str.replace_all("\\", "/", literal=True)).str.normalize("NFC")
    )
    for id_column in table.spec.key:  # none of a table with several rows a film
        table.reject(pl.col("id").is_duplicated(), "the same file twice", id_column)
    num_parts = table.frame["id"].str.count_matches("/").max()
    last = pl.col("id").str.split("/").list.tail(1 + (num_parts if isinstance(num_parts, int) else 0)).list.join("/")
    names = paths.alias("id").to_frame().select(file_name(pl.col("id")).str.normalize("NFC")).select(last)
    return names.select(pl.when(~pl.col("id").is_duplicated()).then(pl.col("id")))["id"]


def film_ids(image: pl.DataFrame, table: SourceTable, key: str) -> pl.Series:
    """Return the id by which a table knows each film, row for row with `image`.

    Raises: DataError when the table knows none of them.
    """
    known = name_files(table, image["path"]) if key == "file" else image[IDS[key]]
    advice = f'does it name what key = "{key}" says, image, study, patient or file?'
    table.check_fit("id", known.drop_nulls(), "the films", advice)
    num = table.frame.filter(~pl.col("id").is_in(known.implode())).height
    if num:
        table.remarks.append(f"rows whose id is no film's: {num:,}")
    return known
