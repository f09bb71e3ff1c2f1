"""Any folder of DICOM radiographs: what is let in, and what the tags say."""

from __future__ import annotations

import csv
import os
import random
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cxrssl.cohort import dicom_headers
from cxrssl.cohort.dicom_headers import read_headers, whole_time
from cxrssl.cohort.ingest import IngestOptions, build_cohort
from cxrssl.cohort.read import open_cohort
from cxrssl.core.errors import DecodeError
from cxrssl.core.workspace import Workspace
from cxrssl.dicom import read_header
from tests.cohort.dicom_cohorts import build, feature, given
from tests.cohort.dicom_files import CAPTURE, write_dicom
from tests.scale import scaled


def test_plain_folder_becomes_a_cohort_with_the_standards_ids(workspace: Workspace, tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_dicom(root / "a" / "1", SOPInstanceUID="1.2.3.1", StudyInstanceUID="1.2.3", PatientSex="F", PatientAge="062Y")
    write_dicom(root / "b.dcm", SOPInstanceUID="1.2.4.1", StudyInstanceUID="1.2.4", PatientID="8", PatientSex="O")
    cohort = build(workspace, root)
    assert cohort.image_id.tolist() == ["1.2.3.1", "1.2.4.1"]
    assert cohort.study_id.tolist() == ["1.2.3", "1.2.4"]
    assert cohort.subject_id.tolist() == ["7", "8"]
    assert cohort.path.tolist() == ["a/1", "b.dcm"]
    assert feature(cohort, "sex") == [1, None]
    assert feature(cohort, "age") == [62, None]
    assert cohort.finding_names.tolist() == []
    assert cohort.label_values.shape == (2, 0)
    assert cohort.schemes == ("hash",)
    assert any("no findings, so only for pretraining" in remark for remark in cohort.summary["remarks"])


def test_every_rule_rejects_its_file_and_names_it(workspace: Workspace, tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_dicom(root / "good.dcm")
    (root / "notes.txt").write_text("no radiograph")
    (root / ".DS_Store").write_text("not even looked at")
    (root / "broken.dcm").write_bytes((root / "good.dcm").read_bytes()[:132] + b"\xff" * 40)
    (root / "empty.dcm").write_bytes(b"")
    bad: dict[str, dict[str, Any]] = {
        "ct": {"Modality": "CT"},
        "none": {"Modality": None},
        "screenshot": {"Modality": "OT", "SOPClassUID": CAPTURE},
        "frames": {"NumberOfFrames": 2, "num_bytes": 8},
        "colour": {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3, "PlanarConfiguration": 0, "num_bytes": 12},
        "no_rows": {"Rows": None},
        "no_uid": {"SOPInstanceUID": None},
        "no_study": {"StudyInstanceUID": None},
    }
    for num, (name, tags) in enumerate(bad.items(), start=2):
        write_dicom(root / f"{name}.dcm", **{"SOPInstanceUID": f"1.2.3.{num}", **tags})
    summary = build_cohort(workspace, IngestOptions("dicom", root))
    assert (summary.values["films"]["seen"], summary.values["films"]["accepted"]) == (12, 1)
    with (summary.path / "rejects.csv").open() as file:
        rules = {row["file"]: (row["column"], row["rule"]) for row in csv.DictReader(file)}
    assert rules == {
        "notes.txt": ("", "not a DICOM file"),
        "broken.dcm": ("", "damaged"),
        "empty.dcm": ("", "file empty"),
        "ct.dcm": ("Modality", "not CR or DX"),
        "none.dcm": ("Modality", "not CR or DX"),
        "screenshot.dcm": ("SOPClassUID", "secondary capture"),
        "frames.dcm": ("NumberOfFrames", "several frames"),
        "colour.dcm": ("PhotometricInterpretation", "not grey"),
        "no_rows.dcm": ("Rows", "no pixel size"),
        "no_uid.dcm": ("SOPInstanceUID", "not a UID"),
        "no_study.dcm": ("StudyInstanceUID", "not a UID"),
    }


def test_capture_that_says_it_is_a_radiograph_is_taken_and_counted(workspace: Workspace, tmp_path: Path) -> None:
    write_dicom(tmp_path / "data" / "a.dcm", SOPClassUID=CAPTURE, Modality="DX")
    remarks = build(workspace, tmp_path / "data").summary["remarks"]
    assert "films stored as secondary capture, modality CR or DX: 1" in remarks


def test_one_uid_in_two_files_counts_once_if_equal_and_not_at_all_if_not(workspace: Workspace, tmp_path: Path) -> None:
    root = tmp_path / "data"
    for name in ("a", "b"):
        write_dicom(root / f"{name}.dcm")
    for name, age in (("c", "050Y"), ("d", "051Y")):
        write_dicom(root / f"{name}.dcm", SOPInstanceUID="1.2.3.2", PatientAge=age)
    write_dicom(root / "e.dcm", SOPInstanceUID="1.2.3.3", StudyInstanceUID="1.2.9")
    write_dicom(root / "f.dcm", SOPInstanceUID="1.2.3.4", StudyInstanceUID="1.2.9", PatientID="8")
    cohort = build(workspace, root)
    assert cohort.path.tolist() == ["a.dcm"]
    assert cohort.summary["films"]["rejected"] == {
        "PatientID: study under two subjects": 2,
        "SOPInstanceUID: in two files that differ": 2,
        "the same file again": 1,
    }


def test_study_is_the_subject_where_the_patient_is_not_told(workspace: Workspace, tmp_path: Path) -> None:
    for num, study in ((1, "1.2.3"), (2, "1.2.3"), (3, "1.2.4")):
        tags: dict[str, Any] = {"SOPInstanceUID": f"1.2.3.{num}", "StudyInstanceUID": study, "PatientID": None}
        write_dicom(tmp_path / "data" / f"{num}.dcm", **tags)
    cohort = build(workspace, tmp_path / "data")
    assert cohort.subject_id.tolist() == ["1.2.3", "1.2.3", "1.2.4"]
    assert any("without PatientID" in remark and remark.endswith(": 3") for remark in cohort.summary["remarks"])


@pytest.mark.parametrize(
    ("tags", "age_y"),
    [
        ({"PatientAge": "062Y"}, 62),
        ({"PatientAge": "62"}, 62),
        ({"PatientAge": "006M"}, 0.5),
        ({"PatientAge": "003W"}, 21 / 365.25),
        ({"PatientAge": "010D"}, 10 / 365.25),
        ({"PatientAge": "062Y", "PatientBirthDate": "19000101", "StudyDate": "20000101"}, 62),
        ({"PatientBirthDate": "19400305", "StudyDate": "20040826"}, 23550 / 365.25),
        ({"PatientBirthDate": "20040826", "StudyDate": "19400305"}, None),
        ({"PatientBirthDate": "d14a028c", "StudyDate": "20040826"}, None),
        ({"PatientAge": "231Y"}, None),
        ({"PatientAge": "45 Y"}, 45),
        ({"PatientAge": "050y"}, 50),
        ({"PatientAge": " 7 "}, 7),
        ({"PatientAge": "000Y"}, None),
        ({"PatientAge": "000D"}, 0),
        ({"PatientAge": "999Y"}, None),
        ({"PatientAge": "000Y", "PatientBirthDate": "19500101", "StudyDate": "20200101"}, 25567 / 365.25),
        ({"PatientAge": "070Y", "PatientBirthDate": "19500601", "StudyDate": "20200101"}, 70),
        ({"PatientAge": "040Y", "PatientBirthDate": "19500601", "StudyDate": "20200101"}, None),
        ({"PatientAge": "090Y", "PatientBirthDate": "19250601", "StudyDate": "20200101"}, 90),
        ({"PatientBirthDate": "19000101", "StudyDate": "20200101"}, None),
        ({"PatientBirthDate": "18000101", "StudyDate": "19010101"}, None),
        ({"PatientAge": "old"}, None),
        ({}, None),
    ],
)
@pytest.mark.filterwarnings("ignore")  # pydicom's, about the values that are wrong on purpose
def test_age_comes_from_the_age_or_the_birth_date(
    tags: dict[str, str], age_y: float | None, workspace: Workspace, tmp_path: Path
) -> None:
    write_dicom(tmp_path / "data" / "a.dcm", **tags)
    assert given(build(workspace, tmp_path / "data"), workspace, "age_y") == [
        None if age_y is None else pytest.approx(age_y, abs=1e-9)
    ]


@pytest.mark.parametrize(
    ("word", "sex"),
    [("M", 0), ("m", 0), (" f ", 1), ("Male", 0), ("FEMALE", 1), ("O", None), ("W", None), ("X", None), ("", None)],
)
@pytest.mark.filterwarnings("ignore")
def test_sex_is_read_without_regard_to_case_and_other_words_are_counted(
    word: str, sex: int | None, workspace: Workspace, tmp_path: Path
) -> None:
    write_dicom(tmp_path / "data" / "a.dcm", PatientSex=word)
    cohort = build(workspace, tmp_path / "data")
    (value,) = feature(cohort, "sex")
    assert value == sex or (sex is None and value is None)
    remarks = [remark for remark in cohort.summary["remarks"] if "PatientSex" in remark]
    assert remarks == (["words of PatientSex that are not understood: a 1"] if word in ("W", "X") else [])


@pytest.mark.filterwarnings("ignore")
def test_what_two_tags_say_differently_is_unknown_and_counted(workspace: Workspace, tmp_path: Path) -> None:
    ids = iter(range(1, 9))
    for tags in (
        {"PatientAge": "040Y", "PatientBirthDate": "19500601", "StudyDate": "20200101"},
        {"PatientAge": "000Y"},
        {"PatientAge": "fifty"},
        {"ViewPosition": "PA", "view_code": "antero-posterior"},
        {"ViewPosition": "LL", "view_code": "postero-anterior"},
        {"ViewPosition": "RL", "view_code": "left lateral"},
        {"ViewPosition": "pa", "view_code": "postero-anterior"},
    ):
        num = next(ids)
        write_dicom(tmp_path / "data" / f"{num}.dcm", **{"SOPInstanceUID": f"1.2.{num}", **tags})
    cohort = build(workspace, tmp_path / "data")
    views = dict(zip(cohort.path.tolist(), cohort.view.tolist(), strict=True))
    assert [views[f"{num}.dcm"] for num in (4, 5, 6, 7)] == ["", "", "LATERAL", "PA"]
    remarks = cohort.summary["remarks"]
    assert "films whose age and birth date contradict each other, age unknown: 1" in remarks
    assert "films whose PatientAge is a filler, such as 000Y: 1" in remarks
    assert "films whose ViewPosition and ViewCodeSequence contradict each other, view unknown: 2" in remarks
    assert "words of PatientAge that are not understood: aaaaa 1" in remarks


@pytest.mark.parametrize(
    ("tags", "view", "position"),
    [
        ({"ViewPosition": "PA"}, "PA", ""),
        ({"ViewPosition": "AP", "orientation": "Recumbent"}, "AP", "Recumbent"),
        ({"ViewPosition": "LL", "orientation": "Erect"}, "LL", "Erect"),
        ({"ViewPosition": "RL"}, "LATERAL", ""),
        ({"ViewPosition": "LLD"}, "", ""),
        ({"view_code": "postero-anterior"}, "PA", ""),
        ({"view_code": "left lateral", "orientation": "semi-erect"}, "LL", ""),
        ({"ViewPosition": "LLD", "view_code": "antero-posterior"}, "", ""),
        ({}, "", ""),
    ],
)
def test_view_and_position_are_what_the_tags_say(
    tags: dict[str, str], view: str, position: str, workspace: Workspace, tmp_path: Path
) -> None:
    write_dicom(tmp_path / "data" / "a.dcm", **tags)
    cohort = build(workspace, tmp_path / "data")
    assert (cohort.view.tolist(), cohort.position.tolist()) == ([view], [position])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("185059", "185059.000000"),
        ("185059.5", "185059.500000"),
        ("1200", "120000.000000"),
        ("12", "120000.000000"),
        ("185059.1234567", None),
        ("12:00", None),
        ("5059", "505900.000000"),
        (None, None),
    ],
)
def test_times_of_dicom_are_made_whole(text: str | None, expected: str | None) -> None:
    frame = pl.DataFrame({"time": [text]}, {"time": pl.String})
    assert frame.select(whole_time("time")).to_series().to_list() == [expected]


def test_acquisition_goes_before_study_and_orders_the_studies(workspace: Workspace, tmp_path: Path) -> None:
    times = [
        (
            "1.2.3",
            {"StudyDate": "20200101", "StudyTime": "10", "AcquisitionDate": "20200102", "AcquisitionTime": "1130"},
        ),
        ("1.2.4", {"StudyDate": "20200101", "StudyTime": "120000.25"}),
        ("1.2.4", {"StudyDate": "20200103", "StudyTime": "120000"}),
    ]
    for num, (study, tags) in enumerate(times, start=1):
        tags = {"SOPInstanceUID": f"1.2.3.{num}", "StudyInstanceUID": study, **tags}
        write_dicom(tmp_path / "data" / f"{num}.dcm", **tags)
    write_dicom(tmp_path / "data" / "9.dcm", SOPInstanceUID="1.2.3.9", StudyInstanceUID="1.2.5", PatientID="8")
    cohort = build(workspace, tmp_path / "data")
    taken = dict(zip(cohort.image_id.tolist(), cohort.taken_at.tolist(), strict=True))
    assert datetime.fromisoformat(taken["1.2.3.1"]) == datetime(2020, 1, 2, 11, 30)
    assert datetime.fromisoformat(taken["1.2.3.2"]) == datetime(2020, 1, 1, 12, 0, 0, 250_000)
    assert given(cohort, workspace, "num_prior") == [1, 0, 0, None]


def test_headers_read_in_processes_equal_those_read_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for num in range(5):
        write_dicom(tmp_path / f"{num}.dcm", SOPInstanceUID=f"1.2.3.{num}", Rows=num + 1)
    (tmp_path / "x.dcm").write_bytes(b"no")
    paths = [f"{num}.dcm" for num in range(5)] + ["x.dcm", "gone.dcm"]
    here = read_headers(tmp_path, paths)
    assert here["rule"].to_list() == [None] * 5 + ["not a DICOM file", "file missing"]
    assert here["rows"].to_list() == [1, 2, 3, 4, 5, None, None]
    monkeypatch.setattr(dicom_headers, "FEW_FILES", 0)
    monkeypatch.setattr(dicom_headers, "CHUNK_FILES", 2)
    assert read_headers(tmp_path, paths).equals(here)


@pytest.mark.parametrize("path", ["../a.dcm", "/etc/hostname", "link.dcm", "pipe"])
def test_header_is_read_only_inside_the_folder_and_only_of_files(path: str, tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link.dcm").symlink_to(tmp_path / "a.dcm")
    os.mkfifo(tmp_path / "root" / "pipe")
    with pytest.raises(DecodeError) as caught:
        read_header(Path(path), tmp_path / "root")
    assert caught.value.rule == ("unreadable" if path == "pipe" else "outside the dataset folder")


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return the bytes with one fault after the preamble: bits, a cut, an insertion, a wrong length, deep sequences."""
    at = rng.randrange(132, len(data))
    match rng.randrange(5):
        case 0:
            return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
        case 1:
            return data[:at]
        case 2:
            return data[:at] + rng.randbytes(rng.randrange(1, 40)) + data[at:]
        case 3:
            return data[:at] + rng.choice([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0"]) + data[at + 4 :]
        case _:
            opened = b"\x54\x00\x20\x02SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
            return data[:at] + opened * rng.randrange(1, 3_000) + data[at:]


@pytest.mark.fuzz
@pytest.mark.filterwarnings("ignore")
def test_mutated_headers_are_read_or_refused_by_name_and_fast(tmp_path: Path) -> None:
    seed = int(os.environ.get("CXRSSL_SEED", "5"))
    rng = random.Random(seed)
    tags = {"orientation": "Erect", "view_code": "postero-anterior", "PatientAge": "050Y", "StudyDate": "20200101"}
    data = write_dicom(tmp_path / "seed.dcm", **tags).read_bytes()
    for num in range(scaled(400, 10_000)):
        (tmp_path / "mutant.dcm").write_bytes(mutate(data, rng))
        started = time.process_time()
        row = read_headers(tmp_path, ["mutant.dcm"])
        assert time.process_time() - started < 1, f"CXRSSL_SEED={seed}, mutant {num}"
        assert row["rule"].item() in (None, "damaged", "not a DICOM file"), f"CXRSSL_SEED={seed}, mutant {num}"


def test_text_of_tags_is_made_safe(workspace: Workspace, tmp_path: Path) -> None:
    write_dicom(tmp_path / "data" / "a.dcm", PatientID="7\x1b[31m\u202e", SpecificCharacterSet="ISO_IR 192")
    (subject_id,) = build(workspace, tmp_path / "data").subject_id.tolist()
    assert subject_id.isprintable()
    assert "\x1b" not in subject_id


def test_real_radiographs_are_accepted_or_refused_by_name(data: Path, workspace: Workspace, folder_hash: Any) -> None:
    root = data / "dicom_radiographs"
    before = folder_hash(root)
    summary = build_cohort(workspace, IngestOptions("dicom", root))
    cohort = open_cohort(summary.path)
    with (root / "manifest.csv").open() as file:
        manifest = {row["file"]: row for row in csv.DictReader(file)}
    rejected = summary.values["films"]["rejected"]
    assert rejected == {
        "SOPClassUID: secondary capture": 2,
        "SOPInstanceUID: in two files that differ": 2,
        "not a DICOM file": 2,
    }
    assert summary.values["films"]["accepted"] == len(manifest) - 4
    for path, view in zip(cohort.path.tolist(), cohort.view.tolist(), strict=True):
        assert view == manifest[path]["view_position"]
    sex = dict(zip(cohort.path.tolist(), feature(cohort, "sex"), strict=True))
    assert all(sex[path] == {"M": 0, "F": 1}.get(manifest[path]["patient_sex"]) for path in sex)
    age = dict(zip(cohort.path.tolist(), feature(cohort, "age"), strict=True))
    assert age["chest/rsna_pneumonia_16d7f894.dcm"] == 62
    assert age["chest/RG1_UNCR.dcm"] == pytest.approx(64.5, abs=0.1)
    assert folder_hash(root) == before


def test_chest_filter_is_an_option_with_a_count(data: Path, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text('body_part = ["CHEST"]\n')
    summary = build_cohort(workspace, IngestOptions("dicom", data / "dicom_radiographs", map=tmp_path / "map.toml"))
    assert summary.values["films"]["rejected"]["BodyPartExamined: not asked for"] == 9
    assert summary.num_films == 6
