"""Rows and columns as Polars frames, in pieces that a database takes at once.

In: rows of Python, or columns of numbers. Out: frames. Never: a row of Python's for each number that was logged.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cxrssl.results.run_rows import Rows

if TYPE_CHECKING:
    import polars as pl

    from cxrssl.records.steps import Column

BATCH_ROWS = 100_000


def make_rows(rows: Rows, schema: pl.Schema) -> Iterator[pl.DataFrame]:
    """Yield frames of at most BATCH_ROWS rows; a column that a row lacks is null."""
    import polars as pl

    left = iter(rows)
    while batch := list(itertools.islice(left, BATCH_ROWS)):
        yield pl.DataFrame(batch, schema)


def make_frame(columns: Sequence[Column]) -> pl.DataFrame:
    """Return columns one below the other: `key` is the place of each in `columns`."""
    import polars as pl

    sizes = [len(column.step_N) for column in columns]
    none = pl.Series([None], dtype=pl.Float64)
    return pl.DataFrame(
        {
            "key": np.repeat(np.arange(len(columns), dtype=np.int64), sizes),
            "step": np.concatenate([column.step_N for column in columns]),
            "epoch": pl.concat(
                [
                    none.new_from_index(0, size) if column.epoch_N is None else pl.Series(column.epoch_N)
                    for column, size in zip(columns, sizes, strict=True)
                ]
            ),
            "ts": np.concatenate([column.ts_N for column in columns]),
            "value": np.concatenate([column.value_N for column in columns]) + 0.0,  # there is one zero
        }
    )
