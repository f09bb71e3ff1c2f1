"""Where films lie to intervals of a map: in intensive care or not, how long after the admission.

In: [admission], [icu]. Out: icu, since_admission_h and los_d by film, and how many films lie before, in and after.
Never: "not in intensive care" of a person of whom an interval cannot be read.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from cxrssl.cohort.maps.declared import SpanMap
from cxrssl.cohort.maps.moments import Timed, read_rows, take_moments
from cxrssl.cohort.maps.tables import own, table_name
from cxrssl.cohort.tables.table import SourceTable

POSITIONS = ("in", "before", "after", "between", "never", "unknown")
HOUR_US = 3_600_000_000


def place_films(
    timed: Timed, spans: Mapping[str, SpanMap]
) -> tuple[pl.DataFrame, dict[str, dict[str, int]], list[SourceTable]]:
    """Return what follows from the intervals, row for row with the films, the count of each position, and tables."""
    said = timed.image.select("image_id")
    counts: dict[str, dict[str, int]] = {}
    others = []
    for name, span in spans.items():
        found, table = _place(timed, name, span)
        if span.file:
            others.append(table)
        num = dict(found["position"].value_counts().iter_rows())
        counts[name] = {position: num[position] for position in POSITIONS if position in num}
        said = said.with_columns(_follow(name, found))
    return said, counts, others


def span_columns(span: SpanMap) -> list[str]:
    """Return the columns with the ends of the intervals."""
    return [each for each in (span.start, span.end) if each]


def _place(timed: Timed, name: str, span: SpanMap) -> tuple[pl.DataFrame, SourceTable]:
    """Return position, start and end of the interval that a film is in, row for row with the films."""
    table, ids = read_rows(timed, span, table_name(name), span_columns(span))
    start = take_moments(table, span.start, timed.time)
    end = take_moments(table, span.end, timed.time) if span.end else pl.Series([None] * len(start), dtype=start.dtype)
    said = [table.frame[own(column)].is_not_null() for column in span_columns(span)]
    is_said = said[0] | said[-1]
    is_whole = start.is_not_null() & (end.is_not_null() if span.end else True) & (end >= start).fill_null(not span.end)
    rows = pl.DataFrame({"id": table.frame["id"], "start": start, "end": end, "is_whole": is_whole}).filter(is_said)
    num_bad = rows.height - int(rows["is_whole"].sum())
    if num_bad:
        table.blanked[f"{span.start}: not an interval"] = num_bad
    films = pl.DataFrame({"film": range(len(ids)), "id": ids, "at": timed.moments()})
    pairs = films.join(rows, "id", "inner").with_columns(
        is_in=pl.col("is_whole") & (pl.col("start") <= pl.col("at")) & (pl.col("at") <= pl.col("end")).fill_null(True),
        is_later=pl.col("start") > pl.col("at"),
    )
    inside = pairs.filter("is_in").sort("start", "end").group_by("film").last().select("film", "start", "end")
    of_film = pairs.group_by("film").agg(
        pl.col("is_in").any(), pl.col("is_whole").all(), pl.col("is_later").all().alias("is_before"),
        (~pl.col("is_later")).all().alias("is_after"),
    )  # fmt: skip
    found = films.join(of_film, "film", "left").join(inside, "film", "left").sort("film")
    position = (
        pl.when(pl.col("at").is_null())
        .then(pl.lit("unknown"))
        .when(pl.col("is_in"))
        .then(pl.lit("in"))
        .when(pl.col("is_in").is_null())
        .then(pl.lit(span.absent))
        .when(~pl.col("is_whole"))
        .then(pl.lit("unknown"))
        .when("is_before")
        .then(pl.lit("before"))
        .when("is_after")
        .then(pl.lit("after"))
        .otherwise(pl.lit("between"))
    )
    return found.with_columns(position.alias("position")), table


def _follow(name: str, found: pl.DataFrame) -> list[pl.Series]:
    position = pl.col("position")
    if name == "icu":
        word = pl.when(position == "in").then(pl.lit("icu")).when(position != "unknown").then(pl.lit("not_icu"))
        return found.select(word.alias("icu")).get_columns()
    since = (pl.col("at") - pl.col("start")).dt.total_microseconds() / HOUR_US
    stay = (pl.col("end") - pl.col("start")).dt.total_microseconds() / (24 * HOUR_US)
    return found.select(since.alias("since_admission_h"), stay.alias("los_d")).get_columns()
