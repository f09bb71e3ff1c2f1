"""What a rejected row costs: whose record is unknown because of it, and when a table has lost too much to go on.

In: source tables. Out: subjects in doubt; remarks, or an error that names the form of the bad cells.
Never: a row that could not be read, taken for something that did not happen.

The rows of a link table (patients, admissions, icustays, edstays) say what happened to whom, so their absence says
"no": no admission, not in intensive care. Therefore:
- A person of whom such a row is rejected is in doubt: all that follows from these tables is unknown at the person's
  films, and their link status is rejected_row. Inside an ICU stay that could be read, `icu` is still icu.
- A row whose subject cannot be read is anybody's: ingest stops.
- A link table that loses more than 5 rows and more than 1 % of them, or as many cells of a column, has another form
  than we know: ingest stops.
- A table of any kind that loses all of its rows stops ingest too.
`--allow-losses` continues, as the cohort's remarks say. A row that repeats another is no loss, nor is one about a
person who is not in the table of patients.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import polars as pl

from cxrssl.cohort.tables.table import SourceTable
from cxrssl.core.errors import DataError
from cxrssl.core.text import count_noun

MAX_LOST = 5
MAX_LOST_FRAC = 0.01


def find_doubtful(tables: Iterable[SourceTable]) -> pl.Series:
    """Return the subjects of whom a row of a link table is missing, sorted."""
    found = [table.doubtful() for table in tables if table.spec.is_link]
    return pl.concat([pl.Series("subject_id", [], pl.String()), *found]).unique().sort()


def check_losses(tables: Iterable[SourceTable], is_allowed: bool = False) -> list[str]:
    """Return what the tables have lost beyond the limits, as remarks, if that is allowed.

    Raises: DataError otherwise.
    """
    remarks = []
    for table in tables:
        for what in _find_losses(table):
            if not is_allowed:
                hint = "repair the table or fetch it again; --allow-losses goes on without these rows"
                raise DataError(f"{table.file}: {what}", hint=hint)
            remarks.append(f"{table.file}: {what}; allowed by --allow-losses")
    return remarks


def _find_losses(table: SourceTable) -> Iterator[str]:
    lost = table.lost()
    if table.frame.is_empty() and lost.height:
        yield f"none of its {count_noun(table.rows, 'row')} can be used: {_describe(table, lost)}"
    elif table.spec.is_link:
        if _is_too_much(lost.height, table.rows):
            yield f"{lost.height:,} of {count_noun(table.rows, 'row')} cannot be used: {_describe(table, lost)}"
        nameless = lost.filter(pl.col("subject").is_null())
        if nameless.height:
            rows = f"{count_noun(nameless.height, 'row')} without a readable subject_id"
            first = min(nameless["line"].to_list())
            yield f"{rows}, the first in line {first:,}: nobody knows whose record is incomplete"
        for label, num in table.blanked.items():
            if label in table.forms and _is_too_much(num, table.rows):
                yield f"{num:,} of {count_noun(table.rows, 'row')} have an unreadable {label}{_form(table, label)}"


def _is_too_much(num: int, rows: int) -> bool:
    return num > MAX_LOST and num > MAX_LOST_FRAC * rows


def _describe(table: SourceTable, lost: pl.DataFrame) -> str:
    """Return the rule that cost most rows, the form of the cells that broke it, and the first line."""
    column, rule, _, line = (
        lost.group_by("column", "rule")
        .agg(pl.len(), pl.col("line").min())
        .sort("len", "line", descending=[True, False])
    ).row(0)
    label = f"{column}: {rule}" if column else rule
    return f"{label}{_form(table, label)}, first in line {line:,}"


def _form(table: SourceTable, label: str) -> str:
    return f", written as {table.forms[label]}" if table.forms.get(label) else ""
