"""Rows of a map's tables that have a time, each with the films that it is about.

In: a table of the map, films with their moments. Out: its rows, and the id by which they know each film. Never: a row
whose id is no film's, or a cell that is no time, that is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from cxrssl.cohort.files import Layout
from cxrssl.cohort.maps.clock import ZERO, read_moments
from cxrssl.cohort.maps.declared import MeasureMap, SpanMap, TimeMap
from cxrssl.cohort.maps.tables import check_some, film_ids, own, read_text
from cxrssl.cohort.tables.table import SourceTable
from cxrssl.core.errors import ConfigError


@dataclass(frozen=True)
class Timed:
    """The films of a folder and the table that they are rows of."""

    table: SourceTable
    image: pl.DataFrame
    """image_id, study_id, subject_id, path, taken_at: row for row with the frame of `table`."""
    time: TimeMap
    layout: Layout

    def moments(self) -> pl.Series:
        """Return the moment of each film on the clock that times are counted on.

        Raises: ConfigError when that is not the film's own and the map says nothing of it.
        """
        if self.time.unit and self.time.zero == "film":
            return pl.Series("at", [ZERO] * self.image.height, pl.Datetime("us"))
        if self.image["taken_at"].null_count() == self.image.height:
            what = "intervals and measures need the time of each film"
            raise ConfigError(what, hint='write taken = "COLUMN" in [films], or zero = "film" in [time]')
        return self.image["taken_at"].alias("at")


def read_rows(
    timed: Timed, place: SpanMap | MeasureMap, name: str, columns: list[str]
) -> tuple[SourceTable, pl.Series]:
    """Return the rows of a section as text with `id`, and the id by which they know each film."""
    if not place.file:
        return timed.table, timed.image["image_id"]
    table = read_text(timed.layout.files[name], place.column, columns, "")
    return table, film_ids(timed.image, table, place.key)


def take_moments(table: SourceTable, column: str, time: TimeMap) -> pl.Series:
    """Return the moments of a column; cells that are none are counted.

    Raises: DataError when it has cells and none is a time.
    """
    cells = table.frame[own(column)]
    moments, rule = read_moments(cells, time)
    for broken in rule.drop_nulls().unique().sort():
        table.blanked[f"{column}: {broken}"] = int((rule == broken).sum())
    check_some(table, column, cells, moments, "times")
    return moments
