"""Features declared in TOML: each mistake gets one sentence."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from cxrssl.cohort import features
from cxrssl.cohort.declare import check_sources, read_declared
from cxrssl.cohort.events.asked import read_asked
from cxrssl.cohort.feature import Declared, EventSource
from cxrssl.cohort.features import BUILT_IN, FEATURES, TABLES
from cxrssl.cohort.features import declare as declare_here
from cxrssl.core.errors import ConfigError

TABLE = """
[[table]]
name = "triage"
file = "ed/triage"
key = "stay_id"
time = "ed_stay.intime"
"""
ACUITY = """
[[feature]]
name = "acuity"
group = "triage"
kind = "repeated"
role = "input"
meaning = "acuity at triage, 1 to 5"
choose = "nearest_before"
window_h = 24
range = [1, 5]
sources = [{ table = "triage", value = "acuity" }]
"""


def declare(text: str) -> Declared:
    declared = read_declared(tomllib.loads(text), "mine.toml")
    check_sources(declared.features, TABLES | {table.name: table for table in declared.tables})
    return declared


def test_a_feature_of_ones_own_is_a_table_and_a_feature() -> None:
    declared = declare(TABLE + ACUITY)
    (table,), (feature,) = declared.tables, declared.features
    assert table.columns == ("subject_id", "stay_id")
    assert (feature.name, feature.group, feature.role, feature.known) == ("acuity", "triage", "input", "before")
    assert feature.measured is not None
    assert feature.measured.sources == (EventSource("triage", value="acuity"),)
    assert feature.scale is not None
    assert (feature.scale.low, feature.scale.high, feature.has_age, feature.age_column) == (1, 5, True, "acuity_age_h")


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('role = "input"', 'role = "inpt"', 'feature "acuity": "role" cannot be "inpt"'),
        ('group = "triage"\n', "", 'feature "acuity" needs the key "group", a text'),
        ("window_h = 24", "window = 24", 'unknown key "window" in feature "acuity"'),
        ("window_h = 24", "window_h = -1", 'feature "acuity": "window_h" must be hours above 0'),
        ("window_h = 24", "window_h = 24\nstale_h = 48", 'feature "acuity" becomes stale only after its window'),
        ("range = [1, 5]", "range = [5, 1]", 'feature "acuity" needs range = [lowest, highest]'),
        ("range = [1, 5]\n", "", 'feature "acuity" needs "range", or scale = { low = ..., high = ... }'),
        (
            'choose = "nearest_before"',
            'choose = "any_before"',
            'feature "acuity" of kind "repeated" cannot be chosen by "any_before"',
        ),
        (
            'choose = "nearest_before"',
            'choose = "nearest_before"\nknown = "after"',
            'feature "acuity" is chosen by "nearest_before", so that it is known before the film',
        ),
        (
            'value = "acuity" }',
            'value = "acuity", unit = "points" }',
            'feature "acuity" says nothing of the unit "points"',
        ),
        (
            "range = [1, 5]",
            'range = [1, 5]\nunits = { points = "x" }',
            'feature "acuity": the unit "points" needs a factor, or [factor, summand]',
        ),
        ('table = "triage"', 'table = "triag"', 'feature "acuity" is of table "triag", which is not declared'),
        (', value = "acuity"', "", 'feature "acuity" needs a column of values in "triage"'),
        (
            ', value = "acuity"',
            ', value = "acuity", items = ["1"]',
            'feature "acuity" names items, and table "triage" ',
        ),
        ('time = "ed_stay.intime"', 'time = "ed_stay.start"', '"ed_stay.start" is no time of a stay'),
        ('key = "stay_id"\n', "", 'table "triage" has the time of a stay and needs the key "key", '),
        ('file = "ed/triage"', 'file = "../triage.csv"', 'table "triage" cannot be in "../triage.csv"'),
        ('group = "triage"', 'group = "triage"\nrule = "1"', 'unknown key "rule" in feature "acuity"'),
    ],
)
def test_a_mistake_gets_one_sentence(old: str, new: str, what: str) -> None:
    text = TABLE + ACUITY
    assert text.count(old) == 1
    with pytest.raises(ConfigError) as caught:
        declare(text.replace(old, new))
    assert caught.value.what.startswith(what)


SIDES = """
[[feature]]
name = "side"
group = "mine"
kind = "KIND"
role = "input"
meaning = "of many words"
window_h = 24
choose = "CHOOSE"
range = [0, 1]
MORE
"""
SOURCE = 'sources = [{ table = "diagnoses", value = "seq_num", items = ["50912"] }]'
CODED = 'sources = [{ table = "diagnoses", codes = CODES }]'


@pytest.mark.parametrize(
    ("kind", "more", "what"),
    [
        ("codes", CODED.replace("CODES", '{ 9 = "428" }'), '"codes" of version 9 must be a list of texts'),
        ("codes", CODED.replace("CODES", "{ 9 = [428] }"), '"codes" of version 9 must be a list of texts'),
        ("codes", CODED.replace("CODES", '["I50"]'), '"codes" must be a table'),
        ("codes", CODED.replace("CODES", "{ 9 = [] }"), "has a version without codes"),
        ("codes", CODED.replace("CODES", '{ 9 = ["428", "."] }'), "has a version without codes"),
        ("codes", SOURCE.replace('["50912"]', '"50912"'), '"items" must be a list of texts'),
        ("codes", SOURCE.replace('["50912"]', "5"), '"items" must be a list of texts'),
        ("codes", 'count_of = "had_dementia"', '"count_of" must be a list of texts'),
        ("category", f'{SOURCE}\nwords = {{ low = "12" }}', '"words" of low must be a list of texts'),
        ("category", f'{SOURCE}\nwords = ["a"]', '"words" must be a table'),
        ("category", f'{SOURCE}\ncategories = "ab"', '"categories" must be a list of texts'),
        ("repeated", f'{SOURCE}\nunits = "mg"', '"units" must be a table'),
        ("repeated", f"{SOURCE}\nscale = 5", '"scale" must be a table'),
    ],
)
def test_a_text_is_no_list(kind: str, more: str, what: str) -> None:
    choose = "any_before" if kind == "codes" else "nearest_before"
    with pytest.raises(ConfigError) as caught:
        declare(SIDES.replace("KIND", kind).replace("CHOOSE", choose).replace("MORE", more))
    assert caught.value.what in (f'feature "side": {what}', f'feature "side" {what}')


CODES = """
[[table]]
name = "codes"
file = "hosp/diagnoses_icd"
key = "hadm_id"
time = "admission.TIME"
item = "icd_code"
version = "icd_version"
[[feature]]
name = "had_asthma"
group = "mine"
kind = "codes"
role = "ROLE"
meaning = "asthma"
choose = "CHOOSE"
sources = [{ table = "codes", codes = { "9" = ["493"], "10" = ["J45"] } }]
"""


def coded(role: str, choose: str, time: str) -> Declared:
    return declare(CODES.replace("ROLE", role).replace("CHOOSE", choose).replace("TIME", time))


def test_an_outcome_cannot_be_called_an_input() -> None:
    assert coded("input", "any_before", "dischtime").features[0].known == "before"
    assert coded("outcome", "any_of_admission", "admittime").features[0].known == "after"
    with pytest.raises(ConfigError) as caught:
        coded("input", "any_of_admission", "dischtime")
    assert caught.value.what == 'feature "had_asthma" is known only after the film: it is an outcome and no input'
    with pytest.raises(ConfigError) as caught:
        coded("input", "any_before", "admittime")
    assert caught.value.what == (
        'feature "had_asthma" is an outcome by its time: hosp/diagnoses_icd is known when the stay has ended'
    )
    assert caught.value.hint == 'write time = "admission.dischtime"'


OF_STAY = """
[[table]]
name = "stays"
file = "FILE"
key = "hadm_id"
time = "TIME"
COLUMN
[[feature]]
name = "went"
group = "mine"
kind = "KIND"
role = "ROLE"
meaning = "where the stay ended"
window_h = 24
range = [0, 1]
choose = "CHOOSE"
sources = [{ table = "stays" }]
"""


def of_stay(file: str, time: str, column: str, role: str = "input") -> Declared:
    kind, choose = ("repeated", "nearest_before") if column.startswith("value") else ("codes", "any_before")
    words = {"FILE": file, "TIME": time, "COLUMN": column, "KIND": kind, "ROLE": role, "CHOOSE": choose}
    text = OF_STAY
    for word, new in words.items():
        text = text.replace(word, new)
    return declare(text)


@pytest.mark.parametrize(
    ("file", "time", "column", "late", "end"),
    [
        ("hosp/admissions", "admittime", 'item = "discharge_location"', "discharge_location", "admission.dischtime"),
        ("hosp/admissions", "admittime", 'version = "deathtime"', "deathtime", "admission.dischtime"),
        ("hosp/admissions", "admittime", 'limit_in = ["discharge_location"]', "discharge_location",
         "admission.dischtime"),
        ("hosp/admissions", "admittime", 'value = "hospital_expire_flag"', "hospital_expire_flag",
         "admission.dischtime"),
        ("icu/icustays", "intime", 'item = "last_careunit"', "last_careunit", "icu_stay.outtime"),
        ("ed/edstays", "intime", 'unit = "disposition"', "disposition", "ed_stay.outtime"),
    ],
)  # fmt: skip
def test_no_column_that_is_read_may_be_known_later(file: str, time: str, column: str, late: str, end: str) -> None:
    with pytest.raises(ConfigError) as caught:
        of_stay(file, time, column)
    assert caught.value.what == (
        f'feature "went" is an outcome by its time: {file}.{late} is known when the stay has ended'
    )
    assert caught.value.hint == f'write time = "{end}", or role = "outcome"'
    for time_of_end in (end, end.partition(".")[2]):
        assert of_stay(file, time_of_end, column).features[0].role == "input"
    assert of_stay(file, time, column, "outcome").features[0].role == "outcome"


COUNTING = """
[[feature]]
name = "score"
group = "mine"
kind = "codes"
role = "ROLE"
meaning = "how many"
choose = "count_before"
range = [0, 1]
count_of = ["had_asthma"]
"""


def test_a_count_of_outcomes_is_an_outcome() -> None:
    after = CODES.replace("ROLE", "outcome").replace("CHOOSE", "any_of_admission").replace("TIME", "dischtime")
    before = CODES.replace("CHOOSE", "any_before").replace("TIME", "dischtime")
    for counted in (after, before.replace("ROLE", "outcome")):
        with pytest.raises(ConfigError) as caught:
            declare(counted + COUNTING.replace("ROLE", "input"))
        assert caught.value.what == (
            'feature "score" counts "had_asthma", which is an outcome: it is one too and no input'
        )
        assert declare(counted + COUNTING.replace("ROLE", "outcome")).features[1].role == "outcome"
    assert declare((before + COUNTING).replace("ROLE", "input")).features[1].role == "input"


def test_names_are_declared_once() -> None:
    with pytest.raises(ConfigError, match='feature "acuity" is declared twice'):
        declare(TABLE + ACUITY + ACUITY)
    with pytest.raises(ConfigError, match='table "triage" is declared twice'):
        declare(TABLE + TABLE + ACUITY)
    with pytest.raises(ConfigError, match="no feature is declared"):
        declare(TABLE)


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ('column = "age_y"', 'feature "acuity": the column "age_y" is one that comes with the program'),
        ('column = "subject_id"', 'feature "acuity": the column "subject_id" is one that comes with the program'),
        ('column = "sodium"', 'feature "acuity": the column "sodium" is one that comes with the program'),
        ('column = "Age y"', 'feature "acuity": a column is a word of a-z, 0-9 and _'),
        ('column = "urgency"', 'feature "other": the column "urgency_age_h" is one of feature "acuity"'),
        ('column = "urgency_age_h"', 'feature "other": the column "urgency_age_h" is one of feature "acuity"'),
    ],
)
def test_each_column_is_of_one_feature(more: str, what: str) -> None:
    other = CODES[CODES.index("[[feature]]") :].replace('"had_asthma"', '"other"\ncolumn = "urgency_age_h"')
    other = other.replace("ROLE", "input").replace("CHOOSE", "any_before")
    other = other.replace('table = "codes"', 'table = "diagnoses"')
    own = ACUITY.replace("[[feature]]", f"[[feature]]\n{more}").replace('group = "triage"', 'group = "mine"')
    with pytest.raises(ConfigError) as caught:
        declare_here(tomllib.loads(own + other), "mine.toml")
    assert caught.value.what == what


def test_each_column_is_of_one_feature_of_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kept in ("_known", "_declared"):  # what a process knows
        monkeypatch.setattr(features, kept, dict(getattr(features, kept)))
    for name in ("first", "second"):
        text = ACUITY.replace("[[feature]]", '[[feature]]\ncolumn = "urgency"').replace('"acuity"\n', f'"{name}"\n')
        (tmp_path / f"{name}.toml").write_text(text.replace('group = "triage"', 'group = "mine"'))
    files = [str(tmp_path / f"{name}.toml") for name in ("first", "second")]
    assert read_asked(files[0], tmp_path / "cohort").names == ["first"]
    with pytest.raises(ConfigError) as caught:
        read_asked(",".join(files), tmp_path / "cohort")
    assert caught.value.what == 'feature "second": the column "urgency" is one of feature "first"'


def test_built_in_features_are_declared_in_the_package() -> None:
    assert [feature.name for feature in BUILT_IN.features[: len(FEATURES)]] == [feature.name for feature in FEATURES]
    assert all(feature.meaning for feature in BUILT_IN.features)
    for feature in BUILT_IN.features:  # an outcome is what is known after the film
        assert (feature.role == "outcome") == (feature.known == "after"), feature.name


def test_items_may_be_written_as_numbers() -> None:
    text = TABLE.replace('time = "ed_stay.intime"', 'time = "ed_stay.intime"\nitem = "itemid"') + ACUITY.replace(
        'value = "acuity"', 'value = "acuity", items = [51222, "0051"]'
    )
    (feature,) = declare(text).features
    assert feature.measured is not None
    assert feature.measured.sources[0].items == ("51222", "0051")


@pytest.mark.parametrize("what", ["feature", "table"])
def test_what_two_files_declare_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(features, "_declared", {})
    monkeypatch.setattr(features, "_known", dict(features._known))
    mine = (TABLE + ACUITY).replace('"triage"', '"my_triage"')
    (tmp_path / "a.toml").write_text(mine)
    if what == "table":
        mine = mine.replace('"acuity"', '"other"', 1).replace('group = "my_triage"', 'group = "others"')
    else:
        mine = mine.replace('"my_triage"', '"triage_b"')
    (tmp_path / "b.toml").write_text(mine.replace("range = [1, 5]", "range = [1, 4]"))
    with pytest.raises(ConfigError, match=f'{what} "(acuity|my_triage)" is declared in .*a.toml too'):
        read_asked(f"{tmp_path / 'a.toml'},{tmp_path / 'b.toml'}", tmp_path / "cohort")
