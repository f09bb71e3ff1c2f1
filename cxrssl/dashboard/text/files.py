"""A table of the screen as a file: CSV for programs, Markdown and LaTeX for papers. Pure.

In: Sheet. Out: text. Never: a control character from data, or a cell that a spreadsheet would run.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from cxrssl.core.text import csv_text, plain
from cxrssl.dashboard.text.cells import NOTHING
from cxrssl.dashboard.text.sheet import Sheet

LATEX = str.maketrans(
    {
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
        "–": "--",
        "−": "$-$",
        "±": r"$\pm$",
        "≠": r"$\neq$",
        "°": r"$^\circ$",
        "…": r"\dots{}",
    }
)
MARKS = str.maketrans("", "", "▸▼▲●")
"""Of the screen alone: what is pinned, marked and sorted by."""
_INTERVAL = re.compile(r"([+-]?[0-9.]+)(?: \[([+-]?[0-9.]+), ([+-]?[0-9.]+)\])?(?: no interval)?(.*)")
"""A number with its interval, if it has one, and what stands behind it."""
_THOUSANDS = re.compile(r"[0-9]{1,3}(,[0-9]{3})+")


def to_file(sheet: Sheet) -> Sheet:
    """Return a table as files have it: without pictures, and marks of the screen."""
    for at in reversed([at for at, column in enumerate(sheet.columns) if column.is_drawn]):
        sheet = sheet.without(at)
    columns = tuple(replace(column, label=_unmark(column.head)) for column in sheet.columns)
    rows = {key: tuple(replace(cell, text=_unmark(cell.text)) for cell in row) for key, row in sheet.rows.items()}
    return replace(sheet, columns=columns, rows=rows)


def _unmark(text: str) -> str:
    return text.translate(MARKS).strip()


def to_csv(sheet: Sheet) -> str:
    """Return a table as CSV, for programs: an interval is columns of its own, and a number has no commas."""
    out = io.StringIO(newline="")
    head, *rows = to_file(sheet).texts()
    columns = [[name, *cells] for name, *cells in zip(head, *rows, strict=True)]
    parts = [part for column in columns for part in _split_intervals(column)]
    csv.writer(out, lineterminator="\n").writerows(zip(*(map(csv_text, part) for part in parts), strict=True))
    return out.getvalue()


def _split_intervals(column: Sequence[str]) -> list[list[str]]:
    """Return a column, a head and its cells, as one column, or as value, ends of the interval and mark."""
    head, *cells = column
    cells = [cell.replace(",", "") if _THOUSANDS.fullmatch(cell) else "" if cell == NOTHING else cell for cell in cells]
    found = [_INTERVAL.fullmatch(cell) for cell in cells]
    if not any(match and match[2] for match in found) or not all(
        match or not cell for match, cell in zip(found, cells, strict=True)
    ):
        return [[head, *cells]]
    values = [match.groups("") if match else ("",) * 4 for match in found]
    last = "n" if all(value[3].strip().isdecimal() or not value[3] for value in values) else "mark"
    names = (head, f"{head} low", f"{head} high", f"{head} {last}")
    split = [[name, *(value[at].strip() for value in values)] for at, name in enumerate(names)]
    return split if any(split[-1][1:]) else split[:-1]


def to_markdown(sheet: Sheet) -> str:
    """Return a table in GitHub's Markdown, its notes below."""
    sheet = to_file(sheet)
    head, *rows = [[_markdown(cell) for cell in row] for row in sheet.texts()]
    rule = [":--" if column.is_left else "--:" for column in sheet.columns]
    lines = [f"| {' | '.join(row)} |" for row in (head, rule, *rows)]
    return "\n".join([*lines, "", *(f"- {_markdown(note)}" for note in sheet.notes)]).rstrip() + "\n"


def to_latex(sheet: Sheet) -> str:
    """Return a table for LaTeX with booktabs, its notes as comments."""
    sheet = to_file(sheet)
    head, *rows = [[plain(cell).translate(LATEX) for cell in row] for row in sheet.texts()]
    spec = "".join("l" if column.is_left else "r" for column in sheet.columns)
    lines = [rf"\begin{{tabular}}{{{spec}}}", r"\toprule", rf"{' & '.join(head)} \\", r"\midrule"]
    lines += [rf"{' & '.join(row)} \\" for row in rows]
    notes = [f"% {plain(note)}" for note in sheet.notes]
    return "\n".join([*notes, *lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


FORMATS: dict[str, Callable[[Sheet], str]] = {"CSV": to_csv, "Markdown": to_markdown, "LaTeX": to_latex}


def _markdown(text: str) -> str:
    escaped = plain(text.strip())
    for char in "\\`*_[]<>|":
        escaped = escaped.replace(char, f"\\{char}")
    return escaped
