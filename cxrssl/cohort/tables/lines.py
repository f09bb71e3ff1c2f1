"""The lines of a table as text cells: plain lines in bulk, all others one by one by the rules of RFC 4180.

In: the bytes of a csv file. Out: a frame of text cells with their line, and the lines that are not rows.
Never: a cell that differs from what the csv module reads.

A line is plain when splitting it at commas is enough: ASCII without quote and NUL, as many commas as the header, ended
by LF or CRLF.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from cxrssl.core.errors import DataError
from cxrssl.core.text import count_noun

LF, CR, COMMA, QUOTE, NUL = b'\n\r,"\0'
Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Broken:
    """A line that is not a row."""

    line: int
    rule: str


class LineReader:
    """Records of a csv file by the line on which they begin, counted from 0."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.ends = find_line_ends(data)
        self.next_line = 0
        """The line after the last record read."""
        self._rows = csv.reader(self._iter_text(), strict=True)

    def __len__(self) -> int:
        return len(self.ends)

    def read_record(self, line: int) -> list[str]:
        """Return the cells of the record that begins on `line`; a blank line has none.

        Raises: csv.Error.
        """
        self.next_line = line
        return next(self._rows)

    def _iter_text(self) -> Iterator[str]:
        while self.next_line < len(self.ends):
            start = int(self.ends[self.next_line - 1]) if self.next_line else 0
            self.next_line += 1
            yield self.data[start : int(self.ends[self.next_line - 1])].decode("utf-8", "replace")


def find_line_ends(data: bytes) -> Places:
    """Return where each line ends, after its LF, CRLF or CR."""
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == LF) + 1
    bare = _find_bare_cr(data) + 1
    ends = np.sort(np.concatenate([ends, bare])) if len(bare) else ends
    return ends if data.endswith((b"\n", b"\r")) or not data else np.append(ends, len(data))


def read_cells(
    reader: LineReader, first: int, positions: Sequence[int], width: int, file: str, path: Path
) -> tuple[pl.DataFrame, list[Broken]]:
    """Return `line` (counted from 1) and the cells at `positions`, named "0", "1", ..., for the rows from line `first`.

    A blank line is not a row. A row has `width` cells; further cells are allowed when they are empty.

    Raises: DataError when an open quote swallows lines, because their content is then unknown.
    """
    is_plain = _find_plain(reader, width)
    is_plain[:first] = False
    odd = np.flatnonzero(~is_plain[first:]) + first
    rows, broken = _read_odd(reader, odd.tolist(), positions, width, is_plain, file, path)
    cells = _read_plain(reader, is_plain, positions, width)
    if rows:
        columns = dict(zip(cells.columns, zip(*rows, strict=True), strict=True))
        cells = pl.concat([cells, pl.DataFrame(columns, cells.schema)]).sort("line")
    return cells, broken


def _find_bare_cr(data: bytes) -> Places:
    """Return the position of each CR that no LF follows."""
    octets = np.frombuffer(data, np.uint8)
    if b"\r" not in data:
        return np.empty(0, np.int64)
    bare: Places = np.flatnonzero((octets == CR) & (np.append(octets[1:], 0) != LF))
    return bare


def _find_strange(data: bytes) -> Places:
    """Return the position of each byte that no plain line has; `in` first rules out bytes that occur nowhere."""
    octets = np.frombuffer(data, np.uint8)
    found = [_find_bare_cr(data)]
    found += [np.flatnonzero(octets == value) for value in (QUOTE, NUL) if bytes([value]) in data]
    found += [] if data.isascii() else [np.flatnonzero(octets >= 0x80)]
    return np.concatenate(found)


def _find_plain(reader: LineReader, width: int) -> Mask:
    octets = np.frombuffer(reader.data, np.uint8)
    starts = np.append(0, reader.ends)[:-1]
    num_commas = np.diff(np.searchsorted(np.flatnonzero(octets == COMMA), reader.ends), prepend=0)
    is_plain: Mask = (num_commas == width - 1) & (reader.ends - starts <= csv.field_size_limit())
    is_plain &= ~np.isin(octets[starts], (LF, CR))
    is_plain[np.searchsorted(reader.ends, _find_strange(reader.data), "right")] = False
    return is_plain


def _read_odd(
    reader: LineReader,
    lines: Sequence[int],
    positions: Sequence[int],
    width: int,
    is_plain: Mask,
    file: str,
    path: Path,
) -> tuple[list[tuple[object, ...]], list[Broken]]:
    """Return the rows and the broken lines; mark the lines that continue a record as not plain."""
    rows: list[tuple[object, ...]] = []
    broken: list[Broken] = []
    for line in lines:
        if line < reader.next_line:
            continue
        rule, cells = "", []
        try:
            cells = reader.read_record(line)
        except csv.Error as error:
            rule = f"not CSV: {error}"
        is_plain[line : reader.next_line] = False
        if not rule and not cells:
            continue
        if not rule and (len(cells) < width or any(cells[width:])):
            rule = f"{count_noun(len(cells), 'field')} where the header has {width}"
        if not rule:
            rows.append((line + 1, *(cells[position] for position in positions)))
            continue
        if reader.next_line > line + 1:
            what = f"{file}: a quote that opens on line {line + 1:,} does not close on it"
            raise DataError(what, path, "repair the file")
        broken.append(Broken(line + 1, rule))
    return rows, broken


def _read_plain(reader: LineReader, is_plain: Mask, positions: Sequence[int], width: int) -> pl.DataFrame:
    lines = np.flatnonzero(is_plain)
    names = [str(number) for number in range(len(positions))]
    if not len(lines):
        return pl.DataFrame(schema={"line": pl.Int64(), **dict.fromkeys(names, pl.String())})
    cells = pl.read_csv(
        _join_lines(reader, is_plain),
        has_header=False,
        schema={str(position): pl.String() for position in range(width)},
        columns=sorted(positions),
        infer_schema=False,
        quote_char=None,
    )
    assert cells.height == len(lines), "every plain line is a row"
    renamed = (pl.col(str(position)).alias(name) for position, name in zip(positions, names, strict=True))
    return cells.select(pl.Series("line", lines + 1), *renamed)


def _join_lines(reader: LineReader, is_plain: Mask) -> bytes:
    """Return the bytes of the plain lines, copied run by run."""
    edges = np.flatnonzero(np.diff(is_plain, prepend=False, append=False))
    bounds = np.append(0, reader.ends)[edges].reshape(-1, 2).tolist()
    view = memoryview(reader.data)
    return b"".join(view[start:stop] for start, stop in bounds)
