"""Times of a user's tables, absolute or counted from a moment, as moments of one clock.

In: cells, [time] of a map. Out: moments. Offsets are laid on a clock that begins at ZERO, the moment of the film that a
row is about, or one of its patient's. Never: a date without a time that is taken for a moment.
"""

from __future__ import annotations

import re
from datetime import datetime

import polars as pl

from cxrssl.cohort.maps.declared import UNITS_H, TimeMap

ZERO = datetime(2000, 1, 1)
"""The moment from which offsets are counted."""
MAX_OFFSET_H = 24 * 366 * 150.0
ISO = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M")
NUMBER = r"^[+-]?([0-9]{1,12}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?$"
DATE_ONLY = "a date without a time"
NO_TIME = "not a time"
HOURS = frozenset("HITRklXrcs+")
"""Codes of a format that say the hour."""


def read_moments(cells: pl.Series, time: TimeMap) -> tuple[pl.Series, pl.Series]:
    """Return the moment of each cell, and the rule that it breaks or null."""
    text = cells.str.strip_chars().alias("text")
    frame = text.to_frame().with_columns(_moment(time).alias("moment"))
    frame = frame.with_columns(
        pl.when(pl.col("text").is_null() | (pl.col("text") == "") | pl.col("moment").is_not_null())
        .then(None)
        .when(_day(time).is_not_null())
        .then(pl.lit(DATE_ONLY))
        .otherwise(pl.lit(NO_TIME))
        .alias("rule")
    )
    return frame["moment"], frame["rule"]


def read_days(cells: pl.Series, time: TimeMap) -> pl.Series:
    """Return the day of each cell, also of those without a time; null where times are offsets."""
    text = cells.str.strip_chars().alias("text")
    frame = text.to_frame().select(pl.coalesce(_moment(time).dt.date(), _day(time)).alias("day"))
    return frame["day"] if not time.unit else pl.Series("day", [None] * len(cells), pl.Date)


def _moment(time: TimeMap) -> pl.Expr:
    text = pl.col("text")
    if time.unit:
        hours = pl.when(text.str.contains(NUMBER)).then(text).cast(pl.Float64, strict=False) * UNITS_H[time.unit]
        micros = (pl.when(hours.abs() <= MAX_OFFSET_H).then(hours) * 3.6e9).round().cast(pl.Int64)
        return pl.lit(ZERO).cast(pl.Datetime("us")) + pl.duration(microseconds=micros)
    if time.format:
        if not has_hours(time.format):
            return _none()
        moment = text.str.to_datetime(time.format, time_unit="us", strict=False)
        # Moments with an offset are laid on one clock, that of UTC, wherever they are read.
        return moment.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if has_offset(time.format) else moment
    tidy = text.str.replace("T", " ", literal=True).str.replace(r" ?(UTC|Z|\+00:?00)$", "")
    return pl.coalesce(tidy.str.to_datetime(form, time_unit="us", strict=False) for form in ISO)


def _day(time: TimeMap) -> pl.Expr:
    text = pl.col("text")
    if time.unit:
        return pl.lit(None, pl.Date)
    if time.format:
        return pl.lit(None, pl.Date) if has_hours(time.format) else text.str.to_date(time.format, strict=False)
    return text.str.to_date("%Y-%m-%d", strict=False)


def has_hours(form: str) -> bool:
    """Return whether a format says the hour."""
    return any(code in HOURS for code in _codes(form))


def has_offset(form: str) -> bool:
    """Return whether a format says how far a time lies from UTC."""
    return any(code in ("z", "+") for code in _codes(form))


def _codes(form: str) -> list[str]:
    """Return the letters of a format's codes, without their padding."""
    return re.findall(r"%[-_0:#]*([A-Za-z+])", form.replace("%%", ""))


def _none() -> pl.Expr:
    return pl.lit(None, pl.Datetime("us"))
