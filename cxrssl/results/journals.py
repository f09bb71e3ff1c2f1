"""What runs logged, read in columns from where the last reading ended.

In: the metrics journals of a run, and how far they were read. Out: columns of steps that are new, and how far they are
read now. Never: a step twice; a column where records differ from what `records.steps` says of them; a journal in memory
as a whole.

Suffix letter: N steps.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from cxrssl.core.numbers import LARGEST, LARGEST_COUNT
from cxrssl.records.file import open_plain
from cxrssl.records.steps import NO_METRICS, Column, columns_of, find_cuts
from cxrssl.records.tail import PIECE_BYTES, first_step, is_metric, records_in

NO_STEP = -1
_KEY = re.compile(rb'"([^"\\]+)":')


@dataclass(frozen=True)
class JournalState:
    """How far a journal was read."""

    name: str
    num_bytes: int = 0
    """Whole lines that were read."""
    checksum: int = 0
    """CRC-32 of these bytes."""
    first_step: int = NO_STEP
    """The step that the journal begins at; NO_STEP while it has none."""
    last_step: int = NO_STEP
    """The largest step of the run when it was read to here; NO_STEP where nothing was read."""


def is_continued(paths: Sequence[Path], before: Mapping[str, JournalState], may_grow: bool) -> bool:
    """Return whether journals hold what they held when they were read, and more at most at the end of the last."""
    if [path.name for path in paths] != list(before):
        return False
    for path, state in zip(paths, before.values(), strict=True):
        if first_step(path) != (None if state.first_step == NO_STEP else state.first_step):
            return False
        checksum, has_more = _look_through(path, state.num_bytes)
        if checksum != state.checksum or (has_more and not (may_grow and path is paths[-1])):
            return False
    return True


def read_whole(path: Path) -> JournalState:
    """Return the whole of a small file as if it were a journal that was read."""
    data = b""
    try:
        with open_plain(path) as file:
            data = file.read()
    except OSError:
        return JournalState(path.name)
    return JournalState(path.name, len(data), isal_zlib.crc32(data))


def iter_new(
    paths: Sequence[Path], before: Mapping[str, JournalState], on_read: Callable[[JournalState], None]
) -> Iterator[list[Column]]:
    """Yield what journals logged since, about PIECE_BYTES of them at a time; `on_read` is told how far each is read."""
    cuts = find_cuts(paths)
    last, keys = max((state.last_step for state in before.values()), default=NO_STEP), list[str]()
    for path in paths:
        state = before.get(path.name) or JournalState(path.name)
        first = first_step(path)
        state = replace(state, first_step=NO_STEP if first is None else first)
        for piece in _Pieces(path, state.num_bytes):
            columns, last, keys = read_piece(piece.data, last, cuts.get(path), keys)
            state = replace(
                state,
                num_bytes=state.num_bytes + piece.num_bytes,
                checksum=isal_zlib.crc32(piece.passed, state.checksum),
                last_step=last,
            )
            if columns:
                yield columns
        on_read(state)


def read_piece(data: bytes, last: int, cut: int | None, keys: list[str]) -> tuple[list[Column], int, list[str]]:
    """Return the columns of whole lines whose steps come after `last` and before `cut`, the last step, and the keys.

    `keys` are those of the lines before, which these lines are likely to have too.
    """
    found = _read_alike(data, keys)
    if found is not None:
        columns, last = _keep_alike(*found, last, cut)
        return columns, last, list(found[0])
    kept = []
    for record in records_in(data):
        if is_metric(record) and last < record["step"] and (cut is None or record["step"] < cut):
            last = record["step"]
            kept.append(record)
    return list(columns_of(kept)), last, keys


Floats = npt.NDArray[np.float64]


def _read_alike(data: bytes, keys: Sequence[str]) -> tuple[dict[str, Floats], npt.NDArray[np.int64]] | None:
    """Return the numbers of lines by key, nan where a line lacks a key, and their steps; None for other lines.

    Polars reads numbers alone here: it refuses a line that is no JSON, and a value that is of another type. What it
    passes over, keys that were not named and keys given twice, shows in the count of keys.
    """
    import polars as pl

    if not data.isascii() or b"\r" in data:
        return None
    bytes_N = np.frombuffer(data, np.uint8)
    num_lines, num_colons = (np.count_nonzero(bytes_N == each) for each in b"\n:")
    if not num_lines:
        return {}, np.array([], np.int64)
    for names in _guess_keys(data, keys):
        schema: dict[str, type[pl.DataType]] = dict.fromkeys(names, pl.Float64) | {"step": pl.Int64}
        try:
            frame = pl.read_ndjson(io.BytesIO(data), schema=schema)
        except pl.exceptions.PolarsError:
            return None
        nulls = dict(zip(frame.columns, frame.null_count().row(0), strict=True))
        if frame.height != num_lines:
            return None
        num_found = frame.height * len(nulls) - sum(nulls.values())
        if num_found == num_colons or num_found == data.count(b'":'):  # the first is counted at once
            whole = all(nulls.get(name, 1) == 0 for name in ("ts", "step")) and nulls.get("epoch", 0) == 0
            return _to_arrays(frame) if whole else None
    return None


def _guess_keys(data: bytes, keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield keys that lines may have: those of lines before with those of the first line, then those that occur."""
    try:
        first = json.loads(data[: data.find(b"\n")])
    except (ValueError, RecursionError):
        first = None
    if isinstance(first, dict):
        yield list(dict.fromkeys([*keys, *first]))
    yield sorted({key.decode("ascii") for key in _KEY.findall(data)})


def _to_arrays(frame: object) -> tuple[dict[str, Floats], npt.NDArray[np.int64]]:
    import polars as pl

    assert isinstance(frame, pl.DataFrame)
    floats = {name: frame[name].to_numpy() for name in frame.columns if name != "step"}
    return floats, frame["step"].to_numpy()


def _keep_alike(
    floats: dict[str, Floats], step_N: npt.NDArray[np.int64], last: int, cut: int | None
) -> tuple[list[Column], int]:
    """Return the columns of the steps that count: a step that was done again counts as it was done first here."""
    if not len(step_N):
        return [], last
    ts_N = _bounded(floats["ts"])
    is_step = (step_N >= 0) & (step_N < LARGEST_COUNT) & np.isfinite(ts_N)
    is_step &= step_N < (LARGEST_COUNT if cut is None else cut)
    before_N = np.maximum.accumulate(np.concatenate([[last], np.where(is_step, step_N, NO_STEP)]))
    is_step &= step_N > before_N[:-1]
    if not is_step.any():
        return [], last
    steps, times = step_N[is_step], ts_N[is_step]
    epochs = _bounded(floats["epoch"])[is_step] if "epoch" in floats else None
    columns = []
    for key, values in floats.items():
        if key in NO_METRICS:
            continue
        kept = values[is_step]
        has = ~np.isnan(kept)  # a line without the key: nan itself is no number of JSON
        if has.all():
            columns.append(Column(key, steps, epochs, times, _bounded(kept)))
        elif has.any():
            columns.append(
                Column(key, steps[has], None if epochs is None else epochs[has], times[has], _bounded(kept[has]))
            )
    return columns, int(before_N[-1])


def _bounded(numbers: Floats) -> Floats:
    """Return `number_of` each: too large to be drawn is infinite."""
    return np.where(np.abs(numbers) >= LARGEST, np.copysign(np.inf, numbers), numbers)


@dataclass(frozen=True)
class _Piece:
    data: bytes
    """Whole lines."""
    passed: bytes
    """All that is read with them: a line longer than a piece is passed over."""

    @property
    def num_bytes(self) -> int:
        return len(self.passed)


class _Pieces:
    """The whole lines of a file from a place on, as `JournalTail` takes them."""

    def __init__(self, path: Path, offset: int) -> None:
        self._path, self._offset = path, offset

    def __iter__(self) -> Iterator[_Piece]:
        try:
            with open_plain(self._path) as file:
                file.seek(self._offset)
                rest = b""
                while True:
                    data = rest + file.read(PIECE_BYTES - len(rest))
                    end = data.rfind(b"\n") + 1
                    is_at_end = len(data) < PIECE_BYTES
                    if end or not is_at_end:
                        yield _Piece(data[:end], data[:end] if end else data)
                    if is_at_end:
                        return
                    rest = data[end:] if end else b""
        except OSError:
            return


def _look_through(path: Path, num_bytes: int) -> tuple[int | None, bool]:
    """Return the CRC-32 of the first bytes of a file, None where there are fewer, and whether a line follows them."""
    checksum, left = 0, num_bytes
    try:
        with open_plain(path) as file:
            while left:
                data = file.read(min(left, PIECE_BYTES))
                if not data:
                    return None, False
                checksum, left = isal_zlib.crc32(data, checksum), left - len(data)
            rest = file.read(PIECE_BYTES)
    except OSError:
        return (None if num_bytes else 0), False
    return checksum, b"\n" in rest or len(rest) == PIECE_BYTES
