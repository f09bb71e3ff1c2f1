"""A folder of DICOM with a map: what the user's own tables say of the films."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cxrssl.cli.ingest import ingest
from cxrssl.cohort.ingest import IngestOptions, build_cohort
from cxrssl.cohort.maps.parse import read_map
from cxrssl.cohort.maps.parse_labels import TAKEN
from cxrssl.cohort.maps.tables import name_files
from cxrssl.cohort.sources import list_table
from cxrssl.core.errors import ConfigError, DataError
from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database
from tests.cohort.dicom_cohorts import build, feature, given
from tests.cohort.dicom_files import DX, write_dicom

MAP = """
body_part = ["CHEST", "THORAX"]
[labels]
file = "labels.csv"
column = "id"
key = "KEY"
present = ["1", "yes"]
absent = ["0"]
uncertain = ["maybe"]
[labels.findings]
Edema = "oedema"
"Pleural Effusion" = "effusion"
[ehr]
file = "records.csv"
column = "mrn"
key = "patient"
[ehr.sex]
column = "gender"
words = { male = ["M"], female = ["F", "W"] }
[ehr.age_y]
column = "age"
[ehr.race]
column = "ethnic"
"""
IDS = {"image": ("1.2.3.1", "1.2.3.2"), "study": ("1.2.3", "1.2.4"), "patient": ("7", "8"), "file": ("1.dcm", "2")}


def write_mapped(root: Path, key: str = "study") -> Path:
    """Two patients with a film each, and a hip; tables that know both patients and a third."""
    write_dicom(root / "dicom" / "1.dcm", BodyPartExamined="CHEST", PatientSex="F", PatientAge="050Y")
    tags = {"SOPInstanceUID": "1.2.3.2", "StudyInstanceUID": "1.2.4", "PatientID": "8", "SOPClassUID": DX}
    write_dicom(root / "dicom" / "2.dcm", BodyPartExamined="THORAX", PatientSex="M", Modality="DX", **tags)
    write_dicom(root / "dicom" / "3.dcm", SOPInstanceUID="1.2.3.3", BodyPartExamined="HIP")
    first, second = IDS[key]
    (root / "labels.csv").write_text(f"id,oedema,effusion\n{first},yes,\n{second},0,maybe\n1.2.99,1,1\n")
    (root / "records.csv").write_text("mrn,gender,age,ethnic\n7,M,,WHITE\n8,W,71.5,\n")
    (root / "map.toml").write_text(MAP.replace("KEY", key))
    return root


@pytest.mark.parametrize("key", ["image", "study", "patient", "file"])
def test_map_gives_findings_and_features(key: str, workspace: Workspace, tmp_path: Path) -> None:
    root = write_mapped(tmp_path, key)
    cohort = build(workspace, root / "dicom", map=root / "map.toml")
    assert cohort.finding_names.tolist() == ["Edema", "Pleural Effusion"]
    assert cohort.label_values.tolist() == [[1, -2], [0, -1]]
    assert cohort.study_id.tolist() == list(IDS["image" if key in ("image", "file") else "study"])
    assert feature(cohort, "sex") == [0, 1]  # the table goes before the tag
    assert feature(cohort, "age") == [50, 71.5]  # a blank cell leaves the tag
    assert given(cohort, workspace, "race") == ["WHITE", None]
    assert cohort.summary["films"]["rejected"] == {"BodyPartExamined: not asked for": 1}
    assert "labels.csv: rows whose id is no film's: 1" in cohort.summary["remarks"]
    assert cohort.summary["tables"]["labels.csv"]["rows"] == 3
    assert cohort.summary["versions"] == {"labels": "labels.csv"}


@pytest.mark.parametrize(
    ("key", "ids", "shown"),
    [("image", ("case1", "case2"), "aaaa9"), ("patient", ("MRN-007", "MRN-008"), "aaa-999"), ("file", ("a", "b"), "a")],
)
def test_table_of_which_no_row_belongs_to_a_film_is_an_error_with_the_form_of_either(
    key: str, ids: tuple[str, str], shown: str, workspace: Workspace, tmp_path: Path
) -> None:
    root = write_mapped(tmp_path, key)
    (root / "labels.csv").write_text("id,oedema,effusion\n" + "".join(f"{each},1,0\n" for each in ids))
    with pytest.raises(DataError, match=r"labels\.csv: none of its 2 rows fits the films") as caught:
        build_cohort(workspace, IngestOptions("dicom", root / "dicom", map=root / "map.toml"))
    theirs = {"image": "9.9.9.9", "patient": "9", "file": "9"}[key]
    assert f"its id is such as {shown}, that of the films such as {theirs}:" in caught.value.hint
    assert "MRN" not in caught.value.hint


def test_names_of_files_may_have_folders_and_those_of_two_films_are_neithers() -> None:
    paths = pl.Series(["p1/a.dcm", "p2/a.dcm", "p2/b.DICOM", "c.0001"])
    table = list_table("labels", "id", dict.fromkeys(["b", "c.0001", "a.dcm"], 1))
    assert name_files(table, paths).to_list() == [None, None, "b", "c.0001"]
    table = list_table("labels", "id", dict.fromkeys(["p1\\a", "p2/a.dcm", "p2/b.dcm", "p2/b"], 1))
    assert name_files(table, paths).to_list() == ["p1/a", "p2/a", "p2/b", "c.0001"]
    assert table.frame["id"].to_list() == ["p1/a", "p2/a"]
    assert table.reject_counts() == {"id: the same file twice": 2}


def test_films_whose_tags_were_taken_out_are_known_by_their_files(workspace: Workspace, tmp_path: Path) -> None:
    gone: dict[str, Any] = dict.fromkeys(("Modality", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "PatientID"))
    for name in ("a", "b"):
        write_dicom(tmp_path / "data" / f"{name}.dicom", **gone)
    write_dicom(tmp_path / "data" / "ct.dicom", **{**gone, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"})
    (tmp_path / "labels.csv").write_text("image_id,Edema\na,1\nb,0\n")
    text = '[labels]\nfile = "labels.csv"\ncolumn = "image_id"\nkey = "file"\n[labels.findings]\nEdema = "Edema"\n'
    (tmp_path / "map.toml").write_text(text)
    with pytest.raises(DataError, match="Modality: not CR or DX 3") as caught:
        build_cohort(workspace, IngestOptions("dicom", tmp_path / "data", map=tmp_path / "map.toml"))
    assert 'ids = "file"' in caught.value.hint
    (tmp_path / "map.toml").write_text(f'ids = "file"\n{text}')
    cohort = build(workspace, tmp_path / "data", map=tmp_path / "map.toml")
    assert cohort.image_id.tolist() == cohort.subject_id.tolist() == ["a", "b"]
    assert cohort.label_values.tolist() == [[1], [0]]
    assert cohort.summary["films"]["rejected"] == {"Modality: not CR or DX": 1}
    assert any("films without Modality, taken for radiographs" in remark for remark in cohort.summary["remarks"])


@pytest.mark.parametrize(
    "name",
    ["id", "sex", "view", "path", "age_y", "gap_h", "Sex", "split_hash", "macro", "line", " x", "a\nb", "x" * 101],
)
def test_finding_with_a_name_that_tables_have_already_is_one_sentence(name: str, tmp_path: Path) -> None:
    root = write_mapped(tmp_path)
    text = MAP.replace("KEY", "study").replace("Edema = ", f"{json.dumps(name)} = ")
    (root / "map.toml").write_text(text)
    with pytest.raises(ConfigError, match="a finding cannot be named"):
        read_map(root / "map.toml")


def test_every_column_of_a_cohort_is_taken_and_any_other_name_works(workspace: Workspace, tmp_path: Path) -> None:
    root = write_mapped(tmp_path)
    names = ["finding", "value", "rule", "count", "No Finding", "é 'x' \"y\", z", "study", "file", "rows", "word"]
    lines = "\n".join(f"{json.dumps(name)} = 'oedema'" for name in names)
    (root / "map.toml").write_text(MAP.replace("KEY", "study").replace('Edema = "oedema"', lines))
    cohort = build(workspace, root / "dicom", map=root / "map.toml")
    assert cohort.finding_names.tolist() == [*names, "Pleural Effusion"]
    assert cohort.label_values[:, :-1].tolist() == [[1] * len(names), [0] * len(names)]
    with open_database(cohort.folder / "cohort.duckdb", read_only=True) as database:
        assert {name for name in database.columns("film") if not name.startswith("split_")} <= TAKEN


def test_the_example_of_the_help_is_a_map(tmp_path: Path) -> None:
    example = (ingest.__doc__ or "").partition("\b\n")[2].partition("\n\n")[0]
    (tmp_path / "map.toml").write_text(example)
    record_map = read_map(tmp_path / "map.toml")
    assert record_map.labels[0].findings == {"Edema": "edema"}
    assert record_map.ehr[0].features["sex"].words == {"male": ("M",), "female": ("F",)}
    assert set(record_map.ehr[0].features) == {"sex", "age_y"}


def test_one_file_may_hold_labels_and_record(workspace: Workspace, tmp_path: Path) -> None:
    root = write_mapped(tmp_path, "patient")
    text = MAP.replace("KEY", "patient").replace("records.csv", "labels.csv").replace('"mrn"', '"id"')
    (root / "map.toml").write_text(text)
    (root / "labels.csv").write_text("id,oedema,effusion,gender,age,ethnic\n7,1,1,M,,\n8,0,0,F,30,\n")
    cohort = build(workspace, root / "dicom", map=root / "map.toml")
    assert feature(cohort, "age") == [50, 30]
    assert {"labels.csv", "labels.csv as [ehr]"} <= set(cohort.summary["tables"])


def test_changed_map_or_table_makes_the_cohort_anew(workspace: Workspace, tmp_path: Path) -> None:
    root = write_mapped(tmp_path)
    options: dict[str, Any] = {"map": root / "map.toml"}
    assert not build_cohort(workspace, IngestOptions("dicom", root / "dicom", **options)).was_current
    assert build_cohort(workspace, IngestOptions("dicom", root / "dicom", **options)).was_current
    (root / "map.toml").write_text(MAP.replace("KEY", "study").replace('"yes"', '"yes", "y"'))
    assert not build_cohort(workspace, IngestOptions("dicom", root / "dicom", **options)).was_current


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [("yes,", "Yes,", "oedema: not a known value"), ("1.2.3,", ",", "id: blank")],
)
def test_cell_that_the_map_does_not_explain_is_a_reject_with_its_line(
    old: str, new: str, rule: str, workspace: Workspace, tmp_path: Path
) -> None:
    root = write_mapped(tmp_path)
    (root / "labels.csv").write_text((root / "labels.csv").read_text().replace(old, new))
    summary = build_cohort(workspace, IngestOptions("dicom", root / "dicom", map=root / "map.toml"))
    assert summary.values["tables"]["labels.csv"]["rejected"] == {rule: 1}
    with (summary.path / "rejects.csv").open() as file:
        lines = [row["line"] for row in csv.DictReader(file) if row["file"] == "labels.csv"]
    assert lines == ["2"]


@pytest.mark.parametrize(
    ("old", "new", "what", "hint"),
    [
        ("[labels.findings]\n", "[labels.finding]\n", 'unknown key "finding" in [labels]', "findings"),
        ('key = "patient"', 'key = "patent"', '"ehr.key" cannot be "patent"', "patient"),
        ("[ehr.sex]", "[ehr.sexx]", 'there is no feature "sexx"', "sex"),
        ("male = [", "mal = [", '"mal" is no sex', "male"),
        ('["M"]', '"M"', "must be a list of cells", ""),
        ('["0"]', '["1"]', '"1" means two things', "present"),
        ('column = "age"', 'colum = "age"', "[ehr.age_y]", ""),
        ("body_part", "body_parts", 'unknown key "body_parts"', "body_part"),
        ('file = "labels.csv"\n', "", '[labels] needs the key "file"', ""),
        ("[labels]", "[labels", "not a readable TOML file", ""),
    ],
)
def test_mistake_in_the_map_is_one_sentence_with_the_nearest_word(
    old: str, new: str, what: str, hint: str, workspace: Workspace, tmp_path: Path
) -> None:
    root = write_mapped(tmp_path)
    text = MAP.replace("KEY", "study")
    assert old in text
    (root / "map.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        build_cohort(workspace, IngestOptions("dicom", root / "dicom", map=root / "map.toml"))
    assert what in caught.value.what
    assert hint in caught.value.hint
    assert caught.value.where.endswith("map.toml")


def test_missing_table_or_column_of_the_map_is_named(workspace: Workspace, tmp_path: Path) -> None:
    root = write_mapped(tmp_path)
    (root / "records.csv").write_text("mrn,gender,ages,ethnic\n7,M,,\n")
    with pytest.raises(DataError, match=r'records\.csv: column "age" is missing'):
        build_cohort(workspace, IngestOptions("dicom", root / "dicom", map=root / "map.toml"))
    (root / "records.csv").unlink()
    with pytest.raises(DataError, match=r"records\.csv"):
        build_cohort(workspace, IngestOptions("dicom", root / "dicom", map=root / "map.toml"))
