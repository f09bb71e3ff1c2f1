"""The full official table of ChestX-ray14: 112,120 rows, of whose films 1,000 are here."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cxrssl.cohort.ingest import IngestOptions, build_cohort
from cxrssl.cohort.read import Cohort, open_cohort
from cxrssl.cohort.sources import SourceOptions, SourceTables, nih
from cxrssl.cohort.split import split_subjects
from cxrssl.core.workspace import Workspace

# Films of the sample by official part, train_val and test.
SAMPLED = {
    "Pneumonia": (347, 153), "Infiltration": (126, 61), "Atelectasis": (88, 25), "Edema": (52, 44),
    "Effusion": (59, 31), "Consolidation": (18, 15), "Pleural_Thickening": (19, 8), "Nodule": (15, 5),
    "Mass": (11, 8), "Cardiomegaly": (7, 9), "Pneumothorax": (4, 8), "Emphysema": (6, 4), "Fibrosis": (7, 1),
    "Hernia": (0, 3),
}  # fmt: skip


@pytest.fixture(scope="module")
def rows(data: Path) -> list[dict[str, str]]:
    """The table as the csv module reads it."""
    with gzip.open(data / "nih_chestxray14" / "Data_Entry_2017_v2020.csv.gz", "rt", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def tables(data: Path, rows: list[dict[str, str]]) -> SourceTables:
    """The tables as if every film were here."""
    layout = nih.find(SourceOptions("nih", data / "nih_chestxray14"))
    return nih.read(layout, {f"images/{row['Image Index']}": 1 for row in rows})


@pytest.fixture(scope="module")
def sample(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    workspace = Workspace(tmp_path_factory.mktemp("workspace"))
    return open_cohort(build_cohort(workspace, IngestOptions("nih", data / "nih_chestxray14")).path)


def test_films_patients_sexes_and_views_of_the_full_table(tables: SourceTables) -> None:
    assert (tables.films.rows, tables.image.height, tables.films.rejects.height) == (112_120, 112_120, 0)
    assert tables.image["subject_id"].n_unique() == 30_805
    assert count(tables.given["sex"]) == {"male": 63_340, "female": 48_780}
    assert count(tables.image["view"]) == {"PA": 67_310, "AP": 44_810}
    assert (tables.given["age_y"].min(), tables.given["age_y"].max()) == (0, 95)
    sexes = tables.image.select("image_id", "subject_id").join(tables.given.select("image_id", "sex"), "image_id")
    assert sexes.select("subject_id", "sex").unique().height == 30_805, "no patient has two sexes"


def test_official_split_of_the_full_table(tables: SourceTables) -> None:
    assert [table.rows for table in tables.others] == [86_524, 25_596]
    assert tables.official is not None
    assert count(tables.official["split"]) == {"train_val": 86_524, "test": 25_596}
    subjects = tables.official.unique()
    assert count(subjects["split"]) == {"train_val": 28_008, "test": 2_797}
    official = split_subjects("nih", tables.image["subject_id"], tables.official).filter(scheme="official")
    assert official.height == 30_805
    assert count(official["split"])["test"] == 2_797


def test_findings_of_the_full_table(tables: SourceTables, rows: list[dict[str, str]]) -> None:
    expected = Counter(finding for row in rows for finding in row["Finding Labels"].split("|"))
    assert expected.pop("No Finding") == 60_361
    assert {name: int(tables.labels[name].sum()) for name in nih.FINDINGS} == expected
    assert (tables.labels.select(nih.FINDINGS).sum_horizontal() == 0).sum() == 60_361


def test_the_films_that_are_here_are_counted_and_the_others_reported(sample: Cohort) -> None:
    films = sample.summary["films"]
    assert (films["seen"], films["accepted"], films["rejected"]) == (112_120, 1_000, {"file missing": 111_120})
    assert films["subjects"] == 682
    for finding, (in_train_val, in_test) in SAMPLED.items():
        present = sample.labels([finding])[:, 0] == 1
        is_test = sample.split_official == "test"
        assert (int((present & ~is_test).sum()), int((present & is_test).sum())) == (in_train_val, in_test), finding


def count(series: Any) -> dict[str, int]:
    return dict(series.value_counts().iter_rows())
