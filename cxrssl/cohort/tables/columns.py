"""The language in which source tables are declared, and the rules that turn text cells into typed values.

In: a frame of text cells. Out: a typed frame, and for each row that breaks a rule the column and the rule.
Never: a type or a format guessed from the data.

What a program that wrote the table again made of a cell, and that says the same, is read: 21012369.0 as the id
21012369, 2143-11-10T02:04:58, with .000, Z, UTC or +00:00 at the end, as that moment, 2143-11-10 00:00:00 as that day,
and NaN, NaT, None, NULL, <NA> as blank where a number, a time or an id may be blank.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import polars as pl

from cxrssl.core.text import plain

Kind = Literal["text", "id", "int", "float", "time", "date"]
POLARS_TYPES: dict[Kind, pl.DataType] = {
    "text": pl.String(),
    "id": pl.String(),
    "int": pl.Int64(),
    "float": pl.Float64(),
    "time": pl.Datetime("us"),
    "date": pl.Date(),
}
# [0-9] and not \d: \d also matches the digits of other scripts.
FORMS: dict[Kind, str] = {
    "text": r"[^\x00-\x1f\x7f\x{FFFD}]*",
    "id": r"[^\x00-\x1f\x7f\x{FFFD}]*",
    "int": r"-?[0-9]{1,9}(\.0+)?",
    "float": r"-?[0-9]{1,12}(\.[0-9]*)?",
    # Polars reads second 60, a leap second, as the next minute.
    "time": r"[1-9][0-9]{3}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-5][0-9]",
    "date": r"[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}",
}
_TIME = rf"^({FORMS['date']})[ T]([0-9]{{2}}:[0-9]{{2}}:[0-5][0-9])(?:\.0+)?(?: ?(?:UTC|Z|\+00:?00))?$"
RESPELLED: dict[Kind, tuple[str, str]] = {
    "id": (r"^([0-9]+)\.0+$", "${1}"),
    "time": (_TIME, "${1} ${2}"),
    "date": (rf"^({FORMS['date']})[ T]00:00:00(?:\.0+)?(?: ?(?:UTC|Z|\+00:?00))?$", "${1}"),
}
"""Kind -> another spelling of its cells, and how it is written in our form."""
KEPT = ("T", "Z", "UTC", "GMT", "AM", "PM", "E", "e", "NaN", "nan", "NaT", "None", "NULL", "null", "NA")
BLANKS = ("NaN", "nan", "NaT", "None", "NULL", "null", "<NA>")


@dataclass(frozen=True)
class Column:
    """One declared column of a source file."""

    name: str
    kind: Kind = "text"
    form: str = ""
    """Regular expression that the whole cell must match."""
    values: tuple[str, ...] = ()
    """The only cells allowed."""
    low: float | None = None
    high: float | None = None
    may_be_blank: bool = False
    when_bad: Literal["reject", "blank", "doubt"] = "reject"
    """`reject` the row, or keep it with this cell unknown and counted; `doubt`: and the person in doubt, because blank
    says "no" in this column."""
    aliases: tuple[str, ...] = ()
    """Other names that published versions of the file use."""


@dataclass(frozen=True)
class TableSpec:
    """A declared source table: its columns, and the columns that together identify a row."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    subject: str = "subject_id"
    """The column that identifies the person, if the table has one."""
    is_link: bool = False
    """Its rows say what happened to whom, so that a missing row says "no": see cohort/losses."""


def cast_cells(cells: pl.DataFrame, spec: TableSpec) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return `line` with the typed columns of `spec`, and the rules that their cells break.

    `cells` has `line` and the text of each column of `spec`, named "0", "1", ... in the order of `spec`. A cell that
    breaks a rule is null in the first frame; the second frame holds the rule in its place, and has only the columns
    with a broken rule.
    """
    typed, rules = [cells["line"]], []
    for number, column in enumerate(spec.columns):
        values, broken = cast_column(cells[str(number)], column)
        typed.append(values)
        if broken.null_count() < len(broken):
            rules.append(broken)
    return pl.DataFrame(typed), pl.DataFrame(rules)


def cast_column(cells: pl.Series, column: Column) -> tuple[pl.Series, pl.Series]:
    """Return the typed values of text cells, and the rule that each cell breaks or null."""
    # Step by step: in one expression Polars would strip and parse a cell again at each use.
    frame = cells.str.strip_chars().alias("text").to_frame()
    frame = frame.select(pl.when(pl.col("text") != "").then(pl.col("text")).alias("cell"))
    frame = frame.with_columns(_typed(pl.col("cell"), column).alias("typed"))
    rule = _broken_rule(pl.col("cell"), pl.col("typed"), column)
    frame = frame.with_columns(rule.alias("rule"))
    if frame["rule"].null_count() < frame.height and column.kind != "text":
        frame = _read_again(frame, column)
    if frame["rule"].null_count() < frame.height:
        # A cell that breaks a rule is never shown, whether its row is kept or rejected.
        frame = frame.with_columns(pl.when(pl.col("rule").is_null()).then(pl.col("typed")).alias("typed"))
    return frame["typed"].alias(column.name), frame["rule"].alias(column.name)


SHOWN_ROWS = 10
"""A word of a table that no list has is shown if so many rows have it: others may be of one person."""


def count_shown(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return word -> rows for what people are shown, in the order given; of rare words only how they are written."""
    shown: dict[str, int] = {}
    for word, rows in counts:
        text = plain(word if rows >= SHOWN_ROWS else describe_form(word), 60)
        shown[text] = shown.get(text, 0) + rows
    return shown


def describe_form(cell: str) -> str:
    """Return how a cell is written without what it says: 9 for a digit, a for a letter; words of times are kept."""
    letters = re.compile(r"[^\W\d_]+")
    return letters.sub(lambda word: word[0] if word[0] in KEPT else "a" * len(word[0]), re.sub(r"\d", "9", cell))


def _read_again(frame: pl.DataFrame, column: Column) -> pl.DataFrame:
    """Return `typed` and `rule` of cells, those that break a rule read once more in our spelling."""
    cell = pl.col("cell")
    if column.kind in RESPELLED:
        cell = cell.str.replace(*RESPELLED[column.kind])
    if column.may_be_blank:
        cell = pl.when(~cell.is_in(BLANKS)).then(cell)
    cells = frame.select(pl.when(pl.col("rule").is_null()).then(pl.col("cell")).otherwise(cell).alias("cell"))
    cells = cells.with_columns(_typed(pl.col("cell"), column).alias("typed"))
    return cells.with_columns(_broken_rule(pl.col("cell"), pl.col("typed"), column).alias("rule"))


def _typed(cell: pl.Expr, column: Column) -> pl.Expr:
    matching = pl.when(cell.str.contains(_whole(FORMS[column.kind]))).then(cell)
    match column.kind:
        case "text" | "id":
            return matching
        case "int":
            return matching.cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)
        case "float":
            return matching.cast(pl.Float64, strict=False)
        case "time":
            # Uncached, because hardly any time occurs twice.
            return matching.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False, cache=False)
        case "date":
            return matching.str.to_date("%Y-%m-%d", strict=False)


def _broken_rule(cell: pl.Expr, typed: pl.Expr, column: Column) -> pl.Expr:
    names = {"text": "not plain text", "id": "not plain text", "int": "not a whole number", "float": "not a number"}
    broken = [(cell.is_not_null() & typed.is_null(), names.get(column.kind, f"not a {column.kind}"))]
    if not column.may_be_blank:
        broken.insert(0, (cell.is_null(), "blank"))
    if column.form:
        broken.append((~cell.str.contains(_whole(column.form)), "malformed"))
    if column.values:
        broken.append((~cell.is_in(column.values), "not a known value"))
    if column.low is not None:
        broken.append((typed < column.low, "out of range"))
    if column.high is not None:
        broken.append((typed > column.high, "out of range"))
    return pl.coalesce(*(pl.when(is_broken).then(pl.lit(rule)) for is_broken, rule in broken))


def _whole(form: str) -> str:
    return f"^(?:{form})$"
