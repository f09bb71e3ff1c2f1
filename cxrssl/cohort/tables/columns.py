"""The language in which source tables are declared, and the rules that turn text cells into typed values.

In: a frame of text cells. Out: a typed frame, and for each row that breaks a rule the column and the rule.
Never: a type or a format guessed from the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

Kind = Literal["text", "int", "float", "time", "date"]
POLARS_TYPES: dict[Kind, pl.DataType] = {
    "text": pl.String(),
    "int": pl.Int64(),
    "float": pl.Float64(),
    "time": pl.Datetime("us"),
    "date": pl.Date(),
}
# [0-9] and not \d: \d also matches the digits of other scripts.
FORMS: dict[Kind, str] = {
    "text": r"[^\x00-\x1f\x7f\x{FFFD}]*",
    "int": r"-?[0-9]{1,9}(\.0+)?",
    "float": r"-?[0-9]{1,12}(\.[0-9]*)?",
    # Polars reads second 60, a leap second, as the next minute.
    "time": r"[1-9][0-9]{3}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-5][0-9]",
    "date": r"[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}",
}


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
    when_bad: Literal["reject", "blank"] = "reject"
    """`reject` the row, or keep it with this cell unknown and counted."""
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
    frame = frame.select("typed", rule.alias("rule"))
    if frame["rule"].null_count() < frame.height:
        # A cell that breaks a rule is never shown, whether its row is kept or rejected.
        frame = frame.with_columns(pl.when(pl.col("rule").is_null()).then(pl.col("typed")).alias("typed"))
    return frame["typed"].alias(column.name), frame["rule"].alias(column.name)


def _typed(cell: pl.Expr, column: Column) -> pl.Expr:
    matching = pl.when(cell.str.contains(_whole(FORMS[column.kind]))).then(cell)
    match column.kind:
        case "text":
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
    names = {"text": "not plain text", "int": "not a whole number", "float": "not a number"}
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
