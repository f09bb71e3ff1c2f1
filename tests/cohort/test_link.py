"""Two rows in, one row out: which stay a film belongs to; and a brute-force oracle on random worlds."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from cxrssl.cohort.link import LinkRule, make_link_rule
from cxrssl.core.errors import UsageError
from tests.scale import scaled

Link = Callable[..., dict[str, dict[str, Any]]]
DAY = datetime(2150, 3, 1)
LEAP = datetime(2152, 2, 28)
US = timedelta(microseconds=1)


def at(hours: float) -> datetime:
    return DAY + timedelta(hours=hours)


def status(
    link: Link, taken_at: datetime | None, **tables: Any
) -> tuple[str, str | None, str | None, float | None, int]:
    row = link([("film", "p1", taken_at)], **tables)["film"]
    return row["link_status"], row["hadm_id"], row["stay_id"], row["gap_h"], row["num_covering"]


@pytest.mark.parametrize(
    ("taken_at", "expected"),
    [
        (at(10), ("in_stay", "h1", None, 0, 1)),
        (at(34), ("in_stay", "h1", None, 0, 1)),
        (at(10) - US, ("pre_admission", None, None, 1 / 3.6e9, 0)),
        (at(34) + US, ("post_discharge", None, None, 1 / 3.6e9, 0)),
        (at(24), ("in_stay", "h1", None, 0, 1)),
        (at(8), ("pre_admission", None, None, 2, 0)),
        (at(37.5), ("post_discharge", None, None, 3.5, 0)),
    ],
)
def test_borders_of_an_admission_are_inside(link: Link, taken_at: datetime, expected: tuple[Any, ...]) -> None:
    found = status(link, taken_at, admissions=[("p1", "h1", at(10), at(34))])
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("taken_at", "expected"),
    [
        (at(12), ("in_icu", "h1", "s1", 0, 1)),
        (at(20), ("in_icu", "h1", "s1", 0, 1)),
        (at(12) - US, ("in_stay", "h1", None, 0, 1)),
        (at(20) + US, ("in_stay", "h1", None, 0, 1)),
    ],
)
def test_borders_of_an_icu_stay_are_inside(link: Link, taken_at: datetime, expected: tuple[Any, ...]) -> None:
    tables = {"admissions": [("p1", "h1", at(10), at(34))], "icu_stays": [("p1", "h1", "s1", at(12), at(20))]}
    assert status(link, taken_at, **tables) == expected


def test_film_in_the_evening_of_the_day_of_discharge_is_after_discharge(link: Link) -> None:
    found = status(link, at(23), admissions=[("p1", "h1", at(-24), at(11))])  # a join by day would call it a stay
    assert found == ("post_discharge", None, None, 12, 0)


def test_film_at_midnight_belongs_to_the_stay_that_ends_at_midnight(link: Link) -> None:
    found = status(link, at(24), admissions=[("p1", "h1", at(3), at(24))])
    assert found == ("in_stay", "h1", None, 0, 1)


def test_icu_stay_counts_by_time_also_outside_its_admission(link: Link) -> None:
    tables = {"admissions": [("p1", "h1", at(10), at(20))], "icu_stays": [("p1", "h1", "s1", at(9), at(21))]}
    assert status(link, at(9.5), **tables) == ("in_icu", "h1", "s1", 0, 1)
    assert status(link, at(20.5), **tables) == ("in_icu", "h1", "s1", 0, 1)


def test_film_in_two_icu_stays_goes_to_the_later_then_the_shorter_then_the_lower(link: Link) -> None:
    stays = [("p1", "h1", "s9", at(1), at(30)), ("p1", "h2", "s5", at(2), at(40)), ("p1", "h3", "s4", at(2), at(30))]
    assert status(link, at(5), icu_stays=stays) == ("in_icu", "h3", "s4", 0, 3)
    stays.append(("p1", "h4", "s3", at(2), at(30)))
    assert status(link, at(5), icu_stays=stays) == ("in_icu", "h4", "s3", 0, 4)


def test_film_in_two_admissions_goes_to_the_later_one_then_to_the_shorter_one(link: Link) -> None:
    assert status(link, at(5), admissions=[("p1", "h1", at(1), at(9)), ("p1", "h2", at(2), at(9))])[1] == "h2"
    assert status(link, at(5), admissions=[("p1", "h1", at(1), at(9)), ("p1", "h2", at(1), at(8))])[1] == "h2"


def test_film_in_two_admissions_of_equal_times_is_ambiguous(link: Link) -> None:
    admissions = [("p1", "h1", at(1), at(9)), ("p1", "h2", at(1), at(9))]
    assert status(link, at(5), admissions=admissions) == ("ambiguous", None, None, 0, 2)
    assert status(link, at(5), admissions=[*admissions, ("p1", "h3", at(2), at(9))])[:2] == ("in_stay", "h3")


def test_film_in_the_emergency_department_belongs_to_the_admission_it_led_to(link: Link) -> None:
    admissions = [("p1", "h1", at(10), at(34), at(6), at(11))]
    assert status(link, at(6), admissions=admissions) == ("in_ed", "h1", None, 0, 1)
    assert status(link, at(10.5), admissions=admissions) == ("in_stay", "h1", None, 0, 1)
    assert status(link, at(6) - US, admissions=admissions)[0] == "pre_admission"


def test_image_taken_between_two_stays_links_to_neither(link: Link) -> None:
    admissions = [("p1", "h1", at(0), at(10)), ("p1", "h2", at(20), at(30))]
    assert status(link, at(14), admissions=admissions) == ("post_discharge", None, None, 4, 0)
    assert status(link, at(17), admissions=admissions) == ("pre_admission", None, None, 3, 0)
    assert status(link, at(15), admissions=admissions) == ("post_discharge", None, None, 5, 0)


def test_film_without_time_and_subject_without_admission_are_told_apart(link: Link) -> None:
    admissions = [("p2", "h1", at(0), at(10))]
    assert status(link, None, admissions=admissions) == ("bad_time", None, None, None, 0)
    assert status(link, at(5), admissions=admissions) == ("no_admission", None, None, None, 0)


def test_unknown_is_not_no(link: Link) -> None:
    admissions = [("p1", "h1", at(10), at(34), None, None, True), ("p3", "h3", at(10), at(34), at(8), at(9), False)]
    icu_stays = [("p1", "h1", "s1", at(12), at(20))]
    films = [
        ("icu", "p1", at(13)),
        ("ward", "p1", at(22)),
        ("after", "p1", at(40)),
        ("ed", "p3", at(8.5)),
        ("none", "p2", at(13)),
        ("no time", "p1", None),
    ]
    rows = link(films, admissions, icu_stays)
    assert {name: (row["icu"], row["mortality"]) for name, row in rows.items()} == {
        "icu": ("icu", "died"),
        "ward": ("not_icu", "died"),
        "after": (None, None),
        "ed": ("not_icu", "alive"),
        "none": (None, None),
        "no time": (None, None),
    }


def test_leap_day_and_turn_of_the_year_are_ordinary_times(link: Link) -> None:
    admissions = [("p1", "h1", datetime(2151, 12, 31, 23), datetime(2152, 3, 1))]
    assert status(link, datetime(2152, 2, 29, 12), admissions=admissions)[0] == "in_stay"
    assert status(link, datetime(2152, 1, 1), admissions=admissions)[0] == "in_stay"


def test_emergency_visits_are_those_of_the_ed_module_and_else_of_the_admission(link: Link) -> None:
    admissions = [("p1", "h1", at(10), at(34), at(6), at(11)), ("p1", "h2", at(60), at(90), at(55), at(61))]
    ed_stays = [("p1", "h1", "e1", at(7), at(9)), ("p1", None, "e2", at(40), at(44), "WALK IN")]
    rows = link([(f"f{h}", "p1", at(h)) for h in (6.5, 8, 42, 56)], admissions, (), ed_stays)
    found = {name: (row["link_status"], row["hadm_id"], row["ed_stay_id"]) for name, row in rows.items()}
    assert found == {
        "f6.5": ("pre_admission", None, None),  # the module says that the visit had not begun
        "f8": ("in_ed", "h1", "e1"),
        "f42": ("in_ed", None, "e2"),
        "f56": ("in_ed", "h2", None),  # the module does not name h2
    }
    assert (rows["f42"]["icu"], rows["f42"]["mortality"]) == ("not_icu", None)
    assert (rows["f8"]["icu"], rows["f8"]["mortality"]) == ("not_icu", "alive")
    assert rows["f42"]["ed_arrival"] == "walk_in"
    assert rows["f42"]["gap_h"] == 0


def test_film_while_the_person_waits_for_a_bed_belongs_to_the_admission_that_comes(link: Link) -> None:
    admissions = [("p1", "h1", at(10), at(34), at(2), at(4), True)]
    row = link([("film", "p1", at(9.5))], admissions)["film"]
    assert (row["link_status"], row["hadm_id"], row["gap_h"]) == ("before_stay", "h1", 0.5)
    assert (row["icu"], row["mortality"]) == (None, "died")  # "not_icu" would tell that an admission follows
    assert link([("film", "p1", at(4))], admissions)["film"]["link_status"] == "in_ed"
    assert link([("film", "p1", at(1))], admissions)["film"]["link_status"] == "pre_admission"


@pytest.mark.parametrize(
    ("hours_before", "tolerance_h", "expected"),
    [
        (6, 6, ("before_stay", "h1", 6)),
        (6, 0, ("pre_admission", None, 6)),
        (6.001, 6, ("pre_admission", None, 6.001)),
        (0.5, 0.25, ("pre_admission", None, 0.5)),
        (48, 48, ("before_stay", "h1", 48)),
        (0, 6, ("in_stay", "h1", 0)),
    ],
)
def test_film_within_the_tolerance_belongs_to_the_admission_that_comes(
    link: Link, hours_before: float, tolerance_h: float, expected: tuple[Any, ...]
) -> None:
    rule = LinkRule(tolerance_h=tolerance_h)
    row = link([("film", "p1", at(100 - hours_before))], [("p1", "h1", at(100), at(120))], rule=rule)["film"]
    assert (row["link_status"], row["hadm_id"], row["gap_h"]) == pytest.approx(expected)


def test_of_two_admissions_that_come_the_first_counts_and_twins_are_ambiguous(link: Link) -> None:
    films, rule = [("film", "p1", at(8))], LinkRule(tolerance_h=6)
    row = link(films, [("p1", "h2", at(11), at(30)), ("p1", "h1", at(10), at(34))], rule=rule)["film"]
    assert (row["link_status"], row["hadm_id"], row["num_covering"]) == ("before_stay", "h1", 2)
    row = link(films, [("p1", "h2", at(10), at(34)), ("p1", "h1", at(10), at(34))], rule=rule)["film"]
    assert (row["link_status"], row["hadm_id"], row["gap_h"], row["mortality"]) == ("ambiguous", None, 2, None)


def test_a_rule_says_itself_and_refuses_what_has_no_effect() -> None:
    assert make_link_rule().describe() == "linked by time, tolerance 6 h"
    assert make_link_rule("day").describe() == "linked by day, as published"
    assert make_link_rule("time", 0) == LinkRule("time", 0)
    for by, tolerance_h in (("hour", None), ("day", 6), ("time", -1), ("time", 100), ("", math.nan)):
        with pytest.raises(UsageError):
            make_link_rule(by, tolerance_h)


WORDS = {
    "race": "WHITE - RUSSIAN",
    "insurance": "Medicare",
    "language": "?",
    "marital_status": "married",
    "admission_type": "EW EMER.",
    "admission_location": "EMERGENCY ROOM",
    "discharge_location": "Skilled Nursing Facility",
}


def test_what_the_admission_says_is_unknown_before_it_and_what_is_said_of_the_person_is_not(
    link: Link,
) -> None:
    admissions = [("p1", "h1", at(10), at(34), at(6), at(9), False, WORDS)]
    icu_stays = [("p1", "h1", "s1", at(20), at(22), "Neuro Stepdown")]
    rows = link([(f"f{h}", "p1", at(h)) for h in (7, 9.5, 12, 21, 100)], admissions, icu_stays)
    for row in rows.values():
        assert [row[name] for name in ("race", "insurance", "language", "marital_status")] == [
            "white",
            "medicare",
            None,
            "married",
        ]
    names = ("admission_type", "admission_location", "ed_arrival", "care_unit", "since_admission_h", "los_d",
             "discharge_location")  # fmt: skip
    found = {film: tuple(row[name] for name in names) for film, row in rows.items()}
    assert found == {
        "f7": (None, None, "ed", "ed", None, 1, "nursing"),
        "f9.5": (None, None, None, None, None, 1, "nursing"),
        "f12": ("emergency", "emergency", "ed", "ward", 2, 1, "nursing"),
        "f21": ("emergency", "emergency", "ed", "neuro", 11, 1, "nursing"),
        "f100": (None,) * 7,
    }


def test_the_person_is_described_by_the_admission_begun_last_and_else_by_the_first_to_come(link: Link) -> None:
    said = [{"insurance": "Medicaid"}, {"insurance": "Private"}]
    admissions = [("p1", f"h{i}", at(100 * i), at(100 * i + 9), None, None, False, said[i - 1]) for i in (1, 2)]
    rows = link([(f"f{h}", "p1", at(h)) for h in (0, 150, 204, 500)], admissions)
    assert [row["insurance"] for row in rows.values()] == ["medicaid", "medicaid", "private", "private"]


def test_arrival_past_the_emergency_department_is_known_once_the_admission_has_begun(link: Link) -> None:
    admissions = [("p1", "h1", at(10), at(34)), ("p2", "h2", at(10), at(34))]
    ed_stays = [("p2", "h2", "e2", at(3), at(4), "AMBULANCE")]
    films = [("before", "p1", at(9)), ("after", "p1", at(11)), ("early", "p2", at(2)), ("late", "p2", at(20))]
    rows = link(films, admissions, (), ed_stays, LinkRule(tolerance_h=24))
    assert {name: row["ed_arrival"] for name, row in rows.items()} == {
        "before": None,
        "after": "not_ed",
        "early": None,
        "late": "ambulance",
    }


def draw_world(rng: random.Random, world: int) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    """One or two subjects on a coarse grid of hours across a leap day's midnights, so that borders, overlaps, equal
    intervals and days with two stays are common."""

    def when() -> datetime:
        return LEAP + timedelta(hours=rng.randrange(0, 60, 3)) + rng.choice([timedelta(0), timedelta(0), US, -US])

    def interval() -> tuple[datetime, datetime]:
        first, last = sorted((when(), when()))
        return first, last

    subjects = [f"w{world}p{i}" for i in range(rng.randint(1, 2))]
    films = [
        (f"w{world}f{i}", rng.choice(subjects), None if rng.random() < 0.1 else when())
        for i in range(rng.randint(1, 4))
    ]
    admissions: list[Any] = []
    for i in range(rng.randint(0, 4)):
        ed = interval() if rng.random() < 0.5 else (None, None)
        times = admissions[-1][2:6] if admissions and rng.random() < 0.2 else (*interval(), *ed)  # twins are ambiguous
        admissions.append((rng.choice(subjects), f"w{world}h{i}", *times, rng.random() < 0.3))
    stays, ed_stays = [], []
    for i in range(rng.randint(0, 2) if admissions else 0):
        owner = rng.choice(admissions)
        stays.append((owner[0], owner[1], f"w{world}s{i}", *interval()))
    for i in range(rng.randint(0, 2) if rng.random() < 0.5 else 0):
        owner = rng.choice([*admissions, (rng.choice(subjects), None)])
        ed_stays.append((owner[0], owner[1], f"w{world}e{i}", *interval()))
    return films, admissions, stays, ed_stays


def oracle(film: Any, admissions: list[Any], stays: list[Any], ed_stays: list[Any], tolerance_h: float) -> Any:
    """The rules of cohort/link, once more, in the plainest way."""
    _, subject, taken_at = film
    if taken_at is None:
        return "bad_time", None, None, None, None, 0, None, None
    own = [row for row in admissions if row[0] == subject]
    died = {row[1]: "died" if row[6] else "alive" for row in admissions}
    visits = [(*row[1:3], *row[3:5]) for row in ed_stays if row[0] == subject]
    named = {row[1] for row in ed_stays}
    visits += [(row[1], None, row[4], row[5]) for row in own if row[4] is not None and row[1] not in named]

    def choose(rows: list[Any], start: int, end: int, sign: int = 1) -> list[Any]:
        """All rows that share the best interval: latest start (earliest with -1), then earliest end."""
        best = max((row[start] - DAY) * sign for row in rows)
        rows = [row for row in rows if (row[start] - DAY) * sign == best]
        earliest = min(row[end] for row in rows)
        return [row for row in rows if row[end] == earliest]

    icu = [row for row in stays if row[0] == subject and row[3] <= taken_at <= row[4]]
    if icu:
        best = min(choose(icu, 3, 4), key=lambda row: row[2])
        return "in_icu", best[1], best[2], None, 0, len(icu), "icu", died[best[1]]
    inside = [row for row in own if row[2] <= taken_at <= row[3]]
    if inside:
        rows = choose(inside, 2, 3)
        if len(rows) > 1:
            return "ambiguous", None, None, None, 0, len(inside), None, None
        return "in_stay", rows[0][1], None, None, 0, len(inside), "not_icu", died[rows[0][1]]
    inside = [row for row in visits if row[2] <= taken_at <= row[3]]
    if inside:
        rows = choose(inside, 2, 3)
        if len(rows) > 1:
            return "ambiguous", None, None, None, 0, len(inside), None, None
        return "in_ed", rows[0][0], None, rows[0][1], 0, len(inside), "not_icu", died.get(rows[0][0])
    coming = []
    for row in own:
        left = [visit[3] for visit in visits if visit[0] == row[1]]
        is_near = row[2] - taken_at <= timedelta(hours=tolerance_h)
        if taken_at < row[2] and (is_near or (left and taken_at > max(left))):
            coming.append(row)
    if coming:
        rows = choose(coming, 2, 3, sign=-1)
        gap_h = (rows[0][2] - taken_at) / timedelta(hours=1)
        if len(rows) > 1:
            return "ambiguous", None, None, None, gap_h, len(coming), None, None
        return "before_stay", rows[0][1], None, None, gap_h, len(coming), None, died[rows[0][1]]
    if not own:
        return "no_admission", None, None, None, None, 0, None, None
    gaps = [(taken_at - row[3], 0) if row[3] < taken_at else (row[2] - taken_at, 1) for row in own]
    gap, is_future = min(gaps)
    gap_h = gap / timedelta(hours=1)
    return "pre_admission" if is_future else "post_discharge", None, None, None, gap_h, 0, None, None


COLUMNS = ("link_status", "hadm_id", "stay_id", "ed_stay_id", "gap_h", "num_covering", "icu", "mortality")


def draw_worlds(seed: int, num_worlds: int) -> list[list[Any]]:
    rng = random.Random(seed)
    worlds = [draw_world(rng, world) for world in range(num_worlds)]
    return [[row for world in worlds for row in world[table]] for table in range(4)]


def by_subject(table: list[Any]) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for row in table:
        groups.setdefault(row[0], []).append(row)
    return groups


@pytest.mark.fuzz
@pytest.mark.parametrize("tolerance_h", [0, 4.5])
def test_linking_equals_a_brute_force_oracle_on_random_worlds_in_any_row_order(link: Link, tolerance_h: float) -> None:
    seed, rule = 20, LinkRule(tolerance_h=tolerance_h)
    tables = draw_worlds(seed, scaled(400, 10_000))
    rows = link(*tables, rule=rule)
    own = [by_subject(table) for table in tables[1:]]
    seen = set()
    for film in tables[0]:
        admissions, stays, ed_stays = (groups.get(film[1], []) for groups in own)
        expected = oracle(film, admissions, stays, ed_stays, tolerance_h)
        assert tuple(rows[film[0]][name] for name in COLUMNS) == pytest.approx(expected), (seed, film)
        seen.add(expected[0])
    assert len(seen) == 9  # every status occurred
    rng = random.Random(seed)
    small = draw_worlds(seed, 200)
    first = link(*small, rule=rule)
    for _ in range(scaled(5, 100)):
        for table in small:
            rng.shuffle(table)
        assert link(*small, rule=rule) == first, seed


def published_loops(films: list[Any], admissions: list[Any], stays: list[Any]) -> dict[str, tuple[str, str]]:
    """The published rule as the fact sheet describes it: by day, both ends inside, each match overwrites the last."""
    found = {}
    for image_id, subject, taken_at in films:
        died = in_icu = 0
        for row in admissions:
            if taken_at and row[0] == subject and row[2].date() <= taken_at.date() <= row[3].date():
                died = int(row[6])
        for row in stays:
            if taken_at and row[0] == subject and row[3].date() <= taken_at.date() <= row[4].date():
                in_icu = 1
        found[image_id] = ("died" if died else "alive", "icu" if in_icu else "not_icu")
    return found


@pytest.mark.fuzz
def test_day_rule_equals_the_published_loops_which_depend_on_the_order_of_the_file(link: Link) -> None:
    for seed in range(scaled(3, 50)):
        tables = draw_worlds(seed, 200)
        tables[3] = []
        rows = link(*tables, rule=make_link_rule("day"))
        published = published_loops(*tables[:3])
        assert {name: (row["mortality"], row["icu"]) for name, row in rows.items()} == published, seed
        assert all(row["mortality"] and row["icu"] for row in rows.values())  # 0 is a value there, never unknown
    tables[1].reverse()
    assert published_loops(*tables[:3]) != published  # a death is reset to 0 by a later row
    rows = link(*tables, rule=make_link_rule("day"))
    assert {name: (row["mortality"], row["icu"]) for name, row in rows.items()} == published_loops(*tables[:3])


def test_day_rule_calls_a_film_after_discharge_inside_and_a_person_without_stay_alive(link: Link) -> None:
    films = [("evening", "p1", at(23)), ("next day", "p1", at(30)), ("stranger", "p2", at(5)), ("undated", "p1", None)]
    rows = link(films, [("p1", "h1", at(-24), at(11), None, None, True)], rule=make_link_rule("day"))
    assert {name: (row["link_status"], row["mortality"], row["gap_h"]) for name, row in rows.items()} == {
        "evening": ("in_stay", "died", 0),
        "next day": ("post_discharge", "alive", 24),
        "stranger": ("no_admission", "alive", None),
        "undated": ("bad_time", "alive", None),
    }


def test_join_asof_alone_is_wrong_where_stays_overlap(link: Link) -> None:
    """The nearest admission before the film may have ended, while an earlier one still goes on."""
    admissions = [("p1", "long", at(1), at(9)), ("p1", "short", at(2), at(3))]
    films = pl.DataFrame({"subject_id": ["p1"], "taken_at": [at(5)]})
    stays = pl.DataFrame(admissions, ("subject_id", "hadm_id", "admittime", "dischtime"), orient="row")
    nearest = films.join_asof(
        stays.sort("admittime"), left_on="taken_at", right_on="admittime", by="subject_id", check_sortedness=False
    )
    inside = nearest.filter(pl.col("taken_at") <= pl.col("dischtime"))
    assert nearest["hadm_id"].to_list() == ["short"]
    assert inside.is_empty()
    assert status(link, at(5), admissions=admissions)[:2] == ("in_stay", "long")


def test_join_asof_misses_films_of_random_worlds_that_lie_in_a_stay(link: Link) -> None:
    films, admissions, _, _ = draw_worlds(20, 400)
    rows = link(films, admissions)
    dated = pl.DataFrame([film for film in films if film[2]], ("image_id", "subject_id", "taken_at"), orient="row")
    stays = pl.DataFrame(
        [row[:4] for row in admissions], ("subject_id", "hadm_id", "admittime", "dischtime"), orient="row"
    )
    nearest = dated.sort("taken_at").join_asof(
        stays.sort("admittime"), left_on="taken_at", right_on="admittime", by="subject_id", check_sortedness=False
    )
    covered = set(nearest.filter(pl.col("taken_at") <= pl.col("dischtime"))["image_id"])
    is_inside = {name for name, row in rows.items() if row["link_status"] in ("in_stay", "ambiguous")}
    assert covered < is_inside
