"""The films of a folder: the rows of the user's table, or the files themselves, each with its ids and its file.

In: [films] of a map, the files on the disk. Out: a SourceTable with image_id, study_id, subject_id, patient_id, path.
Never: a file that two rows take for theirs, or an id made of a cell that is blank.
"""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from cxrssl.cohort.files import Layout
from cxrssl.cohort.maps.declared import FilmsMap, JoinMap
from cxrssl.cohort.maps.tables import LACKS, file_name, own, read_text, table_name
from cxrssl.cohort.sources import list_table
from cxrssl.cohort.tables.peek import peek_columns
from cxrssl.cohort.tables.table import SourceTable
from cxrssl.core.errors import ConfigError, DataError
from cxrssl.core.text import count_noun, nearest_hint, plain

FIELD = re.compile(r"\{([^{}]*)\}")
FILES = "films"
OWN = ("image", "stem")
"""Fields of every film: its id, and the name of its file without suffix."""


def find_fields(text: str) -> list[str]:
    """Return the names in braces."""
    return FIELD.findall(text)


def read_films(
    layout: Layout, films: FilmsMap, present: dict[str, int], columns: list[str]
) -> tuple[SourceTable, list[SourceTable]]:
    """Return the films with their ids, the path of each, and `columns` as text; and the tables that were joined.

    Raises: ConfigError for a column that is nowhere, DataError where a join or the names of files match nothing.
    """
    of_films = (films.subject, films.study, films.patient, films.path)
    in_braces = [name for text in of_films for name in find_fields(text) if name not in OWN]
    named = [text for text in of_films if not find_fields(text)]
    named += [films.split, films.taken, films.order, *films.keep, *columns]
    wanted = list(dict.fromkeys(name for name in (*in_braces, *named) if name))
    fields = find_fields(films.name)
    table, others = _read_rows(layout, films, present, [name for name in wanted if name not in fields])
    _add_paths(table, films, present)
    if films.name:
        _add_fields(table, films.name, wanted)
    for name in films.keep:
        table.reject(~pl.col(own(name)).fill_null("").is_in(films.keep[name]), "not kept", name)
    _add_ids(table, films)
    return table, others


def _read_rows(
    layout: Layout, films: FilmsMap, present: dict[str, int], wanted: list[str]
) -> tuple[SourceTable, list[SourceTable]]:
    if not films.file:
        if wanted:
            what = f'[films] names the column "{plain(wanted[0], 60)}" and has no key "file"'
            raise ConfigError(what, hint=nearest_hint(wanted[0], [*find_fields(films.name), *OWN]))
        table = list_table(FILES, "id", present)
        if not table.rows:
            raise DataError("the folder holds no films", layout.root, "looked for PNG, JPEG and DICOM files")
        return table, []
    joined = {join.column: join for join in films.joins}
    theirs: list[tuple[JoinMap, SourceTable]] = []
    for number, join in enumerate(films.joins):
        file = layout.files[table_name("join", number)]
        theirs.append((join, read_text(file, join.column, _columns_in(file.path, wanted), join.column)))
    given = {name for _, table in theirs for name in table.frame.columns if name not in ("line", "id", *joined)}
    here = [name for name in wanted if own(name) not in given]
    here += [join.to for join in films.joins if join.to]
    file = layout.files[table_name("films")]
    table = read_text(file, films.image, here, films.image, films.subject if films.subject in here else "")
    for join, other in theirs:
        _join(table, join, other)
    return table, [other for _, other in theirs]


def _columns_in(path: Path, wanted: list[str]) -> list[str]:
    known = peek_columns(path)
    return [name for name in wanted if name in known]


def _join(table: SourceTable, join: JoinMap, other: SourceTable) -> None:
    """Add the columns of a second table to the rows of the films; what it lacks stays unknown."""
    key = own(join.to) if join.to else "id"
    to = join.to or table.spec.key[0]
    other.check_fit("id", table.frame[key].drop_nulls(), table.file, f'is it what "{to}" of the films holds?')
    columns = [name for name in other.frame.columns if name not in ("line", "id", join.column)]
    right = other.frame.select(pl.col("id").alias("@join"), *columns)
    table.frame = table.frame.join(right, left_on=key, right_on="@join", how="left", maintain_order="left")
    is_lacking = ~pl.col(key).is_in(other.frame["id"].implode()).fill_null(False)
    table.frame = table.frame.with_columns(is_lacking.alias(f"{LACKS} {name}") for name in columns)
    num = table.frame.filter(is_lacking).height
    if num:
        table.remarks.append(f"rows that {other.file} does not have: {num:,}")


def _add_paths(table: SourceTable, films: FilmsMap, present: dict[str, int]) -> None:
    """Add the path of each row's file: the one of that path, else the only one of that name."""
    if not films.file:
        return
    named = _fill(table, films.path) if films.path else pl.col("id")
    name = named.str.replace_all("\\", "/", literal=True).str.replace(r"^\./", "").str.normalize("NFC")
    rows = table.frame.select(name.alias("name"))["name"]
    files = pl.DataFrame({"path": sorted(present)}, {"path": pl.String()})
    prefix = f"{films.folder.strip('/')}/" if films.folder else ""
    exact = {path.removeprefix(prefix): path for path in present}
    by_name, is_several = _by_name(rows, files)
    path = pl.coalesce(
        rows.replace_strict(exact, default=None, return_dtype=pl.String) if exact else pl.lit(None, pl.String),
        by_name,
    )
    table.frame = table.frame.with_columns(rows.alias("@name"), is_several.alias("@is_several"))
    table.frame = table.frame.with_columns(path.alias("path"))
    key = films.path or films.image
    is_lost = pl.col("path").is_null()
    table.reject(is_lost & pl.col("@name").str.contains(r"^(/|[A-Za-z]:)|(^|/)\.\.(/|$)"), "outside the folder", key)
    table.reject(is_lost & pl.col("@is_several"), "several files of this name", key)
    table.reject(~is_lost & pl.col("path").is_duplicated(), "the same file twice", key)
    table.frame = table.frame.drop("@name", "@is_several")


def _by_name(rows: pl.Series, files: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """Return the only file whose path ends as each row says, suffix or not, and where there are several."""
    found = pl.Series("path", [None] * len(rows), dtype=pl.String)
    is_several = pl.Series([False] * len(rows), dtype=pl.Boolean)
    bare_rows = rows.to_frame("name").select(file_name(pl.col("name")))["name"]
    depth = rows.str.count_matches("/")
    for num in depth.drop_nulls().unique().sort():
        parts = pl.col("path").str.normalize("NFC").str.split("/").list.tail(int(num) + 1).list.join("/")
        whole = files.select(parts.alias("name"), "path")
        bare = whole.select(file_name(pl.col("name")), "path")
        for names, wanted in ((whole, rows), (bare, rows), (bare, bare_rows)):
            first = names.group_by("name").agg(pl.col("path").first(), (pl.len() > 1).alias("is_several"))
            matched = wanted.alias("name").to_frame().join(first, "name", "left", maintain_order="left")
            is_open = found.is_null() & ~is_several & (depth == num)
            found = matched["path"].zip_with(is_open & ~matched["is_several"].fill_null(True), found)
            is_several |= is_open & matched["is_several"].fill_null(False)
    return found, is_several


def _add_fields(table: SourceTable, form: str, wanted: list[str]) -> None:
    """Add what the braces of `name` hold in the path of each film, as columns."""
    fields = find_fields(form)
    bad = [name for name in fields if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)]
    if bad or len(set(fields)) < len(fields):
        shown = plain(bad[0] if bad else next(name for name in fields if fields.count(name) > 1), 40)
        raise ConfigError(f'"films.name" cannot have the field "{{{shown}}}"', hint="write words of a-z, each once")
    clash = [name for name in fields if own(name) in table.frame.columns and name in wanted]
    if clash:
        what = f'"{clash[0]}" is in "films.name" and a column of {table.file}'
        raise ConfigError(what, hint="name the field otherwise")
    parts = FIELD.split(form)
    pattern = "".join(
        f"(?P<{part}>[^/]+{'?' if number < len(parts) - 2 else ''})" if number % 2 else re.escape(part)
        for number, part in enumerate(parts)
    )
    groups = file_name(pl.col("path")).str.extract_groups(f"^(?:.*/)?{pattern}$")
    groups = groups.struct.rename_fields([own(name) for name in fields])
    table.frame = table.frame.with_columns(groups.alias("@fields")).unnest("@fields")
    is_other = pl.col("path").is_not_null() & pl.col(own(fields[0])).is_null()
    if table.frame.height and table.frame.filter(~is_other & pl.col("path").is_not_null()).is_empty():
        num = table.frame.filter(is_other).height
        if num:
            what = f'no name of {count_noun(num, "film")} has the form "{plain(form, 80)}"'
            raise DataError(what, hint="the form is that of the path without its suffix, from the right")
    table.reject(is_other, "not of the form", "name")


def _fill(table: SourceTable, text: str) -> pl.Expr:
    """Return the text of a key of [films]: a column, or the columns in braces filled in; null where one is blank."""
    fields = find_fields(text)
    if not fields:
        return pl.col(own(text))
    parts = FIELD.split(text)
    form = "".join("{}" if number % 2 else part for number, part in enumerate(parts))
    return pl.format(form, *(_field(name) for name in fields))


def _field(name: str) -> pl.Expr:
    if name == "image":
        return pl.col("id")
    if name == "stem":
        return file_name(pl.coalesce("path", "id").str.split("/").list.last())
    return pl.col(own(name))


def _add_ids(table: SourceTable, films: FilmsMap) -> None:
    """Add the ids of each film; a row without a subject is rejected, as is a study of two subjects."""
    if not films.file:
        stem = _field("stem")
        forms = stem, file_name(pl.col("path")), pl.col("path")
        unique = (each for each in forms if table.frame.select(each.n_unique()).item() == table.frame.height)
        table.frame = table.frame.with_columns(next(unique).alias("id"))
    fields = find_fields(films.name)
    study = films.study or ("study" if "study" in fields else "{image}")
    # An id that another program wrote as a number: 61.0 is 61.
    tidy = {
        "image_id": pl.col("id"),
        "study_id": _fill(table, study),
        "subject_id": _fill(table, films.subject or "subject").str.replace(r"^([0-9]+)\.0+$", "${1}"),
        "patient_id": _fill(table, films.patient) if films.patient else pl.lit(None, pl.String),
    }
    table.frame = table.frame.with_columns(each.alias(name) for name, each in tidy.items())
    # A row without a file is rejected as such, later.
    for name, column in (("subject_id", films.subject or "subject"), ("study_id", films.study or "study")):
        table.reject(pl.col(name).is_null() & pl.col("path").is_not_null(), "blank", column)
    num_owners = pl.col("subject_id").drop_nulls().n_unique().over("study_id")
    table.reject(pl.col("study_id").is_not_null() & (num_owners > 1), "study under two subjects", films.study)
