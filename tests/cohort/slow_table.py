"""The outcome of reading a table, said again in the plainest way: the csv module, a loop, Python's own types.

`read_table` must agree with it cell by cell, line by line, reject by reject.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from cxrssl.cohort.tables.columns import Column, TableSpec

# What Unicode calls white space; Python's strip() takes \x1c to \x1f for it too.
WHITE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


class Refused(Exception):
    """The file cannot be trusted; the text is a part of the message."""


@dataclass
class SlowTable:
    """What `SourceTable` holds, as plain lists and dicts."""

    rows: int = 0
    frame: list[tuple[Any, ...]] = field(default_factory=list)
    rejects: list[tuple[int, str, str, str | None]] = field(default_factory=list)
    blanked: dict[str, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def read_slowly(data: bytes, spec: TableSpec, has_header: bool = True) -> SlowTable:
    """Return the table that the bytes of an unpacked file hold."""
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = read_header(rows) if has_header else [column.name for column in spec.columns]
    positions = [find_column(header, column) for column in spec.columns]
    table = SlowTable()
    broken: list[tuple[int, str, str, str | None]] = []
    bad: list[tuple[int, str, str, str | None]] = []
    while True:
        line, rule, cells = rows.line_num + 1, "", []
        try:
            cells = next(rows)
        except StopIteration:
            break
        except csv.Error as error:
            rule = f"not CSV: {error}"
        if not rule and not cells:
            continue
        table.rows += 1
        if not rule and (len(cells) < len(header) or any(cells[len(header) :])):
            rule = f"{len(cells)} field{'s' * (len(cells) != 1)} where the header has {len(header)}"
        if not rule:
            accept_or_reject(table, bad, line, [cells[position] for position in positions], spec)
            continue
        if rows.line_num > line:
            raise Refused(f"a quote that opens on line {line:,} does not close on it")
        broken.append((line, "", rule, None))
    if not table.rows:
        raise Refused("has no rows")
    table.rejects = broken + bad
    reject_duplicates(table, spec)
    if text[-1] not in "\r\n":
        table.remarks.append("the last line does not end: the file may be cut short")
    return table


def read_header(rows: Any) -> list[str]:
    try:
        header = [name.strip() for name in next(rows)]
    except StopIteration:
        raise Refused("is empty") from None
    except csv.Error:
        raise Refused("the header cannot be read") from None
    while header and not header[-1]:
        header.pop()
    return header


def find_column(header: list[str], column: Column) -> int:
    found = [number for number, name in enumerate(header) if name in (column.name, *column.aliases)]
    if not found:
        raise Refused(f'column "{column.name}" is missing')
    if len(found) > 1:
        raise Refused(f'column "{column.name}" occurs twice')
    return found[0]


def accept_or_reject(table: SlowTable, bad: list[Any], line: int, cells: list[str], spec: TableSpec) -> None:
    values, complaints = [], []
    for cell, column in zip(cells, spec.columns, strict=True):
        value, rule = read_cell(cell.strip(WHITE), column)
        values.append(None if rule else value)
        if rule and column.when_bad != "reject":
            label = f"{column.name}: {rule}"
            table.blanked[label] = table.blanked.get(label, 0) + 1
        elif rule:
            complaints.append((column.name, rule))
    if complaints:
        names = [column.name for column in spec.columns]
        bad.append((line, *complaints[0], values[names.index(spec.subject)] if spec.subject in names else None))
    else:
        table.frame.append((line, *values))


ZONE = r"(\.0+)?( ?(UTC|Z|\+0000|\+00:00))?"
DAY = "[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}"


def respell(cell: str, column: Column) -> str:
    """Return a cell as we write it, where another program's spelling says the same."""
    if column.may_be_blank and column.kind != "text" and cell in ("NaN", "nan", "NaT", "None", "NULL", "null", "<NA>"):
        return ""
    if column.kind == "id" and re.fullmatch(r"[0-9]+\.0+", cell) and read_cell(cell, column, again=False)[1]:
        return cell.partition(".")[0]
    if column.kind == "time" and re.fullmatch(rf"{DAY}[ T][0-9]{{2}}:[0-9]{{2}}:[0-5][0-9]{ZONE}", cell):
        return f"{cell[:10]} {cell[11:19]}"
    if column.kind == "date" and re.fullmatch(rf"{DAY}[ T]00:00:00{ZONE}", cell):
        return cell[:10]
    return cell


def read_cell(cell: str, column: Column, again: bool = True) -> tuple[Any, str]:
    """Return (value, broken rule or "")."""
    if again:
        cell = respell(cell, column)
    if not cell:
        return None, "" if column.may_be_blank else "blank"
    words = {
        "text": "plain text",
        "id": "plain text",
        "int": "a whole number",
        "float": "a number",
        "time": "a time",
        "date": "a date",
    }
    try:
        value = parse(cell, column)
    except ValueError:
        return None, f"not {words[column.kind]}"
    if column.form and not re.fullmatch(column.form, cell):
        return None, "malformed"
    if column.values and cell not in column.values:
        return None, "not a known value"
    if (column.low is not None and value < column.low) or (column.high is not None and value > column.high):
        return None, "out of range"
    return value, ""


def parse(cell: str, column: Column) -> Any:
    match column.kind:
        case "text" | "id":
            if any(char < " " or char in "\x7f\ufffd" for char in cell):
                raise ValueError
            return cell
        case "int" if re.fullmatch(r"-?[0-9]{1,9}(\.0+)?", cell):
            return int(float(cell))
        case "float" if re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]*)?", cell):
            return float(cell)
        case "time" if re.fullmatch("[1-9][0-9]{3}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}", cell):
            return datetime.strptime(cell, "%Y-%m-%d %H:%M:%S")
        case "date" if re.fullmatch("[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}", cell):
            return date.fromisoformat(cell)
    raise ValueError


def reject_duplicates(table: SlowTable, spec: TableSpec) -> None:
    names = [column.name for column in spec.columns]
    if not spec.key:
        return
    groups: dict[Any, list[tuple[Any, ...]]] = {}
    for row in table.frame:
        groups.setdefault(tuple(row[1 + names.index(name)] for name in spec.key), []).append(row)
    conflicts, repeats = [], []
    for group in groups.values():
        if len({row[1:] for row in group}) > 1:
            conflicts += group
        else:
            repeats += group[1:]
    place = 1 + names.index(spec.subject) if spec.subject in names else None
    for rows, rule in ((conflicts, "the same key with different content"), (repeats, "the same row again")):
        subjects = [(row[0], spec.key[0], rule, row[place] if place else None) for row in rows]
        table.rejects += sorted(subjects, key=lambda reject: reject[0])
    gone = {row[0] for row in conflicts + repeats}
    table.frame = [row for row in table.frame if row[0] not in gone]
