"""Two rows in, one row out: which stay a film belongs to; and a brute-force oracle on random worlds."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

Link = Callable[..., dict[str, dict[str, Any]]]
DAY = datetime(2150, 3, 1)
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


def draw_world(rng: random.Random, world: int) -> tuple[list[Any], list[Any], list[Any]]:
    """One or two subjects on a coarse grid of hours, so that borders, overlaps and equal intervals are common."""

    def when() -> datetime:
        return at(rng.randrange(0, 12)) + rng.choice([timedelta(0), timedelta(0), US, -US])

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
    stays = []
    for i in range(rng.randint(0, 2) if admissions else 0):
        owner = rng.choice(admissions)
        stays.append((owner[0], owner[1], f"w{world}s{i}", *interval()))
    return films, admissions, stays


def oracle(film: Any, admissions: list[Any], stays: list[Any]) -> tuple[Any, ...]:
    """The rules of cohort/link, once more, in the plainest way."""
    _, subject, taken_at = film
    if taken_at is None:
        return "bad_time", None, None, None, 0, None, None
    own = [row for row in admissions if row[0] == subject]
    died = {row[1]: "died" if row[6] else "alive" for row in admissions}

    def choose(rows: list[Any], start: int, end: int) -> list[Any]:
        """All rows that share the best interval: latest start, then earliest end."""
        latest = max(row[start] for row in rows)
        rows = [row for row in rows if row[start] == latest]
        earliest = min(row[end] for row in rows)
        return [row for row in rows if row[end] == earliest]

    icu = [row for row in stays if row[0] == subject and row[3] <= taken_at <= row[4]]
    if icu:
        best = min(choose(icu, 3, 4), key=lambda row: row[2])
        return "in_icu", best[1], best[2], 0, len(icu), "icu", died[best[1]]
    for name, start, end in (("in_stay", 2, 3), ("in_ed", 4, 5)):
        inside = [row for row in own if row[start] is not None and row[start] <= taken_at <= row[end]]
        if inside:
            best_rows = choose(inside, start, end)
            if len(best_rows) > 1:
                return "ambiguous", None, None, 0, len(inside), None, None
            return name, best_rows[0][1], None, 0, len(inside), "not_icu", died[best_rows[0][1]]
    if not own:
        return "no_admission", None, None, None, 0, None, None
    gaps = [(taken_at - row[3], 0) if row[3] < taken_at else (row[2] - taken_at, 1) for row in own]
    gap, is_future = min(gaps)
    gap_h = gap / timedelta(hours=1)
    return "pre_admission" if is_future else "post_discharge", None, None, gap_h, 0, None, None


COLUMNS = ("link_status", "hadm_id", "stay_id", "gap_h", "num_covering", "icu", "mortality")


def test_linking_equals_a_brute_force_oracle_on_random_worlds_in_any_row_order(link: Link) -> None:
    rng = random.Random(20)
    films, admissions, stays = [], [], []
    for world in range(1000):
        more = draw_world(rng, world)
        films += more[0]
        admissions += more[1]
        stays += more[2]
    rows = link(films, admissions, stays)
    by_subject: dict[str, tuple[list[Any], list[Any]]] = {}
    for row in admissions:
        by_subject.setdefault(row[0], ([], []))[0].append(row)
    for stay in stays:
        by_subject.setdefault(stay[0], ([], []))[1].append(stay)
    seen = set()
    for film in films:
        expected = oracle(film, *by_subject.get(film[1], ([], [])))
        assert tuple(rows[film[0]][name] for name in COLUMNS) == pytest.approx(expected), film
        seen.add(expected[0])
    assert len(seen) == 8  # every status occurred
    for _ in range(3):
        for table in (films, admissions, stays):
            rng.shuffle(table)
        assert link(films, admissions, stays) == rows
