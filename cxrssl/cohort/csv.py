"""A frame as CSV that a spreadsheet may open: its text is shown, and none of it is run.

In: a frame. Out: CSV in UTF-8. Never: a control character, or a text that begins as a formula does.
"""

from __future__ import annotations

import polars as pl

from cxrssl.core.text import csv_text


def frame_csv(frame: pl.DataFrame) -> bytes:
    """Return a frame as CSV, times in ISO 8601; its numbers stay numbers, its texts and columns pass `csv_text`."""
    safe = frame.with_columns(_safe(column) for column in frame.get_columns() if column.dtype == pl.String)
    safe.columns = _name_columns(frame.columns)
    return safe.write_csv(datetime_format="%Y-%m-%dT%H:%M:%S%.3f").encode()


def _name_columns(names: list[str]) -> list[str]:
    """Return the names as text; of those that differ in control characters alone, the later ones get a number."""
    taken: dict[str, None] = {}
    for name in map(csv_text, names):
        count = 1
        while (wanted := name if count == 1 else f"{name}_{count}") in taken:
            count += 1
        taken[wanted] = None
    return list(taken)


def _safe(column: pl.Series) -> pl.Series:
    """Return the column with the texts replaced that need it, which are few."""
    texts = column.drop_nulls().unique().to_list()
    unsafe = {text: safe for text in texts if (safe := csv_text(text)) != text}
    return column.replace(unsafe) if unsafe else column
