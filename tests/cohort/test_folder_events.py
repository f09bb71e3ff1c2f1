"""Intervals and repeated measures of a folder of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrssl.cli.ingest import describe_cohort
from cxrssl.cohort.features import find_feature
from cxrssl.cohort.own import learn_features
from cxrssl.cohort.read import open_cohort
from cxrssl.core.errors import CxrsslError
from cxrssl.core.workspace import Workspace
from tests.cohort.folders import build, opened, values_of, write_folder

STAYS = """
[films]
file = "films.csv"
image = "file"
subject = "person"
taken = "when"
[time]
unit = "h"
zero = "patient"
[icu]
file = "icu.csv"
column = "person"
start = "begin"
end = "until"
absent = "never"
[admission]
file = "admissions.csv"
column = "person"
start = "begin"
end = "until"
[ehr]
icu = { column = "said", words = { icu = ["yes"] } }
"""


def test_intervals_say_where_a_film_lies_and_what_is_not_known(workspace: Workspace, tmp_path: Path) -> None:
    people = {
        "a": ("1", 5),
        "b": ("1", 50),
        "c": ("1", 15),
        "d": ("2", 1),
        "e": ("3", 1),
        "f": ("4", ""),
        "g": ("1", 0),
    }
    table = "file,person,when,said\n" + "".join(
        f"{name},{person},{when},{'yes' if name == 'b' else ''}\n" for name, (person, when) in people.items()
    )
    root = write_folder(tmp_path, table, tuple(f"{name}.png" for name in people))
    # The second stay of 1 ends in time; the one of 3 has no end, so it is none that can be read.
    (root / "icu.csv").write_text("person,begin,until\n1,2,10\n1,20,30\n3,-5,\n4,0,9\n")
    (root / "admissions.csv").write_text("person,begin,until\n1,-24,72\n2,2,30\n")
    summary = build(workspace, root, STAYS)
    cohort = open_cohort(summary.path)
    order = [cohort.image_id.tolist().index(name) for name in people]
    assert [values_of(cohort, "icu")[row] for row in order] == [0, 0, 1, 1, None, None, 1]  # b: the table said so
    assert [values_of(cohort, "since_admission")[row] for row in order] == [29, 74, 39, None, None, None, 24]
    assert [values_of(cohort, "los")[row] for row in order][:4] == [4, 4, 4, None]
    assert summary.values["positions"]["icu"] == {
        "in": 1, "before": 1, "after": 1, "between": 1, "never": 1, "unknown": 2,
    }  # fmt: skip
    assert summary.values["tables"]["icu.csv"]["made_unknown"] == {"begin: not an interval": 1}
    assert "films by the intervals of icu" in describe_cohort(summary.values)


LONG = """
[films]
file = "films.csv"
image = "file"
subject = "person"
taken = "when"
[[measures]]
file = "results.csv"
column = "person"
time = "drawn"
stored = "read"
item = "test"
value = "result"
unit = "unit"
[measures.features]
crp = ["CRP", "C-reactive protein"]
my_oxygen = ["O2"]
[[feature]]
name = "my_oxygen"
group = "my_group"
kind = "category"
role = "input"
meaning = "oxygen before the film"
choose = "nearest_before"
window_h = 24
words = { low = ["1 l", "2 l"], high = ["10 l"] }
"""
RESULTS = """person,drawn,read,test,result,unit
1,2020-01-01 00:00,2020-01-01 01:00,CRP,1,mg/dL
1,2020-01-01 05:00,2020-01-01 09:00,CRP,500,mg/L
1,2020-01-01 06:00,2020-01-01 07:00,C-reactive protein,<0.5,mg/L
1,2020-01-01 06:00,2020-01-01 07:00,CRP,3,stones
1,2020-01-01 05:00,2020-01-01 05:00,O2,10 l,
2,2020-01-01 05:00,2020-01-01 05:00,O2,none,
9,2020-01-01 05:00,2020-01-01 05:00,O2,none,
"""


def test_measures_of_a_long_table_are_chosen_as_those_of_mimic(workspace: Workspace, tmp_path: Path) -> None:
    table = "file,person,when\na,1,2020-01-01 06:30\nb,1,2020-01-01 08:00\nc,2,2020-01-01 08:00\n"
    root = write_folder(tmp_path, table, ("a.png", "b.png", "c.png"))
    (root / "results.csv").write_text(RESULTS)
    summary = build(workspace, root, LONG)
    cohort = open_cohort(summary.path)
    assert values_of(cohort, "crp") == pytest.approx([10, 0.5, None])
    assert values_of(cohort, "my_oxygen") == [1, 1, None]
    assert values_of(cohort, "sodium") == [None] * 3  # of a group, all features
    assert cohort.ehr_age_h is not None
    aged = [name for name in cohort.names if find_feature(name).has_age]
    assert cohort.ehr_age_h[:2, aged.index("crp")].tolist() == [6.5, 2]
    measured = summary.values["measured"]
    assert measured["crp"] | {"films": 2, "rows": 4, "at_limit": 1, "stored_later": 1} == measured["crp"]
    assert measured["crp"]["rejected"] == {"unit not declared": 1}
    assert measured["my_oxygen"]["rejected"] == {"word not declared": 1}
    assert "results.csv: rows whose id is no film's: 1" in summary.values["remarks"]
    learn_features(workspace.cohorts)
    assert build(workspace, root, LONG).was_current
    assert not list((workspace.stages).glob("own-*"))


def test_a_table_of_measures_may_know_films_by_their_files(workspace: Workspace, tmp_path: Path) -> None:
    root = write_folder(tmp_path, "file,person,when\na,1,2020-01-01 06:30\nb,1,2020-01-01 08:00\n", ("a.png", "b.png"))
    (root / "results.csv").write_text(
        "f,at,crp\na.png,2020-01-01 01:00,7\na.png,2020-01-01 02:00,8\nb.png,2020-01-01 02:00,9\n"
    )
    measures = """
[[measures]]
file = "results.csv"
column = "f"
key = "file"
time = "at"
[measures.features]
crp = { value = "crp", unit = "mg/L" }
"""
    cohort = opened(workspace, root, LONG.partition("[[measures]]")[0] + measures)
    assert values_of(cohort, "crp") == pytest.approx([8, 9])


WIDE = (
    LONG.partition("[[measures]]")[0].replace('taken = "when"', "")
    + """
[time]
unit = "d"
[[measures]]
time = "day"
[measures.features]
crp = { value = "crp", unit = "mg/L" }
"""
)
OWN = """name = "crp2"
group = "mine"
kind = "repeated"
role = "input"
meaning = "x"
choose = "nearest_before"
window_h = 24
range = [0, 9]
"""
BAD_MEASURES = {
    "unit": (WIDE.replace("mg/L", "g/l"), '[measures.features.crp] has the unit "g/l"', "factor"),
    "no unit": (WIDE.replace(', unit = "mg/L"', ""), "[measures.features.crp] needs a unit", '"mg/l"'),
    "feature": (WIDE.replace("crp =", "crb ="), 'there is no measured feature "crb"', 'nearest is "crp"'),
    "time": (WIDE.replace('time = "day"', ""), '[measures.features.crp] needs the key "time"', ""),
    "key": (
        WIDE.replace("[[measures]]", '[[measures]]\nfile = "r.csv"\ncolumn = "p"'),
        "counted from a film",
        "patient",
    ),
    "no film time": (WIDE.replace('unit = "d"', ""), "need the time of each film", "taken ="),
    "group": (
        WIDE + f"crp2 = 'crp'\n[[feature]]\n{OWN.replace('mine', 'labs')}",
        'the group "labs" is one that',
        "my_",
    ),
    "unused": (WIDE + f"[[feature]]\n{OWN}", "no [measures.features] names it", "crp2 ="),
    "outcome by kind": (
        WIDE + f"crp2 = 'crp'\n[[feature]]\n{OWN}known = 'after'",
        "so that it is known before the film",
        "known",
    ),
    "outcome by time": (
        WIDE + f"crp2 = {{ value = 'crp', time = 'later' }}\n[[feature]]\n{OWN}",
        'feature "crp2" is an outcome by its time: all its values are of after the films',
        "outcome",
    ),
    "items": (WIDE.replace("value =", 'items = ["a"], value ='), 'has no key "item"', "item ="),
    "end": (WIDE + '[icu]\nstart = "day"', '[icu] needs the key "end"', ""),
}


@pytest.mark.parametrize(("text", "what", "hint"), BAD_MEASURES.values(), ids=BAD_MEASURES)
def test_a_bad_measure_gets_one_sentence(text: str, what: str, hint: str, workspace: Workspace, tmp_path: Path) -> None:
    table = "file,person,when,day,crp,later\na,1,,-1,2,1\nb,2,,0,3,4\n"
    root = write_folder(tmp_path, table, ("a.png", "b.png"))
    with pytest.raises(CxrsslError) as caught:
        build(workspace, root, text)
    assert what in caught.value.what
    assert hint in caught.value.hint
    assert not list(workspace.cohorts.glob("*"))
