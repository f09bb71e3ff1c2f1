"""The value of a measured feature for each film: SQL over staged rows.

In: tables `film` and `person` of a scratch database, staged rows. Out: `chosen`, one row a film that has a value.
Never: a value that was stored after the film was taken, or that a reader of the record could not have known then.

Of equally near values the one that was stored last counts, of those the largest: the order of rows plays no part.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cxrssl.cohort.feature import EventSource, EventTable, Feature, Measured
from cxrssl.db import quote_name, quote_text

FILM = """
CREATE TABLE film (
    film BIGINT, who INTEGER, taken_at TIMESTAMP, admittime TIMESTAMP, hadm_id VARCHAR, in_icu BOOLEAN, is_sure BOOLEAN
)"""
PERSON = "CREATE TABLE person (who INTEGER, subject VARCHAR)"
STAY = "CREATE TABLE stay (kind VARCHAR, stay VARCHAR, start TIMESTAMP, until TIMESTAMP)"
STAY_COLUMNS = {"admittime": "start", "intime": "start", "dischtime": "until", "outtime": "until"}
NO_TIME, NO_STORED, NO_VALUE, NO_UNIT, NO_WORD, NOT_PLAUSIBLE = (
    "no time", "no time of storing", "no number", "unit not declared", "word not declared", "not plausible",
)  # fmt: skip


def event_sql(feature: Feature, tables: Mapping[str, EventTable], staged: Mapping[str, Path]) -> str:
    """Return SQL that makes `event`: the rows of the feature in its own unit, each with the rule that it breaks."""
    assert feature.measured is not None
    parts = [
        _source_sql(feature, feature.measured, source, tables[source.table], staged[source.table])
        for source in feature.measured.sources
        if source.table in staged
    ]
    return f"CREATE OR REPLACE TEMP TABLE event AS {' UNION ALL '.join(parts)}"


def choose_sql(feature: Feature) -> str:
    """Return SQL that makes `chosen`: film, value, age_us, whether a later value was drawn and not stored yet."""
    assert feature.measured is not None
    chosen = {
        "nearest_before": _nearest,
        "worst_before": _worst,
        "first_after_admission": _first,
        "count_before": _count,
        "any_before": _any,
        "at_film": _at_film,
        "any_of_admission": _of_admission,
    }[feature.measured.choose](feature.measured)
    return f"CREATE OR REPLACE TEMP TABLE chosen AS {chosen}"


def missing_sql(feature: Feature) -> str:
    """Return SQL for the films of which no row says "no"; none where no row says nothing.

    A row that breaks a rule makes its person's facts unknown.
    """
    assert feature.measured is not None
    measured = feature.measured
    condition = "is_sure" if measured.missing == "no" else "in_icu AND is_sure" if measured.missing != "unknown" else ""
    if measured.choose == "any_of_admission" and condition:
        condition += " AND hadm_id IS NOT NULL"
    return (
        f"SELECT film FROM film ANTI JOIN chosen USING (film) WHERE taken_at IS NOT NULL AND {condition or 'false'} "
        "AND who NOT IN (SELECT who FROM event WHERE rule IS NOT NULL)"
    )


LATER = """
SELECT count(*) FROM (
    SELECT film, event.time FROM film ASOF JOIN (SELECT DISTINCT who, time FROM event WHERE rule IS NULL) AS event
    ON film.who = event.who AND film.taken_at >= event.time
    WHERE {window}
) AS drawn LEFT JOIN chosen USING (film)
JOIN film USING (film)
WHERE chosen.film IS NULL OR date_diff('microsecond', drawn.time, film.taken_at) < chosen.age_us
"""


def later_sql(measured: Measured) -> str:
    """Return SQL for the number of films of which a nearer value was drawn, but stored only after the film."""
    return LATER.format(window=_window(measured, "event"))


def _source_sql(feature: Feature, measured: Measured, source: EventSource, table: EventTable, path: Path) -> str:
    kind, _, column = table.time.partition(".")
    time = f"stay.{STAY_COLUMNS[column]}" if column else "time"
    join = f"LEFT JOIN stay ON stay.kind = '{kind}' AND stay.stay = raw.stay" if column else ""
    known = f"greatest({time}, stored)" if table.stored else time
    value, broken = _value_sql(feature, measured, source, table)
    rules = [(f"{time} IS NULL", NO_TIME), *([("stored IS NULL", NO_STORED)] if table.stored else []), *broken]
    rules += [("raw.until IS NULL", NO_TIME)] if table.until else []
    rule = " ".join(f"WHEN {condition} THEN '{name}'" for condition, name in rules)
    where = f"item IN ({', '.join(map(quote_text, source.items))})" if source.items else "true"
    if source.codes:
        where = " OR ".join(
            f"(version = {quote_text(version)} AND ({_starts(codes)}))" for version, codes in source.codes.items()
        )
    return f"""
    SELECT who, raw.stay AS stay, {time} AS time, {known} AS known, raw.until AS until, {value} AS value,
        unit, number IS NULL AND "limit" IS NOT NULL AS is_limit, CASE {rule} END AS rule
    FROM (
        SELECT *, {_number_sql(source, table)} AS number, {_word_sql(source, table)} AS word
        FROM read_parquet({quote_text(str(path))}) WHERE {where}
    ) AS raw JOIN person USING (subject) {join}"""


def _number_sql(source: EventSource, table: EventTable) -> str:
    column = source.value or table.value
    return f"try_cast({quote_name(f'value {column}')} AS DOUBLE)" if column else "NULL::DOUBLE"


def _word_sql(source: EventSource, table: EventTable) -> str:
    column = source.value or table.value
    return f"lower({quote_name(f'value {column}')})" if column else "NULL::VARCHAR"


def _value_sql(
    feature: Feature, measured: Measured, source: EventSource, table: EventTable
) -> tuple[str, list[tuple[str, str]]]:
    """Return SQL of a row's value, and the rules that it may break, with SQL of each."""
    if measured.choose not in ("nearest_before", "worst_before", "first_after_admission"):
        return "1.0", []
    if feature.categories:
        said = {
            word.lower(): k
            for k, name in enumerate(feature.categories)
            for word in (name, *feature.words.get(name, ()))
        }
        cases = " ".join(f"WHEN {quote_text(word)} THEN {k}" for word, k in said.items())
        value = f"(CASE word {cases} END)::DOUBLE"
        return value, [("word IS NULL", NO_VALUE), (f"{value} IS NULL", NO_WORD)]
    number = 'coalesce(number, "limit")'
    unit = quote_text(source.unit.lower()) if source.unit or not table.unit else "coalesce(unit, '')"
    cases = " ".join(
        f"WHEN {quote_text(written)} THEN {number} * {factor!r} + {summand!r}"
        for written, (factor, summand) in measured.units.items()
    )
    value = f"CASE {unit} {cases} END"
    if measured.units.keys() == {""} and not table.unit:
        value = number
    # A conversion may move a value on the edge by its last digit.
    low, high = (
        f"'{end + sign * 1e-9 * max(abs(end), 1)}'::DOUBLE" for end, sign in ((measured.low, -1), (measured.high, 1))
    )
    broken = [(f"{number} IS NULL", NO_VALUE), (f"{value} IS NULL", NO_UNIT)]
    return value, [*broken, (f"NOT isfinite({value}) OR NOT {value} BETWEEN {low} AND {high}", NOT_PLAUSIBLE)]


def _nearest(measured: Measured) -> str:
    # A row that is older than one known before or with it can never be the nearest: without these, the one that was
    # known last is the nearest, and one pass of an ASOF join finds it.
    return f"""
    WITH ordered AS (
        SELECT who, known, time, value FROM event WHERE rule IS NULL
        QUALIFY time >= max(time) OVER (PARTITION BY who ORDER BY known)
    ),
    kept AS (SELECT who, known, time, max(value) AS value FROM ordered GROUP BY ALL)
    SELECT film, value, date_diff('microsecond', kept.time, taken_at) AS age_us
    FROM film ASOF JOIN kept ON film.who = kept.who AND film.taken_at >= kept.known
    WHERE {_window(measured, "kept")}"""


def _worst(measured: Measured) -> str:
    sign = "" if measured.worst == "high" else "-"
    return f"""
    SELECT film, {sign}(worst.value) AS value, date_diff('microsecond', worst.time, taken_at) AS age_us
    FROM (
        SELECT film, max({{'value': {sign}value, 'time': time}}) AS worst FROM {_pairs(measured)} GROUP BY film
    ) JOIN film USING (film)"""


def _first(measured: Measured) -> str:
    until = f"AND time <= admittime + to_microseconds({_microseconds(measured.window_h)})" if measured.window_h else ""
    return f"""
    SELECT film, first.value AS value, date_diff('microsecond', first.time, taken_at) AS age_us
    FROM (
        SELECT film, min({{'time': time, 'value': value}}) AS first
        FROM film JOIN event USING (who)
        WHERE rule IS NULL AND known <= taken_at AND time >= admittime AND admittime <= taken_at {until}
        GROUP BY film
    ) JOIN film USING (film)"""


def _count(measured: Measured) -> str:
    return f"SELECT film, count(*)::DOUBLE AS value, NULL::BIGINT AS age_us FROM {_pairs(measured)} GROUP BY film"


def _any(measured: Measured) -> str:
    return f"SELECT DISTINCT film, 1.0 AS value, NULL::BIGINT AS age_us FROM {_pairs(measured)}"


def _at_film(measured: Measured) -> str:
    return """
    SELECT DISTINCT film, 1.0 AS value, NULL::BIGINT AS age_us FROM film JOIN event USING (who)
    WHERE rule IS NULL AND taken_at BETWEEN time AND until"""


def _of_admission(measured: Measured) -> str:
    return """
    SELECT DISTINCT film, 1.0 AS value, NULL::BIGINT AS age_us FROM film JOIN event USING (who)
    WHERE rule IS NULL AND event.stay = film.hadm_id"""


def _pairs(measured: Measured) -> str:
    """Return SQL of the films, each with all values in its window that were known by then."""
    return (
        f"(SELECT film, value, time FROM film JOIN event USING (who) "
        f"WHERE rule IS NULL AND known <= taken_at AND {_window(measured, 'event')})"
    )


def _window(measured: Measured, table: str) -> str:
    if measured.window_h is None:
        return "true"
    return f"{table}.time >= taken_at - to_microseconds({_microseconds(measured.window_h)})"


def _microseconds(hours: float | None) -> int:
    return round((hours or 0) * 3.6e9)


def _starts(codes: tuple[str, ...]) -> str:
    return " OR ".join(f"starts_with(replace(item, '.', ''), {quote_text(code.replace('.', ''))})" for code in codes)
