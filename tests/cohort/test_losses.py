"""A row that could not be read is not a "no": its loss makes features unknown, and nothing else."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cxrssl.cohort.database import fill_database
from cxrssl.cohort.features import RECORDED
from cxrssl.cohort.files import Layout, list_films
from cxrssl.cohort.ingest import IngestOptions, build_cohort
from cxrssl.cohort.link import LinkRule
from cxrssl.cohort.losses import check_losses
from cxrssl.cohort.read import open_cohort
from cxrssl.cohort.sources import SourceOptions, mimic
from cxrssl.core.errors import DataError
from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database
from tests.cohort.conftest import World, make_world, write_csv
from tests.scale import scaled

START = datetime(2151, 3, 1)
HEADERS = {
    "hosp/patients.csv": "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod",
    "hosp/admissions.csv": "subject_id,hadm_id,admittime,dischtime,deathtime,admission_type,admission_location,"
    "discharge_location,insurance,language,marital_status,race,edregtime,edouttime,hospital_expire_flag",
    "icu/icustays.csv": "subject_id,hadm_id,stay_id,first_careunit,last_careunit,intime,outtime",
    "ed/edstays.csv": "subject_id,hadm_id,stay_id,intime,outtime,arrival_transport,disposition",
}
Rows = list[dict[str, str]]
Tables = dict[str, Rows]


def draw_hospital(rng: random.Random) -> tuple[Tables, World]:
    """Three people on a coarse grid of hours, so that films lie in, near and between stays of every kind."""

    def interval() -> tuple[str, str]:
        first, last = sorted(START + timedelta(hours=rng.randrange(0, 96, 4)) for _ in range(2))
        return str(first), str(last)

    world, tables = World(), {name: list[dict[str, str]]() for name in HEADERS}
    people = [world.add_patient(number, rng.choice("FM")) for number in range(3)]
    tables["hosp/patients.csv"] = world.patients
    for number in range(5):
        begin, end = interval()
        ed = dict(zip(("edregtime", "edouttime"), interval(), strict=True)) if rng.random() < 0.6 else {}
        said = {"race": rng.choice(["WHITE", "ASIAN"]), "insurance": "Medicare", "discharge_location": "HOME"}
        world.add_admission(rng.choice(people), number, begin, end, rng.randrange(2), **said, **ed)
    tables["hosp/admissions.csv"] = world.admissions
    for number, kind in enumerate(["icu/icustays.csv"] * 3 + ["ed/edstays.csv"] * 2):
        begin, end = interval()
        owner = rng.choice(world.admissions)
        ids = {"subject_id": owner["subject_id"], "hadm_id": owner["hadm_id"], "stay_id": f"3{number:07d}"}
        more = {"first_careunit": "Neuro Stepdown", "arrival_transport": rng.choice(["AMBULANCE", "WALK IN"])}
        tables[kind].append({**ids, "intime": begin, "outtime": end, **more})
    for number in range(9):
        when = START + timedelta(hours=rng.randrange(-4, 100, 2), minutes=rng.choice([0, 0, 7]))
        world.add_film(rng.choice(people), number, f"{when:%Y%m%d}", f"{when:%H%M%S}.0")
    return tables, world


def write_tables(root: Path, tables: Tables) -> None:
    for name, rows in tables.items():
        write_csv(root / name, HEADERS[name].split(","), rows, gz=False)


def features_of(root: Path, rule: LinkRule) -> dict[str, dict[str, Any]]:
    """Return image -> its features, its link status and whether an admission is known."""
    layout = mimic.find(SourceOptions("mimic", root))
    tables = mimic.read(layout, present_films(layout))
    check_losses(tables.others)
    with open_database(None) as database:
        splits = pl.DataFrame(schema={"scheme": pl.String, "subject_id": pl.String, "split": pl.String})
        fill_database(database, tables, splits, rule)
        names = [feature.column for feature in RECORDED]
        rows = database.query(f"SELECT image_id, link_status, {', '.join(names)} FROM film").iter_rows(named=True)
        return {row["image_id"]: row for row in rows}


def present_films(layout: Layout) -> dict[str, int]:
    return list_films(layout.root, layout.film_folders, layout.film_suffixes)


def break_row(row: dict[str, str], tables: Tables, rng: random.Random) -> str:
    """Make the row one that is rejected, in one of the ways that rows break, and return which."""
    times = [name for name in ("admittime", "dischtime", "intime", "outtime") if name in row]
    ways = ["subject", "id"] + ["form", "blank", "order", "owner"] * bool(times) + ["age"] * ("anchor_age" in row)
    way = rng.choice(ways)
    column = {
        "subject": "subject_id",
        "id": next((name for name in ("stay_id", "hadm_id") if name in row), "gender"),
        "age": "anchor_age",
    }.get(way, rng.choice(times or ["gender"]))
    if way == "order":
        begin, end = times
        row[begin], row[end] = str(datetime.fromisoformat(row[end]) + timedelta(hours=1)), row[begin]
    elif way == "owner":
        if "stay_id" not in row or not row["hadm_id"]:
            return break_row(row, tables, rng)
        others = [each["subject_id"] for each in tables["hosp/patients.csv"] if each["subject_id"] != row["subject_id"]]
        row["subject_id"] = rng.choice(others)
    else:
        row[column] = {"blank": "", "form": "10/11/2143 02:04", "age": "old"}.get(way, "x1")
    return f"{way} {column}"


@pytest.mark.fuzz
def test_no_rejected_row_of_a_link_table_makes_a_feature_anything_but_unknown(tmp_path: Path) -> None:
    num_unknown = num_stopped = 0
    for seed in range(scaled(2, 300)):
        rng, rule = random.Random(seed), (LinkRule(), LinkRule("day", 0.0))[seed % 2]
        tables, world = draw_hospital(rng)
        root = world.write(tmp_path / str(seed), gz=False)
        write_tables(root, tables)
        before = features_of(root, rule)
        for name, rows in tables.items():
            for number in range(len(rows)):
                broken = {each: [dict(row) for row in tables[each]] for each in tables}
                way = break_row(broken[name][number], broken, rng)
                write_tables(root, broken)
                where = f"seed {seed}, {name}, row {number}, {way}"
                try:
                    after = features_of(root, rule)
                except DataError:
                    assert way.startswith("subject") or len(rows) == 1, where
                    num_stopped += 1
                    continue
                assert after.keys() == before.keys(), where
                for image_id, row in after.items():
                    for column, value in row.items():
                        is_same = value == before[image_id][column]
                        assert is_same or value in (None, "rejected_row"), f"{where}: {image_id} {column} {value}"
                        num_unknown += not is_same
        write_tables(root, tables)
    assert num_unknown > 20
    assert num_stopped > 1


@pytest.fixture
def ingest(workspace: Workspace, tmp_path: Path) -> Callable[..., Any]:
    def run(world: World, allow_losses: bool = False) -> Any:
        root = world.write(tmp_path / "data", gz=False)
        return open_cohort(build_cohort(workspace, IngestOptions("mimic", root, allow_losses=allow_losses)).path)

    return run


def feature(cohort: Any, name: str) -> list[float | None]:
    column = cohort.feature_names.tolist().index(name)
    pairs = zip(cohort.ehr_values[:, column].tolist(), cohort.ehr_known[:, column].tolist(), strict=True)
    return [value if known else None for value, known in pairs]


def test_icu_stay_of_an_admission_that_cannot_be_read_is_kept_and_everything_else_is_unknown(
    world: Any, ingest: Callable[..., Any]
) -> None:
    world.admissions[0]["dischtime"] = "10/11/2143"
    cohort = ingest(world, allow_losses=True)
    assert cohort.link_status.tolist() == ["rejected_row"] * 3 + ["no_admission"]
    assert feature(cohort, "icu") == [0, None, None, None]
    assert feature(cohort, "mortality") == [None] * 4
    assert cohort.stay_id.tolist() == ["30000001", "", "", ""]
    account = cohort.summary["tables"]["icu/icustays.csv"]
    assert (account["accepted"], account["made_unknown"]) == (1, {"hadm_id: not in admissions": 1})


def test_person_whose_own_row_cannot_be_read_keeps_the_films(world: Any, ingest: Callable[..., Any]) -> None:
    world.patients[0]["anchor_age"] = "old"
    cohort = ingest(world)
    assert cohort.link_status.tolist() == ["rejected_row"] * 3 + ["no_admission"]
    assert feature(cohort, "sex") == [None, None, None, 0]
    assert feature(cohort, "age")[:3] == [None] * 3


def test_emergency_times_that_cannot_be_read_are_not_taken_for_none(world: Any, ingest: Callable[..., Any]) -> None:
    assert feature(ingest(world), "ed_arrival")[0] is not None
    world.admissions[0]["edregtime"] = "yesterday"
    cohort = ingest(world)
    assert feature(cohort, "ed_arrival") == [None] * 4
    assert cohort.summary["tables"]["hosp/admissions.csv"]["made_unknown"] == {"edregtime: not a time": 1}


def test_earlier_studies_are_unknown_where_a_film_of_the_person_cannot_be_counted(
    world: Any, ingest: Callable[..., Any]
) -> None:
    assert feature(ingest(world), "prior") == [0, 1, 2, 0]
    world.metadata[0]["study_id"] = "s1"
    assert feature(ingest(world), "prior") == [None, None, 0]


def test_subject_of_whom_an_icu_stay_may_be_missing_is_in_no_part_of_the_icu_split(
    world: Any, ingest: Callable[..., Any]
) -> None:
    world.add_icu(world.patients[1]["subject_id"], "", 7, "2151-03-02 00:00:00", "soon")
    cohort = ingest(world)
    assert [bool(part) for part in cohort.split_icu.tolist()] == [True, True, True, False]


def break_many(world: World, num_bad: int, num_good: int) -> None:
    """Append ICU stays of the first person's admission, of which some have times in another form."""
    subject_id, hadm_id = (world.admissions[0][name] for name in ("subject_id", "hadm_id"))
    for number in range(num_bad + num_good):
        day = "02.03.2151 10:00" if number < num_bad else "2151-03-02 10:00:00"
        world.add_icu(subject_id, hadm_id, 100 + number, day, "2151-03-03 00:00:00")


@pytest.mark.parametrize(("num_bad", "num_good", "is_stopped"), [(5, 0, False), (6, 0, True), (6, 594, False)])
def test_more_than_five_rows_and_one_percent_stop_and_name_the_form(
    num_bad: int, num_good: int, is_stopped: bool, world: Any, ingest: Callable[..., Any]
) -> None:
    break_many(world, num_bad, num_good)
    if is_stopped:
        with pytest.raises(DataError) as caught:
            ingest(world)
        assert caught.value.what == (
            "icu/icustays.csv: 6 of 7 rows cannot be used: intime: not a time, written as 99.99.9999 99:99, "
            "first in line 3"
        )
        assert "--allow-losses" in caught.value.hint
    remarks = ingest(world, allow_losses=True).summary["remarks"]
    assert any("allowed by --allow-losses" in remark for remark in remarks) == is_stopped


def test_row_without_a_readable_subject_stops(world: Any, ingest: Callable[..., Any]) -> None:
    world.add_icu("10x", "20000001", 9, "2151-03-02 10:00:00", "2151-03-03 10:00:00")
    with pytest.raises(DataError, match="1 row without a readable subject_id, the first in line 3: nobody knows whose"):
        ingest(world)
    assert any("nobody knows whose" in remark for remark in ingest(world, allow_losses=True).summary["remarks"])


def test_column_of_cells_that_cannot_be_read_stops(world: Any, ingest: Callable[..., Any]) -> None:
    for number in range(6):
        world.add_patient(100 + number, dod="11/10/2143")
    with pytest.raises(DataError, match=r"6 of 8 rows have an unreadable dod: not a date, written as 99/99/9999"):
        ingest(world)


def test_repeated_rows_and_people_of_another_cohort_are_no_loss(world: Any, ingest: Callable[..., Any]) -> None:
    world.icustays += world.icustays * 9
    for number in range(20):
        world.add_admission("19999999", 500 + number, "2151-03-05 10:00:00", "2151-03-06 10:00:00")
    assert ingest(world).link_status.tolist() == ["in_icu", "in_stay", "post_discharge", "no_admission"]


def test_table_of_labels_that_is_lost_whole_stops(world: Any, ingest: Callable[..., Any]) -> None:
    for row in world.chexpert:
        row["study_id"] = f"s{row['study_id']}"
    with pytest.raises(DataError, match=r"chexpert\.csv: none of its 4 rows can be used: study_id: malformed, written"):
        ingest(world)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(":00,", ":00 UTC,"),
        lambda text: text.replace("2151-03-01 ", "2151-03-01T").replace("2151-03-05 ", "2151-03-05T"),
        lambda text: text.replace(",20000001,", ",20000001.0,").replace("10000001,", "10000001.0,"),
    ],
    ids=["UTC", "T", "float"],
)
def test_tables_written_again_by_another_program_give_the_same_cohort(
    change: Callable[[str], str], workspace: Workspace, tmp_path: Path
) -> None:
    root = make_world().write(tmp_path / "data")
    old = open_cohort(build_cohort(workspace, IngestOptions("mimic", root, name="old")).path)
    for name in ("hosp/admissions.csv.gz", "icu/icustays.csv.gz"):
        text = gzip.decompress((root / name).read_bytes()).decode()
        (root / name).write_bytes(gzip.compress(change(text).encode(), mtime=0))
    new = open_cohort(build_cohort(workspace, IngestOptions("mimic", root, name="new")).path)
    assert (
        new.link_status.tolist() == old.link_status.tolist() == ["in_icu", "in_stay", "post_discharge", "no_admission"]
    )
    assert new.stay_id.tolist() == old.stay_id.tolist()
    assert not new.summary["tables"]["icu/icustays.csv.gz"]["rejected"]
