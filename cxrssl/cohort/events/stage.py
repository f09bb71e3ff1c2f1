"""The rows of a table of events that some features need of some people: read once, kept as Parquet.

In: a csv or csv.gz of any size, which is read in one pass. Out: stages/<key>/rows.parquet of the workspace, where the
next ingest finds it again. Never: a value that is judged or converted: that is done when values are chosen.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from cxrssl.cohort.feature import EventTable, Feature
from cxrssl.cohort.files import SourceFile
from cxrssl.cohort.tables.content import is_packed
from cxrssl.cohort.tables.peek import peek_columns
from cxrssl.core.artefact import open_artefact, publish
from cxrssl.core.durable import hash_settings
from cxrssl.core.errors import DataError, IntegrityError
from cxrssl.core.text import nearest_hint
from cxrssl.db import SPILL, open_scratch, quote_name, quote_text

KIND = "stage"
ROWS = "rows.parquet"
MEMORY = "1200MB"
STAGE_VERSION = 1
LIMIT = r"^\s*[<>]=?\s*([0-9]+(?:\.[0-9]+)?)"
"""A result beyond the limit of detection, and the limit."""


@dataclass(frozen=True)
class Wanted:
    """What is taken from one table."""

    table: EventTable
    items: tuple[str, ...]
    """None: the rows of all items."""
    values: tuple[str, ...]
    """Columns of values."""

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that the file must have."""
        return tuple(dict.fromkeys((*self.table.columns, *self.values)))


def find_wanted(features: Sequence[Feature], table: EventTable) -> Wanted:
    """Return what these features need of a table."""
    sources = [source for each in features if each.measured for source in each.measured.sources]
    sources = [source for source in sources if source.table == table.name]
    items = sorted({item for source in sources for item in source.items})
    values = sorted({source.value or table.value for source in sources} - {""})
    return Wanted(table, tuple(items) if all(source.items for source in sources) else (), tuple(values))


def check_columns(file: SourceFile, wanted: Wanted) -> None:
    """Raise DataError if the file lacks a column that a declaration names."""
    known = peek_columns(file.path)
    for column in wanted.columns:
        if column not in known:
            what = f'{file.shown} has no column "{column}", which table "{wanted.table.name}" or its features name'
            raise DataError(what, file.path, nearest_hint(column, known))


@dataclass(frozen=True)
class Stage:
    """Staged rows: subject, stay, time, stored, until, item, version, unit, limit, and "value NAME" a column."""

    path: Path
    num_unread: int
    """Lines of the file that are no rows."""


def stage_events(stages: Path, file: SourceFile, sha256: str, wanted: Wanted, subjects: pl.Series) -> Stage:
    """Return the rows of these subjects, from the stage of an earlier ingest where there is one."""
    people = subjects.unique().sort()
    settings = {
        "version": STAGE_VERSION,
        "file": sha256,
        "wanted": asdict(wanted),
        "subjects": hash_settings({"subjects": people.to_list()}),
    }
    dest = stages / hash_settings(settings)[:16]
    found = _find_stage(dest, settings)
    if found is not None:
        return found
    with publish(dest, KIND, settings, {file.shown: sha256}) as folder:
        with open_scratch(folder, [file.path], MEMORY) as scratch:
            scratch.execute("CREATE TABLE person (subject VARCHAR PRIMARY KEY)")
            scratch.insert("person", people.alias("subject").to_frame())
            scratch.watch(_copy_sql(file.path, folder / ROWS, wanted), f"read {file.shown}")
            ((num_unread,),) = scratch.rows("SELECT count(DISTINCT line) FROM reject_errors")
        (folder / "unread.txt").write_text(str(num_unread))
        remove_spill(folder)
    return Stage(dest / ROWS, num_unread)


def _find_stage(dest: Path, settings: dict[str, object]) -> Stage | None:
    try:
        artefact = open_artefact(dest, KIND)
    except IntegrityError:
        return None
    if hash_settings(artefact.settings) != hash_settings(settings):
        return None
    return Stage(dest / ROWS, int((dest / "unread.txt").read_text()))


def remove_spill(folder: Path) -> None:
    """Remove what a scratch database leaves of its own folder."""
    shutil.rmtree(folder / SPILL, ignore_errors=True)


def _copy_sql(path: Path, dest: Path, wanted: Wanted) -> str:
    table = wanted.table
    time = "" if "." in table.time else table.time
    limit = "NULL"
    if table.limit_in:
        texts = ", ".join(
            f"nullif(regexp_extract({quote_name(column)}, '{LIMIT}', 1), '')" for column in table.limit_in
        )
        limit = f"coalesce({texts})"
    columns = [
        f"trim({quote_name(table.subject)}) AS subject",
        f"trim({quote_name(table.key)}) AS stay" if table.key else "NULL::VARCHAR AS stay",
        *(
            f"{_time_sql(column)} AS {quote_name(name)}"
            for column, name in (
                (time, "time"),
                (table.stored, "stored"),
                (table.until, "until"),
            )
        ),
        f"trim({quote_name(table.item)}) AS item" if table.item else "NULL::VARCHAR AS item",
        f"trim({quote_name(table.version)}) AS version" if table.version else "NULL::VARCHAR AS version",
        f"lower(trim({quote_name(table.unit)})) AS unit" if table.unit else "NULL::VARCHAR AS unit",
        f'try_cast({limit} AS DOUBLE) AS "limit"',
        *(f"trim({quote_name(column)}) AS {quote_name(f'value {column}')}" for column in wanted.values),
    ]
    known = ", ".join(f"{quote_text(name)}: 'VARCHAR'" for name in peek_columns(path))
    packed = ", compression = 'gzip'" if is_packed(path) else ", compression = 'none'"
    source = (
        f"read_csv({quote_text(str(path))}, header = true, auto_detect = false, delim = ',', quote = '\"', "
        f"escape = '\"', columns = {{{known}}}, ignore_errors = true, store_rejects = true, "
        f"rejects_limit = 1000000{packed})"
    )
    items = f"{quote_name(table.item)} IN ({', '.join(map(quote_text, wanted.items))}) AND " if wanted.items else ""
    return (
        f"COPY (SELECT {', '.join(columns)} FROM {source} "
        f"WHERE {items}trim({quote_name(table.subject)}) IN (SELECT subject FROM person)) "
        f"TO {quote_text(str(dest))} (FORMAT parquet, COMPRESSION zstd)"
    )


def _time_sql(column: str) -> str:
    """Return SQL of a time; a day without one is its end, because until then nobody knows that it has come."""
    if not column:
        return "NULL::TIMESTAMP"
    cell = f"trim({quote_name(column)})"
    return f"try_cast({cell} AS TIMESTAMP) + CASE WHEN length({cell}) <= 10 THEN INTERVAL 1 DAY ELSE INTERVAL 0 DAY END"
