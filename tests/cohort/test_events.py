"""Features chosen from tables of events, against a plain loop over the rows of the file."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cxrssl.cohort.declare import read_declared
from cxrssl.cohort.encoding import encode_features, feature_columns
from cxrssl.cohort.events.asked import find_files, read_asked
from cxrssl.cohort.events.fill import Account, Chosen, Events, Measures, measure_films
from cxrssl.cohort.feature import EventTable, Feature, Measured
from cxrssl.cohort.features import FEATURE_NAMES, OPTIONAL, TABLES, find_feature
from cxrssl.cohort.files import Layout, SourceFile
from cxrssl.cohort.schema import create_tables
from cxrssl.cohort.summary import describe_unread
from cxrssl.core.errors import DataError
from cxrssl.db import open_database
from tests.cohort.conftest import DATA

DEMO = DATA / "mimic-iv-clinical-database-demo-2.2"
LABS = tuple(feature for feature in OPTIONAL if feature.group == "labs")
WINDOWS_H = (6.0, 24.0, 168.0)
COLUMNS = ("subject_id", "itemid", "charttime", "storetime", "value", "valuenum", "valueuom", "comments")
Film = tuple[str, dt.datetime]
Found = tuple[float, float]


def within(feature: Feature, window_h: float, **changes: Any) -> Feature:
    assert feature.measured is not None
    return replace(feature, measured=replace(feature.measured, window_h=window_h, stale_h=None, **changes))


def measure(
    folder: Path, file: Path, table: str, films: Sequence[Film], features: Iterable[Feature], **tables: Any
) -> Measures:
    """Return what is measured for films of a cohort that has nothing but their times."""
    rows = [(f"f{k:05}", f"s{k}", subject, f"{k}.jpg", taken_at) for k, (subject, taken_at) in enumerate(films)]
    names = ("image_id", "study_id", "subject_id", "path", "taken_at")
    shown = f"{TABLES[table].file}.csv"
    with open_database(None) as database:
        create_tables(database)
        database.insert("image", pl.DataFrame(rows, names, orient="row"))
        for name, frame in tables.items():
            database.insert(name, frame)
        chosen = Chosen(tuple(features), TABLES)
        return measure_films(
            database, Events(chosen, {table: SourceFile(file, shown)}, {shown: "0"}, folder / "stages")
        )


def to_time(cell: str) -> dt.datetime | None:
    return dt.datetime.fromisoformat(cell) if cell else None


def read_number(row: dict[str, str]) -> float | None:
    if row["valuenum"]:
        return float(row["valuenum"])
    for cell in (row["value"], row["comments"]):
        limit = re.match(r"\s*[<>]=?\s*([0-9]+(\.[0-9]+)?)", cell or "")
        if limit:
            return float(limit[1])
    return None


def nearest(rows: Sequence[dict[str, str]], feature: Feature, film: Film, window_h: float) -> tuple[Found | None, bool]:
    """Return value and age of the last row drawn that was stored, and whether a later one was not stored yet."""
    assert feature.measured is not None
    units, subject, taken_at = feature.measured.units, film[0], film[1]
    candidates, last_drawn = [], None
    for row in rows:
        drawn, stored, number = to_time(row["charttime"]), to_time(row["storetime"]), read_number(row)
        unit = row["valueuom"].strip().lower()
        if drawn is None or stored is None or number is None or unit not in units or row["subject_id"] != subject:
            continue
        value = number * units[unit][0] + units[unit][1]
        age_h = (taken_at - drawn) // dt.timedelta(microseconds=1) / 3.6e9
        if not feature.measured.low <= value <= feature.measured.high or not 0 <= age_h <= window_h:
            continue
        last_drawn = max(drawn, last_drawn or drawn)
        if stored <= taken_at:
            candidates.append((drawn, stored, value, age_h))
    if not candidates:
        return None, last_drawn is not None
    drawn, _, value, age_h = max(candidates)
    assert last_drawn is not None
    return (value, age_h), last_drawn > drawn


def check_nearest(measures: Measures, rows: Sequence[dict[str, str]], features: Sequence[Feature],
                  films: Sequence[Film], window_h: float) -> int:  # fmt: skip
    """Compare each value and age; return how many films have a value."""
    frame, known = measures.frame.sort("image_id"), 0
    for feature in features:
        assert feature.measured is not None
        items = feature.measured.sources[0].items
        own = [row for row in rows if row["itemid"] in items]
        by_subject: dict[str, list[dict[str, str]]] = {}
        for row in own:
            by_subject.setdefault(row["subject_id"], []).append(row)
        values, ages = frame[feature.column].to_list(), frame[feature.age_column].to_list()
        later = 0
        for k, film in enumerate(films):
            found, is_later = nearest(by_subject.get(film[0], []), feature, film, window_h)
            later += is_later
            known += found is not None
            assert (values[k], ages[k]) == (found or (None, None)), (feature.name, film)
        account = measures.accounts[feature.name]
        assert account.stored_later == later, feature.name
        assert account.films == sum(value is not None for value in values)
        subjects = {subject for subject, _ in films}
        assert account.rows == sum(row["subject_id"] in subjects for row in own)
    return known


@pytest.mark.parametrize("window_h", WINDOWS_H)
def test_labs_of_the_demo_are_those_of_a_plain_loop(tmp_path: Path, window_h: float) -> None:
    file = DEMO / "hosp" / "labevents.csv.gz"
    if not file.is_file():
        pytest.skip("the MIMIC-IV demo is not here")
    with gzip.open(file, "rt", newline="") as lines:
        rows = list(csv.DictReader(lines))
    films = draw_films([row for row in rows if row["storetime"]], 120)
    features = [within(feature, window_h) for feature in LABS]
    measures = measure(tmp_path, file, "labevents", films, features)
    assert check_nearest(measures, rows, features, films, window_h) > 200


def draw_films(rows: Sequence[dict[str, str]], num: int) -> list[Film]:
    """Return films at times around those of the rows: between drawing and storing, at storing, hours later."""
    films: list[Film] = []
    rng = np.random.default_rng(15)
    for k in rng.integers(0, len(rows), num):
        drawn, stored = to_time(rows[k]["charttime"]), to_time(rows[k]["storetime"])
        assert drawn is not None
        assert stored is not None
        turn = len(films) % 4
        minutes = int(rng.integers(0, 60 * 40))
        times = [drawn + (stored - drawn) / 2, stored, stored - dt.timedelta(seconds=1)]
        films.append((rows[k]["subject_id"], times[turn] if turn < 3 else stored + dt.timedelta(minutes=minutes)))
    return films


def draw_rows(rng: np.random.Generator, num: int) -> list[dict[str, str]]:
    """Return rows of a few people and items with equal times, late and missing storing, odd units and values."""
    start = dt.datetime(2150, 1, 1)
    rows = []
    for _ in range(num):
        drawn = start + dt.timedelta(minutes=int(rng.integers(0, 400)) * 15)
        stored = str(drawn + dt.timedelta(minutes=int(rng.integers(-10, 500)))) if rng.random() < 0.95 else ""
        number = str(np.round(rng.lognormal(0.5, 1.5), 2)) if rng.random() < 0.9 else ""
        rows.append(
            {
                "subject_id": str(rng.integers(1, 6)),
                "itemid": str(rng.choice(["50912", "52546", "50813", "50983"])),
                "charttime": str(drawn) if rng.random() < 0.97 else "",
                "storetime": stored,
                "value": number or rng.choice(["", "<0.1", "> 20", "ERROR"]),
                "valuenum": number,
                "valueuom": rng.choice(["mg/dL", "umol/L", "MG/DL", "mmol/L", "", "mEq/L"]),
                "comments": rng.choice(["", "<0.2.  by another method", 'see "note", please', "none"]),
            }
        )
    return rows


def write_rows(path: Path, rows: Sequence[dict[str, str]], columns: Sequence[str] = COLUMNS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as out:
        writer = csv.DictWriter(out, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize("window_h", WINDOWS_H)
def test_drawn_labs_are_those_of_a_plain_loop(tmp_path: Path, window_h: float) -> None:
    rng = np.random.default_rng(round(window_h))
    rows = draw_rows(rng, 1500)
    films = draw_films([row for row in rows if row["storetime"] and row["charttime"]], 80)
    features = [within(find_feature(name), window_h) for name in ("creatinine", "lactate", "sodium")]
    file = write_rows(tmp_path / "labevents.csv", rows)
    measures = measure(tmp_path, file, "labevents", films, features)
    assert check_nearest(measures, rows, features, films, window_h) > 30
    again = list(reversed(rows))
    other = measure(tmp_path / "again", write_rows(tmp_path / "other.csv", again), "labevents", films, features)
    assert other.frame.equals(measures.frame)  # the order of rows plays no part
    rejected = measures.accounts["creatinine"].rejected
    assert set(rejected) == {"no time", "no time of storing", "no number", "unit not declared", "not plausible"}
    assert measures.accounts["creatinine"].at_limit > 0


NOON = dt.datetime(2150, 1, 2, 12)


def lab(drawn_h: float, stored_h: float, number: str, unit: str = "mg/dL", item: str = "50912") -> dict[str, str]:
    """Return a row of one person, drawn and stored so many hours after noon."""
    times = [str(NOON + dt.timedelta(hours=hours)) for hours in (drawn_h, stored_h)]
    row = {"subject_id": "1", "itemid": item, "charttime": times[0], "storetime": times[1]}
    return {**row, "value": number, "valuenum": number, "valueuom": unit, "comments": ""}


def creatinine(tmp_path: Path, rows: Sequence[dict[str, str]], **changes: Any) -> tuple[float | None, Any, Account]:
    """Return value and age of the creatinine of a film at noon."""
    feature = within(find_feature("creatinine"), 24, **changes)
    file = write_rows(tmp_path / "labevents.csv", rows)
    measures = measure(tmp_path, file, "labevents", [("1", NOON)], [feature])
    row = measures.frame.row(0, named=True)
    return row["creatinine"], row.get("creatinine_age_h"), measures.accounts["creatinine"]


def test_a_group_without_a_table_is_told_with_the_file_that_it_needs(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("hosp", "icu")}
    layout = Layout("mimic", tmp_path, {}, (), modules=folders)
    with pytest.raises(DataError) as caught:
        find_files(read_asked("labs,vitals", tmp_path), layout)
    assert caught.value.what == "group labs is taken from hosp/labevents.csv.gz, which the dataset lacks"
    assert caught.value.where == str(tmp_path / "hosp/labevents.csv.gz")


def test_a_value_is_known_when_it_was_stored(tmp_path: Path) -> None:
    early, late = lab(-5, -4, "1.0"), lab(-1, 0.5, "2.0")
    value, age_h, account = creatinine(tmp_path, [early, late])
    assert (value, age_h, account.stored_later, account.films) == (1.0, 5.0, 1, 1)
    value, age_h, account = creatinine(tmp_path / "at", [early, lab(-1, 0, "2.0")])
    assert (value, age_h, account.stored_later) == (2.0, 1.0, 0)


def test_a_result_that_overtakes_a_later_one_is_not_the_nearest(tmp_path: Path) -> None:
    value, age_h, _ = creatinine(tmp_path, [lab(-5, -1, "1.0"), lab(-3, -2, "2.0")])
    assert (value, age_h) == (2.0, 3.0)


def test_units_are_converted_and_implausible_values_rejected(tmp_path: Path) -> None:
    value, _, account = creatinine(tmp_path, [lab(-5, -4, "100", "umol/L"), lab(-1, -1, "900"), lab(-1, -1, "1", "g")])
    assert value == pytest.approx(1.13122)
    assert account.rejected == {"not plausible": 1, "unit not declared": 1}


@pytest.mark.parametrize("ends", [{}, {"low": float("-inf"), "high": float("inf")}])
def test_what_is_not_finite_is_not_plausible(tmp_path: Path, ends: dict[str, float]) -> None:
    words = ("NaN", "nan", "Inf", "-Infinity")
    value, age_h, account = creatinine(tmp_path, [lab(-5, -4, "1.5"), *(lab(-1, -1, word) for word in words)], **ends)
    assert (value, age_h, account.rejected) == (1.5, 5.0, {"not plausible": 4})


def test_a_value_on_the_edge_of_its_range_is_plausible(tmp_path: Path) -> None:
    rows = [lab(-3, -3, "0.3"), lab(-2, -2, "0.30001")]
    value, age_h, account = creatinine(tmp_path, rows, low=0.1, high=0.1 + 0.2 - 1e-16)
    assert (value, age_h, account.rejected) == (0.3, 3.0, {"not plausible": 1})


def test_a_limit_of_detection_is_the_value(tmp_path: Path) -> None:
    row = lab(-5, -4, "") | {"comments": "<0.2.  Detection limit."}
    value, _, account = creatinine(tmp_path, [row])
    assert (value, account.at_limit) == (0.2, 1)


def test_other_choices(tmp_path: Path) -> None:
    rows = [lab(-30, -30, "9"), lab(-8, -8, "3"), lab(-6, -6, "1"), lab(-2, -2, "3"), lab(-1, 1, "8")]
    assert creatinine(tmp_path / "a", rows, choose="worst_before", worst="high")[:2] == (3.0, 2.0)
    assert creatinine(tmp_path / "b", rows, choose="worst_before", worst="low")[:2] == (1.0, 6.0)
    assert creatinine(tmp_path / "c", rows, choose="count_before")[0] == 3.0
    assert creatinine(tmp_path / "d", rows, choose="first_after_admission")[0] is None


def test_no_declared_unit_at_all_is_an_error_that_names_those_of_the_file(tmp_path: Path) -> None:
    rows = [lab(-5, -4, "100", "mmol/kg")] * 12
    with pytest.raises(DataError) as caught:
        creatinine(tmp_path, rows)
    assert caught.value.what == (
        'creatinine: none of 12 rows has a declared unit ("mg/dl", "umol/l"); they say "mmol/kg"'
    )


def test_a_model_sees_value_unknown_and_age() -> None:
    names = ("sodium", "had_dementia")
    columns = ("sodium", "had_dementia=no", "had_dementia=yes", "sodium unknown", "had_dementia unknown", "sodium age")
    assert feature_columns(names) == columns
    assert feature_columns(names, "zero") == columns[:3]  # nothing that says so
    order = (*FEATURE_NAMES, "had_dementia", "sodium")
    values = np.full((3, len(order)), np.nan)
    values[0, -2:] = [1, 140]  # of 110 to 170, taken 36 h before the film, stale at 72 h
    values[1, -1] = 200
    ages = np.array([[36.0], [168.0], [np.nan]])
    encoded = encode_features(values, ~np.isnan(values), names, "mask", order, ages)
    assert encoded.tolist() == [[0.5, 0, 1, 0, 0, 0.5], [1, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0]]


ADMISSIONS = (("h1", -100.0, -50.0), ("h2", -10.0, 20.0))


def test_history_is_of_earlier_admissions(tmp_path: Path) -> None:
    """Heart failure in the first admission, dementia in the one that the film is taken in."""
    names = ("subject_id", "hadm_id", "icd_code", "icd_version")
    codes = [("1", "h1", "I509", "10"), ("1", "h2", "F03", "10"), ("1", "h1", "F03", "9"), ("2", "h3", "4280", "9")]
    file = write_rows(tmp_path / "d.csv", [dict(zip(names, row, strict=True)) for row in codes], names)
    times = [(hadm, *(NOON + dt.timedelta(hours=hours) for hours in span)) for hadm, *span in ADMISSIONS]
    admission = pl.DataFrame(times, ("hadm_id", "admittime", "dischtime"), orient="row").with_columns(
        pl.lit("1").alias("subject_id"), pl.lit(False).alias("hospital_expire_flag")
    )
    link = pl.DataFrame(
        {
            "image_id": ["f00000", "f00001", "f00002"],
            "hadm_id": ["h2", None, None],
            "link_status": ["in_stay", "no_admission", "rejected_row"],
            "num_covering": [1, 0, 0],
        }
    )
    features = [feature for feature in OPTIONAL if feature.group == "history"]
    films = [("1", NOON), ("2", NOON), ("3", NOON)]
    frame = measure(tmp_path, file, "diagnoses", films, features, admission=admission, link=link).frame
    assert frame["had_heart_failure"].to_list() == ["yes", None, None]  # h3 has no time; of "3" nothing is sure
    assert frame["had_dementia"].to_list() == ["no", "no", None]
    assert frame["charlson"].to_list() == [1, None, None]


EMERGENCY = EventTable("emergency", "ed/diagnosis", "ed_stay.outtime", key="stay_id", item="code", version="version")


def fill(folder: Path, feature: Feature, files: dict[str, Path], *more: Feature) -> tuple[list[Any], Measures]:
    """Return the values of films of subjects "1" and "2" at noon; "1" was in the emergency department before."""
    tables = TABLES | {"emergency": EMERGENCY}
    subjects = ["1", "2"]
    images = [f"f{subject}" for subject in subjects]
    times = pl.lit(NOON - dt.timedelta(hours=9)).alias("intime"), pl.lit(NOON - dt.timedelta(hours=5)).alias("outtime")
    with open_database(None) as database:
        create_tables(database, [feature, *more])
        database.insert("image", pl.DataFrame({"image_id": images, "study_id": images, "subject_id": subjects,
                                               "path": images}).with_columns(taken_at=pl.lit(NOON)))  # fmt: skip
        database.insert("link", pl.DataFrame({"image_id": images}).with_columns(
            link_status=pl.lit("in_stay"), num_covering=pl.lit(0)))  # fmt: skip
        database.insert("ed_stay", pl.DataFrame({"subject_id": ["1"], "ed_stay_id": ["e1"]}).with_columns(*times))
        shown = {name: SourceFile(path, f"{tables[name].file}.csv") for name, path in files.items()}
        events = Events(
            Chosen((feature, *more), tables), shown, {each.shown: "0" for each in shown.values()}, folder / "s"
        )
        measures = measure_films(database, events)
    return measures.frame.sort("image_id")[feature.column].to_list(), measures


@pytest.fixture
def diagnoses(tmp_path: Path) -> dict[str, Path]:
    """Return the tables of two people, of whom the first had heart failure in the emergency department."""
    hospital, emergency = ("subject_id", "hadm_id", "icd_code", "icd_version"), ("subject_id", "stay_id", "code")
    row = {"subject_id": "1", "stay_id": "e1", "code": "I509", "version": "10"}
    return {
        "diagnoses": write_rows(tmp_path / "d.csv", [], hospital),
        "emergency": write_rows(tmp_path / "e.csv", [row], (*emergency, "version")),
    }


def heart_failure(**changes: Any) -> Feature:
    feature = find_feature("had_heart_failure")
    assert feature.measured is not None
    (source,) = feature.measured.sources
    sources = (source, replace(source, table="emergency"))
    return replace(feature, measured=replace(feature.measured, sources=sources, **changes))


def test_where_a_table_is_absent_nobody_had_nothing(tmp_path: Path, diagnoses: dict[str, Path]) -> None:
    emergency = {"emergency": diagnoses["emergency"]}
    assert fill(tmp_path / "a", heart_failure(), diagnoses)[0] == ["yes", "no"]
    values, measures = fill(tmp_path / "b", heart_failure(), emergency)
    assert (values, measures.accounts["had_heart_failure"].films) == (["yes", None], 1)
    count = replace(heart_failure(choose="count_before"), categories=(), is_whole=True)
    assert fill(tmp_path / "c", count, diagnoses)[0] == [1, 0]
    assert fill(tmp_path / "d", count, emergency)[0] == [None, None]


def test_where_a_line_is_no_row_nobody_had_nothing(tmp_path: Path, diagnoses: dict[str, Path]) -> None:
    with diagnoses["diagnoses"].open("a") as out:
        out.write("2,h9,4280,9,extra\n")
    for folder in ("first", "first"):  # the second time from its stage
        values, measures = fill(tmp_path / folder, heart_failure(), diagnoses)
        assert (values, dict(measures.unread)) == (["yes", None], {"hosp/diagnoses_icd.csv": 1})
        assert describe_unread(measures) == [
            'hosp/diagnoses_icd.csv: lines that are no rows: 1, so no feature of it is "no" by default'
        ]
    count = replace(heart_failure(choose="count_before"), categories=(), is_whole=True)
    assert fill(tmp_path / "c", count, diagnoses)[0] == [1, None]


def test_a_count_may_stand_before_what_it_counts(tmp_path: Path, diagnoses: dict[str, Path]) -> None:
    counted = replace(heart_failure(), column="heart")
    count = Measured("count_before", count_of=(counted.name,))
    score = replace(counted, name="score", column="score_n", categories=(), is_whole=True, measured=count)
    values, measures = fill(tmp_path, score, diagnoses, counted)
    assert values == [1, 0]
    assert measures.frame["heart"].to_list() == ["yes", "no"]
    assert list(measures.accounts) == ["score", "had_heart_failure"]


def test_ventilation_is_known_in_intensive_care_alone(tmp_path: Path) -> None:
    names = ("subject_id", "starttime", "endtime", "itemid")
    spans = [("1", -2, 0), ("1", -30, -20), ("2", -2, 1)]
    rows = [
        dict(zip(names, (s, *(str(NOON + dt.timedelta(hours=h)) for h in span), "225792"), strict=True))
        for s, *span in spans
    ]
    file = write_rows(tmp_path / "p.csv", rows, names)
    films = [("1", NOON), ("1", NOON + dt.timedelta(seconds=1)), ("3", NOON)]
    link = pl.DataFrame(
        {
            "image_id": ["f00000", "f00001", "f00002"],
            "link_status": ["in_icu", "in_icu", "in_stay"],
            "num_covering": [1, 1, 1],
        }
    )
    frame = measure(tmp_path, file, "procedureevents", films, [find_feature("ventilated")], link=link).frame
    assert frame["ventilated"].to_list() == ["yes", "no", None]


def test_temperatures_become_degrees_celsius(tmp_path: Path) -> None:
    names = ("subject_id", "charttime", "storetime", "itemid", "valuenum")
    at = str(NOON - dt.timedelta(hours=1))
    cells = [("1", at, at, "223761", "98.6"), ("2", at, at, "223762", "37.5"), ("3", at, at, "223761", "37.5")]
    file = write_rows(tmp_path / "c.csv", [dict(zip(names, row, strict=True)) for row in cells], names)
    films = [(subject, NOON) for subject in "123"]
    measures = measure(tmp_path, file, "chartevents", films, [find_feature("temperature")])
    assert measures.frame["temperature"].to_list() == [pytest.approx(37.0), 37.5, None]
    assert measures.accounts["temperature"].rejected == {"not plausible": 1}


def test_a_stage_is_read_again_and_lines_that_are_no_rows_are_counted(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "labevents.csv", [lab(-5, -4, "1.0")])
    with file.open("a") as out:
        out.write("1,too,few\n")
    first = measure(tmp_path, file, "labevents", [("1", NOON)], [within(find_feature("creatinine"), 24)])
    assert dict(first.unread) == {"hosp/labevents.csv": 1}
    file.unlink()
    again = measure(tmp_path, file, "labevents", [("1", NOON)], [within(find_feature("creatinine"), 2)])
    assert (first.frame["creatinine"].to_list(), again.frame["creatinine"].to_list()) == ([1.0], [None])
    assert dict(again.unread) == dict(first.unread)


def test_a_day_without_a_time_is_known_when_it_is_over(tmp_path: Path) -> None:
    row = lab(-5, -4, "1.0") | {"charttime": "2150-01-02", "storetime": "2150-01-02"}
    file = write_rows(tmp_path / "labevents.csv", [row])
    films = [("1", NOON), ("1", dt.datetime(2150, 1, 3))]
    frame = measure(tmp_path, file, "labevents", films, [within(find_feature("creatinine"), 24)]).frame
    assert frame["creatinine"].to_list() == [None, 1.0]


OXYGEN = """
[[table]]
name = "device"
file = "icu/chartevents"
time = "charttime"
item = "itemid"
value = "value"
[[feature]]
name = "device"
group = "mine"
kind = "category"
role = "input"
meaning = "how oxygen was given"
choose = "nearest_before"
window_h = 12
words = { none = [], cannula = ["Nasal cannula"], tube = ["Endotracheal tube", "T-piece"] }
sources = [{ table = "device", items = ["226732"] }]
"""


def test_words_become_categories(tmp_path: Path) -> None:
    declared = read_declared(tomllib.loads(OXYGEN), "mine.toml")
    names = ("subject_id", "charttime", "itemid", "value")
    at = str(NOON - dt.timedelta(hours=1))
    cells = [("1", at, "226732", "nasal cannula"), ("2", at, "226732", "None"), ("3", at, "226732", "Kite")]
    file = write_rows(tmp_path / "c.csv", [dict(zip(names, row, strict=True)) for row in cells], names)
    films = [(subject, NOON) for subject in "123"]
    tables = {table.name: table for table in declared.tables}
    events = Chosen(declared.features, tables)
    with open_database(None) as database:
        create_tables(database, declared.features)
        rows = [(f"f{k}", f"s{k}", subject, "p", at) for k, (subject, at) in enumerate(films)]
        database.insert(
            "image", pl.DataFrame(rows, ("image_id", "study_id", "subject_id", "path", "taken_at"), orient="row")
        )
        measures = measure_films(
            database, Events(events, {"device": SourceFile(file, "c.csv")}, {"c.csv": "0"}, tmp_path)
        )
    assert measures.frame["device"].to_list() == ["cannula", "none", None]
    assert measures.frame["device_age_h"].to_list() == [1.0, 1.0, None]
    assert measures.accounts["device"].rejected == {"word not declared": 1}
