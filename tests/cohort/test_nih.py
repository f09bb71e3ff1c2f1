"""NIH ChestX-ray14 in the variants that are about, and the real 1,000 films."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cxrssl.cohort.features import FEATURE_NAMES
from cxrssl.cohort.ingest import IngestOptions, build_cohort
from cxrssl.cohort.read import open_cohort
from cxrssl.core.errors import DataError, LeakageError
from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database

OFFICIAL = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n"
)
KAGGLE = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,OriginalImageWidth,"
    "OriginalImageHeight,OriginalImagePixelSpacing_x,OriginalImagePixelSpacing_y\n"
)
ROWS = (
    "00000001_000.png,Cardiomegaly|Emphysema,0,1,58,M,PA,2682,2749,0.143,0.143\n"
    "00000002_000.png,No Finding,0,2,81,F,AP,2500,2048,0.171,0.171\n"
)


def write(root: Path, name: str, text: str, films: str = "images") -> Path:
    (root / films).mkdir(parents=True)
    (root / name).write_text(text)
    for line in text.splitlines()[1:]:
        (root / films / line.split(",")[0]).write_bytes(b"png")
    return root


def build(workspace: Workspace, root: Path) -> Any:
    return open_cohort(build_cohort(workspace, IngestOptions("nih", root)).path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Data_Entry_2017_v2020.csv", OFFICIAL + ROWS),
        ("Data_Entry_2017.csv", OFFICIAL.replace("Gender", "Sex").replace("]\n", "],\n") + ROWS.replace("\n", ",\n")),
        ("Data_Entry_2017.csv", OFFICIAL.replace("]\n", "],\n") + ROWS),
        (
            "sample_labels.csv",
            KAGGLE + ROWS.replace(",0,1,58", ",000,00000001,058Y").replace(",0,2,81", ",000,00000002,081Y"),
        ),
    ],
)
def test_every_published_form_of_the_table_is_read(name: str, text: str, workspace: Workspace, tmp_path: Path) -> None:
    cohort = build(workspace, write(tmp_path / "data", name, text))
    assert cohort.subject_id.tolist() == ["1", "2"]
    assert cohort.ehr_values[:, FEATURE_NAMES.index("age")].tolist() == [58, 81]
    assert cohort.ehr_values[:, FEATURE_NAMES.index("sex")].tolist() == [0, 1]
    assert cohort.view.tolist() == ["PA", "AP"]
    assert cohort.labels(["Cardiomegaly", "Emphysema", "Hernia"]).tolist() == [[1, 1, 0], [0, 0, 0]]
    assert cohort.default_split == "hash"
    assert not cohort.ehr_known[:, [FEATURE_NAMES.index(name) for name in ("position", "icu", "mortality")]].any()
    assert set(cohort.link_status.tolist()) == {""}
    assert cohort.summary["versions"] == {"ChestX-ray14": f"labels of {name}"}


def num_prior(cohort: Any, workspace: Workspace) -> list[int | None]:
    with open_database(workspace.cohorts / cohort.name / "cohort.duckdb", read_only=True) as database:
        return [value for (value,) in database.rows("SELECT num_prior FROM given_feature ORDER BY image_id")]


def test_follow_up_number_counts_the_films_before(workspace: Workspace, tmp_path: Path) -> None:
    rows = ROWS.replace("00000002_000.png,No Finding,0,", "00000002_005.png,No Finding,5,")
    rows += "00000002_006.png,No Finding,x,2,81,F,AP,2500,2048,0.171,0.171\n"
    cohort = build(workspace, write(tmp_path / "data", "Data_Entry_2017_v2020.csv", OFFICIAL + rows))
    assert num_prior(cohort, workspace) == [0, 5, None]
    made_unknown = cohort.summary["tables"]["Data_Entry_2017_v2020.csv"]["made_unknown"]
    assert made_unknown == {"Follow-up #: malformed": 1}


@pytest.mark.parametrize("films", ["", "resized/224"])
def test_films_beside_the_table_or_named_with_films_are_found(films: str, workspace: Workspace, tmp_path: Path) -> None:
    root = write(tmp_path / "data", "Data_Entry_2017_v2020.csv", OFFICIAL + ROWS)
    (root / "images").rename(tmp_path / "moved")
    place = tmp_path / films if films else root
    place.mkdir(parents=True, exist_ok=True)
    for film in (tmp_path / "moved").iterdir():
        film.rename(place / film.name)
    options: dict[str, Any] = {"films": place} if films else {}
    cohort = open_cohort(build_cohort(workspace, IngestOptions("nih", root, **options)).path)
    assert cohort.root == place
    assert cohort.path.tolist() == ["00000001_000.png", "00000002_000.png"]


def test_kaggles_real_sample_table_is_read_whole(data: Path, workspace: Workspace, tmp_path: Path) -> None:
    root = tmp_path / "sample"
    (root / "images").mkdir(parents=True)
    table = (data / "nih_chestxray14" / "sample_labels.csv").read_text()
    (root / "sample_labels.csv").write_text(table)
    for line in table.splitlines()[1:51]:
        (root / "images" / line.split(",")[0]).write_bytes(b"png")
    summary = build_cohort(workspace, IngestOptions("nih", root)).values
    assert summary["films"]["seen"] == 5_606
    assert summary["films"]["rejected"] == {"file missing": 5_556}
    assert summary["unknown"]["age"] == 0
    assert summary["tables"]["sample_labels.csv"]["made_unknown"].get("age_y: out of range", 0) >= 1


def test_films_in_twelve_folders_are_found(workspace: Workspace, tmp_path: Path) -> None:
    root = write(tmp_path / "data", "Data_Entry_2017_v2020.csv", OFFICIAL + ROWS, "images_001/images")
    (root / "images_012" / "images").mkdir(parents=True)
    (root / "images_001" / "images" / "00000002_000.png").rename(root / "images_012" / "images" / "00000002_000.png")
    cohort = build(workspace, root)
    assert cohort.path.tolist() == ["images_001/images/00000001_000.png", "images_012/images/00000002_000.png"]


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("No Finding", "Nofinding", "Finding Labels: malformed"),
        ("No Finding", "No Finding|Mass", "Finding Labels: malformed"),
        (",0,2,", ",0,3,", "Patient ID: not the patient in the file name"),
        ("00000002_000.png", "../x.png", "Image Index: malformed"),
    ],
)
def test_bad_rows_are_rejected(old: str, new: str, rule: str, workspace: Workspace, tmp_path: Path) -> None:
    root = write(tmp_path / "data", "Data_Entry_2017_v2020.csv", OFFICIAL + ROWS)
    (root / "Data_Entry_2017_v2020.csv").write_text(OFFICIAL + ROWS.replace(old, new))
    assert build(workspace, root).summary["films"]["rejected"] == {rule: 1}


def test_impossible_age_is_unknown_and_counted(workspace: Workspace, tmp_path: Path) -> None:
    root = write(tmp_path / "data", "Data_Entry_2017_v2020.csv", OFFICIAL + ROWS.replace(",81,", ",411Y,"))
    cohort = build(workspace, root)
    assert cohort.ehr_known[:, FEATURE_NAMES.index("age")].tolist() == [True, False]
    assert cohort.summary["tables"]["Data_Entry_2017_v2020.csv"]["made_unknown"] == {"age_y: out of range": 1}


def test_official_lists_give_train_val_and_test(workspace: Workspace, tmp_path: Path) -> None:
    rows = "".join(f"{i:08d}_000.png,No Finding,0,{i},50,M,PA,1,1,1,1\n" for i in range(1, 201))
    root = write(tmp_path / "data", "Data_Entry_2017_v2020.csv", OFFICIAL + rows)
    names = [f"{i:08d}_000.png\n" for i in range(1, 201)]
    (root / "train_val_list.txt").write_text("".join(names[:150]))
    with pytest.raises(DataError, match=r"test_list\.txt\.gz is missing"):
        build_cohort(workspace, IngestOptions("nih", root))
    (root / "test_list.txt").write_text("".join(names[150:]).rstrip())
    cohort = build(workspace, root)
    assert cohort.default_split == "official"
    assert len(cohort.rows_of("test")) == 50
    assert len(cohort.rows_of("train|val")) == 150
    assert 5 <= len(cohort.rows_of("val")) <= 25
    (root / "test_list.txt").write_text("".join(names[149:]))
    with pytest.raises(LeakageError):
        build_cohort(workspace, IngestOptions("nih", root))


def test_real_films_are_accepted_and_the_other_111120_are_counted(
    data: Path, workspace: Workspace, folder_hash: Any
) -> None:
    before = folder_hash(data / "nih_chestxray14")
    summary = build_cohort(workspace, IngestOptions("nih", data / "nih_chestxray14"))
    films = summary.values["films"]
    assert films["seen"] == 112_120
    assert films["rejected"] == {"file missing": 111_120}
    assert (films["accepted"], films["subjects"]) == (1_000, 682)
    assert summary.values["known"]["sex"] == {"male": 523, "female": 477}
    assert summary.values["known"]["view"] == {"AP": 567, "PA": 433}
    told = {name for name, num in summary.values["unknown"].items() if num < 1_000}
    assert {"sex", "age", "view"} <= told
    assert not told & {"position", "icu", "mortality"}
    assert all(summary.values["unknown"][name] == 0 for name in told)
    cohort = open_cohort(summary.path)
    assert len(cohort.rows_of("test")) == 153
    assert cohort.labels(["Pneumonia"]).sum() == 500
    assert cohort.ehr_values[:, FEATURE_NAMES.index("age")].max() == 85
    assert build_cohort(workspace, IngestOptions("nih", data / "nih_chestxray14")).was_current
    assert folder_hash(data / "nih_chestxray14") == before
