"""The COVID-19 image data collection: labels with parents, and the real 354 films."""

from __future__ import annotations

import hashlib
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cxrssl.cohort.features import FEATURE_NAMES
from cxrssl.cohort.ingest import IngestOptions, build_cohort
from cxrssl.cohort.read import open_cohort
from cxrssl.cohort.release.check import check_release
from cxrssl.cohort.sources.covid import FINDINGS, PARENTS, label_findings
from cxrssl.cohort.walk import spell
from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database
from cxrssl.ingest import ingest_dataset

METADATA = "patientid,sex,age,finding,survival,in_icu,view,modality,folder,filename\n"


def present(text: str) -> set[str]:
    return {name for name, value in (label_findings(text) or {}).items() if value == 1}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("COVID-19", {"COVID-19", "Viral", "Pneumonia"}),
        ("COVID-19, ARDS", {"COVID-19", "Viral", "Pneumonia", "ARDS"}),
        ("Mycoplasma Bacterial Pneumonia", {"Mycoplasma", "Bacterial", "Pneumonia"}),
        ("Lipoid", {"Lipoid", "Pneumonia"}),
        ("Pneumonia/Viral/COVID-19", {"COVID-19", "Viral", "Pneumonia"}),
        ("No Finding", {"No Finding"}),
        ("ARDS", {"ARDS"}),
    ],
)
def test_finding_implies_its_parents(text: str, expected: set[str]) -> None:
    assert present(text) == expected


@pytest.mark.parametrize("text", ["todo", "Unknown", "", None, "COVID-19, Ague"])
def test_what_we_do_not_know_labels_nothing(text: str | None) -> None:
    assert label_findings(text) is None


def test_unnamed_agent_is_unknown_and_not_absent() -> None:
    values = label_findings("Bacterial") or {}
    assert values["Klebsiella"] is None
    assert values["COVID-19"] == 0
    assert (label_findings("Pneumonia") or {})["COVID-19"] is None
    assert (label_findings("ARDS") or {})["Pneumonia"] is None
    assert (label_findings("No Finding") or {})["Pneumonia"] == 0


def test_parents_are_findings_themselves() -> None:
    assert {parent for parents in PARENTS.values() for parent in parents} <= set(FINDINGS)


def test_rows_become_films_without_index_too(workspace: Workspace, tmp_path: Path) -> None:
    rows = (
        "7,M,60,COVID-19,N,Y,AP Supine,X-ray,images,a.png\n"
        "7,,,todo,?,Would have been stated,L,X-ray,images,b.jpg\n"
        "8,F,30,COVID-19,Y,N,Axial,CT,images,c.jpg\n"
        "9,F,30,COVID-19,Y,N,PA,X-ray,images,../d.jpg\n"
    )
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    (root / "metadata.csv").write_text(METADATA + rows)
    for name in ("a.png", "b.jpg", "c.jpg"):
        (root / "images" / name).write_bytes(b"x")
    cohort = open_cohort(build_cohort(workspace, IngestOptions("covid", root)).path)
    assert cohort.subject_id.tolist() == ["7", "7"]
    assert cohort.view.tolist() == ["AP", "LATERAL"]
    assert cohort.position.tolist() == ["Recumbent", ""]
    assert cohort.ehr_known[:, FEATURE_NAMES.index("icu")].tolist() == [True, False]
    assert cohort.ehr_values[0, FEATURE_NAMES.index("mortality")] == 1
    assert cohort.summary["films"]["rejected"] == {"filename: malformed": 1, "modality: not an X-ray": 1}
    assert any("no index.csv" in remark for remark in cohort.summary["remarks"])
    assert cohort.schemes == ("hash",)


def test_offset_orders_the_films_of_a_patient_where_all_are_known(workspace: Workspace, tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    lines = [METADATA.replace("patientid,", "patientid,offset,").strip()]
    films = {"a": (7, "3"), "b": (7, "0"), "c": (7, "3"), "d": (8, "1"), "e": (8, ""), "f": (9, "?"), "g": (10, "-2")}
    for name, (patient, offset) in films.items():
        lines.append(f"{patient},{offset},M,60,COVID-19,N,Y,PA,X-ray,images,{name}.png")
        (root / "images" / f"{name}.png").write_bytes(b"x")
    (root / "metadata.csv").write_text("\n".join(lines) + "\n")
    (root / "images" / "b.png").unlink()  # it was taken all the same
    summary = build_cohort(workspace, IngestOptions("covid", root))
    with open_database(summary.path / "cohort.duckdb", read_only=True) as database:
        rows = database.rows("SELECT num_prior FROM given_feature ORDER BY image_id")
    assert [value for (value,) in rows] == [1, 1, None, None, None, 0]
    assert summary.values["tables"]["metadata.csv"]["made_unknown"] == {"offset: not a number": 1}


def test_real_films_have_stay_features_only_where_they_are_known(data: Path, workspace: Workspace) -> None:
    summary = build_cohort(workspace, IngestOptions("covid", data / "covid19_cxr"))
    assert summary.values["films"] == {"seen": 354, "accepted": 354, "rejected": {}, "studies": 354, "subjects": 202}
    known_gaps = {
        "sex": 14,
        "age": 116,
        "view": 34,
        "position": 262,
        "icu": 183,
        "mortality": 209,
    }
    assert summary.values["unknown"].items() >= known_gaps.items()
    assert summary.values["known"]["icu"] == {"not_icu": 106, "icu": 65}
    assert summary.values["known"]["mortality"] == {"alive": 125, "died": 20}
    assert summary.values["views_as_written"]["AP Supine"] == 92
    cohort = open_cohort(summary.path)
    encoded = cohort.features(("mortality", "icu"), "mask")
    assert cohort.feature_columns(("mortality", "icu"))[-2:] == ("mortality unknown", "icu unknown")
    assert np.all(encoded.sum(axis=1) == 2)  # each feature is one category or unknown, never both, never neither
    assert encoded[:, -1].sum() == 183
    labels = cohort.labels(["COVID-19", "ARDS"], blank="ignore")
    assert (labels == 1).sum(axis=0).tolist() == [195, 13]
    assert (labels == -1).sum(axis=0).tolist() == [99, 85]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_film_whose_name_the_disk_composes_otherwise_is_found(workspace: Workspace, tmp_path: Path, form: Any) -> None:
    """A copy from a Mac decomposes accents; the check of the same folder finds the files too."""
    names = [f"Pne\u0301umonie-{number}.png" for number in range(6)]
    table_form: Any = "NFD" if form == "NFC" else "NFC"
    (tmp_path / "c" / "images").mkdir(parents=True)
    lines = ["filename,patientid,folder,modality,finding,view,sex,age,in_icu,survival"]
    sums = []
    for number, name in enumerate(names):
        path = tmp_path / "c" / "images" / unicodedata.normalize(form, name)
        Image.fromarray(np.full((32, 40), 40 * number, np.uint8)).save(path)
        listed = unicodedata.normalize(table_form, name)
        lines.append(f"{listed},p{number},images,X-ray,COVID-19,PA,M,50,N,Y")
        sums.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()} images/{listed}")
    (tmp_path / "c" / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "c" / "SHA256SUMS.txt").write_text("\n".join(sums) + "\n", encoding="utf-8")
    check = check_release(workspace, tmp_path / "c")
    assert [(fault.kind, fault.path) for fault in check.faults] == [("extra", "metadata.csv")]
    summary, packed = ingest_dataset(workspace, IngestOptions("covid", tmp_path / "c", size_px=32, num_workers=1))
    assert summary.values["films"]["rejected"] == {}
    assert summary.values["release"]["films"] == [6, 6]
    assert packed is not None
    assert packed.num_packed == 6


def test_exact_name_precedes_another_composition(tmp_path: Path) -> None:
    one, other = "e\u0301.png", "\u00e9.png"
    assert spell([one, other], [one, other]) == {}
    assert spell([one], [other]) == {one: other}
    assert spell([one, other], [other]) == {}
    assert spell(["a.png", one], ["a.png", other, "b\u00e9.png"]) == {one: other}
