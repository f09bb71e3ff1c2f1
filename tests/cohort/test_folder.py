"""A folder of one's own: films, tables and a map, without a line of code for any of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cxrssl.cohort.ingest import IngestOptions, build_cohort
from cxrssl.cohort.maps.declared import LabelMap
from cxrssl.cohort.maps.guess import guess_map, write_guess
from cxrssl.cohort.maps.labels import read_list
from cxrssl.cohort.read import open_cohort
from cxrssl.cohort.split import hash_split
from cxrssl.core.errors import CxrsslError, UsageError
from cxrssl.core.workspace import Workspace
from tests.cohort.conftest import JPEG
from tests.cohort.dicom_files import write_dicom
from tests.cohort.folders import IMAGE, OTHER_LABELS, SIMPLE, TABLE, build, opened, values_of, write_folder


def test_five_lines_explain_a_folder_with_one_table(workspace: Workspace, tmp_path: Path) -> None:
    assert len(SIMPLE.strip().splitlines()) == 5
    root = write_folder(tmp_path, TABLE)
    summary = build(workspace, root, SIMPLE)
    cohort = open_cohort(summary.path)
    assert cohort.path.tolist() == ["a.png", "sub/b.jpg"]
    assert cohort.image_id.tolist() == cohort.study_id.tolist() == ["a.png", "b"]
    assert cohort.subject_id.tolist() == ["7", "7"]
    assert cohort.label_values.tolist() == [[1], [0]]
    assert summary.values["films"]["rejected"] == {"file missing": 1}
    assert build(workspace, root, SIMPLE).was_current
    assert not build(workspace, root, SIMPLE.replace("Edema", "Oedema")).was_current


def test_any_cell_and_the_blank_one_may_mean_something(workspace: Workspace, tmp_path: Path) -> None:
    root = write_folder(tmp_path, "file,person,edema,died\na,7,1,day 3\nb,8,0,\n", ("a.png", "b.png"))
    text = OTHER_LABELS + '[labels]\npresent = ["*"]\nabsent = [""]\nfindings = { Death = "died" }'
    assert opened(workspace, root, text).label_values.tolist() == [[1], [0]]


def test_a_cell_that_is_not_explained_is_not_what_the_blank_one_means(workspace: Workspace, tmp_path: Path) -> None:
    films = "file,person,edema,sex\na,7,1,m\nb,8,0,?\nc,9,maybe,x\nd,10,,\ne,11,  ,m\n"
    root = write_folder(tmp_path, films, tuple(f"{name}.png" for name in "abcde"))
    text = OTHER_LABELS + (
        '[labels]\npresent = ["1"]\nabsent = ["0", ""]\nfindings = { Edema = "edema" }\n'
        '[ehr]\nsex = { column = "sex", words = { male = ["m"], female = [""] } }\n'
    )
    cohort = opened(workspace, root, text)
    assert cohort.subject_id.tolist() == ["10", "11", "7", "8", "9"]
    assert cohort.label_values.tolist() == [[0], [0], [1], [0], [-2]]
    assert values_of(cohort, "sex") == [1, 0, 0, None, None]


def test_a_film_that_a_joined_table_lacks_has_no_blank_cell_there(workspace: Workspace, tmp_path: Path) -> None:
    root = write_folder(tmp_path, "file,person\na,7\nb,8\nc,9\n", ("a.png", "b.png", "c.png"))
    (root / "more.csv").write_text("name,died,sex\na,day 3,m\nb,,\n")
    text = OTHER_LABELS + (
        '[[films.join]]\nfile = "more.csv"\ncolumn = "name"\n'
        '[labels]\npresent = ["*"]\nabsent = [""]\nfindings = { Death = "died" }\n'
        '[ehr]\nsex = { column = "sex", words = { male = ["m"], female = [""] } }\n'
    )
    cohort = opened(workspace, root, text)
    assert cohort.label_values.tolist() == [[1], [0], [-2]]
    assert values_of(cohort, "sex") == [0, 1, None]


def test_films_that_differ_in_their_suffix_alone_have_their_files_as_ids(workspace: Workspace, tmp_path: Path) -> None:
    root = write_folder(tmp_path, "", ("7_a.png", "7_a.jpg"))
    (root / "films.csv").unlink()
    cohort = opened(workspace, root, '[films]\nname = "{subject}_{film}"\n')
    assert sorted(cohort.image_id.tolist()) == ["7_a.jpg", "7_a.png"]


FULL = """
[films]
file = "films.csv"
image = "file"
subject = "person"
split = "part"
[labels]
[labels.findings]
Edema = "edema"
[ehr]
age_y = "years"
sex = { column = "sex", words = { male = ["M"], female = ["F"] } }
view = { column = "view", words = { PA = ["frontal"], unknown = ["?"] } }
mortality = { column = "death", words = { died = ["*"], alive = [""] } }
"""
FULL_TABLE = """file,person,part,edema,years,sex,view,death
a,7,train,1,50,F,frontal,
b,8,validate,maybe,,M,?,day 3
c,9,test,,51.5,x,lateral,
"""


def test_a_cell_that_the_map_does_not_explain_is_unknown_and_counted(workspace: Workspace, tmp_path: Path) -> None:
    root = write_folder(tmp_path, FULL_TABLE)
    summary = build(workspace, root, FULL)
    cohort = open_cohort(summary.path)
    assert cohort.label_values.tolist() == [[1], [-2], [-2]]
    assert values_of(cohort, "sex") == [1, 0, None]
    assert values_of(cohort, "age") == [50, None, 51.5]
    assert values_of(cohort, "mortality") == [0, 1, 0]
    assert cohort.view.tolist() == ["PA", "", ""]
    assert cohort.split_of("official").tolist() == ["train", "val", "test"]
    assert cohort.default_split == "official"
    assert summary.values["tables"]["films.csv"]["made_unknown"] == {
        "edema: not a known value": 1,
        "sex: not a known value": 1,
        "view: not a known value": 1,
    }


def test_columns_may_be_called_as_those_of_the_program(workspace: Workspace, tmp_path: Path) -> None:
    table = "path,id,line,size,image_id,subject_id,study_id\na,7,1,2,x,s1,M\nb,8,0,3,y,s2,F\n"
    text = """
[films]
file = "films.csv"
image = "path"
subject = "id"
study = "{subject_id}-{image_id}"
patient = "path"
[labels.findings]
A = "line"
B = "image_id"
[ehr]
age_y = { column = "size", factor = 10 }
sex = { column = "study_id", words = { male = ["M"], female = ["F"] } }
"""
    root = write_folder(tmp_path, table, ("a.png", "b.png"))
    with pytest.raises(CxrsslError, match='none of 2 cells of "image_id"'):
        build(workspace, root, text)
    cohort = opened(workspace, root, text.replace('B = "image_id"\n', ""))
    assert cohort.image_id.tolist() == ["a", "b"]
    assert cohort.subject_id.tolist() == ["7", "8"]
    assert cohort.study_id.tolist() == ["s1-x", "s2-y"]
    assert cohort.label_values.tolist() == [[1], [0]]
    assert values_of(cohort, "age") == [20, 30]
    assert values_of(cohort, "sex") == [0, 1]


def test_parquet_says_what_the_csv_says(workspace: Workspace, tmp_path: Path) -> None:
    root = write_folder(tmp_path, FULL_TABLE)
    first = opened(workspace, root, FULL)
    pl.read_csv(root / "films.csv").write_parquet(root / "films.parquet")
    second = opened(workspace, root, FULL.replace("films.csv", "films.parquet"), name="other")
    assert first.content_sha256 == second.content_sha256


def test_ids_may_be_in_the_names_of_the_files(workspace: Workspace, tmp_path: Path) -> None:
    root = write_folder(
        tmp_path, "person,edema\np1,1\np2,0\n", ("x/p1_2020/f1.png", "p1_2021_f2.png", "p2_2020_f1.png")
    )
    text = """
[films]
name = "{subject_id}_{study}_{id}"
subject = "subject_id"
study = "{subject_id}-{study}"
[labels]
file = "films.csv"
column = "person"
key = "patient"
findings = { Edema = "edema" }
"""
    summary = build(workspace, root, text)
    cohort = open_cohort(summary.path)
    assert summary.values["films"]["rejected"] == {"name: not of the form": 1}
    assert cohort.image_id.tolist() == ["p1_2021_f2", "p2_2020_f1"]
    assert cohort.study_id.tolist() == ["p1-2021", "p2-2020"]
    assert cohort.label_values.tolist() == [[1], [0]]


def test_a_list_of_findings_implies_others_and_leaves_open_what_it_does_not_say() -> None:
    labels = LabelMap(
        list="said",
        separators=("/",),
        normal="None",
        unknown=("todo",),
        open=("ARDS",),
        findings=dict.fromkeys(["Pneumonia", "Viral", "Flu", "ARDS", "None"], ""),
        words={"Flu": ("Influenza",)},
        implies={"Flu": ("Viral",), "Viral": ("Pneumonia",)},
    )

    def values(cell: str) -> list[int | None] | None:
        read = read_list(cell, labels)
        return list(read.values()) if read else None

    assert values("Influenza/ARDS") == [1, 1, 1, 1, 0]
    assert values("Viral") == [1, 1, None, 0, 0]  # of which kind is not said
    assert values("ARDS") == [None, None, None, 1, 0]
    assert values("None") == [0, 0, 0, 0, 1]
    assert values("todo") == [None] * 5
    assert values("Cough") is None


@pytest.mark.parametrize(
    ("time", "cells", "taken"),
    [
        ("", ("2020-03-01 10:00", "2020-03-02T08:30:15.5Z"), ("2020-03-01T10:00:00.000", "2020-03-02T08:30:15.500")),
        ('format = "%d.%m.%Y %H:%M"', ("01.03.2020 10:00", "x"), ("2020-03-01T10:00:00.000", "")),
        ('unit = "d"\nzero = "patient"', ("-1.5", "2"), ("1999-12-30T12:00:00.000", "2000-01-03T00:00:00.000")),
        ("", ("2020-03-01", "2020-03-02 00:00"), ("", "2020-03-02T00:00:00.000")),
        (
            'format = "%Y-%m-%d %H:%M%z"',
            ("2020-03-01 00:30+0100", "2020-03-01 10:00+0100"),
            ("2020-02-29T23:30:00.000", "2020-03-01T09:00:00.000"),
        ),
        ('format = "%Y-%m-%d %X"', ("2020-03-01 10:00:01", ""), ("2020-03-01T10:00:01.000", "")),
    ],
)
def test_times_are_absolute_or_counted_from_a_moment_of_the_patient(
    time: str, cells: tuple[str, str], taken: tuple[str, str], workspace: Workspace, tmp_path: Path
) -> None:
    table = "file,person,edema,when\n" + "".join(f"{name},7,1,{cell}\n" for name, cell in zip("ab", cells, strict=True))
    cohort = opened(workspace, write_folder(tmp_path, table), SIMPLE + f'taken = "when"\n[time]\n{time}')
    assert cohort.taken_at.tolist() == list(taken)
    assert values_of(cohort, "prior") == ([0, 1] if all(taken) else [None, None])


def test_dicom_films_without_tags_are_films_and_what_tags_say_yields_to_the_table(
    workspace: Workspace, tmp_path: Path
) -> None:
    root = write_folder(tmp_path, "file,person,edema,sex\na,7,1,F\nb,8,0,F\nc,9,1,\nct,9,1,\ntext,9,1,\n", ())
    gone: dict[str, Any] = dict.fromkeys(("Modality", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "PatientID"))
    write_dicom(root / "a.dcm", **gone, PatientSex=None)
    write_dicom(root / "b.dcm", PatientSex="M", PatientAge="050Y", ViewPosition="AP")
    write_dicom(root / "c.dcm", PatientSex="M", Modality="DX", SOPInstanceUID="1.2.3.9")
    write_dicom(root / "ct.dcm", Modality="CT", SOPInstanceUID="1.2.3.10")
    (root / "text.dcm").write_text("no DICOM")
    sex = '[ehr]\nsex = { column = "sex", words = { male = ["M"], female = ["F"] } }'
    summary = build(workspace, root, SIMPLE + sex)
    cohort = open_cohort(summary.path)
    assert cohort.image_id.tolist() == ["a", "b", "c"]
    assert values_of(cohort, "sex") == [1, 1, 0]
    assert values_of(cohort, "age")[1] == 50
    assert cohort.view.tolist()[1] == "AP"
    assert summary.values["films"]["rejected"] == {"Modality: not CR or DX": 1, "not a DICOM file": 1}


BAD = {
    "no films": ('body_part = ["CHEST"]', "the map of a folder needs the section [films]", "help folder"),
    "unknown section": ("[label]", 'unknown key "label"', "labels"),
    "unknown key": (SIMPLE.replace("image =", "images ="), 'unknown key "images" in [films]', "image"),
    "no subject": (SIMPLE.replace('subject = "person"', ""), '[films] needs the key "subject"', "no person"),
    "no image": (SIMPLE.replace(IMAGE, ""), '[films] has the key "file" and lacks "image"', "image ="),
    "unknown column": (SIMPLE.replace("person", "persons"), 'column "persons" is missing', 'nearest is "person"'),
    "join": (
        SIMPLE + '[[films.join]]\nfile = "more.csv"\ncolumn = "id"',
        "more.csv: none of its 2 rows fits films.csv",
        "of the films holds",
    ),
    "outside": (SIMPLE + 'folder = "../x"', '"films.folder" lies outside PATH', "--films"),
    "no folder": (SIMPLE + 'folder = "filns"', '"films.folder" is no folder of PATH', "check"),
    "cells": (
        SIMPLE.replace('"edema"', '"years"'),
        'films.csv: the map explains none of 2 cells of "years", written as 99',
        'it knows "1"',
    ),
    "two meanings": (
        SIMPLE + '[ehr]\nsex = { column = "sex", words = { male = ["F"], female = ["F"] } }',
        '"F" means two things in [ehr.sex]',
        "",
    ),
    "no words": (SIMPLE + '[ehr]\nsex = "sex"', "[ehr.sex] needs words", "male"),
    "number": (SIMPLE + '[ehr]\nage_y = { column = "years", words = { a = ["b"] } }', "takes no words", "number"),
    "useless key": (
        OTHER_LABELS + '[labels]\nlist = "edema"\npresent = ["1"]\nfindings = ["A"]',
        '"present", which has no effect with "list"',
        "leave",
    ),
    "implied": (
        OTHER_LABELS + '[labels]\nlist = "edema"\nfindings = ["A", "B"]\nimplies = { C = ["A"] }',
        '"labels.implies" names "C", which is no finding',
        "known: A, B",
    ),
    "of dicom": ('body_part = ["CHEST"]' + SIMPLE, "have no effect with cxrssl ingest folder", "dicom"),
    "no split": (SIMPLE + 'split = "sex"', 'no film has a split in "sex"', "train"),
    "own time": (SIMPLE + 'taken = "years"\n[time]\nunit = "d"', "cannot be counted from the film itself", "patient"),
    "unit": (SIMPLE + '[time]\nunit = "days"', '"time.unit" cannot be "days"', ""),
    "times": (SIMPLE + 'taken = "sex"', 'none of 3 cells of "sex", written as a, can be read as times', "[time]"),
    "form": (SIMPLE.replace('subject = "person"', 'name = "{subject}-{x}"'), "no name of 2 films has the form", ""),
}


@pytest.mark.parametrize(("text", "what", "hint"), BAD.values(), ids=BAD)
def test_a_bad_map_gets_one_sentence(text: str, what: str, hint: str, workspace: Workspace, tmp_path: Path) -> None:
    root = write_folder(tmp_path, TABLE)
    (tmp_path / "more.csv").write_text("id,more\n1,1\n2,2\n")
    with pytest.raises(CxrsslError) as caught:
        build(workspace, root, text)
    assert what in caught.value.what
    assert hint in caught.value.hint
    assert not list(workspace.cohorts.glob("*"))


def test_rows_that_share_an_id_or_a_file_are_rejected_by_name(workspace: Workspace, tmp_path: Path) -> None:
    table = "file,person,edema\na,7,1\na.png,7,1\nb,8,1\nb,8,0\nc,9,1\n../c,9,1\n"
    root = write_folder(tmp_path, table, ("a.png", "b.png", "c.png", "x/c.jpg", "d.png"))
    with pytest.raises(CxrsslError) as caught:
        build(workspace, root, SIMPLE)
    assert caught.value.what == (
        "no film of films.csv can be used: file: the same file twice 2, file: the same key with different content 2, "
        "file: outside the folder 1, file: several files of this name 1"
    )


@pytest.mark.parametrize("key", ["image", "file", "patient"])
def test_a_map_adds_labels_and_features_to_a_built_in_dataset(key: str, workspace: Workspace, tmp_path: Path) -> None:
    rows = ["00000001_000.png,No Finding,0,1,50,M,PA", "00000002_000.png,Edema,0,2,51,F,AP"]
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    (tmp_path / "nih" / "images").mkdir(parents=True)
    (tmp_path / "nih" / "Data_Entry_2017.csv").write_text("\n".join([header, *rows]) + "\n")
    for row in rows:
        (tmp_path / "nih" / "images" / row.split(",")[0]).write_bytes(JPEG)
    ids = {"image": "00000001_000.png", "file": "images/00000001_000", "patient": "1"}[key]
    (tmp_path / "read.csv").write_text(f"id,oedema,rib,race\n{ids},1,0,WHITE\n")
    text = f"""
[labels]
file = "read.csv"
column = "id"
key = "{key}"
findings = {{ Edema = "oedema", "Rib fracture" = "rib" }}
[ehr]
file = "read.csv"
column = "id"
key = "{key}"
race = "race"
"""
    (tmp_path / "map.toml").write_text(text)
    options = IngestOptions("nih", tmp_path / "nih", map=tmp_path / "map.toml")
    summary = build_cohort(workspace, options)
    cohort = open_cohort(summary.path)
    names = cohort.finding_names.tolist()
    assert cohort.labels(["Edema", "Rib fracture"], blank="ignore").tolist() == [[1, 0], [1, -1]]
    assert names[-1] == "Rib fracture"
    assert len(names) == 15
    assert values_of(cohort, "race") == [0, None]
    assert "read.csv: 1 finding of the dataset replaced by the map in 1 of 2 studies" in summary.values["remarks"]
    (tmp_path / "map.toml").write_text(
        text.replace("[ehr]", 'others = "drop"\n[ehr]')
        .replace("findings = {", 'others = "drop"\nfindings = {')
        .replace('others = "drop"\n[ehr]', "[ehr]")
    )
    alone = open_cohort(build_cohort(workspace, options).path)
    assert alone.label_values.tolist() == [[1, 0], [-2, -2]]


def test_a_guessed_map_is_one_and_is_never_written_over(workspace: Workspace, tmp_path: Path) -> None:
    table = "filename,patient_id,Edema,sex,age,crp_val,crp_offset\n" + "".join(
        f"{name},{k % 2},{k % 2},{'MF'[k % 2]},{40 + k},1,0\n" for k, name in enumerate("abc")
    )
    root = write_folder(tmp_path, table, ("a.png", "b.png", "c.png"))
    guess = write_guess(root, tmp_path / "guess.toml")
    assert (guess.films, guess.table) == (3, "films.csv")
    cohort = opened(workspace, root, guess.text)
    assert cohort.finding_names.tolist() == ["Edema"]
    assert values_of(cohort, "sex") == [0, 0, 1]
    assert values_of(cohort, "age") == [40, 42, 41]
    assert '# crp = { value = "crp_val", time = "crp_offset", unit = "?" }' in guess.text
    with pytest.raises(CxrsslError, match="never written over"):
        write_guess(root, tmp_path / "guess.toml")
    with pytest.raises(CxrsslError, match="never written to"):
        write_guess(root, root / "guess.toml")
    (root / "films.csv").write_text("filename,number\na,1\nb,2\n")
    with pytest.raises(CxrsslError, match='needs the key "subject"'):
        build(workspace, root, guess_map(root).text)
    (root / "films.csv").unlink()
    assert '# name = "{subject}_{number}"' in guess_map(root).text


def test_ids_are_compared_within_a_collection(workspace: Workspace, tmp_path: Path) -> None:
    root = write_folder(tmp_path, TABLE)
    cohorts = [
        opened(workspace, root, line + SIMPLE, name=name)
        for name, line in (("a", ""), ("b", 'collection = "clinic-2"'), ("c", 'collection = "nih"'))
    ]
    assert [cohort.dataset for cohort in cohorts] == ["folder", "clinic-2", "nih"]
    assert cohorts[2].split_of("hash").tolist() == [hash_split("nih", "7")] * 2
    with pytest.raises(UsageError) as caught:
        cohorts[1].column_of("sodium")
    assert caught.value.hint.endswith("make it again, with its options: cxrssl ingest folder PATH --map MAP --cohort b")
    with pytest.raises(CxrsslError, match='"collection" must be a word'):
        build(workspace, root, 'collection = "a b"' + SIMPLE)
