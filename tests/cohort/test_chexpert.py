"""CheXpert in the layouts that are about; its files may not be passed on, so the world is made here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxrssl.cohort.features import FEATURE_NAMES
from cxrssl.cohort.ingest import IngestOptions, build_cohort
from cxrssl.cohort.read import open_cohort
from cxrssl.cohort.sources.chexpert import FINDINGS
from cxrssl.core.errors import DataError, LeakageError
from cxrssl.core.workspace import Workspace

HEADER = "Path,Sex,Age,Frontal/Lateral,AP/PA," + ",".join(FINDINGS)
TRAIN = (
    ("train/patient00001/study1/view1_frontal.jpg", "Female", "68", "Frontal", "AP", {"Edema": "1.0"}),
    ("train/patient00002/study1/view1_frontal.jpg", "Male", "40", "Frontal", "PA", {"Edema": "-1.0"}),
    ("train/patient00002/study1/view2_lateral.jpg", "Male", "40", "Lateral", "", {"Edema": "-1.0"}),
    ("train/patient00003/study2/view1_frontal.jpg", "Unknown", "0", "Frontal", "LL", {"Edema": "0.0"}),
)
VALID = (("valid/patient64541/study1/view1_frontal.jpg", "Male", "73", "Frontal", "AP", {"Edema": "1.0"}),)
SMALL, FULL = "CheXpert-v1.0-small/", "CheXpert-v1.0/"


def table(rows: Any, prefix: str = SMALL) -> str:
    lines = [HEADER]
    for path, *people, labels in rows:
        lines.append(",".join([prefix + path, *people, *(labels.get(name, "") for name in FINDINGS)]))
    return "\n".join(lines) + "\n"


def put_films(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"jpg")


def write(root: Path, prefix: str = SMALL, train: Any = TRAIN, valid: Any = VALID) -> Path:
    put_films(root, *(row[0] for row in (*train, *valid)))
    (root / "train.csv").write_text(table(train, prefix))
    (root / "valid.csv").write_text(table(valid, prefix))
    return root


def build(workspace: Workspace, root: Path, **options: Any) -> Any:
    return open_cohort(build_cohort(workspace, IngestOptions("chexpert", root, **options)).path)


def feature(cohort: Any, name: str) -> list[float | None]:
    at = FEATURE_NAMES.index(name)
    pairs = zip(cohort.ehr_values[:, at].tolist(), cohort.ehr_known[:, at].tolist(), strict=True)
    return [value if is_known else None for value, is_known in pairs]


@pytest.mark.parametrize("prefix", [SMALL, FULL, "CheXpert-v1.0-resized/", "", "/home/me/CheXpert/", "C:\\CheXpert\\"])
def test_every_path_prefix_leads_to_the_same_films(prefix: str, workspace: Workspace, tmp_path: Path) -> None:
    cohort = build(workspace, write(tmp_path / "data", prefix))
    assert cohort.subject_id.tolist() == [
        "patient00001",
        "patient00002",
        "patient00002",
        "patient00003",
        "patient64541",
    ]
    assert cohort.study_id.tolist()[3] == "patient00003/study2"
    assert cohort.image_id.tolist()[2] == "patient00002/study1/view2_lateral"
    assert cohort.path.tolist()[4] == "valid/patient64541/study1/view1_frontal.jpg"
    assert all((cohort.root / path).is_file() for path in cohort.path)
    assert cohort.view.tolist() == ["AP", "PA", "LATERAL", "", "AP"]
    assert feature(cohort, "sex") == [1, 0, 0, None, 0]
    assert feature(cohort, "age") == [68, 40, 40, None, 73]
    assert cohort.label_values[:, cohort.finding_names.tolist().index("Edema")].tolist() == [1, -1, -1, 0, 1]
    assert cohort.label_values[0, cohort.finding_names.tolist().index("Fracture")] == -2
    assert cohort.summary["tables"]["train.csv"]["made_unknown"] == {"Age: 0 with unknown sex": 1}


def test_paths_of_windows_lead_to_the_same_films(workspace: Workspace, tmp_path: Path) -> None:
    root = write(tmp_path / "data")
    for name in ("train.csv", "valid.csv"):
        head, *rows = (root / name).read_text().splitlines()
        path, _, rest = zip(*(row.partition(",") for row in rows), strict=True)
        rows = [f"{each.replace('/', chr(92))},{more}" for each, more in zip(path, rest, strict=True)]
        (root / name).write_text("\n".join([head, *rows]) + "\n")
    cohort = build(workspace, root)
    assert cohort.path.tolist()[0] == "train/patient00001/study1/view1_frontal.jpg"
    assert len(cohort) == 5


def test_table_that_falls_away_whole_stops(workspace: Workspace, tmp_path: Path) -> None:
    root = write(tmp_path / "data")
    (root / "train.csv").write_text(table(TRAIN).replace("patient", "p"))
    what = r"train\.csv: none of its 4 rows can be used: Path: malformed, written as .*, first in line 2"
    with pytest.raises(DataError, match=what):
        build_cohort(workspace, IngestOptions("chexpert", root))
    summary = build_cohort(workspace, IngestOptions("chexpert", root, allow_losses=True)).values
    assert summary["films"]["accepted"] == 1
    assert any("allowed by --allow-losses" in remark for remark in summary["remarks"])


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda text: text.replace(",", ";").encode(), r"train\.csv has semicolons between its cells"),
        (lambda text: text.encode("utf-16"), r"train\.csv is not in UTF-8 but in UTF-16"),
    ],
)
def test_delimiter_and_encoding_of_another_program_are_named(
    change: Callable[[str], bytes], what: str, workspace: Workspace, tmp_path: Path
) -> None:
    root = write(tmp_path / "data")
    (root / "train.csv").write_bytes(change(table(TRAIN)))
    with pytest.raises(DataError, match=what):
        build_cohort(workspace, IngestOptions("chexpert", root))


def test_batches_of_the_release_of_2021_are_found_beside_the_tables(workspace: Workspace, tmp_path: Path) -> None:
    first = tmp_path / "data" / "CheXpert-v1.0 batch 1 (validate & csv)"
    put_films(first, *(row[0] for row in VALID))
    (first / "train.csv").write_text(table(TRAIN, FULL))
    (first / "valid.csv").write_text(table(VALID, FULL))
    for num, rows in ((2, TRAIN[:1]), (3, TRAIN[1:])):
        batch = tmp_path / "data" / f"CheXpert-v1.0 batch {num} (train {num - 1})"
        put_films(batch, *(row[0].removeprefix("train/") for row in rows))
    cohort = build(workspace, tmp_path / "data")
    assert cohort.root == tmp_path / "data"
    assert cohort.path.tolist()[0] == "CheXpert-v1.0 batch 2 (train 1)/patient00001/study1/view1_frontal.jpg"
    assert cohort.image_id.size == 5


def test_resized_tree_may_lie_elsewhere(workspace: Workspace, tmp_path: Path) -> None:
    root = write(tmp_path / "data")
    put_films(tmp_path / "small", *(row[0].replace(".jpg", ".png") for row in (*TRAIN, *VALID)))
    cohort = build(workspace, root, films=tmp_path / "small")
    assert cohort.root == tmp_path / "small"
    assert cohort.path.tolist()[0] == "train/patient00001/study1/view1_frontal.png"


def test_without_a_test_table_the_valid_set_is_the_test_set(workspace: Workspace, tmp_path: Path) -> None:
    rows: list[tuple[Any, ...]] = [
        (f"train/patient{i:05d}/study1/view1_frontal.jpg", "Male", "50", "Frontal", "AP", {}) for i in range(1, 101)
    ]
    cohort = build(workspace, write(tmp_path / "data", train=rows))
    assert cohort.default_split == "official"
    assert cohort.split_official.tolist()[-1] == "test"
    counts = {split: (cohort.split_official == split).sum() for split in ("train", "val", "test")}
    assert counts["test"] == 1
    assert 3 <= counts["val"] <= 20
    assert counts["train"] + counts["val"] == 100
    assert any("the valid set is the test set" in remark for remark in cohort.summary["remarks"])


TEST_FILM = "test/patient64741/study1/view1_frontal.jpg"
TEST_TABLES = {
    "test.csv": table([(TEST_FILM, "Male", "60", "Frontal", "AP", {"Edema": "1"})]),
    "test_labels.csv": f"Path,Edema,No Finding\n{TEST_FILM},1,0\n",
    "groundtruth.csv": (
        "Study,Edema,Cardiomegaly\nCheXpert-v1.0/test/patient64741/study1,1.0,0.0\n"
        "CheXpert-v1.0/test/patient64742/study1,1.0,0.0\n"
    ),
}


@pytest.mark.parametrize("name", TEST_TABLES)
def test_labels_of_the_test_set_are_read_under_each_public_name(
    name: str, workspace: Workspace, tmp_path: Path
) -> None:
    root = write(tmp_path / "data")
    put_films(root, TEST_FILM)
    (root / name).write_text(TEST_TABLES[name])
    cohort = build(workspace, root)
    assert cohort.split_official.tolist() == ["train"] * 4 + ["val", "test"]
    edema = cohort.label_values[:, cohort.finding_names.tolist().index("Edema")]
    assert edema.tolist()[-1] == 1
    assert feature(cohort, "sex")[-1] == (0 if name == "test.csv" else None)
    assert cohort.view.tolist()[-1] == ("AP" if name == "test.csv" else "")
    account = cohort.summary["tables"][name]
    assert account["rejected"] == ({"study without a film": 1} if name == "groundtruth.csv" else {})


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("patient00001/", "patient1/", "Path: malformed"),
        ("train/patient00001/", "../../patient0000a/", "Path: malformed"),
        (",0.0,", ",2.0,", "Edema: malformed"),
        ("study1/view2_lateral.jpg", "study1/view3_lateral.jpg", "file missing"),
    ],
)
def test_bad_rows_are_rejected(old: str, new: str, rule: str, workspace: Workspace, tmp_path: Path) -> None:
    root = write(tmp_path / "data")
    (root / "train.csv").write_text(table(TRAIN).replace(old, new, 1))
    films = build_cohort(workspace, IngestOptions("chexpert", root)).values["films"]
    assert films["rejected"] == {rule: 1}
    assert (films["seen"], films["accepted"]) == (5, 4)


def test_two_labels_for_one_study_reject_all_its_films(workspace: Workspace, tmp_path: Path) -> None:
    rows = (*TRAIN[:2], (*TRAIN[2][:5], {"Edema": "1.0"}), TRAIN[3])
    films = build_cohort(workspace, IngestOptions("chexpert", write(tmp_path / "data", train=rows))).values["films"]
    assert films["rejected"] == {"study with two sets of labels": 2}


def test_same_film_under_two_prefixes_is_rejected(workspace: Workspace, tmp_path: Path) -> None:
    root = write(tmp_path / "data")
    with (root / "train.csv").open("a") as file:
        file.write(table(TRAIN[:1], FULL).splitlines()[1] + "\n")
    films = build_cohort(workspace, IngestOptions("chexpert", root)).values["films"]
    assert films["rejected"] == {"Path: the same film under two paths": 2}


def test_patient_in_two_tables_is_a_leak(workspace: Workspace, tmp_path: Path) -> None:
    valid = ((TRAIN[0][0].replace("study1", "study9"), *TRAIN[0][1:]),)
    with pytest.raises(LeakageError):
        build_cohort(workspace, IngestOptions("chexpert", write(tmp_path / "data", valid=valid)))


def test_a_column_that_is_missing_is_named(workspace: Workspace, tmp_path: Path) -> None:
    root = write(tmp_path / "data")
    (root / "train.csv").write_text(table(TRAIN).replace("AP/PA", "AP or PA"))
    with pytest.raises(DataError, match=r'train\.csv: column "AP/PA" is missing'):
        build_cohort(workspace, IngestOptions("chexpert", root))


def test_any_train_csv_is_not_chexpert(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").write_text("image,label\na.png,1\n")
    with pytest.raises(DataError, match="no CheXpert found"):
        build_cohort(workspace, IngestOptions("chexpert", tmp_path / "data"))
